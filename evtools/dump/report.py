"""What evdump writes to stderr: notices, counters, the summary, a progress bar."""

import contextlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import IO, Any, Final

import msgspec

from evtools.clock import Clock
from evtools.text import human_duration, human_size, sanitize
from evtools.transport import Notice, Statistics
from evtools.wire import Defect, Gap

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
        self,
        stream: IO[str],
        *,
        tool: str,
        quiet: bool = False,
        stats: str = "text",
        redacts: bool = False,
    ) -> None:
        self._stream = stream
        self._tool = tool
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
        self._write(f"{self._tool}: {sanitize(text)}\n")

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
        with contextlib.suppress(OSError, ValueError):
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
