import logging
from pathlib import Path

import pytest

from evtools.cli.logs import default_file, set_up, set_up_file
from evtools.errors import OutputError


def say_all(name="evtools.x"):
    logger = logging.getLogger(name)
    for level in ("debug", "info", "warning", "error"):
        getattr(logger, level)("%s\x1b[31m", level)


def levels_of(capsys):
    return [line.split(":")[1].strip() for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(
    ("home", "state", "path"),
    [
        ("/h", "", "/h/.local/state/evtools/evtop.log"),
        ("/h", "/s", "/s/evtools/evtop.log"),
        ("", "", None),
    ],
)
def test_the_default_file_is_where_xdg_has_it(monkeypatch, home, state, path):
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("XDG_STATE_HOME", state)
    assert default_file("evtop") == (path and Path(path))


@pytest.mark.parametrize(
    ("verbose", "quiet", "debug", "levels"),
    [
        (0, False, False, ["warning", "error"]),
        (1, False, False, ["info", "warning", "error"]),
        (0, True, False, ["error"]),
        (0, True, True, ["debug", "info", "warning", "error"]),
    ],
)
def test_the_flags_choose_the_levels(capsys, verbose, quiet, debug, levels):
    set_up("evdump", verbose=verbose, quiet=quiet, debug=debug)
    say_all()
    assert levels_of(capsys) == levels


def test_records_look_like_other_messages_and_do_no_harm(capsys):
    set_up("evdump", verbose=0, quiet=True, debug=False)
    say_all()
    assert capsys.readouterr().err == "evdump: error: error\\x1b[31m\n"


@pytest.mark.parametrize("library", ["kombu.connection", "amqp", "redis.client"])
def test_libraries_are_silent_unless_debugging(capsys, library):
    set_up("evdump", verbose=3, quiet=False, debug=False)
    say_all(library)
    assert levels_of(capsys) == []
    set_up("evdump", verbose=0, quiet=False, debug=True)
    say_all(library)
    assert levels_of(capsys) == ["debug", "info", "warning", "error"]


# --- into a file --------------------------------------------------------------------


@pytest.fixture
def to_file():
    """Log into a file."""

    def make(path=None):
        set_up_file("evtop", path, verbose=0, quiet=False, debug=False)

    return make


def test_a_line_has_its_time_in_utc_and_does_no_harm(to_file, tmp_path, capsys):
    to_file(str(tmp_path / "x.log"))
    record = logging.LogRecord("x", logging.ERROR, "", 0, "a\x1b[31m\nb", (), None)
    record.created = 1795176000.25
    logging.getLogger().handle(record)
    assert (tmp_path / "x.log").read_text() == ("2026-11-20T12:00:00.250Z error a\\x1b[31m | b\n")
    assert capsys.readouterr() == ("", "")


def test_the_usual_file_is_made_when_there_is_something_to_say(to_file, tmp_path):
    to_file()
    log = tmp_path / ".local" / "state" / "evtools" / "evtop.log"
    assert not log.exists()
    assert log.parent.stat().st_mode & 0o777 == 0o700
    say_all()
    assert len(log.read_text().splitlines()) == 2


def test_without_a_home_nothing_is_logged_and_nothing_breaks(to_file, monkeypatch, capsys):
    monkeypatch.delenv("HOME")
    to_file()
    say_all()
    assert capsys.readouterr() == ("", "")


def test_a_usual_file_that_cannot_be_is_done_without(to_file, tmp_path, capsys):
    (tmp_path / ".local").write_text("in the way")
    to_file()
    say_all()
    assert capsys.readouterr() == ("", "")


def test_a_file_that_was_asked_for_must_be_writable(to_file, tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*none/x\.log: No such"):
        to_file(str(tmp_path / "none" / "x.log"))


def test_a_full_disk_paints_nothing_on_the_screen(to_file, capsys):
    to_file("/dev/full")
    say_all()
    assert capsys.readouterr() == ("", "")


def test_a_log_that_cannot_be_opened_breaks_nothing(to_file, tmp_path, capsys):
    log = tmp_path / ".local" / "state" / "evtools" / "evtop.log"
    log.mkdir(parents=True)
    to_file()
    say_all()
    assert capsys.readouterr() == ("", "")
    log.rmdir()
    say_all()
    assert len(log.read_text().splitlines()) == 2
