"""Tests for evtools.top.views.queues."""

from evtools.filters import compile_filter, task_fields
from evtools.state import State, Statistics
from evtools.top.columns import Lens
from evtools.top.views.queues import QueuesView
from evtools.transport.queues import Depth
from tools.clock import FakeClock
from tools.life import Life


def shown(*events, depths=None):
    statistics, state = Statistics(), State()
    statistics.take(state.apply(events))
    table = QueuesView(statistics, FakeClock().wall)
    table.depths = depths or {}
    last = max((event["local_received"] for event in events), default=1000.0)
    table.refresh(Lens(last + 1))
    table.resize(160)
    return table, state


def cell(table, key, name):
    at = [slot.column.name for slot in table.slots].index(name)
    return table.row(list(table.cursor.keys).index(key)).cells[at].strip()


def test_a_queue_is_known_from_events():
    life = Life()
    table, _ = shown(*life.success("a"), life.sent("b"), life.sent("c"))
    assert cell(table, "mail", "backlog").startswith("2")
    assert cell(table, "mail", "consumers") == "1"
    assert cell(table, "mail", "published").endswith("/s")
    assert cell(table, "mail", "wait_p95").endswith("ms")


def test_what_cannot_be_known_has_its_reason():
    life = Life()
    table, _ = shown(life.received("a"))
    (key,) = table.cursor.keys
    assert cell(table, key, "backlog").startswith("? ")
    view, text = table.drill(key)
    assert (view, text) == ("tasks", "-has:queue")


def test_the_broker_is_shown_where_it_was_asked():
    life = Life()
    depths = {
        "mail": Depth(1742, 3),
        "idle": Depth(None, reason="no such queue"),
        "new": Depth(5, 2),
    }
    table, _ = shown(*life.success("a"), depths=depths)
    assert cell(table, "mail", "depth") == "1.7k"
    assert cell(table, "idle", "depth") == "? no such queue"
    assert cell(table, "new", "depth") == "5"
    assert cell(table, "new", "consumers") == "2"
    assert cell(table, "new", "backlog") == "? no event names it"
    assert cell(table, "new", "published") == "-"


def test_a_queue_the_broker_was_not_asked_about_has_no_depth():
    life = Life()
    table, _ = shown(*life.success("a"), depths={"other": Depth(0)})
    assert cell(table, "mail", "depth") == "-"


def test_there_is_a_column_for_depths_as_soon_as_there_are_any():
    life = Life()
    table, _ = shown(*life.success("a"))
    table.depths = {"mail": Depth(3)}
    table.refresh(table.lens)
    assert cell(table, "mail", "depth") == "3"
    table.depths = {}
    table.refresh(table.lens)
    assert "depth" not in [slot.column.name for slot in table.slots]


def test_a_queue_leads_to_its_tasks():
    life = Life()
    table, state = shown(life.sent("a", queue='a "b"'), life.sent("b"))
    view, text = table.drill('a "b"')
    matches = compile_filter(text, fields=task_fields()).matches
    assert view == "tasks"
    assert [task.uuid for task in state.tasks.values() if matches(task)] == ["a"]
    assert table.drill("(others)") is None
    assert table.values("mail") == {"name": "mail"}


def test_queues_can_be_filtered_by_any_of_their_figures():
    life = Life()
    table, _ = shown(*life.success("a"), life.sent("b", queue="slow"))
    table.set_filter("backlog>0")
    assert list(table.cursor.keys) == ["slow"]
    table.set_filter("f.name=mail")
    assert list(table.cursor.keys) == ["mail"]
