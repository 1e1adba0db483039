"""What events tell beyond what Celery knows: custom events, and fields of others."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from evtools.state.readings import TASK_READINGS, TaskReading, tidy
from evtools.state.weights import weigh

if TYPE_CHECKING:
    from evtools.state.task import Task
    from evtools.state.worker import Worker

#: As much of it as is kept of one task, in bytes, for each of the two.
KEPT_MAX_BYTES: Final = 16 * 1024
#: The fields that Celery's events of tasks have, and not all of them.
CELERYS: Final = frozenset().union(
    *(kind.__struct_fields__ for kind in TASK_READINGS.values())
) - frozenset(TaskReading.__struct_fields__)


def annotate(task: "Task", type_: str, timestamp: float, fields: dict[str, Any]) -> int:
    """Keep a custom event as the note of a task, unless it has a newer one.

    Of an event that is too large only its type and time are kept.  Return by
    how many bytes the task has grown.
    """
    known = task.note
    note = {"type": type_, "timestamp": timestamp, **fields}
    if weigh(note) > KEPT_MAX_BYTES:
        note = {"type": type_, "timestamp": timestamp}
    if known is None:
        task.note = note
        return weigh(note)
    if _age(note) < _age(known):
        return 0
    task.note = note
    return weigh(note) - weigh(known)


def _age(note: Any) -> tuple[float, str]:
    return note["timestamp"], note["type"]


def add_fields(task: "Task", timestamp: float, fields: dict[str, Any]) -> int:
    """Keep fields that Celery does not know; of two of one name the later told.

    Those that do not fit are not kept.  Return by how many bytes the task has
    grown.
    """
    told_at = dict(task.extra_told_at or {})
    extra = dict(task.extra or {})
    before = weigh(extra) if extra else 0
    for name, value in fields.items():
        if told_at.get(name, -1.0) <= timestamp:
            extra[name] = value
            told_at[name] = timestamp
    after = weigh(extra)
    if after > KEPT_MAX_BYTES:
        return 0
    task.extra, task.extra_told_at = extra, told_at
    show_extra(task)
    return after - before


def replace_fields(worker: "Worker", fields: Mapping[str, Any]) -> None:
    """Keep fields that Celery does not know, in the place of those told before."""
    for name in worker.extra or ():
        vars(worker).pop(name, None)
    worker.extra = fields
    _show(worker, fields)


def _show(worker: "Worker", fields: Mapping[str, Any]) -> None:
    """Make fields attributes, where nothing else has their name."""
    for name, value in fields.items():
        if not hasattr(type(worker), name):
            setattr(worker, name, value)


def show_extra(task: "Task") -> None:
    """Make the fields that few events have attributes of a task.

    One that Celery has, as `name` in task-started, is as good as none was told, and
    is put right by the event that has it by rights; of another name nothing else is.
    """
    kind = type(task)
    for name, value in (task.extra or {}).items():
        if name in CELERYS:
            known = getattr(task, name, None)
            tidied = None if known is not None else tidy(name, value)
            if tidied is not None:
                setattr(task, name, tidied)
        elif not hasattr(kind, name) and name not in kind.__annotations__:
            setattr(task, name, value)
