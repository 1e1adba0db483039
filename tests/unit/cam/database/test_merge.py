"""Logs of events: they merge in any order into the same, and are packed beside their rows."""

import itertools
import json
from functools import reduce

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evtools.cam.database.camera import rows_of_task
from evtools.cam.database.merge import (
    OWN_MAX_BYTES,
    STEPS_MAX,
    PendingEvents,
    Report,
    Step,
    TaskLog,
    WorkerLog,
    clean_own,
    joined_extra,
    merged,
    merged_workers,
    normalised,
    pack,
    report_of_worker,
    step_of,
    unpack,
)
from evtools.cam.database.schema import FIELDS, TASKS, needed
from evtools.state import State
from evtools.wire import from_fields
from tools.stories import STORIES
from tools.told import OTHER, UUID, WORKER, life, told

times = st.sampled_from([1.0, 2.0, 2.5, 10.0])
fields = st.fixed_dictionaries(
    {"hostname": st.sampled_from([WORKER, OTHER, None])},
    optional={"name": st.sampled_from(["a", "b"]), "args": st.text(max_size=2)},
)


def step(kind, at, **given):
    """Return a step of which only what is given was told."""
    return Step(kind, at, tuple(given.get(name) for name in FIELDS[kind]))


steps = st.builds(
    lambda kind, at, given: step(kind, at, **given),
    st.sampled_from(["task-sent", "task-received"]),
    times,
    fields,
)
values = st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=2)
accounts = st.builds(
    TaskLog,
    first=times,
    last=times,
    steps=st.lists(steps, max_size=3),
    note=st.none() | st.builds(Report, st.sampled_from(["task-a", "task-b"]), times, st.just({})),
    extra=st.dictionaries(st.sampled_from("xyz"), st.tuples(times, values)),
    ahead=st.dictionaries(st.sampled_from([WORKER, OTHER]), st.integers(-3, 3)),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(accounts, min_size=1, max_size=4), st.randoms())
def test_order_grouping_and_repetition_are_of_no_account(every, random):
    whole = reduce(merged, every, normalised(every[0]))
    shuffled = [*every, random.choice(every)]
    random.shuffle(shuffled)
    half = len(shuffled) // 2
    assert normalised(reduce(merged, map(normalised, shuffled))) == whole
    if half:
        parts = [reduce(merged, part) for part in (shuffled[half:], shuffled[:half])]
        assert merged(*map(normalised, parts)) == whole


def many(count, **how):
    return [step("task-retried", float(at), hostname=WORKER, **how) for at in range(count)]


@pytest.mark.parametrize(("how", "kept"), [({}, STEPS_MAX), ({"traceback": "x" * 16_000}, 16)])
def test_the_newest_steps_are_kept_in_whatever_order_they_come(how, kept):
    every = many(100, **how)
    whole = normalised(TaskLog(1.0, 1.0, every))
    assert [step.at for step in whole.steps] == [*range(100 - kept, 100)]
    for cut in (3, 50, 99):
        parts = [TaskLog(1.0, 1.0, every[:cut]), TaskLog(1.0, 1.0, every[cut:])]
        assert merged(*map(normalised, reversed(parts))) == whole


def test_the_last_few_steps_are_kept_however_large_they_are():
    account = normalised(TaskLog(1.0, 1.0, many(9, traceback="x" * 100_000)))
    assert len(account.steps) == 4


def test_fields_that_celery_does_not_know_have_bounds():
    assert clean_own({}) == {}
    assert clean_own({"a\0": "b\0"}) == {"a�": "b�"}
    assert clean_own({"a": "b" * OWN_MAX_BYTES}) == {}
    every = {f"{n:03}": (1.0, "x" * 1000) for n in range(20)}
    assert list(joined_extra([every])) == [f"{n:03}" for n in range(16)]


def test_what_was_told_last_of_a_field_counts_by_its_time_and_not_its_digits():
    assert joined_extra([{"a": (9.0, 1)}, {"a": (10.0, 2)}]) == {"a": (10.0, 2)}
    assert joined_extra([{"a": (10.0, 2)}, {"a": (9.0, 1)}]) == {"a": (10.0, 2)}


# --- what events tell ----------------------------------------------------------------


@pytest.mark.parametrize("kind", FIELDS)
def test_all_that_celery_tells_of_a_task_is_kept(kind):
    original = told(kind)
    heard = step_of(from_fields(original))
    assert (heard.kind, heard.at) == (kind, original["timestamp"])
    ours = {"type", "uuid", "timestamp", "local_received", "clock", "pid", "utcoffset"}
    known = dict(zip(FIELDS[kind], heard.values, strict=True))
    assert {n: v for n, v in known.items() if v is not None} == {
        name: value for name, value in original.items() if name not in ours and value is not None
    }


