"""evcam with users' cameras: as Celery's guide has them, slow ones, failing ones."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from servers.ports import free_port
from servers.process import PATIENCE, wait_until
from tools.flow import Flow

if TYPE_CHECKING:
    from tools.daemon import EvcamStarter

# As the chapter on cameras in Celery's guide to monitoring, but for what it prints.
GUIDE = """
import json
from {where} import Polaroid

class DumpCam(Polaroid):
    clear_after = True  # clear after flush (incl, state.event_count).

    def on_shutter(self, state):
        if not state.event_count:
            return  # No new events since last snapshot.
        shot = {{
            "workers": {{w.hostname: len(w.heartbeats) for w in state.alive_workers()}},
            "tasks": [
                [uuid, task.name, task.state, task.info(),
                 task.worker.hostname if task.worker else None]
                for uuid, task in state.tasks_by_time()
            ],
            "task_count": state.task_count,
            "event_count": state.event_count,
        }}
        with open("shots.jsonl", "a") as file:
            file.write(json.dumps(shot) + "\\n")
"""

CAMERAS = """
import json, os, time
from evtools import Camera, Polaroid

def write(name, what):
    with open(name, "a") as file:
        file.write(json.dumps(what) + "\\n")

class Frames(Camera):
    def __init__(self, *args, mark: int = 0, **kwargs):
        super().__init__(*args, **kwargs)
        self.mark = mark

    def expose(self, frame):
        return {**frame.as_dict(), "events": self.state.event_count, "mark": self.mark}

    def develop(self, picture):
        write("frames.jsonl", picture)

class Hanging(Polaroid):
    '''Hold the state while there is a file named hang.'''

    def on_shutter(self, state):
        while os.path.exists("hang"):
            open("hanging", "w").close()
            time.sleep(0.01)
        write("counts.jsonl", state.event_count)

class Failing(Polaroid):
    def on_shutter(self, state):
        raise ValueError("no film")
"""

FREQ = "0.2"


@pytest.fixture
def evcam(evcam, tmp_path) -> EvcamStarter:
    """Start the real command, in the folder with the cameras."""
    (tmp_path / "cams.py").write_text(CAMERAS)
    return evcam


def written(path):
    """Return what a camera has written, as far as the last line that is whole."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


# --- as Celery has them ------------------------------------------------------------


@pytest.mark.parametrize("where", ["celery.events.snapshot", "evtools"])
def test_a_camera_of_celerys_guide_runs_unchanged(evcam, celery_worker, tmp_path, where):
    (tmp_path / "proj.py").write_text(GUIDE.format(where=where))
    shots = tmp_path / "shots.jsonl"
    cam = evcam(
        *("-c", "proj.DumpCam", "-F", FREQ, "-b", celery_worker.broker_url),
        *("--event-exchange", celery_worker.event_exchange),
    )
    cam.wait_ready()
    app = celery_worker.app
    expected = {
        app.send_task(name, args=args).id: state
        for name, args, state in (
            *[("cluster.add", (n, 1), "SUCCESS") for n in range(8)],
            ("cluster.fail", ("no",), "FAILURE"),
            ("cluster.retry", (2,), "SUCCESS"),
        )
    }

    def last_seen():
        seen = {}
        for uuid, name, state, *_ in (task for shot in written(shots) for task in shot["tasks"]):
            # A client may tell of a task when the worker has told of its end.
            if state != "PENDING" or uuid not in seen:
                seen[uuid] = (name, state)
        return seen

    def beats():
        return max((shot["workers"].get(name, 0) for shot in written(shots)), default=0)

    name = celery_worker.hostname
    wait_until(
        lambda: {uuid: state for uuid, (_, state) in last_seen().items()} == expected,
        what=lambda: f"the end of all tasks: {last_seen()}",
    )
    wait_until(beats, what="a heartbeat")
    assert cam.stop(signal.SIGTERM) == 0
    tasks = [task for shot in written(shots) for task in shot["tasks"]]
    assert {host for *_, state, _, host in tasks if state != "PENDING"} == {name}
    results = {info.get("result") for *_, state, info, _ in tasks if state == "SUCCESS"}
    assert {str(n + 1) for n in range(8)} <= results
    # Cleared after each, they count what came in between: one more for the retry.
    assert sum(shot["task_count"] for shot in written(shots)) == len(expected) + 1
    assert set(Counter(name for _, name, *_ in tasks)) >= {"cluster.add", "cluster.fail"}


