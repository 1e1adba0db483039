"""The events of a task or a worker as a value that merges in any order.

Several evcams may write into one database, and one evcam writes again after a restart.  So
a row is never overwritten: its events (in the column `heard`) and the new ones are merged,
and the row is made of them again.  Merging unites sets and takes the greater of two, so
order and repetition do not matter; the bounds keep it that way.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from operator import attrgetter, itemgetter
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct, field

from evtools.cam.database.schema import (
    CLEANERS,
    FIELDS,
    SHARED,
    TASKS,
    Row,
    Stored,
    clean,
    clean_key,
    clean_name,
    clean_value,
    needed,
)
from evtools.state import Change, Task, Worker, event_bytes, unwrapped
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
_PREFIX: Final = "task-"

_encoder: Final = msgspec.json.Encoder(order="deterministic")

#: Values of fields that Celery does not know, by name, each with its time.
Extra: TypeAlias = dict[str, tuple[float, Any]]


class Report(Struct, array_like=True):
    """An event: its kind, its sender's time, and its fields."""

    kind: str
    at: float
    fields: dict[str, Any] = field(default_factory=dict)


class Step(Struct, gc=False):
    """One of Celery's events of a task: its kind, its sender's time, its values.

    The values are of the `FIELDS` of its kind, in their order; the first is its sender.
    """

    kind: str
    at: float
    values: tuple[Any, ...]


class TaskLog(Struct):
    """The events of a task.

    `first` and `last` are when they came, by our clock.  `note` is the newest custom event,
    `ahead` has the whole seconds by which the clocks of senders are ahead of ours, if that
    is a second or more.  `weight` is an estimate in bytes.
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

#: Functions that get the values of an event, and those that clean its texts.
_GETTERS: Final = {kind: attrgetter(*names, "uuid") for kind, names in FIELDS.items()}
_CLEANERS: Final = {
    kind: [CLEANERS.get(name, clean) for name in names] for kind, names in FIELDS.items()
}
_OF_WORKER: Final = tuple(
    name
    for name in OWN_FIELDS["worker-heartbeat"]
    if name not in {"hostname", "timestamp", "clock", "utcoffset"}
)


def step_of(event: Event) -> Step:
    """Return one of Celery's events of a task as a step."""
    kind = event.type
    hostname, *values, _ = _GETTERS[kind](event)
    if event.exception is not None:
        values[0] = unwrapped(event.exception, event.traceback)
    cleaned = [
        clean_text(value) if value.__class__ is str else value
        for clean_text, value in zip(_CLEANERS[kind], [hostname or None, *values], strict=True)
    ]
    return Step(kind, _time_of(event), tuple(cleaned))


def report_of_worker(event: Event, own: dict[str, Any]) -> Report:
    """Return an event of a worker; `own` are fields that Celery does not know."""
    fields = {n: v for n in _OF_WORKER if (v := getattr(event, n)) is not None}
    return Report(event.type, _time_of(event), {**own, **clean_value(fields)})


def _time_of(event: Event) -> float:
    """Return when an event was sent, else when it was received, in UTC epoch seconds."""
    return float(event.local_received if event.timestamp is None else event.timestamp)


