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

from evtools.cam.snapshot import Gap, PendingChanges, SnapshotInfo, SnapshotSequence, dry_run
from evtools.state import State
from evtools.wire import GAP, from_fields, gap
from tools.told import OTHER, WORKER, told


def sequence_of(*events, started=100.0, **settings):
    state = State()
    state.apply(events)
    return SnapshotSequence(state.workers, started=started, **settings)


def test_a_snapshot_has_an_origin_a_number_and_a_period():
    sequence = sequence_of(started=100.5)
    host, pid = socket.gethostname(), os.getpid()
    first = sequence.next(103.0)
    assert first.evcam == sequence.evcam == f"{host}:{pid}:100.500"
    assert (first.host, first.pid, first.started) == (host, pid, 100.5)
    assert (first.sequence, first.since, first.connected, first.warm) == (1, 100.5, False, False)
    second = sequence.next(110.0)
    assert (second.sequence, second.since, second.at, second.period) == (2, 103.0, 110.0, 7.0)
    # The clock was set back.
    third = sequence.next(105.0)
    assert (third.since, third.at, third.period) == (110.0, 105.0, 0.0)


@pytest.mark.parametrize(
    ("event", "warm_up", "warm_at"),
    [
        (told("worker-heartbeat", freq=5.0), 2.0, 105.0),
        (told("worker-heartbeat", freq=0.5), 3.0, 103.0),
        (told("worker-heartbeat", freq=300.0), 2.0, 160.0),  # no worker can prolong it further
        (told("task-received"), 2.0, 102.0),  # which has no heartbeats
    ],
)
def test_it_is_warm_when_every_worker_should_have_sent_a_heartbeat(event, warm_up, warm_at):
    sequence = sequence_of(event, warm_up=warm_up)
    sequence.subscribed(100.0)
    assert [sequence.next(at).warm for at in (warm_at - 0.1, warm_at)] == [False, True]


@pytest.mark.parametrize("how", ["a notice", "the gap record of a recording"])
def test_after_a_loss_of_connection_it_has_to_warm_up_again(how):
    sequence = sequence_of()
    sequence.subscribed(100.0)
    assert sequence.is_warm(102.0)
    if how == "a notice":
        sequence.subscribed(110.0)
    else:
        sequence.note(gap("reconnect", 105.0, 110.0))
    assert [sequence.is_warm(at) for at in (111.0, 112.0)] == [False, True]


def test_gaps_belong_to_the_next_snapshot_only():
    sequence = sequence_of()
    sequence.note(gap("reconnect", 101.0, 103.0, error="x"))
    sequence.note(gap("buffer", 104.0, 105.0, dropped=7))
    sequence.note(gap("worker", 105.0, 105.0, hostname="w", missed=3))
    info = sequence.next(110.0)
    assert info.gaps == (Gap("reconnect", 101.0, 103.0), Gap("buffer", 104.0, 105.0, dropped=7))
    assert (info.dropped, info.missed) == (7, 3)
    written = msgspec.json.decode(msgspec.json.encode(info.as_dict()))
    assert written["gaps"][1] == {"reason": "buffer", "from": 104.0, "to": 105.0, "dropped": 7}
    assert set(written) == set(SnapshotInfo.__slots__)
    after = sequence.next(120.0)
    assert (after.gaps, after.dropped, after.missed) == ((), 0, 0)


def test_many_gaps_become_one():
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
    sequence.note(from_fields({"type": GAP, **record}))
    info = sequence.next(110.0)
    assert min(info.dropped, info.missed) >= 0
    for each in info.gaps:
        assert 0 <= each.start <= each.end < 2**53


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=20))
def test_whatever_fails_nothing_is_reported_twice_or_not_at_all(snapshots):
    sequence, at, lost = sequence_of(), 100.0, 0
    sequence.subscribed(at)
    seen = []
    for number, fails in [*snapshots, (0, False)]:
        at += 1.0
        lost += number
        if number:
            sequence.note(gap("buffer", at - 0.5, at, dropped=number))
            sequence.note(gap("worker", at, at, missed=number))
        info = sequence.next(at)
        if fails:
            sequence.restore(info)
        else:
            seen.append(info)
    assert sum(info.dropped for info in seen) == sum(info.missed for info in seen) == lost
    starts = [each.start for info in seen for each in info.gaps]
    assert starts == sorted(starts)
    assert [info.sequence for info in seen] == list(range(1, len(seen) + 1))
    assert seen[0].since == 100.0
    for before, after in itertools.pairwise(seen):
        assert after.since == before.at


# === what changed ====================================================================

LIFE = ("sent", "received", "started", "succeeded")


@pytest.fixture
def state():
    return State(max_tasks_in_memory=3)


@pytest.fixture
def changes(state):
    return PendingChanges(state)


def apply(changes, *steps, **fields):
    events = [
        told(f"task-{step}", 10.0 + LIFE.index(step), uuid=uuid, root_id=uuid, **fields)
        for uuid, step in steps
    ]
    changes.observe(changes.state.apply(events))


