import pytest

from evtools.state import State, Statistics
from evtools.top.status import ConnectionStatus, Figures, Part, StreamCounters
from evtools.transport import Notice
from tools.clock import FakeClock
from tools.gaps import gap
from tools.life import Life
from tools.typed import events_of


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def connection(clock):
    return ConnectionStatus(clock)


def test_a_loss_has_a_time_and_a_reason_until_the_connection_is_back(connection, clock):
    for text in ("trying again in 1.0s", "trying again in 2.0s"):
        connection.apply(Notice("lost", "Connection refused"))
        connection.apply(Notice("retry", text))
    assert (connection.status, connection.lost_at, connection.attempts) == ("connecting", None, 2)
    connection.apply(Notice("listening", "redis://host"))
    assert connection.status == "live"
    lost_at = clock.now
    connection.apply(Notice("lost", "reset by peer"))
    assert (connection.status, connection.reason) == ("reconnecting", "reset by peer")
    for _ in range(3):
        clock.now += 5
        connection.apply(Notice("retry", "Connection refused; trying again in 4.0s"))
        connection.apply(Notice("lost", "Connection refused"))
    assert (connection.attempts, connection.lost_at) == (3, lost_at)
    connection.apply(Notice("restored", "redis://host"))
    assert (connection.status, connection.attempts, connection.lost_at) == ("live", 0, None)


def test_an_end_has_a_time_and_perhaps_a_reason(connection, clock):
    connection.apply(Notice("listening", "redis://host"))
    connection.end("")
    assert (connection.status, connection.reason, connection.lost_at) == ("ended", "", clock.now)
    connection.lost_at = 7.0
    connection.end("refused")
    assert (connection.reason, connection.lost_at) == ("refused", 7.0)


def facts(events, now):
    state, statistics, intake = State(max_tasks_in_memory=50), Statistics(), StreamCounters()
    statistics.take(state.apply(events))
    intake.take(events_of(events), state)
    return Figures([Part(state, statistics, intake, now)], 0, as_of=now, window="5m")


def test_the_figures_are_those_of_the_cluster():
    life = Life()
    events = [life.beat(), life.beat("w2@host", active=3)]
    events += [*life.success("a"), *life.success("b"), *life.failure("c")]
    shown = facts(events, life.now + 1)
    assert shown.workers == {"online": 2}
    assert shown.active == 4
    assert (shown.tasks, shown.max_tasks, shown.evicted) == (3, 50, 0)
    assert 0 < shown.weight_bytes < shown.max_bytes
    assert shown.totals.failure_share == 1 / 3
    assert shown.run.count == 3
    rates = shown.totals
    assert rates.ok_rate > rates.fail_rate > rates.retry_rate == 0


def test_the_rate_is_that_of_the_last_seconds():
    life = Life()
    events = [life.beat() for _ in range(20)]
    shown = facts(events, 1003.0)
    assert len(shown.flow) == 300
    assert shown.event_rate == 20 / 5
    assert shown.peak == 10
    assert facts(events, 1100.0).event_rate == 0


def test_workers_that_went_run_nothing():
    life = Life()
    shown = facts([life.beat(), life.beat("w2@host", active="x")], life.now + 25)
    assert (shown.workers, shown.active) == ({"late": 2}, 1)
    shown = facts([life.beat()], life.now + 300)
    assert (shown.workers, shown.active) == ({"gone": 1}, 0)
    assert facts([life.started("a")], life.now + 1).workers == {"silent": 1}


# --- counters of the stream ---------------------------------------------------------


def taken(*batches):
    state, intake = State(), StreamCounters()
    for batch in batches:
        state.apply(batch)
        intake.take(events_of(batch), state)
    return intake


def test_events_are_known_by_kind():
    life = Life()
    intake = taken([life.beat()], [life.started("t")], [{"type": "x"}])
    assert (intake.events, intake.has_tasks, intake.has_sent) == (3, True, False)
    intake = taken([life.beat(), life.sent("t")], [life.sent("u")])
    assert (intake.events, intake.has_tasks, intake.has_sent) == (3, True, True)
    assert not taken([life.beat()]).has_tasks


def test_losses_are_counted_from_the_stream():
    intake = taken(
        [
            gap("reconnect", 0.0, 1.0),
            gap("buffer", 0.0, 1.0, dropped=17),
            gap("stopped", 0.0, 1.0),
            gap("worker", 0.0, 1.0, missed=3),
            {"type": "evdump-gap", "reason": "buffer", "dropped": "x"},
        ]
    )
    assert (intake.reconnects, intake.gaps, intake.dropped) == (1, 2, 17)


def test_lag_is_less_the_difference_of_clocks():
    life = Life()
    late = life.started("t", timestamp=0.0)
    late["timestamp"] = late["local_received"] + 29.0 - 0.5
    intake = taken([life.beat(ahead=29.0)], [late])
    assert intake.lag is None
    intake.settle()
    assert round(intake.lag, 3) == 0.5
    intake.settle()
    assert round(intake.lag, 3) == 0.5


def test_a_time_beyond_the_calendar_is_none():
    life = Life()
    odd = life.started("t", timestamp=1763380002000)
    intake = taken([life.beat()], [odd, {**odd, "local_received": 1763380002000}])
    intake.settle()
    assert intake.lag < 1
    assert intake.latest <= life.now


def test_without_a_clock_to_compare_there_is_no_lag():
    life = Life()
    intake = taken([life.sent("t")], [{"type": "x"}], [])
    intake.settle()
    assert intake.lag is None
    assert intake.latest == life.now
