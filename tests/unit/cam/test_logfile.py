import errno
import json
import logging
import os

import pytest

from evtools.cam.logfile import Log, LogFile, is_journal, open_log, usual_file
from evtools.cam.logformats import JournalFormatter
from evtools.errors import OutputError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "evcam.log"


@pytest.fixture
def log(path):
    made = LogFile(str(path))
    made.setFormatter(logging.Formatter("%(message)s"))
    yield made
    made.close()


def say(log, text, *values):
    log.handle(logging.LogRecord("x", logging.INFO, "x.py", 1, text, values, None))


# --- a file -------------------------------------------------------------------------


def test_lines_are_appended(log, path):
    path.write_text("before\n")
    say(log, "one")
    say(log, "two \udcff")
    assert path.read_text() == "before\none\ntwo \\udcff\n"
    assert path.stat().st_mode & 0o007 == 0


def test_after_a_rename_the_next_line_begins_a_new_file(log, path):
    say(log, "one")
    path.rename(path.with_suffix(".1"))
    say(log, "two")
    assert path.with_suffix(".1").read_text() == "one\n"
    assert path.read_text() == "two\n"


def test_a_new_file_that_somebody_has_made_is_used(log, path):
    path.rename(path.with_suffix(".1"))
    path.touch(mode=0o600)
    say(log, "two")
    assert path.read_text() == "two\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_can_be_begun_anew_without_a_line(log, path):
    assert log.reopen()
    path.rename(path.with_suffix(".1"))
    assert log.reopen()
    assert path.read_text() == ""
    assert os.path.samestat(os.fstat(log.fileno()), path.stat())


def test_while_there_can_be_no_new_file_the_old_one_gets_the_lines(log, path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    path.rename(path.with_suffix(".1"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        say(log, "one")
        assert not log.reopen()
    say(log, "two")
    assert path.with_suffix(".1").read_text() == "one\n"
    assert path.read_text() == "two\n"


def test_what_is_printed_goes_there_too_also_after_a_rename(log, path, capfd):
    kept = [os.dup(1), os.dup(2)]
    try:
        log.take_streams()
        os.write(1, b"out\n")
        path.rename(path.with_suffix(".1"))
        log.reopen()
        os.write(2, b"err\n")
    finally:
        for number, copy in enumerate(kept, start=1):
            os.dup2(copy, number)
            os.close(copy)
    assert path.with_suffix(".1").read_text() == "out\n"
    assert path.read_text() == "err\n"


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*x\.log: No such") as caught:
        LogFile(str(tmp_path / "none" / "x.log"))
    assert "--logfile" in caught.value.hint


def test_after_the_end_lines_are_only_counted(log, path):
    log.close()
    log.close()
    say(log, "too late")
    assert path.read_text() == ""


# --- what goes wrong ----------------------------------------------------------------


class Disk:
    """os.write on a disk that has room for so many bytes."""

    def __init__(self, room):
        self.room = room
        self._write = os.write

    def __call__(self, descriptor, data):
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


def test_lines_that_a_full_disk_cannot_take_are_counted(log, path, monkeypatch):
    disk = Disk(room=6)
    monkeypatch.setattr(os, "write", disk)
    say(log, "one")
    say(log, "torn here")
    say(log, "lost")
    disk.room = 1000
    say(log, "four")
    say(log, "five")
    assert path.read_text() == (
        "one\nto\n2 lines that belong here could not be written\nfour\nfive\n"
    )


def test_a_record_that_makes_no_sense_is_told_as_it_is(log, path):
    say(log, "%d of %d", "x")
    assert path.read_text() == "a log record cannot be written: '%d of %d'\n"


# --- where to -----------------------------------------------------------------------


def test_without_a_file_it_is_stderr(capfd):
    log = open_log("", None, owner=None, environ={})
    say(log, "hello")
    log.reopen()
    log.take_streams()
    assert capfd.readouterr().err.endswith("Z info hello\n")
    assert log.path is None


def test_stdout_can_be_named_as_a_file(capfd):
    log = open_log("/dev/stdout", "json", owner=None, environ={})
    say(log, "hello")
    assert json.loads(capfd.readouterr().out)["message"] == "hello"


def test_a_file_has_the_format_that_is_asked_for(path):
    log = open_log(str(path), "journal", owner=None, environ={})
    say(log, "hello")
    log.close()
    assert path.read_text() == "<6>hello\n"
    assert log.path == path


def test_systemds_journal_is_recognised(tmp_path, capfd):
    status = os.fstat(2)
    environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    assert is_journal(2, environ)
    assert not is_journal(2, {"JOURNAL_STREAM": "1:1"})
    assert not is_journal(2, {})
    assert not is_journal(-1, environ)
    log = open_log("", None, owner=None, environ=environ)
    assert isinstance(log.formatter, JournalFormatter)
    log = open_log("", "text", owner=None, environ=environ)
    assert not isinstance(log.formatter, JournalFormatter)


@pytest.mark.parametrize(
    ("uid", "environ", "file"),
    [
        (0, {"HOME": "/root"}, "/var/log/evcam.log"),
        (1, {"HOME": "/home/me"}, "/home/me/.local/state/evtools/evcam.log"),
        (1, {"XDG_STATE_HOME": "/state", "HOME": "/x"}, "/state/evtools/evcam.log"),
        (1, {}, ""),
    ],
)
def test_the_usual_file_depends_on_who_one_is(monkeypatch, uid, environ, file):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert usual_file(environ) == file


def test_a_plain_stream_has_no_file():
    assert Log(2).path is None
