"""The line of a recording: an event as one self-describing JSON object."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from math import floor, nan
from typing import Any, Final

import msgspec
from msgspec import UNSET

from evtools.errors import DecodeError
from evtools.wire.events import (
    NOTHING,
    TIME_MAX,
    Event,
    EventFields,
    FieldNames,
    Known,
    is_cluster_name,
    ordered,
)
from evtools.wire.values import plain

VERSION: Final = 1
#: Of a line with the name of a cluster, which is one of its added fields.
_VERSION_NAMED: Final = 2

#: What the envelope adds.  An event may have fields of these names too: then
#: its own value stays and `own` says so.
_ADDED: Final = frozenset({"v", "ts", "lag", "joined", "own"})
_ADDED_NAMED: Final = _ADDED | {"cluster"}
_KEPT: Final = frozenset({"joined", "own", "cluster"})

#: What no joined field may be called, or the line could not be taken apart.
_RESERVED: Final = _ADDED | {"type", "local_received"}

_MICROS: Final = 1_000_000


def envelope(
    event: EventFields, joined: Mapping[str, Any] = NOTHING, cluster: str = ""
) -> dict[str, Any]:
    """Wrap an event, the fields `joined` to it, and the name of its `cluster` if it has one.

    The order of keys is fixed: version, time, cluster, and of the event type, hostname,
    uuid and name; the fields that Celery gives such an event, then others in the
    sender's order, and when we received it; how late it was; the joined ones that
    the event lacks, and their names.  What is unknown is left out.
    No joined field may be called like something the envelope adds.
    """
    joined = {name: joined[name] for name in joined if name not in event}
    clashes = sorted((_ADDED_NAMED if cluster else _ADDED) & event.keys())
    timestamp: Any = event.get("timestamp")
    received: Any = event.get("local_received")
    iso = iso_utc(timestamp)
    line: dict[str, Any] = {}
    if "v" not in clashes:
        line["v"] = _VERSION_NAMED if cluster else VERSION
    if iso is not None and "ts" not in clashes:
        line["ts"] = iso
    if cluster and "cluster" not in clashes:
        line["cluster"] = cluster
    line |= ordered(event)
    has_times = iso is not None and received.__class__ in (float, int)
    if has_times and abs(received) <= TIME_MAX and "lag" not in clashes:
        line["lag"] = (_micros(received) - _micros(timestamp)) / _MICROS
    line |= joined
    if joined and "joined" not in clashes:
        line["joined"] = list(joined)
    if not _KEPT.isdisjoint(clashes) or (cluster and "v" in clashes):
        # The event sits on the places of these, so they are kept here.
        line["own"] = {"fields": clashes, "joined": list(joined), "own": event.get("own")}
        if cluster:
            line["own"]["cluster"] = cluster
    elif clashes:
        line["own"] = clashes
    return line


def open_envelope(obj: dict[str, Any]) -> tuple[EventFields, dict[str, Any] | None]:
    """Take a line apart: the event, and the fields that were joined to it.

    The exact inverse of `envelope`.  The joined fields are `None` when the
    line is no envelope but a bare event of another program.  Raises
    `DecodeError` for an envelope of a version that is not ours.
    """
    entry, own = obj.get("own"), _own_fields(obj)
    version = obj.get("v")
    if "v" not in own:
        if not isinstance(version, int) or isinstance(version, bool):
            return obj, None
        if version not in (VERSION, _VERSION_NAMED):
            raise DecodeError("recording of an unknown version", f"v is {version}")
    event = dict(obj)
    names = _strings_in((entry if isinstance(entry, dict) else obj).get("joined"))
    joined = {name: event.pop(name) for name in names if name in event and name not in _RESERVED}
    for key in (_ADDED_NAMED if cluster_of(obj) else _ADDED).difference(own):
        event.pop(key, None)
    if isinstance(entry, dict) and "own" in own:
        event["own"] = entry.get("own")
    return event, joined


def cluster_of(obj: Mapping[str, Any]) -> str:
    """Return the name of the cluster that a line came from, "" if it says none."""
    entry, name = obj.get("own"), None
    if isinstance(entry, dict) and "cluster" in entry:
        name = entry["cluster"]
    elif obj.get("v") == _VERSION_NAMED and "v" not in _own_fields(obj):
        name = obj.get("cluster")
    return name if isinstance(name, str) and is_cluster_name(name) else ""


def _own_fields(obj: Mapping[str, Any]) -> list[str]:
    # Fields of the event itself that are called like those that the envelope adds.
    entry = obj.get("own")
    return _strings_in(entry.get("fields") if isinstance(entry, dict) else entry)


def iso_utc(timestamp: Any) -> str | None:
    """Return epoch seconds as ISO 8601 in UTC with microseconds.

    `None` when `timestamp` is no finite number or beyond the calendar.
    """
    if timestamp.__class__ is not float and timestamp.__class__ is not int:
        return None
    try:
        second = floor(timestamp)
        fraction = int((timestamp - second) * 1e6 + 0.5)
        if fraction == _MICROS:
            second, fraction = second + 1, 0
        return "%s.%06dZ" % (_iso_second(second), fraction)  # noqa: UP031
    except (OverflowError, ValueError, OSError):
        return None


def _micros(timestamp: float) -> int:
    second = floor(timestamp)
    # All at once would be a float too large for microseconds in far years.
    return second * _MICROS + int((timestamp - second) * 1e6 + 0.5)


@lru_cache(maxsize=64)
def _iso_second(second: int) -> str:
    # Thousands of events share a second; formatting it dominates otherwise.
    return datetime.fromtimestamp(second, UTC).strftime("%4Y-%m-%dT%H:%M:%S")


def _strings_in(value: Any) -> list[str]:
    if not isinstance(value, list):
        return []
    return [item for item in value if isinstance(item, str)]


# --- many lines at once -----------------------------------------------------------

#: From here on the microseconds of a second are rounded up to the next second.
_ROUNDED_UP: Final = _MICROS - 0.5
_encode = msgspec.json.Encoder().encode


class EnvelopeWriter:
    """Write what `encode_line(envelope(event, joined))` gives for each event.

    The line of an event in which nothing is odd is made of its slots and of the text
    of what was joined to it, without any dictionary.
    """

    def __init__(self) -> None:
        #: Of the event before; most are sent and come together.
        self._second = _Second(0.0, 0.0, UNSET)

    def line(self, event: Event) -> bytes:
        """Return the line of an event, without its newline; never raise."""
        return self.lines([event])[:-1]

    def lines(self, events: Iterable[Event]) -> bytes:
        """Return a line for each event; never raise."""
        # One text for all, as they are short: appended to one array, each would move it.
        parts: list[bytes] = []
        second = self._second
        for event in events:
            timestamp, received, cluster = event.timestamp, event.local_received, event.cluster
            if event.original is not UNSET or type(timestamp) is not float:
                parts.append(_whole(event))
                continue
            if cluster and "cluster" in event.attributes:
                parts.append(_whole(event))
                continue
            past = (timestamp - second.start) * 1e6
            is_other = received is not second.received or cluster is not second.cluster
            if is_other or not 0.0 <= past < _ROUNDED_UP:
                second = _Second(timestamp, received, cluster)
                past = (timestamp - second.start) * 1e6
                if not 0.0 <= past < _ROUNDED_UP:
                    parts.append(_whole(event))
                    continue
            fraction = int(past + 0.5)
            event.lag = (second.lag_micros - fraction) / _MICROS
            known: Any = event.known
            event.known = UNSET  # it is no field of the event, nor is the other
            if cluster:
                event.cluster = UNSET
            try:
                text = _encode(event)
            except (ValueError, RecursionError):  # lone surrogates that no decoder let in
                event.known, event.cluster = known, cluster
                parts.append(_whole(event))
                continue
            if cluster:
                event.cluster = cluster
            if known is UNSET:
                parts += (second.beginning % fraction, text[1:], b"\n")
                continue
            event.known = known
            joined = known if known.__class__ is Known else join_text(known)
            parts += (second.beginning % fraction, text[1:-1], joined.members, joined.names.end)
        self._second = second
        written = b"".join(parts)
        if written.isascii() and _DELETE not in written:
            return written
        return b"".join([_escape(line) + b"\n" for line in written[:-1].split(b"\n")])


class _Second:
    """What lines have in common of events of one cluster that were sent in the same second.

    They also came together, so `received` and `cluster` are one object in all of them.  `beginning`
    lacks the microseconds.  `start` is NaN where the times are beyond the calendar; the
    rest is missing then.
    """

    __slots__ = ("beginning", "cluster", "lag_micros", "received", "start")

    def __init__(self, timestamp: float, received: Any, cluster: Any) -> None:
        self.received, self.cluster = received, cluster
        self.start = nan
        try:
            second = floor(timestamp)
            self.lag_micros = _micros(received) - second * _MICROS
            version = _VERSION_NAMED if cluster else VERSION
            self.beginning = b'{"v":%d,"ts":"%b.%%06dZ",' % (version, _iso_second(second).encode())
            if cluster:
                self.beginning += b'"cluster":%b,' % _encode(cluster).replace(b"%", b"%%")
        except (OverflowError, ValueError, OSError, TypeError):
            return
        if abs(received) > TIME_MAX:
            return
        self.start = float(second)


def _whole(event: Event) -> bytes:
    return encode_line(envelope(event.as_dict(), event.joined, event.cluster or "")) + b"\n"


# --- what is joined, as text ---


@lru_cache(maxsize=1024)
def field_names(names: tuple[str, ...]) -> FieldNames:
    """Return names of joined fields, and how a line with them ends."""
    end = b',"joined":%b}\n' % _encode(names) if names else b"}\n"
    return FieldNames(names, end, "started" in names)


def join_text(fields: Mapping[str, Any]) -> Known:
    """Return `fields` as text to be joined to a line."""
    names = field_names(tuple(fields))
    try:
        text = _encode(fields)
    except (TypeError, ValueError, OverflowError, RecursionError):
        text = encode_line(dict(fields))
    return Known(b"," + text[1:-1] if fields else b"", names)


# --- one line ---------------------------------------------------------------------

#: The one character of ASCII that JSON leaves as it is and a terminal acts on.
_DELETE: Final = 0x7F


def encode_line(obj: Any) -> bytes:
    r"""Encode a value as one line of JSON, without the newline.

    Every character that a terminal might act on or not show is escaped as
    `\uXXXX`, so that a line is safe to look at.  Never raises: what JSON
    cannot say becomes a string.
    """
    try:
        line = _encode(obj)
    except (TypeError, ValueError, RecursionError):
        # Nothing that was decoded: lone surrogates, bottomless nesting, ...
        if isinstance(obj, dict):
            obj = {str(key): _sayable(value) for key, value in obj.items()}
        line = json.dumps(_sayable(obj), separators=(",", ":")).encode()
    return _escape(line)


def _escape(line: bytes) -> bytes:
    r"""Write what a terminal might act on or not show as `\uXXXX`."""
    if line.isascii() and _DELETE not in line:
        return line
    text = line.decode()
    if text.isprintable():
        return line
    return _BEYOND_ASCII.sub(_escape_character, text).encode()


_BEYOND_ASCII: Final = re.compile(r"[^ -~]")


def _escape_character(match: re.Match[str]) -> str:
    character = match[0]
    return character if character.isprintable() else json.dumps(character)[1:-1]


def _sayable(value: Any) -> Any:
    try:
        return plain(value)
    except DecodeError as error:
        return error.kind
