import io
import sys
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time

import click
import pytest

from evtools.cli import types
from evtools.cli.types import LocalZone, parse_timestamp
from tools.clock import FakeClock

NOON = 1_795_000_000.0  # a day in 2026


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (types.DURATION, "1m30s", 90.0), (types.DURATION, 5, 5),
        (types.POSITIVE_DURATION, "500ms", 0.5), (types.DURATION_OR_NONE, "none", None),
        (types.DURATION_OR_NONE, "5s", 5.0), (types.SIZE, "64K", 65536), (types.SIZE, 10, 10),
        (types.COUNT, "3", 3), (types.WHOLE, " 12 ", 12),
        (types.CHECK, "worker=celery@web-1", ("worker", "celery@web-1")),
        (types.CHECK, "celery@web-1", ("worker", "celery@web-1")),
        (types.CHECK, "alerts", ("alerts", "")), (types.CHECK, "alert=a", ("alert", "a")),
        (types.SPEED, "1x", 1.0),
        (types.SPEED, "0.5X", 0.5), (types.SPEED, ".5x", 0.5), (types.SPEED, "max", float("inf")),
        (types.KEYVALUE, "off=null", ("off", None)), (types.KEYVALUE, "off=True", ("off", True)),
        (types.KEYVALUE, 'a={"b": [1]}', ("a", {"b": [1]})),
        (types.KEYVALUE, "a=b=c", ("a", "b=c")), (types.KEYVALUE, ("a", 1), ("a", 1)),
        (types.ROUTING_KEY, "task.#", "task.#"), (types.FANOUT_PREFIX, "off", False),
        (types.FANOUT_PREFIX, "YES", True), (types.FANOUT_PREFIX, "/{db}.x.", "/{db}.x."),
        (types.FANOUT_PREFIX, False, False), (types.BROKER, "redis://h", types.Broker("redis://h")),
        (types.COMMAND, "vault read 'a b'", ("vault", "read", "a b")),
        (types.PAIR, "url=a=b", ("url", "a=b")), (types.PAIR, ["keep", 30], ["keep", 30]),
        (types.RATE, 0.5, 0.5), (types.UMASK, "027", 0o027), (types.UMASK, "0o22", 0o022),
    ],
)  # fmt: skip
def test_good_values_are_accepted(kind, text, value):
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (types.DURATION, "soon", "duration"), (types.DURATION, [5], "not the right type"),
        (types.POSITIVE_DURATION, "0", "longer than zero"), (types.SIZE, "big", "size"),
        (types.COUNT, "0", "not in the range x>=1"), (types.WHOLE, "-1", "not in the range x>=0"),
        (types.CHECK, " ", "write worker=NAME"), (types.CHECK, "alert=", "alert=NAME or alerts"),
        (types.SPEED, "0x", 'invalid speed "0x"'), (types.TIMESTAMP, "soon", 'invalid time "soon"'),
        (types.KEYVALUE, "secret", "write NAME=VALUE"),
        (types.COMMAND, "vault 'a", "quote it as for a shell"),
        (types.UMASK, "028", "invalid mask"), (types.USER, 1.5, "not the right type"),
        (types.ROUTING_KEY, "task..x", "not a routing key"),
        (types.ROUTING_KEY, "task. x", "not a routing key"),
        (types.ROUTING_KEY, "task.a*", "whole words"),
        (types.ROUTING_KEY, "task-failed", "'task.failed'"),
        (types.ROUTING_KEY, "a" * 256, "longer than"), (types.FANOUT_PREFIX, "/{x}.", "only {db}"),
        (types.REGEX, "(", "bad regular expression"), (types.BROKER, " ", "one line with the URL"),
        (types.BROKER, "@/no/such/file", "No such file"),
        (types.TEXT_FILE, "/no/such/file", "No such file"),
    ],
)  # fmt: skip
def test_bad_values_are_refused_with_the_reason(kind, text, words):
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(text, None, None)
    assert words in caught.value.message
    assert "secret" not in caught.value.message


# --- files --------------------------------------------------------------------------


def piped(content):
    return io.TextIOWrapper(io.BytesIO(content))


def test_a_broker_url_may_be_in_a_file_or_on_stdin(tmp_path, monkeypatch):
    (tmp_path / "url").write_text("redis://:pw@h/0\n")
    path = str(tmp_path / "url")
    broker = types.BROKER.convert(f"@{path}", None, None)
    assert broker == types.Broker("redis://:pw@h/0", f"-b @{path}", path)
    (tmp_path / "url").write_text("a" * 100_000)
    assert len(types.BROKER.convert(f"@{path}", None, None).url) == 64 * 1024
    monkeypatch.setattr(sys, "stdin", piped(b"redis://:pw@h/0\nmore\n"))
    broker = types.BROKER.convert("-", None, None)
    assert broker == types.Broker("redis://:pw@h/0", "-b - (stdin)")


@pytest.mark.parametrize("content", [b"", b"a\nb\n", b"\xff\xfe"])
def test_a_file_without_a_url_is_refused(tmp_path, content):
    (tmp_path / "url").write_bytes(content)
    with pytest.raises(click.BadParameter):
        types.BROKER.convert(f"@{tmp_path / 'url'}", None, None)


def test_texts_come_from_files(tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_text("type:x")
    assert types.TEXT_FILE.convert(str(path), None, None) == (str(path), "type:x")
    monkeypatch.setattr(sys, "stdin", piped(b"type:y"))
    assert types.TEXT_FILE.convert("-", None, None) == ("-", "type:y")


# --- times --------------------------------------------------------------------------


@pytest.fixture
def stockholm(in_zone):
    in_zone("Europe/Stockholm")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", NOON - 600),
        ("10m ago", NOON - 600),
        ("90", NOON - 90),
        (" 0 ", NOON),
        ("1795000000.5", 1_795_000_000.5),
        ("2026-11-20T14:00Z", 1_795_183_200.0),
        ("2026-11-20T14:00+01:00", 1_795_179_600.0),
        ("2026-11-20", 1_795_129_200.0),  # local
        ("2026-11-20 14:00", 1_795_179_600.0),
        ("9:30", clock_time(9, 30)),
        ("13:59:59.5", clock_time(13, 59, 59, 500_000)),
        ("14:00Z", clock_time(14, tzinfo=UTC)),
    ],
)
def test_a_time_is_ago_or_absolute_or_one_of_day(stockholm, text, expected):
    assert parse_timestamp(text, FakeClock(NOON)) == expected


@pytest.mark.parametrize(
    "text", ["", "yesterday", "25:00", "14:60", "2026-13-01", "99999-01-01", "-5m"]
)
def test_an_invalid_time_is_refused_with_the_grammar(text):
    with pytest.raises(ValueError, match=r'invalid time ".*" \(use 14:30'):
        parse_timestamp(text)


def test_the_local_zone_knows_daylight_saving_time(stockholm):
    zone = LocalZone()
    assert datetime(2026, 12, 1, tzinfo=zone).utcoffset() == timedelta(hours=1)
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert noon.astimezone(zone).hour == datetime.fromtimestamp(noon.timestamp(), zone).hour == 14
    assert noon.astimezone(zone).timestamp() == noon.timestamp()
    assert (zone.utcoffset(None), zone.dst(None), zone.tzname(None)) == (None, None, "local")
