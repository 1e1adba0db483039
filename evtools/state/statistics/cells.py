"""What is counted: the cells of a name, as small integers."""

import math
from bisect import bisect_left
from collections.abc import Mapping, MutableMapping
from typing import Final

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

#: The cells that tell what became of tasks, by name.
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

#: A quantile is wrong by no more than this share of its value, or by the
#: shortest duration that is told apart (seconds).
ERROR_MAX: Final = 0.05
SHORTEST: Final = 1e-4
#: Durations above (eleven days) count as this long.
LONGEST: Final = 1e6

_GROWTH: Final = 1.1


def _bounds() -> list[float]:
    bounds = [SHORTEST]
    while bounds[-1] < LONGEST:
        bounds.append(bounds[-1] * _GROWTH)
    return bounds


#: The longest duration of each bucket, in seconds; one more has the rest.
BOUNDS: Final = _bounds()
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
_RUN: Final = tuple(range(RUN, RUN + BUCKETS))
_WAIT: Final = tuple(range(WAIT, WAIT + BUCKETS))


def run_cell(seconds: float) -> int:
    """Return the cell that counts a run time."""
    return _RUN[bisect_left(BOUNDS, seconds)]


def wait_cell(seconds: float) -> int:
    """Return the cell that counts a wait."""
    return _WAIT[bisect_left(BOUNDS, seconds)]


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
