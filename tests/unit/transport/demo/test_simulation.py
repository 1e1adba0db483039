from itertools import pairwise

import pytest

from evtools.transport import demo as module
from evtools.transport.demo import AWAY, BY_NAME, QUEUES, Character, End, Kind, answer
from evtools.wire import MissedTasks, from_fields
from tools.rehearsal import Rehearsal

#: A type whose tasks run for four seconds each, nearly.
SLOW = Kind(name="slow", queue="celery", runtime=4.0, weight=1.0, args=("()",), progress=3)


@pytest.fixture
def rehearsal():
    cast = (Character(hostname="w1", queues=frozenset(QUEUES), concurrency=2),)
    rehearsal = Rehearsal(cast, rate=1e-9).play(0)
    rehearsal.play(60)  # what the client sent first is over
    rehearsal.events.clear()
    return rehearsal


@pytest.fixture
def worker(rehearsal):
    return rehearsal.workers["w1"]


@pytest.fixture
def send(rehearsal):
    def send(kind=SLOW, count=None):
        tasks = [rehearsal.simulation.make_task(kind) for _ in range(count or 1)]
        return tasks if count else tasks[0]

    return send


def life(rehearsal, task):
    return [
        event["type"].removeprefix("task-")
        for event in rehearsal.events
        if event.get("uuid") == task.uuid
    ]


def ending(event, **fields):
    ends = (End(1.0, event, **fields),)
    return Kind(name="ends", queue="celery", runtime=0.1, weight=1.0, args=("()",), ends=ends)


def test_a_task_is_received_started_and_done(rehearsal, send):
    task = send()
    rehearsal.play(20)
    progress = ["progress"] * 3
    assert life(rehearsal, task) == ["sent", "received", "started", *progress, "succeeded"]
    assert [e["percent"] for e in rehearsal.of("task-progress")] == [25, 50, 75]
    (succeeded,) = rehearsal.of("task-succeeded")
    (started,) = rehearsal.of("task-started")
    lasted = succeeded["timestamp"] - started["timestamp"]
    assert succeeded["runtime"] == pytest.approx(lasted, abs=1e-6)


def test_it_runs_as_many_as_it_has_processes_and_holds_as_many_again(rehearsal, worker, send):
    send(count=10)
    rehearsal.play(0.5)
    assert (len(worker.running), len(worker.received)) == (2, 2)
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
    tasks = [send(ending("rejected", requeue=requeue)) for requeue in (False, True)]
    rehearsal.play(1)
    lives = [life(rehearsal, task) for task in tasks]
    assert lives[0] == ["sent", "received", "started", "rejected"]
    assert lives[1].count("received") > 1


def test_an_eta_is_waited_for_and_what_has_expired_is_not_run(rehearsal, worker, send):
    worker.queues.discard("reports")
    expired = send(BY_NAME["shop.reports.build"])
    task = send(BY_NAME["shop.offers.remind"])
    rehearsal.play(14)
    assert life(rehearsal, task) == ["sent", "received"]
    rehearsal.play(40)
    assert life(rehearsal, task)[2] == "started"
    worker.serve("reports")
    rehearsal.play(1)
    assert life(rehearsal, expired) == ["sent", "revoked"]
    assert rehearsal.of("task-revoked")[0]["expired"] is True


def test_what_is_revoked_does_not_start_and_ends_only_by_a_signal(rehearsal, worker, send):
    tasks = send(count=4)
    rehearsal.play(0.5)
    waiting = next(task for task in tasks if task.uuid in worker.received)
    running = next(task for task in tasks if task.uuid in worker.running)
    for task in (waiting, running):
        worker.revoke(task.uuid)
    assert running.uuid in worker.running
    worker.revoke(running.uuid, signum=9)
    rehearsal.play(60)
    assert life(rehearsal, waiting) == ["sent", "received", "revoked"]
    assert life(rehearsal, running)[-1] == "revoked"
    found = [(e["terminated"], e["signum"], e["expired"]) for e in rehearsal.of("task-revoked")]
    assert found == [(False, None, False), (True, 9, False)]


def test_who_dies_says_nothing_and_comes_back_as_another(rehearsal, worker, send):
    tasks = send(count=4)
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
    assert [life(rehearsal, task) for task in running] == [[], []]


def test_who_leaves_finishes_what_runs(rehearsal, worker, send):
    tasks = send(count=4)
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
    assert [life(rehearsal, task).count("received") for task in waiting] == [2, 2]


# --- commands -------------------------------------------------------------------------


MAIL = "shop.mail.send"


# fmt: off
ERRORS = [
    ("bogus", {}, "KeyError('bogus')"),
    ([], {}, "TypeError"),
    ("revoke", {}, "TypeError"),
    ("revoke", {"task_id": 5}, "TypeError"),
    ("terminate", {"task_id": "u", "signal": "SIGNONE"}, "KeyError('SIGNONE')"),
    ("terminate", {"task_id": "u", "signal": 999}, "ValueError"),
    ("rate_limit", {"task_name": "x", "rate_limit": "1/s"}, "unknown task"),
    ("time_limit", {"task_name": "x"}, "unknown task"),
    ("autoscale", {"max": 10, "min": 1}, "Autoscale not enabled"),
]
SIGNALS = [
    ("revoke", {"terminate": True}, 15),
    ("revoke", {"terminate": True, "signal": "SIGKILL"}, 9),
    ("revoke", {"terminate": True, "signal": "kill"}, 9),
    ("terminate", {"signal": 2}, 2),
]
# fmt: on


