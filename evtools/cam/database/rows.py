"""The events of a task or a worker as a value that merges in any order, and their rows.

Several evcams may write into one database, and one evcam writes again after a restart.  So
a row is never overwritten: its events (in the column `heard`) and the new ones are merged,
and the row is made of them again.  Merging unites sets and takes the greater of two, so
order and repetition do not matter; the bounds keep it that way.  A row depends on its
events and on nothing else, or two evcams would make different rows of the same ones.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import inf
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar

import msgspec

from evtools.cam.snapshot import SnapshotInfo, clocks_ahead
from evtools.cam.store import MAX_WAITING
from evtools.state import Change, State, Task, Worker, event_bytes, unwrapped
from evtools.state.attempts import ADD, History, announced
from evtools.transport.recording import database as schema
from evtools.transport.recording.database import (
    FIELDS,
    TASKS,
    WORKERS,
    Extra,
    Report,
    Row,
    Stored,
    StoredTask,
    StoredWorker,
    clean_key,
    completed,
    getters_of,
)
from evtools.wire import COMMON, OWN_FIELDS, Event, TaskEvent, WorkerEvent, encode_line, iso_utc
from evtools.wire import FIELDS as ALL_FIELDS

#: Steps that a row is made of, the newest.  Beyond the first few they share a number of characters.
STEPS_MAX: Final = 60
_STEPS_ALWAYS: Final = 4
_STEPS_CHARS: Final = 256 * 1024
#: Bytes of JSON of the fields of one event that Celery does not know.
OWN_MAX_BYTES: Final = 4 * 1024
#: Bytes of such fields of a task together.
_EXTRA_MAX_BYTES: Final = 16 * 1024
#: Estimated bytes of a log without its events, and of one of a worker.
_LOG_BYTES: Final = 500
_WORKER_BYTES: Final = 4 * OWN_MAX_BYTES
_WORKERS_MAX: Final = 5000
_COUNT_MAX: Final = 2**62

#: Numbers of events and tasks, and of events that were dropped.
Counts: TypeAlias = tuple[int, int, int]

_encode: Final = msgspec.json.Encoder(order="deterministic").encode

_Step = TypeVar("_Step")


def as_json(value: Any) -> str:
    return _encode(value).decode()


def latest(one: Report | None, other: Any) -> Any:
    """Return the newer one of two reports; None is older than any."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda each: (each.at, each.kind, _encode(each.fields)))


# --- steps of a task ----------------------------------------------------------------

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
    kind: [schema.CLEANERS.get(name, schema.clean) for name in names]
    for kind, names in FIELDS.items()
}


def step_of(event: Event) -> Any:
    """Return one of Celery's events of a task as a step, with texts that databases take."""
    kind = event.type
    *values, _ = _values[kind](event)
    if event.exception is not None:
        values[1] = unwrapped(event.exception, event.traceback)
    # Nearly all are short and plain, which is quicker to see of all together.
    texts = "".join([value for value in values if value.__class__ is str])
    if len(texts) > schema.NAME_MAX or not texts.isascii() or "\0" in texts:
        values = [
            clean_text(value) if value.__class__ is str else value
            for clean_text, value in zip(_CLEANERS[kind], values, strict=True)
        ]
    return STEPS[kind](*values, _time_of(event))


def _time_of(event: Event) -> float:
    return float(event.local_received if event.timestamp is None else event.timestamp)


def in_order(steps: list[Any]) -> list[Any]:
    """Return each step once, in order of time: the newest of them, up to their bounds."""
    if not _is_sorted(steps):
        places = [(step.timestamp, step.type, step.hostname) for step in steps]
        distinct: dict[tuple[float, str, str], Any] = {}
        for at, step in zip(places, steps, strict=True):
            known = distinct.setdefault(at, step)
            if known is not step:
                astuple = msgspec.structs.astuple
                distinct[at] = max(known, step, key=lambda each: _encode(astuple(each)[:-1]))
        steps = [distinct[at] for at in sorted(distinct)]
    if len(steps) <= _STEPS_ALWAYS:
        return steps
    left = _STEPS_CHARS
    for number, step in enumerate(reversed(steps)):
        left -= sum(len(v) for v in msgspec.structs.astuple(step) if v.__class__ is str)
        if number == STEPS_MAX or (number >= _STEPS_ALWAYS and left < 0):
            return steps[-number:]
    return steps


