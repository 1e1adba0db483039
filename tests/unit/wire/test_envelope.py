"""Envelopes: what evdump prints as JSON, records, and reads back."""

import json
import math
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evtools.errors import DecodeError
from evtools.wire import gap
from evtools.wire.envelope import (
    envelope,
    iso_of_micros,
    iso_utc,
    micros,
    open_envelope,
    own_fields,
)
from evtools.wire.line import encode_line

#: How fast it goes is for the benchmarks to say.
UNHURRIED = settings(deadline=None)

UUID = "eacdf44c-6aa4-4bb2-8c0e-0d2f1fe1a1ef"

FAILED = {
    "hostname": "celery@vm",
    "utcoffset": 0,
    "pid": 31054,
    "clock": 40,
    "uuid": UUID,
    "exception": "ValueError('bad\\nthing')",
    "traceback": "Traceback ...\n",
    "timestamp": 1795186532.103655,
    "type": "task-failed",
    "local_received": 1795186532.1042492,
}

ENVELOPE_NAMES = ["v", "ts", "lag", "joined", "own"]
JOINABLE = ["name", "args", "kwargs", "queue", "retries", "sent", "started"]

texts = st.text(st.characters(exclude_categories=["Cs"]))
finite = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=8,
)
names = st.sampled_from([*ENVELOPE_NAMES, *JOINABLE, "timestamp", "local_received", "uuid"]) | texts
events = st.builds(
    lambda kind, fields: {**fields, "type": kind},
    texts.filter(bool),
    st.dictionaries(names, finite, max_size=8),
)
joins = st.dictionaries(st.sampled_from(JOINABLE), finite)


def reopened(line):
    return open_envelope(msgspec.json.decode(line))


def test_an_envelope_has_its_keys_in_a_fixed_order():
    assert envelope(FAILED, {"args": "(1,)", "name": "proj.boom"}) == {
        "v": 1,
        "ts": "2026-11-20T14:55:32.103655Z",
        **FAILED,
        "lag": 0.000594,
        "name": "proj.boom",
        "args": "(1,)",
        "joined": ["args", "name"],
    }
    assert list(envelope(FAILED, {"args": "(1,)", "name": "proj.boom"})) == [
        *("v", "ts", "type", "hostname", "uuid"),
        *("exception", "traceback", "timestamp", "utcoffset", "pid", "clock"),
        *("local_received", "lag", "args", "name", "joined"),
    ]


def test_fields_that_celery_does_not_send_keep_the_senders_order():
    event = {"z": 1, "uuid": UUID, "a": 2, "runtime": 3, "type": "task-succeeded"}
    assert list(envelope(event)) == ["v", "type", "uuid", "runtime", "z", "a"]


def test_what_is_unknown_is_left_out():
    assert envelope({"type": "task-sent"}) == {"v": 1, "type": "task-sent"}


def test_a_null_of_the_sender_stays_null():
    assert envelope({"type": "x", "uuid": None})["uuid"] is None


def test_a_joined_field_never_replaces_the_one_of_the_event():
    line = envelope({"type": "x", "name": "mine"}, {"name": "theirs", "args": "()"})
    assert line["name"] == "mine"
    assert line["joined"] == ["args"]


def test_nothing_is_joined_when_the_event_has_it_all():
    assert "joined" not in envelope({"type": "x", "name": "mine"}, {"name": "theirs"})


def test_a_gap_is_a_line_like_any_other():
    assert list(envelope(gap("reconnect", 1.0, 2.0))) == [
        *("v", "type", "reason", "from", "to", "duration", "local_received")
    ]


@pytest.mark.parametrize(
    "timestamp", [None, "1795186532", True, [], {}, math.nan, math.inf, 1e300, 10**400]
)
def test_an_impossible_timestamp_makes_neither_time_nor_lag(timestamp):
    line = envelope({"type": "x", "timestamp": timestamp, "local_received": 1.0})
    assert "ts" not in line
    assert "lag" not in line


@pytest.mark.parametrize("received", [None, "1", False, math.nan, math.inf, 10**400, 1763380002000])
def test_an_impossible_receipt_makes_no_lag(received):
    line = envelope({"type": "x", "timestamp": 1.0, "local_received": received})
    assert line["ts"] == "1970-01-01T00:00:01.000000Z"
    assert "lag" not in line


