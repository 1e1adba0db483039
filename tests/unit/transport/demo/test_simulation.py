from itertools import pairwise
from random import Random

import pytest

from evtools.transport.demo import simulation as module
from evtools.transport.demo.simulation import (
    BY_NAME,
    CHARACTERS,
    KINDS,
    QUEUES,
    Character,
    End,
    Kind,
    fill,
    make_task,
)
from evtools.wire import MissedTasks, from_fields
from tools.rehearsal import START, Rehearsal

#: A type whose tasks run for four seconds each, nearly.
SLOW = Kind(name="slow", queue="celery", runtime=4.0, weight=1.0, args=("()",), progress=3)


@pytest.fixture
def rehearsal():
    cast = (Character(hostname="w1", queues=frozenset(QUEUES), concurrency=2),)
    rehearsal = Rehearsal(cast, rate=1e-9, fates=False).play(0)
    rehearsal.play(60)  # what the client sent first is over
    rehearsal.events.clear()
    return rehearsal


@pytest.fixture
def worker(rehearsal):
    return rehearsal.workers["w1"]


@pytest.fixture
def send(rehearsal):
    def send(kind=SLOW):
        task = make_task(rehearsal.simulation.rng, kind, rehearsal.wall())
        rehearsal.simulation.send(task)
        return task

    return send


def life(rehearsal, task):
    return [
        event["type"].removeprefix("task-")
        for event in rehearsal.events
        if event.get("uuid") == task.uuid
    ]


def ending(event, **fields):
    return Kind(
        name="ends",
        queue="celery",
        runtime=0.1,
        weight=1.0,
        args=("()",),
        ends=(End(1.0, event, **fields),),
    )


def test_a_task_is_received_started_and_done(rehearsal, send):
    task = send()
    rehearsal.play(20)
    assert life(rehearsal, task) == [
        *("sent", "received", "started", "progress", "progress", "progress"),
        "succeeded",
    ]
    assert [e["percent"] for e in rehearsal.of("task-progress")] == [25, 50, 75]
    (succeeded,) = rehearsal.of("task-succeeded")
    (started,) = rehearsal.of("task-started")
    lasted = succeeded["timestamp"] - started["timestamp"]
    assert succeeded["runtime"] == pytest.approx(lasted, abs=1e-6)


def test_it_runs_as_many_as_it_has_processes_and_holds_as_many_again(rehearsal, worker, send):
    for _ in range(10):
        send()
    rehearsal.play(0.5)
    assert len(worker.running) == 2
    assert len(worker.received) == 2
    rehearsal.play(60)
    assert rehearsal.kinds()["task-succeeded"] == 10


def test_a_task_is_tried_three_times_and_given_up(rehearsal, send):
    task = send(ending("retried", exception="E('x')"))
    rehearsal.play(30)
    attempt = ["received", "started", "sent", "retried"]
    assert life(rehearsal, task) == ["sent", *attempt * 2, *attempt[:2], "failed"]
    (event,) = rehearsal.of("task-failed")
    assert event["exception"].startswith("MaxRetriesExceededError(")
    assert [e["retries"] for e in rehearsal.of("task-received")] == [0, 1, 2]


def test_a_rejected_task_may_come_again(rehearsal, send):
    task = send(ending("rejected"))
    rehearsal.play(1)
    assert life(rehearsal, task)[-1] == "rejected"
    again = send(ending("rejected", requeue=True))
    rehearsal.play(1)
    assert life(rehearsal, again).count("received") > 1


def test_an_eta_is_waited_for(rehearsal, send):
    send(BY_NAME["shop.offers.remind"])
    rehearsal.play(14)
    assert rehearsal.kinds()["task-received"] == 1
    assert rehearsal.kinds()["task-started"] == 0
    rehearsal.play(3)
    assert rehearsal.kinds()["task-started"] == 1


