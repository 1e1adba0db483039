"""Typed events, what their types tell, gaps, and logical time."""

import json
import time

import pytest

from evtools.wire.codec import from_fields
from evtools.wire.envelope import join_text
from evtools.wire.events import (
    FIELDS,
    GAP,
    OWN_FIELDS,
    LamportClock,
    group_from,
    make_event,
    routing_key_from,
)
from tools.gaps import gap

COMMON = {"hostname": "w@h", "timestamp": 1.5, "utcoffset": 0, "pid": 7, "clock": 9}


def celery_event(kind, **changes):
    """An event with all fields that Celery gives it."""
    uuid = {"uuid": "u1"} if kind.startswith("task-") else {}
    texts = {name: name for name in OWN_FIELDS[kind] if name not in (*COMMON, "uuid")}
    values = {"retries": 1, "runtime": 0.5, "active": 1, "processed": 5, "freq": 2, "signum": 15}
    values |= {"loadavg": [1, 0.5, 0.25], "terminated": True, "expired": False, "requeue": True}
    values |= dict.fromkeys(("eta", "expires"))
    fields = texts | {name: value for name, value in values.items() if name in texts}
    return {"type": kind, **COMMON, **uuid, **fields, **changes}


# --- attributes and dictionaries -------------------------------------------------


@pytest.mark.parametrize("kind", OWN_FIELDS)
def test_an_event_has_its_fields_as_attributes_and_gives_them_back(kind):
    fields = celery_event(kind, local_received=2.0)
    event = from_fields(fields)
    assert event.type == kind
    assert {name: getattr(event, name) for name in OWN_FIELDS[kind]} == {
        name: fields[name] for name in OWN_FIELDS[kind]
    }
    assert json.dumps(event.as_dict()) == json.dumps(
        {name: fields[name] for name in ("type", *OWN_FIELDS[kind], "local_received")}
    )


@pytest.mark.parametrize("kind", [*OWN_FIELDS, "task-progress", "custom"])
def test_fields_that_a_type_does_not_have_read_as_none(kind):
    event = from_fields({"type": kind})
    missing = {name: getattr(event, name) for name in FIELDS}
    assert (missing.pop("uuid"), missing.pop("hostname")) == ("", "")
    assert set(missing.values()) == {None}
    assert event.as_dict() == {"type": kind}
    assert event.extra == {}


RECEIVED, BEAT = "task-received", "worker-heartbeat"
#: The type of an event, a field of it, what was sent there, and what is read.
ODD = [
    *((RECEIVED, "timestamp", odd, None) for odd in ("late", -1, float("nan"), 10**13, True)),
    (RECEIVED, "hostname", 7, ""), (RECEIVED, "hostname", None, ""), (RECEIVED, "uuid", ["u"], ""),
    (RECEIVED, "clock", "9", None), (RECEIVED, "clock", -1, None), (RECEIVED, "pid", 2**60, None),
    (RECEIVED, "utcoffset", 99, None), (RECEIVED, "name", 7, "7"),
    (RECEIVED, "args", [1, 2], "[1, 2]"), (RECEIVED, "kwargs", {"a": 1}, "{'a': 1}"),
    (RECEIVED, "args", "x" * 2000, "x" * 2000), (RECEIVED, "args", 10**5000, "<int>"),
    (RECEIVED, "args", ["x" * 2000], "['" + "x" * 1022), (RECEIVED, "retries", "1", None),
    (RECEIVED, "retries", 1.5, None), (RECEIVED, "eta", 12, "12"),
    ("task-succeeded", "runtime", -1, None), ("task-succeeded", "result", None, None),
    ("task-revoked", "terminated", 1, None), ("task-revoked", "signum", "SIGTERM", "SIGTERM"),
    ("task-revoked", "signum", [15], None), (BEAT, "loadavg", [1, "x", 0.5, 2], [1, 0.5]),
    (BEAT, "loadavg", "1", None), (BEAT, "freq", 0, None), (BEAT, "freq", 100_000, None),
    (BEAT, "processed", -2, None), (BEAT, "sw_ver", 5.4, "5.4"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "sent", "read"), ODD, ids=range(len(ODD)))
def test_odd_values_are_tidied_and_given_back_as_they_were_sent(kind, name, sent, read):
    event = from_fields(celery_event(kind, local_received=2.0, **{name: sent}))
    assert getattr(event, name) == read
    assert event.get(name) is sent
    assert event.as_dict()[name] is sent
    assert name == "pid" or event.pid == COMMON["pid"]  # the others are there


def test_a_dictionary_is_left_as_it_is():
    fields = celery_event("task-started", odd=[1])
    before = dict(fields)
    event = from_fields(fields)
    event.stamp(7.0)
    event.set_clock(99)
    assert fields == before
    assert event.as_dict() == {**before, "local_received": 7.0, "clock": 99}


