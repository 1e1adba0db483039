"""Snapshots: their information, the changes in them, and dry runs."""

import itertools
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.cam.snapshot import (
    Gap,
    PendingChanges,
    SnapshotInfo,
    SnapshotSequence,
    dry_run,
    summary,
)
from evtools.state import State
from tools.gaps import gap
from tools.told import OTHER, WORKER, told


def sequence_of(*events, started=100.0, **settings):
    state = State()
    state.apply(events)
    return SnapshotSequence(state.workers, started=started, **settings)


def test_a_info_says_who_took_it_and_which_one_it_is():
    sequence = sequence_of(started=100.5)
    info = sequence.next(110.0)
    name = f"{socket.gethostname()}:{os.getpid()}:100.500"
    assert info.evcam == sequence.evcam == name
    assert (info.host, info.pid, info.started) == (*(socket.gethostname(), os.getpid(), 100.5),)
    assert info.sequence == 1
    assert sequence.next(120.0).sequence == 2


def test_a_period_begins_where_the_one_before_ended():
    sequence = sequence_of()
    sequence.subscribed(105.0)
    first, second = sequence.next(110.0), sequence.next(112.5)
    assert (first.since, first.at, first.period) == (105.0, 110.0, 5.0)
    assert (second.since, second.at, second.period) == (110.0, 112.5, 2.5)


def test_without_a_connection_the_first_period_begins_at_the_start():
    info = sequence_of(started=100.0).next(103.0)
    assert (info.since, info.connected, info.warm) == (100.0, False, False)


def test_a_clock_that_is_set_back_makes_no_negative_period():
    sequence = sequence_of()
    sequence.next(200.0)
    info = sequence.next(150.0)
    assert (info.since, info.at, info.period) == (200.0, 150.0, 0.0)


def test_a_connection_comes_and_goes():
    sequence = sequence_of()
    sequence.subscribed(100.0)
    assert sequence.next(101.0).connected
    sequence.lost()
    assert not sequence.next(102.0).connected
    sequence.subscribed(102.5)
    info = sequence.next(103.0)
    assert (info.connected, info.since) == (True, 102.0)


# --- warm-up -----------------------------------------------------------------------


def test_it_is_warm_when_every_worker_should_have_told_of_itself():
    sequence = sequence_of(told("worker-heartbeat", freq=5.0))
    sequence.subscribed(100.0)
    assert [sequence.next(at).warm for at in (102.0, 104.9, 105.0)] == [False, False, True]


def test_after_a_loss_of_connection_it_has_to_warm_up_again():
    sequence = sequence_of()
    sequence.subscribed(100.0)
    assert sequence.is_warm(102.0)
    sequence.subscribed(110.0)
    assert not sequence.is_warm(111.0)
    sequence = sequence_of()
    sequence.subscribed(100.0)
    sequence.note(gap("reconnect", 105.0, 110.0))
    assert not sequence.is_warm(111.0)
    assert sequence.is_warm(112.0)


def test_nobody_keeps_it_cold_by_what_is_sent():
    sequence = sequence_of(told("worker-heartbeat", freq=300.0))
    sequence.subscribed(100.0)
    assert [sequence.is_warm(at) for at in (159.0, 160.0)] == [False, True]


def test_a_worker_without_heartbeats_does_not_count():
    sequence = sequence_of(told("task-received"))
    sequence.subscribed(100.0)
    assert sequence.is_warm(102.0)


# --- holes -------------------------------------------------------------------------


def test_holes_are_told_by_the_next_info_only():
    sequence = sequence_of()
    sequence.note(gap("reconnect", 101.0, 103.0, error="x"))
    sequence.note(gap("buffer", 104.0, 105.0, dropped=7))
    sequence.note(gap("worker", 105.0, 105.0, hostname="w", missed=3))
    info = sequence.next(110.0)
    assert info.gaps == (Gap("reconnect", 101.0, 103.0), Gap("buffer", 104.0, 105.0, dropped=7))
    assert (info.dropped, info.missed) == (7, 3)
    after = sequence.next(120.0)
    assert (after.gaps, after.dropped, after.missed) == ((), 0, 0)


def test_many_holes_become_one():
    sequence = sequence_of()
    for number in range(250):
        sequence.note(gap("buffer", number, number + 0.5, dropped=1))
    info = sequence.next(300.0)
    assert len(info.gaps) == 100
    assert info.gaps[98] == Gap("buffer", 98.0, 98.5, dropped=1)
    assert info.gaps[99] == Gap("several", 99.0, 249.5, dropped=151)
    assert info.dropped == 250 == sum(each.dropped for each in info.gaps)


