"""Rows of types, workers, queues and errors: what their fields are, and what they are made of.

evtop shows them and evcam's alerts are about them; so a field means the same in both.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import attrgetter
from types import MappingProxyType, SimpleNamespace
from typing import Any, Final, Literal, NamedTuple, Protocol, Self, TypeAlias

from evtools.filters import Field, FieldTable, Kind
from evtools.state import (
    ALIVE,
    OTHERS,
    UNKNOWN,
    FailureGroup,
    QueueStatistics,
    Schedule,
    State,
    Statistics,
    TypeStatistics,
)
from evtools.transport.queues import Depth, Plan, PlannedTask, Waiting

RowView: TypeAlias = Literal["types", "workers", "queues", "errors"]
#: A value of a row at a time (epoch seconds); or the name of the attribute that it is.
Value: TypeAlias = Callable[[Any, float], Any] | str

#: How many queues are asked about at most.
QUEUES_MAX: Final = 1000
#: How long depths are remembered, in seconds, and how many of a queue.
HISTORY: Final = 900.0
_SAMPLES_MAX: Final = 200
#: A change of the depth is one over the last minute, and over no less than this, in seconds.
TREND: Final = 60.0
_TREND_MIN: Final = 3.0
#: Time between two looks at what RedBeat plans, in seconds.
PLAN_EVERY: Final = 30.0
#: After this time without any event a connection that hangs has been noticed, in seconds: two
#: heartbeats of it, and some more.
_HANGS: Final = 30.0
#: How late RedBeat may send what is due, in seconds: its clock may be off, and what is new it may
#: notice five minutes later.
_LATE: Final = 15.0
_NEW_LATE: Final = 310.0
#: How much a period by events may differ from the interval that RedBeat has, as a share.
_ALIKE: Final = 0.1
#: Over this time the rates of the queues are, as is the change of their depth.
_MINUTE: Final = "1m"
#: What follows from a rate and the change of the depth is off by up to this share of the rate,
#: and by as many messages and what comes in a second: their times differ.
_SLACK: Final = 0.1
_SLACK_MESSAGES: Final = 2.0
#: How many pairs of a worker and a queue are looked at.
_PAIRS_MAX: Final = 20_000
_UUID_CHARS: Final = 8

# --- fields -----------------------------------------------------------------------------

#: What a figure is, by which it is shown and sorted; and what filters can compare it with.
Sort: TypeAlias = Literal["name", "id", "text", "count", "rate", "duration", "percent", "time"]
# fmt: off
KINDS: Final[Mapping[Sort, Kind]] = {
    "name": Kind.TEXT, "id": Kind.ID, "text": Kind.TEXT, "count": Kind.NUMBER, "rate": Kind.NUMBER,
    "duration": Kind.DURATION, "percent": Kind.NUMBER, "time": Kind.TIME,
}
# fmt: on
TEXTUAL: Final = (Kind.TEXT, Kind.ID, Kind.STATE)


class Readable(Protocol):
    """Something that is read from rows, such as a column."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def about(self) -> str: ...
    @property
    def value(self) -> Callable[[Any, float], Any]: ...


@dataclass(frozen=True, slots=True)
class RowField:
    """A field of rows: what it is `about`, and how it is read."""

    sort: Sort
    name: str
    about: str
    read: Value
    kind: Kind

    @property
    def value(self) -> Callable[[Any, float], Any]:
        if callable(self.read):
            return self.read
        get = attrgetter(self.read)
        return lambda row, _: get(row)


def _table(*fields: tuple[Any, ...]) -> Mapping[str, RowField]:
    # Sort, name, what it is about, how it is read, and the kind if it is not that of the sort.
    made = [RowField(*each[:4], *(each[4:] or (KINDS[each[0]],))) for each in fields]
    return {each.name: each for each in made}


def fields_of(columns: Iterable[Readable], now: Callable[[Any], float]) -> FieldTable:
    """Return the fields of a filter on rows with these columns; bare words search those of text."""

    def getter(column: Readable) -> Callable[[Any], object]:
        read = column.value
        return lambda row: read(row, now(row))

    fields = [Field(one.name, one.kind, getter(one), one.about) for one in columns]
    words = [field.get for field in fields if field.kind in TEXTUAL]
    presence = Field("has", Kind.PRESENCE, lambda _: None, "names a field that is there")
    any_ = Field("any", Kind.TEXTS, lambda row: tuple(get(row) for get in words), "bare words")
    return {field.name: field for field in (*fields, presence, any_)}


