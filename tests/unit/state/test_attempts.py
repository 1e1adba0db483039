"""Attempts: what the events of a task mean, whatever order they come in and how often."""

from itertools import permutations
from operator import itemgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.state import Attempt, State, attempts, in_order, unwrapped
from evtools.state.attempts import EVENTS_MAX, epoch
from evtools.wire import from_fields
from tools.stories import STORIES, UNUSUAL
from tools.told import CLIENT, OTHER, UUID, WORKER, account, account_of_attempt, life, task_of, told

story_of_task = pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))


def states(task):
    """The states of all attempts, the newest last."""
    return (*(attempt.state for attempt in task.attempts), task.state)


def starts(task):
    return [*(attempt.started for attempt in task.attempts), task.started]


def there(*steps, start, **fields):
    """What the other worker tells."""
    return life(*steps, start=start, hostname=OTHER, **fields)


# --- stories -------------------------------------------------------------------------


@story_of_task
def test_a_life_is_understood(story):
    task = task_of(story.events)
    assert states(task) == story.attempts
    assert task.retries == story.retries or task.retries is None
    assert task.worker_name == story.hostname
    for attempt in task.attempts:
        assert attempt.worker_name == WORKER
        assert attempt.ended or attempt.state == "STARTED"


@story_of_task
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_order_of_the_events_of_a_life_ends_in_the_same_task(story, data):
    order = data.draw(st.permutations(story.events))
    assert account(task_of(order)) == account(task_of(story.events))


