"""Envelopes as lines of JSON, many at once."""

from collections.abc import Iterable
from math import floor, nan
from typing import Any, Final

import msgspec
from msgspec import UNSET

from evtools.wire.envelope import VERSION, envelope, iso_of_micros, micros
from evtools.wire.events import TIME_MAX
from evtools.wire.line import encode_line, escape, is_plain
from evtools.wire.task_event import AnyRecord

_MICROS: Final = 1_000_000
#: From here on the microseconds of a second are rounded up to the next second.
_ROUNDED_UP: Final = _MICROS - 0.5
#: What an event's own fields begin with, once they follow others.
_COMMA: Final = ord(",")
_encode_into = msgspec.json.Encoder().encode_into


class EnvelopeWriter:
    """Write what `encode_line(envelope(event, joined))` says of each record.

    The line of a task event is made of its slots and of the text of what was
    joined to it, without any dictionary.
    """

    def __init__(self) -> None:
        #: Of the event before; most are sent and come together.
        self._second = _Second(0.0, 0.0)

    def line(self, record: AnyRecord) -> bytes:
        """Return the line of a record, without its newline; never raise."""
        return self.lines([record])[:-1]

    def lines(self, records: Iterable[AnyRecord]) -> bytes:
        """Return a line for each record; never raise."""
        data = bytearray()
        second = self._second
        for record in records:
            if not record.is_typed or type(record.timestamp) is not float:
                data += _whole(record)
                continue
            timestamp, received = record.timestamp, record.local_received
            past = (timestamp - second.start) * 1e6
            if received is not second.received or not 0.0 <= past < _ROUNDED_UP:
                second = _Second(timestamp, received)
                past = (timestamp - second.start) * 1e6
                if not 0.0 <= past < _ROUNDED_UP:
                    data += _whole(record)
                    continue
            fraction = floor(past + 0.5)
            record.lag = (second.lag_micros - fraction) / _MICROS
            data += second.beginning
            data += b'%06dZ"' % fraction
            place, known = len(data), record.known
            record.known = UNSET  # it is no field of the event
            _encode_into(record, data, place)
            record.known = known
            data[place] = _COMMA
            if known is UNSET:
                data += b"\n"
            else:
                data.pop()
                data += known.members
                data += known.names.end
        self._second = second
        return _safe(bytes(data))


class _Second:
    """What lines have in common of events that were sent in the same second.

    They also came together, so `received` is one object in all of them.  `start`
    is NaN where the times are beyond the calendar; the rest is missing then.
    """

    __slots__ = ("beginning", "lag_micros", "received", "start")

    def __init__(self, timestamp: float, received: Any) -> None:
        self.received = received
        self.start = nan
        try:
            second = floor(timestamp)
            moment = iso_of_micros(second * _MICROS).partition(".")[0]
            self.lag_micros = micros(received) - second * _MICROS
        except (OverflowError, ValueError, OSError, TypeError):
            return
        if abs(received) > TIME_MAX:
            return
        self.start = float(second)
        self.beginning = b'{"v":%d,"ts":"%b.' % (VERSION, moment.encode())


def _whole(record: AnyRecord) -> bytes:
    return encode_line(envelope(record.event, record.joined)) + b"\n"


def _safe(text: bytes) -> bytes:
    if is_plain(text):
        return text
    return b"".join([escape(line) + b"\n" for line in text[:-1].split(b"\n")])
