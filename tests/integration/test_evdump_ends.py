"""When evdump ends, with which status, and what it says then."""

from __future__ import annotations

import json
import os
import re
import signal
import time

import pytest

from servers.process import wait_until
from tools.flow import Flow


@pytest.fixture
def shop(sender, redis_url):
    return sender(redis_url)


def test_it_ends_after_as_many_events_as_it_was_asked_for(evdump, redis_url):
    with Flow(redis_url, "celeryev"):
        dump = evdump("-b", redis_url, "-o", "json", "-c", "25")
        assert dump.wait() == 0
    numbers = [json.loads(line)["number"] for line in dump.stdout.splitlines()]
    assert numbers == list(range(numbers[0], numbers[0] + 25))
    assert "25 captured, 25 matched, 0 lost, 0 gaps" in dump.stderr


def test_only_events_that_match_count(evdump, redis_url, shop):
    dump = evdump("-b", redis_url, "-o", "json", "-c", "2", "type:task-failed")
    dump.wait_ready()
    for type_ in ("task-sent", "task-failed", "task-sent", "task-failed"):
        shop.send(type_, uuid="u1")
    assert dump.wait() == 0
    assert [json.loads(line)["type"] for line in dump.stdout.splitlines()] == [
        *("task-failed", "task-failed")
    ]
    assert "4 captured, 2 matched" in dump.stderr


@pytest.mark.parametrize(("count", "status"), [((), 0), (("-c", "2"), 124)])
def test_a_timeout_is_an_end_as_good_as_any_other_unless_more_was_wanted(
    evdump, redis_url, count, status
):
    began = time.monotonic()
    dump = evdump("-b", redis_url, "--timeout", "700ms", *count)
    assert dump.wait() == status
    assert time.monotonic() - began >= 0.7
    assert "0 captured" in dump.stderr


def test_a_timeout_ends_it_on_a_busy_stream_too(evdump, redis_url):
    with Flow(redis_url, "celeryev", rate=1000):
        dump = evdump("-b", redis_url, "--timeout", "1s")
        assert dump.wait() == 0


@pytest.mark.parametrize(("count", "status"), [((), 0), (("-c", "9"), 124)])
def test_it_ends_when_nothing_comes_any_more(evdump, tmp_path, count, status):
    # What comes is there before it starts, however long that takes.
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "pipe").open("r+b", buffering=0) as pipe:
        pipe.write(b'{"type": "task-sent", "uuid": "u1"}\n' * 3)
        dump = evdump("-r", tmp_path / "pipe", "--idle", "300ms", *count)
        assert dump.wait() == status
    assert "3 captured" in dump.stderr


def test_it_ends_when_nothing_comes_from_a_broker(evdump, redis_url):
    dump = evdump("-b", redis_url, "--idle", "300ms")
    assert dump.wait() == 0
    assert "0 captured" in dump.stderr


@pytest.mark.parametrize(("wanted", "status"), [("type:task-*", 0), ("name:nobody", 1)])
def test_what_was_expected_decides_the_status(evdump, redis_url, shop, wanted, status):
    dump = evdump("-b", redis_url, "--expect", wanted, "-o", "json")
    dump.wait_ready()
    shop.send()
    dump.lines(1)
    assert dump.stop() == status


def test_the_summary_can_be_json(evdump, redis_url, shop):
    dump = evdump("-b", redis_url, "--stats", "json", "-o", "json", "-c", "2")
    dump.wait_ready()
    shop.send_body("no json")
    shop.send_body('[{"type": "a-b"}, 7, {"type": "a-c"}]')
    assert dump.wait() == 0
    summary = json.loads(dump.stderr.splitlines()[-1])
    assert summary.pop("seconds") > 0
    assert summary == {
        "captured": 2,
        "matched": 2,
        "expected": 0,
        "lost": 0,
        "missed": 0,
        "gaps": 0,
        "gap_seconds": 0.0,
        "malformed": {"no JSON": 1, "no object": 1},
        "reconnects": 0,
        "buffered_bytes": 0,
        "states": {},
    }
    assert dump.stderr.count("left out: ") == 2


def test_quiet_leaves_out_the_summary(evdump, redis_url, shop):
    dump = evdump("-b", redis_url, "-q", "-o", "json")
    wait_until(lambda: shop.send() and dump.stdout, what="an event")
    assert dump.stop() == 0
    assert dump.stderr == ""


# --- outputs that fail --------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("-l",), ("-w", "/dev/full")])
def test_a_full_disk_is_73_with_one_line(evdump, tmp_path, options):
    tape = tmp_path / "tape.jsonl"
    tape.write_text('{"type": "task-sent", "uuid": "u1"}\n' * 5000)
    argv = evdump("--version").argv[:-1]
    dump = evdump.start(
        ["sh", "-c", 'exec "$@" >/dev/full', "sh", *argv, "-r", str(tape), *options]
    )
    assert dump.wait() == 73
    (line,) = dump.stderr.splitlines()
    where = "/dev/full" if "-w" in options else "stdout"
    assert re.fullmatch(f"evdump: cannot write (to )?{where}: No space left on device", line)


