"""Exceptions: what was raised, where billiard tells what it made of that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state.exceptions import unwrapped
from tools.told import life, task_of, told

WRAPPER = "ExceptionWithTraceback()"
#: What billiard's processes leave behind, as events have shown it.
LOST = '''
"""
Traceback (most recent call last):
  File "billiard/pool.py", line 1265, in mark_as_worker_lost
    raise WorkerLostError(
billiard.exceptions.WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL).
'''


def test_what_is_not_wrapped_is_as_it_was():
    assert unwrapped("OSError(5)", "Traceback\nKeyError: 'x'") == "OSError(5)"
    assert unwrapped(None, "Traceback\nKeyError: 'x'") is None


@pytest.mark.parametrize(
    ("traceback", "exception"),
    [
        (None, WRAPPER),
        ("", WRAPPER),
        ("Traceback\n  of no use.", WRAPPER),
        (f"{LOST}\n  \n", "WorkerLostError("),
        ("SoftTimeLimitExceeded: SoftTimeLimitExceeded()", "SoftTimeLimitExceeded()"),
        ("billiard.exceptions.TimeLimitExceeded: TimeLimitExceeded(1,)",
         "TimeLimitExceeded(1,)"),
        ("KeyboardInterrupt", "KeyboardInterrupt()"),
        ("ValueError: it's", 'ValueError("it\'s")'),
    ],
)
def test_what_is_wrapped_is_in_the_last_line_of_the_traceback(traceback, exception):
    assert unwrapped(WRAPPER, traceback).startswith(exception)


def test_a_lost_process_tells_how_it_was_lost():
    assert unwrapped(WRAPPER, LOST) == (
        "WorkerLostError('Worker exited prematurely: signal 9 (SIGKILL).')"
    )


def test_of_an_endless_line_only_the_end_is_looked_at():
    assert unwrapped(WRAPPER, "x" * 100_000 + " y") == WRAPPER
    long = unwrapped(WRAPPER, f"OSError: {'x' * 100_000}")
    assert len(long) < 1100


@given(st.text(), st.text())
def test_no_text_makes_it_raise(exception, traceback):
    assert unwrapped(exception, traceback) == exception or exception == WRAPPER
    assert unwrapped(WRAPPER, traceback)


@pytest.mark.parametrize("order", [1, -1])
def test_a_task_shows_what_was_raised_in_whatever_order_it_is_told(order):
    failed = told("task-failed", 12.0, exception=WRAPPER, traceback=LOST)
    task = task_of([*life("received", "started"), failed][::order])
    assert task.exception.startswith("WorkerLostError('Worker exited")
    assert task.traceback == LOST
