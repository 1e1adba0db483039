"""A recording looks as the stream looked, in every format."""

from __future__ import annotations

import gzip
import json
import signal
from collections import Counter

import pytest

from cluster.app import HOSTILE, odd_fields
from cluster.script import run_everything, send_custom_events
from evtools.dump.options import TABLES
from evtools.wire import GAP
from servers.process import wait_until
from tools.command import EvdumpStarter
from tools.flow import Sender

TEMPLATE = "{ts} {type} {name}[{uuid:8}] {queue} {runtime} {exception}"

#: Arguments of both runs, and the recording's file.
VARIANTS = {
    "text": (["-o", "text"], "rec.jsonl"),
    "text -v": (["-o", "text", "-v", "--full"], "rec.jsonl.gz"),
    "text -vv": (["-o", "text", "-vv"], "rec.jsonl.zst"),
    "text -q": (["-o", "text", "-q"], "rec.jsonl"),
    "colours": (["-o", "text", "-v", "--color", "always", "-H", "hostile"], "a.jsonl"),
    **{
        f"--ts {style}": (["-o", "text", "--ts", style], "rec.jsonl")
        for style in ("iso", "epoch", "delta", "start")
    },
    "json": (["-o", "json"], "rec.jsonl"),
    "pretty": (["-o", "pretty"], "rec.jsonl"),
    "logfmt": (["-o", "logfmt"], "rec.jsonl"),
    "csv": (["-o", "csv"], "rec.jsonl"),
    "raw": (["-o", "raw"], "rec.jsonl"),
    "template": (["--template", TEMPLATE], "rec.jsonl"),
    # What names the task came before what matches.
    "filtered": (["-o", "json", "type:task-failed OR type:test-end"], "rec.jsonl"),
    "filtered text": (["-o", "text", "-v", "name~add OR type:test-end"], "rec.jsonl"),
    "without heartbeats": (["-o", "text", "--no-heartbeats"], "rec.jsonl"),
    "redacted": (["-o", "json", "--redact", "args", "--redact", "/4411/"], "rec.jsonl"),
}


def recording(evdump, folder, url, exchange, name):
    arguments, file = VARIANTS[name]
    folder.mkdir()
    return evdump(
        *("-b", url, "--event-exchange", exchange, "-w", folder / file, "--print"), *arguments
    )


def replay(evdump, folder, name):
    arguments, file = VARIANTS[name]
    return evdump("-r", folder / file, *arguments)


@pytest.fixture(scope="module")
def evdumps(tmp_path_factory):
    starter = EvdumpStarter(tmp_path_factory.mktemp("evdump"))
    yield starter
    starter.end()


@pytest.fixture(scope="module")
def live(celery_worker, evdumps, tmp_path_factory):
    """Run all variants on one stream; return the output of each, and its replay."""
    url, exchange = celery_worker.broker_url, celery_worker.event_exchange
    root = tmp_path_factory.mktemp("live")
    folders = {name: root / name for name in VARIANTS}
    running = {
        name: recording(evdumps, folder, url, exchange, name) for name, folder in folders.items()
    }
    for name, dump in running.items():
        if "-q" in name:
            dump.wait_stdout("worker-heartbeat", deadline=60)
        else:
            dump.wait_ready(deadline=60)
    let_everything_happen(celery_worker)
    sender = Sender(url, exchange)
    for dump in running.values():
        # RabbitMQ may be late with what was sent on another connection.
        wait_until(
            lambda dump=dump: sender.send("test-end") and "test-end" in dump.stdout,
            deadline=20,
            what=f"the end of the stream of {dump.argv}",
        )
    sender.close()
    for dump in running.values():
        dump.send_signal(signal.SIGINT)
    for dump in running.values():
        assert dump.wait() == 0, dump.stderr
    printed = {name: dump.stdout_stream.data for name, dump in running.items()}
    replays = {name: replay(evdumps, folders[name], name) for name in VARIANTS}
    return {name: (printed[name], replays[name]) for name in VARIANTS}


def let_everything_happen(worker):
    from cluster.celery_capture import CeleryCapture

    capture = CeleryCapture(worker.broker_url, worker.event_exchange)
    capture.start()
    try:
        run_everything(worker.app, capture)
        send_custom_events(worker.app, order=1, name="named late", type_="x")
    finally:
        capture.stop()
    sender = Sender(worker.broker_url, worker.event_exchange)
    # Names that have a place of their own, in odd places and of odd types.
    sender.send_body('{"local_received": 1, "z": 2, "name": [], "type": "a-b"}')
    sender.send_body('{"z": 2, "args": [], "name": 3, "type": "worker-heartbeat"}')
    sender.send("a-b", z=1, name="late", uuid="u1", local_received=7, hostname=None)
    sender.send("task-failed", exception=[1], traceback={"a": HOSTILE}, uuid="u1")
    sender.send("task-sent", **odd_fields_in_json(), queue=HOSTILE, own="mine")
    sender.send("task-received", uuid="u2", name="n", args="a", timestamp="no time")
    sender.send("task-succeeded", uuid="u2", result=HOSTILE, runtime=1e300)
    sender.send("worker-heartbeat", loadavg=[], active="x", timestamp=1e18)
    sender.close()


