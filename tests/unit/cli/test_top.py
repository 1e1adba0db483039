import io
import os
import sys
import time
from dataclasses import replace

import pytest

from evtools.cli.top import _profile as switch_to
from evtools.cli.top import build_options, evtop
from evtools.errors import UsageError
from evtools.top.options import Check, TopOptions
from evtools.wire import encode_line
from tools.tty import Terminal


@pytest.fixture
def options(monkeypatch):
    """Return the options of a command line, typed at a terminal."""

    def make(*arguments, elsewhere=""):
        with monkeypatch.context() as patch:
            for name in ("stdin", "stdout"):
                patch.setattr(sys, name, io.StringIO() if name == elsewhere else Terminal())
            with evtop.make_context("evtop", list(arguments)) as ctx:
                return build_options(ctx)

    return make


BATCH = {"batch": True, "refresh": 5.0, "speed": float("inf")}
CHECK = Check(workers=("w@h",))


@pytest.mark.parametrize(
    ("cols", "typed", "view"),
    [
        (120, "", "overview"), (100, "--heartbeat 3", "overview"), (99, "", "tasks"),
        (120, "state:failure", "tasks"), (120, "--sort name", "tasks"), (120, "-B", "tasks"),
        (120, "--view workers", "workers"), (80, "--view overview", "overview"),
    ],
)  # fmt: skip
def test_it_begins_with_the_overview_where_there_is_room(options, monkeypatch, cols, typed, view):
    monkeypatch.setattr(Terminal, "fileno", lambda _: 1)
    monkeypatch.setattr("os.get_terminal_size", lambda _: os.terminal_size((cols, 40)))
    assert options(*typed.split()).view == view


@pytest.mark.parametrize(
    ("typed", "fields"),
    [
        ("", {}),
        ("a b --view types --window 1h --sort -rate --columns name,,rate,",
         {"filter": "a b", "view": "types", "window": "1h", "sort": "-rate",
          "columns": ("name", "rate")}),
        ("-F a|b", {"filter": "a|b"}),
        ("x y -F a|b", {"filter": "(x y) (a|b)"}),
        ("-d 500ms --ts utc --theme cb --ascii --mouse --max-tasks 7 --max-memory 1M",
         {"refresh": 0.5, "time_style": "utc", "theme": "cb", "ascii": True, "mouse": True,
          "max_tasks": 7, "max_memory": 2**20}),
        ("--broker-stats --read-only --redact pin -w out.jsonl -q --color never",
         {"broker_stats": True, "read_only": True, "redact": ("pin",), "write": "out.jsonl",
          "quiet": True, "colour": False}),
        ("--color always --demo", {"demo": True}),
        ("--history h --history-size 2M", {"history": "h", "history_size": 2**21}),
        ("-r a -r b", {"read": ("a", "b")}),
        ("-r a --speed 10x -S 1795000000 -U 1795000009",
         {"read": ("a",), "speed": 10.0, "since": 1795000000.0, "until": 1795000009.0}),
        ("-B", BATCH),
        ("-B -d 50ms -n 0", BATCH | {"refresh": 0.05, "iterations": 0}),
        ("-B -o csv --expect x", BATCH | {"output": "csv", "expect": "x"}),
        ("-B --json", BATCH | {"output": "json"}),
        ("-B --json -o json", BATCH | {"output": "json"}),
        ("-B -r a --speed 2x", BATCH | {"read": ("a",), "speed": 2.0}),
        ("--check worker=w@h", {"check": CHECK, "refresh": 10.0}),
        ("--check w@h --check w@h -d 3", {"check": CHECK, "refresh": 3.0}),
        ("--check w@h --consuming a --consuming b --max-idle 5m",
         {"check": replace(CHECK, queues=("a", "b"), max_idle=300.0), "refresh": 10.0}),
    ],
)  # fmt: skip
def test_every_option_reaches_its_field(options, monkeypatch, typed, fields):
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    made = options(*typed.split())
    assert made == replace(TopOptions(zone=made.zone), **fields)