def test_no_field_of_its_own_takes_the_place_of_what_a_worker_tells():
    news = report_of_worker(from_fields(told("worker-heartbeat")), {"freq": 9.0, "zone": "eu"})
    assert (news.fields["freq"], news.fields["zone"]) == (2.0, "eu")
    assert "clock" not in news.fields


worker_accounts = st.builds(
    WorkerLog,
    last=times,
    newest=st.dictionaries(
        st.sampled_from(["worker-online", "worker-heartbeat"]),
        st.builds(
            Report, st.just("worker"), times, st.fixed_dictionaries({"active": st.integers(0, 3)})
        ),
    ),
)


@given(st.lists(worker_accounts, min_size=1, max_size=3))
def test_accounts_of_a_worker_merge_in_any_order(every):
    [result] = {
        msgspec.json.encode(merged_workers(*order), order="deterministic")
        for order in itertools.permutations(every)
    }
    again = merged_workers(*every, *every)
    assert msgspec.json.encode(again, order="deterministic") == result


# === collecting ======================================================================


def noted(*events, **how):
    pending = PendingEvents(**how)
    pending.observe(State().apply(events))
    return pending.take()


def kinds(account):
    return [step.kind for step in account.steps]


def test_events_are_noted_by_task_and_by_worker():
    notes = noted(
        *life("sent", "received"),
        told("task-received", uuid="other", hostname=OTHER),
        told("worker-heartbeat", 20.0),
    )
    assert set(notes.tasks) == {UUID, "other"}
    assert kinds(notes.tasks[UUID]) == ["task-sent", "task-received"]
    assert (notes.tasks[UUID].first, notes.tasks[UUID].last) == (10.25, 11.25)
    assert {name: each.last for name, each in notes.workers.items()} == {
        WORKER: 20.25,
        OTHER: 10.25,
    }
    assert list(notes.workers[WORKER].newest) == ["worker-heartbeat"]
    assert (notes.events, notes.lost) == (3, 0)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "task-sent"},
        {"type": "other-thing", "uuid": "u"},
        {"type": "worker-online"},
        {"type": "worker-x", "hostname": 3},
    ],
)
def test_what_is_about_nobody_is_not_noted(event):
    notes = noted(event)
    assert [notes.tasks, notes.workers, notes.events] == [{}, {}, 0]


def test_a_custom_event_is_a_note_and_the_newest_counts():
    new, old = told("task-progress", 12.0, done=2), told("task-progress", 11.0, done=1)
    for events in ((new, old), (old, new)):
        account = noted(*events).tasks[UUID]
        assert account.note.fields == {"done": 2}
        assert not account.steps


def test_fields_of_its_own_are_noted_by_time():
    events = [told("task-received", 12.0, zone="eu"), told("task-sent", 11.0, zone="us", rack=3)]
    assert noted(*events).tasks[UUID].extra == {"zone": (12.0, "eu"), "rack": (11.0, 3)}


def test_keys_are_what_a_database_takes():
    notes = noted(told("task-started", uuid="u" * 300, hostname="h" * 300))
    assert {len(key) for key in (*notes.tasks, *notes.workers)} == {255}
    assert notes.tasks[next(iter(notes.tasks))].steps[0].values[0] in (notes.workers)


# --- workers -------------------------------------------------------------------------


def test_of_a_worker_the_newest_of_each_kind_is_noted():
    notes = noted(
        told("worker-heartbeat", 12.0, active=2),
        told("worker-heartbeat", 11.0, active=1),
        told("worker-online", 10.0),
        told("worker-custom", 14.0),
    )
    account = notes.workers[WORKER]
    assert {kind: each.at for kind, each in account.newest.items()} == {
        "worker-heartbeat": 12.0,
        "worker-online": 10.0,
    }
    assert account.newest["worker-heartbeat"].fields["active"] == 2
    assert account.last == 14.25


def test_the_answer_to_a_wake_up_tells_only_that_the_worker_is_there():
    notes = noted(told("worker-heartbeat", 10.0), told("worker-heartbeat", 12.0, processed=None))
    account = notes.workers[WORKER]
    assert (account.newest["worker-heartbeat"].at, account.last) == (10.0, 12.25)


