"""The page: its sections, made of figures."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from evtools import __version__
from evtools.report import plots
from evtools.report.figures import TRACEBACK_CHARS, Figures
from evtools.report.html import Child, Html, breakable, document, el, html, lines
from evtools.report.plots import Series, Span
from evtools.state import OTHERS, UNKNOWN, Quantiles, Task, Totals
from evtools.state.statistics.rows import FAILED, RETRIED, SUCCEEDED, Heat, heat_of
from evtools.state.store import Clocks, Family, Piece, pieces
from evtools.state.worker import LIVENESS
from evtools.text import elide_middle, human_count, human_duration, human_rate, human_size, sanitize
from evtools.transport import Statistics as Counters
from evtools.transport.recording.reader import stamp

#: How many files are named, and how much of texts of others is shown, in characters.
_FILES_SHOWN: Final = 10
_NAME_CHARS: Final = 200
_VALUE_CHARS: Final = 300
_MESSAGE_CHARS: Final = 500
_NOTES_MAX: Final = 30
#: Of how many groups of failures there is a sample: of very many, their tracebacks are megabytes.
_SAMPLES_MAX: Final = 100
_WORKERS_NAMED: Final = 4
#: What rates are per, with its seconds.
_UNITS: Final = (("second", 1.0), ("minute", 60.0), ("hour", 3600.0), ("day", 86_400.0))
_PERCENTILES: Final = ("p50", "p95", "p99", "max")
#: How a task is said to be, by its state.
_STATES: Final = {
    "SUCCESS": "succeeded", "FAILURE": "failed", "RETRY": "to be retried", "REVOKED": "revoked",
    "REJECTED": "rejected", "CANCELLED": "cancelled", "STARTED": "running",
    "RECEIVED": "received", "PENDING": "sent",
}  # fmt: skip
#: And a worker.
_STATUSES: Final = {
    "silent": "there, without heartbeats", "offline": "shut down", "late": "heartbeats late",
    "gone": "gone without a goodbye", "busy?": "busy, or gone",
}  # fmt: skip
_GAPS: Final = {
    "reconnect": "no connection to the broker", "buffer": "more events than the buffer holds",
    "stopped": "the recorder was stopped", "worker": "tasks that a worker counted did not come",
}  # fmt: skip
_BAR_CSS: Final = {
    "succeeded": "s-good", "failed": "s-bad", "retried": "s-again", "running": "s-good",
    "waiting": "s-wait", "unknown": "s-unknown",
}  # fmt: skip

_COMPLETED: Final = (
    "tasks that succeeded or failed; one that is retried counts when its last attempt ends, and"
    " each attempt that is to be tried again as a retry."
)
_RUN: Final = "from start to end, as the worker measured it, of tasks that succeeded or failed."
_WAIT: Final = (
    "from the sending of a task, or its receipt where that is not known, to its start; a delay"
    " that was asked for (ETA, countdown) does not count."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is known of the recordings besides their events.

    `files` are sizes in bytes by name, None is unknown; `filters` are those that events had to
    match, as text; `notes` say what else was left out.  `top` is how many rows a table has.
    """

    title: str
    files: Mapping[str, int | None]
    counters: Counters
    made: float
    filters: Sequence[str] = ()
    notes: Sequence[str] = ()
    redacted: bool = False
    top: int = 30


def render(figures: Figures, about: About) -> bytes:
    """Return the page, in UTF-8."""
    return document(about.title, _Page(figures, about).body())


# --- words and numbers ----------------------------------------------------------------


def _number(count: float) -> str:
    return f"{round(count):,}".replace(",", " ")


def _counted(count: int, word: str, words: str = "") -> str:
    return f"{_number(count)} {word if count == 1 else words or word + 's'}"


def _share(part: float, whole: float) -> str:
    if not whole:
        return "-"
    share = 100 * part / whole
    if 0 < share < 0.05:  # noqa: PLR2004
        return "<0.1 %"
    return f"{share:.1f} %" if share < 99.95 or part == whole else ">99.9 %"  # noqa: PLR2004


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else human_duration(seconds)


def _rate(per_second: float) -> str:
    return human_rate(per_second)


def _name(text: str | None, most: int = _NAME_CHARS) -> Html:
    shown = (text or UNKNOWN)[: most + 1]
    return breakable(shown if len(shown) <= most else f"{shown[:most]}\N{HORIZONTAL ELLIPSIS}")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}\N{HORIZONTAL ELLIPSIS}"


# --- tables ---------------------------------------------------------------------------


class _Column(NamedTuple):
    # A heading, what is above several, the cell of a row, its value for sorting ("" for none),
    # and its class: `n` is a number.
    title: str
    cell: Callable[[Any], Child]
    value: Callable[[Any], float | str | None] | None = None
    css: str = "n"
    group: str = ""
    about: str = ""


