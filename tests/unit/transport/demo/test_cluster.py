import logging
from collections import Counter

import pytest
from kombu.entity import Queue

from evtools.transport import (
    ConnectionSettings,
    EventReceiver,
    broadcast,
    call,
    connect,
    get_exchange,
)
from evtools.transport.control import mailbox
from evtools.transport.demo import AWAY, URL, DemoCluster, answer, listen, serve
from evtools.transport.demo.simulation import BY_NAME, CHARACTERS
from servers.process import wait_until
from tools.rehearsal import Rehearsal

WORKERS = {character.hostname for character in CHARACTERS}


@pytest.fixture
def settings(event_exchange):
    return ConnectionSettings(
        urls=URL,
        event_exchange=event_exchange,
        control_exchange=f"{event_exchange}-control",
        wakeup=False,
    )


@pytest.fixture
def cluster(settings):
    cluster = DemoCluster(settings, rate=40.0)
    yield cluster
    cluster.stop()


@pytest.fixture
def receiver(settings):
    with EventReceiver(settings) as receiver:
        next(receiver.batches(0))
        wait_until(lambda: receiver.statistics().connected, what="a connection")
        yield receiver


def watch(receiver, enough):
    events = []
    for batch in receiver.batches(10):
        assert batch, "the cluster is dead"
        events += batch
        if enough(events):
            return events
    return events


def types(events):
    return Counter(event["type"] for event in events)


def test_what_workers_tell_together_is_one_message(cluster, receiver, settings):
    with connect(settings) as connection:
        exchange = get_exchange(connection, settings.event_exchange)
        queue = Queue("batches", exchange, routing_key="task.multi", auto_delete=True)
        bound = queue(connection.channel())
        bound.declare()
        cluster.start()
        watch(receiver, lambda events: types(events)["task-succeeded"] > 20)
        messages = iter(lambda: bound.get(no_ack=True), None)
        sizes = [len(message.decode()) for message in messages]
        bound.delete()
    assert max(sizes) > 1


def test_stopping_says_goodbye_for_all_workers(cluster, receiver):
    cluster.start()
    watch(receiver, len)
    cluster.stop()
    assert not cluster.is_alive()
    events = watch(receiver, lambda events: types(events)["worker-offline"] == 5)
    assert {e["hostname"] for e in events if e["type"] == "worker-offline"} == WORKERS


def test_the_workers_answer_and_obey(cluster, receiver, settings):
    cluster.start()
    watch(receiver, lambda events: types(events)["worker-online"] == 5)
    replies = call(settings, "ping", deadline=10, expected=5)
    assert replies.by_node == {name: {"ok": "pong"} for name in WORKERS}
    started = [
        event["uuid"]
        for event in watch(
            receiver,
            lambda events: any(
                e["type"] == "task-started" and e["hostname"] == "images@demo-c" for e in events
            ),
        )
        if event["type"] == "task-started" and event["hostname"] == "images@demo-c"
    ]
    arguments = {"task_id": started, "terminate": True, "signal": "SIGKILL"}
    replies = call(settings, "revoke", arguments, destination=["images@demo-c"], deadline=10)
    assert replies.complete
    events = watch(receiver, lambda events: "task-revoked" in types(events))
    revoked = next(event for event in events if event["type"] == "task-revoked")
    assert (revoked["terminated"], revoked["signum"]) == (True, 9)


# --- remote control -----------------------------------------------------------------


@pytest.fixture
def connection(settings):
    with connect(settings) as connection:
        yield connection


@pytest.fixture
def quiet():
    return Rehearsal(fates=False).play(0)


@pytest.fixture
def obey(connection, settings, quiet):
    """Let the workers obey what was sent to them."""
    listen(connection, settings, list(quiet.workers.values()))

    def run():
        for _ in range(2 * len(quiet.workers)):
            serve(connection, 0)

    return run


def beats(quiet):
    return {event["hostname"] for event in quiet.of("worker-heartbeat")}


def test_a_command_may_be_for_some(obey, connection, settings, quiet):
    broadcast(connection, "heartbeat", settings=settings, destination=["w1@demo-a"])
    obey()
    assert beats(quiet) == {"w1@demo-a"}


