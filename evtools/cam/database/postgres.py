"""The camera that writes into PostgreSQL, which several evcams may share."""

import codecs
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from evtools.cam.camera import Seconds
from evtools.cam.database.camera import DatabaseCamera
from evtools.cam.database.schema import (
    TABLES,
    VERSION,
    Kind,
    Row,
    Store,
    Stored,
    Table,
    listed,
    quote,
)
from evtools.errors import OutputError, UsageError
from evtools.state import State
from evtools.text import decode_text

if TYPE_CHECKING:
    import psycopg

#: Statements that lead from the tables of a version to those of the next, by the former.
MIGRATIONS: Final[Mapping[int, Sequence[str]]] = {}
#: The lock of the evcam that creates or changes the tables.
_LOCK: Final = int.from_bytes(b"evcam")
_SCHEMA: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
#: Settings of a connection, unless the URL has others; the last four detect that the other
#: side is gone, in seconds and for the last in milliseconds.
_DEFAULTS: Final[Mapping[str, str]] = {
    "application_name": "evcam",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_MILLISECONDS: Final = 1000
#: Rows for JSON, without unknown values, and the places of JSON in them.
_SHAPES: Final = {
    table.name: (
        msgspec.defstruct(
            table.name, [(name, Any, None) for name in table.columns], omit_defaults=True
        ),
        [n for n, kind in enumerate(table.columns.values()) if kind == "json"],
    )
    for table in TABLES
}
#: Differs after every change of a row; it is read last.
_VERSION: Final = "xmin::text"


class PostgresStore(Store):
    """The schema `schema` of a database, created when it is first written into.

    `url` is a URL, a connection string, or @FILE with one of them in it; anything else
    comes from the environment, as with psql.  A statement may take `timeout` seconds, and
    so may the wait for a lock.  Raise UsageError for an invalid URL, and without psycopg.
    """

    # fmt: off
    types: ClassVar[Mapping[Kind, str]] = {
        "text": "text", "time": "timestamptz", "integer": "bigint",
        "real": "double precision", "flag": "boolean", "json": "jsonb",
    }
    # fmt: on
    parameter = "%s"
    locked = " FOR UPDATE SKIP LOCKED"

    def __init__(self, url: str, *, schema: str, connect_timeout: float, timeout: float) -> None:
        if _SCHEMA.fullmatch(schema) is None:
            raise UsageError(f"{schema!r} is not a valid schema", "use letters, digits and _ only")
        self._psycopg = _driver()
        self.schema = schema
        self.error = self._psycopg.Error
        self._settings = self._parse(_content(url), connect_timeout)
        self._timeout_ms = max(1, round(timeout * _MILLISECONDS))

    def _parse(self, url: str, connect_timeout: float) -> dict[str, Any]:
        """Return the parts of a URL; details of an error would show the password."""
        try:
            given = self._psycopg.conninfo.conninfo_to_dict(url)
        except self._psycopg.Error:
            raise UsageError(
                "cannot read the URL of PostgreSQL",
                "as in postgresql://USER@HOST/DATABASE, with the password in a file: "
                "@FILE for the whole URL, or what PGPASSFILE names",
            ) from None
        seconds = {"connect_timeout": str(max(1, round(connect_timeout)))}
        return {**_DEFAULTS, **seconds, **given}

    def describe(self) -> str:
        named = ("host", "hostaddr", "port", "dbname", "service", "user")
        known = [f"{n}={self._settings[n]}" for n in named if self._settings.get(n)]
        return " ".join(("PostgreSQL", *known, f"schema={self.schema}"))

    # --- writing ---------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[Store]:
        with self._session():
            yield self

    @contextmanager
    def _session(self) -> Iterator[Any]:
        """Yield the connection, in a transaction in which nothing takes too long."""
        with self._errors():
            if self._connection is None:
                connection = self._connect()
                try:
                    with connection.transaction():
                        self._limit(connection)
                        self._prepare(connection)
                except BaseException:
                    connection.close()
                    raise
                self._connection = connection
            with self._connection.transaction():
                self._limit(self._connection)
                yield self._connection

    def _limit(self, connection: Any) -> None:
        """Let nothing take too long, and let the server end idle transactions.

        Within a transaction, as poolers hand out connections by the transaction.
        """
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(f"SET LOCAL {name} = {self._timeout_ms}")

    def read(self, table: Table, keys: Sequence[str]) -> Mapping[str, Stored]:
        """Return the `needed` columns by key, and the version of each row."""
        condition = f"WHERE {quote(table.key[0])} = ANY(%s)"
        statement = self.selection(table, condition, _VERSION)
        return {row[0]: row for row in self._connection.execute(statement, (list(keys),))}

    def swap(
        self, table: Table, rows: Sequence[Row], read: Mapping[str, Stored]
    ) -> Collection[str]:
        """Write rows that have not changed; return the keys of the others.

        All in one statement and in the order of the keys.  A row that is not
        written is locked all the same.
        """
        if not rows:
            return ()
        place = f"{quote(table.name)}.{quote(table.key[0])}"
        statement = (
            f"{self.replacement(table, self._source(table))} "
            f"WHERE {quote(table.name)}.{_VERSION} = %s::jsonb ->> {place} "
            f"RETURNING {place}"
        )
        keys = [row[0] for row in rows]
        versions = {key: read[key][-1] for key in keys if key in read}
        values = _as_json(table, rows), msgspec.json.encode(versions).decode()
        written = {key for (key,) in self._connection.execute(statement, values)}
        return [key for key in keys if key not in written]

    def put(self, table: Table, rows: Sequence[Row]) -> None:
        if rows:
            statement = self.replacement(table, self._source(table))
            self._connection.execute(statement, (_as_json(table, rows),))

    def drop(self, table: Table, keys: Sequence[str]) -> None:
        if keys:
            condition = f"{quote(table.key[0])} = ANY(%s)"
            statement = f"DELETE FROM {self.place(table)} WHERE {condition}"  # noqa: S608
            self._connection.execute(statement, (list(keys),))

    def _source(self, table: Table) -> str:
        return (
            f"SELECT {listed(list(table.columns))} "  # noqa: S608  (our names)
            f"FROM json_populate_recordset(NULL::{self.place(table)}, %s::json)"
        )

    # --- connecting ------------------------------------------------------------------

    def check(self) -> None:
        """Raise OutputError if it cannot be reached or written."""
        with self._errors():
            connection = self._connect()
            try:
                if not self._version(connection) and not self._may_create(connection):
                    raise OutputError(
                        f"cannot create the schema {self.schema} in PostgreSQL: permission denied",
                        f"let another user do it: CREATE SCHEMA {self.schema} AUTHORIZATION ...",
                    )
            finally:
                connection.close()

    def _connect(self) -> Any:
        # Poolers that hand out connections by the transaction know no prepared statements.
        connection = self._psycopg.connect(
            **self._settings, autocommit=True, prepare_threshold=None
        )
        # Whatever the default of the database: rows of other evcams have to be seen.
        connection.isolation_level = self._psycopg.IsolationLevel.READ_COMMITTED
        return connection

    def _prepare(self, connection: Any) -> None:
        """Create the tables, or bring them up to date."""
        if self._version(connection) == VERSION:
            return
        execute = connection.execute
        execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        version = self._version(connection)  # another evcam may just have done it
        if not version:
            if not self._has_schema(connection):
                execute(f"CREATE SCHEMA {quote(self.schema)}")
            execute(f"CREATE TABLE {self._about} (version integer NOT NULL)")
            execute(f"INSERT INTO {self._about} VALUES ({VERSION})")  # noqa: S608
            for statement in self.creation():
                execute(statement)
            return
        for older in range(version, VERSION):
            for statement in MIGRATIONS[older]:
                execute(statement)
        execute(f"UPDATE {self._about} SET version = {VERSION}")  # noqa: S608

    @property
    def _about(self) -> str:
        """The table with the version of the others."""
        return f'{quote(self.schema)}."about"'

    def _version(self, connection: Any) -> int:
        """Return the version of the tables, 0 if there are none.

        Raise OutputError for tables of a newer evcam.
        """
        # Names are looked up in a cache, which does not see new tables of others.
        there = "SELECT FROM pg_tables WHERE schemaname = %s AND tablename = 'about'"
        if _one(connection, there, self.schema) is None:
            return 0
        [version] = _one(connection, f"SELECT max(version) FROM {self._about}")  # noqa: S608
        if version > VERSION:
            raise OutputError(
                f"the tables in schema {self.schema} were written by a newer evcam "
                f"(they are of version {version}, ours of {VERSION})",
                "update evtools, or give this one another schema",
            )
        return int(version)

    def _has_schema(self, connection: Any) -> bool:
        there = "SELECT FROM pg_namespace WHERE nspname = %s"
        return _one(connection, there, self.schema) is not None

    def _may_create(self, connection: Any) -> bool:
        question = "SELECT has_database_privilege(current_database(), 'CREATE')"
        if self._has_schema(connection):
            question = "SELECT has_schema_privilege(%s, 'CREATE')"
            return bool(_one(connection, question, self.schema)[0])
        return bool(_one(connection, question)[0])

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise OutputError for errors of PostgreSQL, and connect again the next time."""
        try:
            yield
        except self._psycopg.Error as error:
            self.close()
            raise OutputError(f"cannot write to {self.describe()}: {_line(error)}") from (error)


def _as_json(table: Table, rows: Sequence[Row]) -> str:
    """Return rows as one text, which the server converts to the types of the table."""
    shape, nested = _SHAPES[table.name]
    for row in rows:
        for place in nested:
            if row[place] is not None:
                row[place] = msgspec.Raw(row[place].encode())
    return msgspec.json.encode([shape(*row) for row in rows]).decode()


def _one(connection: Any, question: str, *values: Any) -> Any:
    return connection.execute(question, values).fetchone()


def _line(error: "psycopg.Error") -> str:
    """Return the first line of an error; the rest may have values of a row."""
    text = error.diag.message_primary or str(error)
    return text.strip().partition("\n")[0] or type(error).__name__


def _content(url: str) -> str:
    """Return a URL, or what is in the file that it names."""
    if not url.startswith("@"):
        return url
    try:
        return decode_text(Path(url[1:]).read_bytes()).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8 or UTF-16"
        raise UsageError(f"cannot read {url[1:]}: {reason}") from error


def _driver() -> Any:
    """Return psycopg, with everything that it will import."""
    codecs.lookup("idna")  # of the names of hosts
    try:
        import psycopg  # noqa: PLC0415  (an extra that need not be there)
    except ImportError as error:
        install = "pip install 'evtools[postgres]'"
        if getattr(sys, "frozen", False):
            install = f"a standalone program takes no libraries; use {install}"
        raise UsageError(
            f"the camera postgres needs psycopg, which cannot be imported ({error})", install
        ) from error
    return psycopg


class Postgres(DatabaseCamera):
    """Write into the `schema` of a database, which several evcams may share.

    `url` is as psql takes it, or @FILE; without one it comes from the environment.
    Connecting may take `connect_timeout` seconds, and a statement `timeout`.
    """

    def __init__(
        self,
        state: State,
        *,
        url: str = "",
        schema: str = "evcam",
        connect_timeout: Seconds = 10.0,
        timeout: Seconds = 30.0,
        **others: Any,
    ) -> None:
        super().__init__(state, **others)
        self.store = PostgresStore(
            url, schema=schema, connect_timeout=connect_timeout, timeout=timeout
        )