def clean_own(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields that Celery does not know, or none if they are too large."""
    if not own or len(encode_line(own)) > OWN_MAX_BYTES:
        return {}
    return {clean_name(key): clean_value(value) for key, value in own.items()}


# --- merging ------------------------------------------------------------------------


def normalised(log: TaskLog) -> TaskLog:
    """Return a log with its steps in order, up to their bounds."""
    steps = _newest(_in_order(log.steps))
    return TaskLog(log.first, log.last, steps, log.note, log.extra, log.ahead, log.weight)


def merged(one: TaskLog, other: TaskLog) -> TaskLog:
    """Return two logs of a task as one: the same in either order."""
    return TaskLog(
        min(one.first, other.first),
        max(one.last, other.last),
        _newest(_in_order([*one.steps, *other.steps])),
        latest((one.note, other.note)),
        joined_extra((one.extra, other.extra)) if one.extra or other.extra else {},
        {
            host: max(each.ahead.get(host, seconds) for each in (one, other))
            for each in (one, other)
            for host, seconds in each.ahead.items()
        },
        one.weight + other.weight,
    )


def merged_workers(*logs: WorkerLog) -> WorkerLog:
    """Return logs of a worker as one."""
    kinds = {kind for log in logs for kind in log.newest}
    newest = {kind: latest(log.newest.get(kind) for log in logs) for kind in kinds}
    found = {kind: report for kind, report in newest.items() if report is not None}
    return WorkerLog(max(log.last for log in logs), found)


def latest(reports: Iterable[Report | None]) -> Report | None:
    """Return the newest report; None if there is none."""
    known = [report for report in reports if report is not None]
    if len(known) < 2:  # noqa: PLR2004  (nothing to compare)
        return known[0] if known else None
    return max(known, key=lambda report: (report.at, report.kind, _encoder.encode(report.fields)))


def joined_extra(each: Iterable[Extra]) -> Extra:
    """Return by name the newest values, of as many names as there is room for."""
    joined: Extra = {}
    for extra in filter(None, each):
        for key, value in extra.items():
            other = joined.get(key, value)
            joined[key] = max(other, value, key=lambda each: (each[0], _encoder.encode(each[1])))
    left = _EXTRA_MAX_BYTES
    kept: Extra = {}
    for key in sorted(joined):
        left -= len(key) + len(_encoder.encode(joined[key]))
        if left < 0:
            break
        kept[key] = joined[key]
    return kept


def _in_order(steps: list[Step]) -> list[Step]:
    if len(steps) < 2:  # noqa: PLR2004  (nothing to sort)
        return steps
    places = [(step.at, step.kind, step.values[0] or "") for step in steps]
    if all(one < other for one, other in pairwise(places)):
        return steps
    distinct: dict[tuple[float, str, str], Step] = {}
    for place, step in zip(places, steps, strict=True):
        known = distinct.setdefault(place, step)
        if known is not step and _encoder.encode(step.values) > _encoder.encode(known.values):
            distinct[place] = step
    return [distinct[place] for place in sorted(distinct)]


def _newest(steps: list[Step]) -> list[Step]:
    if len(steps) <= _STEPS_ALWAYS:
        return steps
    left = _STEPS_CHARS
    for number, step in enumerate(reversed(steps)):
        left -= sum(len(v) for v in step.values if v.__class__ is str)
        if number == STEPS_MAX or (number >= _STEPS_ALWAYS and left < 0):
            return steps[-number:]
    return steps


# --- collecting ---------------------------------------------------------------------


class Pending(Struct):
    """The events of a period, of tasks by uuid and of workers by hostname.

    `events` is the number of events of tasks, `lost` that of dropped ones.
    """

    tasks: dict[str, TaskLog] = field(default_factory=dict)
    workers: dict[str, WorkerLog] = field(default_factory=dict)
    bytes: int = 0
    events: int = 0
    lost: int = 0


class PendingEvents:
    """Collect events until they are taken.

    They are of `max_bytes` at most, estimated; beyond that the oldest are dropped and
    counted.  Call everything with the state's lock held.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._pending = Pending()

    def observe(self, changes: Iterable[Change]) -> None:
        """Note the events that changed something."""
        for change in changes:
            if isinstance(change.subject, Task):
                self._note_task(change.event)
            elif isinstance(change.subject, Worker):
                self._note_worker(change.event)
        self._make_room()

    def take(self) -> Pending:
        """Return all events, and begin anew."""
        taken, self._pending = self._pending, Pending()
        return taken

    def restore(self, taken: Pending) -> None:
        """Take back events that could not be written."""
        later, self._pending = self._pending, taken
        for uuid, log in later.tasks.items():
            earlier = taken.tasks.get(uuid)
            taken.tasks[uuid] = merged(earlier, log) if earlier else log
        for hostname, of_worker in later.workers.items():
            known = taken.workers.get(hostname, of_worker)
            taken.workers[hostname] = merged_workers(known, of_worker)
        taken.bytes += later.bytes
        taken.events += later.events
        taken.lost += later.lost
        self._make_room()

    def _note_task(self, event: Event) -> None:
        own, received, pending = event.extra, float(event.local_received), self._pending
        uuid = clean_key(event.uuid)
        log = pending.tasks.get(uuid)
        if log is None:
            log = pending.tasks[uuid] = TaskLog(received, received, weight=_LOG_BYTES)
            pending.bytes += _LOG_BYTES
        log.first, log.last = min(log.first, received), max(log.last, received)
        weight = event_bytes(event) + (OWN_MAX_BYTES if own else 0)
        log.weight += weight
        pending.bytes += weight
        pending.events += 1
        if not isinstance(event, TaskEvent):
            note = Report(clean_key(event.type), _time_of(event), clean_own(own))
            log.note = latest((log.note, note))
            return
        step = step_of(event)
        log.steps.append(step)
        if own:
            alone = {n: (step.at, v) for n, v in clean_own(own).items()}
            log.extra = joined_extra((log.extra, alone))
        hostname = step.values[0]
        if event.type != "task-sent" and hostname is not None:
            self._worker(hostname, received)

    def _note_worker(self, event: Event) -> None:
        kind = event.type
        log = self._worker(clean_key(event.hostname), float(event.local_received))
        # The answer to a wake-up says less than a heartbeat.
        is_short = kind == "worker-heartbeat" and event.processed is None
        if isinstance(event, WorkerEvent) and not is_short:
            report = report_of_worker(event, clean_own(event.extra))
            log.newest[kind] = latest((log.newest.get(kind), report)) or report

    def _worker(self, hostname: str, received: float) -> WorkerLog:
        workers = self._pending.workers
        log = workers.get(hostname)
        if log is None:
            log = workers[hostname] = WorkerLog(received)
            self._pending.bytes += _WORKER_BYTES
            if len(workers) > _WORKERS_MAX:
                del workers[next(iter(workers))]
                self._pending.bytes -= _WORKER_BYTES
        log.last = max(log.last, received)
        return log

    def _make_room(self) -> None:
        """Drop the oldest events, a few more than have to go."""
        pending, tasks = self._pending, self._pending.tasks
        if pending.bytes <= self.max_bytes:
            return
        enough = self.max_bytes - self.max_bytes // 16
        while pending.bytes > enough and tasks:
            log = tasks.pop(next(iter(tasks)))
            events = len(log.steps) + (log.note is not None)
            pending.bytes -= log.weight
            pending.events -= events
            pending.lost += events


# --- as a text beside a row, without what the row says anyway -----------------------


class _Packed(Struct, omit_defaults=True):
    """A log without the values of its row, and with short names of events."""

    first: float
    last: float
    steps: list[Report] = field(default_factory=list)
    note: Report | None = None
    extra: Extra = field(default_factory=dict)
    ahead: dict[str, int] = field(default_factory=dict)


class _Shape(NamedTuple):
    """Where the values of a kind of event are: in a row, and in its `needed` columns.

    `others` stand for those that come last and are in neither.
    """

    names: tuple[str, ...]
    of_row: Callable[[Any], tuple[Any, ...]]
    of_stored: Callable[[Any], tuple[Any, ...]]
    others: tuple[None, ...]


def _getter(columns: Iterable[str], names: Iterable[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that gets the values of `names` from those of `columns`."""
    places = list(columns)
    first, *rest = [places.index(name) for name in names]
    return itemgetter(first, *rest) if rest else itemgetter(slice(first, first + 1))


_SHAPES: Final = {
    kind: _Shape(
        names,
        _getter(TASKS.columns, SHARED[kind]),
        _getter(needed(TASKS), SHARED[kind]),
        (None,) * (len(names) - len(SHARED[kind])),
    )
    for kind, names in FIELDS.items()
}
_decoder: Final = msgspec.json.Decoder(_Packed)
#: Decodes logs of workers, which are packed whole.
worker_decoder: Final = msgspec.json.Decoder(WorkerLog)


def pack(log: TaskLog, row: Row) -> str:
    """Return a log as a text without the values that its row has."""
    steps = []
    for step in log.steps:
        names, of_row, _, others = _SHAPES[step.kind]
        of_row_too, fields = (*of_row(row), *others), {}
        if of_row_too != step.values:
            each = zip(names, step.values, of_row_too, strict=True)
            fields = {name: value for name, value, known in each if value != known}
        steps.append(Report(step.kind.removeprefix(_PREFIX), step.at, fields))
    packed = _Packed(log.first, log.last, steps, log.note, log.extra, log.ahead)
    return _encoder.encode(packed).decode()


def unpack(text: str, stored: Stored) -> TaskLog:
    """Return the log that was packed beside a row with these `needed` columns.

    Raise msgspec.DecodeError, and KeyError for an unknown kind of event.
    """
    packed = _decoder.decode(text)
    steps = []
    for report in packed.steps:
        kind = _PREFIX + report.kind
        names, _, of_stored, others = _SHAPES[kind]
        values = (*of_stored(stored), *others)
        if report.fields:
            known = zip(names, values, strict=True)
            values = tuple([report.fields.get(name, value) for name, value in known])
        steps.append(Step(kind, report.at, values))
    return TaskLog(packed.first, packed.last, steps, packed.note, packed.extra, packed.ahead)
