"""Celery's events: one table of their fields, typed events, gap records, logical time."""

import re
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import ulp
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, TypeAlias, cast

import msgspec
from msgspec import UNSET, Meta

#: An event as Celery's handlers get it: a flat mapping with a `type`; any other
#: field may be missing or of any JSON type.
EventFields: TypeAlias = dict[str, Any]

#: The end of the year 9999, in UTC epoch seconds.  Later values are usually
#: milliseconds, or finer.
TIME_MAX: Final = 253_402_300_799
#: The type of the record that stands where events may be missing.
GAP: Final = "evdump-gap"

NOTHING: Final[Mapping[str, Any]] = {}

#: What a cluster may be called: it stands in front of lines, in labels and in file names.
_CLUSTER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)

#: Larger counts are not honest, nor exact as a float.
COUNT_MAX: Final = 2**53
#: In seconds, the longest interval of heartbeats that makes sense.
FREQ_MAX: Final = 86_400
#: Of `utcoffset`, in hours.
HOURS_MAX: Final = 24


def _number_of(bounds: Meta) -> Any:
    # An integer stays an integer: an event is written as it was sent.
    return Annotated[int, bounds] | Annotated[float, bounds]


Name: TypeAlias = Annotated[str, Meta(min_length=1)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=COUNT_MAX)]
Time: Any = _number_of(Meta(ge=0, le=TIME_MAX))

# fmt: off
#: Every field that Celery sends, with the type that it should have.
FIELDS: Final[Mapping[str, Any]] = {
    "hostname": Name,
    "uuid": Name,
    "name": str | None,
    "args": str | None,
    "kwargs": str | None,
    "root_id": str | None,
    "parent_id": str | None,
    "retries": Count | None,
    "eta": str | None,
    "expires": str | None,
    "queue": str | None,
    "exchange": str | None,
    "routing_key": str | None,
    "result": str | None,
    "runtime": Time | None,
    "exception": str | None,
    "traceback": str | None,
    "terminated": bool | None,
    "signum": Count | str | None,
    "expired": bool | None,
    "requeue": bool | None,
    "freq": _number_of(Meta(gt=0, le=FREQ_MAX)) | None,
    "active": Count | None,
    "processed": Count | None,
    "loadavg": Annotated[list[Time], Meta(max_length=3)] | None,
    "sw_ident": str | None,
    "sw_ver": str | None,
    "sw_sys": str | None,
    "timestamp": Time,
    "utcoffset": _number_of(Meta(ge=-HOURS_MAX, le=HOURS_MAX)) | None,
    "pid": Count | None,
    "clock": Count,
}
#: Fields that any event may have, in the order of a custom event.
COMMON: Final = ("hostname", "uuid", "timestamp", "utcoffset", "pid", "clock")

_RECEIVED: Final = ("name", "args", "kwargs", "root_id", "parent_id", "retries", "eta", "expires")
_SENT: Final = (*_RECEIVED, "queue", "exchange", "routing_key")
_BEAT: Final = ("freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys")

#: What later events of a task may get from earlier ones.
_JOINED: Final = frozenset({*_SENT, "sent", "received", "started"})

#: The fields of each task event besides the common ones.
_TASK: Final[Mapping[str, tuple[str, ...]]] = {
    "task-sent": _SENT,
    "task-received": _RECEIVED,
    "task-started": (),
    "task-succeeded": ("result", "runtime"),
    "task-failed": ("exception", "traceback"),
    "task-retried": ("exception", "traceback"),
    "task-revoked": ("terminated", "signum", "expired"),
    "task-rejected": ("requeue",),
    "task-cancelled": (),
}
#: All fields of Celery's events by type, in the order of a recording.
OWN_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    kind: ("hostname", "uuid", *fields, "timestamp", "utcoffset", "pid", "clock")
    for kind, fields in _TASK.items()
} | dict.fromkeys(
    ("worker-online", "worker-heartbeat", "worker-offline"),
    ("hostname", "utcoffset", "pid", "clock", *_BEAT, "timestamp"),
)
# fmt: on

