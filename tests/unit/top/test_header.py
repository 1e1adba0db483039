"""Tests for evtools.top.header."""

from evtools.state import State, Statistics
from evtools.top.header import header_facts
from evtools.top.intake import Intake
from tools.life import Life


def facts(events, now):
    state, statistics, intake = State(max_tasks_in_memory=50), Statistics(), Intake()
    statistics.take(state.apply(events))
    intake.take(events, state)
    return header_facts(state, statistics, intake, as_of=now, window="5m")


def test_the_figures_are_those_of_the_cluster():
    life = Life()
    events = [life.beat(), life.beat("w2@host", active=3)]
    events += [*life.success("a"), *life.success("b"), *life.failure("c")]
    told = facts(events, life.now + 1)
    assert told.workers == {"online": 2}
    assert told.active == 4
    assert (told.tasks, told.max_tasks, told.evicted) == (3, 50, 0)
    assert 0 < told.weight_bytes < told.max_bytes
    assert told.failure_share == 1 / 3
    assert told.run.count == 3
    assert told.ok_rate > told.fail_rate > told.retry_rate == 0


def test_the_rate_is_that_of_the_last_seconds():
    life = Life()
    events = [life.beat() for _ in range(20)]
    told = facts(events, 1003.0)
    assert len(told.flow) == 300
    assert told.event_rate == 20 / 5
    assert told.peak == 10
    assert facts(events, 1100.0).event_rate == 0


def test_workers_that_went_run_nothing():
    life = Life()
    told = facts([life.beat(), life.beat("w2@host", active="x")], life.now + 25)
    assert (told.workers, told.active) == ({"late": 2}, 1)
    told = facts([life.beat()], life.now + 300)
    assert (told.workers, told.active) == ({"gone": 1}, 0)


def test_workers_without_heartbeats_are_counted():
    life = Life()
    told = facts([life.started("a")], life.now + 1)
    assert told.workers == {"silent": 1}
