"""Tests for evtools.top.table."""

import json

import pytest

from evtools.errors import FilterError
from evtools.top.cells import count_column, name_column
from evtools.top.columns import Lens
from evtools.top.cursor import HOLD
from evtools.top.table import TableModel
from tools.clock import FakeClock

COLUMNS = (
    name_column("name", "NAME", "the name", lambda row, _: row["name"], cols=10, flex=0),
    count_column("count", "COUNT", "how many", lambda row, _: row["count"]),
    count_column("more", "MORE", "others", lambda row, _: row.get("more")),
    count_column("last", "LAST", "the last", lambda row, _: row.get("last")),
)


class Plain(TableModel):
    """A table with nothing of its own."""

    name = "plain"
    title = "Plain"
    noun = "rows"
    default_sort = "count"

    def __init__(self, counts):
        self.rows = {name: {"name": name, "count": count} for name, count in counts.items()}
        self.came = 0
        self.left = 0
        self.loads = 0
        super().__init__(FakeClock().wall)

    @property
    def columns(self):
        return COLUMNS

    @property
    def fields(self):
        from evtools.top.columns import fields_of

        return fields_of(COLUMNS, self.now)

    @property
    def total(self):
        return len(self.rows)

    @property
    def arrived(self):
        return self.came

    @property
    def waiting(self):
        return self.left

    def subject(self, key):
        return self.rows.get(key)

    def _load(self):
        self.loads += 1

    def _arranged(self):
        keys = [key for key, row in self.rows.items() if self.matches(row)]
        column = self._column(self.sort_key)
        return sorted(keys, key=lambda key: column.value(self.rows[key], 0.0), reverse=self.reverse)


@pytest.fixture
def table():
    made = Plain({"a": 1, "b": 2, "c": 3, "d": 4})
    made.refresh(Lens(100.0))
    return made


def keys(table):
    return list(table.cursor.keys)


def test_a_table_begins_with_its_own_order(table):
    assert keys(table) == ["d", "c", "b", "a"]
    assert table.row(0).cells == ("d         ", "     4", "     -", "     -")
    assert table.heads()[1] == "COUNTv"
    assert len(table) == 4
    assert table.counts() == "4 shown"


def test_a_picture_stands_until_the_next_refresh(table):
    assert table.row(0).cells[1] == "     4"
    table.rows["d"]["count"] = 9
    assert table.row(0).cells[1] == "     4"
    table.refresh(Lens(101.0))
    assert table.row(0).cells[1] == "     9"


def test_an_order_is_held_for_some_refreshes_after_the_cursor_moved(table):
    table.move(1)
    table.rows["a"]["count"] = 9
    for _ in range(HOLD):
        assert table.news() == "sort held"
        table.refresh(Lens(101.0))
        assert keys(table) == ["d", "c", "b", "a"]
    assert table.news() == ""
    table.refresh(Lens(102.0))
    assert keys(table) == ["a", "d", "c", "b"]
    assert (table.focus_key, table.focus_index) == ("c", 2)


def test_a_row_that_is_forgotten_while_held_says_so(table):
    table.move(1)
    del table.rows["d"]
    table.refresh(Lens(101.0))
    row = table.row(0)
    assert (row.key, row.style) == ("d", "dim")
    assert row.cells[-1].strip() == "(forg…"
    assert table.record("d") == {}
    assert [record["name"] for record in table.records()] == ["c", "b", "a"]


def test_an_order_that_stands_still_with_the_picture_is_not_said_to_be_held(table):
    table.move(1)
    table.freeze(Lens(101.0))
    assert table.news() == ""


def test_new_rows_are_counted_while_the_cursor_is_elsewhere(table):
    table.came = 10
    table.refresh(Lens(101.0))
    assert table.new_below == 0
    table.move(2)
    table.came = 142
    assert table.new_below == 132
    assert table.news() == "132 new, sort held"
    table.home()
    table.refresh(Lens(102.0))
    table.move(1)
    assert table.new_below == 0


def test_a_filter_is_in_force_at_once(table):
    table.set_filter("count>2")
    assert keys(table) == ["d", "c"]
    assert table.counts() == "2 of 4 shown"
    assert table.filter_text == "count>2"
    table.set_filter("  ")
    assert table.filter is None
    assert table.filter_text == ""
    assert len(table) == 4


def test_a_bad_filter_leaves_the_last_good_one(table):
    table.set_filter("count>2")
    with pytest.raises(FilterError) as caught:
        table.set_filter("count>2 nmae:x")
    assert caught.value.position == 8
    assert table.filter_text == "count>2"
    assert keys(table) == ["d", "c"]


def test_what_is_still_searched_is_told(table):
    table.left = 3
    assert table.counts() == "4 shown, 25% searched"


def test_what_a_filter_could_not_see_is_told(table):
    assert table.notes() == []
    table.set_filter("more>1")
    assert table.notes() == ["more: unknown for 100% of rows"]


