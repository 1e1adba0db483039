"""The events of a task or a worker as a value that merges in any order.

Several evcams may write into one database, and one evcam writes again after a restart.  So
a row is never overwritten: its events (in the column `heard`) and the new ones are merged,
and the row is made of them again.  Merging unites sets and takes the greater of two, so
order and repetition do not matter; the bounds keep it that way.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from operator import attrgetter, itemgetter
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import Struct, field

from evtools.cam.database.schema import (
    CLEANERS,
    COLUMNS,
    FIELDS,
    NEEDED,
    TASKS,
    Row,
    Stored,
    clean,
    clean_key,
    clean_name,
    clean_value,
)
from evtools.state import Change, Task, Worker, event_bytes, unwrapped
from evtools.wire import FIELDS as ALL_FIELDS
from evtools.wire import OWN_FIELDS, Event, TaskEvent, WorkerEvent, encode_line

#: Steps that a row is made of, the newest.  Beyond the first few they share a number of
#: characters.
STEPS_MAX: Final = 60
_STEPS_ALWAYS: Final = 4
_STEPS_CHARS: Final = 256 * 1024
#: Bytes of JSON of the fields of one event that Celery does not know.
OWN_MAX_BYTES: Final = 4 * 1024
#: Bytes of such fields of a task together.
_EXTRA_MAX_BYTES: Final = 16 * 1024
#: Bytes that may wait for a database that does not answer.
MAX_BYTES: Final = 256 * 1024 * 1024
#: Estimated bytes of a log without its events, and of one of a worker.
_LOG_BYTES: Final = 500
_WORKER_BYTES: Final = 4 * OWN_MAX_BYTES
_WORKERS_MAX: Final = 5000

_encode: Final = msgspec.json.Encoder(order="deterministic").encode

#: Values of fields that Celery does not know, by name, each with its time.
Extra: TypeAlias = dict[str, tuple[float, Any]]
Step = TypeVar("Step")


class Report(Struct, array_like=True):
    """An event: its kind, its sender's time, and its fields."""

    kind: str
    at: float
    fields: dict[str, Any] = field(default_factory=dict)


class TaskLog(Struct, Generic[Step], omit_defaults=True):
    """The events of a task.

    `first` and `last` are when they came, by our clock.  Its `steps` are Celery's events: as
    `step_of` returns them, or Reports in a text.  `note` is the newest custom event, `ahead`
    has the whole seconds by which the clocks of senders are ahead of ours, if that is a
    second or more.  `weight` is an estimate in bytes while it waits to be written.
    """

    first: float
    last: float
    steps: list[Step] = field(default_factory=list)
    note: Report | None = None
    extra: Extra = field(default_factory=dict)
    ahead: dict[str, int] = field(default_factory=dict)
    weight: int = 0


class WorkerLog(Struct):
    """The newest events of a worker by type, and when the last one came, by our clock."""

    last: float
    newest: dict[str, Report] = field(default_factory=dict, name="told")


# --- from events --------------------------------------------------------------------

#: Celery's events of a task by kind, with the FIELDS of that kind and their time.  All other
#: fields are None, so that the state takes them for events.
STEPS: Final[Mapping[str, Callable[..., Any]]] = {
    kind: msgspec.defstruct(
        kind.title().replace("-", ""),
        [*names, "timestamp"],
        namespace={**{name: None for name in ALL_FIELDS if name not in names}, "type": kind},
        gc=False,
    )
    for kind, names in FIELDS.items()
}
_values: Final = {kind: attrgetter(*names, "timestamp") for kind, names in FIELDS.items()}
_CLEANERS: Final = {
    kind: [CLEANERS.get(name, clean) for name in names] for kind, names in FIELDS.items()
}
_OF_WORKER: Final = tuple(
    name
    for name in OWN_FIELDS["worker-heartbeat"]
    if name not in {"hostname", "timestamp", "clock", "utcoffset"}
)


def step_of(event: Event) -> Any:
    """Return one of Celery's events of a task as a step, with texts that databases take."""
    kind = event.type
    *values, _ = _values[kind](event)
    if event.exception is not None:
        values[1] = unwrapped(event.exception, event.traceback)
    cleaned = [
        clean_text(value) if value.__class__ is str else value
        for clean_text, value in zip(_CLEANERS[kind], values, strict=True)
    ]
    return STEPS[kind](*cleaned, _time_of(event))


def _time_of(event: Event) -> float:
    return float(event.local_received if event.timestamp is None else event.timestamp)


