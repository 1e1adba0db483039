"""What a task raised, out of what billiard wrapped it into."""

from __future__ import annotations

import pytest

from evtools.state.exceptions import unwrapped

WRAPPER = "ExceptionWithTraceback()"


@pytest.mark.parametrize(
    ("line", "raised"),
    [
        (
            "billiard.exceptions.TimeLimitExceeded: TimeLimitExceeded(1,)",
            "TimeLimitExceeded(1,)",
        ),
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
