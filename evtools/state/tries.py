"""The tries of a task that is retried: its attempts, each after the one before."""

from copy import copy
from typing import TYPE_CHECKING, Final

from evtools.state.attempt import ATTEMPT_BYTES, TEXTS, Attempt, newest_of
from evtools.state.transitions import RETRY
from evtools.state.weights import RARE_BYTES, TASK_BYTES, weigh

if TYPE_CHECKING:
    from evtools.state.readings import TaskReading
    from evtools.state.task import Task
    from evtools.state.worker import Worker

# A try's process sends the next one before it ends, so what a worker tells may be of
# the newest try, which the task shows, or of the last one before it.  As long as each
# worker tells things in the order of their times, and no try is told of before the one
# before it has begun, this chooses as the table in `evtools.state.history` does.

#: As many attempts before the newest as are kept of a task that is retried for ever.
ATTEMPTS_MAX: Final = 12

_NOTHING: Final = Attempt()


def can_follow(task: "Task", retries: int) -> bool:
    """Tell whether a try of that number is the next one.

    The newest must have been received, and have ended in nothing but a retry; those
    before it must have ended.
    """
    known, attempts = task.retries, task.attempts
    return (
        known is not None
        and known < retries
        and task.received is not None
        and (task.ended is None or (task.state == RETRY and task.started is not None))
        and (not attempts or attempts[-1].ended is not None)
    )


def follow(task: "Task", retries: int) -> int:
    """Let the task show a try of that number, and keep the newest as one before it.

    Return by how many bytes the task has grown.
    """
    attempts, last = task.attempts, newest_of(task)
    task.attempts = (*attempts[1 - ATTEMPTS_MAX :], last)
    # Of a try that can be followed, all else is None.
    task.sent = task.received = task.started = task.ended = None
    task.pid = None
    if task.eta is not None:
        task.eta = None
    if task.expires is not None:
        task.expires = None
    _show_last(task, last)
    task.retries = retries
    task.state = RETRY
    return _growth(task) if len(attempts) == ATTEMPTS_MAX else ATTEMPT_BYTES


def is_later(task: "Task", worker: "Worker | None", at: float) -> bool:
    """Tell whether a worker told all that is known of earlier tries before `at`."""
    for attempt in task.attempts:
        told = attempt.timestamp
        if told is not None and told >= at and _is_at(attempt, worker):
            return False
    return True


def is_latest(task: "Task", worker: "Worker | None", at: float) -> bool:
    """Tell whether a worker told all that is known of any try before `at`."""
    told = task.timestamp
    if told is not None and told >= at and task.received and _is_at(task, worker):
        return False
    return is_later(task, worker, at)


def open_last(task: "Task", worker: "Worker | None") -> Attempt | None:
    """Return the last try before the newest, if it is open at that worker."""
    attempts = task.attempts
    if attempts:
        last = attempts[-1]
        if last.ended is None and _is_at(last, worker):
            return last
    return None


def tell_last(task: "Task", reading: "TaskReading") -> int | None:
    """Take in a step of the last try before the newest.

    Return by how many bytes the task has grown; None, and nothing is done, if it is
    not the next that its worker tells.
    """
    attempts = task.attempts
    last = attempts[-1]
    if reading.pid != last.pid or not is_latest(task, last.worker, reading.timestamp):
        return None
    last = copy(last)
    last.take(reading)
    task.attempts = (*attempts[:-1], last)
    if task.started is None and task.ended is None:
        _show_last(task, last)
    return len(last.exception or "") + len(last.traceback or "")


def go_on(task: "Task") -> None:
    """Let the task show nothing more of the try before the newest."""
    if task.attempts:
        _show_last(task, _NOTHING)


def _show_last(task: "Task", last: Attempt) -> None:
    task.retried = last.retried
    task.exception = last.exception
    task.traceback = last.traceback


def _is_at(one: "Attempt | Task", worker: "Worker | None") -> bool:
    return one.worker is worker or one.worker_name == (worker and worker.hostname)


def _growth(task: "Task") -> int:
    """Return by how many bytes a task has grown since it was weighed."""
    texts = task.args, task.kwargs, task.root_id, task.parent_id, *TEXTS.of(task)
    weight = TASK_BYTES + RARE_BYTES + len(task.uuid)
    weight += sum([weigh(text) for text in texts if text is not None])
    weight += sum([attempt.weigh() for attempt in task.attempts])
    weight += sum([weigh(own) for own in (task.note, task.extra) if own is not None])
    return weight - task.weight_bytes
