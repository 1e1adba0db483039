"""Readings: every field has the type it should, whatever an event says."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import convert
from msgspec.structs import asdict

from evtools.state import State
from evtools.state.readings import (
    COUNT_MAX,
    TASK_READINGS,
    TEXT_MAX,
    TIME_MAX,
    WORKER_READINGS,
    Heartbeat,
    Received,
    Sent,
    TaskReading,
    number,
    read,
    read_odd,
    text,
)
from evtools.state.transitions import MOMENTS
from tools.mutations import VALUES
from tools.told import CLIENT, OTHER, UUID, WORKER, account, life, task_of, told

KINDS = {**TASK_READINGS, **WORKER_READINGS}
ODD = [*(value for value in VALUES if type(value) is not str), *(b"x", object(), {1}, ("x", 1))]


def deep_list():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


# --- as Celery sends them ------------------------------------------------------------


def test_every_state_has_its_event():
    assert {kind.state: name for name, kind in TASK_READINGS.items()} == {
        state: f"task-{moment}" for state, moment in MOMENTS.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_what_celery_sends_is_read_as_it_is(kind):
    event = told(kind)
    reading, rest = read(event, KINDS[kind])
    assert {"type": kind, **asdict(reading)} == event
    assert rest == {}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_with_care_is_the_same(kind):
    event = told(kind, utcoffset=None)
    assert read_odd(event, KINDS[kind]) == read(event, KINDS[kind])


def test_who_has_sent_a_task_is_its_client():
    sent, _ = read(told("task-sent"), Sent)
    assert sent.client == CLIENT


def test_an_exception_that_was_wrapped_is_told_as_it_was_raised():
    event = told(
        "task-failed",
        exception="ExceptionWithTraceback()",
        traceback="Traceback\nTimeLimitExceeded: TimeLimitExceeded(1,)",
    )
    for fields in (event, {**event, "more": 1}):
        reading, _ = read(fields, TASK_READINGS["task-failed"])
        assert reading.exception == "TimeLimitExceeded(1,)"


def test_a_reading_weighs_what_its_texts_take():
    light, _ = read(told("task-received"), Received)
    heavy, _ = read(told("task-received", args="x" * 1000), Received)
    assert heavy.weigh() - light.weigh() == 1000 - len(light.args)
    assert light.weigh() > sum(map(len, (light.args, light.name, light.root_id)))


# --- what is missing or added --------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_of_what_is_missing_nothing_is_known(kind):
    event = told(kind)
    subject = "uuid" if kind.startswith("task-") else "hostname"
    del event["utcoffset"]
    for name in set(event) - {"type", subject, "timestamp", "local_received"}:
        left = {key: value for key, value in event.items() if key != name}
        reading, rest = read(left, KINDS[kind])
        assert getattr(reading, name) is None
        assert rest == {}
        known = {"type": kind, **asdict(reading)}
        assert known == {**event, name: None, "utcoffset": None}


@pytest.mark.parametrize(
    ("missing", "timestamp", "heard"),
    [
        (("timestamp",), 10.25, 10.25),
        (("local_received",), 10.0, 10.0),
        (("timestamp", "local_received"), 0.0, 0.0),
    ],
)
def test_one_time_stands_in_for_the_other(missing, timestamp, heard):
    event = told("task-started")
    for name in missing:
        del event[name]
    reading, _ = read(event, TASK_READINGS["task-started"])
    assert (reading.timestamp, reading.local_received) == (timestamp, heard)


@pytest.mark.parametrize("uuid", [None, "", 5, True, [], {}, b"x", ("x",)])
def test_an_event_of_no_task_is_of_no_use(uuid):
    assert read(told("task-started", uuid=uuid), TaskReading) == (None, {})
    state = State()
    [change] = state.apply([told("task-started", uuid=uuid)])
    assert change.subject is None
    assert len(state.tasks) == state.weight_bytes == 0


@pytest.mark.parametrize("hostname", [None, "", 5, True, [], {}])
def test_an_event_of_no_worker_is_of_no_use(hostname):
    state = State()
    [change] = state.apply([told("worker-heartbeat", hostname=hostname)])
    assert change.subject is None
    assert len(state.workers) == 0


def test_fields_that_celery_does_not_know_come_beside_the_reading():
    event = told("task-started", tenant="acme", state="SUCCESS")
    reading, rest = read(event, TASK_READINGS["task-started"])
    assert rest == {"tenant": "acme", "state": "SUCCESS"}
    assert reading.state == "STARTED"


# --- odd values ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_its_type_whatever_an_event_says(kind):
    event = told(kind)
    for name in set(event) - {"type"}:
        for value in [*ODD, *VALUES]:
            reading, _ = read({**event, name: value}, KINDS[kind])
            if reading is not None:
                # What it holds now, it would take from the wire as it is.
                plain = {**asdict(reading), "type": kind}
                if not lone_surrogate(value):
                    assert convert(plain, KINDS[kind]) == reading


def lone_surrogate(value):
    return isinstance(value, str) and "\ud800" <= value[:1] <= "\udfff"


@pytest.mark.parametrize("kind", KINDS)
def test_no_odd_value_of_an_event_makes_the_state_fail(kind):
    event = told(kind, 13.0)
    for name in event:
        for value in ODD:
            state = State()
            task_of([*life("sent", "received", "started"), {**event, name: value}], state)
            [change] = state.apply([told("task-succeeded", 14.0)])
            assert change.subject is state.tasks[UUID]
            assert len(state.tasks) == 1
            assert set(state.workers) <= {WORKER, OTHER}


def test_lone_surrogates_are_text_like_any_other():
    reading, _ = read(told("task-received", name="\ud800", uuid="\udfff"), Received)
    assert (reading.name, reading.uuid) == ("\ud800", "\udfff")


def test_a_text_that_is_none_is_written_as_one():
    reading, _ = read(told("task-received", args=[1, "x"], eta=5.5), Received)
    assert (reading.args, reading.eta) == ("[1, 'x']", "5.5")
    task = task_of([told("task-received", args=[1, "x"])])
    assert task.args == "[1, 'x']"


def test_a_text_that_is_none_is_cut_where_celery_cuts():
    assert text(None) is None
    assert text("x" * 5000) == "x" * 5000
    assert len(text(["x"] * 5000)) == TEXT_MAX


def test_what_cannot_be_written_is_named():
    assert text(10 ** (sys.get_int_max_str_digits() + 1)) == "<int>"
    assert text(deep_list()) == "<list>"


@pytest.mark.parametrize(
    "value", [True, "1", None, [1], -1, -0.1, TIME_MAX * 2, float("nan"), float("inf")]
)
def test_what_is_no_number_or_out_of_bounds_is_none(value):
    assert number(value) is None


@pytest.mark.parametrize("value", [0, 1, 1.5, TIME_MAX])
def test_a_number_within_bounds_is_one(value):
    assert number(value) == value
    assert number(7, largest=6) is None


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("clock", True, None),
        ("clock", "5", None),
        ("clock", 5.5, None),
        ("clock", -1, None),
        ("clock", COUNT_MAX + 1, None),
        ("clock", COUNT_MAX, COUNT_MAX),
        ("pid", 10**4000, None),
        ("freq", 0, None),
        ("freq", -2, None),
        ("freq", 1e9, None),
        ("freq", "2", None),
        ("freq", 5, 5.0),
        ("active", [], None),
        ("processed", {}, None),
        ("loadavg", "0.5", None),
        ("loadavg", [1, "x", 0.5, 4], [1.0, 0.5]),
        ("loadavg", (1.0, 2.0, 3.0), [1.0, 2.0, 3.0]),
        ("loadavg", [], []),
        ("sw_ver", 5.6, "5.6"),
    ],
)
def test_what_a_worker_says_of_itself_is_believed_if_it_can_be(name, value, known):
    reading, _ = read(told("worker-heartbeat", **{name: value}), Heartbeat)
    assert getattr(reading, name) == known


@pytest.mark.parametrize(
    ("kind", "name", "value", "known"),
    [
        ("revoked", "terminated", "yes", None),
        ("revoked", "expired", 1, None),
        ("revoked", "signum", "SIGKILL", "SIGKILL"),
        ("revoked", "signum", 9, 9),
        ("revoked", "signum", -9, None),
        ("revoked", "signum", [9], None),
        ("rejected", "requeue", False, False),
        ("rejected", "requeue", None, None),
        ("succeeded", "runtime", -1.0, None),
        ("succeeded", "runtime", "0.5", None),
        ("succeeded", "runtime", float("nan"), None),
        ("succeeded", "result", None, None),
        ("succeeded", "result", {"a": 1}, "{'a': 1}"),
        ("failed", "exception", 42, "42"),
    ],
)
def test_what_ends_a_task_is_believed_if_it_can_be(kind, name, value, known):
    end = told(f"task-{kind}", 12.0, **{name: value})
    task = task_of([*life("received", "started"), end])
    assert task.get("measured" if name == "runtime" else name) == known
    assert getattr(task, kind) == 12.0


@pytest.mark.parametrize("name", ["clock", "pid", "utcoffset"])
@pytest.mark.parametrize("value", ODD[:12])
def test_an_odd_number_of_no_weight_leaves_the_life_of_a_task_as_it_is(name, value):
    events = life("sent", "received", "started", "succeeded")
    usual = account(task_of(events))
    odd = account(task_of([{**event, name: value} for event in events]))
    for unknown in ("clock", "pid"):
        usual.pop(unknown)
        odd.pop(unknown)
    assert odd == usual


@given(
    st.dictionaries(
        st.sampled_from(sorted({*told("task-sent"), *told("task-succeeded")})),
        st.none() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
    ),
    st.sampled_from(sorted(KINDS)),
)
def test_no_event_is_changed_or_makes_it_raise(fields, kind):
    event = {**fields, "type": kind, "uuid": UUID, "hostname": WORKER}
    before = dict(event)
    reading, _ = read(event, KINDS[kind])
    assert reading is not None
    State().apply([event, event])
    assert list(event.items()) == list(before.items())
