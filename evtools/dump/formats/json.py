"""JSON Lines: every event in its envelope, as recordings have it."""

from collections.abc import Iterable

from evtools.dump.formatter import FormatOptions, Formatter
from evtools.wire import EnvelopeWriter, Event


class JsonFormatter(Formatter):
    """Write one envelope per line."""

    def __init__(self) -> None:
        self._lines = EnvelopeWriter().lines

    def header(self) -> bytes:
        """Return nothing."""
        return b""

    def format(self, event: Event) -> bytes:
        """Return the envelope of the event."""
        return self._lines([event])

    def format_all(self, events: Iterable[Event]) -> bytes:
        """Return the envelopes of the events."""
        return self._lines(events)


def make(_options: FormatOptions) -> JsonFormatter:
    """Make the format; it has no options."""
    return JsonFormatter()
