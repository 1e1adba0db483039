"""History: attempts, whatever happens to a task and however its events come."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.state import State
from evtools.state.history import READINGS_MAX
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
        assert len(task.history.readings) <= READINGS_MAX
    assert len(task.attempts) < READINGS_MAX
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
