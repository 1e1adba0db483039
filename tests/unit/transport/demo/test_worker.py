from itertools import pairwise
from random import Random

import pytest

from evtools.transport.demo import worker as module
from evtools.transport.demo.kinds import BY_NAME, QUEUES, End, Kind
from evtools.transport.demo.task import make_task
from evtools.transport.demo.worker import CONCURRENCY_MAX, Character
from tools.rehearsal import Rehearsal

#: A type whose tasks run for four seconds each, nearly.
SLOW = Kind(name="slow", queue="celery", runtime=4.0, weight=1.0, args=lambda _: "()", progress=3)


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
        task = make_task(rehearsal.stage.rng, kind, rehearsal.wall())
        rehearsal.stage.send(task)
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
        args=lambda _: "()",
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


def test_heartbeats_tell_what_it_does(rehearsal, worker, send):
    processed = worker.processed
    send()
    send()
    rehearsal.play(2)
    beat = rehearsal.of("worker-heartbeat")[-1]
    assert beat["processed"] == processed + 2
    assert beat["active"] == 2 - rehearsal.kinds()["task-succeeded"] > 0


def test_a_failure_has_an_exception_and_a_traceback(rehearsal, send):
    task = send(ending("failed", exception=lambda _: "E('x')"))
    rehearsal.play(5)
    assert life(rehearsal, task)[-1] == "failed"
    (event,) = rehearsal.of("task-failed")
    assert event["exception"] == "E('x')"
    assert "raise E('x')" in event["traceback"]


def test_a_task_is_tried_three_times_and_given_up(rehearsal, send):
    task = send(ending("retried", exception=lambda _: "E('x')"))
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


def test_what_is_revoked_in_its_queue_is_not_received(rehearsal, worker, send):
    task = send()
    worker.revoke(task.uuid)
    rehearsal.play(1)
    assert life(rehearsal, task) == ["sent", "revoked"]


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


def test_only_so_many_revoked_tasks_are_remembered(worker, monkeypatch):
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
    pid = worker.sender.pid
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


def test_who_is_idle_leaves_at_once(rehearsal, worker):
    worker.leave(away=10)
    assert not worker.up
    worker.goodbye()
    assert rehearsal.kinds()["worker-offline"] == 1
    rehearsal.play(11)
    worker.come()
    assert rehearsal.kinds()["worker-online"] == 1


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
    assert "TimeLimitExceeded" in rehearsal.of("task-failed")[0]["exception"]


def test_a_pool_has_its_limits(worker):
    worker.resize(0)
    assert worker.concurrency == 1
    worker.resize(10**9)
    assert worker.concurrency == CONCURRENCY_MAX


def test_who_is_to_be_silent_about_tasks_still_beats(rehearsal, worker, send):
    worker.tells = False
    send()
    rehearsal.play(20)
    assert set(rehearsal.kinds()) == {"task-sent", "worker-heartbeat"}


def test_asked_who_is_there_it_tells_little(rehearsal, worker):
    worker.wake_up()
    (event,) = rehearsal.of("worker-heartbeat")
    assert event["freq"] == 5.0
    assert "active" not in event


def test_children_are_sent_while_the_parent_runs(rehearsal, send):
    parent = send(BY_NAME["shop.orders.fulfil"])
    rehearsal.play(10)
    children = rehearsal.of("task-sent", parent_id=parent.uuid)
    assert len(children) == 3
    (ended,) = rehearsal.of("task-succeeded", uuid=parent.uuid)
    for child in children:
        assert rehearsal.events.index(child) < rehearsal.events.index(ended)


def test_who_is_terminated_sends_no_children(rehearsal, worker, send):
    parent = send(BY_NAME["shop.orders.fulfil"])
    rehearsal.play(0.1)
    worker.revoke(parent.uuid, signum=15)
    rehearsal.play(10)
    assert rehearsal.of("task-sent", parent_id=parent.uuid) == []


def test_the_same_random_numbers_make_the_same_task():
    kinds = [make_task(Random(5), SLOW, 0.0).told() for _ in range(2)]
    assert kinds[0] == kinds[1]
