import errno
import os
import subprocess
import sys

import click
import pytest

from evtools import __version__
from evtools.cli import main as programs
from evtools.cli.main import EXIT_CODES, fail, main, start, topic
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
from evtools.transport.source import DOCTOR


@pytest.fixture
def ended(monkeypatch, capsys):
    """Return status and stderr of an evdump that raises or returns `outcome`."""

    def run(outcome, *arguments):
        @click.command()
        @click.option("--number", type=int, envvar="EVTOOLS_NUMBER")
        @click.option("--debug", is_flag=True)
        def command(**_values):
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setattr(programs, "command", lambda _: command)
        return start("dump", arguments), capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (124, 124), (None, 0), (click.exceptions.Exit(3), 3), (EvtoolsError("x"), 1),
        (BrokerUnavailable("x"), 69), (OutputError("x"), 73), (ConfigError("x"), 78),
        (click.UsageError("x"), 2), (KeyboardInterrupt(), 130), (click.Abort(), 130),
        (ValueError("x"), 1),
    ],
)  # fmt: skip
def test_every_outcome_has_its_status(ended, outcome, status):
    found, err = ended(outcome)
    assert found == status
    assert status in {*EXIT_CODES, 3}
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OutputError("cannot write\x1b[31m x", "it is full.\nFree some space."),
         "evdump: cannot write\\x1b[31m x\n  it is full.\n  Free some space.\n" ),
        (BrokerUnavailable("cannot use x", "tried: -b flag."),
         f"evdump: cannot use x\n  tried: -b flag.\n  {DOCTOR}\n"),
        (AccessRefused("cannot use x"), f"evdump: cannot use x\n  {DOCTOR}\n"),
        (FilterError("bad filter at column 3: no", "did you mean x?", text="a b c", position=2),
         "evdump: bad filter at column 3: no\n  a b c\n    ^\n  did you mean x?\n"),
        (OSError(errno.EDQUOT, "Full", "/x/y"), "evdump: cannot write to /x/y: Full\n"),
    ],
)  # fmt: skip
def test_an_error_is_what_and_what_next(capsys, error, text):
    assert fail("evdump", error) == getattr(error, "exit_code", 73)
    assert capsys.readouterr().err == text


@pytest.mark.parametrize(
    ("arguments", "environ", "text"),
    [
        (["--nmber", "1"], {}, "evdump: No such option '--nmber'"),
        (["--nmber", "1"], {}, "\n  evdump --help lists all options\n"),
        (["--number", "x"], {}, "\n  evdump --help lists all options\n"),
        ([], {"EVTOOLS_NUMBER": "x"}, "\n  given with the variable EVTOOLS_NUMBER\n"),
    ],
)
def test_wrong_usage_has_a_hint(ended, monkeypatch, arguments, environ, text):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    status, err = ended(0, *arguments)
    assert status == 2
    assert text in err


def test_a_mistake_of_ours_is_told_without_passwords(ended):
    status, err = ended(ValueError("bad redis://me:s3kr1t@h/0\nmore"))
    assert status == 1
    assert err.startswith("evdump: unexpected ValueError: bad redis://**@h/0 more\n")
    assert "--debug" in err


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_debugging_shows_the_traceback(ended, monkeypatch, how):
    if how == "variable":
        monkeypatch.setenv("EVTOOLS_DEBUG", "1")
    arguments = ["--debug"] if how == "flag" else []
    status, err = ended(ValueError("redis://:s3kr1t@h"), *arguments)
    assert status == 1
    assert "Traceback" in err
    assert "s3kr1t" not in err
    status, err = ended(ConfigError("x"), *arguments)
    assert status == 78
    assert "Traceback" in err


def test_nothing_takes_the_place_of_a_closed_stream():
    code = (
        "import os, sys\n"
        "from evtools.cli.main import run\n"
        "def body():\n"
        "    print('lost', file=sys.stderr)\n"
        "    print(sys.stdin.read())\n"
        "    sys.exit(os.open('/dev/null', os.O_RDONLY))\n"
        "run('evdump', body)\n"
    )
    shell = 'exec "$@" <&- >&- 2>&-'
    ended = subprocess.run(["sh", "-c", shell, "sh", sys.executable, "-c", code], check=False)
    assert ended.returncode == 3


@pytest.mark.parametrize("environ", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "latin-1"}])
def test_messages_are_utf_8_whatever_the_locale(environ):
    ended = subprocess.run(
        [sys.executable, "-m", "evtools", "dump", "-r", "größe\u30bf.jsonl"],
        env={"PYTHONPATH": os.environ["PYTHONPATH"], "PYTHONUTF8": "1", **environ},
        capture_output=True,
        check=False,
    )
    assert ended.stderr.decode().startswith("evdump: cannot read größe\u30bf.jsonl: ")


