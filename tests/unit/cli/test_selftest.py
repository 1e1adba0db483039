import pytest

from evtools.cli.selftest import main


def test_it_runs_the_command(capsys):
    assert main(["--help"]) == 0
    assert "Check that this program is whole" in capsys.readouterr().out


def test_its_arguments_are_the_command_lines(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["evtools", "--nonsense"])
    assert main() == 2
    assert "evtools selftest: No such option" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["yaml", ""])
def test_an_unknown_format_is_refused(capsys, word):
    assert main(["-o", word]) == 2
