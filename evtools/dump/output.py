"""What evdump reports: notices, counters and a progress bar on stderr; tables of counts."""

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from shutil import get_terminal_size
from typing import Any, Final, NamedTuple

import msgspec

from evtools.clock import Clock
from evtools.dump.formats import ansi_style, as_text, clipped, number_of, runtime_of
from evtools.dump.options import By, DumpOptions
from evtools.text import csv_cell, human_duration, human_rate, human_size, pad, sanitize, width
from evtools.transport import Notice, Statistics
from evtools.transport.recording.reader import SOON, ProgressBar, stamp
from evtools.wire import Event, Gap, encode_line

_NOTICES: Final = {
    "listening": "listening on {}", "lost": "connection lost: {}", "retry": "{}",
    "restored": "connected again to {}", "refused": "left out, while the others go on: {}",
}  # fmt: skip


#: Celery's events of tasks, with the word for what each reports.
STATES: Final = {
    f"task-{word}": word
    for word in ("sent", "received", "started", "succeeded", "failed", "retried", "revoked",
                 "rejected", "cancelled")
}  # fmt: skip
#: How people are told of them.
_SHORT: Final = {"succeeded": "ok"}
_TYPE: Final = attrgetter("type")


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
    #: Of those that matched, Celery's events of tasks, by the word for what they report.
    states: Counter[str] = field(default_factory=Counter)

    def add_states(self, events: Iterable[Event]) -> None:
        """Count what events that matched report of their tasks."""
        for kind, count in Counter(map(_TYPE, events)).items():
            if kind in STATES:
                self.states[STATES[kind]] += count

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
        self._bar = ProgressBar(self._stream, colour=options.colour_stderr)

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

    def replayed(self, notice: Notice) -> None:
        """Report what of several recordings is left out."""
        if notice.kind == "warning":
            self.warn(notice.text)

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
            line["states"] = {word: n for word in STATES.values() if (n := counts.states[word])}
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
        states = {word: counts.states[word] for word in STATES.values()}
        if ends := [f"{_SHORT.get(word, word)} {n}" for word, n in states.items() if n]:
            self.say(", ".join(ends))
        for name, each in statistics.clusters.items():
            write = self.warn if each.is_refused else self.say
            write(f"{name}: {_of_cluster(each, now)}")

    def show_progress(self, done_bytes: int, total_bytes: int | None) -> None:
        """Set a bar to `done_bytes` of `total_bytes`; None is an unknown total.

        Nothing is imported or written for a recording that is read at once.
        """
        if self._clock.monotonic() - self._began >= SOON:
            self._bar.show(done_bytes, total_bytes)

    def hide_progress(self) -> None:
        """Take the bar off the screen, until it is shown again."""
        self._bar.hide()

    def _write(self, text: str) -> None:
        self.hide_progress()
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


# --- tables of counts (-z) ------------------------------------------------------------

#: How many names a table tells apart; of more, those that were silent for longest are one row.
NAMES_MAX: Final = 1000
#: Longer names are cut, in characters.
_NAME_CHARS: Final = 200
_NAME_COLS: Final = 50
#: What ends an attempt of a task, in the order of `STATES`.
_ENDS: Final = ("succeeded", "failed", "retried", "revoked", "rejected", "cancelled")
#: Those that ran to their end.
_RUN: Final = ("task-succeeded", "task-failed")
_CELLS: Final = {kind: cell for cell, kind in enumerate(STATES)}
_SKIPPED: Final = object()
#: The name of all names beyond the bound.
_OTHERS: Final = ("others",)
#: What says nothing in a table of failures.
_NOT_OF_FAILURES: Final = ("OK", "FAIL%")
_PERCENTILES: Final = ("p50", "p95", "p99", "max")


class _Subject(NamedTuple):
    # What a table counts, and by what; the title of its first column; whether shares and rates
    # are of the `events`, or of the attempts that `ended`; what has no name.
    title: str
    column: str
    unit: str
    key: Callable[[Event], Any]
    unnamed: str = "(unknown)"


def _of_task(name: str) -> Callable[[Event], Any]:
    return lambda event: event.get(name) if event.type.startswith("task-") else _SKIPPED


def _worker_of(event: Event) -> Any:
    # What sends a task is a client.
    return _SKIPPED if event.type == "task-sent" else event.get("hostname")


