import logging

import pytest

from evtools.cli.logs import file_handler, set_up
from evtools.errors import OutputError


def say_all(name="evtools.x"):
    logger = logging.getLogger(name)
    for level in ("debug", "info", "warning", "error"):
        getattr(logger, level)("%s\x1b[31m", level)


@pytest.mark.parametrize(
    ("values", "logger", "levels"),
    [
        ({}, "evtools.x",                              ["warning", "error"]),
        ({"verbose": 1}, "evtools.x",                  ["info", "warning", "error"]),
        ({"quiet": True}, "evtools.x",                 ["error"]),
        ({"quiet": True, "debug": True}, "evtools.x",  ["debug", "info", "warning", "error"]),
        ({"verbose": 3}, "kombu.connection",           []),
        ({"verbose": 3}, "redis.client",               []),
        ({"debug": True}, "amqp",                      ["debug", "info", "warning", "error"]),
    ],
)  # fmt: skip
def test_the_flags_choose_the_levels_and_libraries_are_silent(capsys, values, logger, levels):
    set_up("evdump", values)
    say_all(logger)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"evdump: {level}: {level}\\x1b[31m" for level in levels]


# --- into a file --------------------------------------------------------------------


def to_file(path=None):
    set_up("evtop", {}, file_handler("evtop", path))


def test_a_line_has_its_time_in_utc_and_does_no_harm(tmp_path, capsys):
    to_file(str(tmp_path / "x.log"))
    record = logging.LogRecord("x", logging.ERROR, "", 0, "a\x1b[31m\nb", (), None)
    record.created = 1795176000.25
    logging.getLogger().handle(record)
    assert (tmp_path / "x.log").read_text() == ("2026-11-20T12:00:00.250Z error a\\x1b[31m | b\n")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("state", "place"), [("", ".local/state"), ("{tmp}/mine", "mine")])
def test_the_usual_file_is_made_when_there_is_something_to_say(tmp_path, monkeypatch, state, place):
    monkeypatch.setenv("XDG_STATE_HOME", state.format(tmp=tmp_path))
    to_file()
    log = tmp_path / place / "evtools" / "evtop.log"
    assert not log.exists()
    assert log.parent.stat().st_mode & 0o777 == 0o700
    say_all()
    assert len(log.read_text().splitlines()) == 2


def no_home(home, monkeypatch):
    monkeypatch.delenv("HOME")


def something_in_the_way(home, monkeypatch):
    (home / ".local").write_text("in the way")


@pytest.mark.parametrize("trouble", [no_home, something_in_the_way])
def test_a_usual_file_that_cannot_be_is_done_without(tmp_path, monkeypatch, capsys, trouble):
    trouble(tmp_path, monkeypatch)
    to_file()
    say_all()
    assert capsys.readouterr() == ("", "")


def test_a_file_that_was_asked_for_must_be_writable(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*none/x\.log: No such"):
        to_file(str(tmp_path / "none" / "x.log"))


def test_a_full_disk_paints_nothing_on_the_screen(capsys):
    to_file("/dev/full")
    say_all()
    assert capsys.readouterr() == ("", "")