def odd_fields_in_json():
    fields = odd_fields()
    return {k: v for k, v in fields.items() if isinstance(v, (str, int, list, dict))}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("broker", ["redis"], indirect=True)
@pytest.mark.parametrize("name", VARIANTS)
def test_a_replay_prints_what_the_live_run_printed(live, name):
    printed, again = live[name]
    assert again.wait(deadline=30) == 0
    assert again.stdout_stream.data == printed
    assert printed.count(b"\n") > 5


@pytest.mark.timeout(180)
def test_a_table_of_a_recording_is_that_of_the_live_stream(evdump, celery_worker, tmp_path):
    url, exchange = celery_worker.broker_url, celery_worker.event_exchange
    counting = [word for by in TABLES for word in ("-z", f"by:{by}")]
    recording = tmp_path / "rec.jsonl.gz"
    live = evdump("-b", url, "--event-exchange", exchange, "-w", recording, *counting)
    live.wait_ready(deadline=60)
    let_everything_happen(celery_worker)
    live.send_signal(signal.SIGINT)
    assert live.wait(deadline=30) == 0
    again = evdump("-r", recording, *counting)
    assert again.wait(deadline=30) == 0
    assert again.stdout == live.stdout
    tables = {table["by"]: table for table in map(json.loads, live.stdout.splitlines())}
    assert tuple(tables) == TABLES
    # As one counts the lines of the recording.
    events = [json.loads(line) for line in gzip.decompress(recording.read_bytes()).splitlines()]
    kinds = Counter(event["type"] for event in events)
    assert {row["key"]: row["events"] for row in tables["type"]["rows"]} == kinds
    failed = Counter(event.get("name") for event in events if event["type"] == "task-failed")
    rows = {row["key"]: row["failed"] for row in tables["name"]["rows"] if row["failed"]}
    assert rows == failed
    assert len(failed) > 1
    line = live.stderr.splitlines()[-1]
    assert f"ok {kinds['task-succeeded']}, failed {kinds['task-failed']}, " in line
    assert live.stderr.splitlines()[-1] == again.stderr.splitlines()[-1]


def test_a_gap_is_part_of_the_recording(evdump, own_redis, sender, tmp_path):
    url = own_redis.url
    formats = ["text", "json", "pretty", "logfmt", "csv", "raw"]
    running = {
        name: evdump("-b", url, "-o", name, "-w", tmp_path / name, "--print") for name in formats
    }
    for dump in running.values():
        dump.wait_ready(deadline=30)
    sender(url).send("task-sent", uuid="u1", name="proj.add")
    for dump in running.values():
        dump.wait_stdout("proj.add")
    own_redis.restart()
    for dump in running.values():
        dump.wait_stderr("connected again")
    sender(url).send("task-failed", uuid="u1", exception="X()")
    for name, dump in running.items():
        dump.wait_stdout("X()")
        assert dump.stop() == 0
        assert "1 gap (" in dump.stderr
        replay = evdump("-r", tmp_path / name, "-o", name)
        assert replay.wait() == 0
        assert replay.stdout_stream.data == dump.stdout_stream.data
        assert "1 gap (" in replay.stderr
        words = "without events: reconnect" if name == "text" else GAP
        assert words in dump.stdout


@pytest.mark.parametrize("how", ["-v", "-vv"])
def test_a_terminal_shows_a_replay_as_it_showed_the_stream(
    evdump, redis_url, sender, tmp_path, how
):
    file = tmp_path / "rec.jsonl"
    live = evdump("-b", redis_url, how, "-w", file, "--print", terminal=(80, 24))
    live.wait_ready()
    shop = sender(redis_url)
    shop.send("task-received", uuid="u1", name="proj.add", args=HOSTILE)
    shop.send("task-failed", uuid="u1", exception=HOSTILE, traceback=f"T\n  {HOSTILE}")
    shop.send("test-end")
    live.wait_stdout("test-end")
    assert live.stop() == 0
    replay = evdump("-r", file, how, terminal=(80, 24))
    assert replay.wait() == 0
    assert replay.stdout_stream.data == live.stdout_stream.data
    assert replay.screen() == live.screen()
    assert "proj.add" in live.screen()
