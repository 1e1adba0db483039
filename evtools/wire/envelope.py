"""The line a recording is made of: an event as one self-describing JSON object."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from evtools.errors import DecodeError
from evtools.wire.events import TIME_MAX, EventFields
from evtools.wire.record import NOTHING
from evtools.wire.task_event import OWN_FIELDS

VERSION: Final = 1

#: What the envelope adds.  An event may have fields of these names too: then
#: its own value stays and `own` says so.
_ADDED: Final = frozenset({"v", "ts", "lag", "joined", "own"})

#: What no joined field may be called, or the line could not be taken apart.
_RESERVED: Final = _ADDED | {"type", "local_received"}

#: What comes first of an event, by type and for all others.
_LEADING: Final = {
    kind: ("type", *dict.fromkeys(("hostname", "uuid", "name", *fields)))
    for kind, fields in OWN_FIELDS.items()
}
_LEADING_ELSE: Final = ("type", "hostname", "uuid", "name")

_MICROS: Final = 1_000_000


def envelope(event: EventFields, joined: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """Wrap an event and the fields `joined` to it.

    The order of keys is fixed: version, time, and of the event type, hostname,
    uuid and name; the fields that Celery gives such an event, then others in the
    sender's order, and when we received it; how late it was; the joined ones that
    the event lacks, and their names.  What is unknown is left out.
    No joined field may be called like something the envelope adds.
    """
    keys = event.keys()
    if joined and not keys.isdisjoint(joined):
        joined = {name: joined[name] for name in joined if name not in event}
    if not keys.isdisjoint(_ADDED):
        return _clashing_envelope(event, joined)
    timestamp = event.get("timestamp")
    iso = iso_utc(timestamp)
    line: dict[str, Any] = {"v": VERSION}
    if iso is not None:
        line["ts"] = iso
    _lead(line, event)
    line |= event
    if iso is not None:
        _add_lag(line, event.get("local_received"), timestamp)
    if joined:
        line |= joined
        line["joined"] = list(joined)
    return line


def _clashing_envelope(event: EventFields, joined: Mapping[str, Any]) -> dict[str, Any]:
    """Wrap an event that has fields called like what the envelope adds."""
    clashes = _ADDED & event.keys()
    timestamp = event.get("timestamp")
    iso = iso_utc(timestamp)
    line: dict[str, Any] = {} if "v" in clashes else {"v": VERSION}
    if iso is not None and "ts" not in clashes:
        line["ts"] = iso
    _lead(line, event)
    line |= event
    if iso is not None and "lag" not in clashes:
        _add_lag(line, event.get("local_received"), timestamp)
    line |= joined
    if joined and "joined" not in clashes:
        line["joined"] = list(joined)
    line["own"] = _own_entry(event, sorted(clashes), list(joined))
    return line


def open_envelope(obj: dict[str, Any]) -> tuple[EventFields, dict[str, Any] | None]:
    """Take a line apart: the event, and the fields that were joined to it.

    The exact inverse of `envelope`.  The joined fields are `None` when the
    line is no envelope but a bare event of another program.  Raises
    `DecodeError` for an envelope of a version that is not ours.
    """
    entry = obj.get("own")
    own = _strings_in(entry.get("fields") if isinstance(entry, dict) else entry)
    if not _is_envelope(obj, own):
        return obj, None
    event = dict(obj)
    if isinstance(entry, dict):
        names = _strings_in(entry.get("joined"))
    else:
        names = _strings_in(obj.get("joined"))
    joined = {name: event.pop(name) for name in names if name in event and name not in _RESERVED}
    for key in _ADDED.difference(own):
        event.pop(key, None)
    if isinstance(entry, dict) and "own" in own:
        event["own"] = entry.get("own")
    return event, joined


def own_fields(event: EventFields) -> dict[str, Any]:
    """Return what the event itself says, in the order of an envelope."""
    fields: dict[str, Any] = {}
    _lead(fields, event)
    fields.update(event)
    if "local_received" in fields:
        fields["local_received"] = fields.pop("local_received")
    return fields


def iso_utc(timestamp: Any) -> str | None:
    """Return epoch seconds as ISO 8601 in UTC with microseconds.

    `None` when `timestamp` is no finite number or beyond the calendar.
    """
    if timestamp.__class__ is not float and timestamp.__class__ is not int:
        return None
    try:
        return iso_of_micros(micros(timestamp))
    except (OverflowError, ValueError, OSError):
        return None


def micros(timestamp: float) -> int:
    """Return seconds as whole microseconds.

    Raise OverflowError or ValueError for what is infinite or no number.
    """
    second = math.floor(timestamp)
    # All at once would be a float too large for microseconds in far years.
    return second * _MICROS + int((timestamp - second) * 1e6 + 0.5)


def iso_of_micros(moment: int) -> str:
    """Return microseconds since the epoch as ISO 8601 in UTC.

    Raise OverflowError, ValueError or OSError for what is beyond the calendar.
    """
    second, fraction = divmod(moment, _MICROS)
    return "%s.%06dZ" % (_iso_second(second), fraction)  # noqa: UP031


@lru_cache(maxsize=64)
def _iso_second(second: int) -> str:
    # Thousands of events share a second; formatting it dominates otherwise.
    return datetime.fromtimestamp(second, UTC).strftime("%4Y-%m-%dT%H:%M:%S")


def _lead(line: dict[str, Any], event: EventFields) -> None:
    kind = event.get("type")
    leading = _LEADING.get(kind) if isinstance(kind, str) else None
    for key in leading or _LEADING_ELSE:
        if key in event:
            line[key] = event[key]


def _add_lag(line: dict[str, Any], received: Any, timestamp: Any) -> None:
    if received.__class__ in (float, int) and abs(received) <= TIME_MAX:
        line["lag"] = (micros(received) - micros(timestamp)) / _MICROS


def _own_entry(event: EventFields, clashes: list[str], names: list[str]) -> Any:
    if "joined" in clashes or "own" in clashes:
        # The event sits on the places of these two, so they are kept here.
        return {"fields": clashes, "joined": names, "own": event.get("own")}
    return clashes


def _strings_in(value: Any) -> list[str]:
    if not isinstance(value, list):
        return []
    return [item for item in value if isinstance(item, str)]


def _is_envelope(obj: dict[str, Any], own: list[str]) -> bool:
    if "v" in own:
        return True
    version = obj.get("v")
    if not isinstance(version, int) or isinstance(version, bool):
        return False
    if version != VERSION:
        raise DecodeError("recording of an unknown version", f"v is {version}")
    return True
