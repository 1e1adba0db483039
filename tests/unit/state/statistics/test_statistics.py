"""Statistics: rates, quantiles, backlogs and failures, out of what events changed."""

import gc
import math
from collections import Counter
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state import OTHERS, UNKNOWN, WINDOWS, Change, Quantiles, Statistics, Task
from evtools.wire import from_fields
from tools.watched import T, Watched

NEAR = 0.05


@pytest.fixture
def watched():
    return Watched()


# --- types, workers, totals ----------------------------------------------------------


def test_a_type_is_counted_through_all_its_states(watched):
    watched.run("u1", runtime=2.0)
    watched.run("u2", "failed", exception="E()", runtime=4.0)
    watched.run("u3", "retried", exception="E()")
    watched.run("u4", "revoked", terminated=True)
    watched.run("u5", "rejected", requeue=False)
    watched.run("u6", "cancelled")
    row = watched.type()
    ends = ("succeeded", "failed", "retried", "revoked", "rejected", "cancelled")
    assert row.counts == {"received": 6, "started": 6, **dict.fromkeys(ends, 1)}
    assert (row.failure_share, row.running, row.run.count, row.wait.count) == (0.5, 0, 2, 6)
    assert row.run.p50 == pytest.approx(2.0, rel=NEAR)
    assert row.run.max == pytest.approx(4.0)
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
    # A window has whole slots, the oldest one, too.
    seconds = [
        watched.statistics.totals(window, T + after).seconds
        for window, after in (("5m", 112), ("1m", 120), ("1m", 124), ("5m", 301), ("all", 5000))
    ]
    assert seconds == [112, 60, 64, 301, 5000]


def test_totals_and_workers_have_rates(watched):
    watched.run("u1", name="a", runtime=3.0)
    watched.run("u2", "failed", name="b", exception="E()", runtime=3.0)
    watched.tell("received", "u3", host="w2")
    watched.tell("retried", "u3", host="w2")
    watched.tell("worker-heartbeat", after=3.8)
    totals = watched.statistics.totals("5m", watched.now)
    assert totals.event_rate == pytest.approx(1.1)
    assert totals.ok_rate == totals.fail_rate == totals.retry_rate == pytest.approx(0.1)
    assert (totals.failure_share, totals.run.count, totals.wait.count) == (0.5, 2, 2)
    (row,) = watched.statistics.workers("5m", watched.now)
    assert (row.name, row.failure_share) == ("w1", 0.5)
    assert row.ok_rate == pytest.approx(0.1)
    assert row.run.max == pytest.approx(3.0)


def test_a_retry_that_is_reported_late_is_counted(watched):
    for number, kind in enumerate(("sent", "received", "started", "sent", "received")):
        watched.tell(kind, "u1", after=0.1, **({"retries": 1} if number > 2 else {}))
    watched.tell("retried", "u1", exception="E()")
    assert watched.type().counts["retried"] == 1
    watched.tell("started", "u1", after=5)
    watched.tell("succeeded", "u1", after=1, runtime=1.0)
    assert watched.type().counts["started"] == 2
    assert watched.type().counts["succeeded"] == 1


def test_a_task_that_several_workers_refuse_is_revoked_once(watched):
    watched.tell("received", "u1")
    for host in ("w1", "w2", "w3"):
        watched.tell("revoked", "u1", after=0.1, host=host)
    assert watched.type().counts["revoked"] == 1


def test_a_failure_at_the_hard_time_limit_counts_once_however_often_it_is_reported(watched):
    for uuid in ("u1", "u2"):
        watched.run(uuid, "failed", exception="TimeLimitExceeded(1,)")
        watched.tell("failed", uuid, after=0.001, exception="TimeLimitExceeded(1,)")
    # Sent anew under its id, it may fail again.
    watched.run("u2", "failed", exception="TimeLimitExceeded(1,)")
    assert watched.type().counts["failed"] == 3
    assert watched.statistics.failures("5m", watched.now)[0].count == 3
    assert watched.statistics.workers("5m", watched.now)[0].counts["failed"] == 3


