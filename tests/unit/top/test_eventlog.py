"""Tests for evtools.top.eventlog."""

from evtools.top.eventlog import EventLog


def test_events_are_numbered_as_they_come():
    log = EventLog()
    log.extend([{"type": "a"}, {"type": "b"}])
    assert (log.first, log.end, len(log)) == (0, 2, 2)
    assert log.get(1) == {"type": "b"}
    assert log.get(2) is None


def test_the_oldest_go_when_there_are_too_many():
    log = EventLog(max_events=3)
    log.extend([{"type": str(number)} for number in range(10)])
    assert (log.first, log.end, len(log)) == (7, 10, 3)
    assert log.get(6) is None
    assert log.get(7) == {"type": "7"}


def test_the_oldest_go_when_they_weigh_too_much():
    log = EventLog(max_bytes=10_000)
    for _ in range(100):
        log.extend([{"type": "a", "args": "x" * 1000}])
    assert len(log) == 2
    assert 5000 < log.weight_bytes <= 10_000
    log.extend([{"type": "a", "nested": [[], []] * 5000}])
    assert len(log) == 0
    assert log.weight_bytes == 0
    assert log.first == log.end == 101


def test_of_those_that_came_together_some_may_stay():
    log = EventLog(max_events=5)
    log.extend([{"type": str(number)} for number in range(4)])
    weight_bytes = log.weight_bytes
    log.extend([{"type": str(number)} for number in range(4, 8)])
    assert [event["type"] for event in log.since(log.first)] == list("34567")
    assert weight_bytes < log.weight_bytes < 2 * weight_bytes
    log.extend([])
    assert log.end == 8


def test_containers_weigh_more_than_they_seem_to():
    log = EventLog()
    log.extend([{"type": "a", "nested": [[]] * 1000}])
    assert log.weight_bytes > 64_000