@pytest.mark.parametrize("name", ENVELOPE_NAMES)
def test_a_field_of_the_event_named_like_one_of_ours_stays_its_own(name):
    event = {**FAILED, name: ["v"]}
    line = envelope(event, {"name": "proj.boom"})
    if name != "own":
        assert line[name] == ["v"]
    assert reopened(encode_line(line)) == (event, {"name": "proj.boom"})


def test_the_names_that_clash_are_listed():
    assert envelope({"type": "x", "ts": 1, "lag": 2})["own"] == ["lag", "ts"]


@UNHURRIED
@given(events, joins)
@example({"type": "x", "own": ["own", "v"], "v": 2}, {})
@example({"type": "x", "joined": ["own"], "own": {"fields": ["v"]}}, {"name": "a"})
@example({"type": "x", "n": [5e-324, 1.7976931348623157e308, 0.1 + 0.2, -0.0]}, {})
def test_a_line_reads_back_exactly(event, joined):
    joined = {name: joined[name] for name in joined if name not in event}
    line = encode_line(envelope(event, joined))
    again, joined_again = reopened(line)
    assert (again, joined_again) == (event, joined)
    assert encode_line(envelope(again, joined_again)) == line
    assert list(own_fields(again)) == list(own_fields(event))
    assert list(joined_again) == list(joined)


@UNHURRIED
@given(events, joins)
def test_a_line_is_valid_json_and_safe_to_look_at(event, joined):
    line = encode_line(envelope(event, joined))
    assert line.decode().isprintable()
    json.loads(line)


def test_an_event_is_not_changed():
    event, before = dict(FAILED), list(FAILED.items())
    envelope(event, {"name": "x"})
    own_fields(event)
    assert list(event.items()) == before


def test_a_bare_event_of_another_program_is_no_envelope():
    event = {"type": "task-sent", "uuid": UUID}
    assert open_envelope(event) == (event, None)


@pytest.mark.parametrize("v", ["1", None, True, 1.5, [1]])
def test_a_field_called_v_alone_makes_no_envelope(v):
    event = {"type": "task-sent", "v": v}
    assert open_envelope(event) == (event, None)


def test_an_envelope_of_another_version_is_refused():
    with pytest.raises(DecodeError, match="unknown version: v is 2"):
        open_envelope({"v": 2, "type": "x"})


@pytest.mark.parametrize(
    "odd",
    [
        {"joined": 7, "own": 7},
        {"joined": [7, None, "name", "gone"], "own": [[]]},
        {"own": {"fields": 7, "joined": 7}},
        {"joined": ["type", "ts"]},
    ],
)
def test_a_forged_envelope_is_opened_without_harm(odd):
    event, joined = open_envelope({"v": 1, "type": "x", "name": "n", **odd})
    assert event["type"] == "x"
    assert joined in ({}, {"name": "n"})


def test_own_fields_are_the_events_alone_in_the_order_of_an_envelope():
    assert list(own_fields({"local_received": 1, "a": 2, "uuid": 3, "type": "x"})) == [
        *("type", "uuid", "a", "local_received")
    ]
    assert own_fields({"type": "x"}) == {"type": "x"}


@UNHURRIED
@given(st.integers(-62135596800, 253402300799), st.integers(0, 999_999))
def test_times_are_those_of_datetime(second, fraction):
    timestamp = second + fraction / 1e6
    moment = datetime.fromtimestamp(timestamp, UTC)
    text = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert iso_utc(timestamp) == text


def test_almost_a_second_is_the_next_one():
    assert iso_utc(0.9999999) == "1970-01-01T00:00:01.000000Z"
    assert iso_utc(-0.25) == "1969-12-31T23:59:59.750000Z"
    assert iso_utc(7) == "1970-01-01T00:00:07.000000Z"


def test_a_moment_is_counted_in_whole_microseconds():
    assert micros(0.0000014) == 1
    assert micros(-0.25) == -250_000
    assert iso_of_micros(-250_000) == "1969-12-31T23:59:59.750000Z"
    with pytest.raises(OverflowError):
        micros(math.inf)


def test_the_year_after_the_calendar_ends_has_no_name():
    assert iso_utc(253402300800) is None
