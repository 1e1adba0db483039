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

_CONTAINERS: Final = frozenset({dict, list})

_STRANGER: Final = (NOTHING, 0)


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
        # The mappings are handed out, so they are replaced and never changed.
        self._tasks: OrderedDict[str, tuple[Mapping[str, Any], int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tasks)

    def join(self, event: EventFields) -> Mapping[str, Any]:
        """Return what is known about the event's task and the event lacks.

        Learn from the event for later ones.  The mapping must not be changed.
        """
        kind = event["type"]
        uuid = event.get("uuid")
        if uuid.__class__ is not str or not kind.startswith("task-"):
            return NOTHING
        known, weight = self._tasks.get(uuid, _STRANGER)
        taught = _TEACHES.get(kind)
        if taught is None:
            if not weight:
                return NOTHING
            self._tasks.move_to_end(uuid)
            return _lacking(event, known)
        time, names = taught
        if known:
            known = _still_true(event, time, known)
        learned = _learn(event, time, names, known)
        # A time alone weighs nothing: it is part of the entry.
        now = weight
        if names or not weight:
            now = _ENTRY_BYTES + getsizeof(uuid) + _weigh(learned)
        self._tasks[uuid] = (learned, now)
        if weight:
            self._tasks.move_to_end(uuid)
        self.weight_bytes += now - weight
        if self.weight_bytes > self._max_bytes or len(self._tasks) > self._max_tasks:
            self._forget()
        return _lacking(event, known) if known else NOTHING

    def _forget(self) -> None:
        while self.weight_bytes > self._max_bytes or len(self._tasks) > self._max_tasks:
            _, (_, weight) = self._tasks.popitem(last=False)
            self.weight_bytes -= weight
            self.forgotten += 1


def _lacking(event: EventFields, known: Mapping[str, Any]) -> Mapping[str, Any]:
    if event.keys().isdisjoint(known):
        return known
    return {name: known[name] for name in known if name not in event}


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
    else:
        stale = (time,)
    if known.keys().isdisjoint(stale):
        return known
    return {name: known[name] for name in known if name not in stale}


def _learn(
    event: EventFields, time: str, names: tuple[str, ...], known: Mapping[str, Any]
) -> Mapping[str, Any]:
    get = event.get
    learned = {name: value for name in names if (value := get(name)) is not None}
    if known:
        learned = {**known, **learned}
    timestamp = get("timestamp")
    if timestamp.__class__ is float or timestamp.__class__ is int:
        learned[time] = timestamp
    return learned


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
