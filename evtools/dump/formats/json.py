"""JSON Lines: every event in its envelope, as recordings have it."""

from evtools.dump.formatter import FormatOptions
from evtools.wire import Record, encode_line, envelope


class JsonFormatter:
    """Write one envelope per line."""

    def header(self) -> bytes:
        """Return nothing."""
        return b""

    def format(self, record: Record) -> bytes:
        """Return the envelope of the record."""
        return encode_line(envelope(record.event, record.joined)) + b"\n"


def make(_options: FormatOptions) -> JsonFormatter:
    """Make the format; it has no options."""
    return JsonFormatter()