def test_a_value_is_kept_or_excluded(table):
    table.narrow("name", "a b")
    assert table.filter_text == 'name="a b"'
    table.set_filter("count>1 OR d")
    table.narrow("name", "c", exclude=True)
    assert table.filter_text == '(count>1 OR d) NOT name="c"'
    assert keys(table) == ["d", "b"]


def test_columns_sort_their_own_way_round(table):
    table.sort_by("name")
    assert keys(table) == ["a", "b", "c", "d"]
    assert table.heads()[0] == "NAME^     "
    table.invert()
    assert keys(table) == ["d", "c", "b", "a"]
    table.sort_by("colour")
    assert table.sort_key == "name"


def test_the_next_column_sorts(table):
    table.sort_beside(-1)
    assert table.sort_key == "name"
    table.sort_beside(-1)
    assert table.sort_key == "name"
    table.choose_columns(["name"])
    table.sort_by("count")
    table.sort_beside(1)
    assert table.sort_key == "name"


def test_the_cursor_goes_to_the_ends(table):
    table.end()
    assert table.focus_key == "a"
    table.home()
    assert table.focus_key == "d"
    table.move(-1)
    assert table.focus_key == "d"


def test_a_row_is_sought(table):
    assert table.seek(lambda row: row["count"] < 3, 1)
    assert table.focus_key == "b"
    assert table.seek(lambda row: row["count"] == 4, -1)
    assert table.focus_key == "d"
    assert not table.seek(lambda row: row["count"] == 4, -1)
    del table.rows["c"]
    assert not table.seek(lambda row: row["name"] == "c", 1)


def test_marks_are_toggled_and_are_targets(table):
    assert table.targets() == ["d"]
    table.toggle_mark()
    table.toggle_mark()
    assert table.row(0).marked
    assert not table.row(2).marked
    assert table.targets() == ["c", "d"]
    assert table.counts() == "4 shown, 2 marked"
    table.home()
    table.toggle_mark()
    assert table.targets() == ["c"]
    table.clear_marks()
    assert table.targets() == [table.focus_key]


def test_an_empty_table_has_no_targets():
    table = Plain({})
    table.refresh(Lens(100.0))
    table.toggle_mark()
    table.move(1)
    assert (table.targets(), table.focus_key) == ([], None)


def test_columns_are_chosen_scrolled_and_resized(table):
    table.choose_columns(["count", "name"])
    assert [slot.column.name for slot in table.slots] == ["count", "name"]
    table.choose_columns(None)
    table.scroll_columns(5)
    assert [slot.column.name for slot in table.slots] == ["name", "count", "last"]
    table.scroll_columns(-5)
    table.resize(20)
    assert [slot.column.name for slot in table.slots] == ["name", "count"]


def test_a_frozen_table_takes_nothing_in_and_can_be_sorted(table):
    loads = table.loads
    table.frozen = True
    table.refresh(Lens(100.0))
    assert table.loads == loads
    table.move(1)
    table.sort_by("name")
    table.refresh(Lens(100.0))
    assert keys(table) == ["a", "b", "c", "d"]


def test_what_was_on_the_screen_can_be_shown_again(table):
    table.move(1)
    for index in (1, 2):
        table.row(index)
    before = table.excerpt()
    assert [row.key for row in before.rows] == ["c", "b"]
    assert (before.focus, before.shown, before.total) == (0, 4, 4)
    table.rows["c"]["count"] = 9
    table.set_filter("c")
    table.show(before)
    assert table.row(0).cells[1] == "     3"
    assert table.counts() == "4 shown"
    assert table.focus_key == "c"
    table.refresh(Lens(101.0))
    assert keys(table) == ["c"]


def test_a_picture_nobody_looked_at_is_empty(table):
    assert table.excerpt().rows == ()


def test_a_row_is_taken_away_as_plain_values(table):
    assert table.record("d") == {"name": "d", "count": 4, "more": None, "last": None}
    assert json.loads(table.as_json("a"))["count"] == 1
    assert len(list(table.records())) == 4


def test_by_itself_a_row_leads_nowhere(table):
    assert table.detail("a") is None
    assert table.drill("a") is None
    assert table.values("a") == {}
    assert table.row(0).style == ""


def test_other_columns_are_fitted_anew_and_only_they(table, monkeypatch):
    fitted = []
    resize = table.resize
    monkeypatch.setattr(table, "resize", lambda cols: fitted.append(cols) or resize(cols))
    table.refresh(Lens(100.0))
    assert fitted == []
    monkeypatch.setattr(Plain, "columns", COLUMNS[:2])
    table.refresh(Lens(100.0))
    table.refresh(Lens(101.0))
    assert fitted == [table.screen_cols]
    assert len(table.slots) == 2


def test_a_stream_says_how_to_get_back_to_its_end():
    class Stream(Plain):
        newest_last = True

    stream = Stream({"a": 1, "b": 2})
    stream.refresh(Lens(100.0))
    stream.move(-1)
    stream.came = 132
    assert stream.news() == "132 new below, G to follow"