class Fields(SimpleNamespace):
    """A row as it was at one moment, and its statistics, if there are any, as `figures`."""

    def get(self, name: str) -> Any:
        """Return the field that a filter asks for, None if there is none of that name."""
        return getattr(self, name, getattr(self.figures, name, None))


def figure(name: str, default: Any = None) -> Callable[[Any, float], Any]:
    """Return what gets a figure of a row, by default `default` where the row has none."""
    # Asked for when a cell is drawn: a quantile is work, and a screen shows few rows.
    get = attrgetter(name)
    return lambda row, _: default if row.figures is None else get(row.figures)


def percent(share: float | None) -> float | None:
    return None if share is None else 100.0 * share


def _counted(state: str) -> Callable[[Any, float], int]:
    return lambda row, _: row.counts.get(state, 0)


def _planned_at(read: Callable[[Schedule, float], float | None]) -> Callable[[Any, float], Any]:
    # Of a type that is on a schedule.
    def value(row: Any, now: float) -> float | None:
        found = None if row.schedule is None else read(row.schedule, now)
        return None if found is None else round(found, 3)

    return value


def _share(row: Any, _: float) -> float | None:
    return percent(getattr(row.figures, "failure_share", None))


def silence(row: Any, now: float) -> float:
    """Return how long ago the last event of a worker came, in seconds."""
    return max(0.0, now - float(row.seen))


# fmt: off
TYPES: Final = _table(
    ("name", "name", "the type of task", "name"),
    ("rate", "rate", "completed per second", "rate"),
    ("count", "ok", "succeeded", _counted("succeeded")),
    ("percent", "share", "failures among those completed, in per cent",
     lambda row, _: percent(row.failure_share)),
    ("count", "failed", "failed", _counted("failed")),
    ("count", "retried", "retries", _counted("retried")),
    ("count", "active", "running now", "running"),
    ("duration", "period", "how often it is sent, if that is regular",
     _planned_at(lambda one, _: one.period)),
    ("duration", "next", "when it should be sent again; ?: nobody knows",
     _planned_at(lambda one, now: one.wait(now))),
    ("duration", "overdue", "for how long that should have been",
     _planned_at(lambda one, now: one.overdue(now))),
    ("duration", "wait_p95", "95 % waited no longer to start", "wait.p95"),
    ("duration", "run_p50", "50 % ran no longer", "run.p50"),
    ("duration", "run_p95", "95 % ran no longer", "run.p95"),
    ("duration", "run_p99", "99 % ran no longer", "run.p99"),
    ("duration", "run_max", "the longest run time", "run.max"),
)
WORKERS: Final = _table(
    ("name", "worker", "its node name", "hostname"),
    ("text", "status", ("online, late (2 beats missed), gone, offline, silent: sends no heartbeats,"
     " busy?: gone or in a task, N processes: that many use its name"), "status"),
    ("duration", "beat", "time since its last event", silence),
    ("count", "active", "running now, of as many as its pool has", "active"),
    ("count", "pool", "size of its pool, once asked", "pool"),
    ("count", "processed", "started since the worker was started", "processed"),
    ("count", "load", "load of its host over 1, 5 and 15 minutes",
     lambda row, _: row.load[0] if row.load else None),
    ("rate", "ok", "succeeded per second", figure("ok_rate", 0.0)),
    ("percent", "share", "failures among those completed, in per cent", _share),
    ("duration", "run_p95", "95 % ran no longer", figure("run.p95")),
    ("duration", "skew", "how far its clock is ahead of ours", "skew"),
    ("count", "missed", "tasks it started of which no events came", "missed"),
    ("count", "processes",
     "processes that use its name, by their heartbeats; more than one is a mistake", "processes"),
    ("name", "queues", "the queues it consumes, once asked", "queues", Kind.OTHER),
    ("text", "version", "the software it runs", "version"),
)
ERRORS: Final = _table(
    ("count", "count", "number of failures", "count"),
    ("rate", "rate", "failures per second", "rate"),
    ("time", "first", "when it was first seen", "first"),
    ("time", "last", "when it was last seen", "last"),
    ("name", "workers", "where: the worker, or how many", lambda row, _: sorted(row.workers),
     Kind.OTHER),
    ("name", "name", "the type of task", "task"),
    ("text", "exc", "the exception, * for its variable parts",
     lambda row, _: f"{row.exception}: {row.message}" if row.message else row.exception),
)
QUEUES: Final = _table(
    ("name", "name", "the queue", "name"),
    ("count", "depth", "messages ready for consumers, as the broker says", "depth.ready"),
    ("count", "ready", "the same as depth", "depth.ready"),
    ("count", "unacked",
     "messages that workers have and did not acknowledge; unknown on RabbitMQ", "depth.unacked"),
    ("count", "consumers",
     "consumers, as the broker or else the workers say; N+: at least so many", "consumers"),
    ("rate", "in_rate", "sent to it per second in the last minute; ~: follows from out and net",
     "in_rate"),
    ("rate", "out_rate",
     "received from it per second in the last minute; ~: follows from in and net", "out_rate"),
    ("count", "net_per_min", "change of the depth per minute, in the last minute", "net_per_min"),
    ("duration", "empty_in", "when it will be empty if it goes on so; never: it does not shrink",
     "empty_in"),
    ("duration", "oldest",
     "since when the message waits that waits for longest (Redis, with task-sent events)",
     "oldest"),
    ("duration", "wait_p95", "95 % waited no longer to start", figure("wait.p95")),
    ("name", "consumed_by", "the workers that say they consume it", "consumed_by", Kind.OTHER),
    ("count", "backlog", "sent and not received yet, by their events", "backlog"),
    ("rate", "published", "sent to it per second in the window", "published"),
    ("rate", "received", "received from it per second in the window", "received"),
)
# fmt: on
#: The fields of all rows of these views, by name.
ROWS: Final[Mapping[RowView, Mapping[str, RowField]]] = {
    "types": TYPES,
    "workers": WORKERS,
    "queues": QUEUES,
    "errors": ERRORS,
}  # fmt: skip
CLUSTER: Final = RowField(
    "text", "cluster", "its cluster", lambda row, _: row.cluster or None, Kind.TEXT
)


