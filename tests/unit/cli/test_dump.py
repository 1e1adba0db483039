import io
import json
import sys
from datetime import UTC

import pytest

from evtools.cli.dump import build_options, evdump
from evtools.cli.types import LocalZone
from evtools.dump.options import DumpOptions
from evtools.errors import UsageError


class Terminal(io.StringIO):
    def isatty(self):
        return True


def options(*arguments):
    with evdump.make_context("evdump", list(arguments)) as ctx:
        return build_options(ctx)


def test_into_a_pipe_goes_json():
    made = options()
    assert isinstance(made, DumpOptions)
    assert (made.output, made.colour, made.print) == ("json", False, True)
    assert made.heartbeats
    assert isinstance(made.zone, LocalZone)


def test_on_a_terminal_comes_coloured_text(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    made = options()
    assert (made.output, made.colour, made.colour_stderr) == ("text", True, False)
    assert not options("--color", "never").colour
    assert options("--color", "always").colour_stderr


def test_every_option_reaches_its_field(tmp_path):
    (tmp_path / "filter").write_text("# all of\ntype:a\n  # and\nname:b\n")
    made = options(
        *("state:failure", "runtime>2", "-x", "x", "-x", "y", "-F", "filter"),
        *("--no-heartbeats", "--redact", "password", "--expect", "type:z"),
        *("-c", "3", "--timeout", "1m", "--idle", "10s"),
        *("-r", "in.json", "--speed", "10x", "-S", "1795000000", "-U", "1795000001"),
        *("-o", "logfmt", "--ts", "utc", "--full", "-H", "x", "-l", "-vv", "-q"),
        *("--stats", "json"),
    )
    assert made == DumpOptions(
        filters=("state:failure runtime>2", "type:a\nname:b"),
        excludes=("x", "y"),
        heartbeats=False,
        redact=("password",),
        expect="type:z",
        count=3,
        timeout=60.0,
        idle=10.0,
        read=("in.json",),
        speed=10.0,
        since=1795000000.0,
        until=1795000001.0,
        output="logfmt",
        timestamps="utc",
        zone=UTC,
        full=True,
        highlight="x",
        line_buffered=True,
        verbosity=2,
        quiet=True,
        stats="json",
    )


def test_a_recording_is_not_printed_unless_asked():
    made = options("-w", "f", "--rotate-size", "1K", "--rotate-keep", "2")
    assert (made.write, made.print) == ("f", False)
    assert (made.rotate_size, made.rotate_every, made.rotate_keep) == (1024, None, 2)
    assert options("-w", "f", "--print").print


def test_a_template_chooses_its_format(tmp_path):
    (tmp_path / "t").write_text("{type}")
    assert options("--template", "{name}").output == "template"
    assert options("-T", "t").template == "{type}"
    assert options("-o", "template", "-T", "t").output == "template"


def test_json_has_a_short_name(monkeypatch):
    assert options("--json").output == "json"
    assert options("--json", "-o", "json").output == "json"
    monkeypatch.setenv("EVDUMP_OUTPUT", "csv")
    assert options().output == "csv"
    assert options("--json").output == "json"


@pytest.mark.parametrize(
    ("flags", "style"),
    [
        ((), "local"),
        (("-t",), "none"),
        (("-tt",), "epoch"),
        (("-ttt",), "delta"),
        (("-tttt",), "iso"),
        (("-ttttt",), "start"),
        (("-tttttt",), "start"),
        (("--ts", "iso"), "iso"),
    ],
)
def test_timestamps_are_counted_as_in_tcpdump(flags, style):
    assert options(*flags).timestamps == style


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-r", "f", "--demo"), "--read and --demo"),
        (("--speed", "1x"), "--speed requires --read"),
        (("-S", "10m"), "--since requires --read"),
        (("-r", "f", "-S", "10m", "-U", "20m"), "--until is before --since"),
        (("-w", "-", "--print"), "--print and -w -"),
        (("--rotate-size", "1K"), "--rotate-size requires --write"),
        (("-w", "f", "--rotate-keep", "1"), "needs --rotate-size or --rotate-every"),
        (("--template", "x", "-T", "t"), "--template and --template-file"),
        (("--json", "--template", "x"), "--json and --template"),
        (("--json", "-o", "csv"), "-o csv and --json"),
        (("-o", "csv", "--template", "x"), "-o csv and --template"),
        (("-o", "template"), "-o template needs"),
        (("--ts", "utc", "-t"), "--ts and -t"),
        (("redis://:s3kr1t@h/0",), "looks like a broker URL"),
    ],
)
def test_what_makes_no_sense_together_is_refused(tmp_path, arguments, words):
    (tmp_path / "t").write_text("x")
    with pytest.raises(UsageError, match=words) as caught:
        options(*arguments)
    assert caught.value.hint
    assert "s3kr1t" not in caught.value.message


def test_the_settings_file_may_say_what_only_some_runs_need(config):
    config("[evdump]\nspeed = '4x'\nrotate_size = '1M'\nrotate_keep = 3\n")
    assert options().read == ()
    assert options("-w", "f").rotate_size == 2**20
    assert options("-w", "-").rotate_size is None
    # That one is asked for what it cannot do.
    assert options("-w", "-", "--rotate-size", "1K").rotate_size == 1024


def test_a_flag_beats_what_the_settings_file_has_for_the_same(config):
    config("[evdump]\nts = 'utc'\ntemplate = '{type}'\n")
    assert options("-tt").timestamps == "epoch"
    assert options().output == "template"
    assert options("--json").output == "json"
    assert options("-o", "csv").output == "csv"


def test_a_filter_that_the_shell_took_apart_is_refused(tmp_path, monkeypatch):
    with (tmp_path / "2").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        with pytest.raises(UsageError) as caught:
            options("state:failure", "runtime")
    assert "did the shell take your" in caught.value.hint


# --- the command --------------------------------------------------------------------

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


def test_a_recording_is_read_without_a_broker(cli, recording):
    ended = cli("-r", recording, "-o", "raw", "type:task-failed")
    assert ended.status == 0
    assert json.loads(ended.out)["exception"] == "E()"


def test_what_is_expected_decides_about_the_status(cli, recording):
    assert cli("-r", recording, "--expect", "type:task-failed", "-q").status == 0
    assert cli("-r", recording, "--expect", "type:task-retried", "-q").status == 1


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


def test_an_open_settings_file_is_warned_of(cli, config, recording):
    path = config("broker = 'redis://:pw@h'", mode=0o644)
    ended = cli("-r", recording)
    assert f"evdump: warning: {path} holds a password" in ended.err
    assert "holds a password" not in cli("-r", recording, "-q").err
