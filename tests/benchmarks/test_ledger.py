"""What a shot costs a ledger, as a ratio to what its driver takes for the same rows.

Each event of a task comes in another second, so that a shot changes as many tasks as
there were events: it reads what is known of them, puts that and the news together,
and writes the rows.  The driver alone writes the rows that came of it, in one
transaction as well, into a database of its own with the same tables and indexes.
"""

from __future__ import annotations

import json
import random
import sqlite3
import time
import uuid
from contextlib import closing
from functools import partial
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.types.json import JsonbDumper
from publish import bodies

from evtools.transport.recording.database import TASKS
from evtools.wire import Codec, Message
from tools.cpu import cpu_seconds_of_all
from tools.ledgers import ClickHouseEvcam, Evcam, touch
from tools.told import told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.bench

#: So many tasks are first told of in each round, and the others before in this one.
NEW, STEPS = 2_000, 3
EVENTS = NEW * STEPS
ROUNDS = 14
#: How many times what the driver takes a shot may take: for SQLite of the CPU, while
#: with PostgreSQL much of it is the server's.
BUDGETS = {"sqlite": 3.0, "sqlite through a spool": 4.0, "postgres": 2.2}
#: How many times what an event takes evcam without an event log one may take with it.
LOG_BUDGET = 2.0

#: How many tasks a shot changes, in three shots each, and how often: in any order, as databases
#: grow meanwhile.
SIZES = {1_000: 15, 10_000: 2, 30_000: 1}
#: How many times what a task takes in the smallest shots one may take in the largest; small ones
#: may be dearer, as ClickHouse takes a while for each insert, whatever is in it.
FLAT_BUDGET = 1.3

Row = tuple[Any, ...]


def batches() -> Iterator[list[dict[str, Any]]]:
    """Yield what comes between two shots, heard at the second that is its number."""
    stream = map(json.loads, bodies(EVENTS * ROUNDS, 1, kinds=20, apart=NEW))
    for second in range(ROUNDS):
        heard = 1_795_186_600.0 + second
        # In the first few rounds there are no tasks that end.
        count = NEW * min(second + 1, STEPS)
        yield [{**event, "local_received": heard} for event in islice(stream, count)]


def replacing(sign: str, table: str = "tasks") -> str:
    """Return what writes a row over the one with its key."""
    signs = ", ".join([sign] * len(TASKS.columns))
    columns = list(TASKS.columns)[len(TASKS.key) :]
    new = ", ".join(f'"{name}" = excluded."{name}"' for name in columns)
    return f"INSERT INTO {table} VALUES ({signs}) ON CONFLICT (uuid, cluster) DO UPDATE SET {new}"


def timed(clock: Callable[[], float], call: Callable[[], object]) -> float:
    """Return how many seconds a call took by a clock."""
    began = clock()
    call()
    return clock() - began


def report(what: str, shots: list[float], plain: list[float], table: Any) -> None:
    """Add a line, and fail if a shot takes too long."""
    shots, plain = shots[STEPS:], plain[STEPS:]
    ours, drivers = (median(each) * 1e6 / EVENTS for each in (shots, plain))
    # What was measured together was disturbed together.
    ratio = median(shot / alone for shot, alone in zip(shots, plain, strict=True))
    budget = BUDGETS[what]
    table.append(
        (
            f"a shot of {EVENTS} changed tasks, {what}; the driver alone",
            f"{drivers:.0f} us/task",
            f"{ours:.0f} us/task",
            f"{ratio:.1f}",
            f"{budget:.1f}",
            "met" if ratio <= budget else "NOT MET",
        )
    )
    assert ratio <= budget


@pytest.mark.parametrize("spool", ["", "spool"])
def test_a_shot_takes_sqlite_a_few_times_what_its_rows_do(tmp_path: Path, table: Any, spool: str):
    shots, plain = [], []
    file, other = tmp_path / "ledger.db", tmp_path / "other.db"
    touch(other)
    evcam = Evcam(file, spool=spool and str(tmp_path / spool))
    evcam.camera.open_spool()
    changed = "SELECT * FROM tasks WHERE last_heard = (SELECT max(last_heard) FROM tasks)"
    with closing(sqlite3.connect(file)) as reader, closing(sqlite3.connect(other)) as driver:
        driver.execute("PRAGMA synchronous = NORMAL")

        def write(rows: list[Row]) -> None:
            driver.executemany(replacing("?"), rows)
            driver.commit()

        for events in batches():
            evcam.hear(events)
            shots.append(timed(time.thread_time, evcam.shoot))
            rows = sorted(reader.execute(changed))
            assert len(rows) == len(events)
            plain.append(timed(time.thread_time, lambda rows=rows: write(rows)))
    evcam.close()
    report("sqlite through a spool" if spool else "sqlite", shots, plain, table)


