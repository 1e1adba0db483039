import inspect

import celery.events.snapshot
import pytest

from evtools.cam.polaroid import Polaroid
from evtools.cam.timer import Timer
from evtools.errors import UsageError
from evtools.state import State
from tools.clock import FakeClock
from tools.studio import PATIENCE, Snap, let_pass
from tools.told import told


@pytest.fixture
def clock():
    return FakeClock()


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


def test_it_need_not_clean_up(state, clock, timer):
    camera = Snap(state, freq=1e9, cleanup_freq=0, timer=timer)
    with camera:
        let_pass(1e6, clock, timer)
    assert camera.swept == 0


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


def test_a_rate_is_kept(state, timer):
    camera = Snap(state, maxrate="10/m", timer=timer)
    camera.capture()
    camera.capture()
    assert camera.seen == [["a"]]
    assert not camera.may_shoot()


def test_a_rate_is_kept_by_those_who_press_the_shutter_themselves(state, timer):
    camera = Snap(state, maxrate="10/m", timer=timer)
    for _ in range(3):
        camera.shutter()
    assert camera.seen == [["a"]]


def test_a_bad_rate_is_refused(state, timer):
    with pytest.raises(UsageError, match="is no rate"):
        Snap(state, maxrate="10/x", timer=timer)


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


def test_one_that_was_never_installed_can_be_cancelled(state, timer):
    camera = Snap(state, timer=timer)
    camera.cancel()
    assert camera.seen == []


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


def test_it_does_nothing_by_itself(state, timer):
    camera = Polaroid(state, timer=timer, app="the app")
    camera.capture()
    camera.cleanup()
    assert camera.app == "the app"
