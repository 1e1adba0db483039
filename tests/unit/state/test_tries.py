"""Tries: what was the newest attempt of a task, and what is told of it later."""

from itertools import count
from operator import itemgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.state import State
from evtools.state.readings import TASK_READINGS, read
from evtools.state.tries import (
    ATTEMPTS_MAX,
    can_follow,
    follow,
    go_on,
    is_later,
    is_latest,
    open_last,
    tell_last,
)
from evtools.state.worker import Worker
from tools.stories import UNUSUAL
from tools.told import CLIENT, OTHER, UUID, WORKER, Thorough, account, life, task_of, told

BEGUN = life("sent", "received", "started")
AGAIN = told("task-received", 13.0, retries=1)
#: It has been sent again, and nobody has said yet that it failed.
FOLLOWED = [*BEGUN, AGAIN]


def reading_of(kind, at, **fields):
    reading, _ = read(told(kind, at, **fields), TASK_READINGS[kind])
    return reading


def here(task):
    return task.worker


# --- what may follow -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "may"),
    [
        ([], False),
        (BEGUN[:1], False),
        (BEGUN[:2], True),
        (BEGUN, True),
        ([*BEGUN, told("task-retried", 14.0)], True),
        ([*BEGUN[:2], told("task-retried", 14.0)], False),
        ([*BEGUN, told("task-failed", 14.0)], False),
        (FOLLOWED, False),
        ([*FOLLOWED, told("task-retried", 14.0)], True),
    ],
)
def test_a_try_follows_one_that_may_be_tried_again(events, may):
    state = State()
    state.get_or_create_task(UUID)
    assert can_follow(task_of(events, state), 2) is may


def test_a_try_follows_one_with_a_lower_number():
    task = task_of([told("task-received", retries=3)])
    assert [can_follow(task, number) for number in (2, 3, 4, 9)] == [*(False, False, True, True)]


def test_what_was_the_newest_is_kept():
    task = task_of([*BEGUN, told("task-retried", 13.0)])
    follow(task, 1)
    [last] = task.attempts
    assert (last.number, last.state, last.worker) == (0, "RETRY", task.worker)
    assert (last.sent, last.received, last.started) == (10.0, 11.0, 12.0)
    assert (last.ended, last.exception, last.pid) == (13.0, "OSError(5)", 77)
    # Of the new one nothing is known but why.
    assert (task.state, task.retries) == ("RETRY", 1)
    assert (task.sent, task.received, task.started, task.ended) == (None,) * 4
    assert (task.retried, task.exception, task.pid) == (13.0, "OSError(5)", None)


def test_a_try_that_waits_shows_the_one_before_and_no_other():
    task = task_of([*FOLLOWED, told("task-retried", 13.5)])
    assert task.exception == "OSError(5)"
    follow(task, 2)
    assert (task.retried, task.exception, task.traceback) == (None, None, None)
    assert task.attempts[1].exception is None
    assert task.attempts[0].exception == "OSError(5)"


def test_a_try_that_goes_on_shows_nothing_of_the_one_before():
    task = task_of([*FOLLOWED, told("task-retried", 13.5)])
    go_on(task)
    assert (task.retried, task.exception, task.traceback) == (None, None, None)
    alone = task_of([*BEGUN, told("task-failed", 13.0)])
    go_on(alone)
    assert alone.exception == "OSError(5)"


# --- the order of what a worker tells ------------------------------------------------


def test_what_a_worker_tells_has_to_come_in_its_order():
    task = task_of(FOLLOWED)
    assert not is_later(task, here(task), 12.0)
    assert is_later(task, here(task), 12.5)
    assert not is_latest(task, here(task), 12.5)
    assert not is_latest(task, here(task), 13.0)
    assert is_latest(task, here(task), 13.5)


def test_what_another_tells_has_a_time_of_its_own():
    task = task_of(FOLLOWED)
    assert is_later(task, Worker(OTHER), 5.0)
    assert is_latest(task, Worker(OTHER), 5.0)
    assert is_latest(task, None, 5.0)


def test_a_worker_that_was_forgotten_meanwhile_is_still_the_same():
    task = task_of(FOLLOWED)
    assert not is_later(task, Worker(WORKER), 12.0)
    assert not is_latest(task, Worker(WORKER), 12.5)
    assert open_last(task, Worker(WORKER)) is task.attempts[0]


def test_while_it_is_sent_only_its_time_is_that_of_its_client():
    again = told("task-sent", 50.0, retries=1)
    task = task_of([*BEGUN, again])
    assert is_latest(task, here(task), 13.0)


# --- what is told of the last before the newest --------------------------------------


def test_the_last_is_open_until_its_worker_ends_it():
    assert open_last(task_of(BEGUN), Worker(WORKER)) is None
    task = task_of(FOLLOWED)
    assert open_last(task, here(task)) is task.attempts[0]
    assert open_last(task, Worker(OTHER)) is None
    assert open_last(task, None) is None
    ended = task_of([*FOLLOWED, told("task-retried", 13.5)])
    assert open_last(ended, here(ended)) is None


