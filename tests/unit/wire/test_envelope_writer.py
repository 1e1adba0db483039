"""Lines of envelopes, written fast."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.wire.envelope import encode_line, envelope
from evtools.wire.envelope_writer import EnvelopeWriter

STARTED = {
    "hostname": "celery@h",
    "pid": 7,
    "clock": 9,
    "uuid": "u-1",
    "timestamp": 1795186532.103655,
    "type": "task-started",
    "local_received": 1795186532.25,
}
JOINED = {"name": "proj.add", "args": "(2, 2)", "received": 1795186532.0}

numbers = st.one_of(st.integers(), st.floats(allow_nan=True), st.none(), st.text())
values = st.one_of(numbers, st.lists(numbers, max_size=2), st.just("\x7f\x9b\u202e"))
names = st.one_of(
    st.sampled_from([*STARTED, *JOINED, "v", "ts", "lag", "joined", "own", "runtime"]),
    st.text(max_size=4),
)
events = st.dictionaries(names, values, max_size=8).map(
    lambda fields: {**fields, "type": "task-x"}
)
joins = st.dictionaries(names, values, max_size=4).map(
    lambda fields: {
        name: value
        for name, value in fields.items()
        if name not in {"v", "ts", "lag", "joined", "own", "type", "local_received"}
    }
)


def reference(event, joined):
    return encode_line(envelope(event, joined))


@settings(deadline=None)
@given(st.lists(st.tuples(events, joins), max_size=4))
def test_every_line_is_what_the_envelope_says_however_often_it_comes(records):
    writer = EnvelopeWriter()
    for event, joined in records + records:
        assert writer.line(event, joined) == reference(event, joined)


@settings(deadline=None)
@given(
    st.floats(min_value=-1e9, max_value=1e11),
    st.floats(min_value=-1e9, max_value=1e11),
    st.sampled_from([{}, JOINED, {"name": "proj.add"}]),
)
def test_times_are_rounded_as_in_the_envelope(timestamp, received, joined):
    writer = EnvelopeWriter()
    writer.line(STARTED, joined)
    event = {**STARTED, "timestamp": timestamp, "local_received": received}
    assert writer.line(event, joined) == reference(event, joined)


@pytest.mark.parametrize(
    "changes",
    [
        {"timestamp": 1795186532.9999999},
        {"timestamp": 1e20},
        {"timestamp": "yesterday"},
        {"local_received": None},
        {"hostname": "\x7f"},
        {"hostname": "w\u00f6rker@h"},
        {"hostname": "\u202e"},
    ],
    ids=lambda changes: str(changes).encode("unicode_escape").decode(),
)
@pytest.mark.parametrize("joined", [{}, JOINED], ids=["bare", "joined"])
def test_an_odd_value_in_a_known_shape_is_written_with_care(changes, joined):
    writer = EnvelopeWriter()
    writer.line(STARTED, joined)
    event = {**STARTED, **changes}
    assert writer.line(event, joined) == reference(event, joined)


def test_made_up_shapes_do_not_fill_the_memory():
    writer = EnvelopeWriter()
    for number in range(2000):
        event = {**STARTED, f"made-up-{number}": 1}
        assert json.loads(writer.line(event))[f"made-up-{number}"] == 1
    assert len(writer._shapes) < 500
    assert json.loads(writer.line(STARTED))["uuid"] == "u-1"


def test_an_event_with_hundreds_of_fields_is_no_shape_to_remember():
    writer = EnvelopeWriter()
    event = STARTED | {f"field-{number}": number for number in range(300)}
    assert writer.line(event) == reference(event, {})
    assert not writer._shapes


def test_an_event_with_endless_names_is_no_shape_to_remember():
    writer = EnvelopeWriter()
    event = {**STARTED, "n" * 5000: 1}
    assert writer.line(event) == reference(event, {})
    assert not writer._shapes
