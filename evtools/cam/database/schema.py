"""The tables that a cluster is written into, their SQL, and texts that databases can hold."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, ClassVar, Final, Literal, NamedTuple, TypeAlias

from evtools.wire import COMMON, OWN_FIELDS

#: The kind of a column.  A `time` is ISO 8601 in UTC, as text where a database has no type
#: for it: that sorts, is read without asking for zone or unit, and suits the date functions
#: of SQLite and of Grafana.
Kind: TypeAlias = Literal["text", "time", "integer", "real", "flag", "json"]
#: The values of all columns of a row, in their order.
Row: TypeAlias = list[Any]
#: The columns of a row that are `needed` to know its events; its key is first.
Stored: TypeAlias = tuple[Any, ...]

#: The version of the tables below, and of the text in their column `heard`.
VERSION: Final = 1


# --- tables -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the kinds of its columns by name, its key, its indexes.

    The rows of `owner`, if there is one, are deleted with the row there that has their
    first key.
    """

    name: str
    columns: Mapping[str, Kind]
    key: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...] = ()
    owner: str = ""


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
        "first_heard": "time", "last_heard": "time", "heard": "text",
    },
    key=("uuid",),
    indexes=(("last_heard",), ("state", "last_heard"), ("name", "last_heard"), ("root_id",)),
)

#: The attempts before the newest; `place` counts them from 0, the oldest.
ATTEMPTS: Final = Table(
    "attempts",
    {"uuid": "text", "place": "integer", "number": "integer", **_ATTEMPT},
    key=("uuid", "place"),
    owner="tasks",
)

WORKERS: Final = Table(
    "workers",
    {
        "hostname": "text", "pid": "integer", "freq": "real",
        "active": "integer", "processed": "integer", "loadavg": "json",
        "sw_ident": "text", "sw_ver": "text", "sw_sys": "text",
        "online_since": "time", "goodbye": "time", "last_told": "time", "last_heard": "time",
        "extra": "json", "heard": "text",
    },
    key=("hostname",),
)

#: One row for each snapshot: its origin, its period, and what it misses.
SNAPSHOTS: Final = Table(
    "snapshots",
    {
        "evcam": "text", "sequence": "integer", "host": "text", "pid": "integer",
        "started": "time", "at": "time", "since": "time", "period": "real",
        "warm": "flag", "connected": "flag", "gaps": "json",
        "dropped": "integer", "missed": "integer",
        "events": "integer", "tasks": "integer", "lost": "integer",
    },
    key=("evcam", "sequence"),
    indexes=(("at",),),
)
# fmt: on

#: In the order in which they are created and written.
TABLES: Final = (TASKS, ATTEMPTS, WORKERS, SNAPSHOTS)

_SENT: Final = "task-sent"
_OF_ALL: Final = frozenset(COMMON) - {"hostname"}
#: By kind of event of a task, the names of its fields, first that of its sender.
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    kind: tuple(n for n in own if n not in _OF_ALL)
    for kind, own in OWN_FIELDS.items()
    if kind.startswith("task-")
}
#: Fields of events that no column holds as they were sent; they come last.
_OWN: Final = frozenset({"runtime", "terminated", "signum", "expired", "requeue"})
#: The columns that hold the other fields, by kind of event.
SHARED: Final = {
    kind: tuple(
        {"hostname": "client" if kind == _SENT else "worker"}.get(name, name)
        for name in names
        if name not in _OWN
    )
    for kind, names in FIELDS.items()
}


def needed(table: Table) -> tuple[str, ...]:
    """Return the columns that hold the events of a row, its key first."""
    shared = [name for each in SHARED.values() for name in each]
    return *table.key, "heard", *dict.fromkeys(shared if table is TASKS else ())


# --- what a database does -----------------------------------------------------------


class Expired(NamedTuple):
    """Rows of which `column` is before a moment (ISO 8601), oldest first."""

    table: Table
    column: str
    before: str
    successes_only: bool = False


def quote(name: str) -> str:
    return f'"{name}"'


def listed(names: Sequence[str]) -> str:
    return ", ".join(map(quote, names))


