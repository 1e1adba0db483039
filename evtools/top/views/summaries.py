"""Summaries: one row for each task type, worker, queue and kind of failure."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, ClassVar, Final

from evtools.filters import Kind, quote, quote_pattern
from evtools.state import OTHERS, UNKNOWN, State, Statistics
from evtools.text import human_age, human_count, human_duration, sanitize
from evtools.top.columns import UNKNOWN as NOTHING
from evtools.top.columns import Column, RenderContext, column, known
from evtools.top.survey import Reply, Survey, WorkerFacts
from evtools.top.table import Detail, TableModel, paragraph
from evtools.top.ui.theme import ASCII, UNICODE
from evtools.top.views.worker import worker_page, worker_report
from evtools.transport.queues import Depth


class Fields(SimpleNamespace):
    """A row as it was at one moment, and its statistics, if there are any, as `figures`."""

    def get(self, name: str) -> Any:
        """Return the field that a filter asks for, None if there is none of that name."""
        return getattr(self, name, getattr(self.figures, name, None))


def _figure(name: str, default: Any = None) -> Callable[[Any, float], Any]:
    # Asked for when a cell is drawn: a quantile is work, and a screen shows few rows.
    get = attrgetter(name)
    return lambda row, _: default if row.figures is None else get(row.figures)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100.0 * share


class _Summary(TableModel):
    # A table of the statistics in a window.

    #: The field of a task that has the key of a row.
    field: ClassVar = "name"

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        super().__init__()

    def drill(self, key: str) -> tuple[str, str] | None:
        """Return the tasks of a row, as far as they are remembered."""
        if key == OTHERS:
            return None
        return "tasks", f"-has:{self.field}" if key == UNKNOWN else f"{self.field}={quote(key)}"


# --- types ----------------------------------------------------------------------

_SPARK_COLS: Final = 12


def _spark(values: Sequence[float], context: RenderContext) -> str:
    # At most as many values as there are columns: averages of neighbours.
    size = max(1, -(-len(values) // _SPARK_COLS))
    parts = [values[start : start + size] for start in range(0, len(values), size)]
    glyphs = ASCII if context.ascii else UNICODE
    return glyphs.spark([sum(part) / len(part) for part in parts])


def _counted(state: str) -> Callable[[Any, float], int]:
    return lambda row, _: row.counts.get(state, 0)


class TypesView(_Summary):
    """One row for each type of task: how often, how long, how many failures."""

    name = "types"
    default_sort = "share"
    columns: tuple[Column, ...] = ()

    def __init__(self, statistics: Statistics) -> None:
        # fmt: off
        self.columns = (
            column("name", "name", "TASK", "the type of task", "name", cols=20),
            column("rate", "rate", "RATE", "completed per second", "rate"),
            column("count", "ok", "OK", "succeeded", _counted("succeeded"), cols=5),
            column("percent", "share", "FAIL%", "failures among those completed, in per cent",
                lambda row, _: _percent(row.failure_share)),
            column("count", "failed", "FAIL", "failed", _counted("failed"), from_cols=140),
            column("count", "retried", "RETRY", "retries", _counted("retried")),
            column("count", "active", "ACTIVE", "running now", "running"),
            column("duration", "wait_p95", "WAIT p95", "95 % waited no longer to start", "wait.p95",
                from_cols=100),
            column("duration", "run_p50", "RUN p50", "50 % ran no longer", "run.p50", from_cols=90),
            column("duration", "run_p95", "p95", "95 % ran no longer", "run.p95"),
            column("duration", "run_p99", "p99", "99 % ran no longer", "run.p99", from_cols=100),
            column("duration", "run_max", "MAX", "the longest run time", "run.max", from_cols=100),
            column("text", "trend", "RATE 5m",
                "rate over 5 minutes, each row to a scale of its own",
                lambda row, now: statistics.trend(row.name, now), format=_spark,
                order=lambda row, _: row.rate, kind=Kind.OTHER, cols=_SPARK_COLS, from_cols=110,
                descending=True),
        )
        # fmt: on
        super().__init__(statistics)

    def load(self) -> None:
        rows = self._statistics.types(self.context.window, self.context.now)
        self.rows = {row.name: row for row in rows}

    def style_of(self, subject: Any) -> str:
        return "failure" if subject.counts.get("failed") else ""


# --- workers --------------------------------------------------------------------

#: The fields of a worker that its row has, too.
_OF_WORKER: Final = ("hostname", "processed", "skew", "missed", "pid", "freq")
#: From this number of seconds on, the skew of a clock is marked.
_SKEW_MARKED: Final = 5.0
#: Status: its style; in the order in which they sort.
_STATUSES: Final = {
    "gone": "failure", "busy?": "late", "late": "late", "silent": "waiting", "offline": "gone",
    "online": "good",
}  # fmt: skip
_RANKS: Final = {status: rank for rank, status in enumerate(_STATUSES)}


def _is_shared(row: Any) -> bool:
    return row.status == "online" and (row.processes or 0) > 1


def _silence(row: Any, now: float) -> float:
    return max(0.0, now - float(row.seen))


def _status(row: Any, context: RenderContext) -> str:
    if _is_shared(row):
        return f"{row.processes} processes"
    if row.status in ("late", "busy?", "gone"):
        return f"{row.status} {human_age(_silence(row, context.now))}"
    return str(row.status)


def _active(row: Any, _: RenderContext) -> str:
    if row.active is None:
        return NOTHING
    return human_count(row.active) if row.pool is None else f"{row.active}/{row.pool}"


def _skew(seconds: float) -> str:
    mark = " !" if abs(seconds) >= _SKEW_MARKED else ""
    return f"{'-' if seconds < 0 else '+'}{human_duration(abs(seconds))}{mark}"


_UNASKED: Final = WorkerFacts()


class WorkersView(_Summary):
    """One row for each worker."""

    name = "workers"
    default_sort = "status"
    field = "worker"
    offers = ("worker", "status")
    # fmt: off
    columns = (
        column("name", "worker", "WORKER", "its node name", "hostname", cols=18),
        column("text", "status", "STATUS",
            "online, late (2 beats missed), gone, offline, silent: sends no heartbeats,"
            " busy?: gone or in a task, N processes: that many use its name",
            "status", cols=11, order=lambda row, _: _RANKS[row.status], format_row=_status),
        column("duration", "beat", "BEAT AGE", "time since its last event", _silence),
        column("count", "active", "ACTIVE", "running now, of as many as its pool has", "active",
            format_row=_active, cols=7),
        column("count", "pool", "POOL", "size of its pool, once asked", "pool", from_cols=140),
        column("count", "processed", "PROCESSED", "started since the worker was started",
            "processed", format=known("{:.0f}".format), cols=10, from_cols=100),
        column("count", "load", "LOAD 1/5/15", "load of its host over 1, 5 and 15 minutes",
            lambda row, _: row.load[0] if row.load else None,
            format_row=lambda row, _: " ".join(map("{:.1f}".format, row.load)) or NOTHING,
            cols=13, from_cols=100),
        column("rate", "ok", "OK", "succeeded per second", _figure("ok_rate", 0.0)),
        column("percent", "share", "FAIL%", "failures among those completed, in per cent",
            lambda row, _: _percent(getattr(row.figures, "failure_share", None))),
        column("duration", "run_p95", "RUN p95", "95 % ran no longer", _figure("run.p95"),
            from_cols=130),
        column("duration", "skew", "SKEW", "how far its clock is ahead of ours", "skew",
            format=known(_skew), cols=8,
            order=lambda row, _: None if row.skew is None else abs(row.skew)),
        column("count", "missed", "MISSED", "tasks it started of which no events came", "missed",
            from_cols=120),
        column("count", "processes", "PROCS",
            "processes that use its name, by their heartbeats; more than one is a mistake",
            "processes", from_cols=140),
        column("name", "queues", "QUEUES", "the queues it consumes, once asked", "queues",
            format=known(", ".join), order=lambda row, _: row.queues and row.queues[0],
            kind=Kind.OTHER, cols=10, max_cols=40, from_cols=120),
        column("text", "version", "VERSION", "the software it runs", "version", cols=15,
            from_cols=100),
    )
    # fmt: on

    def __init__(self, statistics: Statistics, state: State) -> None:
        self._state = state
        #: What the workers are asked, if they are.
        self.survey: Survey | None = None
        super().__init__(statistics)

    def load(self) -> None:
        now, rows = self.context.now, {}
        asked = {} if self.survey is None else self.survey.workers
        figures = {each.name: each for each in self._statistics.workers(self.context.window, now)}
        for name, worker in self._state.workers.items():
            status = worker.status(now)
            software = " ".join(filter(None, (worker.sw_ident, worker.sw_ver)))
            facts = asked.get(name, _UNASKED)
            rows[name] = Fields(
                **{name: getattr(worker, name) for name in _OF_WORKER},
                status=status,
                seen=worker.local_received,
                # What it reported last to be running no longer is.
                active=worker.active if status not in ("offline", "gone") else None,
                load=worker.loadavg or (),
                figures=figures.get(name),
                version=software or None,
                system=worker.sw_sys,
                processes=worker.processes(now) or None,
                pool=facts.pool,
                queues=None if facts.queues is None else list(facts.queues),
            )
        self.rows = rows

    def detail_of(self, subject: Any) -> Detail:
        detail, survey = super().detail_of(subject), self.survey
        if survey is None:
            return detail
        name = subject.hostname
        replies = survey.replies if survey.page == name else {}
        p95 = self._p95(self.context.now)
        return worker_page(name, (), detail.sections["Info"], replies, p95, self.context)

    def report(self, name: str, replies: Mapping[str, Reply], now: float) -> Iterator[str]:
        """Yield the lines of a report on a worker, with what it `replies` to commands."""
        subject = self.subject(name)
        info = () if subject is None else super().detail_of(subject).sections["Info"]
        context = replace(self.context, now=now)
        return worker_report(name, info, replies, self._p95(now), context)

    def _p95(self, now: float) -> Callable[[str], float | None]:
        types = {row.name: row for row in self._statistics.types("all", now)}
        return lambda name: None if name not in types else types[name].run.p95

    def news(self) -> str:
        survey = self.survey
        if survey is None or not survey.replied_at:
            return super().news()
        age = human_age(max(0.0, self.context.now - survey.replied_at))
        text = f"{survey.replied} of {survey.expected} replied {age} ago"
        if survey.error:
            text = sanitize(f"they could not be asked: {survey.error}")
        return ", ".join(filter(None, (super().news(), text)))

    def notes(self) -> list[str]:
        """Return what the filter could not see, and how many workers have left the table."""
        left = self._state.departed
        return super().notes() + ([f"{left} workers that have left are not shown"] if left else [])

    def style_of(self, subject: Any) -> str:
        return "late" if _is_shared(subject) else _STATUSES[subject.status]


# --- queues ---------------------------------------------------------------------


def _with_reason(count: int | None, reason: str) -> str:
    # Why it is unknown or not exact.
    if count is None:
        return f"? {reason}" if reason else NOTHING
    return f"{human_count(count)} {reason}".rstrip()


def _backlog(row: Any, _: RenderContext) -> str:
    if row.figures is None:
        return "? no event names it"
    return _with_reason(row.figures.backlog, row.figures.backlog_reason)


# fmt: off
_QUEUES: Final = (
    column("name", "name", "NAME", "the queue", "name", cols=16),
    column("count", "consumers", "CONSUMERS", "workers that received from it",
        lambda row, _: (row.figures or row.depth).consumers),
    column("rate", "published", "PUBLISHED", "sent to it per second", _figure("published_rate")),
    column("rate", "received", "RECEIVED", "received from it per second", _figure("received_rate")),
    column("duration", "wait_p95", "WAIT p95", "95 % waited no longer to start",
        _figure("wait.p95")),
    column("count", "depth", "DEPTH", "messages that the broker has ready", "depth.messages",
        format_row=lambda row, _: _with_reason(row.depth.messages, row.depth.reason),
        align="left", cols=8, flex=1, max_cols=40),
    column("count", "backlog", "BACKLOG", "sent and not received yet, by their events",
        _figure("backlog"), format_row=_backlog, align="left", cols=12, flex=2, max_cols=80),
)
# fmt: on
_WITHOUT_DEPTH: Final = tuple(column for column in _QUEUES if column.name != "depth")


class QueuesView(_Summary):
    """One row for each queue named by events or the broker.

    `depths` is what the broker answered, empty if it is not asked.
    """

    name = "queues"
    default_sort = "backlog"
    field = "queue"
    depths: Mapping[str, Depth] = {}

    @property
    def columns(self) -> tuple[Column, ...]:
        return _QUEUES if self.depths else _WITHOUT_DEPTH

    def load(self) -> None:
        figures = self._statistics.queues(self.context.window, self.context.now)
        rows = {
            each.name: Fields(name=each.name, figures=each, depth=Depth(None)) for each in figures
        }
        for name, depth in self.depths.items():
            rows.setdefault(name, Fields(name=name, figures=None)).depth = depth
        self.rows = rows


# --- errors ---------------------------------------------------------------------

#: How much of a message goes into a filter.
_MESSAGE_CHARS: Final = 200


class ErrorsView(_Summary):
    """One row for each kind of failure: failures that differ only in details."""

    name = "errors"
    default_sort = "count"
    offers = ("name", "exc")
    # fmt: off
    columns = (
        column("count", "count", "COUNT", "number of failures", "count"),
        column("rate", "rate", "RATE", "failures per second", "rate"),
        column("time", "first", "FIRST", "when it was first seen", "first"),
        column("time", "last", "LAST", "when it was last seen", "last"),
        column("name", "workers", "WORKERS", "where: the worker, or how many",
            lambda row, _: sorted(row.workers),
            format=lambda names, _: names[0] if len(names) == 1 else str(len(names)),
            order=lambda row, _: len(row.workers),
            kind=Kind.OTHER, cols=8, max_cols=24, from_cols=100, descending=True),
        column("name", "name", "TASK", "the type of task", "task", cols=16),
        column("text", "exc", "EXCEPTION", "the exception, * for its variable parts",
            lambda row, _: f"{row.exception}: {row.message}" if row.message else row.exception,
            cols=20, flex=3),
    )
    # fmt: on

    def load(self) -> None:
        # No part of a key contains what joins them.
        self.rows = {
            f"{group.task}\0{group.exception}\0{group.message}": group
            for group in self._statistics.failures(self.context.window, self.context.now)
        }

    def style_of(self, subject: Any) -> str:  # noqa: ARG002  (all rows are alike)
        return "failure"

    def drill(self, key: str) -> tuple[str, str] | None:
        group = self.subject(key)
        found = super().drill(group.task) if group is not None else None
        if found is None:
            return None
        if not group.sample.startswith(group.exception):
            # The event had a wrapper, and its traceback the exception itself.
            return "tasks", f"{found[1]} tb:{quote(group.exception)}"
        parts = [group.exception, *group.message[:_MESSAGE_CHARS].split("*")]
        # Blanks need no escape.
        escaped = [re.escape(part).replace("\\ ", " ") for part in parts if part]
        return "tasks", f"{found[1]} exc~{quote_pattern('^' + '.*'.join(escaped))}"

    def detail_of(self, subject: Any) -> Detail:
        sections = super().detail_of(subject).sections
        info = list(sections["Info"])
        for title, texts in (("sample", [subject.sample]), ("workers", sorted(subject.workers))):
            info += ["", title, *(f"  {line}" for text in texts for line in paragraph(text))]
        title = f"{paragraph(subject.task)[0]} {paragraph(subject.exception)[0]}"
        return Detail(title, (), {**sections, "Info": tuple(info)})
