"""Tasks and workers as JSON can have them."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from evtools.cam.ledger.texts import clean, clean_end
from evtools.state import Attempt, Task, Worker
from evtools.wire import iso_utc

Portrait = dict[str, Any]

_TIMES: Final = ("sent", "received", "started", "ended")
_PLAIN: Final = ("retries", "runtime", "terminated", "expired", "requeue")
#: What tells where a task came from.
_WAY: Final = ("client", "queue", "exchange", "routing_key", "root_id", "parent_id")
_TEXTS: Final[Mapping[str, Callable[[str], str]]] = {
    **dict.fromkeys(("args", "kwargs", "result", "exception", *_WAY), clean),
    "traceback": clean_end,
}
_OF_WORKER: Final = (
    *("pid", "freq", "active", "processed", "missed", "loadavg"),
    *("sw_ident", "sw_ver", "sw_sys"),
)


def of_task(task: Task) -> Portrait:
    """Return what is known of a task; what is not known is left out.

    Times are ISO 8601 in UTC.  `attempts` are those before the newest.
    """
    portrait: Portrait = {
        "uuid": clean(task.uuid),
        "name": clean(task.name) if task.name else None,
        "state": task.state,
        "worker": task.worker_name,
        **_of_attempt(task),
        "wait": task.wait,
        **{name: _cleaned(task, name) for name in _TEXTS},
        "eta": task.eta,
        "expires": task.expires,
        "signum": task.get("signum"),
        "first_heard": iso_utc(task.first_received),
        "last_heard": iso_utc(task.local_received),
        "note": task.note and dict(task.note),
        "extra": task.extra and dict(task.extra),
        "attempts": [_known(_of_earlier(attempt)) for attempt in task.attempts] or None,
    }
    return _known(portrait)


def of_worker(worker: Worker, now: float) -> Portrait:
    """Return what is known of a worker, and what it is `now`, in UTC epoch seconds."""
    portrait: Portrait = {
        "hostname": clean(worker.hostname),
        "status": worker.status(now),
        "last_heard": iso_utc(worker.local_received),
        "online_since": iso_utc(worker.online_since),
        "goodbye": iso_utc(worker.goodbye),
        "skew": worker.skew,
        **{name: getattr(worker, name) for name in _OF_WORKER},
        "extra": worker.extra and dict(worker.extra),
    }
    return _known(portrait)


def _of_attempt(task: Task | Attempt) -> Portrait:
    """Return what attempts and tasks have in common."""
    times = {name: iso_utc(getattr(task, name)) for name in _TIMES}
    return times | {name: getattr(task, name, None) for name in _PLAIN}


def _of_earlier(attempt: Attempt) -> Portrait:
    return {
        "number": attempt.number,
        "state": attempt.state,
        "worker": attempt.worker_name,
        **_of_attempt(attempt),
        "exception": _cleaned(attempt, "exception"),
    }


def _cleaned(task: Task | Attempt, name: str) -> str | None:
    text: str | None = getattr(task, name, None)
    return None if text is None else _TEXTS[name](text)


def _known(portrait: Portrait) -> Portrait:
    return {name: value for name, value in portrait.items() if value is not None}
