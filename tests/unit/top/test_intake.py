"""Tests for evtools.top.intake."""

from evtools.state import State
from evtools.top.intake import Intake
from tools.gaps import gap
from tools.life import Life


def taken(*batches):
    state, intake = State(), Intake()
    for batch in batches:
        state.apply(batch)
        intake.take(batch, state)
    return intake


def test_what_came_is_known_by_kind():
    life = Life()
    intake = taken([life.beat()])
    assert (intake.events, intake.has_workers, intake.has_tasks) == (1, True, False)
    intake = taken([life.beat()], [life.started("t")], [{"type": []}])
    assert (intake.has_tasks, intake.has_sent) == (True, False)
    intake = taken([life.beat(), life.sent("t")], [life.sent("u")])
    assert (intake.has_tasks, intake.has_sent, intake.events) == (True, True, 3)


def test_losses_are_counted_from_the_stream():
    intake = taken(
        [
            gap("reconnect", 0.0, 1.0),
            gap("buffer", 0.0, 1.0, dropped=17),
            gap("stopped", 0.0, 1.0),
            gap("worker", 0.0, 1.0, missed=3),
            {"type": "evdump-gap", "reason": "buffer", "dropped": "x"},
        ]
    )
    assert (intake.reconnects, intake.gaps, intake.dropped) == (1, 2, 17)


def test_lag_is_less_the_difference_of_clocks():
    life = Life()
    late = life.started("t", timestamp=0.0)
    late["timestamp"] = late["local_received"] + 29.0 - 0.5
    intake = taken([life.beat(ahead=29.0)], [late])
    assert intake.lag is None
    intake.settle()
    assert round(intake.lag, 3) == 0.5
    intake.settle()
    assert round(intake.lag, 3) == 0.5


def test_a_time_beyond_the_calendar_is_none():
    life = Life()
    odd = life.started("t", timestamp=1763380002000)
    intake = taken([life.beat()], [odd, {**odd, "local_received": 1763380002000}])
    intake.settle()
    assert intake.lag < 1
    assert intake.latest <= life.now


def test_without_a_clock_to_compare_there_is_no_lag():
    life = Life()
    intake = taken([life.sent("t")], [{"type": "x"}], [])
    intake.settle()
    assert intake.lag is None
    assert intake.latest == life.now
