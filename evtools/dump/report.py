"""What evdump tells on stderr: notices, counters, the summary."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import IO

import msgspec

from evtools.text import human_duration, human_size, sanitize
from evtools.transport import Notice, Statistics
from evtools.wire import Defect

_NOTICES = {
    "listening": "listening on {}",
    "lost": "connection lost: {}",
    "retry": "{}",
    "restored": "connected again to {}",
}


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


class Report:
    """Write lines to stderr; a closed or full stderr stops nothing.

    `stats` is `text` or `json`: the form of the summary.  `quiet` leaves only
    warnings.  With `redacts` nothing is shown of what could not be read.
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
        #: The error that retries are made because of, and how many so far.
        self._retry, self._retries = "", 0
        self._make_way: Callable[[], None] = _nothing

    def before_each_line(self, make_way: Callable[[], None]) -> None:
        """Have `make_way` called where the screen must be cleared for a line."""
        self._make_way = make_way

    def say(self, text: str) -> None:
        """Write a line, unless quiet."""
        if not self._quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """Write a line, quiet or not."""
        self._write(f"{self._tool}: {sanitize(text)}\n")

    def notice(self, notice: Notice) -> None:
        """Tell of a change of the connection.

        Of many retries in a row the first is told, the second, the fourth, the
        eighth and so on: a broker may be away for days.
        """
        if notice.kind == "retry" and self._is_tedious(notice.text):
            return
        if notice.kind != "retry":
            self._retry, self._retries = "", 0
        text = _NOTICES[notice.kind].format(notice.text)
        if notice.kind == "lost":
            self.warn(text)
        else:
            self.say(text)

    def _is_tedious(self, text: str) -> bool:
        error = text.rpartition(";")[0]
        self._retries = self._retries + 1 if error == self._retry else 1
        self._retry = error
        return self._retries & (self._retries - 1) != 0

    def defects(self, defects: Iterable[Defect]) -> None:
        """Tell of each kind of ill-formed input once."""
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
        self._make_way()
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


def _nothing() -> None:
    """Do nothing: there is nothing in the way."""


def _as_text(counts: Counts, statistics: Statistics, seconds: float) -> str:
    rate = counts.captured / seconds if seconds > 0 else 0.0
    parts = [
        f"{counts.captured} captured",
        f"{counts.matched} matched",
        f"{counts.lost} lost",
        _gaps(counts),
    ]
    if counts.missed:
        parts.append(f"~{counts.missed} tasks of the workers not seen")
    if counts.nameless:
        parts.append(f"{counts.nameless} without the uuid or hostname they are about")
    if statistics.malformed:
        parts.append(f"{statistics.malformed} malformed")
    if statistics.buffered_bytes:
        parts.append(f"{human_size(statistics.buffered_bytes)} waiting")
    parts += [human_duration(seconds), f"{rate:.1f}/s"]
    return ", ".join(parts)


def _gaps(counts: Counts) -> str:
    noun = "gap" if counts.gaps == 1 else "gaps"
    length = f" ({human_duration(counts.gap_seconds)})" if counts.gaps else ""
    return f"{counts.gaps} {noun}{length}"


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
