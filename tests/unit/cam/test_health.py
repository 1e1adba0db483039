"""What --listen serves: whether evcam is alive and sees the cluster, its counters, metrics."""

import json
import re
import threading
import urllib.error
import urllib.request
from datetime import UTC
from pathlib import Path
from types import SimpleNamespace

import pytest

from evtools.alerts import parse_rule
from evtools.cam import health as module
from evtools.cam.alerts import AlertWatch
from evtools.cam.health import PROBE_EVERY, STUCK, Health, adopt
from evtools.cam.prometheus import Prometheus
from evtools.cam.schedule import ClusterCounters, Counters, Shots
from evtools.errors import BrokerUnavailable
from evtools.state import State
from evtools.transport import ConnectionSettings, Statistics
from evtools.wire import Defect
from tools.clock import FakeClock
from tools.told import life, told

SETTINGS = (ConnectionSettings(urls="memory://"),)


class Patient:
    """A loop as its health sees it, and that health."""

    def __init__(self, address="127.0.0.1:0", *, settings=SETTINGS, camera=None):
        self.clock = FakeClock(1000.0)
        self.counters = Counters(ticked_at=1000.0)
        self.statistics = Statistics(connected=True)
        self.state = State()
        self.states, self.cameras = {"": self.state}, [camera]
        rule = parse_rule(
            "own", "f: alert.own", {"filter": "x", "run": "page --team 'a b' --password s3kr1t"}
        )
        self.alerts = AlertWatch([rule], self.clock, zone=UTC)
        source = SimpleNamespace(statistics=lambda: self.statistics)
        self.health = Health(address, self, source, settings)

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://{self.health.address}{path}") as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def ask(self, path):
        """Return the status and the answer."""
        status, text = self.get(path)
        return status, json.loads(text)

    def ready(self):
        status, answer = self.ask("/readyz")
        assert answer["ready"] == (status == 200)
        return status, answer["reason"]


@pytest.fixture
def broker(monkeypatch):
    """A broker that accepts logins, unless `error` is set."""

    class Broker:
        tries = 0
        error = None

        def probe(self, settings):
            self.tries += 1
            if self.error is not None:
                raise self.error

    broker = Broker()
    monkeypatch.setattr(module, "probe", broker.probe)
    return broker


@pytest.fixture
def patient():
    patient = Patient()
    with patient.health:
        yield patient


# --- alive ------------------------------------------------------------------------


def test_it_is_alive_while_the_main_loop_moves(patient):
    patient.clock.now += STUCK
    assert patient.ask("/livez") == (200, {"alive": True, "reason": "the main loop moves"})
    patient.clock.now += 1
    reason = "the main loop has not moved for 16.0s"
    assert patient.ask("/livez") == (503, {"alive": False, "reason": reason})


# --- ready ------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "age"), [(999.0, "1.00s"), (2000.0, "0ms")])
def test_heartbeats_show_that_it_sees_the_cluster_if_there_is_a_connection(
    patient, broker, at, age
):
    patient.counters.last_heartbeat_at = at
    assert patient.ready() == (200, f"a worker's heartbeat came {age} ago")
    patient.statistics = Statistics(connected=False)
    assert patient.ready() == (503, "there is no connection")
    assert broker.tries == 0


@pytest.mark.parametrize(("at", "reason"), [(None, "no heartbeat"), (993.0, "no heartbeat lately")])
def test_without_heartbeats_it_logs_in_to_the_broker(patient, broker, at, reason):
    patient.counters.last_heartbeat_at = at
    for _ in range(2):
        assert patient.ready() == (200, f"{reason}, but the broker accepts logins")
    assert broker.tries == 1


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (BrokerUnavailable("cannot reach it", "hint"), "cannot reach it"),
        (ValueError("oops redis://u:s3kr1t@h"), "ValueError: oops redis://**@h"),
    ],
)
def test_a_login_is_good_for_as_long_as_a_heartbeat(patient, broker, error, text):
    patient.ready()
    patient.clock.now += 6.1
    broker.error = error
    assert patient.ready() == (503, f"no heartbeat: {text}")


def test_frequent_questions_are_not_frequent_logins(patient, broker):
    broker.error = BrokerUnavailable("cannot reach it")
    assert [patient.ready()[0] for _ in range(20)] == [503] * 20
    assert broker.tries == 1
    patient.clock.now += PROBE_EVERY
    broker.error = None
    assert patient.ready()[0] == 200


