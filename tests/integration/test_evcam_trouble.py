"""evcam when a disk is full, a database locked, a camera broken: nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tools.ledgers import contents
from tools.site import Site
from tools.systemd import NotifySocket
from tools.told import life

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tools.command import Command
    from tools.daemon import EvcamStarter
    from tools.flow import Sender

#: Each camera writes so often.
FREQ = "100ms"
CAMERAS = """
import os, time
from evtools import Polaroid

class Broken(Polaroid):
    '''Fail while there is a file named broken.'''

    def on_shutter(self, state):
        if os.path.exists("broken"):
            raise ValueError("no film")
        with open("seen", "w") as file:
            file.write(" ".join(state.tasks))

class Talkative(Polaroid):
    '''Fail as drivers of databases do, and again once there is a file named seen.'''

    failures = 0

    def on_shutter(self, state):
        while self.failures and not os.path.exists("seen"):
            time.sleep(0.01)
        self.failures += 1
        try:
            raise ValueError("host=db user=app password=s3kr1t-1")
        except ValueError as error:
            raise OSError("cannot reach postgresql://app:s3kr1t-2@db") from error
"""

STRAYS = """
import threading
import warnings
from evtools import Polaroid

class Fragile:
    def __del__(self):
        raise OSError("destructor: redis://:s3kr1t@db")

def work():
    raise OSError("thread: redis://:s3kr1t@db")

def stray():
    warnings.warn("warning: redis://:s3kr1t@db")
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    Fragile()

class Camera(Polaroid):
    def on_shutter(self, state):
        stray()
"""
STRAY_APPLICATION = """
from celery import Celery
import strays

strays.stray()
app = Celery(broker="memory://")
"""

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


@pytest.fixture
def evcam(evcam: EvcamStarter, tmp_path: Path) -> EvcamStarter:
    (tmp_path / "cams.py").write_text(CAMERAS)
    return evcam


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, which is soon full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "evcam", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no room on a disk while the block runs."""
    ballast = disk / "ballast"
    fill(ballast)
    yield
    ballast.unlink()


def fill(path: Path) -> None:
    """Write empty lines to the end of a file until its disk is full."""
    for size in (4096, 1):
        with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
            while file.write(b"\n" * size):
                pass


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep everybody else from writing into a database while the block runs."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA busy_timeout = 10000")
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


class Job:
    """An evcam, tasks that are told to it, and where it listens."""

    def __init__(self, running: Command, site: Site, sending: Sender) -> None:
        self.running, self.site, self._sending = running, site, sending
        self.uuids: list[str] = []
        site.wait_value("evcam_connected", 1)
        self.tell(3)
        self.site.wait_least("evcam_snapshots_total", 1, result="taken")

    def tell(self, count: int) -> None:
        """Tell of some more tasks, and wait until evcam has heard it."""
        for _ in range(count):
            self.uuids.append(f"task{len(self.uuids)}")
            for event in life("sent", "received", uuid=self.uuids[-1]):
                self._sending.send(event.pop("type"), **event)
        self.site.wait_value("evcam_events_total", len(self.uuids), type="task-received")

    def goes_on_through(self, trouble: AbstractContextManager[None], message: str) -> None:
        """Check that evcam lives with it, counts and tells it, and gets over it."""
        with trouble:
            self.tell(5)
            self.site.wait_least("evcam_snapshots_total", 2, result="failed")
            assert self.site.value("evcam_snapshot_failures_in_row") >= 2
            assert self.site.get("/livez")[0] == 200
            assert self.site.get("/readyz")[0] == 200
            status = json.loads(self.site.get("/status")[1])
            assert message in status["counters"]["last_error"]
            self.running.wait_stderr(message)
            self.tell(5)
        self.tell(1)
        self.site.wait_value("evcam_snapshot_failures_in_row", 0)
        self.running.wait_stderr("the camera works again, after ")
        assert self.site.value("evcam_events_lost_total") == 0
        assert self.running.stop(15) == 0, self.running.stderr


@pytest.fixture
def job(
    evcam: EvcamStarter, site: Site, redis_url: str, event_exchange: str, sender
) -> Callable[..., Job]:
    """Start an evcam with a camera: `job("-c", camera)`."""

    def start(*words: str) -> Job:
        where = ("-b", redis_url, "--event-exchange", event_exchange)
        running = evcam(*where, *words, "-F", FREQ, "--listen", site.address)
        return Job(running, site, sender(redis_url, event_exchange))

    return start