def _is_sorted(steps: list[Any]) -> bool:
    # Each later than the one before, as they are of most tasks.
    before = -inf
    for step in steps:
        if not before < step.timestamp:
            return False
        before = step.timestamp
    return True


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


def clean_own(own: Mapping[str, Any]) -> dict[str, Any]:
    # Fields that Celery does not know; none if they are too large.
    if not own or len(encode_line(own)) > OWN_MAX_BYTES:
        return {}
    return {schema.clean_name(key): schema.clean_value(value) for key, value in own.items()}


def _attributes(columns: Iterable[str]) -> Callable[[Any], tuple[Any, ...]]:
    names = {"worker": "worker_name", "queue": "queue_or_none"}
    return attrgetter(*[names.get(column, column) for column in columns])


#: Without the key, and what is not of the state.
_of_task: Final = _attributes(tuple(TASKS.columns)[1:-6])
_of_attempt: Final = _attributes(tuple(schema.ATTEMPTS.columns)[2:-1])
#: A task in which these are None, and not missing, if no event has them.
_Task: Final[Any] = type(
    "Task", (Task,), dict.fromkeys(("terminated", "signum", "expired", "requeue"))
)
#: Kinds as they are in a text.
_SHORT: Final = {kind: kind.removeprefix("task-") for kind in FIELDS}
_ENDS: Final = FIELDS.keys() - {"task-sent", "task-received", "task-started"}
#: The events of most tasks, in order: of one attempt, if one worker sent them.
_SIMPLE: Final = frozenset(
    {
        ("task-sent",),
        *(
            (*sent, "task-received", *rest)
            for sent in ((), ("task-sent",))
            for rest in ((), ("task-started",), *(("task-started", end) for end in _ENDS))
        ),
    }
)
_of_row: Final = getters_of(TASKS.columns)


class TaskLog(StoredTask[_Step], Generic[_Step], omit_defaults=True):
    """The events of a task; its `steps` are as `step_of` returns them, or Reports in a text.

    `weight` is an estimate in bytes while it waits to be written.
    """

    weight: int = 0

    def merged(self, other: "TaskLog[Any]") -> "TaskLog[Any]":
        """Return two logs of a task as one, without a weight: the same in either order."""
        return TaskLog(
            min(self.first, other.first),
            max(self.last, other.last),
            in_order([*self.steps, *other.steps]),
            latest(self.note, other.note),
            merged_extra(self.extra, other.extra) if self.extra or other.extra else {},
            {
                host: max(self.ahead.get(host, seconds), other.ahead.get(host, seconds))
                for host, seconds in (self.ahead | other.ahead).items()
            }
            if self.ahead or other.ahead
            else {},
        )

    def pack(self, row: Row) -> str:
        """Return it as a text without the values that its row has."""
        row, steps = [*row, None], []
        for each in self.steps:
            step: Any = each
            kind, fields = step.type, {}
            values, known = msgspec.structs.astuple(step), _of_row[kind](row)
            if values[1:-1] != known[1:-1] or (values[0] or None) != known[0]:
                named = zip(FIELDS[kind], (values[0] or None, *values[1:-1]), known, strict=False)
                fields = {name: value for name, value, of_row in named if value != of_row}
            steps.append(Report(_SHORT[kind], values[-1], fields))
        return as_json(TaskLog(self.first, self.last, steps, self.note, self.extra, self.ahead))

    @classmethod
    def unpack(cls, stored: Stored) -> "TaskLog[Any]":
        """Return the log that was packed beside a row with these `NEEDED` columns.

        Raise msgspec.DecodeError, and KeyError for an unknown kind of event.
        """
        log: TaskLog[Any] = _decode(stored[1])
        stored, reports, log.steps = (*stored, None), log.steps, []
        for report in reports:
            kind, (hostname, *others) = completed(report, stored)
            log.steps.append(STEPS[kind](hostname or "", *others, report.at))
        return log

    def rows(self, uuid: str, cluster: str = "") -> tuple[Row, list[Row]]:
        """Return the row of the task, and those of its attempts before the newest."""
        task = self._task(uuid)
        note, extra = None, None
        if self.note is not None:
            event = {"type": self.note.kind, "timestamp": self.note.at, **self.note.fields}
            note = as_json(event)
        if self.extra:
            extra = as_json({name: value for name, (_, value) in self.extra.items()})
        row = [uuid, *_of_task(task), note, extra, self.first, self.last]
        row += (self.pack(row), cluster)
        attempts = [
            _finished(schema.ATTEMPTS, [uuid, place, *_of_attempt(each), cluster])
            for place, each in enumerate(task.attempts)
        ]
        return _finished(TASKS, row), attempts

    def _task(self, uuid: str) -> Any:
        steps: Any = self.steps
        ahead, task = self.ahead, _Task(uuid)
        if ahead:
            clients = SimpleNamespace(ahead=lambda client: ahead.get(client or "", 0))
            task.cluster_state = SimpleNamespace(clients=clients)
        kinds = tuple([step.type for step in steps])
        hosts = {step.hostname for step in steps if step.type != "task-sent"}
        hosts.discard("")
        # Of a worker only its name and its clock are known, which is to count.
        workers: Any = {
            name: SimpleNamespace(hostname=name, skew=ahead.get(name, 0), beats=1) for name in hosts
        }
        run = steps[1:] if kinds[:1] == ("task-sent",) else steps
        if (
            kinds in _SIMPLE
            and len(workers) == bool(run)
            and (not run or run is steps or steps[0].retries == run[0].retries)
        ):
            # There is no need to group them.
            for step in steps:
                ADD[step.type](task, step)
            task.worker = next(iter(workers.values()), None)
        elif steps:
            task.history = History(steps, workers)
            task.history.show(task)
        for name, value in announced(steps).items():
            setattr(task, name, value)
        return task


