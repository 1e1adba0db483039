"""Tests for evtools.filters.filter."""

from datetime import timedelta, timezone

import pytest

from evtools.errors import FilterError
from evtools.filters.filter import all_of, compile_filter, exclude
from evtools.wire import Record

STARTED = Record({"type": "task-started", "hostname": "celery@w1", "uuid": "7a8b"})
BEAT = Record({"type": "worker-heartbeat", "hostname": "celery@w1"})


def test_a_filter_matches_events():
    only_tasks = compile_filter("type:task-*")
    assert only_tasks.matches(STARTED)
    assert not only_tasks.matches(BEAT)
    assert only_tasks.text == "type:task-*"
    assert "type:task-*" in repr(only_tasks)


@pytest.mark.parametrize("text", ["", "  "])
def test_the_empty_filter_matches_everything(text):
    assert compile_filter(text).matches(BEAT)


def test_a_bad_filter_names_the_column_from_one():
    with pytest.raises(FilterError) as caught:
        compile_filter("state:failure runtme>2")
    error = caught.value
    assert error.message == (
        'bad filter at column 15: unknown field "runtme" (did you mean "runtime"?)'
    )
    assert (error.text, error.position, error.length) == ("state:failure runtme>2", 14, 6)
    assert "double quotes" in error.hint
    assert error.exit_code == 2


def test_a_message_is_fit_for_a_terminal():
    with pytest.raises(FilterError) as caught:
        compile_filter("state:\x1b[31m\u202e")
    assert caught.value.message.isprintable()
    assert "\\x1b" in caught.value.message


def test_times_are_in_the_given_zone():
    noon = Record({"type": "task-sent", "timestamp": 12 * 3600.0})
    assert compile_filter("sent:12:00").matches(noon)
    east = timezone(timedelta(hours=2))
    assert compile_filter("sent:14:00", zone=east).matches(noon)


def test_ages_are_counted_from_the_given_now():
    ages = compile_filter("age<5m", now=lambda: 1000.0)
    assert ages.matches(Record({"type": "x", "timestamp": 800.0}))
    assert not ages.matches(Record({"type": "x", "timestamp": 600.0}))
    assert not ages.matches(Record({"type": "x"}))
    with pytest.raises(FilterError, match="no clock"):
        compile_filter("age<5m")


def test_a_field_no_event_could_tell_is_noted():
    mail = compile_filter("queue:mail")
    assert mail.unknown() == []
    mail.matches(BEAT)
    assert mail.unknown() == []
    mail.matches(STARTED)
    (note,) = mail.unknown()
    assert note.startswith("queue: unknown for 100% of events (task_send_sent_event is off")
    mail.matches(Record({"type": "task-sent", "queue": "mail"}))
    assert mail.unknown() == []


def test_a_note_without_a_known_reason_has_none_and_comes_once():
    errors = compile_filter("exc:a OR exc:b")
    errors.matches(Record({"type": "task-failed"}))
    assert errors.unknown() == ["exc: unknown for 100% of events"]


def test_a_field_of_another_name_is_noted_by_that_name():
    custom = compile_filter("field.percent>5")
    custom.matches(STARTED)
    (note,) = custom.unknown()
    assert note == "field.percent: unknown for 100% of events (none has it)"


def test_a_text_searched_to_its_end_is_not_noted():
    search = compile_filter("tb~x$")
    search.matches(Record({"type": "task-failed", "traceback": "y"}))
    assert search.unknown() == []


def test_a_text_searched_in_part_is_noted():
    search = compile_filter("tb~x$")
    search.matches(Record({"type": "task-failed", "traceback": "x" * 70_000 + "y"}))
    (note,) = search.unknown()
    assert note == (
        "tb: 1 texts were not searched to their end (a line is searched up to 65536 characters)"
    )


def test_filters_are_combined():
    chosen = all_of(
        compile_filter("worker:w1"),
        exclude([compile_filter("type:worker-heartbeat"), compile_filter("queue:x")]),
    )
    assert chosen.matches(STARTED)
    assert not chosen.matches(BEAT)
    assert chosen.text == "(worker:w1) (NOT (type:worker-heartbeat) NOT (queue:x))"
    assert len(chosen.unknown()) == 1


def test_nothing_combined_matches_everything():
    assert all_of().matches(BEAT)
    assert exclude([]).matches(BEAT)
    assert all_of(compile_filter(""), exclude([])).text == ""
