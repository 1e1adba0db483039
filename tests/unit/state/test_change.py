"""Changes: what each event did to its subject, seen from outside."""

import pytest

from evtools.state import Change, State
from tools.told import UUID, WORKER, life, told


def test_a_change_is_of_nothing_unless_it_says_more():
    event = {"type": "demo-x"}
    change = Change(event)
    assert change.event is event
    assert change.subject is change.before is change.after is None
    assert change.created is False


def test_each_step_of_a_task_is_a_transition():
    state = State()
    changes = state.apply(life("sent", "received", "started", "succeeded"))
    assert [(change.before, change.after) for change in changes] == [
        (None, "PENDING"),
        ("PENDING", "RECEIVED"),
        ("RECEIVED", "STARTED"),
        ("STARTED", "SUCCESS"),
    ]
    assert [change.created for change in changes] == [True, False, False, False]
    assert {id(change.subject) for change in changes} == {id(state.tasks[UUID])}


def test_a_custom_event_is_no_transition():
    state = State()
    *_, change = state.apply([*life("received", "started"), told("task-progress", 13.0, percent=5)])
    assert change.before == change.after == "STARTED"
    assert change.subject.note["percent"] == 5


def test_a_worker_that_comes_stays_late_and_goes_is_seen_to():
    state = State()
    changes = state.apply(
        [
            told("worker-online", 1.0),
            told("worker-heartbeat", 3.0),
            told("worker-heartbeat", 13.0),
            told("worker-offline", 14.0),
            told("worker-online", 15.0, pid=78),
        ]
    )
    assert [(change.before, change.after) for change in changes] == [
        (None, "online"),
        ("online", "online"),
        ("late", "online"),
        ("online", "offline"),
        ("offline", "online"),
    ]
    assert [change.created for change in changes] == [True] + [False] * 4
    assert {change.subject.hostname for change in changes} == {WORKER}


@pytest.mark.parametrize(
    "event",
    [
        {"type": "demo-x", "uuid": UUID, "hostname": WORKER},
        {"type": "task"},
        {"type": 5},
        {"type": ["task-sent"]},
        {},
        {"type": "task-sent"},
        {"type": "task-progress", "uuid": None},
        {"type": "worker-heartbeat"},
        {"type": "worker-heartbeat", "hostname": 7},
    ],
)
def test_what_is_about_nobody_has_no_subject(event):
    state = State()
    (change,) = state.apply([event])
    assert change == Change(event)
    assert change.event is event
    assert not state.tasks
    assert not state.workers
