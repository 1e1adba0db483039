"""The decoder of events, which learns the fields that senders add; odd values tidied."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Any, Final, cast

import msgspec
from msgspec import UNSET

from evtools.wire.events import (
    COMMON,
    COUNT_MAX,
    FREQ_MAX,
    GAP,
    HOURS_MAX,
    OWN_FIELDS,
    TIME_MAX,
    Event,
    EventFields,
    Gap,
    group_from,
    make_class,
)

# Names are chosen by senders, so few and short ones are learned; events with others
# are read field by field.
_LEARNED_OF_KIND_MAX: Final = 32
_LEARNED_MAX: Final = 256
_CUSTOM_KINDS_MAX: Final = 64
_NAME_MAX_CHARS: Final = 100

#: What the lines of a recording add, what we set, and what a JSON name cannot be.
_RESERVED: Final = frozenset({"type", "local_received", "v", "ts", "lag", "joined", "own", "known"})


_lenient: Final = {kind: make_class(kind, own, lenient=True) for kind, own in OWN_FIELDS.items()}
_other: Final = make_class("", COMMON, lenient=True)


class Schema:
    """Decodes events into structs; learns names of fields, and types of custom events.

    A name or type that is new costs one more look at the message, once.  Its bounds
    are 32 names a type, 256 in all, and 64 types; beyond, an event's `original`
    has what no slot has.
    """

    def __init__(self) -> None:
        #: By type, the names of its fields, Celery's and those that senders added.
        self._names = dict(OWN_FIELDS)
        self._learned_count = 0
        #: Whether there are events with fields of any type.
        self.is_open = False
        self._prepare()

    def _prepare(self) -> None:
        self._classes = {kind: make_class(kind, names) for kind, names in self._names.items()}
        any_event: Any = reduce(or_, self._classes.values())
        #: Decode one event or a batch; raise ValidationError for what does not fit.
        self.json_event: Callable[[bytes], Any] = msgspec.json.Decoder(any_event).decode
        self.json_batch: Callable[[bytes], Any] = msgspec.json.Decoder(list[any_event]).decode
        self.msgpack_event: Callable[[bytes], Any] = msgspec.msgpack.Decoder(any_event).decode
        self.msgpack_batch: Callable[[bytes], Any] = msgspec.msgpack.Decoder(list[any_event]).decode

    def learn(self, value: Any) -> bool:
        """Learn from an event that did not fit, or a batch; return whether it was new."""
        events = value if type(value) is list else [value]
        # All of a batch, not only the first.
        news = [self._learn(event) for event in events if type(event) is dict]
        if any(news):
            self._prepare()
        return any(news)

    def _learn(self, event: EventFields) -> bool:
        kind = event.get("type")
        if type(kind) is not str or kind == GAP or not _is_short(kind):
            return False
        known, celerys = self._names.get(kind, ()), OWN_FIELDS.get(kind, COMMON)
        if not known and len(self._names) - len(OWN_FIELDS) >= _CUSTOM_KINDS_MAX:
            return False
        names = [name for name in event if name not in known and name not in _RESERVED]
        room = _LEARNED_OF_KIND_MAX - sum(name not in celerys for name in known)
        room = min(room, _LEARNED_MAX - self._learned_count)
        learned = [name for name in names if name not in celerys and _is_short(name)][:room]
        new = [name for name in names if name in celerys or name in learned]
        if not known:
            # Receivers set a missing clock; what is nameless is looked for among the odd.
            needed = ("clock", {"task": "uuid", "worker": "hostname"}.get(group_from(kind)))
            new += [name for name in COMMON if name in needed and name not in new]
        if not new:
            return False
        self._learned_count += len(learned)
        self.is_open = self._learned_count > 0
        self._names[kind] = (*known, *new)
        return True

    def event(self, fields: EventFields) -> Event:
        """Return the event of a dictionary, which may become part of it."""
        # A union of classes would be looked through anew each time, in 20 times as long.
        kind = fields.get("type")
        if type(kind) is str and kind in self._classes:
            try:
                return msgspec.convert(fields, self._classes[kind])
            except (msgspec.ValidationError, ValueError, RecursionError):
                pass
        return _tidied(fields)


def _is_short(name: str) -> bool:
    """Return whether a name is as short and plain as it has to be for a struct."""
    if not 0 < len(name) <= _NAME_MAX_CHARS or name.startswith("evtools:"):
        return False
    return name.isprintable() and not {"\\", '"'} & set(name)


def _tidied(fields: EventFields) -> Event:
    kind = fields.get("type")
    if kind == GAP:
        return _gap(fields)
    cls = _lenient.get(kind, _other) if isinstance(kind, str) else _other
    try:
        event: Any = msgspec.convert(fields, cls)
    except (msgspec.ValidationError, ValueError, RecursionError):
        event = cls(**{name: tidy(name, fields.get(name)) for name in cls.own})
        event.local_received = number(fields.get("local_received"), UNSET)
    event.original = fields
    return cast("Event", event)


def _gap(fields: EventFields) -> Gap:
    return Gap(
        reason=text(fields.get("reason")) or "",
        hostname=_name(fields.get("hostname")),
        duration=number(fields.get("duration")) or 0.0,
        dropped=_count(fields.get("dropped")) or 0,
        missed=_count(fields.get("missed")) or 0,
        local_received=number(fields.get("local_received")) or 0.0,
        original=fields,
    )


def gap(reason: str, start: float, end: float, **fields: Any) -> Gap:
    """Make the record of a hole in the stream.

    `start` and `end` are UTC epoch seconds; `reason` is one of `reconnect`, `buffer`,
    `stopped`, `worker`; `fields` say more (`dropped`, `error`, ...).
    """
    span = {"from": start, "to": end, "duration": round(max(0.0, end - start), 6)}
    return _gap({"type": GAP, "reason": reason, **span, **fields, "local_received": end})


#: Learns nothing, so it may be shared.
_celery: Final = Schema()


def from_fields(fields: Mapping[str, Any], schema: Schema | None = None) -> Event:
    """Return the typed event of a dictionary such as handlers get, which is left as it is.

    Where it does not say when the event was received, that is when it was sent.
    What has no type is a CustomEvent of type "".  A `schema` learns what is new.
    """
    copy = dict(fields)
    event = (schema or _celery).event(copy)
    if schema is not None and event.original is not UNSET and schema.learn(copy):
        event = schema.event(copy)
    received: Any = event.local_received
    if received is UNSET:
        if event.original is UNSET:
            event.original = dict(fields)
        event.local_received = event.timestamp or 0.0
    return event


# --- odd values -------------------------------------------------------------------

#: As long as Celery sends the texts of arguments and results.
_TEXT_MAX_CHARS: Final = 1024


def tidy(name: str, value: object) -> Any:
    """Return the value of a field of Celery's as it should be, None if it cannot be."""
    return _TIDY.get(name, text)(value)


