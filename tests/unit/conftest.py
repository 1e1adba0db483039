"""What tests of several layers need."""

import time

import pytest


@pytest.fixture
def in_zone(monkeypatch):
    """Return what moves this process into another time zone, until the end of the test."""

    def go(name):
        patch.setenv("TZ", name)
        time.tzset()

    with monkeypatch.context() as patch:
        yield go
    time.tzset()
