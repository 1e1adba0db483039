import logging

import pytest

from evtools.cam.counters import Counters
from evtools.cam.link import Link
from evtools.cam.roll import Roll
from evtools.transport import Notice
from tools.clock import FakeClock


class Line:
    def __init__(self):
        self.clock = FakeClock(1000.0)
        self.counters = Counters()
        self.roll = Roll({}, started=990.0)
        self.link = Link(self.counters, self.roll, self.clock)

    def hear(self, kind, text):
        self.link.hear(Notice(kind, text))


@pytest.fixture
def line():
    return Line()


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_connection_is_told_counted_and_in_the_frame(line, log):
    line.hear("listening", "redis://h")
    assert line.counters.connected
    frame = line.roll.next(1003.0)
    assert (frame.since, frame.connected) == (1000.0, True)
    assert log() == ["listening on redis://h"]


def test_so_is_its_loss_and_its_return(line, log):
    line.hear("listening", "redis://h")
    line.hear("lost", "cannot reach redis://h")
    assert not line.counters.connected
    assert not line.roll.next(1001.0).connected
    assert line.link.why == "cannot reach redis://h"
    line.hear("restored", "redis://h after 2s")
    assert line.counters.connected
    assert line.roll.next(1002.0).connected
    assert log()[1:] == [
        "connection lost: cannot reach redis://h",
        "connected again: redis://h after 2s",
    ]


def test_of_many_retries_few_are_logged(line, log):
    for number in range(100):
        line.hear("retry", f"refused; trying again in {number}s")
    assert line.link.why == "refused"
    assert log() == [f"refused; trying again in {number}s" for number in (0, 1, 3, 7, 15, 31, 63)]


def test_another_reason_and_another_loss_are_told_again(line, log):
    line.hear("retry", "refused; trying again in 1s")
    line.hear("retry", "no such host; trying again in 1s")
    line.hear("listening", "redis://h")
    line.hear("retry", "no such host; trying again in 1s")
    assert len(log()) == 4
    assert line.link.why == "no such host"


def test_what_says_nothing_of_a_connection_is_nothing(line, log):
    line.hear("ended", "")
    assert log() == []
