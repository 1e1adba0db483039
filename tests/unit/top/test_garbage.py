"""Tests for evtools.top.garbage."""

import gc
import weakref

import pytest

from evtools.top.garbage import Garbage
from tools.clock import FakeClock


class Knot:
    """What only the collector can free."""

    def __init__(self):
        self.itself = self


@pytest.fixture
def clock():
    return FakeClock(1000.0)


@pytest.fixture
def garbage(clock):
    made = Garbage(clock)
    yield made
    made.close()


def tied():
    return weakref.ref(Knot())


def test_what_is_new_is_collected_when_we_say_so(garbage, clock):
    assert not gc.isenabled()
    knot = tied()
    clock.now += 2.0
    garbage.collect()
    assert knot() is not None
    garbage.collect_new()
    assert knot() is None


def test_what_is_older_waits_until_nobody_is_at_the_keyboard(garbage, clock):
    knot = Knot()
    alive = weakref.ref(knot)
    garbage.collect_new()
    del knot
    clock.now += 900.0
    garbage.pressed()
    garbage.collect()
    assert alive() is not None
    clock.now += 30.0
    garbage.collect()
    assert alive() is None


def test_everything_is_not_looked_through_often(garbage, clock):
    clock.now += 900.0
    garbage.collect()
    knot = Knot()
    alive = weakref.ref(knot)
    garbage.collect_new()
    del knot
    clock.now += 899.0
    garbage.collect()
    assert alive() is not None


def test_in_the_end_the_collector_goes_on_by_itself(clock):
    Garbage(clock).close()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