_decode: Final = msgspec.json.Decoder(TaskLog[Report]).decode


#: Fields of its events that are kept, and the columns with attributes of the same name.
_KEPT: Final = frozenset(OWN_FIELDS["worker-heartbeat"]) - frozenset(COMMON) | {"pid"}
# fmt: off
_OF_WORKER: Final = (
    "pid", "active", "processed", "sw_ident", "sw_ver", "sw_sys", "online_since", "goodbye",
)
# fmt: on


class WorkerLog(StoredWorker):
    """The newest events of a worker."""

    def merged(self, other: Self) -> "WorkerLog":
        """Return two logs of a worker as one: the same in either order."""
        newest = self.newest | other.newest
        newest |= {kind: latest(report, newest[kind]) for kind, report in self.newest.items()}
        return WorkerLog(max(self.last, other.last), newest)

    @classmethod
    def unpack(cls, stored: Stored) -> "WorkerLog":
        """Return the log in a row with these `NEEDED` columns; raise msgspec.DecodeError."""
        return _decode_worker(stored[1])

    def rows(self, hostname: str, cluster: str = "") -> tuple[Row, list[Row]]:
        """Return the row of the worker, and no others."""
        state = State(max_bytes=_COUNT_MAX)
        common = {"clock": 0, "pid": 0, "utcoffset": 0}
        for each in sorted(self.newest.values(), key=lambda each: (each.at, each.kind)):
            own = {"hostname": hostname, "type": each.kind}
            times = {"timestamp": each.at, "local_received": each.at}
            state.apply([{**common, **each.fields, **own, **times}])
        worker = state.workers.get(hostname) or Worker(hostname)
        row: dict[str, Any] = dict.fromkeys(WORKERS.columns)
        row |= {name: getattr(worker, name) for name in _OF_WORKER}
        row["hostname"], row["freq"] = hostname, worker.freq if worker.beats else None
        row["loadavg"] = as_json(worker.loadavg) if worker.loadavg else None
        row["extra"] = as_json(worker.extra) if worker.extra else None
        row["last_told"], row["last_heard"] = worker.timestamp, self.last
        row["heard"], row["cluster"] = as_json(self), cluster
        return _finished(WORKERS, list(row.values())), []


_decode_worker: Final = msgspec.json.Decoder(WorkerLog).decode


