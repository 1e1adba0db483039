"""The event alone as JSON: what the sender said and when we got it."""

from evtools.dump.formatter import FormatOptions, Formatter
from evtools.wire import Event, encode_line


class RawFormatter(Formatter):
    """Write one event per line, with nothing joined and nothing worked out."""

    def header(self) -> bytes:
        """Return nothing."""
        return b""

    def format(self, event: Event) -> bytes:
        """Return the event's own fields."""
        return encode_line(event.as_dict()) + b"\n"


def make(_options: FormatOptions) -> RawFormatter:
    """Make the format; it has no options."""
    return RawFormatter()
