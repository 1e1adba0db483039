import json
from dataclasses import replace

import click
import pytest
from click.testing import CliRunner

from evtools.cli import doctor as command
from evtools.cli.doctor import build_options, evdoctor
from evtools.cli.main import start
from evtools.doctor.context import DoctorOptions
from evtools.errors import UsageError
from servers.ports import HOST, free_port


@pytest.fixture
def doctor(capfd):
    def run(*arguments):
        status = start("doctor", arguments)
        return status, *capfd.readouterr()

    return run


def options(*arguments):
    return build_options(evdoctor.make_context("evtools doctor", [*arguments]).params)


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        ((), {}), (("--wait", "1m", "celeryev.1"), {"wait": 60.0, "queues": ("celeryev.1",)}),
        (("-q", "-v", "--color", "always"), {"quiet": True, "verbose": True, "colour": True}),
        (("-o", "json"), {"output": "json"}), (("--json",), {"output": "json"}),
        (("--fix", "--yes"), {"fix": True}),
    ],
)  # fmt: skip
def test_options_reach_the_doctor(arguments, fields):
    made = options(*arguments)
    assert made == replace(DoctorOptions(confirm=made.confirm), **fields)
    assert "--yes" not in arguments or made.confirm("Remove?")


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


def test_a_terminal_is_needed_to_ask_and_gives_the_width(monkeypatch):
    for stream in ("stdin", "stderr"):
        with pytest.raises(UsageError, match="needs a terminal"):
            options("--fix")
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    assert options("--fix").fix
    monkeypatch.setenv("COLUMNS", "57")
    assert options().cols == 0
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert options().cols == 57


def test_options_that_conflict_are_refused():
    with pytest.raises(UsageError, match="--yes requires --fix"):
        options("--yes")
    with pytest.raises(UsageError, match="exclude each other"):
        options("--fix", "--yes", "--read-only")


def test_settings_are_shown_and_a_bad_url_is_wrong_usage(doctor):
    status, out, _ = doctor("-b", "redis://:hush@h/0", "--show-config")
    assert status == 0
    assert "redis://:**@h/0" in out
    assert "hush" not in out
    status, out, err = doctor("-b", "nonsense")
    assert (status, out) == (2, "")
    assert "cannot read the broker URL" in err


def test_the_settings_file_of_the_other_tools_is_used(doctor, config):
    port = free_port()
    config(f"broker = 'redis://:hush@{HOST}:{port}/0'\n[evdump]\noutput = 'raw'\n", 0o644)
    status, out, err = doctor("--json")
    assert status == 4
    findings = {f["check"]: f for f in json.loads(out)["findings"]}
    assert "evtools.toml" in findings["broker"]["text"]
    assert "connection refused" in findings["port"]["text"]
    assert "chmod 600" in err
    assert "hush" not in out + err