# --- frames ------------------------------------------------------------------------


def test_what_a_frame_says_is_what_happened(evcam, own_broker, tmp_path):
    frames = tmp_path / "frames.jsonl"
    cam = evcam(
        *("-c", "cams:Frames", "--camera-option", "mark=7", "-F", FREQ), *("-b", own_broker.url)
    )
    with Flow(own_broker.url, "celeryev", rate=100) as flow:
        wait_until(lambda: written(frames), what="a frame")
        wait_until(lambda: written(frames)[-1]["warm"], what="warmth")
        own_broker.kill()
        wait_until(lambda: not written(frames)[-1]["connected"], what="the loss")
        sent = flow.sent
        own_broker.start()
        wait_until(lambda: written(frames)[-1]["connected"], what="the return")
        wait_until(lambda: flow.sent > sent, what="the flow")
    seen = written(frames)[-1]["events"]
    wait_until(lambda: written(frames)[-1]["events"] >= seen, what="events")
    assert cam.stop(signal.SIGTERM) == 0
    told = written(frames)
    assert [frame["sequence"] for frame in told] == list(range(1, len(told) + 1))
    assert {frame["evcam"] for frame in told} == {told[0]["evcam"]}
    assert (told[0]["pid"], told[0]["mark"]) == (cam.pid, 7)
    for before, after in itertools.pairwise(told):
        assert after["since"] == before["at"]
    gaps = [gap for frame in told for gap in frame["gaps"]]
    assert [gap["reason"] for gap in gaps] == ["reconnect"]
    # The first may have been taken before the first connection was there.
    since = itertools.dropwhile(lambda frame: not frame["connected"], told)
    away = [frame["at"] for frame in since if not frame["connected"]]
    back = next(n for n, frame in enumerate(told) if frame["gaps"])
    # Others may have been taken while evcam was being told that it is connected again.
    assert gaps[0]["from"] <= away[0] <= gaps[0]["to"]
    assert away[-1] <= told[back]["at"]
    assert [frame["warm"] for frame in (told[0], told[back])] == [False, False]


def test_one_period_is_one_shot(evcam, redis_url, tmp_path):
    where, began = ("-b", redis_url), time.monotonic()
    cam = evcam("-c", "cams.Frames", "-F", "0.5", "--once", *where)
    assert cam.wait() == 0
    took = time.monotonic() - began
    (frame,) = written(tmp_path / "frames.jsonl")
    assert 0.5 <= frame["period"] < took
    cam = evcam("-c", "cams.Frames", "-F", "0.5", "--test", *where)
    assert cam.wait() == 0
    assert json.loads(cam.stdout)["sequence"] == 1
    assert len(written(tmp_path / "frames.jsonl")) == 1


# --- slow and failing ones ---------------------------------------------------------