_STEPS = ("sent", "received", "started", "succeeded", "failed", "retried")
_EVENTS = st.builds(
    lambda step, at, host, retries: told(
        f"task-{step}",
        float(at),
        **({"retries": retries} if step in {"sent", "received"} else {}),
        # A worker has one process at a time.
        **({} if step == "sent" else {"hostname": host, "pid": 77 + at // 15}),
    ),
    st.sampled_from([*_STEPS, "revoked", "rejected", "cancelled"]),
    st.integers(10, 18),
    st.sampled_from([WORKER, OTHER]),
    st.sampled_from([0, 0, 0, 1, 2]),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(_EVENTS, min_size=1, max_size=8), st.data())
def test_every_order_of_any_events_ends_in_the_same_task(events, data):
    order = data.draw(st.permutations(events))
    assert account(task_of(order)) == account(task_of(events))


@story_of_task
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_what_is_left_of_a_life_and_comes_twice_is_the_same_in_every_order(story, data):
    order = data.draw(st.lists(st.sampled_from(story.events), min_size=1))
    left = [event for event in story.events if event in order]
    assert account(task_of(order)) == account(task_of(left))


def shown(task):
    """All attempts as a state has them; what the newest shows of the one before left out."""
    facts = [account_of_attempt(attempt) for attempt in task.attempts]
    return facts, {name: task.get(name) for name in OF_NEWEST}


OF_NEWEST = ("state", "timestamp", "pid", "received", "started", "succeeded", "ended", "retries")


@settings(max_examples=500, deadline=None)
@given(st.lists(_EVENTS, min_size=1, max_size=12), st.data())
def test_a_state_says_what_the_one_rule_says_in_any_order(events, data):
    """The quick ways, for one attempt and for events in order, end where the rule ends."""
    *earlier, newest = attempts(in_order(map(from_fields, events)))
    order = data.draw(
        st.permutations(events) | st.just(sorted(events, key=itemgetter("timestamp")))
    )
    facts, of_newest = shown(task_of(order))
    assert facts == [account_of_attempt(attempt) for attempt in earlier]
    assert of_newest == {name: getattr(newest, name) for name in OF_NEWEST}


@story_of_task
def test_the_one_rule_needs_no_order_and_no_state(story):
    expected = [
        account_of_attempt(each) for each in attempts(in_order(map(from_fields, story.events)))
    ]
    twice = [from_fields(event) for event in (*story.events[::-1], *story.events)]
    assert [account_of_attempt(each) for each in attempts(in_order(twice))] == expected


@story_of_task
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_each_change_begins_where_the_one_before_it_ended(story, data):
    state = State()
    changes = state.apply(data.draw(st.permutations(story.events)))
    assert [change.before for change in changes] == [None, *(each.after for each in changes)][:-1]
    assert [change.created for change in changes] == [True] + [False] * (len(changes) - 1)
    assert state.tasks[UUID].state == changes[-1].after


@pytest.mark.parametrize("kinds", list(permutations(["sent", "received", "started", "succeeded"])))
def test_one_attempt_at_one_worker_keeps_no_events(kinds):
    events = {
        event["type"][5:]: event for event in life("sent", "received", "started", "succeeded")
    }
    order = [events[kind] for kind in kinds]
    task = task_of(order * 2)
    assert task.history is None
    assert account(task) == account(task_of(events.values()))


@story_of_task
def test_a_batch_is_no_different_from_its_events(story):
    state = State()
    for event in story.events:
        one_by_one = task_of([event], state)
    assert account(one_by_one) == account(task_of(story.events))


@story_of_task
@pytest.mark.parametrize("utcoffset", [-1, 8, -5.5, 3.5])
def test_no_zone_moves_anything(story, utcoffset):
    moved = [{**event, "utcoffset": utcoffset} for event in story.events]
    assert account(task_of(moved)) == account(task_of(story.events))


@story_of_task
def test_a_lamport_clock_that_begins_anew_moves_nothing(story):
    reset = [{**event, "clock": 1} for event in story.events]
    assert account(task_of(reset)) == {**account(task_of(story.events)), "clock": 1}


def test_the_logical_time_is_the_highest_that_workers_told():
    sent = told("task-sent", 10.0, clock=900)
    received, started = told("task-received", 11.0), told("task-started", 12.0)
    assert task_of([sent]).clock == 900
    again = told("task-received", 13.0, clock=5, retries=1)
    for events in ([sent, received, started, again], [started, sent, again, received]):
        assert task_of(events).clock == 1200
        assert task_of(events[::-1]).clock == 1200


def test_an_attempt_that_is_shown_stays_as_it_was_when_more_is_told():
    events = UNUSUAL["given back and delivered again"].events
    for number in range(1, len(events)):
        state = State()
        shown = task_of(events[:number], state).attempts
        before = [account_of_attempt(attempt) for attempt in shown]
        state.apply(events[number:])
        assert [account_of_attempt(attempt) for attempt in shown] == before


# --- late events ---------------------------------------------------------------------


def test_a_retry_that_is_told_after_the_success_is_of_its_own_attempt():
    *events, started, succeeded = UNUSUAL["retried at the same worker"].events
    *events, retried = events
    state = State()
    task = task_of([*events, started, succeeded], state)
    before = task.state
    assert states(task) == ("STARTED", "SUCCESS")
    [change] = state.apply([retried])
    assert (before, change.before, change.after) == ("SUCCESS",) * 3
    assert states(task) == ("RETRY", "SUCCESS")
    assert task.retried is None
    [first] = task.attempts
    assert (first.retried, first.exception) == (14.0, "OSError(5)")


def test_while_a_task_waits_for_its_second_try_it_shows_why():
    task = task_of(UNUSUAL["waits for its second try"].events)
    assert (task.state, task.retries, task.ended) == ("RETRY", 1, None)
    assert (task.retried, task.exception) == (14.0, "OSError(5)")
    assert (task.received, task.started) == (13.5, None)


def test_a_task_that_was_sent_again_is_still_where_it_was():
    task = task_of(UNUSUAL["sent for its second try"].events)
    assert task.worker_name == WORKER
    assert (task.sent, task.received) == (13.0, None)


def test_every_attempt_has_what_was_told_of_it():
    task = task_of(UNUSUAL["retried in vain"].events)
    told = [
        (each.number, each.sent, each.received, each.started, each.ended, each.exception)
        for each in task.attempts
    ]
    assert told == [
        (0, 10.0, 10.5, 12.0, 14.0, "OSError(1)"),
        (1, 13.0, 13.5, 15.0, 17.0, "OSError(2)"),
    ]
    assert (task.sent, task.received, task.started, task.failed) == (16, 16.5, 18, 19)
    assert task.exception == "OSError(3)"
    assert task.retried is None


def test_a_receipt_that_comes_late_fills_in_what_it_tells():
    received, *rest = life("received", "started", "succeeded")
    task = task_of([*rest, {**received, "name": "shop.pay", "args": "(7,)"}])
    assert (task.name, task.args, task.retries) == ("shop.pay", "(7,)", 0)
    assert states(task) == ("SUCCESS",)


@pytest.mark.parametrize("order", [1, -1])
def test_who_receives_a_task_knows_more_of_it_than_who_sent_it(order):
    sent = told("task-sent", 10.0, name="wrong", args="?", root_id="r", parent_id="p")
    received = told("task-received", 11.0, root_id=None, name=None)
    task = task_of([sent, received][::order])
    assert (task.name, task.args) == ("wrong", "(1,)")
    assert (task.root_id, task.parent_id) == ("r", "p")
    assert (task.client, task.queue) == (CLIENT, "mail")


def test_a_later_attempt_knows_more_of_a_task_than_an_earlier_one():
    events = UNUSUAL["retried at the same worker"].events
    later = [
        {**event, "args": "(2,)", "queue": "slow"} if event.get("retries") else event
        for event in events
    ]
    for order in (later, later[::-1]):
        task = task_of(order)
        assert (task.args, task.queue) == ("(2,)", "slow")


# --- deliveries ----------------------------------------------------------------------


def test_a_message_that_is_delivered_again_is_an_attempt_of_its_own():
    task = task_of(UNUSUAL["delivered again after its success"].events)
    assert task.state == "STARTED"
    assert (task.succeeded, task.result, task.runtime) == (None, None, None)
    [first] = task.attempts
    assert (first.number, first.state, first.result) == (0, "SUCCESS", "4")
    assert first.runtime == 0.5


@pytest.mark.parametrize("ahead", [-1000.0, 0.0, 1000.0])
def test_deliveries_are_in_the_order_of_our_clock(ahead):
    """The other worker's clock is wrong, its heartbeats say how much."""
    beats = [
        told("worker-heartbeat", 2000.0 + ahead, hostname=OTHER, local_received=2000.25),
        told("worker-heartbeat", 2000.0, local_received=2000.25),
    ]
    here = life("received", "started", "rejected", start=2010.0)
    later = [
        {**event, "local_received": event["timestamp"] - ahead + 0.25}
        for event in there("received", "started", start=2020.0 + ahead)
    ]
    for events in ([*here, *later], [*later, *here]):
        state = State()
        state.apply([*beats, *events])
        task = state.tasks[UUID]
        assert states(task) == ("REJECTED", "STARTED")
        assert task.worker_name == OTHER


def test_without_heartbeats_the_clocks_are_believed():
    state = State()
    here = life("received", "started", start=20.0)
    before = there("received", "started", start=10.0)
    state.apply([*here, *before])
    assert starts(state.tasks[UUID]) == [11.0, 21.0]
    assert state.tasks[UUID].worker_name == WORKER


def test_what_is_heard_late_moves_the_sendings_on():
    """One of them seems to be of the second try, until that is received."""
    events = [
        *there("received", start=11.0),
        told("task-retried", 20.5, hostname=OTHER),
        told("task-received", 21.0, retries=1),
        *(told("task-started", 22.0, hostname=name) for name in (WORKER, OTHER)),
        told("task-sent", 30.0, retries=2),
        told("task-received", 31.0, retries=2, hostname=OTHER),
        told("task-retried", 33.0),
    ]
    expected = account(task_of(events))
    for number in range(len(events)):
        order = [*events[number:], *events[:number]]
        assert account(task_of(order)) == expected


def test_each_delivery_has_the_sending_of_its_own():
    first = life("sent", "received", "started", "rejected")
    second = life("sent", "received", start=20.0)
    task = task_of([*first, *second])
    assert ([each.sent for each in task.attempts], task.sent) == ([10.0], 20.0)


def test_what_is_sent_twice_and_received_once_is_pending():
    first = life("sent", "received", "started")
    task = task_of([*first, told("task-sent", 20.0)])
    assert states(task) == ("STARTED", "PENDING")
    assert task.worker_name is None


# --- which attempt an event is of ----------------------------------------------------


def test_a_receipt_we_missed_is_a_delivery_of_its_own():
    task = task_of(
        [*life("received", "started", "rejected"), *life("started", "succeeded", start=20.0)]
    )
    assert states(task) == ("REJECTED", "SUCCESS")
    assert task.retries is None


def test_a_try_whose_receipt_we_missed_follows_the_one_that_was_retried():
    task = task_of(
        [*life("received", "started", "retried"), *life("started", "succeeded", start=20.0)]
    )
    assert states(task) == ("RETRY", "SUCCESS")
    assert [attempt.number for attempt in task.history.attempts] == [0, 1]


def test_a_try_that_we_hear_of_first_has_the_number_that_was_sent():
    events = [told("task-sent", 10.0, retries=3), *life("started", start=11.0)]
    for order in (events, events[::-1]):
        task = task_of(order)
        assert (task.state, task.retries) == ("STARTED", 3)
        assert task.attempts == ()


def test_a_clock_that_is_set_back_while_a_task_begins_makes_no_second_attempt():
    events = [told("task-started", 12.0), told("task-received", 12.5)]
    for order in (events, events[::-1]):
        task = task_of(order)
        assert states(task) == ("STARTED",)
        assert (task.received, task.started) == (12.5, 12.0)


def test_a_second_try_is_one_even_if_its_clock_was_set_back():
    events = [told("task-started", 12.0), told("task-received", 12.5, retries=1)]
    assert states(task_of(events)) == ("STARTED", "RETRY")


def test_a_retry_without_anything_that_runs_is_of_what_is_open_for_longest():
    events = [*life("received"), told("task-received", 11.0, retries=1), told("task-retried", 12.0)]
    task = task_of(events)
    assert [attempt.retried for attempt in task.history.attempts] == [12.0, None]


def test_a_retry_without_anything_open_is_of_the_last():
    events = [*life("received", "started", "failed"), told("task-retried", 14.0)]
    task = task_of(events)
    assert states(task) == ("FAILURE",)
    assert task.retried == 14.0


def test_an_end_is_of_the_delivery_that_runs():
    events = [
        *life("received", "started"),
        told("task-received", 13.0),
        told("task-succeeded", 14.0),
    ]
    task = task_of(events)
    assert states(task) == ("SUCCESS", "RECEIVED")


def test_an_end_without_anything_that_runs_is_of_what_is_newest():
    open_ones = [told("task-received", 10.0), told("task-received", 11.0)]
    task = task_of([*open_ones, told("task-revoked", 12.0)])
    assert states(task) == ("RECEIVED", "REVOKED")
    ended = [*life("received", "started", "rejected"), told("task-failed", 12.1)]
    assert states(task_of(ended)) == ("FAILURE",)


def test_events_of_the_same_moment_are_in_the_order_of_a_life():
    events = [told(f"task-{step}", 10.0) for step in ("sent", "received", "started", "succeeded")]
    for order in (events, events[::-1]):
        assert states(task_of(order)) == ("SUCCESS",)


def test_what_does_not_say_where_it_comes_from_comes_from_the_only_worker():
    received, started, succeeded = life("received", "started", "succeeded")
    nameless = {**started, "hostname": None}
    for order in ([received, nameless, succeeded], [nameless, succeeded, received]):
        task = task_of(order)
        assert states(task) == ("SUCCESS",)
        assert (task.worker_name, task.started) == (WORKER, 11.0)


def test_of_two_workers_nobody_knows_which_was_meant():
    events = [
        *life("received"),
        *there("received", start=11.0),
        told("task-started", 12.0, hostname=None),
    ]
    for order in (events, events[::-1]):
        task = task_of(order)
        assert states(task) == ("RECEIVED", "RECEIVED", "STARTED")
        assert task.worker_name is None


# --- what is shown of them --------------------------------------------------------------


@pytest.mark.parametrize("name", ["failed", "terminated", "given back", "succeeded"])
def test_what_a_first_attempt_said_is_kept_when_there_is_a_second(name):
    state = State()
    task = task_of(STORIES[name].events, state)
    first = account(task)
    state.apply(life("received", "started", start=30.0))
    assert (task.state, task.received) == ("STARTED", 30.0)
    [before] = task.attempts
    for fact in ("state", "sent", "received", "started", "ended", "exception", "signum"):
        assert getattr(before, fact) == first[fact]
    assert (before.runtime, before.requeue) == (first["runtime"], first["requeue"])
    assert (before.timestamp, before.pid) == (13.0, 77)
    # Nothing of it is left in what is shown of the one that runs.
    for fact in ("ended", "exception", "traceback", "signum", "requeue", "result"):
        assert task.get(fact) is None
    assert task.runtime is None


def test_a_task_whose_second_try_is_at_nobody_shows_where_the_first_was():
    state = State()
    task = task_of(UNUSUAL["sent for its second try"].events, state)
    assert task.worker_name == WORKER
    state.apply([told("task-received", 15.0, retries=1, hostname=OTHER)])
    assert (task.state, task.worker_name) == ("RETRY", OTHER)
    assert task.exception == "OSError(5)"
    state.apply([told("task-started", 16.0, hostname=OTHER)])
    assert (task.state, task.exception, task.retried) == ("STARTED", None, None)


def test_a_second_try_is_all_that_may_be_known():
    task = task_of([told("task-sent", 10.0, retries=1)])
    assert (task.state, task.retries, task.worker_name) == ("RETRY", 1, None)
    assert task.attempts == ()
    assert task.retried is task.exception is None


def test_of_several_ends_one_counts():
    events = life("received", "started")
    failed, rejected = told("task-failed", 13.0), told("task-rejected", 13.5)
    for order in ([failed, rejected], [rejected, failed]):
        task = task_of([*events, *order])
        assert (task.state, task.ended, task.rejected) == ("FAILURE", 13.0, 13.5)
        assert (task.timestamp, task.requeue, task.history) == (13.0, True, None)


@pytest.mark.parametrize("order", [1, -1])
def test_what_a_worker_received_counts_more_than_what_was_sent(order):
    sent = told("task-sent", 10.0, eta="soon", expires="late")
    received = told("task-received", 11.0, eta="now")
    task = task_of([sent, received][::order])
    assert (task.eta, task.expires) == ("now", "late")


def test_an_attempt_says_what_it_is():
    task = task_of(UNUSUAL["given back and waiting"].events)
    [first] = task.attempts
    assert isinstance(first, Attempt)
    assert repr(first) == "<Attempt 0: REJECTED on celery@one>"
    assert (first.began, first.runtime, first.waits) == (11.0, 1.0, False)


# --- what was raised ------------------------------------------------------------------

WRAPPER = "ExceptionWithTraceback()"


@pytest.mark.parametrize(
    ("line", "raised"),
    [
        ("billiard.exceptions.TimeLimitExceeded: TimeLimitExceeded(1,)", "TimeLimitExceeded(1,)"),
        (
            "billiard.exceptions.WorkerLostError: Worker exited prematurely: signal 9",
            "WorkerLostError('Worker exited prematurely: signal 9')",
        ),
        ("MemoryError", "MemoryError()"),
    ],
)
def test_the_end_of_the_traceback_says_what_was_raised(line, raised):
    traceback = f"Traceback (most recent call last):\n  File x, line 1\n{line}\n"
    assert unwrapped(WRAPPER, traceback) == raised
    failed = told("task-failed", 12.0, exception=WRAPPER, traceback=traceback)
    for order in (1, -1):
        task = task_of([*life("received", "started"), failed][::order])
        assert (task.exception, task.traceback) == (raised, traceback)


@pytest.mark.parametrize("traceback", [None, "", "?!", "no type: of an exception"])
def test_where_nothing_says_what_was_raised_the_wrapper_stays(traceback):
    assert unwrapped(WRAPPER, traceback) == WRAPPER
    assert unwrapped("KeyError('x')", traceback) == "KeyError('x')"


def test_what_was_raised_is_no_longer_than_texts_are():
    assert len(unwrapped(WRAPPER, "ValueError: " + "x" * 1_000_000)) <= 1100


@given(st.text(), st.text())
def test_no_traceback_makes_it_raise(exception, traceback):
    assert unwrapped(exception, traceback) == exception or exception == WRAPPER
    assert unwrapped(WRAPPER, traceback)


# --- moments --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "moment",
    [
        "2026-11-21T14:56:32.500000+00:00",
        "2026-11-21T14:56:32.500000Z",
        "2026-11-21T14:56:32.500000",
        "2026-11-21T20:26:32.500000+05:30",
        "2026-11-21 14:56:32.5",
    ],
)
def test_a_moment_is_the_same_in_every_zone_and_utc_without_one(moment):
    assert epoch(moment) == 1795272992.5


@pytest.mark.parametrize(
    "moment", [None, "", "soon", "NaN", "1795272992.5", "2026-13-45T99:99:99", "\ud800", "9" * 5000]
)
def test_what_is_no_moment_is_none(moment):
    assert epoch(moment) is None


@given(st.text() | st.datetimes(timezones=st.timezones()))
def test_no_text_makes_it_raise_and_what_python_writes_is_read(moment):
    if isinstance(moment, str):
        assert isinstance(epoch(moment), float | None)
    else:
        assert epoch(moment.isoformat()) == pytest.approx(moment.timestamp())


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("eta", "wait"),
    [
        (None, 70.0),
        ("1970-01-01T00:01:15", 5.0),  # 75 s
        ("1970-01-01T02:01:15+02:00", 5.0),
        ("1970-01-01T00:00:05", 70.0),  # before it was sent
        ("soon", 70.0),
        ("1970-01-01T01:00:00", None),  # started too early: clocks differ
    ],
)
def test_a_delay_that_was_asked_for_is_no_wait(eta, wait, order):
    events = [
        told("task-sent", 10.0, eta=eta),
        told("task-received", 11.0, eta=eta),
        told("task-started", 80.0),
    ]
    assert task_of(events[::order]).wait == wait