# No number is both, so whatever a sender calls by such a name does not fit the
# struct, and the event is read field by field.
_Ours: Final = Annotated[int, Meta(gt=0, lt=1)]
#: Slots that are never written, under names that no sender has a use for.
_HIDDEN: Final = {
    "known": "evtools:known", "original": "evtools:original", "cluster": "evtools:cluster",
}  # fmt: skip


class FieldNames(msgspec.Struct, gc=False):
    """Names of joined fields, and how a line with them ends; most tasks share these."""

    all: tuple[str, ...]
    #: What follows the last field: `,"joined":["name"]}` and a newline.
    end: bytes
    has_start: bool
    #: The same with the name of a time behind them, once it was asked for.
    timed: dict[str, "FieldNames"] = {}


class Known(msgspec.Struct, frozen=True, gc=False):
    """What earlier events of a task said, as members of a JSON object after others.

    As `,"name":"proj.add"` it takes less memory than as values, and most of it is
    only kept to be written.
    """

    members: bytes
    names: FieldNames

    def fields(self) -> dict[str, Any]:
        """Return the fields."""
        return _decode_fields(b"{%b}" % self.members[1:])


_decode_fields: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Event(msgspec.Struct, tag_field="type", forbid_unknown_fields=True, kw_only=True, gc=False):
    """An event, decoded once: attributes have the declared type, or None if not sent.

    A field that was sent with a value of another type reads as None (texts: as
    text) here; `original` keeps what was sent then.  Use `get` for what was sent.
    """

    #: The names of the fields that Celery gives this type, as far as they are slots.
    own: ClassVar[tuple[str, ...]] = ()
    #: Names that senders added to this type, each with its slot.
    learned: ClassVar[tuple[tuple[str, str], ...]] = ()
    #: The attribute of each field, by its name.
    attributes: ClassVar[Mapping[str, str]] = {}
    is_gap: ClassVar[bool] = False
    #: Whether it is of a task, and lacks all that is joined from earlier events.
    joins_plainly: ClassVar[bool] = False

    # Each class has slots for the fields of its type; what others have reads as None.
    if TYPE_CHECKING:
        type: str = ""
        #: Empty if it was not sent, or is no text.
        hostname: str = ""
        uuid: str = ""
        #: UTC epoch seconds.
        timestamp: float | None = None
        #: Hours west of UTC.
        utcoffset: float | None = None
        pid: int | None = None
        clock: int | None = None
        name: str | None = None
        args: str | None = None
        kwargs: str | None = None
        root_id: str | None = None
        parent_id: str | None = None
        retries: int | None = None
        eta: str | None = None
        expires: str | None = None
        queue: str | None = None
        exchange: str | None = None
        routing_key: str | None = None
        result: str | None = None
        runtime: float | None = None
        exception: str | None = None
        traceback: str | None = None
        terminated: bool | None = None
        signum: int | str | None = None
        expired: bool | None = None
        requeue: bool | None = None
        freq: float | None = None
        active: int | None = None
        processed: int | None = None
        loadavg: list[float] | None = None
        sw_ident: str | None = None
        sw_ver: str | None = None
        sw_sys: str | None = None
        #: When it was received, in UTC epoch seconds; always set outside of the codec.
        local_received: float = 0.0
        #: Seconds from sending to receipt, for the line that is written last.
        lag: Any = UNSET
        #: What earlier events of the task had and this one lacks: a Known, a
        #: dictionary or UNSET.  See `joined`.
        known: Known | Mapping[str, Any] | Any = UNSET
        #: What was sent, if the attributes do not say all of it, else UNSET.
        original: EventFields | Any = UNSET
        #: The name of the cluster that it came from, UNSET (which is false) if that has none.
        cluster: str | Any = UNSET

    @property
    def extra(self) -> Mapping[str, Any]:
        """The fields that Celery does not give such an event."""
        if self.original is not UNSET:
            names = self.own
            return {
                name: value
                for name, value in self.original.items()
                if name not in names and name not in {"type", "local_received"}
            }
        if not self.learned:
            return NOTHING
        return {
            name: value
            for name, slot in self.learned
            if (value := getattr(self, slot)) is not UNSET
        }

    @property
    def joined(self) -> Mapping[str, Any]:
        """The fields of earlier events of the task that this one lacks."""
        known: Any = self.known
        if known is UNSET:
            return NOTHING
        if known.__class__ is Known:
            self.known = known = known.fields()
        joined: Mapping[str, Any] = known
        return joined

    @property
    def is_nameless(self) -> bool:
        """Whether an event of a task or a worker does not say which."""
        kind = self.type
        if kind.startswith("task-"):
            return not self.uuid
        return kind.startswith("worker-") and not self.hostname

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field as it was sent, else as earlier events had it, else `default`."""
        if self.original is not UNSET:
            if name in self.original:
                return self.original[name]
        elif (slot := self.attributes.get(name)) is not None:
            value = getattr(self, slot)
            if value is not UNSET:
                return value
        return self.joined.get(name, default)

    def as_dict(self) -> EventFields:
        """Return what was sent, and when it was received; a new dictionary each time.

        First type, hostname, uuid and name, then Celery's fields, then others in the
        order in which they came, `local_received` last.
        """
        if self.original is not UNSET:
            return ordered(self.original)
        fields: EventFields = msgspec.to_builtins(self)
        fields.pop("lag", None)
        fields.pop(_HIDDEN["known"], None)
        fields.pop(_HIDDEN["cluster"], None)
        return fields

    def stamp(self, received: float) -> None:
        """Set when it was received."""
        self.local_received = received
        if self.original is not UNSET:
            self.original["local_received"] = received

    def set_clock(self, clock: int) -> None:
        """Set the logical time, as Celery's receiver does of some events."""
        self.clock = clock
        if self.original is not UNSET:
            self.original["clock"] = clock