# What needs the state is added when it is there.
_SUBJECTS: Final[Mapping[By, _Subject]] = {
    "type": _Subject("events by type", "EVENT", "events", _TYPE),
    "name": _Subject("tasks by name", "TASK", "ended", _of_task("name")),
    "worker": _Subject("tasks by worker", "WORKER", "ended", _worker_of),
    "queue": _Subject("tasks by queue", "QUEUE", "ended", _of_task("queue")),
    "exception": _Subject("failures and retries by type of exception", "EXCEPTION", "ended", _TYPE),
    "state": _Subject("events of tasks by the state they lead to", "STATE", "events", _TYPE),
    "cluster": _Subject("tasks by cluster", "CLUSTER", "ended",
                        lambda event: event.cluster or None, "(no name)"),
}  # fmt: skip


class Tables:
    """Count the events that matched, in a table for each of `by`; bounded by `NAMES_MAX` names.

    Events are counted, and not tasks: one that was retried has ended twice.  Durations are as in
    evtop, percentiles off by 5 % at most.
    """

    def __init__(self, by: Iterable[By]) -> None:
        # Only evtop, evcam and -z need the state, whose import takes a tenth of the start.
        from evtools.state.attempts import STATES as ENTERED  # noqa: PLC0415
        from evtools.state.attempts import epoch  # noqa: PLC0415
        from evtools.state.statistics import failures, rows, windows  # noqa: PLC0415

        def exception(event: Event) -> Any:
            if event.type not in ("task-failed", "task-retried"):
                return _SKIPPED
            return failures.fingerprint(event)[0] or None

        def state(event: Event) -> Any:
            return ENTERED.get(event.type, _SKIPPED)

        self._rows, self._merge, self._epoch = rows, windows.merge, epoch
        keys = {"exception": exception, "state": state}
        #: Of each table, what is counted by, and the counts; they are in the slot that is open.
        self._tables: dict[By, tuple[Callable[[Event], Any], Any]] = {
            each: (
                keys.get(each, _SUBJECTS[each].key),
                windows.Windows(others=_OTHERS, max_names=NAMES_MAX),
            )
            for each in by
        }
        #: When the first and the last event was received, whether or not it matched.
        self._first, self._last = math.inf, -math.inf

    def see(self, events: Iterable[Event]) -> None:
        """Know when events were received, gap records as well: that is what rates are over."""
        times = [event.local_received for event in events if event.local_received]
        self._first = min(self._first, *times, math.inf)
        self._last = max(self._last, *times, -math.inf)

    def count(self, events: Iterable[Event]) -> None:
        """Count events that matched."""
        for event in events:
            if event.is_gap:
                continue
            rows = []
            for key_of, table in self._tables.values():
                key = key_of(event)
                if key is not _SKIPPED:
                    key = key if key is None or isinstance(key, str) else as_text(key)
                    if key is not None and len(key) > _NAME_CHARS:
                        key = key[: _NAME_CHARS - 1] + "\N{HORIZONTAL ELLIPSIS}"
                    rows.append(table[key])
            self._count(event, rows)

    def _count(self, event: Event, tables: list[Any]) -> None:
        rows, cell = self._rows, _CELLS.get(event.type)
        for cells in tables:
            cells[rows.EVENTS] += 1
            if cell is not None:
                cells[cell] += 1
        if cell is None:
            return
        if event.type == "task-started":
            if (wait := self._wait_of(event)) is not None and wait >= 0:
                rows.add_duration(tables, rows.WAIT, wait)
            elif wait is not None:
                for cells in tables:
                    cells[rows.SKEWED] += 1
        elif event.type in _RUN and (seconds := runtime_of(event)) is not None and seconds >= 0:
            rows.add_duration(tables, rows.RUN, seconds)

    def _wait_of(self, event: Event) -> float | None:
        # As in evtop: since its sending, or its receipt if that is not known or was earlier, or
        # since its ETA.  Here nothing is known of how far clocks are off.
        started, joined = number_of(event.get("timestamp")), event.joined
        times = [number_of(joined.get(name)) for name in ("sent", "received")]
        known = [moment for moment in times if moment is not None]
        if started is None or not known:
            return None
        eta = joined.get("eta")
        if not isinstance(eta, str) or (due := self._epoch(eta)) is None:
            return started - min(known)
        return max(0.0, started - due) if due > min(known) else started - min(known)

    def rendered(self, options: DumpOptions, counts: Counts) -> bytes:
        """Return the tables in the format that was asked for."""
        if options.output == "json":
            return self._as_json()
        if options.output == "csv":
            return self._as_csv()
        missing = [_gaps(counts.gaps, counts.gap_seconds)] if counts.gaps else []
        missing += [f"{counts.lost} lost"] if counts.lost else []
        missing += [f"~{counts.missed} tasks not seen"] if counts.missed else []
        style = ansi_style("bold") if options.colour else ("", "")
        cols = get_terminal_size().columns if options.multiline else None
        return self._as_text(cols, ", ".join(missing), style)

    def _as_json(self) -> bytes:
        # A line for each table.
        return b"".join(encode_line(self._table(by)) + b"\n" for by in self._tables)

    def _as_csv(self) -> bytes:
        # All tables under one header; what is not known is an empty cell.
        tables = [self._table(by) for by in self._tables]
        lines = [",".join(_flat("", tables[0]["total"]))]
        for table in tables:
            flat = [_flat(table["by"], row) for row in table["rows"]]
            lines += [",".join(map(_cell, row.values())) for row in flat]
        return "".join(f"{line}\n" for line in lines).encode()

    def _as_text(self, cols_max: int | None, gaps: str, style: tuple[str, str]) -> bytes:
        # In up to so many columns of a terminal if that can be.  `style` is that of the heads.
        tables = [self._lines(self._table(by), cols_max, gaps, style) for by in self._tables]
        return "\n".join("".join(f"{line}\n" for line in lines) for lines in tables).encode()

    def _lines(
        self, table: dict[str, Any], cols_max: int | None, gaps: str, style: tuple[str, str]
    ) -> list[str]:
        subject, total = _SUBJECTS[table["by"]], table["total"]
        parts = [f"{total['events']} events"]
        if subject.unit == "ended":
            parts.insert(0, f"{total['ended']} attempts ended")
        if table["from"] is not None:
            start, end = stamp(table["from"]), stamp(table["to"])
            end = end.removeprefix(start[: len("2026-11-30 ")])
            parts += [f"over {human_duration(table['seconds'])}", f"{start} to {end}"]
        columns = [
            each for each in _COLUMNS
            if each.unit in ("", subject.unit)
            and not (table["by"] == "exception" and each.title in _NOT_OF_FAILURES)
            and each.cell(total) not in ("-", each.empty)
        ]  # fmt: skip
        rows = (*table["rows"], total)
        names = [_name_of(row, subject) for row in table["rows"]] + ["TOTAL"]
        shown = {each: [each.title, *map(each.cell, rows)] for each in columns}
        cols = {each: max(map(width, cells)) for each, cells in shown.items()}
        first = max(map(width, (subject.column, *names)))
        leaving = sorted((each for each in columns if each.leaves), key=lambda each: each.leaves)
        left_out = []
        while cols_max and leaving and first + sum(n + 2 for n in cols.values()) > cols_max:
            left_out.append(gone := leaving.pop(0))
            del cols[gone]
        lines = [
            pad(name, first) + "".join(f"  {pad(shown[each][at], n, 'right')}"
                                       for each, n in cols.items())
            for at, name in enumerate((subject.column, *names))
        ]  # fmt: skip
        above = " " * first
        for group, of_group in groupby(cols, key=lambda each: each.group):
            span = sum(cols[each] + 2 for each in of_group) - 2
            above += "  " + group.center(span, "-" if group else " ")
        heads = [f"{subject.title}: {', '.join(parts)}{gaps and ', ' + gaps}", above, lines[0]]
        notes = []
        if left_out:
            names = [f"{each.group} {each.title}".strip() for each in left_out]
            notes.append(f"no room for {', '.join(names)}; -o csv has all")
        if skewed := total["wait"]["skewed"]:
            notes.append(f"{skewed} waits left out: below zero, as clocks differ")
        return [
            *(f"{style[0]}{line.rstrip()}{style[1]}" for line in heads if line.strip()),
            *map(str.rstrip, lines[1:]),
            *notes,
        ]

    def _table(self, by: By) -> dict[str, Any]:
        subject, (_, counted) = _SUBJECTS[by], self._tables[by]
        seconds = max(0.0, self._last - self._first) if self._last >= self._first else 0.0
        total: dict[int, float] = {}
        for cells in counted.values():
            self._merge(total, cells)
        unit = subject.unit
        rows = [self._row(key, cells, total, seconds, unit) for key, cells in counted.items()]
        rows.sort(key=lambda row: (-row[unit], -row["events"], row["others"], row["key"] or ""))
        is_known = self._first <= self._last
        return {
            "by": by, "share_of": unit, "seconds": round(seconds, 6),
            "from": self._first if is_known else None, "to": self._last if is_known else None,
            "rows": rows, "total": self._row(None, total, total, seconds, unit),
        }  # fmt: skip

    def _row(
        self,
        key: Any,
        cells: Mapping[int, float],
        total: Mapping[int, float],
        seconds: float,
        unit: str,
    ) -> dict[str, Any]:
        rows = self._rows

        def amount(of: Mapping[int, float]) -> int:
            kinds = (
                [rows.EVENTS] if unit == "events" else [_CELLS[f"task-{word}"] for word in _ENDS]
            )
            return int(sum(of.get(cell, 0) for cell in kinds))

        states = {word: int(cells.get(_CELLS[kind], 0)) for kind, word in STATES.items()}
        run, wait = rows.quantiles(cells, rows.RUN), rows.quantiles(cells, rows.WAIT)
        completed = states["succeeded"] + states["failed"]
        return {
            "key": None if key is _OTHERS else key,
            "others": key is _OTHERS,
            "events": int(cells.get(rows.EVENTS, 0)),
            "ended": sum(states[word] for word in _ENDS),
            "share": _ratio(amount(cells), amount(total)),
            "rate": _ratio(amount(cells), seconds),
            **states,
            "failure_share": _ratio(states["failed"], completed),
            "run": {"count": run.count, **{name: _rounded(run, name) for name in _PERCENTILES}},
            "wait": {
                "count": wait.count,
                **{name: _rounded(wait, name) for name in _PERCENTILES},
                "skewed": wait.skewed,
            },
        }


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 6) if whole else None


