"""The store: a mapping of tasks by uuid, what is forgotten first, and who belongs to whom."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state import State, Task
from evtools.state.attempts import MOMENTS
from evtools.state.store import Interner, TaskTree

BAD = ("FAILURE", "REVOKED", "REJECTED", "CANCELLED")
OPEN = ("PENDING", "RECEIVED", "STARTED", "RETRY")


class Filler:
    """A store, and tasks put into it one after the other."""

    def __init__(self):
        self.store = State().tasks
        self._numbers = count(1)

    def put(self, state, uuid=None):
        number = next(self._numbers)
        task = Task(uuid or f"u{number}", state=state, serial=number)
        task.stored_in = self.store.of_state[state]
        task.stored_in[task.uuid] = task
        return task

    def put_all(self, **counts):
        for state, many in counts.items():
            for _ in range(many):
                self.put(state)
        return self.store

    def counts(self):
        store = self.store
        return len(store.done), len(store.bad), len(store.open)


@pytest.fixture
def filler():
    return Filler()


# --- a mapping ---------------------------------------------------------------------


def test_every_state_has_its_bucket(filler):
    store = filler.store
    assert set(store.of_state) == set(MOMENTS)
    assert store.of_state["SUCCESS"] is store.done
    assert all(store.of_state[state] is store.bad for state in BAD)
    assert all(store.of_state[state] is store.open for state in OPEN)


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "STARTED"])
def test_a_task_is_found_wherever_it_is(filler, state):
    task = filler.put(state, "u")
    store = filler.store
    assert store["u"] is store.find("u") is store.get("u") is task
    assert "u" in store


def test_what_is_not_there_is_a_key_error_or_none(filler):
    store = filler.store
    assert store.find("u") is store.get("u") is None
    assert "u" not in store
    with pytest.raises(KeyError, match="u"):
        store["u"]


def test_it_reads_as_one_mapping(filler):
    tasks = {task.uuid: task for task in map(filler.put, ("STARTED", *BAD, "SUCCESS"))}
    store = filler.store
    assert dict(store) == tasks
    assert dict(store.items()) == tasks
    assert set(store.values()) == set(tasks.values())
    assert set(store.keys()) == set(store) == set(tasks)
    assert len(store) == len(store.values()) == len(store.items()) == 6
    assert repr(store) == repr(dict(store))
    assert dict(store.iteritems()) == store.copy() == tasks
    assert list(store.itervalues()) == list(store.values())
    assert list(store.iterkeys()) == list(store)


def test_its_views_show_what_comes_later(filler):
    values, items = filler.store.values(), filler.store.items()
    task = filler.put("SUCCESS", "u")
    assert list(values) == [task]
    assert list(items) == [("u", task)]


def test_a_task_that_moves_is_the_newest_of_its_bucket(filler):
    filler.put("SUCCESS", "a")
    task = filler.put("STARTED", "b")
    store = filler.store
    task.state = "SUCCESS"
    store.move(task)
    assert list(store.done) == ["a", "b"]
    assert not store.open
    assert task.stored_in is store.done


# --- time --------------------------------------------------------------------------


def test_by_time_goes_across_the_buckets(filler):
    states = ("STARTED", "SUCCESS", "FAILURE", "SUCCESS", "RETRY")
    tasks = [filler.put(state) for state in states]
    assert list(filler.store.by_time(newest_first=False)) == tasks
    assert list(filler.store.by_time(newest_first=True)) == tasks[::-1]


def test_what_was_heard_of_since_an_event_goes_across_the_buckets(filler):
    states = ("STARTED", "SUCCESS", "FAILURE", "SUCCESS", "RETRY")
    tasks = [filler.put(state) for state in states]
    for serial in range(len(tasks) + 1):
        assert filler.store.changed_since(serial) == tasks[serial:]


# --- what is forgotten -------------------------------------------------------------


def test_finished_tasks_go_before_open_ones(filler):
    store = filler.put_all(STARTED=5, SUCCESS=5)
    assert [task.state for task in store.forget(1)] == ["SUCCESS"]


def test_the_oldest_goes_first(filler):
    store = filler.put_all(SUCCESS=10)
    assert [task.uuid for task in store.forget(3)] == ["u1", "u2", "u3"]
    assert store.find("u1") is None
    assert store.find("u4") is not None


def test_failures_outlive_successes(filler):
    store = filler.put_all(FAILURE=5, SUCCESS=50)
    while filler.counts()[0] > 2:
        assert {task.state for task in store.forget(4)} == {"SUCCESS"}


def test_failures_alone_do_not_drive_out_the_successes(filler):
    store = filler.put_all(SUCCESS=10, FAILURE=90)
    forgotten = [task for _ in range(50) for task in store.forget(1)]
    assert {task.state for task in forgotten} == {"FAILURE"}
    assert filler.counts() == (10, 40, 0)


def test_when_few_are_finished_the_oldest_open_ones_go(filler):
    store = filler.put_all(SUCCESS=1, STARTED=20)
    assert [task.uuid for task in store.forget(2)] == ["u2", "u3"]


def test_the_last_task_can_go_whatever_it_is(filler):
    for state in ("SUCCESS", "FAILURE", "STARTED"):
        task = filler.put(state)
        assert filler.store.forget(5) == [task]
        assert len(filler.store) == 0


_COUNTS = st.integers(0, 12)


@given(_COUNTS, _COUNTS, _COUNTS, st.integers(1, 40))
def test_forgetting_always_ends(done, bad, still_open, count):
    filler = Filler()
    store = filler.put_all(SUCCESS=done, FAILURE=bad, STARTED=still_open)
    while store:
        before = len(store)
        forgotten = store.forget(count)
        assert 1 <= len(forgotten) <= count
        assert len(store) == before - len(forgotten)
        assert not any(store.find(task.uuid) for task in forgotten)


# --- all at once -------------------------------------------------------------------


def test_finished_tasks_can_be_cleared_alone(filler):
    store = filler.put_all(SUCCESS=2, FAILURE=3, STARTED=4)
    store.clear(finished_only=True)
    assert filler.counts() == (0, 0, 4)


def test_all_tasks_can_be_cleared(filler):
    store = filler.put_all(SUCCESS=2, FAILURE=3, STARTED=4)
    store.clear()
    assert not store


# --- workflows ----------------------------------------------------------------------

_UUIDS = st.sampled_from("abcd")
_KEYS = st.none() | _UUIDS
_CHANGES = st.lists(st.tuples(_UUIDS, _KEYS, _KEYS) | st.tuples(_UUIDS), min_size=1, max_size=30)


@given(_CHANGES)
def test_a_tree_holds_what_was_added_last_and_nothing_else(changes):
    tree, known = TaskTree(), {}
    for uuid, *keys in changes:
        if keys:
            tree.add(uuid, *keys)
            known[uuid] = keys
        else:
            tree.discard(uuid)
            known.pop(uuid, None)
    for key in "abcd":
        of_parent = {uuid for uuid, (parent, _) in known.items() if parent == key}
        of_root = {uuid for uuid, (_, root) in known.items() if root == key != uuid}
        assert set(tree.children(key)) == of_parent
        assert set(tree.family(key)) == of_root
    for uuid in known:
        tree.discard(uuid)
    assert vars(tree) == vars(TaskTree())


def test_children_and_families_are_in_the_order_in_which_they_were_added():
    tree = TaskTree()
    for uuid in ("b", "a", "c", "b"):
        tree.add(uuid, "parent", "root")
    assert tree.children("parent") == tree.family("root") == ("b", "a", "c")


# --- names --------------------------------------------------------------------------


def test_equal_names_are_kept_once_and_not_without_end():
    names = Interner()
    one, other = (b"shop.pay".decode() for _ in range(2))
    assert names[one] is names[other] is one
    assert names[None] is None
    assert names["x" * 300] == "x" * 300
    assert len(names) == 1
    for number in range(10_000):
        assert names[f"n{number}"] == f"n{number}"
    assert len(names) <= 4096
