import io
import json
import sys
import time

import pytest

from evtools.cli.top import build_options, evtop
from evtools.cli.types import LocalZone
from evtools.errors import UsageError
from evtools.top.options import Check, TopOptions
from evtools.wire import encode_line


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def options(monkeypatch):
    """Return the options of a command line, typed at a terminal."""

    def make(*arguments, elsewhere=""):
        with monkeypatch.context() as patch:
            for name in ("stdin", "stdout"):
                stream = io.StringIO() if name == elsewhere else Terminal()
                patch.setattr(sys, name, stream)
            with evtop.make_context("evtop", list(arguments)) as ctx:
                return build_options(ctx)

    return make


def test_without_options_all_is_as_the_options_have_it(options):
    made = options()
    assert made == TopOptions(zone=made.zone)
    assert isinstance(made.zone, LocalZone)


def test_every_option_of_the_screen_reaches_its_field(options):
    made = options(
        *("state:failure", "runtime>2", "--view", "types", "--sort", "-rate"),
        *("--window", "1h", "--columns", "name, rate,", "-d", "500ms", "--ts", "utc"),
        *("--theme", "cb", "--ascii", "--mouse", "--max-tasks", "7"),
        *("--max-memory", "1M", "--broker-stats", "--read-only", "--redact", "pin"),
        *("-w", "out.jsonl", "-q", "--color", "never", "--demo"),
    )
    assert made == TopOptions(
        view="types",
        filter="state:failure runtime>2",
        sort="-rate",
        window="1h",
        columns=("name", "rate"),
        redact=("pin",),
        max_tasks=7,
        max_memory=2**20,
        refresh=0.5,
        theme="cb",
        ascii=True,
        mouse=True,
        colour=False,
        time_style="utc",
        zone=made.zone,
        read_only=True,
        broker_stats=True,
        write="out.jsonl",
        demo=True,
        quiet=True,
    )


def test_every_option_of_a_replay_reaches_its_field(options):
    made = options(*("-r", "in.jsonl", "--speed", "10x", "-S", "1795000000", "-U", "1795000001"))
    assert (made.read, made.speed) == (("in.jsonl",), 10.0)
    assert (made.since, made.until) == (1795000000.0, 1795000001.0)


def test_every_option_of_the_batch_mode_reaches_its_field(options):
    made = options("-B", "-n", "0", "-o", "csv", "--expect", "name:x")
    assert (made.batch, made.iterations, made.output) == (True, 0, "csv")
    assert (made.expect, made.refresh) == ("name:x", 5.0)


def test_a_check_is_of_workers_queues_and_time(options):
    made = options(
        *("--check", "worker=w1@h", "--check", "worker=w2@h", "--check", "worker=w1@h"),
        *("--consuming", "mail", "--consuming", "img", "--max-idle", "5m"),
    )
    assert made.check == Check(workers=("w1@h", "w2@h"), queues=("mail", "img"), max_idle=300.0)
    assert made.refresh == 10.0


def test_the_time_is_what_was_given_in_every_mode(options):
    assert options("-d", "3s").refresh == 3.0
    assert options("-B", "-d", "50ms").refresh == 0.05
    assert options("--check", "worker=w@h", "-d", "3").refresh == 3.0


def test_a_batch_reads_a_recording_at_once(options):
    assert options("-B", "-r", "x").speed == float("inf")
    assert options("-B", "-r", "x", "--speed", "2x").speed == 2.0
    assert options("-r", "x").speed == 1.0


def test_filters_of_both_kinds_must_match(options):
    assert options("-F", "a OR b").filter == "a OR b"
    assert options("x", "y", "-F", "a OR b").filter == "(x y) (a OR b)"


def test_json_is_an_output_like_others(options):
    assert options("-B", "--json").output == "json"
    assert options("-B", "--json", "-o", "json").output == "json"
    with pytest.raises(UsageError, match="-o csv and --json exclude each other"):
        options("-B", "--json", "-o", "csv")


def test_a_flag_beats_the_output_of_the_settings_file(options, config):
    config("[evtop]\noutput = 'csv'\n")
    assert options("-B").output == "csv"
    assert options("-B", "--json").output == "json"


def test_keys_come_from_the_settings_file(options, config):
    config("[keys]\npause = 'P'\nquit = ['X', 'ctrl-c']\n")
    assert options().keys == {"pause": "P", "quit": ["X", "ctrl-c"]}


def test_colours_are_up_to_the_terminal(options, monkeypatch):
    assert options().colour
    monkeypatch.setenv("NO_COLOR", "1")
    assert not options().colour
    assert options("--color", "always").colour


@pytest.mark.parametrize("stream", ["stdout", "stdin"])
def test_a_screen_needs_a_terminal(options, stream):
    with pytest.raises(UsageError, match=f"{stream} is not a terminal") as caught:
        options(elsewhere=stream)
    assert "evtop -B or evdump" in caught.value.hint
    assert options("-B", elsewhere=stream).batch
    assert options("--check", "worker=w@h", elsewhere=stream).check


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-n", "2"), "--iterations requires --batch"),
        (("-o", "csv"), "--output requires --batch"),
        (("--json",), "--json requires --batch"),
        (("--expect", "x"), "--expect requires --batch"),
        (("--consuming", "q"), "--consuming requires --check"),
        (("--max-idle", "1m"), "--max-idle requires --check"),
        (("--speed", "2x"), "--speed requires --read"),
        (("-S", "10m"), "--since requires --read"),
        (("-r", "x", "--demo"), "--read and --demo exclude each other"),
        (("-r", "x", "-w", "y"), "--read and --write exclude each other"),
        (("-r", "x", "--broker-stats"), "exclude each other"),
        (("-r", "x", "--check", "worker=w@h"), "exclude each other"),
        (("-B", "--check", "worker=w@h"), "--batch and --check exclude each other"),
        (("-w", "x", "--check", "worker=w@h"), "exclude each other"),
        (("-w", "-"), "does not record to stdout"),
        (("-r", "x", "-S", "5m", "-U", "10m"), "--until is before --since"),
        (("-d", "100ms"), "--delay: 0.1s is too short"),
        (("redis://h",), "looks like a broker URL"),
    ],
)
def test_options_that_conflict_are_refused(options, arguments, words):
    with pytest.raises(UsageError, match=words):
        options(*arguments)


def test_the_settings_file_may_say_what_only_some_modes_need(options, config):
    config("[evtop]\noutput = 'json'\nspeed = '4x'\nmax_idle = '5m'\n")
    assert options().refresh == 1.0


# --- the command --------------------------------------------------------------------

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


def test_an_unreachable_broker_is_reported_with_its_source(top):
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
