"""How far other clocks are ahead of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state import State
from evtools.state.worker import Clients, Skew
from tools.told import OTHER, UUID, WORKER, told


def skew_of(*sayings):
    """Return the skew of a clock that we heard say some times."""
    skew = Skew()
    for timestamp, local_received in sayings:
        skew.measure(timestamp, local_received)
    return skew


def test_a_clock_that_said_nothing_is_unknown():
    assert Skew().ahead is None
    assert Clients().ahead("gen1@web") is None
    assert Clients().ahead(None) is None


def test_the_least_delay_is_nearest_to_the_truth():
    skew = skew_of((129.0, 100.2), (130.0, 101.0), (131.0, 105.0))
    assert skew.ahead == 29.0
    assert skew_of((90.0, 100.0)).ahead == -10.0


def test_a_late_stream_does_not_look_like_a_slow_clock():
    skew = skew_of((1.0, 1.0), *((at, at + 20.0) for at in range(2, 90)))
    assert skew.ahead == 0.0


def test_a_clock_that_was_set_is_known_anew_in_two_minutes():
    skew = skew_of((40.0, 10.0), *((at, at) for at in range(11, 71)))
    assert skew.ahead == 30.0
    skew = skew_of((40.0, 10.0), *((at, at) for at in range(11, 140)))
    assert skew.ahead == 0.0


def test_what_was_long_ago_does_not_count():
    assert skew_of((40.0, 10.0), (1000.0, 1000.5)).ahead == -0.5


def test_clients_of_one_machine_have_one_clock():
    clients = Clients()
    clients["gen1@web"].measure(105.0, 100.0)
    clients["gen2@web"].measure(103.0, 100.0)
    clients["gen1@db"].measure(99.0, 100.0)
    assert clients.ahead("gen1@web") == clients.ahead("gen3@web") == 5.0
    assert clients.ahead("gen1@db") == -1.0


@pytest.mark.parametrize("name", ["gen{}@web", "gen1@web{}"])
def test_names_without_end_take_no_space_without_end(name):
    clients = Clients()
    for number in range(10_000):
        clients[name.format(number)].measure(1.0, 1.0)
    assert len(clients) <= 4096
    clients["x" * 300].measure(1.0, 1.0)
    assert "x" * 300 not in clients


@given(st.lists(st.floats(0, 59), min_size=1), st.floats(-1e5, 1e5))
def test_what_is_heard_within_a_minute_may_come_in_any_order(delays, ahead):
    sayings = [(1e6 + ahead, 1e6 + delay) for delay in delays]
    expected = pytest.approx(ahead - min(delays), abs=1e-6)
    assert skew_of(*sayings).ahead == skew_of(*sayings[::-1]).ahead == expected


def test_machines_without_end_take_no_space_without_end():
    clients = Clients()
    for number in range(5000):
        clients[f"gen1@web{number}"].measure(1.0, 1.0)
    assert len(clients._machines) <= 1024


# --- what a state makes of it ---------------------------------------------------------


def beat(said, heard, **fields):
    return told("worker-heartbeat", said, local_received=heard, **fields)


@pytest.mark.parametrize("utcoffset", [0, -1, 8, -5.5, 3.5, None, "?"])
def test_the_zone_of_a_worker_is_no_skew_and_moves_no_time(utcoffset):
    state = State()
    events = [beat(500.0, 500.25), told("task-received", 501.0)]
    state.apply({**event, "utcoffset": utcoffset} for event in events)
    assert state.workers[WORKER].skew == -0.25
    assert state.tasks[UUID].received == 501.0


def test_a_worker_whose_clock_is_wrong_is_online_all_the_same():
    state = State()
    state.apply([beat(500.0, 100.0), beat(20.0, 100.0, hostname=OTHER)])
    for hostname, ahead in ((WORKER, 400.0), (OTHER, -80.0)):
        worker = state.workers[hostname]
        assert worker.skew == ahead
        assert worker.status(101.0) == "online"
        assert worker.status(120.0) == "late"


def test_events_of_tasks_tell_the_time_of_who_has_no_heartbeats_only():
    state = State()
    state.apply([told("task-received", 10.0, local_received=15.0)])
    assert state.workers[WORKER].skew == -5.0
    state.apply([told("task-started", 16.0, local_received=17.0)])
    assert state.workers[WORKER].skew == -1.0
    state = State()
    state.apply([beat(10.0, 15.0), told("task-received", 16.0)])
    assert state.workers[WORKER].skew == -5.0


@pytest.mark.parametrize("ahead", [-300.0, 300.0])
@pytest.mark.parametrize("retries", [0, None])
def test_a_wait_is_measured_by_the_clock_of_the_worker(ahead, retries):
    state = State()
    sent = told("task-sent", 900.0 + ahead, local_received=900.25, retries=retries)
    received, started = told("task-received", 901.0), told("task-started", 902.0)
    state.apply([beat(899.0, 899.25), sent, received, started])
    task = state.tasks[UUID]
    assert (task.wait, task.queue_time) == (2.0, 1.0)
    assert task.sent == 900.0 + ahead


def test_a_client_without_a_name_has_no_clock():
    state = State()
    state.apply([told("task-sent", 100.0, hostname=None)])
    assert len(state.clients) == 0
    assert state.tasks[UUID].sent == 100.0


def test_a_client_is_no_worker():
    state = State()
    state.apply([told("task-sent", 100.0)])
    assert not state.workers
    assert state.tasks[UUID].client == "gen1@shop"
