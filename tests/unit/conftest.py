"""What tests of several layers need."""

import time

import pytest

from evtools.top import batch, check
from evtools.top.status import ConnectionStatus
from tools.clock import HeldClock


@pytest.fixture
def until_tried(monkeypatch):
    """Let no time pass for a batch or a check of evtop until it has tried to reach the broker."""
    clock, real = HeldClock(), ConnectionStatus.apply

    def apply(status, notice):
        real(status, notice)
        clock.let_go()

    monkeypatch.setattr(ConnectionStatus, "apply", apply)
    for module in (batch, check):
        monkeypatch.setattr(module, "SystemClock", lambda: clock)


@pytest.fixture
def in_zone(monkeypatch):
    """Return what moves this process into another time zone, until the end of the test."""

    def go(name):
        patch.setenv("TZ", name)
        time.tzset()

    with monkeypatch.context() as patch:
        yield go
    time.tzset()
