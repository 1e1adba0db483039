"""The simulated cluster without thread and broker: as fast as it can be played."""

from __future__ import annotations

from collections import Counter
from random import Random

from evtools.transport.demo import CHARACTERS, Simulation
from evtools.wire import LamportClock

START = 1_700_000_000.0


class Recorder:
    """Keeps what it is given to send."""

    def __init__(self, hostname, events):
        self.hostname = hostname or "client"
        self.pid = 1
        self.clock = LamportClock()
        self._events = events

    def send(self, type, **fields):  # noqa: A002  (Celery's name)
        """Keep an event."""
        own = {"type": type, "hostname": self.hostname, "pid": self.pid}
        self._events.append(own | {"clock": self.clock.forward()} | fields)


class Rehearsal:
    """A simulation with the workers of `cast`, and the events they sent."""

    def __init__(self, cast=CHARACTERS, *, seed=1, rate=5.0):
        self.events = []
        self.simulation = Simulation(
            lambda hostname, _group: Recorder(hostname, self.events),
            rng=Random(seed),
            wall=lambda: START + self.simulation.now,
            rate=rate,
            cast=cast,
        )
        self.workers = {worker.hostname: worker for worker in self.simulation.workers}

    def play(self, seconds):
        """Let the cluster live for some seconds."""
        self.simulation.play(self.simulation.now + seconds)
        return self

    def of(self, *types, **wanted):
        """Return the events of these types that have these fields."""
        return [
            event
            for event in self.events
            if event["type"] in types
            and all(event.get(name) == value for name, value in wanted.items())
        ]

    def kinds(self):
        """Return how many events there are of each type."""
        return Counter(event["type"] for event in self.events)
