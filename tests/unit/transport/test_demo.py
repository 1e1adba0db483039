import threading
import time
from collections import Counter

import pytest

from evtools.transport import ConnectionSettings, EventReceiver
from evtools.transport.demo import URL, DemoCluster
from evtools.wire import MissedTasks
from servers.process import wait_until

WORKERS = {"w1@demo-a", "w2@demo-a", "w3@demo-b"}


@pytest.fixture
def settings(event_exchange):
    return ConnectionSettings(urls=URL, event_exchange=event_exchange, wakeup=False)


@pytest.fixture
def cluster(settings):
    cluster = DemoCluster(settings, rate=200.0)
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
    wanted = {"task-failed", "task-succeeded", "worker-heartbeat"}
    events = watch(receiver, lambda events: wanted <= set(types(events)))
    assert {"worker-online", "task-sent", "task-received", "task-started"} <= set(
        types(events)
    )
    assert {e["hostname"] for e in events if e["type"] == "worker-online"} == WORKERS
    assert receiver.statistics().malformed == 0


def test_every_event_has_what_celery_puts_into_it(cluster, receiver):
    cluster.start()
    ends = {"task-failed", "task-succeeded", "worker-heartbeat"}
    events = watch(receiver, lambda events: ends <= set(types(events)))
    for event in events:
        assert {"hostname", "pid", "clock", "timestamp", "utcoffset"} <= set(event)
    by_type = {event["type"]: event for event in events}
    assert {"active", "processed", "loadavg", "freq", "sw_ver"} <= set(
        by_type["worker-heartbeat"]
    )
    assert {"name", "args", "kwargs", "root_id"} <= set(by_type["task-received"])
    assert by_type["task-sent"]["queue"]
    assert by_type["task-failed"]["exception"] in by_type["task-failed"]["traceback"]
    assert by_type["task-failed"]["traceback"].startswith("Traceback (most recent")


def test_a_task_lives_in_the_right_order(cluster, receiver):
    cluster.start()
    events = watch(receiver, lambda events: types(events)["task-succeeded"] > 20)
    lives = {}
    for event in events:
        if "uuid" in event:
            lives.setdefault(event["uuid"], []).append(event["type"])
    whole = [life for life in lives.values() if len(life) == 4]
    assert len(whole) > 20
    assert {tuple(life[:3]) for life in whole} == {
        ("task-sent", "task-received", "task-started")
    }


def test_nothing_seems_to_be_missing(cluster, receiver):
    cluster.start()
    events = watch(receiver, lambda events: types(events)["worker-heartbeat"] >= 9)
    missed = MissedTasks()
    assert sum(map(missed.observe, events)) == 0
    assert receiver.statistics().missed == 0


def test_stopping_says_goodbye_for_all_workers(cluster, receiver):
    cluster.start()
    watch(receiver, len)
    cluster.stop()
    assert not cluster.is_alive()
    events = watch(receiver, lambda events: types(events)["worker-offline"] == 3)
    assert {e["hostname"] for e in events if e["type"] == "worker-offline"} == WORKERS


def test_a_cluster_that_never_lived_can_be_stopped(settings):
    DemoCluster(settings).stop()


def script(settings, seed):
    """Return what a cluster would do, without the waits."""
    sent = []

    class Worker:
        def __init__(self, hostname):
            self.hostname = hostname

        def send(self, type_, **fields):
            sent.append((self.hostname, type_, fields))

    cluster = DemoCluster(settings, seed=seed)
    workers = [Worker(name) for name in sorted(WORKERS)]
    moments = []
    for moment, send in cluster._life(Worker("client"), workers):
        moments.append(moment)
        send()
        if len(moments) == 2000:
            return sent, moments
    raise AssertionError("the cluster died")


def test_a_seed_decides_what_happens(settings):
    assert script(settings, 1) == script(settings, 1)
    assert script(settings, 1) != script(settings, 2)


def test_what_happens_happens_in_the_order_of_time(settings):
    sent, moments = script(settings, 1)
    assert moments == sorted(moments)
    kinds = Counter(type_ for _, type_, _ in sent)
    assert kinds["task-sent"] > kinds["task-succeeded"] > kinds["task-failed"] > 10
    # Four tasks and one and a half heartbeats in a second, by default.
    assert 3 < kinds["task-sent"] / moments[-1] < 5
    assert kinds["worker-heartbeat"] == pytest.approx(moments[-1] * 1.5, abs=6)


def test_an_idle_pair_of_cluster_and_receiver_costs_little(settings, receiver):
    cluster = DemoCluster(settings, rate=0.001)
    before, started = time.process_time(), time.monotonic()
    cluster.start()
    watch(receiver, lambda events: types(events)["worker-heartbeat"] >= 6)
    cluster.stop()
    spent, lasted = time.process_time() - before, time.monotonic() - started
    # A busy loop anywhere would take all of it.
    assert spent < lasted / 2
    assert threading.active_count() < 20
