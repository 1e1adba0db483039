"""Lines of envelopes, written fast."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.wire.codec import Codec, Message
from evtools.wire.envelope import envelope
from evtools.wire.envelope_writer import EnvelopeWriter
from evtools.wire.known import known
from evtools.wire.line import encode_line
from evtools.wire.record import Record
from evtools.wire.task_event import OWN_FIELDS

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
texts = st.text(st.characters(exclude_categories=["Cs"]))


@st.composite
def task_events(draw):
    kind = draw(st.sampled_from(list(OWN_FIELDS)))
    fields = {name: draw(values) for name in OWN_FIELDS[kind]}
    names = {"hostname": draw(texts), "uuid": draw(texts.filter(bool))}
    return {"type": kind, **fields, **names, "timestamp": draw(times)}


def typed(event, joined=None, received=RECEIVED):
    [record] = Codec().records(Message(json.dumps(event).encode()))
    assert record.is_typed
    record.local_received = received
    if joined is not None:
        record.known = known(joined)
    return record


def reference(event, joined=None, received=RECEIVED):
    joined = {name: joined[name] for name in joined or {} if name not in event}
    return encode_line(envelope({**event, "local_received": received}, joined))


@settings(deadline=None)
@given(st.lists(st.tuples(task_events(), joins), max_size=4))
def test_every_line_is_what_the_envelope_says(events):
    rows = [
        (event, {name: joined[name] for name in joined if name not in event})
        for event, joined in events
    ]
    lines = EnvelopeWriter().lines([typed(*row) for row in rows])
    assert lines == b"".join(reference(*row) + b"\n" for row in rows)


@settings(deadline=None)
@given(
    st.floats(min_value=-1e9, max_value=1e11),
    st.floats(min_value=-1e9, max_value=1e11),
    st.sampled_from([None, {}, JOINED]),
)
def test_times_are_rounded_as_in_the_envelope(timestamp, received, joined):
    event = {**STARTED, "timestamp": timestamp}
    line = EnvelopeWriter().line(typed(event, joined, received))
    assert line == reference(event, joined, received)


@pytest.mark.parametrize(
    "changes",
    [
        {"timestamp": 1795186532.9999999},
        {"timestamp": 1e20},
        {"timestamp": 10**400},
        {"timestamp": 7},
        {"timestamp": "yesterday"},
        {"hostname": "\x7f"},
        {"hostname": "w\u00f6rker@h"},
        {"hostname": "\u202e"},
    ],
    ids=lambda changes: str(changes)[:40].encode("unicode_escape").decode(),
)
@pytest.mark.parametrize("joined", [None, JOINED], ids=["bare", "joined"])
def test_an_odd_value_is_written_with_care(changes, joined):
    event = {**STARTED, **changes}
    writer = EnvelopeWriter()
    assert writer.line(typed(event, joined)) == reference(event, joined)
    assert writer.line(typed(STARTED, joined)) == reference(STARTED, joined)


def test_what_is_joined_is_escaped_as_well():
    joined = {"name": "\u202e", "args": "\x7f"}
    assert EnvelopeWriter().line(typed(STARTED, joined)) == reference(STARTED, joined)


def test_a_line_can_be_written_twice():
    record = typed(STARTED, JOINED)
    writer = EnvelopeWriter()
    assert writer.line(record) == writer.line(record) == reference(STARTED, JOINED)


def test_events_of_all_kinds_stand_in_their_order():
    beat = {"type": "worker-heartbeat", "hostname": "\x9b"}
    lines = EnvelopeWriter().lines(
        [typed(STARTED), Record(beat), typed(STARTED, JOINED), Record(STARTED, JOINED)]
    )
    assert lines.splitlines() == [
        reference(STARTED),
        encode_line(envelope(beat)),
        reference(STARTED, JOINED),
        encode_line(envelope(STARTED, JOINED)),
    ]


moments = st.sampled_from([1795186532.0, 1795186532.9999996, 1795186533.25, 1e20])


@given(st.lists(st.tuples(moments, moments | st.just(7)), max_size=6))
def test_events_of_several_seconds_stand_side_by_side(times):
    rows = [({**STARTED, "timestamp": sent}, None, came) for sent, came in times]
    lines = EnvelopeWriter().lines([typed(*row) for row in rows])
    assert lines == b"".join(reference(*row) + b"\n" for row in rows)


def test_no_records_are_no_lines():
    assert EnvelopeWriter().lines([]) == b""
