import itertools
import os
import socket

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.cam.roll import Frame, Gap, Roll
from evtools.state import State
from evtools.wire import gap
from tools.clock import FakeClock
from tools.told import told


def roll_of(*events, started=100.0, **settings):
    state = State()
    state.apply(events)
    return Roll(state.workers, started=started, **settings)


def test_a_frame_says_who_took_it_and_which_one_it_is():
    roll = roll_of(started=100.5)
    frame = roll.next(110.0)
    name = f"{socket.gethostname()}:{os.getpid()}:100.500"
    assert frame.evcam == roll.evcam == name
    assert (frame.host, frame.pid, frame.started) == (*(socket.gethostname(), os.getpid(), 100.5),)
    assert frame.sequence == 1
    assert roll.next(120.0).sequence == 2


def test_who_does_not_say_when_it_started_has_started_now():
    assert Roll({}, clock=FakeClock(7.0)).next(8.0).started == 7.0
    assert Roll({}).next(8.0).started > 1e9


def test_a_period_begins_where_the_one_before_ended():
    roll = roll_of()
    roll.subscribed(105.0)
    first, second = roll.next(110.0), roll.next(112.5)
    assert (first.since, first.at, first.period) == (105.0, 110.0, 5.0)
    assert (second.since, second.at, second.period) == (110.0, 112.5, 2.5)


def test_without_a_connection_the_first_period_begins_at_the_start():
    frame = roll_of(started=100.0).next(103.0)
    assert (frame.since, frame.connected, frame.warm) == (100.0, False, False)


def test_a_clock_that_is_set_back_makes_no_negative_period():
    roll = roll_of()
    roll.next(200.0)
    frame = roll.next(150.0)
    assert (frame.since, frame.at, frame.period) == (200.0, 150.0, 0.0)


def test_a_connection_comes_and_goes():
    roll = roll_of()
    roll.subscribed(100.0)
    assert roll.next(101.0).connected
    roll.lost()
    assert not roll.next(102.0).connected
    roll.subscribed(102.5)
    frame = roll.next(103.0)
    assert (frame.connected, frame.since) == (True, 102.0)


# --- warm-up -----------------------------------------------------------------------


def test_it_is_warm_when_every_worker_should_have_told_of_itself():
    roll = roll_of(told("worker-heartbeat", freq=5.0))
    roll.subscribed(100.0)
    assert [roll.next(at).warm for at in (102.0, 104.9, 105.0)] == [False, False, True]


def test_it_takes_at_least_as_long_as_it_is_told_to():
    roll = roll_of(told("worker-heartbeat", freq=0.5), warm_up=3.0)
    roll.subscribed(100.0)
    assert [roll.is_warm(at) for at in (102.9, 103.0)] == [False, True]


def test_after_a_loss_of_connection_it_has_to_warm_up_again():
    roll = roll_of()
    roll.subscribed(100.0)
    assert roll.is_warm(102.0)
    roll.subscribed(110.0)
    assert not roll.is_warm(111.0)
    roll = roll_of()
    roll.subscribed(100.0)
    roll.note(gap("reconnect", 105.0, 110.0))
    assert not roll.is_warm(111.0)
    assert roll.is_warm(112.0)


def test_nobody_keeps_it_cold_by_what_is_sent():
    roll = roll_of(told("worker-heartbeat", freq=300.0))
    roll.subscribed(100.0)
    assert [roll.is_warm(at) for at in (159.0, 160.0)] == [False, True]


def test_a_worker_without_heartbeats_does_not_count():
    roll = roll_of(told("task-received"))
    roll.subscribed(100.0)
    assert roll.is_warm(102.0)


# --- holes -------------------------------------------------------------------------


def test_holes_are_told_by_the_next_frame_only():
    roll = roll_of()
    roll.note(gap("reconnect", 101.0, 103.0, error="x"))
    roll.note(gap("buffer", 104.0, 105.0, dropped=7))
    roll.note(gap("worker", 105.0, 105.0, hostname="w", missed=3))
    frame = roll.next(110.0)
    assert frame.gaps == (Gap("reconnect", 101.0, 103.0), Gap("buffer", 104.0, 105.0, dropped=7))
    assert (frame.dropped, frame.missed) == (7, 3)
    after = roll.next(120.0)
    assert (after.gaps, after.dropped, after.missed) == ((), 0, 0)


def test_many_holes_become_one():
    roll = roll_of()
    for number in range(250):
        roll.note(gap("buffer", number, number + 0.5, dropped=1))
    frame = roll.next(300.0)
    assert len(frame.gaps) == 100
    assert frame.gaps[98] == Gap("buffer", 98.0, 98.5, dropped=1)
    assert frame.gaps[99] == Gap("several", 99.0, 249.5, dropped=151)
    assert frame.dropped == 250 == sum(each.dropped for each in frame.gaps)


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
    roll = roll_of()
    roll.note(record)
    frame = roll.next(110.0)
    assert frame.dropped >= 0
    assert frame.missed >= 0
    for each in frame.gaps:
        assert 0 <= each.start <= each.end < 2**53


# --- failures ----------------------------------------------------------------------


def test_a_frame_that_is_given_back_is_told_by_the_next():
    roll = roll_of()
    roll.subscribed(100.0)
    roll.note(gap("buffer", 101.0, 102.0, dropped=7))
    roll.note(gap("worker", 105.0, 105.0, missed=3))
    failed = roll.next(110.0)
    roll.note(gap("buffer", 111.0, 112.0, dropped=1))
    roll.restore(failed)
    frame = roll.next(120.0)
    assert (frame.sequence, frame.since, frame.period) == (1, 100.0, 20.0)
    assert [each.start for each in frame.gaps] == [101.0, 111.0]
    assert (frame.dropped, frame.missed) == (8, 3)
    assert roll.next(130.0).sequence == 2


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=20))
def test_whatever_fails_nothing_is_told_twice_or_not_at_all(shots):
    roll, at, lost = roll_of(), 100.0, 0
    roll.subscribed(at)
    seen = []
    for dropped, fails in [*shots, (0, False)]:
        at += 1.0
        lost += dropped
        if dropped:
            roll.note(gap("buffer", at - 0.5, at, dropped=dropped))
        frame = roll.next(at)
        if fails:
            roll.restore(frame)
        else:
            seen.append(frame)
    assert sum(frame.dropped for frame in seen) == lost
    assert [frame.sequence for frame in seen] == list(range(1, len(seen) + 1))
    assert seen[0].since == 100.0
    for before, after in itertools.pairwise(seen):
        assert after.since == before.at


# --- as JSON -----------------------------------------------------------------------


def test_it_can_be_written_as_json():
    roll = roll_of()
    roll.note(gap("buffer", 101.0, 102.0, dropped=7))
    frame = roll.next(110.0)
    written = msgspec.json.decode(msgspec.json.encode(frame.as_dict()))
    assert written["gaps"] == [{"reason": "buffer", "from": 101.0, "to": 102.0, "dropped": 7}]
    assert written["evcam"] == frame.evcam
    assert set(written) == set(Frame.__slots__)


def test_a_frame_does_not_change():
    frame = roll_of().next(110.0)
    with pytest.raises(AttributeError):
        frame.sequence = 2
