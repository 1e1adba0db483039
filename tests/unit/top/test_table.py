"""Tables: what is common to all views; and what the command line says of their columns."""

import json

import pytest

from evtools.errors import FilterError, UsageError
from evtools.top import table as table_module
from evtools.top.columns import RenderContext, column
from evtools.top.files import render_table
from evtools.top.model import Model
from evtools.top.table import HOLD, TableModel, paragraph
from tools.clock import FakeClock
from tools.life import Life
from tools.typed import events_of


class Fruit(TableModel):
    """A table of what it is given, of which some may have come in, or still wait."""

    name = "fruit"
    default_sort = "count"
    arrived = waiting = 0
    columns = (
        column("name", "name", "NAME", "the name", lambda row, _: row["name"], cols=10, flex=0),
        column("count", "count", "COUNT", "how many", lambda row, _: row["count"]),
        column("count", "more", "MORE", "others", lambda row, _: row.get("more")),
        column("count", "last", "LAST", "the last", lambda row, _: row.get("last")),
    )

    def __init__(self, **counts):
        self.counted = {name: {"name": name, "count": count} for name, count in counts.items()}
        super().__init__()
        self.refresh(RenderContext(100.0))

    def load(self):
        self.rows = dict(self.counted)


@pytest.fixture
def table():
    return Fruit(a=1, b=2, c=3, d=4)


def keys(table):
    return list(table.keys)


def test_a_table_begins_with_its_own_order_and_stands_until_the_next_refresh(table):
    assert keys(table) == ["d", "c", "b", "a"]
    assert table.row(0).cells == ("d         ", "     4", "     -", "     -")
    assert table.heads() == "NAME       COUNTv   MORE   LAST"
    table.toggle_mark()
    table.toggle_mark()
    assert (table.counts(), table.targets()) == ("4 shown, 2 marked", ["c", "d"])
    table.counted["d"]["count"] = 9
    assert table.row(0).cells[1] == "     4"
    table.refresh(RenderContext(101.0))
    assert table.row(0).cells[1] == "     9"


def test_an_order_is_held_for_some_refreshes_after_the_cursor_moved(table):
    table.move(1)
    table.counted["a"]["count"] = 9
    for _ in range(HOLD):
        assert table.news() == "order frozen while you move"
        table.refresh(RenderContext(101.0))
        assert keys(table) == ["d", "c", "b", "a"]
    assert table.news() == ""
    table.refresh(RenderContext(102.0))
    assert keys(table) == ["a", "d", "c", "b"]
    assert (table.focus_key, table.focus_index) == ("c", 2)


def test_a_row_that_is_forgotten_while_held_says_so(table):
    table.move(1)
    del table.counted["d"]
    table.refresh(RenderContext(101.0))
    row = table.row(0)
    assert (row.key, row.style) == ("d", "dim")
    assert row.cells[-1].strip() == "(forg…"
    assert (table.record("d"), table.detail("d")) == ({}, None)
    assert [record["name"] for record in table.records()] == ["c", "b", "a"]


def test_new_rows_are_counted_while_the_cursor_is_elsewhere(table):
    table.arrived = 10
    table.refresh(RenderContext(101.0))
    assert table.news() == ""
    table.move(2)
    table.arrived = 142
    assert table.news() == "132 new, order frozen while you move"
    table.go(0)
    table.refresh(RenderContext(102.0))
    table.move(1)
    assert table.news() == "order frozen while you move"


def test_a_filter_is_in_force_at_once_and_knows_the_columns(table):
    table.set_filter("count>2")
    assert (keys(table), table.counts()) == (["d", "c"], "2 of 4 shown")
    for text in ("count>2 nmae:x", "colour:red"):
        with pytest.raises(FilterError, match="unknown field"):
            table.set_filter(text)
        assert (table.filter_text, keys(table)) == ("count>2", ["d", "c"])
    table.set_filter("  ")
    assert (table.filter, table.filter_text, len(table)) == (None, "", 4)


def test_what_a_filter_has_not_seen_is_said(table):
    table.waiting = 3
    assert table.counts() == "4 shown, 25% searched"
    assert table.notes() == []
    table.set_filter("more>1")
    assert table.notes() == ["more: unknown for 100% of fruit"]