def row_fields(view: RowView, now: Callable[[Any], float]) -> FieldTable:
    """Return the fields of filters on the rows of a view; `now` is the time that a row is of."""
    return fields_of((CLUSTER, *ROWS[view].values()), now)


def title_of(row: Any) -> str:
    """Return what a row is about in a few words, as they were sent."""
    exception = getattr(row, "exception", None)
    name = row.name if exception is None else f"{row.task} {exception}"
    return f"{row.cluster} {name}" if row.cluster else name


def title_of_task(task: Any) -> str:
    """Return which task it is in a few words, as they were sent."""
    return f"{task.cluster or ''} {task.name or '?'} {task.uuid[:_UUID_CHARS]}".lstrip()


# --- types ------------------------------------------------------------------------------


def type_rows(
    statistics: Statistics, window: str, now: float, schedules: Mapping[str, Schedule]
) -> list[TypeStatistics]:
    """Return a row for each type, also those on a schedule that no worker has received yet."""
    rows = {row.name: row for row in statistics.types(window, now)}
    for name, schedule in schedules.items():
        row = rows.setdefault(name, TypeStatistics(name, {}, 1.0, 0))
        row.schedule = schedule
    return list(rows.values())


def schedules_of(
    statistics: Statistics,
    now: float,
    *,
    unseen: float,
    latest: float,
    plan: Plan,
    planned_at: float,
) -> dict[str, Schedule]:
    """Return the types of task that are sent on a schedule, as of `now`.

    What happened until `unseen` nobody saw, and `latest` the last event came.  `plan` is what
    RedBeat plans, as it said at `planned_at`.  All times are UTC epoch seconds.
    """
    found = statistics.schedules(now)
    # What a history has of before says nothing of now.  (In a replay it is another now.)
    if unseen <= now:
        found = {name: each.unseen(unseen) for name, each in found.items()}
    # That something came later shows that the connection did not hang.
    sure = max(latest, now - _HANGS)
    for name, each in found.items():
        if each.overdue(now) and not each.overdue(sure):
            found[name] = replace(each, late_at=None)
    # Of several entries of one type the earliest.
    tasks = sorted(plan.tasks, key=attrgetter("due"), reverse=True)
    planned = {task.task: task for task in tasks}
    return found | {
        name: _planned(one, planned_at, found.get(name)) for name, one in planned.items()
    }


