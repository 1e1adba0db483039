"""evcam as a process, with a real camera and the simulated cluster."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from evtools.cam import app
from evtools.cam.app import Process, import_early, run, settle
from evtools.cam.daemon import Detached
from evtools.cam.options import CamOptions
from evtools.errors import ConfigError, UsageError
from evtools.transport import ConnectionSettings
from servers.process import wait_until
from tools.command import ROOT

CAMERA = """
from evtools.cam.camera import Polaroid

class Camera(Polaroid):
    def on_shutter(self, state):
        print("a shot")

class Broken(Polaroid):
    def on_shutter(self, state):
        raise OSError("redis://:s3kr1t@h")
"""


@pytest.fixture(autouse=True)
def as_it_was(tmp_path, monkeypatch):
    """Put back what a process has only one of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setenv("HOME", str(tmp_path))
    root, umask = logging.getLogger(), os.umask(0o022)
    level, handlers = root.level, {it: it.level for it in root.handlers}
    yield
    os.umask(umask)
    root.setLevel(level)
    root.handlers[:] = handlers
    for handler, its in handlers.items():
        handler.setLevel(its)


@pytest.fixture
def stderr():
    """The handler that the command line installs, and what it got."""
    told = []

    class Told(logging.Handler):
        def emit(self, record):
            told.append(record.getMessage())

    logging.getLogger().handlers[:] = [Told()]
    return told


@pytest.fixture
def camera(tmp_path):
    name = f"photo_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(CAMERA)
    yield name
    sys.modules.pop(name, None)


def wishes(camera, **how):
    return CamOptions(
        camera=camera, allow_insecure_camera=True, demo=True, freq=0.1, once=True, **how
    )


def test_in_the_foreground_it_runs_here(camera, tmp_path, capfd, stderr):
    options = wishes(f"{camera}.Camera", pidfile="x.pid", logfile="x.log", umask=0o077)
    assert run(options, ConnectionSettings()) == 0
    assert "a shot" in capfd.readouterr().out
    assert "info listening on" in (tmp_path / "x.log").read_text()
    assert (tmp_path / "x.log").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "x.pid").exists()
    # The log was its own; stderr is for what the user must know.
    assert stderr == []


def test_a_working_directory_that_is_none_is_refused():
    with pytest.raises(UsageError, match="--workdir: none: No such file"):
        settle(CamOptions(workdir="none"), None)


