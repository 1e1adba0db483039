"""The fields a filter knows: what each one is, and how an event tells it."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, TypeAlias

from evtools.filters.states import EVENT_STATES, FINAL_STATES
from evtools.wire import TIME_MAX, Record

#: Returns a field of a filter's subject; None where it is not known.
Getter: TypeAlias = Callable[[Any], object]


class Kind(Enum):
    """What the values of a field are, and so what they are compared with."""

    TEXT = "text"
    ID = "an identifier"
    STATE = "a state"
    PAIRS = "keyword arguments"
    NUMBER = "a number"
    DURATION = "a duration"
    TIME = "a time"
    AGE = "an age"
    OTHER = "text or a number"
    #: Text such as ValueError('x'), which = compares with its class, too.
    EXCEPTION = "an exception"
    #: Several texts or identifiers of which one has to match.
    TEXTS = "several texts"
    IDS = "several identifiers"
    #: No field: its values are names of fields.
    PRESENCE = "presence"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a filter.

    `applies` tells which subjects could know it at all; `reason` says why one
    of those may not.  `drifts` says that its value changes with time, while
    nothing happens to the subject.
    """

    name: str
    kind: Kind
    get: Getter
    about: str
    reason: str = ""
    applies: Callable[[Any], bool] = lambda _: True
    drifts: bool = False


FieldTable: TypeAlias = Mapping[str, Field]

#: What fields outside the table are reached by: `field.active>3`.
PREFIXES: Final = ("field.", "f.")

# --- events ---------------------------------------------------------------------
#
# What comes over the wire may be of any JSON type.  Getters return it as it is
# where the kind of the field sorts it out, and do arithmetic on `seconds` only.


