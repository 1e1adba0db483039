import pytest
from redis.exceptions import NoPermissionError

from evtools.doctor import checks
from evtools.doctor.checks import CHECKS, Check, examine
from evtools.doctor.finding import Finding
from evtools.errors import UsageError


def found(*severities):
    return lambda _: iter(Finding("x", severity, "") for severity in severities)


def failing(error):
    def run(_):
        yield Finding("x", "ok", "so far")
        raise error

    return run


@pytest.fixture
def walk(monkeypatch, case):
    def run(*these, logged_in=False):
        made = case()
        if not logged_in:
            made.examined = None
        monkeypatch.setattr(checks, "CHECKS", these)
        return [(f.check, f.severity, f.text) for f in examine(made)]

    return run


def test_every_check_is_there_once_and_the_vital_ones_come_first():
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    vital = [check.vital for check in CHECKS]
    assert vital == sorted(vital, reverse=True)


def test_a_problem_of_a_vital_check_is_the_last(walk):
    findings = walk(
        Check("a", found("warning"), vital=True),
        Check("b", found("problem", "ok"), vital=True),
        Check("c", found("ok")),
        Check("d", found("ok")),
    )
    severities = [severity for _, severity, _ in findings]
    assert severities == ["warning", "problem", "ok", "note"]
    assert findings[-1] == ("skipped", "note", "could not be checked: c, d")


def test_after_another_problem_the_checks_go_on(walk):
    findings = walk(Check("a", found("problem")), Check("b", found("ok")))
    assert [severity for _, severity, _ in findings] == ["problem", "ok"]


def test_our_own_errors_are_problems(walk):
    findings = walk(Check("a", failing(UsageError("bad URL"))), Check("b", found("ok")))
    assert findings[1:] == [("a", "problem", "bad URL"), ("x", "ok", "")]


def test_what_drivers_raise_is_a_problem(walk):
    findings = walk(Check("a", failing(ConnectionResetError())))
    assert findings[1] == ("a", "problem", "TCP: the broker closed the connection")
    findings = walk(Check("a", failing(FileNotFoundError())))
    assert findings[1] == ("a", "problem", "no such socket")


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
    assert findings[1:] == [("a", "problem", "permission: no scan"), ("x", "ok", "")]


def test_a_mistake_of_ours_is_none_of_the_brokers(walk):
    with pytest.raises(ZeroDivisionError):
        walk(Check("a", failing(ZeroDivisionError())))
