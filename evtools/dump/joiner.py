"""The memory of what earlier events told about a task."""

from collections import OrderedDict
from collections.abc import Mapping
from sys import getsizeof
from typing import Any, Final

from evtools.wire import EventFields

NOTHING: Final[Mapping[str, Any]] = {}

_RECEIVED: Final = (
    *("name", "args", "kwargs", "root_id", "parent_id"),
    *("retries", "eta", "expires"),
)

#: Which fields each event type teaches about its task, and as what its own
#: timestamp is remembered.
_TEACHES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "task-sent": ("sent", (*_RECEIVED, "queue", "exchange", "routing_key")),
    "task-received": ("received", _RECEIVED),
    "task-started": ("started", ()),
}

#: The times of a task that an event makes obsolete when it tells of a new
#: attempt.
_TIMES: Final = ("sent", "received", "started")

#: What one task takes beside its values: key, entry, its tuple, its dictionary,
#: and the times.
_ENTRY_BYTES: Final = 450

#: A value that is no text or container, or the head of a text.
_VALUE_BYTES: Final = 49

_CONTAINERS: Final[frozenset[type]] = frozenset({dict, list})


class _Task:
    """What is known of a task; the mapping is handed out, so it is only replaced."""

    __slots__ = ("known", "weight_bytes")

    def __init__(self) -> None:
        self.known: Mapping[str, Any] = NOTHING
        self.weight_bytes = 0


class Joiner:
    """Tell an event what earlier events of its task said.

    Bounded by the number of tasks and by their weight in bytes (estimated);
    the tasks that were silent for longest are forgotten first, finished or
    not, and counted in `forgotten`.
    """

    def __init__(
        self, *, max_tasks: int = 100_000, max_bytes: int = 64 * 1024 * 1024
    ) -> None:
        self.forgotten = 0
        #: Estimated weight of all that is remembered.
        self.weight_bytes = 0
        self._max_tasks = max_tasks
        self._max_bytes = max_bytes
        self._tasks: OrderedDict[str, _Task] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tasks)

    def join(self, event: EventFields) -> Mapping[str, Any]:
        """Return what is known about the event's task and the event lacks.

        Learn from the event for later ones.  The mapping must not be changed.
        """
        uuid = event.get("uuid")
        if uuid.__class__ is not str:
            return NOTHING
        task = self._tasks.get(uuid)
        teaches = _TEACHES.get(event["type"])
        if teaches is not None:
            known = self._learn(uuid, task, event, *teaches)
        elif task is not None and event["type"].startswith("task-"):
            self._tasks.move_to_end(uuid)
            known = task.known
        else:
            return NOTHING
        if event.keys().isdisjoint(known):
            return known
        return {name: known[name] for name in known if name not in event}

    def _learn(
        self,
        uuid: str,
        task: _Task | None,
        event: EventFields,
        time: str,
        names: tuple[str, ...],
    ) -> Mapping[str, Any]:
        """Learn from an event; return what was known and still holds."""
        if task is None:
            task = self._tasks[uuid] = _Task()
        else:
            self._tasks.move_to_end(uuid)
        known = _still_true(event, time, task.known) if task.known else NOTHING
        get = event.get
        if names:
            news = {name: value for name in names if (value := get(name)) is not None}
            task.known = learned = {**known, **news} if known else news
        else:
            task.known = learned = {**known}
        timestamp = get("timestamp")
        if timestamp.__class__ is float or timestamp.__class__ is int:
            learned[time] = timestamp
        # A time alone weighs nothing: it is part of the entry.
        if names or not task.weight_bytes:
            weight = _ENTRY_BYTES + len(uuid) + _weigh(learned)
            self.weight_bytes += weight - task.weight_bytes
            task.weight_bytes = weight
            self._forget()
        return known

    def _forget(self) -> None:
        while self.weight_bytes > self._max_bytes or len(self._tasks) > self._max_tasks:
            _, task = self._tasks.popitem(last=False)
            self.weight_bytes -= task.weight_bytes
            self.forgotten += 1


def _still_true(
    event: EventFields, time: str, known: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return what is known, without the times of an earlier attempt.

    Another attempt shows by its `retries`.  A redelivery shows by nothing,
    but no worker receives a task after it started it.
    """
    retries = known.get("retries")
    if retries is not None and event.get("retries", retries) != retries:
        stale: tuple[str, ...] = _TIMES
    elif time == "received":
        stale = ("received", "started")
    elif time in known:
        stale = (time,)
    else:
        return known
    return {name: known[name] for name in known if name not in stale}


def _weigh(fields: Mapping[str, Any]) -> int:
    # Nearly all are texts, and asking each for its length is quickest.
    weight = _VALUE_BYTES * len(fields)
    for value in fields.values():
        if value.__class__ is str:
            weight += len(value) if value.isascii() else getsizeof(value)
        elif value.__class__ in _CONTAINERS:
            weight += _weigh_inside(value)
    return weight


def _weigh_inside(value: Any) -> int:
    weight = 0
    waiting = [value]
    while waiting:
        value = waiting.pop()
        weight += getsizeof(value)
        if value.__class__ is dict:
            waiting.extend(value)
            waiting.extend(value.values())
        elif value.__class__ is list:
            waiting.extend(value)
    return weight
