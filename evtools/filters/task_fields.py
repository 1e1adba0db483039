"""The fields of tasks: the same filter, asked about what a state knows of a task."""

from collections.abc import Callable
from typing import Any, Final

from evtools.filters.fields import (
    HAVE_NONE,
    NOT_RECEIVED,
    NOT_SENT,
    NOT_STARTED,
    Field,
    FieldTable,
    Getter,
    Kind,
    between,
    eta_of,
    host,
    seconds,
)

# A task is asked by `get(name)` for what travelled under that name; what was
# worked out of it are its attributes.  Either may hold any JSON type.

_FAILED: Final = frozenset({"FAILURE", "RETRY"})


def _told(name: str) -> Getter:
    return lambda task: task.get(name)


def _known(name: str) -> Getter:
    return lambda task: getattr(task, name, None)


def _seconds(name: str) -> Callable[[Any], float | None]:
    return lambda task: seconds(getattr(task, name, None))


def _in(*states: str) -> Callable[[Any], bool]:
    return lambda task: task.state in states


def _has_failed(task: Any) -> bool:
    return task.state in _FAILED


def _ran(task: Any) -> bool:
    return task.state in ("SUCCESS", "FAILURE", "RETRY")


def _lag(task: Any) -> float | None:
    return between(seconds(task.timestamp), seconds(task.local_received))


def _several(*getters: Getter) -> Getter:
    return lambda task: tuple([get(task) for get in getters])


def running_since(task: Any) -> float | None:
    """Return when a task started that has not ended yet, by our own clock."""
    if task.state != "STARTED":
        return None
    skew = seconds(getattr(task.worker, "skew", None)) or 0.0
    started = seconds(task.started)
    return None if started is None else started - skew


def _runtime(now: Callable[[], float] | None) -> Getter:
    def runtime(task: Any) -> float | None:
        known = seconds(task.runtime)
        if known is not None or now is None:
            return known
        since = running_since(task)
        return None if since is None else max(0.0, now() - since)

    return runtime


def _lost(now: Callable[[], float] | None) -> Getter:
    return lambda task: None if now is None else bool(task.lost(now()))


_FIXED: Final = (
    Field("name", Kind.TEXT, _told("name"), "task name", NOT_RECEIVED),
    Field("state", Kind.STATE, _known("state"), "state the task is in"),
    Field("worker", Kind.TEXT, _told("hostname"), "worker, as celery@host"),
    Field("host", Kind.TEXT, host, "the worker's host: what follows the @"),
    Field("uuid", Kind.ID, _told("uuid"), "task id"),
    Field("args", Kind.TEXT, _told("args"), "arguments", NOT_RECEIVED),
    Field(
        "kwargs",
        Kind.PAIRS,
        _told("kwargs"),
        "keyword arguments; key=value for a pair",
        NOT_RECEIVED,
    ),
    Field(
        "result", Kind.TEXT, _told("result"), "result of a task that succeeded", "", _in("SUCCESS")
    ),
    Field("exc", Kind.EXCEPTION, _told("exception"), "exception", "", _has_failed),
    Field("tb", Kind.TEXT, _told("traceback"), "traceback", "", _has_failed),
    Field("queue", Kind.TEXT, _told("queue"), "queue sent to", NOT_SENT),
    Field("exchange", Kind.TEXT, _told("exchange"), "exchange sent to", NOT_SENT),
    Field("routing_key", Kind.TEXT, _told("routing_key"), "routing key sent with", NOT_SENT),
    Field("root", Kind.ID, _told("root_id"), "id of the first task of the workflow", NOT_RECEIVED),
    Field("parent", Kind.ID, _told("parent_id"), "id of the task that sent this one", HAVE_NONE),
    Field(
        "tree",
        Kind.IDS,
        _several(_told("uuid"), _told("root_id"), _told("parent_id")),
        "a whole family: uuid, root or parent",
    ),
    Field("wait", Kind.DURATION, _seconds("wait"), "wait for its start", NOT_STARTED),
    Field("queue_time", Kind.DURATION, _seconds("queue_time"), "from sent to received", NOT_SENT),
    Field(
        "age", Kind.AGE, _seconds("local_received"), "time since we last heard of it", drifts=True
    ),
    Field("retries", Kind.NUMBER, _told("retries"), "retries so far", NOT_RECEIVED),
    Field("pid", Kind.NUMBER, _told("pid"), "process that sent its last event"),
    Field("lag", Kind.DURATION, _lag, "from sending its last event to receiving it"),
    Field("clock", Kind.NUMBER, _told("clock"), "logical clock"),
    Field("sent", Kind.TIME, _seconds("sent"), "when it was sent", NOT_SENT),
    Field("received", Kind.TIME, _seconds("received"), "when a worker received it", NOT_RECEIVED),
    Field("started", Kind.TIME, _seconds("started"), "when it started", NOT_STARTED),
    Field(
        "done",
        Kind.TIME,
        _seconds("done"),
        "when it ended, in whatever way",
        "",
        lambda task: bool(task.ready),
    ),
    Field("eta", Kind.TIME, eta_of, "earliest time it may start", HAVE_NONE),
    Field("has", Kind.PRESENCE, lambda _: None, "names a field that must be there"),
    Field(
        "any",
        Kind.TEXTS,
        _several(
            _told("uuid"),
            _told("name"),
            _known("state"),
            _told("hostname"),
            _told("args"),
            _told("kwargs"),
            _told("result"),
            _told("exception"),
        ),
        "what bare words search",
    ),
)


def task_fields(now: Callable[[], float] | None = None) -> FieldTable:
    """Return the fields of tasks, by name.

    `now` returns the epoch seconds up to which running tasks have run, and as
    of which they may be lost; without it neither is known.
    """
    moving = (
        Field(
            "runtime",
            Kind.DURATION,
            _runtime(now),
            "time the task ran, or has run so far",
            NOT_STARTED,
            _ran,
            drifts=True,
        ),
        Field(
            "lost",
            Kind.OTHER,
            _lost(now),
            "true if it was running and its worker has gone",
            drifts=True,
        ),
    )
    return {field.name: field for field in (*_FIXED, *moving)}


#: The fields of tasks without a clock.
TASK_FIELDS: Final[FieldTable] = task_fields()
