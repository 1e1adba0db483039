# ruff: noqa: S608  (statements are made of names of ours, and of texts that `quoted` quotes)
"""The camera that writes into ClickHouse: an event log, and what the server makes of it.

evcam inserts events and nothing else that several evcams would have to agree on.  Materialized
views keep what they mean of each task and worker in aggregate states that merge in any order and
however often an event comes (greatest, newest, a set of steps); views read those.  So no evcam
reads what others have written, and none has to know more than its own events.
"""

import codecs
import gzip
import logging
import os
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import msgspec

from evtools.cam.camera import Seconds
from evtools.cam.clickhouse_schema import (
    EVENT_COLUMNS,
    HOUR,
    MICROS,
    MODERN,
    SNAPSHOTS,
    VERSION,
    Tables,
    quoted,
)
from evtools.cam.database.rows import as_json, clean_own
from evtools.cam.http_client import Answer, HTTPClient, one_line
from evtools.cam.store import Batch, Period, StoreCamera
from evtools.errors import OutputError, UsageError
from evtools.state import State, epoch, unwrapped
from evtools.text import decode_text, sanitize
from evtools.transport.recording.database import CLEANERS, clean, clean_key
from evtools.wire import OWN_FIELDS, Event

_log = logging.getLogger(__name__)

_DAY: Final = 86_400.0
#: UTC epoch seconds that every version of the server can have.
_TIME_MAX: Final = 2**32 - 1
#: So far, in seconds, the clock of a sender may be behind or ahead of ours for its days to count.
_BEHIND_MAX, _AHEAD_MAX = 7 * _DAY, _DAY
#: Figures of hours are made anew this often, in seconds, or after this many times the time it took.
_REFRESH: Final = 60.0
_REFRESH_SHARE: Final = 20
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
_CLUSTER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}|\{[A-Za-z0-9_]{1,62}\}", re.ASCII)

# --- rows -------------------------------------------------------------------------------

_COMMON: Final = frozenset({"hostname", "uuid", "timestamp", "utcoffset", "pid", "clock"})
#: By kind of event, its own fields with what cleans a text in them.
_FIELDS_OF: Final = {
    kind: [(name, CLEANERS.get(name, clean)) for name in own if name not in _COMMON]
    for kind, own in OWN_FIELDS.items()
}
_lines: Final = msgspec.json.Encoder().encode_lines


class _Rows(msgspec.Struct):
    data: list[list[Any]]


_decode_rows: Final = msgspec.json.Decoder(_Rows).decode


def row_of(event: Event, cluster: str, ahead: Mapping[str, int]) -> dict[str, Any]:
    """Return the row of an event in the log; columns without a value are left out.

    Two evcams that receive the same event make the same row but for `received` and `ahead`, with
    the same `id`.
    """
    kind, received = event.type, _micros(event.local_received)
    # A receiver sets the clock of what a client has sent.
    clock = 0 if kind == "task-sent" else event.clock
    content = (cluster, event.hostname, event.pid, kind, event.uuid, clock, event.timestamp)
    digest = blake2b(repr(content).encode(), digest_size=8).digest()
    micros = received if event.timestamp is None else _micros(event.timestamp) or received
    hostname = clean_key(event.hostname or "")
    row = {
        "id": int.from_bytes(digest), "cluster": cluster, "type": clean_key(kind),
        "day": _day(day_of(micros, received)), "micros": micros, "received": received,
        "hostname": hostname, "uuid": clean_key(event.uuid or ""),
        "pid": event.pid or 0, "clock": event.clock or 0, "ahead": ahead.get(hostname, 0),
    }  # fmt: skip
    for name, clean_text in _FIELDS_OF.get(kind, ()):
        value = getattr(event, name)
        if value is None:
            continue
        if name == "exception":
            value = unwrapped(value, event.traceback)
        elif name == "signum":
            value = str(value)
        elif name == "eta":
            due = epoch(value)
            row["due"] = 0 if due is None else _micros(due)
        row[name] = clean_text(value) if value.__class__ is str else value
    own = clean_own(event.extra)
    if own:
        row["extra"] = as_json(own)
    return row


def _micros(moment: float | None) -> int:
    # 0 for none, and for one that not every server can have.
    return int(moment * MICROS + 0.5) if moment is not None and 0 <= moment <= _TIME_MAX else 0


