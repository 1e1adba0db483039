"""Events as Celery sends them, with all their fields, at the times a test wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evtools.state import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evtools.state import Attempt, Task

Event = dict[str, Any]

UUID = "eacdf44c-6aa4-4bb2-8c0e-0d2f1fe1a1ef"
WORKER = "celery@one"
OTHER = "celery@two"
CLIENT = "gen1@shop"
#: Seconds that all events take from their sender to us.
WAY = 0.25

_TASK: Event = {
    "name": "shop.pay",
    "args": "(1,)",
    "kwargs": "{}",
    "retries": 0,
    "root_id": UUID,
    "parent_id": None,
    "eta": None,
    "expires": None,
}
_RAISED: Event = {"exception": "OSError(5)", "traceback": "Traceback\nOSError: 5"}
_BEAT: Event = {
    "freq": 2.0,
    "active": 0,
    "processed": 0,
    "loadavg": [0.5, 0.25, 0.125],
    "sw_ident": "py-celery",
    "sw_ver": "5.6.2",
    "sw_sys": "Linux",
}
_FIELDS: dict[str, Event] = {
    "task-sent": {
        **_TASK,
        "queue": "mail",
        "exchange": "",
        "routing_key": "mail",
        "hostname": CLIENT,
    },
    "task-received": _TASK,
    "task-succeeded": {"result": "4", "runtime": 0.5},
    "task-failed": _RAISED,
    "task-retried": _RAISED,
    "task-revoked": {"terminated": True, "signum": "SIGTERM", "expired": False},
    "task-rejected": {"requeue": True},
    **dict.fromkeys(("worker-online", "worker-heartbeat", "worker-offline"), _BEAT),
}


def told(kind: str, at: float = 10.0, **fields: Any) -> Event:
    """Return an event that was sent `at` this time, by `WORKER` or by `CLIENT`."""
    event = {
        "type": kind,
        "hostname": WORKER,
        "utcoffset": 0,
        "pid": 77,
        "clock": int(at * 100),
        "timestamp": at,
        "local_received": at + WAY,
        **({"uuid": UUID} if kind.startswith("task-") else {}),
        **_FIELDS.get(kind, {}),
    }
    return {**event, **fields}


def life(*steps: str, start: float = 10.0, **fields: Any) -> list[Event]:
    """Return the events of a task, a second after each other; `fields` are of all."""
    return [told(f"task-{step}", start + number, **fields) for number, step in enumerate(steps)]


def task_of(events: Iterable[Event], state: State | None = None) -> Task:
    """Return the task `UUID` of a state that has taken in heartbeats and `events`."""
    state = State() if state is None else state
    state.apply([told("worker-heartbeat", 1.0, hostname=name) for name in WORKERS])
    state.apply(events)
    return state.tasks[UUID]


WORKERS = (WORKER, OTHER)

_OF_BOTH = (
    *("state", "worker_name", "retries", "timestamp", "pid", "runtime"),
    *("sent", "received", "started", "succeeded", "failed", "retried", "revoked"),
    *("rejected", "cancelled", "ended", "eta", "expires", "result", "exception"),
    *("traceback", "terminated", "signum", "expired", "requeue"),
)
_OF_TASK = (
    *("name", "args", "kwargs", "root_id", "parent_id", "client", "queue"),
    *("exchange", "routing_key", "wait", "queue_time", "done", "ready", "note"),
    *("extra", "first_received", "local_received", "clock"),
)


def account(task: Task) -> dict[str, Any]:
    """Return all that a task shows, its attempts too, for comparison."""
    return {
        **{name: task.get(name) for name in (*_OF_BOTH, *_OF_TASK)},
        "attempts": [account_of_attempt(attempt) for attempt in task.attempts],
    }


def account_of_attempt(attempt: Attempt) -> dict[str, Any]:
    """Return all that an attempt shows."""
    names = (*_OF_BOTH, "number", "began", "waits")
    return {name: getattr(attempt, name) for name in names}
