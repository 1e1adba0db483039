"""Snapshots as lines of JSON: everything, once, completely or not at all."""

import json
import os
import resource
from contextlib import contextmanager

import pytest

from evtools.cam.jsonl import JSONL, serialize_task, serialize_worker
from evtools.cam.schedule import Timer
from evtools.cam.snapshot import dry_run
from evtools.errors import OutputError, UsageError
from evtools.state import State
from evtools.wire import encode_line
from tools.stories import STORIES
from tools.told import UUID, WORKER, life, task_of, told


class Studio:
    """A camera and its state."""

    def __init__(self, clock, **options):
        self.state = State()
        self.camera = JSONL(self.state, timer=Timer(clock), **options)
        self.camera.load(self.camera._sequence, clock)

    def take(self, *events):
        self.camera.observe(self.state.apply(events))
        return self

    def shoot(self):
        self.camera.capture()
        return self


@pytest.fixture
def studio(tmp_path, clock):
    studio = Studio(clock, path=str(tmp_path / "x.jsonl"))
    yield studio
    studio.camera.close()


def lines(path):
    text = path.read_bytes()
    assert text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


@contextmanager
def disk_is_full(path, left=10):
    """Let files grow by no more than so many bytes beyond what `path` has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = path.stat().st_size + left
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def uuids(line):
    return [task["uuid"] for task in line["tasks"]]


# --- what is in a line -------------------------------------------------------------


def test_a_line_says_who_took_it_and_when(studio, tmp_path, clock):
    studio.shoot()
    clock.now = 1010.0
    studio.shoot()
    first, second = lines(tmp_path / "x.jsonl")
    assert first["v"] == 1
    assert (first["sequence"], second["sequence"]) == (1, 2)
    assert second["at"] == "1970-01-01T00:16:50.000000Z"
    assert second["since"] == first["at"]
    assert second["period"] == 10.0
    assert second["evcam"] == first["evcam"]
    assert second["pid"] == os.getpid()
    assert first["warm"] is False
    assert first["gaps"] == []


def test_a_line_has_the_tasks_that_changed_since_the_one_before(studio, tmp_path):
    studio.take(*life("sent", "received", uuid="a"), *life("sent", uuid="b")).shoot()
    studio.take(told("task-started", 12.0, uuid="a")).shoot().shoot()
    one, two, three = lines(tmp_path / "x.jsonl")
    assert uuids(one) == ["a", "b"]
    assert uuids(two) == ["a"]
    assert two["tasks"][0]["state"] == "STARTED"
    assert uuids(three) == []


def test_or_all_that_are_in_memory(tmp_path, clock):
    studio = Studio(clock, path=str(tmp_path / "x"), tasks="all")
    studio.take(*life("sent", uuid="a"), *life("sent", uuid="b")).shoot().shoot()
    assert [uuids(line) for line in lines(tmp_path / "x")] == [["a", "b"]] * 2


def test_a_line_has_all_workers_as_they_are(studio, tmp_path, clock):
    studio.take(told("worker-heartbeat", 999.0)).shoot()
    clock.now = 1100.0
    studio.shoot()
    one, two = lines(tmp_path / "x.jsonl")
    assert one["workers"][0]["hostname"] == WORKER
    assert one["statuses"] == {"online": 1}
    assert two["statuses"] == {"gone": 1}


def test_a_line_has_totals_since_the_start(studio, tmp_path):
    studio.take(*life("sent", "received", "started", "succeeded") * 2).shoot()
    (line,) = lines(tmp_path / "x.jsonl")
    steps = {name: count for name, count in line["steps"].items() if count}
    once = dict.fromkeys(("sent", "received", "started", "succeeded"), 1)
    assert steps == once
    assert line["steps"]["failed"] == 0
    assert (line["events"], line["known"], line["open"]) == (8, 1, 0)


def test_a_task_that_the_state_forgets_is_written_all_the_same(tmp_path, clock):
    studio = Studio(clock, path=str(tmp_path / "x"))
    studio.state.max_tasks_in_memory = 1
    studio.take(*life("sent", uuid="a"))
    studio.take(*life("sent", uuid="b")).shoot()
    (line,) = lines(tmp_path / "x")
    assert uuids(line) == ["a", "b"]
    assert (line["known"], line["forgotten"], line["lost"]) == (1, 1, 0)


def test_whatever_is_in_an_event_it_is_one_line(studio, tmp_path):
    hostile = "two\nlines \x1b[31m \ud800 \u202e"
    studio.take(told("task-received", args=hostile, name=hostile)).shoot()
    text = (tmp_path / "x.jsonl").read_text()
    assert len(text.splitlines()) == 1
    assert text.rstrip("\n").isprintable()


# --- files -------------------------------------------------------------------------


def test_a_full_disk_leaves_no_torn_line_and_loses_nothing(studio, tmp_path, clock):
    path = tmp_path / "x.jsonl"
    studio.take(*life("sent", uuid="a")).shoot()
    clock.now = 1005.0
    studio.take(*life("sent", uuid="b"))
    with disk_is_full(path), pytest.raises(OutputError, match="too large"):
        studio.shoot()
    assert len(lines(path)) == 1
    clock.now = 1010.0
    studio.take(*life("sent", uuid="c")).shoot()
    _, line = lines(path)
    assert uuids(line) == ["b", "c"]
    assert (line["sequence"], line["period"]) == (2, 10.0)


def test_after_logrotate_it_goes_on_under_its_name(studio, tmp_path):
    studio.shoot()
    (tmp_path / "x.jsonl").rename(tmp_path / "x.jsonl.1")
    studio.shoot()
    studio.camera.reopen()
    studio.shoot()
    assert [line["sequence"] for line in lines(tmp_path / "x.jsonl.1")] == [1, 2]
    assert [line["sequence"] for line in lines(tmp_path / "x.jsonl")] == [3]


def test_files_are_rotated_and_the_newest_kept(tmp_path, clock):
    studio = Studio(clock, path=str(tmp_path / "x.jsonl"), rotate_size=1, rotate_keep=2)
    for _ in range(5):
        studio.shoot()
    names = ["x.jsonl", "x.jsonl.1", "x.jsonl.2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    sequences = [lines(tmp_path / name)[0]["sequence"] for name in names]
    assert sequences == [5, 4, 3]


def test_files_are_rotated_by_age(tmp_path, clock):
    studio = Studio(clock, path=str(tmp_path / "x"), rotate_every=60.0).shoot()
    clock.now += 60
    studio.shoot()
    assert len(lines(tmp_path / "x.1")) == 1
    assert len(lines(tmp_path / "x")) == 1


def test_lines_may_go_to_stdout(clock, capfd):
    studio = Studio(clock).shoot()
    studio.camera.reopen()
    studio.shoot()
    studio.camera.close()
    assert len(capfd.readouterr().out.splitlines()) == 2


# --- before the first shot ---------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "why"), [(".", "it is a directory"), ("no/x", "there is no directory")]
)
def test_a_file_that_cannot_be_is_told(clock, tmp_path, monkeypatch, path, why):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match=why):
        Studio(clock, path=path).camera.check()


def test_a_file_that_may_not_be_is_told(studio, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with pytest.raises(OutputError, match="permission denied"):
        studio.camera.check()


def test_stdout_cannot_be_rotated(clock):
    with pytest.raises(UsageError, match="stdout cannot be rotated"):
        Studio(clock, rotate_size=1)


def test_what_would_be_written_can_be_looked_at(studio):
    studio.take(*life("sent"))
    info = studio.camera._sequence.next(1000.0)
    line = json.loads(dry_run(studio.camera.snapshot(info)))
    assert uuids(line) == [UUID]


# === tasks and workers ===============================================================


def read(values):
    """Return a values as it is read again."""
    return json.loads(encode_line(values))


def test_a_task_is_what_is_known_of_it():
    task = task_of(life("sent", "received", "started", "succeeded"))
    assert read(serialize_task(task)) == {
        "uuid": UUID,
        "name": "shop.pay",
        "state": "SUCCESS",
        "worker": WORKER,
        "client": "gen1@shop",
        "queue": "mail",
        "exchange": "",
        "routing_key": "mail",
        "root_id": UUID,
        "args": "(1,)",
        "kwargs": "{}",
        "result": "4",
        "sent": "1970-01-01T00:00:10.000000Z",
        "received": "1970-01-01T00:00:11.000000Z",
        "started": "1970-01-01T00:00:12.000000Z",
        "ended": "1970-01-01T00:00:13.000000Z",
        "runtime": 0.5,
        "wait": 2.0,
        "retries": 0,
        "first_heard": "1970-01-01T00:00:10.250000Z",
        "last_heard": "1970-01-01T00:00:13.250000Z",
    }


def test_a_failure_has_its_traceback():
    values = serialize_task(task_of(life("received", "failed")))
    assert values["exception"] == "OSError(5)"
    assert values["traceback"] == "Traceback\nOSError: 5"


def test_earlier_attempts_are_there():
    values = serialize_task(task_of(STORIES["retried in vain"].events))
    assert values["state"] == "FAILURE"
    assert [attempt["state"] for attempt in values["attempts"]] == ["RETRY", "RETRY"]
    assert values["attempts"][0] == {
        "number": 0,
        "state": "RETRY",
        "worker": WORKER,
        "retries": 0,
        "sent": "1970-01-01T00:00:10.000000Z",
        "received": "1970-01-01T00:00:10.500000Z",
        "started": "1970-01-01T00:00:12.000000Z",
        "ended": "1970-01-01T00:00:14.000000Z",
        "runtime": 2.0,
        "exception": "OSError(1)",
    }


def test_custom_events_and_fields_are_there_and_do_not_change_later():
    state = State()
    state.apply([told("task-received", color="red"), told("task-progress", done=1)])
    values = serialize_task(state.tasks[UUID])
    state.apply([told("task-progress", 11.0, done=2)])
    assert values["extra"] == {"color": "red"}
    assert values["note"]["done"] == 1


def test_long_texts_are_cut():
    values = serialize_task(task_of([told("task-received", args="x" * 10**6)]))
    assert len(values["args"]) < 20_000


@pytest.mark.parametrize("text", ["\x1b[31m", "\ud800", "a\x00b"])
def test_whatever_is_in_them_can_be_written(text):
    event = told("task-received", name=text, args=text, uuid=text, hostname=text)
    (change,) = State().apply([event])
    assert read(serialize_task(change.subject))["uuid"]


def test_a_worker_is_what_is_known_of_it():
    state = State()
    state.apply([told("worker-heartbeat", 10.0, color="red")])
    worker = state.workers[WORKER]
    assert read(serialize_worker(worker, 11.0)) == {
        "hostname": WORKER,
        "status": "online",
        "last_heard": "1970-01-01T00:00:10.250000Z",
        "skew": -0.25,
        "pid": 77,
        "freq": 2.0,
        "active": 0,
        "processed": 0,
        "missed": 0,
        "loadavg": [0.5, 0.25, 0.125],
        "sw_ident": "py-celery",
        "sw_ver": "5.6.2",
        "sw_sys": "Linux",
        "extra": {"color": "red"},
    }
    assert serialize_worker(worker, 500.0)["status"] == "gone"


def test_a_worker_that_said_goodbye_says_when():
    state = State()
    state.apply([told("worker-online", 10.0), told("worker-offline", 12.0)])
    values = serialize_worker(state.workers[WORKER], 13.0)
    assert values["online_since"] == "1970-01-01T00:00:10.000000Z"
    assert values["goodbye"] == "1970-01-01T00:00:12.000000Z"
    assert values["status"] == "offline"
