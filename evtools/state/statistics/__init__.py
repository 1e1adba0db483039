"""What happened in a cluster over sliding windows: counts, rates and quantiles."""

from evtools.state.statistics.failures import FailureGroup
from evtools.state.statistics.rows import (
    OTHERS,
    UNKNOWN,
    Quantiles,
    QueueStatistics,
    Totals,
    TypeStatistics,
    WorkerStatistics,
)
from evtools.state.statistics.statistics import Statistics
from evtools.state.statistics.windows import WINDOWS

__all__ = [
    "OTHERS",
    "UNKNOWN",
    "WINDOWS",
    "FailureGroup",
    "Quantiles",
    "QueueStatistics",
    "Statistics",
    "Totals",
    "TypeStatistics",
    "WorkerStatistics",
]
