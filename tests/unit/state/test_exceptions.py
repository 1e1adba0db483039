"""What a task raised, out of what billiard wrapped it into."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.state.exceptions import unwrapped
from tools.told import life, task_of, told

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
def test_the_end_of_the_traceback_tells_what_was_raised(line, raised):
    traceback = f"Traceback (most recent call last):\n  File x, line 1\n{line}\n"
    assert unwrapped(WRAPPER, traceback) == raised


def test_what_was_not_wrapped_stays():
    assert unwrapped("KeyError('x')", "Traceback\nValueError: y") == "KeyError('x')"
    assert unwrapped(None, "Traceback\nValueError: y") is None


@pytest.mark.parametrize("traceback", [None, "", "?!", "no type: of an exception"])
def test_where_nothing_tells_the_wrapper_stays(traceback):
    assert unwrapped(WRAPPER, traceback) == WRAPPER


def test_it_is_no_longer_than_texts_are():
    traceback = "ValueError: " + "x" * 1_000_000
    assert len(unwrapped(WRAPPER, traceback)) <= 1100


@given(st.text(), st.text())
def test_no_text_makes_it_raise(exception, traceback):
    assert unwrapped(exception, traceback) == exception or exception == WRAPPER
    assert unwrapped(WRAPPER, traceback)


@pytest.mark.parametrize("order", [1, -1])
def test_a_task_shows_what_was_raised_in_whatever_order_it_is_told(order):
    traceback = "Traceback\nbilliard.exceptions.WorkerLostError: signal 9 (SIGKILL)."
    failed = told("task-failed", 12.0, exception=WRAPPER, traceback=traceback)
    task = task_of([*life("received", "started"), failed][::order])
    assert task.exception == "WorkerLostError('signal 9 (SIGKILL).')"
    assert task.traceback == traceback
