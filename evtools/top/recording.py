"""A recording made while watching, begun and ended at any moment."""

from collections.abc import Callable, Iterable

from evtools.clock import Clock
from evtools.errors import OutputError
from evtools.transport.recording.writer import RecordingWriter
from evtools.wire import EnvelopeWriter, EventFields, Joiner, from_fields


class Recording:
    """Write the events that come in into a file.

    One thread at a time may write.  A failure ends the recording, not the
    watching: `error` then says why.  Raise OutputError when `path` cannot be
    written at all.
    """

    def __init__(self, path: str, clock: Clock) -> None:
        self.error = ""
        #: How many events it has.
        self.events = 0
        self._writer = RecordingWriter(path, clock=clock)
        self._joiner = Joiner()
        self._envelopes = EnvelopeWriter()

    @property
    def path(self) -> str:
        """The name of the file."""
        return self._writer.path

    def write(self, events: Iterable[EventFields]) -> None:
        """Write some events, in envelopes as evdump's; never raises."""
        if self.error:
            return
        typed = [from_fields(event) for event in events]
        self._joiner.join(typed)
        try:
            for event in typed:
                self._writer.write(self._envelopes.line(event))
                self.events += 1
        except OutputError as error:
            self.error = error.message

    def settle(self) -> None:
        """Let out what is due; call it after every batch and wait."""
        self._try(self._writer.settle)

    def close(self) -> None:
        """Write the rest and let go of the file; idempotent, never raises."""
        self._try(self._writer.close)

    def _try(self, do: Callable[[], None]) -> None:
        try:
            do()
        except OutputError as error:
            self.error = self.error or error.message
