"""The log of all events in PostgreSQL: its table, partitions by day, rows."""

import logging
import re
from collections.abc import Iterator
from datetime import date
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

from evtools.cam.log import named
from evtools.cam.snapshot import SnapshotInfo
from evtools.cam.store import Batch
from evtools.transport.recording.database import (
    TEXT_MAX,
    clean_end,
    clean_key,
    clean_name,
    clean_value,
)
from evtools.wire import OWN_FIELDS, Event, encode_line, gap, iso_utc

_log = logging.getLogger(__name__)

_DAY: Final = 86_400.0
_EPOCH: Final = date(1970, 1, 1).toordinal()
#: Seconds by which the clock of a sender may differ from ours.  What is further off is filed under
#: when it was received: no sender decides of how many days there are partitions.
_OFF_MAX: Final = _DAY
#: Bytes of JSON of an event, beyond which only the fields that Celery gives it are kept.
EVENT_MAX: Final = 128 * 1024
#: The lock of the evcam that makes or drops partitions or writes events of odd times.
_LOCK: Final = int.from_bytes(b"evlog")
#: How long, in milliseconds, others may have to wait for a partition to be dropped.
_DROP_MS: Final = 2000
_PARTITION: Final = re.compile(r"events_(\d{8})", re.ASCII)

# fmt: off
#: The columns of the table, in the order of their alignment.
_COLUMNS: Final = {
    "time": "timestamptz NOT NULL", "received": "timestamptz NOT NULL", "id": "bigint NOT NULL",
    "type": "text NOT NULL", "cluster": "text NOT NULL", "hostname": "text NOT NULL",
    "uuid": "text", "name": "text", "queue": "text", "event": "jsonb NOT NULL",
}
# fmt: on
_place_of: Final = attrgetter("time", "id")
#: Rows out of lists of values by column, each as JSON, which the server reads in half the time
#: that records take.
_SOURCE: Final = ", ".join(
    f"json_array_elements{'' if kind.startswith('jsonb') else '_text'}(%s::json)"
    for kind in _COLUMNS.values()
)
_VALUES: Final = {name: f"e.{name}::{kind.split()[0]}" for name, kind in _COLUMNS.items()}
#: The many, of which there are too many for an index to find them.
_COMMON: Final = (
    "task-sent", "task-received", "task-started", "task-succeeded", "worker-heartbeat",
)  # fmt: skip
_encode: Final = msgspec.json.Encoder().encode
_LAST: Final = b',"local_received":'


class _Row(NamedTuple):
    # In the order of the columns.
    time: str | None
    received: str | None
    id: int
    type: str
    cluster: str
    hostname: str
    uuid: str | None
    name: str | None
    queue: str | None
    event: msgspec.Raw


