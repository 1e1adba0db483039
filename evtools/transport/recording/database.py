"""The databases that evcam writes: their tables, and the events in them as a source."""

import heapq
import math
import re
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from datetime import time as time_of_day
from functools import partial
from hashlib import sha256
from itertools import count, groupby, islice
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Struct, field

from evtools.clock import Clock
from evtools.errors import UsageError
from evtools.text import decode_text, hide_credentials
from evtools.transport.recording.reader import Moment, RecordingReader, on_day_of, stamp
from evtools.transport.source import Notice, Statistics
from evtools.trust import check_folder
from evtools.wire import (
    COMMON,
    GAP,
    OWN_FIELDS,
    Defect,
    Event,
    Gap,
    Schema,
    from_fields,
    gap,
    is_cluster_name,
    iso_utc,
    make_class,
)

#: The kind of a column.  A `time` is ISO 8601 in UTC, as text where a database has no type
#: for it: that sorts, is read without asking for zone or unit, and suits the date functions
#: of SQLite and of Grafana.
Kind: TypeAlias = Literal["text", "time", "integer", "real", "flag", "json"]
#: The values of all columns of a row, in their order.
Row: TypeAlias = list[Any]
#: The columns of a row that are `NEEDED` to know its events; its key is first.
Stored: TypeAlias = tuple[Any, ...]

#: The version of the tables below, and of the text in their column `heard`.  Those of version 1
#: have no column `cluster`.
VERSION: Final = 2
#: By these four bytes in its head, "evca", a file of SQLite is known to be evcam's.
APPLICATION_ID: Final = int.from_bytes(b"evca")


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table: the kinds of its columns by name; `age` is the one that says how old a row is.

    Those of the `key` and the `cluster`, which is the last, are never NULL.  A key begins with what
    is looked up; that a cluster, which is '' without a name, has of its own.
    """

    name: str
    columns: Mapping[str, Kind]
    key: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...] = ()
    age: str = "last_heard"


# fmt: off
#: The columns of a delivery of a task to a worker.
_ATTEMPT: Final[Mapping[str, Kind]] = {
    "state": "text", "worker": "text", "retries": "integer", "eta": "text", "expires": "text",
    "sent": "time", "received": "time", "started": "time", "ended": "time", "runtime": "real",
    "result": "text", "exception": "text", "traceback": "text",
    "terminated": "flag", "signum": "text", "expired": "flag", "requeue": "flag",
}

#: A task, and its newest attempt.
TASKS: Final = Table(
    "tasks",
    {
        "uuid": "text", "name": "text", **_ATTEMPT, "retried": "time", "wait": "real",
        "args": "text", "kwargs": "text", "root_id": "text", "parent_id": "text",
        "client": "text", "queue": "text", "exchange": "text", "routing_key": "text",
        "note": "json", "extra": "json",
        "first_heard": "time", "last_heard": "time", "heard": "text", "cluster": "text",
    },
    key=("uuid", "cluster"),
    indexes=(("last_heard",), ("state", "last_heard"), ("name", "last_heard"), ("root_id",)),
)

#: The attempts before the newest; `place` counts them from 0, the oldest.  They are deleted
#: with the task.
ATTEMPTS: Final = Table(
    "attempts",
    {"uuid": "text", "place": "integer", "number": "integer", **_ATTEMPT, "cluster": "text"},
    key=("uuid", "cluster", "place"),
)

WORKERS: Final = Table(
    "workers",
    {
        "hostname": "text", "pid": "integer", "freq": "real",
        "active": "integer", "processed": "integer", "loadavg": "json",
        "sw_ident": "text", "sw_ver": "text", "sw_sys": "text",
        "online_since": "time", "goodbye": "time", "last_told": "time", "last_heard": "time",
        "extra": "json", "heard": "text", "cluster": "text",
    },
    key=("hostname", "cluster"),
)

#: One row for each snapshot: its origin, its period, and what it misses.
SNAPSHOTS: Final = Table(
    "snapshots",
    {
        "evcam": "text", "sequence": "integer", "host": "text", "pid": "integer",
        "started": "time", "at": "time", "since": "time", "period": "real",
        "warm": "flag", "connected": "flag", "gaps": "json",
        "dropped": "integer", "missed": "integer",
        "events": "integer", "tasks": "integer", "lost": "integer", "cluster": "text",
    },
    key=("evcam", "sequence", "cluster"),
    indexes=(("at",),),
    age="at",
)
# fmt: on

#: In the order in which they are created and written.
TABLES: Final = (TASKS, ATTEMPTS, WORKERS, SNAPSHOTS)

_OF_ALL: Final = frozenset(COMMON) - {"hostname"}
#: By kind of event of a task, the names of its fields, first that of its sender.
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    kind: tuple(name for name in own if name not in _OF_ALL)
    for kind, own in OWN_FIELDS.items()
    if kind.startswith("task-")
}
#: Fields of events that no column holds as they were sent.
_OWN: Final = frozenset({"runtime", "terminated", "signum", "expired", "requeue"})
#: The columns that hold these fields, "" for none, by kind of event.
COLUMNS: Final = {
    kind: (
        "client" if kind == "task-sent" else "worker",
        *("" if name in _OWN else name for name in names[1:]),
    )
    for kind, names in FIELDS.items()
}
#: The columns that hold the events of a row, its key first, by table.
NEEDED: Final[Mapping[Table, tuple[str, ...]]] = {
    TASKS: ("uuid", "heard", *dict.fromkeys(c for each in COLUMNS.values() for c in each if c)),
    WORKERS: ("hostname", "heard"),
}


#: In characters.  PostgreSQL has no room in an index for longer ones.
NAME_MAX: Final = 255
TEXT_MAX: Final = 16 * 1024
_UNFIT: Final = re.compile("[\0\ud800-\udfff]")


def clean(text: str, limit: int = TEXT_MAX) -> str:
    """Return a text that every database takes, of `limit` characters at most."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return text if text.isascii() and "\0" not in text else _UNFIT.sub("\ufffd", text)


