import json
import time

import pytest
from click.testing import CliRunner

from evtools.cli.top_command import evtop
from evtools.wire import encode_line

EVENTS = [
    {"type": "task-received", "uuid": "1", "name": "proj.a", "hostname": "w@h"},
    {"type": "task-failed", "uuid": "1", "exception": "E('x')", "hostname": "w@h"},
]


@pytest.fixture
def recording(tmp_path):
    """Write a recording of just now and return its name."""
    now = time.time()
    lines = [
        encode_line(event | {"timestamp": now, "local_received": now, "clock": n})
        for n, event in enumerate(EVENTS)
    ]
    (tmp_path / "day.json").write_bytes(b"\n".join(lines) + b"\n")
    return "day.json"


def test_a_recording_is_shown_without_a_broker(top, recording):
    ended = top("-B", "-r", recording, "-o", "json")
    assert ended.status == 0
    assert json.loads(ended.out)["name"] == "proj.a"


def test_click_can_run_it_as_well(recording):
    ended = CliRunner().invoke(evtop, ["--show-config", "-r", recording])
    assert ended.exit_code == 0
    assert ended.stdout.startswith("# settings file: none")


def test_settings_and_keys_are_shown_with_their_origin(top, top_shown, config):
    path = config("[evtop]\ntheme = 'light'\n[keys]\npause = ['P', 'Z']\n")
    shown = top_shown(EVTOP_WINDOW="1h", EVTOOLS_READ_ONLY="1")
    assert shown["theme"] == ('"light"', f"{path} [evtop]")
    assert shown["window"] == ('"1h"', "EVTOP_WINDOW")
    assert shown["read_only"] == ("true", "EVTOOLS_READ_ONLY")
    assert f'[keys]\npause = ["P", "Z"]  # {path}\n' in top("--show-config").out


def test_what_is_expected_decides_about_the_status(top, recording):
    batch = ("-B", "-r", recording, "-o", "csv")
    assert top(*batch, "--expect", "state:failure").status == 0
    ended = top(*batch, "--expect", "state:success")
    assert ended.status == 1
    assert "evtop: 0 of 1 rows matched --expect" in ended.err
    assert top(*batch, "--expect", "state:success", "-q").err == ""


def test_without_a_terminal_it_says_what_to_do_instead(top):
    ended = top("--demo")
    assert ended.status == 2
    assert "is not a terminal" in ended.err
    assert "evtop -B or evdump" in ended.err


def test_a_bad_filter_is_pointed_at(top, recording):
    ended = top("-B", "-r", recording, "nosuchfield:1")
    assert ended.status == 2
    assert "evtop: bad filter at column" in ended.err
    assert "^" in ended.err


def test_a_refused_broker_ends_at_once(top):
    ended = top("-B", "-b", "sqs://me:s3kr1t@")
    assert ended.status == 2
    assert "evtop: SQS is not supported" in ended.err
    assert "s3kr1t" not in ended.err


def test_an_unreachable_broker_is_told_with_its_source(top):
    ended = top("-B", "-d", "100ms", BROKER_URL="redis://:s3kr1t@127.0.0.1:1/0")
    assert ended.status == 69
    assert "cannot reach redis://:**@127.0.0.1:1/0" in ended.err
    assert "tried: BROKER_URL" in ended.err
    assert "s3kr1t" not in ended.err


def test_a_check_that_cannot_be_made_is_unknown(top):
    ended = top("--check", "worker=w@h", "-d", "100ms", "-b", "redis://127.0.0.1:1/0")
    assert ended.status == 3
    assert ended.out.startswith("UNKNOWN - cannot reach redis://127.0.0.1:1/0")
    assert ended.out.count("\n") == 1


def test_pickles_are_warned_of(top, recording):
    ended = top("-B", "-r", recording, "--accept", "pickle")
    assert "evtop: warning: pickled events are decoded" in ended.err


def test_a_screen_leaves_stderr_alone(top, config, tmp_path):
    config("broker = 'redis://:pw@h'", mode=0o644)
    ended = top("--demo")  # refused for want of a terminal, but after that
    assert "holds a password" not in ended.err
    log = tmp_path / ".local" / "state" / "evtools" / "evtop.log"
    assert "holds a password" in log.read_text()


def test_a_batch_warns_on_stderr(top, config, tmp_path):
    config("broker = 'redis://:pw@h'", mode=0o644)
    assert "holds a password" in top("-B", "-r", "none").err
    assert not (tmp_path / ".local").exists()


def test_a_log_file_of_ones_own_is_used_in_every_mode(top, config, tmp_path):
    config("broker = 'redis://:pw@h'", mode=0o644)
    ended = top("-B", "-r", "none", "--log-file", "my.log")
    assert "holds a password" not in ended.err
    assert "warning" in (tmp_path / "my.log").read_text()


def test_a_log_file_that_cannot_be_written_is_refused(top):
    ended = top("--demo", "--log-file", "none/x.log")
    assert ended.status == 73
    assert "cannot write none/x.log: No such file" in ended.err