def _planned(task: PlannedTask, at: float, seen: Schedule | None) -> Schedule:
    """Return when RedBeat is to send a task, as it said `at` a time; `seen` is what events say."""
    source, last = f"RedBeat: {task.name}", task.last
    tolerance = _LATE if last is not None else _NEW_LATE
    is_late = at - task.due > tolerance
    if seen is not None:
        if seen.last is not None:
            last = max(seen.last, last or 0.0)
        is_alike = task.every and abs((seen.period or 0.0) - task.every) <= _ALIKE * task.every
        if is_alike and seen.next is not None and not is_late:
            # Events are newer.
            return replace(seen, source=f"{source}; {seen.source}", rule=task.schedule)
    return Schedule(
        period=task.every or (None if seen is None else seen.period),
        last=last,
        next=task.due,
        late_at=task.due if is_late else None,
        # What is due may have been sent since then.
        tolerance=0.0 if is_late else tolerance + PLAN_EVERY,
        source=source,
        rule=task.schedule,
    )


# --- workers ----------------------------------------------------------------------------


@dataclass(slots=True)
class WorkerFacts:
    """What a worker said of itself; None until it did.

    `pool` is the size of its pool, `pid` that of its main process, `queues` the names of those
    it consumes, and `shown_queues` the same, masked as events are.  `at` is when it said any of
    that last, in UTC epoch seconds by our clock.
    """

    pool: int | None = None
    pid: int | None = None
    queues: tuple[str, ...] | None = None
    shown_queues: tuple[str, ...] | None = None
    at: float = 0.0


_UNASKED: Final = WorkerFacts()
#: The fields of a worker that its row has, too.
_OF_WORKER: Final = ("hostname", "processed", "skew", "missed", "pid", "freq")


def worker_rows(
    state: State, statistics: Statistics, window: str, now: float, asked: Mapping[str, WorkerFacts]
) -> Iterator[Fields]:
    """Yield a row for each worker; `asked` is what those said of themselves that were asked."""
    figures = {each.name: each for each in statistics.workers(window, now)}
    for name, worker in state.workers.items():
        status = worker.status(now)
        software = " ".join(filter(None, (worker.sw_ident, worker.sw_ver)))
        facts = asked.get(name, _UNASKED)
        # What it reported last to be running no longer is.
        is_past = status in ("offline", "gone") or worker.answers_only(now)
        yield Fields(
            **{name: getattr(worker, name) for name in _OF_WORKER},
            name=name,
            cluster=state.cluster,
            status=status,
            seen=worker.local_received,
            active=None if is_past else worker.active,
            load=worker.loadavg or (),
            figures=figures.get(name),
            version=software or None,
            system=worker.sw_sys,
            processes=worker.processes(now) or None,
            pool=facts.pool,
            queues=None if facts.shown_queues is None else list(facts.shown_queues),
        )


# --- errors -----------------------------------------------------------------------------


def error_rows(statistics: Statistics, window: str, now: float) -> list[FailureGroup]:
    """Return a row for each kind of failure."""
    return statistics.failures(window, now)


# --- queues -----------------------------------------------------------------------------


#: A depth, and when it was that, in seconds of the monotonic clock.
Sample: TypeAlias = tuple[float, int]


class Trend(NamedTuple):
    """How a depth changed: by so many messages per minute, over the last `span` seconds."""

    per_minute: float
    span: float


