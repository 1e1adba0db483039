"""logfmt."""

import pytest

from evtools.dump.formats.logfmt import make
from evtools.dump.formatter import FormatOptions
from evtools.wire import Record
from tools.gaps import gap


def line_of(event, joined=()):
    return make(FormatOptions()).format(Record(event, dict(joined))).decode()


def test_pairs_stand_in_the_order_of_the_envelope():
    event = {"pid": 7, "uuid": "u-1", "type": "task-failed", "timestamp": 1.5}
    assert line_of(event, {"name": "proj.boom"}) == (
        "ts=1970-01-01T00:00:01.500000Z type=task-failed uuid=u-1 "
        'timestamp=1.5 pid=7 name=proj.boom joined="[\\"name\\"]"\n'
    )
    assert make(FormatOptions()).header() == b""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (10**20, "100000000000000000000"),
        (0.1, "0.1"),
        ("", '""'),
        ("null", '"null"'),
        ("true", '"true"'),
        ("-1.5e3", '"-1.5e3"'),
        ("5.6.2", '"5.6.2"'),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("two\nlines", '"two\\nlines"'),
        ("\x1b[2J\u202e", '"\\u001b[2J\\u202e"'),
        ("Grüße", "Grüße"),
        ([1, "a"], '"[1,\\"a\\"]"'),
        ({}, '"{}"'),
    ],
)
def test_values_are_quoted_where_that_is_needed(value, text):
    assert line_of({"type": "x", "k": value}) == f"type=x k={text}\n"


@pytest.mark.parametrize(
    ("key", "shown"), [("a b", "a_b"), ('a="\\', "a___"), ("", "_"), ("\n", "_n")]
)
def test_keys_cannot_be_mistaken(key, shown):
    assert line_of({"type": "x", key: 1}) == f"type=x {shown}=1\n"


def test_a_version_of_the_event_itself_is_kept():
    assert line_of({"type": "x", "v": 3}) == 'type=x v=3 own="[\\"v\\"]"\n'


def test_a_gap_is_a_line_with_its_reason():
    assert line_of(gap("worker", 1.0, 2.0, missed=3)) == (
        "type=evdump-gap reason=worker from=1.0 to=2.0 duration=1.0 missed=3 local_received=2.0\n"
    )