def test_a_full_disk_ends_a_live_run_too(evdump, redis_url, shop):
    dump = evdump("-b", redis_url, "-w", "/dev/full")
    dump.wait_ready()
    shop.send()
    assert dump.wait() == 73
    assert dump.stderr.splitlines()[1:] == [
        "evdump: cannot write /dev/full: No space left on device"
    ]


def test_a_file_that_cannot_be_made_is_73(evdump, redis_url, tmp_path):
    dump = evdump("-b", redis_url, "-w", tmp_path / "no" / "such" / "folder")
    assert dump.wait() == 73
    (line,) = dump.stderr.splitlines()
    assert line.endswith("No such file or directory")


def test_a_closed_stderr_stops_nothing(evdump, tmp_path):
    tape = tmp_path / "tape.jsonl"
    tape.write_text('{"type": "task-sent"}\nno event\n')
    argv = evdump("--version").argv[:-1]
    for redirection in ("2>&-", "2>/dev/full"):
        dump = evdump.start(["sh", "-c", f'exec "$@" {redirection}', "sh", *argv, "-r", str(tape)])
        assert dump.wait() == 0
        assert dump.stdout.count("\n") == 1


# --- wrong usage --------------------------------------------------------------------


def test_a_bad_filter_is_2_and_shown_with_a_caret(evdump):
    dump = evdump("-b", "redis://127.0.0.1:1/0", "state:failure runtme>2")
    assert dump.wait() == 2
    told, text, caret, *_ = dump.stderr.splitlines()
    assert "runtme" in told
    assert "runtime" in dump.stderr
    assert text.strip() == "state:failure runtme>2"
    assert caret.index("^") == text.index("runtme")
    assert caret.strip() == "^" * len("runtme")


#: Arguments, and a word of the answer.
WRONG = [
    (("--template", "{type"), "template"),
    (("-o", "template"), "--template"),
    (("-x", "state:("), "state"),
    (("--expect", "runtime>x"), "runtime"),
    (("-H", "(["), "regular expression"),
    (("-c", "0"), "0"),
    (("--event-queue-durable",), "exclusive"),
    (("--nonsense",), "--nonsense"),
    (("--speed", "2x"), "--read"),
    (("-r", "/no/such/file"), "No such file"),
    (("-r", "/"), "directory"),
]


def test_wrong_usage_is_2_and_touches_nothing(evdump, tmp_path):
    precious = tmp_path / "precious.jsonl"
    precious.write_text("what was here before\n")
    where = ("-b", "redis://127.0.0.1:1/0", "-w", precious, "--print")
    dumps = [evdump(*where, *arguments) for arguments, _ in WRONG]
    for dump, (_, word) in zip(dumps, WRONG, strict=True):
        assert dump.wait() == 2
        assert word in dump.stderr
        assert dump.stdout == ""
    assert precious.read_text() == "what was here before\n"


def test_a_recording_is_not_recorded_into_itself(evdump, tmp_path):
    tape = tmp_path / "tape.jsonl"
    tape.write_text('{"type": "task-sent"}\n')
    (tmp_path / "link.jsonl").symlink_to(tape)
    for target in (tape, tmp_path / "link.jsonl"):
        dump = evdump("-r", tape, "-w", target, "type:task-sent")
        assert dump.wait() == 2
        assert "overwrite" in dump.stderr
    assert tape.read_text() == '{"type": "task-sent"}\n'


def test_a_bad_settings_file_is_78(evdump, tmp_path):
    file = tmp_path / "evtools.toml"
    file.write_text("heartbeat = [")
    dump = evdump("--config", file)
    assert dump.wait() == 78
    assert str(file) in dump.stderr
    file.write_text('[dump]\nno_such_option = "x"\n')
    dump = evdump("--config", file, "--timeout", "1s", "--demo")
    assert dump.wait() in (0, 78)
    assert "no_such_option" in dump.stderr or "dump" in dump.stderr


def test_a_tape_that_is_none_is_2(evdump, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(os.urandom(5000))
    dump = evdump("-r", path)
    assert dump.wait() == 2
    assert "is no recording" in dump.stderr
    assert "captured" not in dump.stderr


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_ends_ends_it_no_sooner(evdump, tmp_path, number):
    (tmp_path / "hold").write_text("touch held; until [ -e go ]; do sleep 0.02; done")
    exec_ = ("--rotate-every", "1h", "--rotate-exec", f"sh {tmp_path / 'hold'}")
    dump = evdump("--demo", "-c", "1", "-w", tmp_path / "rec.jsonl", *exec_, cwd=tmp_path)
    wait_until((tmp_path / "held").exists, what="the program on the last file")
    dump.send_signal(number)
    (tmp_path / "go").touch()
    assert dump.wait() == 0
    assert "1 captured" in dump.stderr
