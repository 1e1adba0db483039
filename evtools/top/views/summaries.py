"""Summaries: one row for each task type, worker, queue and kind of failure."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, ClassVar, Final, Literal

from evtools.clock import Clock
from evtools.filters import FieldTable, Kind, quote, quote_pattern
from evtools.rows import (
    ERRORS,
    TYPES,
    WORKERS,
    Fields,
    error_rows,
    fields_of,
    figure,
    percent,
    silence,
    type_rows,
    worker_rows,
)
from evtools.state import OTHERS, UNKNOWN, Schedule, Statistics, Totals
from evtools.text import human_age, human_count, human_duration, sanitize
from evtools.top.clusters import CLUSTER, Cluster, Clusters, row_key
from evtools.top.columns import UNKNOWN as NOTHING
from evtools.top.columns import Column, RenderContext, as_text, column, column_of, known
from evtools.top.options import COMPARES, Window
from evtools.top.survey import Reply
from evtools.top.table import Detail, TableModel, labelled, paragraph
from evtools.top.ui.theme import ASCII, UNICODE
from evtools.top.views.tasks import DUE, STATES, state_of
from evtools.top.views.worker import GONE, last_signs, last_tasks, worker_page, worker_report


class Summary(TableModel):
    """A table of the statistics in a window."""

    #: The field of a task that has the name of a row.
    field: ClassVar = "name"
    #: The columns but for that of the cluster.
    own_columns: tuple[Column, ...] = ()

    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters
        super().__init__()

    @property
    def columns(self) -> tuple[Column, ...]:
        return self._clusters.column(self.own_columns)

    @property
    def fields(self) -> FieldTable:
        """The columns, and as in tasks the cluster, also before a recording has named one."""
        columns = {one.name: one for one in (CLUSTER, *self.columns)}
        return fields_of(columns.values(), self.now_of)

    def each(self, read: Callable[[Statistics, Window, float], Iterable[Any]]) -> dict[str, Any]:
        """Return what `read` returns for all clusters, up to when each is known, by key."""
        window, now, rows = self.context.window, self.context.now, dict[str, Any]()
        for cluster in self._clusters.values():
            rows.update(cluster.own(read(cluster.statistics, window, cluster.as_of(now))))
        return rows

    def drill(self, key: str) -> tuple[str, str] | None:
        """Return the tasks of a row, as far as they are remembered."""
        row = self.subject(key)
        return None if row is None else self.tasks_of(row.name, row.cluster)

    def tasks_of(self, name: str, cluster: str) -> tuple[str, str] | None:
        """Return the view and filter of the tasks of that name in a cluster, if there can be."""
        if name == OTHERS:
            return None
        of_cluster = f" cluster={quote(cluster)}" if cluster else ""
        field = self.field
        return "tasks", (
            f"-has:{field}" if name == UNKNOWN else f"{field}={quote(name)}"
        ) + of_cluster


# --- types ----------------------------------------------------------------------

#: From this change of the p95 on, in per cent, a type is marked.
_SLOWER_MARKED: Final = 50.0


def _change(now: float | None, before: float | None) -> float | None:
    # In per cent; None where one is not known.
    return None if now is None or not before else 100.0 * (now - before) / before


#: From these shares of failures on, and these changes of a p95, both in per cent, and from the
#: latter's opposite on, figures have a colour.
_FAILS_SOME, _FAILS_MUCH = 5.0, 25.0
_CHANGED_SOME, _CHANGED_MUCH = 20.0, 50.0


def _tint_of_share(share: float | None) -> str:
    if share is None or share < _FAILS_SOME:
        return ""
    return "failure" if share >= _FAILS_MUCH else "late"


def _tint_of_change(change: float | None) -> str:
    if change is None or abs(change) < _CHANGED_SOME:
        return ""
    return "good" if change < 0 else "failure" if change >= _CHANGED_MUCH else "late"


#: How wide a sparkline is.
SPARK_COLS: Final = 12


def spark_text(values: Sequence[float | None] | None, context: RenderContext) -> str:
    """Return a sparkline of values, `-` where there are none.

    Of more than it has columns, which are then all known, it shows averages of neighbours.
    """
    if values is None:
        return NOTHING
    glyphs = ASCII if context.ascii else UNICODE
    if len(values) <= SPARK_COLS:
        return glyphs.spark(values)
    size = max(1, -(-len(values) // SPARK_COLS))
    known_values = [value or 0.0 for value in values]
    parts = [known_values[start : start + size] for start in range(0, len(values), size)]
    return glyphs.spark([sum(part) / len(part) for part in parts])


def trend_column(
    clusters: Clusters,
    kind: Literal["types", "workers", "queues", "errors"],
    about: str,
    order: Callable[[Any, float], Any],
    *,
    from_cols: int,
) -> Column:
    """Return the column with the rates of a row over time; its rows sort by `order`."""

    def rates(row: Any, now: float) -> list[float]:
        name = (row.task, row.exception, row.message) if kind == "errors" else row.name
        return clusters[row.cluster].statistics.trend(kind, name, now)

    about = f"{about} per second over 5 minutes, each row to a scale of its own"
    return column("text", "trend", "RATE 5m", about, rates, format=spark_text, order=order,
        kind=Kind.OTHER, cols=SPARK_COLS, from_cols=from_cols, descending=True)  # fmt: skip


_MINUTE: Final = 60.0
#: From this width of the screen on there is room for the period, too; and no screen is as wide.
_PERIOD_FROM, _NEVER = 90, 100_000


def period_text(seconds: float) -> str:
    """Return a period: `2s`, `5m`, `1h30m`, `1d`."""
    if seconds < _MINUTE and abs(seconds - round(seconds)) < seconds / 50:
        return f"{round(seconds)}s"
    return _whole(human_duration(seconds))


def span_text(seconds: float) -> str:
    """Return the time until something or since then, without seconds from a minute on."""
    return _whole(human_age(seconds if seconds < _MINUTE else seconds // _MINUTE * _MINUTE))


def _whole(text: str) -> str:
    # Of `5m00s` the `5m`.
    return text[:-3] if text[-3:] in ("00s", "00m", "00h") and text[:-3] else text


def next_text(schedule: Schedule | None, now: float) -> str:
    """Return when something is to run: `in 3m`, `overdue 12m`, `?` where nobody knows."""
    if schedule is None:
        return NOTHING
    overdue, wait = schedule.overdue(now), schedule.wait(now)
    if overdue:
        return f"overdue {span_text(overdue)}"
    return "?" if wait is None else f"in {span_text(wait)}"


def _order(row: Any, now: float) -> float | None:
    # What is overdue for longest comes first.
    if row.schedule is None:
        return None
    schedule: Schedule = row.schedule
    overdue = schedule.overdue(now)
    return -overdue if overdue else schedule.wait(now)


class TypesView(Summary):
    """One row for each type of task: how often, how long, how many failures."""

    name = "types"
    default_sort = "share"

    def __init__(self, clusters: Clusters) -> None:
        #: What is compared with: the figures of earlier, by the keys of the rows.
        self._earlier: dict[str, Totals] = {}
        #: Whether any type is on a schedule.
        self._is_planned = False
        #: Where nothing is on a schedule, nobody has to look at these.
        self._planned_columns = self._scheduled(_NEVER, _NEVER), self._scheduled(_PERIOD_FROM, 0)
        # fmt: off
        self.own_columns = (
            column_of(TYPES["name"], "TASK", cols=20),
            column_of(TYPES["rate"], "RATE/s"),
            column_of(TYPES["ok"], "OK", cols=5),
            column_of(TYPES["share"], "FAIL%", tint=_tint_of_share),
            column_of(TYPES["failed"], "FAIL", from_cols=140),
            column_of(TYPES["retried"], "RETRY"),
            column_of(TYPES["active"], "ACTIVE"),
            column_of(TYPES["wait_p95"], "WAIT p95", from_cols=100),
            column_of(TYPES["run_p50"], "RUN p50", from_cols=90),
            column_of(TYPES["run_p95"], "p95"),
            column_of(TYPES["run_p99"], "p99", from_cols=100),
            column_of(TYPES["run_max"], "MAX", from_cols=100),
            trend_column(clusters, "types", "completed", lambda row, _: row.rate, from_cols=110),
        )
        # fmt: on
        super().__init__(clusters)

    def _scheduled(self, first: int, second: int) -> tuple[Column, ...]:
        # From which widths of the screen on there are the period and the next run.
        # fmt: off
        return (
            column_of(TYPES["period"], "PERIOD", cols=6, format=known(period_text),
                from_cols=first),
            column_of(TYPES["next"], "NEXT", cols=14, order=_order, descending=False,
                format_row=lambda row, context: next_text(row.schedule, context.now),
                from_cols=second),
            column_of(TYPES["overdue"], "OVERDUE", cols=7, format=known(span_text),
                from_cols=_NEVER),
        )
        # fmt: on

    @property
    def columns(self) -> tuple[Column, ...]:
        if self.context.compare == "off":
            usual = super().columns
            at = next(n for n, one in enumerate(usual) if one.name == "active") + 1
            return (*usual[:at], *self._planned_columns[self._is_planned], *usual[at:])
        # Beside what they are compared with, and of figures that need less room.
        ago = self.context.compare
        # fmt: off
        more = (
            column("duration", "p95_before", f"p95 -{ago}", "95 % ran no longer, that long ago",
                lambda row, _: self._before(row, lambda one: one.run.p95)),
            column("percent", "p95_change", "p95 +-%", "by how many per cent the p95 has changed",
                lambda row, _: _change(row.run.p95, self._before(row, lambda one: one.run.p95)),
                format=known("{:+.0f}".format), tint=_tint_of_change),
            column("rate", "rate_before", f"RATE/s -{ago}", "completed per second, that long ago",
                lambda row, _: self._before(row, lambda one: one.ok_rate + one.fail_rate),
                from_cols=110),
            column("percent", "share_before", f"FAIL% -{ago}", "failures in per cent, so long ago",
                lambda row, _: percent(self._before(row, lambda one: one.failure_share)),
                from_cols=120),
        )
        # fmt: on
        kept = [one for one in super().columns if one.name not in ("run_p99", "trend", "retried")]
        at = next(n for n, one in enumerate(kept) if one.name == "run_p95") + 1
        return (*kept[:at], *more, *kept[at:], *self._planned_columns[self._is_planned])

    def load(self) -> None:
        rows, context = dict[str, Any](), self.context
        for cluster in self._clusters.values():
            now = cluster.as_of(context.now)
            planned = cluster.schedules(now)
            found = type_rows(cluster.statistics, context.window, now, planned)
            rows.update(cluster.own(found))
        self.rows, self._earlier = rows, {}
        self._is_planned = any(row.schedule is not None for row in rows.values())
        ago = COMPARES[context.compare]
        for cluster in self._clusters.values() if ago else ():
            now = cluster.as_of(context.now)
            before = cluster.statistics.before("types", context.window, ago, now)
            self._earlier |= {cluster.key(name): figures for name, figures in before.items()}

    def _before(self, row: Any, read: Callable[[Totals], float | None]) -> float | None:
        earlier = self._earlier.get(row_key(row.cluster, row.name))
        return None if earlier is None else read(earlier)

    def detail_of(self, subject: Any) -> Detail:
        detail, schedule = super().detail_of(subject), subject.schedule
        if schedule is None:
            return detail
        context, last = self.context.of(subject), schedule.last
        following = f"{context.time_of_day(schedule.next)}  " if schedule.next is not None else ""
        ago = last and f"{context.time_of_day(last)}  {span_text(max(0.0, context.now - last))} ago"
        lines = labelled(
            (
                ("period", period_text(schedule.period) if schedule.period else None),
                ("rule", schedule.rule or None),
                ("last run", ago or "never"),
                ("next run", f"{following}{next_text(schedule, context.now)}"),
                ("known from", schedule.source),
            )
        )
        info = (*lines, "", *detail.sections["Info"])
        return replace(detail, sections={**detail.sections, "Info": info})

    def news(self) -> str:
        nothing = self.context.compare != "off" and self.rows and not self._earlier
        text = f"evtop has not watched for {self.context.compare} and its window yet"
        return ", ".join(filter(None, (super().news(), text if nothing else "")))

    def style_of(self, subject: Any) -> str:
        change = _change(subject.run.p95, self._before(subject, lambda one: one.run.p95))
        if change is not None and change >= _SLOWER_MARKED:
            return "late"
        schedule = subject.schedule
        if schedule is not None and schedule.overdue(self.now_of(subject)):
            return "late"
        return "failure" if subject.counts.get("failed") else ""


# --- types by an argument ---------------------------------------------------------

#: The most values that are told apart, how many tasks are looked at between two looks at the
#: clock, and for how long at once, in seconds.
_VALUES_MAX: Final = 1000
_STRIDE: Final = 200
_BUDGET: Final = 0.015
#: After a count, how many times as long as it took there is none; from which age (seconds) on that
#: is said.
_REST: Final = 9.0
_COUNT_AGES: Final = 2.0
_TITLE_CHARS: Final = 12
_OPEN: Final = ("PENDING", "RECEIVED", "STARTED")
_WAITING: Final = (STATES["PENDING"][0], STATES["RECEIVED"][0], DUE[0])


def _quantile(share: float) -> Callable[[Any, float], float | None]:
    # Exact, the shortest that so large a share of all do not exceed.
    return lambda row, _: row.runs[math.ceil(share * len(row.runs)) - 1] if row.runs else None


class GroupsView(Summary):
    """One row for each value of an argument, counted over the tasks that are remembered.

    `tasks` has these by their keys, and `argument` is the column of the argument.  They are
    counted anew for each picture, or, where they are very many, in a tenth of the time; an
    argument is looked for once in each task.
    """

    name = "types"
    default_sort = "tasks"
    offers = ("cluster",)

    def __init__(
        self, clusters: Clusters, tasks: Mapping[str, Any], argument: Column, clock: Clock
    ) -> None:
        self._tasks, self._argument, self._clock = tasks, argument, clock
        self.grouped_by = argument.name
        #: The tasks that are still to be counted, of how many, and what is counted so far.
        self._left: list[str] = []
        self._count = 0
        self._groups: dict[str, Fields] = {}
        #: When they were counted (UTC epoch seconds), how long that took, and when it is worth
        #: doing again (monotonic seconds).
        self._counted_at, self._took, self._due = 0.0, 0.0, -math.inf
        #: The arguments of tasks, and the value found in them, by key.
        self._values: dict[str, tuple[Any, Any]] = {}
        about = f"the value of {argument.name}; {UNKNOWN}: of tasks without it, or cut off"
        # fmt: off
        self.own_columns = (
            column("name", "value", argument.title, about, "name", cols=20),
            column("count", "tasks", "TASKS", "tasks in memory", "tasks"),
            column("count", "ok", "OK", "of these, succeeded", "ok", cols=5),
            column("percent", "share", "FAIL%", "failures among those completed, in per cent",
                lambda row, _: percent(row.failed / (row.ok + row.failed))
                if row.ok + row.failed else None, tint=_tint_of_share),
            column("count", "failed", "FAIL", "failed or rejected", "failed", cols=5),
            column("count", "active", "ACTIVE", "running now", "active"),
            column("count", "waiting", "WAITING", "sent or received, and not started", "waiting"),
            column("count", "unsure", "UNSURE", "lost, or may be lost or have ended", "unsure",
                from_cols=100),
            column("duration", "run_p50", "RUN p50", "50 % ran no longer", _quantile(0.5)),
            column("duration", "run_p95", "p95", "95 % ran no longer", _quantile(0.95)),
            column("duration", "run_max", "MAX", "the longest run time", _quantile(1.0),
                from_cols=100),
            column("count", "types", "TYPES", "types of task among them",
                lambda row, _: len(row.types), from_cols=100),
        )
        # fmt: on
        super().__init__(clusters)

    @property
    def title(self) -> str:
        # Short: it is a tab.
        return f"By {sanitize(self.grouped_by.partition('.')[2])[:_TITLE_CHARS]}"

    @property
    def waiting(self) -> int:
        return len(self._left)

    @property
    def progress(self) -> str:
        return f"{100 - 100 * len(self._left) // max(1, self._count)}% counted"

    def news(self) -> str:
        age = self.context.now - self._counted_at
        since = f", {human_age(age)} ago" if self._counted_at and age >= _COUNT_AGES else ""
        parts = (super().news(), f"of {self._count} tasks in memory, whatever the window{since}")
        return ", ".join(filter(None, parts))

    def load(self) -> None:
        if not self._left and self._clock.monotonic() >= self._due:
            self._left, self._groups = list(self._tasks), {}
            self._count, self._counted_at, self._took = len(self._left), self.context.now, 0.0
        self._go_on()

    def work(self) -> None:
        self._go_on()
        if not self._left and (self.frozen or not self.held):
            self._arrange()

    def freeze(self, context: RenderContext) -> None:
        """Count once more, all at once: what is counted stands still."""
        self._left, self._due = [], -math.inf
        super().freeze(context)
        while self._left:
            self.work()

    def _go_on(self) -> None:
        began, left, tasks = self._clock.monotonic(), self._left, self._tasks
        if not left:
            return
        while left:
            for key in left[: -_STRIDE - 1 : -1]:
                if (task := tasks.get(key)) is not None:
                    self._add(key, task)
            del left[-_STRIDE:]
            if self._clock.monotonic() > began + _BUDGET:
                break
        self._took += self._clock.monotonic() - began
        if not left:
            for row in self._groups.values():
                row.runs.sort()
            self.rows = self._groups
            self._due = self._clock.monotonic() + _REST * self._took
            if len(self._values) > 2 * self._count:
                self._values = {key: one for key, one in self._values.items() if key in tasks}

    def _add(self, key: str, task: Any) -> None:
        now, kwargs = self.now_of(task), task.kwargs
        known = self._values.get(key)
        if known is None or known[0] is not kwargs or not self.grouped_by.startswith("kwargs."):
            self._values[key] = known = kwargs, self._argument.value(task, now)
        found = known[1]
        name = UNKNOWN if found is None else as_text(found)
        groups, place = self._groups, self._clusters[task.cluster].key(name)
        if place not in groups and len(groups) >= _VALUES_MAX:
            name, place = OTHERS, self._clusters[task.cluster].key(OTHERS)
        if (row := groups.get(place)) is None:
            row = groups[place] = Fields(
                name=name, cluster=task.cluster, tasks=0, ok=0, failed=0, active=0, waiting=0,
                unsure=0, runs=[], types=set(), figures=None,
            )  # fmt: skip
        row.tasks += 1
        row.types.add(task.name)
        state = task.state
        if state == "SUCCESS":
            row.ok += 1
        elif state in ("FAILURE", "REJECTED"):
            row.failed += 1
        elif state in _OPEN:
            word, _ = state_of(task, now)
            if word == STATES["STARTED"][0]:
                row.active += 1
            elif word in _WAITING:
                row.waiting += 1
            else:  # nobody knows
                row.unsure += 1
        if isinstance(task.runtime, int | float):
            row.runs.append(task.runtime)

    def tasks_of(self, name: str, cluster: str) -> tuple[str, str] | None:
        """Return the view and filter of the tasks with that value in a cluster."""
        if name in (OTHERS, UNKNOWN):
            return None
        of_cluster = f" cluster={quote(cluster)}" if cluster else ""
        return "tasks", f"{self.grouped_by}={quote(name)}{of_cluster}"

    def style_of(self, subject: Any) -> str:
        return "failure" if subject.failed else ""


# --- workers --------------------------------------------------------------------

#: How many open tasks are looked through for those of a worker.
_OPEN_MAX: Final = 100_000


def open_tasks(cluster: Cluster, hostname: str) -> Iterator[Any]:
    """Yield the tasks that a worker has, or had when it went, as far as events say."""
    opened = islice(cluster.state.tasks.settled()[2].values(), _OPEN_MAX)
    worker = cluster.state.workers.get(hostname)
    return (task for task in opened if worker is not None and task.worker is worker)


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


def _status(row: Any, context: RenderContext) -> str:
    if _is_shared(row):
        return f"{row.processes} processes"
    if row.status in ("late", "busy?", "gone"):
        return f"{row.status} {human_age(silence(row, context.now))}"
    return str(row.status)


def _active(row: Any, _: RenderContext) -> str:
    if row.active is None:
        return NOTHING
    return human_count(row.active) if row.pool is None else f"{row.active}/{row.pool}"


#: From this width of the screen on, the use of a pool is a meter of so many columns.
_METER_FROM: Final = 100
_METER_COLS: Final = 8
_FIGURE_COLS: Final = 7


def _meter(row: Any, context: RenderContext) -> str:
    text = _active(row, context)
    if row.active is None or not row.pool or len(text) > _FIGURE_COLS:
        return text
    # What is not nothing is seen, and only what is full looks so.
    bars = min(math.ceil(_METER_COLS * row.active / row.pool), _METER_COLS)
    bars -= bars == _METER_COLS and row.active < row.pool
    return f"{'|' * bars:<{_METER_COLS}} {text:>{_FIGURE_COLS}}"


def _skew(seconds: float) -> str:
    mark = " !" if abs(seconds) >= _SKEW_MARKED else ""
    return f"{'-' if seconds < 0 else '+'}{human_duration(abs(seconds))}{mark}"


class WorkersView(Summary):
    """One row for each worker."""

    name = "workers"
    default_sort = "status"
    field = "worker"
    offers = ("worker", "status", "cluster")

    def __init__(self, clusters: Clusters) -> None:
        # fmt: off
        self.own_columns = (
            column_of(WORKERS["worker"], "WORKER", cols=18),
            column_of(WORKERS["status"], "STATUS", cols=11, format_row=_status,
                order=lambda row, _: _RANKS[row.status]),
            column_of(WORKERS["beat"], "BEAT AGE"),
            column_of(WORKERS["active"], "ACTIVE", format_row=_active, cols=7),
            column_of(WORKERS["pool"], "POOL", from_cols=140),
            column_of(WORKERS["processed"], "PROCESSED", format=known("{:.0f}".format), cols=10,
                from_cols=130),
            column_of(WORKERS["load"], "LOAD 1/5/15", cols=13, from_cols=100,
                format_row=lambda row, _: " ".join(map("{:.1f}".format, row.load)) or NOTHING),
            column_of(WORKERS["ok"], "OK/s"),
            column_of(WORKERS["share"], "FAIL%", tint=_tint_of_share),
            trend_column(clusters, "workers", "completed", figure("ok_rate", 0.0), from_cols=120),
            column_of(WORKERS["run_p95"], "RUN p95", from_cols=130),
            column_of(WORKERS["skew"], "SKEW", format=known(_skew), cols=8,
                order=lambda row, _: None if row.skew is None else abs(row.skew)),
            column_of(WORKERS["missed"], "MISSED", from_cols=130),
            column_of(WORKERS["processes"], "PROCS", from_cols=140),
            column_of(WORKERS["queues"], "QUEUES", format=known(", ".join), cols=10, max_cols=40,
                order=lambda row, _: row.queues and row.queues[0], from_cols=120),
            column_of(WORKERS["version"], "VERSION", cols=15, from_cols=100),
        )
        # fmt: on
        super().__init__(clusters)

    def columns_on(self, screen_cols: int) -> tuple[Column, ...]:
        if screen_cols < _METER_FROM:
            return self.columns
        return tuple(
            replace(one, format_row=_meter, cols=_METER_COLS + 1 + _FIGURE_COLS)
            if one.name == "active"
            else one
            for one in self.columns
        )

    @property
    def has_page(self) -> bool:
        return any(cluster.survey is not None for cluster in self._clusters.values())

    def load(self) -> None:
        window, rows = self.context.window, dict[str, Any]()
        for cluster in self._clusters.values():
            now = cluster.as_of(self.context.now)
            found = worker_rows(cluster.state, cluster.statistics, window, now, cluster.asked())
            rows.update(cluster.own(found))
        self.rows = rows

    def detail_of(self, subject: Any) -> Detail:
        detail, cluster = super().detail_of(subject), self._clusters[subject.cluster]
        survey, context = cluster.survey, self.context.of(subject)
        worker = cluster.state.workers[subject.hostname]
        lines = last_signs(worker, subject, context)
        last: tuple[str, ...] = ()
        if subject.status in GONE:
            last = last_tasks(open_tasks(cluster, subject.hostname), subject, context)
        info = detail.sections["Info"]
        if survey is not None:
            p95 = self._p95(cluster, context.now)
            return worker_page(subject, lines, last, info, survey, p95, context)
        if not last:
            return detail
        return replace(
            detail, lines=lines, section="Tasks", sections={"Tasks": last, **detail.sections}
        )

    def report(
        self, cluster: Cluster, name: str, replies: Mapping[str, Reply], now: float
    ) -> Iterator[str]:
        """Yield the lines of a report on a worker, with what it `replies` to commands."""
        # It may have left the table meanwhile.
        subject = self.subject(cluster.key(name))
        info = () if subject is None else super().detail_of(subject).sections["Info"]
        context, p95 = replace(self.context, now=now), self._p95(cluster, now)
        return worker_report(name, info, replies, p95, context)

    def _p95(self, cluster: Cluster, now: float) -> Callable[[str], float | None]:
        types = {row.name: row for row in cluster.statistics.types("all", now)}
        return lambda name: None if name not in types else types[name].run.p95

    def news(self) -> str:
        parts, surveys = [super().news()], []
        for cluster in self._clusters.values():
            if cluster.survey is not None and cluster.survey.replied_at:
                surveys.append(cluster.survey)
                if error := cluster.survey.error:
                    named = f" in {cluster.name}" if cluster.name else ""
                    parts.append(sanitize(f"they could not be asked{named}: {error}"))
        if surveys and len(parts) == 1:
            age = human_age(max(0.0, self.context.now - min(one.replied_at for one in surveys)))
            replied = sum(survey.replied for survey in surveys)
            parts.append(f"{replied} of {sum(one.expected for one in surveys)} replied {age} ago")
        return ", ".join(filter(None, parts))

    def notes(self) -> list[str]:
        """Return what the filter could not see, and how many workers have left the table."""
        left = sum(cluster.state.departed for cluster in self._clusters.values())
        return super().notes() + ([f"{left} workers that have left are not shown"] if left else [])

    def style_of(self, subject: Any) -> str:
        return "late" if _is_shared(subject) else _STATUSES[subject.status]


# --- errors ---------------------------------------------------------------------

#: How much of a message goes into a filter.
_MESSAGE_CHARS: Final = 200


class ErrorsView(Summary):
    """One row for each kind of failure: failures that differ only in details."""

    name = "errors"
    default_sort = "count"
    offers = ("name", "exc", "cluster")

    def __init__(self, clusters: Clusters) -> None:
        # fmt: off
        self.own_columns = (
            column_of(ERRORS["count"], "COUNT"),
            column_of(ERRORS["rate"], "RATE/s"),
            column_of(ERRORS["first"], "FIRST"),
            column_of(ERRORS["last"], "LAST"),
            trend_column(clusters, "errors", "failures", lambda row, _: row.rate, from_cols=120),
            column_of(ERRORS["workers"], "WORKERS", cols=8, max_cols=24, from_cols=100,
                format=lambda names, _: names[0] if len(names) == 1 else str(len(names)),
                order=lambda row, _: len(row.workers), descending=True),
            column_of(ERRORS["name"], "TASK", cols=16),
            column_of(ERRORS["exc"], "EXCEPTION", cols=20, flex=3),
        )
        # fmt: on
        super().__init__(clusters)

    def load(self) -> None:
        self.rows = self.each(error_rows)

    def style_of(self, subject: Any) -> str:  # noqa: ARG002  (all rows are alike)
        return "failure"

    def drill(self, key: str) -> tuple[str, str] | None:
        group = self.subject(key)
        found = self.tasks_of(group.task, group.cluster) if group is not None else None
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