def _of_quantiles(group: str, name: str) -> _Column:
    kind = group.lower()

    def value(row: Any) -> float | None:
        found: Quantiles = getattr(row, kind)
        return getattr(found, name)  # type: ignore[no-any-return]

    title = name if name == "max" else f"{name}"
    return _Column(title, lambda row: _duration(value(row)), value, group=group)


def _count_of(title: str, *cells: int, about: str = "", css: str = "") -> _Column:
    def cell(row: Any) -> Child:
        count = row.count(*cells)
        return el("span", _number(count), class_=(css or None) if count else "dim")

    return _Column(title, cell, lambda row: row.count(*cells), about=about)


def _table(
    columns: Sequence[_Column], rows: Sequence[Any], label: str, *, sorts: bool = True
) -> Html:
    groups = []
    if any(each.group for each in columns):
        at = 0
        while at < len(columns):
            end = at + 1
            while end < len(columns) and columns[end].group == columns[at].group:
                end += 1
            name = columns[at].group
            groups.append(
                el("th", name, colspan=end - at, class_="group" if name else None,
                   scope="colgroup" if name else None)
                if name else el("td", colspan=end - at)
            )  # fmt: skip
            at = end
    heads = [
        el("th", each.title, scope="col", class_=each.css or None, title=each.about or None)
        for each in columns
    ]
    head = el("thead", el("tr", groups) if groups else None, el("tr", heads))
    body = el("tbody", [el("tr", [_cell(each, row) for each in columns]) for row in rows])
    table = el("table", head, body, class_="sorts" if sorts and len(rows) > 1 else None)
    return el("div", table, class_="scroll", role="region", aria_label=label, tabindex="0")


def _cell(column: _Column, row: Any) -> Html:
    value = column.value(row) if column.value is not None else None
    shown = None
    if column.value is not None:
        shown = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return el("td", column.cell(row), class_=column.css or None, data_v=shown)


def _rest(count: int, shown: int, words: str) -> Html | None:
    if count <= shown:
        return None
    return el("p", f"and {_number(count - shown)} more {words}", class_="rest")


# --- the page -------------------------------------------------------------------------


