"""Minutes of evcam: cameras that hang, a day of shots, a broker that comes and goes."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from publish import Publisher, bodies

from servers.process import wait_until
from tools.collector import TRACES, Collector
from tools.daemon import EvcamStarter
from tools.flow import Flow
from tools.ledgers import contents
from tools.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.load, pytest.mark.timeout(600)]

HANG_SECONDS, HANG_RATE = 20, 3_000
#: A shot every ten seconds, for a day, and a cleanup every hour.
SHOTS, SHOT_EVERY = 8_640, 0.016
CLEANUP_EVERY = 5.7
DAY_RATE = 1_000
#: What is known of so many tasks fills all that is bounded; with three events each.
WARM_TASKS, WARM_RATE = 120_000, 12_000
#: By how much memory may grow after the first tenth of the day.
GROWTH = 1.1
RESTARTS = 5
#: So long an event may be on its way when the broker dies, in seconds.
ON_ITS_WAY = 0.5

_PUBLISH = Path(__file__).with_name("publish.py")
_BATCH = 24

CAMERAS = """
import json, os, time
from evtools import Camera, Polaroid

class Hanging(Polaroid):
    '''Hold the state while there is a file named hang.'''

    def on_shutter(self, state):
        while os.path.exists("hang"):
            open("hanging", "w").close()
            time.sleep(0.01)
        with open("counts", "w") as file:
            file.write(f"{state.event_count} {len(state.tasks)}")

class Numbers(Camera):
    '''Write down which numbers came, and the snapshot that they came in.'''

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.numbers = []

    def observe(self, changes):
        events = (change.event for change in changes)
        self.numbers += [event["number"] for event in events if "number" in event]

    def snapshot(self, info):
        taken, self.numbers = self.numbers, []
        return {**info.as_dict(), "numbers": taken}

    def write(self, snapshot):
        with open("numbers.jsonl", "a") as file:
            file.write(json.dumps(snapshot) + "\\n")
"""


@pytest.fixture
def evcam(tmp_path: Path) -> Iterator[EvcamStarter]:
    """Start evcam in the folder with the cameras."""
    (tmp_path / "cams.py").write_text(CAMERAS)
    starter = EvcamStarter(tmp_path)
    yield starter
    starter.end()


@pytest.fixture
def site() -> Site:
    return Site()


# --- a camera that hangs --------------------------------------------------------------


@contextmanager
def foreign(folder: Path) -> Iterator[None]:
    """Let the camera of a user hold the state while the block runs."""
    (folder / "hang").touch()
    wait_until((folder / "hanging").exists, what="a camera that hangs")
    yield
    (folder / "hang").unlink()


@contextmanager
def built_in(folder: Path) -> Iterator[None]:
    """Let sqlite wait for somebody's lock while the block runs."""
    with closing(sqlite3.connect(folder / "x.db", isolation_level=None)) as other:
        other.execute("PRAGMA busy_timeout = 10000")
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


_CAMERAS = {foreign: "cams.Hanging", built_in: "sqlite:x.db?busy_timeout=60s"}


@pytest.mark.parametrize("hanging", [foreign, built_in])
def test_a_camera_that_hangs_for_long_loses_no_event(
    evcam, site, broker_url, event_exchange, tmp_path, hanging
):
    cam = evcam(
        *("-c", _CAMERAS[hanging], "-F", "500ms", "--listen", site.address),
        *("-b", broker_url, "--event-exchange", event_exchange),
    )
    site.wait_value("evcam_connected", 1)
    site.wait_least("evcam_snapshots_total", 1, result="taken")
    count = HANG_RATE * HANG_SECONDS // _BATCH * _BATCH
    tasks = {"kinds": 20, "apart": HANG_RATE}
    publisher = Publisher(broker_url, exchange=event_exchange)
    with hanging(tmp_path):
        seconds = publisher.send(count, rate=HANG_RATE, batch=_BATCH, **tasks)
        waiting = site.value("evcam_buffered_bytes")
        assert site.get("/livez")[0] == site.get("/readyz")[0] == 200
    publisher.close()
    began = time.monotonic()
    site.wait_value("evcam_events_total", count, deadline=60)
    after = time.monotonic() - began
    assert site.value("evcam_events_lost_total") == 0
    # They are counted when the shot is over that hung.
    site.wait_least("evcam_snapshots_total", HANG_SECONDS, result="overrun")
    overruns = site.value("evcam_snapshots_total", result="overrun")
    assert cam.stop(deadline=30) == 0, cam.stderr
    print(
        f"\n{count} events in {seconds:.0f} s of a camera that hangs: {waiting:.0f} "
        f"bytes wait in the end, all are taken in {after:.1f} s after it; "
        f"{overruns:.0f} shots left out, 0 events lost"
    )
    assert "shots left out so far" in cam.stderr
    states = states_after(count, **tasks)
    if hanging is foreign:
        told = (tmp_path / "counts").read_text()
        assert told == f"{count} {states.total()}"
    else:
        rows = contents(tmp_path / "x.db")["tasks"]
        assert Counter(row["state"] for row in rows) == states


