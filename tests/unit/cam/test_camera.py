"""Cameras: Celery's API, its signals, and snapshots that are written while events go on."""

import gc
import inspect
import logging
import threading

import celery.events.snapshot
import pytest

import evtools
from evtools.cam.camera import Polaroid, Signal
from evtools.cam.schedule import Timer
from evtools.cam.snapshot import SnapshotInfo, SnapshotSequence
from evtools.state import State
from tools.clock import FakeClock
from tools.studio import PATIENCE, Album, Snap, let_pass
from tools.told import told


@pytest.fixture
def clock():
    return FakeClock(1000.0)


@pytest.fixture
def timer(clock):
    timer = Timer(clock)
    yield timer
    timer.stop()
    assert timer.join(PATIENCE)


@pytest.fixture
def state():
    state = State()
    state.apply([told("worker-heartbeat"), told("task-received", uuid="a")])
    return state


def test_it_has_all_that_celerys_has():
    theirs = celery.events.snapshot.Polaroid
    missing = {name for name in vars(theirs) if not hasattr(Polaroid, name)}
    assert missing <= {"__doc__", "__dict__", "__weakref__"}
    for name, function in inspect.getmembers(theirs, inspect.isfunction):
        ours = inspect.signature(getattr(Polaroid, name))
        expected = inspect.signature(function)
        assert list(ours.parameters) == list(expected.parameters), name
        for each, parameter in expected.parameters.items():
            assert ours.parameters[each].default == parameter.default


def test_it_has_the_attributes_that_celerys_has(state, timer):
    theirs = vars(celery.events.snapshot.Polaroid(state, timer=timer, maxrate="1/s"))
    ours = vars(Snap(state, timer=timer, maxrate="1/s"))
    assert set(theirs) <= set(ours)


def test_it_takes_a_snapshot_each_time(state, clock, timer):
    camera = Snap(state, freq=2.0, timer=timer)
    camera.install()
    let_pass(2.0, clock, timer)
    state.apply([told("task-received", uuid="b")])
    let_pass(2.0, clock, timer)
    assert camera.seen == [["a"], ["a", "b"]]


def test_it_cleans_up_each_time(state, clock, timer):
    camera = Snap(state, freq=1e9, cleanup_freq=5.0, timer=timer)
    camera.install()
    let_pass(5.0, clock, timer)
    let_pass(5.0, clock, timer)
    assert camera.swept == 2


def test_it_can_clear_the_state_afterwards(state, timer):
    camera = Snap(state, timer=timer)
    camera.clear_after = True
    camera.capture()
    assert (camera.seen, list(state.workers)) == ([["a"]], [])


def test_it_does_not_if_there_was_no_shot(state, timer):
    camera = Snap(state, maxrate="1/h", timer=timer)
    camera.clear_after, camera.fault = True, ValueError("no")
    with pytest.raises(ValueError, match="no"):
        camera.capture()
    camera.capture()
    assert list(state.workers) == ["celery@one"]


def test_a_rate_is_kept_by_those_who_press_the_shutter_themselves(state, timer):
    camera = Snap(state, maxrate="10/m", timer=timer)
    for _ in range(3):
        camera.shutter()
    assert camera.seen == [["a"]]


def test_who_is_connected_hears_of_each_shot_and_cleaning(state, timer):
    heard = []

    def hear(signal, sender, **_):
        heard.append((signal.name, sender))

    camera = Snap(state, timer=timer)
    camera.shutter_signal.connect(hear)
    camera.cleanup_signal.connect(hear)
    try:
        camera.capture()
        camera.cleanup()
    finally:
        camera.shutter_signal.disconnect(hear)
        camera.cleanup_signal.disconnect(hear)
    assert heard == [("shutter_signal", state), ("cleanup_signal", state)]


def test_in_the_end_it_takes_a_last_one(state, clock, timer):
    with Snap(state, timer=timer) as camera:
        let_pass(1.0, clock, timer)
        state.apply([told("task-received", uuid="b")])
    assert camera.seen == [["a"], ["a", "b"]]
    let_pass(10.0, clock, timer)
    assert len(camera.seen) == 2
    assert timer.due == float("inf")


def test_without_a_timer_it_has_one_of_its_own_that_ends_with_it(state):
    camera = Snap(state, freq=3600.0)
    with camera:
        assert camera.timer.due < float("inf")
    assert camera.timer.join(PATIENCE)
    assert camera.seen == [["a"]]


def test_a_class_may_say_which_timer_its_cameras_take(state, timer):
    class Ours(Snap):
        pass

    Ours.timer = timer
    assert Ours(state).timer is timer


# === cameras that write slowly =======================================================


@pytest.fixture
def album(state, clock):
    album = Album(state, timer=Timer(clock))
    album.load(SnapshotSequence(state.workers, started=990.0), clock)
    return album


def test_a_snapshot_is_taken_and_then_written(album, clock):
    album.capture()
    clock.now = 1005.0
    album.capture()
    (first, tasks), (second, _) = album.pictures
    assert tasks == ["a"]
    assert (first.sequence, first.since, first.at) == (1, 990.0, 1000.0)
    assert (second.sequence, second.since, second.at) == (2, 1000.0, 1005.0)


def test_events_are_applied_while_it_is_written(album, state):
    def others_apply():
        events = [told("task-received", uuid="b")]
        thread = threading.Thread(target=state.apply, args=(events,))
        thread.start()
        thread.join(PATIENCE)

    album.during = others_apply
    album.capture()
    assert album.pictures[0][1] == ["a"]
    assert sorted(state.tasks) == ["a", "b"]


