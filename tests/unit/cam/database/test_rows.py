"""Logs of events: they merge in any order into the same, and make rows that hold them."""

import itertools
import json
from functools import reduce

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from evtools.cam.database import rows as module
from evtools.cam.database.rows import (
    OWN_MAX_BYTES,
    STEPS,
    STEPS_MAX,
    Report,
    Snapshot,
    TaskLog,
    WorkerLog,
    in_order,
    merged_extra,
)
from evtools.cam.snapshot import SnapshotSequence
from evtools.state import State
from evtools.transport.recording.database import ATTEMPTS, FIELDS, NEEDED, SNAPSHOTS, TASKS, WORKERS
from evtools.wire import gap, iso_utc
from tools.stories import STORIES
from tools.told import CLIENT, OTHER, UUID, WORKER, life, told

times = st.sampled_from([1.0, 2.0, 2.5, 10.0])


def step(kind, at, hostname="", **given):
    """Return a step of which only what is given is known."""
    return STEPS[kind](hostname, *[given.get(name) for name in FIELDS[kind][1:]], at)


steps = st.builds(
    lambda kind, at, given: step(kind, at, **given),
    st.sampled_from(["task-sent", "task-received"]),
    times,
    st.fixed_dictionaries(
        {"hostname": st.sampled_from([WORKER, OTHER, ""])},
        optional={"name": st.sampled_from(["a", "b"]), "args": st.text(max_size=2)},
    ),
)
values = st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=2)
logs = st.builds(
    TaskLog,
    first=times,
    last=times,
    steps=st.lists(steps, max_size=3),
    note=st.none() | st.builds(Report, st.sampled_from(["task-a", "task-b"]), times, st.just({})),
    extra=st.dictionaries(st.sampled_from("xyz"), st.tuples(times, values)),
    ahead=st.dictionaries(st.sampled_from([WORKER, OTHER]), st.integers(-3, 3)),
)


def ordered(log):
    return msgspec.structs.replace(log, steps=in_order(log.steps))


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(logs, min_size=1, max_size=4), st.randoms())
def test_order_grouping_and_repetition_do_not_matter(every, random):
    whole = reduce(TaskLog.merged, every, ordered(every[0]))
    shuffled = [*every, random.choice(every)]
    random.shuffle(shuffled)
    half = len(shuffled) // 2
    assert ordered(reduce(TaskLog.merged, map(ordered, shuffled))) == whole
    if half:
        parts = [reduce(TaskLog.merged, part) for part in (shuffled[half:], shuffled[:half])]
        assert TaskLog.merged(*map(ordered, parts)) == whole


worker_logs = st.builds(
    WorkerLog,
    last=times,
    newest=st.dictionaries(
        st.sampled_from(["worker-online", "worker-heartbeat"]),
        st.builds(
            Report, st.just("worker"), times, st.fixed_dictionaries({"active": st.integers(0, 3)})
        ),
    ),
)


@given(st.lists(worker_logs, min_size=1, max_size=3))
def test_logs_of_a_worker_merge_in_any_order(every):
    orders = [*itertools.permutations(every), every * 2]
    encode = msgspec.json.Encoder(order="deterministic").encode
    assert len({encode(reduce(WorkerLog.merged, order)) for order in orders}) == 1


def many(count, **how):
    return [step("task-retried", float(at), WORKER, **how) for at in range(count)]


# The last few are kept however large they are.
@pytest.mark.parametrize(("chars", "kept"), [(0, STEPS_MAX), (16_000, 16), (300_000, 4)])
def test_the_newest_steps_are_kept_in_whatever_order_they_come(chars, kept):
    every = many(100, traceback="x" * chars)
    whole = in_order(every)
    assert [step.timestamp for step in whole] == [*range(100 - kept, 100)]
    for cut in (3, 50, 99):
        parts = [TaskLog(1.0, 1.0, every[:cut]), TaskLog(1.0, 1.0, every[cut:])]
        assert TaskLog.merged(*map(ordered, reversed(parts))).steps == whole


def test_of_a_field_that_celery_does_not_know_the_newest_value_counts():
    # By its time and not by its digits.
    old, new = {"a": (9.0, 1)}, {"a": (10.0, 2)}
    assert merged_extra(old, new) == merged_extra(new, old) == new
    every = {f"{number:03}": (1.0, "x" * 1000) for number in range(20)}
    assert list(merged_extra(every, {})) == [f"{number:03}" for number in range(16)]


# --- collecting ----------------------------------------------------------------------


def pending_of(*events):
    pending = Snapshot()
    pending.observe(State().apply(events))
    return pending


