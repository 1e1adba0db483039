"""Where everything goes: events to stdout and recordings, notices and counters to stderr."""

import os
import stat
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from typing import IO, Any, Final

import msgspec

from evtools.clock import Clock
from evtools.dump.formats import (
    CsvFormatter,
    Formatter,
    JsonFormatter,
    LogfmtFormatter,
    PrettyFormatter,
    RawFormatter,
)
from evtools.dump.options import DumpOptions, Output
from evtools.dump.text import TemplateFormatter, TextFormatter
from evtools.errors import OutputError
from evtools.text import human_duration, human_size, sanitize
from evtools.transport import Notice, Statistics
from evtools.transport.recording.writer import RecordingWriter, write_all
from evtools.wire import Defect, EnvelopeWriter, Event, Gap

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


# --- stderr -------------------------------------------------------------------------

_NOTICES: Final = {
    "listening": "listening on {}",
    "lost": "connection lost: {}",
    "retry": "{}",
    "restored": "connected again to {}",
}

#: A recording that is read in less than this, in seconds, needs no progress bar.
_SOON: Final = 0.5


@dataclass(slots=True)
class Counts:
    """What evdump itself counts: events looked at, printed, as expected."""

    captured: int = 0
    matched: int = 0
    expected: int = 0
    gaps: int = 0
    gap_seconds: float = 0.0
    lost: int = 0
    missed: int = 0
    #: Events of tasks and workers that do not name them.
    nameless: int = 0

    def add_gap(self, gap: Gap) -> None:
        """Count a gap by its reason."""
        if gap.reason == "buffer":
            self.lost += gap.dropped
        elif gap.reason == "worker":
            self.missed += gap.missed
        else:
            self.gaps += 1
            self.gap_seconds += gap.duration


class Report:
    """Write lines to stderr; a closed or full stderr stops nothing.

    `stats` is `text` or `json`: the form of the summary.  `quiet` leaves only warnings.
    With `redacts` nothing is shown of input that could not be decoded.
    """

    def __init__(
        self, stream: IO[str], *, quiet: bool = False, stats: str = "text", redacts: bool = False
    ) -> None:
        self._stream = stream
        self._quiet = quiet
        self._redacts = redacts
        self._stats = stats
        self._reported: set[str] = set()
        #: The error that causes retries, and how many there were.
        self._retry, self._retries = "", 0
        #: Makes way for a line.
        self.progress: Progress | None = None

    def say(self, text: str) -> None:
        """Write a line, unless quiet."""
        if not self._quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """Write a line, quiet or not."""
        self._write(f"evdump: {sanitize(text)}\n")

    def notice(self, notice: Notice) -> None:
        """Report a change of the connection.

        Of many retries in a row the first is reported, the second, the fourth, the eighth
        and so on: a broker may be away for days.
        """
        text = _NOTICES[notice.kind].format(notice.text)
        if notice.kind == "retry":
            error = notice.text.rpartition(";")[0]
            self._retries = self._retries + 1 if error == self._retry else 1
            self._retry = error
            if self._retries & (self._retries - 1) == 0:
                self.say(text)
            return
        self._retry, self._retries = "", 0
        if notice.kind == "lost":
            self.warn(text)
        else:
            self.say(text)

    def defects(self, defects: Iterable[Defect]) -> None:
        """Report each kind of malformed input once."""
        for defect in defects:
            if defect.kind not in self._reported:
                self._reported.add(defect.kind)
                self.warn(f"left out: {defect.words(redacted=self._redacts)}")

    def summary(self, counts: Counts, statistics: Statistics, seconds: float) -> None:
        """Write the counters as they are now."""
        if self._stats == "json":
            self._write(_as_json(counts, statistics, seconds) + "\n")
        else:
            self.say(_as_text(counts, statistics, seconds))

    def _write(self, text: str) -> None:
        if self.progress is not None:
            self.progress.hide()
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


def _as_text(counts: Counts, statistics: Statistics, seconds: float) -> str:
    rate = counts.captured / seconds if seconds > 0 else 0.0
    length = f" ({human_duration(counts.gap_seconds)})" if counts.gaps else ""
    parts = [
        f"{counts.captured} captured",
        f"{counts.matched} matched",
        f"{counts.lost} lost",
        f"{counts.gaps} {'gap' if counts.gaps == 1 else 'gaps'}{length}",
    ]
    if counts.missed:
        parts.append(f"~{counts.missed} tasks of the workers not seen")
    if counts.nameless:
        parts.append(f"{counts.nameless} without the uuid or hostname they are about")
    if statistics.malformed:
        parts.append(f"{statistics.malformed} malformed")
    if statistics.buffered_bytes:
        parts.append(f"{human_size(statistics.buffered_bytes)} waiting")
    return ", ".join([*parts, human_duration(seconds), f"{rate:.1f}/s"])


def _as_json(counts: Counts, statistics: Statistics, seconds: float) -> str:
    line = asdict(counts)
    malformed = {defect.kind: defect.count for defect in statistics.defects}
    if nameless := line.pop("nameless"):
        malformed["without uuid or hostname"] = nameless
    line |= {
        "malformed": malformed,
        "reconnects": statistics.reconnects,
        "buffered_bytes": statistics.buffered_bytes,
        "seconds": round(seconds, 3),
    }
    return msgspec.json.encode(line).decode()


class Progress:
    """A bar that shows how much of a recording has been read.

    Nothing is imported or written for a recording that is read at once.
    """

    def __init__(self, stream: IO[str], clock: Clock, *, colour: bool = False) -> None:
        self._stream = stream
        self._clock = clock
        self._colour = colour
        self._began = clock.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def show(self, done_bytes: int, total_bytes: int | None) -> None:
        """Set the bar to `done_bytes` of `total_bytes`; None is an unknown total."""
        if self._clock.monotonic() - self._began < _SOON:
            return
        if self._bar is None:
            self._bar = _bar(self._stream, colour=self._colour)
            self._task = self._bar.add_task("reading", total=total_bytes)
        self._bar.start()
        self._bar.update(self._task, completed=done_bytes, total=total_bytes)

    def hide(self) -> None:
        """Take the bar off the screen, until it is shown again."""
        if self._bar is not None:
            self._bar.stop()


def _bar(stream: IO[str], *, colour: bool) -> Any:
    from rich.console import Console  # noqa: PLC0415  (only on a terminal)
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415  (only on a terminal)

    return Bar(
        "{task.description}",
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(file=stream, no_color=not colour),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