def test_a_failure_of_each_of_two_workers_counts(watched):
    for host in ("w1", "w2"):
        watched.tell("received", "u1", host=host)
        watched.tell("started", "u1", host=host, after=0.1)
    for host in ("w1", "w2"):
        watched.tell("failed", "u1", host=host, after=0.1, exception="E()")
    assert watched.type().counts["failed"] == 2


def test_an_end_without_a_worker_counts_for_its_type(watched):
    watched.tell("succeeded", "u1", host=None)
    assert watched.type(UNKNOWN).counts["succeeded"] == 1
    assert watched.type(UNKNOWN).failure_share == 0
    assert watched.statistics.workers("5m", watched.now) == []


def test_the_trend_of_a_type_is_its_completions_over_five_minutes(watched):
    watched.now = start = T + 200  # slots of every width begin here
    for second in range(315):
        watched.now = start + second
        end = {"kind": "succeeded"} if second < 285 else {"kind": "failed", "exception": "E()"}
        watched.tell("received", f"u{second}")
        watched.tell(uuid=f"u{second}", **end)
    assert watched.statistics.trend("types", "t", start + 315) == pytest.approx([1.0] * 20)
    assert watched.statistics.trend("types", "t", start + 360)[-4:] == pytest.approx([1, 0, 0, 0])
    assert watched.statistics.trend("types", "other", start + 315) == [0.0] * 20
    assert watched.statistics.trend("types", "t", start + 10_000) == [0.0] * 20


# --- tasks that run ------------------------------------------------------------------


def test_tasks_of_a_worker_that_left_and_that_the_state_forgot_run_no_more(watched):
    watched.tell("worker-online", freq=2.0, active=0, processed=0)
    watched.tell("received", "u1")
    watched.tell("started", "u1")
    watched.tell("worker-offline", after=1)
    # If it stops warmly it ends what it runs.
    assert watched.type().running == 1
    watched.now += 31
    assert watched.type().running == 0
    watched.tell("received", "u2", host="w2")
    watched.tell("started", "u2", host="w2")
    assert watched.type().running == 1
    watched.state.max_tasks_in_memory = 1
    watched.tell("received", "u3", name="other")
    gc.collect()
    assert watched.type().running == 0


def test_a_start_that_is_reported_late_does_not_make_it_run(watched):
    watched.tell("received", "u1")
    watched.tell("succeeded", "u1", after=2, runtime=1.0)
    watched.tell("started", "u1", timestamp=watched.now - 1)
    assert (watched.type().counts["started"], watched.type().running) == (1, 0)


def test_the_late_end_of_an_attempt_does_not_end_the_next(watched):
    watched.tell("received", "u1")
    watched.tell("started", "u1", after=1)
    ended = watched.now + 1
    watched.tell("received", "u1", after=2, retries=1)
    watched.tell("started", "u1", after=1)
    watched.tell("retried", "u1", after=1, timestamp=ended, exception="E()")
    assert (watched.type().counts["retried"], watched.type().running) == (1, 1)


# --- durations -----------------------------------------------------------------------


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=100))
def test_quantiles_are_within_the_stated_error(values):
    watched = Watched()
    for number, value in enumerate(values):
        watched.tell("succeeded", f"u{number}", runtime=value)
    found = watched.type(UNKNOWN).run
    assert (found.count, found.max) == (len(values), max(values))
    for share, quantile in ((0.5, found.p50), (0.95, found.p95), (0.99, found.p99)):
        exact = sorted(values)[ceil(share * len(values)) - 1]
        assert quantile == pytest.approx(exact, rel=NEAR, abs=1e-4)
    assert min(values) <= found.p50 <= found.p95 <= found.p99 <= found.max


