"""Whether evcam is alive and sees the cluster, as told to who asks."""

import json

import pytest

from evtools.cam.counters import Counters, Shots
from evtools.cam.health import STUCK, Health
from evtools.cam.http import Request
from evtools.cam.probe import EVERY, Probe
from evtools.errors import BrokerUnavailable
from evtools.state import State
from evtools.transport import Statistics
from evtools.wire import Defect
from servers.process import wait_until
from tools.clock import FakeClock
from tools.told import told

ASKED = Request("/")


class Patient:
    """A health, and all that it is told of."""

    def __init__(self, *, probe=True):
        self.clock = FakeClock(1000.0)
        self.counters = Counters(ticked_at=1000.0)
        self.statistics = Statistics(connected=True)
        self.state = State()
        self.error = None
        self.tries = 0
        self.probe = Probe(self.attempt, self.clock) if probe else None
        self.health = Health(
            self.counters, lambda: self.statistics, self.state.workers, self.probe, self.clock
        )

    def attempt(self):
        self.tries += 1
        if self.error is not None:
            raise self.error

    def asked(self, what):
        """Return the status and the answer."""
        response = getattr(self.health, what)(ASKED)
        if response is None:
            return None
        assert response.content_type == "application/json"
        return response.status, json.loads(response.body)

    def ready(self):
        """Return the answer, when there is one."""
        found = []

        def answered():
            found[:] = [self.asked("readyz")]
            return found[0] is not None

        wait_until(answered, deadline=5, what="an answer")
        return found[0]


@pytest.fixture
def patient():
    return Patient()


# --- alive ------------------------------------------------------------------------


def test_who_moves_is_alive(patient):
    patient.clock.now += STUCK
    status, answer = patient.asked("livez")
    assert (status, answer["alive"]) == (200, True)


def test_who_does_not_move_is_not(patient):
    patient.clock.now += STUCK + 1
    status, answer = patient.asked("livez")
    assert status == 503
    assert answer == {"alive": False, "reason": "the main loop has not moved for 16.0s"}


# --- ready ------------------------------------------------------------------------


def test_who_hears_heartbeats_sees_the_cluster(patient):
    patient.counters.last_heartbeat_at = 999.0
    assert patient.asked("readyz") == (
        200,
        {"ready": True, "reason": "a worker's heartbeat came 1.00s ago"},
    )
    assert patient.tries == 0


def test_a_heartbeat_of_the_future_is_one_of_now(patient):
    patient.counters.last_heartbeat_at = 2000.0
    assert patient.asked("readyz")[1]["reason"].endswith("came 0ms ago")


def test_without_a_connection_nobody_sees_anything(patient):
    patient.counters.last_heartbeat_at = 999.0
    patient.statistics = Statistics(connected=False)
    assert patient.asked("readyz") == (503, {"ready": False, "reason": "there is no connection"})


def test_without_heartbeats_the_broker_is_tried(patient):
    assert patient.ready() == (
        200,
        {"ready": True, "reason": "no heartbeat, but the broker lets us in"},
    )
    assert patient.ready()[0] == 200
    assert patient.tries == 1


def test_a_heartbeat_of_long_ago_says_nothing(patient):
    patient.counters.last_heartbeat_at = 993.0
    reason = patient.ready()[1]["reason"]
    assert reason == "no heartbeat lately, but the broker lets us in"


def test_a_try_is_good_for_as_long_as_a_heartbeat(patient):
    patient.ready()
    patient.clock.now += 6.1
    patient.error = BrokerUnavailable("cannot reach it")
    assert patient.ready() == (503, {"ready": False, "reason": "no heartbeat: cannot reach it"})


def test_who_asks_often_does_not_try_often(patient):
    patient.error = BrokerUnavailable("cannot reach it")
    for _ in range(20):
        assert patient.ready()[0] == 503
    assert patient.tries == 1
    patient.clock.now += EVERY
    patient.error = None
    assert patient.ready()[0] == 200


def test_workers_may_have_rare_heartbeats(patient):
    patient.state.apply([told("worker-heartbeat", 900.0, freq=30.0)])
    patient.counters.last_heartbeat_at = 911.0
    assert patient.asked("readyz")[0] == 200


def test_nobody_can_have_all_others_wait_for_its_rare_heartbeats(patient):
    patient.state.apply([told("worker-heartbeat", 900.0, freq=86400.0)])
    patient.counters.last_heartbeat_at = 800.0
    patient.error = BrokerUnavailable("cannot reach it")
    assert patient.ready()[0] == 503


def test_who_only_sends_tasks_has_no_heartbeats():
    patient = Patient()
    patient.state.apply([told("task-received")])
    assert patient.ready()[0] == 200


def test_a_recording_needs_no_broker():
    patient = Patient(probe=False)
    assert patient.asked("readyz")[0] == 200


# --- status -----------------------------------------------------------------------


def test_the_status_has_all_that_is_counted(patient):
    patient.counters.shots = Shots(taken=3)
    patient.counters.events_by_type["task-sent"] = 7
    patient.statistics = Statistics(
        connected=True, defects=(Defect("strange", b"secret", "secret", 2, 6, "secret"),)
    )
    status, answer = patient.asked("status")
    assert status == 200
    assert answer["alive"] is True
    assert answer["ready"] is False
    assert answer["reason"] == "no heartbeat: the broker was not tried"
    assert answer["counters"]["shots"]["taken"] == 3
    assert answer["counters"]["events_by_type"] == {"task-sent": 7}
    assert answer["stream"]["defects"] == [{"kind": "strange", "count": 2}]
    assert patient.tries == 0


def test_the_status_says_who_is_ready(patient):
    patient.counters.last_heartbeat_at = 999.0
    assert patient.asked("status")[1]["ready"] is True
