import gc
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.state.core import Change
from evtools.state.statistics import (
    OTHERS,
    UNKNOWN,
    WINDOWS,
    Quantiles,
    Statistics,
    queues,
    statistics,
)
from evtools.wire import from_fields
from tools.watched import Watched

NEAR = 0.05


def test_a_type_is_counted_through_all_its_states(watched):
    watched.run("u1", runtime=2.0)
    watched.run("u2", "failed", exception="E()", runtime=4.0)
    watched.run("u3", "retried", exception="E()")
    watched.run("u4", "revoked", terminated=True)
    watched.run("u5", "rejected", requeue=False)
    watched.run("u6", "cancelled")
    row = watched.type()
    assert row.counts == {
        "received": 6,
        "started": 6,
        "succeeded": 1,
        "failed": 1,
        "retried": 1,
        "revoked": 1,
        "rejected": 1,
        "cancelled": 1,
    }
    assert row.failure_share == 0.5
    assert row.running == 0
    assert row.run.count == 2
    assert row.run.p50 == pytest.approx(2.0, rel=NEAR)
    assert row.run.max == pytest.approx(4.0, rel=NEAR)
    assert row.wait.count == 6
    assert row.wait.p95 == pytest.approx(0.1, rel=NEAR)


def test_rates_are_over_the_time_we_listened_and_the_window(watched):
    for number in range(10):
        watched.run(f"u{number}", runtime=0.9)
    assert watched.type().rate == pytest.approx(1.0, rel=0.01)
    watched.now += 50
    assert watched.type().rate == pytest.approx(10 / 60, rel=0.01)
    watched.now += 60
    assert watched.type(window="1m").rate == 0
    assert watched.type(window="all").rate == pytest.approx(10 / 120, rel=0.01)


def test_a_retry_that_is_told_late_is_counted(watched):
    watched.tell("sent", "u1")
    watched.tell("received", "u1", after=0.1)
    watched.tell("started", "u1", after=0.1)
    watched.tell("sent", "u1", after=0.1, retries=1)
    watched.tell("received", "u1", after=0.1, retries=1)
    watched.tell("retried", "u1", exception="E()")
    assert watched.type().counts["retried"] == 1
    watched.tell("started", "u1", after=5)
    watched.tell("succeeded", "u1", after=1, runtime=1.0)
    assert watched.type().counts["started"] == 2
    assert watched.type().counts["succeeded"] == 1
    assert watched.statistics.totals("5m", watched.now).retry_rate > 0


def test_a_task_that_several_workers_refuse_is_revoked_once(watched):
    watched.tell("received", "u1")
    for host in ("w1", "w2", "w3"):
        watched.tell("revoked", "u1", after=0.1, host=host)
    assert watched.type().counts["revoked"] == 1


def test_tasks_run_from_their_start_to_their_end(watched):
    for number in range(3):
        watched.tell("received", f"u{number}")
        watched.tell("started", f"u{number}")
    assert watched.type().running == 3
    watched.tell("succeeded", "u0", after=1)
    watched.tell("retried", "u1", after=1)
    assert watched.type().running == 1


def test_tasks_of_a_worker_that_left_run_no_more(watched):
    watched.tell("worker-online", freq=2.0, active=0, processed=0)
    watched.tell("received", "u1")
    watched.tell("started", "u1")
    assert watched.type().running == 1
    watched.tell("worker-offline", after=1)
    # If it stops warmly it ends what it runs.
    assert watched.type().running == 1
    watched.now += 31
    assert watched.type().running == 0


def test_tasks_that_the_state_forgot_run_no_more(watched):
    watched.tell("received", "u1")
    watched.tell("started", "u1")
    watched.state.max_tasks_in_memory = 1
    watched.tell("received", "u2", name="other")
    gc.collect()
    assert watched.type().running == 0


def test_running_tasks_are_followed_up_to_a_number(watched, monkeypatch):
    monkeypatch.setattr(statistics, "_RUNNING_MAX", 2)
    for number in range(5):
        watched.tell("received", f"u{number}")
        watched.tell("started", f"u{number}")
    assert watched.type().running == 2


def test_a_start_that_is_told_late_does_not_make_it_run(watched):
    watched.tell("received", "u1")
    watched.tell("succeeded", "u1", after=2, runtime=1.0)
    watched.tell("started", "u1", timestamp=watched.now - 1)
    assert watched.type().counts["started"] == 1
    assert watched.type().running == 0


