"""The lock is the kernel's, so the other process is a real one."""

import errno
import os
import subprocess
import sys
import textwrap

import pytest

from evtools.cam import pidfile
from evtools.cam.pidfile import Pidfile, holder_of
from evtools.errors import OutputError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "evcam.pid"


@pytest.fixture
def no_pauses(monkeypatch):
    """Count the pauses instead of making them."""
    pauses = []
    monkeypatch.setattr(pidfile.time, "sleep", pauses.append)
    return pauses


@pytest.fixture
def other(path):
    """Another process that has the pidfile; end its stdin to end it."""
    code = """
        import sys
        from evtools.cam.pidfile import Pidfile
        with Pidfile(sys.argv[1]):
            print("taken", flush=True)
            sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_it_has_our_number_while_we_run(path):
    with Pidfile(str(path)) as taken:
        assert path.read_text() == f"{os.getpid()}\n"
        assert path.stat().st_mode & 0o022 == 0
        assert holder_of(str(path)) == os.getpid()
        assert not os.get_inheritable(taken.fileno())
    assert not path.exists()
    assert holder_of(str(path)) is None


def test_removing_it_twice_is_harmless(path):
    taken = Pidfile(str(path))
    taken.remove()
    taken.take()
    taken.remove()
    taken.remove()
    assert not path.exists()


def test_a_second_process_is_told_who_has_it(path, other, no_pauses):
    with pytest.raises(OutputError) as caught:
        Pidfile(str(path)).take()
    assert f"evcam runs already: process {other.pid} has {path}" in str(caught.value)
    assert f"evcam stop --pidfile {path}" in caught.value.hint
    assert caught.value.exit_code == 73
    # Somebody who only looks has the lock for a moment, too.
    assert len(no_pauses) > 1


def test_a_holder_without_a_number_is_named_in_words(path, other, no_pauses):
    path.write_text("")
    with pytest.raises(OutputError, match="a process that has just started has"):
        Pidfile(str(path)).take()
    assert holder_of(str(path)) == 0


def test_a_killed_process_hinders_nobody(path, other):
    other.kill()
    other.wait()
    assert path.read_text() == f"{other.pid}\n"
    assert holder_of(str(path)) is None
    with Pidfile(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("content", ["1\n", "garbage\n" * 100, "", "99999999999999"])
def test_what_stands_in_a_file_that_nobody_has_says_nothing(path, content):
    path.write_text(content)
    assert holder_of(str(path)) is None
    with Pidfile(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_file_that_was_replaced_meanwhile_is_opened_anew(path, monkeypatch):
    real, opened = pidfile.open_owned, []

    def open_late(*args, **how):
        opened.append(real(*args, **how))
        if len(opened) == 1:  # its last owner removes it now
            path.unlink()
        return opened[-1]

    monkeypatch.setattr(pidfile, "open_owned", open_late)
    with Pidfile(str(path)):
        assert len(opened) == 2
        assert holder_of(str(path)) == os.getpid()


def test_a_file_that_is_no_longer_ours_is_left_alone(path):
    taken = Pidfile(str(path))
    taken.take()
    path.unlink()
    path.write_text("4711\n")
    taken.remove()
    assert path.read_text() == "4711\n"


def test_a_file_that_we_may_not_remove_is_emptied(path, monkeypatch):
    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied")

    taken = Pidfile(str(path))
    taken.take()
    monkeypatch.setattr(type(path), "unlink", refuse)
    taken.remove()
    assert path.read_text() == ""
    assert holder_of(str(path)) is None


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
    holder = holder_of(str(path))
    os.close(gone)
    os.waitpid(child, 0)
    for descriptor in (begun, begin, go):
        os.close(descriptor)
    assert holder is None


def test_where_it_cannot_be_written_that_is_said(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*x\.pid: No such file"):
        Pidfile(str(tmp_path / "none" / "x.pid")).take()


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        holder_of(str(tmp_path / "file" / "x.pid"))
