"""The state against what really happened, as the application itself knows it, and against time.

Time is zones, clocks that are wrong, and events that come late.
"""

from __future__ import annotations

import re
from datetime import datetime
from itertools import permutations
from random import Random

import pytest

from cluster.scenario import BEFORE_RESTART
from evtools.state import State, Worker
from evtools.state.attempts import FINAL_STATES

pytestmark = pytest.mark.timeout(180)  # the story alone takes a quarter of a minute

EAST = "east@cluster"
#: More seconds than a busy machine is late by, and fewer than two zones differ by.
MINUTES = 300.0

#: How the tasks of the story end, by name.
ENDS = {
    **dict.fromkeys(
        (
            *("succeeded", "long", "hostile", "retried", "persevered", "progress"),
            *("announced", "requeued", "parent", "chain", "group", "delayed"),
            *("chain 1", "chain 2", "chain 3", "group 1", "group 2"),
            *("chord 1", "chord 2", "chord body", "soft limit survived", "finished"),
            *("at UTC", "at Asia/Kolkata", "at America/St_Johns"),
            *(f"before {number}" for number in range(25)),
            *(f"after {number}" for number in range(25)),
        ),
        "SUCCESS",
    ),
    **dict.fromkeys(
        (
            *("failed", "unregistered", "retried in vain", "died"),
            *("soft limit", "hard limit"),
            # Celery 5.7 says of what is rejected for good that it failed, too.
            "rejected",
        ),
        "FAILURE",
    ),
    **dict.fromkeys(("revoked", "terminated", "expired"), "REVOKED"),
    # No event says that a task was ignored, nor does the backend.
    "ignored": "STARTED",
    # Its worker is gone, and nobody knows what became of it.
    "killed": "STARTED",
}


def ends(story):
    """Return how the tasks end, with those that depend on the broker."""
    # RabbitMQ gave the other worker what the dead one had not acknowledged.
    return {**ENDS, "held": "SUCCESS" if story.outcome.redelivers else "RECEIVED"}


# --- states -----------------------------------------------------------------------


def test_every_task_ends_as_it_should(story):
    states = {name: story.task(name).state for name in story.outcome.uuids}
    assert states == ends(story)


def test_every_task_is_in_the_state_that_the_result_backend_has(story):
    states = {name: story.state.tasks[uuid].state for uuid, name in story.names.items()}
    held = {name: story.outcome.results[uuid]["status"] for uuid, name in story.names.items()}
    if not story.outcome.redelivers:
        # A worker tells the backend when it starts a task, not when it has it.
        assert held.pop("held") == "PENDING"
        assert states.pop("held") == "RECEIVED"
    assert states == held


#: What the lines of a worker's log say of a task, with its id in brackets before it.
#: Of a retry a process may tell when the next try has ended in another.
_LINES = (
    (r"succeeded in ", "SUCCESS"),
    (r"raised unexpected: ", "FAILURE"),
    (r"reject requeue=False", "FAILURE"),
    (r"reject requeue=True", "REJECTED"),
)
#: And with the id where it is.
_OTHER_LINES = (
    (r"Discarding revoked task: \S+\[ID\]", "REVOKED"),
    (r"Terminating ID ", "REVOKED"),
    (r"Hard time limit \(1s\) exceeded for \S+\[ID\]", "FAILURE"),
)
_ID = r"(?P<id>[0-9a-f-]{36})"


def ends_in_logs(logs):
    """Return the last end that the logs tell of each task, by id."""
    patterns = [(rf"\[{_ID}\] {text}", state) for text, state in _LINES]
    patterns += [(text.replace("ID", _ID), state) for text, state in _OTHER_LINES]
    found = [
        (number, match.start(), match["id"], state)
        for number, log in enumerate(logs)
        for pattern, state in patterns
        for match in re.finditer(pattern, log)
    ]
    return {uuid: state for _, _, uuid, state in sorted(found)}


def test_every_task_ends_as_the_logs_of_the_workers_say(story):
    told = ends_in_logs(story.outcome.logs)
    ended = {
        uuid: task.state for uuid, task in story.state.tasks.items() if task.state in FINAL_STATES
    }
    for name in ("unregistered", "died"):  # are logged without their ids
        assert ended.pop(story.outcome.uuids[name]) == "FAILURE"
    names = story.names
    assert {names[uuid]: state for uuid, state in ended.items()} == {
        names[uuid]: state for uuid, state in told.items()
    }


# --- what is told of them ---------------------------------------------------------