class _Page:
    def __init__(self, figures: Figures, about: About) -> None:
        self._figures, self._about = figures, about
        self._now = figures.last
        self._totals = figures.totals()
        self._named = any(figures.clusters)
        self._rows = figures.over_time.read(None, figures.first, figures.last)
        width = figures.over_time.width
        begin = figures.over_time.begin if self._rows else figures.first
        self._span = Span(begin, begin + width * len(self._rows))
        self._width = width
        #: Of a recording of one day times are enough.
        self._day = stamp(figures.first)[:11] if figures.first else ""
        self._one_day = stamp(figures.last)[:11] == self._day

    def body(self) -> Html:
        parts = [
            ("over-time", "Over time", self._over_time()),
            ("types", "Task types, the slowest first", self._types()),
            ("failures", "Failures", self._failures()),
            ("slowest", "The slowest tasks", self._slowest()),
            ("workers", "Workers", self._workers()),
            ("queues", "Queues", self._queues()),
            ("gaps", "Gaps", self._gap_table()),
        ]
        links = [
            html(el("a", title.partition(",")[0], href=f"#{ident}"), " ")
            for ident, title, _ in parts
        ]
        sections = [el("section", el("h2", title), part, id=ident) for ident, title, part in parts]
        return html(
            el("header", el("h1", self._about.title), self._facts(), el("nav", links,
               aria_label="Sections")),
            el("main", self._story(), self._cards(), self._missing(), sections),
            self._footer(),
        )  # fmt: skip

    # --- times

    def _when(self, moment: float | None) -> str:
        if not moment:
            return "-"
        text = stamp(moment)
        return text[11:] if self._one_day and text.startswith(self._day) else text

    def _zone(self) -> str:
        try:
            moment = datetime.fromtimestamp(
                self._figures.first or self._about.made, UTC
            ).astimezone()
        except (OverflowError, ValueError, OSError):
            return "local time"
        offset = moment.strftime("%z")
        offset = f"UTC{offset[:3]}:{offset[3:]}" if moment.utcoffset() else "UTC"
        name = moment.tzname() or ""
        return offset if name in ("", "UTC") else f"{name} ({offset})"

    # --- what it is about

    def _facts(self) -> Html:
        figures, about = self._figures, self._about
        facts: list[tuple[str, Child]] = []
        if figures.first:
            long = human_duration(figures.last - figures.first)
            begin, end = stamp(figures.first), stamp(figures.last)
            end = end.removeprefix(begin[:11])
            facts.append(("Period", f"{begin} to {end}, {self._zone()}: {long}"))
        counts = [_counted(figures.events, "event")]
        if about.counters.events != figures.events:
            counts.append(f"of {_number(about.counters.events)} that were read")
        facts.append(("Events", " ".join(counts)))
        shown: list[Child] = []
        for name, size in islice(about.files.items(), _FILES_SHOWN):
            word = _name(name.rpartition("/")[2] or name)
            shown += [
                ", " if shown else None,
                word,
                None if size is None else f" ({human_size(size)})",
            ]
        if len(about.files) > _FILES_SHOWN:
            shown.append(f" and {_number(len(about.files) - _FILES_SHOWN)} more")
        facts.append(("Recording" if len(about.files) == 1 else "Recordings", shown))
        if self._named:
            facts.append(("Clusters", ", ".join(name or "(no name)" for name in figures.clusters)))
        if about.filters:
            facts.append(("Only events with", el("code", " ".join(about.filters))))
        if about.redacted:
            facts.append(("Masked", "some values were masked before anything was counted"))
        return el("dl", [html(el("dt", name), el("dd", value)) for name, value in facts],
                  class_="facts")  # fmt: skip

    def _story(self) -> Html | None:
        # What all of it comes to, in a few sentences.
        total = self._totals
        bad, done = total.count(FAILED), total.count(SUCCEEDED, FAILED)
        if not done:
            return None
        long = human_duration(self._figures.last - self._figures.first)
        parts: list[Child] = [f"{_counted(done, 'task')} completed in {long}"]
        if bad:
            parts.append(f"; {_number(bad)} of them failed ({_share(bad, done)})")
            groups = self._read(lambda cluster: cluster.statistics.failures("all", self._now))
            worst = max(groups, key=lambda group: group.count, default=None)
            if worst is not None and worst.task != OTHERS:
                what = worst.exception or "a failure"
                name = _cut(worst.task, _NAME_CHARS)
                parts.append(f", most often with {what} in {name} ({_number(worst.count)})")
        parts.append(". ")
        types = self._read(lambda cluster: cluster.statistics.types("all", self._now))
        timed = [row for row in types if row.run.p95 and row.name not in (UNKNOWN, OTHERS)]
        if len(timed) > 1:
            slowest = max(timed, key=lambda row: row.run.p95)
            name, most = _cut(slowest.name, _NAME_CHARS), _duration(slowest.run.p95)
            parts.append(f"The slowest type is {name}: 95 of 100 of its tasks took up to {most}.")
        return el("p", parts, class_="story")

    def _cards(self) -> Html:
        total, figures = self._totals, self._figures
        good, bad = total.count(SUCCEEDED), total.count(FAILED)
        done = good + bad
        run, wait = total.run, total.wait
        whole = [row for row in self._rows if row.seconds >= self._width] or self._rows
        peak = max((row.count(SUCCEEDED, FAILED) / row.seconds for row in whole), default=0.0)
        workers = {
            (cluster.name, row.name)
            for cluster in figures.clusters.values()
            for row in cluster.statistics.workers("all", self._now)
        } | {
            (cluster.name, name)
            for cluster in figures.clusters.values()
            for name in cluster.state.workers
        }
        types = sum(
            bool(row.count(*range(1, 9)))
            for cluster in figures.clusters.values()
            for row in cluster.statistics.types("all", self._now)
        )
        retried = total.count(RETRIED)
        # What was done while nobody recorded is not known.
        seconds = max(1.0, total.seconds - self._about.counters.gap_seconds)
        cards = [
            ("Completed", _number(done), f"tasks of {_counted(types, 'type')}"),
            ("Failed", el("span", _number(bad), class_="bad" if bad else None),
             f"{_share(bad, done)} of those completed" if done else "none was completed"),
            ("Retries", _number(retried), "attempts tried again"),
            ("Throughput", _rate(done / seconds),
             f"peak {_rate(peak)} over {_span_words(self._width)}"),
            ("Run time", f"{_duration(run.p50)}", f"median; p95 {_duration(run.p95)}"),
            ("Wait time", f"{_duration(wait.p50)}", f"median; p95 {_duration(wait.p95)}"),
            ("Workers", _number(len(workers)), self._worker_words()),
        ]  # fmt: skip
        return el("ul", [
            el("li", el("span", label, class_="label"), el("span", figure, class_="figure"),
               el("span", more, class_="more"))
            for label, figure, more in cards
        ], class_="cards")  # fmt: skip

    def _worker_words(self) -> str:
        away = (_STATUSES["gone"], _STATUSES["offline"])
        there = sum(self._status(worker) not in away for worker in self._all_workers())
        return f"{_number(there)} there at the end"

    def _missing(self) -> Html:
        notes = list(self._what_is_missing())
        if not notes:
            return el("p", "Nothing is known to be missing in these figures.", class_="fine")
        shown = [el("li", note) for note in notes[:_NOTES_MAX]]
        more = _rest(len(notes), _NOTES_MAX, "notes")
        return el("div", el("h3", "What is not in these figures"), el("ul", shown), more,
                  class_="note")  # fmt: skip

    def _what_is_missing(self) -> Iterable[str]:
        counters, figures = self._about.counters, self._figures
        if not figures.events:
            yield "No event is in them: the recording has none, or none that was asked for."
        if counters.gaps:
            long = human_duration(counters.gap_seconds)
            together = " together" if counters.gaps > 1 else ""
            yield f"What happened in {_counted(counters.gaps, 'gap')} of{together} {long}."
        if counters.dropped:
            yield f"{_counted(counters.dropped, 'event')} that did not fit into a buffer."
        if missed := max(counters.missed, sum(map(self._missed, self._all_workers()))):
            yield (f"About {_counted(missed, 'task')} that workers have counted and of"
                   " which no event came.")  # fmt: skip
        for defect in counters.defects:
            words = defect.words(redacted=self._about.redacted)
            yield f"Parts of the recording that cannot be read: {_cut(words, _VALUE_CHARS)}"
        states = [each.state for each in figures.clusters.values()]
        if nameless := sum(state.nameless for state in states):
            yield f"{_counted(nameless, 'event')} without the task or worker they are about."
        yield from self._what_is_unknown()
        yield from self._about.notes

    def _all_workers(self) -> Iterable[Any]:
        for cluster in self._figures.clusters.values():
            yield from cluster.state.workers.values()

    def _missed(self, worker: Any) -> int:
        # With a filter most of what a worker counts is missed on purpose.
        return 0 if worker is None or self._about.filters else int(worker.missed)

    def _what_is_unknown(self) -> Iterable[str]:
        types = [
            row
            for cluster in self._figures.clusters.values()
            for row in cluster.statistics.types("all", self._now)
        ]
        unknown = sum(row.count(SUCCEEDED, FAILED) for row in types if row.name == UNKNOWN)
        if unknown:
            yield (f"The type of {_counted(unknown, 'task')} whose receipt is not in the"
                   f" recording; counted as {UNKNOWN}.")  # fmt: skip
        if any(row.name == OTHERS for row in types):
            yield (f"The names of some types: there were too many to tell them apart, and those"
                   f" that were silent for longest are counted as {OTHERS}.")  # fmt: skip
        skewed = self._totals.wait.skewed
        if skewed:
            yield (f"{_counted(skewed, 'wait')} that would be below zero, as the clocks of client"
                   " and worker differ.")  # fmt: skip
        started = self._totals.wait.count
        published = sum(
            row.published
            for cluster in self._figures.clusters.values()
            for row in cluster.statistics.queues("all", self._now)
        )
        if started and not published:
            yield ("When tasks were sent, and to which queue: task_send_sent_event is off on the"
                   " clients. Waits are from the receipt by a worker to the start.")  # fmt: skip

    # --- over time

    def _gap_spans(self) -> list[Span]:
        begin, end = self._span
        found = (
            Span(max(gap.local_received - gap.duration, begin), gap.local_received)
            for gap in self._figures.gaps
            if gap.reason in ("reconnect", "stopped")
        )
        return [each for each in found if each.last >= begin and each.first <= end]

    def _over_time(self) -> Html:
        if not self._rows or not self._totals.count(*range(9)):
            return el("p", "No event of a task.", class_="dim")
        gaps = self._gap_spans()
        per = f"one column is {_span_words(self._width)}"
        total = self._totals
        gap_key = [plots.key("gap: nothing was recorded", "s-gap")] if gaps else []
        desc = (f"{_counted(total.count(SUCCEEDED), 'task')} succeeded and"
                f" {_number(total.count(FAILED))} failed between {self._when(self._figures.first)}"
                f" and {self._when(self._figures.last)}; {per}.")  # fmt: skip
        share = _share(total.count(FAILED), total.count(SUCCEEDED, FAILED))
        more = (f"{_number(total.count(FAILED))} failures, {share} of the tasks completed, and"
                f" {_number(total.count(RETRIED))} retries; {per}.")  # fmt: skip
        parts = ("failed", "s-bad", FAILED), ("succeeded", "s-good", SUCCEEDED)
        throughput, unit = self._rates("throughput", "Tasks completed", desc, parts, gaps)
        parts = ("failed", "s-bad", FAILED), ("retried", "s-again", RETRIED)
        failures, unit_of_few = self._rates("failing", "Failures and retries", more, parts, gaps)
        return html(
            el("div", el("figure", _caption("Throughput", f"tasks completed per {unit}; {per}",
               plots.key("succeeded", "s-good"), plots.key("failed", "s-bad"), gap_key),
               throughput), class_="card"),
            el("div", el("figure", _caption("Failures and retries", f"per {unit_of_few}, to a scale"
               " of their own", plots.key("failed", "s-bad"), plots.key("retried", "s-again"),
               gap_key), failures), class_="card"),
            self._heat("run", "Run time", "from start to end, by when tasks completed", gaps),
            self._heat("wait", "Wait time", "from sending to start, without the delay of an ETA",
                       gaps),
        )  # fmt: skip

    def _rates(
        self,
        ident: str,
        title: str,
        desc: str,
        parts: Sequence[tuple[str, str, int]],
        gaps: Sequence[Span],
    ) -> tuple[Html, str]:
        # Columns of counts, and what they are per: the shortest time in which there are any.
        cells = [cell for _, _, cell in parts]
        most = max((row.count(*cells) / row.seconds for row in self._rows), default=0.0)
        unit, seconds = next((each for each in _UNITS if most * each[1] >= 1), _UNITS[-1])
        series = [
            Series(word, css, [row.count(cell) / row.seconds * seconds for row in self._rows])
            for word, css, cell in parts
        ]
        drawn = plots.stacked(ident, f"{title} per {unit}", desc, self._span, series, unit, gaps)
        return drawn, unit

    def _heat(self, what: Any, title: str, about: str, gaps: Sequence[Span]) -> Html:
        heat: Heat = heat_of(self._rows, what, plots.HEAT_ROWS)
        quantiles: Quantiles = getattr(self._totals, what)
        if not heat.rows:
            text = f"{title}: no event says how long."
            return el("div", el("p", text, class_="dim"), class_="card")
        found = [getattr(row, what) for row in self._rows]
        curves = (
            Series("median", "l-p50", [each.p50 for each in found]),
            Series("p95", "l-p95", [each.p95 for each in found]),
        )
        most = max(count for column in heat.columns for count in column.values())
        desc = (f"{_counted(quantiles.count, 'duration')}: median {_duration(quantiles.p50)},"
                f" p95 {_duration(quantiles.p95)}, p99 {_duration(quantiles.p99)}, longest"
                f" {_duration(quantiles.max)}.")  # fmt: skip
        drawn = plots.heat_map(what, f"{title} over time", desc, self._span, heat, curves, gaps)
        shades = [
            el("rect", x=12 * number, y=0, width=12, height=12, class_=f"h{number + 1}")
            for number in range(plots.SHADES)
        ]
        scale = el(
            "span", "1 ", el("svg", shades, viewBox=f"0 0 {12 * plots.SHADES} 12",
            class_="shades", aria_hidden="true"), f" {_number(most)} tasks", class_="key shaded",
        )  # fmt: skip
        caption = _caption(title, about, scale, plots.key("median", "l-p50", line=True),
                           plots.key("p95", "l-p95", line=True))  # fmt: skip
        return el("div", el("figure", caption, drawn), class_="card")

    # --- types

    def _cluster_column(self) -> list[_Column]:
        if not self._named:
            return []
        return [_Column("Cluster", lambda row: _name(row.cluster or "-"),
                        lambda row: row.cluster, css="")]  # fmt: skip

    def _read(self, read: Callable[[Any], Iterable[Any]]) -> list[Any]:
        rows = []
        for cluster in self._figures.clusters.values():
            for row in read(cluster):
                row.cluster = cluster.name
                rows.append(row)
        return rows

    def _types(self) -> Html:
        found = self._read(lambda cluster: cluster.statistics.types("all", self._now))
        rows = [row for row in found if row.count(*range(1, 9))]
        if not rows:
            return el("p", "No task was received.", class_="dim")
        rows.sort(key=lambda row: (-(row.run.p95 or -1.0), -row.count(SUCCEEDED, FAILED), row.name))
        read, figures = self._figures.of_types.read, self._figures

        def spark(row: Any) -> Html:
            slots = read((row.cluster, row.name), figures.first, figures.last)
            return plots.spark(
                slots, lambda one: one.count(SUCCEEDED), lambda one: one.count(FAILED)
            )

        columns = [
            _Column("Task", lambda row: _name(row.name), lambda row: _sorted(row.name), "name"),
            *self._cluster_column(),
            _Column("Completed", lambda row: _number(row.count(SUCCEEDED, FAILED)),
                    lambda row: row.count(SUCCEEDED, FAILED)),
            _count_of("Failed", FAILED, css="bad"),
            _Column("Fail %", _failure_share, lambda row: row.failure_share),
            _count_of("Retried", RETRIED, css="again"),
            *(_of_quantiles("Run", name) for name in _PERCENTILES),
            *(_of_quantiles("Wait", name) for name in _PERCENTILES),
            _Column("Over time", spark, css="over",
                    about="succeeded and failed, each row to a scale of its own"),
        ]  # fmt: skip
        top = self._about.top
        return html(
            el("p", "p95: 95 of 100 tasks took no longer. Percentiles are exact to 5 %, the"
               " longest is exact.", class_="lead"),
            _table(columns, rows[:top], "Task types"),
            _rest(len(rows), top, "types"),
        )  # fmt: skip

    # --- failures

    def _failures(self) -> Html:
        groups = self._read(lambda cluster: cluster.statistics.failures("all", self._now))
        if not groups:
            return el("p", "None.", class_="dim")
        groups.sort(key=lambda group: (-group.count, group.name))
        total, top = sum(group.count for group in groups), self._about.top
        return html(
            el("p", f"{_counted(total, 'failure')} in {_counted(len(groups), 'group')}: those of a"
               " group differ only in numbers, ids and quotations, which are shown as *.",
               class_="lead"),
            [
                self._failure(group, total, with_sample=at < _SAMPLES_MAX)
                for at, group in enumerate(groups[:top])
            ],
            _rest(len(groups), top, "groups of failures"),
        )  # fmt: skip

    def _failure(self, group: Any, total: int, *, with_sample: bool) -> Html:
        workers = sorted(group.workers)
        named = [html(", " if at else "", _name(name, 80))
                 for at, name in enumerate(workers[:_WORKERS_NAMED])]  # fmt: skip
        if len(workers) > _WORKERS_NAMED:
            named.append(html(f" and {len(workers) - _WORKERS_NAMED} more"))
        first, last = self._when(group.first), self._when(group.last)
        times = f"at {first}" if first == last else f"from {first} to {last}"
        what = group.exception or ("failures of other kinds" if group.task == OTHERS else "Failed")
        message = _cut(group.message, _MESSAGE_CHARS)
        sample: list[Child] = []
        if group.sample and with_sample:
            sample.append(el("p", "The last one: ", el("code", _cut(group.sample, _MESSAGE_CHARS)),
                             f" in task {group.uuid[:64]}"))  # fmt: skip
        if group.traceback and with_sample:
            if len(group.traceback) == TRACEBACK_CHARS:
                sample.append(el("p", "The end of its traceback:", class_="dim"))
            sample.append(lines(group.traceback))
        elif sample:
            sample.append(el("p", "Its event had no traceback.", class_="dim"))
        return el(
            "div",
            el("h3", el("b", _number(group.count)), el("span", what, ": " if message else None,
               el("span", message))),
            el("p", _cut(group.task, _NAME_CHARS),
               f" in {group.cluster}" if group.cluster else None,
               f" \N{MIDDLE DOT} {_share(group.count, total)} of all failures"
               f" \N{MIDDLE DOT} {times}",
               html(" \N{MIDDLE DOT} on ", named) if named else None, class_="dim"),
            el("details", el("summary", "Sample and traceback"), sample) if sample else None,
            class_="card error",
        )  # fmt: skip

    # --- the slowest tasks

    def _slowest(self) -> Html:
        found = self._figures.slowest()
        if not found:
            return el("p", "No event says how long a task ran.", class_="dim")
        columns = [
            _Column("Run", lambda row: _duration(row[0]), lambda row: row[0]),
            _Column("Wait", lambda row: _duration(row[1].wait), lambda row: row[1].wait),
            _Column("Task", lambda row: _name(row[1].name), lambda row: _sorted(row[1].name or ""),
                    "name"),
            *([_Column("Cluster", lambda row: _name(row[2].name or "-"), css="")]
              if self._named else []),
            _Column("Id", lambda row: _cut(row[1].uuid, 40), css="id nowrap"),
            _Column("State", lambda row: _state(row[1]), css=""),
            _Column("Worker", lambda row: _name(row[1].worker_name), css=""),
            _Column("Ended", lambda row: self._when(row[1].local_received),
                    lambda row: row[1].local_received, css="n"),
            _Column("Arguments", lambda row: _arguments(row[1]), css="name"),
        ]  # fmt: skip
        return html(
            _table(columns, found, "The slowest tasks"),
            [
                self._workflow(task, cluster, family)
                for task, cluster, family in self._chosen(found)
            ],
        )

    def _chosen(self, found: Sequence[Any]) -> Iterable[tuple[Task, Any, Family]]:
        # The workflow of the slowest task; and where it stands alone, of the slowest that does not.
        _, task, cluster = found[0]
        family = cluster.slowest.family(task, cluster.state)
        yield task, cluster, family
        if len(family.members) == 1:
            others = [
                (seconds, task, each)
                for each in self._figures.clusters.values()
                for seconds, task in each.sent_by_others.tasks.values()
            ]
            for _, task, each in sorted(others, key=lambda one: -one[0])[:1]:
                yield task, each, each.sent_by_others.family(task, each.state)

    def _workflow(self, task: Task, cluster: Any, family: Family) -> Html:
        clocks = Clocks()
        clients = cluster.state.clients
        drawn = {
            member.uuid: list(pieces(member, clients, self._now, clocks))
            for member, _ in family.members
        }
        moments = [
            moment
            for each in drawn.values()
            for since, started, end, _ in each
            for moment in (since, started, end)
            if moment is not None
        ]
        if not moments:
            return el("p", "No event of it has a time.", class_="dim")
        span = Span(min(moments), max(moments))
        span = span if span.last > span.first else Span(span.first, span.first + 1.0)
        rows = [self._step(member, prefix, drawn[member.uuid], span, member is task)
                for member, prefix in family.members]  # fmt: skip
        shown = len(family.members)
        of = f" of {_number(family.total)}" if family.total > shown else ""
        words = f"{_number(shown)}{of} {'task' if shown == 1 and not of else 'tasks'}"
        long = human_duration(max(moments) - min(moments))
        title = f"Workflow of {sanitize(elide_middle((task.name or '?')[:_NAME_CHARS], 60))}"
        notes = [f"{words}, {long} from the first event to the last, by the senders' clocks."]
        notes += [
            f"The clock of {_cut(sender, 60)} is {human_duration(abs(skew))}"
            f" {'ahead' if skew > 0 else 'behind'}; its times are corrected."
            for sender, skew in islice(clocks.items(), 3)
        ]
        if len(clocks) > 3:  # noqa: PLR2004
            notes.append(f"{len(clocks) - 3} more clocks are corrected.")
        if cluster.state.evicted:
            notes.append("What ended long before the end is forgotten: some of it may be missing.")
        used = {piece.outcome for each in drawn.values() for piece in each}
        keys = [plots.key("waits", "s-wait"), plots.key("runs", "s-good")]
        keys += [plots.key("failed or stopped", "s-bad")] if "failed" in used else []
        keys += [plots.key("to be retried", "s-again")] if "retried" in used else []
        keys += [plots.key("unknown since", "s-unknown")] if "unknown" in used else []
        return el(
            "div", el("figure",
                _caption(title, " ".join(notes), keys),
                el("div",
                   el("div", class_="task axis-name"), el("div", _axis(span), class_="bar"), rows,
                   class_="steps"),
            ), class_="card",
        )  # fmt: skip

    def _step(
        self,
        task: Task,
        prefix: str,
        found: Sequence[Piece],
        span: Span,
        chosen: bool,  # noqa: FBT001
    ) -> Html:
        drawn = []
        for piece in found:
            if piece.since is not None:
                until = piece.end if piece.started is None else piece.started
                drawn.append(plots.bar(span, piece.since, until, "s-wait", thin=True))
            if piece.started is not None:
                css = _BAR_CSS[piece.outcome]
                drawn.append(plots.bar(span, piece.started, piece.end, css, thin=False))
        attempts = f", {len(found)} attempts" if len(found) > 1 else ""
        ran, waited = task.runtime, task.wait
        facts = [_state(task, self._now)]
        facts += [f"ran {_duration(ran)}"] if ran is not None else []
        facts += [f"waited {_duration(waited)}"] if waited is not None else []
        shown = f"{', '.join(facts)}{attempts}"
        return html(
            el("div", el("span", prefix, class_="tree"), _name(task.name, 120),
               el("span", el("span", prefix.replace("├─ ", "│  ").replace("└─ ", "   "),
               class_="tree"), shown, class_="times"),
               class_="task chosen" if chosen else "task"),
            el("div", el("svg", drawn, height=20, role="img", aria_label=shown), class_="bar"),
        )  # fmt: skip

    # --- workers, queues, gaps

    def _workers(self) -> Html:
        rows = []
        for cluster in self._figures.clusters.values():
            counted = {row.name: row for row in cluster.statistics.workers("all", self._now)}
            for name in {**counted, **cluster.state.workers}:
                figures = counted.get(name)
                worker = cluster.state.workers.get(name)
                rows.append(_WorkerRow(name, cluster.name, figures or Totals(name, {}, 1.0), worker,
                                       self._missed(worker)))  # fmt: skip
        if not rows:
            return el("p", "No worker was seen.", class_="dim")
        rows.sort(key=lambda row: (-row.count(SUCCEEDED, FAILED), row.name))
        top = self._about.top
        columns = [
            _Column("Worker", lambda row: _name(row.name), lambda row: _sorted(row.name), "name"),
            *self._cluster_column(),
            _Column("At the end", lambda row: self._status(row.worker),
                    lambda row: self._status(row.worker),
                    "nowrap"),
            _Column("Completed", lambda row: _number(row.count(SUCCEEDED, FAILED)),
                    lambda row: row.count(SUCCEEDED, FAILED)),
            _count_of("Failed", FAILED, css="bad"),
            _Column("Fail %", _failure_share, lambda row: row.failure_share),
            *(_of_quantiles("Run", name) for name in _PERCENTILES),
            *([_Column("Not seen", lambda row: _number(row.missed) if row.missed else "",
                       lambda row: row.missed, about="tasks that it counted, of which no event"
                       " came")] if any(row.missed for row in rows) else []),
            _Column("Last event", lambda row: self._when(row.last), lambda row: row.last),
            *([_Column("Software", lambda row: row.software, css="nowrap")]
              if any(row.software for row in rows) else []),
        ]  # fmt: skip
        return html(_table(columns, rows[:top], "Workers"), _rest(len(rows), top, "workers"))

    def _status(self, worker: Any) -> str:
        if worker is None:
            return "forgotten"
        status: str = worker.status(self._now)
        if status in ("silent", "busy?") and self._now - worker.local_received > LIVENESS.leave:
            status = "gone"
        return _STATUSES.get(status, status)

    def _queues(self) -> Html:
        rows = self._read(lambda cluster: cluster.statistics.queues("all", self._now))
        if not rows:
            return el("p", "No task was sent or received.", class_="dim")
        rows.sort(key=lambda row: (-(row.published + row.received), row.name))
        top = self._about.top
        columns = [
            _Column("Queue", lambda row: _name(row.name), lambda row: _sorted(row.name), "name"),
            *self._cluster_column(),
            _Column("Sent", lambda row: _number(row.published), lambda row: row.published),
            _Column("Received", lambda row: _number(row.received), lambda row: row.received),
            _Column("Waiting at the end", _backlog, lambda row: row.backlog,
                    about="sent in the recording, and not received until its end"),
            *(_of_quantiles("Wait", name) for name in _PERCENTILES),
            _Column("Received by", _receivers, css="name"),
        ]  # fmt: skip
        reasons = dict.fromkeys(row.backlog_reason for row in rows if row.backlog_reason)
        return html(
            _table(columns, rows[:top], "Queues"),
            _rest(len(rows), top, "queues"),
            [el("p", f"Waiting: {reason}.", class_="rest") for reason in reasons],
        )

    def _gap_table(self) -> Html:
        figures, top = self._figures, self._about.top
        if not figures.gap_count:
            return el("p", "None were recorded.", class_="dim")
        columns = [
            _Column("From", lambda gap: self._when(gap.local_received - gap.duration),
                    lambda gap: gap.local_received - gap.duration),
            _Column("To", lambda gap: self._when(gap.local_received),
                    lambda gap: gap.local_received),
            _Column("Length", lambda gap: human_duration(gap.duration), lambda gap: gap.duration),
            _Column("Why", lambda gap: _GAPS.get(gap.reason, _cut(gap.reason, 60)), css=""),
            _Column("What is lost", _loss, css=""),
            _Column("Whose", lambda gap: " ".join(filter(None, (
                gap.cluster or "", _cut(gap.hostname or "", _NAME_CHARS)))), css="name"),
        ]  # fmt: skip
        return html(
            _table(columns, figures.gaps[:top], "Gaps"),
            _rest(figures.gap_count, min(top, len(figures.gaps)), "gaps"),
        )

    def _footer(self) -> Html:
        terms = (
            ("Completed", _COMPLETED),
            ("Run", _RUN),
            ("Wait", _WAIT),
            ("Time", f"when the recorder received events, in {self._zone()}."),
        )
        made = f"Made by evtools {__version__} at {stamp(self._about.made)}."
        return el("footer", el("dl", [html(el("dt", one), el("dd", two)) for one, two in terms]),
                  el("p", made))  # fmt: skip