def test_what_is_revoked_does_not_start(rehearsal, worker, send):
    tasks = [send() for _ in range(4)]
    rehearsal.play(0.5)
    waiting = next(task for task in tasks if task.uuid in worker.received)
    worker.revoke(waiting.uuid)
    rehearsal.play(60)
    assert life(rehearsal, waiting) == ["sent", "received", "revoked"]
    (event,) = rehearsal.of("task-revoked")
    assert (event["terminated"], event["signum"]) == (False, None)


def test_what_runs_ends_only_by_a_signal(rehearsal, worker, send):
    task = send()
    rehearsal.play(0.5)
    worker.revoke(task.uuid)
    assert task.uuid in worker.running
    worker.revoke(task.uuid, signum=9)
    rehearsal.play(60)
    assert life(rehearsal, task)[-1] == "revoked"
    (event,) = rehearsal.of("task-revoked")
    assert (event["terminated"], event["signum"], event["expired"]) == (True, 9, False)


def test_only_the_last_revoked_tasks_are_remembered(worker, monkeypatch):
    monkeypatch.setattr(module, "REVOKED_MAX", 3)
    for number in range(10):
        worker.revoke(f"u{number}")
    assert list(worker._revoked) == ["u7", "u8", "u9"]


def test_what_has_expired_is_not_run(rehearsal, worker, send):
    worker.queues.clear()
    task = send(BY_NAME["shop.reports.build"])
    rehearsal.play(60)
    worker.serve("reports")
    rehearsal.play(1)
    assert life(rehearsal, task) == ["sent", "revoked"]
    assert rehearsal.of("task-revoked")[0]["expired"] is True


def test_who_dies_says_nothing_and_comes_back_as_another(rehearsal, worker, send):
    tasks = [send() for _ in range(4)]
    rehearsal.play(0.5)
    running = [task for task in tasks if task.uuid in worker.running]
    pid = worker.main.pid
    rehearsal.events.clear()
    worker.die(away=30)
    worker.die(away=1)
    rehearsal.play(29)
    assert rehearsal.events == []
    rehearsal.play(60)
    online = rehearsal.of("worker-online")[0]
    assert online["pid"] != pid
    assert (online["clock"], online["processed"]) == (1, 0)
    assert rehearsal.kinds()["task-succeeded"] == 2
    for task in running:
        assert life(rehearsal, task) == []


def test_who_leaves_finishes_what_runs(rehearsal, worker, send):
    tasks = [send() for _ in range(4)]
    rehearsal.play(0.5)
    waiting = [task for task in tasks if task.uuid in worker.received]
    worker.leave(away=10)
    worker.leave(away=10)
    assert worker.up
    rehearsal.play(100)
    kinds = [event["type"] for event in rehearsal.events]
    goodbye = kinds.index("worker-offline")
    assert kinds[:goodbye].count("task-succeeded") == 2
    assert kinds.count("worker-online") == 1
    assert kinds.count("task-succeeded") == 4
    for task in waiting:
        assert life(rehearsal, task).count("received") == 2


def test_a_rate_limit_spaces_starts(rehearsal, worker, send):
    worker.rate_limits[SLOW.name] = 0.5
    worker.resize(8)
    for _ in range(4):
        send()
    rehearsal.play(30)
    starts = [event["timestamp"] for event in rehearsal.of("task-started")]
    assert len(starts) == 4
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert min(gaps) >= 2 - 1e-6


def test_a_time_limit_ends_what_runs_too_long(rehearsal, worker, send):
    worker.time_limits[SLOW.name] = 0.5
    task = send()
    rehearsal.play(5)
    assert life(rehearsal, task)[-1] == "failed"
    (event,) = rehearsal.of("task-failed")
    assert event["traceback"].endswith("\nTimeLimitExceeded: 30.0,\n")


def test_who_is_to_be_silent_about_tasks_still_beats(rehearsal, worker, send):
    worker.sends_task_events = False
    send()
    rehearsal.play(20)
    assert set(rehearsal.kinds()) == {"task-sent", "worker-heartbeat"}


