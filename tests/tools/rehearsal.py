"""The simulated cluster without thread and broker: as fast as it can be played."""

from __future__ import annotations

from collections import Counter
from random import Random

from evtools.transport.demo.simulation import CHARACTERS, DemoWorker, Simulation
from evtools.wire import LamportClock

START = 1_700_000_000.0


class Recorder:
    """Keeps what it is given to send."""

    def __init__(self, hostname, events):
        self.hostname = hostname
        self.pid = 1
        self.clock = LamportClock()
        self._events = events

    def send(self, type, **fields):  # noqa: A002  (Celery's name)
        """Keep an event."""
        own = {"type": type, "hostname": self.hostname, "pid": self.pid}
        self._events.append(own | {"clock": self.clock.forward()} | fields)

    def flush(self):
        """Do nothing: everything was kept at once."""


class Rehearsal:
    """A simulation with the workers of `cast`, and the events they sent."""

    def __init__(self, cast=CHARACTERS, *, seed=1, rate=5.0, fates=True):
        self.events = []
        client = Recorder("client", self.events)
        self.simulation = Simulation(Random(seed), self, client, rate)
        self.workers = {}
        self._fates = fates
        for character in cast:
            senders = [Recorder(character.hostname, self.events) for _ in range(2)]
            worker = DemoWorker(self.simulation, character, *senders)
            self.workers[character.hostname] = worker

    def wall(self):
        """Return the time by the clock on the wall: it stands still between deeds."""
        return START + self.simulation.now

    def play(self, seconds):
        """Let the cluster live for some seconds."""
        if not self.simulation.workers:
            self.simulation.start(self.workers.values(), fates=self._fates)
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
