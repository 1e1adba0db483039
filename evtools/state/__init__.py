"""The state of a cluster, from its events."""

from evtools.state.attempt import Attempt
from evtools.state.change import Change
from evtools.state.state import State
from evtools.state.statistics import (
    OTHERS,
    UNKNOWN,
    WINDOWS,
    FailureGroup,
    Quantiles,
    QueueStatistics,
    Statistics,
    Totals,
    TypeStatistics,
    WorkerStatistics,
)
from evtools.state.task import Task
from evtools.state.worker import Liveness, Worker, heartbeat_expires

__all__ = [
    "OTHERS",
    "UNKNOWN",
    "WINDOWS",
    "Attempt",
    "Change",
    "FailureGroup",
    "Liveness",
    "Quantiles",
    "QueueStatistics",
    "State",
    "Statistics",
    "Task",
    "Totals",
    "TypeStatistics",
    "Worker",
    "WorkerStatistics",
    "heartbeat_expires",
]
