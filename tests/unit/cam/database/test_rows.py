"""Rows: the state of a task, from nothing but its log."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evtools.cam.database import camera as module
from evtools.cam.database.camera import row_of_snapshot, rows_of_task, rows_of_worker
from evtools.cam.database.merge import Pending, Report, TaskLog, in_order
from evtools.cam.database.schema import ATTEMPTS, SNAPSHOTS, TASKS, WORKERS
from evtools.cam.snapshot import SnapshotSequence
from evtools.state import State
from evtools.wire import gap, iso_utc
from tools.stories import STORIES
from tools.told import CLIENT, OTHER, UUID, WORKER, life, told


def named(table, row):
    return dict(zip(table.columns, row, strict=True))


def log_of(events):
    pending = Pending()
    pending.observe(State().apply(events))
    log = pending.tasks[UUID]
    log.steps = in_order(log.steps)
    return log


def rows_of(events, ahead=()):
    """Return the row of a task, and those of its attempts, by the names of their columns."""
    log = log_of(events)
    log.ahead = dict(ahead)
    row, attempts = rows_of_task(UUID, log)
    return named(TASKS, row), [named(ATTEMPTS, each) for each in attempts]


def shown(subject, names):
    """Return what a task or an attempt of a state has in these columns."""
    made = {}
    for name in names:
        value = getattr(subject, "worker_name" if name == "worker" else name, None)
        if TASKS.columns[name] == "time":
            value = iso_utc(value)
        made[name] = str(value) if name == "signum" and value is not None else value
    return made


@pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
def test_a_row_says_what_the_state_does(story):
    state = State()
    state.apply(story.events)
    task = state.tasks[UUID]
    row, attempts = rows_of(story.events)
    names = TASKS.columns.keys() - {"first_heard", "last_heard", "heard", "note", "extra"}
    assert {name: row[name] for name in names} == shown(task, names)
    names = ATTEMPTS.columns.keys() - {"uuid", "place", "number"}
    assert [{name: each[name] for name in names} for each in attempts] == [
        shown(attempt, names) for attempt in task.attempts
    ]
    assert [each["number"] for each in attempts] == [each.number for each in task.attempts]
    assert [each["place"] for each in attempts] == [*range(len(attempts))]


@pytest.mark.parametrize("at", [1763380002e3, 2.0**52, 1e300])
def test_times_beyond_the_calendar_are_those_of_the_receipt(at):
    row, _ = rows_of([{**told("task-received"), "timestamp": at}])
    assert (row["state"], row["received"]) == ("RECEIVED", "1970-01-01T00:00:10.250000Z")


def test_custom_events_and_fields_are_json_and_a_task_of_nothing_else_is_pending():
    row, _ = rows_of([told("task-received", zone="eu"), told("task-progress", 11.0, done=3)])
    assert json.loads(row["extra"]) == {"zone": "eu"}
    assert json.loads(row["note"]) == {"type": "task-progress", "timestamp": 11.0, "done": 3}
    alone, _ = rows_of([told("task-progress", 11.0, done=3)])
    assert (alone["state"], alone["note"]) == ("PENDING", row["note"])
    row, attempts = rows_of_task("u", TaskLog(1.0, 2.0, note=Report("task-x", 1.0)))
    assert (named(TASKS, row)["state"], attempts) == ("PENDING", [])


# --- clocks --------------------------------------------------------------------------


def test_a_redelivery_comes_after_what_was_given_back_whatever_the_clocks_say():
    # It was at 20 by our clock; the other worker's is 15 seconds behind.
    events = [
        *life("received", "started", "rejected"),
        *life("received", "started", "succeeded", start=5.0, hostname=OTHER),
    ]
    assert rows_of(events)[0]["state"] == "REJECTED"
    row, [attempt] = rows_of(events, {OTHER: -15})
    assert (row["state"], row["worker"], attempt["state"]) == ("SUCCESS", OTHER, "REJECTED")


def test_a_wait_is_that_of_the_workers_clock():
    events = [told("task-sent", 100.0, hostname=CLIENT), *life("received", "started")]
    assert rows_of(events)[0]["wait"] == 1.0  # cannot have been sent after its receipt
    assert rows_of(events, {CLIENT: 95})[0]["wait"] == 6.0


# --- workers and snapshots -----------------------------------------------------------


def worker_row(*events):
    pending, state = Pending(), State()
    pending.observe(state.apply(events))
    [(hostname, log)] = pending.workers.items()
    row, _ = rows_of_worker(hostname, log)
    return named(WORKERS, row), state.workers[hostname]


def test_a_row_of_a_worker_says_what_its_events_do():
    heartbeat = told("worker-heartbeat", 7.0, active=3, zone="eu")
    row, worker = worker_row(told("worker-online", 5.0), heartbeat)
    names = ("hostname", "pid", "freq", "active", "processed", "sw_ver")
    assert [row[name] for name in names] == [getattr(worker, name) for name in names]
    assert json.loads(row["loadavg"]) == [0.5, 0.25, 0.125]
    assert json.loads(row["extra"]) == {"zone": "eu"}
    assert [row[name] for name in ("online_since", "last_told", "last_heard", "goodbye")] == [
        "1970-01-01T00:00:05.000000Z",
        "1970-01-01T00:00:07.000000Z",
        "1970-01-01T00:00:07.250000Z",
        None,
    ]
    row, _ = worker_row(told("task-started"))  # which says that the worker is there
    known = {name: value for name, value in row.items() if value is not None}
    del known["heard"]
    assert known == {"hostname": WORKER, "last_heard": "1970-01-01T00:00:10.250000Z"}


def test_a_snapshot_says_who_took_it_and_what_it_misses():
    sequence = SnapshotSequence({}, started=5.0)
    sequence.subscribed(6.0)
    sequence.note(gap("buffer", 7.0, 8.0, dropped=3))
    pending = Pending()
    pending.observe(State().apply(life("sent", "received")))
    pending.lost = 2**70
    row = named(SNAPSHOTS, row_of_snapshot(sequence.next(10.0), pending))
    [hole] = json.loads(row.pop("gaps"))
    assert (hole["reason"], hole["dropped"]) == ("buffer", 3)
    del row["host"], row["pid"]
    assert row == {
        "evcam": sequence.evcam,
        "sequence": 1,
        "started": "1970-01-01T00:00:05.000000Z",
        "since": "1970-01-01T00:00:06.000000Z",
        "at": "1970-01-01T00:00:10.000000Z",
        "period": 4.0,
        "warm": True,
        "connected": True,
        "events": 2,
        "tasks": 1,
        "dropped": 3,
        "missed": 0,
        "lost": 2**62,
    }


# --- odd lives -----------------------------------------------------------------------

_texts = st.sampled_from(["x", "", None, 5])
_odd = {
    **dict.fromkeys(("name", "args", "kwargs", "root_id", "parent_id"), _texts),
    **dict.fromkeys(("eta", "queue", "result", "exception", "traceback"), _texts),
    **dict.fromkeys(("retries", "runtime"), st.sampled_from([0, 1, 2.5, None, "x"])),
    "hostname": st.sampled_from([WORKER, OTHER, "", None]),
}
_BEGUN = ("received", "started")
_ENDS = ("succeeded", "failed")
_kinds = st.lists(st.sampled_from(["sent", *_BEGUN, *_ENDS]), min_size=1, max_size=5) | st.builds(
    lambda sent, end: [*sent, *_BEGUN, end], st.sampled_from([[], ["sent"]]), st.sampled_from(_ENDS)
)


@st.composite
def _lives(draw):
    """Events of one task, where a few things are not as they should be."""
    events = life(*draw(_kinds))
    names = draw(st.lists(st.sampled_from(sorted(_odd)), max_size=3, unique=True))
    odd = {name: draw(_odd[name]) for name in names}
    alike = draw(st.booleans())
    for each in events:
        if alike or draw(st.booleans()):
            each |= {name: value for name, value in odd.items() if name in each}
        each["timestamp"] = draw(st.just(each["timestamp"]) | st.sampled_from([10.0, 11.0, 12.0]))
    return events


#: Each differs in one thing from the life of one attempt.
_ODD = [
    [*life("sent", retries=1), *life("received", "started", start=11.0)],
    [*life("sent", name="shop.other"), *life("received", start=11.0)],
    [*life("sent", start=12.0), *life("received", start=11.0)],
    [*life("received"), told("task-started", 11.0, hostname=OTHER)],
    [*life("received", "started", "succeeded", "succeeded")],
    life("received", "started", "retried", retries=1),
    life("received", "started", eta="2026-11-21T00:00:00"),
    life("received", "started", hostname=None),
    life("started", "succeeded"),
]


@settings(max_examples=200, deadline=None)
@given(_lives() | st.sampled_from(_ODD))
@example(_ODD[0])
@example(_ODD[3])
def test_a_simple_life_is_understood_as_any_other(events):
    log = log_of(events)
    quickly = rows_of_task(UUID, log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SIMPLE", frozenset())
        assert rows_of_task(UUID, log) == quickly
