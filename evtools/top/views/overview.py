"""The overview: what needs attention, in all clusters, beneath graphs of the whole."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any, ClassVar, Final

from evtools.alerts import Alert
from evtools.filters import quote
from evtools.rows import Fields
from evtools.state import OTHERS, UNKNOWN
from evtools.text import human_age, human_count, human_duration
from evtools.top.clusters import Cluster, Clusters
from evtools.top.columns import Column, RenderContext, column
from evtools.top.table import TableModel
from evtools.top.views.summaries import open_tasks, period_text, span_text

#: What counts as recent, in seconds.
RECENT: Final = 300.0
#: From this share on, and this number of completed tasks, a type is said to fail.
_FAILS_FROM: Final = 0.1
_COMPLETED_MIN: Final = 5
#: A type is said to be slower from this factor on, with so many runs now and then.
_SLOWER: Final = 2.0
_RUNS_MIN: Final = 20
_DAY, _HOUR, _MINUTE = 86_400.0, 3600.0, 60.0
#: How many rows of one kind there are at most.
_ROWS_MAX: Final = 50
#: What it is about, in the order in which they sort; and the style of each.
_STYLES: Final[Mapping[str, str]] = {
    "alert": "failure", "cluster": "failure", "worker": "late", "queue": "late",
    "overdue": "late", "failing": "failure", "error": "failure", "slower": "retry",
}  # fmt: skip
_RANKS: Final = {kind: rank for rank, kind in enumerate(_STYLES)}


def _since(row: Any, context: RenderContext) -> str:
    if row.about == "cluster":
        # Its rows stand still, but not that it is away.
        context = replace(context, now=context.now + context.age)
    return "" if row.since is None else context.moment(row.since)


class OverviewView(TableModel):
    """One row for each thing that somebody should look at; Enter leads there.

    `others` are the tables that it is made of; they are refreshed before.  `firing` returns the
    alerts that fire, which come first.
    """

    name = "overview"
    default_sort = "about"
    offers = ("about", "cluster")
    # fmt: off
    own_columns: ClassVar[tuple[Column, ...]] = (
        column("text", "about", "ABOUT", "what it is: alert, cluster, worker, queue, overdue (a"
            " type), failing (a type), error (a new one), slower (a type)", "about", cols=8,
            order=lambda row, _: _RANKS[row.about]),
        column("time", "since", "SINCE", "since when, if that is known", "since", cols=8,
            format_row=_since),
        column("text", "text", "WHAT", "what happened", "text", cols=20, flex=1),
    )
    # fmt: on

    def __init__(
        self,
        clusters: Clusters,
        others: Mapping[str, TableModel],
        firing: Callable[[], Sequence[Alert]],
    ) -> None:
        self._clusters, self._others, self._firing = clusters, others, firing
        #: What has become slower, by cluster: the minute that it was worked out in, and the rows.
        self._slower: dict[str, tuple[float, list[Any]]] = {}
        super().__init__()

    @property
    def columns(self) -> tuple[Column, ...]:
        return self._clusters.column(self.own_columns)

    @property
    def has_page(self) -> bool:
        return False

    def load(self) -> None:
        for name in ("workers", "queues"):
            self._others[name].refresh(self.context)
        self.rows = {f"alert {alert.rule.name}": _alert(alert) for alert in self._firing()}
        for name, cluster in self._clusters.items():
            for kind in (
                _away,
                self._workers,
                self._queues,
                _overdue,
                _failing,
                _errors,
                self._slow,
            ):
                for number, row in enumerate(kind(cluster, self.context)):
                    if number == _ROWS_MAX:
                        break
                    row.cluster = name
                    self.rows[cluster.key(f"{row.about} {row.name}")] = row

    def _workers(self, cluster: Cluster, context: RenderContext) -> Iterator[Any]:
        for row in self._others["workers"].rows.values():
            if row.cluster == cluster.name and row.status in ("gone", "late", "busy?"):
                # Of one that is gone, what it reported last.
                active = row.active or cluster.state.workers[row.hostname].active
                then = " then" if row.active is None else ""
                running = f", {active} running{then}" if active else ""
                text = f"{row.hostname} is {row.status}: no event for"
                age = human_age(max(0.0, cluster.as_of(context.now) - row.seen))
                where = f"worker={quote(row.hostname)}"
                text = f"{text} {age}{running}"
                yield _row("worker", row.hostname, text, row.seen, where, "workers")

    def _queues(self, cluster: Cluster, _: RenderContext) -> Iterator[Any]:
        for row in self._others["queues"].rows.values():
            if row.cluster != cluster.name or not row.depth.ready:
                continue
            where, ready = f"name={quote(row.name)}", human_count(row.depth.ready)
            if row.consumers == 0:
                text = f"{row.name} has {ready} and no consumer"
                yield _row("queue", row.name, text, None, where, "queues")
                continue
            count = "consumers unknown"
            if row.consumers is not None:
                count = f"{row.consumers} consumer{'' if row.consumers == 1 else 's'}"
                count += "" if row.counts_all else " at least"
            if row.grows and row.net_per_min:
                change = f"+{human_count(row.net_per_min)}/min"
            elif row.consumers is None and (since := _same_since(row)):
                change = f"the same for {human_age(since)}"
            else:
                continue
            text = f"{row.name}: depth {ready}, {change}, {count}"
            yield _row("queue", row.name, text, None, where, "queues")

    def _slow(self, cluster: Cluster, context: RenderContext) -> list[Any]:
        # Once a minute: an hour ago is known in whole minutes only.
        minute = cluster.as_of(context.now) // _MINUTE
        if self._slower.get(cluster.name, (None,))[0] != minute:
            self._slower[cluster.name] = minute, list(_slower(cluster, context))
        return self._slower[cluster.name][1]

    def style_of(self, subject: Any) -> str:
        return subject.style or _STYLES[subject.about]

    def drill(self, key: str) -> tuple[str, str] | None:
        row = self.subject(key)
        if row is None or not row.where:
            return None
        of_cluster = f" cluster={quote(row.cluster)}" if row.cluster else ""
        view, where = row.view, row.where
        if row.about == "worker" and any(open_tasks(self._clusters[row.cluster], row.name)):
            view, where = "tasks", f"{where} state:active"
        return view, where + of_cluster


def _same_since(row: Any) -> float:
    # For how long, in seconds, the broker has given the same depth; 0 below a minute.
    latest, depth = row.samples[-1]
    same = takewhile(lambda sample: sample[1] == depth, reversed(row.samples))
    lasted: float = latest - deque(same, maxlen=1)[0][0]
    return lasted if lasted >= _MINUTE else 0.0


def _alert(alert: Alert) -> Any:
    rule = alert.rule
    text = f"{rule.name}: {rule.about}: {alert.found()}"
    row = _row("alert", rule.name, text, alert.since, rule.filter, rule.view)
    row.cluster, row.window = "", rule.window
    row.style = "" if rule.level == "critical" else "late"
    return row


def _row(
    about: str, name: str, text: str, since: float | None, where: str, view: str = "types"
) -> Any:
    return Fields(
        about=about,
        name=name,
        text=text,
        since=since,
        where=where,
        view=view,
        style="",
        window="",
        figures=None,
    )


def _away(cluster: Cluster, context: RenderContext) -> Iterator[Any]:
    connection = cluster.connection
    if connection.lost_at is not None and cluster.name in context.lost:
        text = f"{connection.status}: {connection.cause}"
        yield _row("cluster", cluster.name, text, connection.lost_at, "")


def _overdue(cluster: Cluster, context: RenderContext) -> Iterator[Any]:
    now = cluster.as_of(context.now)
    for name, schedule in cluster.schedules(now).items():
        if not (overdue := schedule.overdue(now)):
            continue
        facts = [f"every {period_text(schedule.period)}"] if schedule.period else []
        facts = [schedule.rule] if schedule.rule else facts
        if schedule.last is not None:
            ago, at = now - schedule.last, context.time_of_day(schedule.last)
            # Where that is enough, without seconds.
            at = at if ago < RECENT else at[:5]
            facts.append(f"last {at}" if ago < _DAY else f"last {span_text(ago)} ago")
        text = f"{name} is overdue by {span_text(overdue)}"
        text += f" ({', '.join(facts)})" if facts else ""
        yield _row("overdue", name, text, schedule.late_at, f"name={quote(name)}")


def _failing(cluster: Cluster, context: RenderContext) -> Iterator[Any]:
    for row in cluster.statistics.types("5m", cluster.as_of(context.now)):
        share = row.failure_share
        completed = row.counts["succeeded"] + row.counts["failed"]
        if share is None or share < _FAILS_FROM or completed < _COMPLETED_MIN:
            continue
        failed = f"{row.counts['failed']} of {completed} in 5 minutes"
        text, where = f"{row.name} fails: {share:.0%}, {failed}", f"name={quote(row.name)}"
        yield _row("failing", row.name, text, None, "" if row.name in (OTHERS, UNKNOWN) else where)


def _errors(cluster: Cluster, context: RenderContext) -> Iterator[Any]:
    now = cluster.as_of(context.now)
    for row in cluster.statistics.failures("5m", now):
        # Not what was there when evtop came: then all of them would be new.
        is_new = now - row.first < RECENT < cluster.statistics.watched(now)
        if is_new:
            what = f"{row.exception}: {row.message}" if row.message else row.exception
            times = f"{row.count} time{'' if row.count == 1 else 's'}"
            text = f"new, {times} in {row.task}: {what}"
            where = f"name={quote(row.task)} exc:{quote(row.exception)}"
            yield _row("error", row.name, text, row.first, where, "errors")


def _slower(cluster: Cluster, context: RenderContext) -> Iterator[Any]:
    now = cluster.as_of(context.now)
    before = cluster.statistics.before("types", "15m", _HOUR, now)
    for row in cluster.statistics.types("15m", now) if before else ():
        earlier = before.get(row.name)
        if earlier is None or min(row.run.count, earlier.run.count) < _RUNS_MIN:
            continue
        p95, was = row.run.p95, earlier.run.p95
        if p95 is not None and was and p95 >= _SLOWER * was:
            text = f"{row.name} is {p95 / was:.1f} times as slow as an hour ago: p95"
            text += f" {human_duration(p95)}, was {human_duration(was)}"
            yield _row("slower", row.name, text, None, f"name={quote(row.name)}")
