"""The camera that writes into a file of SQLite."""

import errno
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from evtools.cam.camera import Seconds
from evtools.cam.database.camera import DatabaseCamera
from evtools.clock import SystemClock
from evtools.errors import OutputError
from evtools.state import State
from evtools.transport.recording.database import APPLICATION_ID, TABLES, Row, Stored, Table
from evtools.trust import check_folder, check_way, open_safely
from evtools.wire import iso_utc

_log = logging.getLogger(__name__)

#: The mode of a new file: others may write into its folder, but not read it.
_MODE: Final = 0o640
#: Bytes; a smaller file is checked when it is opened.
_CHECKED_MAX_BYTES: Final = 64 * 1024 * 1024
#: The WAL may keep so many bytes, and has so many pages before they are written into the file:
#: a busy snapshot changes thousands, mostly those that the one before it changed.  In the cache
#: (KiB) it should find room for its changes, or they are written twice.
_SETTINGS: Final = (
    "journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON",
    f"journal_size_limit = {64 * 1024 * 1024}", "wal_autocheckpoint = 8000",
    f"cache_size = -{32 * 1024}",
)  # fmt: skip

#: Of its virtual machine: a fraction of a second.
_OPERATIONS: Final = 1_000_000
#: What goes with a table: its indexes, and what others have added.
_ADDED: Final = (
    "SELECT name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"
)

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_MAGIC: Final = b"SQLite format 3\0"
_SUFFIXES: Final = frozenset({".db", ".db3", ".sqlite", ".sqlite3"})


