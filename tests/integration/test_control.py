import json
import pickle
import threading
import tracemalloc
import zlib

import pytest
from celery import Celery
from kombu import Connection
from redis import Redis

from cluster.impostor import FAST, Impostor
from evtools.errors import UsageError
from evtools.transport import ConnectionSettings, Replies, broadcast, call, connect
from evtools.transport.control import mailbox
from servers.redis import RedisServer

JSON = {"content_type": "application/json", "content_encoding": "utf-8"}


def leftovers(broker, url):
    if isinstance(broker, RedisServer):
        number = int(url.rpartition("/")[2])
        keys = broker.redis_cli("KEYS", "*", database=number).split()
        return sorted(key for key in keys if "reply" in key)
    return sorted(q["name"] for q in broker.list_queues("name") if "reply" in q["name"])


def test_a_worker_answers_in_time_and_no_reply_queue_is_left(broker, celery_worker):
    # The broker's heartbeat does not end a long wait.
    settings = ConnectionSettings(
        urls=celery_worker.broker_url, event_exchange=celery_worker.event_exchange, heartbeat=1.0
    )
    before = leftovers(broker, settings.urls)
    name = celery_worker.hostname
    found = []

    def ping():
        found.append(call(settings, "ping", destination=[name], deadline=15))

    threads = [threading.Thread(target=ping) for _ in range(3)]
    for thread in threads:
        thread.start()
    late = call(settings, "ping", destination=[name, "nobody@x"], deadline=3)
    for thread in threads:
        thread.join(30)
    assert found == [Replies({name: {"ok": "pong"}}, complete=True)] * 3
    assert late == Replies({name: {"ok": "pong"}}, complete=False)
    assert leftovers(broker, settings.urls) == before


def test_nobody_answers_on_an_exchange_of_nobody():
    settings = ConnectionSettings(urls="memory://", control_exchange="nobody", options=FAST)
    assert call(settings, "ping", deadline=0.1) == Replies({}, complete=None)
    assert call(settings, "ping", deadline=0, expected=1) == Replies({}, complete=False)


@pytest.fixture
def impostor(event_exchange):
    """Have an impostor reply; return settings with which it is asked."""
    started = []

    def start(url, replies):
        started.append(Impostor(url, event_exchange, replies))
        options = FAST if "memory" in url else {}
        return ConnectionSettings(urls=url, control_exchange=event_exchange, options=options)

    yield start
    for one in started:
        one.end()


@pytest.mark.parametrize("kind", ["memory", "rabbitmq"])
def test_replies_that_are_none_do_not_disturb(impostor, request, kind):
    def replies(send, _):
        send({"late@x": 1}, headers={"ticket": "of another call"})
        send(["no", "mapping"])
        send({f"{number}@x": 1 for number in range(6000)})
        pickled = {"content_type": "application/x-python-serialize", "content_encoding": "binary"}
        send(pickle.dumps({"p@x": 1}), **pickled)
        send(b"{", **JSON)
        send(b'{"x@x":' + b"[" * 500 + b"]" * 500 + b"}", **JSON)
        send({"a@x": "pong"}, compression="zlib")
        send({"b@x": "pong"}, headers={})

    url = "memory://" if kind == "memory" else request.getfixturevalue("rabbitmq_url")
    replies = call(impostor(url, replies), "ping", expected=2, deadline=15)
    assert replies == Replies(
        {"a@x": "pong", "b@x": "pong"},
        complete=True,
        unread={
            "no reply of a worker": 2,
            "content type not accepted": 1,
            "no JSON": 1,
            "nested too deep": 1,
        },
    )


def test_a_reply_that_grows_when_unpacked_takes_no_memory(impostor):
    bomb = zlib.compress(b'{"x@x": "' + b"x" * 200_000_000 + b'"}')
    assert len(bomb) < 500_000
    twice = zlib.compress(bomb)
    small = [zlib.compress(b'{"%d@x": [' % n + b"[]," * 250_000 + b"1]}") for n in range(2)]

    def replies(send, _):
        for body in (bomb, twice, *small):
            send(body, headers={"compression": "application/x-gzip"}, **JSON)

    settings = impostor("memory://", replies)
    tracemalloc.start()
    try:
        found = call(settings, "ping", deadline=40, expected=2)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.by_node) == 2
    assert found.unread == {"message too large": 1, "no JSON": 1}
    # A reply may weigh 1 MiB, and an empty list of two bytes weighs 64.
    assert peak_bytes < 100_000_000


def test_replies_without_end_are_counted(impostor):
    def replies(send, _):
        for number in range(12):
            send({f"{number}@x": "x" * 900_000})

    found = call(impostor("memory://", replies), "ping", deadline=4, expected=12)
    assert 1 <= len(found.by_node) < 10
    assert found.unread["too many replies"] == 12 - len(found.by_node)
    assert not found.complete


def test_what_is_no_message_in_a_reply_queue_of_redis_is_counted(
    redis_server, redis_url, event_exchange, impostor
):
    database = int(redis_url.rpartition("/")[2])
    good = {
        "body": json.dumps({"a@x": "pong"}),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {},
        "properties": {"delivery_info": {}, "delivery_tag": "x"},
    }
    odd = [
        *("nonsense", "[]", "[" * 5000, "{}", '"x"', "null"),
        json.dumps({**good, "properties": None}),
        json.dumps({**good, "headers": ["x"], "body": None}),
        json.dumps({**good, "properties": {**good["properties"], "body_encoding": "x"}}),
        json.dumps({**good, "body": "x" * 3 * 1024 * 1024}),
    ]

    def replies(_, to):
        with Redis.from_url(redis_url) as client:
            queue = f"{to['routing_key']}.reply.{event_exchange}.pidbox"
            client.lpush(queue, *odd, json.dumps(good))

    found = call(impostor(redis_url, replies), "ping", deadline=15, expected=1)
    assert found.by_node == {"a@x": "pong"}
    assert found.unread["message too large"] == 1
    assert sum(found.unread.values()) == len(odd)
    assert not redis_server.redis_cli("KEYS", "*reply*", database=database)


# --- commands nobody answers ---------------------------------------------------------


@pytest.mark.parametrize(
    "send",
    [
        lambda settings: call(settings, "shutdown"),
        lambda settings: broadcast(connect(settings), "shutdown", settings=settings),
    ],
)
def test_read_only_sends_nothing_and_connects_nowhere(send):
    settings = ConnectionSettings(urls="redis://127.0.0.1:1/0", read_only=True)
    with pytest.raises(UsageError, match="shutdown is not sent: read-only"):
        send(settings)


def test_the_mailbox_is_the_one_of_celery():
    settings = ConnectionSettings(urls="memory://")
    with connect(settings) as connection:
        ours = mailbox(connection, settings)
        theirs = Celery(broker="memory://", set_as_current=False).control.mailbox
        assert ours.exchange == theirs.exchange
        assert ours.reply_exchange == theirs.reply_exchange
        assert ours.get_reply_queue().exclusive == theirs.get_reply_queue().exclusive


def test_a_connection_that_is_refused_is_the_callers_to_explain():
    url = "redis://127.0.0.1:1/0"
    with Connection(url) as connection, pytest.raises(connection.connection_errors):
        call(ConnectionSettings(urls=url), "ping")
