"""evcams that write into databases, and what is in these afterwards."""

from __future__ import annotations

import itertools
import json
import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg

from evtools.cam.clickhouse import ClickHouse
from evtools.cam.database.postgres import Postgres
from evtools.cam.database.sqlite import SQLite
from evtools.cam.snapshot import SnapshotSequence
from evtools.state import State
from evtools.transport.recording.database import TABLES, Table
from tools.command import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from evtools.cam.database.camera import DatabaseCamera

Contents = dict[str, list[dict[str, Any]]]

_starts = itertools.count(1)
#: What two evcams need not have in common.
OWN = ("snapshots",)


class Evcam:
    """A state, and a camera that writes it into a database when told to."""

    def __init__(self, database: Path | str, cluster: str = "", **options: Any) -> None:
        self.state = State(cluster=cluster)
        self.camera: DatabaseCamera = (
            Postgres(self.state, timer=object(), url=database, **options)
            if isinstance(database, str)
            else SQLite(self.state, timer=object(), path=database, **options)
        )
        # No two of one process are to be taken for one.
        sequence = SnapshotSequence(
            self.state.workers, started=float(next(_starts)), cluster=cluster
        )
        self.camera.load(sequence, self.camera.clock)

    def hear(self, events: Iterable[dict[str, Any]]) -> None:
        """Take events in."""
        self.camera.observe(self.state.apply(events))

    def shoot(self) -> None:
        """Take a snapshot."""
        self.camera.capture()

    def close(self) -> None:
        """Let go of the database."""
        self.camera.close()


class ClickHouseEvcam:
    """A state, and a camera that writes it into ClickHouse, where it stays, of whatever age."""

    def __init__(self, url: str, cluster: str = "", **options: Any) -> None:
        self.state = State(cluster=cluster)
        kept = {"events": 0, "keep": 0, "keep_hourly": 0, **options}
        self.camera = ClickHouse(self.state, timer=object(), url=url, **kept)
        sequence = SnapshotSequence(self.state.workers, float(next(_starts)), cluster=cluster)
        self.camera.load(sequence, self.camera.clock)

    def shoot(self, events: Iterable[dict[str, Any]] = ()) -> None:
        """Take events in, and a snapshot."""
        self.camera.observe(self.state.apply(events))
        self.camera.capture()

    def close(self) -> None:
        """Make the last figures, and let go."""
        self.camera.close()


def shared_out(
    urls: Sequence[str],
    events: Sequence[dict[str, Any]],
    *,
    seed: int,
    size: int = 50,
    **options: Any,
) -> None:
    """Give events to evcams that write into one ClickHouse, in any order, some of them twice.

    There is one for each of its URLs.  They take so many of them with each snapshot.
    """
    chance = random.Random(seed)
    evcams = [ClickHouseEvcam(url, **options) for url in urls]
    every = [*events, *chance.sample(events, 30)]
    chance.shuffle(every)
    for start in range(0, len(every), size):
        chance.choice(evcams).shoot(every[start : start + size])
    for evcam in evcams:
        evcam.close()


def touch(database: Path | str, **options: Any) -> None:
    """Take a snapshot of nothing."""
    evcam = Evcam(database, **options)
    evcam.shoot()
    evcam.close()


#: Once it was made, a camera imports nothing: the user that evcam became may not
#: read the files, and months later they may be gone.
_LATE = """
import sys
from evtools.cam.loader import load_camera
from evtools.state import State
from tools.told import life, told

state = State()
camera = load_camera(sys.argv[1])(state, timer=object())
events = [
    told("task-failed", args="\\ud800\\0\\xe9", traceback="x" * 99_999, own="\\0"),
    *(told("task-x", 12.0, of="\\xe9"), told("worker-online", 5.0, of=2**70)),
    told("task-sent", uuid="u" * 999),
]
before = set(sys.modules)
for _ in range(2):
    camera.observe(state.apply(events))
    camera.capture()
camera.sweep()
camera.reopen()
camera.observe(state.apply(life("sent")))
camera.capture()
camera.close()
print(*sorted(set(sys.modules) - before))
"""


def imported_late(camera: str) -> list[str]:
    """Return what a camera imports when it takes shots."""
    ended = subprocess.run(
        [sys.executable, "-c", _LATE, camera],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        timeout=30,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def written(database: Path | str, *batches: Sequence[dict[str, Any]], **options: Any) -> Contents:
    """Return what is in a database after a shot of each of some batches."""
    evcam = Evcam(database, **options)
    for batch in batches:
        evcam.hear(batch)
        evcam.shoot()
    evcam.close()
    return contents(database)


def contents(database: Path | str) -> Contents:
    """Return all rows, by table and in the order of their keys.

    Times are texts, and what is JSON is taken apart.
    """
    with closing(_connect(database)) as connection:
        return {table.name: _rows(connection, table, database) for table in TABLES}


def common(database: Path | str) -> Contents:
    """Return what is in a database, but for what depends on who wrote it."""
    return {n: rows for n, rows in contents(database).items() if n not in OWN}


def _connect(database: Path | str) -> Any:
    if isinstance(database, str):
        connection = psycopg.connect(database, autocommit=True)
        connection.execute("SET TIME ZONE 'UTC'")
        connection.execute("SET search_path = evcam")
        return connection
    return sqlite3.connect(f"file:{database}?mode=ro", uri=True)


def _rows(connection: Any, table: Table, database: Path | str) -> list[dict[str, Any]]:
    names = ", ".join(f'"{name}"' for name in table.columns)
    keys = [list(table.columns).index(name) for name in table.key]
    found = connection.execute(f"SELECT {names} FROM {table.name}").fetchall()
    read = _OF_POSTGRES if isinstance(database, str) else _OF_SQLITE
    return [
        {
            name: value if value is None else read.get(kind, _same)(value)
            for (name, kind), value in zip(table.columns.items(), row, strict=True)
        }
        for row in sorted(found, key=lambda row: [row[key] for key in keys])
    ]


def _same(value: Any) -> Any:
    return value


_OF_SQLITE = {"json": json.loads, "flag": bool}
_OF_POSTGRES = {"time": lambda time: time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
