"""Rates, the timer, and the camera's thread, in a time that passes by hand."""

import math
import threading

import celery.events.snapshot
import pytest

from evtools.cam.schedule import Shots, Timer, TokenBucket, rate
from evtools.cam.store import StoreCamera
from evtools.errors import CameraFailed, OutputError, UsageError
from tools.clock import FakeClock
from tools.studio import PATIENCE, Album, Snap, let_pass
from tools.told import told


@pytest.mark.parametrize(
    ("text", "per_second"),
    [
        ("10/m", 10 / 60),
        ("100/s", 100),
        ("2/h", 2 / 3600),
        (" 3 / m ", 0.05),
        (4, 4.0),
        (0.25, 0.25),
    ],
)
def test_rates_are_written_as_celery_has_them(text, per_second):
    assert rate(text) == per_second


@pytest.mark.parametrize(
    "text", ["", "x", "1/d", "/m", "0", "-1/s", "nan", "inf/s", "1/m/m", "\x1b[31m"]
)
def test_what_is_no_rate_is_refused_in_a_line_that_is_safe_to_print(text):
    with pytest.raises(UsageError, match="invalid rate") as caught:
        rate(text)
    assert caught.value.message.isprintable()


def test_a_bucket_lets_pass_one_at_a_time_and_none_for_waiting_at_its_brim():
    clock = FakeClock()
    bucket = TokenBucket(rate("10/m"), clock=clock)
    clock.now += 3600
    passed = []
    for _ in range(60):
        passed.append(bucket.can_consume())
        clock.now += 1.0
    assert sum(passed) == 10
    assert passed[:7] == [True, *[False] * 5, True]


def test_who_is_a_moment_early_is_not_refused_and_yet_the_rate_holds():
    clock = FakeClock()
    bucket = TokenBucket(rate("10/m"), clock=clock)
    for wait in (5.97, 6.03) * 50:
        assert bucket.can_consume()
        clock.now += wait
    passed = 0
    for _ in range(6000):
        clock.now += 0.1
        passed += bucket.can_consume()
    assert passed == 100


# === the timer =======================================================================


@pytest.fixture
def later(clock, timer):
    """Let seconds pass."""
    return lambda seconds: let_pass(seconds, clock, timer)


def test_calls_come_at_their_interval_and_not_before(clock, timer, later):
    at = []
    timer.call_repeatedly(2.0, lambda *a, **k: at.append((clock.now, a, k)), (1, 2), {"x": 3})
    timer.call_repeatedly(0.0, at.append, ("an interval of nothing is never",))
    assert timer.due == 1002.0
    for seconds in (1.9, 0.1, 1.0, 1.0):
        later(seconds)
    assert at == [(now, (1, 2), {"x": 3}) for now in (1002.0, 1004.0)]


def test_calls_can_be_made_once_and_cancelled(timer, later):
    got = []
    timer.call_after(1.0, got.append, ("once",))
    entry = timer.call_repeatedly(1.0, got.append, ("x",))
    other = timer.call_repeatedly(1.0, got.append, ("y",))
    later(1.0)
    entry.cancel()
    timer.cancel(other)
    later(5.0)
    assert sorted(got) == ["once", "x", "y"]
    assert timer.due == math.inf
    entry()  # as Celery does in the end
    assert got[-1] == "x"


def test_of_calls_that_are_due_together_the_most_urgent_comes_first(timer, later):
    got = []
    for seconds, word, priority in ((1, "late", 5), (2, "2nd", 0), (1.5, "1st", 0), (2, "now", -1)):
        timer.call_after(seconds, got.append, (word,), priority=priority)
    later(2.0)
    assert got == ["now", "1st", "2nd", "late"]


def test_a_call_that_takes_longer_than_its_interval_skips_ticks(clock):
    skipped, at = [], []
    timer = Timer(clock)
    timer.skipped = lambda entry, ticks: skipped.append(ticks)

    def work():
        at.append(clock.now)
        clock.now += 2.5 if len(at) == 1 else 0.5

    timer.call_repeatedly(1.0, work)
    let_pass(1.0, clock, timer)
    assert (at, skipped, timer.due) == ([1001.0], [2], 1004.0)
    let_pass(0.5, clock, timer)
    assert (at, skipped, timer.due) == ([1001.0, 1004.0], [2], 1005.0)
    timer.stop()


def test_one_that_raises_is_logged_and_comes_again(timer, later, caplog):
    got = []
    timer.call_repeatedly(1.0, lambda: 1 / 0)
    timer.call_repeatedly(1.0, got.append, ("x",))
    later(1.0)
    later(1.0)
    assert caplog.text.count("ZeroDivisionError: ") == 2
    assert got == ["x", "x"]


