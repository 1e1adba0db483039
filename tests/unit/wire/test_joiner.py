"""The memory that gives late events the name of their task."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.wire import from_fields
from evtools.wire.events import Known
from evtools.wire.joiner import Joiner

#: How fast it goes is for the benchmarks to say.

ORIGIN = {"hostname": "celery@h", "utcoffset": 0, "pid": 7, "clock": 9}
SENT = {
    **ORIGIN, "type": "task-sent", "uuid": "u1", "name": "proj.add", "args": "(1, 2)",
    "kwargs": "{}", "root_id": "u1", "parent_id": None, "retries": 0, "eta": None,
    "expires": None, "queue": "mail", "exchange": "", "routing_key": "mail", "timestamp": 1.0,
}  # fmt: skip
WAY = {"queue": "mail", "exchange": "", "routing_key": "mail"}
RECEIVED = {**{key: SENT[key] for key in SENT if key not in WAY}, "type": "task-received"}
RECEIVED["timestamp"] = 2.0
STARTED = {**ORIGIN, "type": "task-started", "uuid": "u1", "timestamp": 3.0}
FAILED = {**ORIGIN, "type": "task-failed", "uuid": "u1", "timestamp": 4.0, "exception": "E()"}
FAILED["traceback"] = None


def told(joiner, fields):
    """Return what is joined to an event."""
    event = from_fields(fields)
    joiner.join([event])
    return event.joined


def joined_by(*events):
    """What is joined to the last event, the same whether it is read as usual or as odd."""
    usual, general = Joiner(), Joiner()
    for fields in events:
        event, odd = from_fields(fields), from_fields(fields)
        odd.original = dict(fields)
        usual.join([event])
        general.join([odd])
        known = event.known
        if isinstance(known, Known):
            assert list(known.names.all) == list(known.fields())
        assert list(event.joined.items()) == list(odd.joined.items())
        assert usual.weight_bytes == general.weight_bytes
    return dict(event.joined)


CALL = {"name": "proj.add", "args": "(1, 2)", "kwargs": "{}", "root_id": "u1", "retries": 0}
TIMES = {"sent": 1.0, "received": 2.0, "started": 3.0}
NEW_SEND = {**SENT, "timestamp": 90.0}
RETRY = {**RECEIVED, "retries": 1, "args": "(3,)", "timestamp": 9.0}
#: Events, and what is joined to the last of them; None where that must be without a field.
# fmt: off
JOINED = {
    "a late event gets what its task was sent and received with":
        ([SENT, RECEIVED, STARTED, FAILED], {**CALL, **WAY, **TIMES}),
    "an event gets only what it lacks": ([SENT, RECEIVED], {**WAY, "sent": 1.0, "name": None}),
    "an event does not get its own time": ([STARTED, STARTED], {"started": None}),
    "a null of the event is its own word": ([RECEIVED, {**FAILED, "name": None}], {"name": None}),
    "a retry has the newer story": (
        [SENT, RECEIVED, STARTED, FAILED, RETRY, FAILED],
        {"args": "(3,)", "retries": 1, "received": 9.0, "started": None, "sent": None}),
    "a redelivery forgets the earlier start": (
        [RECEIVED, STARTED, {**RECEIVED, "timestamp": 9.0}, FAILED],
        {"received": 9.0, "started": None}),
    "a send that arrives late forgets nothing": ([RECEIVED, STARTED, SENT, FAILED], TIMES),
    "a send that arrives last forgets no start": ([STARTED, SENT, FAILED], {"started": 3.0}),
    "a send that comes twice is no new one": ([SENT, RECEIVED, STARTED, SENT, FAILED], TIMES),
    "a send from a clock ahead is no new one": (
        [RECEIVED, STARTED, {**SENT, "timestamp": 3.5}, FAILED], {"received": 2.0}),
    **{f"a task that is sent anew under its id has not begun, after {len(before)}": (
        [*before, NEW_SEND, FAILED], {"sent": 90.0, "received": None, "started": None})
       for before in ([SENT, RECEIVED, STARTED], [RECEIVED], [STARTED, STARTED])},
    "only tasks are joined": ([SENT, {**FAILED, "type": "worker-heartbeat"}], {"name": None}),
    "only tasks with an id are joined": ([SENT, {"type": "task-failed"}], {"name": None}),
    "a custom event of a task is joined, too": (
        [SENT, {"type": "task-progress", "uuid": "u1"}], {"name": "proj.add"}),
    **{f"a time of {odd!r} is not remembered": (
        [{**STARTED, "timestamp": odd}, FAILED], {"started": None})
       for odd in (None, "1", True, [1], 1763380002000, 1763380002e6, 1e300, -5.0)},
}
# fmt: on


@pytest.mark.parametrize(("events", "expected"), JOINED.values(), ids=list(JOINED))
def test_an_event_gets_what_is_known_of_its_task(events, expected):
    joined = joined_by(*events)
    assert {name: joined.get(name) for name in expected} == expected
    assert len(expected) < 10 or joined == expected


@pytest.mark.parametrize("event", [SENT, RECEIVED], ids=["sent", "received"])
def test_each_null_is_left_out_after_events_that_had_a_value(event):
    for name in event.keys() - ORIGIN.keys() - {"type", "uuid", "timestamp"}:
        full = {**event, "parent_id": "u0", "eta": "soon", "expires": "later"}
        assert name in joined_by(full, FAILED)
        assert name not in joined_by({**full, name: None}, FAILED)


def test_what_an_event_was_given_never_changes_afterwards():
    joiner = Joiner()
    told(joiner, SENT)
    joined = told(joiner, STARTED)
    before = dict(joined)
    told(joiner, {**RECEIVED, "name": "other"})
    assert joined == before


@pytest.mark.parametrize("uuid", [None, 7, ["u1"], {"u": 1}, True])
def test_an_odd_uuid_is_left_alone(uuid):
    joiner = Joiner()
    assert told(joiner, {**SENT, "uuid": uuid}) == {}
    assert told(joiner, {**FAILED, "uuid": uuid}) == {}
    assert len(joiner) == 0


def test_the_task_that_was_silent_longest_is_forgotten_first():
    joiner = Joiner(max_tasks=2)
    told(joiner, SENT)
    told(joiner, {**SENT, "uuid": "u2"})
    told(joiner, FAILED)
    told(joiner, {**SENT, "uuid": "u3"})
    assert len(joiner) == 2
    assert joiner.forgotten == 1
    assert told(joiner, FAILED) != {}
    assert told(joiner, {**FAILED, "uuid": "u2"}) == {}


def test_memory_is_bounded_by_weight():
    joiner = Joiner(max_bytes=100_000)
    for number in range(100):
        told(joiner, {**SENT, "uuid": str(number), "args": "x" * 10_000})
        assert joiner.weight_bytes <= 100_000
    assert 5 <= len(joiner) < 10
    assert joiner.forgotten == 100 - len(joiner)


def test_one_task_too_heavy_is_not_remembered():
    joiner = Joiner(max_bytes=1000)
    told(joiner, {**SENT, "args": [{"k": "x" * 200}] * 5})
    assert (len(joiner), joiner.weight_bytes) == (0, 0)
    told(joiner, {**STARTED, "uuid": "u" * 1000})
    assert (len(joiner), joiner.weight_bytes) == (0, 0)


# Decoders give no others: what is not finite is text to them.
finite = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)
field_names = st.sampled_from(["uuid", "name", "args", "retries", "timestamp", "started", "queue"])


@settings(max_examples=40)
@given(
    st.lists(
        st.builds(
            lambda kind, fields, uuid: {**fields, "uuid": uuid, "type": kind},
            st.sampled_from(["task-sent", "task-received", "task-started", "task-x", "task-", "x"]),
            st.dictionaries(field_names, json_values),
            st.sampled_from(["a", "b", "c"]) | json_values,
        )
    )
)
def test_any_stream_of_events_is_survived_within_bounds(events):
    joiner = Joiner(max_tasks=2, max_bytes=4000)
    for event in events:
        joined = told(joiner, event)
        assert event.keys().isdisjoint(joined)
        assert all(value is not None for value in joined.values())
        assert len(joiner) <= 2
        assert 0 <= joiner.weight_bytes <= 4000


@st.composite
def celery_events(draw):
    event = dict(draw(st.sampled_from([SENT, RECEIVED, STARTED, FAILED])))
    event["uuid"] = draw(st.sampled_from(["u1", "u2"]))
    event["timestamp"] = draw(st.sampled_from([1.0, 2.5, 7, None]))
    for name in event.keys() - ORIGIN.keys() - {"type", "uuid", "timestamp"}:
        event[name] = draw(st.sampled_from([None, 0, 1, "x", [1]]))
    return event


@given(st.lists(celery_events(), min_size=1, max_size=8))
def test_celerys_own_events_are_told_the_same_as_any_others(events):
    joined_by(*events)
