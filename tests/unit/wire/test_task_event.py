"""Celery's task events in slots."""

import json
import sys

import msgspec
import pytest

from evtools.wire.known import known
from evtools.wire.record import Record
from evtools.wire.task_event import OWN_FIELDS, TASK_EVENTS

COMMON = {"hostname": "w@h", "uuid": "u1", "timestamp": 1.5, "utcoffset": 0, "pid": 7}
COMMON["clock"] = 9


def fields_of(kind):
    return {**dict.fromkeys(OWN_FIELDS[kind], "x"), **COMMON, "type": kind}


def decoded(fields):
    return msgspec.json.decode(json.dumps(fields), type=TASK_EVENTS[fields["type"]])


@pytest.mark.parametrize("kind", OWN_FIELDS)
def test_an_event_says_what_was_sent(kind):
    event = decoded(fields_of(kind))
    assert event.type == kind
    assert event.event == fields_of(kind)
    assert event.values(event) == tuple(event.event[name] for name in event.own)
    assert event.joined == {}
    event.local_received = 2.0
    assert event.event == {**fields_of(kind), "local_received": 2.0}


def test_its_fields_are_in_the_order_of_an_envelope_whether_joined_or_not():
    event = decoded(fields_of("task-received"))
    event.local_received = 2.0
    order = ["type", *OWN_FIELDS["task-received"], "local_received"]
    assert list(event.event) == order
    event.lag = 0.5
    assert list(event.event) == order


def test_what_is_nested_deeply_is_no_reason_to_fail():
    nested = []
    for _ in range(2 * sys.getrecursionlimit()):
        nested = [nested]
    event = decoded(fields_of("task-received"))
    event.args = nested
    assert event.event["args"] is nested


def test_it_tells_itself_from_a_record():
    event = decoded(fields_of("task-started"))
    assert event.is_typed
    assert not event.is_gap
    assert not Record({"type": "x"}).is_typed


def test_its_record_has_all_of_it():
    event = decoded(fields_of("task-started"))
    event.known = known({"name": "proj.add"})
    record = event.record
    assert (record.event, record.joined) == (event.event, {"name": "proj.add"})
    assert record.record is record


@pytest.mark.parametrize(
    "odd",
    [
        {"more": 1},
        {"local_received": 1.0},
        {"local_received": None},
        {"lag": 0},
        {"known": {}},
        {"known": 1},
        {"uuid": 7},
        {"hostname": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", OWN_FIELDS)
def test_what_celery_would_not_send_does_not_fit(kind, odd):
    with pytest.raises(msgspec.ValidationError):
        decoded({**fields_of(kind), **odd})


@pytest.mark.parametrize("name", OWN_FIELDS["task-received"])
def test_what_lacks_a_field_does_not_fit(name):
    fields = fields_of("task-received")
    del fields[name]
    with pytest.raises(msgspec.ValidationError):
        decoded(fields)