def clean_end(text: str) -> str:
    """Return the end of a text that is too long: the cause is at the end of a traceback."""
    if len(text) > TEXT_MAX:
        text = "…" + text[1 - TEXT_MAX :]
    return clean(text)


def clean_name(text: str) -> str:
    """Return a text that fits into an index."""
    return clean(text, NAME_MAX)


def clean_key(text: str) -> str:
    """Return a text that fits into an index, a different one for each text."""
    if len(text) <= NAME_MAX:
        return clean(text)
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return clean(text, NAME_MAX - len(digest)) + digest


def clean_value(value: Any) -> Any:
    """Return a value of any JSON type with all texts in it cleaned."""
    match value:
        case str():
            return clean(value)
        case dict():
            return {clean_name(str(key)): clean_value(each) for key, each in value.items()}
        case list() | tuple():
            return [clean_value(each) for each in value]
        case _:
            return value


#: Functions that clean the fields of events of tasks, if not `clean`.
CLEANERS: Final[Mapping[str, Callable[[str], str]]] = {
    **dict.fromkeys(("hostname", "root_id", "parent_id"), clean_key),
    **dict.fromkeys(("name", "queue", "exchange", "routing_key"), clean_name),
    **dict.fromkeys(("eta", "expires", "signum"), clean_name),
    "traceback": clean_end,
}


# --- the events of a row ------------------------------------------------------------

#: Values of fields that Celery does not know, by name, each with its time.
Extra: TypeAlias = dict[str, tuple[float, Any]]
_Step = TypeVar("_Step")


class Report(Struct, array_like=True):
    """An event: its kind, its sender's time, and its fields."""

    kind: str
    at: float
    fields: dict[str, Any] = field(default_factory=dict)


class StoredTask(Struct, Generic[_Step], omit_defaults=True):
    """The events of a task, as they are in the column `heard`.

    `first` and `last` are when they came, by our clock.  Its `steps` are Celery's events, Reports
    in a text.  `note` is the newest custom event, `ahead` has the whole seconds by which the clocks
    of senders are ahead of ours, if that is a second or more.
    """

    first: float
    last: float
    steps: list[_Step] = field(default_factory=list)
    note: Report | None = None
    extra: Extra = field(default_factory=dict)
    ahead: dict[str, int] = field(default_factory=dict)