def test_a_deliberate_delay_is_no_wait(watched):
    eta = "2001-09-09T01:48:40+00:00"  # 120 s from now
    watched.tell("sent", "u1", eta=eta)
    watched.tell("received", "u1", eta=eta)
    watched.tell("started", "u1", after=122)
    wait = watched.type().wait
    assert (wait.count, wait.max) == (1, pytest.approx(2.0))
    assert watched.queue().wait == wait


def test_a_clock_that_is_ahead_is_no_wait_and_waits_below_zero_are_left_out(watched):
    watched.tell("sent", "u1")
    watched.tell("received", "u1", timestamp=watched.now + 31, after=2)
    watched.tell("started", "u1", timestamp=watched.now + 29)
    assert watched.type().wait.max == pytest.approx(2.0, rel=NEAR)
    watched.tell("sent", "u2", name="other", queue="p")
    watched.tell("started", "u2", host="w2", timestamp=watched.now - 0.5)
    assert watched.type("other").wait == watched.queue("p").wait == Quantiles(skewed=1)
    watched.tell("started", "u3")
    assert watched.type(UNKNOWN).wait == Quantiles()


# --- events per second ---------------------------------------------------------------

#: The beginning of a column, however wide they are.
BEGIN = 300.0 * 3_333_333


def stream(*counts):
    """Return statistics that have taken so many events in each second, from BEGIN on."""
    taken = Statistics()
    for second, count in enumerate(counts):
        event = from_fields({"type": "x", "local_received": BEGIN + second + 0.25})
        taken.take([Change(event)] * count)
    return taken


@pytest.mark.parametrize(
    ("counts", "columns", "after", "newest"),
    [
        # The second that is not over is in no column.
        ([5, 6, 7], 300, 2.5, [0, 5, 6]),
        # Columns are means over their seconds, the last one over those it has.
        ([2] * 30 + [4] * 30, 10, 60, [0, 2, 4]),
        ([6] * 35, 10, 35, [0, 6, 6]),
        *(([1] * 400, columns, 400, [1]) for columns in (1, 7, 26, 299, 300, 301, 1000)),
        ([1], 0, 1, []),
        ([], 10, 5, [0] * 10),
    ],
)
def test_the_flow_is_events_per_second_in_columns(counts, columns, after, newest):
    rates = stream(*counts).flow(columns, BEGIN + after)
    assert len(rates) == columns
    assert rates[-len(newest) or columns :] == pytest.approx(newest)
    assert max(rates, default=0) <= max(counts, default=0)


def test_columns_stand_still_until_the_next_one_begins():
    taken = stream(*range(30))
    before = taken.flow(10, BEGIN + 31)
    assert taken.flow(10, BEGIN + 60)[:-1] == before[:-1]
    assert taken.flow(10, BEGIN + 61)[:-1] == before[1:]


def test_the_peak_is_of_the_last_five_minutes():
    taken = stream(5, *[0] * 9, 2)
    for after, peak in ((11, 5), (299.5, 5), (301, 2), (311, 0)):
        taken.flow(300, BEGIN + after)
        assert taken.peak == peak
    # What comes out of order counts as of the newest.
    for second in (1, 0):
        taken.take([Change(from_fields({"type": "x", "local_received": BEGIN + 400 + second}))])
    assert taken.flow(300, BEGIN + 402)[-2:] == [0, 2]


# --- queues --------------------------------------------------------------------------


def test_a_task_waits_until_a_worker_has_it_or_it_ends(watched):
    for number in range(5):
        watched.tell("sent", f"u{number}")
    assert watched.queue().backlog == 5
    watched.tell("received", "u0", after=1)
    queue = watched.queue()
    assert (queue.backlog, queue.backlog_reason, queue.published, queue.received) == (4, "", 5, 1)
    assert (queue.published_rate, queue.received_rate) == (5.0, 1.0)
    for number, kind in enumerate(("revoked", "rejected", "failed", "started"), 1):
        watched.tell(kind, f"u{number}", after=1)
        assert watched.queue().backlog == 4 - number


