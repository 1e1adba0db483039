"""The commands status, stop and check."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from evtools.cam import app
from evtools.cam.app import NOT_IN_TIME, NOT_RUNNING, RUNS, UNKNOWN
from evtools.cam.app import run_command as run
from evtools.cam.options import CamOptions
from evtools.errors import BrokerUnavailable, EvtoolsError, UsageError
from evtools.transport import ConnectionSettings

NO_SETTINGS = ConnectionSettings()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "evcam.pid"


@pytest.fixture
def options(path):
    return CamOptions(pidfile=str(path))


@pytest.fixture
def start(path):
    """Start a process that has the pidfile and does `how` when it is asked to end."""
    started = []

    def begin(how="sys.exit(0)"):
        code = f"""
            import signal, sys
            from evtools.cam.daemon import Pidfile
            Pidfile(sys.argv[1]).take()
            signal.signal(signal.SIGTERM, lambda *_: {how})
            print("taken", flush=True)
            while True:
                signal.pause()
        """
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), path, "evcam"], stdout=subprocess.PIPE
        )
        started.append(process)
        process.stdout.readline()
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


# --- status -------------------------------------------------------------------------


def test_status_names_the_process_that_runs(start, options):
    process = start()
    answer = run("status", options, NO_SETTINGS)
    assert answer == (RUNS, f"evcam runs, process {process.pid}")


def test_status_of_a_file_that_names_another_process(start, options, path):
    start()
    path.write_text("1\n")
    answer = run("status", options, NO_SETTINGS)
    assert answer.status == UNKNOWN
    assert "names process 1, which is not an evcam that has locked this file" in answer.text


def test_status_without_anybody(options, path):
    answer = run("status", options, NO_SETTINGS)
    assert answer == (NOT_RUNNING, f"evcam is not running: {path} is not locked")


def test_status_that_cannot_be_found_out(tmp_path):
    (tmp_path / "file").touch()
    options = CamOptions(pidfile="file/x.pid", workdir=str(tmp_path))
    answer = run("status", options, NO_SETTINGS)
    assert answer.status == UNKNOWN
    assert answer.text.startswith(f"cannot read {tmp_path}/file/x.pid: Not a dir")


@pytest.mark.parametrize("command", ["status", "stop"])
def test_without_a_pidfile_nobody_can_be_meant(command):
    with pytest.raises(UsageError, match="--pidfile is required"):
        run(command, CamOptions(), NO_SETTINGS)


# --- stop ---------------------------------------------------------------------------


def test_stop_returns_when_the_process_is_gone(start, options):
    process = start()
    answer = run("stop", options, NO_SETTINGS)
    assert answer == (RUNS, f"evcam, process {process.pid}, has ended")
    # Nobody has asked for its status, and still it is gone.
    assert process.poll() == 0


def test_stop_waits_for_so_long(start, path):
    process = start("print('no')")
    answer = app.stop(str(path), timeout=0.1)
    text = f"evcam, process {process.pid}, has not ended within 0.1s"
    assert answer == (NOT_IN_TIME, text)


def test_stop_without_the_right_to_do_so(start, options, monkeypatch):
    start()

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    with pytest.raises(EvtoolsError, match="cannot stop evcam: Operation not permit"):
        run("stop", options, NO_SETTINGS)


def test_stop_of_one_that_ends_just_now(start, options, monkeypatch):
    start()

    def gone(*_):
        raise ProcessLookupError(3, "No such process")

    monkeypatch.setattr(signal, "pidfd_send_signal", gone)
    assert run("stop", options, NO_SETTINGS) == (RUNS, "evcam has ended")


# --- check --------------------------------------------------------------------------


@pytest.fixture
def camera(tmp_path, monkeypatch):
    """A module with a camera in it, where we stand."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    name = f"photo_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(
        "from evtools.cam.camera import Polaroid\nclass Camera(Polaroid): ...\n"
    )
    yield f"{name}.Camera"
    sys.modules.pop(name, None)


def checked(camera, **how):
    return CamOptions(camera=camera, allow_insecure_camera=True, **how)


def test_a_check_without_a_broker_is_of_the_camera(camera):
    answer = run("check", checked(camera, demo=True), NO_SETTINGS)
    assert answer.status == RUNS
    assert answer.text.startswith("camera: ")
    assert "\n" not in answer.text


def test_a_check_that_fails_says_what_would_not_work(camera):
    with pytest.raises(UsageError, match="there is no nothing in"):
        run("check", checked(camera.replace("Camera", "nothing")), NO_SETTINGS)
    settings = ConnectionSettings(urls="redis://127.0.0.1:1/0")
    with pytest.raises(BrokerUnavailable, match=r"cannot reach redis://127\.0\.0\.1:1"):
        run("check", checked(camera), settings)


def test_a_check_listens_once(camera):
    settings = ConnectionSettings(urls="memory://")
    answer = run("check", checked(camera), settings)
    assert answer.text.endswith("\nbroker: memory://")


def test_a_check_is_made_as_the_user_that_evcam_would_be(camera, monkeypatch):
    became = []
    monkeypatch.setattr(app, "become", lambda who, _: became.append(who.uid))
    own = str(os.getuid())
    run("check", checked(camera, demo=True, uid=own), NO_SETTINGS)
    assert became == [os.getuid()]
