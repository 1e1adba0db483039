"""Cameras: Celery's API, its signals, and snapshots that are written while events go on."""

import gc
import inspect
import threading
from itertools import pairwise

import celery.events.snapshot
import pytest

import evtools
from evtools.cam.camera import Polaroid, Signal
from evtools.cam.schedule import Timer
from evtools.cam.snapshot import SnapshotInfo, SnapshotSequence
from evtools.state import State
from tools.studio import PATIENCE, Album, Snap, let_pass
from tools.told import told


@pytest.fixture
def state():
    state = State()
    state.apply([told("worker-heartbeat"), told("task-received", uuid="a")])
    return state


def signature_of(kind, name):
    parameters = inspect.signature(getattr(kind, name)).parameters
    return {name: each.default for name, each in parameters.items()}


def test_it_has_everything_that_celerys_has(state, timer):
    theirs = celery.events.snapshot.Polaroid
    missing = {name for name in vars(theirs) if not hasattr(Polaroid, name)}
    assert missing <= {"__doc__", "__dict__", "__weakref__"}
    for name, _ in inspect.getmembers(theirs, inspect.isfunction):
        expected = signature_of(theirs, name)
        assert list(signature_of(Polaroid, name).items()) == list(expected.items())
    assert signature_of(evtools.Camera, "__init__") == signature_of(theirs, "__init__")
    made = [kind(state, timer=timer, maxrate="1/s", app="x") for kind in (theirs, Polaroid)]
    assert set(vars(made[0])) <= set(vars(made[1]))
    assert made[1].app == "x"


def test_it_takes_snapshots_and_cleans_up_at_intervals(state, clock, timer):
    with Snap(state, freq=2.0, cleanup_freq=3.0, timer=timer) as camera:
        let_pass(2.0, clock, timer)
        state.apply([told("task-received", uuid="b")])
        let_pass(2.0, clock, timer)
        assert (camera.seen, camera.swept) == ([["a"], ["a", "b"]], 1)
        state.apply([told("task-received", uuid="c")])
    # At the end there is a last one.
    assert camera.seen[2:] == [["a", "b", "c"]]
    let_pass(10.0, clock, timer)
    assert len(camera.seen) == 3
    assert timer.due == float("inf")


def test_it_can_clear_the_state_after_a_snapshot_but_not_without_one(state, timer):
    camera = Snap(state, maxrate="1/h", timer=timer)
    camera.clear_after, camera.fault = True, ValueError("no")
    with pytest.raises(ValueError, match="no"):
        camera.capture()
    camera.capture()  # one too many
    assert list(state.workers) == ["celery@one"]
    camera.maxrate = camera.fault = None
    camera.capture()
    assert (camera.seen, list(state.workers)) == ([["a"]], [])


def test_connected_functions_are_called_at_each_snapshot_and_cleanup(state, timer):
    calls = []

    def note(signal, sender, **_):
        calls.append((signal.name, sender))

    camera, album = Snap(state, timer=timer), Album(state, timer=timer)
    signals = camera.shutter_signal, camera.cleanup_signal
    for signal in signals:
        signal.connect(note)
    try:
        for each in (camera, album):
            each.capture()
            each.cleanup()
    finally:
        for signal in signals:
            signal.disconnect(note)
    assert calls == [("shutter_signal", state), ("cleanup_signal", state)] * 2
    assert album.done == ["swept"]


def test_without_a_timer_it_has_one_of_its_own_that_ends_with_it(state, timer):
    with Snap(state, freq=3600.0) as camera:
        assert camera.timer.due < float("inf")
    assert camera.timer.join(PATIENCE)
    assert camera.seen == [["a"]]
    # Its class may name another.
    ours = type("Ours", (Snap,), {"timer": timer})
    assert ours(state).timer is timer


# --- cameras that write slowly ------------------------------------------------------


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
    assert Album(album.state).clock.wall() > 1e9
    limited = Album(album.state, maxrate="1/h", timer=album.timer)
    for _ in range(2):
        limited.capture()
    assert len(limited.pictures) == 1
    assert limited._sequence.next(1010.0).sequence == 2  # none is used by the other


def test_one_for_all_clusters_takes_back_what_was_not_written(album, clock):
    other = Album(State(cluster="eu"), timer=album.timer)
    album.lead([album, other])
    write, album.write = album.write, lambda shot: 1 / 0 if shot[0].cluster else write(shot)
    with pytest.raises(ZeroDivisionError):
        album.capture()
    assert [(len(each.pictures), len(each.returned)) for each in (album, other)] == [(1, 0), (0, 1)]
    album.write = write
    album.capture()
    # Numbers have no holes, for either.
    assert [(info.cluster, info.sequence) for info in album.infos] == [("", 1), ("", 2), ("eu", 1)]


