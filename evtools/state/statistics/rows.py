"""What is counted for one name in a window, and the figures that are shown of it."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple

from evtools.state.attempts import MOMENTS
from evtools.state.statistics.windows import Cells, merge

# --- cells: what is counted, as small integers ------------------------------------------

# Events of tasks, in the order of `MOMENTS`.
PUBLISHED, RECEIVED, STARTED, SUCCEEDED, FAILED, RETRIED, REVOKED, REJECTED, CANCELLED = range(9)
#: Events of any kind.
EVENTS: Final = 9
#: Waits that would be below zero: the sender's clock is behind the client's.
SKEWED: Final = 10

#: The cells that count what workers report of tasks, by name.
STATES: Final = {name: cell for cell, name in enumerate(MOMENTS.values()) if cell != PUBLISHED}

#: The shortest duration that is distinguished, in seconds.
SHORTEST: Final = 1e-4
#: Durations above (eleven days) count as this long.
LONGEST: Final = 1e6
#: So a quantile is wrong by no more than a twentieth of its value.
_GROWTH: Final = 1.1

#: The longest duration of each bucket, in seconds; one more has the rest.
BOUNDS: Final = [SHORTEST]
while BOUNDS[-1] < LONGEST:
    BOUNDS.append(BOUNDS[-1] * _GROWTH)
BUCKETS: Final = len(BOUNDS) + 1
#: Where the buckets of each histogram begin.
RUN: Final = 100
WAIT: Final = RUN + BUCKETS
#: From here on each cell is a worker.
WORKER: Final = WAIT + BUCKETS

#: By histogram, the cells of its longest duration and of its shortest with its sign
#: turned round: as they are, not counted; of two of them the greater stays.
_EXTREMES: Final = {RUN: (-1, -2), WAIT: (-3, -4)}
_NEVER: Final = -math.inf

# The cells, looked up rather than added, so that all tables share these integers.
_HISTOGRAMS: Final = {
    first: (tuple(range(first, first + BUCKETS)), *extremes)
    for first, extremes in _EXTREMES.items()
}


def add_duration(tables: Iterable[Cells], histogram: int, seconds: float) -> None:
    """Count a duration in the histogram `RUN` or `WAIT` of each of some tables."""
    buckets, longest, shortest = _HISTOGRAMS[histogram]
    cell = buckets[bisect_left(BOUNDS, seconds)]
    for cells in tables:
        cells[cell] += 1
        if seconds > cells.get(longest, -1.0):
            cells[longest] = seconds
        if -seconds > cells.get(shortest, _NEVER):
            cells[shortest] = -seconds


def _duration_of(bucket: int) -> float:
    """Return the duration (seconds) that stands for all of a bucket."""
    if bucket == 0:
        return 0.0
    if bucket == BUCKETS - 1:
        return BOUNDS[-1]
    return BOUNDS[bucket] * 2 / (_GROWTH + 1)


# --- quantiles of durations, from their histogram ---------------------------------------

_QUANTILES: Final = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Durations in seconds; None where there were none.

    `max` is exact, and the others are off by 5 % at most: never above it, nor below
    the shortest.  `count` is how many they were.  `skewed` more were left out,
    because they would be below zero: the clocks of client and worker differ.
    """

    count: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None
    skewed: int = 0


def quantiles(cells: Mapping[int, float], histogram: int) -> Quantiles:
    """Return the quantiles of the histogram whose cells begin at `histogram`.

    A quantile is the shortest duration that so large a share of all do not
    exceed.
    """
    skewed = int(cells.get(SKEWED, 0))
    keys = sorted(key for key in cells if 0 <= key - histogram < BUCKETS)
    total = int(sum(cells[key] for key in keys))
    if not total:
        return Quantiles(skewed=skewed)
    longest, shortest = _EXTREMES[histogram]
    most = cells.get(longest, _duration_of(keys[-1] - histogram))
    least = -cells.get(shortest, 0.0)
    found = []
    below, at = cells[keys[0]], 0
    for share in _QUANTILES:
        while below < math.ceil(share * total):
            at += 1
            below += cells[keys[at]]
        found.append(min(max(_duration_of(keys[at] - histogram), least), most))
    p50, p95, p99 = found
    return Quantiles(total, p50, p95, p99, most, skewed)


# --- rows -------------------------------------------------------------------------------

#: Under this name stands what exceeded the bounds.
OTHERS: Final = "(others)"
#: The name of what no event has named yet.
UNKNOWN: Final = "(unknown)"


def _count(doc: str, *cells: int) -> Any:
    return property(lambda row: row.count(*cells), doc=doc)


def _rate(doc: str, *cells: int) -> Any:
    return property(lambda row: row.count(*cells) / row.seconds, doc=doc)


@dataclass(slots=True, eq=False)
class _Row:
    """Counts over `seconds`, and what can be worked out of them; rates are per second.

    Quantiles are worked out when they are asked for: of a thousand rows a screen shows
    thirty.
    """

    name: str
    _cells: Cells
    seconds: float
    #: The name of the cluster, for those who show several.
    cluster: str = field(default="", init=False)

    def count(self, *cells: int) -> int:
        """Return the sum of some cells."""
        return int(sum(self._cells.get(cell, 0) for cell in cells))

    @property
    def counts(self) -> Mapping[str, int]:
        """How many tasks were received, started, succeeded, failed, ..."""
        return {name: self.count(cell) for name, cell in STATES.items()}

    @property
    def failure_share(self) -> float | None:
        """Which share (0 to 1) of the completed tasks failed; None if none were."""
        completed = self.count(SUCCEEDED, FAILED)
        return self.count(FAILED) / completed if completed else None

    @property
    def run(self) -> Quantiles:
        """How long tasks ran, whether they succeeded or failed."""
        return quantiles(self._cells, RUN)

    @property
    def wait(self) -> Quantiles:
        """How long tasks waited from their sending to their start."""
        return quantiles(self._cells, WAIT)


