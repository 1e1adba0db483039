"""The lock is the kernel's, so the other process is a real one."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import ExitStack

import pytest

from evtools.cam import daemon
from evtools.cam.daemon import Pidfile, holder_of
from evtools.errors import EvtoolsError, OutputError


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

        def begin(code, path, name):
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
#: As anybody can lock a file that they can read.
LOCK_TO_READ = """
    import fcntl, os, struct, sys
    file = os.open(sys.argv[1], os.O_RDONLY)
    fcntl.flock(file, fcntl.LOCK_EX)
    lock = struct.pack("hhqqi", fcntl.F_RDLCK, 0, 0, 0, 0)
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(path, start):
    """Another evcam that has the pidfile."""
    return start(HOLD, path, "evcam")


def number_of_holder(path):
    with holder_of(str(path)) as holder:
        return holder and holder.number


def test_it_has_our_number_while_we_run(path):
    with Pidfile(str(path)) as taken:
        assert path.read_text() == f"{os.getpid()}\n"
        assert path.stat().st_mode & 0o777 == 0o644 & ~umask()
        assert not os.get_inheritable(taken._file)
    assert not path.exists()
    assert number_of_holder(path) is None


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_evcam_that_has_it_is_found(path, other):
    assert number_of_holder(path) == other.pid


def test_a_second_process_is_told_who_has_it(path, other, no_pauses):
    with pytest.raises(OutputError) as caught:
        Pidfile(str(path)).take()
    assert f"evcam is already running: process {other.pid} has locked {path}" in str(caught.value)
    assert f"evcam stop --pidfile {path}" in caught.value.hint
    assert caught.value.exit_code == 73


def test_a_holder_without_a_number_is_named_in_words(path, other, no_pauses):
    path.write_text("")
    with pytest.raises(OutputError, match="a process that has just started has"):
        Pidfile(str(path)).take()
    with pytest.raises(EvtoolsError, match="names no process, which is not an evcam"):
        number_of_holder(path)
    assert len(no_pauses) > 1


def test_a_lock_of_a_reader_neither_says_that_one_runs_nor_hinders_the_next(path, start):
    path.write_text("1\n")
    start(LOCK_TO_READ, path, "evcam")
    assert number_of_holder(path) is None
    with Pidfile(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_lock_of_a_reader_on_what_cannot_be_removed_is_named(path, start, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    path.write_text("")
    start(LOCK_TO_READ, path, "evcam")
    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(OutputError, match="a process that can only read it has locked"):
        Pidfile(str(path)).take()


def test_another_program_that_has_its_pidfile_is_no_evcam(path, start, no_pauses):
    start(HOLD, path, "crond")
    with pytest.raises(EvtoolsError, match="is not an evcam that has locked this file"):
        number_of_holder(path)


def test_another_evcam_than_that_of_the_file_is_not_meant(path, start, no_pauses):
    start(HOLD, path, "evcam")
    elsewhere = start(HOLD, path.with_name("other.pid"), "evcam")
    path.write_text(f"{elsewhere.pid}\n")
    with pytest.raises(EvtoolsError, match=f"process {elsewhere.pid}, which is not"):
        number_of_holder(path)


@pytest.mark.parametrize("ends_in", ["file", "nothing"])
def test_a_link_is_no_pidfile(path, tmp_path, ends_in):
    (tmp_path / "file").write_text("1\n")
    path.symlink_to(tmp_path / ends_in)
    with pytest.raises(OutputError, match=r"cannot write .*: it is a symbolic link"):
        Pidfile(str(path)).take()
    with pytest.raises(OSError, match="it is a symbolic link"):
        number_of_holder(path)
    assert not (tmp_path / "nothing").exists()
    assert (tmp_path / "file").read_text() == "1\n"


def test_without_a_descriptor_of_the_process_its_number_will_do(path, other, monkeypatch):
    def missing(_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", missing)
    with holder_of(str(path)) as holder:
        assert holder.number == other.pid
        assert holder.lives()
        holder.end()
        other.stdin.close()
        assert other.wait() == -signal.SIGTERM
        assert not holder.lives()


def test_a_killed_process_hinders_nobody(path, other):
    other.kill()
    other.wait()
    assert path.read_text() == f"{other.pid}\n"
    assert number_of_holder(path) is None
    with Pidfile(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("content", ["1\n", "garbage\n" * 100, "", "99999999999999"])
def test_what_stands_in_a_file_that_nobody_has_says_nothing(path, content):
    path.write_text(content)
    assert number_of_holder(path) is None
    with Pidfile(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_file_that_was_replaced_meanwhile_is_opened_anew(path, monkeypatch):
    real, opened = daemon.open_owned, []

    def open_late(*args, **how):
        opened.append(real(*args, **how))
        if len(opened) == 1:  # its last owner removes it now
            path.unlink()
        return opened[-1]

    monkeypatch.setattr(daemon, "open_owned", open_late)
    path.touch()
    with Pidfile(str(path)):
        assert len(opened) == 2
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_file_that_is_no_longer_ours_is_left_alone(path):
    taken = Pidfile(str(path))
    taken.take()
    path.unlink()
    path.write_text("4711\n")
    taken.remove()
    assert path.read_text() == "4711\n"


def test_a_file_that_we_may_not_remove_is_emptied(path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    taken = Pidfile(str(path))
    taken.take()
    monkeypatch.setattr(os, "unlink", refuse)
    taken.remove()
    assert path.read_text() == ""
    assert number_of_holder(path) is None


def test_a_process_that_we_fork_does_not_keep_it(path):
    taken = Pidfile(str(path))
    taken.take()
    begun, begin = os.pipe()
    go, gone = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(gone)
        os.write(begin, b".")
        os.read(go, 1)
        os._exit(0)
    os.read(begun, 1)
    taken._close()  # as if we had died
    holder = number_of_holder(path)
    os.close(gone)
    os.waitpid(child, 0)
    for descriptor in (begun, begin, go):
        os.close(descriptor)
    assert holder is None


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_left_alone(path, kind):
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path = "/dev/null"
    with pytest.raises(OutputError, match=r"cannot write .*: it is not a plain file"):
        Pidfile(path).take()
    assert number_of_holder(path) is None
