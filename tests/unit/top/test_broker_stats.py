import threading

import pytest

from evtools.errors import BrokerUnavailable
from evtools.top.broker_stats import BrokerStats
from evtools.transport.queues import Depth
from servers.process import wait_until


class FakeGauge:
    """Each queue holds as many messages as its name has letters."""

    def __init__(self):
        self.asked = []
        self.away = False
        self.closed = False

    def look(self, queues):
        self.asked.append(tuple(queues))
        if self.away:
            raise BrokerUnavailable("cannot reach it")
        return {queue: Depth(len(queue)) for queue in queues}

    def close(self):
        self.closed = True


@pytest.fixture
def gauge():
    return FakeGauge()


@pytest.fixture
def stats(gauge):
    made = BrokerStats(gauge, lambda: None, every=600.0)
    yield made
    made.close()


def test_a_look_finds_the_depths_of_the_queues(stats):
    stats.watch(["mail", "img"])
    stats.look()
    assert stats.depths == {"mail": Depth(4), "img": Depth(3)}
    assert stats.error == ""


def test_a_broker_that_is_away_tells_nothing_instead_of_what_was(stats, gauge):
    stats.watch(["mail"])
    stats.look()
    gauge.away = True
    stats.look()
    assert stats.depths == {}
    assert stats.error == "cannot reach it"
    gauge.away = False
    stats.look()
    assert stats.depths == {"mail": Depth(4)}
    assert stats.error == ""


def test_queues_are_asked_about_once_and_not_without_end(stats, gauge):
    stats.watch(["a", "a", *(f"q{number}" for number in range(2000))])
    stats.look()
    [asked] = gauge.asked
    assert len(asked) == len(set(asked)) == 1000


def test_a_new_queue_is_asked_about_without_waiting(gauge):
    looked = threading.Semaphore(0)
    stats = BrokerStats(gauge, looked.release, every=600.0)
    stats.start()
    stats.watch(["mail"])
    assert looked.acquire(timeout=10)
    stats.watch(["mail", "img"])
    assert looked.acquire(timeout=10)
    stats.close()
    assert stats.depths == {"mail": Depth(4), "img": Depth(3)}
    assert gauge.closed


def test_it_looks_again_and_again(gauge):
    looked = threading.Semaphore(0)
    stats = BrokerStats(gauge, looked.release, every=0.01)
    stats.watch(["mail"])
    stats.start()
    for _ in range(3):
        assert looked.acquire(timeout=10)
    stats.close()


def test_where_no_queue_is_known_nobody_is_asked(gauge):
    stats = BrokerStats(gauge, lambda: None, every=0.01)
    stats.start()
    stats.watch([])
    stats.close()
    assert gauge.asked == []
    wait_until(lambda: gauge.closed, deadline=5, what="the gauge to be closed")
