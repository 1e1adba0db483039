"""Counters of the stream and the state, and reports on them."""

import json

import pytest

from evtools.cam.loop import StatusReporter
from evtools.cam.options import CamOptions
from evtools.cam.schedule import Counters
from evtools.cam.snapshot import SnapshotSequence
from evtools.state import OTHERS, State
from evtools.transport import Notice, Statistics
from evtools.transport.source import DOCTOR
from evtools.wire import Defect, from_fields
from tools.clock import FakeClock
from tools.gaps import gap
from tools.told import OTHER, told


class Desk:
    """A reporter and everything around it; it is a source with statistics, too."""

    def __init__(self, **options):
        self.clock = FakeClock(1000.0)
        self.counters = Counters()
        self.state = State(clock=FakeClock(20.0))
        self.sequence = SnapshotSequence({}, started=990.0)
        self.reporter = StatusReporter(
            CamOptions(**options), self.counters, self.state, self.sequence, self.clock
        )
        self.defects = []

    def statistics(self):
        return Statistics(events=7, defects=tuple(self.defects))

    def notice(self, kind, text):
        self.reporter.notice(Notice(kind, text))

    def apply(self, *events):
        self.state.apply(events)
        self.reporter.count([from_fields(event) for event in events])

    def log_problems(self):
        self.reporter.log_problems(self)


@pytest.fixture
def desk():
    return Desk()


# --- the connection -----------------------------------------------------------------


def test_a_connection_its_loss_and_its_return_are_logged_and_known(desk, log):
    assert desk.reporter.line() == "waiting for broker: no connection"
    desk.notice("listening", "redis://h")
    assert desk.counters.connected
    info = desk.sequence.next(1003.0)
    assert (info.since, info.connected) == (1000.0, True)
    desk.notice("lost", "cannot reach redis://h")
    assert not desk.counters.connected
    assert not desk.sequence.next(1001.0).connected
    assert desk.reporter.line() == "waiting for broker: cannot reach redis://h"
    desk.notice("restored", "redis://h after 2s")
    assert desk.counters.connected
    assert desk.sequence.next(1002.0).connected
    desk.notice("ended", "")
    assert log() == [
        "listening on redis://h",
        "connection lost: cannot reach redis://h",
        "connected again: redis://h after 2s",
    ]


def test_of_many_retries_few_are_logged(desk, log):
    for number in range(100):
        desk.notice("retry", f"refused; trying again in {number}s")
    assert desk.reporter.why == "refused"
    assert log() == [f"refused; trying again in {number}s" for number in (0, 1, 3, 7, 15, 31, 63)]


# --- events and the state -----------------------------------------------------------


def test_events_are_counted_by_type_and_gap_records_apart(desk):
    desk.apply(told("worker-heartbeat", 10.0), told("task-received"))
    desk.apply(gap("reconnect", 1.0, 2.0), told("task-started", 11.0))
    counters = desk.counters
    assert counters.events_by_type == {"worker-heartbeat": 1, "task-received": 1, "task-started": 1}
    assert (counters.gaps, counters.events) == (1, 3)
    assert (counters.last_heartbeat_at, counters.last_event_at) == (10.25, 11.25)


def test_types_that_senders_invent_are_counted_together(desk):
    desk.apply(*(told(f"shop-{number}") for number in range(300)))
    desk.apply(told("shop-0"), told("shop-299"))
    assert len(desk.counters.events_by_type) == 201
    assert desk.counters.events_by_type[OTHERS] == 101
    assert desk.counters.events_by_type["shop-0"] == 2


def test_rates_are_updated_from_time_to_time(desk):
    desk.reporter.update(100.0)
    assert desk.counters.events_per_second == 0.0
    desk.apply(*(told("task-received") for _ in range(50)))
    desk.reporter.update(105.0)
    assert desk.counters.events_per_second == 10.0
    desk.reporter.update(105.0)
    desk.reporter.update(110.0)
    assert desk.counters.events_per_second == 0.0


