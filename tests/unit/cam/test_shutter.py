import logging
import threading

import celery.events.snapshot
import pytest

from evtools.cam.counters import Counters
from evtools.cam.roll import Roll
from evtools.cam.shutter import Shutter
from evtools.errors import CameraFailed, OutputError
from evtools.state import State
from tools.clock import FakeClock
from tools.studio import PATIENCE, Album, Snap, let_pass
from tools.told import told


class Studio:
    """A shutter with a camera on it, and time that passes by hand."""

    def __init__(self, kind=Album, *, install=True, settings=None, **options):
        self.clock = FakeClock(1000.0)
        self.counters = Counters()
        self.shutter = Shutter(self.counters, self.clock, **settings or {})
        self.state = State()
        self.state.apply([told("task-received", uuid="a")])
        self.camera = kind(self.state, timer=self.shutter.timer, **options)
        if isinstance(self.camera, Album):
            self.camera.load(Roll(self.state.workers, started=990.0), self.clock)
        self.shutter.mount(self.camera, install=install)

    @property
    def shots(self):
        return self.counters.shots

    def wait(self, seconds):
        let_pass(seconds, self.clock, self.shutter.timer)

    def settle(self):
        assert self.shutter.catch_up(PATIENCE)

    def end(self):
        self.shutter.end()
        assert self.shutter.join(PATIENCE)


@pytest.fixture
def open_studio():
    studios = []

    def start(*args, **options):
        studios.append(Studio(*args, **options))
        return studios[-1]

    yield start
    for studio in studios:
        studio.shutter.timer.stop()
        assert studio.shutter.join(PATIENCE)


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO)
    return caplog


def lines(log):
    return [record.getMessage() for record in log.records]


# --- shots -------------------------------------------------------------------------


def test_shots_are_counted_and_timed(open_studio):
    studio = open_studio(freq=2.0)
    studio.camera.during = lambda: setattr(studio.clock, "now", studio.clock.now + 0.5)
    studio.wait(2.0)
    counters = studio.counters
    assert (studio.shots.taken, counters.last_shot_seconds) == (1, 0.5)
    assert counters.last_shot_at == counters.last_success_at == 1002.5
    studio.wait(2.0)
    assert (studio.shots.taken, counters.shot_seconds) == (2, 1.0)


def test_those_above_the_rate_are_counted_and_are_no_shots(open_studio):
    for kind in (Album, Snap):
        studio = open_studio(kind, freq=1.0, maxrate="10/m")
        assert studio.camera.maxrate is None
        bucket = studio.shutter._maxrate
        bucket._clock, bucket._then = studio.clock, studio.clock.now
        for _ in range(60):
            studio.wait(1.0)
        assert (studio.shots.taken, studio.shots.skipped_rate) == (10, 50)


def test_one_that_clears_the_state_does_so_only_with_a_shot(open_studio):
    class Clearing(celery.events.snapshot.Polaroid):
        clear_after = True
        seen = 0

        def on_shutter(self, state):
            self.seen += state.event_count

    studio = open_studio(Clearing, freq=1.0, maxrate="1/h")
    for number in range(5):
        studio.state.apply([told("task-received", uuid=f"u{number}")])
        studio.wait(1.0)
    studio.end()
    assert (studio.camera.seen, studio.shots.skipped_rate) == (6, 4)


def test_cleaning_up_is_counted_and_is_no_shot(open_studio):
    studio = open_studio(freq=1e6, cleanup_freq=5.0)
    studio.wait(5.0)
    studio.wait(5.0)
    assert (studio.counters.cleanups, studio.shots.taken) == (2, 0)


def test_a_shot_that_takes_long_is_told_of_and_leaves_out_others(open_studio, log):
    studio = open_studio(freq=1.0)
    studio.camera.during = lambda: setattr(studio.clock, "now", studio.clock.now + 3.5)
    for _ in range(4):
        studio.wait(1.0)
    assert studio.shots.overrun == 3 + 4 + 3 + 4
    told = [line for line in lines(log) if "longer than its 1s" in line]
    assert [line.split(": ")[1] for line in told] == [
        "3 shots left out so far",
        "7 shots left out so far",
        "10 shots left out so far",
    ]


