import os

import pytest
from amqp.exceptions import AccessRefused
from kombu import Connection, Exchange
from redis.exceptions import NoPermissionError

from evtools.transport import ConnectionSettings, get_exchange, receiver
from evtools.transport.connection import OneAttempt
from evtools.transport.receiver import fresh_queue_name, subscribe
from evtools.transport.streams.kombu import KombuStream


@pytest.fixture
def open_stream(event_exchange):
    streams = []

    def start(**settings):
        settings = {"urls": "memory://subscribed", "event_exchange": event_exchange, **settings}
        streams.append(subscribe(ConnectionSettings(**settings)))
        return streams[-1]

    yield start
    for stream in streams:
        stream.close()


@pytest.mark.parametrize(
    ("url", "kind"), [("redis://h", "fanout"), ("amqp://h", "topic"), ("memory://", "topic")]
)
def test_the_exchange_is_the_one_celery_declares(url, kind):
    from celery.events.event import get_exchange as celerys

    connection = Connection(url)
    ours, theirs = get_exchange(connection, "ev"), celerys(connection, "ev")
    assert ours.type == kind
    assert ours == theirs
    assert get_exchange(connection).name == "celeryev"


# fmt: off
QUEUES = [  # settings, whether it is durable and exclusive, arguments
    ({}, False, True, {"x-message-ttl": 5000, "x-expires": 60000}),
    ({"event_queue_ttl": 1.5, "event_queue_expires": 7.0}, False, True,
     {"x-message-ttl": 1500, "x-expires": 7000}),
    ({"event_queue_exclusive": False, "event_queue_durable": True, "event_queue_ttl": None},
     True, False, {"x-expires": 60000}),
    ({"event_queue": "shared"}, True, False, {"x-message-ttl": 5000, "x-expires": 60000}),
]
# fmt: on


@pytest.mark.parametrize(("settings", "durable", "exclusive", "arguments"), QUEUES)
def test_the_queue_is_what_the_settings_say(settings, durable, exclusive, arguments):
    queue = receiver._own_queue(ConnectionSettings(**settings), Exchange("celeryev"), "own")
    assert queue.name == settings.get("event_queue", "own")
    assert (queue.durable, queue.auto_delete, queue.exclusive) == (durable, not durable, exclusive)
    assert queue.queue_arguments == arguments


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (("#",), {"#"}),
        (("task.failed",), {"task.failed", "task.multi"}),
        (("worker.#", "task.*"), {"task.*", "worker.#"}),
    ],
)
def test_the_broker_sends_only_what_is_asked_for(open_stream, event_exchange, keys, expected):
    stream = open_stream(routing_keys=keys, read_only=True)
    table = stream._connection.default_channel.get_table(event_exchange)
    assert {key for key, *_ in table} == expected


def test_two_subscriptions_of_one_process_have_two_queues():
    names = [fresh_queue_name(ConnectionSettings()) for _ in range(2)]
    assert names[0] != names[1]
    assert all(f"-{os.getpid()}." in name for name in names)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["heartbeat"]),
        ({"enable_events": True}, ["enable_events", "heartbeat"]),
        ({"enable_events": True, "wakeup": False}, ["enable_events"]),
        ({"wakeup": False}, []),
        ({"read_only": True}, []),
    ],
)
def test_once_it_is_subscribed_the_workers_are_asked_to_show_themselves(
    monkeypatch, open_stream, settings, expected
):
    steps = []

    def subscribed(*args):
        steps.append("subscribed")
        return KombuStream(*args)

    monkeypatch.setattr(receiver, "KombuStream", subscribed)
    monkeypatch.setattr(receiver, "broadcast", lambda _, command, settings: steps.append(command))
    open_stream(**settings)
    assert steps == ["subscribed", *expected]


@pytest.mark.parametrize("error", [AccessRefused("no"), NoPermissionError("no")])
def test_who_wants_events_switched_on_must_be_allowed_to(monkeypatch, open_stream, error):
    def refuse(*_, **__):
        raise error

    released = []
    release = OneAttempt.release
    monkeypatch.setattr(receiver, "broadcast", refuse)
    monkeypatch.setattr(OneAttempt, "release", lambda self: released.append(self) or release(self))
    open_stream()
    assert released == []
    with pytest.raises(type(error)):
        open_stream(enable_events=True)
    assert len(released) == 1
