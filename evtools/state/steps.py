"""The steps of a task's life, each after the other, written straight into the task."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from evtools.state.readings import (
    TASK_READINGS,
    TIME_MAX,
    Started,
    read,
)
from evtools.state.sharing import Shared
from evtools.state.transitions import (
    EVENT_STATES,
    PENDING,
    RECEIVED,
    STARTED,
    SUCCESS,
)
from evtools.wire import EventFields

if TYPE_CHECKING:
    from evtools.state.task import Task
    from evtools.state.worker import Worker

# Nearly all tasks are sent once, received by one worker, started and ended there,
# and nearly all events come in this order, with the fields that Celery gives them.
# For these a step returns by how many bytes the task has grown.  Where anything is
# not as usual it returns None, or raises KeyError or TypeError, before it changes
# anything; `evtools.state.history` makes sense of the rest, and would make the same
# of what is usual.  `at` is the event's timestamp, and that much is a time.

Step: TypeAlias = Callable[
    ["Task", EventFields, float, "Worker | None", Shared], int | None
]

#: What the attributes take that few tasks have.
RARE_BYTES: Final = 200


def _sent(
    task: "Task", event: EventFields, at: float, _: "Worker | None", shared: Shared
) -> int | None:
    if task.sent is not None or event["retries"] != 0 or task.retries:
        return None
    client, queue = shared[event["hostname"]], shared[event["queue"]]
    exchange, key = shared[event["exchange"]], shared[event["routing_key"]]
    grown = 0
    if task.worker is None:
        grown = _tell(task, event, shared)
        task.state = PENDING
    elif _differs(task, event):
        return None
    task.client = client
    task.queue = queue
    task.exchange = exchange
    task.routing_key = key
    task.retries = 0
    task.sent = at
    return grown


def _received(
    task: "Task", event: EventFields, at: float, worker: "Worker | None", shared: Shared
) -> int | None:
    if (
        worker is None
        or task.worker is not None
        or event["retries"] != 0
        or task.retries
    ):
        return None
    grown = 0
    if task.sent is None or _differs(task, event):
        grown = _tell(task, event, shared)
    task.state = RECEIVED
    task.worker = worker
    task.retries = 0
    task.received = at
    return grown


def _started(
    task: "Task", _: EventFields, at: float, worker: "Worker | None", __: Shared
) -> int | None:
    received = task.received
    if (
        task.worker is not worker
        or task.started is not None
        or task.ended is not None
        or received is None
        or received > at
    ):
        return None
    task.state = STARTED
    task.started = at
    return 0


def _succeeded(
    task: "Task", event: EventFields, at: float, worker: "Worker | None", _: Shared
) -> int | None:
    result, runtime = event["result"], event["runtime"]
    if not (
        _may_end(task, at, worker) and type(result) is str and 0 <= runtime <= TIME_MAX
    ):
        return None
    task.state = SUCCESS
    task.ended = task.succeeded = at
    task.result = result
    task.measured = runtime
    return result.__sizeof__()


def _other_end(
    task: "Task", event: EventFields, at: float, worker: "Worker | None", _: Shared
) -> int | None:
    kind = event["type"]
    reading, extra = read(event, TASK_READINGS[kind])
    if reading is None or extra or not _may_end(task, at, worker):
        return None
    told = {name: getattr(reading, name) for name in _TELLS[kind]}
    moment = kind.removeprefix("task-")
    task.state = EVENT_STATES[moment]
    task.ended = told[moment] = at
    for name, value in told.items():
        if value is not None:
            setattr(task, name, value)
    grown: int = sum(value.__sizeof__() for value in told.values())
    return grown + RARE_BYTES


def _may_end(task: "Task", at: float, worker: "Worker | None") -> bool:
    """Tell whether the attempt has begun, at this worker, and not ended."""
    last = task.received if task.started is None else task.started
    return (
        task.worker is worker and task.ended is None and last is not None and last <= at
    )


# --- what the client and the worker both tell ----------------------------------------


def _tell(task: "Task", event: EventFields, shared: Shared) -> int:
    """Take what an event tells of the task as a whole."""
    name, args, kwargs = shared[event["name"]], event["args"], event["kwargs"]
    root, parent = event["root_id"], event["parent_id"]
    eta, expires = event["eta"], event["expires"]
    if type(args) is not str or type(kwargs) is not str:
        raise TypeError(args)
    grown = args.__sizeof__() + kwargs.__sizeof__()
    if root == task.uuid:
        root = task.uuid
    elif root is not None:
        grown += _size(root)
    if parent is not None:
        grown += _size(parent)
    if eta is not None:
        grown += _size(eta) + RARE_BYTES
        task.eta = eta
    if expires is not None:
        grown += _size(expires) + RARE_BYTES
        task.expires = expires
    task.name = name or task.name
    task.args = args
    task.kwargs = kwargs
    task.root_id = root or task.root_id
    task.parent_id = parent or task.parent_id
    return grown


def _size(text: str) -> int:
    """Return the size of a text; raises TypeError if it is none."""
    if type(text) is not str:
        raise TypeError(text)
    return text.__sizeof__()


def _differs(task: "Task", event: EventFields) -> bool:
    """Tell whether an event tells of the task what we have not heard."""
    root, parent = event["root_id"], event["parent_id"]
    eta, expires = event["eta"], event["expires"]
    return not (
        event["args"] == task.args
        and event["kwargs"] == task.kwargs
        and event["name"] == task.name
        and (root is None or root == task.root_id)
        and (parent is None or parent == task.parent_id)
        and (eta is None or eta == task.eta)
        and (expires is None or expires == task.expires)
    )


#: What an event tells that ends an attempt, by its type.
_TELLS: Final = {
    name: tuple(set(kind.__struct_fields__) - set(Started.__struct_fields__))
    for name, kind in TASK_READINGS.items()
}
#: The step that an event of a type is, and how many fields it has.
_IRREGULAR: Final = {
    "task-sent": _sent,
    "task-received": _received,
    "task-started": _started,
    "task-succeeded": _succeeded,
}
STEPS: Final[dict[str, tuple[Step, int]]] = {
    name: (_IRREGULAR.get(name, _other_end), len(kind.__struct_fields__) + 1)
    for name, kind in TASK_READINGS.items()
}