def test_cleaning_up_that_takes_long_leaves_out_no_shot(open_studio):
    studio = open_studio(freq=1e6, cleanup_freq=5.0)

    def sweep():
        studio.clock.now += 20.0

    studio.camera.sweep = sweep
    studio.wait(5.0)
    assert (studio.counters.cleanups, studio.shots.overrun) == (1, 0)


def test_at_the_time_of_a_recording_no_shot_is_left_out(open_studio):
    times = FakeClock(1000.0)
    studio = open_studio(freq=1.0, settings={"times": times})
    let_pass(100.0, times, studio.shutter.timer)
    assert (studio.shots.taken, studio.shots.overrun) == (1, 0)


def test_one_can_be_had_at_once(open_studio):
    studio = open_studio(freq=1e6)
    studio.shutter.shoot()
    studio.settle()
    assert studio.shots.taken == 1


def test_a_camera_may_take_none_but_its_own(open_studio, log):
    class Other:
        def __init__(self, state, timer):
            self.timer, self.taken = timer, 0

        def install(self):
            self.timer.call_repeatedly(1.0, self.look)

        def look(self):
            self.taken += 1

        def cancel(self):
            pass

    studio = open_studio(Other)
    studio.wait(1.0)
    assert studio.shots.taken == studio.camera.taken == 1
    studio.shutter.shoot()
    assert lines(log) == ["this camera takes no shots but at its own times"]
    studio.end()


def test_who_looks_knows_for_how_long_the_camera_is_at_work(open_studio):
    studio = open_studio(freq=1.0)
    seen = []
    studio.camera.during = lambda: seen.append(studio.shutter.running_for(1004.0))
    assert studio.shutter.running_for(1004.0) == 0.0
    studio.wait(1.0)
    assert seen == [3.0]
    assert studio.shutter.running_for(1004.0) == 0.0


def test_other_things_can_be_done_in_its_thread(open_studio, log):
    studio = open_studio(freq=1e6)
    threads = []
    studio.shutter.soon(lambda: threads.append(threading.current_thread().name))
    studio.shutter.soon(lambda: 1 / 0)
    studio.settle()
    assert threads == ["evtools-camera"]
    assert "the camera failed: ZeroDivisionError: division by zero" in lines(log)
    assert studio.shots.failed == studio.counters.failures_in_row == 0


# --- failures ----------------------------------------------------------------------


def test_after_failures_it_waits_longer_and_longer(open_studio):
    studio = open_studio(freq=2.0)
    studio.camera.fault = ValueError("no")
    at = []
    studio.camera.during = lambda: at.append(studio.clock.now - 1000.0)
    while studio.clock.now < 1700.0:
        studio.wait(2.0)
    assert at == [2, 4, 8, 16, 32, 64, 128, 256, 512]
    assert studio.shots.failed == studio.counters.failures_in_row == 9
    while studio.clock.now < 2500.0:
        studio.wait(2.0)
    assert at[9:] == [812, 1112, 1412]


def test_one_with_a_long_interval_is_tried_at_that(open_studio, log):
    studio = open_studio(freq=1000.0)
    studio.camera.fault = ValueError("no")
    for _ in range(4):
        studio.wait(1000.0)
    assert studio.shots.failed == 4
    assert [line.partition(", ")[2] for line in lines(log)] == (
        ["next try in 1000s: ValueError: no"] * 4
    )


def test_when_it_works_again_that_is_said_and_all_is_as_before(open_studio, log):
    studio = open_studio(freq=1.0)
    studio.camera.fault = ValueError("no")
    studio.wait(1.0)
    studio.wait(1.0)
    studio.camera.fault = None
    studio.wait(2.0)
    assert studio.counters.failures_in_row == 0
    assert studio.counters.last_error == "ValueError: no"
    assert lines(log) == [
        "the camera failed (1 in a row), next try in 1s: ValueError: no",
        "the camera failed (2 in a row), next try in 2s: ValueError: no",
        "the camera works again, after 2 failures",
    ]
    studio.wait(1.0)
    assert studio.shots.taken == 2


def test_nothing_that_a_camera_raises_ends_the_thread(open_studio):
    studio = open_studio(Snap, freq=1.0)
    for fault in (SystemExit(3), KeyboardInterrupt(), GeneratorExit()):
        studio.camera.fault = fault
        studio.wait(400.0)
    assert studio.shots.failed == 3
    studio.camera.fault = None
    studio.wait(400.0)
    assert studio.shots.taken == 1