class StoredWorker(Struct):
    """The newest events of a worker by type, and when the last one came, by our clock."""

    last: float
    newest: dict[str, Report] = field(default_factory=dict, name="told")


def getters_of(columns: Iterable[str]) -> dict[str, Callable[[Any], tuple[Any, ...]]]:
    """Return by kind of event what gets its fields and a None out of `columns` and a None."""
    places = {name: place for place, name in enumerate(columns)} | {"": -1}
    return {
        kind: itemgetter(*[places[name] for name in names], -1) for kind, names in COLUMNS.items()
    }


_of_stored: Final = getters_of(NEEDED[TASKS])


def completed(report: Report, stored: Stored) -> tuple[str, tuple[Any, ...]]:
    """Return the kind of an event of a task, and the values of its FIELDS.

    `stored` are the `NEEDED` columns beside it, and a None.  Raise KeyError for an unknown kind.
    """
    kind = f"task-{report.kind}"
    *values, _ = _of_stored[kind](stored)
    if report.fields:
        known = zip(FIELDS[kind], values, strict=True)
        values = [report.fields.get(name, value) for name, value in known]
    return kind, tuple(values)


# --- reading ------------------------------------------------------------------------

#: What begins the name of a database, and a file of SQLite.
SQLITE: Final = "sqlite:"
_POSTGRES: Final = ("postgres:", "postgresql://")
_MAGIC: Final = b"SQLite format 3\0"
#: Where the head of a file says that it has a WAL, and what it says then.
_JOURNAL_AT, _WAL = 18, 2
#: No value of a row that evcam wrote has so many bytes.
_VALUE_BYTES_MAX: Final = 8 * 1024 * 1024
#: SQLite looks after so many operations whether it should stop: a fraction of a second.
_OPERATIONS: Final = 1_000_000
#: Events that are yielded at a time.
_BATCH: Final = 1000
#: Estimated bytes of the events of tasks that overlap, beyond which their order suffers, and of
#: one without its texts.
_WAITING_BYTES: Final = 64 * 1024 * 1024
_EVENT_BYTES: Final = 500
#: The newest of these are read.
_WORKERS_MAX: Final = 5000
_GAPS_MAX: Final = 10_000
#: Rows are sorted by times that are rounded, in seconds.
_ROUNDED: Final = 0.001
#: So much, in seconds, an event may be older than the last one of its worker: more is a clock
#: that is behind.
_BETWEEN_BEATS: Final = 5.0
_DAY: Final = 86_400.0
_SLICE: Final = 0.1
_SAMPLE_CHARS: Final = 200
#: How long PostgreSQL may take for a statement or wait for a lock, in milliseconds.
_STATEMENT_MS: Final = 120_000
_LOCK_MS: Final = 10_000

#: Raised if a row is not as evcam has written it.
_UNREADABLE: Final = (
    msgspec.MsgspecError, KeyError, TypeError, ValueError, RecursionError, OverflowError,
)  # fmt: skip
_decode_task: Final = msgspec.json.Decoder(StoredTask[Report]).decode
_decode_worker: Final = msgspec.json.Decoder(StoredWorker).decode
_decode_gaps: Final = msgspec.json.Decoder(list[dict[str, Any]]).decode

_NOT_KEPT: Final = frozenset({"utcoffset", "pid", "clock"})
_CLASSES: Final = {
    kind: make_class(kind, [name for name in OWN_FIELDS[kind] if name not in _NOT_KEPT])
    for kind in FIELDS
}
#: Events of a task, a worker or a cluster, the next one last, and their estimated bytes.
_Events: TypeAlias = list[Event]


def is_database(path: str) -> bool:
    """Return whether `-r` means a database: sqlite:FILE, postgres:URL or postgresql://..."""
    return path.startswith((SQLITE, *_POSTGRES))


def open_replay(
    paths: Sequence[str],
    *,
    clock: Clock,
    speed: float | None,
    since: Moment | None,
    until: Moment | None,
    max_tasks: int | None = None,
) -> "RecordingReader | DatabaseReader":
    """Open what `-r` names: recordings, or one database; raise UsageError.

    `max_tasks` is of a database, which knows no `speed`.
    """
    if not any(map(is_database, paths)):
        return RecordingReader(*paths, clock=clock, speed=speed, since=since, until=until)
    if len(paths) > 1:
        hint = "leave out the others"
        raise UsageError("a database is read alone, without other databases or recordings", hint)
    return DatabaseReader(paths[0], clock=clock, max_tasks=max_tasks, since=since, until=until)


