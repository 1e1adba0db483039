"""An attempt: what one delivery of a task to one worker came to."""

import pytest

from evtools.state import Attempt
from evtools.state.attempt import LAST, WHOLE, View, newest_of
from evtools.state.readings import TASK_READINGS, read
from evtools.state.task import Task
from evtools.state.worker import Worker
from tools.told import CLIENT, WORKER, account_of_attempt, life, task_of, told


def taken(*events, number=0):
    """An attempt that has taken in what events tell, in this order."""
    attempt = Attempt(Worker(WORKER), number)
    for event in events:
        reading, _ = read(event, TASK_READINGS[event["type"]])
        attempt.take(reading)
    return attempt


def test_nothing_is_known_of_a_new_one():
    attempt = Attempt()
    assert (attempt.state, attempt.waits, attempt.number) == ("PENDING", True, 0)
    assert set(WHOLE.of(attempt)) == {None}
    assert attempt.runtime is None
    assert attempt.worker_name is None


@pytest.mark.parametrize(
    ("steps", "state", "waits"),
    [
        (["sent"], "PENDING", True),
        (["sent", "received"], "RECEIVED", True),
        (["sent", "received", "started"], "STARTED", False),
        (["started", "received", "sent"], "STARTED", False),
        (["started", "succeeded"], "SUCCESS", False),
        (["succeeded", "started"], "SUCCESS", False),
        (["received", "revoked"], "REVOKED", False),
        (["retried"], "RETRY", False),
    ],
)
def test_its_state_is_that_of_its_last_step(steps, state, waits):
    attempt = taken(*life(*steps))
    assert (attempt.state, attempt.waits) == (state, waits)


@pytest.mark.parametrize("steps", [[], ["sent"], ["sent", "received"]])
def test_what_waits_for_its_second_try_is_a_retry(steps):
    attempt = taken(*life(*steps), number=1)
    assert attempt.state == "RETRY"
    assert attempt.waits
    assert attempt.ended is None


def test_a_second_try_that_runs_is_started():
    assert taken(*life("received", "started"), number=1).state == "STARTED"


def test_it_began_when_its_worker_first_told_of_it():
    assert taken(*life("sent")).began is None
    assert taken(*life("sent", "received", "started")).began == 11.0


def test_its_time_and_process_are_those_of_its_last_step():
    events = [told("task-started", 12.0, pid=5), told("task-received", 11.0, pid=6)]
    attempt = taken(*events)
    assert (attempt.timestamp, attempt.pid) == (12.0, 5)
    assert taken(told("task-started", pid=None)).pid is None


def test_the_process_of_a_client_is_none_of_its_own():
    attempt = taken(told("task-sent", 10.0))
    assert (attempt.timestamp, attempt.pid, attempt.client) == (10.0, None, CLIENT)


def test_it_ended_when_the_end_that_counts_was_told():
    attempt = taken(told("task-rejected", 13.0), told("task-failed", 13.5))
    assert (attempt.state, attempt.ended, attempt.rejected) == ("FAILURE", 13.5, 13.0)
    attempt = taken(told("task-failed", 13.0), told("task-rejected", 13.5))
    assert (attempt.state, attempt.ended, attempt.rejected) == ("FAILURE", 13.0, 13.5)
    assert attempt.requeue is True


def test_what_is_told_twice_was_true_the_first_time():
    attempt = taken(
        told("task-revoked", 13.0, signum="SIGTERM"),
        told("task-revoked", 13.5, signum="SIGKILL", expired=True),
    )
    assert (attempt.revoked, attempt.signum) == (13.0, "SIGTERM")
    assert attempt.expired is False


@pytest.mark.parametrize("order", [1, -1])
def test_what_its_worker_received_counts_more_than_what_was_sent(order):
    sent = told("task-sent", 10.0, retries=1, eta="soon", expires="late")
    received = told("task-received", 11.0, retries=2, eta="now")
    attempt = taken(*[sent, received][::order])
    assert (attempt.retries, attempt.eta) == (2, "now")
    # What the receipt left open, the sending fills in if it comes late.
    assert attempt.expires == (None if order == 1 else "late")


def test_its_run_time_is_what_the_worker_measured():
    assert taken(*life("started", "succeeded")).runtime == 0.5


def test_its_run_time_is_from_start_to_end_if_nobody_measured():
    assert taken(*life("started", "failed")).runtime == 1.0
    assert taken(*life("started")).runtime is None
    backwards = taken(told("task-started", 12.0), told("task-failed", 11.0))
    assert backwards.runtime is None


def test_it_says_what_it_is():
    attempt = taken(*life("received", "started"), number=3)
    assert repr(attempt) == "<Attempt 3: STARTED on celery@one>"


# --- what a task shows of it ----------------------------------------------------------


def test_a_view_returns_the_values_of_its_names_in_their_order():
    attempt = taken(*life("received", "started"))
    assert View("started", "received", "sent").of(attempt) == (11.0, 10.0, None)


def test_a_task_can_show_everything_that_an_attempt_has():
    assert WHOLE.of(Task("x", retries=7)) == tuple({"retries": 7}.get(name) for name in WHOLE.names)
    assert set(LAST.names) <= set(WHOLE.names)


def test_what_a_view_shows_is_all_that_changes():
    attempt = taken(*life("received", "started", "failed"))
    task = Task("x", retries=7, exception="before")
    LAST.show(task, attempt)
    assert (task.exception, task.retries, task.started) == ("OSError(5)", 7, None)
    LAST.show(task, attempt)
    WHOLE.show(task, Attempt())
    assert WHOLE.of(task) == WHOLE.of(Attempt())


@pytest.mark.parametrize(
    "steps",
    [
        *([], ["sent"], ["received"], ["sent", "received"]),
        *(["received", "started"], ["received", "revoked"]),
        *(["sent", "received", "started", end] for end in ("succeeded", "failed")),
        *(["received", "started", end] for end in ("retried", "rejected")),
    ],
)
@pytest.mark.parametrize("retries", [0, 2])
def test_the_newest_attempt_of_a_task_is_what_was_written_into_it(steps, retries):
    events = [
        {**event, **({"retries": retries} if "retries" in event else {})} for event in life(*steps)
    ]
    # It begins with what tells the number.
    task = task_of(events) if events else Task("x", retries=retries)
    assert task.history is None
    expected = taken(*events, number=retries)
    expected.retries = retries
    newest = newest_of(task)
    if task.received is None:
        expected.worker = None
    assert account_of_attempt(newest) == account_of_attempt(expected)
    assert newest.client == expected.client


def test_it_takes_space_for_its_texts():
    light = taken(*life("received", "started")).weigh()
    heavy = taken(*life("received", "started"), told("task-failed", traceback="x" * 99))
    assert heavy.weigh() == light + len("OSError(5)") + 99


def test_the_attempts_of_a_task_are_those_before_its_last():
    first = life("received", "started", "rejected")
    task = task_of([*first, *life("received", start=20.0)])
    [attempt] = task.attempts
    assert isinstance(attempt, Attempt)
    assert (attempt.state, attempt.worker_name) == ("REJECTED", WORKER)