def test_failing_to_clean_up_is_counted_apart(open_studio, log):
    studio = open_studio(Snap, freq=1e6, cleanup_freq=5.0)
    studio.camera.fault = OutputError("the disk is full")
    studio.wait(5.0)
    counters = studio.counters
    assert (counters.cleanups, counters.cleanups_failed) == (1, 1)
    assert (studio.shots.failed, counters.failures_in_row) == (0, 0)
    assert lines(log) == ["cleaning up failed: the disk is full"]


def test_after_so_many_failures_in_a_row_it_gives_up(open_studio):
    studio = open_studio(freq=1.0, settings={"max_failures": 3})
    studio.camera.fault = OutputError("the disk is full")
    for _ in range(2):
        studio.wait(100.0)
    assert studio.shutter.gave_up is None
    studio.wait(100.0)
    assert isinstance(studio.shutter.gave_up, CameraFailed)
    assert str(studio.shutter.gave_up) == (
        "gave up after 3 failures of the camera: the disk is full"
    )
    assert studio.camera.done == ["closed"]
    assert studio.shutter.join(PATIENCE)
    assert studio.shots.failed == 3


def test_only_failures_in_a_row_count(open_studio):
    studio = open_studio(freq=1.0, settings={"max_failures": 2})
    for fault in (ValueError("no"), None) * 3:
        studio.camera.fault = fault
        studio.wait(100.0)
    assert studio.shutter.gave_up is None
    assert studio.shots.failed == 3


# --- the end -----------------------------------------------------------------------


@pytest.mark.parametrize("maxrate", [None, "1/h"])
def test_in_the_end_there_is_a_last_shot_whatever_the_rate(open_studio, maxrate):
    studio = open_studio(freq=5.0, maxrate=maxrate)
    studio.wait(5.0)
    studio.state.apply([told("task-received", uuid="b")])
    studio.end()
    assert [tasks for _, tasks in studio.camera.pictures] == [["a"], ["a", "b"]]
    assert studio.camera.done == ["closed"]
    assert studio.shots.taken == 2
    assert not studio.shutter.last_failed


def test_a_camera_as_celerys_has_a_last_shot_too(open_studio):
    studio = open_studio(Snap, freq=5.0, maxrate="1/h")
    studio.wait(5.0)
    studio.end()
    assert studio.camera.seen == [["a"], ["a"]]


def test_one_that_was_not_installed_takes_only_that(open_studio):
    studio = open_studio(freq=1.0, install=False)
    studio.wait(10.0)
    assert studio.shots.taken == 0
    studio.end()
    assert studio.shots.taken == len(studio.camera.pictures) == 1


def test_a_last_shot_that_fails_is_known(open_studio):
    studio = open_studio(freq=5.0)
    studio.camera.fault = OutputError("no")
    studio.end()
    assert studio.shutter.last_failed
    assert studio.camera.done == ["closed"]


def test_it_is_closed_once_even_if_the_last_shot_was_one_too_many(open_studio):
    studio = open_studio(freq=5.0, settings={"max_failures": 1})
    studio.camera.fault = OutputError("no")
    studio.end()
    assert studio.shutter.gave_up is not None
    assert studio.camera.done == ["closed"]


def test_a_camera_that_cannot_be_closed_ends_all_the_same(open_studio, log):
    studio = open_studio(freq=5.0)
    studio.camera.close = lambda: 1 / 0
    studio.end()
    assert "closing the camera failed: ZeroDivisionError: division by zero" in (lines(log))


def test_one_that_hangs_is_not_waited_for_for_ever(open_studio):
    studio, go = open_studio(freq=1.0), threading.Event()
    studio.camera.during = lambda: go.wait(PATIENCE)
    studio.shutter.shoot()
    studio.shutter.end()
    assert not studio.shutter.join(0.05)
    go.set()
    assert studio.shutter.join(PATIENCE)


def test_a_camera_without_a_rate_is_left_alone(open_studio):
    studio = open_studio(Snap, freq=1.0)
    assert studio.camera.maxrate is None