def test_the_size_of_the_state_is_updated_too(desk):
    desk.state.apply([told("worker-heartbeat", 19.0), told("task-received")])
    desk.state.apply([told("worker-heartbeat", 19.0, hostname=OTHER)])
    desk.state.apply([told("worker-offline", 19.5, hostname=OTHER)])
    desk.reporter.update(1.0)
    counters = desk.counters
    assert (counters.tasks, counters.workers, counters.workers_alive) == (1, 2, 1)
    assert counters.evicted == 0


def test_the_lag_is_the_longest_delay_less_the_difference_of_the_clocks(desk):
    desk.apply(told("worker-heartbeat", 10.0, local_received=110.0))
    desk.apply(told("task-received", 11.0, local_received=114.0))
    desk.apply(told("task-started", 12.0, local_received=112.5))
    desk.reporter.update(1.0)
    assert desk.counters.lag == 3.0
    desk.reporter.update(2.0)
    assert desk.counters.lag is None


@pytest.mark.parametrize(
    "fields",
    [
        {"hostname": ["x"]},
        {"hostname": OTHER},
        {"timestamp": "x"},
        {"timestamp": None},
        {"timestamp": 10**400},
    ],
)
def test_an_event_without_time_or_known_worker_has_no_lag(desk, fields):
    desk.state.apply([told("worker-heartbeat")])
    desk.state.get_or_create_worker(OTHER)  # which has sent no time
    desk.reporter.count([from_fields(told("task-received", **fields))])
    desk.reporter.update(1.0)
    assert desk.counters.lag is None


# --- reports ------------------------------------------------------------------------


@pytest.mark.parametrize("replays", [(), ("x",)])
def test_the_status_is_one_line(replays):
    desk = Desk(read=replays)
    if not replays:
        desk.notice("listening", "redis://h")
    head = "replaying" if replays else "connected"
    assert desk.reporter.line() == f"{head}, 0 ev/s, 0 workers, no snapshot yet, 0 failures"
    desk.counters.events_per_second = 1284.3
    desk.counters.workers_alive = 12
    desk.counters.last_success_at = 999.2
    desk.counters.failures_in_row = 2
    line = f"{head}, 1284 ev/s, 12 workers, last snapshot 800ms ago, 2 failures"
    assert desk.reporter.line() == line


def test_counters_and_stacks_are_logged(desk, log):
    desk.counters.shots.taken = 3
    desk.defects = [Defect("no JSON", b"\xff", "x", 2)]
    desk.reporter.dump(desk)
    counters, stacks = log()
    values = json.loads(counters.removeprefix("counters: "))
    assert values["shots"]["taken"] == 3
    assert values["malformed"] == {"no JSON": 2}
    assert "thread MainThread:" in stacks
    assert "test_counters_and_stacks_are_logged" in stacks


def test_each_kind_of_malformed_input_is_logged_once(desk, log):
    desk.defects = [Defect("no JSON", b"\xff\x1b", "line 1", 2)]
    desk.log_problems()
    desk.defects.append(Defect("no type", b"{}"))
    desk.counters.nameless = 1
    desk.log_problems()
    desk.log_problems()
    assert log() == [
        r"left out: no JSON (line 1): '\xff\x1b'",
        "left out: no type: '{}'",
        "some events have no uuid or hostname and were ignored",
    ]


def test_where_secrets_are_masked_only_its_length_is_logged(log):
    desk = Desk(redact=("x",))
    defect = Defect("no JSON", b"secret", "secret", 2, 600, "text/plain\x1b[2J")
    desk.defects = [defect, Defect("no type", b"secret", "", 1, 6)]
    desk.log_problems()
    assert log() == [
        "left out: no JSON: 600 bytes of text/plain\\x1b[2J",
        "left out: no type: 6 bytes",
    ]


@pytest.mark.parametrize("replays", [(), ("x",)])
def test_that_nothing_comes_is_logged_once_and_of_a_broker_only(log, replays):
    desk = Desk(read=replays)
    desk.log_problems()
    desk.clock.now += 10
    desk.log_problems()
    desk.log_problems()
    assert log() == ([] if replays else [f"nothing has come for 10s; {DOCTOR}"])
