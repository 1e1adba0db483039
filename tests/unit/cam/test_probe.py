"""Tries that may hang or fail, and not too often."""

import threading

import pytest

from evtools.cam.probe import EVERY, Probe
from evtools.errors import BrokerUnavailable
from servers.process import wait_until
from tools.clock import FakeClock


class Door:
    """What is tried: it opens when told to, and may have something to say."""

    def __init__(self):
        self.tries = 0
        self.opens = threading.Event()
        self.error = None

    def __call__(self):
        self.tries += 1
        assert self.opens.wait(10)
        if self.error is not None:
            raise self.error


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def door():
    door = Door()
    yield door
    door.opens.set()


@pytest.fixture
def probe(door, clock):
    return Probe(door, clock)


def finish(probe, door):
    door.opens.set()
    wait_until(lambda: not probe.is_running(), deadline=5, what="the end of the try")


def test_a_try_runs_beside_who_asked(probe, door):
    assert probe.start()
    assert probe.is_running()
    assert probe.succeeded_at is None
    finish(probe, door)
    assert probe.succeeded_at == 100.0
    assert probe.error == ""


def test_there_is_one_at_a_time(probe, door):
    assert probe.start()
    assert probe.start()
    finish(probe, door)
    assert door.tries == 1


def test_a_success_is_of_when_it_began(probe, door, clock):
    probe.start()
    wait_until(lambda: door.tries, deadline=5, what="the beginning of the try")
    clock.now = 107.0
    finish(probe, door)
    assert probe.succeeded_at == 100.0


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (BrokerUnavailable("cannot reach it", "hint"), "cannot reach it"),
        (ValueError("oops"), "ValueError: oops"),
    ],
)
def test_a_failure_says_why(probe, door, error, text):
    door.error = error
    probe.start()
    finish(probe, door)
    assert probe.error == text
    assert probe.succeeded_at is None


def test_the_next_comes_after_a_while(probe, door, clock):
    door.error = ValueError("oops")
    probe.start()
    finish(probe, door)
    assert not probe.start()
    clock.now += EVERY
    door.error = None
    assert probe.start()
    finish(probe, door)
    assert probe.error == ""
    assert door.tries == 2


def test_the_end_waits_for_one_that_runs(probe, door):
    probe.close()
    probe.start()
    door.opens.set()
    probe.close()
    assert not probe.is_running()