def _rounded(quantiles: Any, name: str) -> float | None:
    value: float | None = getattr(quantiles, name)
    return None if value is None else round(value, 6)


def _name_of(row: Mapping[str, Any], subject: _Subject) -> str:
    if row["others"]:
        return f"(others: more than {NAMES_MAX} names)"
    return subject.unnamed if row["key"] is None else clipped(row["key"], _NAME_COLS)


def _flat(by: str, row: Mapping[str, Any]) -> dict[str, Any]:
    flat = {"by": by}
    for name, value in row.items():
        parts = value.items() if isinstance(value, dict) else ()
        flat |= {f"{name}_{part}": figure for part, figure in parts} or {name: value}
    return flat


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return csv_cell(as_text(value), is_number=not isinstance(value, str))


class _Column(NamedTuple):
    # A column of the tables for people: for which unit, "" for both; what it is
    # where nothing is in it; when it leaves for lack of room, 0 for never; what stands above.
    title: str
    cell: Callable[[Mapping[str, Any]], str]
    unit: str
    leaves: int
    empty: str = ""
    group: str = ""


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _duration(kind: str, name: str) -> Callable[[Mapping[str, Any]], str]:
    def cell(row: Mapping[str, Any]) -> str:
        seconds = row[kind][name]
        return "-" if seconds is None else human_duration(seconds)

    return cell