class DatabaseReader:
    """Read a database of evcam, as a source of the events in it, in the order of their receipt.

    `path` is as for `is_database`.  Of a task, evcam keeps when its first and its last event were
    received; those between are given their sender's times, by our clock.  Of the tasks with an
    event since `since` the newest `max_tasks` are read, with all of their events up to `until`.  A
    local time of day is the last one before the newest event, or for `until` the first one after
    `since`.  `on_notice` is called in the thread that takes the events, with a `note` where tasks
    are left out and when all is read (`ended`).  With `stays` the reader then waits to be stopped.

    The database is not changed, and nobody who writes to it has to wait.  Raise UsageError where
    it cannot be read, also while reading.
    """

    def __init__(
        self,
        path: str,
        *,
        clock: Clock,
        max_tasks: int | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
    ) -> None:
        self.on_notice: Callable[[Notice], object] = lambda _notice: None
        self.stays = False
        self._clock, self._max_tasks = clock, max_tasks
        self._stopped = False
        self._statistics = Statistics(connected=True)
        self._defects: dict[str, Defect] = {}
        self._schema = Schema()
        #: What is next of tasks that overlap, of workers and of gaps: when it was received, a
        #: number, the events, their bytes.
        self._heap: list[tuple[float, int, _Events, int]] = []
        self._numbers = count()
        self._waiting_bytes = 0
        is_file = path.startswith(SQLITE)
        self._database = _SQLite(path, lambda: self._stopped) if is_file else _Postgres(path)
        #: The condition of what is read, and its values.
        self._condition, self._values = "", list[str]()
        with self._reading():
            database = self._database
            version = database.version()
            if version > VERSION:
                raise UsageError(
                    f"{database.name} was written by a newer evcam (its tables are of version "
                    f"{version}, this evtools reads up to {VERSION})",
                    "update evtools",
                )
            database.names["cluster"] = "cluster" if version > 1 else "''"
            [(newest,)] = database.select("SELECT max(last_heard) FROM {tasks}")
            self._end = _epoch(newest)
        self._choose(since, until)

    def _choose(self, since: Moment | None, until: Moment | None) -> None:
        newest = self._clock.wall() if self._end is None else self._end
        if isinstance(since, time_of_day):
            since = _before(newest, since)
        if isinstance(until, time_of_day):
            until = _before(newest if since is None else since + _DAY, until)
        self._until = math.inf if until is None else until
        conditions = {"last_heard >= ": since, "first_heard <= ": until}
        for condition, at in conditions.items():
            if at is not None and (text := iso_utc(float(at))) is not None:
                word = "AND" if self._condition else "WHERE"
                self._condition += f" {word} {condition}{self._database.sign}"
                self._values.append(text)

    def events(self, timeout: float | None = None) -> Iterator[list[Event]]:
        """Yield events of one cluster at a time; after the last one [] each `timeout` seconds."""
        merged = self._merge()
        with self._reading():
            while not self._stopped and (batch := list(islice(merged, _BATCH))):
                for _, events in groupby(batch, attrgetter("cluster")):
                    yield self._counted(list(events))
        self.close()
        self._statistics.connected = False
        if not self._stopped:
            self.on_notice(Notice("ended", "" if self._statistics.events else self.extent()))
        due = math.inf if timeout is None else self._clock.monotonic() + timeout
        while self.stays and not self._stopped:
            time.sleep(min(_SLICE, max(0.0, due - self._clock.monotonic())))
            if timeout is not None and self._clock.monotonic() >= due:
                due = self._clock.monotonic() + timeout
                yield []

    def _counted(self, events: list[Event]) -> list[Event]:
        counts = self._statistics
        for event in events:
            if not isinstance(event, Gap):
                counts.events += 1
            elif event.reason == "buffer":
                counts.dropped += event.dropped
            else:
                counts.gaps += 1
                counts.gap_seconds += event.duration
        counts.messages = counts.events
        return events

    @property
    def ended(self) -> bool:
        """Whether all that is in the database has been given out."""
        return not self._statistics.connected

    def statistics(self) -> Statistics:
        """Return the counters as they are now."""
        return replace(self._statistics, defects=tuple(self._defects.values()))

    def files(self) -> dict[str, int | None]:
        """Return the name of the database, without a password; its size is not known."""
        return {self._database.name: None}

    def clusters(self) -> list[str]:
        """Return the names of the clusters of the workers."""
        names = list[str]()
        with self._reading():
            found = self._database.select("SELECT DISTINCT {cluster} FROM {workers}")
            names = [name for (name,) in islice(found, _WORKERS_MAX) if name]
        return sorted(names)

    def extent(self) -> str:
        """Return that no event is shown, and of when the newest one is, local."""
        name = self._database.name
        if self._end is None:
            return f"{name} has no tasks"
        return f"no events at that time; the newest in {name} is of {stamp(self._end)}"

    def stop(self) -> None:
        """End the reading; safe in a signal handler."""
        self._stopped = True

    def close(self) -> None:
        """Let go of the database; idempotent."""
        self._database.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
            self._database.check()
        except self._database.error as error:
            # SQLite is interrupted when it is to stop.
            if not self._stopped:
                self._database.check()
                hint = self._database.hint(error)
                text = f"cannot read {self._database.name}: {_line(error)}"
                raise UsageError(text, hint) from error

    # --- events in order ------------------------------------------------------------

    def _merge(self) -> Iterator[Event]:
        # Rows come in the order of their first events; what is earlier than that is complete.
        self._push_workers()
        self._push_gaps()
        names, heap, rows = self._database.names, self._heap, 0
        names["columns"] = ", ".join((*NEEDED[TASKS], names["cluster"]))
        names["condition"] = self._condition
        names["limit"] = f"LIMIT {self._max_tasks}" if self._max_tasks else ""
        for *stored, cluster in self._database.newest_tasks(*self._values):
            rows += 1
            if (first := self._push_task(stored, cluster)) is not None:
                while heap[0][0] < first - _ROUNDED or self._waiting_bytes > _WAITING_BYTES:
                    yield self._pop()
            if self._stopped:
                return
        if rows == self._max_tasks:
            question = "SELECT count(*) FROM {tasks}{condition}"
            [(total,)] = self._database.select(question, *self._values)
            if total > rows:
                text = f"the newest {rows} of {total} tasks; --max-tasks N reads more"
                self.on_notice(Notice("note", text))
        while heap:
            yield self._pop()

    def _push(self, events: list[Event], cluster: str, weight: int = 0) -> float | None:
        # Sorted; return when the first was received, None if there is none.
        kept = [event for event in reversed(events) if event.local_received <= self._until]
        if not kept:
            return None
        if cluster and is_cluster_name(cluster):
            name = sys.intern(cluster)
            for event in kept:
                event.cluster = name
        first = kept[-1].local_received
        heapq.heappush(self._heap, (first, next(self._numbers), kept, weight))
        self._waiting_bytes += weight
        return first

    def _pop(self) -> Event:
        _, number, events, weight = self._heap[0]
        event = events.pop()
        if events:
            heapq.heapreplace(self._heap, (events[-1].local_received, number, events, weight))
        else:
            heapq.heappop(self._heap)
            self._waiting_bytes -= weight
        return event

    def _push_task(self, stored: Sequence[Any], cluster: str) -> float | None:
        try:
            events = self._events_of_task(stored)
        except _UNREADABLE as error:
            self._count_unreadable(str(stored[0]), error)
            return None
        weight = sum(len(value) for value in stored if value.__class__ is str)
        return self._push(events, cluster, weight + _EVENT_BYTES * len(events))

    def _events_of_task(self, stored: Sequence[Any]) -> list[Event]:
        uuid, log = stored[0], _decode_task(stored[1])
        row = (*stored, None)
        #: By their sender's clock, and by ours: the kind and the fields.
        sent: list[tuple[float, float, dict[str, Any]]] = []
        for report in log.steps:
            kind, values = completed(report, row)
            fields = {"type": kind, **dict(zip(FIELDS[kind], values, strict=True)), "uuid": uuid}
            sent.append((report.at - log.ahead.get(fields["hostname"] or "", 0), report.at, fields))
        if log.note is not None:
            if log.note.kind in FIELDS or log.note.kind == GAP:
                raise ValueError(f"a note of type {log.note.kind}")
            note = {**log.note.fields, "type": log.note.kind, "uuid": uuid}
            sent.append((log.note.at, log.note.at, note))
        sent.sort(key=itemgetter(0))
        events, last = [], len(sent) - 1
        for place, (ours, at, fields) in enumerate(sent):
            received = log.first if not place else log.last if place == last else ours
            fields["timestamp"] = at
            fields["local_received"] = min(max(received, log.first), log.last)
            if log.extra and fields["type"] in FIELDS:
                extra = {name: value for name, (when, value) in log.extra.items() if when == at}
                fields = {**extra, **fields}  # noqa: PLW2901  (none of Celery's is among them)
            events.append(self._event(fields))
        return events

    def _event(self, fields: dict[str, Any]) -> Event:
        try:
            return msgspec.convert(fields, _CLASSES[fields["type"]])
        except (KeyError, msgspec.ValidationError):
            if not fields.get("hostname"):
                fields.pop("hostname", None)
            return from_fields(fields, self._schema)

    def _push_workers(self) -> None:
        question = "SELECT hostname, heard, {cluster} FROM {workers} ORDER BY last_heard DESC"
        for hostname, heard, cluster in islice(self._database.select(question), _WORKERS_MAX):
            try:
                log = _decode_worker(heard)
                reports = sorted(log.newest.values(), key=attrgetter("at"))
                late = log.last - reports[-1].at if reports else 0.0
                late = 0.0 if 0 <= late < _BETWEEN_BEATS else late
                events = []
                for each in reports:
                    if not each.kind.startswith("worker-"):
                        raise ValueError(f"an event of type {each.kind}")
                    own = {"type": each.kind, "hostname": hostname, "timestamp": each.at}
                    fields = {**each.fields, **own, "local_received": each.at + late}
                    events.append(from_fields(fields, self._schema))
            except _UNREADABLE as error:
                self._count_unreadable(str(hostname), error)
            else:
                self._push(events, cluster)

    def _push_gaps(self) -> None:
        question = "SELECT since, at, CAST(gaps AS text), lost, {cluster} FROM {snapshots}"
        question += " WHERE lost > 0 OR CAST(gaps AS text) <> '[]' ORDER BY at DESC"
        found = islice(self._database.select(question), _GAPS_MAX)
        for since, at, gaps, lost, cluster in found:
            try:
                holes = [
                    gap(str(each["reason"]), float(each["from"]), float(each["to"]),
                        dropped=int(each.get("dropped", 0)))
                    for each in _decode_gaps(gaps or "[]")
                ]  # fmt: skip
                if lost:
                    begin, end = _epoch(since), _epoch(at)
                    holes.append(gap("buffer", begin or 0.0, end or 0.0, dropped=int(lost)))
            except _UNREADABLE as error:
                self._count_unreadable(str(at), error)
            else:
                self._push(sorted(holes, key=attrgetter("local_received")), cluster)

    def _count_unreadable(self, key: str, error: Exception) -> None:
        sample = key[:_SAMPLE_CHARS].encode(errors="replace")
        defect = Defect("unreadable row", sample, _line(error), 0, len(sample))
        self._defects.setdefault(defect.kind, defect).count += 1


