import logging

import pytest

from evtools.cam.failures import Failures, place, reason
from evtools.errors import OutputError


def caught(function):
    with pytest.raises(BaseException) as error:  # noqa: PT011  (any at all)
        function()
    return error.value


def divide():
    return 1 / 0


def exit_():
    raise SystemExit


def unlock():
    raise OutputError("the database is locked", "wait")


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.ERROR)
    return caplog


def test_each_kind_is_told_at_length_once(log):
    failures = Failures()
    failures.tell("the camera failed", caught(divide))
    assert log.text.count("Traceback") == 1
    failures.tell("the camera failed", caught(divide))
    assert log.text.count("Traceback") == 1
    assert log.text.count("the camera failed: ZeroDivisionError: division") == 2
    failures.tell("the camera failed", caught(lambda: 1 / 0))
    assert log.text.count("Traceback") == 2


def test_errors_of_ours_say_all_there_is_to_say(log):
    Failures().tell("the camera failed", caught(unlock))
    assert "the camera failed: the database is locked" in log.text
    assert "Traceback" not in log.text


def test_there_is_an_end_to_what_is_remembered(log):
    failures = Failures()
    for number in range(300):
        failures.tell("x", type(f"Error{number}", (Exception,), {})())
    assert len(failures._told) == 100


def test_a_reason_is_one_line_of_bounded_length():
    assert reason(ValueError("no\nreally")) == "ValueError: no"
    assert reason(ValueError("\n")) == "ValueError"
    assert reason(SystemExit()) == "SystemExit"
    assert len(reason(ValueError("x" * 10_000))) < 400
    assert reason(caught(unlock)) == "the database is locked"


def test_a_place_is_where_it_was_raised():
    assert place(caught(divide)) == (__file__, divide.__code__.co_firstlineno + 1)
    assert place(ValueError("never raised")) == ("", 0)
    assert place(caught(exit_))[0] == __file__