def test_the_late_end_of_an_attempt_does_not_end_the_next(watched):
    watched.tell("received", "u1")
    watched.tell("started", "u1", after=1)
    ended = watched.now + 1
    watched.tell("received", "u1", after=2, retries=1)
    watched.tell("started", "u1", after=1)
    watched.tell("retried", "u1", after=1, timestamp=ended, exception="E()")
    assert watched.type().counts["retried"] == 1
    assert watched.type().running == 1


def test_a_deliberate_delay_is_no_wait(watched):
    watched.tell("sent", "u1", eta="2001-09-09T01:48:40+00:00")
    watched.tell("received", "u1", eta="2001-09-09T01:48:40+00:00")
    watched.tell("started", "u1", timestamp=1_000_000_000.0 + 122, after=122)
    wait = watched.type().wait
    assert wait.count == 1
    assert wait.max == pytest.approx(2.0, rel=NEAR)
    assert watched.queue().wait == wait


def test_a_clock_that_is_ahead_is_no_wait(watched):
    ahead = 29.0
    watched.tell("sent", "u1")
    watched.tell("received", "u1", timestamp=watched.now + ahead + 2, after=2)
    watched.tell("started", "u1", timestamp=watched.now + ahead)
    assert watched.type().wait.max == pytest.approx(2.0, rel=NEAR)


def test_waits_below_zero_are_left_out_and_told(watched):
    watched.tell("sent", "u1")
    watched.tell("started", "u1", timestamp=watched.now - 0.5)
    assert watched.type().wait == Quantiles(skewed=1)
    assert watched.queue().wait == Quantiles(skewed=1)


def test_a_start_alone_tells_of_no_wait(watched):
    watched.tell("started", "u1")
    assert watched.type(UNKNOWN).wait == Quantiles()
    assert watched.type(UNKNOWN).counts["started"] == 1


def test_types_stay_when_nothing_happens_to_them(watched):
    watched.run("u1")
    watched.now += 10_000
    assert watched.type(window="1m").counts["succeeded"] == 0
    assert watched.type(window="all").counts["succeeded"] == 1


def test_workers_have_rates_and_run_times(watched):
    watched.run("u1", runtime=3.0)
    watched.run("u2", "failed", exception="E()")
    watched.tell("received", "u3", host="w2")
    (row,) = watched.statistics.workers("5m", watched.now)
    assert row.name == "w1"
    assert row.failure_share == 0.5
    assert row.run.max == pytest.approx(3.0, rel=NEAR)
    assert 0 < row.ok_rate < 1


def test_an_end_that_no_worker_told_counts_for_its_type(watched):
    watched.tell("succeeded", "u1", host=None)
    assert watched.type(UNKNOWN).counts["succeeded"] == 1
    assert watched.statistics.workers("5m", watched.now) == []


def test_totals_are_of_all_types_and_events(watched):
    watched.run("u1", name="a")
    watched.run("u2", "failed", name="b", exception="E()")
    watched.tell("worker-heartbeat", after=7.8)
    totals = watched.statistics.totals("5m", watched.now)
    assert totals.event_rate == pytest.approx(0.9)
    assert totals.ok_rate == totals.fail_rate == pytest.approx(0.1)
    assert totals.failure_share == 0.5
    assert totals.run.count == totals.wait.count == 2


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 400)), max_size=30),
    st.sampled_from(list(WINDOWS)),
    st.floats(0, 4000),
)
@settings(deadline=None)
def test_totals_are_the_sum_of_the_types(steps, window, idle):
    watched = Watched()
    for number, (name, after) in enumerate(steps):
        watched.tell("received", f"u{number}", name=name, after=after)
    now = watched.now + idle
    totals = watched.statistics.totals(window, now)
    types = watched.statistics.types(window, now)
    received = [row.counts["received"] for row in types]
    assert totals.counts["received"] == sum(received)
    assert totals.event_rate * totals.seconds == pytest.approx(sum(received))


def test_the_flow_and_its_peak_are_of_all_events(watched):
    for _ in range(5):
        watched.tell("worker-heartbeat")
    watched.tell("my-event", after=1)
    assert watched.statistics.flow(300, watched.now + 1)[-2:] == [5, 1]
    assert watched.statistics.peak == 5
    watched.statistics.flow(300, watched.now + 299.5)
    assert watched.statistics.peak == 1


def test_the_trend_of_a_type_is_what_it_completed(watched):
    for number in range(40):
        watched.run(f"u{number}", runtime=0.9)
    trend = watched.statistics.trend("t", watched.now + 15)
    assert len(trend) == 20
    assert sum(trend) * 15 == pytest.approx(40)