def in_lines(path: Path) -> set[str]:
    """Return the tasks in lines; each of these has to be whole and there."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [line["sequence"] for line in lines] == [*range(1, len(lines) + 1)]
    assert {line["lost"] for line in lines} == {0}
    return {task["uuid"] for line in lines for task in line["tasks"]}


def in_rows(path: Path) -> set[str]:
    """Return the tasks in a database, of which no shot may be missing."""
    rows = contents(path)
    numbers = sorted(row["sequence"] for row in rows["snapshots"])
    assert numbers == [*range(1, len(numbers) + 1)]
    assert {row["state"] for row in rows["tasks"]} == {"RECEIVED"}
    return {row["uuid"] for row in rows["tasks"]}


@root_only
def test_a_disk_that_is_full_costs_no_line(job, small_disk):
    path = small_disk / "shots.jsonl"
    started = job("-c", f"jsonl:{path}")
    started.goes_on_through(filled(small_disk), "No space left on device")
    assert in_lines(path) == {*started.uuids}


@root_only
def test_a_disk_that_is_full_costs_no_row(job, small_disk):
    path = small_disk / "ledger.db"
    started = job("-c", f"sqlite:{path}")
    started.goes_on_through(filled(small_disk), "database or disk is full")
    assert in_rows(path) == {*started.uuids}


def test_a_database_that_is_locked_costs_no_row(job, tmp_path):
    path = tmp_path / "ledger.db"
    started = job("-c", f"sqlite:{path}?busy_timeout=50ms")
    started.goes_on_through(locked(path), "database is locked")
    assert in_rows(path) == {*started.uuids}


@contextlib.contextmanager
def broken(folder: Path) -> Iterator[None]:
    """Have the camera fail while the block runs."""
    (folder / "broken").touch()
    yield
    (folder / "broken").unlink()


def test_a_camera_that_always_fails_costs_nothing_but_its_shots(job, tmp_path):
    started = job("-c", "cams.Broken")
    started.goes_on_through(broken(tmp_path), "ValueError: no film")
    assert started.running.stderr.count("Traceback") == 1
    assert {*(tmp_path / "seen").read_text().split()} == {*started.uuids}


@pytest.mark.parametrize("form", ["text", "json", "journal"])
def test_a_password_that_a_camera_lets_out_is_shown_by_nothing(
    evcam: EvcamStarter, site: Site, tmp_path: Path, form: str
) -> None:
    with NotifySocket(str(tmp_path / "notify")) as systemd:
        running = evcam(
            *("-c", "cams.Talkative", "--demo", "-F", FREQ, "--log-format", form),
            *("--listen", site.address, "--max-failures", "6"),
            *("--shutdown-timeout", "2s"),
            env={"NOTIFY_SOCKET": systemd.address},
        )
        site.wait_least("evcam_snapshots_total", 1, result="failed")
        told = [site.get(path)[1] for path in ("/status", "/metrics", "/readyz")]
        assert "OSError: cannot reach postgresql://**@db" in told[0]
        (tmp_path / "seen").touch()
        told += [line for lines in systemd.wait("STOPPING=1") for line in lines]
        assert running.wait() == 70
    assert "STATUS=gave up after 6 failures" in "\n".join(told)
    assert "password=**" in running.stderr
    assert "s3kr1t" not in "".join((*told, running.stderr))


@pytest.mark.parametrize(
    "words",
    [
        ("cam", "-c", "strays.Camera", "--demo", "--once"),
        ("dump", "-A", "strayapp", "--show-config"),
        ("top", "-A", "strayapp", "--show-config"),
    ],
)
def test_nor_have_they_what_threads_and_destructors_raise_and_warnings(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "strays.py").write_text(STRAYS)
    (tmp_path / "strayapp.py").write_text(STRAY_APPLICATION)
    ended = subprocess.run(
        [sys.executable, "-m", "evtools", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert ended.returncode == 0, ended.stderr
    for source in ("thread", "destructor", "warning"):
        assert f"{source}: redis://**@db" in ended.stderr
    assert "s3kr1t" not in ended.stderr + ended.stdout


@root_only
def test_a_log_that_cannot_be_written_says_later_how_much_it_misses(job, small_disk, tmp_path):
    log = small_disk / "evcam.log"
    started = job("-c", "cams.Broken", "-f", log)
    with filled(small_disk):
        # A file that is there has the rest of its block.
        fill(log)
        before = log.read_text()
        (tmp_path / "broken").touch()
        started.site.wait_least("evcam_snapshots_total", 3, result="failed")
        assert log.read_text() == before
        started.tell(5)
    (tmp_path / "broken").unlink()
    started.site.wait_value("evcam_snapshot_failures_in_row", 0)
    assert started.running.stop(15) == 0
    after = log.read_text().removeprefix(before).splitlines()
    assert re.search(r"error [0-9]+ lines that belong here could not be wri", after[0])
    # Before that it may have failed once more.
    assert any("the camera works again, after " in line for line in after[1:])
    assert {*(tmp_path / "seen").read_text().split()} == {*started.uuids}
