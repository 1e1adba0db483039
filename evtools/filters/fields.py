"""The fields and states of the filter language, and how to get them from events and tasks."""

import difflib
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from operator import attrgetter, methodcaller
from typing import Any, Final, TypeAlias

from msgspec import UNSET

from evtools.filters.grammar import QUOTE_IT, Part
from evtools.text import sanitize
from evtools.wire import TIME_MAX, Event

# --- states ---------------------------------------------------------------------

#: The state a task is in after an event of this type.
EVENT_STATES: Final = {
    "task-sent": "PENDING", "task-received": "RECEIVED", "task-started": "STARTED",
    "task-succeeded": "SUCCESS", "task-failed": "FAILURE", "task-retried": "RETRY",
    "task-revoked": "REVOKED", "task-rejected": "REJECTED", "task-cancelled": "CANCELLED",
}  # fmt: skip
STATES: Final = tuple(EVENT_STATES.values())
#: The states that end an attempt.
FINAL_STATES: Final = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED", "CANCELLED"})
#: Names that stand for several states.
STATE_GROUPS: Final = {
    "bad": frozenset({"FAILURE", "RETRY", "REVOKED", "REJECTED", "CANCELLED"}),
    "active": frozenset({"RECEIVED", "STARTED"}),
    "done": FINAL_STATES,
}
#: Short names, as on the screen, and other words for the same.
STATE_NAMES: Final = {
    **{state.lower(): state for state in STATES},
    **{kind.removeprefix("task-"): state for kind, state in EVENT_STATES.items()},
    "recv": "RECEIVED", "run": "STARTED", "running": "STARTED", "retrying": "RETRY",
    "ok": "SUCCESS", "fail": "FAILURE", "failing": "FAILURE", "errored": "FAILURE",
    "revoke": "REVOKED", "reject": "REJECTED", "cancel": "CANCELLED", "canceled": "CANCELLED",
}  # fmt: skip
#: State names that are too often part of other words to mean a state by themselves.
TOO_SHORT: Final = frozenset({"sent", "recv", "run", "ok", "fail", "revoke", "reject", "cancel"})

# --- the fields -----------------------------------------------------------------

#: Returns a field of a filter's subject; None if it is not known.
Getter: TypeAlias = Callable[[Any], object]
FieldTable: TypeAlias = Mapping[str, "Field"]