def _epoch(value: object) -> float | None:
    # Of a column with a time.
    if isinstance(value, str):
        with suppress(ValueError):
            value = datetime.fromisoformat(value)
    with suppress(ValueError, OverflowError):
        return value.timestamp() if isinstance(value, datetime) else None
    return None


def _before(moment: float, wanted: time_of_day) -> float:
    # The last such time of day before a moment.
    at, _ = on_day_of(moment, wanted)
    return at if at <= moment else on_day_of(moment - _DAY, wanted)[0]


def _line(error: Exception) -> str:
    # What follows the first line may have values of a row.
    text = getattr(getattr(error, "diag", None), "message_primary", None) or str(error)
    return hide_credentials(text.strip().partition("\n")[0]) or type(error).__name__


class _SQLite:
    # A file of SQLite, as of one moment.

    sign = "?"
    error = sqlite3.Error

    def __init__(self, path: str, stopped: Callable[[], bool]) -> None:
        self._path = Path(path.removeprefix(SQLITE))
        self.name = str(self._path)
        #: What must not change while it is read, if evcam would not notice that.
        self._signature: tuple[int, ...] | None = None
        #: Of tables and other parts of questions.
        self.names = dict(_PLAIN_NAMES)
        try:
            address = self._address()
        except OSError as error:
            raise UsageError(f"cannot read {self.name}: {error.strerror}") from error
        self._connection = connection = sqlite3.connect(
            address, uri=True, isolation_level=None, check_same_thread=False
        )
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_BYTES_MAX)
        connection.set_progress_handler(stopped, _OPERATIONS)
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")

    def _address(self) -> str:
        # A reader that writes nothing at all: not even what readers note in the index of the WAL,
        # which another user or root might not be able to share with evcam then.
        if not stat.S_ISREG(self._path.stat().st_mode):
            raise UsageError(f"cannot read {self.name}: it is no regular file")
        with self._path.open("rb") as file:
            head = file.read(_JOURNAL_AT + 1)
        if not head.startswith(_MAGIC):
            hint = f"a recording is read without {SQLITE}" if head[:1] == b"{" else ""
            raise UsageError(f"{self.name} is not an SQLite database", hint)
        address = f"{self._path.absolute().as_uri()}?mode=ro"
        log, index = (self._path.with_name(f"{self._path.name}-{end}") for end in ("wal", "shm"))
        if head[-1] != _WAL:
            return address
        if index.exists():
            return f"{address}&readonly_shm=1"
        if log.exists() and log.stat().st_size:
            # SQLite has to make an index of it.
            check_folder(self._path.absolute().parent)
            return address
        self._signature = self._look()
        return f"{address}&immutable=1"

    def _look(self) -> tuple[int, ...]:
        status = self._path.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns

    def check(self) -> None:
        """Raise UsageError if it was changed while it was read."""
        with suppress(OSError):
            if self._signature is not None and self._look() != self._signature:
                text = f"{self.name} has changed while it was read"
                raise UsageError(text, "read it again")

    def hint(self, error: Exception) -> str:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return "it is damaged; to save what is readable: sqlite3 FILE .recover"
        return ""

    def version(self) -> int:
        execute = self._connection.execute
        execute("PRAGMA trusted_schema = OFF")
        execute("BEGIN")
        [application] = execute("PRAGMA application_id").fetchone()
        [version] = execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID or not version:
            hint = f"evcam -c {SQLITE}FILE writes such a database"
            raise UsageError(f"{self.name} is a database of another program than evcam", hint)
        return int(version)

    def select(self, question: str, *values: Any) -> Iterator[Any]:
        return self._connection.execute(question.format_map(self.names), values)

    def newest_tasks(self, *values: Any) -> Iterator[Any]:
        # Sorted are the numbers of the rows alone.
        row = "SELECT {columns} FROM tasks WHERE rowid = ?".format_map(self.names)
        for (number,) in self.select(
            "SELECT id FROM (SELECT rowid AS id, first_heard FROM tasks{condition} "
            "ORDER BY last_heard DESC {limit}) ORDER BY first_heard",
            *values,
        ):
            yield from self._connection.execute(row, (number,))

    def close(self) -> None:
        self._connection.close()


