import pytest

from evtools.cli.completion import COLUMNS
from evtools.cli.main import main, start
from evtools.filters import EVENT_FIELDS, TASK_FIELDS
from evtools.top.model import Model


@pytest.mark.parametrize(
    ("shell", "arguments"), [("/bin/dash", []), ("", []), ("/bin/bash", ["tcsh"])]
)
def test_other_shells_are_refused(capsys, monkeypatch, shell, arguments):
    monkeypatch.setenv("SHELL", shell)
    assert start("completion", arguments) == 2
    assert "bash, zsh, fish" in capsys.readouterr().err.replace("'", "")


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("evtools to", "top"), ("evtools -", "--help --version"), ("evtools help f", "filter"),
        ("evtools help d", "dump diff doctor"), ("evtop --vi", "--view"),
        ("/usr/bin/evtop --view t", "tasks types"), ("evtools top --view ta", "tasks"),
        ("evtools evtop --view =", "overview tasks types workers queues events errors"),
        ("evtop --view = ta", "tasks"), ("evtop --view=ta", "--view=tasks"), ("evtop -d ", ""),
        ("evtop --sort runt", "runtime"), ("evtop --speed 1", "1x 10x"),
        ("evcam --uid roo", "root"), ("evcam --gid roo", "root"),
        ("evcam -c p", "postgres prometheus"), ("evcam st", "status stop"),
        ("evdump -b re", "redis:// rediss://"), ("evdump -b eu = re", "redis:// rediss://"),
        ("evdump --broker = eu = amqps", "amqps://"), ("evdump -b eu = amqps", "amqps://"),
        ("evdump -b eu =", "redis:// rediss:// sentinel:// amqp:// amqps://"),
        ("evdump -b eu=re", "eu=redis:// eu=rediss://"), ("evdump --tls-ca ca", "file,ca"),
        ("evcam --workdir x", "dir,x"), ("evtools doctor --fi", "--fix"), ("evtools doctor ", ""),
        ("evtools report --ti", "--title"), ("evtools report x", "file,x"),
        ("evtools nonsense -x", ""), ("evtop state : n", ""), ("evtop state :", ""),
        ("evtools diff ol", "file,ol"), ("evtools diff --only b", "better"),
        ("evtop ", " ".join(f"{name}:" for name in TASK_FIELDS)),
        ("evdump -x ", " ".join(f"{name}:" for name in EVENT_FIELDS)),
        ("evdump --config none.toml --no-hea", "--no-heartbeats"),
    ],
)  # fmt: skip
def test_words_are_completed(capsys, monkeypatch, typed, found):
    words = typed.split(" ")
    monkeypatch.setenv("_EVTOOLS_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "\n".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.removeprefix("plain,") for line in lines] == found.split()


def test_the_columns_are_those_of_all_views():
    views = Model().views.values()
    assert COLUMNS.split() == sorted({column.name for view in views for column in view.columns})


def test_a_shell_without_a_script_gets_nothing(monkeypatch, capsys):
    monkeypatch.setenv("_EVTOOLS_COMPLETE", "tcsh_complete")
    assert start("top", []) == 1
    assert capsys.readouterr() == ("", "")