class EventLog:
    """The table `events` of a schema, with those of the last `keep` seconds.

    A row is found by the time of its event and by its `id`, which is made of what the event says:
    so it is there once, whoever writes it and however often.  Its days are partitions, which are
    dropped as a whole.  The time is that of the sender's clock, or if that is more than a day off
    or missing, when the event was received.
    """

    def __init__(self, schema: str, keep: float) -> None:
        self.keep = keep
        self._schema = schema
        self._table = f'"{schema}".events'
        #: The partitions that were there once, by the number of their day.
        self._days: set[int] = set()

    # --- the table ------------------------------------------------------------------

    def is_there(self, connection: Any) -> bool:
        """Return whether there is the table."""
        self._days.clear()
        there = "SELECT FROM pg_tables WHERE schemaname = %s AND tablename = 'events'"
        return connection.execute(there, (self._schema,)).fetchone() is not None

    def definition(self) -> Iterator[str]:
        """Yield the statements that make the table."""
        columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        key = "PRIMARY KEY (time, id)"
        yield f"CREATE TABLE {self._table} ({columns}, {key}) PARTITION BY RANGE (time)"
        common = ", ".join(f"'{kind}'" for kind in _COMMON)
        for what in (
            "(uuid)",
            f"(type, time) WHERE type NOT IN ({common})",
            # Without a time of their own, these have to be looked for.
            "(id) WHERE time = received",
        ):
            yield f"CREATE INDEX ON {self._table} {what}"

    def _partitions(self, connection: Any) -> dict[int, str]:
        # Those that have our names, by the numbers of their days.
        found = connection.execute(
            "SELECT part.relname FROM pg_inherits JOIN pg_class AS part ON part.oid = inhrelid "
            "JOIN pg_class AS whole ON whole.oid = inhparent "
            "JOIN pg_namespace AS place ON place.oid = whole.relnamespace "
            "WHERE whole.relname = 'events' AND place.nspname = %s", (self._schema,),
        )  # fmt: skip
        matches = [_PARTITION.fullmatch(name) for (name,) in found]
        return {_day_of(match[1]): match[0] for match in matches if match is not None}

    def _add_days(self, connection: Any, days: set[int]) -> None:
        if days <= self._days:
            return
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        self._days = {*self._partitions(connection)}
        for day in sorted(days - self._days):
            # Attached, it keeps nobody who reads or writes waiting.
            name = f'"{self._schema}".events_{_date(day):%Y%m%d}'
            connection.execute(f"CREATE TABLE {name} (LIKE {self._table} INCLUDING ALL)")
            connection.execute(
                f"ALTER TABLE {self._table} ATTACH PARTITION {name} "
                f"FOR VALUES FROM ('{_date(day)}Z') TO ('{_date(day + 1)}Z')"
            )

    def old_partitions(self, connection: Any, now: float) -> list[str]:
        """Return the names of the partitions that are older than is kept, the oldest first."""
        there = self._partitions(connection)
        return [there[day] for day in sorted(there) if day < self._first_day(now)]

    def drop(self, connection: Any, partition: str) -> None:
        """Drop a partition, in a transaction; raise if others read it for long."""
        connection.execute(f"SET LOCAL lock_timeout = {_DROP_MS}")
        connection.execute(f'DROP TABLE IF EXISTS "{self._schema}".{partition}')
        self._days.clear()

    def _first_day(self, now: float) -> int:
        return int((now - self.keep) // _DAY)

    # --- rows -----------------------------------------------------------------------

    def put(self, connection: Any, batch: Batch, tasks: str) -> None:
        """Write the rows of a batch that are not there yet, in a transaction.

        `tasks` is the table of tasks: what it knows of a task, name and queue, is in the rows of
        all its events.
        """
        rows = self._rows(batch)
        if not rows:
            return
        self._add_days(connection, {_day_of(day) for day in {row.time[:10] for row in rows}})
        names = ", ".join(_COLUMNS)
        values = ", ".join(
            f"coalesce(e.{name}, t.{name})" if name in ("name", "queue") else value
            for name, value in _VALUES.items()
        )
        statement = (
            f"INSERT INTO {self._table} ({names}) SELECT {values} "  # noqa: S608  (our names)
            f"FROM ROWS FROM ({_SOURCE}) AS e ({names}) "
            f"LEFT JOIN {tasks} AS t ON t.uuid = e.uuid AND t.cluster = e.cluster "
        )
        if any(row.time == row.received for row in rows):
            # Another evcam may have received it at another time.
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            statement += (
                f"WHERE e.time <> e.received OR NOT EXISTS (SELECT FROM {self._table} AS o "
                f"WHERE o.id = {_VALUES['id']} AND o.time = o.received AND o.time BETWEEN "
                f"{_VALUES['time']} - interval '24 hours' AND "
                f"{_VALUES['time']} + interval '24 hours') "
            )
        # In one order, so that no two evcams wait for each other.
        statement += "ORDER BY 1, 3 ON CONFLICT (time, id) DO NOTHING"
        connection.execute(
            statement, [_encode(column).decode() for column in zip(*rows, strict=True)]
        )

    def _rows(self, batch: Batch) -> list[Any]:
        # Each event once, in order.
        now, cluster = batch.info.at, clean_name(batch.cluster)
        first_day = self._first_day(now)
        made: dict[Any, Any] = {}
        expired = 0
        for event in (*batch.events, *_gaps(batch.info, batch.lost)):
            # Later than now if our clock was set back.
            received = min(event.local_received, now)
            at = event.timestamp
            is_odd = at is None or not -_OFF_MAX <= at - received <= _OFF_MAX
            if is_odd or at is None:
                at = received
            if at // _DAY < first_day:
                expired += 1
                continue
            number = _number_of(event, batch.cluster)
            key = number if is_odd else (at, number)
            if key not in made:
                made[key] = _row_of(event, cluster, number, at, received)
        if expired:
            words = "%d events are older than the event log is kept, and are not in it"
            _log.warning(named(words, batch.cluster), expired)
        return sorted(made.values(), key=_place_of)


def _day_of(text: str) -> int:
    # Of a date with or without dashes.
    return date.fromisoformat(text).toordinal() - _EPOCH


def _date(day: int) -> date:
    return date.fromordinal(_EPOCH + day)


def _gaps(info: SnapshotInfo, lost: int) -> Iterator[Event]:
    common: dict[str, Any] = {"evcam": info.evcam}
    for each in info.gaps:
        yield gap(each.reason, each.start, each.end, dropped=each.dropped, **common)
    if lost:
        yield gap("buffer", info.since, info.at, dropped=lost, **common)
    if info.missed:
        yield gap("worker", info.since, info.at, missed=info.missed, **common)


def _number_of(event: Event, cluster: str) -> int:
    # The same whoever receives the event: without what the receiver adds to it, which is also the
    # clock of clients.
    said: Any
    if event.original is not UNSET:
        said = {n: v for n, v in event.original.items() if n not in {"local_received", "clock"}}
        said = encode_line([cluster, said])
    else:
        clock = "" if event.type == "task-sent" else event.clock
        said = (
            f"{cluster}\0{event.hostname}\0{event.pid}\0{event.type}\0{event.uuid}\0"
            f"{clock}\0{event.timestamp!r}"
        ).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(said, digest_size=8).digest(), "big", signed=True)


