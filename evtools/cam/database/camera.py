"""The base of cameras that are databases: rows of events, and how they are written."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, ClassVar, Final, NamedTuple

import msgspec

from evtools.cam.camera import Bytes, Camera, Seconds
from evtools.cam.database.merge import (
    MAX_BYTES,
    Pending,
    TaskLog,
    WorkerLog,
    in_order,
    merged,
    merged_workers,
    pack,
    unpack,
    unpack_worker,
)
from evtools.cam.database.schema import (
    ATTEMPTS,
    FIELDS,
    NEEDED,
    SNAPSHOTS,
    TABLES,
    TASKS,
    VERSION,
    WORKERS,
    Kind,
    Row,
    Stored,
    Table,
    clean,
)
from evtools.cam.snapshot import SnapshotInfo
from evtools.errors import OutputError
from evtools.state import Change, State, Task, Worker
from evtools.state.attempts import ADD, History, announced
from evtools.wire import iso_utc

_log = logging.getLogger(__name__)

_DAY: Final = 86_400.0
#: Rows that are removed at once, how often in a sweep, and after each snapshot while there
#: are more: no writer waits for long.
_SLICE_ROWS: Final = 1000
_SWEEP_SLICES: Final = 100
_SNAPSHOT_SLICES: Final = 5
#: Tasks, and bytes of their events, that are written at a time.
_CHUNK_TASKS: Final = 2000
_CHUNK_BYTES: Final = 4 * 1024 * 1024
_COUNT_MAX: Final = 2**62
#: Raised if the events in a row are not as evcam has written them.
_UNREADABLE: Final = (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError)

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


# --- rows ---------------------------------------------------------------------------

# A row depends on its log and on nothing else, or two evcams would make different rows of
# the same events.

_ATTRIBUTES: Final = {"worker": "worker_name", "queue": "queue_or_none"}


def _attributes(columns: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    return attrgetter(*[_ATTRIBUTES.get(name, name) for name in columns])


#: Without the key, and what is not of the state.
_of_task: Final = _attributes(tuple(TASKS.columns)[1:-5])
_of_attempt: Final = _attributes(tuple(ATTEMPTS.columns)[2:])
# fmt: off
_OF_WORKER: Final = (
    "pid", "active", "processed", "sw_ident", "sw_ver", "sw_sys", "online_since", "goodbye",
)
# fmt: on
#: The places of values in a row that are written as text, with the function for that.
_AS_TEXT: Final = {
    table: [
        (place, iso_utc if kind == "time" else str)
        for place, (name, kind) in enumerate(table.columns.items())
        if kind == "time" or name == "signum"
    ]
    for table in TABLES
}
#: A task in which these are None, and not missing, if no event has them.
_Task: Final[Any] = type(
    "Task", (Task,), dict.fromkeys(("terminated", "signum", "expired", "requeue"))
)

_ENDS: Final = FIELDS.keys() - {"task-sent", "task-received", "task-started"}
#: The events of most tasks, in order: of one attempt, if one worker sent them.
_SIMPLE: Final = frozenset(
    (*sent, "task-received", *rest)
    for sent in ((), ("task-sent",))
    for rest in ((), ("task-started",), *(("task-started", end) for end in _ENDS))
)


class _Sender(msgspec.Struct):
    """A worker of which only its name and its clock are known; the latter is to count."""

    hostname: str
    skew: int
    beats: int = 1


def rows_of_task(uuid: str, log: TaskLog[Any]) -> tuple[Row, list[Row]]:
    """Return the row of a task, and those of its attempts before the newest."""
    ahead, steps = log.ahead, log.steps
    task = _Task(uuid)
    if ahead:
        clients = SimpleNamespace(ahead=lambda client: ahead.get(client or "", 0))
        task.cluster_state = SimpleNamespace(clients=clients)
    kinds = tuple([step.type for step in steps])
    hosts = {step.hostname for step in steps if step.type != "task-sent"}
    workers: Any = {name: _Sender(name, ahead.get(name, 0)) for name in hosts if name}
    if (
        kinds in _SIMPLE
        and len(hosts) == len(workers) == 1
        and (kinds[0] != "task-sent" or steps[0].retries == steps[1].retries)
    ):
        # There is no need to group them.
        for step in steps:
            ADD[step.type](task, step)
        [task.worker] = workers.values()
    elif steps:
        task.history = History(steps, workers)
        task.history.show(task)
    for name, value in announced(steps).items():
        setattr(task, name, value)
    note, extra = None, None
    if log.note is not None:
        note = _as_json({"type": log.note.kind, "timestamp": log.note.at, **log.note.fields})
    if log.extra:
        extra = _as_json({name: value for name, (_, value) in log.extra.items()})
    row = [uuid, *_of_task(task), note, extra, log.first, log.last]
    row.append(pack(log, row))
    attempts = [
        _finished(ATTEMPTS, [uuid, place, *_of_attempt(each)])
        for place, each in enumerate(task.attempts)
    ]
    return _finished(TASKS, row), attempts


def rows_of_worker(hostname: str, log: WorkerLog) -> tuple[Row, list[Row]]:
    """Return the row of a worker, and no others."""
    state = State(max_bytes=_COUNT_MAX)
    common = {"clock": 0, "pid": 0, "utcoffset": 0}
    for each in sorted(log.newest.values(), key=lambda each: (each.at, each.kind)):
        own = {"hostname": hostname, "type": each.kind}
        times = {"timestamp": each.at, "local_received": each.at}
        state.apply([{**common, **each.fields, **own, **times}])
    worker = state.workers.get(hostname) or Worker(hostname)
    row = dict.fromkeys(WORKERS.columns) | {name: getattr(worker, name) for name in _OF_WORKER}
    row["hostname"] = hostname
    row["freq"] = worker.freq if worker.beats else None
    row["loadavg"] = _as_json(worker.loadavg) if worker.loadavg else None
    row["extra"] = _as_json(worker.extra) if worker.extra else None
    row["last_told"], row["last_heard"] = worker.timestamp, log.last
    row["heard"] = _as_json(log)
    return _finished(WORKERS, list(row.values())), []


def row_of_snapshot(info: SnapshotInfo, pending: Pending) -> Row:
    """Return the row of a snapshot that has these events."""
    row: dict[str, Any] = {name: getattr(info, name, None) for name in SNAPSHOTS.columns}
    row["evcam"], row["host"] = clean(info.evcam), clean(info.host)
    row["gaps"] = _as_json([gap.as_dict() for gap in info.gaps])
    row |= {"events": pending.events, "tasks": len(pending.tasks), "lost": pending.lost}
    for name in ("events", "tasks", "lost", "dropped", "missed"):
        row[name] = min(row[name], _COUNT_MAX)
    return _finished(SNAPSHOTS, list(row.values()))


def _finished(table: Table, row: Row) -> Row:
    for place, as_text in _AS_TEXT[table]:
        if row[place] is not None:
            row[place] = as_text(row[place])
    return row


def _as_json(value: Any) -> str:
    return _encode(value).decode()


class Snapshot(NamedTuple):
    """The events since the snapshot before, and the seconds by which clocks are `ahead`."""

    info: SnapshotInfo
    pending: Pending
    ahead: Mapping[str, int]

    def tasks(self) -> Iterator[tuple[str, TaskLog[Any]]]:
        """Yield the logs of tasks by uuid, in order; put them in order, and note the clocks."""
        for uuid, log in sorted(self.pending.tasks.items()):
            log.steps = in_order(log.steps)
            if self.ahead:
                senders = {step.hostname for step in log.steps} & self.ahead.keys()
                log.ahead = {sender: self.ahead[sender] for sender in senders}
            yield uuid, log

    def as_dict(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows by table as they would be in an empty database."""
        tasks = [rows_of_task(*each) for each in self.tasks()]
        rows = {
            TASKS: [row for row, _ in tasks],
            ATTEMPTS: [row for _, attempts in tasks for row in attempts],
            WORKERS: [rows_of_worker(*each)[0] for each in sorted(self.pending.workers.items())],
            SNAPSHOTS: [row_of_snapshot(self.info, self.pending)],
        }
        return {
            table.name: [dict(zip(table.columns, row, strict=True)) for row in rows_of_table]
            for table, rows_of_table in rows.items()
        }