def test_alerts_of_the_settings_file_are_checked_for_as_long_as_what_must_last(options, config):
    config('[alert.mail]\nfilter = "x"\nfor = "1m"\n[alert.web]\nfilter = "y"\n')
    alerts = {rule.name: rule for rule in options("--demo").alerts}
    assert {*alerts} == {"mail", "web"}
    check = options("--check", "alerts").check
    assert (check.workers, check.alerts, check.watch) == ((), tuple(alerts.values()), 70.0)
    check = options("--check", "alert=web", "--check", "w@h", "--check", "web", "-d", "3").check
    assert (check.workers, check.alerts, check.watch) == (("w@h", "web"), (alerts["web"],), 3.0)
    for typed, words in (
        ("alert=wbe", "--check: there is no alert wbe"),
        ("alerts --max-idle 5m", "--max-idle requires --check worker=NAME"),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            options("--check", *typed.split())
        assert caught.value.hint in ("did you mean web?", "")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("--check alerts", "--check: there are no alerts"),
        ("-n 2", "--iterations requires --batch"),
        ("-o csv", "--output requires --batch"),
        ("--json", "--json requires --batch"),
        ("--expect x", "--expect requires --batch"),
        ("--consuming q", "--consuming requires --check"),
        ("--max-idle 1m", "--max-idle requires --check"),
        ("--speed 2x", "--speed requires --read"),
        ("-S 10m", "--since requires --read"),
        ("-r x --demo", "--read and --demo exclude each other"),
        ("-r x -w y", "--read and --write exclude each other"),
        ("-r x --broker-stats", "exclude each other"),
        ("-r x --check worker=w@h", "exclude each other"),
        ("-B --check worker=w@h", "--batch and --check exclude each other"),
        ("-w x --check worker=w@h", "exclude each other"),
        ("-B --history h", "--batch and --history exclude each other"),
        ("-r x --history h", "--read and --history exclude each other"),
        ("--history h --history-size 9", "--history-size is too small"),
        ("-B --json -o csv", "-o csv and --json exclude each other"),
        ("-w -", "does not record to stdout"),
        ("-r x -S 5m -U 10m", "--until is before --since"),
        ("-r x -S 14:00 -U 14:00", "--until is before --since"),
        ("-d 100ms", "--delay: 0.1s is too short"),
        ("redis://h", "looks like a broker URL"),
    ],
)
def test_options_that_conflict_are_refused(options, typed, words):
    with pytest.raises(UsageError, match=words):
        options(*typed.split())


def test_a_history_in_the_settings_is_for_the_screen(options, config):
    config("[evtop]\nhistory = 'h'\n")
    assert options().history == "h"
    assert not options("-B").history


def test_a_profile_can_be_switched_to_with_what_was_typed_but_for_the_broker(monkeypatch, config):
    path = config(
        "broker = 'redis://top'\n[profile.eu]\nbroker = 'redis://eu'\n[profile.eu.evtop]\n"
        "window = '1h'\n[profile.all]\nbroker = ['a=redis://a', 'b=redis://b']\n"
        "[profile.sqs]\nbroker = 'sqs://x'\n[profile.bad]\nbroker = ['a=redis://a', 'redis://b']\n"
    )
    for name in ("stdin", "stdout"):
        monkeypatch.setattr(sys, name, Terminal())
    typed = ["-b", "redis://:typed@x", "--heartbeat", "3", "--theme", "mono", "--profile", "eu"]
    ctx = evtop.make_context("evtop", typed)
    options, [eu] = switch_to(ctx, "eu")
    assert (eu.urls, eu.heartbeat, eu.source_of_url) == ("redis://eu", 3.0, f"{path} [profile.eu]")
    assert (options.window, options.theme) == ("1h", "mono")
    options, clusters = switch_to(ctx, "all")
    assert [(one.cluster, one.urls) for one in clusters] == [("a", "redis://a"), ("b", "redis://b")]
    assert options.window == "5m"
    for name, why in (("sqs", "SQS is not supported"), ("bad", "not all have a name")):
        with pytest.raises(UsageError, match=why):
            switch_to(ctx, name)
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://elsewhere")
    with pytest.raises(UsageError, match="CELERY_BROKER_URL takes the place"):
        switch_to(ctx, "eu")


def test_the_settings_file_may_set_what_only_some_runs_need(options, config):
    config("[evtop]\noutput = 'csv'\nspeed = '4x'\nmax_idle = '5m'\n[keys]\nquit = ['X', 'q']\n")
    assert options().refresh == 1.0
    assert options().keys == {"quit": ["X", "q"]}
    assert options("-B").output == "csv"
    assert options("-B", "--json").output == "json"


