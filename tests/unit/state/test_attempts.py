"""Attempts: what the events of a task mean, whatever order they come in and how often."""

from itertools import combinations
from operator import itemgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.state import State, attempts, in_order, unwrapped
from evtools.wire import from_fields
from tools.stories import STORIES, UNUSUAL
from tools.told import CLIENT, OTHER, UUID, WORKER, account, account_of_attempt, life, task_of, told

story_of_task = pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
ENDS = ("succeeded", "failed", "revoked", "cancelled", "rejected", "retried")


def states(task):
    """The states of all attempts, the newest last."""
    return (*(attempt.state for attempt in task.attempts), task.state)


def there(*steps, start, **fields):
    """Events of the other worker."""
    return life(*steps, start=start, hostname=OTHER, **fields)


def facts_of(events):
    """What the rule makes of events, the newest attempt last."""
    return [account_of_attempt(each) for each in attempts(in_order(map(from_fields, events)))]


def _sent_and_received(sent=(), received=()):
    return [told("task-sent", 10.0, **dict(sent)), told("task-received", 11.0, **dict(received))]


#: Events, the states of all attempts, and what the task shows.
# fmt: off
CASES = {
    "a receipt that is missing makes a delivery of its own": (
        [*life("received", "started", "rejected"), *life("started", "succeeded", start=20.0)],
        ("REJECTED", "SUCCESS"), {"retries": None},
    ),
    "after a retry an attempt without a receipt is the next": (
        [*life("received", "started", "retried"), *life("started", "succeeded", start=20.0)],
        ("RETRY", "SUCCESS"), {"numbers": [0, 1]},
    ),
    "a first attempt has the number that was sent": (
        [told("task-sent", 10.0, retries=3), *life("started", start=11.0)],
        ("STARTED",), {"retries": 3},
    ),
    "a clock that is set back while a task begins makes no second attempt": (
        [told("task-started", 12.0), told("task-received", 12.5)],
        ("STARTED",), {"received": 12.5, "started": 12.0},
    ),
    "a second try is one even if its clock was set back": (
        [told("task-started", 12.0), told("task-received", 12.5, retries=1)],
        ("STARTED", "RETRY"), {},
    ),
    "a retry where nothing runs is of what is open for longest": (
        [told("task-received", 10.0), told("task-received", 11.0, retries=1),
         told("task-retried", 12.0)],
        ("RETRY", "RETRY"), {"ends": [12.0, None]},
    ),
    "a retry where nothing is open is of the last": (
        [*life("received", "started", "failed"), told("task-retried", 14.0)],
        ("FAILURE",), {"retried": 14.0},
    ),
    "an end is of the delivery that runs": (
        [*life("received", "started"), told("task-received", 13.0), told("task-succeeded", 14.0)],
        ("SUCCESS", "RECEIVED"), {},
    ),
    "an end where nothing runs is of the newest": (
        [told("task-received", 10.0), told("task-received", 11.0), told("task-revoked", 12.0)],
        ("RECEIVED", "REVOKED"), {},
    ),
    "events of one moment are in the order of a life": (
        [told(f"task-{step}", 10.0) for step in ("sent", "received", "started", "succeeded")],
        ("SUCCESS",), {},
    ),
    "an event without a host is of the only worker": (
        [told("task-received", 10.0), told("task-started", 11.0, hostname=None),
         told("task-succeeded", 12.0)],
        ("SUCCESS",), {"worker_name": WORKER, "started": 11.0},
    ),
    "an event without a host is of none where there are two": (
        [*life("received"), *there("received", start=11.0),
         told("task-started", 12.0, hostname=None)],
        ("RECEIVED", "RECEIVED", "STARTED"), {"worker_name": None},
    ),
    "the clocks are believed where there are no heartbeats": (
        [*life("received", "started", start=20.0), *there("received", "started", start=10.0)],
        ("STARTED", "STARTED"), {"worker_name": WORKER, "started": 21.0},
    ),
    "each delivery has a sending of its own": (
        [*life("sent", "received", "started", "rejected"), *life("sent", "received", start=20.0)],
        ("REJECTED", "RECEIVED"), {"sendings": [10.0, 20.0]},
    ),
    "a sending that nothing followed is pending": (
        [*life("sent", "received", "started"), told("task-sent", 20.0)],
        ("STARTED", "PENDING"), {"worker_name": None},
    ),
    "the end of a first attempt is not shown of a second": (
        UNUSUAL["delivered again after its success"].events,
        ("SUCCESS", "STARTED"), {"succeeded": None, "result": None, "runtime": None},
    ),
    "while a task waits for its second try it shows why": (
        UNUSUAL["waits for its second try"].events,
        ("RETRY", "RETRY"),
        {"retries": 1, "ended": None, "retried": 14.0, "exception": "OSError(5)",
         "received": 13.5, "started": None},
    ),
    "a task that was sent for a second try is where it was": (
        UNUSUAL["sent for its second try"].events,
        ("RETRY", "RETRY"), {"worker_name": WORKER, "sent": 13.0, "received": None},
    ),
    "once the second try is received it is there": (
        [*UNUSUAL["sent for its second try"].events,
         told("task-received", 15.0, retries=1, hostname=OTHER)],
        ("RETRY", "RETRY"), {"worker_name": OTHER, "exception": "OSError(5)"},
    ),
    "once the second try runs it shows no more of the first": (
        [*UNUSUAL["sent for its second try"].events,
         *(told(f"task-{step}", at, retries=1, hostname=OTHER)
           for step, at in (("received", 15.0), ("started", 16.0)))],
        ("RETRY", "STARTED"), {"worker_name": OTHER, "exception": None, "retried": None},
    ),
    "the sending of a second try may be all there is": (
        [told("task-sent", 10.0, retries=1)],
        ("RETRY",), {"retries": 1, "worker_name": None, "retried": None, "exception": None},
    ),
    "each attempt has what was reported of it": (
        UNUSUAL["retried in vain"].events,
        ("RETRY", "RETRY", "FAILURE"),
        {"numbers": [0, 1, 2], "sendings": [10.0, 13.0, 16.0], "starts": [12.0, 15.0, 18.0],
         "ends": [14.0, 17.0, 19.0], "received": 16.5, "exception": "OSError(3)",
         "retried": None},
    ),
    "a receipt knows more of a task than its sending": (
        _sent_and_received(
            {"name": "wrong", "args": "?", "root_id": "r", "parent_id": "p", "eta": "soon",
             "expires": "late"},
            {"name": None, "root_id": None, "eta": "now"},
        ),
        ("RECEIVED",),
        {"name": "wrong", "args": "(1,)", "root_id": "r", "parent_id": "p", "client": CLIENT,
         "queue": "mail", "eta": "now", "expires": "late"},
    ),
    "a receipt of another name renames it": (
        _sent_and_received({}, {"name": "shop.charge"}), ("RECEIVED",), {"name": "shop.charge"},
    ),
    "a later attempt knows more of a task than an earlier one": (
        [{**event, "args": "(2,)", "queue": "slow"} if event.get("retries") else event
         for event in UNUSUAL["retried at the same worker"].events],
        ("RETRY", "SUCCESS"), {"args": "(2,)", "queue": "slow"},
    ),
    "a second try keeps what was said of the first, but not its sending": (
        [*life("sent", "received", "started", "retried"),
         told("task-received", 15.0, retries=1, args=None, name=None)],
        ("RETRY", "RETRY"),
        {"sent": None, "name": "shop.pay", "args": "(1,)", "queue": "mail", "client": CLIENT,
         "root_id": UUID},
    ),
    "a message that is delivered again was sent once and waits from its receipt": (
        UNUSUAL["given back and delivered again"].events,
        ("REJECTED", "SUCCESS"),
        {"sent": 10.0, "received": 14.0, "wait": 1.0, "queue_time": None, "client": CLIENT,
         "queue": "mail", "name": "shop.pay"},
    ),
    "a message that is delivered to another worker was sent once, too": (
        UNUSUAL["its worker died"].events,
        ("STARTED", "SUCCESS"),
        {"sent": 10.0, "received": 20.0, "wait": 1.0, "queue_time": None, "client": CLIENT},
    ),
    # One of the sendings seems to be of the second try, until that is received.
    "a receipt moves the sendings on": (
        [*there("received", start=11.0), told("task-retried", 20.5, hostname=OTHER),
         told("task-received", 21.0, retries=1),
         *(told("task-started", 22.0, hostname=name) for name in (WORKER, OTHER)),
         told("task-sent", 30.0, retries=2),
         told("task-received", 31.0, retries=2, hostname=OTHER), told("task-retried", 33.0)],
        ("RETRY", "RETRY", "STARTED", "RETRY"), {"numbers": [0, 1, 2, 2]},
    ),
    "the logical time is the highest that workers had": (
        [told("task-sent", 10.0, clock=9000), told("task-received", 11.0),
         told("task-started", 12.0), told("task-received", 13.0, clock=5, retries=1)],
        ("STARTED", "RETRY"), {"clock": 1200},
    ),
    "the logical time is the client's as long as there is no other": (
        [told("task-sent", 10.0, clock=9000)], ("PENDING",), {"clock": 9000},
    ),
}
# fmt: on