def test_before_a_change_of_user_all_is_imported_that_comes_late(tmp_path):
    code = """
        import sys
        from evtools.cam.options import CamOptions
        from evtools.cam.app import import_early
        from evtools.transport import ConnectionSettings
        before = set(sys.modules)
        settings = ConnectionSettings(urls="redis://h")
        import_early(CamOptions(camera="jsonl:x"), settings)
        import_early(CamOptions(camera="mod.Camera", demo=True), settings)
        print(*(set(sys.modules) - before))
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    imported = set(ended.stdout.split())
    assert {"encodings.idna", "secrets", "evtools.cam.jsonl"} <= imported
    assert "evtools.cam.database.sqlite" not in imported
    assert "mod" not in imported


def test_what_a_binary_has_unpacked_is_shared_before_that(tmp_path, monkeypatch):
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir(mode=0o700)
    monkeypatch.setattr(sys, "_MEIPASS", str(unpacked), raising=False)
    import_early(CamOptions(demo=True), ConnectionSettings())
    assert unpacked.stat().st_mode & 0o777 == 0o755


# --- what goes wrong ----------------------------------------------------------------


def test_a_failure_is_raised_and_stands_in_the_log_file(tmp_path, stderr):
    with pytest.raises(UsageError, match="there is no camera nothing"):
        run(wishes("nothing", logfile="x.log"), ConnectionSettings())
    text = (tmp_path / "x.log").read_text()
    assert text.count("critical there is no camera nothing (built in: ") == 1
    assert stderr == []


def test_a_failure_in_the_log_on_stderr_is_not_told_twice(capfd, stderr):
    with pytest.raises(UsageError):
        run(wishes("nothing"), ConnectionSettings())
    assert capfd.readouterr().err == ""


def test_a_log_for_programs_has_the_failure_and_nothing_else_has(capfd, stderr):
    assert run(wishes("nothing", log_format="json"), ConnectionSettings()) == 2
    assert '"level": "critical"' in capfd.readouterr().err


@pytest.mark.parametrize(("form", "raises"), [("json", False), ("text", True)])
def test_what_nobody_expected_is_logged_with_its_traceback(
    stderr, monkeypatch, capfd, tmp_path, form, raises
):
    def fail(*_, **__):
        raise ZeroDivisionError("redis://:s3kr1t@h")

    monkeypatch.setattr(app, "run_loop", fail)
    options = wishes("x", log_format=form, logfile="x.log" if raises else "")
    if raises:
        with pytest.raises(ZeroDivisionError):
            run(options, ConnectionSettings())
        text = (tmp_path / "x.log").read_text()
    else:
        assert run(options, ConnectionSettings()) == 1
        text = capfd.readouterr().err
    assert "Traceback" in text
    assert "s3kr1t" not in text


# --- SIGHUP -------------------------------------------------------------------------


@pytest.fixture
def process(tmp_path):
    """A process with a log file and a settings file whose changes are `changes`."""
    changes = {}

    def reread():
        if "error" in changes:
            raise ConfigError("x.toml: no such file")
        return changes

    stack = ExitStack()
    made = Process(CamOptions(), ConnectionSettings(), None, reread, stack)
    made.changes = changes
    log = logging.FileHandler(tmp_path / "x.log")
    logging.getLogger().handlers[:] = [log]
    logging.getLogger().setLevel(logging.INFO)
    yield made
    stack.close()
    log.close()


def test_hup_applies_the_level_and_names_what_needs_a_restart(process, tmp_path):
    process.changes |= {"loglevel": logging.WARNING, "freq": 2.0, "camera": "x"}
    process._hang_up()
    assert logging.getLogger().level == logging.WARNING
    told = (tmp_path / "x.log").read_text()
    assert "the log goes on here" in told
    assert "these changes take effect after a restart: camera, freq" in told


def test_hup_with_a_bad_settings_file_changes_nothing(process, tmp_path):
    process.changes["error"] = True
    process._hang_up()
    told = (tmp_path / "x.log").read_text()
    assert "the settings stay as they were: x.toml: no such file" in told


# --- detached -----------------------------------------------------------------------


@pytest.fixture
def detach(tmp_path, camera):
    """Run this module's process detached; return how the starter ended."""
    started = []

    def begin(name, *arguments, home=tmp_path):
        words = ["-m", "evtools", "cam", "-c", f"{camera}.{name}", "-d", "--demo"]
        words += ["-F", "0.1", "--allow-insecure-camera", *arguments]
        ended = subprocess.run(
            [sys.executable, *words],
            env={**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        if (tmp_path / "x.pid").exists():
            started.append(int((tmp_path / "x.pid").read_text()))
        return ended

    yield begin
    for number in started:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue


def test_detached_it_says_where_it_is_and_logs_what_is_printed(detach, tmp_path):
    ended = detach("Camera", "--pidfile", "x.pid", "-f", "x.log")
    number = int((tmp_path / "x.pid").read_text())
    assert ended.returncode == 0
    assert ended.stdout == ""
    assert ended.stderr == (f"evcam: runs as process {number}; its log: {tmp_path}/x.log\n")
    os.kill(number, signal.SIGTERM)
    wait_until(lambda: not (tmp_path / "x.pid").exists(), what="its end")
    text = (tmp_path / "x.log").read_text()
    assert "info listening on" in text
    assert "a shot" in text


@pytest.mark.parametrize("is_detached", [True, False])
def test_a_detached_process_without_a_log_file_has_the_default_one(
    tmp_path, monkeypatch, is_detached
):
    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    process = SimpleNamespace(_detached=Detached(-1) if is_detached else None)
    folder = tmp_path / ".local" / "state" / "evtools"
    assert Process._default_log_file(process) == (f"{folder}/evcam.log" if is_detached else "")
    assert folder.is_dir() == is_detached
    monkeypatch.delenv("HOME")
    assert Process._default_log_file(process) == ""
