import subprocess
import sys

import pytest

from evtools import __version__
from evtools.cli.dump import main

HEAVY = {"kombu", "amqp", "redis", "rich", "urwid", "msgspec", "celery", "hiredis"}


def modules_after(*arguments):
    """Run evdump in a fresh Python; return its output and what it imported."""
    code = (
        "import sys\n"
        "from evtools.cli.dump import main\n"
        "status = main(sys.argv[1:])\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(status, *sorted(names), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    status, *names = ended.stderr.split()
    assert status == "0"
    return ended.stdout, set(names)


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_the_version_needs_not_even_click(flag):
    out, modules = modules_after(flag)
    assert out.splitlines()[0] == f"evdump {__version__}"
    assert not modules & (HEAVY | {"click"})


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_needs_click_only(flag):
    out, modules = modules_after(flag)
    assert out
    assert "click" in modules
    assert not modules & HEAVY


def test_the_command_line_is_the_programs_own(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["evdump", "-V"])
    assert main() == 0
    assert capsys.readouterr().out == f"evdump {__version__}\n"
    monkeypatch.setattr(sys, "argv", ["evdump", "--version"])
    assert main() == 0
