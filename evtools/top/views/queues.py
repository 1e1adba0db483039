"""Queues: one row for each, with what events, the workers and the broker say of it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from evtools.filters import Kind
from evtools.rows import HISTORY, QUEUES, QueueRows
from evtools.text import human_age, human_count, human_duration, sanitize
from evtools.top.clusters import Cluster, Clusters
from evtools.top.columns import UNKNOWN as NOTHING
from evtools.top.columns import (
    Column,
    RenderContext,
    column,
    column_of,
    known,
    one_line,
    per_second,
)
from evtools.top.options import Window
from evtools.top.table import Detail, labelled
from evtools.top.views.summaries import SPARK_COLS, Summary, spark_text, trend_column

#: Not on a screen of any width, unless it is asked for.
_NEVER: Final = 10_000
#: How many names are shown of one queue.
_NAMES_SHOWN: Final = 50
_TYPES_SHOWN: Final = 20
#: How far back the page says what the depth was, in seconds.
_AGES: Final = (5.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0)


def _signed(number: float) -> str:
    if abs(number) >= 10 or number == round(number):  # noqa: PLR2004  (one digit)
        text = human_count(number)
        return f"+{text}" if number > 0 else text
    return f"{number:+.1f}"


def _rate_of(name: str) -> Callable[[Any, RenderContext], str]:
    # What follows from two other figures is marked, and how little it must be.
    def text(row: Any, _: RenderContext) -> str:
        rate, limit = getattr(row, name), row.below.get(name)
        if limit is not None:
            return f"<{per_second(limit)}"
        return NOTHING if rate is None else ("~" if name == row.derived else "") + per_second(rate)

    return text


def _consumers(row: Any, _: RenderContext) -> str:
    if row.consumers is None:
        return NOTHING
    return f"{human_count(row.consumers)}{'' if row.counts_all else '+'}"


def _empty_in(row: Any, _: RenderContext) -> str:
    if row.grows:
        return "never"
    if row.empty_in is None:
        return NOTHING
    return human_duration(row.empty_in) if row.empty_in else "now"


def _backlog(row: Any, _: RenderContext) -> str:
    if row.backlog is None:
        return NOTHING
    return f"{human_count(row.backlog)}{'+' if row.backlog_reason else ''}"


def _depth_order(row: Any, _: float) -> Any:
    # Where the broker is not asked, what events say.
    return row.backlog if row.depth.ready is None else row.depth.ready


#: How long each column of the sparkline is, in seconds.
_SPARK_SLOT: Final = HISTORY / SPARK_COLS


def _depths(row: Any, _: float) -> list[int | None] | None:
    # The greatest depth in each part of the last 15 minutes, up to when the broker answered last.
    if not row.samples:
        return None
    newest, parts = row.samples[-1][0] // _SPARK_SLOT, dict[int, int]()
    for at, ready in row.samples:
        part = int(newest - at // _SPARK_SLOT)
        parts[part] = max(ready, parts.get(part, 0))
    return [parts.get(part) for part in reversed(range(SPARK_COLS))]


# fmt: off
_QUEUES: Final = (
    column_of(QUEUES["name"], "NAME", cols=16),
    column_of(QUEUES["depth"], "DEPTH", order=_depth_order),
    column_of(QUEUES["ready"], "READY", from_cols=_NEVER),
    column_of(QUEUES["unacked"], "UNACK"),
    column_of(QUEUES["consumers"], "CONSUMERS", format_row=_consumers),
    column_of(QUEUES["in_rate"], "IN/s", format_row=_rate_of("in_rate")),
    column_of(QUEUES["out_rate"], "OUT/s", format_row=_rate_of("out_rate")),
    column_of(QUEUES["net_per_min"], "NET/min", format=known(_signed)),
    column_of(QUEUES["empty_in"], "EMPTY IN", format_row=_empty_in,
        order=lambda row, _: math.inf if row.grows else row.empty_in),
    column_of(QUEUES["oldest"], "OLDEST"),
    column_of(QUEUES["wait_p95"], "WAIT p95", from_cols=90),
    column("text", "trend", "DEPTH 15m",
        "the depth over 15 minutes, each row to a scale of its own", _depths, format=spark_text,
        order=_depth_order, kind=Kind.OTHER, cols=SPARK_COLS, from_cols=120, descending=True),
    column_of(QUEUES["consumed_by"], "CONSUMED BY", format=known(", ".join), cols=11, max_cols=60,
        order=lambda row, _: len(row.consumed_by or ()), from_cols=105, descending=True),
    column_of(QUEUES["backlog"], "BACKLOG", format_row=_backlog, cols=8, from_cols=130),
    column_of(QUEUES["published"], "PUBLISHED/s", from_cols=150),
    column_of(QUEUES["received"], "RECEIVED/s", from_cols=150),
)
#: Where no broker is asked, as in a replay, what events say is all there is.
_OF_BROKER: Final = ("depth", "unacked", "net_per_min", "empty_in", "oldest")
_OF_EVENTS: Final = tuple(
    replace(one, from_cols=_NEVER if one.name in _OF_BROKER else 0 if one.name == "backlog"
            else one.from_cols)
    for one in _QUEUES
)
# fmt: on
class _ClusterQueues(QueueRows):
    """The queues of one cluster, as events, its workers and its broker have them."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster.state, cluster.statistics)
        self._cluster = cluster

    def load(self, window: Window, now: float) -> Iterator[Any]:
        """Yield a row for each queue, as of `now` (UTC epoch seconds)."""
        survey, facts = self._cluster.survey, self._cluster.broker_facts()
        asked = None if survey is None else survey.workers
        replied = survey is not None and bool(survey.replied_at)
        return self.rows(window, now, facts, asked, has_replies=replied)

    # --- the page of a queue ------------------------------------------------------------

    def page(self, row: Any, context: RenderContext) -> tuple[str, ...]:
        """Return what is known of a queue, and what waits in it, in sanitised lines."""
        depth, trend, asks = row.depth, row.trend, self._cluster.asks_broker
        why_not = depth.reason or self.facts.error
        why_not = why_not or ("the broker has not said it yet" if asks else "no broker is asked")
        net, empty = "? not known for long enough", _empty_in(row, context)
        if trend is not None:
            net = f"{_signed(trend.per_minute)}/min over the last {human_age(trend.span)}"
        unacked = f"? {depth.unacked_reason or why_not}"
        of_broker = (
            ("depth before", ", ".join(self._depths_before(row)) or None),
            ("net", net),
            ("empty in", "? not known without net" if empty == NOTHING else empty),
            ("unacked", unacked if depth.unacked is None else depth.unacked),
            ("oldest", _oldest_text(row)),
        )
        return labelled(
            (
                ("depth", f"? {why_not}" if depth.ready is None else f"{depth.ready} ready"),
                *(of_broker if asks else ()),
                ("in", _rate_text(row, "in_rate", "sent", "out + net", context)),
                ("out", _rate_text(row, "out_rate", "received", "in - net", context)),
                ("consumers", self._consumers_text(row, context)),
                ("next", self._next_text(row)),
                ("backlog", f"{_backlog(row, context)}  {row.backlog_reason}".rstrip()),
            )
        )

    def _consumers_text(self, row: Any, context: RenderContext) -> str:
        count = "?" if row.consumers is None else _consumers(row, context)
        if row.depth.consumers is not None:
            count += " as the broker counts them"
        survey, names = self._cluster.survey, row.consumed_by or []
        if names:
            shown = ", ".join(names[:_NAMES_SHOWN])
            more = len(names) - _NAMES_SHOWN
            shown += f" and {more} more" if more > 0 else ""
            age = human_age(max(0.0, context.now - survey.replied_at)) if survey is not None else ""
            return f"{count}: {shown}, as they said {age} ago"
        if survey is None:
            return f"{count}; the workers were not asked what they consume"
        said = sum(one.shown_queues is not None for one in survey.workers.values())
        return f"{count}; no worker says that it consumes it, of {said} that replied"

    def _depths_before(self, row: Any) -> Iterator[str]:
        samples = self.facts.history.get(row.name, ())
        shown = 0.0
        for age in _AGES if len(samples) > 1 else ():
            # Of the sample nearest to it, each once.
            at, ready = min(samples[:-1], key=lambda one: abs(samples[-1][0] - age - one[0]))
            if samples[-1][0] - at > shown + 1.0:
                shown = samples[-1][0] - at
                yield f"{ready} {human_age(shown)} ago"

    def _next_text(self, row: Any) -> str | None:
        if self.facts.waiting is None or self.facts.waiting[0] != row.name:
            return None
        waiting = self.facts.waiting[1]
        names = sorted(waiting.names.items(), key=lambda pair: (-pair[1], pair[0]))
        shown = [f"{count} {name or '(type not readable)'}" for name, count in names[:_TYPES_SHOWN]]
        if len(names) > _TYPES_SHOWN:
            shown.append(f"and {len(names) - _TYPES_SHOWN} more types")
        parts = [f"of {waiting.count}: {', '.join(shown)}"] if shown else []
        return "; ".join([*parts, waiting.reason] if waiting.reason else parts) or "nothing waits"


