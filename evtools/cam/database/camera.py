"""The base of cameras that are databases: how rows are merged, written and removed."""

import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, ClassVar, Final

import msgspec

from evtools.cam.camera import Seconds
from evtools.cam.database.rows import Counts, Snapshot, as_json
from evtools.cam.log import named
from evtools.cam.snapshot import SnapshotInfo
from evtools.cam.store import Batch, Period, StoreCamera
from evtools.errors import OutputError
from evtools.state import Change, State
from evtools.transport.recording import database as schema
from evtools.transport.recording.database import (
    ATTEMPTS,
    SNAPSHOTS,
    TASKS,
    WORKERS,
    Row,
    Stored,
    Table,
)
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
#: Raised if the events in a row are not as evcam has written them.
_UNREADABLE: Final = (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError)


class DatabaseCamera(StoreCamera):
    """Write tasks, their attempts, workers and snapshots into a database.

    Several evcams may write into one, each the events that it received, in any order.  Rows are
    kept for `keep` seconds after the last event, those of tasks that did not end with success for
    `keep_failed`, and of tasks the last `keep_tasks`; 0 is unlimited.  Events that cannot be
    written wait in memory, up to `max_waiting` bytes, or in a spool.

    A subclass opens the database when it is first used, has its dialect of SQL, and raises
    OutputError, in one line, for its failures; the next call tries again.
    """

    writes_for_all = True
    version: ClassVar = schema.VERSION
    #: The types of columns, the sign for a parameter, and the condition that a column is in
    #: a parameter, which is a list as JSON.
    types: ClassVar[Mapping[schema.Kind, str]]
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
    #: Whether events are to be written as they were, and not only what tasks and workers are.
    keeps_events = False

    def __init__(
        self,
        state: State,
        *,
        keep: Seconds = 7 * _DAY,
        keep_failed: Seconds = 30 * _DAY,
        keep_tasks: int = 10_000_000,
        **standard: Any,
    ) -> None:
        super().__init__(state, **standard)
        self.keep, self.keep_failed, self.keep_tasks = keep, keep_failed, keep_tasks
        self.pending = Snapshot(self._max_waiting)
        #: Of the batches of a snapshot that were written: events, tasks and what was lost.
        self._written: dict[tuple[str, str, int], Counts] = {}
        self._sweeps = False

    @property
    def migrations(self) -> Mapping[int, Iterable[str]]:
        """Statements that lead from the tables of a version to those of the next, by the former."""
        raise NotImplementedError

    def transaction(self) -> AbstractContextManager[None]:
        """Return a transaction, undone if the block raises; readers see all of it or nothing."""
        raise NotImplementedError

    def put(
        self, table: Table, rows: Sequence[Row], read: Mapping[str, Stored] | None = None
    ) -> set[str]:
        """Write rows, over those that have their keys, in a transaction.

        If `read` are rows of a cluster that were read before, write those that are still like that,
        or still absent, and return the keys of the others, to be read again; no other writer
        changes any of them until the end.  All writers sort clusters by name and rows by key, so
        that no two wait for each other.
        """
        raise NotImplementedError

    def put_events(self, batch: Batch) -> None:
        """Write the events of a batch as they were, in a transaction, if it `keeps_events`."""

    def reopen(self) -> None:
        super().reopen()
        self.disconnect()

    def close(self) -> None:
        super().close()
        self.disconnect()

    def disconnect(self) -> None:
        """Close the connection; the next transaction opens it again."""
        connection, self.connection = self.connection, None
        if connection is not None:
            with suppress(self.error):
                connection.close()

    # Unless the events are needed, what waits is kept as rows, which takes less memory and time.

    @property
    def _is_store(self) -> bool:
        return self.has_spool or self.keeps_events

    def observe(self, changes: Sequence[Change]) -> None:
        if self._is_store:
            super().observe(changes)
        else:
            self.pending.observe(changes)

    def snapshot(self, info: SnapshotInfo) -> Any:
        if self._is_store:
            return super().snapshot(info)
        taken, self.pending = self.pending, Snapshot(self.pending.max_bytes)
        return taken.take(info, self.state)

    def share(self, parts: int) -> None:
        super().share(parts)
        self.pending.max_bytes = self._max_waiting // parts

    def restore(self, snapshot: Any) -> None:
        if isinstance(snapshot, Period):
            super().restore(snapshot)
            return
        later, self.pending = self.pending, snapshot
        self.pending.extend(later)

    def write_all(self, snapshots: list[Any]) -> None:
        """Write those of several clusters in one transaction, or each batch of events in one."""
        if self._is_store:
            super().write_all(snapshots)
            return
        with self.transaction():
            for snapshot in snapshots:
                self._put_all(snapshot)
        written, snapshots[:] = snapshots[:], []
        for snapshot in written:
            if snapshot.lost:
                words = "%s: %d events were dropped, as too many waited to be written"
                _log.error(named(words, snapshot.info.cluster), self.describe(), snapshot.lost)

    def store(self, batch: Batch) -> None:
        """Write a batch of events, in one transaction."""
        snapshot = Snapshot(sys.maxsize)
        snapshot.add(batch.events)
        snapshot.info, snapshot.ahead = batch.info, batch.ahead
        key = (batch.cluster, batch.info.evcam, batch.info.sequence)
        before = self._written.get(key, (0, 0, 0))
        snapshot.lost = batch.lost
        with self.transaction():
            self._put_all(snapshot, before)
            self.put_events(batch)
        events, tasks, lost = before
        tasks += len(snapshot.tasks)
        self._written = {key: (events + snapshot.events, tasks, lost + batch.lost)}

    def _put_all(self, snapshot: Snapshot, before: Counts = (0, 0, 0)) -> None:
        chunk, weight, cluster = {}, 0, snapshot.info.cluster
        for uuid, log in snapshot.sorted_tasks():
            chunk[uuid] = log
            weight += log.weight
            if weight > _CHUNK_BYTES or len(chunk) == _CHUNK_TASKS:
                self._merge(TASKS, cluster, chunk)
                chunk, weight = {}, 0
        self._merge(TASKS, cluster, chunk)
        self._merge(WORKERS, cluster, dict(sorted(snapshot.workers.items())))
        self.put(SNAPSHOTS, [snapshot.row(before)])

    def _merge(self, table: Table, cluster: str, logs: Mapping[str, Any]) -> None:
        # In the order of their keys, with the events that their rows have.
        columns = ", ".join(schema.NEEDED[table]) + self.row_version
        condition = f"WHERE {table.key[0]} {self.among} AND cluster = {self.parameter}"
        selection = f"SELECT {columns} FROM {self.place(table)} {condition}"  # noqa: S608  (our names)
        while logs:
            found = self.connection.execute(selection, (as_json(list(logs)), cluster))
            stored = {row[0]: row for row in found}
            made = {
                key: self._rows(table, (key, cluster), log, stored.get(key))
                for key, log in logs.items()
            }
            news = {key: rows for key, rows in made.items() if rows is not None}
            changed = self.put(table, [row for row, _ in news.values()], stored)
            attempts = {key: rows for key, (_, rows) in news.items() if key not in changed}
            if table is TASKS and attempts.keys() & stored.keys():
                statement = f"DELETE FROM {self.place(ATTEMPTS)} {condition}"  # noqa: S608
                ended = as_json([*attempts.keys() & stored])
                self.connection.execute(statement, (ended, cluster))
            self.put(ATTEMPTS, [row for rows in attempts.values() for row in rows])
            logs = {key: log for key, log in logs.items() if key in changed}

    def _rows(
        self, table: Table, key: tuple[str, str], log: Any, stored: Stored | None
    ) -> tuple[Row, list[Row]] | None:
        # The rows of a log merged with that in its row; None if there is no news.
        if stored is not None:
            try:
                known = log.unpack(stored)
                both = known.merged(log)
                return None if both == known else both.rows(*key)
            except _UNREADABLE as error:
                words = "%s %s: its earlier events are unreadable: %s"
                _log.warning(named(words, key[1]), table.name.removesuffix("s"), key[0], error)
        return log.rows(*key)  # type: ignore[no-any-return]

    def capture(self) -> None:
        """Take a snapshot, and remove some old rows, if a sweep left any."""
        super().capture()
        if self._sweeps:
            self._remove(_SNAPSHOT_SLICES)

    def sweep(self) -> None:
        self._remove(_SWEEP_SLICES)

    def _remove(self, slices: int) -> None:
        # In a number of slices at most; the rest is for later.
        removed: Counter[str] = Counter()
        for table, before, also in self._expired():
            keys, place, age = ", ".join(table.key), self.place(table), table.age
            old = (
                f"SELECT {keys} FROM {place} WHERE {age} < {self.parameter}{also} "  # noqa: S608
                f"ORDER BY {age} LIMIT {_SLICE_ROWS}{self.unlocked}"
            )
            statement = f"DELETE FROM {place} WHERE ({keys}) IN ({old})"  # noqa: S608
            count = _SLICE_ROWS
            while count == _SLICE_ROWS and slices:
                with self.transaction():
                    count = self.connection.execute(statement, (before,)).rowcount
                removed[table.name] += count
                slices -= 1
        self._sweeps = not slices
        gone = ", ".join(f"{name} {count}" for name, count in removed.items() if count)
        if gone:
            _log.info("%s: removed old rows: %s", self.describe(), gone)

    def _expired(self) -> Iterator[tuple[Table, str, str]]:
        # Tables, the moment before which their rows may go, and a further condition.
        now = self.clock.wall()
        # None for a moment before the calendar begins.
        if self.keep and (before := iso_utc(now - self.keep)):
            yield TASKS, before, " AND state = 'SUCCESS'"
            yield WORKERS, before, ""
            yield SNAPSHOTS, before, ""
        if self.keep_failed and (before := iso_utc(now - self.keep_failed)):
            yield TASKS, before, ""
        if self.keep_tasks:
            newest = f"SELECT {TASKS.age} FROM {self.place(TASKS)} ORDER BY {TASKS.age} DESC "  # noqa: S608
            one = f"LIMIT 1 OFFSET {self.parameter}"
            with self.transaction():
                row = self.connection.execute(newest + one, (self.keep_tasks - 1,)).fetchone()
            if row is not None:
                yield TASKS, str(row[0]), ""

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
        if not version:
            for table in schema.TABLES:
                yield self.definition(table)
                for index in table.indexes:
                    name = "_".join((table.name, *index))
                    yield f"CREATE INDEX {name} ON {self.place(table)} ({', '.join(index)})"
        elif version < self.version:
            words = "%s: its tables of version %d become those of version %d: of millions of tasks,"
            words += " that may take minutes"
            _log.info(words, self.describe(), version, self.version)
            for older in range(version, self.version):
                for statement in self.migrations[older]:
                    self.gets_on()
                    yield statement
            self.gets_on()

    def definition(self, table: Table, prefix: str = "") -> str:
        """Return the statement that makes a table, without its indexes; its name has a prefix."""
        columns = [
            f"{name} {self.types[kind]}" + (" NOT NULL" if name in table.key else "")
            for name, kind in table.columns.items()
        ]
        columns[-1] = self.cluster_column
        columns.append(f"PRIMARY KEY ({', '.join(table.key)})")
        if table is ATTEMPTS:
            columns.append(self.foreign_key(prefix))
        return f"CREATE TABLE {prefix}{self.place(table)} ({', '.join(columns)})"

    @property
    def cluster_column(self) -> str:
        return f"cluster {self.types['text']} NOT NULL DEFAULT ''"

    def foreign_key(self, prefix: str = "") -> str:
        """Return the definition of the key by which attempts are those of a task."""
        owner, key = f"{prefix}{self.place(TASKS)}", ", ".join(TASKS.key)
        return f"FOREIGN KEY ({key}) REFERENCES {owner} ({key}) ON DELETE CASCADE"

    def known_version(self, version: int, tables: str, other: str) -> int:
        """Return the version of `tables`; raise OutputError if that is of a newer evcam."""
        if version > self.version:
            raise OutputError(
                f"{tables} was written by a newer evcam "
                f"(its tables are of version {version}, ours of {self.version})",
                f"update evtools, or give this one another {other}",
            )
        return version