def test_no_event_is_applied_while_it_is_taken(state, clock):
    class Slow(Album):
        def snapshot(self, info):
            events = [told("task-received", uuid="b")]
            self.thread = threading.Thread(target=state.apply, args=(events,))
            self.thread.start()
            self.thread.join(0.05)
            return super().snapshot(info)

    camera = Slow(state, timer=Timer(clock))
    camera.capture()
    assert camera.pictures[0][1] == ["a"]
    camera.thread.join(PATIENCE)
    assert "b" in state.tasks


def test_a_picture_that_cannot_be_written_comes_back(album, clock):
    album.fault = OSError(28, "no space left")
    with pytest.raises(OSError, match="no space"):
        album.capture()
    assert [info.sequence for info, _ in album.returned] == [1]
    album.fault = None
    clock.now = 1005.0
    album.capture()
    info = album.infos[0]
    assert (info.sequence, info.since, info.period) == (1, 990.0, 15.0)


def test_it_comes_back_while_no_event_is_taken_in(album, state):
    album.fault = OSError("no")
    others = []

    def restore(snapshot):
        thread = threading.Thread(target=lambda: others.append(state._lock.acquire(blocking=False)))
        thread.start()
        thread.join(PATIENCE)

    album.restore = restore
    with pytest.raises(OSError, match="no"):
        album.capture()
    assert others == [False]


def test_a_look_that_fails_loses_no_period(album, clock):
    snapshot, album.snapshot = album.snapshot, lambda info: 1 / 0
    album.clear_after = True
    with pytest.raises(ZeroDivisionError):
        album.capture()
    album.snapshot = snapshot
    clock.now = 1005.0
    album.capture()
    assert (album.infos[0].sequence, album.infos[0].since) == (1, 990.0)
    assert album.pictures[0][1] == ["a"]


def test_a_rate_is_kept_and_uses_no_number(state, clock):
    album = Album(state, maxrate="1/h", timer=Timer(clock))
    album.capture()
    album.capture()
    assert len(album.pictures) == 1
    assert album._sequence.next(1010.0).sequence == 2


def test_it_can_clear_the_state_after_looking(album, state):
    album.clear_after = True
    album.during = lambda: album.observed.append(len(state.workers))
    album.capture()
    assert (album.pictures[0][1], album.observed) == (["a"], [0])


def test_two_shots_at_a_time_come_one_after_the_other(album):
    inside, most = [], []
    another = threading.Event()

    def during():
        inside.append(1)
        most.append(len(inside))
        if len(inside) > 1:
            another.set()
        another.wait(0.02)
        inside.pop()

    album.during = during
    threads = [threading.Thread(target=album.capture) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert max(most) == 1
    assert [info.sequence for info in album.infos] == list(range(1, 9))


def test_the_names_of_before_still_work(state, clock):
    class Old(evtools.Camera):
        written = returned = None

        def expose(self, frame):
            assert isinstance(frame, evtools.Frame)
            return frame.sequence

        def develop(self, picture):
            if self.written is None:
                self.written = picture
                raise OSError("no")

        def restore(self, picture):
            self.returned = picture

        def write(self, file, text):
            """Be a helper of its own."""

    camera = Old(state, timer=Timer(clock))
    with pytest.raises(OSError, match="no"):
        camera.capture()
    camera.capture()
    assert (camera.written, camera.returned) == (1, 1)
    assert evtools.Frame is evtools.SnapshotInfo is SnapshotInfo


# === signals =========================================================================


@pytest.fixture
def signal():
    return Signal("test")


class Listener:
    def __init__(self):
        self.heard = []

    def hear(self, sender, **named):
        self.heard.append((sender, named))
        return len(self.heard)


def test_who_is_connected_hears_who_sends_what(signal):
    listener = Listener()
    assert signal.connect(listener.hear) == listener.hear
    assert signal.send("me", x=1) == [(listener.hear, 1)]
    assert listener.heard == [("me", {"signal": signal, "x": 1})]


def test_who_connects_twice_hears_once(signal):
    listener = Listener()
    signal.connect(listener.hear)
    signal.connect(listener.hear)
    assert len(signal.send("me")) == 1


def test_it_is_a_decorator_with_and_without_arguments(signal):
    @signal.connect
    def all_of_it(**named):
        return "all"

    @signal.connect(sender="you")
    def yours(**named):
        return "yours"

    assert signal.send("me") == [(all_of_it, "all")]
    assert signal.send("you") == [(all_of_it, "all"), (yours, "yours")]


def test_what_nobody_holds_is_forgotten(signal):
    listener = Listener()
    signal.connect(listener.hear)
    signal.connect(lambda **_: "gone")
    del listener
    gc.collect()
    assert signal.send("me") == []
    assert signal._receivers == []


def test_what_is_connected_for_good_stays(signal):
    signal.connect(lambda **_: "here", weak=False)
    gc.collect()
    assert [response for _, response in signal.send("me")] == ["here"]


def test_who_is_disconnected_hears_no_more(signal):
    one, other = Listener(), Listener()
    signal.connect(one.hear)
    signal.connect(other.hear)
    assert signal.disconnect(one.hear)
    assert not signal.disconnect(one.hear)
    signal.send("me")
    assert (one.heard, len(other.heard)) == ([], 1)


def test_one_that_raises_keeps_nothing_from_the_others(signal, caplog):
    def fail(**_):
        raise ValueError("no")

    listener = Listener()
    signal.connect(fail)
    signal.connect(listener.hear)
    with caplog.at_level(logging.ERROR):
        responses = signal.send("me")
    assert isinstance(responses[0][1], ValueError)
    assert len(listener.heard) == 1
    assert "ValueError: no" in caplog.text
