"""A spool between evcam and its store: either goes away, and nothing is lost or doubled."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from publish import Publisher, bodies

from servers.process import wait_until
from tools.ledgers import Evcam, common
from tools.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers.clickhouse import ClickHouseServer
    from servers.postgres import PostgresServer

pytestmark = pytest.mark.timeout(240)

RATE, BATCH = 3_000, 24
#: So many events are published in each part, in four seconds.
PART = RATE * 4 // BATCH * BATCH
FLOW = {"kinds": 20, "apart": 1_000}
SPOOL_MIB = 128
#: What depends on when an evcam receives something, and not on what happens.
RECEIVING = ("first_heard", "last_heard", "heard")
#: What ClickHouse is asked for of a task, too.
OF_TASK = ("uuid", "name", "state", "worker", "retries", "result", "exception")


def published(parts: int, *, part: int = PART) -> list[dict[str, Any]]:
    """Return the events of so many parts; each has tasks of its own."""
    return [
        json.loads(body) | {"local_received": 1_795_186_540.0}
        for number in range(parts)
        for body in bodies(part, 1, first=number * part, **FLOW)
    ]


def rows_of(events: list[dict[str, Any]], file: Path) -> dict[str, Any]:
    """Return the rows that these events make in a database of their own."""
    evcam = Evcam(file)
    evcam.hear(events)
    evcam.shoot()
    evcam.close()
    return rows_in(file)


def rows_in(database: Path | str) -> dict[str, Any]:
    """Return tasks and attempts, without what depends on when they were received."""
    rows = common(database)
    for row in rows["tasks"]:
        for name in RECEIVING:
            del row[name]
    return {"tasks": rows["tasks"], "attempts": rows["attempts"]}


class InPostgres:
    """A database of PostgreSQL, which may go away."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self.server, self.url = server, server.fresh_url()
        (folder / "url").write_text(self.url)
        self.camera = "postgres:@url?events=30d"

    def go(self) -> None:
        self.server.stop()

    def come(self) -> None:
        self.server.start()

    def check(self, events: list[dict[str, Any]], expected: dict[str, Any]) -> None:
        """See that each of these events is there once, and nothing else."""
        assert rows_in(self.url) == expected
        with psycopg.connect(self.url) as connection:
            question = (
                "SELECT count(*), count(DISTINCT (uuid, type)) FROM evcam.events WHERE uuid <> ''"
            )
            assert connection.execute(question).fetchone() == (len(events), len(events))

    def gaps(self, total: int) -> Counter[str]:
        """Return the reasons of gaps; so many events are in the snapshots."""
        with psycopg.connect(self.url) as connection:
            found = connection.execute("SELECT events, gaps FROM evcam.snapshots").fetchall()
        assert sum(events for events, _ in found) == total
        return Counter(gap["reason"] for _, gaps in found for gap in gaps)


class InClickHouse:
    """A database of ClickHouse, which may be killed."""

    def __init__(self, server: ClickHouseServer, _folder: Path) -> None:
        self.server = server
        url = server.fresh_url()
        self.name = url.rpartition("/")[2]
        self.camera = f"clickhouse:{url}"

    def go(self) -> None:
        self.server.process.kill()

    def come(self) -> None:
        self.server.start()

    def count(self) -> int:
        """Return how many events are there, 0 if there are no tables yet."""
        try:
            [[count]] = self.server.ask(f"SELECT count() FROM {self.name}.events")
        except AssertionError:
            return 0
        return int(count)

    def check(self, events: list[dict[str, Any]], expected: dict[str, Any]) -> None:
        """See that each of these events is there once, and nothing else."""
        kinds = Counter((event["type"], event["hostname"]) for event in events)
        found = self.server.ask(
            "SELECT type, hostname, count(), uniqExact(uuid) "
            f"FROM {self.name}.events GROUP BY type, hostname"
        )
        assert {(kind, worker): (n, m) for kind, worker, n, m in found} == {
            key: (count, count) for key, count in kinds.items()
        }
        tasks = self.server.ask(f"SELECT {', '.join(OF_TASK)} FROM {self.name}.tasks ORDER BY uuid")
        assert tasks == [[row[name] for name in OF_TASK] for row in expected["tasks"]]

    def gaps(self, total: int) -> Counter[str]:
        """Return the reasons of gaps; so many events are in the snapshots."""
        found = self.server.ask(f"SELECT events, gaps FROM {self.name}.snapshots")
        assert sum(events for events, _ in found) == total
        return Counter(gap["reason"] for _, gaps in found for gap in json.loads(gaps))


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> InPostgres | InClickHouse:
    server = request.getfixturevalue(f"own_{request.param}")
    return {"postgres": InPostgres, "clickhouse": InClickHouse}[request.param](server, tmp_path)


@pytest.fixture
def publish(broker_url: str, event_exchange: str) -> Iterator[Any]:
    """Publish a part: `publish(number)`."""
    publisher = Publisher(broker_url, exchange=event_exchange)
    yield lambda part: publisher.send(PART, rate=RATE, batch=BATCH, first=part * PART, **FLOW)
    publisher.close()


def case(broker: str, store: str, end: str, parts: int = 1) -> Any:
    """Return a case of the test below, in which the store is away for so many parts."""
    marks = [] if parts == 1 else [pytest.mark.load, pytest.mark.timeout(600)]
    name = f"{store}-{broker}-{end}" + ("" if parts == 1 else f"-{4 * parts}s")
    return pytest.param(broker, store, parts, end == "killed", marks=marks, id=name)


