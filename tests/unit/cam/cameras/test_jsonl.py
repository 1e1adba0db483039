"""Snapshots as lines: all there is, once, whole or not at all."""

import gzip
import json
import os
import resource
from contextlib import contextmanager

import pytest

from evtools.cam.cameras.jsonl import JSONL
from evtools.cam.loader import load_camera
from evtools.cam.proof import proof
from evtools.cam.timer import Timer
from evtools.errors import OutputError, UsageError
from evtools.state import State
from tools.clock import FakeClock
from tools.told import UUID, WORKER, life, told


@pytest.fixture
def clock():
    return FakeClock(1000.0)


class Studio:
    """A camera and its state."""

    def __init__(self, clock, **options):
        self.state = State()
        self.camera = JSONL(self.state, timer=Timer(clock), **options)
        self.camera.load(self.camera.roll, clock)

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


def test_what_is_there_stays(tmp_path, clock):
    for _ in range(2):
        studio = Studio(clock, path=str(tmp_path / "x")).shoot()
        studio.camera.close()
    assert len(lines(tmp_path / "x")) == 2


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


def test_a_folder_that_comes_late_is_no_loss(tmp_path, clock):
    studio = Studio(clock, path=str(tmp_path / "late" / "x"))
    studio.take(*life("sent"))
    with pytest.raises(OutputError, match="No such file"):
        studio.shoot()
    (tmp_path / "late").mkdir()
    studio.shoot()
    assert uuids(lines(tmp_path / "late" / "x")[0]) == [UUID]


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


def test_a_file_may_be_packed_by_its_name(tmp_path, clock):
    studio = Studio(clock, path=str(tmp_path / "x.jsonl.gz")).shoot().shoot()
    studio.camera.close()
    text = gzip.decompress((tmp_path / "x.jsonl.gz").read_bytes())
    assert [json.loads(line)["sequence"] for line in text.splitlines()] == [1, 2]


def test_lines_may_go_to_stdout(clock, capfd):
    studio = Studio(clock).shoot()
    studio.camera.reopen()
    studio.shoot()
    studio.camera.close()
    assert len(capfd.readouterr().out.splitlines()) == 2


# --- before the first shot ---------------------------------------------------------


def test_a_file_that_can_be_written_is_good(studio, tmp_path):
    studio.camera.check()
    studio.shoot()
    studio.camera.check()
    assert studio.camera.describe() == f"lines in {tmp_path / 'x.jsonl'}"


def test_stdout_is_good(clock):
    camera = Studio(clock).camera
    camera.check()
    assert camera.describe() == "lines to stdout"


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


def test_options_are_given_as_text(tmp_path):
    name = f"jsonl:{tmp_path}/x?rotate_size=10M&rotate_every=1d&tasks=all"
    camera = load_camera(name, options={"rotate_keep": "7"})(State())
    assert camera._rotation == {
        "rotate_size": 10 * 1024 * 1024,
        "rotate_every": 86400.0,
        "rotate_keep": 7,
    }
    with pytest.raises(UsageError, match="is not one of"):
        load_camera("jsonl", options={"tasks": "some"})


def test_what_would_be_written_can_be_looked_at(studio):
    studio.take(*life("sent"))
    frame = studio.camera.roll.next(1000.0)
    line = json.loads(proof(studio.camera.expose(frame)))
    assert uuids(line) == [UUID]