_STATES = {
    "task-received": "RECEIVED",
    "task-started": "STARTED",
    "task-succeeded": "SUCCESS",
    "task-failed": "FAILURE",
}


def states_after(count: int, **tasks: int) -> Counter[str]:
    """Return the states of tasks after so many of the events that are published."""
    events = map(json.loads, bodies(count, 1, **tasks))
    ends = {event["uuid"]: _STATES[event["type"]] for event in events}
    return Counter(ends.values())


# --- an event log ---------------------------------------------------------------------

LOG_RATE, LOG_SECONDS = 10_000, 60


def test_a_minute_of_10_000_events_a_second_is_in_the_event_log(
    evcam, site, redis_url, event_exchange, postgres_url
):
    cam = evcam(
        *("-c", f"postgres:{postgres_url}&events=1d", "--listen", site.address),
        *("-b", redis_url, "--event-exchange", event_exchange),
    )
    site.wait_value("evcam_connected", 1)
    count = LOG_RATE * LOG_SECONDS
    before = site.value("process_cpu_seconds_total")
    words = [sys.executable, str(_PUBLISH), redis_url, f"--exchange={event_exchange}", "--now"]
    words += [f"--count={count}", f"--rate={LOG_RATE}", f"--batch={_BATCH}", f"--apart={LOG_RATE}"]
    published = subprocess.run(words, check=True, capture_output=True, text=True)
    with psycopg.connect(postgres_url, autocommit=True) as connection:

        def select(what: str) -> Any:
            return connection.execute(f"SELECT {what}").fetchone()

        logged = "(SELECT count(*) FROM evcam.events)"
        began = time.monotonic()
        wait_until(lambda: select(logged) == (count,), deadline=120, what=lambda: select(logged))
        after = time.monotonic() - began
        cpu = (site.value("process_cpu_seconds_total") - before) * 1e6 / count
        assert select("sum(lost), sum(dropped), sum(events) FROM evcam.snapshots") == (0, 0, count)
        sizes = "sum(pg_total_relation_size(relid)) FROM pg_partition_tree('evcam.events')"
        [size] = select(sizes)
    assert site.value("evcam_events_lost_total") == 0
    assert cam.stop(deadline=30) == 0, cam.stderr
    print(
        f"\n{published.stdout.strip()}, all in the log {after:.1f} s later; evcam takes "
        f"{cpu:.0f} us of CPU an event, the log {size / count:.0f} bytes a row"
    )


# --- a collector -----------------------------------------------------------------------


_SPAN_ID = re.compile(rb'"spanId":"([0-9a-f]{16})","name"')


def test_a_minute_of_10_000_events_a_second_reaches_a_collector_that_was_away(
    evcam, site, redis_url, event_exchange
):
    with Collector() as collector:
        cam = evcam(
            *("-c", f"otlp:{collector.url}", "--listen", site.address),
            *("-b", redis_url, "--event-exchange", event_exchange),
        )
        site.wait_value("evcam_connected", 1)
        count, before = LOG_RATE * LOG_SECONDS, site.value("process_cpu_seconds_total")
        flow = {"count": count, "rate": LOG_RATE, "batch": _BATCH, "apart": LOG_RATE}
        words = [f"--{name}={value}" for name, value in flow.items()]
        words = [sys.executable, str(_PUBLISH), redis_url, f"--exchange={event_exchange}", *words]

        def reach(events: float) -> None:
            have = lambda: site.value("evcam_events_total") or 0  # noqa: E731
            wait_until(lambda: have() >= events, deadline=120, what=lambda: f"{events}: {have()}")

        with subprocess.Popen(words) as publisher:
            reach(count / 3)
            collector.go()
            reach(count / 2)
            collector.come()
            assert publisher.wait(120) == 0
        site.wait_value("evcam_events_total", count, deadline=60)
        cpu = (site.value("process_cpu_seconds_total") - before) * 1e6 / count
        resident = site.value("process_resident_memory_bytes") / 2**20
        assert cam.stop(deadline=60) == 0, cam.stderr
        assert "were dropped" not in cam.stderr
        states = states_after(count, apart=LOG_RATE)
        # Without the official classes, which take minutes for that many.
        texts = [each.content for each in collector.taken if each.path == TRACES]
        spans = [span_id for text in texts for span_id in _SPAN_ID.findall(text)]
    # Each has one for its wait, too.
    assert len(spans) == 2 * (states["SUCCESS"] + states["FAILURE"])
    assert len(set(spans)) == len(spans)
    size = sum(len(each.body) for each in collector.taken) / len(spans)
    print(
        f"\n{count} events in {LOG_SECONDS} s, the collector away for a sixth of them: "
        f"{cpu:.0f} us of CPU an event, {size:.0f} bytes a span, evcam at {resident:.0f} MiB"
    )


# --- a day ----------------------------------------------------------------------------


