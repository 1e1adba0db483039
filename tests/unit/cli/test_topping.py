import io
import sys

import pytest

from evtools.cli.moment import LocalZone
from evtools.cli.top_command import evtop
from evtools.cli.topping import top_options
from evtools.errors import UsageError
from evtools.top.options import Check, TopOptions


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
                return top_options(ctx)

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
        (("-n", "2"), "--iterations means nothing without --batch"),
        (("-o", "csv"), "--output means nothing without --batch"),
        (("--json",), "--json means nothing without --batch"),
        (("--expect", "x"), "--expect means nothing without --batch"),
        (("--consuming", "q"), "--consuming means nothing without --check"),
        (("--max-idle", "1m"), "--max-idle means nothing without --check"),
        (("--speed", "2x"), "--speed means nothing without --read"),
        (("-S", "10m"), "--since means nothing without --read"),
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
def test_what_makes_no_sense_is_refused(options, arguments, words):
    with pytest.raises(UsageError, match=words):
        options(*arguments)


def test_the_settings_file_may_say_what_only_some_modes_need(options, config):
    config("[evtop]\noutput = 'json'\nspeed = '4x'\nmax_idle = '5m'\n")
    assert options().refresh == 1.0