def test_a_value_is_kept_or_excluded(table):
    table.narrow("name", "a b")
    assert table.filter_text == 'name="a b"'
    table.set_filter("count>1 OR d")
    table.narrow("name", "c", exclude=True)
    assert table.filter_text == '(count>1 OR d) NOT name="c"'
    assert keys(table) == ["d", "b"]


def test_columns_sort_their_own_way_round_and_what_is_unknown_is_last():
    table = Fruit(apple=3, pear=7, fig=None, plum=3)
    orders = [keys(table)]
    for do in (table.invert, lambda: table.sort_by("name"), table.invert):
        do()
        orders.append(keys(table))
    assert [" ".join(order) for order in orders] == [
        "pear apple plum fig",
        "apple plum pear fig",
        "apple fig pear plum",
        "plum pear fig apple",
    ]
    assert table.heads().startswith("NAMEv ")
    table.sort_by("colour")
    assert table.sort_key == "name"


def test_what_was_on_the_screen_can_be_shown_again(table):
    table.move(1)
    for index in (1, 2):
        table.row(index)
    before = table.picture(None)
    assert [row.key for row in before.rows] == ["c", "b"]
    assert (before.focus, before.shown, before.total) == (0, 4, 4)
    table.counted["c"]["count"] = 9
    table.set_filter("c")
    table.show(before)
    assert table.row(0).cells[1] == "     3"
    assert (table.counts(), table.focus_key) == ("4 shown", "c")
    table.refresh(RenderContext(101.0))
    assert keys(table) == ["c"]


def test_a_row_is_taken_away_and_explained(table):
    assert table.record("d") == {"name": "d", "count": 4, "more": None, "last": None}
    assert json.loads(table.as_json("a"))["count"] == 1
    assert len(list(table.records())) == 4
    detail = table.detail("d")
    assert detail.title == "d"
    assert detail.sections["Info"][:2] == (
        "name          d            the name",
        "count         4            how many",
    )
    assert detail.sections["Raw"][1] == '  "name": "d",'


# --- the cursor --------------------------------------------------------------------


def at(keys, index=0, *, newest_last=False):
    cursor = Fruit()
    cursor.newest_last = newest_last
    cursor.place(list(keys))
    if index:
        cursor.go(index)
    return cursor


def test_at_the_top_it_stays_at_the_top_and_elsewhere_on_its_key():
    cursor = at("bc")
    cursor.place(list("abc"))
    assert (cursor.focus_key, cursor.focus_index, cursor.pinned) == ("a", 0, False)
    cursor.go(1)
    cursor.place(list("xyzabc"))
    assert (cursor.focus_key, cursor.focus_index) == ("b", 4)
    cursor.go(-5)
    assert (cursor.focus_key, cursor.pinned, cursor.held) == ("x", False, 0)
    cursor.go(99)
    assert (cursor.focus_key, cursor.held) == ("c", HOLD)


def test_a_key_that_went_leaves_it_where_it_was():
    cursor = at("abc", 1)
    cursor.place(list("ac"))
    assert cursor.focus_key == "c"
    cursor.place(["a"])
    assert cursor.focus_key == "a"


def test_a_list_that_was_empty_for_a_while_has_its_key_again():
    cursor = at("abc", 1)
    cursor.place([])
    assert (cursor.focus_key, cursor.focus_index) == (None, 0)
    cursor.go(3)
    cursor.place(list("abc"))
    assert cursor.focus_key == "b"


def test_it_goes_to_a_key_or_waits_for_it():
    cursor = at("abc")
    assert cursor.go_to("c")
    assert not cursor.go_to("x")
    assert cursor.focus_key == "c"
    assert cursor.go_to("a")
    cursor.place(list("xabc"))
    assert cursor.focus_key == "a"
    cursor.expect("z")
    cursor.place(list("abz"))
    assert cursor.focus_key == "z"


