"""The library in the place of `celery.events`, under what was written for that."""

import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from pprint import pformat

import pytest

from evtools import Polaroid, State, Task
from tools.told import CLIENT, WORKER, life, told

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def celerys_tests():
    """Celery's tests, which are in its source distribution only; kept in build/."""
    name = f"celery-{version('celery')}"
    folder = ROOT / "build" / name
    if not (folder / "t").is_dir():
        sources = ROOT / "build" / "sources"
        pip = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps"]
        done = subprocess.run(
            [*pip, "--no-binary", "celery", "--dest", sources, name.replace("-", "==")],
            capture_output=True,
            text=True,
            check=False,
        )
        archive = sources / f"{name}.tar.gz"
        if not archive.is_file():
            reason = " ".join(done.stderr.strip().splitlines()[-1:])
            pytest.fail(
                f"pip cannot download the source distribution of {name}, which has "
                f"Celery's tests: {reason}",
                pytrace=False,
            )
        with tarfile.open(archive) as source:
            wanted = [
                each for each in source if each.name.startswith((f"{name}/t/", f"{name}/pyproject"))
            ]
            source.extractall(folder.parent, wanted, filter="data")
    return folder


@pytest.mark.timeout(300)
def test_celerys_own_tests_of_events_pass_with_our_classes(celerys_tests):
    plugin = ["-p", "instead", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, "t/unit/events"],
        cwd=celerys_tests,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "tools")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def flower(tmp_path_factory):
    """What Flower made of 10 000 events, with our State as its base class."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests/tools/flower_app.py", tmp_path_factory.mktemp("f")],
        env={**os.environ, "FLOWER_UNAUTHENTICATED_API": "true"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.timeout(180)
def test_flower_shows_what_our_state_knows(flower):
    pages = {name: body for name, (code, body) in flower["pages"].items() if code == 200}
    assert set(pages) == set(flower["pages"])
    assert flower["counted"] == 10_000
    rows = json.loads(pages["table"])
    assert rows["recordsTotal"] == len(rows["data"]) == len(flower["tasks"]) == 500
    assert {row["state"] for row in rows["data"]} >= {"FAILURE", "RETRY", "REJECTED"}
    workers = json.loads(pages["workers"])["data"]
    assert {each["hostname"] for each in workers} == {"w0@h", "w1@h", "w2@h"}
    failures = json.loads(pages["failures"])
    assert failures
    assert {each["exception"] for each in failures.values()} == {"CardError('no')"}
    assert "shop.task" in pages["page of a task"]
    assert 'flower_events_total{task="shop.task0"' in pages["metrics"]
    assert len(json.loads(pages["types"])["task-types"]) == 7


def test_flowers_index_of_tasks_stays_true(flower):
    assert flower["index"] == flower["tasks"]
    assert flower["cleared"] == []


def test_flower_saves_our_state_and_takes_it_up_again(flower):
    tasks, events, workers = flower["restored"]
    assert 0 < tasks <= 250
    assert events == 10_000
    assert workers == ["w0@h", "w1@h", "w2@h"]


class Exporter:
    """Count in the way of celery-exporter: by what the state says after each event."""

    def __init__(self):
        self.state = State()
        self.counts = Counter()
        self.runtimes = []

    def take(self, event):
        if event["type"] == "worker-heartbeat":
            worker = self.state.event(event)[0][0]
            self.counts["active", worker.hostname] = worker.active or 0
            return
        self.state.event(event)
        task = self.state.tasks.get(event["uuid"])
        exception = event["type"] == "task-failed" and task.exception.partition("(")[0]
        queue = getattr(task, "queue", "celery")
        self.counts[event["type"], task.name, task.hostname, queue, exception] += 1
        if event["type"] == "task-succeeded":
            self.runtimes.append(task.runtime)


def test_what_celery_exporter_counts_is_right():
    exporter = Exporter()
    for event in (
        told("worker-heartbeat", 9.0, active=3),
        *life("sent", "received", "started", "succeeded"),
        *life("received", "started", "failed", uuid="b", exception="CardError('no')"),
    ):
        exporter.take(event)
    name = "shop.pay"
    assert exporter.counts == {
        ("active", WORKER): 3,
        ("task-sent", name, CLIENT, "mail", False): 1,
        ("task-received", name, WORKER, "mail", False): 1,
        ("task-started", name, WORKER, "mail", False): 1,
        ("task-succeeded", name, WORKER, "mail", False): 1,
        ("task-received", name, WORKER, "celery", False): 1,
        ("task-started", name, WORKER, "celery", False): 1,
        ("task-failed", name, WORKER, "celery", "CardError"): 1,
    }
    assert exporter.runtimes == [0.5]


class Dump(Polaroid):
    """Print, as the camera in Celery's manual does."""

    clear_after = True

    def on_shutter(self, state):
        if state.event_count:
            self.text = pformat(state.workers, indent=4) + pformat(state.tasks)
            self.total = f"{state.event_count} events, {state.task_count} tasks"


class Database(Polaroid):
    """Make rows, as the cameras for Django do."""

    clear_after = True

    def on_shutter(self, state):
        self.workers = {name: worker.heartbeats[-1] for name, worker in state.workers.items()}
        self.rows = [self.row(uuid, task) for uuid, task in state.tasks.items()]

    def row(self, uuid, task):
        keep = Task.merge_rules["RECEIVED"]
        row = {name: getattr(task, name) for name in keep}
        row |= {"state": task.state, "at": task.timestamp, "runtime": task.runtime}
        row["outcome"] = task.result or task.exception
        row["worker"] = task.worker and task.worker.hostname
        return uuid, row


class Old(Dump):
    """Override the shutter itself, as cameras of old did."""

    def shutter(self, state=None):
        self.on_shutter(state or self.state)


@pytest.mark.parametrize("camera", [Dump, Database, Old])
def test_cameras_that_others_wrote_take_their_pictures(camera):
    state = State()
    camera = camera(state, timer=object())
    for event in (
        *life("received", "started", "succeeded"),
        told("task-received", 12.0, uuid="b", retries=0, name="shop.pack"),
    ):
        state.event(event)
    camera.capture()
    if isinstance(camera, Dump):
        assert camera.total == "4 events, 2 tasks"
        assert f"<Worker: {WORKER}" in camera.text
        assert "<Task: shop.pack(b) RECEIVED" in camera.text
    else:
        assert set(camera.workers) == {WORKER}
        assert {row["outcome"] for _, row in camera.rows} == {"4", None}
    assert list(state.tasks) == ["b"]
    assert not state.event_count
