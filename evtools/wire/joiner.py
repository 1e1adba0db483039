"""The memory of what earlier events said of a task."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec import UNSET

from evtools.wire.envelope import field_names, join_text
from evtools.wire.events import NOTHING, OWN_FIELDS, Event, EventFields, FieldNames, Known, moment

_encode = msgspec.json.Encoder().encode


def _with_start(before: Known, timestamp: float) -> Known:
    names = before.names.with_start
    if names is None:
        names = before.names.with_start = field_names((*before.names.all, "started"))
    return Known(before.members + b',"started":' + _encode(timestamp), names)


_NOTHING_KNOWN: Final = join_text({})


class _Source:
    """A type of event that says something of its task: fields, and when it was sent.

    `time` is the name of the latter, `over` are the times that no longer hold then.
    """

    def __init__(self, kind: str, time: str, over: tuple[str, ...]) -> None:
        own = OWN_FIELDS[kind]
        # Between what names the event and what all events have.
        self._fields = own[2 : own.index("timestamp")]
        self._names = (*self._fields, time)
        self.over = over
        self._values: Callable[[Any], tuple[Any, ...]] = attrgetter(
            *(self._fields or ("uuid",)), "timestamp"
        )
        #: By the types of the values, the names of those that are not None.
        self._present: dict[tuple[type, ...], FieldNames] = {}
        self._object = msgspec.defstruct(
            "Object", [(name, Any, None) for name in self._names], omit_defaults=True, gc=False
        )

    def known(self, event: Event) -> Known:
        """Return what an event says that has all its fields."""
        values = self._values(event)
        types = tuple(map(type, values))
        names = self._present.get(types)
        if names is None:
            pairs = zip(self._names, values, strict=True)
            present = [name for name, value in pairs if value is not None]
            names = self._present[types] = field_names(tuple(present))
        return Known(b"," + _encode(self._object(*values))[1:-1], names)

    def said(self, event: EventFields) -> dict[str, Any]:
        """Return what any event says."""
        values = [event.get(name) for name in self._fields]
        values.append(event["timestamp"] if moment(event.get("timestamp")) is not None else None)
        pairs = zip(self._names, values, strict=True)
        return {name: value for name, value in pairs if value is not None}


#: Nothing shows a redelivery, but no worker receives a task after it started it.
_SOURCES: Final[Mapping[str, _Source]] = {
    "task-sent": _Source("task-sent", "sent", ("sent",)),
    "task-received": _Source("task-received", "received", ("received", "started")),
    "task-started": _Source("task-started", "started", ("started",)),
}

#: What another attempt makes obsolete; its `retries` shows it.
_TIMES: Final = ("sent", "received", "started")

#: Seconds by which a client's clock may be ahead of the worker's.
_SKEW: Final = 1.0

#: What one task takes beside the text of what is known: key, entry and tuple.
_ENTRY_BYTES: Final = 350


class Joiner:
    """Give events what earlier events of their task said and they lack.

    Bounded by the number of tasks and by their weight in bytes (estimated); the tasks
    without events for longest are forgotten first, finished or not, and counted in
    `forgotten`.
    """

    def __init__(self, *, max_tasks: int = 100_000, max_bytes: int = 64 * 1024 * 1024) -> None:
        self.forgotten = 0
        #: Estimated weight of all that is remembered.
        self.weight_bytes = 0
        self._max_tasks = max_tasks
        self._max_bytes = max_bytes
        self._tasks: OrderedDict[str, Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tasks)

    def join(self, events: Iterable[Event]) -> None:
        """Set `known` of each event, and learn from it for later ones."""
        tasks, sources, weight = self._tasks, _SOURCES, 0
        recall, touch = tasks.get, tasks.move_to_end
        for event in events:
            if event.original is not UNSET or not event.joins_plainly:
                joined = self._joined(event)
                if joined:
                    event.known = joined
                continue
            uuid, kind = event.uuid, event.type
            before = recall(uuid)
            if kind not in sources:
                if before is not None:
                    touch(uuid)
                    event.known = before
            elif kind == "task-started" and (before is None or not before.names.has_start):
                if before is not None:
                    event.known = before
                    weight -= _ENTRY_BYTES + len(uuid) + len(before.members)
                tasks[uuid] = now = _with_start(before or _NOTHING_KNOWN, event.timestamp or 0)
                touch(uuid)
                weight += _ENTRY_BYTES + len(uuid) + len(now.members)
            elif before is None:
                tasks[uuid] = now = sources[kind].known(event)
                weight += _ENTRY_BYTES + len(uuid) + len(now.members)
            else:
                event.known = self._joined(event)
        self.weight_bytes += weight
        self._make_room()

    def _joined(self, event: Event) -> Mapping[str, Any]:
        """Return what is known of the event's task and it lacks; learn from it."""
        uuid, kind = event.uuid, event.type
        source = _SOURCES.get(kind)
        before = self._tasks.get(uuid)
        if not uuid or not kind.startswith("task-") or (source is None and before is None):
            return NOTHING
        sent = event.as_dict()
        fields = before.fields() if before is not None else {}
        if source is None:
            self._tasks.move_to_end(uuid)
        else:
            fields = _still_true(fields, sent, source)
            self._remember(uuid, before, join_text({**fields, **source.said(sent)}))
        return {name: value for name, value in fields.items() if name not in sent}

    def _remember(self, uuid: str, before: Known | None, now: Known) -> None:
        self._tasks[uuid] = now
        self._tasks.move_to_end(uuid)
        if before is None:
            self.weight_bytes += _ENTRY_BYTES + len(uuid)
        else:
            self.weight_bytes -= len(before.members)
        self.weight_bytes += len(now.members)

    def _make_room(self) -> None:
        while self.weight_bytes > self._max_bytes or len(self._tasks) > self._max_tasks:
            oldest, forgotten = self._tasks.popitem(last=False)
            self.weight_bytes -= _ENTRY_BYTES + len(oldest) + len(forgotten.members)
            self.forgotten += 1


def _still_true(fields: dict[str, Any], event: EventFields, source: _Source) -> dict[str, Any]:
    """Return what is known, without the times of an earlier attempt."""
    retries = fields.get("retries")
    another = retries is not None and event.get("retries", retries) != retries
    over = _TIMES if another or _is_sent_anew(fields, event) else source.over
    return {name: value for name, value in fields.items() if name not in over}


def _is_sent_anew(fields: dict[str, Any], event: EventFields) -> bool:
    """Return whether a client sends a task under the id of one that ran before.

    Otherwise, a task-sent may come after the task's other events.
    """
    at = moment(event.get("timestamp"))
    if event["type"] != "task-sent" or at is None:
        return False
    if "sent" in fields:
        return bool(at > fields["sent"])
    later = [fields[name] for name in ("received", "started") if name in fields]
    return bool(later) and at > max(later) + _SKEW
