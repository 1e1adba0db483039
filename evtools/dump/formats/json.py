"""JSON Lines: every event in its envelope, as recordings have it."""

from evtools.dump.formatter import FormatOptions
from evtools.wire import EnvelopeWriter, Record


class JsonFormatter:
    """Write one envelope per line."""

    def __init__(self) -> None:
        self._line = EnvelopeWriter().line

    def header(self) -> bytes:
        """Return nothing."""
        return b""

    def format(self, record: Record) -> bytes:
        """Return the envelope of the record."""
        return self._line(record.event, record.joined) + b"\n"


def make(_options: FormatOptions) -> JsonFormatter:
    """Make the format; it has no options."""
    return JsonFormatter()
