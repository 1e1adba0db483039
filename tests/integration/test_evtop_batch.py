"""evtop without a screen: as text, as a probe, as a check for supervisors."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from servers.process import wait_until
from tools.command import installed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cluster.worker import Worker

#: What is printed, and how, does not depend on the broker.
on_redis = pytest.mark.parametrize("broker", ["redis"], indirect=True)


@pytest.fixture
def evtop(evtop: Callable[..., Any]) -> Callable[..., Any]:
    """Start the real command with pipes."""
    return lambda *args, **how: evtop(*args, **{"terminal": None, **how})


@pytest.fixture
def own_worker(worker: Any, broker_url: str, event_exchange: str) -> Worker:
    """A worker for one test, on each kind of broker in turn."""
    made: Worker = worker(broker_url, event_exchange=event_exchange)
    return made


def at(worker: Worker) -> tuple[str, ...]:
    """Return the options that lead to where a worker is."""
    return ("-b", worker.broker_url, "--event-exchange", worker.event_exchange)


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line]


# --- -B -----------------------------------------------------------------------------

#: Until what is waited for is shown: workers may be late, the broker as long as the first takes.
BLOCKS = ("-B", "-n", "0", "-d", "3s")


def listening(path: Path) -> None:
    """Wait until evtop listens: until it has recorded the answer to its wake-up."""
    wait_until(
        lambda: path.exists() and "worker-heartbeat" in path.read_text(),
        deadline=20,
        what="a heartbeat in the recording",
    )


def test_the_tasks_of_a_worker_are_printed_as_its_events_tell(
    evtop, celery_worker, celery_capture, tmp_path
):
    capture = celery_capture(celery_worker.broker_url, celery_worker.event_exchange)
    path = tmp_path / "watched.jsonl"
    printing = evtop(*at(celery_worker), *BLOCKS, "-o", "json", "-w", path)
    listening(path)
    send = celery_worker.app.send_task
    ids = {"SUCCESS": send("cluster.add", args=(1, 2)).id, "FAILURE": send("cluster.fail").id}
    capture.wait_for_each(ids.values(), {"task-succeeded", "task-failed"})
    ended = {(uuid, state) for state, uuid in ids.items()}
    printing.wait_block(lambda text: ended <= {(row["uuid"], row["state"]) for row in rows(text)})
    assert printing.stop() == 0


@on_redis
@pytest.mark.parametrize("output", ["table", "csv", "json"])
def test_the_workers_are_printed_in_every_format(evtop, celery_worker, output):
    printing = evtop(*at(celery_worker), *BLOCKS, "--view", "workers", "-o", output, "-q")
    text = printing.wait_block(lambda text: celery_worker.hostname in text)
    assert printing.stop() == 0
    if output == "table":
        assert text.startswith("WORKER")
    elif output == "csv":
        [row] = csv.DictReader(text.splitlines())
        assert (row["worker"], row["status"]) == (celery_worker.hostname, "online")
    else:
        [row] = rows(text)
        assert (row["worker"], row["status"]) == (celery_worker.hostname, "online")
    assert printing.stderr == ""


@on_redis
def test_blocks_come_one_after_another_until_somebody_stops_it(evtop, celery_worker):
    printing = evtop(
        *at(celery_worker), "-B", "-n", "0", "-d", "1s", "--view", "workers", "-o", "csv"
    )
    printing.wait_stdout("\n\nworker,", deadline=30)
    assert printing.stop(signal.SIGINT) == 0
    blocks = printing.stdout.split("\n\n")
    assert len(blocks) >= 2
    assert all(block.startswith("worker,status,") for block in blocks)


def test_the_depth_of_queues_comes_from_the_broker(evtop, own_worker, tmp_path):
    only_here = {"destination": [own_worker.hostname], "timeout": 20}
    own_worker.app.control.cancel_consumer(own_worker.queue, reply=True, **only_here)
    # It says yes to that at once, and does it in its own time.
    wait_until(
        lambda: (
            own_worker.app.control.inspect(**only_here).active_queues() == {own_worker.hostname: []}
        ),
        deadline=40,
        what="a worker without queues",
    )
    path = tmp_path / "watched.jsonl"
    printing = evtop(
        *(*at(own_worker), *BLOCKS, "--view", "queues", "-o", "json"),
        *("--broker-stats", "-w", path),
    )
    listening(path)
    for _ in range(3):
        own_worker.app.send_task("cluster.add", args=(1, 2))
    depth = (own_worker.queue, 3)
    printing.wait_block(lambda text: depth in [(row["name"], row["depth"]) for row in rows(text)])
    assert printing.stop() == 0


@on_redis
def test_a_recording_by_evtop_is_replayed_by_both(evtop, evdump, celery_worker, tmp_path):
    path = tmp_path / "watched.jsonl.gz"
    recording = evtop(*at(celery_worker), *BLOCKS, "-w", path, "--view", "workers", "-o", "csv")
    recording.wait_block(lambda text: celery_worker.hostname in text)
    assert recording.stop() == 0
    again = evtop("-r", path, "-B", "--view", "workers", "-o", "csv")
    assert again.wait(deadline=30) == 0
    [row] = csv.DictReader(again.stdout.splitlines())
    assert row["worker"] == celery_worker.hostname
    dumped = evdump("-r", path, "-o", "json", "-q")
    assert dumped.wait(deadline=30) == 0
    assert celery_worker.hostname in {event["hostname"] for event in rows(dumped.stdout)}


def test_a_recording_by_evdump_is_shown_by_evtop(evtop, evdump, celery_worker, tmp_path):
    path = tmp_path / "dumped.jsonl"
    writing = evdump(*at(celery_worker), "-w", path)
    writing.wait_ready()
    uuid = celery_worker.app.send_task("cluster.add", args=(1, 2)).id
    wait_until(
        lambda: (
            path.exists()
            and any(
                f'"{uuid}"' in line and "task-succeeded" in line
                for line in path.read_text().splitlines()
            )
        ),
        deadline=20,
        what="the end of the task in the recording",
    )
    assert writing.stop() == 0
    shown = evtop("-r", path, "-B", "-o", "json", f"uuid:{uuid}")
    assert shown.wait(deadline=30) == 0
    [row] = rows(shown.stdout)
    assert (row["state"], row["name"]) == ("SUCCESS", "cluster.add")


def test_a_reader_that_goes_away_ends_it_as_it_ends_others():
    code = f"'{installed('evtop')}' --demo -B -n 0 -d 100ms | head -1; echo $PIPESTATUS"
    ended = subprocess.run(
        ["bash", "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    head, status = ended.stdout.splitlines()
    assert head.startswith("STATE")
    assert status == "141"
    assert ended.stderr == ""


# --- --expect -----------------------------------------------------------------------


@on_redis
def test_a_probe_ends_as_grep_does(evtop, celery_worker):
    probe, name = (*BLOCKS, "--view", "workers", "--expect"), celery_worker.hostname
    good = evtop(*at(celery_worker), *probe, f"worker={name}")
    good.wait_block(lambda text: name in text)
    assert good.stop() == 0
    assert re.search(r"([1-9]\d*) of \1 rows matched --expect", good.stderr)
    bad = evtop(*at(celery_worker), *probe, "worker=another", "-q")
    bad.wait_block(lambda text: name in text)
    assert bad.stop() == 1
    assert bad.stderr == ""


def test_a_broker_that_is_away_is_not_an_empty_cluster(evtop):
    printing = evtop("-b", "redis://127.0.0.1:1/0", "-B", "-d", "1s")
    assert printing.wait(deadline=30) == 69
    assert printing.stdout == ""
    assert "cannot reach redis://127.0.0.1:1/0" in printing.stderr


# --- --check ------------------------------------------------------------------------


def checked(evtop: Any, worker: Worker, *more: str) -> tuple[int, str]:
    """Check a worker; return status and line."""
    checking = evtop(*at(worker), "--check", f"worker={worker.hostname}", *more)
    status = checking.wait(deadline=60)
    [line] = checking.stdout.splitlines()
    return status, line


def test_a_check_follows_the_life_of_a_worker(evtop, own_worker):
    status, line = checked(evtop, own_worker, "--consuming", own_worker.queue)
    assert (status, line.partition(" ")[0]) == (0, "OK")
    status, line = checked(evtop, own_worker, "--consuming", "another")
    assert (status, line.partition(" ")[0]) == (2, "CRITICAL")
    assert "does not consume another" in line
    own_worker.freeze()
    status, line = checked(evtop, own_worker, "-d", "3s")
    assert (status, line.partition(" ")[0]) == (2, "CRITICAL")
    assert "sent no heartbeat in 3.00s and does not answer" in line
    own_worker.thaw()
    own_worker.wait_ready()
    assert checked(evtop, own_worker)[0] == 0
    own_worker.kill()
    status, line = checked(evtop, own_worker, "-d", "3s")
    assert status == 2


def test_a_worker_that_stops_while_it_is_checked_is_seen(evtop, own_worker):
    checking = evtop(
        *at(own_worker), *("--check", f"worker={own_worker.hostname}", "--max-idle", "6s")
    )
    own_worker.stop()
    assert checking.wait(deadline=60) == 2
    assert "CRITICAL" in checking.stdout


def test_a_worker_that_works_is_not_idle(evtop, own_worker, celery_capture):
    capture = celery_capture(own_worker.broker_url, own_worker.event_exchange)
    checking = evtop(
        *at(own_worker), *("--check", f"worker={own_worker.hostname}", "--max-idle", "30s")
    )
    pace, ids = threading.Event(), []
    while checking.returncode is None:
        ids.append(own_worker.app.send_task("cluster.add", args=(1, 2)).id)
        pace.wait(0.1)
    assert checking.wait() == 0
    assert " in " in checking.stdout
    capture.wait_for_each(ids, {"task-succeeded"})
    status, line = checked(evtop, own_worker, "--max-idle", "5s")
    assert status == 2
    assert "has processed no task in" in line


def test_a_worker_without_heartbeats_is_a_warning(evtop, worker, broker_url, event_exchange):
    quiet = worker(
        broker_url,
        event_exchange=event_exchange,
        arguments=("--without-heartbeat", "--without-gossip", "--without-mingle"),
    )
    status, line = checked(evtop, quiet, "-d", "3s", "--no-wakeup")
    assert (status, line.partition(" ")[0]) == (1, "WARNING")
    assert "answers, but sent no heartbeat" in line


def test_alerts_are_checked_with_what_events_and_the_broker_say(
    evtop, own_worker, celery_capture, tmp_path
):
    capture = celery_capture(own_worker.broker_url, own_worker.event_exchange)
    settings = tmp_path / "evtools.toml"
    queue = f"{own_worker.queue}-forgotten"
    settings.write_text(
        '[alert.failing]\nfilter = "state:failure name:refuse"\ncount = 3\nlevel = "warning"\n'
        f'[alert.waiting]\nview = "queues"\nfilter = "name={queue} depth>=3"\n'
    )
    common = (*at(own_worker), "--config", settings, "--check")
    checking = evtop(*common, "alerts", "-d", "40s")
    pace, ids = threading.Event(), []
    while checking.returncode is None:
        ids.append(own_worker.app.send_task("cluster.refuse").id)
        own_worker.app.send_task("cluster.add", args=(1, 2), queue=queue)
        pace.wait(0.2)
    assert checking.wait() == 2
    [line] = checking.stdout.splitlines()
    assert line.startswith(
        f"CRITICAL - waiting fires: name={queue} depth>=3: {queue}; failing fires"
    )
    assert "events, cluster.refuse | 'failing matched'=" in line
    capture.wait_for_each(ids, {"task-failed"})
    name = own_worker.hostname
    quiet = evtop(*common, "alert=failing", "--check", f"worker={name}", "-d", "6s")
    assert quiet.wait(deadline=40) == 0
    assert quiet.stdout.startswith(f"OK - {name} is alive")
    assert "; no alert fires of 1, watched for " in quiet.stdout
    refused = evtop(*common, "alert=faling")
    assert refused.wait() == 2
    assert "there is no alert faling" in refused.stderr
    assert "did you mean failing?" in refused.stderr
