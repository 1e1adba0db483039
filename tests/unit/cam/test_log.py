"""The log: its files, its formats, and failures in it."""

import errno
import json
import logging
import os
import sys

import pytest

from evtools.cam.log import (
    FailureLog,
    JournalFormatter,
    LogFile,
    default_log_file,
    open_log,
    place,
    reason,
)
from evtools.cam.options import LOG_FORMATS
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


@pytest.mark.parametrize(
    ("uid", "environ", "file"),
    [
        (0, {"HOME": "/root"}, "/var/log/evcam.log"),
        (1, {"HOME": "/home/me"}, "/home/me/.local/state/evtools/evcam.log"),
        (1, {"XDG_STATE_HOME": "/state", "HOME": "/x"}, "/state/evtools/evcam.log"),
        (1, {}, ""),
    ],
)
def test_the_default_file_depends_on_the_user(monkeypatch, uid, environ, file):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert default_log_file(environ) == file


def test_systemds_journal_is_recognised():
    status = os.fstat(2)
    for environ, form, is_journal in (
        ({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}, None, True),
        ({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}, "text", False),
        ({"JOURNAL_STREAM": "1:1"}, None, False),
        ({}, None, False),
    ):
        log = open_log("", form, owner=None, environ=environ)
        assert isinstance(log.formatter, JournalFormatter) is is_journal


# === formats =========================================================================


def formatter(name):
    return open_log("", name, owner=None, environ={}).formatter


def record(text, *values, level=logging.WARNING, exc_info=None):
    made = logging.LogRecord("evtools.cam.x", level, "x.py", 1, text, values, exc_info)
    made.created = 1_795_186_532.103
    return made


def failure():
    try:
        int("no redis://:s3kr1t@h/0\nhere")
    except ValueError:
        return sys.exc_info()
    return None


def test_a_line_break_forges_no_record():
    forged = "2026-11-20T14:55:32.103Z critical all is lost"
    line = formatter("text").format(record("name %s", f"x\n{forged}"))
    assert line == f"2026-11-20T14:55:32.103Z warning name x\n    {forged}"


def test_a_traceback_is_below_its_line():
    lines = formatter("text").format(record("failed", exc_info=failure()))
    first, *rest = lines.split("\n")
    assert first.endswith("warning failed")
    assert rest[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in rest)
    assert "s3kr1t" not in lines


def test_json_is_one_object_on_one_line():
    line = formatter("json").format(record("a\nb \x1b", exc_info=failure()))
    told = json.loads(line)
    assert "\n" not in line
    assert "\x1b" not in line
    assert "s3kr1t" not in line
    assert told.pop("exception").startswith("Traceback")
    assert told == {
        "ts": "2026-11-20T14:55:32.103Z",
        "level": "warning",
        "logger": "evtools.cam.x",
        "message": "a\nb \x1b",
    }
    assert "exception" not in json.loads(formatter("json").format(record("x")))


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.CRITICAL, 2),
        (logging.ERROR, 3),
        (logging.WARNING, 4),
        (logging.INFO, 6),
        (logging.DEBUG, 7),
        (1, 7),
    ],
)
def test_the_journal_gets_the_level_of_each_line(level, priority):
    text = formatter("journal").format(record("a\nb", level=level))
    assert text == f"<{priority}>a\n<{priority}>b"


@pytest.mark.parametrize("name", LOG_FORMATS)
def test_nothing_harms_a_terminal_or_shows_a_password(name):
    text = formatter(name).format(record("\x1b[2J amqp://u:s3kr1t@h \u202e"))
    assert text.isprintable()
    assert "s3kr1t" not in text


# === failures ========================================================================


def caught(function):
    try:
        function()
    except BaseException as error:  # noqa: BLE001  (any at all)
        return error
    return None


def divide():
    return 1 / 0


def exit_():
    raise SystemExit


def unlock():
    raise OutputError("the database is locked", "wait")


def test_each_kind_is_told_at_length_once(caplog):
    failures = FailureLog()
    failures.error("the camera failed", caught(divide))
    assert caplog.text.count("Traceback") == 1
    failures.error("the camera failed", caught(divide))
    assert caplog.text.count("Traceback") == 1
    assert caplog.text.count("the camera failed: ZeroDivisionError: division") == 2
    failures.error("the camera failed", caught(lambda: 1 / 0))
    assert caplog.text.count("Traceback") == 2


def test_errors_of_ours_say_all_there_is_to_say(caplog):
    FailureLog().error("the camera failed", caught(unlock))
    assert "the camera failed: the database is locked" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_reason_is_one_line_of_bounded_length():
    assert reason(ValueError("no\nreally")) == "ValueError: no"
    assert reason(ValueError("\n")) == "ValueError"
    assert reason(SystemExit()) == "SystemExit"
    assert len(reason(ValueError("x" * 10_000))) < 400
    assert reason(caught(unlock)) == "the database is locked"


def test_a_place_is_where_it_was_raised():
    assert place(caught(divide)) == (__file__, divide.__code__.co_firstlineno + 1)
    assert place(ValueError("never raised")) == ("", 0)
    assert place(caught(exit_))[0] == __file__
