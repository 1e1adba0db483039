"""Envelopes: what evdump prints as JSON, records, and reads back."""

import json
import math
import sys
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from evtools.errors import DecodeError
from evtools.wire.codec import Codec, Message, Schema, from_fields
from evtools.wire.envelope import (
    EnvelopeWriter,
    cluster_of,
    encode_line,
    envelope,
    iso_utc,
    join_text,
    open_envelope,
)
from evtools.wire.events import OWN_FIELDS, ordered

#: How fast it goes is for the benchmarks to say.
FEW = settings(max_examples=50)

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
clusters = st.sampled_from(["", "eu", "a.b_c-1"])
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


def test_a_joined_field_never_replaces_the_one_of_the_event():
    line = envelope({"type": "x", "name": "mine"}, {"name": "theirs", "args": "()"})
    assert line["name"] == "mine"
    assert line["joined"] == ["args"]


IMPOSSIBLE = [None, "1", True, [], {}, math.nan, math.inf, 1e300, 10**400, 1763380002000]


@pytest.mark.parametrize("odd", IMPOSSIBLE)
def test_an_impossible_timestamp_makes_neither_time_nor_lag_and_such_a_receipt_no_lag(odd):
    line = envelope({"type": "x", "timestamp": odd, "local_received": 1.0})
    assert line.keys().isdisjoint({"ts", "lag"})
    line = envelope({"type": "x", "timestamp": 1.0, "local_received": odd})
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


@FEW
@given(events, joins, clusters)
@example({"type": "x", "own": ["own", "v"], "v": 2}, {}, "")
@example({"type": "x", "own": ["own", "v"], "v": 2}, {}, "eu")
@example({"type": "x", "own": {"fields": [], "cluster": "us"}, "v": 1, "cluster": "x"}, {}, "")
@example({"type": "x", "joined": ["own"], "own": {"fields": ["v"]}}, {"name": "a"}, "eu")
@example({"type": "x", "n": [5e-324, 1.7976931348623157e308, 0.1 + 0.2, -0.0]}, {}, "")
def test_a_line_is_safe_to_look_at_and_reads_back_exactly(event, joined, cluster):
    joined = {name: joined[name] for name in joined if name not in event}
    line = encode_line(envelope(event, joined, cluster))
    assert cluster_of(json.loads(line)) == cluster
    assert line.decode().isprintable()
    json.loads(line)
    again, joined_again = reopened(line)
    assert (again, joined_again) == (event, joined)
    assert encode_line(envelope(again, joined_again, cluster)) == line
    assert list(ordered(again)) == list(ordered(event))
    assert list(joined_again) == list(joined)


@FEW
@given(events, clusters)
@example({"type": "task-started", "timestamp": 7, "clock": -0.0}, "")
@example({"type": "custom", "evtools:known": 1, "x0": 2}, "eu")
@example({"type": "custom", "cluster": "mine", "timestamp": 7.5, "local_received": 8.5}, "eu")
def test_a_typed_event_gives_back_exactly_what_it_was_made_of(event, cluster):
    typed = from_fields(event, Schema())
    typed.cluster = cluster or UNSET
    assert json.dumps(typed.as_dict()) == json.dumps(ordered(event))
    joined = {"name": "n"} if "name" not in event else {}
    typed.known = joined
    assert EnvelopeWriter().line(typed) == encode_line(envelope(event, joined, cluster))
    assert typed.cluster == cluster or not cluster
    assert {name: typed.get(name) for name in event} == event


@pytest.mark.parametrize("fields", [{}, *({"v": odd} for odd in ("1", None, True, 1.5, [1]))])
def test_an_event_of_another_program_is_no_envelope_even_with_a_field_called_v(fields):
    event = {"type": "task-sent", "uuid": UUID, **fields}
    assert open_envelope(event) == (event, None)


def test_an_envelope_of_another_version_is_refused():
    with pytest.raises(DecodeError, match="unknown version: v is 3"):
        open_envelope({"v": 3, "type": "x"})


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


@FEW
@given(st.integers(-62135596800, 253402300798), st.integers(0, 999_999))
def test_times_are_those_of_datetime(second, fraction):
    timestamp = second + fraction / 1e6
    moment = datetime.fromtimestamp(timestamp, UTC)
    text = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert iso_utc(timestamp) == text


def test_almost_a_second_is_the_next_one():
    assert iso_utc(0.9999999) == "1970-01-01T00:00:01.000000Z"
    assert iso_utc(-0.25) == "1969-12-31T23:59:59.750000Z"
    assert iso_utc(7) == "1970-01-01T00:00:07.000000Z"
    # The year after the calendar ends has no name.
    assert iso_utc(253402300800) is None


# --- one line --------------------------------------------------------------------


def test_letters_of_the_world_are_not_escaped():
    assert encode_line({"name": "Grüße 世界 ✓"}) == '{"name":"Grüße 世界 ✓"}'.encode()


@pytest.mark.parametrize(
    "character", ["\x7f", "\x9b", "\u2028", "\u2029", "\u202e", "\u200b", "\ufeff", "\U000e0041"]
)
def test_what_a_terminal_may_act_on_is_escaped_wherever_it_stands(character):
    line = encode_line({f"k{character}": f"ü{character}x"})
    assert line.decode().isprintable()
    assert json.loads(line) == {f"k{character}": f"ü{character}x"}
    assert msgspec.json.decode(line) == json.loads(line)