class TaskEvent(Event):
    """One of Celery's own events of a task."""


class WorkerEvent(Event):
    """One of Celery's own events of a worker."""


class CustomEvent(Event):
    """An event of any other type; Celery's common fields are attributes if they were sent."""


class Gap(Event, tag=GAP):
    """Our own record of a hole in the stream; `original` has all of it."""

    is_gap = True

    #: One of reconnect, buffer, stopped, worker.
    reason: str = ""
    #: The worker that counted tasks without events.
    hostname: str = ""
    #: Of a hole without connection, in seconds.
    duration: float = 0.0
    #: Events that did not fit into the buffer.
    dropped: int = 0
    #: Tasks that a worker counted and no event reported.
    missed: int = 0
    local_received: float = 0.0
    known: Any = UNSET
    original: EventFields | Any = UNSET
    cluster: Any = UNSET


# What a class has no slot for; not in the class's body, where it would be a field.
for _name in FIELDS:
    setattr(Event, _name, "" if _name in ("hostname", "uuid") else None)
Gap.type = GAP


def make_class(kind: str, names: Iterable[str], *, lenient: bool = False) -> type[Event]:
    """Make the class of events of type `kind` with slots for the fields `names`.

    A `lenient` one takes what lacks fields or has others; without a `kind`, any type.
    """
    celerys = OWN_FIELDS.get(kind, COMMON)
    _, *names = ordered({"type": kind, **dict.fromkeys(names)})
    learned = [name for name in names if name not in celerys]
    slots = {name: f"x{number}" for number, name in enumerate(learned)}
    fields: list[Any] = []
    for name in names:
        if name in slots:
            fields.append((slots[name], Any, msgspec.field(name=name, default=UNSET)))
        elif not lenient:
            fields.append((name, FIELDS[name]))
        elif FIELDS[name] is Name:
            fields.append((name, Name, ""))
        else:
            fields.append((name, FIELDS[name] | None, None))
    fields += [("local_received", Time, UNSET), ("lag", _Ours, UNSET)]
    fields += [(slot, _Ours, msgspec.field(name=_HIDDEN[slot], default=UNSET)) for slot in _HIDDEN]
    own = tuple(name for name in names if name not in slots)
    joins_plainly = kind.startswith("task-") and "uuid" in own and _JOINED.isdisjoint(learned)
    return cast(
        "type[Event]",
        msgspec.defstruct(
            "".join(map(str.title, kind.split("-"))) if kind in OWN_FIELDS else "CustomEvent",
            fields,
            bases=(base_of(kind),),
            namespace={
                "type": kind or property(_sent_type),
                "own": own,
                "learned": tuple(slots.items()),
                "attributes": {
                    **{name: name for name in (*own, "type", "local_received")},
                    **slots,
                },
                "joins_plainly": joins_plainly,
            },
            tag=kind or False,
            kw_only=True,
            gc=False,
            forbid_unknown_fields=not lenient,
        ),
    )


