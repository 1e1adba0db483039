"""The state against time: zones, clocks that are wrong, events that come late."""

from __future__ import annotations

from datetime import datetime
from itertools import permutations
from random import Random

import pytest

from cluster.scenario import BEFORE_RESTART
from evtools.state import State, Worker

pytestmark = pytest.mark.timeout(180)  # the story alone takes a quarter of a minute

EAST = "east@cluster"

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
        assert asked - 1 < moment < done + 1
    assert abs(task.sent - asked) < 1
    assert abs(task.succeeded - done) < 1
    assert 0 <= task.wait < 1
    assert abs(task.worker.skew) < 1


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
    assert abs(state.workers[EAST].skew - ahead) < 1
    for uuid, task in state.tasks.items():
        right = story.state.tasks[uuid]
        assert task.state == right.state
        if task.started is None:
            assert task.wait is right.wait is None
        else:
            assert abs(task.wait - right.wait) < 1
            assert task.wait < 10


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
    of_workers = [
        event for event in story.events if event["type"] in {"worker-online", "worker-heartbeat"}
    ]
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
