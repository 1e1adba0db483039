"""A spool between evcam and its store: either goes away, and nothing is lost or doubled."""

from __future__ import annotations

import json
import signal
import threading
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

pytestmark = pytest.mark.timeout(240)

RATE, BATCH = 3_000, 24
#: So many events are published in each of three parts.
PART = RATE * 4 // BATCH * BATCH
FLOW = {"kinds": 20, "apart": 1_000}
#: What depends on when an evcam receives something, and not on what happens.
RECEIVING = ("first_heard", "last_heard", "heard")


def published(parts: int) -> list[dict[str, Any]]:
    """Return the events of so many parts; each has tasks of its own."""
    return [
        json.loads(body) | {"local_received": 1_795_186_540.0}
        for part in range(parts)
        for body in bodies(PART, 1, first=part * PART, **FLOW)
    ]


def rows_of(events: list[dict[str, Any]], url: str) -> dict[str, Any]:
    """Return the rows that these events make in a database of their own."""
    evcam = Evcam(url)
    evcam.hear(events)
    evcam.shoot()
    evcam.close()
    return rows_in(url)


def rows_in(url: str) -> dict[str, Any]:
    """Return tasks and attempts, without what depends on when they were received."""
    rows = common(url)
    for row in rows["tasks"]:
        for name in RECEIVING:
            del row[name]
    return {"tasks": rows["tasks"], "attempts": rows["attempts"]}


def events_in(url: str) -> int:
    """Return how many events the snapshots in a database have, 0 while it is away."""
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            found = connection.execute("SELECT sum(events) FROM evcam.snapshots").fetchone()
            return int(found[0] or 0) if found else 0
    except psycopg.Error:
        return 0


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def publish(broker_url: str, event_exchange: str) -> Iterator[Any]:
    """Publish a part: `publish(number)`."""
    publisher = Publisher(broker_url, exchange=event_exchange)
    yield lambda part: publisher.send(PART, rate=RATE, batch=BATCH, first=part * PART, **FLOW)
    publisher.close()


@pytest.mark.parametrize(
    ("broker", "is_killed"),
    [("redis", True), ("rabbitmq", False)],
    indirect=["broker"],
    ids=["redis-killed", "rabbitmq-away"],
)
def test_a_database_that_is_away_gets_every_event_when_it_is_back(
    evcam, site, publish, broker_url, event_exchange, own_postgres, tmp_path, is_killed
):
    url = own_postgres.fresh_url()
    (tmp_path / "url").write_text(url)
    words = [
        *("-c", "postgres:@url?events=30d", "-F", "200ms", "--listen", site.address),
        *("--camera-option", "spool=spool", "--camera-option", "spool_size=64M"),
        *("-b", broker_url, "--event-exchange", event_exchange),
    ]
    cam = evcam(*words)
    site.wait_value("evcam_connected", 1)
    publish(0)
    own_postgres.stop()
    publish(1)
    site.wait_value("evcam_events_total", 2 * PART)
    site.wait_least("evcam_snapshots_total", 1, result="failed")
    site.wait_least("evcam_spool_events", PART)
    if is_killed:
        cam.send_signal(signal.SIGKILL)
        cam.wait(deadline=10)
        own_postgres.start()
        cam = evcam(*words)
        site.wait_value("evcam_connected", 1)
    else:
        own_postgres.start()
    publish(2)
    site.wait_value("evcam_spool_events", 0, deadline=60)
    size = sum(path.stat().st_size for path in (tmp_path / "spool" / "_unnamed").iterdir())
    assert size <= 64 * 2**20
    assert cam.stop(deadline=30) == 0, cam.stderr
    assert rows_in(url) == rows_of(published(3), own_postgres.fresh_url())
    assert events_in(url) == 3 * PART
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT gaps FROM evcam.snapshots").fetchall()
        question = (
            "SELECT count(*), count(DISTINCT (uuid, type)) FROM evcam.events WHERE uuid <> ''"
        )
        assert connection.execute(question).fetchone() == (3 * PART, 3 * PART)
    reasons = Counter(gap["reason"] for (gaps,) in found for gap in gaps)
    assert reasons == ({"stopped": 1} if is_killed else {})


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


@pytest.mark.parametrize("batch", [1, BATCH])
def test_an_evcam_that_is_killed_loses_nothing_that_a_shared_queue_has(
    evcam, site, own_rabbitmq, tmp_path, batch
):
    (tmp_path / "cams.py").write_text(LINES)
    words = [
        *("-c", "cams.Lines", "-F", "100ms", "--listen", site.address),
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
        wait_until(lambda: len(lines_in(tmp_path)) > stored + 3, what="batches", deadline=30)  # noqa: B023
        cam.send_signal(signal.SIGKILL)
        cam.wait(deadline=10)
        stored = len(lines_in(tmp_path))
        cam = evcam(*words)
        site.wait_value("evcam_connected", 1)
    flow.join()
    publisher.close()

    def count() -> int:
        return sum(map(len, lines_in(tmp_path).values()))

    wait_until(lambda: count() >= 3 * PART, what=lambda: f"{count()}/{3 * PART}", deadline=60)
    assert cam.stop(deadline=30) == 0, cam.stderr
    names = Counter((uuid, kind) for each in lines_in(tmp_path).values() for uuid, kind in each)
    wanted = [json.loads(body) for body in bodies(3 * PART, 1, **FLOW)]
    assert names == Counter((event["uuid"], event["type"]) for event in wanted)
    # They were acknowledged, too.
    wait_until(
        lambda: own_rabbitmq.list_queues("messages")[0]["messages"] == 0,
        what="nothing in the queue",
    )