_PLAIN_NAMES: Final = {table.name: table.name for table in TABLES}


#: Settings of a connection to PostgreSQL, unless the URL has others; the last four detect that the
#: other side is gone, in seconds and for the last in milliseconds.
_POSTGRES_DEFAULTS: Final[Mapping[str, str]] = {
    "application_name": "evtools",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}


#: What libpq says of the name of an option.
_UNKNOWN: Final = re.compile(r'invalid URI query parameter: "([a-z_]{1,40})"', re.ASCII)


def psycopg_for(user: str, url: str, **settings: str) -> tuple[Any, dict[str, Any]]:
    """Return the library psycopg, and the settings in a URL, a connection string, or @FILE.

    They go before `settings`, and these before what all connections of evtools have.

    Raise UsageError for an invalid URL, and where there is no psycopg, which `user` needs.
    """
    try:
        import psycopg  # noqa: PLC0415  (an extra that need not be there)
    except ImportError as error:
        install = "pip install 'evtools[postgres]'"
        text = f"{user} needs psycopg, which cannot be imported ({error})"
        raise UsageError(text, install) from error
    try:
        if url.startswith("@"):
            url = decode_text(Path(url[1:]).read_bytes()).strip()
        given = psycopg.conninfo.conninfo_to_dict(url)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8 or UTF-16"
        raise UsageError(f"cannot read {url[1:]}: {reason}") from error
    except psycopg.Error as error:
        # Its details would show the password.
        unknown = _UNKNOWN.search(str(error))
        if unknown is not None and "@" not in url.partition("?")[2]:
            raise UsageError(
                f'cannot read the URL of PostgreSQL: there is no option "{unknown[1]}"',
                "behind the ? of the URL are those of libpq, such as sslmode, and of the camera",
            ) from None
        raise UsageError(
            "cannot read the URL of PostgreSQL",
            "as in postgresql://USER@HOST/DATABASE, with the password in a file: "
            "@FILE for the whole URL, or what PGPASSFILE names",
        ) from None
    return psycopg, {**_POSTGRES_DEFAULTS, **settings, **given}


