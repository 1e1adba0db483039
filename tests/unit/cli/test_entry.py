import json
import subprocess
import sys

import click
import pytest

from evtools import __version__
from evtools.cli.entry import TOOLS, command, family, start

HEAVY = {"kombu", "amqp", "redis", "rich", "urwid", "msgspec", "celery", "hiredis"}
HEAVY |= {"daemon", "psycopg"}


@pytest.mark.parametrize("name", TOOLS)
def test_every_tool_has_a_command(name):
    assert isinstance(command(name), click.Command)
    assert TOOLS[name].what


@pytest.mark.parametrize("name", ["top", "dump", "cam", "doctor"])
@pytest.mark.parametrize("flags", [["-V"], ["--version"], ["--version", "--json"]])
def test_no_version_needs_click(modules_after, name, flags):
    out, modules = modules_after(name, *flags)
    assert __version__ in out
    # Nor what takes longer to be imported than click: importlib.metadata, by mail.
    assert not modules & (HEAVY | {"click", "email"})


@pytest.mark.parametrize("name", TOOLS)
def test_help_needs_click_only(modules_after, name):
    out, modules = modules_after(name, "--help")
    assert out.startswith(f"Usage: {TOOLS[name].program} ")
    assert "click" in modules
    assert not modules & HEAVY


@pytest.mark.parametrize(
    ("name", "program"), [("top", "evtop"), ("doctor", "evtools"), ("config", "evtools")]
)
def test_the_version_is_that_of_the_program(capsys, name, program):
    first = f"{program} {__version__}"
    assert start(name, ["-V"]) == 0
    assert capsys.readouterr().out == f"{first}\n"
    assert start(name, ["--version"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == first
    assert start(name, ["--json", "--version"]) == 0
    assert json.loads(capsys.readouterr().out)["tool"] == program
    if name != "config":
        assert start(name, ["--version", "-q"]) == 0
        assert capsys.readouterr().out.splitlines()[0] == first


def test_a_tool_belongs_to_a_program():
    assert family("evtools doctor") == "evtools"
    assert family("evtop") == "evtop"


def test_a_closed_stdout_is_no_failure():
    code = "import sys; from evtools.cli.entry import start; sys.exit(start('top', [%r]))"
    for flag in ("-V", "--version"):
        command = [sys.executable, "-c", code % flag]
        ended = subprocess.run(
            ["/bin/sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, check=False
        )
        assert (ended.returncode, ended.stderr) == (0, b"")
