"""evcam of the standalone program, detached from its terminal."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psycopg
import pytest

from servers.process import wait_until

# It imports when the starter has long gone, and with it what was unpacked for it.
CAMERA = """
from evtools import Polaroid

class Camera(Polaroid):
    shots = 0

    def on_shutter(self, state):
        Camera.shots += 1
        if Camera.shots == 2:
            import asyncio, ctypes, sqlite3, xml.etree.ElementTree, zoneinfo
            with open("late", "w") as late:
                late.write(f"{sqlite3.sqlite_version} {len(state.workers)}")
"""


@pytest.fixture
def detach(program, place, folder):
    """Start a detached evcam at a broker; return its process number."""
    (folder / "late_camera.py").write_text(CAMERA)
    pids = []

    def start(url):
        done = program.run(
            *("evcam", "--detach", "-b", url, "-c", "late_camera.Camera"),
            *("-F", "0.2", "--workdir", place.seen(folder)),
            *("--pidfile", place.seen(folder) / "pid"),
            *("--logfile", place.seen(folder) / "log"),
        )
        assert done.returncode == 0, done.stderr
        pids.append(int((folder / "pid").read_text()))
        return pids[-1]

    yield start
    for pid in filter(runs, pids):
        os.kill(pid, signal.SIGKILL)


def stat(pid):
    """Return the state of a process, and its parent."""
    text = Path(f"/proc/{pid}/stat").read_text()
    state, parent, *_ = text.rpartition(")")[2].split()
    return state, int(parent)


def runs(pid):
    """Say whether there is a process that is not merely waiting to be buried."""
    try:
        return stat(pid)[0] != "Z"
    except OSError:
        return False


def parent(pid):
    """Return the process that started another."""
    return stat(pid)[1]


def test_it_lives_on_and_imports_late(broker_url, detach, program, folder):
    pid = detach(broker_url)
    assert runs(pid)
    assert os.getsid(pid) != os.getsid(0)
    wait_until((folder / "late").exists, what="a late import")
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not runs(pid), what="the end of evcam")
    wait_until(lambda: not program.left_behind(), what="a clean temporary folder")
    assert not (folder / "pid").exists()


def test_the_process_of_the_pidfile_is_the_program_itself(
    redis_url, detach, program, folder, place
):
    """Not the boot loader of the single file: to that a signal would be a detour."""
    pid = detach(redis_url)
    started, _, _ = Path(f"/proc/{parent(pid)}/cmdline").read_bytes().partition(b"\0")
    assert started.endswith(b"/evcam") == (program.form == "single")
    stopped = program.run("evcam", "stop", "--pidfile", place.seen(folder) / "pid")
    assert stopped.returncode == 0, stopped.stderr
    assert not runs(pid)


def test_a_second_one_is_refused(redis_url, detach, program, folder, place):
    pid = detach(redis_url)
    done = program.run(
        *("evcam", "--detach", "-b", redis_url, "-c", "late_camera.Camera"),
        *("--workdir", place.seen(folder), "--pidfile", place.seen(folder) / "pid"),
        *("--logfile", place.seen(folder) / "log"),
    )
    assert done.returncode == 73
    assert str(pid) in done.stderr


def test_what_is_killed_leaves_no_process(redis_url, detach, program, folder):
    pid = detach(redis_url)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not runs(pid), what="the end of evcam")
    # The boot loader of the single file outlives the program and tidies up.
    wait_until(lambda: not program.left_behind(), what="a clean temporary folder")


def test_it_writes_into_postgresql_and_evtop_reads_that(program, postgres_server):
    database = postgres_server.fresh_database()
    postgres_server.make_role(database, owns="evcam")
    url = postgres_server.tcp_url(database)
    done = program.run(
        *("evcam", "--demo", "--once", "--freq", "2s", "-c", f"postgres:{url}?events=1d")
    )
    assert done.returncode == 0, done.stderr
    with psycopg.connect(postgres_server.url(database)) as connection:
        question = (
            "SELECT (SELECT count(*) FROM evcam.events WHERE uuid IS NOT NULL), "
            "(SELECT sum(events) FROM evcam.snapshots), (SELECT count(*) FROM evcam.tasks)"
        )
        [[in_log, events, tasks]] = connection.execute(question).fetchall()
    assert (in_log, tasks > 0) == (events, True)
    shown = program.run("evtop", "-B", "--view", "tasks", "-o", "json", "-r", f"postgres:{url}")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count('"uuid"') >= tasks


def test_an_extension_for_another_python_is_named(program, place, folder):
    package = folder / "foreign"
    package.mkdir()
    (package / "__init__.py").write_text("from foreign import _native\n")
    (package / "_native.cpython-39-x86_64-linux-gnu.so").write_bytes(b"\x7fELF")
    (folder / "user_camera.py").write_text("import foreign\n\nclass Camera: ...\n")
    done = program.run(
        *("evcam", "--demo", "--once", "-c", "user_camera.Camera"),
        *("--workdir", place.seen(folder)),
    )
    assert done.returncode != 0
    assert "_native.cpython-39-x86_64-linux-gnu.so" in done.stderr
    assert "3.9" in done.stderr
