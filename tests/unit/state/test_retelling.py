"""Retelling: a task is told anew when more is heard of it, whatever that is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.state import State, Task
from evtools.state.readings import TASK_READINGS, read
from evtools.state.retelling import retell
from tools.stories import STORIES, UNUSUAL, USUAL
from tools.told import OTHER, UUID, WORKER, Thorough, account, life, task_of, told

story_of_task = pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))


def reading_of(event):
    reading, _ = read(event, TASK_READINGS[event["type"]])
    return reading


@story_of_task
def test_a_task_that_is_told_anew_after_any_step_is_the_same(story):
    expected = account(task_of(story.events))
    for number in range(1, len(story.events)):
        state = State()
        task = task_of(story.events[:number], state)
        state.__class__ = Thorough
        state.apply(story.events[number:])
        assert task.history is not None
        assert account(task) == expected


@story_of_task
def test_what_was_told_before_needs_no_history(story):
    state = State()
    task = task_of(story.events, state)
    facts, history = account(task), task.history
    state.apply(story.events)
    assert account(task) == facts
    assert task.history is history


@story_of_task
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_what_has_happened_is_what_the_state_said_at_last(story, data):
    """Each change begins where the one before it ended."""
    order = data.draw(st.permutations(story.events))
    state = State()
    task_of(order[:1], state)
    changes = state.apply(order[1:])
    states = [None, *(change.after for change in changes)]
    assert [change.before for change in changes][1:] == states[1:-1]
    assert not any(change.created for change in changes)
    if changes:
        assert state.tasks[UUID].state == states[-1]


@story_of_task
def test_what_it_has_grown_is_what_is_returned_of_it(story):
    state = State()
    task_of(story.events, state)
    workers = State()
    workers.apply([told("worker-heartbeat", hostname=name) for name in (WORKER, OTHER)])
    weights = [task.weight_bytes for task in state.tasks.values()]
    assert state.weight_bytes == sum(weights) + workers.weight_bytes
    state.clear_tasks(ready=False)
    assert state.weight_bytes == workers.weight_bytes


def test_a_history_weighs_when_it_is_made_and_not_again():
    task = Task(UUID)
    received = reading_of(told("task-received", 10.0))
    first = retell(task, received)
    assert first > received.weigh()
    assert retell(task, received) == 0
    started = reading_of(told("task-started", 11.0))
    assert retell(task, started) == started.weigh()


def test_a_task_may_be_told_without_any_worker():
    task = Task(UUID)
    for event in life("received", "started", "succeeded", hostname=None):
        retell(task, reading_of(event))
    assert (task.state, task.worker, task.result) == ("SUCCESS", None, "4")


@pytest.mark.parametrize("name", ["failed", "terminated", "given back", "succeeded"])
def test_what_was_written_straight_is_kept_when_it_is_told_anew(name):
    state = State()
    task = task_of(USUAL[name].events, state)
    usual = account(task)
    assert task.history is None
    state.apply(life("received", "started", start=30.0))
    assert (task.state, task.received) == ("STARTED", 30.0)
    [before] = task.attempts
    for fact in ("state", "sent", "received", "started", "ended", "exception", "signum"):
        assert getattr(before, fact) == usual[fact]
    assert (before.runtime, before.requeue) == (usual["runtime"], usual["requeue"])
    assert (before.timestamp, before.pid) == (13.0, 77)
    # Nothing of it is left in what is shown of the one that runs.
    for fact in ("ended", "exception", "traceback", "signum", "requeue", "result"):
        assert task.get(fact) is None
    assert task.runtime is None


def test_the_uuid_is_kept_once():
    task = task_of(UNUSUAL["retried at the same worker"].events)
    assert task.root_id is task.uuid


def test_a_task_whose_second_try_is_at_nobody_shows_where_the_first_was():
    story = UNUSUAL["sent for its second try"]
    state = State()
    task = task_of(story.events, state)
    assert task.worker_name == WORKER
    state.apply([told("task-received", 15.0, retries=1, hostname=OTHER)])
    assert (task.state, task.worker_name) == ("RETRY", OTHER)
    assert task.exception == "OSError(5)"
    state.apply([told("task-started", 16.0, hostname=OTHER)])
    assert (task.state, task.exception, task.retried) == ("STARTED", None, None)


def test_a_second_try_is_all_that_may_be_known():
    task = task_of([told("task-sent", 10.0, retries=1)])
    assert (task.state, task.retries, task.worker_name) == ("RETRY", 1, None)
    assert task.attempts == ()
    assert task.retried is task.exception is None


# --- times ----------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("eta", "wait"),
    [
        (None, 70.0),
        ("1970-01-01T00:01:15", 5.0),  # 75 s
        ("1970-01-01T02:01:15+02:00", 5.0),
        ("1970-01-01T00:00:05", 70.0),  # before it was sent
        ("soon", 70.0),
        ("1970-01-01T01:00:00", None),  # started too early: clocks differ
    ],
)
def test_a_delay_that_was_asked_for_is_no_wait(eta, wait, order):
    events = [
        told("task-sent", 10.0, eta=eta),
        told("task-received", 11.0, eta=eta),
        told("task-started", 80.0),
    ]
    assert task_of(events[::order]).wait == wait


@pytest.mark.parametrize("order", [1, -1])
def test_the_wait_of_a_second_try_begins_with_its_own_sending_and_delay(order):
    eta = "1970-01-01T00:01:00"  # 60 s
    events = [
        *life("sent", "received", "started"),
        told("task-sent", 13.0, retries=1, eta=eta, hostname=WORKER),
        told("task-received", 13.5, retries=1, eta=eta),
        told("task-retried", 14.0),
        told("task-started", 61.5),
    ]
    task = task_of(events[::order])
    assert (task.wait, task.eta) == (1.5, eta)


def test_first_and_last_heard_are_the_first_and_the_last():
    events = life("sent", "received", "started", "succeeded")
    for order in (events, events[::-1]):
        task = task_of(order)
        assert (task.first_received, task.local_received) == (10.25, 13.25)
