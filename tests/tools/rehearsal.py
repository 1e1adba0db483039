"""The simulated cluster without thread and broker: as fast as it can be played."""

from __future__ import annotations

from collections import Counter
from random import Random

from evtools.transport.demo.cast import CAST, tempt_fate
from evtools.transport.demo.stage import Stage
from evtools.transport.demo.worker import DemoWorker
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
    """A stage with the workers of `cast`, and the events they sent."""

    def __init__(self, cast=CAST, *, seed=1, rate=5.0, fates=True):
        self.events = []
        client = Recorder("client", self.events)
        self.stage = Stage(Random(seed), self, client, rate)
        self.workers = {}
        for character in cast:
            senders = [Recorder(character.hostname, self.events) for _ in range(2)]
            worker = DemoWorker(self.stage, character, *senders)
            self.workers[character.hostname] = worker
            if fates:
                tempt_fate(self.stage.agenda, worker)

    def wall(self):
        """Return the time by the clock on the wall: it stands still between deeds."""
        return START + self.stage.agenda.now

    def monotonic(self):
        """Return the same."""
        return self.wall()

    def play(self, seconds):
        """Let the cluster live so long."""
        if not self.stage.workers:
            self.stage.open(list(self.workers.values()))
        self.stage.agenda.play(self.stage.agenda.now + seconds)
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