@pytest.mark.parametrize("together", [True, False])
def test_a_worker_may_be_quicker_than_the_client(watched, together):
    events = [
        watched.event("received", "u1"),
        watched.event("started", "u1", after=1),
        watched.event("sent", "u1", timestamp=watched.now - 2),
        *(watched.event("sent", "u2"), watched.event("received", "u2")),
    ]
    if together:
        watched.take(*events)
    else:
        watched.take(*events[:2])
        assert watched.queue(UNKNOWN).received == 1
        for event in events[2:]:
            watched.take(event)
    queue = watched.queue()
    assert (queue.published, queue.received, queue.backlog) == (2, 2, 0)
    assert watched.queue(UNKNOWN) is None


def test_a_retry_waits_again(watched):
    for kind in ("sent", "received", "started"):
        watched.tell(kind, "u1", after=1)
    watched.tell("sent", "u1", after=1, retries=1)
    assert watched.queue().backlog == 1
    watched.tell("received", "u1", after=1, retries=1)
    watched.tell("retried", "u1")
    assert (watched.queue().backlog, watched.queue().received) == (0, 2)


def test_a_backlog_outlives_the_tasks_that_the_state_can_hold(watched):
    watched.state.max_tasks_in_memory = 10
    for number in range(50):
        watched.tell("sent", f"u{number}")
    assert watched.queue().backlog == 50
    for number in range(50):
        watched.tell("received", f"u{number}", after=1)
    assert watched.queue().backlog == 0


def test_without_task_sent_nobody_knows_the_backlog(watched):
    watched.tell("received", "u1")
    row = watched.queue(UNKNOWN)
    assert (row.backlog, row.received) == (None, 1)
    assert "task_send_sent_event" in row.backlog_reason
    watched.tell("sent", "u2", queue=None)
    row = watched.queue(UNKNOWN)
    assert (row.backlog, row.published) == (None, 1)
    assert row.backlog_reason == "no task-sent event has their queue"


def test_workers_that_received_lately_are_told_apart(watched):
    for number, host in enumerate(("w1", "w2", "w1", None)):
        watched.tell("sent", f"u{number}")
        watched.tell("received", f"u{number}", after=1, host=host)
    row = watched.queue(window="1m")
    assert (row.received, row.received_by) == (4, {"w1": 2, "w2": 1})
    watched.tell("sent", "u9", after=100)
    watched.tell("received", "u9", host="w3")
    assert watched.queue(window="1m").received_by == {"w3": 1}
    assert len(watched.queue(window="5m").received_by) == 3


# --- failures ------------------------------------------------------------------------


def groups(watched, window="5m"):
    rows = watched.statistics.failures(window, watched.now)
    return {(row.task, row.exception, row.message): row for row in rows}


def fail(watched, uuid, exception, **fields):
    watched.tell("received", uuid, name=fields.pop("name", "t"))
    watched.tell("failed", uuid, exception=exception, **fields)


def test_failures_that_differ_in_details_are_one_group(watched):
    started = watched.now
    fail(watched, "u1", "E('no order 1')", host="w1")
    fail(watched, "u2", "E('no order 22')", host="w2", after=10)
    (group,) = groups(watched).values()
    assert (group.task, group.exception, group.message) == ("t", "E", "no order *")
    assert (group.count, group.rate, group.workers) == (2, 0.2, {"w1", "w2"})
    assert (group.first, group.last) == (started, started + 10)
    assert (group.uuid, group.sample) == ("u2", "E('no order 22')")


