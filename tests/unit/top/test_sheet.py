import csv
import json

import pytest

from evtools.text import width
from evtools.top.model import Model
from evtools.top.sheet import lines
from tools.clock import FakeClock

NOW = 1795176000.0


def ended(uuid, result, **fields):
    return {
        "type": "task-succeeded",
        "uuid": uuid,
        "hostname": "w@h",
        "result": result,
        "runtime": 0.5,
        "timestamp": NOW,
        "local_received": NOW,
        "clock": 1,
        "pid": 1,
        **fields,
    }


@pytest.fixture
def table_of():
    def make(*events, view="tasks", columns=None):
        model = Model(clock=FakeClock(NOW))
        model.take(list(events))
        model.refresh(view, NOW)
        table = model.views[view]
        table.choose_columns(columns)
        return table

    return make


def test_a_table_has_a_header_and_aligned_columns(table_of):
    table = table_of(ended("a", "'x'"), ended("bb", "'日本'"))
    head, *rows = lines(table, "table")
    assert head.split()[:3] == ["STATE", "TASK", "UUID"]
    start = head.index("WORKER")
    assert [row[start : start + 3] for row in rows] == ["w@h", "w@h"]


def test_a_table_without_rows_still_has_its_header(table_of):
    [head] = lines(table_of(), "table")
    assert head.startswith("STATE")


def test_a_wide_cell_is_clipped(table_of):
    _, row = lines(table_of(ended("a", "日" * 5000)), "table")
    assert width(row) < 300


@pytest.mark.parametrize("output", ["table", "csv", "json"])
def test_nothing_can_harm_a_terminal(table_of, output):
    table = table_of(ended("a\x1b]0;x\x07", "'\x1b[2J\x9b\u202e'\n"))
    text = "\n".join(lines(table, output))
    assert all(c.isprintable() or c == "\n" for c in text)
    assert text.count("\n") == (output != "json")


def test_csv_is_read_back_by_a_reader_of_csv(table_of):
    results = ['say "hi", twice', " blanks ", "plain"]
    table = table_of(*(ended(str(n), result) for n, result in enumerate(results)))
    rows = list(csv.DictReader(lines(table, "csv")))
    assert sorted(row["outcome"] for row in rows) == sorted(results)
    assert {row["runtime"] for row in rows} == {"0.5"}
    assert {row["queue"] for row in rows} == {""}


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@x", "\uff1d1"])
def test_no_text_is_a_formula_to_a_spreadsheet(table_of, start):
    table = table_of(ended("a", start))
    [row] = csv.DictReader(lines(table, "csv"))
    assert row["outcome"] == "'" + start


def test_json_has_all_that_is_known_with_its_types(table_of):
    table = table_of(ended("a", "'x'"), columns=["state"])
    [line] = lines(table, "json")
    row = json.loads(line)
    assert (row["uuid"], row["runtime"], row["state"]) == ("a", 0.5, "SUCCESS")
    assert row["eta"] is None


@pytest.mark.parametrize("output", ["table", "csv"])
def test_the_columns_chosen_are_those_shown(table_of, output):
    table = table_of(ended("a", "'x'"), columns=["uuid", "state", "gone"])
    head, row = lines(table, output)
    separator = "," if output == "csv" else None
    assert [name.lower() for name in head.split(separator)] == ["uuid", "state"]
    assert row.split(separator) == ["a", "OK"]


def test_every_view_can_be_written(table_of):
    for view in Model(clock=FakeClock(NOW)).views:
        table = table_of(ended("a", "'x'"), view=view)
        for output in ("table", "csv", "json"):
            list(lines(table, output))


def test_a_row_that_was_forgotten_is_left_out(table_of):
    table = table_of(ended("a", "'x'"))
    table.cursor.keys.append("forgotten")
    assert len(list(lines(table, "csv"))) == 2
    assert len(list(lines(table, "table"))) == 2
    assert len(list(lines(table, "json"))) == 1
