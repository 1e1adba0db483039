"""CSV, safe to open in a spreadsheet."""

import csv
import io
import json

import pytest

from evtools.dump.formats.csv import COLUMNS, make
from evtools.dump.formatter import FormatOptions
from evtools.wire import Record
from tools.gaps import gap


def read(*records):
    """Return the rows of the records as a reader of CSV sees them."""
    formatter = make(FormatOptions())
    data = formatter.header() + b"".join(map(formatter.format, records))
    assert data.count(b"\n") == 1 + len(records)
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    for row in rows:
        row["fields"] = json.loads(row["fields"])
    return rows


def cell(name, value):
    return read(Record({"type": "task-failed", name: value}))[0][name]


def test_the_columns_are_fixed():
    assert make(FormatOptions()).header() == (
        b"ts,type,hostname,uuid,name,args,kwargs,retries,queue,runtime,result,exception,fields\n"
    )


def test_every_field_of_event_and_task_has_its_place():
    event = {
        "type": "task-failed",
        "uuid": "u1",
        "hostname": "w@h",
        "timestamp": 12.0,
        "exception": "KeyError(1)",
        "pid": 7,
    }
    joined = {"name": "proj.boom", "args": "(1, 2)", "started": 10.0, "sent": 9.0}
    [row] = read(Record(event, joined))
    assert row == {
        **dict.fromkeys(COLUMNS, ""),
        "ts": "1970-01-01T00:00:12.000000Z",
        "type": "task-failed",
        "hostname": "w@h",
        "uuid": "u1",
        "name": "proj.boom",
        "args": "(1, 2)",
        "runtime": "2.0",
        "exception": "KeyError(1)",
        "fields": {"timestamp": 12.0, "pid": 7, "started": 10.0, "sent": 9.0},
    }


def test_the_real_exception_has_the_column_and_the_told_one_is_kept():
    event = {
        "type": "task-failed",
        "exception": "ExceptionWithTraceback()",
        "traceback": "x\nTimeLimitExceeded(3,)\n",
    }
    [row] = read(Record(event))
    assert row["exception"] == "TimeLimitExceeded(3,)"
    assert row["fields"] == {"exception": event["exception"], "traceback": event["traceback"]}


def test_an_odd_runtime_is_not_lost():
    assert cell("runtime", "soon") == "soon"


@pytest.mark.parametrize("start", [*"=+-@", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_a_formula_is_made_harmless(start):
    assert cell("args", f"{start}cmd|' /C calc'!A0") == f"'{start}cmd|' /C calc'!A0"


@pytest.mark.parametrize("blank", ["\t", "\r", "\n"])
def test_a_formula_behind_a_control_character_is_harmless_too(blank):
    assert cell("args", f"{blank}=1+1").startswith("\\")


def test_a_negative_number_is_no_formula():
    assert cell("retries", -1) == "-1"


@pytest.mark.parametrize("value", ["a,b", 'say "x"', " padded ", "'", "plain", "ä"])
def test_what_needs_quotes_has_them(value):
    assert cell("name", value) == value


def test_a_line_break_does_not_break_the_line():
    assert cell("name", "a\r\nb\x1b") == "a\\r\\nb\\x1b"


def test_what_is_no_text_is_json():
    assert cell("args", [1, "a"]) == '[1,"a"]'
    assert cell("args", None) == ""


def test_a_gap_says_all_in_its_fields():
    [row] = read(Record(gap("reconnect", 1.0, 2.0, error="refused")))
    assert row["type"] == "evdump-gap"
    assert row["ts"] == "1970-01-01T00:00:02.000000Z"
    assert row["fields"]["reason"] == "reconnect"
    assert row["fields"]["error"] == "refused"


def test_an_event_from_no_time_has_an_empty_cell():
    assert read(Record({"type": "x"}))[0]["ts"] == ""
