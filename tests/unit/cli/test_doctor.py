import json

import click
import pytest
from click.testing import CliRunner

from evtools.cli import doctor as command
from evtools.cli.doctor import build_options, evdoctor
from evtools.cli.main import start
from evtools.errors import UsageError
from servers.ports import HOST, free_port


@pytest.fixture
def doctor(capfd):
    def run(*arguments):
        status = start("doctor", arguments)
        return status, *capfd.readouterr()

    return run


def options(*arguments):
    """Return what the command line asks the doctor for."""
    ctx = evdoctor.make_context("evtools doctor", [*arguments])
    return build_options(ctx.params)


def test_without_options_nothing_is_fixed():
    asked = options()
    assert (asked.wait, asked.output, asked.fix) == (6.0, "text", False)
    assert (asked.quiet, asked.verbose, asked.colour) == (False, False, False)


def test_options_reach_the_doctor():
    asked = options("--wait", "1m", "-q", "-v", "--color", "always", "celeryev.1")
    assert (asked.wait, asked.queues) == (60.0, ("celeryev.1",))
    assert asked.quiet
    assert asked.verbose
    assert asked.colour


@pytest.mark.parametrize("flags", [("-o", "json"), ("--json",)])
def test_json_can_be_asked_for_in_two_ways(flags):
    assert options(*flags).output == "json"


def test_with_yes_nobody_is_asked():
    asked = options("--fix", "--yes")
    assert asked.fix
    assert asked.confirm("Remove?")


@pytest.mark.parametrize(
    ("answer", "agreed"), [("y\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_on_a_terminal_the_default_is_no(answer, agreed):
    @click.command
    def ask():
        click.echo(command._ask("Remove \x1b[2J?"))

    ended = CliRunner().invoke(ask, input=answer)
    assert ended.stdout.splitlines()[-1] == str(agreed)
    assert "\\x1b[2J? [y/N]" in ended.stderr


def test_ctrl_c_is_no_answer(monkeypatch):
    def interrupt(*_, **__):
        raise click.Abort from KeyboardInterrupt()

    monkeypatch.setattr(click, "confirm", interrupt)
    with pytest.raises(click.Abort):
        command._ask("Remove?")


def test_on_a_terminal_it_may_be_fixed(monkeypatch):
    for stream in ("stdin", "stderr"):
        with pytest.raises(UsageError, match="no terminal"):
            options("--fix")
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    assert options("--fix").fix


def test_on_a_terminal_lines_are_as_wide_as_that(monkeypatch):
    monkeypatch.setenv("COLUMNS", "57")
    assert options().cols == 0
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert options().cols == 57


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--fix",), "no terminal"),
        (("--yes",), "--yes requires --fix"),
        (("--fix", "--yes", "--read-only"), "exclude each other"),
    ],
)
def test_options_that_make_no_sense_are_refused(flags, text):
    with pytest.raises(UsageError, match=text):
        options(*flags)


def test_settings_are_shown(doctor):
    status, out, _ = doctor("-b", "redis://:hush@h/0", "--show-config")
    assert status == 0
    assert "redis://:**@h/0" in out
    assert "hush" not in out


def test_the_settings_file_of_the_other_tools_serves(doctor, config):
    port = free_port()
    config(f"broker = 'redis://:hush@{HOST}:{port}/0'\n[evdump]\noutput = 'raw'\n", 0o644)
    status, out, err = doctor("--json")
    assert status == 4
    findings = {f["check"]: f for f in json.loads(out)["findings"]}
    assert "evtools.toml" in findings["broker"]["text"]
    assert "connection refused" in findings["port"]["text"]
    assert "chmod 600" in err
    assert "hush" not in out + err


def test_a_bad_url_is_wrong_usage(doctor):
    status, out, err = doctor("-b", "nonsense")
    assert (status, out) == (2, "")
    assert "cannot read the broker URL" in err
