"""A task whose life was not as simple as most are, told anew from its history."""

from typing import TYPE_CHECKING, Any, Final

from evtools.state.attempt import SHARED
from evtools.state.history import History
from evtools.state.readings import (
    TASK_READINGS,
    Received,
    Sent,
    Succeeded,
    TaskReading,
)
from evtools.state.transitions import MOMENTS, PENDING

if TYPE_CHECKING:
    from evtools.state.task import Task
    from evtools.state.worker import Worker

#: What a history takes beside its readings.
_HISTORY_BYTES: Final = 1000

#: What a task that waits for its next try shows of the last.
_OF_LAST: Final = ("retried", "exception", "traceback")
_KINDS: Final = {kind.state: kind for kind in TASK_READINGS.values()}


def retell(task: "Task", reading: TaskReading, worker: "Worker | None" = None) -> int:
    """Take what an event tells into the history of a task, and tell it anew.

    Return by how many bytes the task has grown.
    """
    before = 0
    if task.history is None:
        task.history = History(_readings(task), task.worker)
    else:
        before = task.history.weight_bytes + _HISTORY_BYTES
    history = task.history
    if history.add(reading, worker):
        attempt = history.attempts[-1]
        for name in SHARED:
            _show(task, name, getattr(attempt, name))
        task.state = attempt.state
        hostname = attempt.hostname
        if attempt.waits and attempt.number:
            # What is of interest is what became of the try before.
            for last in history.attempts[-2:-1]:
                for name in _OF_LAST:
                    _show(task, name, getattr(last, name))
                hostname = hostname or last.hostname
        task.worker = history.workers.get(hostname) if hostname else None
        if isinstance(reading, Sent | Received):
            for name, value in history.of_task().items():
                _show(task, name, task.uuid if value == task.uuid else value)
    return history.weight_bytes + _HISTORY_BYTES - before


def _show(task: "Task", name: str, value: Any) -> None:
    # What is None by default takes no space in the task until it is set.
    if getattr(task, name) is not value:
        setattr(task, name, value)


def _readings(task: "Task") -> list[TaskReading]:
    """Return what the steps of a task were written from."""
    readings: list[TaskReading] = []
    for state, moment in MOMENTS.items():
        timestamp = getattr(task, moment)
        if timestamp is None:
            continue
        kind: Any = _KINDS[state]
        fields = {name: getattr(task, name, None) for name in kind.__struct_fields__}
        fields |= {"timestamp": timestamp, "clock": None, "pid": None}
        fields["hostname"] = task.client if state == PENDING else task.hostname
        if kind is Succeeded:
            fields["runtime"] = task.measured
        readings.append(kind(**fields))
    for latest in readings[-1:]:
        latest.clock, latest.pid = task.clock, task.pid
    return readings
