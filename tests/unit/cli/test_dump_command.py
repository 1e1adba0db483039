import json

import pytest
from click.testing import CliRunner

from evtools.cli.dump_command import evdump

EVENTS = [
    {"type": "task-sent", "uuid": "1", "name": "a", "timestamp": 1.0},
    {"type": "task-failed", "uuid": "1", "exception": "E()", "timestamp": 2.0},
]


@pytest.fixture
def recording(tmp_path):
    """Write a recording and return its name."""
    lines = [json.dumps(event) for event in EVENTS]
    (tmp_path / "day.json").write_text("\n".join(lines) + "\n")
    return "day.json"


def test_the_common_options_come_first(cli):
    out = cli("-h").out
    assert out.index("Examples:") < out.index("Common:") < out.index("Broker:")
    common = out[out.index("Common:") : out.index("Selection:")]
    flags = [line.split(",")[0].strip() for line in common.splitlines() if ", --" in line]
    assert flags == ["-b", "-o", "-c", "-w", "-r"]


def test_a_recording_is_read_without_a_broker(cli, recording):
    ended = cli("-r", recording, "-o", "raw", "type:task-failed")
    assert ended.status == 0
    assert json.loads(ended.out)["exception"] == "E()"


def test_click_can_run_it_as_well(recording):
    ended = CliRunner().invoke(evdump, ["--show-config", "-r", recording])
    assert ended.exit_code == 0
    assert ended.stdout.startswith("# settings file: none")


def test_what_is_expected_decides_about_the_status(cli, recording):
    assert cli("-r", recording, "--expect", "type:task-failed", "-q").status == 0
    assert cli("-r", recording, "--expect", "type:task-retried", "-q").status == 1


def test_a_bad_filter_is_pointed_at(cli, recording):
    ended = cli("-r", recording, "nosuchfield:1")
    assert ended.status == 2
    assert "evdump: bad filter at column" in ended.err
    assert "^" in ended.err


def test_a_refused_broker_ends_at_once(cli):
    ended = cli("-b", "sqs://me:s3kr1t@")
    assert ended.status == 2
    assert "evdump: SQS is not supported" in ended.err
    assert "s3kr1t" not in ended.err


def test_an_unreachable_broker_is_told_with_its_source(cli):
    ended = cli(
        *("--no-reconnect", "--connect-timeout", "100ms"),
        BROKER_URL="redis://:s3kr1t@127.0.0.1:1/0",
    )
    assert ended.status == 69
    assert "cannot reach redis://:**@127.0.0.1:1/0: TCP: connection refused" in ended.err
    assert "tried: BROKER_URL." in ended.err
    assert "s3kr1t" not in ended.err


def test_pickles_are_warned_of(cli, recording):
    ended = cli("-r", recording, "--accept", "pickle")
    assert "evdump: warning: pickled events are decoded" in ended.err


def test_an_open_settings_file_is_warned_of(cli, config, recording):
    path = config("broker = 'redis://:pw@h'", mode=0o644)
    ended = cli("-r", recording)
    assert f"evdump: warning: {path} holds a password" in ended.err
    assert "holds a password" not in cli("-r", recording, "-q").err