class Store:
    """A database that has the tables, or will have them when it is first used.

    Failures raise OutputError, in one line; the next call tries again.  `types` are those
    of the columns, `parameter` is the sign for one, `schema` that of the tables, "" where
    there are none, and `locked` the clause that keeps rows locked by others out of a
    selection.
    """

    types: ClassVar[Mapping[Kind, str]]
    parameter = "?"
    schema = ""
    locked = ""
    #: The class of the errors of its library, and its open connection.
    error: type[Exception]
    _connection: Any = None

    def transaction(self) -> AbstractContextManager["Store"]:
        """Return a transaction, undone if the block raises; readers see all of it or nothing."""
        raise NotImplementedError

    def _session(self) -> AbstractContextManager[Any]:
        """Return a context with the open connection, in which errors are OutputErrors."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise OutputError if it could not be written, without changing anything."""

    def describe(self) -> str:
        """Return where it is, without any password."""
        return type(self).__name__

    def close(self) -> None:
        """Close it; the next call opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(self.error):
                connection.close()

    # --- in a transaction -----------------------------------------------------------

    def read(self, table: Table, keys: Sequence[str]) -> Mapping[str, Stored]:
        """Return, by key, the `needed` columns of the rows that are there."""
        raise NotImplementedError

    def swap(
        self,
        table: Table,
        rows: Sequence[Row],
        read: Mapping[str, Stored],  # noqa: ARG002  (where there are other writers)
    ) -> Collection[str]:
        """Write rows that are still as they were `read`, or still absent.

        Return the keys of the others, to be read again; no other writer changes any of them
        until the end.  All writers sort rows by key, so that no two wait for each other.
        """
        self.put(table, rows)
        return ()

    def put(self, table: Table, rows: Sequence[Row]) -> None:
        """Write rows, over those that have their keys."""
        raise NotImplementedError

    def drop(self, table: Table, keys: Sequence[str]) -> None:
        """Remove the rows whose first key is one of these."""
        raise NotImplementedError

    # --- old rows -------------------------------------------------------------------

    def expire(self, expired: Expired, limit: int) -> int:
        """Remove up to `limit` rows at once; return their number."""
        table, column = expired.table, quote(expired.column)
        keys, place = listed(table.key), self.place(table)
        condition = f"{column} < {self.parameter}"
        if expired.successes_only:
            condition += """ AND "state" = 'SUCCESS'"""
        old = (
            f"SELECT {keys} FROM {place} WHERE {condition} "  # noqa: S608  (our names)
            f"ORDER BY {column} LIMIT {self.parameter}{self.locked}"
        )
        statement = f"DELETE FROM {place} WHERE ({keys}) IN ({old})"  # noqa: S608
        with self._session() as connection:
            return int(connection.execute(statement, (expired.before, limit)).rowcount)

    def boundary(self, table: Table, column: str, keep: int) -> str | None:
        """Return the least value of `column` in the `keep` rows where it is greatest.

        None if there are no more rows than that.
        """
        statement = (
            f"SELECT {quote(column)} FROM {self.place(table)} "  # noqa: S608
            f"ORDER BY {quote(column)} DESC LIMIT 1 OFFSET {self.parameter}"
        )
        with self._session() as connection:
            row = connection.execute(statement, (keep - 1,)).fetchone()
        value = row[0] if row else None
        return value if isinstance(value, str | None) else value.isoformat()

    # --- SQL ------------------------------------------------------------------------

    def place(self, table: Table) -> str:
        """Return the name of a table, with its schema."""
        prefix = f"{quote(self.schema)}." if self.schema else ""
        return prefix + quote(table.name)

    def creation(self) -> Iterator[str]:
        """Yield the statements that create all tables and indexes."""
        for table in TABLES:
            columns = [
                f"{quote(name)} {self.types[kind]}" + (" NOT NULL" if name in table.key else "")
                for name, kind in table.columns.items()
            ]
            columns.append(f"PRIMARY KEY ({listed(table.key)})")
            columns += [
                f"FOREIGN KEY ({listed(owner.key)}) REFERENCES {self.place(owner)} "
                "ON DELETE CASCADE"
                for owner in TABLES
                if owner.name == table.owner
            ]
            yield f"CREATE TABLE {self.place(table)} ({', '.join(columns)})"
            for index in table.indexes:
                name = quote("_".join((table.name, *index)))
                yield f"CREATE INDEX {name} ON {self.place(table)} ({listed(index)})"

    def selection(self, table: Table, condition: str, also: str = "") -> str:
        """Return the selection of the `needed` columns, and of `also` after them."""
        columns = listed(needed(table)) + (f", {also}" if also else "")
        return f"SELECT {columns} FROM {self.place(table)} {condition}"  # noqa: S608

    def replacement(self, table: Table, source: str) -> str:
        """Return the statement that writes the rows of `source` (VALUES or SELECT)."""
        new = ", ".join(
            f"{quote(name)} = excluded.{quote(name)}"
            for name in table.columns
            if name not in table.key
        )
        return (
            f"INSERT INTO {self.place(table)} "
            f"({listed(list(table.columns))}) {source} "
            f"ON CONFLICT ({listed(table.key)}) DO UPDATE SET {new}"
        )


# --- texts --------------------------------------------------------------------------

#: In characters.  PostgreSQL has no room in an index for longer ones.
NAME_MAX: Final = 255
TEXT_MAX: Final = 16 * 1024
_CUT: Final = "…"
_INSTEAD: Final = "\N{REPLACEMENT CHARACTER}"
_DIGEST_CHARS: Final = 64
_UNFIT: Final = re.compile("[\0\ud800-\udfff]")


def clean(text: str, limit: int = TEXT_MAX) -> str:
    """Return a text that every database takes, of `limit` characters at most."""
    if len(text) > limit:
        text = text[: limit - 1] + _CUT
    return _mended(text)


def clean_end(text: str) -> str:
    """Return the end of a text that is too long: the cause is at the end of a traceback."""
    if len(text) > TEXT_MAX:
        text = _CUT + text[1 - TEXT_MAX :]
    return _mended(text)


def clean_name(text: str) -> str:
    """Return a text that fits into an index."""
    return clean(text, NAME_MAX)


def clean_key(text: str) -> str:
    """Return a text that fits into an index, a different one for each text."""
    if len(text) <= NAME_MAX:
        return clean(text)
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return clean(text, NAME_MAX - _DIGEST_CHARS) + digest


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


#: Functions that clean the fields of events, if not `clean`.
CLEANERS: Final[Mapping[str, Callable[[str], str]]] = {
    **dict.fromkeys(("hostname", "uuid", "root_id", "parent_id"), clean_key),
    **dict.fromkeys(("name", "queue", "exchange", "routing_key"), clean_name),
    **dict.fromkeys(("eta", "expires", "signum"), clean_name),
    **dict.fromkeys(("sw_ident", "sw_ver", "sw_sys"), clean_name),
    "traceback": clean_end,
}


def _mended(text: str) -> str:
    return text if text.isascii() and "\0" not in text else _UNFIT.sub(_INSTEAD, text)
