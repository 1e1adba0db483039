import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from evtools import __version__
from evtools.cli.main import EXIT_CODES, fail, guard, main, run, start, topic
from evtools.cli.tools import TOOLS, TOPICS
from evtools.errors import (
    AccessRefused,
    BrokerUnavailable,
    ConfigError,
    EvtoolsError,
    FilterError,
    OutputError,
)
from evtools.top.keys import BINDINGS, CONTEXTS, keys_text
from evtools.transport.live import DOCTOR

HEAVY = {"kombu", "amqp", "redis", "rich", "urwid", "msgspec", "celery", "hiredis"}
HEAVY |= {"daemon", "psycopg"}


def ending_with(outcome):
    """Return a command that raises or returns `outcome`."""

    @click.command()
    @click.option("--number", type=int, envvar="EVTOOLS_NUMBER")
    @click.option("--debug", is_flag=True)
    def command(**_values):
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return lambda: command


def test_a_command_ends_with_its_status(capsys):
    assert run("evdump", ending_with(124), []) == 124
    assert run("evdump", ending_with(None), []) == 0
    assert run("evdump", ending_with(click.exceptions.Exit(3)), []) == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (EvtoolsError("x"), 1),
        (BrokerUnavailable("x"), 69),
        (OutputError("x"), 73),
        (ConfigError("x"), 78),
        (click.UsageError("x"), 2),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (ValueError("x"), 1),
    ],
)
def test_every_failure_has_a_known_status(error, status, capsys):
    assert run("evdump", ending_with(error), []) == status
    assert status in EXIT_CODES
    assert "Traceback" not in capsys.readouterr().err


def test_an_error_is_what_why_and_what_next(capsys):
    error = OutputError("cannot write\x1b[31m x", "it is full.\nFree some space.")
    assert fail("evdump", error) == 73
    assert capsys.readouterr().err == (
        "evdump: cannot write\\x1b[31m x\n  it is full.\n  Free some space.\n"
    )


@pytest.mark.parametrize("kind", [BrokerUnavailable, AccessRefused])
def test_trouble_with_the_broker_is_a_matter_for_the_doctor(capsys, kind):
    assert fail("evdump", kind("cannot use x", "tried: -b flag.")) == 69
    assert capsys.readouterr().err == (f"evdump: cannot use x\n  tried: -b flag.\n  {DOCTOR}\n")


def test_a_filter_is_shown_with_the_place_of_the_mistake(capsys):
    error = FilterError("bad filter at column 3: no", "did you mean x?", text="a b c", position=2)
    assert fail("evdump", error) == 2
    assert capsys.readouterr().err == (
        "evdump: bad filter at column 3: no\n  a b c\n    ^\n  did you mean x?\n"
    )


def test_a_wrong_flag_is_the_users_own_even_with_a_variable(capsys):
    assert run("evdump", ending_with(0), ["--number", "x"]) == 2
    assert "--help lists all options" in capsys.readouterr().err