def test_names_queues_workers_and_retries_are_those_of_the_backend(story):
    told, held = {}, {}
    for uuid, name in story.names.items():
        task, result = story.state.tasks[uuid], story.outcome.results[uuid]
        if result.get("worker") is None:
            continue
        told[name] = (task.name, task.queue, task.hostname, task.retries)
        held[name] = (*(result["name"], result["queue"], result["worker"], result["retries"]),)
    # It was sent to be shown under another name.
    hostile = (story.task("hostile").name, *held["hostile"][1:])
    assert "right-to-left" in hostile[0]
    assert told == held | {"hostile": hostile}
    unknown = {name for name in ends(story) if name not in held}
    assert unknown == {"unregistered"} | (set() if story.outcome.redelivers else {"held"})


def test_what_the_backend_does_not_know_is_told_all_the_same(story):
    task = story.task("unregistered")
    assert task.name == "cluster.nobody_has_this"
    assert task.hostname == "home@cluster"
    assert task.queue == story.task("succeeded").queue
    assert task.exception == "NotRegistered('cluster.nobody_has_this')"
    assert task.received is task.started is None


def test_results_are_those_of_the_backend(story):
    told, held = {}, {}
    for name, state in ends(story).items():
        if state == "SUCCESS":
            told[name] = story.task(name).result
            held[name] = repr(story.result(name)["result"])
    for name in ("long", "hostile"):  # are tuples, which JSON makes lists
        assert told.pop(name).startswith("((")
        assert held.pop(name).startswith("[[")
    assert told == held


def test_exceptions_and_tracebacks_are_those_of_the_backend(story):
    for name, state in ends(story).items():
        if state != "FAILURE" or name == "unregistered":
            continue
        task, result = story.task(name), story.result(name)
        raised = repr(result["result"])
        assert task.exception.replace(",)", ")") == raised
        # Of what the worker itself says has failed, the backend has none.
        assert result["traceback"] in {None, task.traceback}
        assert raised.partition("(")[0] in task.traceback.splitlines()[-1] or (
            name in {"failed", "retried in vain", "rejected"}
        )


def test_exceptions_have_the_types_that_were_raised(story):
    raised = {
        name: story.task(name).exception.partition("(")[0]
        for name in ("failed", "retried in vain", "died", "soft limit", "hard limit")
    }
    assert raised == {
        "failed": "HostileError",
        "retried in vain": "HostileError",
        "died": "WorkerLostError",
        "soft limit": "SoftTimeLimitExceeded",
        "hard limit": "TimeLimitExceeded",
    }


def test_how_a_task_was_revoked_is_told(story):
    told = {
        name: tuple(map(task.get, ("terminated", "signum", "expired")))
        for name in ("revoked", "terminated", "expired")
        for task in [story.task(name)]
    }
    assert told == {
        "revoked": (False, None, False),
        "terminated": (True, 9, False),
        "expired": (False, None, True),
    }
    assert story.task("revoked").started is None
    assert story.task("expired").started is None
    assert story.task("terminated").started


def test_the_attempts_before_the_last_are_kept(story):
    told = {
        story.names[uuid]: [
            (attempt.number, attempt.state, attempt.worker_name) for attempt in task.attempts
        ]
        for uuid, task in story.state.tasks.items()
        if task.attempts
    }
    home = "home@cluster"
    redelivered = {"held": [(0, "RECEIVED", "west@cluster")]}
    assert told == {
        "persevered": [(number, "RETRY", home) for number in range(3)],
        "retried in vain": [(number, "RETRY", home) for number in range(2)],
        "retried": [(0, "RETRY", home)],
        "requeued": [(0, "REJECTED", home)],
        **(redelivered if story.outcome.redelivers else {}),
    }
    assert story.task("rejected").requeue is False
    assert not hasattr(story.task("requeued"), "requeue")
    logs = "\n".join(story.outcome.logs)
    assert len(re.findall(r"\] retry: ", logs)) == 3 + 2 + 1
    for attempt in story.task("persevered").attempts:
        assert attempt.exception.startswith("HostileError(")
        assert attempt.received <= attempt.started <= attempt.ended


def test_a_custom_event_is_a_note_and_no_state(story):
    task = story.task("progress")
    assert task.state == "SUCCESS"
    assert task.note["type"] == "task-progress"
    assert (task.note["current"], task.note["total"]) == (2, 3)


# --- families ---------------------------------------------------------------------


def test_parents_are_those_of_the_backend(story):
    told = {name: story.state.tasks[uuid].parent_id for uuid, name in story.names.items()}
    held = {
        name: story.outcome.results[uuid].get("parent_id") for uuid, name in story.names.items()
    }
    assert told == held
    assert sum(parent is not None for parent in told.values()) >= 5


