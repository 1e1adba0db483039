"""The log: its files, its formats, and failures in it."""

import json
import logging
import os
import sys
from pathlib import Path

import pytest

from evtools.cam.log import FailureLog, Log, default_log_file, reason
from evtools.cam.options import LOG_FORMATS
from evtools.errors import OutputError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "evcam.log"


@pytest.fixture
def moved(path):
    return path.with_suffix(".1")


@pytest.fixture
def log(path):
    made = Log(str(path), "journal")
    yield made
    made.close()


def say(log, text, *values):
    log.handle(logging.LogRecord("x", logging.INFO, "x.py", 1, text, values, None))


# --- a file -------------------------------------------------------------------------


def test_lines_are_appended_and_after_a_rename_a_new_file_is_begun(log, path, moved):
    path.write_text("before\n")
    say(log, "one \udcff")
    assert path.stat().st_mode & 0o007 == 0
    path.rename(moved)
    say(log, "two")
    assert moved.read_text() == "before\n<6>one \\udcff\n"
    assert path.read_text() == "<6>two\n"


def test_what_is_printed_goes_there_too_also_after_a_rename(log, path, moved, capfd):
    kept = [os.dup(1), os.dup(2)]
    try:
        log.take_streams()
        os.write(1, b"out\n")
        path.rename(moved)
        log.reopen()
        os.write(2, b"err\n")
    finally:
        for number, copy in enumerate(kept, start=1):
            os.dup2(copy, number)
            os.close(copy)
    assert moved.read_text() == "out\n"
    assert path.read_text() == "err\n"


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*x\.log: No such") as caught:
        Log(str(tmp_path / "none" / "x.log"), None)
    assert "--logfile" in caught.value.hint


def test_a_record_that_makes_no_sense_is_written_as_it_is(log, path):
    say(log, "%d of %d", "x")
    assert path.read_text() == "a log record cannot be written: '%d of %d'\n"


# --- where to -----------------------------------------------------------------------


def test_stdout_can_be_named_as_a_file(capfd):
    say(Log("/dev/stdout", "json"), "hello")
    assert json.loads(capfd.readouterr().out)["message"] == "hello"


@pytest.mark.parametrize(
    ("uid", "environ", "file"),
    [
        (0, {"HOME": "/root"}, "/var/log/evcam.log"),
        (1, {"HOME": "{}"}, "{}/.local/state/evtools/evcam.log"),
        (1, {"XDG_STATE_HOME": "{}/state", "HOME": "/x"}, "{}/state/evtools/evcam.log"),
        (1, {}, ""),
    ],
)
def test_the_default_file_depends_on_the_user(monkeypatch, tmp_path, uid, environ, file):
    environ = {name: value.format(tmp_path) for name, value in environ.items()}
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(os, "environ", environ)
    assert default_log_file() == file.format(tmp_path)
    assert not uid or Path(file.format(tmp_path)).parent.is_dir()


def test_systemds_journal_is_recognised(monkeypatch):
    status = os.fstat(2)
    ours = f"{status.st_dev}:{status.st_ino}"
    found = []
    for stream, form in ((ours, None), (ours, "text"), ("1:1", None), ("", None)):
        monkeypatch.setenv("JOURNAL_STREAM", stream)
        found.append(Log("", form).form)
    assert found == ["journal", "text", "text", "text"]


# === formats =========================================================================


def line(form, text, *values, level=logging.WARNING, exc_info=None):
    record = logging.LogRecord("evtools.cam.x", level, "x.py", 1, text, values, exc_info)
    record.created = 1_795_186_532.103
    return Log("", form).format(record)


@pytest.fixture
def failure():
    try:
        int("no redis://:s3kr1t@h/0\nhere")
    except ValueError:
        return sys.exc_info()


def test_a_line_break_forges_no_record():
    forged = "2026-11-20T14:55:32.103Z critical all is lost"
    text = line("text", "name %s", f"x\n{forged}")
    assert text == f"2026-11-20T14:55:32.103Z warning name x\n    {forged}"


def test_a_traceback_is_below_its_line(failure):
    text = line("text", "failed", exc_info=failure)
    first, *rest = text.split("\n")
    assert first.endswith("warning failed")
    assert rest[0] == "    Traceback (most recent call last):"
    assert all(each.startswith("    ") for each in rest)
    assert "s3kr1t" not in text


def test_json_is_one_object_on_one_line(failure):
    text = line("json", "a\nb \x1b", exc_info=failure)
    assert "\n" not in text
    assert "s3kr1t" not in text
    fields = json.loads(text)
    assert fields.pop("exception").startswith("Traceback")
    assert fields == {
        "ts": "2026-11-20T14:55:32.103Z",
        "level": "warning",
        "logger": "evtools.cam.x",
        "message": "a\nb \x1b",
    }
    assert "exception" not in json.loads(line("json", "x"))


@pytest.mark.parametrize(
    ("level", "priority"), [(50, 2), (40, 3), (30, 4), (20, 6), (10, 7), (1, 7)]
)
def test_the_journal_gets_the_level_of_each_line(level, priority):
    assert line("journal", "a\nb", level=level) == f"<{priority}>a\n<{priority}>b"


@pytest.mark.parametrize("form", LOG_FORMATS)
def test_nothing_harms_a_terminal_or_shows_a_password(form):
    text = line(form, "\x1b[2J amqp://u:s3kr1t@h \u202e")
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


def unlock():
    raise OutputError("the database is locked", "wait")


def test_each_kind_is_logged_with_its_traceback_once(caplog):
    failures = FailureLog()
    for function, tracebacks in ((divide, 1), (divide, 1), (lambda: 1 / 0, 2), (unlock, 2)):
        failures.error("the camera failed", caught(function))
        assert caplog.text.count("Traceback") == tracebacks
    assert caplog.text.count("the camera failed: ZeroDivisionError: division") == 3
    assert "the camera failed: the database is locked" in caplog.text


def test_a_reason_is_one_line_of_bounded_length():
    assert reason(ValueError("no redis://:s3kr1t@h\nreally")) == "ValueError: no redis://**@h"
    assert reason(ValueError("\n")) == "ValueError"
    assert reason(SystemExit()) == "SystemExit"
    assert len(reason(ValueError("x" * 10_000))) < 400
    assert reason(caught(unlock)) == "the database is locked"
