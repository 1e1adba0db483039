"""Events as dictionaries, and what their types tell."""

import time

import pytest

from evtools.wire.events import GAP, Event, gap, group_from, routing_key_from


def test_an_event_has_its_type_and_its_fields():
    event = Event("task-progress", {"percent": 1, "step": "a"}, percent=2, timestamp=3)
    assert event == {"type": "task-progress", "percent": 2, "step": "a", "timestamp": 3}


def test_an_event_without_a_time_happens_now():
    before = time.time()
    event = Event("task-sent")
    assert before <= event["timestamp"] <= time.time()
    assert list(event) == ["timestamp", "type"]


def test_the_fields_passed_in_stay_as_they_are():
    fields = {"percent": 1}
    Event("task-progress", fields, step="a")
    assert fields == {"percent": 1}


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


def test_a_gap_says_from_when_to_when_and_why():
    assert gap("buffer", 10.0, 12.5000001, dropped=7) == {
        "type": GAP,
        "reason": "buffer",
        "from": 10.0,
        "to": 12.5000001,
        "duration": 2.5,
        "dropped": 7,
        "local_received": 12.5000001,
    }


def test_a_gap_never_lasts_less_than_nothing():
    assert gap("stopped", 12.0, 10.0)["duration"] == 0.0
