"""What signals do to evdump, and what it leaves behind when it ends."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import select
import signal
import sys

import pytest

from servers.process import wait_until
from tools.flow import Flow


@pytest.fixture
def shop(sender, redis_url):
    return sender(redis_url)


@pytest.fixture
def dump(evdump, redis_url):
    """A running evdump, connected."""
    started = evdump("-b", redis_url, "-o", "json")
    started.wait_ready()
    return started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_a_summary(dump, shop, number):
    shop.send()
    dump.lines(1)
    assert dump.stop(number) == 0
    assert "1 captured, 1 matched, 0 lost, 0 gaps" in dump.stderr
    assert json.loads(dump.stdout)["type"] == "task-progress"


@pytest.mark.parametrize(
    "words",
    [
        ("dump", "--demo", "-o", "json"),
        ("top", "--demo", "-B", "-n", "0", "-d", "0.2", "-o", "json"),
        ("cam", "--demo", "-c", "jsonl", "-F", "0.2"),
    ],
)
def test_what_is_ignored_when_a_tool_starts_stays_ignored(evdump, words):
    # As nohup, a shell's `&` and `trap ''` have it.
    names = ("HUP", "INT", "QUIT", "TERM", "TSTP")
    ignoring = ("env", f"--ignore-signal={','.join(names)}")
    started = evdump.start([*ignoring, sys.executable, "-m", "evtools", *words])
    started.lines(1)
    for name in names:
        started.send_signal(signal.Signals[f"SIG{name}"])
    started.lines(len(started.lines(1)) + 5)
    assert started.returncode is None


def test_ctrl_c_on_a_terminal_ends_it_with_a_summary(evdump, redis_url):
    dump = evdump("-b", redis_url, terminal=(80, 24), stderr_on_terminal=True)
    dump.wait_screen("listening")
    dump.type("\x03")
    assert dump.wait() == 0
    assert "0 captured, 0 matched" in dump.screen()


def test_ctrl_c_ends_it_while_it_looks_for_a_broker(evdump):
    dump = evdump("-b", "redis://127.0.0.1:1/0")
    dump.wait_stderr("trying again")
    assert dump.stop(signal.SIGINT) == 0


def test_a_second_ctrl_c_ends_it_at_once_when_nobody_reads(evdump, redis_url):
    dump = evdump("-b", redis_url, "-o", "json")
    dump.wait_ready()
    dump.pause_output()
    with Flow(redis_url, "celeryev", rate=5000) as flow:
        wait_until(lambda: is_full(f"/proc/{dump.pid}/fd/1"), deadline=30, what="a full pipe")
        # Whatever comes now it cannot write.
        more = flow.sent + 1
        wait_until(lambda: flow.sent > more, deadline=30, what="more events")
        dump.send_signal(signal.SIGINT)
        # The same key press seen twice is one; so press until it is another.
        wait_until(lambda: press(dump), deadline=5, what="the end")
    assert dump.returncode == 130
    assert "captured" not in dump.stderr
    dump.resume_output()


def is_full(pipe):
    """Say whether one could write nothing to a pipe now."""
    descriptor = os.open(pipe, os.O_WRONLY)
    writable = select.select([], [descriptor], [], 0)[1]
    os.close(descriptor)
    return not writable


def press(dump):
    if dump.returncode is None:
        dump.send_signal(signal.SIGINT)
    return dump.returncode is not None


def test_usr1_prints_the_counters_and_goes_on(dump, shop):
    for count in (1, 2):
        shop.send()
        dump.lines(count)
        dump.send_signal(signal.SIGUSR1)
        dump.wait_stderr(f"{count} captured, {count} matched")
    assert dump.returncode is None
    assert dump.stop() == 0
    assert dump.stderr.count("captured") == 3


def test_after_a_stop_it_tells_how_long_the_hole_was(dump, shop):
    shop.send(number=1)
    dump.lines(1)
    dump.send_signal(signal.SIGTSTP)
    dump.wait_stopped()
    shop.send(number=2)
    dump.send_signal(signal.SIGCONT)
    dump.wait_stderr("stopped for")
    records = [json.loads(line) for line in dump.lines(3)]
    (hole,) = (record for record in records if record["type"] == "evdump-gap")
    assert hole["reason"] == "stopped"
    assert hole["duration"] == pytest.approx(hole["to"] - hole["from"], abs=1e-5)
    # What waited in the meantime is not lost.
    assert [r["number"] for r in records if r is not hole] == [1, 2]
    assert dump.stop() == 0
    assert "1 gap (" in dump.stderr


def test_ctrl_z_and_fg_on_a_terminal(evdump, redis_url, shop):
    dump = evdump("-b", redis_url, terminal=(80, 24))
    dump.wait_ready()
    for _ in range(2):
        dump.type("\x1a")
        dump.wait_stopped()
        dump.continue_in_foreground()
        wait_until(lambda: not dump._is_stopped(), what="it to go on")
    dump.wait_stdout("without events: stopped")
    shop.send()
    dump.wait_screen("task-progress")
    dump.type("\x03")
    assert dump.wait() == 0


# --- recordings under logrotate ---------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_file_moved_away_under_load_loses_and_tears_no_line(evdump, redis_url, tmp_path, suffix):
    file = tmp_path / f"rec.jsonl{suffix}"
    moved = [tmp_path / f"moved{number}.jsonl{suffix}" for number in range(4)]
    dump = evdump("-b", redis_url, "-w", file, "-l")
    dump.wait_ready()
    with Flow(redis_url, "celeryev", rate=2000) as flow:
        for target in moved:
            wait_until(lambda: file.stat().st_size, what="something in the file")
            file.rename(target)
            dump.send_signal(signal.SIGHUP)
            wait_until(file.exists, what="a new file")
    # What was sent has arrived when something sent later has.
    assert dump.stop() == 0
    numbers = [
        event["number"]
        for path in (*moved, file)
        for event in events_in(path)
        if event["type"] == "task-progress"
    ]
    first = numbers[0]
    assert numbers == list(range(first, first + len(numbers)))
    assert numbers[-1] >= flow.sent - 50
    assert f"{len(numbers)} captured" in dump.stderr


def events_in(path):
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as file:
        text = file.read()
    assert text.endswith("\n") or not text
    return [json.loads(line) for line in text.splitlines()]


def test_hup_without_a_recording_ends_it(dump):
    assert dump.stop(signal.SIGHUP) == 0


# --- the reader goes away ---------------------------------------------------------


@pytest.mark.parametrize("output", ["text", "json", "csv"])
def test_a_reader_that_goes_away_ends_it_silently(evdump, redis_url, sender, tmp_path, output):
    dump = evdump("-b", redis_url, "-o", output, "-w", tmp_path / "rec", "--print")
    dump.wait_ready()
    shop = sender(redis_url)
    shop.send()
    dump.lines(1)
    said = dump.stderr
    close_reader(dump)
    sent = itertools.count(1)
    wait_until(lambda: shop.send(number=next(sent)) and dump.returncode is not None, what="its end")
    assert dump.returncode == -signal.SIGPIPE
    assert dump.stderr == said
    # What was recorded is whole.
    assert len(events_in(tmp_path / "rec")) >= 1


def close_reader(dump):
    """Close our end of its stdout, as head does when it has seen enough."""
    stream = dump.stdout_stream
    replacement = os.open(os.devnull, os.O_RDONLY)
    stream.pause()
    os.dup2(replacement, stream._descriptor)
    os.close(replacement)


def test_head_ends_a_replay_with_141(evdump, tmp_path):
    tape = tmp_path / "tape.jsonl"
    tape.write_text('{"type": "task-sent", "uuid": "u1"}\n' * 50_000)
    shell = "set -o pipefail; trap '' 0; \"$@\" | head -n 3"
    piped = evdump.start(
        ["bash", "-c", shell, "bash", *evdump("--version").argv[:-1], "-r", str(tape)]
    )
    assert piped.wait() == 141
    assert piped.stderr == ""
    assert piped.stdout.count("\n") == 3
