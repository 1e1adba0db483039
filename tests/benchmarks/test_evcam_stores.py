"""A minute of 10 000 events a second into each store of evcam: all there once, and what it costs.

Real evcam, brokers and servers; the traffic is that of clients and workers.  By itself:
`.venv/bin/pytest -s -n 0 -m bench tests/benchmarks/test_evcam_stores.py`; BENCH_SECONDS and
BENCH_RATE in the environment make it shorter or slower.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from servers.process import wait_until
from tools.collector import TRACES, Collector
from tools.cpu import cpu_seconds, cpu_seconds_of_all
from tools.daemon import EvcamStarter, facts
from tools.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.clickhouse import ClickHouseServer
    from servers.postgres import PostgresServer

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("BENCH_SECONDS", "60"))
RATE = float(os.environ.get("BENCH_RATE", "10000"))
#: How long after the last event all have to be there, in seconds.
LATE_BUDGET = 10.0
_GIVE_UP = 240.0
_PUBLISH = Path(__file__).with_name("publish.py")
_STATES = {"task-succeeded": "SUCCESS", "task-failed": "FAILURE"}
_SPAN_ID = re.compile(rb'"spanId":"([0-9a-f]{16})","name"')

Totals = dict[str, Any]


class Store:
    """Where events go: a camera, what is there by now, and what that takes."""

    #: What the camera is, and whether it has a row for each event, or for each task.
    camera: str
    #: The process of its server, with its children.
    pid: int | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stored(self) -> int:
        """Return how many events are there."""
        raise NotImplementedError

    def check(self, totals: Totals) -> None:
        """Fail if anything is missing or there twice, once evcam has ended."""
        raise NotImplementedError

    def size(self) -> tuple[int, int]:
        """Return bytes and rows."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of it."""


class SQL(Store):
    """What all databases of SQL have."""

    schema = ""

    def query(self, question: str) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def stored(self) -> int:
        try:
            [[events]] = self.query(f"SELECT sum(events) FROM {self.schema}snapshots")
        except (sqlite3.Error, psycopg.Error):  # not there yet
            return 0
        return events or 0

    def check(self, totals: Totals) -> None:
        # Each row keeps the events that it is made of.
        states = self.query(f"SELECT state, count(*) FROM {self.schema}tasks GROUP BY state")
        assert dict(states) == states_in(totals)
        steps: Counter[str] = Counter()
        for (heard,) in self.query(f"SELECT heard FROM {self.schema}tasks"):
            log = json.loads(heard) if isinstance(heard, str) else heard
            steps.update(f"task-{step[0]}" for step in log["steps"])
        assert steps == {kind: n for kind, n in totals.items() if kind.startswith("task-")}