def bottomless():
    value = []
    for _ in range(sys.getrecursionlimit() * 2):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("\ud800x", "\\ud800x"),
        (10**5000, hex(10**5000)),
        (bottomless(), "nested too deep"),
        ({1, 2} - {2}, [1]),
        (object(), "object"),
        (math.nan, None),
    ],
    ids=["surrogate", "huge", "deep", "set", "foreign", "nan"],
)
def test_what_json_cannot_say_is_still_written(value, said):
    assert json.loads(encode_line({"x": value})) == {"x": said}


# --- many lines ------------------------------------------------------------------

STARTED = {
    "hostname": "celery@h",
    "utcoffset": 0,
    "pid": 7,
    "clock": 9,
    "uuid": "u-1",
    "timestamp": 1795186532.103655,
    "type": "task-started",
}
RECEIVED = 1795186532.25
JOINED = {"name": "proj.add", "args": "(2, 2)", "received": 1795186532.0}

numbers = st.one_of(
    st.integers(-(10**25), 10**25),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none(),
    st.text(st.characters(exclude_categories=["Cs"])),
)
values = st.one_of(numbers, st.lists(numbers, max_size=2), st.just("\x7f\x9b\u202e"))
times = st.floats(min_value=-1e9, max_value=1e11) | values
names = st.sampled_from(["name", "args", "kwargs", "retries", "received", "started"])
joins = st.dictionaries(names, values, max_size=4)


more_names = st.sampled_from(["zone", "name", 'quo"te', "lag", "x\x7f"])


@st.composite
def task_events(draw):
    kind = draw(st.sampled_from(list(OWN_FIELDS)))
    fields = {name: draw(values) for name in OWN_FIELDS[kind]}
    names = {"hostname": draw(texts), "uuid": draw(texts.filter(bool))}
    more = draw(st.dictionaries(more_names, values, max_size=2))
    return {**more, "type": kind, **fields, **names, "timestamp": draw(times)}


def decoded(fields, joined=None, received=RECEIVED, codec=None):
    """An event as it comes from a message, stamped and joined."""
    [event] = (codec or Codec()).events(Message(json.dumps(fields).encode()))
    event.stamp(received)
    if joined is not None:
        event.known = join_text(joined)
    return event


def reference(event, joined=None, received=RECEIVED):
    joined = {name: joined[name] for name in joined or {} if name not in event}
    return encode_line(envelope({**event, "local_received": received}, joined))


@FEW
@given(st.lists(st.tuples(task_events(), joins), max_size=4))
def test_every_line_is_what_the_envelope_says(events):
    rows = [
        (event, {name: joined[name] for name in joined if name not in event})
        for event, joined in events
    ]
    lines = EnvelopeWriter().lines([decoded(*row) for row in rows])
    assert lines == b"".join(reference(*row) + b"\n" for row in rows)


def test_a_line_can_be_written_twice():
    event = decoded(STARTED, JOINED)
    writer = EnvelopeWriter()
    assert writer.line(event) == writer.line(event) == reference(STARTED, JOINED)


def test_events_of_all_kinds_stand_in_their_order():
    beat = {"type": "worker-heartbeat", "hostname": "\x9b"}
    odd = from_fields(beat)
    known = from_fields(STARTED)
    known.known = JOINED
    rows = [decoded(STARTED), odd, decoded(STARTED, JOINED), known]
    assert EnvelopeWriter().lines(rows).splitlines() == [
        reference(STARTED),
        encode_line(envelope(beat)),
        reference(STARTED, JOINED),
        encode_line(envelope(STARTED, JOINED)),
    ]


def test_fields_that_were_learned_are_written_as_any_others():
    codec, writer = Codec(), EnvelopeWriter()
    custom = {**STARTED, "type": "task-progress", "done": [1, {"a": None}], "name": "n"}
    for fields in (custom, {**STARTED, "zone": "\u202e"}, {**STARTED, "zone": 1}, STARTED):
        joined = {name: JOINED[name] for name in JOINED if name not in fields}
        assert writer.line(decoded(fields, joined, codec=codec)) == reference(fields, joined)


def test_lone_surrogates_that_a_program_gave_are_written():
    fields = {**STARTED, "hostname": "\ud800", "local_received": 2.0}
    assert EnvelopeWriter().line(from_fields(fields)) == encode_line(envelope(fields))


moments = st.sampled_from([1795186532.0, 1795186532.9999996, 1795186533.25, 1e20, 10**400])


@given(st.lists(st.tuples(moments, moments | st.just(7)), max_size=6))
def test_events_of_several_seconds_stand_side_by_side(times):
    rows = [({**STARTED, "timestamp": sent}, None, came) for sent, came in times]
    lines = EnvelopeWriter().lines([decoded(*row) for row in rows])
    assert lines == b"".join(reference(*row) + b"\n" for row in rows)


# --- what is joined, as text -----------------------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
some_fields = st.dictionaries(
    st.sampled_from(["name", "args", "retries", "joined"]) | st.text(max_size=3), json_values
)


@FEW
@given(some_fields)
def test_fields_come_back_as_they_were(given_fields):
    made = join_text(given_fields)
    assert made.fields() == given_fields
    assert list(made.fields()) == list(given_fields) == list(made.names.all)


def test_a_text_that_json_cannot_say_is_kept_as_one_that_it_can():
    assert join_text({"name": "\ud800"}).fields() == {"name": "\\ud800"}
