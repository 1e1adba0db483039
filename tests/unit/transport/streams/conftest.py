from types import SimpleNamespace

import pytest


@pytest.fixture
def make_wire(request):
    """Make what the module calls a `Wire`: a stream, and its broker's end of the socket."""
    wires = []

    def make(**how):
        wires.append(request.module.Wire(**how))
        return wires[-1]

    yield make
    for wire in wires:
        wire.close()


@pytest.fixture
def wire(make_wire):
    return make_wire()


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock, which stands at `now`."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("time.monotonic", lambda: clock.now)
    return clock
