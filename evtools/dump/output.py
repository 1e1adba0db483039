"""Where events go: stdout in a format, a recording, or both."""

import os
import stat
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final

from evtools.clock import Clock
from evtools.dump.formats import (
    CsvFormatter,
    FormatOptions,
    Formatter,
    JsonFormatter,
    LogfmtFormatter,
    PrettyFormatter,
    RawFormatter,
)
from evtools.dump.options import DumpOptions, Output
from evtools.dump.template import TemplateFormatter
from evtools.dump.text import TextFormatter
from evtools.errors import OutputError, UsageError
from evtools.text import BoundedPattern
from evtools.transport.recording.writer import RecordingWriter, write_all
from evtools.wire import EnvelopeWriter, Event

FORMATS: Final[Mapping[Output, type[Formatter]]] = {
    "text": TextFormatter,
    "json": JsonFormatter,
    "pretty": PrettyFormatter,
    "logfmt": LogfmtFormatter,
    "csv": CsvFormatter,
    "raw": RawFormatter,
    "template": TemplateFormatter,
}

#: How much may wait to be written, and for how long on a regular file.
_BUFFER_BYTES: Final = 64 * 1024
_FLUSH_SECONDS: Final = 1.0


def make_formatter(options: DumpOptions) -> Formatter | None:
    """Make the format for stdout, None if nothing is printed.

    Raise UsageError for a template or an expression to highlight that cannot be parsed.
    """
    if not options.print:
        return None
    try:
        highlight = BoundedPattern(options.highlight) if options.highlight else None
    except ValueError as error:
        raise UsageError(
            f"--highlight {options.highlight}: {error}", "give a regular expression"
        ) from None
    return FORMATS[options.output](
        FormatOptions(
            colour=options.colour,
            verbosity=options.verbosity,
            quiet=options.quiet,
            timestamps=options.timestamps,
            full=options.full,
            multiline=sys.stdout.isatty(),
            highlight=highlight,
            template=options.template,
        )
    )


class Outputs:
    """Write events to stdout, into a recording, or both."""

    def __init__(
        self, options: DumpOptions, formatter: Formatter | None, clock: Clock, stack: ExitStack
    ) -> None:
        self._formatter = formatter
        self._sink: Sink | None = None
        self._recording: RecordingWriter | None = None
        self._envelopes = EnvelopeWriter()
        self._line_buffered = options.line_buffered
        if options.write:
            self._recording = RecordingWriter(
                options.write,
                clock=clock,
                rotate_size=options.rotate_size or 0,
                rotate_every=options.rotate_every or 0.0,
                rotate_keep=options.rotate_keep or 0,
            )
            stack.callback(self._recording.close)
        if formatter is not None:
            self._sink = Sink(sys.stdout.fileno(), clock=clock, line_buffered=options.line_buffered)
            stack.callback(self._sink.flush)
            self._sink.write(formatter.header)

    def write(self, events: list[Event]) -> None:
        """Write events everywhere."""
        if self._formatter is not None and self._sink is not None:
            self._sink.write(self._formatter.format_all(events))
        if self._recording is not None and events:
            for line in self._envelopes.lines(events)[:-1].split(b"\n"):
                self._recording.write(line)

    def settle(self) -> None:
        """Write out what is due, after a batch or a wait."""
        if self._line_buffered:
            self.flush()
        for output in (self._sink, self._recording):
            if output is not None:
                output.settle()

    def flush(self) -> None:
        """Write out everything."""
        for output in (self._sink, self._recording):
            if output is not None:
                output.flush()

    def reopen(self) -> None:
        """Begin the recording's file anew, under its name."""
        if self._recording is not None:
            self._recording.reopen()


class Sink:
    """Write bytes to a descriptor that is not ours to close.

    A terminal or pipe sees every batch at once (`settle`), a regular file after a second or
    64 KiB, and with `line_buffered` both see every write.  `write`, `settle` and `flush`
    raise OutputError when the bytes cannot be written, and BrokenPipeError when the reader
    went away; after either, what is left is thrown away.
    """

    def __init__(self, fd: int, *, clock: Clock, line_buffered: bool = False) -> None:
        self._fd = fd
        self._clock = clock
        self._line_buffered = line_buffered
        self._is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        self._waiting = bytearray()
        self._flushed = clock.monotonic()
        self._broken = False

    def write(self, data: bytes) -> None:
        """Take whole lines."""
        self._waiting += data
        if self._line_buffered or len(self._waiting) >= _BUFFER_BYTES:
            self.flush()

    def settle(self) -> None:
        """Write out what is due; call it after every batch and every wait."""
        if not self._is_file or self._clock.monotonic() - self._flushed >= _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write out everything."""
        self._flushed = self._clock.monotonic()
        data, self._waiting = self._waiting, bytearray()
        if not data or self._broken:
            return
        _, error = write_all(self._fd, data)
        if error is not None:
            self._broken = True
            if isinstance(error, BrokenPipeError):
                raise error
            raise OutputError(f"cannot write to stdout: {error.strerror}") from error
