"""Rows: the state of a task, from nothing but its log."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evtools.cam.database import camera as module
from evtools.cam.database.camera import row_of_snapshot, row_of_worker, rows_of_task
from evtools.cam.database.merge import PendingEvents, Report, TaskLog, normalised
from evtools.cam.database.schema import ATTEMPTS, SNAPSHOTS, TASKS, WORKERS
from evtools.cam.snapshot import SnapshotSequence
from evtools.state import State
from evtools.wire import gap, iso_utc
from tools.stories import STORIES
from tools.told import CLIENT, OTHER, UUID, WORKER, life, told

story_of_task = pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))


def notes_of(events):
    pending, state = PendingEvents(), State()
    pending.observe(state.apply(events))
    return pending.take(), state


def row_of(events, **ahead):
    notes, _ = notes_of(events)
    account = normalised(notes.tasks[UUID])
    account.ahead = ahead.get("ahead", {})
    return named({UUID: rows_of_task(UUID, account)})[UUID]


def named(made):
    """Return rows of tasks, and of their attempts, by the names of their columns."""
    return {
        uuid: (by_name(TASKS, row), [by_name(ATTEMPTS, each) for each in attempts])
        for uuid, (row, attempts) in made.items()
    }


def by_name(table, row):
    return dict(zip(table.columns, row, strict=True))


def shown(subject, names):
    """What a task or an attempt of a state has in these columns."""
    made = {}
    for name in names:
        value = getattr(subject, "worker_name" if name == "worker" else name, None)
        if TASKS.columns[name] == "time":
            value = iso_utc(value)
        made[name] = str(value) if name == "signum" and value is not None else value
    return made


@story_of_task
def test_a_row_says_what_the_state_does(story):
    _, state = notes_of(story.events)
    row, attempts = row_of(story.events)
    task = state.tasks[UUID]
    own = {"first_heard", "last_heard", "heard", "note", "extra"}
    names = [name for name in TASKS.columns if name not in own]
    assert {name: row[name] for name in names} == shown(task, names)
    names = [n for n in ATTEMPTS.columns if n not in {"uuid", "place", "number"}]
    assert [{name: each[name] for name in names} for each in attempts] == [
        shown(attempt, names) for attempt in task.attempts
    ]
    assert [each["number"] for each in attempts] == [a.number for a in task.attempts]
    assert [each["place"] for each in attempts] == [*range(len(attempts))]


@pytest.mark.parametrize("at", [1763380002e3, 2.0**52, 1e300])
def test_times_beyond_the_calendar_are_those_of_the_receipt(at):
    row, _ = row_of([{**told("task-received"), "timestamp": at}])
    assert (row["state"], row["received"]) == ("RECEIVED", "1970-01-01T00:00:10.250000Z")


def test_notes_and_fields_of_its_own_are_json():
    events = [told("task-received", zone="eu"), told("task-progress", 11.0, done=3)]
    row, _ = row_of(events)
    assert json.loads(row["extra"]) == {"zone": "eu"}
    assert json.loads(row["note"]) == {"type": "task-progress", "timestamp": 11.0, "done": 3}
    alone, _ = row_of(events[1:])
    assert (alone["state"], alone["note"]) == ("PENDING", row["note"])


# --- clocks --------------------------------------------------------------------------


def test_a_redelivery_comes_after_what_was_given_back_whatever_the_clocks_say():
    # It was at 20 by our clock; the other worker's is 15 seconds behind.
    events = [
        *life("received", "started", "rejected"),
        *life("received", "started", "succeeded", start=5.0, hostname=OTHER),
    ]
    blind, _ = row_of(events)
    assert blind["state"] == "REJECTED"
    row, [attempt] = row_of(events, ahead={OTHER: -15})
    assert (row["state"], row["worker"], attempt["state"]) == ("SUCCESS", OTHER, "REJECTED")


def test_a_wait_is_that_of_the_workers_clock():
    events = [told("task-sent", 100.0, hostname=CLIENT), *life("received", "started")]
    assert row_of(events)[0]["wait"] == 1.0  # cannot have been sent after its receipt
    assert row_of(events, ahead={CLIENT: 95})[0]["wait"] == 6.0


# --- workers -------------------------------------------------------------------------


def worker_row(*events):
    notes, state = notes_of(events)
    [(hostname, account)] = notes.workers.items()
    row = by_name(WORKERS, row_of_worker(hostname, account))
    return row, state.workers[hostname]


def test_a_worker_is_as_it_tells():
    row, worker = worker_row(
        told("worker-online", 5.0), told("worker-heartbeat", 7.0, active=3, zone="eu")
    )
    names = ("hostname", "pid", "freq", "active", "processed", "sw_ver")
    assert [row[name] for name in names] == [getattr(worker, name) for name in names]
    assert json.loads(row["loadavg"]) == [0.5, 0.25, 0.125]
    assert json.loads(row["extra"]) == {"zone": "eu"}
    assert row["online_since"] == "1970-01-01T00:00:05.000000Z"
    assert (row["last_told"], row["last_heard"]) == (
        "1970-01-01T00:00:07.000000Z",
        "1970-01-01T00:00:07.250000Z",
    )
    assert row["goodbye"] is None


def test_of_a_worker_without_heartbeats_we_know_that_it_is_there():
    row, _ = worker_row(told("task-started"))
    assert (row["hostname"], row["last_heard"]) == (WORKER, "1970-01-01T00:00:10.250000Z")
    unknown = set(WORKERS.columns) - {"hostname", "last_heard", "heard"}
    assert {row[name] for name in unknown} == {None}


# --- snapshots -----------------------------------------------------------------------


def test_a_snapshot_says_who_took_it_and_what_it_misses():
    roll = SnapshotSequence({}, started=5.0)
    roll.subscribed(6.0)
    roll.note(gap("buffer", 7.0, 8.0, dropped=3))
    row = row_of_snapshot(roll.next(10.0), events=7, tasks=2, lost=2**70)
    row = by_name(SNAPSHOTS, row)
    assert (row["evcam"], row["sequence"]) == (roll.evcam, 1)
    assert (row["started"], row["since"], row["at"]) == (
        "1970-01-01T00:00:05.000000Z",
        "1970-01-01T00:00:06.000000Z",
        "1970-01-01T00:00:10.000000Z",
    )
    assert (row["period"], row["warm"], row["connected"]) == (4.0, True, True)
    assert (row["events"], row["tasks"], row["dropped"], row["missed"]) == (7, 2, 3, 0)
    assert row["lost"] == 2**62
    [hole] = json.loads(row["gaps"])
    assert (hole["reason"], hole["dropped"]) == ("buffer", 3)


def test_an_account_of_nothing_but_when_is_a_task_that_is_pending():
    account = TaskLog(1.0, 2.0, note=Report("task-x", 1.0))
    row, attempts = named({"u": rows_of_task("u", account)})["u"]
    assert (row["uuid"], row["state"], attempts) == ("u", "PENDING", [])


# === odd lives =======================================================================


_BEGUN = ("received", "started")
_texts = st.sampled_from(["x", "", None, 5])
_hosts = st.sampled_from([WORKER, OTHER, "", None])
_counts = st.sampled_from([0, 1, 2.5, None, "x"])
_odd = {
    **dict.fromkeys(("name", "args", "kwargs", "root_id", "parent_id"), _texts),
    **dict.fromkeys(("eta", "queue", "result", "exception", "traceback"), _texts),
    **dict.fromkeys(("retries", "runtime"), _counts),
    "hostname": _hosts,
}
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
    pending = PendingEvents()
    pending.observe(State().apply(events))
    log = normalised(pending.take().tasks[UUID])
    quickly = rows_of_task(UUID, log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SIMPLE", frozenset())
        assert rows_of_task(UUID, log) == quickly
