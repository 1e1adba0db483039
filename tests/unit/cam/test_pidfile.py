"""The pidfile, and the commands status and stop.

The lock is the kernel's, so the other process is a real one.
"""

import errno
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import ExitStack

import pytest

from evtools.cam import daemon
from evtools.cam.daemon import NOT_IN_TIME, NOT_RUNNING, RUNS, UNKNOWN, Pidfile, control
from evtools.cam.options import CamOptions
from evtools.errors import EvtoolsError, OutputError, UsageError

OURS = f"{os.getpid()}\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "evcam.pid"


@pytest.fixture
def no_pauses(monkeypatch):
    """Count the pauses instead of making them."""
    pauses = []
    monkeypatch.setattr(daemon.time, "sleep", pauses.append)
    return pauses


@pytest.fixture
def start():
    """Start a process that runs `code`, under a name; it is ready when it prints."""
    with ExitStack() as stack:

        def begin(code, path, name="evcam"):
            command = [sys.executable, "-c", textwrap.dedent(code), path, name]
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            stack.callback(process.kill)
            process.stdout.readline()
            return process

        yield begin


HOLD = """
    import sys
    from evtools.cam.daemon import Pidfile
    with Pidfile(sys.argv[1]):
        print("taken", flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def other(path, start):
    """Another evcam that has the pidfile."""
    return start(HOLD, path)


def run(command, path, **options):
    return control(command, CamOptions(pidfile=str(path), **options))


def refuse(*_, **__):
    raise PermissionError(errno.EACCES, "Permission denied")


def not_running(path):
    return NOT_RUNNING, f"evcam is not running: {path} is not locked"


# --- ours ---------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, "1\n", "garbage\n" * 100, "", "99999999999999"])
def test_it_has_our_number_while_we_run(path, content):
    before = os.umask(0o027)
    if content is not None:
        path.write_text(content)
        assert run("status", path) == not_running(path)
    with Pidfile(str(path)) as taken:
        assert path.read_text() == OURS
        assert path.stat().st_mode & 0o777 == 0o640
        assert not os.get_inheritable(taken._file)
    assert not path.exists()
    assert run("status", path) == not_running(path)
    os.umask(before)


def test_a_file_that_was_replaced_meanwhile_is_opened_anew(path, monkeypatch):
    real, opened = daemon.open_owned, []

    def open_late(*args, **how):
        opened.append(real(*args, **how))
        if len(opened) == 1:  # its last owner removes it now
            path.unlink()
        return opened[-1]

    monkeypatch.setattr(daemon, "open_owned", open_late)
    path.touch()
    with Pidfile(path):
        assert len(opened) == 2
        assert path.read_text() == OURS


def test_in_the_end_a_file_of_others_is_left_alone_and_one_that_must_stay_is_emptied(
    path, monkeypatch
):
    with Pidfile(path):
        path.unlink()
        path.write_text("4711\n")
    assert path.read_text() == "4711\n"
    with Pidfile(path):
        monkeypatch.setattr(os, "unlink", refuse)
    assert path.read_text() == ""
    assert run("status", path) == not_running(path)


def test_a_process_that_we_fork_does_not_keep_it(path):
    begun, begin = os.pipe()
    go, gone = os.pipe()
    with Pidfile(path) as taken:
        child = os.fork()
        if child == 0:
            os.close(gone)
            os.write(begin, b".")
            os.read(go, 1)
            os._exit(0)
        os.read(begun, 1)
        taken._close()  # as if we had died
        found = run("status", path)
    os.close(gone)
    os.waitpid(child, 0)
    for descriptor in (begun, begin, go):
        os.close(descriptor)
    assert found == not_running(path)


@pytest.mark.parametrize("kind", ["pipe", "device", "link", "link to nothing"])
def test_only_a_plain_file_is_a_pidfile(path, tmp_path, kind):
    target = tmp_path / "file"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = "/dev/null"
    else:
        path.symlink_to(target)
        if kind == "link":
            target.write_text("1\n")
    is_link = kind.startswith("link")
    complaint = "it is a symbolic link" if is_link else "it is not a plain file"
    with pytest.raises(OutputError, match=f"cannot write .*: {complaint}"), Pidfile(path):
        pass
    status, _ = run("status", path)
    assert status == (UNKNOWN if is_link else NOT_RUNNING)
    assert target.exists() == (kind == "link")


# --- of another ---------------------------------------------------------------------


def test_a_second_evcam_is_refused(path, other, no_pauses):
    for number in (other.pid, None):
        who = f"process {number}" if number else "a process that has just started"
        with pytest.raises(OutputError, match=f"already running: {who} has locked") as caught:
            Pidfile(path).__enter__()
        assert f"evcam stop --pidfile {path}" in caught.value.hint
        assert caught.value.exit_code == 73
        path.write_text("")
    assert "names no process, which is not an evcam" in run("status", path)[1]
    assert len(no_pauses) > 1


def test_only_the_evcam_that_has_the_file_is_meant(path, start, no_pauses):
    start(HOLD, path)
    elsewhere = start(HOLD, path.with_name("other.pid"))
    for number in (elsewhere.pid, 1):
        path.write_text(f"{number}\n")
        status, text = run("status", path)
        assert status == UNKNOWN
        assert f"process {number}, which is not an evcam that has locked this file" in text
    start(HOLD, path.with_name("third.pid"), "crond")
    assert run("status", path.with_name("third.pid"))[0] == UNKNOWN


def test_without_a_descriptor_of_the_process_its_number_will_do(path, other, monkeypatch):
    def missing(_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", missing)
    # It has ended as soon as it waits for us to ask for its status.
    assert run("stop", path) == (RUNS, f"evcam, process {other.pid}, has ended")
    assert other.wait() == -signal.SIGTERM


# --- status and stop ----------------------------------------------------------------


def test_status_that_cannot_be_found_out(tmp_path):
    (tmp_path / "file").touch()
    status, text = run("status", "file/x.pid", workdir=str(tmp_path))
    assert status == UNKNOWN
    assert text.startswith(f"cannot read {tmp_path}/file/x.pid: Not a dir")


@pytest.mark.parametrize("command", ["status", "stop"])
def test_without_a_pidfile_nobody_can_be_meant(command):
    with pytest.raises(UsageError, match="--pidfile is required"):
        run(command, "")


def test_stop_returns_when_the_process_is_gone(path, start, monkeypatch):
    hold = HOLD.replace("import sys", "import signal, sys; signal.signal(signal.SIGTERM, on_term)")
    process = start(f"on_term = lambda *_: sys.exit(0)\n{textwrap.dedent(hold)}", path)
    assert run("status", path) == (RUNS, f"evcam runs, process {process.pid}")
    with monkeypatch.context() as patch:
        patch.setattr(signal, "pidfd_send_signal", refuse)
        with pytest.raises(EvtoolsError, match="cannot stop evcam: Permission denied"):
            run("stop", path)
    assert run("stop", path) == (RUNS, f"evcam, process {process.pid}, has ended")
    # Nobody has asked for its status, and still it is gone.
    assert process.poll() == 0
    assert run("stop", path) == not_running(path)


@pytest.mark.parametrize("is_gone", [True, False])
def test_stop_waits_for_one_that_does_not_end_and_not_for_one_that_just_has(
    path, other, monkeypatch, is_gone
):
    def signal_it(*_):
        if is_gone:
            raise ProcessLookupError(3, "No such process")

    monkeypatch.setattr(signal, "pidfd_send_signal", signal_it)
    monkeypatch.setattr(daemon, "_MARGIN", 0.0)
    expected = (NOT_IN_TIME, f"evcam, process {other.pid}, has not ended within 0.1s")
    if is_gone:
        expected = (RUNS, "evcam has ended")
    assert run("stop", path, shutdown_timeout=0.1) == expected
