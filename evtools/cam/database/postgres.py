"""The camera that writes into PostgreSQL, which several evcams may share."""

import codecs
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

import msgspec

from evtools.cam.camera import Seconds
from evtools.cam.database.camera import DatabaseCamera
from evtools.cam.database.events import EventLog
from evtools.cam.store import Batch
from evtools.errors import OutputError, UsageError
from evtools.state import State
from evtools.transport.recording.database import (
    ATTEMPTS,
    TABLES,
    TASKS,
    Row,
    Stored,
    Table,
    described,
    psycopg_for,
)

_log = logging.getLogger(__name__)

#: The lock of the evcam that creates or changes the tables.
_LOCK: Final = int.from_bytes(b"evcam")
_SCHEMA: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
_MILLISECONDS: Final = 1000
#: Rows for JSON, without unknown values, and the places of JSON in them.
_SHAPES: Final = {
    table: (
        msgspec.defstruct(
            table.name, [(name, Any, None) for name in table.columns], omit_defaults=True
        ),
        [place for place, kind in enumerate(table.columns.values()) if kind == "json"],
    )
    for table in TABLES
}
_MAY_CREATE: Final = """
SELECT coalesce(
  (SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = %s),
  has_database_privilege(current_database(), 'CREATE')
)"""


class Postgres(DatabaseCamera):
    """Write into the `schema` of a database, which is created if needed.

    `url` is a URL or a connection string, as psql takes it, or @FILE with one of them in it;
    anything else comes from the environment.  Connecting may take `connect_timeout` seconds; a
    statement, or the wait for a lock, `timeout`.  All events of the last `events` seconds, 0 for
    none, are in a table as well.  Raise UsageError for an invalid URL, and without psycopg.
    """

    # fmt: off
    types = {  # noqa: RUF012
        "text": "text", "time": "timestamptz", "integer": "bigint",
        "real": "double precision", "flag": "boolean", "json": "jsonb",
    }
    # fmt: on
    parameter = "%s"
    among = "= ANY(ARRAY(SELECT json_array_elements_text(%s::json)))"
    unlocked = " FOR UPDATE SKIP LOCKED"
    row_version = ", xmin::text"

    def __init__(
        self,
        state: State,
        *,
        url: str = "",
        schema: str = "evcam",
        connect_timeout: Seconds = 10.0,
        timeout: Seconds = 30.0,
        events: Seconds = 0.0,
        **others: Any,
    ) -> None:
        super().__init__(state, **others)
        if _SCHEMA.fullmatch(schema) is None:
            raise UsageError(f"{schema!r} is not a valid schema", "use letters, digits and _ only")
        self.schema = schema
        self._events = EventLog(schema, events) if events else None
        self.keeps_events = self._events is not None
        #: The table with the version of the others.
        self._about = f'"{schema}".about'
        codecs.lookup("idna")  # which it would import later, for the names of hosts
        self._psycopg, self._settings = psycopg_for(
            "the camera postgres", url, application_name="evcam",
            connect_timeout=str(max(1, round(connect_timeout))),
        )  # fmt: skip
        self.error = self._psycopg.Error
        self._timeout_ms = max(1, round(timeout * _MILLISECONDS))

    def describe(self) -> str:
        return f"{described(self._settings)} schema={self.schema}"

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._errors():
            if self.connection is None:
                connection = self._connect()
                try:
                    with connection.transaction():
                        self._limit(connection)
                        self._prepare(connection)
                except BaseException:
                    connection.close()
                    raise
                self.connection = connection
            with self.connection.transaction():
                self._limit(self.connection)
                yield

    @property
    def migrations(self) -> Mapping[int, Iterable[str]]:
        return {1: self._with_cluster()}

    def _with_cluster(self) -> Iterator[str]:
        yield f"ALTER TABLE {self.place(ATTEMPTS)} DROP CONSTRAINT attempts_uuid_fkey"
        for table in TABLES:
            yield (
                f"ALTER TABLE {self.place(table)} DROP CONSTRAINT {table.name}_pkey, "
                f"ADD COLUMN {self.cluster_column}, ADD PRIMARY KEY ({', '.join(table.key)})"
            )
        yield f"ALTER TABLE {self.place(ATTEMPTS)} ADD {self.foreign_key()}"

    def put(
        self, table: Table, rows: Sequence[Row], read: Mapping[str, Stored] | None = None
    ) -> set[str]:
        if not rows:
            return set()
        # The server converts it to the types of the table.
        shape, nested = _SHAPES[table]
        for row in rows:
            for place in nested:
                if row[place] is not None:
                    row[place] = msgspec.Raw(row[place].encode())
        values = [msgspec.json.encode([shape(*row) for row in rows]).decode()]
        source = f"json_populate_recordset(NULL::{self.place(table)}, %s::json)"
        columns = ", ".join(table.columns)
        statement = self.replacement(table, f"SELECT {columns} FROM {source}")  # noqa: S608  (our names)
        if read is None:
            self.connection.execute(statement, values)
            return set()
        # All in one statement.  A row that is not written is locked all the same.
        key = f"{table.name}.{table.key[0]}"
        statement += f" WHERE {table.name}.xmin::text = %s::jsonb ->> {key} RETURNING {key}"
        keys = {row[0] for row in rows}
        versions = {key: stored[-1] for key, stored in read.items() if key in keys}
        values.append(msgspec.json.encode(versions).decode())
        return keys - {key for (key,) in self.connection.execute(statement, values)}

    def put_events(self, batch: Batch) -> None:
        if self._events is not None:
            self._events.put(self.connection, batch, self.place(TASKS))

    def sweep(self) -> None:
        super().sweep()
        if self._events is None:
            return
        with self.transaction():
            old = self._events.old_partitions(self.connection, self.clock.wall())
        for partition in old:
            try:
                with self.transaction():
                    self._events.drop(self.connection, partition)
            except OutputError as error:
                if not isinstance(error.__cause__, self._psycopg.errors.LockNotAvailable):
                    raise
                words = "%s: %s is in use, and will be dropped later"
                _log.info(words, self.describe(), partition)
            else:
                _log.info("%s: dropped %s", self.describe(), partition)

    def check(self) -> None:
        """Raise OutputError if it cannot be reached or written."""
        super().check()
        with self._errors(), closing(self._connect()) as connection:
            is_there = bool(self._version_in(connection))
            if is_there and self._events is None:
                return
            if _one(connection, _MAY_CREATE, self.schema)[0]:
                return
            if is_there:
                raise OutputError(
                    f"cannot create tables in the schema {self.schema} of PostgreSQL, as events "
                    "needs one for each day: permission denied",
                    f"let another user do it: GRANT CREATE ON SCHEMA {self.schema} TO ...",
                )
            raise OutputError(
                f"cannot create the schema {self.schema} in PostgreSQL: permission denied",
                f"let another user do it: CREATE SCHEMA {self.schema} AUTHORIZATION ...",
            )

    def _connect(self) -> Any:
        # Poolers that hand out connections by the transaction know no prepared statements.
        connection = self._psycopg.connect(
            **self._settings, autocommit=True, prepare_threshold=None
        )
        # Whatever the default of the database: rows of other evcams have to be seen.
        connection.isolation_level = self._psycopg.IsolationLevel.READ_COMMITTED
        return connection

    def _limit(self, connection: Any) -> None:
        # Nothing takes too long, and the server ends idle transactions.  Set within one, as
        # poolers hand out connections by the transaction.
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(f"SET LOCAL {name} = {self._timeout_ms}")

    def _prepare(self, connection: Any) -> None:
        if self._version_in(connection) == self.version and not self._lacks_events(connection):
            return
        execute = connection.execute
        execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        version = self._version_in(connection)  # another evcam may just have done it
        if not version:
            there = "SELECT FROM pg_namespace WHERE nspname = %s"
            if _one(connection, there, self.schema) is None:
                execute(f'CREATE SCHEMA "{self.schema}"')
            execute(f"CREATE TABLE {self._about} (version integer NOT NULL)")
            execute(f"INSERT INTO {self._about} VALUES ({self.version})")  # noqa: S608
        if version:
            # It takes as long as the tables are large.
            execute("SET LOCAL statement_timeout = 0")
        for statement in self.changes_since(version):
            execute(statement)
        execute(f"UPDATE {self._about} SET version = {self.version}")  # noqa: S608
        if self._events is not None and self._lacks_events(connection):
            for statement in self._events.definition():
                execute(statement)

    def _lacks_events(self, connection: Any) -> bool:
        return self._events is not None and not self._events.is_there(connection)

    def _version_in(self, connection: Any) -> int:
        # 0 if there are no tables.  Names are looked up in a cache, which does not see new ones
        # of others.
        there = "SELECT FROM pg_tables WHERE schemaname = %s AND tablename = 'about'"
        if _one(connection, there, self.schema) is None:
            return 0
        [version] = _one(connection, f"SELECT max(version) FROM {self._about}")  # noqa: S608
        return self.known_version(version, f"schema {self.schema}", "schema")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self.error as error:
            self.disconnect()  # and connect again the next time
            # What follows the first line may have values of a row.
            failure: Any = error
            line = (failure.diag.message_primary or str(error)).strip().partition("\n")[0]
            text = f"cannot write to {self.describe()}: {line or type(error).__name__}"
            raise OutputError(text) from error


def _one(connection: Any, question: str, *values: Any) -> Any:
    return connection.execute(question, values).fetchone()
