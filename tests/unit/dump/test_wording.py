"""Words for people."""

import math

import pytest

from evtools.dump.wording import failure, gap_sentence, number, runtime, said, short_uuid
from evtools.wire import Record
from tools.gaps import gap


@pytest.mark.parametrize(
    ("value", "text"),
    [("a\nb", "a\nb"), (None, "null"), (True, "true"), ([1, {"a": "b"}], '[1,{"a":"b"}]')],
)
def test_a_value_is_said_as_text_or_json(value, text):
    assert said(value) == text


@pytest.mark.parametrize(
    ("value", "found"),
    [
        *((1, 1.0), (0.5, 0.5), (True, None), ("1", None), (None, None)),
        *((math.nan, None), (math.inf, None), (10**400, None)),
    ],
)
def test_only_finite_numbers_are_numbers(value, found):
    assert number(value) == found


def failed(**fields):
    return Record({"type": "task-failed", **fields}, {"started": 10.0})


def test_the_real_exception_of_a_hard_time_limit_ends_the_traceback():
    wrapped = {"exception": "ExceptionWithTraceback()"}
    traceback = "Traceback (most recent call last):\n  ...\nTimeLimitExceeded(3,)\n\n"
    assert failure(failed(**wrapped, traceback=traceback)) == "TimeLimitExceeded(3,)"
    assert failure(failed(**wrapped, traceback="\n")) == wrapped["exception"]
    assert failure(failed(**wrapped, traceback=7)) == wrapped["exception"]
    assert failure(failed(**wrapped)) == wrapped["exception"]


def test_another_exception_is_what_it_says():
    assert failure(failed(exception="KeyError(1)", traceback="x\ny")) == "KeyError(1)"
    assert failure(failed()) is None


def test_a_runtime_is_told_or_worked_out():
    assert runtime(failed(timestamp=10.25)) == 0.25
    assert runtime(failed(timestamp=10.25, runtime=7)) == 7.0


@pytest.mark.parametrize("timestamp", [9.0, None, "x"])
def test_a_runtime_that_cannot_be_is_unknown(timestamp):
    assert runtime(failed(timestamp=timestamp)) is None


def test_only_an_end_has_a_runtime():
    event = {"type": "task-progress", "timestamp": 11.0}
    assert runtime(Record(event, {"started": 10.0})) is None


def test_a_runtime_needs_a_start():
    assert runtime(Record({"type": "task-failed", "timestamp": 11.0})) is None


def test_a_uuid_is_cut_and_another_id_is_not():
    assert short_uuid("eacdf44c-6aa4-4bb2-8c0e-0d2f1fe1a1ef") == "eacdf44c"
    assert short_uuid("order-2026-11-20-retry-1") == "order-2026-11-20-retry-1"
    assert short_uuid([1]) == "[1]"


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (
            gap("reconnect", 1.0, 5.2, error="Connection refused"),
            "4.20s without events: reconnect (Connection refused)",
        ),
        (gap("stopped", 1.0, 3.0), "2.00s without events: stopped"),
        (gap("buffer", 1.0, 1.0, dropped=7), "7 events dropped: we were too slow"),
        (gap("worker", 1.0, 1.0, hostname="w1@h", missed=12), "~12 tasks of w1@h not seen"),
        ({"reason": "worker"}, "~? tasks of some worker not seen"),
        ({"reason": "buffer"}, "? events dropped: we were too slow"),
        ({}, "some time without events"),
        ({"reason": ["a"], "duration": "x"}, 'some time without events: ["a"]'),
    ],
)
def test_a_gap_is_a_sentence(event, sentence):
    assert gap_sentence(Record({"type": "evdump-gap", **event})) == sentence