class Kind(Enum):
    """The type of a field's values, which decides what they can be compared with."""

    TEXT = "text"
    ID = "an identifier"
    STATE = "a state"
    PAIRS = "keyword arguments"
    NUMBER = "a number"
    DURATION = "a duration"
    TIME = "a time"
    AGE = "an age"
    OTHER = "text or a number"
    #: Text such as ValueError('x'); = compares it with its class, too.
    EXCEPTION = "an exception"
    #: Several texts or identifiers of which one has to match.
    TEXTS = "several texts"
    IDS = "several identifiers"
    #: Not a field: its values are names of fields.
    PRESENCE = "presence"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a filter.

    `applies` returns whether a subject should have it, and `reason` is why it may be unknown
    nevertheless.  `drifts` means that its value changes with time alone.
    """

    name: str
    kind: Kind
    get: Getter
    about: str
    reason: str = ""
    applies: Callable[[Any], bool] = lambda _: True
    drifts: bool = False


#: Prefixes of fields outside the table: `field.active>3`.
PREFIXES: Final = ("field.", "f.")

_NOT_SENT: Final = "task_send_sent_event is off, or the tasks were sent before evtools connected"
_NOT_RECEIVED: Final = "the tasks were received before evtools connected"
_NOT_STARTED: Final = "the tasks were started before evtools connected"
_NONE: Final = "the tasks have none, or were received before evtools connected"
_NOT_DUE: Final = "no task waits for its ETA"
_RUN: Final = frozenset({"SUCCESS", "FAILURE", "RETRY"})
_FAILED: Final = frozenset({"FAILURE", "RETRY"})
_SUCCEEDED: Final = frozenset({"SUCCESS"})
_BEFORE_START: Final = frozenset({"PENDING", "RECEIVED", "RETRY"})
#: What a state is called whose task was received and waits for its ETA, as the field `due` says.
DUE: Final = "due"

# fmt: off
#: Name, kind, description; why it may be unknown, and in which states it should not be.
_FIELDS: Final[tuple[tuple[str, Kind, str, str, Container[object] | None], ...]] = (
    ("name", Kind.TEXT, "task name", _NOT_RECEIVED, STATES),
    ("state", Kind.STATE, "state of the task, after the event", "", STATES),
    ("worker", Kind.TEXT, "sender of the event, as celery@host", "", None),
    ("cluster", Kind.TEXT, "name of the cluster, as in -b NAME=URL", "only one is watched", None),
    ("host", Kind.TEXT, "host of the worker: the part after the @", "", None),
    ("uuid", Kind.ID, "task id", "", STATES),
    ("args", Kind.TEXT, "arguments", _NOT_RECEIVED, STATES),
    ("kwargs", Kind.PAIRS, "keyword arguments; key=value for a pair", _NOT_RECEIVED, STATES),
    ("result", Kind.TEXT, "result of a task that succeeded", "", _SUCCEEDED),
    ("exc", Kind.EXCEPTION, "exception", "", _FAILED),
    ("tb", Kind.TEXT, "traceback", "", _FAILED),
    ("queue", Kind.TEXT, "queue sent to", _NOT_SENT, STATES),
    ("exchange", Kind.TEXT, "exchange sent to", _NOT_SENT, STATES),
    ("routing_key", Kind.TEXT, "routing key sent with", _NOT_SENT, STATES),
    ("root", Kind.ID, "id of the first task of the workflow", _NOT_RECEIVED, STATES),
    ("parent", Kind.ID, "id of the task that sent this one", _NONE, STATES),
    ("tree", Kind.IDS, "a whole workflow: uuid, root or parent", "", None),
    ("type", Kind.TEXT, "event type, such as task-failed", "", None),
    ("runtime", Kind.DURATION, "time the task ran, or has run so far", _NOT_STARTED, _RUN),
    ("wait", Kind.DURATION, "from received (or sent) to started", _NOT_STARTED, STATES),
    ("queue_time", Kind.DURATION, "from sent to received", _NOT_SENT, STATES),
    ("age", Kind.AGE, "time since the event, or the last event of the task", "", None),
    ("retries", Kind.NUMBER, "retries so far", _NOT_RECEIVED, STATES),
    ("pid", Kind.NUMBER, "process that sent the event", "", None),
    ("lag", Kind.DURATION, "from sending the event to receiving it here", "", None),
    ("clock", Kind.NUMBER, "logical clock", "", None),
    ("sent", Kind.TIME, "when the task was sent", _NOT_SENT, STATES),
    ("received", Kind.TIME, "when a worker received the task", _NOT_RECEIVED, STATES),
    ("started", Kind.TIME, "when the task started", _NOT_STARTED, STATES),
    ("done", Kind.TIME, "when the task ended, in any final state", "", FINAL_STATES),
    ("eta", Kind.TIME, "earliest time the task may start", _NONE, STATES),
    ("has", Kind.PRESENCE, "name of a field that must be there", "", None),
    ("any", Kind.TEXTS, "the fields that bare words search", "", None),
    ("lost", Kind.OTHER, "true if it was running on a worker that disappeared", "", None),
    ("due", Kind.DURATION, "time until the ETA of a task that waits for it", _NOT_DUE, None),
)
#: Celery's names of fields that have another one here.
_CELERY_NAMES: Final = {
    "worker": "hostname", "exc": "exception", "tb": "traceback",
    "root": "root_id", "parent": "parent_id",
}
#: Names in JSON output, for those who copy them, and names that other tools have.
ALIASES: Final = {
    **{name: short for short, name in _CELERY_NAMES.items()},
    "task": "name", "job": "name", "func": "name", "function": "name", "task_name": "name",
    "error": "exc", "err": "exc", "id": "uuid", "task_id": "uuid", "job_id": "uuid",
    "event": "type", "kind": "type", "duration": "runtime", "elapsed": "runtime",
    "took": "runtime", "status": "state", "node": "worker", "latency": "lag", "stack": "tb",
    "retry": "retries", "attempts": "retries", "exists": "has", "_exists_": "has",
    "ended": "done", "finished": "done",
}
# fmt: on
_MOMENTS: Final = "sent, received, started and done are when; age is how long ago"
#: Names that may mean several fields, and which.
AMBIGUOUS: Final = {
    "time": "runtime is how long it ran; sent, received, started and done are when",
    "timestamp": _MOMENTS,
    "date": _MOMENTS,
    "message": "exc for the exception, result for the return value",
}


def _table(
    without: Iterable[str],
    drifting: Container[str],
    get: Callable[[str], Getter],
    get_all: Callable[..., Callable[[Any], tuple[object, ...]]],
    is_in: Callable[[Container[object]], Callable[[Any], bool]],
    getters: Mapping[str, Getter],
) -> FieldTable:
    # `get` and `get_all` return the getters of other fields, by Celery's names; `is_in(states)`
    # is the test for subjects in them.
    texts = get_all("uuid", "name", "hostname", "args", "kwargs", "result", "exception")
    state = getters["state"]
    getters = {
        "has": lambda _: None,
        "host": _host,
        "cluster": lambda subject: getattr(subject, "cluster", None) or None,
        "eta": _eta,
        "tree": get_all("uuid", "root_id", "parent_id"),
        "any": lambda subject: (*texts(subject), state(subject)),
        **getters,
    }
    table = {}
    for name, kind, about, reason, states in _FIELDS:
        getter = getters.get(name) or get(_CELERY_NAMES.get(name, name))
        applies = is_in(states) if states else lambda _: True
        table[name] = Field(name, kind, getter, about, reason, applies, name in drifting)
    for name in without:
        del table[name]
    return table


def find(name: str, fields: FieldTable) -> Field | None:
    """Return the field that `name` means, in any case; None if there is none."""
    lower = name.lower()
    if found := fields.get(lower) or fields.get(ALIASES.get(lower, "")):
        return found
    owner, _, rest = name.partition(".")
    if owner.lower() in ("task", "event") and rest and "." not in rest:
        return find(rest, fields)
    if owner.lower() in ("field", "f") and rest:
        return Field(name, Kind.OTHER, methodcaller("get", rest), "", "none has it")
    return None


def find_or_refuse(part: Part, name: str, fields: FieldTable) -> Field:
    """Return the field that `name`, a part of a filter, means; raise Mistake if there is none."""
    if field := find(name, fields):
        return field
    shown = sanitize(name)
    if hint := AMBIGUOUS.get(name.lower()):
        raise part.mistake(f'"{shown}" may be several fields', hint)
    close = _close(name, fields)
    guess = f' (did you mean "{close[0]}"?)' if close else ""
    others = f"an argument is kwargs:{shown}=VALUE, another field of an event {PREFIXES[0]}{shown}"
    raise part.mistake(f'unknown field "{shown}"{guess}', f"{others}; {QUOTE_IT}")


def is_argument(name: str, fields: FieldTable) -> bool:
    """Return whether `name` can only be that of a keyword argument: no field is similar."""
    is_known = find(name, fields) or name.lower() in AMBIGUOUS or _close(name, fields)
    return "kwargs" in fields and name.isidentifier() and not is_known


def _close(name: str, fields: FieldTable) -> list[str]:
    known = [*fields, *(alias for alias, of in ALIASES.items() if of in fields)]
    return difflib.get_close_matches(name.lower(), known, 1, 0.7)


def seconds(value: object) -> float | None:
    """Return `value` as seconds, None unless it is a number that can be a time."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= TIME_MAX else None


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def _host(subject: Any) -> str | None:
    hostname = subject.get("hostname")
    return hostname.rpartition("@")[2] if isinstance(hostname, str) else None


