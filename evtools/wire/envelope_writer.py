"""Envelopes as lines of JSON, fast for events that look like earlier ones."""

import re
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final

import msgspec

from evtools.wire.envelope import DELETE, encode_line, envelope, iso_utc
from evtools.wire.events import EventFields
from evtools.wire.record import NOTHING

#: Celery has some thirty shapes of events; whoever publishes can make up more.
_SHAPES_MAX: Final = 256
#: More than any of Celery's events has: fields, characters in their names.
_FIELDS_MAX: Final = 64
_NAMES_MAX: Final = 2048
_MICROS: Final = 1_000_000

_NO_KEY: Final = re.compile(r'[\x00-\x1f"\\]')

_encode = msgspec.json.Encoder().encode

#: The values of an event and of what was joined, the time, the lag: a line.
_Fill = Callable[[EventFields, Mapping[str, Any], str, float], Any]


class EnvelopeWriter:
    """Write what `encode_line(envelope(event, joined))` says, in half the time.

    Events of one shape (the same fields in the same order) share a compiled
    type that knows their keys.  It is made from the envelope of the first of
    them, which says in what order they stand.
    """

    def __init__(self) -> None:
        self._shapes: dict[tuple[str | None, ...], _Fill | None] = {}
        self._second: float | None = None
        self._second_text = ""

    def line(self, event: EventFields, joined: Mapping[str, Any] = NOTHING) -> bytes:
        """Return the line of an event, without its newline; never raise."""
        return self._filled(event, joined) or encode_line(envelope(event, joined))

    def _filled(self, event: EventFields, joined: Mapping[str, Any]) -> bytes | None:
        """Return the line of an event of a known shape with nothing odd in it."""
        key = (*event, None, *joined)
        fill = self._shapes.get(key)
        if fill is None:
            self._learn(key, event, joined)
            return None
        timestamp, received = event["timestamp"], event["local_received"]
        if timestamp.__class__ is not float or received.__class__ is not float:
            return None
        second = timestamp // 1.0
        if second != self._second and not self._enter(second):
            return None
        # Rounding may carry over: then the text of another second is needed.
        micros = int((timestamp - second) * 1e6 + 0.5)
        moment = "%s.%06dZ" % (self._second_text, micros)  # noqa: UP031  (half the time of an f-string)
        lag = round((received - timestamp) * 1e6) / 1e6
        line = _encode(fill(event, joined, moment, lag))
        is_plain = micros != _MICROS and line.isascii() and DELETE not in line
        return line if is_plain else None

    def _enter(self, second: float) -> bool:
        """Remember the text of a second; return whether the calendar has it."""
        text = iso_utc(second)
        if text is None:
            return False
        self._second, self._second_text = second, text.partition(".")[0]
        return True

    def _learn(
        self,
        key: tuple[str | None, ...],
        event: EventFields,
        joined: Mapping[str, Any],
    ) -> None:
        """Remember the shape of an event, if it is one of the usual."""
        if len(self._shapes) >= _SHAPES_MAX or len(key) > _FIELDS_MAX:
            return
        if sum(map(len, filter(None, key))) > _NAMES_MAX:
            return
        line = envelope(event, joined)
        usual = "own" not in line and "ts" in line and "lag" in line
        # msgspec takes no keys that would have to be escaped.
        usual = usual and not any(map(_NO_KEY.search, line))
        if usual and event.keys().isdisjoint(joined):
            self._shapes[key] = _shape(line, event, joined)


def _shape(
    line: Mapping[str, Any], event: EventFields, joined: Mapping[str, Any]
) -> _Fill:
    """Return what fills in lines that look like `line`."""
    kind = msgspec.defstruct(
        "Line",
        [(f"field_{number}", Any) for number in range(len(line))],
        rename={f"field_{number}": name for number, name in enumerate(line)},
        gc=False,
    )
    own = itemgetter(*(name for name in line if name in event))
    if not joined:
        return lambda event, _, iso, lag: kind(line["v"], iso, *own(event), lag)
    if len(joined) == 1:
        (single,) = joined
        others: Callable[[Any], Any] = lambda fields: (fields[single],)  # noqa: E731  (as itemgetter for more)
    else:
        others = itemgetter(*joined)
    names = msgspec.Raw(_encode(list(joined)))
    version = line["v"]
    return lambda event, joined, iso, lag: kind(
        version, iso, *own(event), *others(joined), lag, names
    )
