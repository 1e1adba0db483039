import logging
import sys

import pytest
import setproctitle

from evtools.cli.beginning import begin
from evtools.cli.connecting import connection_settings
from evtools.cli.dump_command import evdump
from evtools.errors import UsageError
from evtools.transport import ConnectionSettings

URL = "redis://:s3kr1t@h/0"


@pytest.fixture(autouse=True)
def titles(monkeypatch):
    """Return what `ps` was told to show."""
    told = []
    monkeypatch.setattr(setproctitle, "setproctitle", told.append)
    return told


def context(*arguments):
    return evdump.make_context("evdump", [*arguments])


def test_the_settings_are_those_of_the_command_line():
    ctx = context("-b", "redis://h/1")
    assert begin(ctx) == connection_settings(ctx)


def test_they_may_be_made_otherwise():
    made = ConnectionSettings(urls="redis://other")
    assert begin(context(), lambda _ctx: made) is made
    with pytest.raises(UsageError):
        begin(context("-b", "nonsense"))


def test_secrets_leave_the_process_list(titles, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["evdump", "-b", URL, "more"])
    begin(context("-b", URL), secrets=["more"])
    assert titles == ["evdump -b redis://:**@h/0 **"]


def test_settings_that_are_shown_are_not_used(capsys):
    assert begin(context("-b", URL, "--show-config")) is None
    assert '= "redis://:**@h/0" ' in capsys.readouterr().out


@pytest.mark.parametrize("level", [logging.WARNING, logging.ERROR])
def test_what_is_doubtful_is_logged(caplog, config, level):
    path = config("broker = 'redis://:pw@h'", mode=0o644)
    begin(context("--accept", "pickle"), level=level)
    (open_file, pickle) = caplog.records
    assert f"{path} holds a password" in open_file.getMessage()
    assert pickle.getMessage().startswith("pickled events are decoded")
    assert {record.levelno for record in caplog.records} == {level}