def _eta(subject: Any) -> float | None:
    # Celery sends it as ISO 8601, in UTC if it has no zone.
    eta = subject.get("eta")
    if not isinstance(eta, str):
        return seconds(eta)
    try:
        moment = datetime.fromisoformat(eta)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# --- of events ------------------------------------------------------------------
#
# Fields may be of any JSON type.  Getters return them as they are if the kind of the
# field sorts it out, and do arithmetic only on `seconds`.


def _event_field(name: str) -> Getter:
    attribute = attrgetter(name)

    def get(event: Event) -> object:
        # The same as event.get(name), in less time.
        if event.original is not UNSET:
            return event.get(name)
        value: object = attribute(event)
        # "" is also a missing uuid.
        return event.joined.get(name) if value is None else value or event.get(name)

    return get


def _event_fields(*names: str) -> Callable[[Event], tuple[object, ...]]:
    attributes = attrgetter(*names)

    def get(event: Event) -> tuple[object, ...]:
        if event.original is not UNSET or not event.uuid:
            return tuple([event.get(name) for name in names])
        own: tuple[object, ...] = attributes(event)
        joined = event.joined
        return (*own, *[joined[name] for name in names if name in joined]) if joined else own

    return get


def _state(event: Event) -> str | None:
    return EVENT_STATES.get(event.type)


