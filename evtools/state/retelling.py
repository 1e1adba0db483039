"""A task whose life was not as simple as most are, told anew from its history."""

from typing import TYPE_CHECKING, Any, Final

from evtools.state.annotations import add_fields, annotate, show_extra
from evtools.state.attempt import LAST, WHOLE, Attempt, newest_of
from evtools.state.history import History
from evtools.state.readings import (
    TASK_READINGS,
    Received,
    Sent,
    Started,
    Succeeded,
    TaskReading,
    read,
    read_odd,
)
from evtools.wire import EventFields

if TYPE_CHECKING:
    from evtools.state.task import Task
    from evtools.state.worker import Worker

#: What a history takes beside its readings.
_HISTORY_BYTES: Final = 1000

_KINDS: Final[dict[str, Any]] = {kind.state: kind for kind in TASK_READINGS.values()}
#: How many fields all readings have, and what others have beside them.
_OF_ALL: Final = len(Started.__struct_fields__)
_OF_TASK: Final = ("name", "args", "kwargs", "root_id", "parent_id")
_OF_TRY: Final = ("retries", "eta", "expires")
_WAY: Final = ("queue", "exchange", "routing_key")


def retell(task: "Task", reading: TaskReading, worker: "Worker | None" = None) -> int:
    """Take what an event tells into the history of a task, and tell it anew.

    Return by how many bytes the task has grown.
    """
    history = task.history
    before = 0 if history is None else history.weight_bytes + _HISTORY_BYTES
    if history is None:
        history = _history(task)
    if not history.add(reading, worker):
        return 0
    task.history = history
    task.clock = history.clock
    _show(task, history)
    if isinstance(reading, Sent | Received):
        for name, value in history.news_of_task(reading).items():
            setattr(task, name, task.uuid if value == task.uuid else value)
    show_extra(task)
    return history.weight_bytes + _HISTORY_BYTES - before


def tell(task: "Task", event: EventFields) -> None:
    """Take an event into a task that no state has."""
    # One that was made without a name can be told of, too.
    event["uuid"] = event["uuid"] or "?"
    name = event["type"]
    kind = TASK_READINGS.get(name)
    if kind is None:
        reading, own = read_odd(event, TaskReading)
        if reading is not None:
            annotate(task, name, reading.timestamp, own)
        return
    known, extra = read(event, kind)
    if known is not None:
        retell(task, known)
        if extra:
            add_fields(task, known.timestamp, extra)


def _show(task: "Task", history: History) -> None:
    """Show the newest attempt in a task, and of one that waits what came before it."""
    *earlier, attempt = history.attempts
    WHOLE.show(task, attempt)
    task.state = attempt.state
    worker = attempt.worker
    if attempt.waits and attempt.number:
        for last in earlier[-1:]:
            LAST.show(task, last)
            worker = worker or last.worker
    task.worker = worker
    task.attempts = tuple(earlier)
    if attempt.sent is None:
        # The message that is delivered again was sent once.
        same = [each for each in earlier if each.number == attempt.number]
        sent = [each.sent for each in same if each.sent is not None]
        task.sent = sent[-1] if sent else None
    for name, value in history.given.items():
        if getattr(task, name, None) is None:
            setattr(task, name, value)


def _history(task: "Task") -> History:
    """Return the history of a task whose steps were written into it."""
    attempts = [*task.attempts, newest_of(task)]
    readings = [reading for attempt in attempts for reading in _readings(task, attempt)]
    history = History(readings, (attempt.worker for attempt in attempts), task.clock)
    if task.first_received is None:
        # What was given by hand stays until an event has it.
        values = {name: getattr(task, name, None) for name in ("worker", *WHOLE.names)}
        history.given = {name: each for name, each in values.items() if each is not None}
    return history


def _readings(task: "Task", attempt: Attempt) -> list[TaskReading]:
    """Return what the steps of an attempt were written from."""
    common: dict[str, Any] = {"uuid": task.uuid, "local_received": task.local_received}
    told = {name: getattr(task, name) for name in _OF_TASK}
    told |= {name: getattr(attempt, name) for name in _OF_TRY}
    readings: list[TaskReading] = []
    if attempt.sent is not None:
        way: dict[str, Any] = {name: getattr(task, name, None) for name in _WAY}
        common["hostname"] = attempt.client
        readings.append(Sent(timestamp=attempt.sent, **common, **told, **way))
    common |= {"hostname": attempt.worker_name, "pid": attempt.pid}
    if attempt.received is not None:
        readings.append(Received(timestamp=attempt.received, **common, **told))
    if attempt.started is not None:
        readings.append(Started(timestamp=attempt.started, **common))
    if attempt.ended is not None:
        kind = _KINDS[attempt.state]
        fields = kind.__struct_fields__[_OF_ALL:]
        own = {name: getattr(attempt, name) for name in fields}
        if kind is Succeeded:
            own["runtime"] = attempt.measured
        readings.append(kind(timestamp=attempt.ended, **common, **own))
    return readings