def text(value: object) -> str | None:
    """Return `value` as a text; what is none is cut like Celery's."""
    if value is None or isinstance(value, str):
        return value
    try:
        return str(value)[:_TEXT_MAX_CHARS]
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return f"<{type(value).__name__}>"


def _name(value: object) -> str:
    return value if isinstance(value, str) else ""


def number(value: object, default: Any = None, *, low: float = 0, high: float = TIME_MAX) -> Any:
    """Return a number between two bounds, `default` for anything else."""
    if isinstance(value, Decimal) and value.is_finite():  # some decoders make these
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    return value if low <= value <= high else default


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= COUNT_MAX else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _signum(value: object) -> int | str | None:
    return value if isinstance(value, str) else _count(value)


def _offset(value: object) -> float | None:
    found: float | None = number(value, low=-HOURS_MAX, high=HOURS_MAX)
    return found


def _freq(value: object) -> float | None:
    return number(value, high=FREQ_MAX) or None


def _loadavg(value: object) -> list[float] | None:
    if not isinstance(value, list | tuple):
        return None
    loads = [number(load) for load in value[:3]]
    return [load for load in loads if load is not None]


#: How fields that are no texts are tidied up.
_TIDY: Final[Mapping[str, Callable[[object], Any]]] = {
    **dict.fromkeys(("uuid", "hostname"), _name),
    **dict.fromkeys(("timestamp", "runtime"), number),
    **dict.fromkeys(("clock", "pid", "retries", "active", "processed"), _count),
    **dict.fromkeys(("terminated", "expired", "requeue"), _flag),
    "signum": _signum,
    "freq": _freq,
    "loadavg": _loadavg,
    "utcoffset": _offset,
}
