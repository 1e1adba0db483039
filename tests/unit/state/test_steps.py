"""Steps: the usual life, written straight into a task, as its history would."""

import pytest

from evtools.state import State
from evtools.state.readings import TASK_READINGS
from evtools.state.steps import STEPS
from evtools.state.weights import weigh
from tools.stories import UNUSUAL, USUAL
from tools.told import OTHER, UUID, Thorough, account, life, task_of, told

usual_story = pytest.mark.parametrize("story", USUAL.values(), ids=list(USUAL))


def told_from_history(events):
    """The task that its history makes of events."""
    task = task_of(events, Thorough())
    assert task.history is not None
    return task


@usual_story
def test_a_usual_life_needs_no_history(story):
    assert task_of(story.events).history is None


@usual_story
def test_a_usual_life_is_what_its_history_would_tell(story):
    for length in range(1, len(story.events) + 1):
        events = story.events[:length]
        assert account(task_of(events)) == account(told_from_history(events))


@usual_story
def test_every_step_is_what_its_history_would_tell(story):
    """Whatever comes first: what is not in the order of a life is for the history."""
    for events in (story.events[::-1], story.events[1:], story.events[:-2]):
        if events:
            assert account(task_of(events)) == account(told_from_history(events))


@usual_story
def test_a_usual_life_takes_less_space_than_its_history(story):
    light, heavy = task_of(story.events), told_from_history(story.events)
    assert light.weight_bytes < heavy.weight_bytes


#: Each try of these comes after the one before.
TRIED = {
    "retried at the same worker",
    "received for its second try before it is told to have started",
    "running for its second try before it is told to be retried",
    "ended before it is told to be retried",
    "retried at the other worker",
    "waits for its second try",
    "sent for its second try",
    "retried in vain",
}


@pytest.mark.parametrize("name", sorted(TRIED))
def test_a_life_of_tries_in_their_order_needs_no_history(name):
    events = UNUSUAL[name].events
    for length in range(1, len(events) + 1):
        task = task_of(events[:length])
        assert task.history is None
        assert account(task) == account(told_from_history(events[:length]))


@pytest.mark.parametrize("name", sorted(UNUSUAL.keys() - TRIED))
def test_any_other_life_has_a_history(name):
    assert task_of(UNUSUAL[name].events).history is not None


def test_every_event_of_celery_is_a_step_with_all_its_fields():
    assert set(STEPS) == set(TASK_READINGS)
    for kind, (_, fields, enters) in STEPS.items():
        assert fields == len(told(kind))
        assert enters == TASK_READINGS[kind].state


def test_what_a_task_takes_grows_with_its_texts():
    def weight(**fields):
        events = [
            {**event, **{name: fields[name] for name in fields if name in event}}
            for event in life("sent", "received", "started", "failed")
        ]
        task = task_of(events)
        assert task.history is None
        return task.weight_bytes

    light = weight()
    for name in ("args", "kwargs", "exception", "traceback", "parent_id", "root_id"):
        assert 4900 < weight(**{name: "x" * 5000}) - light < 5400
    for name in ("eta", "expires"):
        assert weight(**{name: "2026-11-21T14:56:32"}) - light > weigh("x" * 19)


def test_a_result_weighs_too():
    def weight(result):
        *begun, end = life("received", "started", "succeeded")
        return task_of([*begun, {**end, "result": result}]).weight_bytes

    assert weight("x" * 1000) - weight("x") == 999


# --- the least that is not as usual ---------------------------------------------------


@pytest.mark.parametrize("state", ["started", "succeeded", "failed"])
@pytest.mark.parametrize(
    "fields",
    [
        {"hostname": OTHER},
        {"hostname": "celery@new"},
        {"hostname": None},
        {"hostname": ["celery@one"]},
        {"timestamp": 9.0},
        {"timestamp": None},
        {"timestamp": -1.0},
        {"timestamp": float("nan")},
        {"local_received": 5.0},
        {"local_received": "now"},
        {"clock": -1},
        {"clock": "7"},
        {"pid": None},
        {"pid": 2**80},
        {"result": 42},
        {"runtime": "long"},
        {"runtime": -1.0},
        {"exception": 42},
        {"more": "of it"},
    ],
)
def test_no_odd_event_is_told_but_as_its_history_would(state, fields):
    known = set(told(f"task-{state}")) | {"more"}
    odd = told(f"task-{state}", 13.0, **{k: v for k, v in fields.items() if k in known})
    events = [*life("sent", "received"), odd]
    assert account(task_of(events)) == account(told_from_history(events))


@pytest.mark.parametrize("state", ["sent", "received"])
@pytest.mark.parametrize(
    "fields",
    [
        {"retries": 1},
        {"retries": True},
        {"retries": 1.0},
        {"retries": None},
        {"retries": -1},
        {"name": None},
        {"name": 7},
        {"name": "x" * 1000},
        {"name": "shop.other"},
        {"args": None},
        {"args": [1]},
        {"kwargs": {}},
        {"root_id": None},
        {"root_id": "another"},
        {"root_id": 7},
        {"parent_id": "another"},
        {"parent_id": ["another"]},
        {"eta": "2026-11-21T14:56:32"},
        {"eta": 5.5},
        {"expires": "2026-11-21T14:56:32"},
        {"expires": {}},
        {"queue": 7},
        {"queue": None},
        {"exchange": []},
        {"routing_key": "x" * 1000},
        {"hostname": None},
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_no_odd_announcement_is_told_but_as_its_history_would(state, fields, order):
    known = set(told(f"task-{state}"))
    odd = {name: value for name, value in fields.items() if name in known}
    events = [
        {**event, **(odd if event["type"] == f"task-{state}" else {})}
        for event in life("sent", "received", "started")
    ]
    events = [*events[:2][::order], events[2]]
    assert account(task_of(events)) == account(told_from_history(events))


def test_an_event_with_one_field_for_another_keeps_the_other():
    started = told("task-started", 11.0, tenant="acme")
    del started["utcoffset"]
    failed = told("task-failed", 12.0, tenant="later")
    del failed["traceback"]
    state = State()
    task = task_of([*life("received"), started], state)
    assert (task.state, task.extra) == ("STARTED", {"tenant": "acme"})
    state.apply([failed])
    assert (task.state, task.extra) == ("FAILURE", {"tenant": "later"})
    assert (task.exception, task.traceback) == ("OSError(5)", None)


def test_a_task_that_its_worker_and_its_client_tell_at_once_is_usual():
    sent, received, started = life("sent", "received", "started")
    state = State()
    task = task_of([received, {**sent, "local_received": 11.5}, started], state)
    assert task.history is None
    assert (task.sent, task.received, task.queue) == (10.0, 11.0, "mail")
    assert state.tasks[UUID].state == "STARTED"


def test_a_sending_that_comes_late_and_knows_better_is_for_the_history():
    sent, received, started = life("sent", "received", "started")
    # Exactly when it would be as usual otherwise.
    late = {**sent, "local_received": 11.5, "parent_id": "another"}
    task = task_of([received, late, started])
    assert task.history is not None
    assert (task.parent_id, task.sent, task.state) == ("another", 10.0, "STARTED")
