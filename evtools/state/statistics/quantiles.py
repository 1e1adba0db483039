"""Quantiles of durations, read from a histogram."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

from evtools.state.statistics.cells import BUCKETS, SKEWED, duration_of

_QUANTILES: Final = (0.5, 0.95, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Durations in seconds, off by 5 % at most; None where there were none.

    `count` is how many they were.  `skewed` more were left out, because they
    would be below zero: the clocks of client and worker differ.
    """

    count: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None
    skewed: int = 0


def quantiles(cells: Mapping[int, int], histogram: int) -> Quantiles:
    """Return the quantiles of the histogram whose cells begin at `histogram`.

    A quantile is the shortest duration that so large a share of all do not
    exceed.
    """
    skewed = cells.get(SKEWED, 0)
    keys = sorted(key for key in cells if 0 <= key - histogram < BUCKETS)
    total = sum(cells[key] for key in keys)
    if not total:
        return Quantiles(skewed=skewed)
    found = []
    below, at = cells[keys[0]], 0
    for share in _QUANTILES:
        while below < ceil(share * total):
            at += 1
            below += cells[keys[at]]
        found.append(duration_of(keys[at] - histogram))
    p50, p95, p99, most = found
    return Quantiles(total, p50, p95, p99, most, skewed)
