import json

import pytest
from redis.exceptions import NoPermissionError

from evtools.doctor import app
from evtools.doctor.app import Check, examine, lines, report, run
from evtools.doctor.context import STATUSES, DoctorOptions, Finding
from evtools.errors import UsageError
from evtools.transport import ConnectionSettings
from servers.ports import HOST, free_port

# --- the walk ----------------------------------------------------------------------


def found(*severities):
    return lambda _: iter(Finding(severity, "") for severity in severities)


def failing(error):
    def check(_):
        yield Finding("ok", "so far")
        raise error

    return check


@pytest.fixture
def walk(monkeypatch, case):
    def go(*these, logged_in=False):
        made = case()
        if not logged_in:
            made.opened = None
        monkeypatch.setattr(app, "CHECKS", these)
        return [(f.check, f.severity, f.text) for f in examine(made)]

    return go


def test_only_a_problem_of_a_vital_check_is_the_last(walk):
    findings = walk(
        Check("a", found("warning"), vital=True),
        Check("b", found("problem", "ok"), vital=True),
        Check("c", found("ok")),
        Check("d", found("ok")),
    )
    assert [severity for _, severity, _ in findings] == ["warning", "problem", "ok", "note"]
    assert findings[-1] == ("skipped", "note", "could not be checked: c, d")
    findings = walk(Check("a", found("problem")), Check("b", found("ok")))
    assert [severity for _, severity, _ in findings] == ["problem", "ok"]


@pytest.mark.parametrize(("error", "text"), [
    (UsageError("bad URL"), "bad URL"), (FileNotFoundError(), "no such socket"),
    (ConnectionResetError(), "TCP: the broker closed the connection"),
])  # fmt: skip
def test_what_is_raised_is_a_problem_and_the_checks_go_on(walk, error, text):
    findings = walk(Check("a", failing(error)), Check("b", found("ok")))
    assert findings[1:] == [("a", "problem", text), ("b", "ok", "")]


def test_a_broker_that_ends_after_the_login_is_not_asked_again(walk):
    bad = Check("a", failing(TimeoutError()))
    findings = walk(bad, Check("b", found("ok")), logged_in=True)
    assert findings[1][:2] == ("a", "problem")
    assert findings[1][2].startswith("the broker is gone: no answer")
    assert findings[2:] == [("skipped", "note", "could not be checked: b")]
    assert len(walk(bad, logged_in=True)) == 2


def test_after_a_refusal_it_is_asked_for_other_things(walk):
    bad = Check("a", failing(NoPermissionError("no scan", status_code="NOPERM")))
    findings = walk(bad, Check("b", found("ok")), logged_in=True)
    assert findings[1:] == [("a", "problem", "permission: no scan"), ("b", "ok", "")]


def test_a_mistake_of_ours_is_none_of_the_brokers(walk):
    with pytest.raises(ZeroDivisionError):
        walk(Check("a", failing(ZeroDivisionError())))


def test_the_status_is_that_of_the_worst_finding(capsys):
    url = f"redis://{HOST}:{free_port()}/0"
    options = DoctorOptions(output="json")
    assert run(options, ConnectionSettings(urls=url)) == 4
    assert json.loads(capsys.readouterr().out)["worst"] == "problem"


# --- the report --------------------------------------------------------------------

GOOD = Finding("ok", "in", check="login")
BAD = Finding("problem", "evil \x1b[2J", "two\nlines \u202e", "events")
LONG = Finding("note", "one two three", "four five six seven\n  rm -rf x y z", "events")
INDENT = " " * 22


def test_findings_are_lines_with_their_advice_below():
    assert list(lines(BAD, colour=False)) == [
        "problem  events       evil \\x1b[2J",
        f"{INDENT}two",
        f"{INDENT}lines \\u202e",
    ]
    first, *_ = lines(BAD, colour=True)
    assert first.startswith("\x1b[1;31mproblem \x1b[0m events")


def test_a_terminal_gets_prose_that_fits_and_commands_that_are_whole():
    assert list(lines(LONG, colour=False, cols=62)) == [
        "note     events       one two three",
        f"{INDENT}four five six seven",
        f"{INDENT}  rm -rf x y z",
    ]
    text = " ".join(["word"] * 9)
    first, second = lines(Finding("ok", text, check="events"), colour=False, cols=62)
    assert first == f"ok       events       {' '.join(['word'] * 8)}"
    assert second == f"{INDENT}word"


def test_a_narrow_terminal_gets_prose_in_all_of_its_width():
    assert list(lines(LONG, colour=True, cols=30)) == [
        "\x1b[36mnote    \x1b[0m events       one two",
        "  three",
        "  four five six seven",
        "    rm -rf x y z",
    ]


@pytest.mark.parametrize(("findings", "worst", "text"), [
    ([], "ok", "all is well"), ([GOOD], "ok", "all is well"),
    ([BAD, GOOD, BAD], "problem", "2 problems"), ([Finding("note", "")], "note", "1 note"),
    ([Finding("warning", ""), GOOD], "warning", "1 warning"),
    ([Finding("note", ""), BAD, Finding("warning", "")], "problem",
     "1 problem, 1 warning, 1 note"),
])  # fmt: skip
def test_the_summary_counts_what_matters(capsys, findings, worst, text):
    assert report(iter(findings), DoctorOptions()) == worst
    assert capsys.readouterr().out.splitlines()[-1] == text
    assert not {1, 2} & set(STATUSES.values())  # of the doctor itself


def test_programs_get_everything_in_one_line_and_people_who_want_quiet_no_good_news(capsys):
    report([GOOD, BAD], DoctorOptions(quiet=True))
    assert "login" not in capsys.readouterr().out
    report([GOOD, BAD], DoctorOptions(output="json", quiet=True))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.isascii()
    document = json.loads(line)
    assert document["worst"] == "problem"
    assert document["findings"][1] == {
        "check": "events", "severity": "problem", "text": BAD.text, "advice": BAD.advice
    }  # fmt: skip
    assert len(document["findings"]) == 2


def test_what_others_say_is_shown_without_passwords(capsys):
    text = "no redis://:s3cret@host/0 password=s3cret"
    secret = Finding("problem", text, 'write {"password": "PASSWORD"}')
    report([secret], DoctorOptions())
    report([secret], DoctorOptions(output="json"))
    out = capsys.readouterr().out
    assert "s3cret" not in out
    assert out.count("redis://**@host/0") == 2
    assert out.count("PASSWORD") == 2