def _row_of(event: Event, cluster: str, number: int, at: float, received: float) -> Any:
    uuid, name, queue = event.uuid, event.name, event.queue
    return _Row(
        iso_utc(at),
        iso_utc(received),
        number,
        clean_key(event.type),
        cluster,
        clean_key(event.hostname),
        clean_key(uuid) if uuid else None,
        None if name is None else clean_name(name),
        None if queue is None else clean_name(queue),
        msgspec.Raw(_json_of(event)),
    )


def _json_of(event: Event) -> bytes:
    # What was sent, as far as the database takes it.
    if event.original is UNSET:
        try:
            text = _encode(event)
        except (ValueError, TypeError):  # lone surrogates
            pass
        else:
            if len(text) < TEXT_MAX and b"\\u0000" not in text:
                # What follows is ours.
                return text[: text.rindex(_LAST)] + b"}"
    fields = event.as_dict()
    fields.pop("local_received", None)
    fields = {clean_name(str(name)): _cleaned(name, value) for name, value in fields.items()}
    text = encode_line(fields)
    if len(text) > EVENT_MAX:
        own = {"type", *OWN_FIELDS.get(event.type, ("hostname", "uuid", "timestamp"))}
        kept = {n: v for n, v in fields.items() if n in own and not isinstance(v, dict | list)}
        text = encode_line({**kept, "evtools:left_out_bytes": len(text)})
    return text


def _cleaned(name: str, value: Any) -> Any:
    if name == "traceback" and isinstance(value, str):
        return clean_end(value)
    return clean_value(value)
