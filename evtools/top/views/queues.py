"""Queues: one row for each, with what events, the workers and the broker say of it."""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Final, NamedTuple, Self

from evtools.filters import Kind
from evtools.state import ALIVE, OTHERS, UNKNOWN, QueueStatistics
from evtools.text import human_age, human_count, human_duration, sanitize
from evtools.top.clusters import Cluster, Clusters
from evtools.top.columns import UNKNOWN as NOTHING
from evtools.top.columns import Column, RenderContext, column, known, one_line, per_second
from evtools.top.feed import HISTORY, QUEUES_MAX, TREND, QueueFacts, Trend, trend_of
from evtools.top.options import Window
from evtools.top.survey import Survey
from evtools.top.table import Detail, labelled
from evtools.top.views.summaries import (
    SPARK_COLS,
    Fields,
    Summary,
    figure,
    spark_text,
    trend_column,
)
from evtools.transport.queues import Depth

#: Over this time the rates of the queues are, as is the change of their depth.
_MINUTE: Final = "1m"
#: What follows from a rate and the change of the depth is off by up to this share of the rate,
#: and by as many messages and what comes in a second: their times differ.
_SLACK: Final = 0.1
_SLACK_MESSAGES: Final = 2.0
#: Not on a screen of any width, unless it is asked for.
_NEVER: Final = 10_000
#: How many pairs of a worker and a queue are looked at, and names shown of one queue.
_PAIRS_MAX: Final = 20_000
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
    column("name", "name", "NAME", "the queue", "name", cols=16),
    column("count", "depth", "DEPTH", "messages ready for consumers, as the broker says",
        "depth.ready", order=_depth_order),
    column("count", "ready", "READY", "the same as depth", "depth.ready", from_cols=_NEVER),
    column("count", "unacked", "UNACK",
        "messages that workers have and did not acknowledge; unknown on RabbitMQ", "depth.unacked"),
    column("count", "consumers", "CONSUMERS",
        "consumers, as the broker or else the workers say; N+: at least so many", "consumers",
        format_row=_consumers),
    column("rate", "in_rate", "IN/s",
        "sent to it per second in the last minute; ~: follows from out and net", "in_rate",
        format_row=_rate_of("in_rate")),
    column("rate", "out_rate", "OUT/s",
        "received from it per second in the last minute; ~: follows from in and net", "out_rate",
        format_row=_rate_of("out_rate")),
    column("count", "net_per_min", "NET/min", "change of the depth per minute, in the last minute",
        "net_per_min", format=known(_signed)),
    column("duration", "empty_in", "EMPTY IN",
        "when it will be empty if it goes on so; never: it does not shrink", "empty_in",
        format_row=_empty_in, order=lambda row, _: math.inf if row.grows else row.empty_in),
    column("duration", "oldest", "OLDEST",
        "since when the message waits that waits for longest (Redis, with task-sent events)",
        "oldest"),
    column("duration", "wait_p95", "WAIT p95", "95 % waited no longer to start",
        figure("wait.p95"), from_cols=90),
    column("text", "trend", "DEPTH 15m",
        "the depth over 15 minutes, each row to a scale of its own", _depths, format=spark_text,
        order=_depth_order, kind=Kind.OTHER, cols=SPARK_COLS, from_cols=120, descending=True),
    column("name", "consumed_by", "CONSUMED BY", "the workers that say they consume it",
        "consumed_by", format=known(", ".join), order=lambda row, _: len(row.consumed_by or ()),
        kind=Kind.OTHER, cols=11, max_cols=60, from_cols=105, descending=True),
    column("count", "backlog", "BACKLOG", "sent and not received yet, by their events",
        "backlog", format_row=_backlog, cols=8, from_cols=130),
    column("rate", "published", "PUBLISHED/s", "sent to it per second in the window",
        "published", from_cols=150),
    column("rate", "received", "RECEIVED/s", "received from it per second in the window",
        "received", from_cols=150),
)
#: Where no broker is asked, as in a replay, what events say is all there is.
_OF_BROKER: Final = ("depth", "unacked", "net_per_min", "empty_in", "oldest")
_OF_EVENTS: Final = tuple(
    replace(one, from_cols=_NEVER if one.name in _OF_BROKER else 0 if one.name == "backlog"
            else one.from_cols)
    for one in _QUEUES
)
# fmt: on
_NO_FACTS: Final = QueueFacts()
#: Rows that are no queues.
_NO_DEPTH: Final = {
    UNKNOWN: Depth(None, reason="these are tasks of which no event says the queue"),
    OTHERS: Depth(None, reason="these are the queues beyond the number that is kept apart"),
}