def seconds(value: object) -> float | None:
    """Return `value` as seconds, None unless it is a number that can be a time."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= TIME_MAX else None


def plain(name: str) -> Getter:
    """Return the getter of the event field `name`."""

    def get(record: Record) -> object:
        event = record.event
        return event[name] if name in event else record.joined.get(name)

    return get


def _own(name: str) -> Getter:
    """Return the getter of a field outside the table, of any kind of subject."""
    return lambda subject: subject.get(name)


def _type(record: Record) -> object:
    return record.event.get("type")


def _state(record: Record) -> str | None:
    kind = record.event.get("type")
    return EVENT_STATES.get(kind) if isinstance(kind, str) else None


def host(record: Any) -> str | None:
    """Return the host of a worker: what follows the @ of its name."""
    hostname = record.get("hostname")
    return hostname.rpartition("@")[2] if isinstance(hostname, str) else None


def _timestamp(record: Record) -> float | None:
    return seconds(record.event.get("timestamp"))


def _moment(kind: str, joined: str) -> Callable[[Record], float | None]:
    """Return the getter of when the event of type `kind` of this task was sent."""

    def get(record: Record) -> float | None:
        if record.event.get("type") == kind:
            return _timestamp(record)
        return seconds(record.joined.get(joined))

    return get


_sent = _moment("task-sent", "sent")
_received = _moment("task-received", "received")
_started = _moment("task-started", "started")


def _done(record: Record) -> float | None:
    return _timestamp(record) if _state(record) in FINAL_STATES else None


def between(start: float | None, end: float | None) -> float | None:
    """Return the time between two moments, None if one is not known."""
    return None if start is None or end is None else end - start


def _runtime(record: Record) -> float | None:
    """Return what the worker measured, else the time since the task started."""
    runtime = seconds(record.get("runtime"))
    if runtime is not None or not _finishes(record):
        return runtime
    return between(_started(record), _timestamp(record))


def _wait(record: Record) -> float | None:
    received = _received(record)
    since = _sent(record) if received is None else received
    return between(since, _started(record))


def _queue_time(record: Record) -> float | None:
    return between(_sent(record), _received(record))


def _lag(record: Record) -> float | None:
    return between(_timestamp(record), seconds(record.event.get("local_received")))


def eta_of(record: Any) -> float | None:
    """Return the ETA, which Celery sends as ISO 8601 and without a zone in UTC."""
    eta = record.get("eta")
    if not isinstance(eta, str):
        return seconds(eta)
    try:
        moment = datetime.fromisoformat(eta)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _of(*types: str) -> Callable[[Record], bool]:
    """Return the test for events whose type starts with one of `types`."""

    def applies(record: Record) -> bool:
        kind = record.event.get("type")
        return isinstance(kind, str) and kind.startswith(types)

    return applies


def _all(*getters: Getter) -> Getter:
    return lambda record: tuple(get(record) for get in getters)


_is_task = _of("task-")
_finishes = _of("task-succeeded", "task-failed", "task-retried")
_succeeds = _of("task-succeeded")
_ends = _of("task-succeeded", "task-failed", "task-revoked", "task-rejected", "task-cancelled")
_errs = _of("task-failed", "task-retried")
NOT_SENT: Final = "task_send_sent_event is off, or the tasks were sent before we listened"
NOT_RECEIVED: Final = "the tasks were received before we listened"
HAVE_NONE: Final = "the tasks have none, or were received before we listened"
NOT_STARTED: Final = "the tasks were started before we listened"

_FIELDS: Final = (
    Field("name", Kind.TEXT, plain("name"), "task name", NOT_RECEIVED, _is_task),
    Field("state", Kind.STATE, _state, "state the event puts the task in", "", _is_task),
    Field("worker", Kind.TEXT, plain("hostname"), "who sent the event, as celery@host"),
    Field("host", Kind.TEXT, host, "the worker's host: what follows the @"),
    Field("uuid", Kind.ID, plain("uuid"), "task id", "", _is_task),
    Field("args", Kind.TEXT, plain("args"), "arguments", NOT_RECEIVED, _is_task),
    Field(
        "kwargs",
        Kind.PAIRS,
        plain("kwargs"),
        "keyword arguments; key=value for a pair",
        NOT_RECEIVED,
        _is_task,
    ),
    Field("result", Kind.TEXT, plain("result"), "result of a task that succeeded", "", _succeeds),
    Field("exc", Kind.EXCEPTION, plain("exception"), "exception", "", _errs),
    Field("tb", Kind.TEXT, plain("traceback"), "traceback", "", _errs),
    Field("queue", Kind.TEXT, plain("queue"), "queue sent to", NOT_SENT, _is_task),
    Field("exchange", Kind.TEXT, plain("exchange"), "exchange sent to", NOT_SENT, _is_task),
    Field(
        "routing_key", Kind.TEXT, plain("routing_key"), "routing key sent with", NOT_SENT, _is_task
    ),
    Field(
        "root",
        Kind.ID,
        plain("root_id"),
        "id of the first task of the workflow",
        NOT_RECEIVED,
        _is_task,
    ),
    Field(
        "parent",
        Kind.ID,
        plain("parent_id"),
        "id of the task that sent this one",
        HAVE_NONE,
        _is_task,
    ),
    Field(
        "tree",
        Kind.IDS,
        _all(plain("uuid"), plain("root_id"), plain("parent_id")),
        "a whole family: uuid, root or parent",
    ),
    Field("type", Kind.TEXT, _type, "event type, as task-failed"),
    Field("runtime", Kind.DURATION, _runtime, "time the task ran", NOT_STARTED, _finishes),
    Field(
        "wait",
        Kind.DURATION,
        _wait,
        "from received, or else sent, to started",
        NOT_STARTED,
        _is_task,
    ),
    Field("queue_time", Kind.DURATION, _queue_time, "from sent to received", NOT_SENT, _is_task),
    Field("age", Kind.AGE, _timestamp, "time since the event was sent", drifts=True),
    Field("retries", Kind.NUMBER, plain("retries"), "retries so far", NOT_RECEIVED, _is_task),
    Field("pid", Kind.NUMBER, plain("pid"), "process that sent the event"),
    Field("lag", Kind.DURATION, _lag, "from sending the event to receiving it here"),
    Field("clock", Kind.NUMBER, plain("clock"), "logical clock"),
    Field("sent", Kind.TIME, _sent, "when the task was sent", NOT_SENT, _is_task),
    Field(
        "received", Kind.TIME, _received, "when a worker received the task", NOT_RECEIVED, _is_task
    ),
    Field("started", Kind.TIME, _started, "when the task started", NOT_STARTED, _is_task),
    Field("done", Kind.TIME, _done, "when the task ended, in whatever way", "", _ends),
    Field("eta", Kind.TIME, eta_of, "earliest time the task may start", HAVE_NONE, _is_task),
    Field("has", Kind.PRESENCE, lambda _: None, "names a field that must be there"),
    Field(
        "any",
        Kind.TEXTS,
        _all(
            plain("uuid"),
            plain("name"),
            _state,
            plain("hostname"),
            plain("args"),
            plain("kwargs"),
            plain("result"),
            plain("exception"),
        ),
        "what bare words search",
    ),
)

#: Names under which the fields travel, for those who copy them from JSON output, and
#: those that other tools have for the same.
ALIASES: Final = {
    "hostname": "worker",
    "exception": "exc",
    "traceback": "tb",
    "root_id": "root",
    "parent_id": "parent",
    **dict.fromkeys(("task", "job", "func", "function", "task_name"), "name"),
    **dict.fromkeys(("error", "err"), "exc"),
    **dict.fromkeys(("id", "task_id", "job_id"), "uuid"),
    **dict.fromkeys(("event", "kind"), "type"),
    **dict.fromkeys(("duration", "elapsed", "took"), "runtime"),
    "status": "state",
    "node": "worker",
    "latency": "lag",
    "stack": "tb",
    "retry": "retries",
    "attempts": "retries",
    "exists": "has",
    "_exists_": "has",
    **dict.fromkeys(("ended", "finished"), "done"),
}
#: Names that may mean several fields, and which.
AMBIGUOUS: Final = {
    "time": "runtime is how long it ran; sent, received, started and done are when",
    "timestamp": "sent, received, started and done are when; age is how long ago",
    "date": "sent, received, started and done are when; age is how long ago",
    "message": "exc for the exception, result for what it returned",
}

#: The fields of events, by name.
EVENT_FIELDS: Final[FieldTable] = {field.name: field for field in _FIELDS}


def find(name: str, fields: FieldTable) -> Field | None:
    """Return the field that `name` means, in any case; None if there is none."""
    lower = name.lower()
    if lower in fields:
        return fields[lower]
    if ALIASES.get(lower) in fields:
        return fields[ALIASES[lower]]
    owner, dot, rest = name.partition(".")
    if dot and owner.lower() in ("task", "event") and "." not in rest:
        return find(rest, fields)
    for prefix in PREFIXES:
        own = name[len(prefix) :]
        if lower.startswith(prefix) and own:
            return Field(name, Kind.OTHER, _own(own), "", "none has it")
    return None


#: How alike names must be for one to be meant by the other.
_ALIKE: Final = 0.7


def guess(name: str, fields: FieldTable) -> str:
    """Return the name of the field that was probably meant, or nothing."""
    # An alias may stand for what only others have: a task has no type of event.
    known = [*fields, *(alias for alias, of in ALIASES.items() if of in fields)]
    close = difflib.get_close_matches(name.lower(), known, 1, _ALIKE)
    return close[0] if close else ""