def receive(changes, uuids, **fields):
    """Let a task be received for each letter, one after the other."""
    for uuid in uuids:
        apply(changes, (uuid, "received"), **fields)


def uuids(taken):
    return "".join(task.uuid for task in taken.tasks)


def test_workers_change_with_their_events_and_those_of_tasks(changes):
    beats = [told("worker-heartbeat", 1.0), told("worker-heartbeat", 1.0, hostname=OTHER)]
    changes.observe(changes.state.apply(beats))
    assert [worker.hostname for worker in changes.take().workers] == [WORKER, OTHER]
    receive(changes, "a")
    assert [worker.hostname for worker in changes.take().workers] == [WORKER]


def test_what_the_state_forgets_is_kept_until_it_is_taken(changes):
    for uuid in "abcdefgh":
        apply(changes, (uuid, "received"), (uuid, "started"), (uuid, "succeeded"))
    assert len(changes.state.tasks) < 4
    taken = changes.take()
    assert uuids(taken) == "abcdefgh"
    assert {task.state for task in taken.tasks} == {"SUCCESS"}
    assert (changes.overflow, changes._kept, changes._kept_bytes) == (0, {}, 0)
    # Not if it has not changed.
    receive(changes, "ijklmn")
    assert uuids(changes.take()) == "ijklmn"


def test_a_task_that_comes_back_is_there_twice(changes):
    receive(changes, "abcde")
    assert "a" not in changes.state.tasks
    apply(changes, ("a", "succeeded"))
    before, after = (task for task in changes.take().tasks if task.uuid == "a")
    assert (before.state, before.name) == ("RECEIVED", "shop.pay")
    assert (after.state, after.name) == ("SUCCESS", None)


def test_beyond_the_bounds_the_oldest_are_dropped_and_counted(state):
    changes = PendingChanges(state, max_tasks=2)
    receive(changes, "abcdefgh")
    kept = len(state.tasks) + 2
    assert changes.overflow == 8 - kept
    assert uuids(changes.take()) == "abcdefgh"[-kept:]


def test_their_size_is_bounded_too(state):
    changes = PendingChanges(state, max_bytes=5000)
    receive(changes, "abcdefgh", args="x" * 2000)
    assert changes.overflow > 0
    assert changes._kept_bytes <= 5000
    assert len(changes) == len(changes._kept) + len(state.tasks)


def test_what_could_not_be_written_is_taken_with_the_next(changes):
    receive(changes, "ab")
    taken = changes.take()
    apply(changes, ("c", "received"), ("a", "started"))
    changes.restore(taken)
    again = changes.take()
    assert uuids(again) == "abc"
    assert again.tasks[0].state == "STARTED"
    assert [worker.hostname for worker in again.workers] == [WORKER]


def test_what_was_forgotten_meanwhile_is_bounded_again(state):
    changes = PendingChanges(state, max_tasks=4)
    receive(changes, "abcd")
    taken = changes.take()
    receive(changes, "efghij")
    changes.restore(taken)
    kept = len(state.tasks) + 4
    assert changes.overflow == 10 - kept
    assert uuids(changes.take()) == "abcdefghij"[-kept:]


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
    changes = PendingChanges(state)
    open_ = set()
    for step in [*steps, "take"]:
        match step:
            case "take":
                assert open_ <= set(uuids(changes.take()))
                open_ = set()
            case "fail":
                changes.restore(changes.take())
            case "clear":
                state.clear(ready=False)
            case pair:
                apply(changes, pair)
                open_.add(pair[0])
        in_state = sum(state.tasks.find(task.uuid) is task for task in changes._tasks.values())
        assert len(changes) == in_state + len(changes._kept)
    assert changes.overflow == 0


# === dry runs ========================================================================


@dataclass
class Row:
    name: str
    size: float


class Odd:
    def __repr__(self):
        return "<Odd>"


class Plain:
    def as_dict(self):
        return {"plain": True}


@pytest.mark.parametrize(
    ("snapshot", "printed"),
    [
        ({"a": 1, "b": [None, True]}, {"a": 1, "b": [None, True]}),
        ((Row("x", 1.5),), [{"name": "x", "size": 1.5}]),
        (Plain(), {"plain": True}),
        ([Plain()], [{"plain": True}]),
        ({1: "x"}, {"1": "x"}),
        ([Odd(), Path("/x"), {"s"}], ["<Odd>", "PosixPath('/x')", ["s"]]),
        ({(1, 2): Odd()}, {"picture": "{(1, 2): <Odd>}"}),
        ([float("nan")], [None]),
        (["\ud800", "\x1b[31mred\u202e"], ["\\ud800", "\x1b[31mred\u202e"]),
    ],
)
def test_whatever_a_snapshot_is_made_of_it_becomes_a_line_of_json(snapshot, printed):
    line = dry_run(snapshot)
    assert msgspec.json.decode(line) == printed
    # Nothing in it can harm a terminal.
    assert line.decode().isprintable()
