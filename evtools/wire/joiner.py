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
        self._time = time
        self._key = b',"%b":' % time.encode()
        self.over = over
        self._values: Callable[[Any], Any] = attrgetter(*self._fields, "timestamp")
        #: By the types of the values, the names of those that are not None.
        self._present: dict[tuple[type, ...], FieldNames] = {}
        fields = [(name, Any, None) for name in self._names]
        self._object = msgspec.defstruct("Object", fields, omit_defaults=True, gc=False)

    def known(self, values: tuple[Any, ...]) -> Known:
        """Return what values of an event say."""
        types = tuple(map(type, values))
        names = self._present.get(types)
        if names is None:
            pairs = zip(self._names, values, strict=False)
            names = field_names(tuple(name for name, value in pairs if value is not None))
            self._present[types] = names
        return Known(b"," + _encode(self._object(*values))[1:-1], names)

    def first(self, event: Event) -> Known:
        """Return what an event says that has all its fields; the first of its task."""
        return self.known(self._values(event)) if self._fields else self.timed(event)

    def lacking(self, event: Event, before: Known) -> Known | None:
        """Return what the event lacks, if only the task-sent of the same attempt is known."""
        own = self.known(self._values(event)[:-1])
        size, count = len(own.members), len(own.names.all)
        names = before.names.all
        if names[-1:] != ("sent",) or names[:count] != own.names.all or count >= len(names):
            return None
        if before.members[:size] != own.members or before.members[size : size + 1] != b",":
            return None
        return Known(before.members[size:], field_names(names[count:]))

    def timed(self, event: Event, before: Known = _NOTHING_KNOWN) -> Known:
        names = before.names.timed.get(self._time)
        if names is None:
            names = field_names((*before.names.all, self._time))
            before.names.timed[self._time] = names
        return Known(before.members + self._key + _encode(event.timestamp), names)

    def said(self, event: EventFields) -> dict[str, Any]:
        """Return what any event says."""
        said = {name: event.get(name) for name in self._fields}
        said[self._time] = (
            event["timestamp"] if moment(event.get("timestamp")) is not None else None
        )
        return {name: value for name, value in said.items() if value is not None}


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
#: What is remembered at most, by default.
MAX_TASKS: Final = 100_000
MAX_BYTES: Final = 64 * 1024 * 1024
#: What one task takes beside the text of what is known: key, entry and tuple.
_ENTRY_BYTES: Final = 350


class Joiner:
    """Give events what earlier events of their task said and they lack.

    Bounded by the number of tasks and by their weight in bytes (estimated); the tasks
    without events for longest are forgotten first, finished or not, and counted in
    `forgotten`.
    """

    def __init__(self, *, max_tasks: int = MAX_TASKS, max_bytes: int = MAX_BYTES) -> None:
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
                if joined := self._joined(event):
                    event.known = joined
                continue
            uuid, kind = event.uuid, event.type
            before = recall(uuid)
            if kind not in sources:
                if before is not None:
                    touch(uuid)
                    event.known = before
                continue
            source = sources[kind]
            if before is None:
                now = source.first(event)
                weight += _ENTRY_BYTES + len(uuid)
            elif kind == "task-started" and not before.names.has_start:
                event.known, now = before, source.timed(event, before)
                weight -= len(before.members)
            elif kind == "task-received" and (lacking := source.lacking(event, before)):
                event.known, now = lacking, source.timed(event, before)
                weight -= len(before.members)
            else:
                event.known = self._joined(event)
                continue
            tasks[uuid] = now
            touch(uuid)
            weight += len(now.members)
        self.weight_bytes += weight
        while self.weight_bytes > self._max_bytes or len(tasks) > self._max_tasks:
            oldest, forgotten = tasks.popitem(last=False)
            self.weight_bytes -= _ENTRY_BYTES + len(oldest) + len(forgotten.members)
            self.forgotten += 1

    def _joined(self, event: Event) -> Mapping[str, Any]:
        """Return what is known of the event's task and it lacks; learn from it."""
        uuid, kind = event.uuid, event.type
        source = _SOURCES.get(kind)
        before = self._tasks.get(uuid)
        if not uuid or not kind.startswith("task-") or (source is None and before is None):
            return NOTHING
        sent = event.as_dict()
        fields = before.fields() if before is not None else {}
        if source is not None:
            over = _TIMES if _is_another(fields, sent) else source.over
            fields = {name: value for name, value in fields.items() if name not in over}
            self._tasks[uuid] = now = join_text({**fields, **source.said(sent)})
            self.weight_bytes += len(now.members)
            self.weight_bytes += (
                _ENTRY_BYTES + len(uuid) if before is None else -len(before.members)
            )
        self._tasks.move_to_end(uuid)
        return {name: value for name, value in fields.items() if name not in sent}


def _is_another(fields: dict[str, Any], event: EventFields) -> bool:
    """Return whether an event begins another attempt than the known one.

    `retries` shows it, or that a client sends a task under the id of one that ran
    before.  Otherwise, a task-sent may come after the task's other events.
    """
    retries = fields.get("retries")
    if retries is not None and event.get("retries", retries) != retries:
        return True
    at = moment(event.get("timestamp"))
    if event["type"] != "task-sent" or at is None:
        return False
    if "sent" in fields:
        return bool(at > fields["sent"])
    later = [fields[name] for name in ("received", "started") if name in fields]
    return bool(later) and at > max(later) + _SKEW
