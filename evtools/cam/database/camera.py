"""The base of cameras that are databases: rows of events, and how they are written."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, TypeVar

import msgspec

from evtools.cam.camera import Bytes, Camera, Seconds
from evtools.cam.database.merge import (
    MAX_BYTES,
    Pending,
    PendingEvents,
    TaskLog,
    WorkerLog,
    merged,
    merged_workers,
    normalised,
    pack,
    unpack,
    worker_decoder,
)
from evtools.cam.database.schema import (
    ATTEMPTS,
    FIELDS,
    SNAPSHOTS,
    TABLES,
    TASKS,
    WORKERS,
    Expired,
    Row,
    Store,
    Stored,
    Table,
    clean,
)
from evtools.cam.snapshot import SnapshotInfo
from evtools.state import Change, State, Task, Worker
from evtools.state.attempts import ADD, History, announced
from evtools.wire import FIELDS as ALL_FIELDS
from evtools.wire import EventFields, iso_utc

_log = logging.getLogger(__name__)

_DAY: Final = 86_400.0
KEEP: Final = 7 * _DAY
KEEP_FAILED: Final = 30 * _DAY
KEEP_TASKS: Final = 10_000_000
#: Rows that are removed at once, how often in a sweep, and after each snapshot while there
#: are more: no writer waits for long.
_SLICE_ROWS: Final = 1000
_SWEEP_SLICES: Final = 100
_SNAPSHOT_SLICES: Final = 5
#: Tasks, and bytes of their events, that are written at a time.
_CHUNK_TASKS: Final = 2000
_CHUNK_BYTES: Final = 4 * 1024 * 1024
_COUNT_MAX: Final = 2**62
_FOREVER_BYTES: Final = 2**62
#: The place of the packed events in the `needed` columns; the key is before it.
_HEARD: Final = 1
#: Raised if these are not as evcam has written them.
_UNREADABLE: Final = (msgspec.DecodeError, KeyError, TypeError, AttributeError)

_Log = TypeVar("_Log", TaskLog, WorkerLog)
_json: Final = msgspec.json.Encoder(order="deterministic")


# --- rows ---------------------------------------------------------------------------

# A row depends on its log and on nothing else, or two evcams would make different rows of
# the same events.

#: Columns of a task that are not attributes: its key, and the last ones.
_LAST: Final = ("note", "extra", "first_heard", "last_heard", "heard")
_OF_TASK: Final = tuple(
    {"worker": "worker_name", "queue": "queue_or_none"}.get(name, name)
    for name in tuple(TASKS.columns)[1 : -len(_LAST)]
)
#: Attributes that only some tasks have, and those before and after them.
_RARE: Final = ("terminated", "signum", "expired", "requeue")
_BEFORE: Final = attrgetter(*_OF_TASK[: _OF_TASK.index(_RARE[0])])
_AFTER: Final = attrgetter(*_OF_TASK[_OF_TASK.index(_RARE[-1]) + 1 :])
_OF_ATTEMPT: Final = tuple(
    "worker_name" if name == "worker" else name for name in tuple(ATTEMPTS.columns)[2:]
)
# fmt: off
_OF_WORKER: Final = (
    "pid", "active", "processed", "sw_ident", "sw_ver", "sw_sys", "online_since", "goodbye",
)
# fmt: on
#: The places of times in a row, and of a signal's number or name.
_TIMES: Final = {
    table.name: [place for place, kind in enumerate(table.columns.values()) if kind == "time"]
    for table in TABLES
}
_SIGNUM: Final = {table.name: list(table.columns).index("signum") for table in (TASKS, ATTEMPTS)}
#: Events of tasks by kind, made of the values of a step and its time.
_EVENTS: Final[Mapping[str, Callable[..., Any]]] = {
    kind: msgspec.defstruct(
        kind.title().replace("-", ""),
        [*names, "timestamp"],
        namespace={"type": kind, **{n: None for n in ALL_FIELDS if n not in (*names, "timestamp")}},
        gc=False,
    )
    for kind, names in FIELDS.items()
}


_BEGUN: Final = ("task-received", "task-started")
#: The events of most tasks, in order: of one attempt, if one worker sent them.
_SIMPLE: Final = frozenset(
    (*sent, *steps)
    for sent in ((), ("task-sent",))
    for steps in (
        _BEGUN[:1],
        _BEGUN,
        *((*_BEGUN, end) for end in FIELDS if end not in ("task-sent", *_BEGUN)),
    )
)


class _Clocks:
    # The clocks of senders, as a task asks for them: seconds ahead of ours.

    def __init__(self, ahead: Mapping[str, int]) -> None:
        self._ahead = ahead
        self.clients = self

    def ahead(self, client: str | None) -> float:
        return self._ahead.get(client or "", 0)


class _Sender:
    """A worker of which only its name and its clock are known."""

    __slots__ = ("beats", "hostname", "skew")

    def __init__(self, hostname: str, ahead: Mapping[str, int]) -> None:
        self.hostname = hostname
        self.beats = 1  # so that its clock counts
        self.skew = ahead.get(hostname, 0)


def task_of(uuid: str, log: TaskLog) -> Task:
    """Return the task that these events make."""
    clocks: Any = _Clocks(log.ahead) if log.ahead else None
    task = Task(uuid, clocks)
    events = []
    for step in log.steps:
        hostname, *values = step.values
        events.append(_EVENTS[step.kind](hostname or "", *values, step.at))
    if tuple([event.type for event in events]) in _SIMPLE and _is_one_attempt(events):
        for event in events:
            ADD[event.type](task, event)
        worker: Any = _Sender(events[-1].hostname, log.ahead)
        task.worker = worker
    elif events:
        names = {event.hostname for event in events if event.type != "task-sent"}
        workers: Any = {name: _Sender(name, log.ahead) for name in names if name}
        task.history = History(events, workers)
        task.history.show(task)
    for name, value in announced(events).items():
        setattr(task, name, value)
    return task


def _is_one_attempt(events: Sequence[Any]) -> bool:
    first, *rest = events
    if first.type == "task-sent":
        if first.retries != rest[0].retries:
            return False
        first, *rest = rest
    return bool(first.hostname) and all(event.hostname == first.hostname for event in rest)


def rows_of_task(uuid: str, log: TaskLog) -> tuple[Row, list[Row]]:
    """Return the row of a task, and those of its attempts before the newest."""
    task = task_of(uuid, log)
    note, extra = log.note, log.extra
    shown = None
    if note is not None:
        shown = _as_json({"type": note.kind, "timestamp": note.at, **note.fields})
    row = [
        uuid,
        *_BEFORE(task),
        *[getattr(task, name, None) for name in _RARE],
        *_AFTER(task),
        shown,
        _as_json({name: value for name, (_, value) in extra.items()}) if extra else None,
        log.first,
        log.last,
    ]
    row.append(pack(log, row))
    earlier = [
        _finished(ATTEMPTS, [uuid, place, *[getattr(each, name, None) for name in _OF_ATTEMPT]])
        for place, each in enumerate(task.attempts)
    ]
    return _finished(TASKS, row), earlier


def row_of_worker(hostname: str, log: WorkerLog) -> Row:
    """Return the row of a worker."""
    state = State(max_bytes=_FOREVER_BYTES)
    reports = sorted(log.newest.values(), key=lambda each: (each.at, each.kind))
    common: EventFields = {"clock": 0, "pid": 0, "utcoffset": 0}
    state.apply(
        {
            **common,
            **report.fields,
            "hostname": hostname,
            "type": report.kind,
            "timestamp": report.at,
            "local_received": report.at,
        }
        for report in reports
    )
    worker = state.workers.get(hostname) or Worker(hostname)
    row: dict[str, Any] = dict.fromkeys(WORKERS.columns)
    row["hostname"] = hostname
    for name in _OF_WORKER:
        row[name] = getattr(worker, name)
    row["freq"] = worker.freq if worker.beats else None
    row["loadavg"] = _as_json(worker.loadavg) if worker.loadavg else None
    row["extra"] = _as_json(worker.extra) if worker.extra else None
    row["last_told"], row["last_heard"] = worker.timestamp, log.last
    row["heard"] = _as_json(log)
    return _finished(WORKERS, list(row.values()))


def row_of_snapshot(info: SnapshotInfo, *, events: int, tasks: int, lost: int) -> Row:
    """Return the row of a snapshot."""
    row = {name: getattr(info, name, None) for name in SNAPSHOTS.columns}
    counts = {"events": events, "tasks": tasks, "lost": lost}
    counts |= {"dropped": info.dropped, "missed": info.missed}
    row |= {name: min(count, _COUNT_MAX) for name, count in counts.items()}
    row["evcam"], row["host"] = clean(info.evcam), clean(info.host)
    row["gaps"] = _as_json([gap.as_dict() for gap in info.gaps])
    return _finished(SNAPSHOTS, list(row.values()))


def _finished(table: Table, row: Row) -> Row:
    for place in _TIMES[table.name]:
        if row[place] is not None:
            row[place] = iso_utc(row[place])
    signum = _SIGNUM.get(table.name)
    if signum is not None and row[signum] is not None:
        row[signum] = str(row[signum])
    return row


def _as_json(value: Any) -> str:
    return _json.encode(value).decode()


# --- snapshots ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The events since the snapshot before, and whose clocks are `ahead`."""

    info: SnapshotInfo
    pending: Pending
    ahead: Mapping[str, int]

    def write(self, writer: Store) -> None:
        """Write all rows, in a transaction."""
        pending = self.pending
        for chunk in _chunks(pending.tasks):
            self._write_tasks(writer, chunk)
        self._write_workers(writer)
        counts = {"events": pending.events, "tasks": len(pending.tasks), "lost": pending.lost}
        writer.put(SNAPSHOTS, [row_of_snapshot(self.info, **counts)])

    def as_dict(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows by table as they would be in an empty database."""
        sheet = _Sheet()
        self.write(sheet)
        return {
            table.name: [
                dict(zip(table.columns, row, strict=True)) for row in sheet.rows[table.name]
            ]
            for table in TABLES
        }

    def _write_tasks(self, writer: Store, logs: Mapping[str, TaskLog]) -> None:
        """Write tasks, whose uuids are sorted."""
        left = {uuid: self._own(log) for uuid, log in logs.items()}
        while left:
            stored = writer.read(TASKS, list(left))
            joined = _joined(left, stored, _unpacked, merged)
            made = {uuid: _rows(uuid, log, left[uuid]) for uuid, log in joined.items()}
            changed = writer.swap(TASKS, [row for row, _ in made.values()], stored)
            left = {uuid: left[uuid] for uuid in changed}
            written = {uuid: each for uuid, each in made.items() if uuid not in left}
            writer.drop(ATTEMPTS, [uuid for uuid in written if uuid in stored])
            writer.put(ATTEMPTS, [row for _, rows in written.values() for row in rows])

    def _write_workers(self, writer: Store) -> None:
        logs = self.pending.workers
        left = {hostname: logs[hostname] for hostname in sorted(logs)}
        while left:
            stored = writer.read(WORKERS, list(left))
            joined = _joined(left, stored, _unpacked_worker, merged_workers)
            changed = writer.swap(
                WORKERS, [row_of_worker(*each) for each in joined.items()], stored
            )
            left = {hostname: left[hostname] for hostname in changed}

    def _own(self, log: TaskLog) -> TaskLog:
        """Return a log as it is written, if the row has no other events."""
        own = normalised(log)
        own.weight = 0
        if self.ahead:
            senders = {str(step.values[0]) for step in own.steps} & self.ahead.keys()
            own.ahead = {sender: self.ahead[sender] for sender in senders}
        return own


class _Sheet(Store):
    # The rows of a dry run.

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {table.name: [] for table in TABLES}

    def read(self, *_: object) -> Mapping[str, Stored]:
        return {}

    def put(self, table: Table, rows: Sequence[Row]) -> None:
        self.rows[table.name] += rows

    def drop(self, table: Table, keys: Sequence[str]) -> None:
        pass  # nothing is there


def _rows(uuid: str, log: TaskLog, own: TaskLog) -> tuple[Row, list[Row]]:
    try:
        return rows_of_task(uuid, log)
    except (TypeError, ValueError, AttributeError) as error:
        # The values in the row that is there are not as evcam has written them.
        _log.warning("task %s: its earlier events are unreadable: %s", uuid, error)
        return rows_of_task(uuid, own)


def _joined(
    news: Mapping[str, _Log],
    stored: Mapping[str, Stored],
    known_in: Callable[[Stored], _Log | None],
    join: Callable[[_Log, _Log], _Log],
) -> dict[str, _Log]:
    # Events whose row has them already are left out.
    joined = dict(news)
    for key, row in stored.items():
        known = known_in(row)
        both = join(known, news[key]) if known else news[key]
        if both == known:
            del joined[key]
        else:
            joined[key] = both
    return joined


def _unpacked(stored: Stored) -> TaskLog | None:
    """Return the log in a row; None if it is not evcam's."""
    try:
        return unpack(stored[_HEARD], stored)
    except _UNREADABLE as error:
        _log.warning("task %s: its earlier events are unreadable: %s", stored[0], error)
        return None


def _unpacked_worker(stored: Stored) -> WorkerLog | None:
    try:
        return worker_decoder.decode(stored[_HEARD])
    except _UNREADABLE:
        return None


def _chunks(logs: Mapping[str, TaskLog]) -> Iterator[dict[str, TaskLog]]:
    """Yield logs by uuid, sorted, a few at a time."""
    chunk: dict[str, TaskLog] = {}
    left = _CHUNK_BYTES
    for uuid in sorted(logs):
        chunk[uuid] = logs[uuid]
        left -= logs[uuid].weight
        if left < 0 or len(chunk) == _CHUNK_TASKS:
            yield chunk
            chunk, left = {}, _CHUNK_BYTES
    if chunk:
        yield chunk


def clocks_ahead(state: State) -> dict[str, int]:
    """Return the whole seconds by which clocks are ahead, where there are any.

    Less than a second may be the time that events took.
    """
    skews = {name: each.skew for name, each in state.workers.items() if each.beats}
    skews |= {name: each.ahead for name, each in state.clients.items()}
    whole = {name: int(skew) for name, skew in skews.items() if skew is not None}
    return {name: seconds for name, seconds in whole.items() if seconds}


# --- the camera ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Seconds for which rows are kept after the last event.

    `keep` is for successes, workers and snapshots, `keep_failed` for tasks that ended
    otherwise or not at all.  Of tasks the last `keep_tasks` are kept.  0 is unlimited.
    """

    keep: float = KEEP
    keep_failed: float = KEEP_FAILED
    keep_tasks: int = KEEP_TASKS

    def expired(self, store: Store, now: float) -> Iterator[Expired]:
        """Yield the rows that may go as of `now` (UTC epoch seconds)."""
        before = iso_utc(now - self.keep) if self.keep else None
        if before is not None:
            yield Expired(TASKS, "last_heard", before, successes_only=True)
            yield Expired(WORKERS, "last_heard", before)
            yield Expired(SNAPSHOTS, "at", before)
        before = iso_utc(now - self.keep_failed) if self.keep_failed else None
        if before is not None:
            yield Expired(TASKS, "last_heard", before)
        if self.keep_tasks:
            before = store.boundary(TASKS, "last_heard", self.keep_tasks)
            if before is not None:
                yield Expired(TASKS, "last_heard", before)


class DatabaseCamera(Camera):
    """Write tasks, their attempts, workers and snapshots into a `store`.

    Several evcams may write into one database, each the events that it received, in any
    order.  Rows are kept for `keep` seconds, those of tasks that did not succeed for
    `keep_failed`, and of tasks `keep_tasks` at most; 0 is unlimited.  Events that cannot be
    written wait in memory, up to `max_waiting` bytes.
    """

    store: Store

    def __init__(
        self,
        state: State,
        *,
        keep: Seconds = KEEP,
        keep_failed: Seconds = KEEP_FAILED,
        keep_tasks: int = KEEP_TASKS,
        max_waiting: Bytes = MAX_BYTES,
        **standard: Any,
    ) -> None:
        super().__init__(state, **standard)
        self.retention = Retention(keep=keep, keep_failed=keep_failed, keep_tasks=keep_tasks)
        self.pending = PendingEvents(max_waiting)
        self._sweeps = False

    def observe(self, changes: Sequence[Change]) -> None:
        self.pending.observe(changes)

    def snapshot(self, info: SnapshotInfo) -> Snapshot:
        return Snapshot(info, self.pending.take(), clocks_ahead(self.state))

    def restore(self, snapshot: Snapshot) -> None:
        self.pending.restore(snapshot.pending)

    def write(self, snapshot: Snapshot) -> None:
        """Write a snapshot, in one transaction."""
        with self.store.transaction() as writer:
            snapshot.write(writer)
        if snapshot.pending.lost:
            _log.error(
                "%s: %d events were dropped, as too many waited to be written",
                self.describe(),
                snapshot.pending.lost,
            )

    def capture(self) -> None:
        """Take a snapshot, and remove some old rows, if a sweep left any."""
        super().capture()
        if self._sweeps:
            self._remove(_SNAPSHOT_SLICES)

    def sweep(self) -> None:
        self._remove(_SWEEP_SLICES)

    def reopen(self) -> None:
        self.store.close()

    def close(self) -> None:
        self.store.close()

    def check(self) -> None:
        self.store.check()

    def describe(self) -> str:
        return self.store.describe()

    def _remove(self, slices: int) -> None:
        """Remove old rows, in a number of slices at most; the rest is for later."""
        removed: dict[str, int] = {}
        left = slices
        for expired in self.retention.expired(self.store, self.clock.wall()):
            count = _SLICE_ROWS
            while count == _SLICE_ROWS and left:
                count = self.store.expire(expired, _SLICE_ROWS)
                name = expired.table.name
                removed[name] = removed.get(name, 0) + count
                left -= 1
        self._sweeps = not left
        gone = ", ".join(f"{name} {count}" for name, count in removed.items() if count)
        if gone:
            _log.info("%s: removed old rows: %s", self.describe(), gone)
