"""Skew: the least delay of late, and that of the machines of clients."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state import State
from evtools.state.skew import Clients, Skew
from tools.told import OTHER, WORKER, told


def beat_heard(said, heard, **fields):
    return told("worker-heartbeat", said, local_received=heard, **fields)


# --- one clock ---------------------------------------------------------------------


def test_a_clock_that_told_nothing_is_not_known():
    assert Skew().ahead is None


def test_a_clock_is_ahead_by_what_it_says_before_we_hear_it():
    skew = Skew()
    skew.measure(130.0, 100.0)
    assert skew.ahead == 30.0
    behind = Skew()
    behind.measure(70.0, 100.0)
    assert behind.ahead == -30.0


def test_the_least_delay_counts_as_the_way_is_never_negative():
    skew = Skew()
    for delay in (3.0, 0.5, 9.0):
        skew.measure(100.0, 100.0 + delay)
    assert skew.ahead == -0.5


def test_a_stream_that_comes_late_for_a_while_moves_no_clock():
    skew = Skew()
    skew.measure(100.0, 100.1)
    for second in range(1, 60):
        skew.measure(100.0 + second, 130.0 + second)
    assert skew.ahead == pytest.approx(-0.1)


def test_a_clock_that_was_set_is_believed_after_two_windows():
    skew = Skew()
    for second in range(0, 300, 5):
        ahead = 0.0 if second < 100 else 50.0
        skew.measure(second + ahead, float(second))
    assert skew.ahead == 50.0
    for second in range(300, 600, 5):
        skew.measure(float(second), float(second))
    assert skew.ahead == 0.0


def test_what_was_long_ago_does_not_count():
    skew = Skew()
    skew.measure(150.0, 100.0)
    skew.measure(1000.0, 1001.0)
    assert skew.ahead == -1.0


@given(st.lists(st.floats(0, 59), min_size=1), st.floats(-1e6, 1e6))
def test_delays_within_a_window_may_come_in_any_order(delays, ahead):
    skew, backwards = Skew(), Skew()
    for delay in delays:
        skew.measure(1e6 + ahead, 1e6 + delay)
    for delay in reversed(delays):
        backwards.measure(1e6 + ahead, 1e6 + delay)
    assert skew.ahead == backwards.ahead == pytest.approx(ahead - min(delays))


# --- workers -----------------------------------------------------------------------


@pytest.mark.parametrize("utcoffset", [0, -1, 8, -5.5, 3.5, None, "?"])
def test_the_zone_of_a_worker_is_no_skew_and_moves_no_time(utcoffset):
    state = State()
    change, *_ = state.apply(
        [
            beat_heard(500.0, 500.25, utcoffset=utcoffset),
            told("task-received", 501.0, utcoffset=utcoffset),
        ]
    )
    assert change.subject.skew == -0.25
    assert state.tasks[told("task-started")["uuid"]].received == 501.0


def test_a_worker_whose_clock_is_ahead_is_online_all_the_same():
    state = State()
    state.apply([beat_heard(500.0, 100.0), beat_heard(500.0, 100.0, hostname=OTHER)])
    assert state.workers[WORKER].skew == 400.0
    assert state.workers[WORKER].status(101.0) == "online"
    assert state.workers[WORKER].status(120.0) == "late"


def test_events_of_tasks_tell_the_time_of_a_worker_without_heartbeats_only():
    state = State()
    state.apply([told("task-received", 10.0, local_received=15.0)])
    assert state.workers[WORKER].skew == -5.0
    state.apply([told("task-started", 16.0, local_received=17.0)])
    assert state.workers[WORKER].skew == -1.0
    state = State()
    state.apply([beat_heard(10.0, 15.0), told("task-received", 16.0)])
    assert state.workers[WORKER].skew == -5.0


# --- clients -----------------------------------------------------------------------


def test_a_client_that_told_nothing_is_not_known():
    clients = Clients()
    assert clients.ahead(None) is None
    assert clients.ahead("gen1@shop") is None


def test_clients_of_one_machine_share_its_clock():
    clients = Clients()
    clients["gen1@shop"].measure(130.0, 100.0)
    assert clients.ahead("gen2@shop") == 30.0
    assert clients.ahead("gen1@home") is None
    assert clients["gen1@shop"] is clients["gen2@shop"]


def test_no_number_of_clients_or_machines_fills_the_memory():
    clients = Clients()
    for number in range(10_000):
        clients[f"gen{number}@shop"].measure(0.0, 1.0)
    assert len(clients) <= 4096
    assert clients.ahead("gen0@shop") == -1.0
    for number in range(10_000):
        clients[f"gen@{number}"].measure(0.0, 1.0)
    assert len(clients) <= 4096
    assert len(clients._machines) <= 1024


def test_a_name_that_is_too_long_is_not_kept():
    clients = Clients()
    clients["x" * 100_000].measure(0.0, 1.0)
    assert len(clients) == 0
    assert clients.ahead("x" * 100_000) is None


@pytest.mark.parametrize("ahead", [-300.0, 300.0])
@pytest.mark.parametrize("usual", [True, False])
def test_a_wait_is_measured_by_the_clock_of_the_worker(ahead, usual):
    state = State()
    sent = told("task-sent", 900.0 + ahead, local_received=900.25)
    if not usual:
        sent.pop("utcoffset")
        sent["retries"] = None
    state.apply(
        [
            beat_heard(899.0, 899.25),
            sent,
            told("task-received", 901.0),
            told("task-started", 902.0),
        ]
    )
    task = state.tasks[sent["uuid"]]
    assert task.wait == 2.0
    assert task.queue_time == 1.0
    assert task.sent == 900.0 + ahead


def test_a_client_without_a_name_has_no_clock():
    state = State()
    state.apply([told("task-sent", 100.0, hostname=None)])
    assert len(state.clients) == 0
    assert state.tasks[told("task-sent")["uuid"]].sent == 100.0


def test_a_client_is_no_worker():
    state = State()
    state.apply([told("task-sent", 100.0)])
    assert not state.workers
    assert state.tasks[told("task-sent")["uuid"]].client == "gen1@shop"
