"""evcam from its options to its end: sources, cameras, signals."""

import gc
import json
import os
import signal
import sys
import threading
import urllib.request
from contextlib import ExitStack
from dataclasses import replace

import pytest

from evtools.cam import app
from evtools.cam.app import Signals
from evtools.cam.app import _check_camera as check
from evtools.cam.app import run_loop as run
from evtools.cam.options import CamOptions
from evtools.clock import SystemClock
from evtools.errors import OutputError, UsageError
from evtools.transport import ConnectionSettings
from servers.ports import free_port
from tools.clock import FakeClock
from tools.studio import PATIENCE, Album, Snap
from tools.told import told

SETTINGS = ConnectionSettings(urls="memory://nobody")
HERE = "tools.studio:"


class Kept(Album):
    """An album that is still there when the run is over."""

    last = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        Kept.last = self


class Full(Album):
    def check(self):
        raise OutputError("the disk is full")

    def write(self, snapshot):
        self.check()


@pytest.fixture(autouse=True)
def collector():
    """Give the garbage collector back as it was."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "x.jsonl"
    events = [
        told("worker-heartbeat", 1000.0),
        told("task-received", 1001.0, uuid="a"),
        told("task-received", 1015.0, uuid="b", kwargs="{'password': 'hunter2'}"),
        told("task-received", 1016.0, uuid="c", name="shop.pack"),
    ]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return str(path)


def options(camera, **more):
    name = f"{camera.__module__}:{camera.__qualname__}" if camera else ""
    return CamOptions(camera=name, allow_insecure_camera=True, **more)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Let the cameras of this file be found by name, as users' are."""
    monkeypatch.setitem(sys.modules, "cameras_of_test", sys.modules[__name__])
    for camera in (Kept, Full):
        monkeypatch.setattr(camera, "__module__", "cameras_of_test")
    monkeypatch.setattr(sys, "path", sys.path[:])


def test_a_recording_is_shot_from_its_beginning_to_its_end(recording):
    ready = []
    asked = options(
        Kept,
        read=(recording,),
        freq=10.0,
        filters=("name=shop.pay",),
        redact=("password",),
        warm_up=5.0,
    )
    assert run(asked, SETTINGS, lambda: ready.append(1)) == 0
    found = [(info.at, info.warm, tasks) for info, tasks in Kept.last.pictures]
    assert found == [(1015.25, True, ["a"]), (1016.25, True, ["a", "b"])]
    assert "hunter2" not in Kept.last.state.tasks["b"].kwargs
    assert ready == [1]
    assert Kept.last.done == ["closed"]


def test_the_simulated_cluster_is_shot_until_somebody_ends_it():
    asked = options(Kept, demo=True, freq=0.05)

    def end_when_there_are_some():
        while Kept.last is None or len(Kept.last.pictures) < 3:
            if done.wait(0.02):
                return
        os.kill(os.getpid(), signal.SIGTERM)

    done = threading.Event()
    Kept.last = None
    watch = threading.Thread(target=end_when_there_are_some)

    def ready():
        watch.start()

    try:
        assert run(asked, SETTINGS, ready) == 0
    finally:
        done.set()
        watch.join(PATIENCE)
    infos = Kept.last.infos
    assert [info.sequence for info in infos] == list(range(1, len(infos) + 1))
    assert all(info.connected for info in infos[1:])


def test_what_is_remembered_is_bounded_as_asked(recording):
    run(options(Kept, read=(recording,), max_tasks=2, max_memory=12345678), SETTINGS)
    state = Kept.last.state
    assert (state.max_tasks_in_memory, state.max_bytes) == (2, 12345678)
    assert len(state.tasks) <= 2


def test_health_is_served_where_asked_for(recording):
    port = free_port()
    seen = []

    def ready():
        for path in ("livez", "metrics"):
            url = f"http://127.0.0.1:{port}/{path}"
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                seen.append(answer.status)

    asked = options(Kept, read=(recording,), listen=f"127.0.0.1:{port}")
    assert run(asked, SETTINGS, ready) == 0
    assert seen == [200, 200]
    assert not [t for t in threading.enumerate() if t.name.startswith("evtools")]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"camera": ""}, "no camera given"),
        ({"camera": "nothere.Camera"}, "there is no module nothere"),
        ({"maxrate": "10/x"}, "invalid rate"),
        ({"camera_options": {"nope": "1"}}, "has no option nope"),
        ({"filters": ("name==",)}, "bad filter"),
        ({"read": ("/none",)}, "cannot read /none"),
        ({"listen": "nowhere"}, "nowhere"),
    ],
)
def test_what_cannot_work_is_refused(recording, changes, complaint):
    asked = replace(options(Snap, read=(recording,)), **changes)
    with pytest.raises(UsageError, match=complaint):
        run(asked, SETTINGS)


def test_a_camera_can_be_checked():
    assert check(options(Kept)) == "Kept"
    assert check(options(Snap)) == "camera tools.studio:Snap"
    with pytest.raises(OutputError, match="the disk is full"):
        check(options(Full))
    with pytest.raises(UsageError, match="no camera given"):
        check(options(None))


def test_what_cannot_take_its_only_shot_says_so_at_once(recording):
    with pytest.raises(UsageError, match="nowhere to put its metrics"):
        run(CamOptions(camera="prometheus", read=(recording,), once=True), SETTINGS)
    with pytest.raises(OutputError, match="the disk is full"):
        run(options(Full, read=(recording,), once=True), SETTINGS)


def test_it_lets_the_collector_rest(recording):
    run(options(Kept, read=(recording,)), SETTINGS)
    assert gc.get_threshold() == app.COLLECT_AFTER


@pytest.mark.parametrize(("demo", "refused"), [(False, True), (True, False)])
def test_a_broker_that_cannot_work_is_refused_at_once(demo, refused):
    # Its modules are imported before privileges are dropped; the simulated cluster needs none.
    with ExitStack() as stack:

        def opened():
            settings = ConnectionSettings(urls="sqs://x")
            clock = SystemClock()
            return app._open_source(CamOptions(demo=demo), settings, print, clock, stack)

        if refused:
            with pytest.raises(UsageError, match="SQS"):
                opened()
        else:
            assert opened().settings.urls == "memory://demo"


# === signals =========================================================================


FLAGS = {
    signal.SIGHUP: "reopen_wanted",
    signal.SIGUSR1: "dump_wanted",
    signal.SIGUSR2: "shot_wanted",
}


@pytest.fixture
def ends():
    return []


@pytest.fixture
def signals(ends):
    with Signals(lambda: ends.append("end"), FakeClock()) as entered:
        yield entered


@pytest.mark.parametrize("number", FLAGS)
def test_each_raises_its_flag_alone_and_ends_nothing(signals, ends, number):
    signal.raise_signal(number)
    raised = [flag for flag in FLAGS.values() if getattr(signals, flag)]
    assert raised == [FLAGS[number]]
    assert not signals.ending
    assert ends == []
