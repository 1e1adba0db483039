"""What evdump says on stderr: notices, counters, a progress bar."""

import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

import msgspec

from evtools.clock import Clock
from evtools.dump.options import DumpOptions
from evtools.text import human_duration, human_size, sanitize
from evtools.transport import Notice, Statistics
from evtools.wire import Defect, Gap

#: A recording that is read in less than this, in seconds, needs no progress bar.
_SOON: Final = 0.5
_NOTICES: Final = {
    "listening": "listening on {}", "lost": "connection lost: {}", "retry": "{}",
    "restored": "connected again to {}",
}  # fmt: skip


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
    """Write lines to stderr, and a progress bar; a closed or full stderr stops nothing.

    With `--quiet` only warnings are written, with `--redact` nothing is shown of input that
    could not be decoded.
    """

    def __init__(self, options: DumpOptions, clock: Clock) -> None:
        self._options, self._clock = options, clock
        self._stream = sys.stderr
        self._began = clock.monotonic()
        self._reported: set[str] = set()
        #: The error that causes retries, and how many there were.
        self._retry, self._retries = "", 0
        self._bar: Any = None

    def say(self, text: str) -> None:
        """Write a line, unless quiet."""
        if not self._options.quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """Write a line, quiet or not."""
        self._write(f"evdump: {sanitize(text)}\n")

    def notice(self, notice: Notice) -> None:
        """Report a change of the connection.

        Of many retries in a row the first is reported, the second, the fourth, the eighth
        and so on: a broker may be away for days.
        """
        if notice.kind == "retry":
            error = notice.text.rpartition(";")[0]
            self._retries = self._retries + 1 if error == self._retry else 1
            self._retry = error
            if self._retries & (self._retries - 1):
                return
        else:
            self._retry, self._retries = "", 0
        write = self.warn if notice.kind == "lost" else self.say
        write(_NOTICES[notice.kind].format(notice.text))

    def defects(self, defects: Iterable[Defect]) -> None:
        """Report each kind of malformed input once."""
        for defect in defects:
            if defect.kind not in self._reported:
                self._reported.add(defect.kind)
                self.warn(f"left out: {defect.words(redacted=bool(self._options.redact))}")

    def summary(self, counts: Counts, statistics: Statistics, seconds: float) -> None:
        """Write the counters as they are now, as text or JSON."""
        waiting = statistics.buffered_bytes
        if self._options.stats == "json":
            line = asdict(counts)
            malformed = {defect.kind: defect.count for defect in statistics.defects}
            if nameless := line.pop("nameless"):
                malformed["without uuid or hostname"] = nameless
            line |= {"malformed": malformed, "reconnects": statistics.reconnects}
            line |= {"buffered_bytes": waiting, "seconds": round(seconds, 3)}
            self._write(msgspec.json.encode(line).decode() + "\n")
            return
        rate = counts.captured / seconds if seconds > 0 else 0.0
        gaps = f" ({human_duration(counts.gap_seconds)})" if counts.gaps else ""
        parts = [
            f"{counts.captured} captured",
            f"{counts.matched} matched",
            f"{counts.lost} lost",
            f"{counts.gaps} {'gap' if counts.gaps == 1 else 'gaps'}{gaps}",
            counts.missed and f"~{counts.missed} tasks of the workers not seen",
            counts.nameless and f"{counts.nameless} without the uuid or hostname they are about",
            statistics.malformed and f"{statistics.malformed} malformed",
            waiting and f"{human_size(waiting)} waiting",
            human_duration(seconds),
            f"{rate:.1f}/s",
        ]
        self.say(", ".join(part for part in parts if part))

    def show_progress(self, done_bytes: int, total_bytes: int | None) -> None:
        """Set a bar to `done_bytes` of `total_bytes`; None is an unknown total.

        Nothing is imported or written for a recording that is read at once.
        """
        if self._clock.monotonic() - self._began < _SOON:
            return
        if self._bar is None:
            from rich import progress  # noqa: PLC0415  (only on a terminal)
            from rich.console import Console  # noqa: PLC0415  (only on a terminal)

            self._bar = progress.Progress(
                "{task.description}",
                progress.BarColumn(),
                progress.DownloadColumn(),
                progress.TimeRemainingColumn(),
                console=Console(file=self._stream, no_color=not self._options.colour_stderr),
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bar.add_task("reading", total=total_bytes)
        self._bar.start()
        (task,) = self._bar.task_ids
        self._bar.update(task, completed=done_bytes, total=total_bytes)

    def hide_progress(self) -> None:
        """Take the bar off the screen, until it is shown again."""
        if self._bar is not None:
            self._bar.stop()

    def _write(self, text: str) -> None:
        self.hide_progress()
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()
