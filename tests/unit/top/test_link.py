import pytest

from evtools.top.link import Link
from evtools.transport import Notice
from tools.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def link(clock):
    return Link(clock)


def test_at_first_it_connects(link):
    assert link.status == "connecting"
    link.hear(Notice("lost", "Connection refused"))
    link.hear(Notice("retry", "trying again in 1.0s"))
    assert link.status == "connecting"
    assert link.lost_at is None
    assert link.attempts == 1


def test_a_loss_is_remembered_with_its_time_until_the_connection_is_back(link, clock):
    link.hear(Notice("listening", "redis://host"))
    assert link.status == "live"
    clock.now = 200.0
    link.hear(Notice("lost", "reset by peer"))
    assert (link.status, link.reason, link.lost_at) == ("reconnecting", "reset by peer", 200.0)
    clock.now = 205.0
    for _ in range(3):
        link.hear(Notice("retry", "Connection refused; trying again in 4.0s"))
        link.hear(Notice("lost", "Connection refused"))
    assert (link.attempts, link.lost_at) == (3, 200.0)
    link.hear(Notice("restored", "redis://host"))
    assert (link.status, link.attempts, link.lost_at) == ("live", 0, None)


def test_an_end_has_a_time_and_perhaps_a_reason(link, clock):
    link.hear(Notice("listening", "redis://host"))
    link.end(None)
    assert (link.status, link.reason, link.lost_at) == ("ended", "", clock.now)
    link.lost_at = 7.0
    link.end(ValueError("refused"))
    assert (link.reason, link.lost_at) == ("refused", 7.0)


def test_notices_of_other_kinds_change_nothing(link):
    link.hear(Notice("rewound", ""))
    assert link.status == "connecting"
