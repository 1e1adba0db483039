import logging
import math
import threading

import pytest

from evtools.cam.timer import Entry, Timer
from evtools.clock import SystemClock
from tools.clock import FakeClock
from tools.studio import PATIENCE, let_pass


@pytest.fixture
def clock():
    return FakeClock(100.0)


@pytest.fixture
def timer(clock):
    timer = Timer(clock)
    yield timer
    timer.stop()
    assert timer.join(PATIENCE)


@pytest.fixture
def later(clock, timer):
    """Let seconds pass."""
    return lambda seconds: let_pass(seconds, clock, timer)


def test_calls_come_at_their_interval_and_not_before(clock, timer, later):
    at = []
    timer.call_repeatedly(2.0, lambda: at.append(clock.now))
    assert timer.due == 102.0
    later(1.9)
    assert at == []
    later(0.1)
    later(1.0)
    later(1.0)
    assert at == [102.0, 104.0]


def test_they_get_their_arguments(timer, later):
    got = []
    timer.call_repeatedly(1.0, lambda *a, **k: got.append((a, k)), (1, 2), {"x": 3})
    later(1.0)
    assert got == [((1, 2), {"x": 3})]


def test_what_is_called_once_is_called_once(timer, later):
    got = []
    timer.call_after(1.0, got.append, ("x",))
    later(1.0)
    later(5.0)
    assert got == ["x"]
    assert timer.due == math.inf


def test_what_is_cancelled_is_not_called(timer, later):
    got = []
    entry = timer.call_repeatedly(1.0, got.append, ("x",))
    other = timer.call_repeatedly(1.0, got.append, ("y",))
    later(1.0)
    entry.cancel()
    timer.cancel(other)
    later(1.0)
    assert sorted(got) == ["x", "y"]


def test_an_entry_can_be_called_as_celery_does_in_the_end(timer):
    got = []
    entry = timer.call_repeatedly(9.0, got.append, ("x",))
    entry()
    assert got == ["x"]
    assert "every 9.0s" in repr(entry)


def test_an_interval_of_nothing_is_never(timer, later):
    got = []
    timer.call_repeatedly(0.0, got.append, ("x",))
    later(1e6)
    assert got == []


def test_of_what_is_due_together_the_most_urgent_comes_first(timer, later):
    got = []
    timer.call_after(1.0, got.append, ("late",), priority=5)
    timer.call_after(2.0, got.append, ("second",))
    timer.call_after(1.5, got.append, ("first",))
    timer.call_after(2.0, got.append, ("at once",), priority=-1)
    later(2.0)
    assert got == ["at once", "first", "second", "late"]


def test_what_takes_longer_than_its_interval_leaves_out_ticks(clock):
    skipped = []
    timer = Timer(clock, on_skipped=lambda entry, ticks: skipped.append(ticks))
    at = []

    def work():
        at.append(clock.now)
        clock.now += 2.5 if len(at) == 1 else 0.5

    timer.call_repeatedly(1.0, work)
    let_pass(1.0, clock, timer)
    assert (at, skipped, timer.due) == ([101.0], [2], 104.0)
    let_pass(0.5, clock, timer)
    assert (at, skipped, timer.due) == ([101.0, 104.0], [2], 105.0)
    timer.stop()


def test_who_runs_a_call_says_when_the_next_one_is(clock):
    waits = iter([10.0, None])

    def call(entry):
        entry()
        return next(waits)

    timer = Timer(clock, call=call)
    at = []
    timer.call_repeatedly(1.0, lambda: at.append(clock.now))
    let_pass(1.0, clock, timer)
    assert timer.due == 111.0
    let_pass(10.0, clock, timer)
    assert (at, timer.due) == ([101.0, 111.0], 112.0)
    timer.stop()


def test_one_that_raises_is_logged_and_comes_again(timer, later, caplog):
    timer.call_repeatedly(1.0, lambda: 1 / 0)
    got = []
    timer.call_repeatedly(1.0, got.append, ("x",))
    with caplog.at_level(logging.ERROR):
        later(1.0)
        later(1.0)
    assert caplog.text.count("ZeroDivisionError: ") == 2
    assert got == ["x", "x"]


def test_all_calls_are_made_in_one_thread(timer, later):
    threads = set()
    timer.call_repeatedly(1.0, lambda: threads.add(threading.current_thread().name))
    timer.call_repeatedly(1.0, lambda: threads.add(threading.current_thread().name))
    later(1.0)
    assert threads == {"evtools-timer"}


def test_a_call_may_ask_for_another(timer, later):
    got = []
    timer.call_after(1.0, lambda: timer.call_after(1.0, got.append, ("x",)))
    later(1.0)
    assert got == []
    later(1.0)
    assert got == ["x"]


def test_after_the_end_nothing_is_called(clock):
    timer, got = Timer(clock), []
    timer.call_repeatedly(1.0, got.append, ("x",))
    timer.stop()
    assert timer.join(PATIENCE)
    clock.now += 10
    timer.call_after(0.0, got.append, ("y",))
    assert timer.settle(0.0)
    assert got == []


def test_one_that_was_never_used_has_no_thread(clock):
    timer = Timer(clock)
    timer.stop()
    assert timer.join(PATIENCE)
    timer.call_after(0.0, print)
    assert timer.join(PATIENCE)


def test_a_call_may_end_the_timer_and_wait_for_nothing(timer, later):
    ended = []

    def end():
        timer.stop()
        ended.append(timer.join(PATIENCE))

    timer.call_after(1.0, end)
    later(1.0)
    assert timer.join(PATIENCE)
    assert ended == [False]


def test_it_can_be_waited_for_as_long_as_one_likes(clock, timer):
    begun, go = threading.Event(), threading.Event()

    def work():
        begun.set()
        go.wait(PATIENCE)

    timer.call_after(0.0, work)
    assert begun.wait(PATIENCE)
    assert not timer.settle(0.01)
    go.set()
    assert timer.settle(PATIENCE)


def test_what_cancels_itself_is_waited_for_too(clock, timer):
    begun, go = threading.Event(), threading.Event()

    def work():
        entry.cancel()
        begun.set()
        go.wait(PATIENCE)

    entry = timer.call_repeatedly(1.0, work)
    clock.now += 1.0
    timer.wake()
    assert begun.wait(PATIENCE)
    assert not timer.settle(0.01)
    go.set()
    assert timer.settle(PATIENCE)


def test_without_a_clock_of_its_own_it_takes_the_machines():
    called = threading.Event()
    timer = Timer(SystemClock())
    timer.call_repeatedly(0.01, called.set)
    assert called.wait(PATIENCE)
    timer.stop()
    assert timer.join(PATIENCE)
    assert not Timer()._stopped


def test_an_entry_without_an_interval_is_due_when_it_says():
    assert Entry(None, print, due=3.0).due == 3.0