def test_a_wrong_flag_points_to_the_help(capsys):
    assert run("evdump", ending_with(0), ["--nmber", "1"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("evdump: No such option '--nmber'")
    assert err.endswith("\n  evdump --help lists all options\n")


def test_a_wrong_variable_is_named(capsys, monkeypatch):
    monkeypatch.setenv("EVTOOLS_NUMBER", "x")
    assert run("evdump", ending_with(0), []) == 2
    err = capsys.readouterr().err
    assert "given with the variable EVTOOLS_NUMBER" in err


def test_a_mistake_of_ours_is_told_without_passwords(capsys):
    error = ValueError("bad redis://me:s3kr1t@h/0\nmore")
    assert run("evdump", ending_with(error), []) == 1
    err = capsys.readouterr().err
    assert err.startswith("evdump: unexpected ValueError: bad redis://**@h/0 more\n")
    assert "--debug" in err


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_debugging_shows_the_traceback(capsys, monkeypatch, how):
    if how == "variable":
        monkeypatch.setenv("EVTOOLS_DEBUG", "1")
    arguments = ["--debug"] if how == "flag" else []
    assert run("evdump", ending_with(ValueError("redis://:s3kr1t@h")), arguments) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "s3kr1t" not in err
    assert run("evdump", ending_with(ConfigError("x")), arguments) == 78
    assert "Traceback" in capsys.readouterr().err


def test_a_program_may_end_itself():
    with pytest.raises(SystemExit):
        guard("evdump", sys.exit, debug=False)


def test_whoever_stops_reading_ends_us_silently():
    code = "import sys\nfrom evtools.cli.main import evdump\nsys.exit(evdump(['--help']))"
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert ended.returncode == -13
    assert ended.stderr == b""


def test_broken_pipes_end_in_a_status_where_signals_are_blocked(monkeypatch):
    monkeypatch.setattr(os, "kill", lambda *_: None)
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def body():
        raise BrokenPipeError

    with Path(os.devnull).open("w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert guard("evdump", body, debug=False) == 141


@pytest.mark.parametrize("text", ["x", "x" * 100_000])
def test_a_full_disk_is_no_mistake_of_ours(text):
    code = (
        "import sys\n"
        "from evtools.cli.main import _plainly\n"
        f"sys.exit(_plainly('evtools', lambda: print({text!r}) or 0))\n"
    )
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert ended.returncode == 73
    assert ended.stderr == b"evtools: cannot write: No space left on device\n"


def test_a_file_that_could_not_be_written_is_named(capsys):
    def body():
        raise OSError(errno.EDQUOT, "Quota exceeded", "/x/y")

    assert guard("evcam", body, debug=False) == 73
    assert capsys.readouterr().err == "evcam: cannot write to /x/y: Quota exceeded\n"


def test_nothing_takes_the_place_of_a_closed_stream():
    code = (
        "import os, sys\n"
        "from evtools.cli.main import run\n"
        "def load():\n"
        "    print('lost', file=sys.stderr)\n"
        "    print(sys.stdin.read())\n"
        "    sys.exit(os.open('/dev/null', os.O_RDONLY))\n"
        "run('evdump', load, [])\n"
    )
    shell = 'exec "$@" <&- >&- 2>&-'
    ended = subprocess.run(
        ["sh", "-c", shell, "sh", sys.executable, "-c", code],
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ended.returncode == 3


@pytest.mark.parametrize(
    "environ", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}]
)
def test_messages_are_utf_8_whatever_the_locale(environ):
    ended = subprocess.run(
        [sys.executable, "-m", "evtools", "dump", "-r", "größe\u30bf.jsonl"],
        env={"PATH": os.environ["PATH"], "PYTHONUTF8": "1", **environ},
        capture_output=True,
        check=False,
    )
    assert ended.stderr.decode().startswith("evdump: cannot read größe\u30bf.jsonl: ")


# --- which tool ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "program"),
    [
        (["evtools", "dump", "-V"], "evdump"),
        (["evtools", "evdump", "-V"], "evdump"),
        (["/usr/bin/evdump", "-V"], "evdump"),
        (["dump", "-V"], "evdump"),
        (["evtools", "top", "-V"], "evtop"),
        (["/usr/bin/evcam", "-V"], "evcam"),
        (["evtools", "doctor", "-V"], "evtools"),
    ],
)
def test_a_tool_is_called_by_name_or_argument(evtools, argv, program):
    assert evtools(*argv) == (0, f"{program} {__version__}\n", "")


def test_the_command_line_is_the_programs_own(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["evtools", "dump", "-V"])
    assert main() == 0
    assert capsys.readouterr().out == f"evdump {__version__}\n"


@pytest.mark.parametrize("flag", ["-h", "--help", "help"])
def test_help_lists_the_tools_there_are(capsys, flag):
    assert main(["evtools", flag]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in (*TOOLS, *TOPICS))


@pytest.mark.parametrize("name", TOPICS)
def test_help_of_a_topic_is_its_page(capsys, name):
    assert main(["evtools", "help", name]) == 0
    assert capsys.readouterr().out == f"{topic(name)}\n"


@pytest.mark.parametrize(
    "arguments", [(), ("-V",), ("doctor", "-V"), ("--help",), ("help", "keys")]
)
def test_a_page_may_be_cut_short(arguments):
    command = [sys.executable, "-m", "evtools", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == -signal.SIGPIPE


@pytest.mark.parametrize("word", ["dump", "evdump"])
def test_help_of_a_tool_is_what_the_tool_says(capsys, word):
    assert main(["evtools", "help", word]) == 0
    assert capsys.readouterr().out.startswith("Usage: evdump ")


def test_help_of_no_tool_is_refused(capsys):
    assert main(["evtools", "help", "--x"]) == 2
    assert "there is no tool --x" in capsys.readouterr().err


def test_without_a_tool_the_help_is_an_error(capsys):
    assert main(["evtools"]) == 2
    assert "Usage: evtools TOOL" in capsys.readouterr().out


def test_the_version_is_told_shortly_and_at_length(capsys):
    assert main(["evtools", "-V"]) == 0
    assert capsys.readouterr().out == f"evtools {__version__}\n"
    assert main(["evtools", "--version"]) == 0
    assert "kombu" in capsys.readouterr().out
    assert main(["evtools", "--version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tool"] == "evtools"


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("dmup", "Did you mean dump?"),
        ("fliter", "Did you mean help filter?"),
        ("x\x1b", "there is no tool x\\x1b.\n"),
    ],
)
def test_an_unknown_tool_is_guessed_or_refused(capsys, word, answer):
    assert main(["evtools", word]) == 2
    assert answer in capsys.readouterr().err


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


def test_a_closed_stdout_is_no_failure():
    code = "import sys; from evtools.cli.main import start; sys.exit(start('top', [%r]))"
    for flag in ("-V", "--version"):
        command = [sys.executable, "-c", code % flag]
        ended = subprocess.run(
            ["/bin/sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, check=False
        )
        assert (ended.returncode, ended.stderr) == (0, b"")


# --- topics -------------------------------------------------------------------------


def test_the_page_of_keys_has_every_key_and_command():
    lines = topic("keys").splitlines()
    assert [line for line in lines if line in CONTEXTS.values()] == [*CONTEXTS.values()]
    for binding in BINDINGS:
        (line,) = [line for line in lines if line.endswith(f" ({binding.command})")]
        assert line.startswith(f"  {keys_text(binding)} ")
        assert f" {binding.help} (" in line


@pytest.mark.parametrize("name", TOPICS)
def test_every_page_fits_a_terminal(name):
    assert max(map(len, topic(name).splitlines())) < 80


def test_no_page_needs_a_broker_or_a_screen():
    code = (
        "import sys\n"
        "from evtools.cli.main import TOPICS, topic\n"
        "[topic(name) for name in TOPICS]\n"
        "print(*{'kombu', 'urwid', 'click'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