# --- the cluster --------------------------------------------------------------------


@pytest.fixture(scope="module")
def played():
    return Rehearsal().play(300)


def test_a_seed_decides_what_happens():
    assert Rehearsal().play(60).events == Rehearsal().play(60).events
    assert Rehearsal().play(60).events != Rehearsal(seed=2).play(60).events


def test_clients_send_at_their_rate(played):
    sent = [e for e in played.of("task-sent", retries=0) if e["parent_id"] is None]
    assert len(sent) / 300 == pytest.approx(5.0, rel=0.1)
    assert {event["queue"] for event in played.of("task-sent")} == set(QUEUES)


def test_all_that_a_view_can_show_happens(played):
    assert set(played.kinds()) == {
        *("task-sent", "task-received", "task-started", "task-succeeded"),
        *("task-failed", "task-retried", "task-revoked", "task-rejected"),
        *("task-progress", "worker-online", "worker-heartbeat", "worker-offline"),
    }
    revoked = played.of("task-revoked")
    assert {(e["terminated"], e["expired"]) for e in revoked} == {
        *((False, False), (True, False), (False, True))
    }
    assert {e["requeue"] for e in played.of("task-rejected")} == {True, False}


def test_some_retries_succeed_and_some_are_given_up(played):
    retried = {event["uuid"] for event in played.of("task-retried")}
    ends = {
        event["type"]
        for event in played.of("task-succeeded", "task-failed")
        if event["uuid"] in retried
    }
    assert ends == {"task-succeeded", "task-failed"}
    assert any(
        event["exception"].startswith("MaxRetriesExceededError")
        for event in played.of("task-failed")
    )


def test_workflows_are_trees_of_three_generations(played):
    told = {event["uuid"]: event for event in played.of("task-sent")}
    generations = [
        (event["name"], told[event["parent_id"]]["name"])
        for event in told.values()
        if event["parent_id"]
    ]
    assert set(generations) == {
        ("shop.orders.pack", "shop.orders.fulfil"),
        ("shop.orders.label", "shop.orders.pack"),
    }
    for event in played.of("task-sent", name="shop.orders.label"):
        assert told[event["root_id"]]["name"] == "shop.orders.fulfil"


def test_nothing_seems_to_be_missing(played):
    missed = MissedTasks()
    assert sum(map(missed.observe, map(from_fields, played.events))) == 0


def test_a_queue_that_nobody_serves_drops_the_oldest():
    rehearsal = Rehearsal(cast=(), rate=1000.0)
    rehearsal.play(20)
    lengths = [len(queue) for queue in rehearsal.simulation.queues.values()]
    assert max(lengths) == module.QUEUE_MAX


def lives(hostname):
    played = Rehearsal().play(300)
    return [
        (event["type"], event["timestamp"] - START)
        for event in played.of("worker-online", "worker-offline", hostname=hostname)
    ]


def test_one_worker_dies_without_a_word_and_returns():
    assert lives("reports@demo-b") == [
        ("worker-online", 0.0),
        ("worker-online", 65.0),
        ("worker-online", 185.0),
    ]


# --- tasks --------------------------------------------------------------------------


NOW = 1_700_000_000.0
MAIL = BY_NAME["shop.mail.send"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_task_type_makes_sense(kind):
    rng = Random(1)
    assert all(fill(rng, args).startswith("(") for args in kind.args)
    assert 0 <= sum(end.share for end in kind.ends) < 1
    for end in kind.ends:
        assert end.event in ("failed", "retried", "rejected")
        assert fill(rng, end.exception).endswith(")") == (end.event != "rejected")
    assert set(kind.children) <= set(BY_NAME)
    assert kind.weight or any(kind.name in parent.children for parent in KINDS)


def test_every_queue_has_a_worker():
    assert set(QUEUES) == {queue for worker in CHARACTERS for queue in worker.queues}