def test_a_shot_takes_postgresql_little_more_than_its_rows_do(postgres_server: Any, table: Any):
    shots, plain = [], []
    url, other = postgres_server.fresh_url(), postgres_server.fresh_url()
    touch(other)
    evcam = Evcam(url)
    changed = (
        "SELECT * FROM evcam.tasks "
        "WHERE last_heard = (SELECT max(last_heard) FROM evcam.tasks) ORDER BY uuid"
    )
    with psycopg.connect(url) as reader, psycopg.connect(other) as driver:
        driver.adapters.register_dumper(dict, JsonbDumper)

        def write(rows: list[Row]) -> None:
            driver.cursor().executemany(replacing("%s", "evcam.tasks"), rows)
            driver.commit()

        for events in batches():
            evcam.hear(events)
            shots.append(timed(time.perf_counter, evcam.shoot))
            rows = reader.execute(changed).fetchall()
            reader.rollback()
            assert len(rows) == len(events)
            plain.append(timed(time.perf_counter, lambda rows=rows: write(rows)))
    evcam.close()
    report("postgres", shots, plain, table)


def test_an_event_log_costs_little_beside_the_tasks(postgres_server: Any, table: Any):
    urls = [postgres_server.fresh_url(), postgres_server.fresh_url()]
    # Of 2026-11-20, and kept.
    plain, logging = (Evcam(urls[0]), Evcam(urls[1], events=100 * 365 * 86_400.0))
    times: dict[Evcam, list[float]] = {plain: [], logging: []}
    count = 0
    codec = Codec()

    def take(evcam: Evcam, events: list[Any]) -> None:
        evcam.hear(events)
        evcam.shoot()

    for batch in batches():
        count += len(batch)
        for evcam, taken in times.items():
            # As they come from a broker.
            events = [each for e in batch for each in codec.events(Message(json.dumps(e).encode()))]
            for event, fields in zip(events, batch, strict=True):
                event.stamp(fields["local_received"])
            taken.append(timed(time.thread_time, partial(take, evcam, events)))
    for evcam in times:
        evcam.close()
    without, with_log = (sum(taken[STEPS:]) * 1e6 / EVENTS / (ROUNDS - STEPS)
                         for taken in times.values())  # fmt: skip
    with psycopg.connect(urls[1]) as connection:
        question = (
            "SELECT (SELECT count(*) FROM evcam.events), "
            "sum(pg_total_relation_size(relid)) FROM pg_partition_tree('evcam.events')"
        )
        [[logged, size]] = connection.execute(question).fetchall()
    assert logged == count
    ratio = with_log / without
    met = ratio <= LOG_BUDGET
    table.append(
        (
            f"an event in PostgreSQL with a log, {size / logged:.0f} bytes a row; without",
            f"{without:.0f} us/event",
            f"{with_log:.0f} us/event",
            f"{ratio:.1f}",
            f"{LOG_BUDGET:.1f}",
            "met" if met else "NOT MET",
        )
    )
    assert met


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["sqlite", "postgres", "clickhouse"])
def test_a_task_takes_a_large_shot_no_longer_than_a_small_one(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, table: Any
):
    evcam: Any
    if kind == "sqlite":
        server, evcam = None, Evcam(tmp_path / "x.db")
    elif kind == "postgres":
        server = request.getfixturevalue("postgres_server")
        evcam = Evcam(server.fresh_url())
    else:
        server = request.getfixturevalue("old_clickhouse")
        evcam = ClickHouseEvcam(server.fresh_url())
    pid = server and server.process.pid
    chance = random.Random(1)
    order = [size for size, often in SIZES.items() for _ in range(often)]
    chance.shuffle(order)
    costs: dict[int, float] = dict.fromkeys(SIZES, 0.0)
    evcam.shoot()
    for size in order:
        uuids = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(size)]
        for second, step in enumerate(("received", "started", "succeeded"), 1_795_186_600):
            events = [told(f"task-{step}", second, uuid=each, root_id=each) for each in uuids]
            evcam.camera.observe(evcam.state.apply(events))
            began = time.thread_time() + cpu_seconds_of_all(pid)
            evcam.shoot()
            costs[size] += time.thread_time() + cpu_seconds_of_all(pid) - began
    evcam.close()
    small, middle, large = (
        cost * 1e6 / STEPS / size / often
        for (size, often), cost in zip(SIZES.items(), costs.values(), strict=True)
    )
    ratio = large / small
    met = ratio <= FLAT_BUDGET
    table.append(
        (
            f"a shot of 30 000 tasks, {kind} with server ({middle:.0f} of 10 000); of 1 000",
            f"{small:.0f} us/task",
            f"{large:.0f} us/task",
            f"{ratio:.1f}",
            f"{FLAT_BUDGET:.1f}",
            "met" if met else "NOT MET",
        )
    )
    assert met
