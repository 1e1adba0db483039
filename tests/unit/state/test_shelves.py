"""Shelves: a mapping of tasks by uuid, what is forgotten first, and their order."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state import State, Task
from evtools.state.transitions import MOMENTS

BAD = ("FAILURE", "REVOKED", "REJECTED", "CANCELLED")
OPEN = ("PENDING", "RECEIVED", "STARTED", "RETRY")


class Shelf:
    """Shelves, and tasks put on them one after the other."""

    def __init__(self):
        self.shelves = State().tasks
        self._numbers = count(1)

    def put(self, state, uuid=None):
        number = next(self._numbers)
        task = Task(uuid or f"u{number}", state=state, serial=number)
        task.shelf = self.shelves.of_state[state]
        task.shelf[task.uuid] = task
        return task

    def put_all(self, **counts):
        for state, many in counts.items():
            for _ in range(many):
                self.put(state)
        return self.shelves

    def counts(self):
        shelves = self.shelves
        return len(shelves.done), len(shelves.bad), len(shelves.open)


@pytest.fixture
def shelf():
    return Shelf()


# --- a mapping ---------------------------------------------------------------------


def test_every_state_has_its_shelf(shelf):
    shelves = shelf.shelves
    assert set(shelves.of_state) == set(MOMENTS)
    assert shelves.of_state["SUCCESS"] is shelves.done
    assert all(shelves.of_state[state] is shelves.bad for state in BAD)
    assert all(shelves.of_state[state] is shelves.open for state in OPEN)


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "STARTED"])
def test_a_task_is_found_wherever_it_is(shelf, state):
    task = shelf.put(state, "u")
    shelves = shelf.shelves
    assert shelves["u"] is shelves.find("u") is shelves.get("u") is task
    assert "u" in shelves


def test_what_is_not_there_is_a_key_error_or_none(shelf):
    shelves = shelf.shelves
    assert shelves.find("u") is shelves.get("u") is None
    assert "u" not in shelves
    with pytest.raises(KeyError, match="u"):
        shelves["u"]


def test_it_reads_as_one_mapping(shelf):
    tasks = {task.uuid: task for task in map(shelf.put, ("STARTED", *BAD, "SUCCESS"))}
    shelves = shelf.shelves
    assert dict(shelves) == tasks
    assert dict(shelves.items()) == tasks
    assert set(shelves.values()) == set(tasks.values())
    assert set(shelves.keys()) == set(shelves) == set(tasks)
    assert len(shelves) == len(shelves.values()) == len(shelves.items()) == 6
    assert repr(shelves) == repr(dict(shelves))
    assert dict(shelves.iteritems()) == shelves.copy() == tasks
    assert list(shelves.itervalues()) == list(shelves.values())
    assert list(shelves.iterkeys()) == list(shelves)


def test_its_views_show_what_comes_later(shelf):
    values, items = shelf.shelves.values(), shelf.shelves.items()
    task = shelf.put("SUCCESS", "u")
    assert list(values) == [task]
    assert list(items) == [("u", task)]


def test_a_task_that_moves_is_the_newest_of_its_shelf(shelf):
    shelf.put("SUCCESS", "a")
    task = shelf.put("STARTED", "b")
    shelves = shelf.shelves
    shelves.move(task, shelves.done)
    assert list(shelves.done) == ["a", "b"]
    assert not shelves.open
    assert task.shelf is shelves.done


# --- time --------------------------------------------------------------------------


def test_by_time_goes_across_the_shelves(shelf):
    states = ("STARTED", "SUCCESS", "FAILURE", "SUCCESS", "RETRY")
    tasks = [shelf.put(state) for state in states]
    assert list(shelf.shelves.by_time(newest_first=False)) == tasks
    assert list(shelf.shelves.by_time(newest_first=True)) == tasks[::-1]


def test_what_was_heard_of_since_an_event_goes_across_the_shelves(shelf):
    states = ("STARTED", "SUCCESS", "FAILURE", "SUCCESS", "RETRY")
    tasks = [shelf.put(state) for state in states]
    for serial in range(len(tasks) + 1):
        assert shelf.shelves.heard_since(serial) == tasks[serial:]


# --- what is forgotten -------------------------------------------------------------


def test_finished_tasks_go_before_open_ones(shelf):
    shelves = shelf.put_all(STARTED=5, SUCCESS=5)
    assert [task.state for task in shelves.forget(1)] == ["SUCCESS"]


def test_the_oldest_goes_first(shelf):
    shelves = shelf.put_all(SUCCESS=10)
    assert [task.uuid for task in shelves.forget(3)] == ["u1", "u2", "u3"]
    assert shelves.find("u1") is None
    assert shelves.find("u4") is not None


def test_failures_outlive_successes(shelf):
    shelves = shelf.put_all(FAILURE=5, SUCCESS=50)
    while shelf.counts()[0] > 2:
        assert {task.state for task in shelves.forget(4)} == {"SUCCESS"}


def test_failures_alone_do_not_drive_out_the_successes(shelf):
    shelves = shelf.put_all(SUCCESS=10, FAILURE=90)
    forgotten = [task for _ in range(50) for task in shelves.forget(1)]
    assert {task.state for task in forgotten} == {"FAILURE"}
    assert shelf.counts() == (10, 40, 0)


def test_when_few_are_finished_the_oldest_open_ones_go(shelf):
    shelves = shelf.put_all(SUCCESS=1, STARTED=20)
    assert [task.uuid for task in shelves.forget(2)] == ["u2", "u3"]


def test_the_last_task_can_go_whatever_it_is(shelf):
    for state in ("SUCCESS", "FAILURE", "STARTED"):
        task = shelf.put(state)
        assert shelf.shelves.forget(5) == [task]
        assert len(shelf.shelves) == 0


_COUNTS = st.integers(0, 12)


@given(_COUNTS, _COUNTS, _COUNTS, st.integers(1, 40))
def test_forgetting_always_ends(done, bad, still_open, count):
    shelf = Shelf()
    shelves = shelf.put_all(SUCCESS=done, FAILURE=bad, STARTED=still_open)
    while shelves:
        before = len(shelves)
        forgotten = shelves.forget(count)
        assert 1 <= len(forgotten) <= count
        assert len(shelves) == before - len(forgotten)
        assert not any(shelves.find(task.uuid) for task in forgotten)


# --- all at once -------------------------------------------------------------------


def test_finished_tasks_can_be_cleared_alone(shelf):
    shelves = shelf.put_all(SUCCESS=2, FAILURE=3, STARTED=4)
    shelves.clear(finished_only=True)
    assert shelf.counts() == (0, 0, 4)


def test_all_tasks_can_be_cleared(shelf):
    shelves = shelf.put_all(SUCCESS=2, FAILURE=3, STARTED=4)
    shelves.clear()
    assert not shelves
