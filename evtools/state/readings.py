"""What Celery's own events tell, read with care: every field has the type it should."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, TypeVar

from msgspec import Meta, Struct, ValidationError, convert

from evtools.state.exceptions import unwrapped
from evtools.state.transitions import (
    CANCELLED,
    FAILURE,
    PENDING,
    RECEIVED,
    REJECTED,
    RETRY,
    REVOKED,
    STARTED,
    SUCCESS,
)
from evtools.wire import TIME_MAX, EventFields

#: As long as Celery sends the texts of arguments and results.
TEXT_MAX: Final = 1024
_HOURS_MAX: Final = 24
COUNT_MAX: Final = 2**62
_FREQ_OF_ANSWERS: Final = 5.0

Time = Annotated[float, Meta(ge=0, le=TIME_MAX)]
Count = Annotated[int, Meta(ge=0, le=COUNT_MAX)]
HostName = Annotated[str, Meta(min_length=1)]


class Reading(Struct, forbid_unknown_fields=True, tag_field="type", kw_only=True, gc=False):
    """What all events tell."""

    hostname: HostName | None
    timestamp: Time
    local_received: Time
    clock: Count | None = None
    pid: Count | None = None
    utcoffset: Any = None


class TaskReading(Reading, kw_only=True):
    """What all events of tasks tell; `state` is the one that the event enters."""

    state: ClassVar[str]

    uuid: Annotated[str, Meta(min_length=1)]

    def weigh(self) -> int:
        """Return about how many bytes it takes."""
        names = self.__struct_fields__[_FIELDS_OF_ALL:]
        texts = [getattr(self, name) for name in names]
        return 200 + sum([text.__sizeof__() for text in texts if type(text) is str])


#: How many fields all events of tasks have.
_FIELDS_OF_ALL: Final = len(TaskReading.__struct_fields__)


class _Told(TaskReading, kw_only=True):
    """What the client and the worker both tell of a task."""

    name: str | None = None
    args: str | None = None
    kwargs: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    retries: Count | None = None
    eta: str | None = None
    expires: str | None = None


class Sent(_Told, tag="task-sent", kw_only=True):
    """A client has sent the task."""

    state = PENDING

    @property
    def client(self) -> str | None:
        """Who has sent it."""
        return self.hostname

    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None


class Received(_Told, tag="task-received", kw_only=True):
    """A worker has the task."""

    state = RECEIVED


class Started(TaskReading, tag="task-started", kw_only=True):
    """A process of the worker has the task."""

    state = STARTED


class Succeeded(TaskReading, tag="task-succeeded", kw_only=True):
    """The task has returned."""

    state = SUCCESS

    result: str | None = None
    runtime: Time | None = None


class _Raised(TaskReading, kw_only=True):
    exception: str | None = None
    traceback: str | None = None

    def __post_init__(self) -> None:
        """Tell what was raised, and not what billiard made of it."""
        self.exception = unwrapped(self.exception, self.traceback)


class Failed(_Raised, tag="task-failed", kw_only=True):
    """The task has raised."""

    state = FAILURE


class Retried(_Raised, tag="task-retried", kw_only=True):
    """The task is to be tried again."""

    state = RETRY


class Revoked(TaskReading, tag="task-revoked", kw_only=True):
    """The task was called off."""

    state = REVOKED

    terminated: bool | None = None
    signum: Count | str | None = None
    expired: bool | None = None


class Rejected(TaskReading, tag="task-rejected", kw_only=True):
    """The worker has given the message back, or away."""

    state = REJECTED

    requeue: bool | None = None


class Cancelled(TaskReading, tag="task-cancelled", kw_only=True):
    """The worker has given up the task, as its connection was lost."""

    state = CANCELLED


class WorkerReading(Reading, kw_only=True):
    """What a worker tells of itself."""

    freq: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    active: Count | None = None
    processed: Count | None = None
    loadavg: Annotated[list[float], Meta(max_length=3)] | None = None
    sw_ident: str | None = None
    sw_ver: str | None = None
    sw_sys: str | None = None


class Online(WorkerReading, tag="worker-online", kw_only=True):
    """The worker has come."""


class Heartbeat(WorkerReading, tag="worker-heartbeat", kw_only=True):
    """The worker is there."""

    @property
    def answers_wake_up(self) -> bool:
        """Whether it is what a worker of Celery answers when tools ask for a beat.

        That tells less than a beat of its own, and a `freq` that is not its own.
        Workers that others wrote may tell no more in any beat.
        """
        return (
            self.freq == _FREQ_OF_ANSWERS
            and self.sw_ident == "py-celery"
            and self.processed is None
            and self.active is None
            and self.loadavg is None
        )


class Offline(WorkerReading, tag="worker-offline", kw_only=True):
    """The worker says goodbye."""


#: The readings of Celery's own events, by type of event.
TASK_READINGS: Final[Mapping[str, type[TaskReading]]] = {
    f"task-{kind.__name__.lower()}": kind
    for kind in (
        *(Sent, Received, Started, Succeeded, Failed),
        *(Retried, Revoked, Rejected, Cancelled),
    )
}
WORKER_READINGS: Final[Mapping[str, type[WorkerReading]]] = {
    f"worker-{kind.__name__.lower()}": kind for kind in (Online, Heartbeat, Offline)
}

AnyReading = TypeVar("AnyReading", bound=Reading)


def read(event: EventFields, kind: type[AnyReading]) -> tuple[AnyReading | None, EventFields]:
    """Return the reading of an event, and the fields that `kind` does not have.

    None if it is of no use: an event of a task has to name the task, and one of a
    worker the worker.
    """
    try:
        return convert(event, kind), _NOTHING
    except (ValidationError, ValueError):  # the latter for lone surrogates
        return read_odd(event, kind)


_NOTHING: Final[EventFields] = {}


def read_odd(event: EventFields, kind: type[AnyReading]) -> tuple[AnyReading | None, EventFields]:
    """Do what `read` does for an event that lacks fields or has others or odd ones."""
    names = kind.__struct_fields__
    tidied = {name: tidy(name, event.get(name)) for name in names}
    tidied["local_received"] = _first(tidied["local_received"], tidied["timestamp"])
    tidied["timestamp"] = _first(tidied["timestamp"], tidied["local_received"])
    subject = "uuid" if "uuid" in tidied else "hostname"
    if not tidied[subject]:
        return None, _NOTHING
    own = {name: value for name, value in event.items() if name not in tidied and name != "type"}
    return kind(**tidied), own


def tidy(name: str, value: object) -> Any:
    """Return the value of a field as it should be, None for one that cannot be."""
    return _TIDY.get(name, text)(value)


def _first(one: Any, other: Any) -> float:
    """Return the time that is known, or the beginning of time."""
    return float(next((time for time in (one, other) if time is not None), 0.0))


# --- odd values ------------------------------------------------------------------


def text(value: object) -> str | None:
    """Return `value` as a text: what is none, cut like Celery's."""
    if value is None or isinstance(value, str):
        return value
    try:
        return str(value)[:TEXT_MAX]
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return f"<{type(value).__name__}>"