# --- the camera ---------------------------------------------------------------------


#: By table: what parses the events in a row, what merges them with others, what makes rows.
_OF_LOGS: Final[Mapping[Table, tuple[Any, Any, Any]]] = {
    TASKS: (unpack, merged, rows_of_task),
    WORKERS: (unpack_worker, merged_workers, rows_of_worker),
}
_SUCCESSES: Final = """ AND state = 'SUCCESS'"""


class DatabaseCamera(Camera):
    """Write tasks, their attempts, workers and snapshots into a database.

    Several evcams may write into one database, each the events that it received, in any
    order.  Rows are kept for `keep` seconds after the last event, those of tasks that ended
    otherwise than with success, or not at all, for `keep_failed`, and of tasks the last
    `keep_tasks`; 0 is unlimited.  Events that cannot be written wait in memory, up to
    `max_waiting` bytes.

    A subclass opens the database when it is first used, has its dialect of SQL, and raises
    OutputError, in one line, for its failures; the next call tries again.
    """

    version: ClassVar = VERSION
    #: Statements that lead from the tables of a version to those of the next, by the former.
    migrations: ClassVar[Mapping[int, Sequence[str]]] = {}
    #: The types of columns, the sign for a parameter, and the condition that a column is in
    #: a parameter, which is a list as JSON.
    types: ClassVar[Mapping[Kind, str]]
    parameter: ClassVar[str]
    among: ClassVar[str]
    #: A clause that keeps rows locked by others out of a selection, and what differs after
    #: every change of a row, to be read after its columns.
    unlocked = row_version = ""
    #: The schema of the tables, "" where there are none.
    schema = ""
    #: The class of the errors of the library.
    error: type[Exception]
    #: Its connection, while that is open.
    connection: Any = None

    def __init__(
        self,
        state: State,
        *,
        keep: Seconds = 7 * _DAY,
        keep_failed: Seconds = 30 * _DAY,
        keep_tasks: int = 10_000_000,
        max_waiting: Bytes = MAX_BYTES,
        **standard: Any,
    ) -> None:
        super().__init__(state, **standard)
        self.keep, self.keep_failed, self.keep_tasks = keep, keep_failed, keep_tasks
        self.pending = Pending(max_waiting)
        self._sweeps = False

    def transaction(self) -> AbstractContextManager[None]:
        """Return a transaction, undone if the block raises; readers see all of it or nothing."""
        raise NotImplementedError

    def put(
        self, table: Table, rows: Sequence[Row], read: Mapping[str, Stored] | None = None
    ) -> set[str]:
        """Write rows, over those that have their keys, in a transaction.

        If `read` are rows that were read before, write those that are still like that, or
        still absent, and return the keys of the others, to be read again; no other writer
        changes any of them until the end.  All writers sort rows by key, so that no two wait
        for each other.
        """
        raise NotImplementedError

    def reopen(self) -> None:
        self.close()

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with suppress(self.error):
                connection.close()

    # --- snapshots ------------------------------------------------------------------

    def observe(self, changes: Sequence[Change]) -> None:
        self.pending.observe(changes)

    def snapshot(self, info: SnapshotInfo) -> Snapshot:
        taken, self.pending = self.pending, Pending(self.pending.max_bytes)
        # Whole seconds: less may be the time that events took.
        skews = {name: each.skew for name, each in self.state.workers.items() if each.beats}
        skews |= {name: each.ahead for name, each in self.state.clients.items()}
        ahead = {name: int(skew) for name, skew in skews.items() if skew is not None}
        return Snapshot(info, taken, {name: seconds for name, seconds in ahead.items() if seconds})

    def restore(self, snapshot: Snapshot) -> None:
        later, self.pending = self.pending, snapshot.pending
        self.pending.extend(later)

    def write(self, snapshot: Snapshot) -> None:
        """Write a snapshot, in one transaction."""
        pending, chunk, weight = snapshot.pending, {}, 0
        with self.transaction():
            for uuid, log in snapshot.tasks():
                chunk[uuid] = log
                weight += log.weight
                if weight > _CHUNK_BYTES or len(chunk) == _CHUNK_TASKS:
                    self._merge(TASKS, chunk)
                    chunk, weight = {}, 0
            self._merge(TASKS, chunk)
            self._merge(WORKERS, dict(sorted(pending.workers.items())))
            self.put(SNAPSHOTS, [row_of_snapshot(snapshot.info, pending)])
        if pending.lost:
            words = "%s: %d events were dropped, as too many waited to be written"
            _log.error(words, self.describe(), pending.lost)

    def _merge(self, table: Table, logs: Mapping[str, Any]) -> None:
        """Write logs, in the order of their keys, with the events that their rows have."""
        columns = ", ".join(NEEDED[table]) + self.row_version
        condition = f"WHERE {table.key[0]} {self.among}"
        selection = f"SELECT {columns} FROM {self.place(table)} {condition}"  # noqa: S608  (our names)
        while logs:
            found = self.connection.execute(selection, (_as_json(list(logs)),))
            stored = {row[0]: row for row in found}
            made = {key: self._rows(table, key, log, stored.get(key)) for key, log in logs.items()}
            news = {key: rows for key, rows in made.items() if rows is not None}
            changed = self.put(table, [row for row, _ in news.values()], stored)
            attempts = {key: rows for key, (_, rows) in news.items() if key not in changed}
            if table is TASKS and attempts.keys() & stored.keys():
                statement = f"DELETE FROM {self.place(ATTEMPTS)} {condition}"  # noqa: S608
                self.connection.execute(statement, (_as_json([*attempts.keys() & stored]),))
            self.put(ATTEMPTS, [row for rows in attempts.values() for row in rows])
            logs = {key: log for key, log in logs.items() if key in changed}

    def _rows(
        self, table: Table, key: str, log: Any, stored: Stored | None
    ) -> tuple[Row, list[Row]] | None:
        """Return the rows of a log merged with that in its row; None if there is no news."""
        parse, merge, rows_of = _OF_LOGS[table]
        if stored is not None:
            try:
                known = parse(stored)
                both = merge(known, log)
                return None if both == known else rows_of(key, both)
            except _UNREADABLE as error:
                words = "%s %s: its earlier events are unreadable: %s"
                _log.warning(words, table.name.removesuffix("s"), key, error)
        return rows_of(key, log)  # type: ignore[no-any-return]

    # --- old rows -------------------------------------------------------------------

    def capture(self) -> None:
        """Take a snapshot, and remove some old rows, if a sweep left any."""
        super().capture()
        if self._sweeps:
            self._remove(_SNAPSHOT_SLICES)

    def sweep(self) -> None:
        self._remove(_SWEEP_SLICES)

    def _remove(self, slices: int) -> None:
        """Remove old rows, in a number of slices at most; the rest is for later."""
        removed: Counter[str] = Counter()
        for table, before, also in self._expired():
            count = _SLICE_ROWS
            while count == _SLICE_ROWS and slices:
                count = self._remove_some(table, before, also)
                removed[table.name] += count
                slices -= 1
        self._sweeps = not slices
        gone = ", ".join(f"{name} {count}" for name, count in removed.items() if count)
        if gone:
            _log.info("%s: removed old rows: %s", self.describe(), gone)

    def _expired(self) -> Iterator[tuple[Table, str, str]]:
        """Yield tables, the moment before which their rows may go, and a further condition."""
        now = self.clock.wall()
        # None for a moment before the calendar begins.
        if self.keep and (before := iso_utc(now - self.keep)):
            yield TASKS, before, _SUCCESSES
            yield WORKERS, before, ""
            yield SNAPSHOTS, before, ""
        if self.keep_failed and (before := iso_utc(now - self.keep_failed)):
            yield TASKS, before, ""
        if self.keep_tasks:
            age = TASKS.age
            statement = (
                f"SELECT {age} FROM {self.place(TASKS)} "  # noqa: S608
                f"ORDER BY {age} DESC LIMIT 1 OFFSET {self.parameter}"
            )
            with self.transaction():
                row = self.connection.execute(statement, (self.keep_tasks - 1,)).fetchone()
            if row is not None:
                yield TASKS, str(row[0]), ""

    def _remove_some(self, table: Table, before: str, also: str) -> int:
        """Remove some rows, the oldest first; return their number."""
        keys, place, age = ", ".join(table.key), self.place(table), table.age
        old = (
            f"SELECT {keys} FROM {place} WHERE {age} < {self.parameter}{also} "  # noqa: S608
            f"ORDER BY {age} LIMIT {_SLICE_ROWS}{self.unlocked}"
        )
        statement = f"DELETE FROM {place} WHERE ({keys}) IN ({old})"  # noqa: S608
        with self.transaction():
            return int(self.connection.execute(statement, (before,)).rowcount)

    # --- SQL ------------------------------------------------------------------------

    def place(self, table: Table) -> str:
        """Return the name of a table, with its schema."""
        return f'"{self.schema}".{table.name}' if self.schema else table.name

    def replacement(self, table: Table, source: str) -> str:
        """Return the statement that writes the rows of `source` (VALUES or SELECT)."""
        columns = [name for name in table.columns if name not in table.key]
        new = ", ".join(f"{name} = excluded.{name}" for name in columns)
        return (
            f"INSERT INTO {self.place(table)} ({', '.join(table.columns)}) {source} "
            f"ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {new}"
        )

    def changes_since(self, version: int) -> Iterator[str]:
        """Yield the statements that lead to our tables from a version of them, 0 for none."""
        for older in range(version, self.version) if version else ():
            yield from self.migrations[older]
        for table in () if version else TABLES:
            columns = [
                f"{name} {self.types[kind]}" + (" NOT NULL" if name in table.key else "")
                for name, kind in table.columns.items()
            ]
            columns.append(f"PRIMARY KEY ({', '.join(table.key)})")
            if table is ATTEMPTS:
                owner = f"{self.place(TASKS)} ({', '.join(TASKS.key)})"
                columns.append(
                    f"FOREIGN KEY ({', '.join(TASKS.key)}) REFERENCES {owner} ON DELETE CASCADE"
                )
            yield f"CREATE TABLE {self.place(table)} ({', '.join(columns)})"
            for index in table.indexes:
                name = "_".join((table.name, *index))
                yield f"CREATE INDEX {name} ON {self.place(table)} ({', '.join(index)})"

    def known_version(self, version: int, tables: str, other: str) -> int:
        """Return the version of `tables`; raise OutputError if that is of a newer evcam."""
        if version > self.version:
            raise OutputError(
                f"{tables} was written by a newer evcam "
                f"(its tables are of version {version}, ours of {self.version})",
                f"update evtools, or give this one another {other}",
            )
        return version
