import pytest

from evtools.cli import completions
from evtools.cli.completion_command import SHELLS
from evtools.cli.entry import start


@pytest.mark.parametrize("shell", SHELLS)
def test_the_text_for_a_shell_is_printed(capsys, shell):
    assert start("completion", [shell]) == 0
    assert capsys.readouterr().out == completions.script(shell)


def test_there_is_one_for_each_shell_we_write_for():
    assert set(SHELLS) == set(completions.SHELLS) == set(completions.FILES)


def test_by_default_it_is_for_the_users_shell(capsys, monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert start("completion", []) == 0
    assert capsys.readouterr().out == completions.script("fish")


@pytest.mark.parametrize(
    ("shell", "arguments"), [("/bin/dash", []), ("", []), ("/bin/bash", ["tcsh"])]
)
def test_other_shells_are_refused(capsys, monkeypatch, shell, arguments):
    monkeypatch.setenv("SHELL", shell)
    assert start("completion", arguments) == 2
    assert "bash, zsh, fish" in capsys.readouterr().err.replace("'", "")