class SQLite(DatabaseCamera):
    """Write into the file `path`, which is created if needed.

    Readers neither wait nor keep writers waiting.  A lock of another program is waited for up to
    `busy_timeout` seconds.  A damaged file is set aside, and a new one begun; one that was moved
    away is left where it is.
    """

    # fmt: off
    types = {  # noqa: RUF012
        "text": "TEXT", "time": "TEXT", "integer": "INTEGER", "real": "REAL",
        "flag": "INTEGER", "json": "TEXT",
    }
    # fmt: on
    parameter = "?"
    among = "IN (SELECT value FROM json_each(?))"
    error = sqlite3.Error

    def __init__(
        self, state: State, *, path: Path, busy_timeout: Seconds = 5.0, **others: Any
    ) -> None:
        super().__init__(state, **others)
        self.path = path
        self._busy_timeout = busy_timeout
        self._inode = 0

    def describe(self) -> str:
        return f"sqlite:{self.path}"

    @property
    def migrations(self) -> Mapping[int, Iterable[str]]:
        return {1: self._rebuilt()}

    def _rebuilt(self) -> Iterator[str]:
        # No statement of SQLite changes a key.  Old attempts go before their tasks, or they would
        # be looked for one by one; views may name a table that is not there for a moment.
        yield "PRAGMA legacy_alter_table = ON"
        for table in TABLES:
            columns = ", ".join(name for name in table.columns if name != "cluster")
            yield self.definition(table, prefix="new_")
            yield f"INSERT INTO new_{table.name} ({columns}) SELECT {columns} FROM {table.name}"  # noqa: S608  (our names)
        for table in reversed(TABLES):
            yield f"DROP TABLE {table.name}"
        for table in TABLES:
            yield f"ALTER TABLE new_{table.name} RENAME TO {table.name}"
        yield "PRAGMA legacy_alter_table = OFF"

    @contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            self._open()
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            if self.connection is not None:
                self._set_aside_if_damaged(error)
            if _code(error) not in _LOCKED:
                self.disconnect()
            raise OutputError(f"cannot write {self.path}: {error}") from error

    def put(
        self,
        table: Table,
        rows: Sequence[Row],
        read: Mapping[str, Stored] | None = None,  # noqa: ARG002  (no other writer until the end)
    ) -> set[str]:
        signs = ", ".join("?" * len(table.columns))
        self.connection.executemany(self.replacement(table, f"VALUES ({signs})"), rows)
        return set()

    def check(self) -> None:
        """Raise OutputError if the file could not be written, or is not evcam's."""
        super().check()
        folder = self.path.absolute().parent
        try:
            check_way(self.path)
            check_folder(folder)
            exists = self.path.exists()
            if not exists and not folder.is_dir():
                raise OutputError(f"cannot write {self.path}: {folder} is not a directory")
            target, how = (self.path, os.R_OK) if exists else (folder, os.X_OK)
            if not os.access(target, os.W_OK | how):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise self._refused(error) from error
        if not exists:
            return
        # This changes nothing, neither in the file nor beside it.
        address = f"{self.path.absolute().as_uri()}?immutable=1"
        try:
            with closing(sqlite3.connect(address, uri=True)) as connection:
                self._version_in(connection)
        except sqlite3.Error as error:
            if _code(error) not in _DAMAGED:
                raise OutputError(f"cannot write {self.path}: {error}") from error
            self._refuse_what_is_not_ours(error)
            _log.warning("%s is damaged and will be set aside: %s", self.path, error)

    def _open(self) -> None:
        if self.connection is not None:
            with suppress(OSError):
                if self.path.stat().st_ino == self._inode:
                    return
            _log.warning("%s has disappeared: begun anew", self.path)
            self.disconnect()
        try:
            self.connection = self._opened()
        except sqlite3.Error as error:
            if _code(error) not in _DAMAGED:
                raise
            self.connection = self._opened()
        self._inode = self.path.stat().st_ino

    def _opened(self) -> sqlite3.Connection:
        # Raise sqlite3.Error if it is damaged and was set aside.
        try:
            # SQLite opens by name what it needs, whenever it needs it.
            check_folder(self.path.absolute().parent)
            os.close(open_safely(self.path, os.O_CREAT | os.O_RDWR, _MODE))
        except OSError as error:
            raise self._refused(error) from error
        # Everything is done in the camera's thread but the check, and that before.
        connection = sqlite3.connect(
            self.path, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
        )
        execute = connection.execute
        try:
            self._version_in(connection)  # nothing is changed in a file that is not ours
            for setting in _SETTINGS:
                execute(f"PRAGMA {setting}")
            if self.path.stat().st_size <= _CHECKED_MAX_BYTES:
                [verdict] = execute("PRAGMA quick_check(1)").fetchone()
                if verdict != "ok":
                    raise _Damaged(verdict)  # noqa: TRY301  (set aside below)
            execute("BEGIN IMMEDIATE")
            connection.set_progress_handler(self.gets_on, _OPERATIONS)
            before = dict(execute(_ADDED))
            for statement in self.changes_since(self._version_in(connection)):
                execute(statement)
            for name in before.keys() - dict(execute(_ADDED)).keys():
                execute(before[name])
            connection.set_progress_handler(None, 0)
            execute(f"PRAGMA application_id = {APPLICATION_ID}")
            execute(f"PRAGMA user_version = {self.version}")
            execute("COMMIT")
        except BaseException as error:
            with closing(connection):
                self._set_aside_if_damaged(error)
            raise
        return connection

    def _version_in(self, connection: sqlite3.Connection) -> int:
        # 0 if there are no tables, and nothing else either.
        [application] = connection.execute("PRAGMA application_id").fetchone()
        [version] = connection.execute("PRAGMA user_version").fetchone()
        [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application == APPLICATION_ID:
            return self.known_version(version, str(self.path), "file")
        if tables or version or application:
            raise OutputError(
                f"{self.path} is a database of another program", "give evcam a file of its own"
            )
        return 0

    def _refused(self, error: OSError) -> OutputError:
        hint = "run evcam as the owner of the folder (--uid), or give another one"
        why = f"cannot write {self.path}: {error.strerror}"
        return OutputError(why, hint if error.errno == errno.EPERM else "")

    def _refuse_what_is_not_ours(self, error: BaseException) -> None:
        # By its name and its beginning: any file may have been given by mistake.
        if self.path.suffix in _SUFFIXES:
            return
        with suppress(OSError), self.path.open("rb") as file:
            if file.read(len(_MAGIC)) == _MAGIC:
                return
        text = f"{self.path} is not an SQLite database ({error})"
        raise OutputError(text, "it was left as it is; give evcam a file of its own")

    def _set_aside_if_damaged(self, error: BaseException) -> None:
        # Before it is closed: SQLite would remove its companions.
        if _code(error) not in _DAMAGED:
            return
        self._refuse_what_is_not_ours(error)
        stamp = (iso_utc(SystemClock().wall()) or "").replace("-", "").replace(":", "")
        aside = f"{self.path.name}.corrupt-{stamp}"
        for suffix in ("", "-wal", "-shm"):
            file = self.path.with_name(f"{self.path.name}{suffix}")
            with suppress(FileNotFoundError):
                file.rename(file.with_name(f"{aside}{suffix}"))
        rescue = "to save what is readable: sqlite3 FILE .recover"
        words = "%s is damaged (%s): set aside as %s, and begun anew; %s"
        _log.error(words, self.path, error, aside, rescue)


class _Damaged(sqlite3.DatabaseError):
    # The check of a file has found something.
    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def _code(error: BaseException) -> int:
    code: Any = getattr(error, "sqlite_errorcode", 0)
    return int(code) & 0xFF  # the rest has details