class _WorkerRow:
    # A worker: its figures, and what the state knows of it, if it remembers it.
    def __init__(self, name: str, cluster: str, figures: Any, worker: Any, missed: int) -> None:
        self.name, self.cluster, self.worker = name, cluster, worker
        self.count, self.run = figures.count, figures.run
        self.failure_share: float | None = figures.failure_share
        self.missed = missed
        self.last: float | None = None if worker is None else worker.local_received
        ident = worker and " ".join(filter(None, (worker.sw_ident, worker.sw_ver)))
        self.software: str = _cut(str(ident or ""), 60)


def _sorted(name: str) -> str:
    return _cut(name, 60).casefold()


def _failure_share(row: Any) -> Child:
    share: float | None = row.failure_share
    if share is None:
        return "-"
    return el("span", _share(share, 1.0), class_="bad" if share else "dim")


def _state(task: Task, now: float = -math.inf) -> str:
    if now > 0 and task.lost(now):
        return "lost?"
    return _STATES.get(task.state, task.state)


def _arguments(task: Task) -> Child:
    given = [text for text in (task.args, task.kwargs) if text and text not in ("()", "{}")]
    return el("code", _cut(" ".join(given), 120)) if given else "-"


def _backlog(row: Any) -> str:
    if row.backlog is None:
        return "?"
    return f"{_number(row.backlog)}{'+' if row.backlog_reason else ''}"


def _receivers(row: Any) -> Child:
    counts = sorted(row.received_by.items(), key=lambda each: (-each[1], each[0]))
    named: list[Child] = []
    for name, count in counts[:_WORKERS_NAMED]:
        named += [", " if named else None, _name(name, 80), f" {human_count(count)}"]
    if len(counts) > _WORKERS_NAMED:
        named.append(f" and {len(counts) - _WORKERS_NAMED} more")
    return named or "-"


def _loss(gap: Any) -> str:
    parts = [
        f"{_counted(gap.dropped, 'event')}" if gap.dropped else "",
        f"about {_counted(gap.missed, 'task')}" if gap.missed else "",
    ]
    return ", ".join(filter(None, parts)) or "not known"


def _caption(title: str, about: str, *keys: Child) -> Html:
    return el("figcaption", el("h3", title), el("small", about), keys)


def _axis(span: Span) -> Html:
    # The labels above the bars of a workflow.
    return el("svg", plots.time_axis(span, 14), height=20, aria_hidden="true")


def _span_words(seconds: float) -> str:
    for unit, word in ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= unit and seconds % unit == 0:
            count = round(seconds / unit)
            return f"one {word}" if count == 1 else f"{count} {word}s"
    return human_duration(seconds)
