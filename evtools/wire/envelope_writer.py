"""Envelopes as lines of JSON, many at once."""

from collections.abc import Iterable
from math import floor
from typing import Final

import msgspec
from msgspec import UNSET

from evtools.wire.envelope import VERSION, envelope, iso_of_micros, micros
from evtools.wire.line import encode_line, escape, is_plain
from evtools.wire.task_event import AnyRecord, TaskEvent

_MICROS: Final = 1_000_000
#: What an event's own fields begin with, once they follow others.
_COMMA: Final = ord(",")
_encode_into = msgspec.json.Encoder().encode_into


class EnvelopeWriter:
    """Write what `encode_line(envelope(event, joined))` says of each record.

    The line of a task event is made of its slots and of the text of what was
    joined to it, without any dictionary.
    """

    def __init__(self) -> None:
        #: Of the event before: when it came, in what second it was sent, how the
        #: lines of that second begin, and the microseconds from it to the receipt.
        self._received: float | None = None
        self._second: int | None = None
        self._beginning = b""
        self._past_micros = 0

    def line(self, record: AnyRecord) -> bytes:
        """Return the line of a record, without its newline; never raise."""
        return self.lines([record])[:-1]

    def lines(self, records: Iterable[AnyRecord]) -> bytes:
        """Return a line for each record; never raise."""
        data = bytearray()
        for record in records:
            if not record.is_typed or not self._begin(record, data):
                data += encode_line(envelope(record.event, record.joined))
                data += b"\n"
                continue
            place, known = len(data), record.known
            if known is UNSET:
                _encode_into(record, data, place)
                data += b"\n"
            else:
                record.known = UNSET  # it is no field of the event
                _encode_into(record, data, place)
                record.known = known
                data.pop()
                data += known.end
            data[place] = _COMMA
        text = bytes(data)
        if is_plain(text):
            return text
        return b"".join([escape(line) + b"\n" for line in text[:-1].split(b"\n")])

    def _begin(self, event: TaskEvent, data: bytearray) -> bool:
        """Add how an event's line begins; return whether its times allow it."""
        timestamp, received = event.timestamp, event.local_received
        if timestamp.__class__ is not float or received.__class__ is not float:
            return False
        try:
            second = floor(timestamp)
            # Rounding may carry over: then another second is needed.
            fraction = floor((timestamp - second) * 1e6 + 0.5)
            if second != self._second or received != self._received:
                self._enter(second, received)
        except (OverflowError, ValueError, OSError):
            return False
        if fraction == _MICROS:
            return False
        event.lag = (self._past_micros - fraction) / _MICROS
        data += b'%b.%06dZ"' % (self._beginning, fraction)
        return True

    def _enter(self, second: int, received: float) -> None:
        """Remember what lines of a second have in common."""
        moment = iso_of_micros(second * _MICROS).partition(".")[0]
        self._beginning = b'{"v":%d,"ts":"%b' % (VERSION, moment.encode())
        self._past_micros = micros(received) - second * _MICROS
        self._second, self._received = second, received