@contextmanager
def publishing(url: str, exchange: str, **how: int) -> Iterator[None]:
    """Have a process of its own publish events while the block runs."""
    arguments = [f"--{name}={value}" for name, value in how.items()]
    words = [sys.executable, str(_PUBLISH), url, f"--exchange={exchange}", *arguments]
    process = subprocess.Popen(words)
    try:
        yield
        assert process.poll() is None, "there were events for too short a time"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize(
    "camera",
    [
        "sqlite:x.db?keep_tasks=20000",
        "jsonl:x.jsonl?rotate_size=4M&rotate_keep=2",
        "prometheus:x.prom",
    ],
    ids=["sqlite", "jsonl", "prometheus"],
)
def test_a_day_of_shots_takes_no_more_memory_than_its_first_tenth(
    evcam, site, redis_url, event_exchange, camera
):
    cam = evcam(
        *("-c", camera, "-F", SHOT_EVERY, "--cleanup-freq", CLEANUP_EVERY),
        *("--max-tasks", 2_000, "--listen", site.address),
        *("-b", redis_url, "--event-exchange", event_exchange),
    )
    site.wait_value("evcam_connected", 1)

    publisher = Publisher(redis_url, exchange=event_exchange)
    publisher.send(WARM_TASKS * 3, rate=WARM_RATE, batch=_BATCH, kinds=20)
    publisher.close()
    site.wait_value("evcam_events_total", WARM_TASKS * 3, deadline=60)
    first = site.value("evcam_snapshots_total", result="taken")

    def resident(shots: float) -> float:
        """Return the MiB in use after so many shots."""
        wait_until(
            lambda: site.value("evcam_snapshots_total", result="taken") - first >= shots,
            deadline=500,
            what=lambda: f"{shots} shots:\n{site.metrics()}",
        )
        return site.value("process_resident_memory_bytes") / 2**20

    began = time.monotonic()
    flow = {"rate": DAY_RATE, "batch": _BATCH, "kinds": 20, "apart": DAY_RATE}
    flow["first"] = WARM_TASKS
    with publishing(redis_url, event_exchange, count=DAY_RATE * 600, **flow):
        tenths = [resident(SHOTS * tenth / 10) for tenth in range(1, 11)]
    seconds = time.monotonic() - began
    assert site.value("evcam_snapshots_total", result="failed") == 0
    assert site.value("evcam_cleanups_total", result="failed") == 0
    assert site.value("evcam_events_lost_total") == 0
    cleanups = site.value("evcam_cleanups_total", result="done")
    events = site.value("evcam_events_total")
    assert cam.stop(deadline=30) == 0, cam.stderr
    print(
        f"\n{SHOTS} shots of {events:.0f} events and {cleanups:.0f} cleanups "
        f"in {seconds:.0f} s; MiB after each tenth: " + " ".join(f"{each:.1f}" for each in tenths)
    )
    assert cleanups >= 20
    assert tenths[-1] <= tenths[0] * GROWTH


# --- a broker that comes and goes -----------------------------------------------------


def test_each_hole_that_restarts_of_the_broker_make_is_told(evcam, site, own_broker, tmp_path):
    cam = evcam(
        *("-c", "cams.Numbers", "-F", "200ms", "--listen", site.address), *("-b", own_broker.url)
    )
    site.wait_value("evcam_connected", 1)
    with Flow(own_broker.url, "celeryev", rate=1_000) as flow:
        for number in range(1, RESTARTS + 1):
            pours(flow)
            own_broker.kill()
            site.wait_value("evcam_connected", 0)
            assert site.get("/livez")[0] == 200
            assert site.get("/readyz")[0] == 503
            own_broker.start()
            site.wait_value("evcam_connected", 1, deadline=60)
            site.wait_value("evcam_reconnects_total", number)
        pours(flow)
    path = tmp_path / "numbers.jsonl"
    last = flow.sent - 1
    wait_until(lambda: last in numbers(frames_in(path)), deadline=20, what="the last event")
    assert cam.stop(deadline=30) == 0, cam.stderr
    frames = frames_in(path)
    assert [frame["sequence"] for frame in frames] == [*range(1, len(frames) + 1)]
    gaps = [gap for frame in frames for gap in frame["gaps"]]
    assert [gap["reason"] for gap in gaps] == ["reconnect"] * RESTARTS
    missing = {*range(flow.sent)} - numbers(frames)
    # How long before a hole an event was sent that fell into it; 0 for in it.
    early = [
        min(max(0.0, gap["from"] - sent) for gap in gaps if sent <= gap["to"])
        for sent in (flow.times[n] for n in missing)
    ]
    print(
        f"\n{flow.sent} events, {len(missing)} of them in {RESTARTS} holes of "
        + " ".join(f"{gap['to'] - gap['from']:.1f}" for gap in gaps)
        + f" s, or sent at most {max(early):.3f} s before one"
    )
    assert max(early) < ON_ITS_WAY


def frames_in(path: Path) -> list[dict[str, Any]]:
    """Return the frames of which there are whole lines."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def numbers(frames: list[dict[str, Any]]) -> set[int]:
    """Return the numbers of the events that came."""
    return {number for frame in frames for number in frame["numbers"]}


def pours(flow: Flow) -> None:
    """Wait until some more events were sent."""
    sent = flow.sent
    wait_until(lambda: flow.sent > sent + 500, deadline=30, what="a flow")
