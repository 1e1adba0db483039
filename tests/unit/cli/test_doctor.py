import subprocess
import sys

import pytest

from evtools import __version__
from evtools.cli.doctor import main


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_need_click_only(flag):
    code = (
        "import sys\n"
        "from evtools.cli.doctor import main\n"
        "status = main(sys.argv[1:])\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(status, *sorted(names), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, flag], capture_output=True, text=True, check=True
    )
    status, *names = ended.stderr.split()
    assert status == "0"
    assert not {"kombu", "amqp", "redis", "rich", "urwid"} & set(names)


def test_the_command_line_is_the_programs_own(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["evtools doctor", "-V"])
    assert main() == 0
    assert capsys.readouterr().out == f"evdoctor {__version__}\n"