class SQLite(SQL):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / "x.db"
        self.camera = f"sqlite:{self.path}"

    def query(self, question: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return connection.execute(question).fetchall()

    def size(self) -> tuple[int, int]:
        [[tasks]] = self.query("SELECT count(*) FROM tasks")
        return self.path.stat().st_size, tasks


class SpooledSQLite(SQLite):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.camera += f"?spool={folder / 'spool'}"


class Postgres(SQL):
    schema = "evcam."

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        super().__init__(folder)
        self.pid = server.process.pid
        url = server.fresh_url()
        self.camera = f"postgres:{url}"
        self._connection = psycopg.connect(url, autocommit=True)

    def query(self, question: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(question).fetchall()

    def size(self) -> tuple[int, int]:
        [[size]] = self.query(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "
            "WHERE relnamespace = 'evcam'::regnamespace AND relkind = 'r'"
        )
        [[tasks]] = self.query("SELECT count(*) FROM evcam.tasks")
        return size, tasks

    def close(self) -> None:
        self._connection.close()


class PostgresLog(Postgres):
    def __init__(self, folder: Path, server: PostgresServer) -> None:
        super().__init__(folder, server)
        self.camera += "&events=1d"

    def check(self, totals: Totals) -> None:
        super().check(totals)
        kinds = self.query("SELECT type, count(*) FROM evcam.events GROUP BY type")
        assert dict(kinds) == {kind: n for kind, n in totals.items() if "-" in kind}

    def size(self) -> tuple[int, int]:
        [[size]] = self.query(
            "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('evcam.events')"
        )
        [[events]] = self.query("SELECT count(*) FROM evcam.events")
        return size, events


class ClickHouse(Store):
    def __init__(self, folder: Path, server: ClickHouseServer) -> None:
        super().__init__(folder)
        self.pid, self._ask = server.process.pid, server.ask
        url = server.fresh_url()
        self._database = url.rpartition("/")[2]
        self.camera = f"clickhouse:{url}"

    def _one(self, what: str) -> int:
        [[number]] = self._ask(f"SELECT {what}")
        return int(number)

    def stored(self) -> int:
        there = "count() FROM system.tables WHERE name = 'events_raw' AND database"
        if not self._one(f"{there} = '{self._database}'"):
            return 0
        # Of workers apart, which the others do not count.
        return self._one(f"countIf(uuid != '') FROM {self._database}.events_raw")

    def check(self, totals: Totals) -> None:
        kinds = self._ask(f"SELECT type, count() FROM {self._database}.events_raw GROUP BY type")
        events = {kind: n for kind, n in totals.items() if "-" in kind}
        assert {kind: int(n) for kind, n in kinds} == events
        assert self._one(f"uniqExact(id) FROM {self._database}.events_raw") == sum(events.values())
        states = self._ask(f"SELECT state, count() FROM {self._database}.tasks GROUP BY state")
        assert {state: int(n) for state, n in states} == states_in(totals)

    def size(self) -> tuple[int, int]:
        size = (
            f"sum(bytes_on_disk) FROM system.parts WHERE active AND database = '{self._database}'"
        )
        return self._one(size), self._one(f"count() FROM {self._database}.events_raw")


class SpooledClickHouse(ClickHouse):
    def __init__(self, folder: Path, server: ClickHouseServer) -> None:
        super().__init__(folder, server)
        self.camera += f"?spool={folder / 'spool'}"


class JSONL(Store):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._path = folder / "x.jsonl"
        self.camera = f"jsonl:{self._path}"
        self._end = self._events = self._rows = 0
        self._steps: Counter[str] = Counter()
        self._tasks: dict[str, str] = {}

    def stored(self) -> int:
        if not self._path.exists():
            return 0
        with self._path.open("rb") as file:
            file.seek(self._end)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._end += len(line)
                shot = json.loads(line)
                self._steps = Counter(shot["steps"])
                self._rows += len(shot["tasks"])
                self._tasks.update((task["uuid"], task["state"]) for task in shot["tasks"])
        return self._steps.total()

    def check(self, totals: Totals) -> None:
        self.stored()
        steps = {f"task-{step}": n for step, n in self._steps.items() if n}
        assert steps == {kind: n for kind, n in totals.items() if kind.startswith("task-")}
        assert Counter(self._tasks.values()) == states_in(totals)

    def size(self) -> tuple[int, int]:
        return self._end, self._rows


class OTLP(Store):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._collector = Collector()
        self.camera = f"otlp:{self._collector.url}"
        self._read = 0
        self._spans: list[bytes] = []
        self._bytes = 0

    def stored(self) -> int:
        # Of the attempts, which have a span for the run and one for the wait.
        taken = self._collector.taken
        while self._read < len(taken):
            request = taken[self._read]
            self._read += 1
            if request.path == TRACES:
                self._bytes += len(request.body)
                self._spans += _SPAN_ID.findall(request.content)
        return len(self._spans)

    def check(self, totals: Totals) -> None:
        assert len(set(self._spans)) == len(self._spans) == self.expected(totals)

    @staticmethod
    def expected(totals: Totals) -> int:
        return int(2 * totals["attempts"])

    def size(self) -> tuple[int, int]:
        return self._bytes, len(self._spans)

    def close(self) -> None:
        self._collector.go()


def states_in(totals: Totals) -> dict[str, int]:
    """Return the states of the tasks of so many events."""
    return {state: totals[kind] for kind, state in _STATES.items()}


@pytest.fixture
def evcam(tmp_path: Path) -> Iterator[EvcamStarter]:
    starter = EvcamStarter(tmp_path)
    yield starter
    starter.end()


#: What it is called, the store, its server, and the broker.
STORES = [
    ("sqlite, a row for a task", SQLite, "", "redis"),
    ("sqlite through a spool", SpooledSQLite, "", "redis"),
    ("sqlite through a spool, from RabbitMQ", SpooledSQLite, "", "rabbitmq"),
    ("postgres, a row for a task", Postgres, "postgres", "redis"),
    ("postgres with events, a row for an event", PostgresLog, "postgres", "redis"),
    ("clickhouse, a row for an event", ClickHouse, "clickhouse", "redis"),
    ("clickhouse through a spool", SpooledClickHouse, "clickhouse", "redis"),
    ("jsonl, a task in a line", JSONL, "", "redis"),
    ("otlp, a span", OTLP, "", "redis"),
]
_SERVERS = {"postgres": "postgres_server", "clickhouse": "old_clickhouse"}


@pytest.mark.parametrize(
    ("name", "kind", "server", "broker"), STORES, ids=[name.split(",")[0] for name, *_ in STORES]
)
def test_a_minute_of_traffic_is_in_the_store_once(
    name, kind, server, broker, evcam, event_exchange, request, tmp_path, stores
):
    url = request.getfixturevalue(f"{broker}_url")
    servers = [request.getfixturevalue(_SERVERS[server])] if server else []
    store = kind(tmp_path, *servers)
    site = Site()
    cam = evcam(
        *("-c", store.camera, "--listen", site.address, "-b", url),
        *("--event-exchange", event_exchange),
    )
    site.wait_value("evcam_connected", 1)
    before = cpu_seconds(cam.pid), cpu_seconds_of_all(store.pid)
    count = int(RATE * SECONDS)
    words = [sys.executable, str(_PUBLISH), url, f"--exchange={event_exchange}", "--traffic"]
    words += [f"--count={count}", f"--rate={RATE}"]
    published = subprocess.run(words, check=True, capture_output=True, text=True)
    began = monotonic()
    totals = json.loads(published.stdout)
    events = sum(number for kind, number in totals.items() if "-" in kind)
    wanted = (
        store.expected(totals)
        if isinstance(store, OTLP)
        else sum(n for kind, n in totals.items() if kind.startswith("task-"))
    )
    wait_until(
        lambda: store.stored() >= wanted,
        deadline=_GIVE_UP,
        what=lambda: f"{store.stored()} of {wanted}:\n{site.metrics()}",
    )
    after = monotonic() - began
    ours, theirs = (
        (now - then) * 1e6 / events
        for now, then in zip(
            (cpu_seconds(cam.pid), cpu_seconds_of_all(store.pid)), before, strict=True
        )
    )
    peak = int(facts(cam.pid)["VmHWM"].split()[0]) / 1024
    assert site.value("evcam_events_total") == events
    assert site.value("evcam_events_lost_total") == 0
    assert cam.stop(deadline=60) == 0, cam.stderr
    store.check(totals)
    size, rows = store.size()
    store.close()
    met = after <= LATE_BUDGET
    stores.append(
        (
            name,
            f"{events / totals['seconds']:.0f}",
            f"{ours:.0f}",
            f"{theirs:.0f}" if store.pid else "-",
            f"{size / rows:.0f}",
            f"{after:.1f} s",
            f"{peak:.0f} MiB",
            f"{LATE_BUDGET:.0f} s",
            "met" if met else "NOT MET",
        )
    )
    print("\n", stores[-1])
    assert met
