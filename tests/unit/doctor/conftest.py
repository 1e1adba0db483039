"""A broker that says what a test wants, and a case to examine it with."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from evtools.doctor.case import Case
from evtools.doctor.inspect.base import Elsewhere, Examination, Ground, Leftover, Right, Search
from evtools.doctor.observation import Observation
from evtools.doctor.options import DoctorOptions
from evtools.transport import ConnectionSettings
from tools.clock import FakeClock


@dataclass
class FakeExamination(Examination):
    """Answers given beforehand."""

    server: str = "FakeMQ 1"
    keeps_queues: bool = True
    where: Ground = field(default_factory=lambda: Ground("exchange x"))
    mailboxes: bool = True
    may: list[Right] = field(default_factory=list)
    others: list[Elsewhere] = field(default_factory=list)
    left: Search = field(default_factory=Search)
    stays: str = ""
    removed: list[Leftover] = field(default_factory=list)
    begun: bool = False
    closed: bool = False

    def ground(self):
        return self.where

    def has_mailboxes(self):
        return self.mailboxes

    def rights(self):
        return self.may

    def begin(self):
        self.begun = True

    def elsewhere(self):
        return self.others

    def leftovers(self, names):
        return self.left

    def remove(self, leftover):
        if not self.stays:
            self.removed.append(leftover)
        return self.stays

    def close(self):
        self.closed = True


@pytest.fixture
def fake():
    return FakeExamination


@pytest.fixture
def case():
    """Return a case after the login: `case(settings, FakeMQ's answers, options)`."""

    def make(broker=None, *, options=None, seen=None, **settings):
        settings.setdefault("urls", "memory://")
        made = Case(ConnectionSettings(**settings), DoctorOptions(**(options or {})), FakeClock())
        made.examined = broker or FakeExamination()
        made.observation = seen or Observation()
        return made

    return make


@pytest.fixture
def told():
    """Run a check and return its findings as (severity, text and advice)."""

    def run(check, case):
        return [(finding.severity, f"{finding.text}\n{finding.advice}") for finding in check(case)]

    return run
