"""Tests for evtools.filters.fields."""

import pytest

from evtools.filters.fields import ALIASES, EVENT_FIELDS, find, guess, seconds
from evtools.wire import Record

JOINED = {"name": "proj.add", "queue": "mail", "sent": 10.0, "received": 12.0, "started": 15.0}


def value(name, event, joined=None):
    return find(name, EVENT_FIELDS).get(Record(event, joined or {}))


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1, 1.0),
        (1.5, 1.5),
        (True, None),
        ("1", None),
        (None, None),
        ([], None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        (-(2**60), None),
    ],
)
def test_seconds_are_finite_numbers(number, expected):
    assert seconds(number) == expected


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("worker", "hostname"),
        ("exc", "exception"),
        ("tb", "traceback"),
        ("root", "root_id"),
        ("parent", "parent_id"),
        ("name", "name"),
        ("pid", "pid"),
        ("type", "type"),
        ("queue", "queue"),
    ],
)
def test_a_field_reads_what_travels_under_its_name(name, key):
    assert value(name, {"type": "x", key: "here"}) == "here"


def test_what_an_event_lacks_is_joined():
    assert value("name", {"type": "task-failed"}, JOINED) == "proj.add"
    assert value("name", {"type": "task-failed", "name": None}, JOINED) is None
    assert value("queue", {"type": "task-failed"}) is None


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("task-sent", "PENDING"),
        ("task-cancelled", "CANCELLED"),
        ("task-progress", None),
        ("worker-online", None),
        (["task-sent"], None),
        (None, None),
    ],
)
def test_a_state_comes_from_the_type(kind, state):
    assert value("state", {"type": kind}) == state


@pytest.mark.parametrize(
    ("hostname", "host"),
    [("celery@w1", "w1"), ("a@b@c", "c"), ("w1", "w1"), (None, None), (3, None)],
)
def test_a_host_follows_the_at_sign(hostname, host):
    assert value("host", {"type": "x", "hostname": hostname}) == host


def test_times_are_the_events_own_or_joined():
    assert value("sent", {"type": "task-sent", "timestamp": 9}) == 9
    assert value("started", {"type": "task-started", "timestamp": 16.0}, JOINED) == 16.0
    assert value("started", {"type": "task-failed", "timestamp": 16.0}, JOINED) == 15.0
    assert value("received", {"type": "task-failed", "received": 99.0}) is None


def test_only_final_events_have_a_time_of_ending():
    assert value("done", {"type": "task-revoked", "timestamp": 20}) == 20.0
    assert value("done", {"type": "task-retried", "timestamp": 20}) is None


def test_spans_are_differences_of_known_times():
    event = {"type": "task-started", "timestamp": 16.0, "local_received": 16.5}
    assert value("wait", event, JOINED) == 4.0
    assert value("wait", event, {"sent": 10.0}) == 6.0
    assert value("wait", event) is None
    assert value("wait", {"type": "task-received", "timestamp": 12.0}) is None
    assert value("queue_time", event, JOINED) == 2.0
    assert value("lag", event) == 0.5
    assert value("lag", {"type": "x", "timestamp": {}, "local_received": 1.0}) is None


def test_a_runtime_is_measured_or_counted_from_the_start():
    assert value("runtime", {"type": "task-succeeded", "runtime": 2}) == 2.0
    assert value("runtime", {"type": "task-failed", "timestamp": 17.5}, JOINED) == 2.5
    assert value("runtime", {"type": "task-failed", "timestamp": 17.5}) is None
    assert value("runtime", {"type": "task-revoked", "timestamp": 17.5}, JOINED) is None


@pytest.mark.parametrize(
    ("eta", "epoch"),
    [
        ("1970-01-01T00:01:00+00:00", 60.0),
        ("1970-01-01T00:01:00", 60.0),
        (60, 60.0),
        ("soon", None),
        ("0001-01-01T00:00:00+14:00", -62135647200.0),
        (None, None),
        ([], None),
    ],
)
def test_an_eta_is_read_from_its_text(eta, epoch):
    assert value("eta", {"type": "task-sent", "eta": eta}) == epoch


def test_families_and_words_look_at_several_fields():
    event = {"type": "task-failed", "uuid": "u", "root_id": "r", "exception": "E()"}
    assert value("tree", event) == ("u", "r", None)
    found = value("any", event, JOINED)
    assert found == ("u", "proj.add", "FAILURE", None, None, None, None, "E()")


def test_a_field_is_found_in_any_case_and_by_its_name_on_the_wire():
    assert find("NAME", EVENT_FIELDS).name == "name"
    assert find("hostname", EVENT_FIELDS).name == "worker"
    assert set(ALIASES.values()) <= set(EVENT_FIELDS)


def test_other_fields_have_a_prefix():
    assert value("field.Load.x", {"type": "x", "Load.x": 3}) == 3
    assert value("f.active", {"type": "x"}, {"active": 4}) == 4
    assert find("f.", EVENT_FIELDS) is None
    assert find("active", EVENT_FIELDS) is None
    assert find("hostname", {}) is None


def test_a_misspelt_field_is_guessed():
    assert guess("runtme", EVENT_FIELDS) == "runtime"
    assert guess("excepton", EVENT_FIELDS) == "exception"
    assert guess("zzz", EVENT_FIELDS) == ""
    no_type = {name: field for name, field in EVENT_FIELDS.items() if name != "type"}
    assert guess("event", no_type) == ""


@pytest.mark.parametrize(
    ("name", "kind", "applies"),
    [
        ("name", "task-sent", True),
        ("name", "worker-online", False),
        ("runtime", "task-sent", False),
        ("exc", "task-failed", True),
        ("done", "task-revoked", True),
        ("worker", "x", True),
        ("name", ["task-"], False),
    ],
)
def test_a_field_knows_which_events_could_tell_it(name, kind, applies):
    assert EVENT_FIELDS[name].applies(Record({"type": kind})) is applies


def test_every_field_says_what_it_is():
    assert all(field.about for field in EVENT_FIELDS.values())
    assert find("has", EVENT_FIELDS).get(Record({"type": "x"})) is None