def start_to_apply(state):
    events = [told("task-received", uuid="b")]
    thread = threading.Thread(target=state.apply, args=(events,))
    thread.start()
    return thread


def test_events_are_applied_while_it_is_written(album, state):
    album.during = lambda: start_to_apply(state).join(PATIENCE)
    album.capture()
    assert album.pictures[0][1] == ["a"]
    assert sorted(state.tasks) == ["a", "b"]


def test_no_event_is_applied_while_it_is_taken(state, clock):
    class Slow(Album):
        def snapshot(self, info):
            self.thread = start_to_apply(state)
            self.thread.join(0.05)
            return super().snapshot(info)

    camera = Slow(state, timer=Timer(clock))
    camera.capture()
    assert camera.pictures[0][1] == ["a"]
    camera.thread.join(PATIENCE)
    assert "b" in state.tasks


@pytest.mark.parametrize("step", ["snapshot", "write"])
def test_a_snapshot_that_fails_loses_no_period(album, clock, state, step):
    def fail(_):
        raise OSError(28, "no space left")

    def restore(snapshot):
        """Note whether an event could be applied now."""
        thread = threading.Thread(target=lambda: free.append(state._lock.acquire(blocking=False)))
        thread.start()
        thread.join(PATIENCE)
        returned.append(snapshot[0].sequence)

    free, returned, original = [], [], getattr(album, step)
    setattr(album, step, fail)
    album.restore = restore
    album.clear_after = step == "snapshot"
    with pytest.raises(OSError, match="no space"):
        album.capture()
    assert (returned, free) == (([1], [False]) if step == "write" else ([], []))
    setattr(album, step, original)
    clock.now = 1005.0
    album.capture()
    info = album.infos[0]
    assert (info.sequence, info.since, info.period) == (1, 990.0, 15.0)
    assert album.pictures[0][1] == ["a"]


def test_it_can_clear_the_state_before_it_is_written(album, state):
    album.clear_after = True
    album.during = lambda: album.observed.append(len(state.workers))
    album.capture()
    assert (album.pictures[0][1], album.observed) == (["a"], [0])


def test_two_at_a_time_are_written_one_after_the_other(album):
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
    assert all(after.sequence == before.sequence + 1 for before, after in pairwise(album.infos))


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


# --- signals ------------------------------------------------------------------------


@pytest.fixture
def signal():
    return Signal("test")


class Listener:
    def __init__(self):
        self.calls = []

    def note(self, sender, **named):
        self.calls.append((sender, named))
        return len(self.calls)


def test_a_connected_function_is_called_once_until_it_is_disconnected(signal):
    one, other = Listener(), Listener()
    assert signal.connect(one.note) == one.note
    signal.connect(one.note)
    signal.connect(other.note)
    assert signal.send("me", x=1) == [(one.note, 1), (other.note, 1)]
    assert one.calls == [("me", {"signal": signal, "x": 1})]
    assert [signal.disconnect(one.note) for _ in range(2)] == [True, False]
    signal.send("me")
    assert (len(one.calls), len(other.calls)) == (1, 2)


def test_it_is_a_decorator_with_and_without_arguments(signal):
    @signal.connect
    def all_of_it(**_):
        return "all"

    @signal.connect(sender="you")
    def yours(**_):
        return "yours"

    assert signal.send("me") == [(all_of_it, "all")]
    assert signal.send("you") == [(all_of_it, "all"), (yours, "yours")]


def test_a_function_without_another_reference_is_forgotten_unless_asked_otherwise(signal):
    listener = Listener()
    signal.connect(listener.note)
    signal.connect(lambda **_: "gone")
    signal.connect(lambda **_: "here", weak=False)
    del listener
    gc.collect()
    assert [response for _, response in signal.send("me")] == ["here"]
    assert len(signal._receivers) == 1


def test_one_that_raises_does_not_keep_the_others_from_being_called(signal, caplog):
    def fail(**_):
        raise ValueError("no")

    listener = Listener()
    signal.connect(fail)
    signal.connect(listener.note)
    responses = signal.send("me")
    assert isinstance(responses[0][1], ValueError)
    assert len(listener.calls) == 1
    assert "ValueError: no" in caplog.text