def test_nonsense_is_survived_in_silence(obey, connection, settings, quiet, caplog):
    box = mailbox(connection, settings)
    with caplog.at_level(logging.DEBUG):
        box._publish("no_such_command", {"a": 1})
        box._publish("ping", ["not", "named"])
        obey()
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


@pytest.fixture
def rehearsal():
    return Rehearsal(fates=False).play(10)


@pytest.fixture
def worker(rehearsal):
    return rehearsal.workers["images@demo-c"]


@pytest.fixture
def uuid(rehearsal, worker):
    while not worker.running:
        rehearsal.play(0.5)
    return next(iter(worker.running))


@pytest.mark.parametrize(
    ("command", "arguments", "error"),
    [
        ("bogus", {}, "KeyError('bogus')"),
        ([], {}, "TypeError"),
        ("revoke", {}, "TypeError"),
        ("revoke", {"task_id": 5}, "TypeError"),
        ("terminate", {"task_id": "u", "signal": "SIGNONE"}, "KeyError('SIGNONE')"),
        ("terminate", {"task_id": "u", "signal": 999}, "ValueError"),
        ("rate_limit", {"task_name": "x", "rate_limit": "1/s"}, "unknown task"),
        ("time_limit", {"task_name": "x"}, "unknown task"),
        ("autoscale", {"max": 10, "min": 1}, "Autoscale not enabled"),
    ],
)
def test_what_cannot_be_done_is_answered_with_an_error(worker, command, arguments, error):
    assert error in answer(worker, command, arguments)["error"]


@pytest.mark.parametrize(
    ("command", "arguments", "signum"),
    [
        ("revoke", {"terminate": True}, 15),
        ("revoke", {"terminate": True, "signal": "SIGKILL"}, 9),
        ("revoke", {"terminate": True, "signal": "kill"}, 9),
        ("terminate", {"signal": 2}, 2),
    ],
)
def test_what_is_terminated_is_revoked(rehearsal, worker, uuid, command, arguments, signum):
    assert "ok" in answer(worker, command, {"task_id": [uuid, "other"], **arguments})
    (event,) = rehearsal.of("task-revoked", uuid=uuid)
    assert (event["terminated"], event["signum"]) == (True, signum)


@pytest.mark.parametrize(
    ("rate", "per_second"), [("30/m", 0.5), ("2", 2), (3, 3), ("7/h", 7 / 3600)]
)
def test_rates_are_limited(worker, rate, per_second):
    name = "shop.mail.send"
    arguments = {"task_name": name, "rate_limit": rate}
    assert "ok" in answer(worker, "rate_limit", arguments)
    assert worker.rate_limits[name] == pytest.approx(per_second)
    answer(worker, "rate_limit", {"task_name": name, "rate_limit": 0})
    assert not worker.rate_limits[name]


def test_times_are_limited(worker):
    name = "shop.mail.send"
    assert "ok" in answer(worker, "time_limit", {"task_name": name, "hard": 3})
    assert worker.time_limits == {name: 3}
    answer(worker, "time_limit", {"task_name": name, "soft": 3})
    assert worker.time_limits == {}


def test_queues_are_added_and_left(worker):
    assert "ok" in answer(worker, "add_consumer", {"queue": "mail", "exchange": ""})
    assert "ok" in answer(worker, "cancel_consumer", {"queue": "images"})
    names = [queue["name"] for queue in answer(worker, "active_queues", {})]
    assert names == ["mail"]


def test_a_worker_that_is_shut_down_comes_back_later(rehearsal, worker):
    assert answer(worker, "shutdown", {}) is None
    rehearsal.play(15)
    assert not worker.up
    rehearsal.play(AWAY)
    assert worker.up


def test_what_it_does_can_be_inspected(worker, uuid):
    worker.queues.clear()
    (active,) = [task for task in answer(worker, "active", {"safe": True}) if task["id"] == uuid]
    assert active["name"] == "shop.images.thumbnail"
    assert active["delivery_info"]["routing_key"] == "images"
    waiting = [task["id"] for task in answer(worker, "reserved", {})]
    assert waiting == list(worker.received)
    assert answer(worker, "registered", {}) == sorted(BY_NAME)
    stats = answer(worker, "stats", {})
    assert stats["pool"]["max-concurrency"] == worker.concurrency
    assert stats["total"] == {"shop": worker.processed}
