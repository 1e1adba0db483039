"""A broker that says what a test wants, and a context to examine it with."""

from dataclasses import dataclass, field

import pytest

from evtools.doctor.context import Context, DoctorOptions, Observation
from evtools.doctor.inspect import BrokerInspector, ExchangeStatus, OrphanedQueue, OrphanSearch
from evtools.transport import ConnectionSettings
from tools.clock import FakeClock


@dataclass
class FakeInspector(BrokerInspector):
    """Answers given beforehand."""

    server: str = "FakeMQ 1"
    keeps_queues: bool = True
    exchange: object = lambda: ExchangeStatus("exchange x")
    has_mailboxes: object = lambda: True
    permissions: object = list
    elsewhere: object = list
    left: OrphanSearch = field(default_factory=OrphanSearch)
    stays: str = ""
    removed: list[OrphanedQueue] = field(default_factory=list)
    begun: bool = False
    closed: bool = False

    def begin(self):
        self.begun = True

    def orphans(self, names):
        return self.left

    def remove(self, orphan):
        if not self.stays:
            self.removed.append(orphan)
        return self.stays

    def close(self):
        self.closed = True


@pytest.fixture
def fake():
    return FakeInspector


@pytest.fixture
def case():
    """Return a context after the login: `case(FakeMQ, options, observation, settings)`."""

    def make(broker=None, *, options=None, seen=None, **settings):
        settings.setdefault("urls", "memory://")
        options = DoctorOptions(**(options or {}))
        made = Context(ConnectionSettings(**settings), options, FakeClock())
        made.opened = broker or FakeInspector()
        made.observation = seen or Observation()
        return made

    return make


@pytest.fixture
def told():
    """Run a check and return its findings as (severity, text and advice)."""

    def run(check, case):
        return [(finding.severity, f"{finding.text}\n{finding.advice}") for finding in check(case)]

    return run