def test_questions_wait_for_the_login_under_way(patient, monkeypatch):
    go, begun, found, tries = threading.Event(), threading.Event(), [], []

    def probe(_):
        tries.append(1)
        begun.set()
        assert go.wait(10)
        patient.clock.now += 5.0  # It counts as of its begin.

    monkeypatch.setattr(module, "probe", probe)
    threads = [threading.Thread(target=lambda: found.append(patient.ready())) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    # Others are answered meanwhile, and the status does not try.
    assert patient.ask("/status")[1]["reason"] == "no heartbeat: the broker was not tried"
    go.set()
    for thread in threads:
        thread.join()
    assert [status for status, _ in found] == [200, 200, 200]
    assert tries == [1]
    monkeypatch.setattr(module, "probe", lambda _: 1 / 0)
    patient.clock.now = 1006.0
    assert patient.ready()[0] == 200
    patient.clock.now = 1007.1
    assert patient.ready()[0] == 503


@pytest.mark.parametrize(
    ("freq", "status"), [(30.0, 200), (86400.0, 503)], ids=["rare", "beyond the bound"]
)
def test_workers_may_have_rare_heartbeats_within_bounds(patient, broker, freq, status):
    patient.state.apply([told("worker-heartbeat", 900.0, freq=freq)])
    patient.counters.last_heartbeat_at = 911.0 if freq < 60 else 800.0
    broker.error = BrokerUnavailable("cannot reach it")
    assert patient.ready()[0] == status


def test_a_recording_needs_no_broker():
    patient = Patient(settings=())
    with patient.health:
        assert patient.ready() == (200, "no heartbeat, and no broker to try")


def test_one_of_several_clusters_that_is_seen_is_enough(broker):
    patient = Patient(settings=[ConnectionSettings(cluster=name) for name in ("prod", "eu", "mq")])
    counters = {name: ClusterCounters(events=2) for name in ("eu", "mq", "prod")}
    patient.counters.clusters = counters
    patient.states = {name: State(cluster=name) for name in counters}
    streams = {name: Statistics(connected=name != "eu", problem="gone") for name in counters}
    patient.statistics = Statistics.total(streams)
    broker.error = BrokerUnavailable("cannot reach it")
    with patient.health:
        away = "eu: there is no connection: gone"
        silent = f"{away}; mq: no heartbeat: cannot reach it; prod: no heartbeat"
        assert patient.ready() == (503, f"{silent}: cannot reach it")
        counters["prod"].last_heartbeat_at = 999.0
        seen = "mq: no heartbeat: cannot reach it; prod: a worker's heartbeat came 1.00s ago"
        assert patient.ready() == (200, f"{away}; {seen}")
        assert broker.tries == 2  # that was enough
        answer = patient.ask("/status")[1]
        assert (answer["counters"]["events"], answer["counters"]["last_heartbeat_at"]) == (6, 999.0)
        assert answer["counters"]["clusters"]["eu"]["events"] == 2
        assert answer["stream"]["clusters"]["eu"]["connected"] is False
        text = patient.get("/metrics")[1]
    assert 'evcam_connected{cluster="eu"} 0\nevcam_connected{cluster="mq"} 1\n' in text
    assert 'evcam_events_lost_total{cluster="prod",reason="missed"} 0\n' in text
    assert "evcam_up 1\n" in text


# --- status and metrics -------------------------------------------------------------


def test_the_status_has_every_counter_and_no_secret(patient):
    patient.counters.shots = Shots(taken=3)
    patient.counters.events_by_type["task-sent"] = 7
    defect = Defect("strange", b"secret", "secret", 2, 6, "secret")
    patient.statistics = Statistics(connected=True, defects=(defect,))
    status, answer = patient.ask("/status")
    assert status == 200
    assert (answer["alive"], answer["ready"]) == (True, False)
    assert answer["counters"]["shots"]["taken"] == 3
    assert answer["counters"]["events_by_type"] == {"task-sent": 7}
    assert answer["stream"]["defects"] == [{"kind": "strange", "count": 2}]
    assert answer["stream"]["connected"] is True
    counted = {"firing": 0, "groups": 0, "fired": 0, "resolved": 0, "suppressed": 0}
    assert answer["alerts"] == {"own": counted}
    [hook] = answer["hooks"]
    assert (hook["delivered"], hook["waiting"]) == (0, 0)
    assert hook["hook"] == "page --team 'a b' --password **"
    assert "secret" not in json.dumps(answer)
    patient.counters.last_heartbeat_at = 999.0
    assert patient.ask("/status")[1]["ready"] is True


def test_a_camera_that_has_metrics_is_served_too():
    state = State()
    camera = Prometheus(state)
    camera.observe(state.apply(life("sent")))
    patient = Patient(camera=camera)
    with patient.health:
        text = patient.get("/metrics")[1]
        assert "there is: /livez, /readyz, /status, /metrics" in patient.get("/")[1]
    assert "celery_task_sent_total{" in text
    assert "evcam_up 1\n" in text
    assert 'evcam_alert_notices_total{alert="own",result="dropped"} 0\n' in text
    manual = (Path(__file__).parents[3] / "man" / "evcam.1").read_text()
    assert {*re.findall(r"^evcam_alert_\w+", text, re.MULTILINE)} <= {
        *re.findall(r"evcam_alert_\w+", manual)
    }
    camera.check()
    assert not adopt(object())
