"""An event and what is known about its task."""

from evtools.wire.record import NOTHING, Record


def test_the_events_own_field_comes_before_the_joined_one():
    record = Record({"type": "task-failed", "name": None}, {"name": "a", "args": "()"})
    assert record.get("name") is None
    assert record.get("args") == "()"


def test_what_nobody_told_is_the_default():
    record = Record({"type": "task-failed"})
    assert record.joined is NOTHING
    assert record.get("name") is None
    assert record.get("name", "?") == "?"
