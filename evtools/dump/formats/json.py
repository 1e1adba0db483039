"""JSON Lines: every event in its envelope, as recordings have it."""

from collections.abc import Iterable

from evtools.dump.formatter import FormatOptions, Formatter
from evtools.wire import AnyRecord, EnvelopeWriter, Record


class JsonFormatter(Formatter):
    """Write one envelope per line."""

    def __init__(self) -> None:
        self._lines = EnvelopeWriter().lines

    def header(self) -> bytes:
        """Return nothing."""
        return b""

    def format(self, record: Record) -> bytes:
        """Return the envelope of the record."""
        return self._lines([record])

    def format_all(self, records: Iterable[AnyRecord]) -> bytes:
        """Return the envelopes of the records."""
        return self._lines(records)


def make(_options: FormatOptions) -> JsonFormatter:
    """Make the format; it has no options."""
    return JsonFormatter()
