"""Snapshots: their information, dry runs, and the steps of tasks that are counted once each."""

import os
import socket
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.cam.snapshot import STEPS, WAITED, Gap, SnapshotInfo, SnapshotSequence, Steps, dry_run
from evtools.state import State
from evtools.wire import GAP, from_fields, gap
from tools.stories import STORIES
from tools.told import life, told


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
    assert sequence.next(102.0).warm
    last = 102.0
    if how == "a notice":
        sequence.lost()
        last = 105.0
        assert not sequence.next(last).connected
        sequence.subscribed(110.0)
    else:
        sequence.note(gap("reconnect", 105.0, 110.0))
    infos = [sequence.next(at) for at in (111.0, 112.0)]
    assert [(info.warm, info.connected) for info in infos] == [(False, True), (True, True)]
    assert infos[0].since == last


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
    assert set(written) == {*SnapshotInfo.__slots__} - {"cluster"}
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
    assert info.dropped == 250


@given(
    st.dictionaries(
        st.sampled_from(["reason", "from", "to", "dropped", "missed", "duration"]),
        st.one_of(
            st.sampled_from(["reconnect", "buffer", "worker", "stopped"]),
            st.none(),
            st.integers(),
            st.floats(),
            st.sampled_from(["", "x"]),
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
            sequence.note(gap("buffer", at, at + 0.25, dropped=1))
            sequence.note(gap("worker", at, at, missed=1))
            lost += 1
            sequence.restore(info)
        else:
            seen.append(info)
    assert sum(info.dropped for info in seen) == sum(info.missed for info in seen) == lost
    starts = [each.start for info in seen for each in info.gaps]
    assert starts == sorted(starts)
    assert [info.sequence for info in seen] == list(range(1, len(seen) + 1))
    assert seen[0].since == 100.0
    for before, after in pairwise(seen):
        assert after.since == before.at


# --- dry runs ------------------------------------------------------------------------


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


# === steps of tasks ==================================================================

#: The story in which one fact is reported twice.
TWICE = "terminated, and told twice"


def count(batches, steps=None, state=None):
    """Return how often each step was counted."""
    steps, state = steps or Steps(), state or State()
    new = (step.name for batch in batches for step in steps.of(state.apply(batch)))
    return Counter(name for name in new if name != WAITED)


@pytest.mark.parametrize("name", STORIES)
@settings(max_examples=30)
@given(data=st.data())
def test_a_step_counts_once_in_any_order_and_however_events_come_together(name, data):
    events = STORIES[name].events
    again = data.draw(st.lists(st.sampled_from(events), max_size=4))
    shuffled = data.draw(st.permutations([*events, *again]))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(shuffled)), max_size=4)))
    batches = [shuffled[a:b] for a, b in pairwise([0, *cuts, len(shuffled)])]
    # In order each event is a step.
    truth = Counter(event["type"].removeprefix("task-") for event in events)
    if name == TWICE:
        truth["revoked"] = 1
    assert count([events]) == count([[event] for event in events]) == truth
    state = State()
    state.apply(events)
    (task,) = state.tasks.values()
    attempts = (task.history and task.history.attempts) or [task]
    assert count(batches) == Counter(
        step for each in attempts for step in STEPS if getattr(each, step, None) is not None
    )


@given(data=st.data())
def test_that_a_task_has_waited_counts_once_whichever_event_comes_first(data):
    events = data.draw(st.permutations(life("sent", "received", "started") * 2))
    steps, state = Steps(), State()
    new = [step.name for event in events for step in steps.of(state.apply([event]))]
    assert new.count(WAITED) == 1


def test_of_a_task_that_the_state_has_forgotten_only_what_is_new_is_counted():
    steps, state = Steps(), State()
    events = life("sent", "received", "started", "retried")
    count([events], steps, state)
    state.clear_tasks(ready=False)
    assert count([events[:2]], steps, state) == {}
    count([life("received", start=20.0, retries=1)], steps, state)
    state.clear_tasks(ready=False)
    assert count([life("received", start=30.0, retries=2)], steps, state) == {"received": 1}


def test_as_many_tasks_are_remembered_as_there_is_room_for():
    steps, state = Steps(generation=10), State()
    events = [told("task-received", uuid=f"task{number}") for number in range(100)]
    count([events], steps, state)
    assert count([events[-10:]], steps, state) == {}
    assert len(steps._young) + len(steps._old) <= 20


def test_what_is_no_step_is_not_counted():
    kinds = ("task-progress", "worker-heartbeat", "shop-opened")
    nameless = [{"type": "task-failed"}, {"type": "task-failed", "uuid": 7}]
    assert count([[*map(told, kinds), *nameless]]) == {}