def _sent_type(event: Event) -> str:
    kind = event.original.get("type")
    return kind if isinstance(kind, str) else ""


def base_of(kind: str) -> type[Event]:
    """Return the base class of events of a type."""
    if kind not in OWN_FIELDS:
        return CustomEvent
    return TaskEvent if kind in _TASK else WorkerEvent


_NAMES_FIRST: Final = ("type", "hostname", "uuid", "name")
_LEADING: Final = {
    kind: tuple(dict.fromkeys((*_NAMES_FIRST, *fields)))
    for kind, fields in OWN_FIELDS.items()
    if kind in _TASK
}


def ordered(fields: EventFields) -> EventFields:
    """Return a copy with its fields in the order of a recording."""
    kind = fields.get("type")
    leading = _LEADING.get(kind, _NAMES_FIRST) if isinstance(kind, str) else _NAMES_FIRST
    copy = {name: fields[name] for name in leading if name in fields}
    copy.update(fields)
    if "local_received" in copy:
        copy["local_received"] = copy.pop("local_received")
    return copy


# --- events out of dictionaries ---------------------------------------------------

#: As long as Celery sends the texts of arguments and results.
_TEXT_MAX_CHARS: Final = 1024

#: Of fields that are numbers: the lowest, the highest, and their types.
_TIME: Final = (0, TIME_MAX, (int, float))
_COUNT: Final = (0, COUNT_MAX, int)
_NUMBERS: Final[Mapping[str, tuple[float, float, Any]]] = {
    **dict.fromkeys(("timestamp", "runtime"), _TIME),
    **dict.fromkeys(("clock", "pid", "retries", "active", "processed"), _COUNT),
    "utcoffset": (-HOURS_MAX, HOURS_MAX, (int, float)),
    "freq": (ulp(0), FREQ_MAX, (int, float)),
}
_lenient: Final = {kind: make_class(kind, own, lenient=True) for kind, own in OWN_FIELDS.items()}
_other: Final = make_class("", COMMON, lenient=True)


def tidied(fields: EventFields) -> Event:
    """Return the event of a dictionary with odd values, which `original` keeps."""
    kind = fields.get("type")
    if kind == GAP:
        return _gap(fields)
    cls = _lenient.get(kind, _other) if isinstance(kind, str) else _other
    try:
        event: Any = msgspec.convert(fields, cls)
    except (msgspec.ValidationError, ValueError, RecursionError):
        event = cls(**{name: tidy(name, fields[name]) for name in cls.own if name in fields})
        received = _number(fields.get("local_received"), *_TIME)
        event.local_received = UNSET if received is None else received
    event.original = fields
    return cast("Event", event)