def test_senders_clocks_move_no_window(watched):
    for number, skew in enumerate((0, -50_000, 50_000)):
        watched.tell("received", f"u{number}", timestamp=watched.now + skew)
    assert watched.type(window="1m").counts["received"] == 3
    watched.now += 65
    assert watched.type(window="1m").counts["received"] == 0


@pytest.mark.parametrize(
    "received", [None, "now", math.nan, math.inf, -math.inf, 10**400, 1e300, 1e12, -1, [], True]
)
def test_a_time_that_cannot_be_is_taken_for_now(watched, received):
    watched.run("u1")
    watched.tell("received", "u2", local_received=received)
    assert watched.type(window="1m").counts["received"] == 2


def test_whole_seconds_are_times_too():
    taken = Statistics()
    for second in (1000, 2000):
        event = from_fields({"type": "x", "local_received": second})
        taken.take([Change(event)])
    assert taken.totals("1m", 2000.0).event_rate == pytest.approx(1 / 60)


def test_reading_does_not_go_back_before_the_newest_event(watched):
    watched.run("u1")
    rows = watched.statistics.types("1m", watched.now - 1000)
    assert [row.counts["succeeded"] for row in rows] == [1]


def test_nothing_is_nothing():
    empty = Statistics()
    for window in WINDOWS:
        assert empty.types(window, 5.0) == empty.queues(window, 5.0) == []
        assert empty.workers(window, 5.0) == empty.failures(window, 5.0) == []
        assert empty.totals(window, 5.0).event_rate == 0
        assert empty.totals(window, 5.0).run == Quantiles()
    assert empty.flow(10, 5.0) == [0] * 10
    assert empty.trend("t", 5.0) == [0] * 20
    assert empty.peak == 0


def test_types_beyond_the_bound_are_counted_together():
    watched = Watched(max_types=2)
    for number in range(4):
        watched.tell("received", f"u{number}", name=f"t{number}", after=10)
        watched.tell("started", f"u{number}")
    rows = {row.name: row for row in watched.statistics.types("5m", watched.now)}
    assert set(rows) == {"t2", "t3", OTHERS}
    assert rows[OTHERS].counts["received"] == 2
    assert rows[OTHERS].running == 2
    assert watched.statistics.totals("5m", watched.now).counts["received"] == 4


def test_unique_names_do_not_make_it_grow(monkeypatch):
    monkeypatch.setattr(queues, "_WORKERS_MAX", 100)
    watched = Watched(max_types=20, max_queues=20, max_workers=20, max_groups=20)
    weights = []
    for number in range(1000):
        name = f"{number:x}-" + "n" * 100
        told = {"name": name, "queue": name, "host": f"w{number}@h", "after": 5.0}
        uuid = f"u{number}"
        letters = f"E('{name.translate(str.maketrans('0123456789', 'ghijklmnop'))}')"
        watched.tell("sent", uuid, **told)
        watched.tell("received", uuid, **told)
        watched.tell("started", uuid, **told)
        watched.tell("failed", uuid, **told, exception=letters)
        weights.append(watched.statistics.weight_bytes)
    assert len(watched.statistics.types("all", watched.now)) == 21
    assert len(watched.statistics.queues("all", watched.now)) == 21
    assert len(watched.statistics.workers("all", watched.now)) == 21
    assert len(watched.statistics.failures("all", watched.now)) == 21
    assert max(weights[400:]) <= max(weights[:400]) * 1.05


fields = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
KINDS = (
    *("sent", "received", "started", "succeeded", "failed"),
    *("retried", "revoked", "rejected", "cancelled", "progress"),
)
NAMES = (
    *("uuid", "name", "queue", "hostname", "exception", "traceback", "runtime"),
    *("timestamp", "local_received", "retries", "eta"),
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(KINDS), st.dictionaries(st.sampled_from(NAMES), fields, max_size=4)
        ),
        max_size=15,
    )
)
def test_any_event_is_survived(events):
    watched = Watched()
    for kind, odd in events:
        watched.take(watched.event(kind, "u1") | odd)
    for window in WINDOWS:
        for row in watched.statistics.types(window, watched.now):
            assert row.rate >= 0
            assert row.run.count >= 0
        watched.statistics.queues(window, watched.now)
        watched.statistics.workers(window, watched.now)
        watched.statistics.failures(window, watched.now)
        assert watched.statistics.totals(window, watched.now).event_rate >= 0
    watched.statistics.flow(30, watched.now)
    assert watched.statistics.peak >= 0