def kinds(log):
    return [step.type for step in log.steps]


def test_events_are_kept_by_task_and_by_worker():
    pending = pending_of(
        *life("sent", "received"),
        told("task-received", uuid="other", hostname=OTHER),
        told("worker-heartbeat", 20.0),
    )
    assert set(pending.tasks) == {UUID, "other"}
    log = pending.tasks[UUID]
    assert (kinds(log), log.first, log.last) == (["task-sent", "task-received"], 10.25, 11.25)
    last = {name: each.last for name, each in pending.workers.items()}
    assert last == {WORKER: 20.25, OTHER: 10.25}
    assert list(pending.workers[WORKER].newest) == ["worker-heartbeat"]
    assert (pending.events, pending.lost) == (3, 0)


def test_what_is_about_nobody_is_not_kept():
    nameless = [{"type": "task-sent"}, {"type": "worker-online"}]
    odd = [{"type": "other-thing", "uuid": "u"}, {"type": "worker-x", "hostname": 3}]
    pending = pending_of(*nameless, *odd)
    assert [pending.tasks, pending.workers, pending.events] == [{}, {}, 0]


def test_the_newest_custom_event_and_fields_that_celery_does_not_know_are_kept():
    notes = told("task-progress", 12.0, done=2), told("task-progress", 11.0, done=1)
    own = told("task-received", 12.0, zone="eu"), told("task-sent", 11.0, zone="us", rack=3)
    large = told("task-started", 13.0, zone="x" * OWN_MAX_BYTES)
    for events in ((*notes, *own, large), (large, *own[::-1], *notes[::-1])):
        log = pending_of(*events).tasks[UUID]
        assert log.note.fields == {"done": 2}
        assert log.extra == {"zone": (12.0, "eu"), "rack": (11.0, 3)}
    dirty = pending_of(told("task-received", **{"a\0": "b\0"})).tasks[UUID]
    assert dirty.extra == {"a�": (10.0, "b�")}


def test_keys_are_what_a_database_takes():
    pending = pending_of(told("task-started", uuid="u" * 300, hostname="h" * 300))
    assert {len(key) for key in (*pending.tasks, *pending.workers)} == {255}
    [log] = pending.tasks.values()
    assert log.steps[0].hostname in pending.workers


def test_of_a_worker_the_newest_of_each_kind_is_kept():
    pending = pending_of(
        told("worker-heartbeat", 12.0, active=2),
        told("worker-heartbeat", 11.0, active=1),
        told("worker-online", 10.0),
        told("worker-custom", 14.0),
        # The answer to a wake-up says only that the worker is there.
        told("worker-heartbeat", 16.0, processed=None),
    )
    log = pending.workers[WORKER]
    newest = {kind: each.at for kind, each in log.newest.items()}
    assert newest == {"worker-heartbeat": 12.0, "worker-online": 10.0}
    fields = log.newest["worker-heartbeat"].fields
    assert (fields["active"], "clock" in fields, log.last) == (2, False, 16.25)


def test_there_are_no_more_workers_than_a_cluster_has():
    pending = pending_of(*[told("task-started", hostname=f"w{n}") for n in range(5001)])
    assert len(pending.workers) == 5000
    assert "w0" not in pending.workers


def test_what_comes_back_comes_before_what_came_meanwhile():
    state, first, later = State(), Snapshot(), Snapshot()
    first.observe(state.apply([*life("sent"), told("worker-online", 5.0)]))
    later.observe(state.apply([*life("received", "started"), told("task-sent", uuid="new")]))
    weight = first.tasks[UUID].weight
    first.extend(later)
    assert list(first.tasks) == [UUID, "new"]
    assert sorted(kinds(first.tasks[UUID])) == ["task-received", "task-sent", "task-started"]
    assert list(first.workers[WORKER].newest) == ["worker-online"]
    assert (first.workers[WORKER].last, first.events) == (11.25, 4)
    assert first.tasks[UUID].weight > weight


def test_what_never_gets_written_is_dropped_from_the_oldest_on_and_counted():
    pending, state = Snapshot(100_000), State()
    for number in range(200):
        later = Snapshot(100_000)
        later.observe(state.apply(life("sent", "started", uuid=f"u{number}")))
        pending.extend(later)
    assert "u199" in pending.tasks
    assert "u0" not in pending.tasks
    assert pending.events == 2 * len(pending.tasks)
    assert pending.lost + pending.events == 400
    # The worker counts once, however often it comes back.
    assert pending.bytes == sum(each.weight for each in pending.tasks.values()) + 4 * 4096