# --- any order -----------------------------------------------------------------------


@story_of_task
def test_a_life_is_understood(story):
    task = task_of(story.events)
    assert states(task) == story.attempts
    assert task.retries == story.retries or task.retries is None
    assert task.worker_name == story.hostname
    for attempt in task.attempts:
        assert attempt.worker_name == WORKER
        assert attempt.ended or attempt.state == "STARTED"


_LIVES = {name: story.events for name, story in STORIES.items()}
_LIVES |= {name: case[0] for name, case in CASES.items()}


@pytest.mark.parametrize("events", _LIVES.values(), ids=list(_LIVES))
@settings(max_examples=40)
@given(st.data())
def test_events_in_any_order_and_any_number_end_in_the_same_task(events, data):
    some = st.permutations(events) | st.lists(st.sampled_from(events), min_size=1)
    order = data.draw(some)
    present = [event for event in events if event in order]
    state = State()
    changes = (change for event in order for change in state.changes([event]))
    seen = [(change.created, change.before, change.after) for change in changes]
    assert [before for _, before, _ in seen] == [None, *(after for *_, after in seen)][:-1]
    assert [created for created, *_ in seen] == [True] + [False] * (len(seen) - 1)
    assert state.tasks[UUID].state == seen[-1][2]
    assert account(state.tasks[UUID]) == account(task_of(order)) == account(task_of(present))


