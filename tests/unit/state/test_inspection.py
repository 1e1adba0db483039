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


# --- tasks that may be lost -----------------------------------------------------------

NEXT = [told("worker-heartbeat", at, pid=78) for at in range(30, 61, 2)]
HAS = {"active": True, "reserved": True, "none": False}


def asked(state, answer, now=60.5):
    """Have the worker answer a question for the task: it is active, reserved, or not there."""
    if answer == "none":
        return state.seed(WORKER, [], now, absent=[UUID, "another"])
    return seeded(state, answer, now)


@pytest.mark.parametrize("answer", HAS)
def test_where_a_worker_was_restarted_its_answer_says_if_a_task_is_lost(answer):
    state = state_of(*life("received", "started"), *NEXT)
    task = state.tasks[UUID]
    assert (task.lost(60.5), task.missing_at(60.5)) == (True, None)
    asked(state, answer)
    assert task in state.tasks.changed_since(state.event_count - 1)
    assert task.lost(61.0) is not HAS[answer]
    assert task.missing_at(61.0) == (None if HAS[answer] else 60.5)
    found = task.current_answer(61.0)
    assert (found.has, found.runs) == (HAS[answer], answer == "active")
    assert (task.state, task.pid) == ("STARTED", 77)
    # Of the next process it says nothing.
    state.apply(told("worker-heartbeat", at, pid=79) for at in range(70, 91, 2))
    assert (task.lost(90.5), task.current_answer(90.5)) == (True, None)
    assert task.missing_at(90.5) == (None if HAS[answer] else 60.5)


@pytest.mark.parametrize("answer", HAS)
@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("events", [EVENTS, life("received", "started", "failed")])
def test_no_answer_on_a_lost_task_contradicts_its_events(events, answer, after):
    plain = account(state_of(*NEXT, *events).tasks[UUID])
    names = {"exchange", "routing_key", "queue", "local_received"}
    for order in permutations(events):
        state = state_of(*NEXT, *order[:after])
        asked(state, answer)
        state.apply(order[after:])
        task = state.tasks[UUID]
        found = account(task)
        assert {name for name in plain if found[name] != plain[name]} <= names, order
        assert not task.lost(61.0)
        assert task.missing_at(61.0) is None
        if after < len(order):
            assert task.current_answer(61.0) is None


def test_what_came_of_a_task_after_the_answer_counts_more():
    state = state_of(*life("received"), *NEXT)
    asked(state, "none")
    task = state.tasks[UUID]
    assert task.missing_at(61.0) == 60.5
    state.apply(life("started", start=11.0))
    assert (task.lost(61.0), task.missing_at(61.0)) == (True, None)
    state.apply(life("received", start=61.0, hostname="celery@two"))
    assert (task.lost(62.0), task.worker_name) == (False, "celery@two")


def test_an_answer_on_a_task_that_is_not_in_doubt_is_none():
    # Its end may be on the way, and the other of two processes may have it.
    for more in ([told("worker-heartbeat", 12.0)], [told("worker-heartbeat", 12.0, pid=78)]):
        state = state_of(*life("received", "started"), *more)
        asked(state, "none", 12.5)
        assert state.tasks[UUID].worker_answer is None
        assert not state.tasks[UUID].lost(12.5)
    two = [told("worker-heartbeat", at, pid=pid) for at in range(30, 61, 2) for pid in (78, 79)]
    state = state_of(*life("received", "started"), *two)
    asked(state, "none")
    assert state.tasks[UUID].current_answer(60.5) is None


@pytest.mark.parametrize(("pid", "lost"), [(77, False), (78, True), (None, False)])
def test_an_answer_brings_a_worker_back_and_its_tasks_if_it_is_the_same_process(pid, lost):
    state = state_of(*life("received", "started"))
    task, worker = state.tasks[UUID], state.workers[WORKER]
    worker.begins = False
    assert (worker.status(100.0), task.lost(100.0)) == ("gone", True)
    state.answered(WORKER, 100.0, pid)
    state.answered("nobody@x", 100.0, pid)
    assert (worker.status(100.0), worker.pid) == ("online", pid or 77)
    assert (task.lost(101.0), task.in_doubt(101.0)) == (lost, True)
    asked(state, "none", 101.0)
    assert (task.lost(102.0), task.missing_at(102.0)) == (True, 101.0)
    asked(state, "active", 103.0)
    assert (task.lost(104.0), task.current_answer(104.0).runs) == (False, True)