# --- beside a row --------------------------------------------------------------------


def log_of(events):
    log = ordered(pending_of(*events).tasks[UUID])
    log.weight = 0
    return log


def stored_of(row):
    named = dict(zip(TASKS.columns, row, strict=True))
    return tuple(named[name] for name in NEEDED[TASKS])


@pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
def test_a_row_holds_all_events(story):
    log = log_of(story.events)
    row, _ = log.rows(UUID)
    assert TaskLog.unpack(stored_of(row)) == log


def test_what_the_row_says_is_not_said_twice():
    row, _ = log_of(life("sent", "received", "started")).rows(UUID)
    assert json.loads(row[-2]) == {
        "first": 10.25,
        "last": 12.25,
        "steps": [["sent", 10.0, {}], ["received", 11.0, {}], ["started", 12.0, {}]],
    }
    # Nor is an exception that billiard has wrapped, which the row names as it was raised.
    wrapped = {"exception": "ExceptionWithTraceback()", "traceback": "...\nOSError: 5"}
    failed, _ = log_of([told("task-failed", **wrapped)]).rows(UUID)
    assert json.loads(failed[-2])["steps"] == [["failed", 10.0, {}]]
    # What somebody removed from a row is gone.
    row[list(TASKS.columns).index("args")] = "(redacted)"
    assert TaskLog.unpack(stored_of(row)).steps[1].args == "(redacted)"


# What differs is said even if it is nothing, and what no column has, if it is known.
@pytest.mark.parametrize(
    ("kind", "values", "row", "said"),
    [
        (
            "task-failed",
            ("", None, "T"),
            {"exception": "E", "worker": "w"},
            {"hostname": None, "exception": None, "traceback": "T"},
        ),
        ("task-succeeded", ("w", "4", 0.5), {"result": "4", "worker": "w"}, {"runtime": 0.5}),
        ("task-succeeded", ("w", "4", None), {"result": "4", "worker": "w", "runtime": 7.0}, {}),
    ],
)
def test_what_differs_from_the_row_is_said(kind, values, row, said):
    log = TaskLog(1.0, 1.0, [STEPS[kind](*values, 1.0)])
    whole = [row.get(name) for name in TASKS.columns]
    whole[-2] = log.pack(whole[:-2])
    assert json.loads(whole[-2])["steps"] == [[kind.removeprefix("task-"), 1.0, said]]
    assert TaskLog.unpack(stored_of(whole)) == log


# === rows ============================================================================


def named(table, row):
    return dict(zip(table.columns, row, strict=True))


def rows_of(events, ahead=()):
    """Return the row of a task, and those of its attempts, by the names of their columns."""
    log = log_of(events)
    log.ahead = dict(ahead)
    row, attempts = log.rows(UUID)
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
    own = {"first_heard", "last_heard", "heard", "note", "extra", "cluster"}
    names = TASKS.columns.keys() - own
    assert {name: row[name] for name in names} == shown(task, names)
    names = ATTEMPTS.columns.keys() - {"uuid", "place", "number", "cluster"}
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
    row, attempts = TaskLog(1.0, 2.0, note=Report("task-x", 1.0)).rows("u")
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
    state, pending = State(), Snapshot()
    pending.observe(state.apply(events))
    [(hostname, log)] = pending.workers.items()
    row, _ = log.rows(hostname)
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
    heard = {"last_heard": "1970-01-01T00:00:10.250000Z"}
    assert known == {"hostname": WORKER, "cluster": "", **heard}


def test_a_snapshot_says_who_took_it_and_what_it_misses():
    sequence = SnapshotSequence({}, started=5.0, cluster="prod")
    sequence.subscribed(6.0)
    sequence.note(gap("buffer", 7.0, 8.0, dropped=3))
    pending = pending_of(*life("sent", "received"))
    pending.lost = 2**70
    row = named(SNAPSHOTS, pending.take(sequence.next(10.0), State()).row())
    [hole] = json.loads(row.pop("gaps"))
    assert (hole["reason"], hole["dropped"]) == ("buffer", 3)
    del row["host"], row["pid"]
    assert row == {
        "evcam": sequence.evcam,
        "cluster": "prod",
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


@settings(max_examples=200)
@given(_lives() | st.sampled_from(_ODD))
@example(_ODD[0])
@example(_ODD[3])
def test_a_simple_life_is_understood_as_any_other(events):
    log = log_of(events)
    quickly = log.rows(UUID)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SIMPLE", frozenset())
        assert log.rows(UUID) == quickly