def _rate_text(row: Any, name: str, done: str, how: str, context: RenderContext) -> str:
    text = _rate_of(name)(row, context)
    if text == NOTHING:
        return f"? events do not say how many were {done}"
    by_events = f"{done}, by the events of the last minute"
    return f"{text}/s  {how if name == row.derived or name in row.below else by_events}"


def _oldest_text(row: Any) -> str:
    if row.oldest is not None:
        return human_duration(row.oldest)
    if row.depth.ready == 0:
        return "nothing waits"
    return "? only known on Redis, and by task-sent events"


class QueuesView(Summary):
    """One row for each queue named by events, by the workers that consume it, or the broker."""

    name = "queues"
    default_sort = "depth"
    field = "queue"
    offers = ("name", "cluster")

    def __init__(self, clusters: Clusters) -> None:
        self._queues: dict[str, _ClusterQueues] = {}
        received = trend_column(
            clusters, "queues", "received", lambda row, _: row.received, from_cols=120
        )
        #: Where no broker is asked.
        self._of_events = tuple(received if one.name == "trend" else one for one in _OF_EVENTS)
        super().__init__(clusters)

    @property
    def columns(self) -> tuple[Column, ...]:
        asked = any(cluster.asks_broker for cluster in self._clusters.values())
        return self._clusters.column(_QUEUES if asked else self._of_events)

    @property
    def has_page(self) -> bool:
        return True

    def load(self) -> None:
        window, now, rows = self.context.window, self.context.now, dict[str, Any]()
        for name, cluster in self._clusters.items():
            queues = self._queues.setdefault(name, _ClusterQueues(cluster))
            rows.update(cluster.own(queues.load(window, cluster.as_of(now))))
        self.rows = rows

    def style_of(self, subject: Any) -> str:
        if subject.depth.ready and subject.depth.consumers == 0:
            return "failure"
        return "late" if subject.grows and subject.net_per_min > 0 else ""

    def news(self) -> str:
        parts = [super().news()]
        for name, queues in self._queues.items():
            if error := queues.facts.error:
                of = f" of {name}" if name else ""
                parts.append(sanitize(f"the broker{of} could not be asked: {error}"))
        return ", ".join(filter(None, parts))

    def detail_of(self, subject: Any) -> Detail:
        sections = super().detail_of(subject).sections
        lines = self._queues[subject.cluster].page(subject, self.context.of(subject))
        page = {"Queue": lines, **sections}
        return Detail(one_line(subject.name, 100), (), page, "Queue")
