import math

import pytest

from evtools.transport.recording.reader import ReplayClock, received
from tools.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock(50.0)


def test_the_first_event_is_due_at_once(clock):
    pace = ReplayClock(1.0, clock)
    assert pace.position is None
    assert pace.wait(1000.0) == 0
    assert pace.position == 1000.0


def test_later_events_wait_as_long_as_they_did(clock):
    pace = ReplayClock(1.0, clock)
    pace.wait(1000.0)
    assert pace.wait(1003.0) == 3
    clock.now += 2
    assert pace.wait(1003.0) == 1
    assert pace.position == 1002


def test_a_speed_shortens_the_wait(clock):
    pace = ReplayClock(10.0, clock)
    pace.wait(1000.0)
    assert pace.wait(1020.0) == 2


@pytest.mark.parametrize("speed", [None, math.inf])
def test_without_a_speed_nothing_waits(clock, speed):
    pace = ReplayClock(speed, clock)
    assert math.isinf(pace.speed)
    assert pace.wait(1000.0) == pace.wait(5000.0) == 0
    assert pace.position == 5000.0


def test_an_event_of_the_past_is_due(clock):
    pace = ReplayClock(1.0, clock)
    pace.wait(1000.0)
    assert pace.wait(900.0) == 0


def test_an_event_without_a_moment_is_due_with_those_before_it(clock):
    pace = ReplayClock(1.0, clock)
    assert pace.wait(None) == 0
    assert pace.position is None
    pace.wait(1000.0)
    pace.change(paused=True)
    assert pace.wait(None) == 0


def test_a_pause_holds_everything_back_and_costs_no_time_on_the_tape(clock):
    pace = ReplayClock(1.0, clock)
    pace.wait(1000.0)
    clock.now += 1
    pace.change(paused=True)
    clock.now += 60
    assert pace.paused
    assert math.isinf(pace.wait(1003.0))
    assert pace.position == 1001
    pace.change(paused=False)
    assert pace.wait(1003.0) == 2


def test_a_pause_before_the_first_event_holds_that_back(clock):
    pace = ReplayClock(1.0, clock)
    pace.change(paused=True)
    assert math.isinf(pace.wait(1000.0))
    assert math.isinf(pace.wait(None))
    pace.change(paused=False)
    assert pace.wait(1000.0) == 0


def test_a_pause_holds_at_greatest_speed_too(clock):
    pace = ReplayClock(None, clock)
    pace.wait(1000.0)
    pace.change(paused=True)
    assert math.isinf(pace.wait(1001.0))


def test_a_change_of_speed_begins_where_the_tape_stands(clock):
    pace = ReplayClock(1.0, clock)
    pace.wait(1000.0)
    clock.now += 5
    pace.change(speed=2.0)
    assert (pace.speed, pace.position) == (2.0, 1005)
    assert pace.wait(1015.0) == 5


def test_after_a_jump_all_up_to_there_is_due(clock):
    pace = ReplayClock(1.0, clock)
    pace.wait(1000.0)
    pace.jump(2000.0)
    assert pace.wait(1999.0) == pace.wait(2000.0) == 0
    assert pace.wait(2001.0) == 1


def test_a_jump_does_not_end_a_pause(clock):
    pace = ReplayClock(1.0, clock)
    pace.wait(1000.0)
    pace.change(paused=True)
    pace.jump(2000.0)
    assert pace.wait(2000.0) == 0
    assert math.isinf(pace.wait(2001.0))


@pytest.mark.parametrize(
    ("event", "moment"),
    [
        ({"local_received": 5, "timestamp": 4}, 5.0),
        ({"local_received": "x", "timestamp": 4.5}, 4.5),
        ({"timestamp": 10**400}, None),
        ({"timestamp": True}, None),
        ({}, None),
    ],
)
def test_an_event_says_when_it_was_received_or_else_sent(event, moment):
    assert received(event) == moment
