import sys
from dataclasses import replace
from datetime import UTC

import pytest

from evtools.cli.dump import build_options, evdump
from evtools.dump.options import DumpOptions
from evtools.errors import UsageError
from tools.tty import Terminal


def options(*arguments):
    with evdump.make_context("evdump", list(arguments)) as ctx:
        return build_options(ctx)


@pytest.mark.parametrize(
    ("typed", "fields"),
    [
        ("", {}),
        ("state:failure runtime>2", {"filters": ("state:failure runtime>2",)}),
        ("x -F filter -x x -x y", {"filters": ("x", "type:a\nname:b"), "excludes": ("x", "y")}),
        ("--no-heartbeats --redact pin --expect type:z -c 3 --timeout 1m --idle 10s",
         {"heartbeats": False, "redact": ("pin",), "expect": "type:z", "count": 3,
          "timeout": 60.0, "idle": 10.0}),
        ("-r a -r b", {"read": ("a", "b")}),
        ("-r a --speed 10x -S 1795000000 -U 1795000009",
         {"read": ("a",), "speed": 10.0, "since": 1795000000.0, "until": 1795000009.0}),
        ("--demo --stats json", {"demo": True, "stats": "json"}),
        ("-z by:name -z by:type -z by:name -o csv -c 9",
         {"tables": ("name", "type"), "output": "csv", "print": False, "count": 9}),
        ("-w f -z by:state", {"write": "f", "tables": ("state",), "print": False}),
        ("-w f", {"write": "f", "print": False}),
        ("-w f --print", {"write": "f"}),
        ("-w f --rotate-size 1K --rotate-keep 2 --rotate-every 1m",
         {"write": "f", "print": False, "rotate_size": 1024, "rotate_keep": 2,
          "rotate_every": 60.0}),
        ("-w f --rotate-size 1K --rotate-exec gzip",
         {"write": "f", "print": False, "rotate_size": 1024, "rotate_exec": ("gzip",)}),
        ("-o logfmt --full -H x", {"output": "logfmt", "full": True, "highlight": "x"}),
        ("-l -vv -q", {"line_buffered": True, "verbosity": 2, "quiet": True}),
        ("--json", {"output": "json"}),
        ("--json -o json", {"output": "json"}),
        ("--template {name}", {"output": "template", "template": "{name}"}),
        ("-o template -T t", {"output": "template", "template": "{type}"}),
        ("--color always", {"colour": True, "colour_stderr": True}),
        ("--ts local", {"timestamps": "local"}),
        ("--ts utc", {"timestamps": "utc", "zone": UTC}),
        ("-t", {"timestamps": "none"}),
        ("-tt", {"timestamps": "epoch"}),
        ("-ttt", {"timestamps": "delta"}),
        ("-tttt", {"timestamps": "iso", "zone": UTC}),
        ("-tttttt", {"timestamps": "start"}),
    ],
)  # fmt: skip
def test_every_option_reaches_its_field(tmp_path, typed, fields):
    (tmp_path / "filter").write_text("# all of\ntype:a\n  # and\nname:b\n")
    (tmp_path / "t").write_text("{type}")
    made = options(*typed.split())
    assert made == replace(DumpOptions(zone=made.zone, output="json"), **fields)


def test_a_terminal_gets_coloured_text_and_a_pipe_json(monkeypatch):
    assert (options().output, options().colour) == ("json", False)
    monkeypatch.setattr(sys, "stdout", Terminal())
    made = options("runtime")
    assert (made.output, made.colour, made.colour_stderr) == ("text", True, False)
    assert not options("--color", "never").colour


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("-r f --demo", "--read and --demo"), ("-S 10m", "--since requires --read"),
        ("-r f -S 10m -U 20m", "--until is before --since"), ("-w - --print", "--print and -w -"),
        ("-z by:name --print -w f", "--print and -z"), ("-z by:name -w -", "-z and -w -"),
        ("-z by:name -o raw", "-o raw and -z"), ("-z by:name --template x", "--template and -z"),
        ("--rotate-size 1K", "--rotate-size requires --write"),
        ("-w f --rotate-exec x", "--rotate-exec needs --rotate-size"),
        ("-w f --rotate-keep 1", "needs --rotate-size or --rotate-every"),
        ("--template x -T t", "--template and --template-file"),
        ("--json --template x", "--json and --template"), ("--json -o csv", "-o csv and --json"),
        ("-o csv --template x", "-o csv and --template"), ("-o template", "-o template needs"),
        ("--ts utc -t", "--ts and -t"), ("redis://:s3kr1t@h/0", "looks like a broker URL"),
    ],
)  # fmt: skip
def test_options_that_conflict_are_refused(tmp_path, typed, words):
    (tmp_path / "t").write_text("x")
    with pytest.raises(UsageError, match=words) as caught:
        options(*typed.split())
    assert caught.value.hint
    assert "s3kr1t" not in caught.value.message


def test_flags_win_over_the_settings_file_and_the_environment(config, monkeypatch):
    config("[evdump]\nts = 'utc'\ntemplate = '{type}'\n")
    monkeypatch.setenv("EVDUMP_OUTPUT", "csv")
    assert options("-tt").timestamps == "epoch"
    assert options().output == "template"
    assert options("--json").output == "json"
    assert options("-o", "logfmt").output == "logfmt"
    # What events look like is not how they are counted.
    assert options("-z", "by:name").output == "csv"
    monkeypatch.setenv("EVDUMP_OUTPUT", "pretty")
    assert options("-z", "by:name").output == "json"


def test_the_settings_file_may_set_what_only_some_runs_need(config):
    config("[evdump]\nspeed = '4x'\nrotate_size = '1M'\nrotate_keep = 3\n")
    assert options().read == ()
    assert options("-w", "f").rotate_size == 2**20
    assert options("-w", "-").rotate_size is None
    # Refused by the recorder.
    assert options("-w", "-", "--rotate-size", "1K").rotate_size == 1024


# --- the command --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "status", "words"),
    [
        ("-b sqs://me:s3kr1t@", 2, "evdump: SQS is not supported"),
        ("--no-reconnect --connect-timeout 100ms", 69,
         "cannot reach redis://:**@127.0.0.1:1/0: TCP: connection refused\n  tried: BROKER_URL."),
    ],
)  # fmt: skip
def test_a_broker_that_cannot_be_used_is_named(cli, typed, status, words):
    ended = cli(*typed.split(), BROKER_URL="redis://:s3kr1t@127.0.0.1:1/0")
    assert ended.status == status
    assert words in ended.err
    assert "s3kr1t" not in ended.err
