"""CSV for spreadsheets: fixed columns, one line per event."""

from typing import Any, Final

from evtools.dump.formatter import FormatOptions, Formatter
from evtools.dump.stamps import moment_of
from evtools.dump.wording import failure, runtime, said
from evtools.text import csv_cell
from evtools.wire import Event, encode_line, iso_utc

_PLAIN: Final = (*("type", "hostname", "uuid", "name", "args", "kwargs"), *("retries", "queue"))

#: The header.  `ts` is ISO 8601 in UTC; `runtime` is in seconds; `exception`
#: is the real one; `fields` is a JSON object with all the rest.
COLUMNS: Final = ("ts", *_PLAIN, "runtime", "result", "exception", "fields")

_TOLD: Final = frozenset({*_PLAIN, "runtime", "result"})


class CsvFormatter(Formatter):
    """Write RFC 4180, except that lines end as in all other formats.

    Line breaks and control characters inside a value are escaped, so an event
    is one line.  A text that a spreadsheet would run as a formula has an
    apostrophe put before it; numbers are left alone.
    """

    def header(self) -> bytes:
        """Return the names of the columns."""
        return ",".join(COLUMNS).encode() + b"\n"

    def format(self, event: Event) -> bytes:
        """Return the cells of the event."""
        moment = moment_of(event)
        exception = failure(event)
        told = _TOLD if event.get("exception") != exception else {*_TOLD, "exception"}
        rest = {
            name: value
            for fields in (event.as_dict(), event.joined)
            for name, value in fields.items()
            if name not in told
        }
        cells = (
            "" if moment is None else iso_utc(moment),
            *(event.get(name) for name in _PLAIN),
            event.get("runtime", runtime(event)),
            event.get("result"),
            exception,
            encode_line(rest).decode(),
        )
        return ",".join(map(_cell, cells)).encode() + b"\n"


def make(_options: FormatOptions) -> CsvFormatter:
    """Make the format; it has no options."""
    return CsvFormatter()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return csv_cell(said(value), is_number=not isinstance(value, str))