class _Counts(NamedTuple):
    # What events say of queues: how many tasks were sent to each and received from it, and how
    # many each worker received of which no event says the queue.

    queues: Mapping[str, tuple[int, int]]
    unplaced: Mapping[str, int]
    #: Of those, how many were received by a worker that is not known.
    nobodys: int = 0

    @classmethod
    def of(cls, rows: Iterable[QueueStatistics]) -> Self:
        by_name = {row.name: row for row in rows}
        queues = {name: (row.published, row.received) for name, row in by_name.items()}
        unknown = by_name.get(UNKNOWN)
        if unknown is None:
            return cls(queues, {})
        unplaced = unknown.received_by
        return cls(queues, unplaced, unknown.received - sum(unplaced.values()))

    def since(self, before: Self) -> Self:
        queues = {}
        for name, (sent, received) in self.queues.items():
            earlier = before.queues.get(name, (0, 0))
            queues[name] = max(0, sent - earlier[0]), max(0, received - earlier[1])
        more = {name: count - before.unplaced.get(name, 0) for name, count in self.unplaced.items()}
        nobodys = self.nobodys - before.nobodys
        return type(self)(queues, {name: one for name, one in more.items() if one > 0}, nobodys)


class _Flow:
    """What events say of a span of time: how much went into the queues and came out of them.

    Only `task-sent` names the queue of a task.  What a worker received without one is of the
    queue that it consumes, if it said that it consumes just one.
    """

    def __init__(
        self, counts: _Counts, seconds: float, ever: _Counts, seen: set[str], survey: Survey | None
    ) -> None:
        self._counts, self._seconds, self._ever, self._seen = counts, seconds, ever.queues, seen
        self._more: Counter[str] = Counter()
        #: The queues of which it is not known how many of the tasks were theirs.
        self._unclear: set[str] = set()
        self._is_clear = not counts.nobodys
        for worker, count in counts.unplaced.items():
            facts = None if survey is None else survey.workers.get(worker)
            if facts is None or facts.shown_queues is None:
                self._is_clear = False
            elif len(set(facts.shown_queues)) == 1:
                self._more[facts.shown_queues[0]] += count
            else:
                self._unclear.update(facts.shown_queues)

    def rate_in(self, name: str) -> float | None:
        """Return how much was sent to a queue per second, None if no event says it."""
        if not self._ever.get(name, (0, 0))[0]:
            return None
        return self._counts.queues.get(name, (0, 0))[0] / self._seconds

    def rate_out(self, name: str, consumed_by: Sequence[str], *, is_all: bool) -> float | None:
        """Return how much was received from a queue per second, None if that is not sure.

        `is_all` is whether `consumed_by` are all that consume it.
        """
        if name == UNKNOWN and name in self._ever:
            # Those of which the queue is known by their worker are not of nobody knows which.
            return (self._counts.queues.get(name, (0, 0))[1] - self._more.total()) / self._seconds
        if not self._is_clear or name in self._unclear:
            return None
        # The events of the others may be off.
        is_complete = is_all and bool(consumed_by) and self._seen.issuperset(consumed_by)
        if not is_complete and not self._ever.get(name, (0, 0))[1]:
            return None
        received = self._counts.queues.get(name, (0, 0))[1] + self._more[name]
        return received / self._seconds