def test_an_event_that_does_not_say_when_it_was_received_was_then_sent():
    assert from_fields(celery_event("task-started")).local_received == 1.5
    assert from_fields({"type": "custom"}).local_received == 0.0
    assert "local_received" not in from_fields(celery_event("task-started")).as_dict()


@pytest.mark.parametrize("kind", [None, 7, "", ["task-sent"]])
def test_what_has_no_type_is_an_event_of_no_type(kind):
    event = from_fields({"type": kind, "uuid": "u1"})
    assert (event.type, event.uuid, event.as_dict()) == ("", "u1", {"type": kind, "uuid": "u1"})


def test_what_celery_does_not_send_is_extra_and_last_but_for_the_receipt():
    fields = celery_event("task-started", zone="b", name="proj.add", local_received=2.0)
    event = from_fields(fields)
    assert event.extra == {"zone": "b", "name": "proj.add"}
    assert event.get("zone") == "b"
    assert event.as_dict() == fields
    assert list(event.as_dict())[-2:] == ["zone", "local_received"]


def test_what_was_joined_is_found_after_what_was_sent():
    event = from_fields(celery_event("task-started", local_received=2.0))
    event.known = join_text({"name": "proj.add", "pid": 1})
    assert event.joined == {"name": "proj.add", "pid": 1}
    assert (event.get("name"), event.get("pid"), event.get("args", "-")) == ("proj.add", 7, "-")
    assert "name" not in event.as_dict()
    assert event.name is None


@pytest.mark.parametrize(
    ("fields", "is_nameless"),
    [
        ({"type": "task-started", "uuid": "u"}, False),
        ({"type": "task-started", "uuid": 7}, True),
        ({"type": "task-progress", "hostname": "w"}, True),
        ({"type": "worker-online", "hostname": ""}, True),
        ({"type": "worker-lost", "hostname": "w"}, False),
        ({"type": "custom"}, False),
    ],
)
def test_an_event_of_a_task_or_a_worker_has_to_name_it(fields, is_nameless):
    assert from_fields(fields).is_nameless == is_nameless


# --- gaps -------------------------------------------------------------------------


def test_a_gap_says_from_when_to_when_and_why():
    fields = gap("buffer", 10.0, 12.5000001, dropped=7)
    times = {"from": 10.0, "to": 12.5000001, "duration": 2.5, "local_received": 12.5000001}
    assert fields == {"type": GAP, "reason": "buffer", "dropped": 7, **times}
    event = from_fields(fields)
    assert (event.type, event.is_gap, event.as_dict()) == (GAP, True, fields)
    assert (event.reason, event.duration, event.dropped, event.missed) == ("buffer", 2.5, 7, 0)
    assert event.local_received == 12.5000001


def test_a_gap_never_lasts_less_than_nothing():
    assert gap("stopped", 12.0, 10.0)["duration"] == 0.0


def test_counts_of_a_gap_that_cannot_be_are_none():
    event = from_fields({"type": GAP, "reason": [], "duration": "x", "dropped": -1, "missed": 1.5})
    assert (event.duration, event.dropped, event.missed) == (0.0, 0, 0)


# --- dictionaries to send, types, clocks ------------------------------------------


def test_an_event_to_send_has_its_type_and_its_fields():
    fields = {"percent": 1, "step": "a"}
    event = make_event("task-progress", fields, percent=2, timestamp=3)
    assert event == {"type": "task-progress", "percent": 2, "step": "a", "timestamp": 3}
    assert fields == {"percent": 1, "step": "a"}


def test_an_event_without_a_time_happens_now():
    before = time.time()
    event = make_event("task-sent")
    assert before <= event["timestamp"] <= time.time()
    assert list(event) == ["timestamp", "type"]


@pytest.mark.parametrize(
    ("event_type", "group", "key"),
    [
        ("task-sent", "task", "task.sent"),
        ("worker-elect-ack", "worker", "worker.elect.ack"),
        ("custom", "custom", "custom"),
        ("a.b-c", "a.b", "a.b.c"),
        ("-", "", "."),
    ],
)
def test_a_type_tells_its_group_and_its_routing_key(event_type, group, key):
    assert group_from(event_type) == group
    assert routing_key_from(event_type) == key


@pytest.mark.parametrize(("own", "other", "then"), [(5, 3, 6), (3, 5, 6), (0, -9, 1)])
def test_receiving_moves_past_both_times(own, other, then):
    clock = LamportClock(own)
    assert clock.adjust(other) == then == clock.value


def test_a_forged_time_moves_the_clock_no_further_than_any_other():
    clock = LamportClock(7)
    assert clock.adjust(10**4299) == 8
    assert clock.adjust(2**63) == 9
    assert clock.adjust(2**63 - 1) == 2**63