def day_of(micros: int, received: int) -> int:
    """Return the day since 1970 that counts: of the sender's clock, or of ours if that is wrong."""
    off = micros - received
    is_right = -_BEHIND_MAX * MICROS <= off <= _AHEAD_MAX * MICROS
    return (micros if is_right else received) // int(_DAY * MICROS)


@lru_cache(maxsize=64)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * _DAY, UTC).date().isoformat()


# --- the camera -------------------------------------------------------------------------

_IN_VIEWS: Final = "deduplicate_blocks_in_dependent_materialized_views"
#: Settings of the server, where it has them.
_SETTINGS: Final = {
    "insert_deduplication_token": "",
    # Or views would not get what was written when the server died before it wrote into them.
    _IN_VIEWS: "1",
    # Where the server does not have that, it is to take all that comes, which counts once anyway.
    "insert_deduplicate": "0",
    "async_insert": "0",
    "insert_distributed_sync": "1",
    "distributed_foreground_insert": "1",
    # A server of a cluster that is away makes tables once it is back, and nobody waits for it.
    "distributed_ddl_task_timeout": "10",
    "distributed_ddl_output_mode": "null_status_on_timeout",
}
_NO_ROWS, _READ_ONLY, _AWAY = 108, 164, 159
_CODE: Final = re.compile(
    r"Code: (\d+)[.,] (?:e\.displayText\(\) = )?(?:DB::(?:Net)?Exception: )?(.*?)"
    r"(?:,? e\.what\(\) = .*|,? \(version .*)?",
    re.DOTALL,
)
# fmt: off
#: What to do about an error, by its code.
_HINTS: Final = {
    **dict.fromkeys((164, 497), "grant its user SELECT, INSERT, ALTER, CREATE TABLE and CREATE VIEW"
                    " on the database, and CREATE DATABASE if there is none"),
    **dict.fromkeys((192, 193, 194, 516), "give user and password in the url, in password_file, or"
                    " as CLICKHOUSE_USER and CLICKHOUSE_PASSWORD"),
    170: "cluster_name is one of SELECT DISTINCT cluster FROM system.clusters",
    252: "too many parts: let it write less often, as with --frequency 10",
}
# fmt: on


class ServerError(OutputError):
    """What ClickHouse refused, with its `code`, 0 if it gave none."""

    def __init__(self, message: str, hint: str, code: int) -> None:
        super().__init__(message, hint)
        self.code = code


