import pytest

from evtools.state import State, Statistics
from evtools.top.intake import Intake
from evtools.top.status import ConnectionStatus, figures
from evtools.transport import Notice
from tools.clock import FakeClock
from tools.life import Life


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def connection(clock):
    return ConnectionStatus(clock)


def test_at_first_it_connects(connection):
    assert connection.status == "connecting"
    connection.apply(Notice("lost", "Connection refused"))
    connection.apply(Notice("retry", "trying again in 1.0s"))
    assert connection.status == "connecting"
    assert connection.lost_at is None
    assert connection.attempts == 1


def test_a_loss_is_remembered_with_its_time_until_the_connection_is_back(connection, clock):
    connection.apply(Notice("listening", "redis://host"))
    assert connection.status == "live"
    clock.now = 200.0
    connection.apply(Notice("lost", "reset by peer"))
    assert (connection.status, connection.reason, connection.lost_at) == (
        "reconnecting",
        "reset by peer",
        200.0,
    )
    clock.now = 205.0
    for _ in range(3):
        connection.apply(Notice("retry", "Connection refused; trying again in 4.0s"))
        connection.apply(Notice("lost", "Connection refused"))
    assert (connection.attempts, connection.lost_at) == (3, 200.0)
    connection.apply(Notice("restored", "redis://host"))
    assert (connection.status, connection.attempts, connection.lost_at) == ("live", 0, None)


def test_an_end_has_a_time_and_perhaps_a_reason(connection, clock):
    connection.apply(Notice("listening", "redis://host"))
    connection.end(None)
    assert (connection.status, connection.reason, connection.lost_at) == ("ended", "", clock.now)
    connection.lost_at = 7.0
    connection.end(ValueError("refused"))
    assert (connection.reason, connection.lost_at) == ("refused", 7.0)


def test_notices_of_other_kinds_change_nothing(connection):
    connection.apply(Notice("rewound", ""))
    assert connection.status == "connecting"


def facts(events, now):
    state, statistics, intake = State(max_tasks_in_memory=50), Statistics(), Intake()
    statistics.take(state.apply(events))
    intake.take(events, state)
    return figures(state, statistics, intake, as_of=now, window="5m")


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