@given(
    st.dictionaries(
        st.sampled_from(["reason", "from", "to", "dropped", "missed", "duration"]),
        st.one_of(
            st.sampled_from(["reconnect", "buffer", "worker", "stopped"]),
            st.none(),
            st.integers(),
            st.floats(),
            st.text(),
            st.lists(st.integers(), max_size=2),
        ),
    )
)
def test_a_gap_record_of_a_file_may_say_anything(record):
    sequence = sequence_of()
    sequence.note(record)
    info = sequence.next(110.0)
    assert info.dropped >= 0
    assert info.missed >= 0
    for each in info.gaps:
        assert 0 <= each.start <= each.end < 2**53


# --- failures ----------------------------------------------------------------------


def test_a_info_that_is_given_back_is_told_by_the_next():
    sequence = sequence_of()
    sequence.subscribed(100.0)
    sequence.note(gap("buffer", 101.0, 102.0, dropped=7))
    sequence.note(gap("worker", 105.0, 105.0, missed=3))
    failed = sequence.next(110.0)
    sequence.note(gap("buffer", 111.0, 112.0, dropped=1))
    sequence.restore(failed)
    info = sequence.next(120.0)
    assert (info.sequence, info.since, info.period) == (1, 100.0, 20.0)
    assert [each.start for each in info.gaps] == [101.0, 111.0]
    assert (info.dropped, info.missed) == (8, 3)
    assert sequence.next(130.0).sequence == 2


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=20))
def test_whatever_fails_nothing_is_told_twice_or_not_at_all(shots):
    sequence, at, lost = sequence_of(), 100.0, 0
    sequence.subscribed(at)
    seen = []
    for dropped, fails in [*shots, (0, False)]:
        at += 1.0
        lost += dropped
        if dropped:
            sequence.note(gap("buffer", at - 0.5, at, dropped=dropped))
        info = sequence.next(at)
        if fails:
            sequence.restore(info)
        else:
            seen.append(info)
    assert sum(info.dropped for info in seen) == lost
    assert [info.sequence for info in seen] == list(range(1, len(seen) + 1))
    assert seen[0].since == 100.0
    for before, after in itertools.pairwise(seen):
        assert after.since == before.at


# --- as JSON -----------------------------------------------------------------------


def test_it_can_be_written_as_json():
    sequence = sequence_of()
    sequence.note(gap("buffer", 101.0, 102.0, dropped=7))
    info = sequence.next(110.0)
    written = msgspec.json.decode(msgspec.json.encode(info.as_dict()))
    assert written["gaps"] == [{"reason": "buffer", "from": 101.0, "to": 102.0, "dropped": 7}]
    assert written["evcam"] == info.evcam
    assert set(written) == set(SnapshotInfo.__slots__)


# === what changed ====================================================================


LIFE = ("sent", "received", "started", "succeeded")


@pytest.fixture
def state():
    return State(max_tasks_in_memory=3)


@pytest.fixture
def changed(state):
    return PendingChanges(state)


def apply(changed, *steps, **fields):
    events = [
        told(f"task-{step}", 10.0 + LIFE.index(step), uuid=uuid, root_id=uuid, **fields)
        for uuid, step in steps
    ]
    changed.observe(changed.state.apply(events))


def uuids(changes):
    return [task.uuid for task in changes.tasks]


def test_what_changed_is_taken_once(changed):
    apply(changed, ("a", "received"), ("b", "received"), ("a", "started"))
    assert len(changed) == 2
    taken = changed.take()
    assert uuids(taken) == ["a", "b"]
    assert taken.tasks[0] is changed.state.tasks["a"]
    assert changed.take().tasks == ()
    apply(changed, ("b", "started"))
    assert uuids(changed.take()) == ["b"]


def test_workers_change_with_what_they_tell_of_tasks(changed):
    changed.observe(
        changed.state.apply(
            [told("worker-heartbeat", 1.0), told("worker-heartbeat", 1.0, hostname=OTHER)]
        )
    )
    hostnames = [worker.hostname for worker in changed.take().workers]
    assert hostnames == [WORKER, OTHER]
    apply(changed, ("a", "received"))
    assert [worker.hostname for worker in changed.take().workers] == [WORKER]


def test_what_the_state_forgets_is_kept_until_it_is_taken(changed):
    for uuid in "abcdefgh":
        apply(changed, (uuid, "received"), (uuid, "started"), (uuid, "succeeded"))
    assert len(changed.state.tasks) < 4
    taken = changed.take()
    assert uuids(taken) == list("abcdefgh")
    assert {task.state for task in taken.tasks} == {"SUCCESS"}
    assert (changed.overflow, changed._kept, changed._kept_bytes) == (0, {}, 0)