@dataclass(slots=True, eq=False)
class TypeStatistics(_Row):
    """The tasks of one type; `running` of them at this moment.

    `schedule` is when they are sent, for those who know that they are on one.
    """

    running: int
    schedule: "Schedule | None" = field(default=None, init=False)

    rate = _rate("Tasks completed per second, well or not.", SUCCEEDED, FAILED)


class WorkerStatistics(_Row):
    """The tasks that one worker ran."""

    __slots__ = ()

    ok_rate = _rate("Tasks that succeeded per second.", SUCCEEDED)


@dataclass(slots=True, eq=False)
class QueueStatistics(_Row):
    """The tasks that went through one queue.

    `backlog` is how many were published since we listen and not received
    yet, None if that cannot be known; `backlog_reason` says why it is not, or
    not exactly.
    """

    backlog: int | None
    backlog_reason: str = ""
    #: The workers, in the order of their cells; () once too many were seen to be told apart.
    _workers: Sequence[str] = ()

    published = _count("How many tasks were sent to it.", PUBLISHED)
    received = _count("How many tasks were received from it.", RECEIVED)
    published_rate = _rate("Tasks sent to it per second.", PUBLISHED)
    received_rate = _rate("Tasks received from it per second.", RECEIVED)

    @property
    def received_by(self) -> Mapping[str, int]:
        """How many tasks each worker received from it, as far as workers are told apart."""
        known = range(WORKER, WORKER + len(self._workers))
        counts = {cell: int(self._cells[cell]) for cell in self._cells if cell in known}
        return {self._workers[cell - WORKER]: count for cell, count in counts.items() if count > 0}


class Totals(_Row):
    """All tasks and events of the cluster."""

    __slots__ = ()

    event_rate = _rate("Events per second, of any kind.", EVENTS)
    ok_rate = _rate("Tasks that succeeded per second.", SUCCEEDED)
    fail_rate = _rate("Tasks that failed per second.", FAILED)
    retry_rate = _rate("Attempts per second that are to be tried again.", RETRIED)

    def add(self, cells: Cells) -> None:
        """Count more of the same time."""
        merge(self._cells, cells)

    def buckets(self, what: Literal["run", "wait"]) -> dict[int, float]:
        """Return how many durations were in each bucket; `BOUNDS` has their longest, in seconds."""
        first = RUN if what == "run" else WAIT
        found = self._cells.items()
        return {cell - first: count for cell, count in found if 0 <= cell - first < BUCKETS}

    @classmethod
    def sum(cls, parts: Sequence["Totals"]) -> "Totals":
        """Return the totals of several clusters together, one at least."""
        cells: Cells = {}
        for part in parts:
            merge(cells, part._cells)  # noqa: SLF001  (of its own class)
        return cls("", cells, max(part.seconds for part in parts))


class Heat(NamedTuple):
    """Durations over time: in each of `columns`, counts by row, the lowest row first.

    A row is `size` buckets from the bucket `first` on, as in `BOUNDS`; there are `rows` of them.
    """

    columns: list[dict[int, float]]
    first: int
    size: int
    rows: int

    def longest(self, row: int) -> float:
        """Return the longest duration of a row, in seconds."""
        return BOUNDS[min(self.first + (row + 1) * self.size - 1, len(BOUNDS) - 1)]


def heat_of(over_time: Iterable[Totals], what: Literal["run", "wait"], most: int) -> Heat:
    """Return the durations in `most` rows at most, as few as hold all of them."""
    counted = [row.buckets(what) for row in over_time]
    present = {bucket for each in counted for bucket in each}
    first, last = (min(present), max(present)) if present else (0, -1)
    # So many buckets are one row of the map.
    size = max(1, math.ceil((last - first + 1) / most))
    columns: list[dict[int, float]] = []
    for each in counted:
        column: dict[int, float] = {}
        columns.append(column)
        for bucket, count in each.items():
            row = (bucket - first) // size
            column[row] = column.get(row, 0.0) + count
    return Heat(columns, first, size, math.ceil((last - first + 1) / size))


# --- schedules --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Schedule:
    """When tasks of a type are sent, as far as it is known.

    `period` is the time between two, in seconds, None if it is not always the same.  `last` is
    when one was sent, and `next` when it should be again, in UTC epoch seconds by our clock; None
    if that is not known, or may have been unseen meanwhile.  `late_at` is from when it is late,
    which is after `next` where runs were left out before; None if nobody can say.  `tolerance`
    is what is no delay, in seconds, and `source` says where all of this is known from.  `rule` is
    when it is to be, as whoever plans it has it, not sanitised; "" where that is not known.
    """

    period: float | None
    last: float | None
    next: float | None
    late_at: float | None
    tolerance: float
    source: str
    rule: str = ""

    def unseen(self, until: float) -> "Schedule":
        """Return it where nobody looked until a time, in UTC epoch seconds by our clock."""
        if self.last is None or self.late_at is None or until <= self.last:
            return self
        return replace(self, next=None, late_at=until + self.late_at - self.last)

    def wait(self, now: float) -> float | None:
        """Return in how many seconds it should be, None if that is not known or has passed."""
        if self.next is None or now > self.next + self.tolerance:
            return None
        return max(0.0, self.next - now)

    def overdue(self, now: float) -> float | None:
        """Return for how many seconds it is overdue, 0 if it is not, None if nobody can say."""
        if self.late_at is not None and now > self.late_at + self.tolerance:
            return now - self.late_at
        return None if self.wait(now) is None else 0.0
