"""Recordings in rotation, and through pipes."""

from __future__ import annotations

import json
import re
import shlex
import signal
from contextlib import closing

import pytest
from publish import Publisher

from evtools.transport.recording import Compression
from servers.process import wait_until
from tools.flow import Flow


def lines_of(path):
    data = path.read_bytes()
    compression = Compression.of(path.name)
    text = b""
    while data:
        if compression is Compression.NONE:
            text, data = data, b""
        else:
            unpacker = compression.unpacker()
            text += unpacker.decompress(data)
            data = unpacker.unused_data
    assert text.endswith(b"\n") or not text
    return [json.loads(line) for line in text.splitlines()]


def numbers_in(paths):
    events = [event for path in paths for event in lines_of(path)]
    return [event["number"] for event in events if event["type"] == "task-progress"]


def oldest_first(folder, name):
    """Return the files of a rotation: NAME.2, NAME.1, NAME."""

    def age(path):
        number = re.search(r"\.(\d+)(\.gz|\.zst)?$", path.name)
        return -int(number[1]) if number else 0

    return sorted(folder.glob(f"{name}*"), key=age)


@pytest.mark.parametrize(("suffix", "size"), [("", 600_000), (".gz", 20_000), (".zst", 10_000)])
def test_a_rotation_by_size_loses_nothing_under_load(evdump, redis_url, tmp_path, suffix, size):
    file = tmp_path / f"rec.jsonl{suffix}"
    dump = evdump("-b", redis_url, "-w", file, "--rotate-size", str(size))
    dump.wait_ready()
    with closing(Publisher(redis_url)) as publisher:
        publisher.send(6000, rate=3000)
    wait_until(lambda: is_captured(dump, 6000), deadline=30, what=lambda: dump.stderr)
    assert dump.stop() == 0
    files = oldest_first(tmp_path, "rec")
    assert len(files) > 2
    assert all(path.stat().st_size <= size for path in files)
    assert sum(len(lines_of(path)) for path in files) == 6000
    replay = evdump(*(word for path in files for word in ("-r", path)), "-o", "json", "-q")
    assert replay.wait(deadline=40) == 0
    assert replay.stdout.count("\n") == 6000


def is_captured(dump, count):
    """Ask for the counters until they say so."""
    dump.send_signal(signal.SIGUSR1)
    return f"{count} captured" in dump.stderr


def test_a_rotation_by_time_keeps_the_newest_files(evdump, redis_url, tmp_path):
    file = tmp_path / "rec.jsonl"
    dump = evdump(
        *("-b", redis_url, "-w", file, "-l"), *("--rotate-every", "500ms", "--rotate-keep", "2")
    )
    dump.wait_ready()
    with Flow(redis_url, "celeryev"):
        oldest = tmp_path / "rec.jsonl.2"
        wait_until(oldest.exists, what="three files")
        first = numbers_in([oldest])[0]
        wait_until(lambda: (numbers_in([oldest]) or [first])[0] > first, what="a fourth file")
    assert dump.stop() == 0
    files = oldest_first(tmp_path, "rec")
    assert [path.name for path in files] == [*("rec.jsonl.2", "rec.jsonl.1", "rec.jsonl")]
    numbers = numbers_in(files)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_names_may_tell_the_time(evdump, redis_url, tmp_path):
    dump = evdump(
        *("-b", redis_url, "-w", tmp_path / "%Y-%m-%d_%H%M%S.jsonl", "-l"),
        *("--rotate-every", "1s"),
    )
    dump.wait_ready()
    with Flow(redis_url, "celeryev"):
        wait_until(lambda: len(list(tmp_path.iterdir())) >= 3, what="three files")
    assert dump.stop() == 0
    files = sorted(tmp_path.iterdir())
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d_\d{6}\.jsonl", p.name) for p in files)
    numbers = numbers_in(files)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_recording_without_print_prints_nothing(evdump, redis_url, sender, tmp_path):
    dump = evdump("-b", redis_url, "-w", tmp_path / "rec.jsonl", "-l")
    dump.wait_ready()
    sender(redis_url).send()
    wait_until(lambda: (tmp_path / "rec.jsonl").stat().st_size, what="the event")
    assert dump.stop() == 0
    assert dump.stdout == ""


def test_a_recording_goes_through_a_pipe(evdump, redis_url, sender):
    command = shlex.join(evdump("--version").argv[:-1])
    shell = f'{command} -b "$0" -w - | {command} -r - -o text'
    piped = evdump.start(["bash", "-c", shell, redis_url])
    piped.wait_stderr("listening")
    sender(redis_url).send("task-sent", uuid="u1", name="proj.add")
    assert "proj.add[u1]" in piped.wait_stdout("proj.add")


def test_a_killed_recording_can_be_read(evdump, redis_url, tmp_path):
    for name in ("rec.jsonl", "rec.jsonl.gz", "rec.jsonl.zst"):
        file = tmp_path / name
        dump = evdump("-b", redis_url, "-w", file, "-l")
        dump.wait_ready()
        with Flow(redis_url, "celeryev", rate=1000):
            wait_until(lambda file=file: file.stat().st_size > 5000, what="some data")
            dump.send_signal(signal.SIGKILL)
            dump.wait()
        replay = evdump("-r", file, "-o", "json")
        assert replay.wait() == 0
        numbers = [json.loads(line)["number"] for line in replay.stdout.splitlines()]
        assert len(numbers) > 20
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_replay_keeps_the_pace_it_is_told(evdump, tmp_path):
    tape = tmp_path / "tape.jsonl"
    lines = [{"type": "task-sent", "local_received": 1000 + i} for i in range(5)]
    tape.write_text("".join(json.dumps(line) + "\n" for line in lines))
    dump = evdump("-r", tape, "--speed", "4x", "--stats", "json")
    assert dump.wait() == 0
    summary = json.loads(dump.stderr.splitlines()[-1])
    assert summary["captured"] == 5
    assert summary["seconds"] >= 1


def test_a_part_of_a_recording_can_be_read(evdump, tmp_path):
    tape = tmp_path / "tape.jsonl"
    lines = [{"type": "a-b", "n": n, "local_received": n * 60} for n in range(10)]
    tape.write_text("".join(json.dumps(line) + "\n" for line in lines))
    dump = evdump(
        *("-r", tape, "-o", "json", "--stats", "json"),
        *("-S", "1970-01-01T00:02:30Z", "-U", "1970-01-01T00:05Z"),
    )
    assert dump.wait() == 0
    assert [json.loads(line)["n"] for line in dump.stdout.splitlines()] == [3, 4, 5]