@pytest.mark.parametrize("stream", ["stdout", "stdin"])
def test_a_screen_needs_a_terminal(options, stream):
    with pytest.raises(UsageError, match=f"{stream} is not a terminal") as caught:
        options(elsewhere=stream)
    assert "evtop -B or evdump" in caught.value.hint
    assert options("-B", elsewhere=stream).batch
    assert options("--check", "worker=w@h", elsewhere=stream).check


def test_without_utf_8_a_screen_is_ascii(options, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    assert options().ascii
    assert not options("-B").ascii


# --- the command --------------------------------------------------------------------

EVENTS = [
    {"type": "task-received", "uuid": "1", "name": "proj.a", "hostname": "w@h"},
    {"type": "task-failed", "uuid": "1", "exception": "E('x')", "hostname": "w@h"},
]


@pytest.fixture
def recording(tmp_path):
    """Write a recording of just now and return its name."""
    at = {"timestamp": time.time(), "local_received": time.time()}
    lines = [encode_line(event | at | {"clock": n}) for n, event in enumerate(EVENTS)]
    (tmp_path / "day.json").write_bytes(b"\n".join(lines) + b"\n")
    return "day.json"


def test_settings_and_keys_are_shown_with_their_origin(top, top_shown, config):
    path = config("[evtop]\ntheme = 'light'\n[keys]\npause = ['P', 'Z']\n")
    shown = top_shown(EVTOP_WINDOW="1h", EVTOOLS_READ_ONLY="1")
    assert shown["theme"] == ('"light"', f"{path} [evtop]")
    assert shown["window"] == ('"1h"', "EVTOP_WINDOW")
    assert shown["read_only"] == ("true", "EVTOOLS_READ_ONLY")
    assert f'[keys]\npause = ["P", "Z"]  # {path}\n' in top("--show-config").out


def test_the_filter_of_expect_decides_about_the_status(top, recording):
    batch = ("-B", "-r", recording, "-o", "csv")
    ended = top(*batch, "--expect", "state:failure")
    assert (ended.status, ended.err) == (0, "evtop: 1 of 1 rows matched --expect\n")
    ended = top(*batch, "--expect", "state:success")
    assert ended.status == 1
    assert "evtop: 0 of 1 rows matched --expect" in ended.err
    assert top(*batch, "--expect", "state:success", "-q").err == ""


@pytest.mark.parametrize(
    ("typed", "status", "out", "err"),
    [
        ("--demo", 2, "", "is not a terminal"),
        ("-B -r day.json nosuchfield:1", 2, "", "evtop: bad filter at column"),
        ("-B -b sqs://me:s3kr1t@", 2, "", "evtop: SQS is not supported"),
        ("-B -d 100ms -b redis://:s3kr1t@127.0.0.1:1/0", 69, "",
         "cannot reach redis://:**@127.0.0.1:1/0: TCP: connection refused"),
        ("--check w@h -d 100ms -b redis://127.0.0.1:1/0", 3,
         "UNKNOWN - cannot reach redis://127.0.0.1:1/0", ""),
        ("--demo --log-file none/x.log", 73, "", "cannot write none/x.log: No such"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("until_tried")
def test_a_failure_has_a_status_and_a_reason(top, recording, typed, status, out, err):
    ended = top(*typed.split())
    assert ended.status == status
    assert ended.out.startswith(out)
    assert err in ended.err
    assert "s3kr1t" not in ended.out + ended.err


@pytest.mark.parametrize(
    ("arguments", "log"),
    [
        (("--demo",), ".local/state/evtools/evtop.log"),  # refused, but after the warning
        (("-B", "-r", "none"), None),
        (("-B", "-r", "none", "--log-file", "my.log"), "my.log"),
    ],
)
def test_a_screen_logs_to_a_file_and_a_batch_to_stderr(top, config, tmp_path, arguments, log):
    config("broker = 'redis://:pw@h'", mode=0o644)
    err = top(*arguments).err
    assert ("holds a password" in err) is (log is None)
    assert (tmp_path / ".local").exists() is (log is not None and log.startswith(".local"))
    if log:
        assert "holds a password" in (tmp_path / log).read_text()