TRACEBACK = (
    "Traceback (most recent call last):\n  ...\n"
    "billiard.exceptions.TimeLimitExceeded: TimeLimitExceeded(30,)\n"
)
WRAPPER = "ExceptionWithTraceback()"
#: An exception as it was sent, perhaps its traceback, and its kind and message.
# fmt: off
FAILURES = [
    ("CardError('declined')", None, "CardError", "declined"),
    ('CardError("declined")', None, "CardError", "declined"),
    ("shop.CardError('declined')", None, "shop.CardError", "declined"),
    ("MemoryError()", None, "MemoryError", ""),
    ("MemoryError", None, "MemoryError", ""),
    ("OSError(2, 'No such file')", None, "OSError", "*, No such file"),
    ("TimeLimitExceeded(30,)", None, "TimeLimitExceeded", "*"),
    ("KeyError('user-42')", None, "KeyError", "*"),
    ("ValueError('cut by the sen", None, "ValueError", "'cut by the sen"),
    # The traceback names what a hard time limit hid.
    (WRAPPER, TRACEBACK, "TimeLimitExceeded", "TimeLimitExceeded(*,)"),
    ("E('x')", TRACEBACK, "E", "x"),
    *((WRAPPER, odd, "ExceptionWithTraceback", "") for odd in (None, "", "\n", "  ^^^^\n")),
    # Other texts are messages.
    ("", None, "", ""),
    (None, None, "", ""),
    ("it broke after 3 tries", None, "", "it broke after * tries"),
    ("timed out after 30.5s", None, "", "timed out after *"),
    ("1 of -3.5e-10 at 0x7f3a", None, "", "* of * at *"),
    ("<Order object at 0x7fdeadbeef>", None, "", "<Order object at *>"),
    ("order 7a8b8d37-ebe5-4d26-8057-17bb6963e503 is gone", None, "", "order * is gone"),
    ("token eyJhbGciOiJIUzI1NiJ9 expired", None, "", "token * expired"),
    ("no route to 10.0.0.5:6379", None, "", "no route to *"),
    ("no route to 2001:db8::ff", None, "", "no route to *"),
    ("no route to w3@ip-10-2", None, "", "no route to *"),
    ("mail to joe@example.org bounced", None, "", "mail to * bounced"),
    ("at 2026-11-20T14:00:05.123Z.", None, "", "at *."),
    ("https://api.example.org/orders/7781?x=1", None, "", "https://api.example.org/orders/*?x=*"),
    ("line:42", None, "", "line:*"),
    ("no key 'abc' in \"def\"", None, "", "no key '*' in \"*\""),
    ("can't find user's file", None, "", "can't find user's file"),
    ("ids [1, 2, 3] are gone", None, "", "ids [*] are gone"),
    ("two\n  lines", None, "", "two lines"),
    ("nothing to see", None, "", "nothing to see"),
]
# fmt: on


@pytest.mark.parametrize(("exception", "traceback", "kind", "message"), FAILURES)
def test_the_variable_parts_of_a_failure_are_blanked(watched, exception, traceback, kind, message):
    fail(watched, "u1", exception, traceback=traceback)
    assert set(groups(watched)) == {("t", kind, message)}


@given(st.text() | st.text(alphabet="ab1'\"(), \n@.:-\\", max_size=80), st.text())
def test_any_text_has_a_group_of_bounded_length_without_digits(exception, traceback):
    watched = Watched()
    fail(watched, "u" * 10_000, exception, traceback=traceback)
    fail(watched, "v", exception * 500, traceback=traceback * 500)
    for row in groups(watched).values():
        assert max(map(len, (row.uuid, row.sample, row.exception, row.message))) <= 500
        assert "1" not in row.message


def test_odd_fields_are_survived_and_the_workers_of_a_group_are_bounded(watched):
    watched.tell("failed", "u1", exception=["x"], traceback={"a": 1}, host=None)
    (group,) = groups(watched).values()
    assert (group.exception, group.sample, group.workers) == ("", "['x']", frozenset())
    watched.state.max_workers_in_memory = 1000
    for number in range(105):
        fail(watched, f"u{number}", "E()", host=f"w{number}")
    assert len(groups(watched)["t", "E", ""].workers) == 100


# --- time ----------------------------------------------------------------------------