_EVENTS = st.builds(
    lambda step, at, host, retries: told(
        f"task-{step}",
        float(at),
        **({"retries": retries} if step in {"sent", "received"} else {}),
        # A worker has one process at a time.
        **({} if step == "sent" else {"hostname": host, "pid": 77 + at // 15}),
    ),
    st.sampled_from(["sent", "received", "started", *ENDS]),
    st.integers(10, 18),
    st.sampled_from([WORKER, OTHER]),
    st.sampled_from([0, 0, 0, 1, 2]),
)
_OF_NEWEST = ("state", "timestamp", "pid", "received", "started", "succeeded", "ended", "retries")


@settings(max_examples=300)
@given(st.lists(_EVENTS, min_size=1, max_size=12), st.data())
def test_any_events_in_any_order_end_where_the_one_rule_ends(events, data):
    by_time = st.just(sorted(events, key=itemgetter("timestamp")))
    order = data.draw(st.permutations(events) | by_time)
    task = task_of(order)
    assert account(task) == account(task_of(events))
    *earlier, newest = facts_of([*order, *events])
    assert [account_of_attempt(attempt) for attempt in task.attempts] == earlier
    assert {name: task.get(name) for name in _OF_NEWEST} == {
        name: newest[name] for name in _OF_NEWEST
    }


@story_of_task
@pytest.mark.parametrize("moved", [{"utcoffset": -5.5}, {"utcoffset": 8}, {"clock": 1}], ids=str)
def test_neither_zones_nor_a_logical_clock_that_begins_anew_move_anything(story, moved):
    events = [{**event, **moved} for event in story.events]
    same = {"clock": 1} if "clock" in moved else {}
    assert account(task_of(events)) == account(task_of(story.events)) | same


@story_of_task
def test_an_event_that_comes_twice_takes_no_more_space(story):
    state = State()
    task = task_of(story.events, state)
    state_of_task, weight = task.state, task.weight_bytes
    state.apply(story.events * 20)
    assert (task.state, task.weight_bytes) == (state_of_task, weight)


@pytest.mark.parametrize(("first", "second"), list(combinations(ENDS, 2)))
def test_of_two_ends_of_one_attempt_the_one_in_the_result_backend_counts(first, second):
    """They are in the order of their precedence."""
    for ends in ((first, 13.0, second, 13.5), (second, 13.0, first, 13.5)):
        both = [told(f"task-{ends[0]}", ends[1]), told(f"task-{ends[2]}", ends[3])]
        expected = task_of([*life("received", "started"), told(f"task-{first}", 13.0)]).state
        for order in (both, both[::-1]):
            task = task_of([*life("received", "started"), *order])
            assert states(task) == (expected,)
            assert task.ended == task.timestamp == getattr(task, first)
            assert {getattr(task, first), getattr(task, second)} == {13.0, 13.5}


def test_the_first_of_two_ends_of_one_kind_counts():
    ends = [told("task-failed", 13.0, exception="A()"), told("task-failed", 14.0, exception="B()")]
    for order in (ends, ends[::-1]):
        task = task_of([*life("received", "started"), *order])
        assert (task.failed, task.exception) == (13.0, "A()")


# --- which attempt an event is of, and what is shown of it ---------------------------

_OF_ALL = {"numbers": "number", "sendings": "sent", "starts": "started", "ends": "ended"}


@pytest.mark.parametrize(("events", "expected", "shown"), CASES.values(), ids=list(CASES))
def test_events_belong_to_attempts_and_are_shown(events, expected, shown):
    task = task_of(events)
    assert states(task) == expected
    for name, value in shown.items():
        if name in _OF_ALL:
            found = [attempt[_OF_ALL[name]] for attempt in facts_of(events)]
            assert found == value
            if name != "numbers":
                every = [getattr(each, _OF_ALL[name]) for each in (*task.attempts, task)]
                assert every == value
        else:
            assert task.get(name) == value, name


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


def test_a_retry_that_is_reported_after_the_success_is_of_its_own_attempt():
    *events, started, succeeded = UNUSUAL["retried at the same worker"].events
    *events, retried = events
    state = State()
    task = task_of([*events, started, succeeded], state)
    assert states(task) == ("STARTED", "SUCCESS")
    [change] = state.apply([retried])
    assert (change.before, change.after, task.state) == ("SUCCESS",) * 3
    assert task.retried is None
    [first] = task.attempts
    assert (first.state, first.retried, first.exception) == ("RETRY", 14.0, "OSError(5)")


@pytest.mark.parametrize("name", ["failed", "terminated", "given back", "succeeded"])
def test_a_first_attempt_keeps_what_it_said_when_there_is_a_second(name):
    state = State()
    task = task_of(STORIES[name].events, state)
    first = account(task)
    state.apply(life("received", "started", start=30.0))
    assert (task.state, task.received) == ("STARTED", 30.0)
    [before] = task.attempts
    same = ("state", "sent", "received", "started", "ended", "exception", "signum")
    same += ("runtime", "requeue", "timestamp", "pid")
    assert {fact: getattr(before, fact) for fact in same} == {fact: first[fact] for fact in same}
    for fact in ("ended", "exception", "traceback", "signum", "requeue", "result", "runtime"):
        assert task.get(fact) is None


def test_an_attempt_that_was_read_stays_as_it_was_when_more_is_reported():
    events = UNUSUAL["given back and delivered again"].events
    for number in range(1, len(events)):
        state = State()
        shown = task_of(events[:number], state).attempts
        before = [account_of_attempt(attempt) for attempt in shown]
        state.apply(events[number:])
        assert [account_of_attempt(attempt) for attempt in shown] == before


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
    heaviest = max(task_of([event], state).weight_bytes for event in events[::order])
    task = state.tasks[UUID]
    assert task.retries == 199
    assert len(task.attempts) < 64
    assert heaviest < 50_000
    if order == 1:
        # Of what comes backwards, the middle of a life is forgotten before its beginning.
        assert task.state == "RETRY"


# --- what was raised ------------------------------------------------------------------

WRAPPER = "ExceptionWithTraceback()"


@pytest.mark.parametrize(
    ("line", "raised"),
    [
        ("billiard.exceptions.TimeLimitExceeded: TimeLimitExceeded(1,)", "TimeLimitExceeded(1,)"),
        ("billiard.exceptions.WorkerLostError: Signal 9", "WorkerLostError('Signal 9')"),
        ("MemoryError", "MemoryError()"),
    ],
)
def test_the_end_of_the_traceback_says_what_was_raised(line, raised):
    traceback = f"Traceback (most recent call last):\n  File x, line 1\n{line}\n"
    failed = told("task-failed", 12.0, exception=WRAPPER, traceback=traceback)
    for order in (1, -1):
        task = task_of([*life("received", "started"), failed][::order])
        assert (task.exception, task.traceback) == (raised, traceback)


@pytest.mark.parametrize("traceback", [None, "", "?!", "no type: of an exception"])
def test_where_nothing_says_what_was_raised_the_wrapper_stays(traceback):
    assert unwrapped(WRAPPER, traceback) == WRAPPER


@given(st.text(), st.text())
def test_no_traceback_makes_it_raise_or_is_kept_whole(exception, traceback):
    assert unwrapped(exception, traceback) == exception or exception == WRAPPER
    assert unwrapped(WRAPPER, traceback)
    assert len(unwrapped(WRAPPER, "ValueError: " + traceback + "x" * 5000)) <= 1100