class Snapshot:
    """The events of a cluster since the snapshot before, of tasks by uuid and workers by hostname.

    Beyond `max_bytes`, estimated, the oldest are dropped and counted as `lost`; `events` is the
    number of events of tasks.  Change it with the state's lock held.  `info`, and the whole seconds
    by which clocks are `ahead`, are known once it was taken.
    """

    info: SnapshotInfo

    def __init__(self, max_bytes: int = MAX_WAITING) -> None:
        self.max_bytes = max_bytes
        self.tasks: dict[str, TaskLog[Any]] = {}
        self.workers: dict[str, WorkerLog] = {}
        self.bytes = self.events = self.lost = 0
        self.ahead: Mapping[str, int] = {}

    def observe(self, changes: Iterable[Change]) -> None:
        """Add the events that changed something."""
        self.add(change.event for change in changes if change.subject is not None)

    def add(self, events: Iterable[Event]) -> None:
        """Add events of tasks and workers."""
        for event in events:
            kind = event.type
            if kind.startswith("task-"):
                self._add_to_task(event)
                continue
            log = self._worker(clean_key(event.hostname), float(event.local_received))
            # The answer to a wake-up says less than a heartbeat.
            is_short = kind == "worker-heartbeat" and event.processed is None
            if isinstance(event, WorkerEvent) and not is_short:
                known = {name: v for name in _KEPT if (v := getattr(event, name)) is not None}
                fields = {**clean_own(event.extra), **schema.clean_value(known)}
                report = Report(kind, _time_of(event), fields)
                log.newest[kind] = latest(log.newest.get(kind), report)
        self._make_room()

    def extend(self, later: Self) -> None:
        """Add the events of the period after this one."""
        for uuid, log in later.tasks.items():
            earlier = self.tasks.get(uuid)
            self.tasks[uuid] = log if earlier is None else earlier.merged(log)
            self.tasks[uuid].weight = log.weight + (earlier.weight if earlier else 0)
        for hostname, of_worker in later.workers.items():
            known = self._worker(hostname, of_worker.last)
            self.workers[hostname] = known.merged(of_worker)
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
            name = clean_key(event.type)
            log.note = latest(log.note, Report(name, _time_of(event), clean_own(own)))
            return
        step = step_of(event)
        log.steps.append(step)
        if own:
            extra = {name: (step.timestamp, value) for name, value in clean_own(own).items()}
            log.extra = merged_extra(log.extra, extra)
        if event.type != "task-sent" and step.hostname:
            self._worker(step.hostname, received)

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

    def take(self, info: SnapshotInfo, state: State) -> Self:
        """Note what it is, and which clocks are off by a second or more; return it."""
        self.info, self.ahead = info, clocks_ahead(state)
        return self

    def sorted_tasks(self) -> Iterator[tuple[str, TaskLog[Any]]]:
        """Yield the logs of tasks by uuid, in order, once steps and clocks are in them."""
        for uuid in sorted(self.tasks):
            log = self.tasks[uuid]
            log.steps = in_order(log.steps)
            if self.ahead:
                senders = {step.hostname for step in log.steps} & self.ahead.keys()
                log.ahead = {sender: self.ahead[sender] for sender in senders}
            yield uuid, log

    def row(self, before: Counts = (0, 0, 0)) -> Row:
        """Return the row of the snapshot itself; `before` are its events in earlier batches."""
        events, tasks, lost = before
        row: dict[str, Any] = {
            **{name: getattr(self.info, name, None) for name in schema.SNAPSHOTS.columns},
            "evcam": schema.clean(self.info.evcam),
            "host": schema.clean(self.info.host),
            "gaps": as_json([gap.as_dict() for gap in self.info.gaps]),
            "events": events + self.events,
            "tasks": tasks + len(self.tasks),
            "lost": lost + self.lost,
        }
        for name in ("events", "tasks", "lost", "dropped", "missed"):
            row[name] = min(row[name], _COUNT_MAX)
        return _finished(schema.SNAPSHOTS, list(row.values()))

    def as_dict(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows by table as they would be in an empty database."""
        cluster = self.info.cluster
        tasks = [log.rows(uuid, cluster) for uuid, log in self.sorted_tasks()]
        rows: tuple[Iterable[Row], ...] = (
            [row for row, _ in tasks],
            [row for _, attempts in tasks for row in attempts],
            [log.rows(hostname, cluster)[0] for hostname, log in sorted(self.workers.items())],
            [self.row()],
        )
        return {
            table.name: [dict(zip(table.columns, row, strict=True)) for row in rows_of_table]
            for table, rows_of_table in zip(schema.TABLES, rows, strict=True)
        }


#: The places of values in a row that are written as text, with the function for that.
_AS_TEXT: Final = {
    table: [
        (place, iso_utc if kind == "time" else str)
        for place, (name, kind) in enumerate(table.columns.items())
        if kind == "time" or name == "signum"
    ]
    for table in schema.TABLES
}


def _finished(table: schema.Table, row: Row) -> Row:
    for place, as_text in _AS_TEXT[table]:
        if row[place] is not None:
            row[place] = as_text(row[place])
    return row