def test_there_are_no_more_workers_than_a_cluster_has():
    beats = [told("task-started", hostname=f"w{number}") for number in range(5001)]
    notes = noted(*beats)
    assert len(notes.workers) == 5000
    assert "w0" not in notes.workers


# --- coming back ---------------------------------------------------------------------


def test_what_comes_back_comes_before_what_came_meanwhile():
    pending, state = PendingEvents(), State()
    pending.observe(state.apply([*life("sent"), told("worker-online", 5.0)]))
    taken = pending.take()
    later = [*life("received", "started"), told("task-sent", uuid="new")]
    pending.observe(state.apply(later))
    pending.restore(taken)
    notes = pending.take()
    assert list(notes.tasks) == [UUID, "new"]
    assert sorted(kinds(notes.tasks[UUID])) == [*("task-received", "task-sent", "task-started")]
    assert list(notes.workers[WORKER].newest) == ["worker-online"]
    assert notes.workers[WORKER].last == 11.25
    assert notes.events == 4
    assert notes.bytes > taken.tasks[UUID].weight


def test_what_never_gets_written_is_forgotten_from_the_oldest_on_and_counted():
    pending, state = PendingEvents(max_bytes=100_000), State()
    for number in range(200):
        pending.observe(state.apply(life("sent", "started", uuid=f"u{number}")))
        pending.restore(pending.take())
    notes = pending.take()
    assert notes.bytes <= 100_000
    assert "u199" in notes.tasks
    assert "u0" not in notes.tasks
    assert notes.events == 2 * len(notes.tasks)
    assert notes.lost + notes.events == 400
    assert notes.bytes == sum(each.weight for each in notes.tasks.values()) + 4 * 4096


# === beside a row ====================================================================


def account_of(events):
    pending = PendingEvents()
    pending.observe(State().apply(events))
    account = normalised(pending.take().tasks[UUID])
    account.weight = 0
    return account


def row_of(account):
    """Return the row of an account, and what of it would be read."""
    row, _ = rows_of_task(UUID, account)
    return row, stored_of(row)


def stored_of(row):
    return tuple(row[PLACES[name]] for name in needed(TASKS))


def unknown(**known):
    """Return a row in which nothing else is known."""
    return [known.get(name) for name in TASKS.columns]


#: Where a column is in a row.
PLACES = {name: place for place, name in enumerate(TASKS.columns)}


@pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
def test_a_row_holds_all_that_was_heard(story):
    account = account_of(story.events)
    _, stored = row_of(account)
    assert unpack(stored[1], stored) == account


def test_what_the_row_says_is_not_said_twice():
    row, _ = row_of(account_of(life("sent", "received", "started")))
    assert json.loads(row[-1]) == {
        "first": 10.25,
        "last": 12.25,
        "steps": [["sent", 10.0, {}], ["received", 11.0, {}], ["started", 12.0, {}]],
    }


def test_what_differs_from_the_row_is_said_even_if_it_is_nothing():
    account = TaskLog(1.0, 1.0, [Step("task-failed", 1.0, (None, None, "T"))])
    row = unknown(exception="E", worker="w")
    packed = pack(account, row)
    assert json.loads(packed)["steps"] == [
        ["failed", 1.0, {"hostname": None, "exception": None, "traceback": "T"}]
    ]
    assert unpack(packed, stored_of(row)) == account


def test_what_no_column_has_is_said_if_it_is_known():
    ends = (("w", "4", 0.5), ("w", "4", None))
    for values, said in zip(ends, ({"runtime": 0.5}, {}), strict=True):
        account = TaskLog(1.0, 1.0, [Step("task-succeeded", 1.0, values)])
        row = unknown(result="4", worker="w", runtime=7.0)
        packed = pack(account, row)
        assert json.loads(packed)["steps"] == [["succeeded", 1.0, said]]
        assert unpack(packed, stored_of(row)) == account


def test_texts_that_were_removed_from_a_row_are_gone():
    row, _ = row_of(account_of(life("received")))
    row[PLACES["args"]] = "(redacted)"
    [step] = unpack(row[-1], stored_of(row)).steps
    assert dict(zip(FIELDS[step.kind], step.values, strict=True))["args"] == ("(redacted)")


def test_what_is_none_of_ours_is_refused():
    stored = stored_of(unknown())
    with pytest.raises(msgspec.DecodeError):
        unpack("{", stored)
    with pytest.raises(KeyError):
        unpack('{"first": 1, "last": 1, "steps": [["eaten", 1]]}', stored)
