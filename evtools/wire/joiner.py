"""The memory of what earlier events told about a task."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from msgspec.structs import astuple

from evtools.wire.events import TIME_MAX, EventFields, moment
from evtools.wire.known import Known, KnownFields, known
from evtools.wire.record import NOTHING
from evtools.wire.task_event import AnyRecord, TaskEvent

_RECEIVED: Final = (
    *("name", "args", "kwargs", "root_id", "parent_id"),
    *("retries", "eta", "expires"),
)
_SENT: Final = (*_RECEIVED, "queue", "exchange", "routing_key")


def _nulls_of_started(_event: Any) -> tuple[bool, ...]:
    return ()


def _nulls_of_received(event: Any) -> tuple[bool, ...]:
    # A loop over the names takes three times as long.
    return (
        event.name is None,
        event.args is None,
        event.kwargs is None,
        event.root_id is None,
        event.parent_id is None,
        event.retries is None,
        event.eta is None,
        event.expires is None,
    )


def _nulls_of_sent(event: Any) -> tuple[bool, ...]:
    return (
        *_nulls_of_received(event),
        event.queue is None,
        event.exchange is None,
        event.routing_key is None,
    )


class _Lesson:
    """What a kind of event teaches: fields, and its own time under the name `time`.

    `over` are the times that do not hold any longer then; `nulls` tells which of
    the fields are null in one of Celery's own events.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        time: str,
        nulls: Callable[[Any], tuple[bool, ...]],
        over: tuple[str, ...],
    ) -> None:
        self.over = over
        self._sources = (*names, "timestamp")
        self._names = (*names, time)
        self._nulls = nulls
        #: Where one of Celery's own events has them: after hostname and uuid.
        self._place = slice(2, 2 + len(self._sources))
        self._fields = KnownFields(self._names)

    def known(self, event: TaskEvent) -> Known:
        """Return what the event teaches, if it has a proper time, as known."""
        return self._fields.known(astuple(event)[self._place], self._nulls(event))

    def taught(self, event: EventFields) -> dict[str, Any]:
        """Return what the event teaches."""
        fields = dict(zip(self._names, map(event.get, self._sources), strict=True))
        if moment(event.get("timestamp")) is None:
            fields[self._names[-1]] = None
        return {name: value for name, value in fields.items() if value is not None}


#: A redelivery shows by nothing, but no worker receives a task after it
#: started it.
_LESSONS: Final[Mapping[str, _Lesson]] = {
    "task-sent": _Lesson(_SENT, "sent", _nulls_of_sent, ("sent",)),
    "task-received": _Lesson(_RECEIVED, "received", _nulls_of_received, ("received", "started")),
    "task-started": _Lesson((), "started", _nulls_of_started, ("started",)),
}

#: What another attempt makes obsolete; it shows by its `retries`.
_TIMES: Final = ("sent", "received", "started")

#: A client's clock may be ahead of the worker's by so many seconds.
_SKEW: Final = 1.0

#: What one task takes beside the text of what is known: key, entry and tuple.
_ENTRY_BYTES: Final = 350
#: To compare a float with an integer takes longer.
_TIME_MAX: Final = float(TIME_MAX)


class Joiner:
    """Tell records what earlier events of their task said.

    Bounded by the number of tasks and by their weight in bytes (estimated);
    the tasks that were silent for longest are forgotten first, finished or
    not, and counted in `forgotten`.
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

    def join(self, records: Iterable[AnyRecord]) -> None:
        """Join to each record what is known of its task and its event lacks.

        Learn from the event for later ones.
        """
        tasks, lessons, weight = self._tasks, _LESSONS, 0
        recall, touch = tasks.get, tasks.move_to_end
        for record in records:
            if not record.is_typed:
                record.joined = self._joined(record.event)
                continue
            uuid, kind = record.uuid, record.type
            before = recall(uuid)
            if kind not in lessons:
                if before is not None:
                    touch(uuid)
                    record.known = before
            elif not (type(record.timestamp) is float and 0.0 <= record.timestamp <= _TIME_MAX):
                record.known = known(self._joined(record.event))
            elif before is None:
                tasks[uuid] = now = lessons[kind].known(record)
                weight += _ENTRY_BYTES + len(uuid) + len(now.members)
            elif kind == "task-started" and not before.names.tell_start:
                record.known = before
                tasks[uuid] = now = before.started(record.timestamp)
                touch(uuid)
                weight += len(now.members) - len(before.members)
            else:
                record.known = known(self._joined(record.event))
        self.weight_bytes += weight
        self._make_room()

    def _joined(self, event: EventFields) -> Mapping[str, Any]:
        """Return what is known of the event's task and it lacks; learn from it."""
        uuid, kind = event.get("uuid"), event["type"]
        if uuid.__class__ is not str:
            return NOTHING
        before = self._tasks.get(uuid)
        lesson = _LESSONS.get(kind)
        if lesson is None:
            if before is None or not kind.startswith("task-"):
                return NOTHING
            self._tasks.move_to_end(uuid)
            fields = before.fields()
        else:
            fields = _still_true(before.fields(), event, lesson) if before else {}
            news = {**fields, **lesson.taught(event)}
            self._remember(uuid, before, known(news))
        return {name: value for name, value in fields.items() if name not in event}

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


def _still_true(fields: dict[str, Any], event: EventFields, lesson: _Lesson) -> dict[str, Any]:
    """Return what is known, without the times of an earlier attempt."""
    retries = fields.get("retries")
    another = retries is not None and event.get("retries", retries) != retries
    over = _TIMES if another or _is_sent_anew(fields, event) else lesson.over
    return {name: value for name, value in fields.items() if name not in over}


def _is_sent_anew(fields: dict[str, Any], event: EventFields) -> bool:
    """Tell whether a client sends a task under the id of one that ran before.

    Other than that, what was sent may come after what became of it.
    """
    at = moment(event.get("timestamp"))
    if event["type"] != "task-sent" or at is None:
        return False
    if "sent" in fields:
        return bool(at > fields["sent"])
    later = [fields[name] for name in ("received", "started") if name in fields]
    return bool(later) and at > max(later) + _SKEW