@pytest.mark.parametrize(("command", "arguments", "error"), ERRORS)
def test_what_cannot_be_done_is_answered_with_an_error(worker, command, arguments, error):
    assert error in answer(worker, command, arguments)["error"]


@pytest.mark.parametrize(("command", "arguments", "signum"), SIGNALS)
def test_what_is_terminated_is_revoked(rehearsal, worker, send, command, arguments, signum):
    task = send()
    rehearsal.play(0.5)
    arguments = {"task_id": [task.uuid, "other"], **arguments}
    assert answer(worker, command, arguments) == {
        "ok": f"tasks {task.uuid}, other flagged as revoked"
    }
    (event,) = rehearsal.of("task-revoked", uuid=task.uuid)
    assert (event["terminated"], event["signum"]) == (True, signum)


RATES = [("30/m", 0.5), ("2", 2), (3, 3), ("7/h", 7 / 3600), (0, 0)]


def test_a_rate_limit_spaces_starts(rehearsal, worker, send):
    for rate, per_second in RATES:
        assert "ok" in answer(worker, "rate_limit", {"task_name": MAIL, "rate_limit": rate})
        assert worker.rate_limits[MAIL] == pytest.approx(per_second)
    worker.rate_limits[SLOW.name] = 0.5
    assert answer(worker, "pool_grow", {"n": 6}) == {"ok": "pool will grow"}
    assert answer(worker, "pool_shrink", {}) == {"ok": "pool will shrink"}
    assert worker.concurrency == 7
    send(count=4)
    rehearsal.play(30)
    starts = [event["timestamp"] for event in rehearsal.of("task-started")]
    assert len(starts) == 4
    assert min(later - earlier for earlier, later in pairwise(starts)) >= 2 - 1e-6


def test_a_time_limit_ends_what_runs_too_long(rehearsal, worker, send):
    worker.time_limits[SLOW.name] = 0.5
    task = send()
    rehearsal.play(5)
    assert life(rehearsal, task)[-1] == "failed"
    (event,) = rehearsal.of("task-failed")
    assert event["traceback"].endswith("\nTimeLimitExceeded: 30.0,\n")
    assert "ok" in answer(worker, "time_limit", {"task_name": MAIL, "hard": 3})
    assert worker.time_limits[MAIL] == 3
    answer(worker, "time_limit", {"task_name": MAIL, "soft": 3})
    assert MAIL not in worker.time_limits


def test_events_are_switched_off_and_it_still_beats(rehearsal, worker, send):
    assert answer(worker, "disable_events", {}) == {"ok": "task events disabled"}
    send()
    rehearsal.play(20)
    assert set(rehearsal.kinds()) == {"task-sent", "worker-heartbeat"}
    answer(worker, "enable_events", {})
    send()
    rehearsal.play(20)
    assert rehearsal.kinds()["task-succeeded"] == 1


def test_queues_are_added_and_left(worker):
    worker.queues = {"images"}
    words = {"ok": "add consumer mail"}
    assert answer(worker, "add_consumer", {"queue": "mail", "exchange": ""}) == words
    words = {"ok": "no longer consuming from images"}
    assert answer(worker, "cancel_consumer", {"queue": "images"}) == words
    assert [queue["name"] for queue in answer(worker, "active_queues", {})] == ["mail"]
    assert "simulated" in answer(worker, "report", {})["ok"]


def test_a_worker_that_is_shut_down_comes_back_later(rehearsal, worker):
    assert answer(worker, "shutdown", {}) is None
    rehearsal.play(AWAY - 1)
    assert not worker.up
    rehearsal.play(1)
    assert worker.up


# --- the cluster --------------------------------------------------------------------


@pytest.fixture(scope="module")
def played():
    return Rehearsal().play(300)


def test_all_that_a_view_can_show_happens(played):
    sent = [e for e in played.of("task-sent", retries=0) if e["parent_id"] is None]
    assert len(sent) / 300 == pytest.approx(5.0, rel=0.1)
    assert {event["queue"] for event in played.of("task-sent")} == set(QUEUES)
    assert {event["name"] for event in played.of("task-received")} == set(BY_NAME)
    tasks = "sent received started succeeded failed retried revoked rejected progress"
    assert set(played.kinds()) == {
        *(f"task-{kind}" for kind in tasks.split()),
        *("worker-online", "worker-heartbeat", "worker-offline"),
    }
    revoked = {(e["terminated"], e["expired"]) for e in played.of("task-revoked")}
    assert revoked == {(False, False), (True, False), (False, True)}
    assert {e["requeue"] for e in played.of("task-rejected")} == {True, False}
    retried = {event["uuid"] for event in played.of("task-retried")}
    ends = played.of("task-succeeded", "task-failed")
    assert len({event["type"] for event in ends if event["uuid"] in retried}) == 2
    missed = MissedTasks()
    assert sum(map(missed.observe, map(from_fields, played.events))) == 0


def test_a_queue_that_nobody_serves_drops_the_oldest():
    rehearsal = Rehearsal(cast=(), rate=1000.0)
    rehearsal.play(20)
    lengths = [len(queue) for queue in rehearsal.simulation.queues.values()]
    assert max(lengths) == module.QUEUE_MAX
