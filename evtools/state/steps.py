"""The steps of a task's life, each after the other, written straight into the task."""

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Final, TypeAlias

from evtools.state.announcements import announce, announce_next, is_news, is_next, is_same
from evtools.state.readings import TASK_READINGS, Retried, Started, read
from evtools.state.sharing import Shared
from evtools.state.transitions import MOMENTS, PENDING, RECEIVED, RETRY, STARTED, SUCCESS
from evtools.state.tries import go_on, is_later, is_latest, open_last, tell_last
from evtools.state.weights import RARE_BYTES
from evtools.wire import TIME_MAX, EventFields

if TYPE_CHECKING:
    from evtools.state.task import Task
    from evtools.state.worker import Worker

# Nearly all tries of a task are sent once, received by one worker, started and ended
# there, and nearly all events come in this order, with the fields that Celery gives
# them.  For these a step returns by how many bytes the task has grown.  Where anything
# is not as usual it returns None, or raises KeyError or TypeError, before it changes
# anything; `evtools.state.history` makes sense of the rest, and would make the same
# of what is usual.  `at` is the event's timestamp, and that much is a time; `pid` is a
# process, and `worker` None if we do not know it, or a client tells the event.

Step: TypeAlias = Callable[["Task", EventFields, float, int, "Worker | None", Shared], int | None]

_WAY: Final = itemgetter("hostname", "queue", "exchange", "routing_key")


def _sent(
    task: "Task", event: EventFields, at: float, _: int, __: object, shared: Shared
) -> int | None:
    known = task.retries
    client, queue, exchange, key = _WAY(event)
    client, queue = shared[client], shared[queue]
    exchange, key = shared[exchange], shared[key]
    grown = 0
    if known is None:
        grown = announce(task, event, shared)
        task.state = RETRY if task.retries else PENDING
        task.timestamp = at
    elif known == event["retries"]:
        # Its receipt came first.
        if task.sent is not None or is_news(task, event):
            return None
    elif is_next(task, event) and None not in {client, queue, exchange, key}:
        grown = announce_next(task, event)
        task.timestamp = at
    else:
        return None
    task.client = client
    task.queue_or_none = queue
    task.exchange = exchange
    task.routing_key = key
    task.sent = at
    return grown


def _received(
    task: "Task", event: EventFields, at: float, pid: int, worker: "Worker | None", shared: Shared
) -> int | None:
    known = task.retries
    grown = 0
    if worker is None:
        return None
    if known is None:
        grown = announce(task, event, shared)
    elif known == event["retries"]:
        # Of a first try nobody told anything before.
        if task.received is not None or (
            known and not (is_same(task, event) and is_later(task, worker, at))
        ):
            return None
        if is_news(task, event):
            grown = announce(task, event, shared)
    elif is_next(task, event) and is_latest(task, worker, at):
        grown = announce_next(task, event) + announce(task, event, shared)
    else:
        return None
    if task.worker is None:
        # That of a client counts no more.
        task.clock = 0
    task.state = RETRY if task.retries else RECEIVED
    task.worker = worker
    task.received = task.timestamp = at
    task.pid = pid
    return grown


def _started(
    task: "Task", event: EventFields, at: float, pid: int, worker: "Worker | None", _: Shared
) -> int | None:
    received = task.received
    if task.retries:
        last = open_last(task, worker)
        if last is not None and last.started is None:
            reading, _extra = read(event, Started)
            return None if reading is None else tell_last(task, reading)
    if (
        task.worker is not worker
        or task.started is not None
        or task.ended is not None
        or received is None
        or received > at
        or task.pid != pid
    ):
        return None
    if task.retries:
        if not is_later(task, worker, at):
            return None
        go_on(task)
    task.state = STARTED
    task.started = task.timestamp = at
    return 0


def _succeeded(
    task: "Task", event: EventFields, at: float, pid: int, worker: "Worker | None", _: Shared
) -> int | None:
    result, runtime = event["result"], event["runtime"]
    if not (type(result) is str and 0 <= runtime <= TIME_MAX and _may_end(task, at, pid, worker)):
        return None
    if task.retries:
        go_on(task)
    task.state = SUCCESS
    task.ended = task.succeeded = task.timestamp = at
    task.result = result
    task.measured = runtime
    return result.__sizeof__()


def _retried(
    task: "Task", event: EventFields, at: float, pid: int, worker: "Worker | None", shared: Shared
) -> int | None:
    if task.retries:
        last = open_last(task, worker)
        if last is not None:
            reading, extra = read(event, Retried)
            if reading is None or extra or last.started is None:
                return None
            return tell_last(task, reading)
    return _other_end(task, event, at, pid, worker, shared)


def _other_end(
    task: "Task", event: EventFields, at: float, pid: int, worker: "Worker | None", _: Shared
) -> int | None:
    kind, moment, names = _ENDS[event["type"]]
    reading, extra = read(event, kind)
    if reading is None or extra or not _may_end(task, at, pid, worker):
        return None
    if task.retries:
        go_on(task)
    task.state = kind.state
    task.ended = task.timestamp = at
    setattr(task, moment, at)
    grown = RARE_BYTES
    for name in names:
        value = getattr(reading, name)
        if value is not None:
            setattr(task, name, value)
            if type(value) is str:
                grown += value.__sizeof__()
    return grown


def _may_end(task: "Task", at: float, pid: int, worker: "Worker | None") -> bool:
    """Tell whether the newest try has begun, at this worker, and not ended."""
    last = task.received if task.started is None else task.started
    return (
        task.worker is worker
        and task.ended is None
        and last is not None
        and last <= at
        and task.pid == pid
        and (not task.retries or is_later(task, worker, at))
    )


#: Of an event that ends a try, by its type: what it is read as, the name of the moment,
#: and what else it tells.
_ENDS: Final = {
    name: (kind, MOMENTS[kind.state], kind.__struct_fields__[len(Started.__struct_fields__) :])
    for name, kind in TASK_READINGS.items()
}
_IRREGULAR: Final[Mapping[str, Step]] = {
    "task-sent": _sent,
    "task-received": _received,
    "task-started": _started,
    "task-succeeded": _succeeded,
    "task-retried": _retried,
}
#: The step that an event of a type is, how many fields it has, and the state that it
#: enters.
STEPS: Final[Mapping[str, tuple[Step, int, str]]] = {
    name: (_IRREGULAR.get(name, _other_end), len(kind.__struct_fields__) + 1, kind.state)
    for name, kind in TASK_READINGS.items()
}
