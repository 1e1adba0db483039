"""What is counted for one name in a window, and the figures that are shown of it."""

import math
from bisect import bisect_left
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from evtools.state.statistics.windows import Cells

# --- cells: what is counted, as small integers ------------------------------------------

PUBLISHED: Final = 0
RECEIVED: Final = 1
STARTED: Final = 2
SUCCEEDED: Final = 3
FAILED: Final = 4
RETRIED: Final = 5
REVOKED: Final = 6
REJECTED: Final = 7
CANCELLED: Final = 8
#: Events of any kind.
EVENTS: Final = 9
#: Waits that would be below zero: the sender's clock is behind the client's.
SKEWED: Final = 10

#: The longest duration of a histogram, and the shortest with its sign turned round:
#: as they are, not counted; of two of them the greater stays.
RUN_LONGEST: Final = -1
RUN_SHORTEST: Final = -2
WAIT_LONGEST: Final = -3
WAIT_SHORTEST: Final = -4

#: The cells that count the ends of tasks, by name.
STATES: Final[Mapping[str, int]] = {
    "received": RECEIVED,
    "started": STARTED,
    "succeeded": SUCCEEDED,
    "failed": FAILED,
    "retried": RETRIED,
    "revoked": REVOKED,
    "rejected": REJECTED,
    "cancelled": CANCELLED,
}

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

#: By histogram, its longest and its shortest.
EXTREMES: Final[Mapping[int, tuple[int, int]]] = {
    RUN: (RUN_LONGEST, RUN_SHORTEST),
    WAIT: (WAIT_LONGEST, WAIT_SHORTEST),
}

# Looked up rather than added, so that all tables share these integers.
_CELLS: Final = {first: tuple(range(first, first + BUCKETS)) for first in (RUN, WAIT)}


def cell_of(histogram: int, seconds: float) -> int:
    """Return the cell of `RUN` or `WAIT` that counts a duration."""
    return _CELLS[histogram][bisect_left(BOUNDS, seconds)]


def stretch(cells: MutableMapping[int, float], longest: int, shortest: int, seconds: float) -> None:
    """Note a duration that may be the longest or the shortest so far."""
    get = cells.get
    if seconds > get(longest, -1.0):
        cells[longest] = seconds
    if -seconds > get(shortest, -math.inf):
        cells[shortest] = -seconds


def duration_of(bucket: int) -> float:
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
    longest, shortest = EXTREMES[histogram]
    most = cells.get(longest, duration_of(keys[-1] - histogram))
    least = -cells.get(shortest, 0.0)
    found = []
    below, at = cells[keys[0]], 0
    for share in _QUANTILES:
        while below < math.ceil(share * total):
            at += 1
            below += cells[keys[at]]
        found.append(min(max(duration_of(keys[at] - histogram), least), most))
    p50, p95, p99 = found
    return Quantiles(total, p50, p95, p99, most, skewed)


# --- rows -------------------------------------------------------------------------------

#: Under this name stands what exceeded the bounds.
OTHERS: Final = "(others)"
#: The name of what no event has named yet.
UNKNOWN: Final = "(unknown)"


def _count(doc: str, *cells: int) -> Any:
    """Return a property that is the sum of some cells."""
    return property(lambda row: row.count(*cells), doc=doc)


def _rate(doc: str, *cells: int) -> Any:
    """Return a property that is the sum of some cells per second."""
    return property(lambda row: row.count(*cells) / row.seconds, doc=doc)


class _Row:
    """Counts over `seconds`, and what can be worked out of them.

    Rates are per second.  Quantiles are worked out when they are asked for:
    of a thousand rows a screen shows thirty.
    """

    __slots__ = ("_cells", "name", "seconds")

    def __init__(self, name: str, cells: Cells, seconds: float) -> None:
        self.name = name
        self.seconds = seconds
        self._cells = cells

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {self.counts}>"

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


class TypeStatistics(_Row):
    """The tasks of one type; `running` of them at this moment."""

    __slots__ = ("running",)

    rate = _rate("Tasks completed per second, well or not.", SUCCEEDED, FAILED)

    def __init__(self, name: str, cells: Cells, seconds: float, running: int) -> None:
        super().__init__(name, cells, seconds)
        self.running = running


class WorkerStatistics(_Row):
    """The tasks that one worker ran."""

    __slots__ = ()

    ok_rate = _rate("Tasks that succeeded per second.", SUCCEEDED)


class QueueStatistics(_Row):
    """The tasks that went through one queue.

    `backlog` is how many were published since we listen and not received
    yet, None if that cannot be known; `backlog_reason` says why it is not, or
    not exactly.
    """

    __slots__ = ("backlog", "backlog_reason")

    published = _count("How many tasks were sent to it.", PUBLISHED)
    received = _count("How many tasks were received from it.", RECEIVED)
    published_rate = _rate("Tasks sent to it per second.", PUBLISHED)
    received_rate = _rate("Tasks received from it per second.", RECEIVED)

    def __init__(
        self, name: str, cells: Cells, seconds: float, backlog: int | None, backlog_reason: str = ""
    ) -> None:
        super().__init__(name, cells, seconds)
        self.backlog = backlog
        self.backlog_reason = backlog_reason

    @property
    def consumers(self) -> int:
        """How many workers received from it in the window."""
        return sum(cell >= WORKER for cell in self._cells)


class Totals(_Row):
    """All tasks and events of the cluster."""

    __slots__ = ()

    event_rate = _rate("Events per second, of any kind.", EVENTS)
    ok_rate = _rate("Tasks that succeeded per second.", SUCCEEDED)
    fail_rate = _rate("Tasks that failed per second.", FAILED)
    retry_rate = _rate("Attempts per second that are to be tried again.", RETRIED)