def test_the_tasks_of_a_workflow_know_each_other(story):
    task = story.task
    one, two, three = task("chain 1"), task("chain 2"), task("chain 3")
    assert one.children == {two}
    assert two.children == {three}
    assert (two.parent, three.parent) == (one, two)
    assert {one.root, two.root, three.root} == {one}
    assert set(story.state.family(three.uuid)) == {one, two, three}
    # A group that nothing precedes has no root of its own.
    assert task("group 1").root == task("group 1")
    assert task("chord body").root in {task("chord 1"), task("chord 2")}
    [child] = task("parent").children
    assert task("parent").result == repr(child.uuid)


# --- how long ---------------------------------------------------------------------


def test_run_times_are_those_of_the_logs(story):
    logs = "\n".join(story.outcome.logs)
    logged = {
        uuid: float(seconds)
        for uuid, seconds in re.findall(r"\[([0-9a-f-]{36})\] succeeded in ([\d.e-]+)s", logs)
    }
    told = {
        uuid: task.runtime for uuid, task in story.state.tasks.items() if task.state == "SUCCESS"
    }
    assert told == logged
    # What does not tell is measured by its events.
    for name in ("soft limit", "hard limit", "finished"):
        assert 1 <= story.task(name).runtime < MINUTES
    assert story.task("killed").runtime is None
    assert story.task("revoked").runtime is None


def test_a_delay_that_was_asked_for_is_no_wait(story):
    task = story.task("delayed")
    assert task.started - task.wait > story.outcome.asked["delayed"] + 2.9
    waits = [task.wait for task in story.state.tasks.values() if task.started]
    assert all(0 <= wait < MINUTES for wait in waits)


# --- workers ----------------------------------------------------------------------


def test_workers_are_there_gone_or_offline(story):
    workers = story.state.workers
    assert set(workers) == {"home@cluster", "east@cluster", "west@cluster"}
    home, east, west = (workers[f"{name}@cluster"] for name in ("home", "east", "west"))
    assert home.status(home.local_received) == "online"
    assert east.status(story.events[-1]["local_received"]) == "offline"
    assert west.status(west.local_received) == "online"
    assert west.status(west.local_received + 5) == "late"
    assert west.status(west.local_received + 31) == "gone"
    for worker in workers.values():
        assert worker.pid == story.outcome.pids[worker.hostname]
        assert worker.sw_ident == "py-celery"
        assert worker.freq == 2.0
        assert worker.missed == 0
        assert abs(worker.skew) < MINUTES


def test_what_runs_while_its_worker_stops_warmly_is_not_lost(story):
    state, uuid = State(), story.outcome.uuids["finished"]
    seen = set()
    for batch in story.batches:
        state.apply(batch)
        task = state.tasks.get(uuid)
        if batch and task is not None:
            now = batch[-1]["local_received"]
            seen.add((task.state, task.lost(now)))
    assert ("STARTED", False) in seen
    assert ("SUCCESS", False) in seen
    assert not any(lost for _, lost in seen)


def test_tasks_of_a_worker_that_was_killed_are_lost(story):
    west = story.state.workers["west@cluster"]
    while_it_beats, when_it_is_gone = west.local_received, west.local_received + 31
    assert not story.task("killed").lost(while_it_beats)
    lost = {
        story.names[uuid]
        for uuid, task in story.state.tasks.items()
        if task.worker is west and task.lost(when_it_is_gone)
    }
    assert lost == {"killed"} | (set() if story.outcome.redelivers else {"held"})
    # It has ended, if nobody said so; its worker is there.
    ignored = story.task("ignored")
    assert not ignored.lost(ignored.worker.local_received)


# --- zones ------------------------------------------------------------------------

#: What Celery tells of a zone: the hours that it is west of UTC, in winter or summer.
OFFSETS = {"UTC": {0}, "Asia/Kolkata": {-5.5}, "America/St_Johns": {3.5, 2.5}}


@pytest.mark.parametrize("zone", OFFSETS)
def test_times_are_the_same_in_every_zone(story, zone):
    name = f"at {zone}"
    told = {event["utcoffset"] for event in story.by_task()[name] if event["type"] != "task-sent"}
    assert told <= OFFSETS[zone]
    task = story.task(name)
    asked = story.outcome.asked[name]
    done = datetime.fromisoformat(story.result(name)["date_done"]).timestamp()
    for moment in (task.sent, task.received, task.started, task.succeeded):
        assert asked <= moment < done + MINUTES
    assert asked <= done < asked + MINUTES
    assert 0 <= task.wait < MINUTES
    assert abs(task.worker.skew) < MINUTES


def test_the_offset_of_a_zone_moves_nothing(story):
    state = State()
    state.apply({**event, "utcoffset": -12} for event in story.events)
    assert list(state.tasks) == list(story.state.tasks)
    for uuid, task in state.tasks.items():
        assert portrait(task) == portrait(story.state.tasks[uuid])


