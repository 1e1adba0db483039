"""A clock that is moved by hand, a timer that goes by it, and the lines of the log."""

import logging

import pytest

from evtools.cam.schedule import Timer
from tools.clock import FakeClock
from tools.studio import PATIENCE


@pytest.fixture
def clock():
    return FakeClock(1000.0)


@pytest.fixture
def timer(clock):
    timer = Timer(clock)
    yield timer
    timer.stop()
    assert timer.join(PATIENCE)


@pytest.fixture
def log(caplog):
    """Return the lines of the log so far."""
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]
