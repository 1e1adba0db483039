"""Tests for evtools.top.diagnosis."""

import pytest

from evtools.top.model import Model
from evtools.top.status import ConnectionStatus
from evtools.transport import Notice
from evtools.transport.live import DOCTOR
from tools.clock import FakeClock
from tools.life import Life


def told(view, *events, notices=(), filter_text=""):
    """Return what a view says of its emptiness after events."""
    clock = FakeClock(1000.0)
    connection = ConnectionStatus(clock)
    for notice in notices:
        connection.apply(notice)
    model = Model(clock=clock, connection=connection)
    model.take(list(events))
    clock.now = 1010.0
    model.views[view].set_filter(filter_text)
    model.refresh(view, clock.now)
    return " ".join(model.diagnosis(view))


LISTENING = (Notice("listening", "redis://x"),)
LOST = (*LISTENING, Notice("lost", "Connection \x1brefused"))


def test_a_table_with_rows_needs_no_diagnosis():
    life = Life()
    assert told("tasks", life.sent("t")) == ""


def test_no_connection_comes_first():
    assert told("tasks").startswith("Not connected yet. No task yet.")
    assert told("tasks", notices=[Notice("retry", "no route")]).startswith(
        f"Not connected yet: no route {DOCTOR}. No task yet."
    )
    assert told("tasks", notices=LOST).startswith("Not connected for 10s: Connection \\x1brefused")


def test_silence_names_what_may_be_another():
    text = told("tasks", notices=LISTENING)
    assert "Nothing was received so far" in text
    assert text.endswith(f"key prefix. {DOCTOR}.")
    assert "Nothing was received" not in told("tasks", notices=LOST)


@pytest.mark.parametrize("view", ["tasks", "types", "errors"])
def test_heartbeats_alone_mean_that_events_are_off(view):
    life = Life()
    beats = [life.beat(f"w{number}@host", active=number) for number in range(7)]
    text = told(view, *beats, notices=LISTENING)
    assert "Heartbeats of 7 workers came" in text
    assert "w0@host, w1@host, w2@host, w3@host, w4@host, ..." in text
    assert "-E" in text
    assert "6 of them say that they run tasks right now" in text


def test_an_event_of_nobody_means_the_same():
    assert "-E" in told("tasks", {"type": "custom"}, notices=LISTENING)


def test_idle_workers_are_not_said_to_run_anything():
    life = Life()
    text = told("tasks", life.beat(active=0), notices=LISTENING)
    assert "run tasks right now" not in text


def test_queues_need_events_of_clients():
    life = Life()
    assert "task_send_sent_event" in told("queues", life.beat(), notices=LISTENING)


def test_workers_need_heartbeats():
    life = Life()
    assert "no heartbeat" in told("workers", life.sent("t"), notices=LISTENING)


def test_no_failure_is_good_news_and_nothing_more():
    life = Life()
    text = told("errors", *life.success("t"), notices=LISTENING)
    assert text == "No failure in the window 5m."


def test_a_filter_that_hides_all_is_named():
    life = Life()
    text = told("tasks", life.started("t"), notices=LISTENING, filter_text="queue:mail")
    assert text.startswith("The filter hides all of 1 tasks. Esc clears it")
    assert "queue: unknown for 100% of tasks" in text


def test_without_a_link_it_is_taken_for_connected():
    model = Model(clock=FakeClock(1000.0))
    assert model.diagnosis("events")[1].startswith("Nothing was received so far")
