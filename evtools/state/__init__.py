"""The state of a cluster, from its events."""

from evtools.state.attempts import (
    Attempt,
    History,
    attempts,
    epoch,
    event_bytes,
    in_order,
    unwrapped,
)
from evtools.state.celery import State
from evtools.state.celery import Task as CeleryTask
from evtools.state.core import Change
from evtools.state.inspection import TASK_COMMANDS, InspectedTask, tasks_in
from evtools.state.statistics import Statistics
from evtools.state.statistics.failures import FailureGroup, fingerprint
from evtools.state.statistics.rows import (
    OTHERS,
    UNKNOWN,
    Quantiles,
    QueueStatistics,
    Schedule,
    Totals,
    TypeStatistics,
    WorkerStatistics,
)
from evtools.state.statistics.windows import WINDOWS
from evtools.state.task import Task
from evtools.state.worker import ALIVE, Liveness, Worker, answers_wake_up, heartbeat_expires

# fmt: off
__all__ = [
    "ALIVE", "OTHERS", "TASK_COMMANDS", "UNKNOWN", "WINDOWS", "Attempt", "CeleryTask", "Change",
    "FailureGroup", "History", "InspectedTask", "Liveness", "Quantiles", "QueueStatistics",
    "Schedule", "State", "Statistics", "Task", "Totals", "TypeStatistics", "Worker",
    "WorkerStatistics", "answers_wake_up", "attempts", "epoch", "event_bytes", "fingerprint",
    "heartbeat_expires", "in_order", "tasks_in", "unwrapped",
]
# fmt: on
