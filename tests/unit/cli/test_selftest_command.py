import json

import pytest

from evtools.cli import selftest_checks
from evtools.cli.entry import start


def main(arguments):
    return start("selftest", arguments)


@pytest.fixture
def checks(monkeypatch):
    """Put other checks in the place of ours."""

    def put(**functions):
        monkeypatch.setattr(selftest_checks, "CHECKS", functions)

    return put


def missing():
    raise ImportError("No module named 'x\x1b[31m'")


def test_each_check_is_a_line(checks, capsys):
    checks(python=lambda: "3.13", tls=lambda: "OpenSSL")
    assert main([]) == 0
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines()] == [
        ["ok", "python", "3.13"],
        ["ok", "tls", "OpenSSL"],
    ]


def test_one_failure_is_the_status(checks, capsys):
    checks(tls=missing, rich=lambda: "here")
    assert main([]) == 1
    failed, passed = capsys.readouterr().out.splitlines()
    assert failed.startswith("FAILED  tls")
    assert "ImportError: No module named 'x\\x1b[31m'" in failed
    assert passed.startswith("ok      rich")


def test_programs_get_json(checks, capsys):
    checks(tls=missing, rich=lambda: "here")
    assert main(["-o", "json"]) == 1
    assert json.loads(capsys.readouterr().out) == [
        {"name": "tls", "ok": False, "text": "ImportError: No module named 'x\x1b[31m'"},
        {"name": "rich", "ok": True, "text": "here"},
    ]


def test_an_option_it_does_not_have_is_refused(capsys):
    assert main(["--nonsense"]) == 2
    assert "evtools selftest: No such option" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["yaml", ""])
def test_an_unknown_format_is_refused(word):
    assert main(["-o", word]) == 2