def test_the_last_may_be_told_to_be_retried():
    task = task_of(FOLLOWED)
    before = task.attempts
    grown = tell_last(task, reading_of("task-retried", 14.0, traceback="x" * 500))
    assert 500 < grown < 600
    [last] = task.attempts
    assert (last.state, last.ended, last.exception) == ("RETRY", 14.0, "OSError(5)")
    assert (task.retried, task.exception) == (14.0, "OSError(5)")
    assert (task.state, task.timestamp) == ("RETRY", 13.0)
    # Who has looked at it still sees what it was.
    assert before[0].ended is None


def test_what_is_told_of_the_last_does_not_show_once_the_newest_runs():
    task = task_of([*FOLLOWED, told("task-started", 13.5)])
    assert tell_last(task, reading_of("task-retried", 14.0)) is not None
    assert (task.state, task.retried, task.exception) == ("STARTED", None, None)
    assert task.attempts[0].retried == 14.0


@pytest.mark.parametrize(
    "reading",
    [
        reading_of("task-retried", 14.0, pid=78),
        reading_of("task-retried", 11.5),
        reading_of("task-retried", 13.0),
    ],
)
def test_what_is_not_next_is_not_taken(reading):
    task = task_of(FOLLOWED)
    before = account(task)
    assert tell_last(task, reading) is None
    assert account(task) == before


# --- bounds --------------------------------------------------------------------------


def test_a_task_that_is_tried_for_ever_keeps_the_newest_tries():
    state, weights = State(), []
    for number in range(5 * ATTEMPTS_MAX):
        at = 10.0 + number
        events = [
            told("task-sent", at, retries=number, hostname=CLIENT, eta="e" * 40),
            told("task-received", at + 0.1, retries=number, eta="e" * 40),
            told("task-started", at + 0.2),
            told("task-retried", at + 0.9, traceback="x" * 1000),
        ]
        task = task_of(events, state)
        weights.append(task.weight_bytes)
        assert task.history is None
    assert [attempt.number for attempt in task.attempts] == [
        *range(4 * ATTEMPTS_MAX - 1, 5 * ATTEMPTS_MAX - 1)
    ]
    assert weights[ATTEMPTS_MAX] > ATTEMPTS_MAX * 1000
    assert len(set(weights[2 * ATTEMPTS_MAX :])) == 1


# --- whatever comes when -------------------------------------------------------------


@st.composite
def _tries(draw):
    """Draw a task that is retried by two workers, and how late we hear of each."""
    told_of = []

    def tell(kind, at, hostname, **fields):
        told_of.append(told(f"task-{kind}", at, hostname=hostname, **fields))

    hosts = draw(st.lists(st.sampled_from([WORKER, OTHER]), min_size=1, max_size=4))
    for number, host in enumerate(hosts):
        at = 10.0 + 10 * number
        announced = {"retries": number, "args": draw(st.sampled_from(["(1,)", "()"]))}
        announced["eta"] = draw(st.sampled_from([None, "soon"]))
        if draw(st.booleans()):
            tell("sent", at, f"{CLIENT}{number}", **announced)
        tell("received", at + 1, host, **announced)
        # The next may have been received, or even run, before either is told.
        tell("started", at + draw(st.sampled_from([2, 2, 3, 5, 12])), host)
        if number < len(hosts) - 1:
            tell("retried", at + draw(st.sampled_from([10.5, 11.5, 13, 16])), host)
        else:
            ends = ("succeeded", "failed", "revoked", "retried", "progress")
            tell(draw(st.sampled_from(ends)), at + 14, host)
    lags = st.sampled_from([0.0, 0.4, 1.2, 2.5, 6.0, 25.0])
    lag = {event["hostname"]: draw(lags) for event in told_of}
    heard = [(event["timestamp"] + lag[event["hostname"]], event) for event in told_of]
    return [event for _, event in sorted(heard, key=itemgetter(0))]


def as_they_came(events):
    """Return events with the receipt in their order, as a stream has them."""
    times = count(200.0)
    return [{**event, "local_received": next(times)} for event in events]


@settings(deadline=None)
@given(_tries().map(as_they_came))
def test_tries_are_what_their_history_would_tell(events):
    assert account(task_of(events)) == account(task_of(events, Thorough()))


@settings(deadline=None)
@given(_tries())
def test_tries_are_the_same_however_late_each_worker_is_heard_of(events):
    in_order = sorted(events, key=itemgetter("timestamp"))
    assert account(task_of(events)) == account(task_of(in_order))


@pytest.mark.parametrize("name", ["retried in vain", "retried at the other worker"])
def test_tries_in_their_order_need_no_history(name):
    task = task_of(as_they_came(UNUSUAL[name].events))
    assert task.history is None
    assert task.attempts