def test_after_the_end_nothing_is_called(clock):
    for is_used in (True, False):
        timer, got = Timer(clock), []
        if is_used:
            timer.call_repeatedly(1.0, got.append, ("x",))
        timer.stop()
        assert timer.join(PATIENCE)
        clock.now += 10
        timer.call_after(0.0, got.append, ("y",))
        assert timer.settle(0.0)
        assert timer.join(PATIENCE)
        assert got == []


def test_a_call_may_end_the_timer_and_does_not_wait_for_itself(timer, later):
    ended = []
    timer.call_after(1.0, lambda: (timer.stop(), ended.append(timer.join(PATIENCE))))
    later(1.0)
    assert timer.join(PATIENCE)
    assert ended == [False]


def test_one_that_cancels_itself_is_waited_for_too(clock, timer):
    begun, go = threading.Event(), threading.Event()

    def work():
        entry.cancel()
        begun.set()
        go.wait(PATIENCE)

    entry = timer.call_repeatedly(1.0, work)
    clock.now += 1.0
    assert not timer.settle(0.0)
    assert begun.wait(PATIENCE)
    assert not timer.settle(0.01)
    go.set()
    assert timer.settle(PATIENCE)


# === the camera's thread =============================================================


@pytest.fixture
def open_studio(stage):
    """Have a camera at work, with a task to look at, in a time that passes by hand."""

    def start(kind=Album, **options):
        play = stage(kind=kind, **options)
        play.state.apply([told("task-received", uuid="a")])
        play.thread.mount(play.camera)
        play.shots = play.counters.shots
        return play

    return start


def finish(studio):
    studio.thread.end()
    assert studio.thread.join(PATIENCE)


def test_snapshots_are_counted_and_timed(open_studio):
    studio, seen = open_studio(freq=2.0), []
    counters = studio.counters

    def during():
        seen.append(counters.busy_since)
        studio.clock.now += 0.5

    studio.camera.during = during
    studio.pass_time(2.0)
    assert (studio.shots.taken, counters.last_shot_seconds) == (1, 0.5)
    assert counters.last_shot_at == counters.last_success_at == 1002.5
    studio.pass_time(2.0)
    assert (studio.shots.taken, counters.shot_seconds) == (2, 1.0)
    assert (seen, counters.busy_since) == ([1002.0, 1004.5], None)


def test_who_sees_a_snapshot_counted_finds_what_came_of_it(open_studio):
    studio, found = open_studio(Snap, freq=1.0), {}
    counters = studio.counters

    class Watched(Shots):
        def __setattr__(self, name, value):
            found[name] = (counters.failures_in_row, counters.last_error, counters.last_success_at)
            super().__setattr__(name, value)

    counters.shots = Watched()
    studio.camera.fault = ValueError("no film")
    studio.pass_time(1.0)
    studio.camera.fault = None
    studio.pass_time(1.0)
    assert found["failed"] == (1, "ValueError: no film", None)
    assert found["taken"][2] == counters.last_success_at


@pytest.mark.parametrize("kind", [Album, Snap])
def test_those_above_the_rate_are_counted_and_not_taken(open_studio, kind):
    studio = open_studio(kind, freq=1.0, maxrate="10/m")
    assert studio.camera.maxrate is None
    bucket = studio.thread._mounted[0].maxrate
    bucket._clock, bucket._then = studio.clock, studio.clock.now
    for _ in range(60):
        studio.pass_time(1.0)
    assert (studio.shots.taken, studio.shots.skipped_rate) == (10, 50)
    # Whatever the rate, there is a last one.
    finish(studio)
    assert studio.shots.taken == 11


def test_one_that_clears_the_state_does_so_only_with_a_snapshot(open_studio):
    class Clearing(celery.events.snapshot.Polaroid):
        clear_after = True
        seen = 0

        def on_shutter(self, state):
            self.seen += state.event_count

    studio = open_studio(Clearing, freq=1.0, maxrate="1/h")
    for number in range(5):
        studio.state.apply([told("task-received", uuid=f"u{number}")])
        studio.pass_time(1.0)
    finish(studio)
    assert (studio.camera.seen, studio.shots.skipped_rate) == (6, 4)


def test_one_that_takes_long_skips_others(open_studio, log):
    studio = open_studio(freq=1.0)
    studio.camera.during = lambda: setattr(studio.clock, "now", studio.clock.now + 3.5)
    for _ in range(4):
        studio.pass_time(1.0)
    assert studio.shots.overrun == 3 + 4 + 3 + 4
    head = "a snapshot takes longer than the interval of 1s: "
    assert log() == [f"{head}{number} skipped so far" for number in (3, 7, 10)]


