"""Summaries: one row for each task type, worker, queue and kind of failure."""

import math
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, ClassVar, Final, NamedTuple, Self

from evtools.filters import Kind, quote, quote_pattern
from evtools.state import ALIVE, OTHERS, UNKNOWN, QueueStatistics, State, Statistics
from evtools.text import human_age, human_count, human_duration, sanitize
from evtools.top.columns import UNKNOWN as NOTHING
from evtools.top.columns import Column, RenderContext, column, known, one_line
from evtools.top.feed import QUEUES_MAX, TREND, BrokerStats, QueueFacts, Trend, trend_of
from evtools.top.survey import Reply, Survey, WorkerFacts
from evtools.top.table import Detail, TableModel, labelled, paragraph
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

    @property
    def has_page(self) -> bool:
        return self.survey is not None

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
                active=None
                if status in ("offline", "gone") or worker.answers_only(now)
                else worker.active,
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


def _per_second(rate: float) -> str:
    # The unit is in the title: all cells can be compared.
    if 0 < rate < 9.95:  # noqa: PLR2004  (from there on without digits)
        return f"{rate:.1f}" if rate >= 0.1 else f"{max(rate, 0.01):.2f}"  # noqa: PLR2004
    return human_count(rate)


def _rate_of(name: str) -> Callable[[Any, RenderContext], str]:
    # What follows from two other figures is marked, and how little it must be.
    def text(row: Any, _: RenderContext) -> str:
        rate, limit = getattr(row, name), row.below.get(name)
        if limit is not None:
            return f"<{_per_second(limit)}"
        return NOTHING if rate is None else ("~" if name == row.derived else "") + _per_second(rate)

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
        _figure("wait.p95"), from_cols=90),
    column("name", "consumed_by", "CONSUMED BY", "the workers that say they consume it",
        "consumed_by", format=known(", ".join), order=lambda row, _: len(row.consumed_by or ()),
        kind=Kind.OTHER, cols=11, max_cols=60, from_cols=105, descending=True),
    column("count", "backlog", "BACKLOG", "sent and not received yet, by their events",
        "backlog", format_row=_backlog, cols=8, from_cols=130),
    column("rate", "published", "PUBLISHED", "sent to it per second in the window",
        "published", from_cols=150),
    column("rate", "received", "RECEIVED", "received from it per second in the window",
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
            if facts is None or facts.queues is None:
                self._is_clear = False
            elif len(set(facts.queues)) == 1:
                self._more[facts.queues[0]] += count
            else:
                self._unclear.update(facts.queues)

    def rate_in(self, name: str) -> float | None:
        """Return how much was sent to a queue per second, None if no event says it."""
        if not self._ever.get(name, (0, 0))[0]:
            return None
        return self._counts.queues.get(name, (0, 0))[0] / self._seconds

    def rate_out(self, name: str, consumed_by: Sequence[str], *, is_all: bool) -> float | None:
        """Return how much was received from a queue per second, None if that is not sure.

        `is_all` is whether `consumed_by` are all that consume it.
        """
        if not self._is_clear or name in self._unclear:
            return None
        # The events of the others may be off.
        is_complete = is_all and bool(consumed_by) and self._seen.issuperset(consumed_by)
        if not is_complete and not self._ever.get(name, (0, 0))[1]:
            return None
        received = self._counts.queues.get(name, (0, 0))[1] + self._more[name]
        return received / self._seconds


class QueuesView(_Summary):
    """One row for each queue named by events, by the workers that consume it, or the broker."""

    name = "queues"
    default_sort = "depth"
    field = "queue"
    #: What the broker is asked, and the workers, if they are.
    stats: BrokerStats | None = None
    survey: Survey | None = None

    def __init__(self, statistics: Statistics, state: State) -> None:
        self._state = state
        #: What the broker said, as of the picture.
        self.facts = _NO_FACTS
        #: What events had said when the broker answered, over the last minute.
        self._counted: deque[tuple[float, _Counts]] = deque()
        super().__init__(statistics)

    @property
    def columns(self) -> tuple[Column, ...]:
        return _QUEUES if self.stats is not None else _OF_EVENTS

    @property
    def has_page(self) -> bool:
        return True

    def load(self) -> None:
        now, statistics = self.context.now, self._statistics
        figures = {each.name: each for each in statistics.queues(self.context.window, now)}
        ever = statistics.queues("all", now)
        counts = _Counts.of(ever)
        seen = {worker for row in ever for worker in row.received_by}
        self.facts = facts = _NO_FACTS if self.stats is None else self.stats.known()
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
                flows[since[0]] = _Flow(span, seconds, counts, seen, self.survey)
            return flows[since[0]]

        self.rows = {}
        for name in islice((*figures, *facts.depths, *consumed_by), 3 * QUEUES_MAX):
            if name not in self.rows:
                row = Fields(name=name, figures=figures.get(name))
                self._add_events(row, counts.queues.get(name, (0, 0)))
                self._add_depth(row)
                self._add_consumers(row, consumed_by.get(name), is_all=is_all)
                self._add_rates(row, flow_of(row.trend), is_all=is_all)
                self.rows[name] = row

    def _consumed_by(self, now: float) -> tuple[dict[str, list[str]], bool]:
        # Which workers say that they consume each queue; whether all that are there have said.
        if self.survey is None:
            return {}, False
        found: dict[str, list[str]] = {}
        said, pairs = self.survey.workers, 0
        workers = self._state.workers
        alive = [name for name, worker in workers.items() if worker.status(now) in ALIVE]
        for worker in sorted(said):
            queues = said[worker].queues
            if queues is None or (worker in workers and workers[worker].status(now) not in ALIVE):
                continue
            for queue in dict.fromkeys(queues):
                found.setdefault(queue, []).append(worker)
            pairs += len(queues)
            if pairs > _PAIRS_MAX:
                return found, False
        has_said = (one in said and said[one].queues is not None for one in alive)
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

    def _add_depth(self, row: Any) -> None:
        row.depth = depth = self.facts.depths.get(row.name, _UNKNOWN_DEPTH)
        samples = () if depth.ready is None else self.facts.history.get(row.name, ())
        row.trend = trend = trend_of(samples)
        row.net_per_min = None if trend is None else trend.per_minute
        shrinks = trend is not None and trend.per_minute < 0
        row.grows = bool(depth.ready) and trend is not None and not shrinks
        row.empty_in = 0.0 if depth.ready == 0 else None
        if depth.ready and shrinks:
            row.empty_in = 60.0 * depth.ready / -row.net_per_min
        row.oldest = self._oldest(depth)

    def _add_consumers(self, row: Any, names: list[str] | None, *, is_all: bool) -> None:
        # Only the broker knows that nobody consumes it.
        row.consumers, row.consumed_by = row.depth.consumers, names or ([] if is_all else None)
        row.counts_all = row.consumers is not None or (is_all and bool(names))
        if row.consumers is None and names:
            row.consumers = len(names)
        elif row.consumers is None and row.figures is not None and not self._has_replies():
            workers, now = self._state.workers, self.context.now
            receivers = [workers.get(one) for one in row.figures.received_by]
            alive = [one for one in receivers if one is not None and one.status(now) in ALIVE]
            row.consumers = len(alive) or None

    def _has_replies(self) -> bool:
        return self.survey is not None and bool(self.survey.replied_at)

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

    def _oldest(self, depth: Depth) -> float | None:
        if not depth.oldest:
            return None
        tasks = [self._state.tasks.find(uuid) for uuid in depth.oldest]
        sent = [None if task is None else task.sent for task in tasks]
        times = [one for one in sent if one is not None]
        return max(0.0, self.context.now - min(times)) if len(times) == len(sent) else None

    def news(self) -> str:
        error = sanitize(self.facts.error)
        text = f"the broker could not be asked: {error}" if error else ""
        return ", ".join(filter(None, (super().news(), text)))

    # --- the page of a queue ------------------------------------------------------------

    def detail_of(self, subject: Any) -> Detail:
        sections = super().detail_of(subject).sections
        page = {"Queue": self._facts_of(subject), **sections}
        return Detail(one_line(subject.name, 100), (), page, "Queue")

    def _facts_of(self, row: Any) -> tuple[str, ...]:
        depth, trend, context = row.depth, row.trend, self.context
        why_not = depth.reason or self.facts.error or "the broker has not said it"
        net, empty = "? not known for long enough", _empty_in(row, context)
        if trend is not None:
            net = f"{_signed(trend.per_minute)}/min over the last {human_age(trend.span)}"
        unacked = f"? {depth.unacked_reason or why_not}"
        return labelled(
            (
                ("depth", f"? {why_not}" if depth.ready is None else f"{depth.ready} ready"),
                ("depth before", ", ".join(self._depths_before(row)) or None),
                ("net", net),
                ("empty in", "? not known without net" if empty == NOTHING else empty),
                ("unacked", unacked if depth.unacked is None else depth.unacked),
                ("in", self._rate_text(row, "in_rate", "sent", "out + net")),
                ("out", self._rate_text(row, "out_rate", "received", "in - net")),
                ("oldest", self._oldest_text(row)),
                ("consumers", self._consumers_text(row)),
                ("next", self._next_text(row)),
                ("backlog", f"{_backlog(row, context)}  {row.backlog_reason}".rstrip()),
            )
        )

    def _rate_text(self, row: Any, name: str, done: str, how: str) -> str:
        text = _rate_of(name)(row, self.context)
        if text == NOTHING:
            return f"? events do not say how many were {done}"
        by_events = f"{done}, by the events of the last minute"
        return f"{text}/s  {how if name == row.derived or name in row.below else by_events}"

    def _oldest_text(self, row: Any) -> str:
        if row.oldest is not None:
            return human_duration(row.oldest)
        if row.depth.ready == 0:
            return "nothing waits"
        return "? only Redis shows what is next, and only task-sent events say when it was sent"

    def _consumers_text(self, row: Any) -> str:
        count = "?" if row.consumers is None else _consumers(row, self.context)
        if row.depth.consumers is not None:
            count += " as the broker counts them"
        survey, names = self.survey, row.consumed_by or []
        if names:
            shown = ", ".join(names[:_NAMES_SHOWN])
            more = len(names) - _NAMES_SHOWN
            return f"{count}: {shown}{f' and {more} more' if more > 0 else ''}"
        if survey is None:
            return f"{count}; the workers were not asked what they consume"
        said = sum(one.queues is not None for one in survey.workers.values())
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


_UNKNOWN_DEPTH: Final = Depth(None)


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
