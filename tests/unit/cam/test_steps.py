"""Steps of tasks: each counts once, in whatever order and however often it is told."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.cam.snapshot import STEPS, WAITED, Steps
from evtools.state import State
from tools.stories import STORIES
from tools.told import life, told

#: The story in which one fact is told twice.
TWICE = "terminated, and told twice"


def count(batches, steps=None, state=None):
    """Return how often each step was counted."""
    steps, state = steps or Steps(), state or State()
    found = Counter()
    for batch in batches:
        new = steps.of(state.apply(batch))
        found.update(step.name for step in new if step.name != WAITED)
    return found


def truth(events):
    """Return how often each step is in the attempts that the state tells of."""
    state = State()
    state.apply(events)
    (task,) = state.tasks.values()
    history = task.history
    attempts = history.attempts if history and history.attempts else [task]
    return Counter(
        step for attempt in attempts for step in STEPS if getattr(attempt, step, None) is not None
    )


def singly(events):
    return [[event] for event in events]


@pytest.mark.parametrize("name", STORIES)
def test_every_event_of_a_story_is_a_step(name):
    events = STORIES[name].events
    told_types = Counter(event["type"].removeprefix("task-") for event in events)
    if name == TWICE:
        told_types["revoked"] = 1
    assert count(singly(events)) == told_types
    assert count([events]) == told_types


@pytest.mark.parametrize("name", STORIES)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_order_does_not_matter_nor_does_how_often_nor_what_comes_together(name, data):
    events = STORIES[name].events
    again = data.draw(st.lists(st.sampled_from(events), max_size=4))
    shuffled = data.draw(st.permutations([*events, *again]))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(shuffled)), max_size=4)))
    edges = [0, *cuts, len(shuffled)]
    batches = [shuffled[a:b] for a, b in pairwise(edges)]
    assert count(batches) == truth(events)


def test_what_is_understood_later_is_counted_later():
    by_time = {event["timestamp"]: event for event in STORIES["retried in vain"].events}
    # For a while both retries seem to be of one attempt.
    order = (13.0, 19.0, 14.0, 17.0, 13.5, 16.0, 12.0, 10.5, 16.5, 15.0, 18.0, 10.0)
    found = count([[by_time[at]] for at in order])
    assert found["retried"] == 2
    assert found.total() == len(by_time)


@given(data=st.data())
def test_that_a_task_has_waited_counts_once_whichever_is_told_first(data):
    events = data.draw(st.permutations(life("sent", "received", "started") * 2))
    steps, state = Steps(), State()
    new = [step.name for event in events for step in steps.of(state.apply([event]))]
    assert new.count(WAITED) == 1


def test_attempts_are_counted_although_the_state_forgets_the_oldest():
    events = []
    for number in range(60):
        at = 10.0 + 10 * number
        events += [
            told("task-sent", at, retries=number),
            told("task-received", at + 1, retries=number),
            told("task-started", at + 2),
            told("task-retried", at + 3),
        ]
    found = count(singly(events))
    assert found == dict.fromkeys(("sent", "received", "started", "retried"), 60)


def test_a_task_that_the_state_has_forgotten_is_not_counted_again():
    steps, state = Steps(), State()
    events = life("sent", "received", "started", "succeeded")
    count([events], steps, state)
    state.clear_tasks(ready=False)
    assert count([events[:2]], steps, state) == {}


def test_what_is_new_of_a_forgotten_task_is_counted():
    steps, state = Steps(), State()
    count([life("sent", "received", "started", "retried")], steps, state)
    count([life("received", start=20.0, retries=1)], steps, state)
    state.clear_tasks(ready=False)
    again = count([life("received", start=30.0, retries=2)], steps, state)
    assert again == {"received": 1}


def test_as_many_tasks_are_remembered_as_there_is_room_for():
    steps, state = Steps(generation=10), State()
    events = [told("task-received", uuid=f"task{number}") for number in range(100)]
    count([events], steps, state)
    assert count([events[-10:]], steps, state) == {}
    assert len(steps._young) + len(steps._old) <= 20


def test_what_is_no_step_is_not_counted():
    events = [
        told("task-progress"),
        told("worker-heartbeat"),
        told("shop-opened"),
        {"type": "task-failed"},
        {"type": "task-failed", "uuid": 7},
    ]
    assert count(singly(events)) == {}