def test_cleaning_up_is_no_snapshot_and_skips_none(open_studio, log):
    studio = open_studio(freq=1e6, cleanup_freq=5.0)

    def sweep():
        studio.clock.now += 20.0
        raise OutputError("the disk is full")

    studio.camera.sweep = sweep
    studio.pass_time(5.0)
    counters = studio.counters
    assert (counters.cleanups, counters.cleanups_failed) == (1, 1)
    assert (studio.shots.taken, studio.shots.failed, studio.shots.overrun) == (0, 0, 0)
    assert counters.failures_in_row == 0
    assert log() == ["cleaning up failed: the disk is full"]


def test_a_camera_may_take_snapshots_at_its_own_times_only(open_studio, log):
    class Other:
        def __init__(self, state, timer, **options):
            self.timer, self.taken = timer, 0

        def install(self):
            self.timer.call_repeatedly(1.0, self.look)

        def look(self):
            self.taken += 1

        def cancel(self):
            pass

    studio = open_studio(Other)
    studio.pass_time(1.0)
    assert studio.shots.taken == studio.camera.taken == 1
    studio.thread.take_one()
    assert log() == ["this camera takes snapshots at its own times only"]
    finish(studio)


def test_other_calls_are_made_in_its_thread(open_studio, log):
    studio, threads = open_studio(freq=1e6), []
    studio.thread.soon(lambda: threads.append(threading.current_thread().name))
    studio.thread.soon(lambda: 1 / 0)
    assert studio.thread.settle(PATIENCE)
    assert threads == ["evtools-camera"]
    assert "the camera failed: ZeroDivisionError: division by zero" in log()
    assert studio.shots.failed == studio.counters.failures_in_row == 0


# --- failures ----------------------------------------------------------------------


def test_after_failures_it_waits_longer_and_longer(open_studio):
    studio, at = open_studio(freq=2.0), []
    studio.camera.fault = ValueError("no redis://u:s3kr1t@h")
    studio.camera.during = lambda: at.append(studio.clock.now - 1000.0)
    while studio.clock.now < 2500.0:
        studio.pass_time(2.0)
    assert at == [2, 4, 8, 16, 32, 64, 128, 256, 512, 812, 1112, 1412]
    assert studio.shots.failed == studio.counters.failures_in_row == 12
    assert studio.counters.last_error == "ValueError: no redis://**@h"
    # One that writes into a store is not to keep it waiting.
    studio.camera.retry_max = StoreCamera.retry_max
    studio.pass_time(212.0)
    for _ in range(3):
        studio.pass_time(30.0)
    assert at[12:] == [1712, 1742, 1772, 1802]


def test_when_it_works_again_that_is_logged_and_everything_is_as_before(open_studio, log):
    # One with a long interval is tried at that.
    studio = open_studio(freq=1000.0)
    studio.camera.fault = ValueError("no")
    studio.pass_time(1000.0)
    studio.pass_time(1000.0)
    studio.camera.fault = None
    studio.pass_time(1000.0)
    assert studio.counters.failures_in_row == 0
    assert log() == [
        "the camera failed (1 in a row), next try in 1000s: ValueError: no",
        "the camera failed (2 in a row), next try in 1000s: ValueError: no",
        "the camera works again, after 2 failures",
    ]
    studio.pass_time(1000.0)
    assert studio.shots.taken == 2


def test_no_exception_of_a_camera_ends_the_thread(open_studio):
    studio = open_studio(Snap, freq=1.0)
    for fault in (SystemExit(3), KeyboardInterrupt(), GeneratorExit(), None):
        studio.camera.fault = fault
        studio.pass_time(400.0)
    assert (studio.shots.failed, studio.shots.taken) == (3, 1)


def test_after_the_maximum_of_failures_in_a_row_it_gives_up(open_studio):
    studio = open_studio(freq=1.0, max_failures=2)
    full = OutputError("the disk is full")
    for fault in (full, None, full, None, full):
        studio.camera.fault = fault
        studio.pass_time(100.0)
    assert studio.thread.gave_up is None
    studio.pass_time(100.0)
    assert isinstance(studio.thread.gave_up, CameraFailed)
    assert str(studio.thread.gave_up) == "gave up after 2 failures of the camera: the disk is full"
    assert studio.camera.done == ["closed"]
    assert studio.thread.join(PATIENCE)
    assert studio.shots.failed == 4


# --- the end -----------------------------------------------------------------------


@pytest.mark.parametrize("most", [None, 1])
def test_a_camera_is_closed_once_even_if_the_last_snapshot_fails(open_studio, log, most):
    studio, closed = open_studio(freq=5.0, max_failures=most), []
    studio.camera.fault = OutputError("no")

    def close():
        closed.append(1)
        raise ValueError("stuck")

    studio.camera.close = close
    finish(studio)
    assert (studio.thread.gave_up is not None) == bool(most)
    assert studio.thread.last_failed
    assert closed == [1]
    assert "closing the camera failed: ValueError: stuck" in log()