@pytest.mark.parametrize("order", [1, -1])
def test_the_wait_of_a_second_try_begins_with_its_own_sending_and_delay(order):
    eta = "1970-01-01T00:01:00"  # 60 s
    events = [
        *life("sent", "received", "started"),
        told("task-sent", 13.0, retries=1, eta=eta, hostname=WORKER),
        told("task-received", 13.5, retries=1, eta=eta),
        told("task-retried", 14.0),
        told("task-started", 61.5),
    ]
    task = task_of(events[::order])
    assert (task.wait, task.eta) == (1.5, eta)


# --- bounds --------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, -1])
def test_a_task_that_is_retried_for_ever_takes_no_more_space(order):
    events = [
        event
        for number in range(200)
        for event in [
            told("task-received", 10.0 + number, retries=number, args="x" * 100),
            told("task-started", 10.25 + number),
            told("task-retried", 10.5 + number),
        ]
    ]
    state = State()
    weights = []
    for event in events[::order]:
        task = task_of([event], state)
        weights.append(task.weight_bytes)
    assert task.retries == 199
    # Of what comes backwards, the middle of a life is forgotten before its beginning.
    assert task.state == ("RETRY" if order == 1 else task.state)
    if task.history is not None:
        assert len(task.history.events) <= EVENTS_MAX
    assert len(task.attempts) < EVENTS_MAX
    assert max(weights) < 50_000
    beats = state.weight_bytes - task.weight_bytes
    assert beats == State().weight_bytes + 2 * 1500


def test_an_event_that_comes_twice_takes_no_more_space():
    state = State()
    events = UNUSUAL["retried in vain"].events
    weight = task_of(events, state).weight_bytes
    facts = account(state.tasks[UUID])
    state.apply(events * 20)
    assert state.tasks[UUID].weight_bytes == weight
    assert account(state.tasks[UUID]) == facts
