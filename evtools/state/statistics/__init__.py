"""Statistics of a cluster, and which tasks wait in which queue, from what events changed."""

import math
from array import array
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from weakref import ref

from evtools.state.attempts import STARTED as STARTED_STATE
from evtools.state.statistics.failures import FailureGroup, Failures
from evtools.state.statistics.rows import (
    CANCELLED,
    EVENTS,
    FAILED,
    OTHERS,
    PUBLISHED,
    RECEIVED,
    REJECTED,
    RETRIED,
    REVOKED,
    RUN,
    SKEWED,
    STARTED,
    SUCCEEDED,
    UNKNOWN,
    WAIT,
    WORKER,
    QueueStatistics,
    Schedule,
    Totals,
    TypeStatistics,
    WorkerStatistics,
    add_duration,
)
from evtools.state.statistics.windows import WIDTHS, WINDOWS, Cells, Windows, merge
from evtools.wire import TIME_MAX, Gap

if TYPE_CHECKING:
    from evtools.state.core import Change
    from evtools.state.task import Task

#: Tasks that are followed while they run.
_RUNNING_MAX: Final = 10_000
_RUNNING_BYTES: Final = 250
_ALL: Final = "all"
_TIME_MAX: Final = float(TIME_MAX)
#: How far back the flow goes, in seconds.
REACH: Final = 300
#: What is looked back at has whole minutes, and as many as these at least, in seconds.
_MINUTE: Final = 60.0
_BEFORE_MIN: Final = 300.0
#: What there are statistics of.
Kind: TypeAlias = Literal["types", "workers", "queues", "errors", "events"]