def clean_own(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields that Celery does not know, or none if they are too large."""
    if not own or len(encode_line(own)) > OWN_MAX_BYTES:
        return {}
    return {clean_name(key): clean_value(value) for key, value in own.items()}


# --- merging ------------------------------------------------------------------------


def merged(one: TaskLog[Any], other: TaskLog[Any]) -> TaskLog[Any]:
    """Return two logs of a task as one, without a weight: the same in either order."""
    return TaskLog(
        min(one.first, other.first),
        max(one.last, other.last),
        in_order([*one.steps, *other.steps]),
        latest(one.note, other.note),
        merged_extra(one.extra, other.extra) if one.extra or other.extra else {},
        {
            host: max(each.ahead.get(host, seconds) for each in (one, other))
            for each in (one, other)
            for host, seconds in each.ahead.items()
        },
    )


def merged_workers(one: WorkerLog, other: WorkerLog) -> WorkerLog:
    """Return two logs of a worker as one: the same in either order."""
    newest = one.newest | other.newest
    newest |= {kind: latest(report, newest[kind]) for kind, report in one.newest.items()}
    return WorkerLog(max(one.last, other.last), newest)


def latest(one: Report | None, other: Any) -> Any:
    """Return the newer one of two reports; None is older than any."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda each: (each.at, each.kind, _encode(each.fields)))


def merged_extra(one: Extra, other: Extra) -> Extra:
    """Return by name the newest values, of as many names as there is room for."""
    both, left = one | other, _EXTRA_MAX_BYTES
    kept: Extra = {}
    for key in sorted(both):
        values = one.get(key, both[key]), both[key]
        newest = max(values, key=lambda each: (each[0], _encode(each[1])))
        left -= len(key) + len(_encode(newest))
        if left < 0:
            break
        kept[key] = newest
    return kept


def in_order(steps: list[Any]) -> list[Any]:
    """Return each step once, in order of time: the newest of them, up to their bounds."""
    places = [(step.timestamp, step.type, step.hostname) for step in steps]
    if not all(one < other for one, other in pairwise(places)):
        distinct: dict[tuple[float, str, str], Any] = {}
        for at, step in zip(places, steps, strict=True):
            known = distinct.setdefault(at, step)
            if known is not step and _rank(step) > _rank(known):
                distinct[at] = step
        steps = [distinct[at] for at in sorted(distinct)]
    if len(steps) <= _STEPS_ALWAYS:
        return steps
    left = _STEPS_CHARS
    for number, step in enumerate(reversed(steps)):
        left -= sum(len(v) for v in msgspec.structs.astuple(step) if v.__class__ is str)
        if number == STEPS_MAX or (number >= _STEPS_ALWAYS and left < 0):
            return steps[-number:]
    return steps


def _rank(step: Any) -> bytes:
    return _encode(msgspec.structs.astuple(step)[:-1])


# --- collecting ---------------------------------------------------------------------


class Pending:
    """The events of a period, of tasks by uuid and of workers by hostname.

    They are of `max_bytes` at most, estimated; beyond that the oldest are dropped, and
    counted as `lost`.  `events` is the number of events of tasks.  Change it with the
    state's lock held.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self.tasks: dict[str, TaskLog[Any]] = {}
        self.workers: dict[str, WorkerLog] = {}
        self.bytes = self.events = self.lost = 0

    def observe(self, changes: Iterable[Change]) -> None:
        """Add the events that changed something."""
        for change in changes:
            if isinstance(change.subject, Task):
                self._add_to_task(change.event)
            elif isinstance(change.subject, Worker):
                self._add_to_worker(change.event)
        self._make_room()

    def extend(self, later: "Pending") -> None:
        """Add the events of the period after this one."""
        for uuid, log in later.tasks.items():
            earlier = self.tasks.get(uuid)
            if earlier is None:
                self.tasks[uuid] = log
            else:
                self.tasks[uuid] = merged(earlier, log)
                self.tasks[uuid].weight = earlier.weight + log.weight
        for hostname, of_worker in later.workers.items():
            known = self._worker(hostname, of_worker.last)
            self.workers[hostname] = merged_workers(known, of_worker)
        self.bytes += later.bytes - _WORKER_BYTES * len(later.workers)
        self.events += later.events
        self.lost += later.lost
        self._make_room()

    def _add_to_task(self, event: Event) -> None:
        own, received = event.extra, float(event.local_received)
        uuid = clean_key(event.uuid)
        log = self.tasks.get(uuid)
        if log is None:
            log = self.tasks[uuid] = TaskLog(received, received, weight=_LOG_BYTES)
            self.bytes += _LOG_BYTES
        log.first, log.last = min(log.first, received), max(log.last, received)
        weight = event_bytes(event) + (OWN_MAX_BYTES if own else 0)
        log.weight += weight
        self.bytes += weight
        self.events += 1
        if not isinstance(event, TaskEvent):
            note = Report(clean_key(event.type), _time_of(event), clean_own(own))
            log.note = latest(log.note, note)
            return
        step = step_of(event)
        log.steps.append(step)
        if own:
            extra = {name: (step.timestamp, value) for name, value in clean_own(own).items()}
            log.extra = merged_extra(log.extra, extra)
        if event.type != "task-sent" and step.hostname:
            self._worker(step.hostname, received)

    def _add_to_worker(self, event: Event) -> None:
        kind = event.type
        log = self._worker(clean_key(event.hostname), float(event.local_received))
        # The answer to a wake-up says less than a heartbeat.
        is_short = kind == "worker-heartbeat" and event.processed is None
        if isinstance(event, WorkerEvent) and not is_short:
            known = {n: v for n in _OF_WORKER if (v := getattr(event, n)) is not None}
            fields = {**clean_own(event.extra), **clean_value(known)}
            log.newest[kind] = latest(log.newest.get(kind), Report(kind, _time_of(event), fields))

    def _worker(self, hostname: str, received: float) -> WorkerLog:
        log = self.workers.get(hostname)
        if log is None:
            log = self.workers[hostname] = WorkerLog(received)
            self.bytes += _WORKER_BYTES
            if len(self.workers) > _WORKERS_MAX:
                del self.workers[next(iter(self.workers))]
                self.bytes -= _WORKER_BYTES
        log.last = max(log.last, received)
        return log

    def _make_room(self) -> None:
        if self.bytes <= self.max_bytes:
            return
        # A few more than have to go, so that it does not happen with each event.
        enough = self.max_bytes - self.max_bytes // 16
        while self.bytes > enough and self.tasks:
            log = self.tasks.pop(next(iter(self.tasks)))
            events = len(log.steps) + (log.note is not None)
            self.bytes -= log.weight
            self.events -= events
            self.lost += events


# --- as a text beside a row, without what the row says anyway -----------------------


def _getters(columns: Iterable[str]) -> dict[str, Callable[[Any], tuple[Any, ...]]]:
    """Return by kind of event what gets its fields and a None out of columns and a None."""
    places = {name: place for place, name in enumerate(columns)} | {"": -1}
    return {
        kind: itemgetter(*[places[name] for name in names], -1) for kind, names in COLUMNS.items()
    }


_of_row: Final = _getters(TASKS.columns)
_of_stored: Final = _getters(NEEDED[TASKS])
_decode: Final = msgspec.json.Decoder(TaskLog[Report]).decode
_decode_worker: Final = msgspec.json.Decoder(WorkerLog).decode


def pack(log: TaskLog[Any], row: Row) -> str:
    """Return a log as a text without the values that its row has."""
    row, steps = [*row, None], []
    for step in log.steps:
        kind, fields = step.type, {}
        hostname, *others, at = msgspec.structs.astuple(step)
        values, known = (hostname or None, *others, None), _of_row[kind](row)
        if values != known:
            each = zip(FIELDS[kind], values, known, strict=False)
            fields = {name: value for name, value, of_row in each if value != of_row}
        steps.append(Report(kind.removeprefix("task-"), at, fields))
    packed = TaskLog(log.first, log.last, steps, log.note, log.extra, log.ahead)
    return _encode(packed).decode()


def unpack(stored: Stored) -> TaskLog[Any]:
    """Return the log that was packed beside a row with these `NEEDED` columns.

    Raise msgspec.DecodeError, and KeyError for an unknown kind of event.
    """
    log: TaskLog[Any] = _decode(stored[1])
    stored, reports, log.steps = (*stored, None), log.steps, []
    for report in reports:
        kind = f"task-{report.kind}"
        values = _of_stored[kind](stored)
        if report.fields:
            known = zip(FIELDS[kind], values, strict=False)
            values = (*[report.fields.get(name, value) for name, value in known], None)
        hostname, *others, _ = values
        log.steps.append(STEPS[kind](hostname or "", *others, report.at))
    return log


def unpack_worker(stored: Stored) -> WorkerLog:
    """Return the log of a worker, which is packed whole; raise msgspec.DecodeError."""
    return _decode_worker(stored[1])
