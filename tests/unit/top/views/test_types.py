"""Tests for evtools.top.views.types."""

import pytest

from evtools.filters import compile_filter, task_fields
from evtools.state import State, Statistics
from evtools.top.columns import Lens
from evtools.top.views.types import TypesView, averaged
from tools.clock import FakeClock
from tools.life import Life


def shown(*events, max_types=1000, cols=150):
    statistics, state = Statistics(max_types=max_types), State()
    statistics.take(state.apply(events))
    table = TypesView(statistics, FakeClock().wall)
    table.resize(cols)
    table.refresh(Lens(max(event["local_received"] for event in events) + 1))
    return table, state


def cell(table, index, name):
    at = [slot.column.name for slot in table.slots].index(name)
    return table.row(index).cells[at].strip()


def test_types_that_fail_come_first():
    life = Life()
    events = [*life.success("a", "proj.ok"), *life.failure("b", "proj.bad")]
    events += [life.received("c", "proj.ok"), life.started("c")]
    table, _ = shown(*events)
    assert list(table.cursor.keys) == ["proj.bad", "proj.ok"]
    assert cell(table, 0, "share") == "100.00"
    assert cell(table, 1, "share") == "0.00"
    assert cell(table, 1, "ok") == "1"
    assert cell(table, 1, "active") == "1"
    assert cell(table, 1, "run_max").endswith("ms")
    assert (table.row(0).style, table.row(1).style) == ("failure", "")


def test_a_type_that_completed_nothing_has_no_share():
    life = Life()
    table, _ = shown(life.received("a"))
    assert cell(table, 0, "share") == "-"
    assert cell(table, 0, "run_p95") == "-"


def test_a_trend_is_drawn_and_exported():
    life = Life()
    events = []
    for number in range(200):
        events += life.success(str(number))
        life.now += 1
    table, _ = shown(*events)
    assert set(cell(table, 0, "trend")) <= set("▁▂▃▄▅▆▇█")
    assert max(table.record("proj.add")["trend"]) > 0
    table.refresh(Lens(life.now, ascii=True))
    assert cell(table, 0, "trend").isascii()
    table.sort_by("trend")
    assert len(table) == 1


def test_neighbours_are_averaged():
    assert averaged([1, 3, 5, 7], 2) == [2, 6]
    assert averaged([1, 3, 5], 2) == [2, 5]
    assert averaged([], 12) == []


@pytest.mark.parametrize("name", ["proj.add", 'a "b" c', "-x", None])
def test_a_type_leads_to_its_tasks(name):
    life = Life()
    table, state = shown(life.received("a", name), life.received("b", "proj.other"))
    key = next(key for key in table.cursor.keys if key != "proj.other")
    view, text = table.drill(key)
    assert view == "tasks"
    matches = compile_filter(text, fields=task_fields()).matches
    assert [task.uuid for task in state.tasks.values() if matches(task)] == ["a"]
    assert table.values(key) == {"name": key}


def test_what_had_no_room_leads_nowhere():
    life = Life()
    events = [life.received(str(number), f"proj.t{number}") for number in range(5)]
    table, _ = shown(*events, max_types=2)
    assert table.drill("(others)") is None


def test_types_can_be_filtered():
    life = Life()
    table, _ = shown(*life.success("a", "proj.ok"), *life.failure("b", "proj.bad"))
    table.set_filter("share>50")
    assert list(table.cursor.keys) == ["proj.bad"]