def test_what_has_not_changed_is_not_kept(changed):
    apply(changed, ("a", "received"))
    changed.take()
    for uuid in "bcdefgh":
        apply(changed, (uuid, "received"))
    assert "a" not in changed.state.tasks
    assert "a" not in uuids(changed.take())


def test_a_task_that_comes_back_is_there_twice(changed):
    apply(changed, ("a", "received"))
    for uuid in "bcde":
        apply(changed, (uuid, "received"))
    assert "a" not in changed.state.tasks
    apply(changed, ("a", "succeeded"))
    before, after = (task for task in changed.take().tasks if task.uuid == "a")
    assert (before.state, before.name) == ("RECEIVED", "shop.pay")
    assert (after.state, after.name) == ("SUCCESS", None)


def test_beyond_the_bounds_the_oldest_go_and_are_counted(state):
    changed = PendingChanges(state, max_tasks=2)
    for uuid in "abcdefgh":
        apply(changed, (uuid, "received"))
    kept = len(state.tasks) + 2
    assert changed.overflow == 8 - kept
    assert uuids(changed.take()) == list("abcdefgh")[-kept:]


def test_they_are_also_bounded_by_what_they_weigh(state):
    changed = PendingChanges(state, max_bytes=5000)
    for uuid in "abcdefgh":
        apply(changed, (uuid, "received"), args="x" * 2000)
    assert changed.overflow > 0
    assert changed._kept_bytes <= 5000
    assert len(changed) == len(changed._kept) + len(state.tasks)


def test_what_could_not_be_written_is_taken_with_the_next(changed):
    apply(changed, ("a", "received"), ("b", "received"))
    taken = changed.take()
    apply(changed, ("c", "received"), ("a", "started"))
    changed.restore(taken)
    again = changed.take()
    assert uuids(again) == ["a", "b", "c"]
    assert again.tasks[0].state == "STARTED"
    assert [worker.hostname for worker in again.workers] == [WORKER]


def test_what_was_forgotten_meanwhile_is_bounded_again(state):
    changed = PendingChanges(state, max_tasks=4)
    for uuid in "abcd":
        apply(changed, (uuid, "received"))
    taken = changed.take()
    for uuid in "efghij":
        apply(changed, (uuid, "received"))
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
    changed = PendingChanges(state)
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
                apply(changed, pair)
                open_.add(pair[0])
        in_state = sum(state.tasks.find(task.uuid) is task for task in changed._tasks.values())
        assert len(changed) == in_state + len(changed._kept)
    assert changed.overflow == 0


# === dry runs ========================================================================


@dataclass
class Row:
    name: str
    size: float


class Odd:
    def __repr__(self):
        return "<Odd>"


class Plain:
    __slots__ = ()

    def as_dict(self):
        return {"plain": True}


@pytest.mark.parametrize(
    ("picture", "printed"),
    [
        ({"a": 1, "b": [None, True]}, {"a": 1, "b": [None, True]}),
        ((Row("x", 1.5),), [{"name": "x", "size": 1.5}]),
        (Plain(), {"plain": True}),
        ({1: "x"}, {"1": "x"}),
        ([Odd(), Path("/x"), {"s"}], ["<Odd>", "PosixPath('/x')", ["s"]]),
    ],
)
def test_whatever_a_picture_is_made_of_it_becomes_json(picture, printed):
    assert msgspec.json.decode(dry_run(picture)) == printed


def test_nothing_in_it_can_harm_a_terminal():
    line = dry_run({"name": "\x1b[31mred\u202e"})
    assert line.decode().isprintable()
    assert b"\n" not in line


def test_what_cannot_be_a_key_or_a_value_is_shown_somehow():
    assert dry_run({(1, 2): Odd()}) == b'{"picture":"{(1, 2): <Odd>}"}'
    assert dry_run([float("nan"), "\ud800"])


def test_a_state_is_summed_up():
    state = State()
    state.apply(
        [
            *(told("worker-heartbeat"), told("worker-heartbeat", hostname=OTHER)),
            *(told("worker-offline", 11.0, hostname=OTHER), told("task-received")),
            told("task-succeeded", uuid="b"),
        ]
    )
    told_of = summary(state, SnapshotSequence(state.workers, started=9.0).next(12.0))
    assert told_of["tasks"] == {"RECEIVED": 1, "SUCCESS": 1}
    assert told_of["workers"] == {"celery@one": "online", "celery@two": "offline"}
    assert (told_of["sequence"], told_of["event_count"], told_of["task_count"]) == (1, 5, 1)
