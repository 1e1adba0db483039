"""Envelopes as lines of JSON, fast for events that look like earlier ones."""

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final

import msgspec

from evtools.wire.envelope import encode_line, envelope, iso_utc
from evtools.wire.events import EventFields
from evtools.wire.record import NOTHING

#: Celery has some thirty shapes of events; whoever publishes can make up more.
_SHAPES_MAX: Final = 256
#: More fields than any of Celery's events has.
_FIELDS_MAX: Final = 64
_MICROS: Final = 1_000_000

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

    def line(self, event: EventFields, joined: Mapping[str, Any] = NOTHING) -> bytes:
        """Return the line of an event, without its newline; never raise."""
        key = (*event, None, *joined)
        fill = self._shapes.get(key)
        if fill is None:
            if key not in self._shapes:
                self._learn(key, event, joined)
            return encode_line(envelope(event, joined))
        timestamp, received = event.get("timestamp"), event.get("local_received")
        if timestamp.__class__ is not float or received.__class__ is not float:
            return encode_line(envelope(event, joined))
        iso = iso_utc(timestamp)
        if iso is None:
            return encode_line(envelope(event, joined))
        lag = round((received - timestamp) * _MICROS) / _MICROS
        return encode_line(fill(event, joined, iso, lag))

    def _learn(
        self,
        key: tuple[str | None, ...],
        event: EventFields,
        joined: Mapping[str, Any],
    ) -> None:
        """Remember the shape of an event, if it is one of the usual."""
        if len(self._shapes) >= _SHAPES_MAX or len(key) > _FIELDS_MAX:
            return
        line = envelope(event, joined)
        usual = "own" not in line and "ts" in line and "lag" in line
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