def trend_of(samples: Sequence[Sample]) -> Trend | None:
    """Return how the depth changed within the last minute, None if it is not known for long."""
    if not samples:
        return None
    latest, depth = samples[-1]
    # The difference of two depths that the broker gave: nothing is smoothed.
    first, before = next(one for one in samples if one[0] >= latest - TREND)
    span = latest - first
    return Trend(60.0 * (depth - before) / span, span) if span >= _TREND_MIN else None


class QueueFacts(NamedTuple):
    """What a broker said of queues, or else why not: `error`.

    `history` has the depths of the last minutes by queue, oldest first, and `waiting` the name
    of a queue and what waits in it.  `at` is when it was said, in seconds of the monotonic clock.
    """

    depths: Mapping[str, Depth] = MappingProxyType({})
    history: Mapping[str, tuple[Sample, ...]] = MappingProxyType({})
    waiting: tuple[str, Waiting] | None = None
    error: str = ""
    at: float = -math.inf


def with_depths(
    history: Mapping[str, tuple[Sample, ...]], depths: Mapping[str, Depth], now: float
) -> dict[str, tuple[Sample, ...]]:
    """Return a history of depths with new ones, of `now`, in seconds of the monotonic clock."""
    kept = {queue: samples for queue, samples in history.items() if now - samples[-1][0] <= HISTORY}
    for queue, depth in depths.items():
        if depth.ready is not None:
            recent = [one for one in kept.get(queue, ()) if now - one[0] <= HISTORY]
            kept[queue] = (*recent, (now, depth.ready))[-_SAMPLES_MAX:]
    for queue in sorted(kept, key=lambda one: kept[one][-1][0])[: -2 * QUEUES_MAX]:
        del kept[queue]
    return kept


NO_FACTS: Final = QueueFacts()
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
        self,
        counts: _Counts,
        seconds: float,
        ever: _Counts,
        seen: set[str],
        asked: Mapping[str, WorkerFacts] | None,
    ) -> None:
        self._counts, self._seconds, self._ever, self._seen = counts, seconds, ever.queues, seen
        self._more: Counter[str] = Counter()
        #: The queues of which it is not known how many of the tasks were theirs.
        self._unclear: set[str] = set()
        self._is_clear = not counts.nobodys
        for worker, count in counts.unplaced.items():
            facts = None if asked is None else asked.get(worker)
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


class QueueRows:
    """The queues of one cluster, as events, its workers and its broker have them."""

    def __init__(self, state: State, statistics: Statistics) -> None:
        self._state, self._statistics = state, statistics
        #: What the broker said, as of the rows.
        self.facts = NO_FACTS
        #: What workers said of themselves, None if they are not asked, and whether any has.
        self._asked: Mapping[str, WorkerFacts] | None = None
        self._has_replies = False
        #: What events had said when the broker answered, over the last minute.
        self._counted: deque[tuple[float, _Counts]] = deque()

    def rows(
        self,
        window: str,
        now: float,
        facts: QueueFacts,
        asked: Mapping[str, WorkerFacts] | None,
        *,
        has_replies: bool,
    ) -> Iterator[Fields]:
        """Yield a row for each queue, as of `now` (UTC epoch seconds)."""
        statistics = self._statistics
        self.facts, self._asked, self._has_replies = facts, asked, has_replies
        figures = {each.name: each for each in statistics.queues(window, now)}
        ever = statistics.queues("all", now)
        counts = _Counts.of(ever)
        seen = {worker for row in ever for worker in row.received_by}
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
                flows[since[0]] = _Flow(span, seconds, counts, seen, self._asked)
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
        said, workers = self._asked, self._state.workers
        if said is None:
            return {}, False
        found: dict[str, list[str]] = {}
        pairs = 0
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
        return found, self._has_replies and all(has_said)

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
        elif row.consumers is None and row.figures is not None and not self._has_replies:
            workers = self._state.workers
            receivers = [workers.get(one) for one in row.figures.received_by]
            alive = [one for one in receivers if one is not None and one.status(now) in ALIVE]
            row.consumers = len(alive) or None

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
        tasks = [self._state.tasks.find(uuid) for uuid in depth.oldest]
        sent = [None if task is None else task.sent for task in tasks]
        times = [one for one in sent if one is not None]
        return max(0.0, now - min(times)) if len(times) == len(sent) else None