def status_of(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as got:
            return got.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.timeout(120)
def test_a_camera_that_hangs_loses_no_event(evcam, broker_url, event_exchange, sender, tmp_path):
    (tmp_path / "hang").touch()
    port = free_port()
    cam = evcam(
        *("-c", "cams.Hanging", "-F", FREQ, "--listen", f"127.0.0.1:{port}"),
        *("-b", broker_url, "--event-exchange", event_exchange),
    )
    cam.wait_ready()
    wait_until((tmp_path / "hanging").exists, what="a camera that hangs")
    publisher = sender(broker_url, event_exchange)
    batch = [
        {"type": "task-progress", "uuid": f"u{n}", "timestamp": 1e9, "hostname": "c@h"}
        for n in range(100)
    ]
    # For longer than RabbitMQ keeps events that nobody fetches.
    pace = threading.Event()
    for _ in range(210):
        publisher.send_body(json.dumps(batch))
        pace.wait(1 / 30)
    assert status_of(port, "/livez") == 200
    assert written(tmp_path / "counts.jsonl") == []
    (tmp_path / "hang").unlink()
    counts = tmp_path / "counts.jsonl"
    wait_until(
        lambda: written(counts) and written(counts)[-1] >= 21_000,
        what=lambda: f"all events: {written(counts)[-3:]}",
    )
    metrics = f"http://127.0.0.1:{port}/metrics"
    with urllib.request.urlopen(metrics, timeout=PATIENCE) as answer:
        told = dict(
            line.rsplit(" ", 1)
            for line in answer.read().decode().splitlines()
            if not line.startswith("#")
        )
    assert float(told['evcam_events_lost_total{reason="dropped"}']) == 0
    assert float(told['evcam_snapshots_total{result="overrun"}']) > 10
    assert cam.stop(signal.SIGTERM) == 0
    assert "skipped so far" in cam.stderr


def test_one_that_hangs_in_the_end_is_left_behind(evcam, redis_url, tmp_path):
    (tmp_path / "hang").touch()
    cam = evcam(*("-c", "cams.Hanging", "-F", FREQ, "--shutdown-timeout", "1"), *("-b", redis_url))
    cam.wait_ready()
    wait_until((tmp_path / "hanging").exists, what="a camera that hangs")
    assert cam.stop(signal.SIGTERM) == 1
    assert "the camera is still at work after 1.0" in cam.stderr


def test_one_that_always_fails_is_told_once_at_length(evcam, redis_url):
    cam = evcam(*("-c", "cams.Failing", "-F", FREQ, "--max-failures", "4"), *("-b", redis_url))
    assert cam.wait() == 70
    assert cam.stderr.count("Traceback") == 1
    assert "the camera failed (3 in a row), next try in 0.8s: ValueError: no film" in (cam.stderr)
    assert "gave up after 4 failures of the camera: ValueError: no film" in cam.stderr


def test_a_shot_can_be_had_at_any_time(evcam, redis_url, tmp_path):
    cam = evcam(*("-c", "cams.Frames", "-F", "1h", "--cleanup-freq", "0"), *("-b", redis_url))
    cam.wait_ready()
    cam.send_signal(signal.SIGUSR2)
    wait_until(lambda: written(tmp_path / "frames.jsonl"), what="a shot")
    cam.send_signal(signal.SIGUSR1)
    cam.wait_stderr("thread evtools-camera")
    assert cam.stop(signal.SIGTERM) == 0
    assert len(written(tmp_path / "frames.jsonl")) == 2


# --- which are none ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("camera", "complaint"),
    [
        ("nothere.Camera", "evcam: there is no module nothere"),
        ("cams.Nope", "evcam: there is no Nope in cams ("),
        ("cams.write", "evcam: "),
        ("cams.json", "evcam: cams.json is not a camera: it is not a class"),
    ],
)
def test_what_is_no_camera_is_told_in_a_line(evcam, camera, complaint):
    cam = evcam("-c", camera, "--demo")
    assert cam.wait() == 2
    assert cam.stderr.startswith(complaint)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to be careful")
def test_root_runs_no_code_that_others_can_change(evcam, tmp_path):
    (tmp_path / "cams.py").chmod(0o666)
    cam = evcam("-c", "cams.Frames", "--demo")
    assert cam.wait() == 2
    assert "root does not load" in cam.stderr
    began = time.time()
    cam = evcam(*("-c", "cams.Frames", "--demo", "--once", "-F", "0.1"), "--allow-insecure-camera")
    assert cam.wait() == 0
    assert written(tmp_path / "frames.jsonl")[0]["at"] >= began
