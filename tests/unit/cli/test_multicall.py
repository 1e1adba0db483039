import json
import signal
import subprocess
import sys

import pytest

from evtools import __version__
from evtools.cli.entry import TOOLS
from evtools.cli.multicall import main
from evtools.cli.topics import TOPICS


@pytest.mark.parametrize(
    "argv",
    [
        ["evtools", "dump", "-V"],
        ["evtools", "evdump", "-V"],
        ["/usr/bin/evdump", "-V"],
        ["dump", "-V"],
    ],
)
def test_a_tool_is_called_by_name_or_argument(capsys, argv):
    assert main(argv) == 0
    assert capsys.readouterr().out == f"evdump {__version__}\n"


@pytest.mark.parametrize("argv", [["evtools", "top", "-V"], ["/usr/bin/evtop", "-V"]])
def test_evtop_is_one_of_them(capsys, argv):
    assert main(argv) == 0
    assert capsys.readouterr().out == f"evtop {__version__}\n"


@pytest.mark.parametrize("argv", [["evtools", "cam", "-V"], ["/usr/bin/evcam", "-V"]])
def test_evcam_is_one_of_them(capsys, argv):
    assert main(argv) == 0
    assert capsys.readouterr().out == f"evcam {__version__}\n"


def test_the_command_line_is_the_programs_own(typed):
    ended = typed(main, "evtools", "dump", "-V")
    assert ended == (0, f"evdump {__version__}\n", "")


@pytest.mark.parametrize("flag", ["-h", "--help", "help"])
def test_help_lists_the_tools_there_are(capsys, flag):
    assert main(["evtools", flag]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in (*TOOLS, *TOPICS))


@pytest.mark.parametrize("name", TOPICS)
def test_help_of_a_topic_is_its_page(capsys, name):
    assert main(["evtools", "help", name]) == 0
    assert capsys.readouterr().out == f"{TOPICS[name].page()}\n"


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


def test_doctor_is_a_part_of_evtools_only(capsys):
    assert main(["evtools", "doctor", "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: evtools doctor ")


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