# --- clocks that are wrong --------------------------------------------------------


@pytest.mark.parametrize("ahead", [29.0, -29.0])
def test_a_clock_that_is_wrong_is_no_wait(story, ahead):
    def said(event):
        wrong = event["hostname"] == EAST
        return {**event, "timestamp": event["timestamp"] + ahead} if wrong else event

    state = State()
    state.apply(said(event) for event in story.events)
    right = story.state.workers[EAST].skew
    assert state.workers[EAST].skew == pytest.approx(right + ahead, abs=1e-5)
    for uuid, task in state.tasks.items():
        right = story.state.tasks[uuid]
        assert task.state == right.state
        if task.started is None:
            assert task.wait is right.wait is None
        else:
            assert abs(task.wait - right.wait) < 1


# --- a logical clock that starts anew ---------------------------------------------


def test_all_tasks_are_listed_after_a_worker_started_its_clock_anew(story):
    clocks = {}
    for event in story.events:
        if event["hostname"] == EAST and event["type"] == "task-received":
            clocks.setdefault(event["pid"], []).append(event["clock"])
    first_life, second_life = clocks.values()
    assert min(second_life) < max(first_life)
    before, after = (
        {story.outcome.uuids[f"{when} {number}"] for number in range(BEFORE_RESTART)}
        for when in ("before", "after")
    )
    listed = [uuid for uuid, _ in story.state.tasks_by_time()]
    assert sorted(listed) == sorted(story.state.tasks)
    newest_first = [uuid for uuid in listed if uuid in before | after]
    assert len(newest_first) == 50
    assert set(newest_first[:BEFORE_RESTART]) == after
    of_worker = [uuid for uuid, _ in story.state.tasks_by_worker(EAST)]
    assert before | after < set(of_worker)
    assert len(of_worker) == 52


# --- events in any order ----------------------------------------------------------

#: All orders of so many events are tried, of more a sample.
ALL_ORDERS_MAX = 6
SAMPLE = 800


def portrait(task):
    """Return all that a task shows, but for when we heard of it last among others."""
    shown = {name: plain(value) for name, value in task.as_dict().items()}
    names = (
        *("queue", "client", "worker_name", "pid", "local_received", "first_received"),
        *("terminated", "signum", "expired", "requeue", "note", "extra", "cancelled"),
        *("wait", "queue_time", "runtime", "done", "ended", "ready", "origin"),
    )
    shown |= {name: getattr(task, name, None) for name in names}
    fields = (
        *("number", "state", "worker_name", "retries", "sent", "received", "started"),
        *("ended", "exception", "traceback", "result", "runtime"),
    )
    shown["attempts"] = [
        {name: getattr(attempt, name) for name in fields} for attempt in task.attempts
    ]
    return shown


def plain(value):
    """Return what can be compared between two states."""
    return value.hostname if isinstance(value, Worker) else value


def orders(events, random):
    """Return all orders of a few events, some of many."""
    if len(events) <= ALL_ORDERS_MAX:
        return list(permutations(events))
    return [random.sample(events, len(events)) for _ in range(SAMPLE)]


def test_events_in_any_order_end_in_the_same_task(story):
    random = Random(20260101)
    # One of each that a process of a worker told of itself: more would say the same.
    of_workers = {
        (event["hostname"], event["pid"], event["type"]): event
        for event in story.events
        if event["type"] in {"worker-online", "worker-heartbeat"}
    }.values()
    shapes = set()
    for events in story.by_task().values():
        shape = tuple(event["type"] for event in events)
        if shape in shapes and len(events) > 4:
            continue
        shapes.add(shape)
        state = State()
        state.apply([*of_workers, *events])
        expected = portrait(state.tasks[events[0]["uuid"]])
        assert expected["state"] == story.state.tasks[events[0]["uuid"]].state
        for order in orders(events, random):
            state.clear(ready=False)
            state.apply([*of_workers, *order])
            [task] = state.tasks.values()
            assert portrait(task) == expected, [event["type"] for event in order]


def test_a_retry_may_be_told_after_the_next_try_has_ended(story):
    events = story.by_task()["persevered"]
    ended = next(event for event in events if event["type"] == "task-succeeded")
    *_, retried = (event for event in events if event["type"] == "task-retried")
    later = {**retried, "timestamp": ended["timestamp"] + 0.001}
    state = State()
    state.apply([event for event in events if event is not retried])
    state.apply([later])
    [task] = state.tasks.values()
    assert task.state == "SUCCESS"
    assert task.retried is None
    assert [attempt.state for attempt in task.attempts] == ["RETRY"] * 3