def test_clocks_of_senders_move_no_window(watched):
    for number, skew in enumerate((0, -50_000, 50_000)):
        watched.tell("received", f"u{number}", timestamp=watched.now + skew)
    assert watched.type(window="1m").counts["received"] == 3
    watched.now += 65
    assert watched.type(window="1m").counts["received"] == 0
    assert watched.type(window="all").counts["received"] == 3


@pytest.mark.parametrize(
    "received", [None, "now", math.nan, math.inf, -math.inf, 10**400, 1e300, 1e12, -1, [], True]
)
def test_a_time_that_cannot_be_is_taken_for_now(watched, received):
    watched.run("u1")
    watched.tell("received", "u2", local_received=received)
    assert watched.type(window="1m").counts["received"] == 2


def test_reading_does_not_go_back_before_the_newest_event(watched):
    watched.run("u1")
    rows = watched.statistics.types("1m", watched.now - 1000)
    assert [row.counts["succeeded"] for row in rows] == [1]
    taken = Statistics()
    for second in (1000, 2000):
        taken.take([Change(from_fields({"type": "x", "local_received": second}))])
    assert taken.totals("1m", 2000.0).event_rate == pytest.approx(1 / 60)


def test_before_the_first_event_there_is_nothing():
    empty = Statistics()
    for window in WINDOWS:
        assert empty.types(window, 5.0) == empty.queues(window, 5.0) == []
        assert empty.workers(window, 5.0) == empty.failures(window, 5.0) == []
        assert empty.totals(window, 5.0).event_rate == 0
        assert empty.totals(window, 5.0).run == Quantiles()
        assert empty.totals(window, 5.0).failure_share is None
    assert empty.trend("types", "t", 5.0) == [0] * 20
    assert empty.peak == 0


# --- bounds --------------------------------------------------------------------------


def test_names_that_were_silent_for_longest_are_counted_together():
    watched, first = Watched(max_types=2, max_queues=2, max_groups=2), T
    for number, name in enumerate("abac"):
        after = 10 if number else 0
        for uuid in ("waits", "runs"):
            watched.tell("sent", f"{uuid}{number}", name=name, queue=name)
        watched.tell("received", f"runs{number}", name=name)
        watched.tell("started", f"runs{number}", after=after)
    types = {row.name: row for row in watched.statistics.types("5m", watched.now)}
    assert {row.name: row.running for row in types.values()} == {"a": 2, "c": 1, OTHERS: 1}
    assert types[OTHERS].counts["received"] == 1
    queues = {row.name: row for row in watched.statistics.queues("5m", watched.now)}
    assert {name: row.published for name, row in queues.items()} == {"a": 4, "c": 2, OTHERS: 2}
    assert queues[OTHERS].backlog == 1
    watched = Watched(max_groups=2)
    for number, name in enumerate("abac"):
        fail(watched, f"u{number}", f"E('{name}')", after=10 if number else 0)
    found = groups(watched)
    assert set(found) == {("t", "E", "a"), ("t", "E", "c"), (OTHERS, "", "")}
    others = found[OTHERS, "", ""]
    assert (others.count, others.first, others.last) == (1, first + 10, first + 10)


def test_a_name_that_comes_back_begins_anew():
    watched = Watched(max_types=1)
    for number, (name, after) in enumerate((("a", 0), ("b", 10), ("a", 10), ("a", 50))):
        watched.tell("received", f"u{number}", name=name, after=after)
    assert (watched.type("a").counts["received"], watched.type(OTHERS).counts["received"]) == (2, 2)
    # The first `a` leaves with the others that it was counted with.
    assert watched.type(OTHERS, window="1m").counts["received"] == 1


def test_tasks_and_workers_are_followed_up_to_a_number(watched):
    watched.state.max_tasks_in_memory = watched.state.max_workers_in_memory = 20_000
    for number in range(10_005):
        watched.tell("received", f"u{number}", host=f"w{number}")
        watched.tell("started", f"u{number}", host=f"w{number}")
    assert watched.type().running == 10_000
    assert watched.queue(UNKNOWN).received_by == {}
    # The queue of the first is reported too late.
    watched.tell("sent", "u0", timestamp=watched.now - 1)
    assert watched.queue(UNKNOWN).received == 10_005
    watched.tell("sent", "u10004", timestamp=watched.now - 1)
    assert watched.queue(UNKNOWN).received == 10_004