class _ClusterQueues:
    """The queues of one cluster, as events, its workers and its broker have them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        #: What the broker said, as of the picture.
        self.facts = _NO_FACTS
        #: What events had said when the broker answered, over the last minute.
        self._counted: deque[tuple[float, _Counts]] = deque()

    def rows(self, window: Window, now: float) -> Iterator[Any]:
        """Yield a row for each queue, as of `now` (UTC epoch seconds)."""
        cluster, statistics = self._cluster, self._cluster.statistics
        figures = {each.name: each for each in statistics.queues(window, now)}
        ever = statistics.queues("all", now)
        counts = _Counts.of(ever)
        seen = {worker for row in ever for worker in row.received_by}
        self.facts = facts = cluster.broker_facts()
        if facts.depths and (not self._counted or facts.at > self._counted[-1][0]):
            self._counted.append((facts.at, counts))
            while self._counted[0][0] < facts.at - TREND:
                self._counted.popleft()
        consumed_by, is_all = self._consumed_by(now)
        minute = statistics.queues(_MINUTE, now)
        flows: dict[float, _Flow] = {}

        def flow_of(trend: Trend | None) -> _Flow:
            # Over the time of the trend, or else the last minute.
            began = math.inf if trend is None else facts.at - trend.span
            since = next((one for one in self._counted if one[0] >= began), (math.inf, counts))
            if since[0] not in flows:
                span, seconds = _Counts.of(minute), minute[0].seconds if minute else 1.0
                if since[0] < facts.at:
                    span = self._counted[-1][1].since(since[1])
                    seconds = facts.at - since[0]
                flows[since[0]] = _Flow(span, seconds, counts, seen, cluster.survey)
            return flows[since[0]]

        names = islice((*figures, *facts.depths, *consumed_by), 3 * QUEUES_MAX)
        for name in dict.fromkeys(names):
            row = Fields(name=name, figures=figures.get(name))
            self._add_events(row, counts.queues.get(name, (0, 0)))
            self._add_depth(row, now)
            self._add_consumers(row, consumed_by.get(name), now, is_all=is_all)
            self._add_rates(row, flow_of(row.trend), is_all=is_all)
            yield row

    def _consumed_by(self, now: float) -> tuple[dict[str, list[str]], bool]:
        # Which workers say that they consume each queue; whether all that are there have said.
        survey, workers = self._cluster.survey, self._cluster.state.workers
        if survey is None:
            return {}, False
        found: dict[str, list[str]] = {}
        said, pairs = survey.workers, 0
        alive = [name for name, worker in workers.items() if worker.status(now) in ALIVE]
        for worker in sorted(said):
            queues = said[worker].shown_queues
            if queues is None or (worker in workers and workers[worker].status(now) not in ALIVE):
                continue
            for queue in dict.fromkeys(queues):
                found.setdefault(queue, []).append(worker)
            pairs += len(queues)
            if pairs > _PAIRS_MAX:
                return found, False
        has_said = (one in said and said[one].shown_queues is not None for one in alive)
        return found, self._has_replies() and all(has_said)

    def _add_events(self, row: Any, ever: tuple[int, int]) -> None:
        # What is known of it by events: nothing of a kind that never came.
        figures, (sent, received) = row.figures, ever
        row.published = figures.published_rate if sent else None
        row.received = figures.received_rate if received else None
        row.backlog = figures.backlog if sent else None
        row.backlog_reason = "no event names it" if figures is None else figures.backlog_reason
        if not sent:
            row.backlog_reason = row.backlog_reason or "no task-sent event names it"

    def _add_depth(self, row: Any, now: float) -> None:
        row.depth = depth = self.facts.depths.get(row.name) or _NO_DEPTH.get(row.name, Depth(None))
        row.samples = () if depth.ready is None else self.facts.history.get(row.name, ())
        row.trend = trend = trend_of(row.samples)
        row.net_per_min = None if trend is None else trend.per_minute
        shrinks = trend is not None and trend.per_minute < 0
        row.grows = bool(depth.ready) and trend is not None and not shrinks
        row.empty_in = 0.0 if depth.ready == 0 else None
        if depth.ready and shrinks:
            row.empty_in = 60.0 * depth.ready / -row.net_per_min
        row.oldest = self._oldest(depth, now)

    def _add_consumers(
        self, row: Any, names: list[str] | None, now: float, *, is_all: bool
    ) -> None:
        # Only the broker knows that nobody consumes it.
        row.consumers, row.consumed_by = row.depth.consumers, names or ([] if is_all else None)
        row.counts_all = row.consumers is not None or (is_all and bool(names))
        if row.consumers is None and names:
            row.consumers = len(names)
        elif row.consumers is None and row.figures is not None and not self._has_replies():
            workers = self._cluster.state.workers
            receivers = [workers.get(one) for one in row.figures.received_by]
            alive = [one for one in receivers if one is not None and one.status(now) in ALIVE]
            row.consumers = len(alive) or None

    def _has_replies(self) -> bool:
        survey = self._cluster.survey
        return survey is not None and bool(survey.replied_at)

    def _add_rates(self, row: Any, flow: _Flow, *, is_all: bool) -> None:
        names, trend = row.consumed_by or [], row.trend
        is_all = is_all and row.depth.consumers in (None, len(names))
        row.in_rate = flow.rate_in(row.name)
        row.out_rate = flow.rate_out(row.name, names, is_all=is_all)
        row.derived, row.below = "", {}
        if (row.in_rate is None) == (row.out_rate is None) or trend is None:
            return
        is_in = row.in_rate is None
        given = row.out_rate if is_in else row.in_rate
        rate = given + (1 if is_in else -1) * trend.per_minute / 60.0
        slack = max(_SLACK * given, (given + _SLACK_MESSAGES) / trend.span)
        name = "in_rate" if is_in else "out_rate"
        if rate > slack:
            setattr(row, name, rate)
            row.derived = name
        elif rate >= -slack:
            row.below = {name: slack}

    def _oldest(self, depth: Depth, now: float) -> float | None:
        if not depth.oldest:
            return None
        tasks = [self._cluster.state.tasks.find(uuid) for uuid in depth.oldest]
        sent = [None if task is None else task.sent for task in tasks]
        times = [one for one in sent if one is not None]
        return max(0.0, now - min(times)) if len(times) == len(sent) else None

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
            rows.update(cluster.own(queues.rows(window, cluster.as_of(now))))
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