def _own(value: object) -> str | None:
    """Return a text that names something, which nothing else can."""
    return value if isinstance(value, str) and value else None


def number(value: object, largest: float = TIME_MAX) -> float | None:
    """Return a number from 0 to `largest`, None for anything else."""
    # Some decoders make these of numbers.
    if isinstance(value, Decimal) and value.is_finite():
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= largest else None


def _time(value: object) -> float | None:
    found = number(value)
    return None if found is None else float(found)


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= COUNT_MAX else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _signum(value: object) -> int | str | None:
    return value if isinstance(value, str) else _count(value)


def _offset(value: object) -> float | None:
    """Return hours west of UTC."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= _HOURS_MAX else None


def _freq(value: object) -> float | None:
    found = number(value, 86_400)
    return float(found) if found else None


def _loadavg(value: object) -> list[float] | None:
    if not isinstance(value, list | tuple):
        return None
    loads = [number(load) for load in value[:3]]
    return [float(load) for load in loads if load is not None]


#: How fields that are no texts are tidied up.
_TIDY: Final[Mapping[str, Callable[[object], Any]]] = {
    **dict.fromkeys(("uuid", "hostname"), _own),
    **dict.fromkeys(("timestamp", "local_received", "runtime"), _time),
    **dict.fromkeys(("clock", "pid", "retries", "active", "processed"), _count),
    **dict.fromkeys(("terminated", "expired", "requeue"), _flag),
    "signum": _signum,
    "freq": _freq,
    "loadavg": _loadavg,
    "utcoffset": _offset,
}
