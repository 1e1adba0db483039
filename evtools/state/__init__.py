"""The state of a cluster, from its events."""

from evtools.state.attempt import Attempt
from evtools.state.change import Change
from evtools.state.readings import (
    TASK_READINGS,
    WORKER_READINGS,
    Heartbeat,
    TaskReading,
    WorkerReading,
    read,
)
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
from evtools.state.worker import ALIVE, Liveness, Worker, heartbeat_expires

__all__ = [
    "ALIVE",
    "OTHERS",
    "TASK_READINGS",
    "UNKNOWN",
    "WINDOWS",
    "WORKER_READINGS",
    "Attempt",
    "Change",
    "FailureGroup",
    "Heartbeat",
    "Liveness",
    "Quantiles",
    "QueueStatistics",
    "State",
    "Statistics",
    "Task",
    "TaskReading",
    "Totals",
    "TypeStatistics",
    "Worker",
    "WorkerReading",
    "WorkerStatistics",
    "heartbeat_expires",
    "read",
]
