import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.cam.changed import Changed
from evtools.state import State
from tools.told import OTHER, WORKER, told

LIFE = ("sent", "received", "started", "succeeded")


@pytest.fixture
def state():
    return State(max_tasks_in_memory=3)


@pytest.fixture
def changed(state):
    return Changed(state)


def tell(changed, *steps, **fields):
    events = [
        told(f"task-{step}", 10.0 + LIFE.index(step), uuid=uuid, root_id=uuid, **fields)
        for uuid, step in steps
    ]
    changed.observe(changed.state.apply(events))


def uuids(changes):
    return [task.uuid for task in changes.tasks]


def test_what_changed_is_taken_once(changed):
    tell(changed, ("a", "received"), ("b", "received"), ("a", "started"))
    assert len(changed) == 2
    taken = changed.take()
    assert uuids(taken) == ["a", "b"]
    assert taken.tasks[0] is changed.state.tasks["a"]
    assert changed.take().tasks == ()
    tell(changed, ("b", "started"))
    assert uuids(changed.take()) == ["b"]


def test_workers_change_with_what_they_tell_of_tasks(changed):
    changed.observe(
        changed.state.apply(
            [told("worker-heartbeat", 1.0), told("worker-heartbeat", 1.0, hostname=OTHER)]
        )
    )
    hostnames = [worker.hostname for worker in changed.take().workers]
    assert hostnames == [WORKER, OTHER]
    tell(changed, ("a", "received"))
    assert [worker.hostname for worker in changed.take().workers] == [WORKER]


def test_what_changes_nothing_is_nothing(changed):
    changed.observe(changed.state.apply([{"type": "shop-opened"}]))
    assert changed.take() == Changed(State()).take()


def test_what_the_state_forgets_is_kept_until_it_is_taken(changed):
    for uuid in "abcdefgh":
        tell(changed, (uuid, "received"), (uuid, "started"), (uuid, "succeeded"))
    assert len(changed.state.tasks) < 4
    taken = changed.take()
    assert uuids(taken) == list("abcdefgh")
    assert {task.state for task in taken.tasks} == {"SUCCESS"}
    assert (changed.overflow, changed._kept, changed._kept_bytes) == (0, {}, 0)


def test_what_has_not_changed_is_not_kept(changed):
    tell(changed, ("a", "received"))
    changed.take()
    for uuid in "bcdefgh":
        tell(changed, (uuid, "received"))
    assert "a" not in changed.state.tasks
    assert "a" not in uuids(changed.take())


def test_a_task_that_comes_back_is_there_twice(changed):
    tell(changed, ("a", "received"))
    for uuid in "bcde":
        tell(changed, (uuid, "received"))
    assert "a" not in changed.state.tasks
    tell(changed, ("a", "succeeded"))
    before, after = (task for task in changed.take().tasks if task.uuid == "a")
    assert (before.state, before.name) == ("RECEIVED", "shop.pay")
    assert (after.state, after.name) == ("SUCCESS", None)


def test_beyond_the_bounds_the_oldest_go_and_are_counted(state):
    changed = Changed(state, max_tasks=2)
    for uuid in "abcdefgh":
        tell(changed, (uuid, "received"))
    kept = len(state.tasks) + 2
    assert changed.overflow == 8 - kept
    assert uuids(changed.take()) == list("abcdefgh")[-kept:]


def test_they_are_also_bounded_by_what_they_weigh(state):
    changed = Changed(state, max_bytes=5000)
    for uuid in "abcdefgh":
        tell(changed, (uuid, "received"), args="x" * 2000)
    assert changed.overflow > 0
    assert changed._kept_bytes <= 5000
    assert len(changed) == len(changed._kept) + len(state.tasks)


def test_what_could_not_be_written_is_taken_with_the_next(changed):
    tell(changed, ("a", "received"), ("b", "received"))
    taken = changed.take()
    tell(changed, ("c", "received"), ("a", "started"))
    changed.restore(taken)
    again = changed.take()
    assert uuids(again) == ["a", "b", "c"]
    assert again.tasks[0].state == "STARTED"
    assert [worker.hostname for worker in again.workers] == [WORKER]


def test_what_was_forgotten_meanwhile_is_bounded_again(state):
    changed = Changed(state, max_tasks=4)
    for uuid in "abcd":
        tell(changed, (uuid, "received"))
    taken = changed.take()
    for uuid in "efghij":
        tell(changed, (uuid, "received"))
    changed.restore(taken)
    kept = len(state.tasks) + 4
    assert changed.overflow == 10 - kept
    assert uuids(changed.take()) == list("abcdefghij")[-kept:]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from("abcdef"), st.sampled_from(LIFE)),
            st.sampled_from(["take", "fail", "clear"]),
        ),
        max_size=60,
    )
)
def test_whatever_happens_every_change_is_written(steps):
    state = State(max_tasks_in_memory=3)
    changed = Changed(state)
    written, open_ = set(), set()
    for step in [*steps, "take"]:
        match step:
            case "take":
                taken = changed.take()
                assert open_ <= {task.uuid for task in taken.tasks}
                written |= open_
                open_ = set()
            case "fail":
                changed.restore(changed.take())
            case "clear":
                state.clear(ready=False)
            case pair:
                tell(changed, pair)
                open_.add(pair[0])
        in_state = sum(state.tasks.find(task.uuid) is task for task in changed._tasks.values())
        assert len(changed) == in_state + len(changed._kept)
    assert changed.overflow == 0
