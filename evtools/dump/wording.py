"""Words for people: values, failures, gaps."""

import math
from typing import Any, Final

from msgspec import UNSET

from evtools.text import human_duration
from evtools.wire import Event, encode_line

#: Celery's class for an exception that crossed a process border with its
#: traceback; it says nothing, and the real one ends the traceback.
_WRAPPED: Final = "ExceptionWithTraceback()"

#: Events that end an attempt to run a task, and do not say how long it took.
_ENDS: Final = frozenset({"task-failed", "task-retried", "task-revoked"})

_UUID_LENGTH: Final = 36
_UUID_SHOWN: Final = 8


def said(value: Any) -> str:
    """Return a value as text, not sanitised: a string as it is, else as JSON."""
    return value if isinstance(value, str) else encode_line(value).decode()


def number(value: Any) -> float | None:
    """Return a finite number as a float, anything else as None."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def failure(event: Event) -> Any:
    """Return the exception of a failed task, the real one where it is known.

    A task that hit its hard time limit is reported with an empty wrapper.
    """
    exception = event.get("exception")
    traceback = event.get("traceback")
    if exception == _WRAPPED and isinstance(traceback, str):
        return traceback.rstrip().rpartition("\n")[2].strip() or exception
    return exception


def runtime(event: Event) -> float | None:
    """Return how long a task ran, in seconds, if that is known.

    Celery tells it for successes alone; for others we know when they started.
    """
    told = number(event.get("runtime"))
    if told is not None or event.type not in _ENDS:
        return told
    started = number(event.joined.get("started"))
    ended = number(event.get("timestamp"))
    if started is None or ended is None or ended < started:
        return None
    return round(ended - started, 6)


def short_uuid(uuid: Any) -> str:
    """Return enough of a task's id to tell it from others, not sanitised."""
    text = said(uuid)
    if len(text) == _UUID_LENGTH and text[_UUID_SHOWN] == "-":
        return text[:_UUID_SHOWN]
    return text


def gap_sentence(event: Event) -> str:
    """Return what a gap record means, not sanitised."""
    reason = event.get("reason")
    if reason == "worker":
        return f"~{_count(event, 'missed')} tasks of {_known(event)} not seen"
    if reason == "buffer":
        return f"{_count(event, 'dropped')} events dropped: we were too slow"
    duration = number(event.get("duration"))
    length = "some time" if duration is None else human_duration(duration)
    why = f": {said(reason)}" if reason is not None else ""
    error = f" ({said(event.get('error'))})" if event.get("error") else ""
    return f"{length} without events{why}{error}"


def _count(event: Event, name: str) -> str:
    return said(event.get(name)) if event.get(name) is not None else "?"


def _known(event: Event) -> str:
    hostname = event.get("hostname", UNSET)
    return "some worker" if hostname is UNSET else said(hostname)