def test_a_row_is_followed_also_at_the_top_until_it_goes():
    cursor = at("abc")
    cursor.toggle_follow()
    cursor.place(list("xabc"))
    assert (cursor.follows, cursor.focus_key) == (True, "a")
    cursor.place(list("xbc"))
    assert (cursor.follows, cursor.focus_key) == (False, "b")
    cursor.toggle_follow()
    cursor.toggle_follow()
    assert (cursor.follows, cursor.pinned) == (False, True)
    cursor.go(0)
    assert not cursor.pinned


def test_the_newest_of_a_stream_is_followed_until_the_cursor_moves():
    cursor = at("abc", newest_last=True)
    assert cursor.follows
    cursor.place(list("abcd"))
    assert cursor.focus_key == "d"
    cursor.go(1)
    assert not cursor.follows
    cursor.place(list("abcde"))
    assert cursor.focus_key == "b"
    cursor.toggle_follow()
    assert (cursor.focus_key, cursor.follows) == ("e", True)
    cursor.toggle_follow()
    cursor.place(list("abcdef"))
    assert cursor.focus_key == "e"


# --- the text of a detail ----------------------------------------------------------


def test_a_text_keeps_its_lines_and_nothing_else(monkeypatch):
    assert paragraph("a\r\n\tb\n\x1b[0m\n") == ("a", "        b", "\\x1b[0m")
    assert paragraph("") == ("",)
    monkeypatch.setattr(table_module, "_TEXT_MAX_CHARS", 3)
    assert paragraph("abcdef") == ("abc", "(cut: 6 characters)")


# --- columns of one's own ----------------------------------------------------------


def test_arguments_and_other_fields_can_be_columns():
    life, model = Life(), Model(clock=FakeClock(2000.0))
    cut = "{'note': '" + "x" * 1000 + "..."
    sent = {"a": "{'tenant': 'acme', 'n': 10}", "b": "{'Tenant': \"o'x\", 'n': 9}", "c": cut}
    for uuid, kwargs in sent.items():
        model.take(events_of([life.received(uuid, kwargs=kwargs)]))
    model.take(events_of([life.event("task-progress", uuid="a", hostname="w@h", percent=40)]))
    model.refresh("tasks", 2000.0)
    tasks = model.views["tasks"]
    tasks.arrange("", "kwargs.N", ("uuid", "kwargs.tenant", "field.percent"))
    rows = [row.split() for row in render_table(tasks, "table")]
    assert rows[0] == ["UUID", "TENANT", "PERCENT"]
    # In the order of numbers; what is not known, and may have been cut off, is last.
    assert rows[1:] == [["b", "o'x", "-"], ["a", "acme", "40"], ["c", "-", "-"]]
    assert list(render_table(tasks, "csv")) == [
        "uuid,kwargs.tenant,field.percent", "b,o'x,", "a,acme,40", "c,,",
    ]  # fmt: skip
    records = list(tasks.records())
    assert [(one["kwargs.tenant"], one["field.percent"]) for one in records] == [
        ("o'x", None), ("acme", 40), (None, None),
    ]  # fmt: skip
    assert "kwargs.N" not in records[0]
    # They are shown where they were chosen only.
    tasks.choose_columns(None)
    assert "TENANT" not in tasks.heads()
    assert records[0].keys() - tasks.record("b").keys() == {"kwargs.tenant", "field.percent"}

    model.refresh("events", 2000.0)
    events = model.views["events"]
    events.arrange("", "", ("type", "kwargs.tenant", "field.percent"))
    # Also what is known of the task of an event.
    assert [row.split() for row in render_table(events, "table")][1:] == [
        ["RECV", "acme", "-"], ["RECV", "o'x", "-"], ["RECV", "-", "-"],
        ["task-progress", "acme", "40"],
    ]  # fmt: skip


# --- options -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("", "-x", ()), "--sort: the view types has no column 'x'"),
        (("", "", ("name", "x")), "--columns: the view types has no column 'x'"),
    ],
)
def test_options_that_a_table_cannot_follow_are_refused(arguments, error):
    table = Model(clock=FakeClock()).views["types"]
    with pytest.raises(UsageError, match=error) as caught:
        table.arrange(*arguments)
    assert "it has name, rate" in caught.value.hint
    with pytest.raises(FilterError):
        table.arrange("(", "", ())
