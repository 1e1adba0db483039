"""What tests of several layers need."""

import signal
import time

import pytest


@pytest.fixture
def strays():
    """Return a list of the signals that end programs and that nobody else has handled."""
    found = []
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {one: signal.signal(one, lambda got, _: found.append(got)) for one in numbers}
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def in_zone(monkeypatch):
    """Return what moves this process into another time zone, until the end of the test."""

    def go(name):
        patch.setenv("TZ", name)
        time.tzset()

    with monkeypatch.context() as patch:
        yield go
    time.tzset()
