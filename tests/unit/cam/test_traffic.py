import pytest

from evtools.cam.counters import Counters
from evtools.cam.traffic import OTHERS, Traffic
from evtools.state import State
from evtools.wire import gap
from tools.clock import FakeClock
from tools.told import OTHER, told


@pytest.fixture
def counters():
    return Counters()


@pytest.fixture
def state():
    return State(clock=FakeClock(20.0))


@pytest.fixture
def traffic(counters, state):
    return Traffic(counters, state)


def take(traffic, state, *events):
    state.apply(events)
    traffic.take(list(events))


def test_events_are_counted_by_type(traffic, counters, state):
    take(traffic, state, told("worker-heartbeat"), told("task-received"))
    take(traffic, state, told("task-started", 11.0))
    traffic.take([])
    assert counters.events == 3
    assert counters.events_by_type == {"worker-heartbeat": 1, "task-received": 1, "task-started": 1}
    assert counters.last_event_at == 11.25


def test_types_that_senders_invent_are_counted_together(traffic, counters, state):
    take(traffic, state, *(told(f"shop-{number}") for number in range(300)))
    take(traffic, state, told("shop-0"), told("shop-299"))
    assert len(counters.events_by_type) == 201
    assert counters.events_by_type[OTHERS] == 101
    assert counters.events_by_type["shop-0"] == 2


def test_records_of_gaps_are_no_events(traffic, counters, state):
    take(traffic, state, gap("reconnect", 1.0, 2.0), told("task-received"))
    assert (counters.gaps, counters.events) == (1, 1)


def test_the_newest_heartbeat_is_known(traffic, counters, state):
    take(traffic, state, told("worker-heartbeat", 10.0))
    take(traffic, state, told("task-received", 12.0))
    assert (counters.last_heartbeat_at, counters.last_event_at) == (10.25, 12.25)


def test_how_much_comes_per_second_is_told_from_time_to_time(traffic, counters, state):
    traffic.settle(100.0)
    assert counters.events_per_second == 0.0
    take(traffic, state, *(told("task-received") for _ in range(50)))
    traffic.settle(105.0)
    assert counters.events_per_second == 10.0
    traffic.settle(105.0)
    traffic.settle(110.0)
    assert counters.events_per_second == 0.0


def test_how_much_the_state_knows_is_told_too(traffic, counters, state):
    state.apply([told("worker-heartbeat", 19.0), told("task-received")])
    state.apply([told("worker-heartbeat", 19.0, hostname=OTHER)])
    state.apply([told("worker-offline", 19.5, hostname=OTHER)])
    traffic.settle(1.0)
    assert (counters.tasks, counters.workers, counters.workers_alive) == (1, 2, 1)
    assert counters.evicted == 0


def test_the_lag_is_the_worst_less_the_difference_of_the_clocks(traffic, counters, state):
    take(traffic, state, told("worker-heartbeat", 10.0, local_received=110.0))
    take(traffic, state, told("task-received", 11.0, local_received=114.0))
    take(traffic, state, told("task-started", 12.0, local_received=112.5))
    traffic.settle(1.0)
    assert counters.lag == 3.0
    traffic.settle(2.0)
    assert counters.lag is None


@pytest.mark.parametrize(
    "fields",
    [
        {"hostname": ["x"]},
        {"timestamp": "x"},
        {"timestamp": None},
        {"timestamp": 10**400},
        {"local_received": "x"},
        {"local_received": None},
    ],
)
def test_an_event_that_tells_no_time_or_worker_has_no_lag(traffic, counters, state, fields):
    state.apply([told("worker-heartbeat")])
    take(traffic, state, told("task-received", **fields))
    traffic.settle(1.0)
    assert counters.lag is None


def test_a_worker_that_has_not_told_the_time_has_no_lag(traffic, counters, state):
    state.get_or_create_worker("celery@one")
    traffic.take([told("task-received")])
    traffic.take([told("task-received", hostname=OTHER)])
    traffic.settle(1.0)
    assert counters.lag is None