# --- which tool ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "program"),
    [
        ("evtools -V", "evtools"), ("evtools dump -V", "evdump"), ("evtools evdump -V", "evdump"),
        ("/usr/bin/evdump -V", "evdump"), ("dump -V", "evdump"), ("evtools doctor -V", "evtools"),
        ("evdump -q -V", "evdump"), ("evtools --version", "evtools"), ("evtop --version", "evtop"),
        ("evtop --version -q", "evtop"), ("evtools config --version -q", "evtools"),
    ],
)  # fmt: skip
def test_a_tool_is_called_by_name_or_argument(monkeypatch, capsys, argv, program):
    monkeypatch.setattr(sys, "argv", argv.split())
    assert main() == 0
    out, err = capsys.readouterr()
    assert (out.splitlines()[0], err) == (f"{program} {__version__}", "")


@pytest.mark.parametrize(
    ("words", "status", "out"),
    [
        (["-h"], 0, "Usage: evtools TOOL"), (["--help"], 0, "Usage: evtools TOOL"),
        (["help"], 0, "Usage: evtools TOOL"), ([], 2, "Usage: evtools TOOL"),
        (["help", "help"], 0, "Usage: evtools TOOL"),
        (["help", "dump"], 0, "Usage: evdump "), (["help", "evdump"], 0, "Usage: evdump "),
        *((["help", name], 0, topic(name)) for name in TOPICS),
    ],
)  # fmt: skip
def test_help_is_of_evtools_a_tool_or_a_topic(evtools, words, status, out):
    ended = evtools("evtools", *words)
    assert (ended.status, ended.err) == (status, "")
    assert ended.out.startswith(out)
    if out == "Usage: evtools TOOL":
        assert all(f"  {name} " in ended.out for name in (*TOOLS, *TOPICS))


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["dmup"], "Did you mean dump?"),
        (["fliter"], "Did you mean help filter?"),
        (["x\x1b"], "there is no tool x\\x1b.\n  tools: top, "),
        (["help", "--x"], "there is no option --x"),
        (["--verson"], "there is no option --verson. Did you mean --version?"),
        (["-b", "redis://"], "there is no option -b.\n  the options of a tool follow its name"),
    ],
)
def test_an_unknown_tool_is_guessed_or_refused(evtools, words, answer):
    ended = evtools("evtools", *words)
    assert ended.status == 2
    assert answer in ended.err


@pytest.mark.parametrize(
    ("calls", "needs"),
    [
        ([("top", "-V"), ("dump", "--version"), ("doctor", "--version", "--json")], set()),
        ([("", "help", name) for name in TOPICS], set()),
        ([(name, "--help") for name in TOOLS], {"click"}),
    ],
)
def test_versions_and_topics_need_nothing_and_help_needs_click_only(calls, needs):
    code = (
        "import sys\n"
        "from evtools.cli.main import start\n"
        f"assert not any(start(name, words) for name, *words in {calls})\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    # For the filter's topic, its language is read.
    heavy = {"kombu", "amqp", "redis", "rich", "urwid", "celery", "hiredis", "daemon", "psycopg"}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(ended.stderr.split())
    assert modules & (heavy | {"click"}) == needs
    # importlib.metadata takes longer to be imported than click, since it parses mail.
    assert needs or calls[0][0] == "" or not modules & {"email", "msgspec"}


# --- topics -------------------------------------------------------------------------


def test_the_page_of_keys_has_every_key_and_command():
    lines = topic("keys").splitlines()
    assert [line for line in lines if line in CONTEXTS.values()] == [*CONTEXTS.values()]
    for binding in BINDINGS:
        (line,) = [line for line in lines if line.endswith(f" ({binding.command})")]
        assert line.startswith(f"  {keys_text(binding)} ")
        assert f" {binding.help} (" in line
    assert all(len(line) < 80 for name in TOPICS for line in topic(name).splitlines())


@pytest.mark.parametrize(
    ("about", "line"),
    [
        (": evtop.sort: must be a text", 3),
        (" [evtop.columns]: no such column", 5),
        (': profile."a.b".alert.x.count: must be above 0', 0),
        (": profile.prod.alert.x.count: must be above 0", 12),
        (": profile.prod.alert.x.view: is missing", 10),
        (" [profile.prod.alert.x]: count: must be above 0", 12),
        (": there is no [profile.no]", 0),
        (": Expected ] (at line 1, column 8)", 0),
    ],
)
def test_a_mistake_in_the_settings_file_has_its_line(ended, tmp_path, about, line):
    file = tmp_path / "a: b [c].toml"
    file.write_text(
        'broker = "x"\n[evtop]\nsort = 5\n\n[evtop.columns]\ntasks = [\n  "a", # one\n  "b",\n]\n'
        "[profile.prod.alert.x]\nfilter = 'a'\ncount = 0\n"
    )
    status, err = ended(ConfigError(f"{file}{about}", ""))
    assert status == 78
    assert err.splitlines()[0].endswith(f"(line {line})" if line else about)
