"""Quantiles of durations, read from a histogram."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

from evtools.state.statistics.cells import BUCKETS, EXTREMES, SKEWED, duration_of

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
        while below < ceil(share * total):
            at += 1
            below += cells[keys[at]]
        found.append(min(max(duration_of(keys[at] - histogram), least), most))
    p50, p95, p99 = found
    return Quantiles(total, p50, p95, p99, most, skewed)
