"""Transitions: the states that Celery has, and what counts of several ends."""

import inspect

import pytest
from celery import states as celerys
from celery.events import state as celerys_state

from evtools.state import transitions
from evtools.state.readings import TASK_READINGS
from evtools.state.transitions import ACTIVE_STATES, ENDS, EVENT_STATES, FINAL_STATES, MOMENTS
from tools.told import account, life, task_of, told

STATES = {
    value
    for name, value in inspect.getmembers(transitions)
    if isinstance(value, str) and name == value
}


def test_every_state_is_spelled_as_celery_spells_it():
    theirs = {getattr(celerys, state, None) for state in STATES}
    assert theirs >= STATES - {"CANCELLED"}
    assert set(MOMENTS) == STATES


def test_every_event_of_a_task_that_celery_knows_enters_its_state():
    theirs = celerys_state.TASK_EVENT_TO_STATE
    assert {moment: EVENT_STATES[moment] for moment in theirs} == theirs


def test_every_reading_has_a_moment():
    assert {kind.removeprefix("task-") for kind in TASK_READINGS} == set(EVENT_STATES)


def test_every_state_is_an_end_or_comes_before_one():
    assert set(ENDS) == set(MOMENTS) - {"PENDING", "RECEIVED", "STARTED"}
    assert set(ENDS) - {"RETRY"} == FINAL_STATES
    assert not ACTIVE_STATES & FINAL_STATES


@pytest.mark.parametrize("moment", sorted(EVENT_STATES))
def test_an_event_enters_its_state_at_its_time(moment):
    before = [step for step in ("received", "started") if step != moment]
    task = task_of([*life(*before, start=8.0), told(f"task-{moment}", 13.0)])
    assert getattr(task, moment) == 13.0
    state = EVENT_STATES[moment]
    if state in ENDS:
        assert task.state == state
        assert task.ended == 13.0
    assert task.ready == (task.state in FINAL_STATES)


@pytest.mark.parametrize("first", ENDS)
@pytest.mark.parametrize("second", ENDS)
def test_of_two_ends_of_an_attempt_one_counts_in_whatever_order_they_come(first, second):
    ends = [
        told(f"task-{MOMENTS[first]}", 13.0),
        *([told(f"task-{MOMENTS[second]}", 13.5)] if second != first else []),
    ]
    begun = life("sent", "received", "started")
    task = task_of([*begun, *ends])
    assert task.state == min(first, second, key=ENDS.index)
    assert task.attempts == ()
    assert account(task_of([*begun, *ends[::-1]])) == account(task)
    assert account(task_of([*ends, *begun])) == account(task)
