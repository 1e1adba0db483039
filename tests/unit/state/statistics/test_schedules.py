"""At which period types are sent: what is one, what is none, and what is late."""

from itertools import accumulate
from random import Random

import pytest

from evtools.state import UNKNOWN
from evtools.wire import gap
from tools.watched import T, Watched

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


@pytest.fixture
def watched():
    return Watched()


def send(watched, times, name="report", kind="sent", **fields):
    """Take in that a type was sent at these times, in seconds since the beginning."""
    for at in times:
        watched.now = T + at
        watched.tell(kind, f"{name}-{watched.state.event_count}", name=name, **fields)


def plan(watched, after=0.0, name="report"):
    """Return the schedule of a type so long after the last event, None if it has none."""
    watched.now += after
    return watched.statistics.schedules(watched.now).get(name)


def every(period, count, first=0.0):
    return [first + period * number for number in range(count)]


def test_a_type_has_a_period_once_four_times_in_between_agree(watched):
    send(watched, every(300, 4))
    assert plan(watched) is None
    send(watched, [1200])
    found = plan(watched)
    assert (found.period, found.last, found.next) == (300, T + 1200, T + 1500)
    assert (found.wait(T + 1320), found.overdue(T + 1320)) == (180, 0)
    # Some seconds are no delay: a fiftieth of the period.
    assert (found.wait(T + 1505), found.overdue(T + 1505)) == (0, 0)
    assert (found.wait(T + 2220), found.overdue(T + 2220)) == (None, 720)


RANDOM = Random(7)
#: When it was sent, the last time being about 3900, and when it is late.
STREAMS = {
    "jitter": ([at + RANDOM.uniform(-10, 10) for at in every(300, 14)], 4200),
    "beat is always a bit late": (every(300.02, 14), 4200),
    "bursts": ([at + n * 0.2 for at in every(300, 14) for n in range(4)], 4200),
    "one by hand": (sorted([*every(300, 14), 1000]), 4200),
    # Perhaps that was the one of 4200.
    "one by hand at the end": ([*every(300, 14), 3950], 4250),
    # As many may be left out again.
    "two left out": ([at for at in every(300, 14) if at not in (900, 2400)], 4500),
    "a long pause before": ([*every(300, 3, -40_000), *every(300, 14)], 4200),
}


@pytest.mark.parametrize(("times", "late_at"), STREAMS.values(), ids=STREAMS)
def test_a_period_is_found_and_lateness_noticed_whatever_comes_in_between(watched, times, late_at):
    send(watched, times)
    found = plan(watched)
    assert found.period == pytest.approx(300, rel=0.01)
    assert found.next == pytest.approx(T + 4200, abs=12)
    late = next(at for at in range(4000, 6000) if found.overdue(T + at))
    assert late_at < late <= late_at + 45


@pytest.mark.parametrize("mean", [0.01, 0.3, 0.7, 1.0, 2.0, 10.0, 300.0])
def test_what_comes_at_random_has_no_period(watched, mean):
    random = Random(mean)
    times = accumulate(random.expovariate(1 / mean) for _ in range(3000))
    found = []
    for at in times:
        send(watched, [at])
        found.append(plan(watched))
    assert found == [None] * 3000


@pytest.mark.parametrize(
    "times",
    [
        [0, 300, 700, 720, 1100, 1800, 2000, 2400],
        # In turns ten minutes and fifty; five each half hour; every half second.
        [at + late for at in every(HOUR, 8) for late in (0, 600)],
        [at + 3 * n for at in every(1800, 4) for n in range(5)],
        every(0.4, 100),
        every(0.6, 100),
    ],
)
def test_what_is_not_regular_has_no_period(watched, times):
    send(watched, times)
    assert plan(watched) is None


def test_only_what_nobody_sent_for_the_first_time_is_a_run(watched):
    send(watched, every(60, 9), "child", parent_id="p", root_id="p")
    send(watched, every(60, 9), "again", retries=1)
    # Redis delivers what waits for its ETA once an hour.
    send(watched, every(HOUR, 9), "eta", "received", eta="2030-01-01T00:00:00+00:00")
    send(watched, every(HOUR, 9), None, "received")
    for _ in range(9):
        watched.tell("received", "same", name="redelivered", after=HOUR)
    assert watched.statistics.schedules(watched.now) == {}
    assert UNKNOWN in [row.name for row in watched.statistics.types("all", watched.now)]


@pytest.mark.parametrize("ahead", [-HOUR, 0.0, HOUR])
@pytest.mark.parametrize("kind", ["sent", "received"])
def test_the_next_run_is_by_our_clock_and_events_may_be_late(watched, kind, ahead):
    for number, at in enumerate(every(300, 9)):
        watched.now = T + at + (40 if number % 4 == 1 else 0.5)
        watched.tell(kind, f"u{number}", name="report", timestamp=T + at + ahead)
    found = plan(watched)
    assert (found.period, found.last, found.next) == (300, T + 2400.5, T + 2700.5)
    # Each task is one run, though both of its events come.
    for number in range(9):
        watched.tell("received", f"u{number}", name="report", after=7.0)
    assert plan(watched) == found


def test_what_may_have_run_unseen_is_not_overdue(watched):
    send(watched, every(300, 9))
    watched.now = T + 4000
    watched.take(gap("reconnect", T + 2450, T + 4000))
    found = plan(watched)
    # It ran perhaps just before we were back.
    assert [found.wait(T + 4200), found.overdue(T + 4200)] == [None, None]
    assert found.overdue(T + 4400) == 100
    send(watched, [4230])
    found = plan(watched)
    assert (found.period, found.wait(watched.now), found.overdue(watched.now)) == (300, 300, 0)
    # What was not seen is no pause.
    assert found.overdue(watched.now + 400) == 100


def test_what_rests_at_times_is_not_overdue_then(watched):
    # Daily but on weekends: what has been left out before may be again.
    send(watched, [DAY * day for day in range(26) if day % 7 < 5])
    found = plan(watched)
    assert (found.period, found.last) == (DAY, T + 25 * DAY)
    assert found.wait(T + 25.5 * DAY) == DAY / 2
    assert found.overdue(T + 27.5 * DAY) is None
    assert found.overdue(T + 28.5 * DAY) == DAY / 2


def test_pauses_that_come_again_are_not_lateness(watched):
    # From nine to five, every ten minutes.
    send(watched, [DAY * day + 600 * n for day in range(4) for n in range(48)])
    found = plan(watched)
    assert found.period == 600
    assert found.overdue(found.last + HOUR) is None
    assert found.overdue(found.last + 17 * HOUR) == pytest.approx(HOUR - 600)


def test_another_period_is_learned_and_what_ended_forgotten(watched):
    send(watched, every(300, 20))
    # No claim while it may be either.
    for number in (1, 2):
        send(watched, [20 * 300 + number * HOUR])
        assert plan(watched) is None
    send(watched, every(HOUR, 14, first=20 * 300 + 3 * HOUR))
    assert plan(watched).period == HOUR
    assert plan(watched, after=23 * HOUR).overdue(watched.now) == 22 * HOUR
    assert plan(watched, after=2 * HOUR) is None


def test_the_types_that_are_remembered_are_bounded_and_regular_ones_stay():
    watched = Watched(max_types=100)
    send(watched, every(300, 9))
    for number in range(1000):
        send(watched, [3000 + number], f"once-{number}")
    assert plan(watched).period == 300
    assert watched.statistics._runs.weight_bytes() <= 100 * 700
