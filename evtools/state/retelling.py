"""A task whose life was not as simple as most are, told anew from its history."""

from typing import TYPE_CHECKING, Any, Final

from evtools.state.attempt import LAST, WHOLE, Attempt, View
from evtools.state.history import History
from evtools.state.readings import (
    TASK_READINGS,
    Received,
    Sent,
    Started,
    Succeeded,
    TaskReading,
)

if TYPE_CHECKING:
    from evtools.state.task import Task
    from evtools.state.worker import Worker

#: What a history takes beside its readings.
_HISTORY_BYTES: Final = 1000

_KINDS: Final[dict[str, Any]] = {kind.state: kind for kind in TASK_READINGS.values()}
#: How many fields all readings have, and what others have beside them.
_OF_ALL: Final = len(Started.__struct_fields__)
_TOLD: Final = Received.__struct_fields__[_OF_ALL:]
_WAY: Final = ("queue", "exchange", "routing_key")


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
    view = history.add(reading, worker)
    if view is not None:
        attempt = history.attempts[-1]
        _show(task, attempt, view)
        task.state = attempt.state
        if view is WHOLE:
            _show_course(task, history)
        if isinstance(reading, Sent | Received):
            for name, value in history.news_of_task(reading).items():
                setattr(task, name, task.uuid if value == task.uuid else value)
    return history.weight_bytes + _HISTORY_BYTES - before


def _show(task: "Task", attempt: Attempt, view: View) -> None:
    """Show in a task what there is to see of an attempt."""
    shown, seen = view.of(task), view.of(attempt)
    for name, old, new in zip(view.names, shown, seen, strict=True):
        # What is None by default takes no space in the task until it is set.
        if old is not new:
            setattr(task, name, new)


def _show_course(task: "Task", history: History) -> None:
    """Show where the newest attempt is, and of one that waits what came before it."""
    attempt = history.attempts[-1]
    hostname = attempt.hostname
    if attempt.waits and attempt.number:
        for last in history.attempts[-2:-1]:
            _show(task, last, LAST)
            hostname = hostname or last.hostname
    task.worker = history.workers.get(hostname) if hostname else None


def _readings(task: "Task") -> list[TaskReading]:
    """Return what the steps of a task were written from."""
    common: dict[str, Any] = {"uuid": task.uuid}
    common["local_received"] = task.local_received
    told = {name: getattr(task, name) for name in _TOLD}
    readings: list[TaskReading] = []
    if task.sent is not None:
        way = {name: getattr(task, name) for name in _WAY}
        sent = Sent(hostname=task.client, timestamp=task.sent, **common, **told, **way)
        readings.append(sent)
    common["hostname"] = task.hostname
    if task.received is not None:
        readings.append(Received(timestamp=task.received, **common, **told))
    if task.started is not None:
        readings.append(Started(timestamp=task.started, **common))
    if task.ended is not None:
        kind = _KINDS[task.state]
        own = {name: getattr(task, name) for name in kind.__struct_fields__[_OF_ALL:]}
        if kind is Succeeded:
            own["runtime"] = task.measured
        readings.append(kind(timestamp=task.ended, **common, **own))
    for latest in readings[-1:]:
        latest.clock, latest.pid = task.clock, task.pid
    return readings