def tidy(name: str, value: object) -> Any:
    """Return the value of a field of Celery's as it should be, None if it cannot be."""
    if name in _NUMBERS:
        return _number(value, *_NUMBERS[name])
    if name in ("uuid", "hostname"):
        return value if isinstance(value, str) else ""
    if name in ("terminated", "expired", "requeue"):
        return value if isinstance(value, bool) else None
    if name == "signum" and not isinstance(value, str):
        return _number(value, *_COUNT)
    if name == "loadavg":
        loads = value[:3] if isinstance(value, list | tuple) else None
        return loads and [load for load in loads if _number(load, *_TIME) is not None]
    return _shown(value)


def _number(value: object, low: float, high: float, types: Any) -> Any:
    if isinstance(value, Decimal) and value.is_finite():  # some decoders make these
        value = float(value)
    if not isinstance(value, types) or isinstance(value, bool):
        return None
    return value if low <= value <= high else None


def _shown(value: object) -> str | None:
    """Return `value` as a text; what is none is cut like Celery's."""
    if value is None or isinstance(value, str):
        return value
    try:
        return str(value)[:_TEXT_MAX_CHARS]
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return f"<{type(value).__name__}>"


def _gap(fields: EventFields) -> Gap:
    times = [_number(fields.get(name), *_TIME) for name in ("duration", "local_received")]
    counts = [_number(fields.get(name), *_COUNT) for name in ("dropped", "missed")]
    return Gap(
        reason=_shown(fields.get("reason")) or "",
        hostname=tidy("hostname", fields.get("hostname")),
        duration=times[0] or 0.0,
        local_received=times[1] or 0.0,
        dropped=counts[0] or 0,
        missed=counts[1] or 0,
        original=fields,
    )


def gap(reason: str, start: float, end: float, **fields: Any) -> Gap:
    """Make the record of a hole in the stream.

    `start` and `end` are UTC epoch seconds; `reason` is one of `reconnect`, `buffer`,
    `stopped`, `worker`; `fields` say more (`dropped`, `error`, ...).
    """
    span = {"from": start, "to": end, "duration": round(max(0.0, end - start), 6)}
    return _gap({"type": GAP, "reason": reason, **span, **fields, "local_received": end})


# --- to be sent -------------------------------------------------------------------


def make_event(  # as Celery's Event
    type: str,  # noqa: A002
    _fields: Mapping[str, Any] | None = None,
    **fields: Any,
) -> EventFields:
    """Make an event of `type` with `fields`, to be sent.

    `timestamp` (UTC epoch seconds) is now unless given.
    """
    event: EventFields = {**_fields, **fields} if _fields else fields
    if "timestamp" not in event:
        event["timestamp"] = time.time()  # noqa: TID251 - of what is sent
    event["type"] = type
    return event


def moment(value: object) -> float | None:
    """Return UTC epoch seconds, None for what cannot be a time."""
    if value.__class__ not in (float, int):
        return None
    return float(value) if 0 <= value <= TIME_MAX else None


def is_cluster_name(text: str) -> bool:
    """Return whether a cluster may be called that: letters, digits, `_`, `.` and `-`."""
    return _CLUSTER_NAME.fullmatch(text) is not None


def group_from(type: str) -> str:  # noqa: A002
    """Return the group of an event type: `task` for `task-sent`."""
    return type.split("-", 1)[0]


def routing_key_from(type: str) -> str:  # noqa: A002
    """Return the routing key Celery publishes a `type` under: `task.sent`."""
    return type.replace("-", ".")


# --- logical time -----------------------------------------------------------------

#: A forged clock beyond this would make all later times unreadably long.
_CLOCK_MAX: Final = 2**63


class LamportClock:
    """Logical time, counted as Celery's application clock does; for one thread."""

    __slots__ = ("value",)

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def forward(self) -> int:
        """Advance by one and return the new time; call it before sending."""
        self.value += 1
        return self.value

    def adjust(self, other: int) -> int:
        """Move past `other`, the time of a received event; return the new time.

        A time that no clock could reach by counting is ignored.
        """
        value = self.value
        if value < other < _CLOCK_MAX:
            value = other
        self.value = value = value + 1
        return value
