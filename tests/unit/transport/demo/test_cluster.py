import threading
import time
from collections import Counter

import pytest
from kombu.entity import Queue

from evtools.transport import ConnectionSettings, EventReceiver, call, connect, get_exchange
from evtools.transport.demo import URL, DemoCluster
from evtools.transport.demo.cast import CAST
from evtools.wire import MissedTasks
from servers.process import wait_until

WORKERS = {character.hostname for character in CAST}


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


def test_a_lively_cluster_is_seen_in_the_same_process(cluster, receiver):
    cluster.start()
    wanted = {"task-failed", "task-succeeded", "task-progress", "worker-heartbeat"}
    events = watch(receiver, lambda events: wanted <= set(types(events)))
    assert {"worker-online", "task-sent", "task-received", "task-started"} <= set(types(events))
    assert {e["hostname"] for e in events if e["type"] == "worker-online"} == WORKERS
    assert receiver.statistics().malformed == 0


def test_every_event_has_what_celery_puts_into_it(cluster, receiver):
    cluster.start()
    ends = {"task-failed", "task-succeeded", "worker-heartbeat"}
    events = watch(receiver, lambda events: ends <= set(types(events)))
    for event in events:
        assert {"hostname", "pid", "clock", "timestamp", "utcoffset"} <= set(event)
    by_type = {event["type"]: event for event in events}
    assert {"active", "processed", "loadavg", "freq", "sw_ver"} <= set(by_type["worker-heartbeat"])
    assert {"name", "args", "kwargs", "root_id"} <= set(by_type["task-received"])
    assert by_type["task-sent"]["queue"]
    assert by_type["task-failed"]["exception"] in by_type["task-failed"]["traceback"]


def test_the_first_events_come_at_once(settings, receiver):
    cluster = DemoCluster(settings)
    cluster.start()
    events = watch(receiver, len)
    cluster.stop()
    assert types(events)["worker-online"] == 5
    assert types(events)["task-sent"] >= 1


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


def test_nothing_seems_to_be_missing(cluster, receiver):
    cluster.start()
    events = watch(receiver, lambda events: types(events)["worker-heartbeat"] >= 15)
    missed = MissedTasks()
    assert sum(map(missed.observe, events)) == 0
    assert receiver.statistics().missed == 0


def test_stopping_says_goodbye_for_all_workers(cluster, receiver):
    cluster.start()
    watch(receiver, len)
    cluster.stop()
    assert not cluster.is_alive()
    events = watch(receiver, lambda events: types(events)["worker-offline"] == 5)
    assert {e["hostname"] for e in events if e["type"] == "worker-offline"} == WORKERS


def test_a_cluster_that_never_lived_can_be_stopped(settings):
    DemoCluster(settings).stop()


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


def test_an_idle_pair_of_cluster_and_receiver_costs_little(settings, receiver):
    cluster = DemoCluster(settings, rate=0.001)
    before, started = time.process_time(), time.monotonic()
    cluster.start()
    watch(receiver, lambda events: types(events)["worker-heartbeat"] >= 5)
    cluster.stop()
    spent, lasted = time.process_time() - before, time.monotonic() - started
    # A busy loop anywhere would take all of it.
    assert spent < lasted / 2
    assert threading.active_count() < 20