def described(settings: Mapping[str, Any]) -> str:
    """Return which database of PostgreSQL is meant, without a password."""
    named = ("host", "hostaddr", "port", "dbname", "service", "user")
    return " ".join(("PostgreSQL", *(f"{n}={settings[n]}" for n in named if settings.get(n))))


class _Postgres:
    # A schema of PostgreSQL, in one transaction.

    sign = "%s"

    def __init__(self, path: str) -> None:
        url = path.removeprefix("postgres:") if not path.startswith("postgres://") else path
        self._psycopg, settings = psycopg_for("a database of PostgreSQL", url, connect_timeout="10")
        self.error = self._psycopg.Error
        self.name = described(settings)
        try:
            self._connection = self._psycopg.connect(**settings, prepare_threshold=None)
        except self.error as error:
            raise UsageError(f"cannot read {self.name}: {_line(error)}") from None
        self._connection.read_only = True
        self._connection.isolation_level = self._psycopg.IsolationLevel.REPEATABLE_READ
        self.names: dict[str, str] = {}

    def check(self) -> None:
        """Nothing that others write changes what is read."""

    def hint(self, error: Exception) -> str:
        denied = isinstance(error, self._psycopg.errors.InsufficientPrivilege)
        return "grant this user USAGE on the schema, and SELECT on its tables" if denied else ""

    def version(self) -> int:
        execute = self._connection.execute
        execute(f"SET LOCAL statement_timeout = {_STATEMENT_MS}")
        execute(f"SET LOCAL lock_timeout = {_LOCK_MS}")
        names = ["about", *_PLAIN_NAMES]
        found = execute(
            "SELECT schemaname FROM pg_tables WHERE tablename = ANY(%s) GROUP BY schemaname "
            "HAVING count(*) = %s ORDER BY array_position(current_schemas(false), schemaname), "
            "schemaname <> 'evcam'", (names, len(names)),
        ).fetchall()  # fmt: skip
        if not found:
            hint = "evcam -c postgres:URL writes them; or is it another database?"
            raise UsageError(f"{self.name} has no tables of evcam", hint)
        schema = found[0][0].replace('"', '""')
        self.name += f" schema={found[0][0]}"
        self.names = {name: f'"{schema}".{name}' for name in names}
        [version] = next(self.select("SELECT max(version) FROM {about}"))
        return int(version or 0)

    def select(self, question: str, *values: Any) -> Iterator[Any]:
        return iter(self._connection.execute(question.format_map(self.names), values))

    def newest_tasks(self, *values: Any) -> Iterator[Any]:
        # With a cursor of the server's: it has all rows in order before it sends the first.
        question = (
            "SELECT {columns} FROM (SELECT * FROM {tasks}{condition} ORDER BY last_heard DESC "
            "{limit}) AS newest ORDER BY first_heard"
        )
        with self._connection.cursor(name="evtools") as cursor:
            cursor.itersize = 500
            cursor.execute(question.format_map(self.names), values)
            yield from cursor

    def close(self) -> None:
        self._connection.close()
