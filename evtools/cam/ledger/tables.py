"""The tables that a cluster is written into, as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

#: What a column holds.  A `time` is ISO 8601 in UTC, as text where a database has no
#: type for it: that sorts, is read without asking for zone or unit, and is what the
#: date functions of SQLite and of Grafana take.
Kind: TypeAlias = Literal["text", "time", "integer", "real", "flag", "json"]
#: The values of all columns of a row, in their order.
Row: TypeAlias = list[Any]
#: Of a row that is there, what tells what was heard; its key is first.
Stored: TypeAlias = tuple[Any, ...]

#: The version of what is below.
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the kinds of its columns by name, its key, what is looked for.

    The rows of `owner`, if there is one, go with the row there that has their
    first key.
    """

    name: str
    columns: Mapping[str, Kind]
    key: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...] = ()
    owner: str = ""


#: What is known of a delivery of a task to a worker.
_ATTEMPT: Final[Mapping[str, Kind]] = {
    "state": "text",
    "worker": "text",
    "retries": "integer",
    "eta": "text",
    "expires": "text",
    "sent": "time",
    "received": "time",
    "started": "time",
    "ended": "time",
    "runtime": "real",
    "result": "text",
    "exception": "text",
    "traceback": "text",
    "terminated": "flag",
    "signum": "text",
    "expired": "flag",
    "requeue": "flag",
}

#: A task, and its newest attempt.
TASKS: Final = Table(
    "tasks",
    {
        "uuid": "text",
        "name": "text",
        **_ATTEMPT,
        "retried": "time",
        "wait": "real",
        "args": "text",
        "kwargs": "text",
        "root_id": "text",
        "parent_id": "text",
        "client": "text",
        "queue": "text",
        "exchange": "text",
        "routing_key": "text",
        "note": "json",
        "extra": "json",
        "first_heard": "time",
        "last_heard": "time",
        "heard": "text",
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
        "hostname": "text",
        "pid": "integer",
        "freq": "real",
        "active": "integer",
        "processed": "integer",
        "loadavg": "json",
        "sw_ident": "text",
        "sw_ver": "text",
        "sw_sys": "text",
        "online_since": "time",
        "goodbye": "time",
        "last_told": "time",
        "last_heard": "time",
        "extra": "json",
        "heard": "text",
    },
    key=("hostname",),
)

#: One row for each snapshot: who took it, of what, and what it misses.
SNAPSHOTS: Final = Table(
    "snapshots",
    {
        "evcam": "text",
        "sequence": "integer",
        "host": "text",
        "pid": "integer",
        "started": "time",
        "at": "time",
        "since": "time",
        "period": "real",
        "warm": "flag",
        "connected": "flag",
        "gaps": "json",
        "dropped": "integer",
        "missed": "integer",
        "events": "integer",
        "tasks": "integer",
        "lost": "integer",
    },
    key=("evcam", "sequence"),
    indexes=(("at",),),
)

#: In the order in which they are made and written.
TABLES: Final = (TASKS, ATTEMPTS, WORKERS, SNAPSHOTS)
