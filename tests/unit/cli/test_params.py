import io
import sys

import click
import pytest

from evtools.cli import params


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (params.DURATION, "1m30s", 90.0),
        (params.DURATION, "0", 0.0),
        (params.DURATION, 5, 5),
        (params.POSITIVE_DURATION, "500ms", 0.5),
        (params.DURATION_OR_NONE, "none", None),
        (params.DURATION_OR_NONE, "5s", 5.0),
        (params.SIZE, "64K", 65536),
        (params.SIZE, 10, 10),
        (params.COUNT, "3", 3),
        (params.WHOLE, "0", 0),
        (params.WHOLE, " 12 ", 12),
        (params.WORKER, "worker=celery@web-1", "celery@web-1"),
        (params.WORKER, "worker=a=b@h", "a=b@h"),
        (params.WORKER, "celery@web-1", "celery@web-1"),
        (params.SPEED, "1x", 1.0),
        (params.SPEED, "10", 10.0),
        (params.SPEED, "0.5X", 0.5),
        (params.SPEED, ".5x", 0.5),
        (params.SPEED, "max", float("inf")),
        (params.MOMENT, "1795000000", 1795000000.0),
        (params.KEYVALUE, "master_name=mymaster", ("master_name", "mymaster")),
        (params.KEYVALUE, "n=5", ("n", 5)),
        (params.KEYVALUE, "off=null", ("off", None)),
        (params.KEYVALUE, 'a={"b": [1]}', ("a", {"b": [1]})),
        (params.KEYVALUE, "a=b=c", ("a", "b=c")),
        (params.KEYVALUE, "a=", ("a", "")),
        (params.KEYVALUE, ("a", 1), ("a", 1)),
        (params.ROUTING_KEY, "task.#", "task.#"),
        (params.ROUTING_KEY, "*.heartbeat", "*.heartbeat"),
        (params.FANOUT_PREFIX, "off", False),
        (params.FANOUT_PREFIX, "YES", True),
        (params.FANOUT_PREFIX, "/{db}.x.", "/{db}.x."),
        (params.FANOUT_PREFIX, False, False),
        (params.REGEX, "a|b", "a|b"),
        (params.BROKER, "redis://h", params.Broker("redis://h")),
        (params.FILTER, "state:failure", "state:failure"),
        (params.PAIR, "keep=30", ("keep", "30")),
        (params.PAIR, "url=a=b", ("url", "a=b")),
        (params.PAIR, ["keep", 30], ["keep", 30]),
        (params.RATE, "10/m", "10/m"),
        (params.RATE, 0.5, 0.5),
        (params.USER, 1000, 1000),
        (params.GROUP, "adm", "adm"),
        (params.UMASK, "027", 0o027),
        (params.UMASK, "0o22", 0o022),
        (params.UMASK, 18, 18),
    ],
)
def test_good_values_are_taken(kind, text, value):
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (params.DURATION, "soon", "invalid duration"),
        (params.DURATION, [5], "not the right type"),
        (params.POSITIVE_DURATION, "0", "longer than nothing"),
        (params.SIZE, "big", "invalid size"),
        (params.COUNT, "0", "above zero"),
        (params.WHOLE, "-1", "is no whole number"),
        (params.WHOLE, "x", "is no whole number"),
        (params.WORKER, " ", "write worker=NAME"),
        (params.WORKER, "worker=", "write worker=NAME"),
        (params.WORKER, "queue=x", "write worker=NAME"),
        (params.COUNT, "x", "above zero"),
        (params.SPEED, "0x", "is no speed"),
        (params.SPEED, "fast", "is no speed"),
        (params.MOMENT, "soon", "is no time"),
        (params.KEYVALUE, "secret", "write NAME=VALUE"),
        (params.KEYVALUE, "=x", "write NAME=VALUE"),
        (params.PAIR, "secret", "write NAME=VALUE"),
        (params.UMASK, "028", "is no mask"),
        (params.UMASK, "rwx", "is no mask"),
        (params.USER, 1.5, "not the right type"),
        (params.ROUTING_KEY, "", "no routing key"),
        (params.ROUTING_KEY, "task..x", "no routing key"),
        (params.ROUTING_KEY, "task. x", "no routing key"),
        (params.ROUTING_KEY, "task.a*", "whole words"),
        (params.ROUTING_KEY, "task-failed", "'task.failed'"),
        (params.ROUTING_KEY, "a" * 256, "longer than"),
        (params.FANOUT_PREFIX, "/{x}.", "only {db}"),
        (params.FANOUT_PREFIX, "/{", "only {db}"),
        (params.REGEX, "(", "bad regular expression"),
        (params.BROKER, " ", "one line with the URL"),
        (params.BROKER, "@/no/such/file", "No such file"),
        (params.TEXT_FILE, "/no/such/file", "No such file"),
    ],
)
def test_bad_values_are_refused_with_the_reason(kind, text, words):
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(text, None, None)
    assert words in caught.value.message
    assert "secret" not in caught.value.message


def test_a_broker_url_may_stand_in_a_file(tmp_path):
    (tmp_path / "url").write_text("redis://:pw@h/0\n")
    path = str(tmp_path / "url")
    broker = params.BROKER.convert(f"@{path}", None, None)
    assert broker == params.Broker("redis://:pw@h/0", f"-b @{path}", path)


@pytest.mark.parametrize("content", [b"", b"a\nb\n", b"\xff\xfe"])
def test_a_file_without_a_url_is_refused(tmp_path, content):
    (tmp_path / "url").write_bytes(content)
    with pytest.raises(click.BadParameter):
        params.BROKER.convert(f"@{tmp_path / 'url'}", None, None)


def piped(content):
    """Return a stdin with that content."""
    return io.TextIOWrapper(io.BytesIO(content))


def test_a_broker_url_may_come_from_stdin(monkeypatch):
    monkeypatch.setattr(sys, "stdin", piped(b"redis://:pw@h/0\nmore\n"))
    broker = params.BROKER.convert("-", None, None)
    assert broker == params.Broker("redis://:pw@h/0", "-b - (stdin)")


def test_texts_come_from_files(tmp_path, monkeypatch):
    (tmp_path / "f").write_text("type:x")
    path = str(tmp_path / "f")
    assert params.TEXT_FILE.convert(path, None, None) == (path, "type:x")
    monkeypatch.setattr(sys, "stdin", piped(b"type:y"))
    assert params.TEXT_FILE.convert("-", None, None) == ("-", "type:y")


def test_a_text_file_is_utf_8_or_16(tmp_path):
    (tmp_path / "f").write_bytes(b"\xff")
    with pytest.raises(click.BadParameter, match="no text in UTF-8 or UTF-16"):
        params.TEXT_FILE.convert(str(tmp_path / "f"), None, None)
