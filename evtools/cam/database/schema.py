"""The tables that a cluster is written into, and texts that databases can hold."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

from evtools.wire import COMMON, OWN_FIELDS

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