def test_a_longer_queue_than_can_be_followed_is_said_to_be_longer():
    taken = Statistics()
    event = from_fields({"type": "task-sent", "uuid": "u", "local_received": T})
    taken.take(Change(event, Task(f"u{number}", queue="q")) for number in range(100_001))
    (queue,) = taken.queues("5m", T)
    assert queue.backlog == 100_000
    assert "only the newest 100,000" in queue.backlog_reason


def test_names_without_end_do_not_make_it_grow():
    bounds = {"max_types": 20, "max_queues": 20, "max_workers": 20, "max_groups": 20}
    watched = Watched(**bounds, past_bytes=80_000)
    weights = []
    for number in range(1000):
        name = f"{number:x}-" + "n" * 100
        fields = {"name": name, "queue": name, "host": f"w{number % 100}@h"}
        letters = name.translate(str.maketrans("0123456789", "ghijklmnop"))
        for kind in ("sent", "received", "started"):
            watched.tell(kind, f"u{number}", after=5.0, **fields)
        watched.tell("failed", f"u{number}", after=5.0, exception=f"E('{letters}')", **fields)
        weights.append(watched.statistics.weight_bytes)
    for rows in ("types", "queues", "workers", "failures"):
        assert len(getattr(watched.statistics, rows)("all", watched.now)) == 21
    assert 0 < weights[0] < weights[100]
    assert max(weights[500:]) <= max(weights[:500]) * 1.05


# --- the day before -----------------------------------------------------------------------


def test_minutes_of_a_day_are_as_they_were_counted():
    watched = Watched()
    ok, failed = Counter(), Counter()
    for number in range(300):
        name = f"proj.t{number % 3}"
        kind = "failed" if number % 7 == 0 else "succeeded"
        watched.tell("started", f"u{number}", after=100.0, name=name)
        fields = {"runtime": 0.5 * (number % 4 + 1)} if kind == "succeeded" else {}
        watched.tell(kind, f"u{number}", after=0.0, name=name, **fields)
        (failed if kind == "failed" else ok)[name, watched.now // 60] += 1
    statistics, now = watched.statistics, watched.now
    rows = statistics.over_time("types", "proj.t1", 86_400.0, now, 2000)
    minutes = [now // 60 - n for n in range(len(rows))][::-1]
    assert [row.counts["succeeded"] for row in rows] == [ok["proj.t1", at] for at in minutes]
    assert [row.counts["failed"] for row in rows] == [failed["proj.t1", at] for at in minutes]
    assert {row.run.max for row in rows} <= {None, 0.0, 0.5, 1.0, 1.5, 2.0}
    # All types together, over 15 minutes in slots of 5 seconds.
    rows = statistics.over_time("types", None, 900.0, now, 500)
    assert (len(rows), sum(row.count(3, 4) for row in rows)) == (180, 9)
    # In few columns, which stand still, the same.
    for columns in (30, 60, 179):
        rows = statistics.over_time("types", None, 900.0, now, columns)
        assert len(rows) <= columns
        assert 8 <= sum(row.count(3, 4) for row in rows) <= 9
        assert len({row.seconds for row in rows[:-1]}) == 1
    # A window that ended an hour ago has whole minutes.
    before = statistics.before("types", "15m", 3600.0, now)
    end = (now - 3600) // 60
    for name in ("proj.t0", "proj.t1", "proj.t2"):
        counted = sum(ok[name, at] for at in minutes if end - 15 <= at < end)
        assert before[name].counts["succeeded"] == counted
    assert statistics.before("types", "5m", 86_400.0, now) == {}