class Statistics:
    """Counts, rates and quantiles by task type, queue, worker and kind of failure.

    All of it over each of `WINDOWS`, which slide by the time we received
    events (`local_received`) and never by what senders' clocks say; `now`, in
    seconds of the same clock, is given by whoever reads, and does not go back
    before the newest event.  Bounded by the number of names and in bytes,
    whatever senders call things: names that were silent for longest go into a
    row `OTHERS`, with their counts.

    The minutes of the last 24 hours are kept to be looked back at, of names as they were then,
    in `past_bytes` at most: half of that is for the types (50 of them with 40 tasks a minute each
    take 26 MiB), an eighth for each other kind, and the oldest minutes go first.

    With `slides` false there is the window `all` only, and nothing to look back at.  So much of
    the newest traceback of each kind of failure is kept as `traceback_chars` says.

    For those who look at more than a day, `on_slot` is called with what each slot of five seconds
    has counted for types, by name, before it closes, and with when it began.

    One thread at a time.
    """

    def __init__(
        self,
        *,
        max_types: int = 1000,
        max_queues: int = 1000,
        max_workers: int = 5000,
        max_groups: int = 1000,
        past_bytes: int = 64 * 2**20,
        slides: bool = True,
        traceback_chars: int = 0,
        on_slot: Callable[[float, Mapping[str, Cells]], object] | None = None,
    ) -> None:
        self._on_slot = on_slot
        self._types = Windows(others=OTHERS, max_names=max_types, slides=slides)
        self._workers = Windows(others=OTHERS, max_names=max_workers, slides=slides)
        self._queues = Queues(max_queues, slides=slides)
        self._failures = Failures(max_groups, slides=slides, traceback_chars=traceback_chars)
        self._runs = Runs(max_types)
        #: Events of any kind.
        self._events = Windows(others=OTHERS, max_names=1, slides=slides)
        self._tables: tuple[Windows[Any], ...] = (
            self._types,
            self._workers,
            self._events,
            self._queues.windows,
            self._failures.windows,
        )
        self.past_bytes = past_bytes
        #: Seconds in which events came, oldest first, and how many.
        self._flow: deque[tuple[float, int]] = deque(maxlen=REACH + 1)
        #: The tasks that run, as long as the state has them; keyed by hash, for a
        #: uuid may be long.
        self._running: OrderedDict[int, ref[Task]] = OrderedDict()
        #: When the newest event came; the present, as far as it was given.
        self._latest = self._now = 0.0
        self._next_second = self._next_slot = -math.inf
        #: Events that are not in the flow yet.
        self._uncounted = 0
        self._takers: Mapping[str, Callable[[Any, Change], None]] = {
            "task-sent": self._sent,
            "task-received": self._received,
            "task-started": self._started,
            "task-succeeded": partial(self._completed, SUCCEEDED),
            "task-failed": self._failed,
            "task-retried": partial(self._ended, RETRIED),
            "task-revoked": self._revoked,
            "task-rejected": partial(self._ended, REJECTED),
            "task-cancelled": partial(self._ended, CANCELLED),
        }

    @property
    def past_bytes(self) -> int:
        """How much memory the minutes that are kept may take; the next ones keep to it."""
        return self._past_bytes

    @past_bytes.setter
    def past_bytes(self, past_bytes: int) -> None:
        self._past_bytes = past_bytes
        for table in self._tables:
            table.limit_past(past_bytes // (2 if table is self._types else 8))

    def take(self, changes: Iterable["Change"]) -> None:
        """Take in what events changed, in the order they were received.

        What cannot be counted keeps nothing else from being counted: the first error
        is raised at the end.
        """
        takers = self._takers
        failure: Exception | None = None
        latest: Any = None
        for change in changes:
            event = change.event
            received = event.local_received
            try:
                # What came together came at the same time.
                if received is not latest:
                    latest = received
                    if received >= self._next_second:
                        self._advance(received)
                self._uncounted += 1
                if change.subject is not None:
                    taker = takers.get(event.type)
                    if taker is not None:
                        taker(change.subject, change)
                elif isinstance(event, Gap):
                    # What ran in it nobody saw.
                    self._runs.unseen_until = max(self._runs.unseen_until, received)
            except Exception as error:  # noqa: BLE001  (the others are counted first)
                failure = failure or error
        if failure is not None:
            raise failure

    def seed(self, tasks: Iterable["Task"]) -> None:
        """Know of tasks that workers named when they were asked: which of them run."""
        for task in tasks:
            self._types[task.name or UNKNOWN]  # has a row of its own by that
            if task.state == STARTED_STATE:
                self._run(task)

    # -- reading -----------------------------------------------------------------

    def types(self, window: str, now: float) -> list[TypeStatistics]:
        """Return all task types, also those where nothing happened in the window."""
        now = self._settle(now)
        types = self._types
        counted = types.read(window, now)
        seconds = types.covered(window, now)
        running: Counter[str] = Counter()
        for remembered in self._running.values():
            task = remembered()
            # Of a worker that is not there, it runs no more, and who knows what nobody saw.
            if task is not None and not (task.lost(now) or task.may_have_ended(now)):
                name = task.name or UNKNOWN
                running[name if name in types.names else OTHERS] += 1
        names = [*types.names, *([OTHERS] if types.folded else [])]
        return [
            TypeStatistics(name, counted.get(name, {}), seconds, running[name]) for name in names
        ]

    def schedules(self, now: float) -> dict[str, Schedule]:
        """Return the types that are sent at a period, by name, as of `now`."""
        return self._runs.schedules(self._settle(now))

    def queues(self, window: str, now: float) -> list[QueueStatistics]:
        """Return all queues, also those where nothing happened in the window."""
        return self._queues.rows(window, self._settle(now))

    def workers(self, window: str, now: float) -> list[WorkerStatistics]:
        """Return the workers that ran something in the window."""
        now = self._settle(now)
        seconds = self._workers.covered(window, now)
        return [
            WorkerStatistics(name, cells, seconds)
            for name, cells in self._workers.read(window, now).items()
        ]

    def failures(self, window: str, now: float) -> list[FailureGroup]:
        """Return the kinds of failures that happened in the window."""
        return self._failures.rows(window, self._settle(now))

    def totals(self, window: str, now: float) -> Totals:
        """Return the figures of the whole cluster."""
        now = self._settle(now)
        seconds = self._events.covered(window, now)
        # Made of what the table of types shows, so that the two agree.
        total = self._events.read(window, now).get(_ALL, {})
        for cells in self._types.read(window, now).values():
            merge(total, cells)
        return Totals("", total, seconds)

    def over_time(
        self,
        kind: Kind,
        name: str | tuple[str, str, str] | None,
        span: float,
        now: float,
        columns: int,
    ) -> list[Totals]:
        """Return the figures of a name over the last `span` seconds in up to so many `columns`.

        The newest is last, and not over yet; before the first event there are none.  A column is a
        whole number of slots of time, and stands still until it is over.  With None for a name they
        are of all names.  A kind of failure is named by its task, exception and message.
        """
        now = self._settle(now)
        width, slots = self._windows_of(kind).series(name, span, now)
        wide = width * max(1, math.ceil(span / width / max(1, columns)))
        first = now // width - len(slots) + 1
        rows: list[Totals] = []
        for index, cells in enumerate(slots):
            start = (first + index) * width
            if rows and start // wide == (start - width) // wide:
                rows[-1].add(cells)
            else:
                seconds = min(wide, max(1.0, now - start // wide * wide))
                rows.append(Totals("", cells, seconds))
        return rows[-columns:]

    def watched(self, now: float) -> float:
        """Return for how many seconds there have been events."""
        since = self._events.since
        return 0.0 if since is None else max(0.0, now - since)

    def before(self, kind: Kind, window: str, ago: float, now: float) -> Mapping[Any, Totals]:
        """Return the figures of a window that ended `ago` seconds earlier, by name.

        It has whole minutes, and lasts 5 minutes at least.  Empty where it is not remembered.
        """
        now = self._settle(now)
        windows, span = self._windows_of(kind), max(_BEFORE_MIN, WINDOWS[window] or REACH)
        end = (now - ago) // _MINUTE * _MINUTE
        if windows.reach(now) < ago + span:
            return {}
        counted = windows.between(end - span, end)
        return {name: Totals("", cells, span) for name, cells in counted.items()}

    def _windows_of(self, kind: Kind) -> Windows[Any]:
        found: Mapping[Kind, Windows[Any]] = {
            "types": self._types,
            "workers": self._workers,
            "queues": self._queues.windows,
            "errors": self._failures.windows,
            "events": self._events,
        }
        return found[kind]

    def flow(self, columns: int, now: float) -> list[float]:
        """Return events per second over the last 5 minutes in so many columns, newest last.

        Columns are whole seconds wide and stand still: they move on by one
        at a time.  The second that is not over yet is in none.
        """
        end = self._settle(now) // 1
        if columns < 1:
            return []
        width = -(-REACH // columns)
        newest = (end - 1) // width
        sums = [0] * columns
        for second, count in self._flow:
            column = columns - 1 + (second // width - newest)
            if 0 <= column < columns and second < end:
                sums[int(column)] += count
        rates = [total / width for total in sums]
        rates[-1] = sums[-1] / (end - newest * width)
        return rates

    def trend(self, kind: Kind, name: str | tuple[str, str, str], now: float) -> list[float]:
        """Return tasks of a name completed per second, over 5 minutes, newest last.

        Of a queue those that were received from it, of a kind of failure its failures.
        """
        cells = (RECEIVED,) if kind == "queues" else (SUCCEEDED, FAILED)
        return self._windows_of(kind).trend(name, cells, self._settle(now))

    @property
    def peak(self) -> float:
        """The most events in one second of the last five minutes."""
        now = self._settle(self._now)
        return max(
            (count for second, count in self._flow if now - REACH <= second < now), default=0.0
        )

    @property
    def weight_bytes(self) -> int:
        """About how much memory all of this takes."""
        running = len(self._running) * _RUNNING_BYTES + self._runs.weight_bytes()
        tables = sum(table.weight_bytes() for table in self._tables)
        kept = self._failures.weight_bytes() + self._queues.weight_bytes()
        return running + tables + kept

    # -- time --------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Go on to another second, and perhaps to another slot."""
        if not 0 <= now <= _TIME_MAX:
            return
        self._settle(now)
        self._latest = now
        self._next_second = now // 1 + 1
        if now >= self._next_slot:
            self.give_out()
            self._next_slot = min([table.advance(now) for table in self._tables])

    def give_out(self) -> None:
        """Call `on_slot` with the slot that is open, if it has anything: nothing follows it."""
        if self._on_slot is not None and self._types:
            self._on_slot(self._types.slot * WIDTHS[0], self._types)

    def _settle(self, now: float) -> float:
        """Count the events that came; return what `now` is to be taken for."""
        if count := self._uncounted:
            self._events[_ALL][EVENTS] += count
            self._uncounted = 0
            second = self._latest // 1
            if self._flow and self._flow[-1][0] >= second:
                second, before = self._flow.pop()
                count += before
            self._flow.append((second, count))
        self._now = max(now, self._latest)
        return self._now

    # -- what each type of event counts for ----------------------------------------
    #
    # Events are counted and not transitions: of a task that is retried
    # the next attempt may be received before the event of the retry, which then
    # changes the state no more.

    def _sent(self, task: "Task", change: "Change") -> None:
        event = change.event
        if change.created and not event.parent_id and not event.retries:
            self._runs.add(event)
        self._queues.sent(task)

    def _received(self, task: "Task", change: "Change") -> None:
        self._types[task.name or UNKNOWN][RECEIVED] += 1
        event = change.event
        # What waits for its ETA is received when there is room for it, or again and again.
        if change.created and not event.parent_id and not event.retries and event.eta is None:
            self._runs.add(event)
        self._queues.received(task, change.event.hostname or task.worker_name)

    def _started(self, task: "Task", change: "Change") -> None:
        of_type = self._types[task.name or UNKNOWN]
        of_type[STARTED] += 1
        wait = task.wait
        if wait is not None or (task.sent is not None and task.started is not None):
            of_queue = self._queues.windows[task.queue_or_none or UNKNOWN]
            if wait is not None:
                add_duration((of_type, of_queue), WAIT, wait)
            else:
                of_type[SKEWED] += 1
                of_queue[SKEWED] += 1
        self._queues.left(task)
        if change.after == STARTED_STATE:
            self._run(task)

    def _run(self, task: "Task") -> None:
        self._running[hash(task.uuid)] = ref(task)
        if len(self._running) > _RUNNING_MAX:
            self._running.popitem(last=False)

    def _completed(self, cell: int, task: "Task", change: "Change") -> None:
        # What the event says is of its own attempt, the task shows the newest.
        event = change.event
        of_type = self._types[task.name or UNKNOWN]
        of_type[cell] += 1
        tables: tuple[Any, ...] = (of_type,)
        hostname = event.hostname or task.worker_name
        if hostname is not None:
            of_worker = self._workers[hostname]
            of_worker[cell] += 1
            tables = (of_type, of_worker)
        runtime: Any = event.runtime
        if runtime is None:
            runtime = task.runtime
        if runtime is not None:
            add_duration(tables, RUN, runtime)
        self._stopped(task, change)

    def _failed(self, task: "Task", change: "Change") -> None:
        if task.repeats(change.event):
            return
        self._completed(FAILED, task, change)
        self._queues.left(task)
        self._failures.add(task, change.event, self._latest)

    def _revoked(self, task: "Task", change: "Change") -> None:
        # Every worker that meets the task reports that it is revoked.
        if change.before != change.after:
            self._ended(REVOKED, task, change)

    def _ended(self, cell: int, task: "Task", change: "Change") -> None:
        self._types[task.name or UNKNOWN][cell] += 1
        self._queues.left(task)
        self._stopped(task, change)

    def _stopped(self, task: "Task", change: "Change") -> None:
        key = hash(task.uuid)
        if key in self._running and change.after != STARTED_STATE:
            del self._running[key]


# --- queues -----------------------------------------------------------------------------

#: Tasks that are followed while they wait; with more, the oldest are let go.
WAITING_MAX: Final = 100_000
_UNPLACED_MAX: Final = 10_000
#: How many workers are distinguished.
_WORKERS_MAX: Final = 10_000
_ENTRY_BYTES: Final = 200
_RECEIPT_BYTES: Final = 300

#: A slot, and the cell of the worker, or that of all receipts if there was none.
_Receipt: TypeAlias = tuple[float, int]

NO_SENT: Final = "no task-sent events: task_send_sent_event is off on the clients"
NOT_SENT: Final = "no task-sent event has their queue"
TOO_MANY: Final = f"more wait: only the newest {WAITING_MAX:,} of all are followed"


class Queues:
    """Counts for each queue, and the tasks that wait in it.

    Only `task-sent` names the queue.  What is received and was never seen
    sent counts for `UNKNOWN`.
    """

    def __init__(self, max_names: int, *, slides: bool) -> None:
        self.windows: Windows[str] = Windows(
            others=OTHERS, max_names=max_names, on_fold=self._folded, slides=slides
        )
        #: The queue of each task that waits; keyed by hash, for a uuid may be long.
        self._waiting: OrderedDict[int, str] = OrderedDict()
        self._saw_sent = self._overflowed = False
        #: Receipts of tasks whose queue is not known yet, by the task, each with the
        #: slot and the cell it is counted in.
        self._unplaced: OrderedDict[int, list[_Receipt]] = OrderedDict()
        self._unplaced_count = 0
        self._cell_of: dict[str, int] = {}
        self._shares_cells = False

    def sent(self, task: "Task") -> None:
        """Count a task as published."""
        self._saw_sent = True
        queue, key = task.queue_or_none or UNKNOWN, hash(task.uuid)
        self.windows[queue][PUBLISHED] += 1
        if task.received is None:
            self._waiting[key] = queue
            if len(self._waiting) > WAITING_MAX:
                self._waiting.popitem(last=False)
                self._overflowed = True
        # The events of a quick worker may come before the client's.
        for slot, worker in self._let_go(key):
            for name, count in ((UNKNOWN, -1), (queue, 1)):
                self.windows.amend(name, dict.fromkeys((RECEIVED, worker), count), slot)

    def received(self, task: "Task", hostname: str | None) -> None:
        """Count a task as received by a worker."""
        self.left(task)
        cells = self.windows[task.queue_or_none or UNKNOWN]
        cells[RECEIVED] += 1
        cell = RECEIVED
        if hostname:
            cell = self._cell_of.get(hostname, 0)
            if not cell:
                if len(self._cell_of) >= _WORKERS_MAX:
                    # From here on two workers may share a cell, and count as one.
                    self._cell_of.clear()
                    self._shares_cells = True
                cell = self._cell_of[hostname] = WORKER + len(self._cell_of)
            cells[cell] += 1
        if task.queue_or_none is None:
            key = hash(task.uuid)
            self._unplaced.setdefault(key, []).append((self.windows.slot, cell))
            self._unplaced_count += 1
            while self._unplaced_count > _UNPLACED_MAX:
                self._let_go(next(iter(self._unplaced)))

    def _let_go(self, key: int) -> list[_Receipt]:
        """Return the receipts of a task, and remember them no more."""
        receipts = self._unplaced.pop(key, [])
        self._unplaced_count -= len(receipts)
        return receipts

    def left(self, task: "Task") -> None:
        """Know that a task waits no longer."""
        if self._waiting:
            self._waiting.pop(hash(task.uuid), None)

    def _folded(self, name: str) -> None:
        if name == UNKNOWN:
            self._unplaced.clear()
            self._unplaced_count = 0

    def rows(self, window: str, now: float) -> list[QueueStatistics]:
        """Return all queues, also those where nothing happened in the window."""
        counted = self.windows.read(window, now)
        seconds = self.windows.covered(window, now)
        known = self.windows.names
        waiting = Counter(name if name in known else OTHERS for name in self._waiting.values())
        reason = TOO_MANY if self._overflowed else ""
        workers = () if self._shares_cells else tuple(self._cell_of)
        rows = [
            QueueStatistics(name, counted.get(name, {}), seconds, waiting[name], reason, workers)
            for name in (*known, *([OTHERS] if self.windows.folded else []))
        ]
        for row in [row for row in rows if row.name == UNKNOWN]:
            row.backlog, row.backlog_reason = None, NOT_SENT if self._saw_sent else NO_SENT
            # The end of a quick task may come before the event with its queue.
            if self._saw_sent and not (row.published or row.received):
                rows.remove(row)
        return rows

    def weight_bytes(self) -> int:
        """Return about how much memory this takes beside the windows."""
        entries = len(self._waiting) + len(self._cell_of)
        return entries * _ENTRY_BYTES + self._unplaced_count * _RECEIPT_BYTES


# --- schedules --------------------------------------------------------------------------
#
# A type has a period if it is sent at one: by nobody's task, and for the first time.  Of the last
# runs that are remembered of each type, the time between two is the period if it differs from the
# median by no more than a share of it; twice or three times that is a run that was left out.
# Shares and counts are such that tasks that come at random do not pass: each of so many times in
# between would have to be within the share by chance.

#: How many runs are remembered of a type; each takes 16 bytes.
_RUNS_MAX: Final = 16
#: Measured: what a type takes here.
_RUNS_BYTES: Final = 700
#: What is sent within this time of the run before is of the same one, in seconds.
_BURST: Final = 0.5
_PERIOD_MIN: Final = 2 * _BURST
#: How many times in between have to be one period long.
_PERIODS_MIN: Final = 4
#: How much one may differ, as a share of the period: where there are at least so many of them and
#: the period is that long (seconds), or else.
_SPREAD, _MANY, _LONG, _SPREAD_OF_FEW = 0.1, 8, 10 * _BURST, 0.05
#: Which share of the times in between has to agree where there are many; of few, all.
_AGREE: Final = 0.7
#: More than so many periods without a run are a pause.
_LEFT_OUT_MAX: Final = 3
#: A run is late after twice what others were, and no less than this share of the period and
#: this time in seconds.
_LATE_SHARE, _LATE_MIN = 0.02, 1.0
#: What has not run for so many periods, and so long (seconds), is not on a schedule any more.
_OVER_PERIODS, _OVER_MIN = 10, 86_400.0


class Runs:
    """When tasks of each type were sent that no other task sent, and at which period.

    Of a task of which no sending was seen that is when it was first received.  Retries and
    messages that are delivered again are no runs, as long as the state remembers their task.
    """

    def __init__(self, max_types: int) -> None:
        #: Until when something may have run unseen, in UTC epoch seconds by our clock.
        self.unseen_until = 0.0
        self._max_types = max_types
        self._types: dict[str, _TypeRuns] = {}

    def add(self, event: Any) -> None:
        """Add a run, by the first event of its task."""
        name, received = event.name or UNKNOWN, event.local_received
        at = received if event.timestamp is None else event.timestamp
        runs = self._types.get(name)
        if runs is None:
            if len(self._types) >= self._max_types:
                self._forget()
            runs = self._types[name] = _TypeRuns()
        since = at - runs.last
        if -_BURST < since < _BURST:
            if since > 0:
                runs.last = at
            return
        runs.add(at, received, self.unseen_until)

    def _forget(self) -> None:
        # Some at once: those that ran seldom, and of these what has not run for longest.
        order = sorted(self._types, key=lambda name: self._types[name].order)
        for name in order[: max(1, self._max_types // 10)]:
            del self._types[name]

    def schedules(self, now: float) -> dict[str, Schedule]:
        """Return the types that are sent at a period, as of `now` (UTC epoch seconds)."""
        schedules: dict[str, Schedule] = {}
        for name, runs in self._types.items():
            if runs.is_new:
                runs.found, runs.is_new = runs.find(), False
            found = runs.found
            if found is None or found.last is None or found.period is None or name == UNKNOWN:
                continue
            if now - found.last <= max(_OVER_MIN, _OVER_PERIODS * found.period):
                schedules[name] = found.unseen(self.unseen_until)
        return schedules

    def weight_bytes(self) -> int:
        """Return about how much memory this takes."""
        return len(self._types) * _RUNS_BYTES


class _TypeRuns:
    __slots__ = ("_at", "_count", "_pauses", "_received", "found", "is_new", "last")

    def __init__(self) -> None:
        # By the clock of the sender and by ours; below zero after what nobody saw.
        self._at, self._received = array("d"), array("d")
        self._count = 0
        #: The longest time without a run, and the next longest: in seconds.
        self._pauses = (0.0, 0.0)
        self.last = -math.inf
        self.found: Schedule | None = None
        self.is_new = False

    @property
    def order(self) -> tuple[bool, float]:
        return len(self._at) > _PERIODS_MIN, max(map(abs, self._received), default=0.0)

    def add(self, at: float, received: float, unseen_until: float) -> None:
        was_seen = self._count and abs(self._received[self._newest]) >= unseen_until
        longest, second = self._pauses
        if was_seen and (pause := at - self.last) > second:
            self._pauses = max(longest, pause), min(longest, pause)
        self._count += 1
        self.last, self.is_new = at, True
        received = received if was_seen else -received
        if self._count <= _RUNS_MAX:
            self._at.append(at)
            self._received.append(received)
        else:
            self._at[self._newest], self._received[self._newest] = at, received

    @property
    def _newest(self) -> int:
        return (self._count - 1) % _RUNS_MAX

    def find(self) -> Schedule | None:
        """Return the schedule that the runs keep to, None if they keep to none."""
        # By our clock.  Some clocks are off, some events late, and some are forged.
        seen = [abs(received) for received in self._received]
        ahead = _median(ours - at for ours, at in zip(seen, self._at, strict=True))
        runs = sorted(
            (min(at + ahead, abs(received)), received > 0)
            for at, received in zip(self._at, self._received, strict=True)
        )
        between = [(after[0] - before[0], after[1]) for before, after in pairwise(runs)]
        known = [span for span, was_seen in between if was_seen]
        if len(known) < _PERIODS_MIN:
            return None
        period = _median(known)
        spread = _SPREAD if len(known) >= _MANY and period >= _LONG else _SPREAD_OF_FEW
        pauses = [span > (_LEFT_OUT_MAX + spread) * period for span in known]
        # One that has just begun anew may have another period by now.
        if (
            period < _PERIOD_MIN * (1 - spread)
            or sum(pauses) > 1
            or (pauses[-1] and between[-1][1])
        ):
            return None
        agreeing = [
            (span, times)
            for span in known
            if 1 <= (times := round(span / period)) <= _LEFT_OUT_MAX
            and abs(span - times * period) <= spread * period
        ]
        least = len(known) - sum(pauses)
        least = math.ceil(_AGREE * least) if least >= _MANY else least
        if len(agreeing) < least or sum(times == 1 for _, times in agreeing) < _PERIODS_MIN:
            return None
        # What one is late the next is early.
        period = sum(span for span, _ in agreeing) / sum(times for _, times in agreeing)
        jitter = max(abs(span - times * period) for span, times in agreeing)
        tolerance = max(_LATE_MIN, _LATE_SHARE * period, 2 * jitter)
        # How long there was nothing before, more than once, may be how it should be.
        longest = max(times for _, times in agreeing) * period
        if self._pauses[1] > _LEFT_OUT_MAX * period:
            longest = max(longest, self._pauses[1])
        starts = [at for at, _ in runs]
        following = _regular(starts, period, tolerance) + period
        late_at = max(following, starts[-1] + longest)
        source = f"events: {len(agreeing)} of the last {len(known)} times in between agree"
        return Schedule(period, starts[-1], following, late_at, tolerance, source)


def _median(values: Iterable[float]) -> float:
    # The lower of two.  To import the module statistics takes 25 ms.
    found = sorted(values)
    return found[(len(found) - 1) // 2]


def _regular(starts: list[float], period: float, tolerance: float) -> float:
    # The newest run that is a number of periods from most others: not one that came in between,
    # unless there was nothing else for long.
    def fits(at: float) -> bool:
        off = [abs((at - each + period / 2) % period - period / 2) for each in starts]
        return 2 * sum(one <= tolerance for one in off) > len(starts)

    recent = [at for at in starts[-3:] if at > starts[-1] - period]
    return max(recent, key=lambda at: (fits(at), at))
