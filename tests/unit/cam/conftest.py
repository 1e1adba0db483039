"""A clock that is moved by hand, what goes by it, and the lines of the log."""

import logging
import threading

import pytest
from msgspec import UNSET

from evtools.cam import loop
from evtools.cam.loop import Loop
from evtools.cam.options import CamOptions
from evtools.cam.schedule import Timer
from evtools.transport import Notice, Statistics
from evtools.wire import from_fields
from tools.clock import FakeClock
from tools.studio import PATIENCE, Album


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
def log(caplog):
    """Return the lines of the log so far."""
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


class Supervisor:
    """A notifier that keeps its notifications, in order."""

    def __init__(self):
        self.sent = []
        self.signs = 0

    def __getattr__(self, name):
        return lambda status="": self.sent.append((name, status))

    def watchdog(self):
        self.signs += 1

    def words(self):
        return [word for word, _ in self.sent]


class Stage:
    """A loop with everything around it, and a clock that is moved by hand.

    It is the source, too: batches and errors, and things to do between them; and the signals.
    Of an event, `cluster` is the name of its cluster.
    """

    def __init__(self, *steps, kind=Album, replays=False, names=("",), **options):
        self.clock = FakeClock(1000.0)
        options = {"freq": 1e6, "shutdown_timeout": 20.0} | options
        if replays:
            options["read"] = ("x.jsonl",)
        self.steps, self.left_bytes, self.defects, self.asked = steps, 0, [], []
        self.ending, self.came = False, set()
        self.supervisor, self.calls = Supervisor(), []
        self.loop = Loop(
            CamOptions(**options),
            kind,
            self.clock,
            notifier=self.supervisor,
            ready=lambda: self.calls.append("ready"),
            on_hangup=lambda: self.calls.append("hangup"),
            names=names,
        )
        self.clusters = self.loop._clusters
        self.cluster = self.clusters[min(names)]
        self.camera, self.state = self.cluster.camera, self.cluster.state
        self.counters, self.thread = self.loop.counters, self.loop.thread
        self.loop._source = self

    def run(self, *steps):
        self.steps = steps or self.steps
        return self.loop.run(self, self)

    def events(self, timeout=None):
        self.asked.append(timeout)
        for step in self.steps:
            if callable(step):
                step()
                yield []
            elif isinstance(step, Exception):
                raise step
            else:
                yield [_event_of(**event) for event in step]

    def statistics(self):
        return Statistics(buffered_bytes=self.left_bytes, defects=tuple(self.defects))

    def pictures(self):
        return [tasks for _, tasks in self.camera.pictures]

    def notice(self, kind, text, cluster=""):
        self.loop.on_notice(Notice(kind, text, cluster))

    def connect(self):
        self.notice("listening", "redis://h")

    def pass_time(self, seconds):
        self.clock.now += seconds
        self.rest()

    def wait(self, seconds):
        return lambda: self.pass_time(seconds)

    def want(self, number):
        return lambda: self.came.add(number)

    def end(self):
        self.ending = True

    def rest(self):
        assert self.thread.settle(PATIENCE)


def _event_of(cluster=UNSET, **fields):
    event = from_fields(fields)
    event.cluster = cluster
    return event


class Gate:
    """Hold up the camera's thread, from when it comes here until it is opened."""

    def __init__(self):
        self.came, self.go = threading.Event(), threading.Event()

    def __call__(self):
        self.came.set()
        self.go.wait(PATIENCE)


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.go.set()


@pytest.fixture
def stage(monkeypatch):
    stages = []
    monkeypatch.setattr(loop, "TICK", 0.02)

    def start(*steps, **options):
        stages.append(Stage(*steps, **options))
        return stages[-1]

    yield start
    for each in stages:
        each.thread.stop()
        assert each.thread.join(PATIENCE)