def _event_is_in(states: Container[object]) -> Callable[[Event], bool]:
    if states is STATES:
        # Any event of a task: one that Celery does not send has no state.
        return lambda event: event.type.startswith("task-")
    return lambda event: _state(event) in states


def _timestamp(event: Event) -> float | None:
    return seconds(event.get("timestamp"))


def _time(name: str) -> Callable[[Event], float | None]:
    # When the event `task-<name>` of this task was sent.
    kind = f"task-{name}"
    return lambda event: (
        _timestamp(event) if event.type == kind else seconds(event.joined.get(name))
    )


_sent, _received, _started = _time("sent"), _time("received"), _time("started")


def _event_runtime(event: Event) -> float | None:
    # As the worker measured it, or else the time since the start.
    runtime = seconds(event.get("runtime"))
    if runtime is not None or _state(event) not in _RUN:
        return runtime
    return _between(_started(event), _timestamp(event))


def _event_wait(event: Event) -> float | None:
    received = _received(event)
    return _between(_sent(event) if received is None else received, _started(event))


#: The fields of events, by name.
EVENT_FIELDS: Final[FieldTable] = _table(
    ("lost", "due"), ("age",), _event_field, _event_fields, _event_is_in, {
        "type": lambda event: event.type,
        "state": _state,
        "runtime": _event_runtime,
        "wait": _event_wait,
        "queue_time": lambda event: _between(_sent(event), _received(event)),
        "age": _timestamp,
        "lag": lambda event: _between(_timestamp(event), seconds(event.get("local_received"))),
        "sent": _sent,
        "received": _received,
        "started": _started,
        "done": lambda event: _timestamp(event) if _state(event) in FINAL_STATES else None,
    },
)  # fmt: skip

# --- of tasks -------------------------------------------------------------------
#
# `task.get(name)` returns a field as Celery sent it, of any JSON type; what the state
# worked out is an attribute.


def running_since(task: Any) -> float | None:
    """Return when a task that has not ended started, in epoch seconds of the local clock."""
    if task.state != "STARTED" or (started := seconds(task.started)) is None:
        return None
    return started - (seconds(getattr(task.worker, "skew", None)) or 0.0)


def due_in(task: Any, now: float) -> float | None:
    """Return in how many seconds a task that waits for its ETA may start, None if none does.

    `now` is in epoch seconds of the local clock.  A worker waits by its own clock, so the skew of
    that counts as far as it is known.  A task that may be lost waits for nothing.
    """
    if task.eta is None or task.state not in _BEFORE_START or (at := _eta(task)) is None:
        return None
    left = at - now - (seconds(getattr(task.worker, "skew", None)) or 0.0)
    if left <= 0 or task.lost(now):
        return None
    answer = task.current_answer(now)
    return None if answer is not None and answer.runs else left


def _task_fields(*names: str) -> Callable[[Any], tuple[object, ...]]:
    # All at once takes half as long as one by one.
    read = attrgetter(*["worker_name" if name == "hostname" else name for name in names])

    def get(task: Any) -> tuple[object, ...]:
        try:
            found: tuple[object, ...] = read(task)
        except AttributeError:
            return tuple([task.get(name) for name in names])
        return found

    return get


def task_fields(now: Callable[[Any], float] | None = None) -> FieldTable:
    """Return the fields of tasks, by name.

    `now` returns the epoch seconds up to which a running task has run, and as of which it may be
    lost or waits for its ETA; without it none of that is known.
    """

    def runtime(task: Any) -> float | None:
        known = seconds(task.runtime)
        if known is not None or now is None:
            return known
        since = running_since(task)
        return None if since is None else max(0.0, now(task) - since)

    def attribute(name: str) -> Getter:
        return lambda task: seconds(getattr(task, name, None))

    times = ("wait", "queue_time", "sent", "received", "started", "done")
    return _table(
        ("type",), ("age", "runtime", "lost", "due"),
        lambda name: lambda task: task.get(name),
        _task_fields,
        lambda states: lambda task: task.state in states,
        {
            **{name: attribute(name) for name in times},
            "state": lambda task: getattr(task, "state", None),
            "runtime": runtime,
            "age": attribute("local_received"),
            "lag": lambda task: _between(seconds(task.timestamp), seconds(task.local_received)),
            "lost": lambda task: None if now is None else bool(task.lost(now(task))),
            "due": lambda task: None if now is None else due_in(task, now(task)),
        },
    )  # fmt: skip


#: The fields of tasks without a clock.
TASK_FIELDS: Final[FieldTable] = task_fields()