@pytest.mark.parametrize(
    ("broker", "store", "parts", "is_killed"),
    [
        case("redis", "postgres", "killed"),
        case("rabbitmq", "postgres", "away"),
        case("redis", "clickhouse", "killed"),
        case("redis", "postgres", "away", 15),
        case("rabbitmq", "postgres", "killed", 15),
        case("redis", "clickhouse", "killed", 15),
        case("rabbitmq", "clickhouse", "away", 15),
    ],
    indirect=["broker", "store"],
)
def test_a_store_that_is_away_gets_every_event_when_it_is_back(
    evcam, site, publish, broker_url, event_exchange, store, parts, is_killed, tmp_path
):
    words = [
        *("-c", store.camera, "-F", "200ms", "--listen", site.address),
        *("--camera-option", "spool=spool", "--camera-option", f"spool_size={SPOOL_MIB}M"),
        *("-b", broker_url, "--event-exchange", event_exchange),
    ]
    cam, received = evcam(*words), 0
    site.wait_value("evcam_connected", 1)
    publish(0)
    store.go()
    for part in range(1, parts + 1):
        publish(part)
        site.wait_value("evcam_events_total", (part + 1) * PART - received)
        site.wait_least("evcam_snapshots_total", 1, result="failed")
        site.wait_least("evcam_spool_events", part * PART)
        if is_killed and part == (parts + 1) // 2:
            cam.send_signal(signal.SIGKILL)
            cam.wait()
            received = (part + 1) * PART
            if part == parts:
                store.come()
            cam = evcam(*words)
            site.wait_value("evcam_connected", 1)
    if not is_killed or parts > 1:
        store.come()
    publish(parts + 1)
    most, back = site.value("evcam_spool_bytes") or 0.0, time.monotonic()
    site.wait_value("evcam_spool_events", 0, deadline=120)
    if parts > 1:
        late = time.monotonic() - back
        figures = f"{most / 2**20:.0f} MiB in the spool, all stored {late:.0f} s later"
        print(f"\n{4 * parts} s without it: {figures}")  # noqa: T201  (of `make load`)
    size = sum(path.stat().st_size for path in (tmp_path / "spool" / "_unnamed").iterdir())
    assert size <= SPOOL_MIB * 2**20
    assert cam.stop() == 0, cam.stderr
    events = published(parts + 2)
    store.check(events, rows_of(events, tmp_path / "expected.db"))
    assert store.gaps(len(events)) == ({"stopped": 1} if is_killed else {})


LINES = """
import json, os, time
from evtools.cam.store import StoreCamera

class Lines(StoreCamera):
    '''Append each batch as a line, after a while in which it may be killed.'''

    def store(self, batch):
        names = [[event.uuid, event.type] for event in batch.events]
        line = json.dumps([batch.token, names]).encode() + b"\\n"
        file = os.open("lines.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, line)
        os.close(file)
        time.sleep(0.1)
"""


def lines_in(folder: Path) -> dict[str, Any]:
    """Return the batches by token; one that is there twice is the same."""
    found: dict[str, Any] = {}
    path = folder / "lines.jsonl"
    for line in path.read_text().split("\n")[:-1] if path.exists() else ():
        token, names = json.loads(line)
        assert found.setdefault(token, names) == names
    return found


class InLines:
    """What the camera above has written."""

    def __init__(self, folder: Path) -> None:
        (folder / "cams.py").write_text(LINES)
        self.folder, self.camera = folder, "cams.Lines"

    def count(self) -> int:
        return sum(map(len, lines_in(self.folder).values()))

    def check(self, events: list[dict[str, Any]], _expected: dict[str, Any]) -> None:
        """See that each of these events is there once, and nothing else."""
        found = lines_in(self.folder).values()
        names = Counter((uuid, kind) for each in found for uuid, kind in each)
        assert names == Counter((event["uuid"], event["type"]) for event in events)


@pytest.mark.parametrize(("batch", "engine"), [(1, "lines"), (BATCH, "clickhouse")])
def test_an_evcam_that_is_killed_loses_nothing_that_a_shared_queue_has(
    evcam, site, own_rabbitmq, tmp_path, request, batch, engine
):
    if engine == "lines":
        kept: InLines | InClickHouse = InLines(tmp_path)
    else:
        kept = InClickHouse(request.getfixturevalue("old_clickhouse"), tmp_path)
    words = [
        *("-c", kept.camera, "-F", "100ms", "--listen", site.address),
        *("--camera-option", "spool=spool", "-b", own_rabbitmq.url, "--queue", "evcam.spool"),
        *("--event-queue-ttl", "5m", "--event-queue-expires", "10m"),
    ]
    cam = evcam(*words)
    site.wait_value("evcam_connected", 1)
    publisher = Publisher(own_rabbitmq.url)
    send = {"rate": RATE, "batch": batch, **FLOW}
    flow = threading.Thread(target=publisher.send, args=(3 * PART,), kwargs=send)
    flow.start()
    stored = 0
    for _ in range(4):
        # In the middle of whatever it does.
        wait_until(lambda: kept.count() > stored + 900, what="events")  # noqa: B023
        cam.send_signal(signal.SIGKILL)
        cam.wait()
        stored = kept.count()
        cam = evcam(*words)
        site.wait_value("evcam_connected", 1)
    flow.join()
    publisher.close()
    wait_until(
        lambda: kept.count() >= 3 * PART, what=lambda: f"{kept.count()}/{3 * PART}", deadline=60
    )
    assert cam.stop() == 0, cam.stderr
    wanted = published(1, part=3 * PART)
    kept.check(wanted, rows_of(wanted, tmp_path / "expected.db"))
    if engine == "clickhouse":
        assert kept.gaps(3 * PART) == {}
    # They were acknowledged, too.
    wait_until(
        lambda: own_rabbitmq.list_queues("messages")[0]["messages"] == 0,
        what="nothing in the queue",
    )
