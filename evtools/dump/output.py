"""What evdump says on stderr: notices, counters, a progress bar."""

import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import msgspec

from evtools.clock import Clock
from evtools.dump.options import DumpOptions
from evtools.text import human_duration, human_size, sanitize
from evtools.transport import Notice, Statistics
from evtools.wire import Gap

#: A recording that is read in less than this, in seconds, needs no progress bar.
_SOON: Final = 0.5
_NOTICES: Final = {
    "listening": "listening on {}", "lost": "connection lost: {}", "retry": "{}",
    "restored": "connected again to {}", "refused": "left out, while the others go on: {}",
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


def _gaps(count: int, seconds: float) -> str:
    length = f" ({human_duration(seconds)})" if count else ""
    return f"{count} {'gap' if count == 1 else 'gaps'}{length}"


def _by_kind(statistics: Statistics) -> dict[str, int]:
    return {defect.kind: defect.count for defect in statistics.defects}


def _of_cluster(each: Statistics, now: float) -> str:
    # What one of several has counted, and whether it is there.
    because = f": {each.problem}" if each.problem else ""
    if each.is_refused:
        state = f"left out{because}"
    elif each.away_since is None:
        state = "connected"
    elif each.away_since:
        state = f"no connection for {human_duration(max(0.0, now - each.away_since))}{because}"
    else:
        state = f"never connected{because}"
    parts = [
        f"{each.events} captured",
        f"{each.dropped} lost",
        _gaps(each.gaps, each.gap_seconds),
        each.missed and f"~{each.missed} tasks of the workers not seen",
        each.malformed and f"{each.malformed} malformed",
        state,
    ]
    return ", ".join(part for part in parts if part)


def _for_programs(each: Statistics, now: float) -> dict[str, Any]:
    # The same as plain values; null where there never was a connection.
    away = each.away_since
    return {
        "captured": each.events, "lost": each.dropped, "gaps": each.gaps,
        "gap_seconds": each.gap_seconds, "missed": each.missed, "malformed": _by_kind(each),
        "reconnects": each.reconnects, "connected": away is None, "refused": each.is_refused,
        "away_seconds": 0.0 if away is None else round(max(0.0, now - away), 3) if away else None,
        "problem": each.problem,
    }  # fmt: skip


class Report:
    """Write lines to stderr, and a progress bar; a closed or full stderr stops nothing.

    With `--quiet` only warnings are written, with `--redact` nothing is shown of input that
    could not be decoded.
    """

    def __init__(self, options: DumpOptions, clock: Clock) -> None:
        self._options, self._clock = options, clock
        self._stream = sys.stderr
        self._began = clock.monotonic()
        #: Clusters, and kinds of malformed input.
        self._reported: set[tuple[str, str]] = set()
        #: By cluster, the error that causes retries, and how many there were.
        self._retries: dict[str, tuple[str, int]] = {}
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
            before, retries = self._retries.get(notice.cluster, ("", 0))
            retries = retries + 1 if error == before else 1
            self._retries[notice.cluster] = (error, retries)
            if retries & (retries - 1):
                return
        else:
            self._retries.pop(notice.cluster, None)
        write = self.warn if notice.kind in ("lost", "refused") else self.say
        write(replace(notice, text=_NOTICES[notice.kind].format(notice.text)).named)
        for line in notice.hint.splitlines():
            self._write(f"  {sanitize(line)}\n")

    def defects(self, statistics: Statistics) -> None:
        """Report each kind of malformed input once, of each of several clusters."""
        for cluster, each in (statistics.clusters or {"": statistics}).items():
            for defect in each.defects:
                if (cluster, defect.kind) not in self._reported:
                    self._reported.add((cluster, defect.kind))
                    words = defect.words(redacted=bool(self._options.redact))
                    self.warn(Notice("", f"left out: {words}", cluster).named)

    def summary(self, counts: Counts, statistics: Statistics, seconds: float) -> None:
        """Write the counters as they are now, as text or JSON; of several clusters those of each.

        What refused us is a warning: nothing of it is in the other figures.
        """
        waiting, now = statistics.buffered_bytes, self._clock.wall()
        if self._options.stats == "json":
            line = asdict(counts)
            malformed = _by_kind(statistics)
            if nameless := line.pop("nameless"):
                malformed["without uuid or hostname"] = nameless
            line |= {"malformed": malformed, "reconnects": statistics.reconnects}
            line |= {"buffered_bytes": waiting, "seconds": round(seconds, 3)}
            if statistics.clusters:
                clusters = statistics.clusters.items()
                line["clusters"] = {name: _for_programs(each, now) for name, each in clusters}
            self._write(msgspec.json.encode(line).decode() + "\n")
            return
        rate = counts.captured / seconds if seconds > 0 else 0.0
        parts = [
            f"{counts.captured} captured",
            f"{counts.matched} matched",
            f"{counts.lost} lost",
            _gaps(counts.gaps, counts.gap_seconds),
            counts.missed and f"~{counts.missed} tasks of the workers not seen",
            counts.nameless and f"{counts.nameless} without the uuid or hostname they are about",
            statistics.malformed and f"{statistics.malformed} malformed",
            waiting and f"{human_size(waiting)} waiting",
            human_duration(seconds),
            f"{rate:.1f}/s",
        ]
        self.say(", ".join(part for part in parts if part))
        for name, each in statistics.clusters.items():
            write = self.warn if each.is_refused else self.say
            write(f"{name}: {_of_cluster(each, now)}")

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
