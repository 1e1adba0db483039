"""Tasks that workers name when they are asked, before and after their events."""

from itertools import permutations

import pytest

from evtools.state import State, tasks_in
from tools.told import UUID, WORKER, account, life, told

ACTIVE = {
    "id": UUID, "name": "shop.pay", "args": [1, "é"], "kwargs": {"x": [2]}, "type": "shop.pay",
    "hostname": WORKER, "time_start": 11.0004, "acknowledged": True, "worker_pid": 4712,
    "delivery_info": {"exchange": "", "routing_key": "celery", "priority": 0, "redelivered": False},
}  # fmt: skip
RESERVED = {**ACTIVE, "time_start": None, "acknowledged": False, "worker_pid": None}
SCHEDULED = {"eta": "2026-11-30T12:00:00+00:00", "priority": 6, "request": RESERVED}
ANSWERS = {"active": [ACTIVE], "reserved": [RESERVED], "scheduled": [SCHEDULED]}
EVENTS = life("received", "started", "succeeded")


def state_of(*events):
    state = State()
    state.apply([told("worker-heartbeat", 5.0), *events])
    return state


def seeded(state, command="active", now=15.0):
    return state.seed(WORKER, tasks_in(command, ANSWERS[command]), now)


@pytest.mark.parametrize(
    ("command", "shown"),
    [("active", "STARTED"), ("reserved", "RECEIVED"), ("scheduled", "RECEIVED")],
)
def test_a_task_without_events_has_all_that_its_worker_says(command, shown):
    state = state_of()
    [task] = seeded(state, command)
    assert state.tasks[UUID] is task
    assert (task.state, task.name, task.queue) == (shown, "shop.pay", "celery")
    assert (task.args, task.kwargs) == ("(1, 'é')", "{'x': [2]}")
    assert task.worker is state.workers[WORKER]
    assert task.started == (11.0004 if command == "active" else None)
    assert task.eta == (SCHEDULED["eta"] if command == "scheduled" else None)
    assert (task.sent, task.received, task.local_received) == (None, None, 15.0)
    assert not task.lost(16.0)


@pytest.mark.parametrize("command", ANSWERS)
@pytest.mark.parametrize("after", [*range(4)])
def test_the_events_of_a_task_end_in_the_same_whenever_its_worker_was_asked(command, after):
    plain = account(state_of(*EVENTS).tasks[UUID])
    # It names the queue and the ETA, which no event of a worker does.
    asked = {"exchange", "routing_key", "queue", "local_received"}
    asked |= {"eta", "wait"} if command == "scheduled" else set()
    for events in permutations(EVENTS):
        state = state_of(*events[:after])
        seeded(state, command)
        state.apply(events[after:])
        task = state.tasks[UUID]
        assert task.history is None
        found = account(task)
        assert {one for one in plain if found[one] != plain[one]} <= asked, events


def test_the_end_of_a_task_is_known_where_only_its_worker_named_the_start():
    state = state_of()
    seeded(state)
    state.apply(EVENTS[2:])
    task = state.tasks[UUID]
    assert (task.state, task.name, task.started) == ("SUCCESS", "shop.pay", 11.0004)


def test_an_answer_from_before_changes_no_task_that_ended():
    state = state_of(*EVENTS)
    before = account(state.tasks[UUID])
    assert seeded(state) == []
    assert account(state.tasks[UUID]) == before


def test_another_attempt_is_one_also_after_its_worker_was_asked():
    state = state_of()
    seeded(state)
    state.apply([told("task-retried", 13.0), *life("received", "started", start=20.0, retries=1)])
    task = state.tasks[UUID]
    assert (task.state, task.started, len(task.attempts)) == ("STARTED", 21.0, 1)


@pytest.mark.parametrize(
    "answer",
    [
        None, "x", {}, [None], [[]], [{}], [{"id": 7}], [{"id": ""}], [{"id": "x" * 300}],
        [{"request": {"id": UUID}}], {"error": "x"},
    ],
)  # fmt: skip
def test_what_is_no_task_is_left_out(answer):
    assert list(tasks_in("active", answer)) == []


def test_odd_values_of_a_task_are_left_out():
    odd = {name: {"x": float("nan")} for name in ACTIVE} | {"id": UUID, "time_start": float("nan")}
    [found] = tasks_in("active", [odd])
    assert (found.name, found.started, found.queue) == (None, None, None)
    for time in (10**400, -1, True, float("inf"), "12"):
        [found] = tasks_in("active", [{**ACTIVE, "time_start": time}])
        assert found.started is None
    [found] = tasks_in("active", [{**ACTIVE, "args": ["x" * 5000]}])
    assert len(found.args) == 1024
    assert found.args.endswith("...")


def test_nothing_is_taken_from_a_worker_of_which_no_event_came():
    state = State()
    assert seeded(state) == []
    assert not state.tasks
    state = state_of(*life("received", hostname="celery@other"))
    assert seeded(state) == []


def test_named_tasks_stay_within_the_bounds_of_the_state():
    state = State(max_tasks_in_memory=10)
    state.apply([told("worker-heartbeat", 5.0)])
    many = [{**RESERVED, "id": f"u{number}", "args": ["x" * 900]} for number in range(100)]
    state.seed(WORKER, tasks_in("reserved", many), 15.0)
    assert len(state.tasks) <= 10
    assert state.tasks.weight_bytes == sum(task.weight_bytes for task in state.tasks.values())
    assert state.tasks.weight_bytes > 900