class ClickHouse(StoreCamera):
    """Write all events into a `database` of ClickHouse, over HTTP; the server makes the rest.

    `url` is http://HOST:PORT/DATABASE, or https, with the certificates that are trusted in the file
    `ca`, and those of ours in `cert` and `key`.  User and password are in the URL, in the
    environment (CLICKHOUSE_USER, CLICKHOUSE_PASSWORD), or the latter in `password_file`.  Events
    are kept for `events` seconds, tasks, workers and snapshots for `keep`, figures of hours for
    `keep_hourly`, in whole days; 0 is for ever.  With `cluster_name` the tables are those of that
    cluster of ClickHouse.  A request may take `timeout` seconds.
    """

    version: ClassVar = VERSION

    def __init__(
        self,
        state: State,
        *,
        url: str,
        user: str = "",
        password_file: Path | None = None,
        events: Seconds = 30 * _DAY,
        keep: Seconds = 30 * _DAY,
        keep_hourly: Seconds = 400 * _DAY,
        cluster_name: str = "",
        timeout: Seconds = 30.0,
        ca: str = "",
        cert: str = "",
        key: str = "",
        **standard: Any,
    ) -> None:
        super().__init__(state, **standard)
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        codecs.lookup("idna")  # which it would import later, for the names of hosts
        self._client = HTTPClient(
            urlunsplit(parts._replace(path="")), timeout=timeout, ca=ca, cert=cert, key=key
        )
        self.database = parts.path.strip("/") or "evcam"
        if _NAME.fullmatch(self.database) is None:
            name = sanitize(self.database)
            raise UsageError(
                f"url: {name} is not a valid database", "use letters, digits and _ only"
            )
        if cluster_name and _CLUSTER.fullmatch(cluster_name) is None:
            raise UsageError(
                f"cluster_name: {sanitize(cluster_name)} cannot be the name of a cluster"
            )
        user = user or self._client.user or os.environ.get("CLICKHOUSE_USER", "")
        password = self._client.password or _password(password_file)
        password = password or os.environ.get("CLICKHOUSE_PASSWORD", "")
        self._user = sanitize(user or "default")
        self._headers = {}
        if user or password:
            credentials = b64encode(f"{user or 'default'}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {credentials}"
        self._cluster_name = cluster_name
        self._on_cluster = f" ON CLUSTER '{cluster_name}'" if cluster_name else ""
        tasks = -(-keep // _DAY)
        self._days = {
            "events": int(-(-events // _DAY)), "hourly": int(-(-keep_hourly // _DAY)),
            **dict.fromkeys(("tasks", "workers", "snapshots"), int(tasks)),
        }  # fmt: skip
        #: Once they are known to be there.
        self._tables: Tables | None = None
        self._settings: dict[str, str] = {}
        self._noted = ""
        #: Whether a server of the cluster was away when something was to be done by all.
        self._is_away = False
        #: Hours since 1970, by cluster, whose figures have to be made anew.
        self._hours: dict[str, set[int]] = {}
        self._refreshed, self._refresh_every = 0.0, _REFRESH
        #: When the last snapshot of a cluster was noted, by cluster.
        self._shown: dict[str, float] = {}

    def describe(self) -> str:
        return f"ClickHouse {self._client.address} database={self.database}"

    def reopen(self) -> None:
        super().reopen()
        self._client.close()

    def close(self) -> None:
        super().close()
        self._refresh()
        self._client.close()

    def check(self) -> None:
        """Raise OutputError if it cannot be reached, or its user may not do what is needed."""
        super().check()
        try:
            version, _ = self._version_in()
            if version:
                for name in ("events", "snapshots"):
                    # Nothing is inserted, but that it may be is looked at.
                    place = Tables(self.database, is_modern=True, days={}).place(f"{name}_raw")
                    statement = f"INSERT INTO {place} (cluster) FORMAT JSONEachRow"
                    try:
                        self._ask(statement, gzip.compress(b"\n"))
                    except ServerError as error:
                        if error.code != _NO_ROWS:
                            raise
            else:
                readonly = (
                    "SELECT count() FROM system.settings WHERE name = 'readonly' AND value != '0'"
                )
                if self._rows(readonly) != [[0]]:
                    why = f"user {self._user} may only read"
                    raise self._failed(why, _READ_ONLY)
        finally:
            self._client.close()

    # --- batches ------------------------------------------------------------------------

    def store(self, batch: Batch) -> None:
        self._ready()
        cluster = batch.cluster
        rows = [row_of(event, cluster, batch.ahead) for event in batch.events]
        if rows:
            self._insert("events", EVENT_COLUMNS, rows, batch.token)
        self._note_hours(cluster, rows)
        info = batch.info
        now, gone = self.clock.wall(), info.gaps or info.dropped or info.missed or batch.lost
        if rows or gone or not 0 <= now - self._shown.get(cluster, 0.0) < _REFRESH:
            received = _micros(info.at) or 1
            row = {
                "cluster": cluster, "evcam": clean(info.evcam), "sequence": info.sequence,
                "token": batch.token, "host": clean(info.host), "pid": info.pid,
                "day": _day(received // int(_DAY * MICROS)), "started": _micros(info.started),
                "at": received, "since": _micros(info.since), "period": info.period,
                "warm": int(info.warm), "connected": int(info.connected),
                "gaps": as_json([gap.as_dict() for gap in info.gaps]),
                "dropped": info.dropped, "missed": info.missed,
                "events": len(rows), "lost": batch.lost,
            }  # fmt: skip
            self._insert("snapshots", tuple(SNAPSHOTS), [row], batch.token)
            self._shown[cluster] = now

    def write_all(self, snapshots: list[Period]) -> None:
        super().write_all(snapshots)
        now = self.clock.monotonic()
        if now - self._refreshed >= self._refresh_every:
            self._refresh()

    def sweep(self) -> None:
        """Make figures of hours anew, and remove old rows where the server does not."""
        tables = self._ready()
        self._refresh()
        if not tables.is_modern:
            self._drop(tables)

    def _note_hours(self, cluster: str, rows: Iterable[Mapping[str, Any]]) -> None:
        hours = self._hours.setdefault(cluster, set())
        pairs = {
            (row["micros"] // (HOUR * MICROS), row["received"] // (HOUR * MICROS))
            for row in rows
            if row["uuid"]
        }
        for hour, received in pairs:
            # What comes late may be of an attempt that has ended since.
            is_late = 0 <= received - hour <= _BEHIND_MAX / HOUR
            hours.update(range(hour, received + 1) if is_late else ())
            if -_AHEAD_MAX / HOUR <= received - hour < 0:
                hours.add(hour)

    def _refresh(self) -> None:
        tables = self._tables
        if tables is None:
            return
        waiting = {cluster: sorted(hours) for cluster, hours in self._hours.items() if hours}
        began = self.clock.monotonic()
        try:
            for cluster, hours in waiting.items():
                for start in range(0, len(hours), 48):
                    some = hours[start : start + 48]
                    days = sorted({_day(hour // 24) for hour in some})
                    made = f"{_micros(self.clock.wall())}"
                    if tables.is_modern:
                        # By the server's clock: of two evcams the one that began later knows more.
                        made = "toUInt64(toUnixTimestamp64Micro(now64(6)))"
                    self._ask(tables.refresh(made, [cluster], some, days))
                    self.gets_on()
                    self._hours[cluster].difference_update(some)
        except OutputError as error:
            _log.warning("%s: the figures of hours come later: %s", self.describe(), error)
        self._refreshed = self.clock.monotonic()
        self._refresh_every = max(_REFRESH, _REFRESH_SHARE * (self._refreshed - began))

    # --- tables -------------------------------------------------------------------------

    def _ready(self) -> Tables:
        if self._tables is not None:
            return self._tables
        self._is_away = False
        server = self._server_version()
        known = self._rows(
            "SELECT name FROM system.settings WHERE name IN ("
            + ", ".join(map(quoted, _SETTINGS))
            + ")"
        )
        self._settings = {name: _SETTINGS[name] for (name,) in known}
        if _IN_VIEWS in self._settings:
            self._settings.pop("insert_deduplicate", None)
        version, form = self._version_in()
        is_modern = form == "modern" if version else server >= MODERN
        tables = Tables(
            self.database, is_modern=is_modern, cluster_name=self._cluster_name, days=self._days
        )
        if not version:
            self._ask_all(f"CREATE DATABASE IF NOT EXISTS `{self.database}`{self._on_cluster}")
            for statement in tables.statements():
                self.gets_on()
                self._ask_all(statement)
            row = {"version": self.version, "form": "modern" if is_modern else "old"}
            self._insert("about", tuple(row), [row], "")
        elif is_modern:
            self._limit(tables)
        self._tables = tables
        self._note_features(server, is_modern=is_modern)
        return tables

    def _server_version(self) -> tuple[int, ...]:
        [(text,)] = self._rows("SELECT version()")
        numbers = re.findall(r"\d+", str(text))[:4]
        return tuple(int(number[:6]) for number in numbers)

    def _version_in(self) -> tuple[int, str]:
        # With the form of the tables; 0 if they are not there, or not all of them.
        there = self._rows(
            f"SELECT count() FROM system.tables WHERE database = {quoted(self.database)} "
            "AND name = 'about_raw'"
        )
        if there == [[0]]:
            return 0, ""
        place = f"`{self.database}`.about_raw"
        [(version, form)] = self._rows(f"SELECT max(version), argMax(form, version) FROM {place}")
        if version > self.version:
            raise OutputError(
                f"database {self.database} of ClickHouse was written by a newer evcam (its tables "
                f"are of version {version}, ours of {self.version})",
                "update evtools, or give this one another database",
            )
        return version, form

    def _note_features(self, server: tuple[int, ...], *, is_modern: bool) -> None:
        ttl = "TTL (evcam removes old rows itself)"
        missing = [] if is_modern else ["times finer than seconds", "codecs", ttl]
        if "insert_deduplication_token" not in self._settings:
            missing.append("deduplication tokens")
        number = ".".join(map(str, server))
        words = f"{self.describe()}: tables for ClickHouse {number}, without {', '.join(missing)}"
        if missing and words != self._noted:
            self._noted = words
            _log.info("%s", words)

    def _limit(self, tables: Tables) -> None:
        # The options may be others than those that the tables were made with.
        known = dict(self._rows(
            "SELECT name, create_table_query FROM system.tables "
            f"WHERE database = {quoted(self.database)} AND endsWith(name, '_raw{tables.local}')"
        ))  # fmt: skip
        for name, days in self._days.items():
            query = known.get(f"{name}_raw{tables.local}", "")
            there = re.search(r" TTL day \+ (?:toIntervalDay\((\d+)\)|INTERVAL (\d+) DAY)", query)
            now = int(there[1] or there[2]) if there else 0
            if query and now != days:
                change = f"MODIFY TTL {tables.ttl(name)}" if days else "REMOVE TTL"
                place = tables.place(f"{name}_raw{tables.local}")
                self._ask_all(f"ALTER TABLE {place}{self._on_cluster} {change}")

    def _drop(self, tables: Tables) -> None:
        now, gone, parts = self.clock.wall(), [], "system.parts"
        if self._cluster_name:
            # Not every shard has all days.
            parts = f"cluster({quoted(self._known_cluster())}, system, parts)"
        for name, days in self._days.items():
            table = f"{name}_raw{tables.local}"
            if not days or now < days * _DAY:
                continue
            before = _day(int(now // _DAY) - days)
            found = self._rows(
                f"SELECT DISTINCT partition FROM {parts} WHERE active AND "
                f"database = {quoted(self.database)} AND table = {quoted(table)}"
            )
            for (partition,) in found:
                text = str(partition).strip("'")
                whole = text if "-" in text else f"{text[:4]}-{text[4:]}-31"
                if re.fullmatch(r"\d{6}|\d{4}-\d\d-\d\d", text) and whole < before:
                    which = f"'{text}'" if "-" in text else text
                    where = f"{tables.place(table)}{self._on_cluster}"
                    self._ask_all(f"ALTER TABLE {where} DROP PARTITION {which}")
                    gone.append(f"{name} {text}")
        if gone:
            _log.info("%s: removed old rows: %s", self.describe(), ", ".join(gone))

    def _known_cluster(self) -> str:
        # The name that a macro stands for.
        name = self._cluster_name
        if name.startswith("{"):
            found = self._rows(
                f"SELECT substitution FROM system.macros WHERE macro = {quoted(name[1:-1])}"
            )
            name = str(found[0][0]) if found else name
        return name

    # --- requests -----------------------------------------------------------------------

    def _ask_all(self, statement: str) -> None:
        # All servers of a cluster, if there is one.
        try:
            self._ask(statement)
        except ServerError as error:
            if not self._cluster_name or error.code != _AWAY:
                raise
            if not self._is_away:
                words = "%s: a server of the cluster is away, and has to follow when it is back"
                _log.warning(words, self.describe())
            self._is_away = True

    def _insert(
        self, table: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], token: str
    ) -> None:
        place = f"`{self.database}`.{table}_raw"
        statement = f"INSERT INTO {place} ({', '.join(columns)}) FORMAT JSONEachRow"
        settings = {}
        if token and "insert_deduplication_token" in self._settings:
            settings["insert_deduplication_token"] = f"{token}-{table}"
        self._ask(statement, gzip.compress(_lines(rows), 1), settings)

    def _rows(self, question: str) -> list[list[Any]]:
        body = self._ask(f"{question} FORMAT JSONCompact")
        try:
            return _decode_rows(body).data
        except msgspec.DecodeError:
            raise self._failed("its answer is not that of ClickHouse") from None

    def _ask(
        self, statement: str, body: bytes = b"", settings: Mapping[str, str] | None = None
    ) -> bytes:
        given = {name: value for name, value in self._settings.items() if value}
        given |= {"wait_end_of_query": "1", "output_format_json_quote_64bit_integers": "0"}
        given |= settings or {}
        headers = dict(self._headers)
        if body:
            given["query"] = statement
            headers["Content-Encoding"] = "gzip"
        else:
            body = statement.encode()
        answer = self._client.request(
            "POST", f"/?{urlencode(given, quote_via=quote)}", body, headers
        )
        if answer.status != HTTPStatus.OK or "x-clickhouse-exception-code" in answer.headers:
            raise self._refused(answer)
        return answer.body

    def _refused(self, answer: Answer) -> ServerError:
        found = _CODE.fullmatch(answer.body[:4096].decode(errors="replace").strip())
        if found is None:
            shown = one_line(answer.body) or one_line(answer.reason)
            return self._failed(f"HTTP {answer.status} {shown}")
        code = int(found[1])
        return self._failed(f"{one_line(found[2])} (code {code})", code)

    def _failed(self, why: str, code: int = 0) -> ServerError:
        self._tables = None  # it may be another server the next time
        return ServerError(f"cannot write to {self.describe()}: {why}", _HINTS.get(code, ""), code)


def _password(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        return decode_text(file.read_bytes()).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8 or UTF-16"
        raise UsageError(f"password_file: cannot read {sanitize(str(file))}: {reason}") from None
