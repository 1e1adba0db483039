"""Annotations: custom events as notes of a task, and fields that Celery has not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state import CeleryTask as Task
from evtools.state import State
from evtools.state.task import CELERYS, KEPT_MAX_BYTES, size_of
from evtools.state.worker import Worker
from tools.told import UUID, WORKER, account, life, task_of, told


def progress(at, percent, **fields):
    """The event that a task sends of itself, from its process."""
    return told("task-progress", at, percent=percent, clock=2, **fields)


def weight_of_all(state):
    return sum(task.weight_bytes for task in state.tasks.values())


# --- custom events -------------------------------------------------------------------


def test_a_custom_event_is_a_note_and_no_state():
    task = task_of([*life("received", "started"), progress(11.5, 50, stage="cook")])
    assert task.state == "STARTED"
    assert task.note == {"type": "task-progress", "timestamp": 11.5, "percent": 50, "stage": "cook"}
    assert (task.timestamp, task.clock) == (11.0, 1100)
    assert task.attempts == ()


def test_a_custom_event_changes_nothing_but_the_note():
    events = life("sent", "received", "started", "succeeded")
    usual, noted = account(task_of(events)), []
    for place in range(len(events) + 1):
        with_note = [*events[:place], progress(11.5, 50), *events[place:]]
        noted.append(account(task_of(with_note)))
    for each in noted:
        assert each.pop("note")["percent"] == 50
        assert each == {name: usual[name] for name in usual if name != "note"}


def test_a_task_may_be_known_by_its_note_alone():
    state = State()
    change, again = state.apply([progress(10.0, 1), progress(11.0, 2)])
    assert (change.created, change.before, change.after) == (True, None, "PENDING")
    assert (again.created, again.before, again.after) == (False, "PENDING", "PENDING")
    assert change.subject.note["percent"] == 2
    assert change.subject.first_received == 10.25
    assert change.subject.local_received == 11.25


def test_the_newest_note_is_kept_in_whatever_order_they_come():
    notes = [progress(10.0, 1), progress(11.0, 2), told("task-log", 11.0, line="x")]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]):
        task = task_of([notes[number] for number in order])
        assert task.note["percent"] == 2


def test_a_note_of_the_same_moment_takes_the_place_of_the_one_before():
    task = task_of([progress(10.0, 1), progress(10.0, 2)])
    assert task.note["percent"] == 2


def test_who_sends_a_note_is_no_worker_for_that():
    state = State()
    state.apply([progress(10.0, 1, hostname="laptop@home")])
    assert not state.workers
    assert state.tasks[UUID].worker is None


def test_a_note_tells_that_its_worker_is_there():
    state = State()
    task_of([progress(10.0, 1)], state)
    assert state.workers[WORKER].local_received == 10.25


@pytest.mark.parametrize("uuid", [None, "", 7, ["x"], {}])
def test_a_note_of_no_task_is_no_note(uuid):
    state = State()
    [change] = state.apply([progress(10.0, 1, uuid=uuid)])
    assert change.subject is None
    assert len(state.tasks) == 0


def test_of_a_note_that_is_too_large_its_type_and_time_are_kept():
    state = State()
    task = task_of([progress(10.0, 1, lines=["x" * 100] * 1000)], state)
    assert task.note == {"type": "task-progress", "timestamp": 10.0}
    assert task.weight_bytes < KEPT_MAX_BYTES
    assert state.apply([progress(11.0, 2)])
    assert task.note["percent"] == 2


def test_notes_weigh_and_old_ones_do_not():
    state = State()
    light = task_of([progress(10.0, 1)], state).weight_bytes
    state.apply([progress(11.0, 1, text="x" * 5000)])
    heavy = state.tasks[UUID].weight_bytes
    assert heavy > light + 5000
    state.apply([progress(10.5, 1, text="x" * 9000)])
    assert state.tasks[UUID].weight_bytes == heavy
    state.apply([progress(12.0, 1)])
    assert state.tasks[UUID].weight_bytes == light
    assert weight_of_all(state) < state.weight_bytes


# --- fields that Celery does not know ------------------------------------------------


def test_fields_that_celery_does_not_know_are_attributes():
    first, *rest = life("received", "started", "succeeded")
    task = task_of([{**first, "tenant": "acme", "priority": 3}, *rest])
    assert (task.tenant, task.priority) == ("acme", 3)
    assert task.extra == {"tenant": "acme", "priority": 3}
    assert task.get("tenant") == "acme"
    assert task.state == "SUCCESS"


@pytest.mark.parametrize("name", sorted({*dir(Task), "local_received", "__init__"}))
def test_no_field_takes_the_name_of_anything_of_a_task(name):
    plain = task_of(life("received", "started"))
    if name in told("task-received") or name in CELERYS:
        return  # is Celery's own
    first, second = life("received", "started")
    task = task_of([{**first, name: "evil"}, second])
    assert task.extra == {name: "evil"}
    assert type(task) is Task
    assert {**account(task), "extra": None} == account(plain)
    assert repr(task) == repr(plain)


def test_fields_of_later_events_count_more_in_whatever_order_they_come():
    events = life("received", "started", "succeeded")
    events[0]["tenant"] = "old"
    events[1]["tenant"] = "new"
    events[0]["region"] = "north"
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0]):
        task = task_of([events[number] for number in order])
        assert task.extra == {"tenant": "new", "region": "north"}
        assert task.tenant == "new"


def test_fields_that_do_not_fit_are_not_kept():
    first, second = life("received", "started")
    state = State()
    task = task_of([{**first, "tenant": "acme"}], state)
    weight = task.weight_bytes
    state.apply([{**second, "dump": "x" * KEPT_MAX_BYTES}])
    assert task.extra == {"tenant": "acme"}
    assert not hasattr(task, "dump")
    assert task.state == "STARTED"
    assert task.weight_bytes == weight


def test_no_number_of_names_fills_the_memory():
    state = State()
    task = task_of(life("received", "started"), state)
    for number in range(2000):
        event = told("task-started", 11.0, **{f"name{number}": "x" * 100})
        state.apply([event])
    assert size_of(task.extra) <= KEPT_MAX_BYTES
    assert len(vars(task)) < 200
    assert task.weight_bytes < 2 * KEPT_MAX_BYTES


def test_fields_size_of():
    state = State()
    first, second = life("received", "started")
    light = task_of([first], state).weight_bytes
    state.apply([{**second, "tenant": "x" * 1000}])
    grown = state.tasks[UUID].weight_bytes - light
    assert grown >= size_of({"tenant": "x" * 1000})
    state.apply([{**told("task-succeeded", 12.0), "tenant": "x"}])
    assert state.tasks[UUID].weight_bytes < light + grown


@given(
    st.dictionaries(
        st.text(max_size=5), st.none() | st.text() | st.lists(st.integers()), max_size=5
    )
)
def test_no_field_of_a_note_or_an_event_makes_the_state_fail(fields):
    state = State()
    names = {*told("task-started"), "runtime"}
    fields = {name: value for name, value in fields.items() if name not in names}
    note = {**progress(10.5, 1), **fields}
    task_of([{**told("task-started"), **fields}, note], state)
    task = state.tasks[UUID]
    assert task.note["type"] == "task-progress"
    assert (task.extra or {}) == fields
    assert task.state == "STARTED"


# --- workers -------------------------------------------------------------------------


def test_fields_of_a_worker_are_attributes_too():
    state = State()
    state.apply([told("worker-heartbeat", rack="B7", alive="evil")])
    worker = state.workers[WORKER]
    assert worker.rack == "B7"
    assert worker.extra == {"rack": "B7", "alive": "evil"}
    assert isinstance(Worker.alive, property)
    assert worker.status(11.0) == "online"


def test_no_number_of_names_of_a_worker_fills_the_memory():
    state = State()
    for number in range(1000):
        state.apply([told("worker-heartbeat", 10.0 + number, **{f"name{number}": 1})])
    worker = state.workers[WORKER]
    assert worker.name999 == 1
    assert len(vars(worker)) < 5
    state.apply([told("worker-heartbeat", 2000.0, dump="x" * 5000)])
    assert not hasattr(worker, "dump")
