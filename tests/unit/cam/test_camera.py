import threading

import pytest

from evtools.cam.camera import Camera
from evtools.cam.roll import Roll
from evtools.cam.timer import Timer
from evtools.state import State
from tools.clock import FakeClock
from tools.studio import PATIENCE, Album
from tools.told import told


@pytest.fixture
def clock():
    return FakeClock(1000.0)


@pytest.fixture
def state():
    state = State()
    state.apply([told("worker-heartbeat"), told("task-received", uuid="a")])
    return state


@pytest.fixture
def album(state, clock):
    album = Album(state, timer=Timer(clock))
    album.load(Roll(state.workers, started=990.0), clock)
    return album


def test_a_shot_is_a_look_and_then_its_development(album, clock):
    album.capture()
    clock.now = 1005.0
    album.capture()
    (first, tasks), (second, _) = album.pictures
    assert tasks == ["a"]
    assert (first.sequence, first.since, first.at) == (1, 990.0, 1000.0)
    assert (second.sequence, second.since, second.at) == (2, 1000.0, 1005.0)


def test_events_are_taken_in_while_it_is_developed(album, state):
    def others_apply():
        events = [told("task-received", uuid="b")]
        thread = threading.Thread(target=state.apply, args=(events,))
        thread.start()
        thread.join(PATIENCE)

    album.during = others_apply
    album.capture()
    assert album.pictures[0][1] == ["a"]
    assert sorted(state.tasks) == ["a", "b"]


def test_none_is_taken_in_while_it_looks(state, clock):
    class Slow(Album):
        def expose(self, frame):
            events = [told("task-received", uuid="b")]
            self.thread = threading.Thread(target=state.apply, args=(events,))
            self.thread.start()
            self.thread.join(0.05)
            return super().expose(frame)

    camera = Slow(state, timer=Timer(clock))
    camera.capture()
    assert camera.pictures[0][1] == ["a"]
    camera.thread.join(PATIENCE)
    assert "b" in state.tasks


def test_a_picture_that_cannot_be_written_comes_back(album, clock):
    album.fault = OSError(28, "no space left")
    with pytest.raises(OSError, match="no space"):
        album.capture()
    assert [frame.sequence for frame, _ in album.returned] == [1]
    album.fault = None
    clock.now = 1005.0
    album.capture()
    frame = album.frames[0]
    assert (frame.sequence, frame.since, frame.period) == (1, 990.0, 15.0)


def test_it_comes_back_while_no_event_is_taken_in(album, state):
    album.fault = OSError("no")
    others = []

    def restore(picture):
        thread = threading.Thread(target=lambda: others.append(state._lock.acquire(blocking=False)))
        thread.start()
        thread.join(PATIENCE)

    album.restore = restore
    with pytest.raises(OSError, match="no"):
        album.capture()
    assert others == [False]


def test_a_look_that_fails_loses_no_period(album, clock):
    expose, album.expose = album.expose, lambda frame: 1 / 0
    album.clear_after = True
    with pytest.raises(ZeroDivisionError):
        album.capture()
    album.expose = expose
    clock.now = 1005.0
    album.capture()
    assert (album.frames[0].sequence, album.frames[0].since) == (1, 990.0)
    assert album.pictures[0][1] == ["a"]


def test_a_rate_is_kept_and_uses_no_number(state, clock):
    album = Album(state, maxrate="1/h", timer=Timer(clock))
    album.capture()
    album.capture()
    assert len(album.pictures) == 1
    assert album.roll.next(1010.0).sequence == 2


def test_it_can_clear_the_state_after_looking(album, state):
    album.clear_after = True
    album.during = lambda: album.observed.append(len(state.workers))
    album.capture()
    assert (album.pictures[0][1], album.observed) == (["a"], [0])


def test_who_is_connected_hears_of_each_shot(album, state):
    heard = []

    def hear(sender, **_):
        heard.append(sender)

    Camera.shutter_signal.connect(hear)
    try:
        album.capture()
    finally:
        Camera.shutter_signal.disconnect(hear)
    assert heard == [state]


def test_cleaning_up_is_sweeping(album):
    album.cleanup()
    assert album.done == ["swept"]


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
    assert [frame.sequence for frame in album.frames] == list(range(1, 9))


def test_what_a_camera_does_not_do_is_nothing(state, clock):
    camera = Camera(state, timer=Timer(clock))
    camera.observe([])
    camera.sweep()
    camera.reopen()
    camera.close()
    camera.check()
    camera.restore("anything")
    assert camera.describe() == "Camera"
    with pytest.raises(NotImplementedError):
        camera.capture()
    with pytest.raises(NotImplementedError):
        camera.develop("anything")


def test_by_itself_it_has_a_roll_and_the_machines_clock(state):
    album = Album(state)
    album.capture()
    assert album.frames[0].at > 1e9