def _other(row: Mapping[str, Any]) -> str:
    return str(row["revoked"] + row["rejected"] + row["cancelled"])


def _rate(row: Mapping[str, Any]) -> str:
    return "-" if row["rate"] is None else human_rate(row["rate"])


# fmt: off
_COLUMNS: Final = (
    _Column("EVENTS", lambda row: str(row["events"]), "events", 0),
    _Column("ENDED", lambda row: str(row["ended"]), "ended", 0),
    _Column("SHARE", lambda row: _percent(row["share"]), "", 9),
    _Column("RATE", _rate, "", 0),
    _Column("OK", lambda row: str(row["succeeded"]), "ended", 0),
    _Column("FAILED", lambda row: str(row["failed"]), "ended", 0),
    _Column("FAIL%", lambda row: _percent(row["failure_share"]), "ended", 0),
    _Column("RETRIED", lambda row: str(row["retried"]), "ended", 7, "0"),
    _Column("OTHER", _other, "ended", 4, "0"),
    *(_Column(name, _duration("run", name), "", leaves, group="RUN")
      for name, leaves in zip(_PERCENTILES, (10, 0, 2, 8), strict=True)),
    *(_Column(name, _duration("wait", name), "", leaves, group="WAIT")
      for name, leaves in zip(_PERCENTILES, (6, 11, 1, 5), strict=True)),
    _Column("EVENTS", lambda row: str(row["events"]), "ended", 3),
)
# fmt: on
