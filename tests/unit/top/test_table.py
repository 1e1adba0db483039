"""Tests for evtools.top.table."""

import json

import pytest

from evtools.errors import FilterError, UsageError
from evtools.top import table as table_module
from evtools.top.columns import RenderContext, count_column, fields_of, name_column
from evtools.top.model import Model
from evtools.top.table import HOLD, Cursor, SnapshotTable, TableModel, paragraph, raw
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
    made.refresh(RenderContext(100.0))
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
    table.refresh(RenderContext(101.0))
    assert table.row(0).cells[1] == "     9"


def test_an_order_is_held_for_some_refreshes_after_the_cursor_moved(table):
    table.move(1)
    table.rows["a"]["count"] = 9
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
    del table.rows["d"]
    table.refresh(RenderContext(101.0))
    row = table.row(0)
    assert (row.key, row.style) == ("d", "dim")
    assert row.cells[-1].strip() == "(forg…"
    assert table.record("d") == {}
    assert [record["name"] for record in table.records()] == ["c", "b", "a"]


def test_an_order_that_stands_still_with_the_picture_is_not_said_to_be_held(table):
    table.move(1)
    table.freeze(RenderContext(101.0))
    assert table.news() == ""


def test_new_rows_are_counted_while_the_cursor_is_elsewhere(table):
    table.came = 10
    table.refresh(RenderContext(101.0))
    assert table.new_below == 0
    table.move(2)
    table.came = 142
    assert table.new_below == 132
    assert table.news() == "132 new, order frozen while you move"
    table.home()
    table.refresh(RenderContext(102.0))
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
    table.refresh(RenderContext(100.0))
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
    table.refresh(RenderContext(100.0))
    assert table.loads == loads
    table.move(1)
    table.sort_by("name")
    table.refresh(RenderContext(100.0))
    assert keys(table) == ["a", "b", "c", "d"]


def test_what_was_on_the_screen_can_be_shown_again(table):
    table.move(1)
    for index in (1, 2):
        table.row(index)
    before = table.snapshot()
    assert [row.key for row in before.rows] == ["c", "b"]
    assert (before.focus, before.shown, before.total) == (0, 4, 4)
    table.rows["c"]["count"] = 9
    table.set_filter("c")
    table.show(before)
    assert table.row(0).cells[1] == "     3"
    assert table.counts() == "4 shown"
    assert table.focus_key == "c"
    table.refresh(RenderContext(101.0))
    assert keys(table) == ["c"]


def test_a_row_is_taken_away_as_plain_values(table):
    assert table.record("d") == {"name": "d", "count": 4, "more": None, "last": None}
    assert json.loads(table.as_json("a"))["count"] == 1
    assert len(list(table.records())) == 4


def test_a_stream_says_how_to_get_back_to_its_end():
    class Stream(Plain):
        newest_last = True

    stream = Stream({"a": 1, "b": 2})
    stream.refresh(RenderContext(100.0))
    stream.move(-1)
    stream.came = 132
    assert stream.news() == "132 new below, G to follow"


# --- a table of snapshots ----------------------------------------------------------


class Fruit(SnapshotTable):
    """A table of what it is given."""

    name = "fruit"
    title = "Fruit"
    noun = "fruits"
    default_sort = "count"

    def __init__(self):
        self.rows = []
        super().__init__(FakeClock().wall)

    @property
    def columns(self):
        return COLUMNS[:2]

    def _read(self):
        return ((row["name"], row) for row in self.rows)


@pytest.fixture
def fruit():
    table = Fruit()
    table.rows = [
        {"name": "apple", "count": 3},
        {"name": "pear", "count": 7},
        {"name": "fig", "count": None},
        {"name": "plum", "count": 3},
    ]
    table.refresh(RenderContext(100.0))
    return table


def test_rows_are_sorted_and_what_is_unknown_is_last(fruit):
    assert keys(fruit) == ["pear", "apple", "plum", "fig"]
    fruit.invert()
    assert keys(fruit) == ["apple", "plum", "pear", "fig"]
    fruit.sort_by("name")
    assert keys(fruit) == ["apple", "fig", "pear", "plum"]


def test_a_filter_knows_the_columns(fruit):
    fruit.set_filter("count>2 p")
    assert keys(fruit) == ["pear", "apple", "plum"]
    assert fruit.total == 4
    with pytest.raises(FilterError, match="unknown field"):
        fruit.set_filter("colour:red")
    assert fruit.filter_text == "count>2 p"


def test_a_detail_explains_every_column(fruit):
    detail = fruit.detail("pear")
    assert detail.title == "pear"
    assert detail.sections["Info"] == (
        "name          pear         the name",
        "count         7            how many",
    )
    assert detail.sections["Raw"][1] == '  "name": "pear",'
    assert fruit.detail("kiwi") is None


# --- the cursor --------------------------------------------------------------------


def at(keys, index=0, *, newest_last=False):
    cursor = Cursor(newest_last=newest_last)
    cursor.place(list(keys))
    if index:
        cursor.to(index)
    return cursor


def test_at_the_top_it_stays_at_the_top():
    cursor = at("bc")
    cursor.place(list("abc"))
    assert (cursor.key, cursor.index, cursor.pinned) == ("a", 0, False)


def test_elsewhere_it_stays_on_its_key():
    cursor = at("abc", 1)
    cursor.place(list("xyzabc"))
    assert (cursor.key, cursor.index) == ("b", 4)


def test_back_at_the_top_it_is_loose_again():
    cursor = at("abc", 1)
    cursor.to(-5)
    assert (cursor.key, cursor.pinned, cursor.held) == ("a", False, 0)
    cursor.to(99)
    assert cursor.key == "c"
    assert cursor.held == HOLD


def test_a_key_that_went_leaves_it_where_it_was():
    cursor = at("abc", 1)
    cursor.place(list("ac"))
    assert cursor.key == "c"
    cursor.place(["a"])
    assert cursor.key == "a"


def test_a_list_that_was_empty_for_a_while_has_its_key_again():
    cursor = at("abc", 1)
    cursor.place([])
    assert (cursor.key, cursor.index) == (None, 0)
    cursor.to(3)
    cursor.place(list("abc"))
    assert cursor.key == "b"


def test_it_goes_to_a_key():
    cursor = at("abc")
    assert cursor.to_key("c")
    assert not cursor.to_key("x")
    assert cursor.key == "c"
    assert cursor.to_key("a")
    cursor.place(list("xabc"))
    assert cursor.key == "a"


def test_it_can_wait_for_a_key():
    cursor = at("abc")
    cursor.expect("z")
    cursor.place(list("abz"))
    assert cursor.key == "z"


def test_following_a_row_holds_at_the_top_too():
    cursor = at("abc")
    cursor.toggle_follow()
    assert cursor.follow
    cursor.place(list("xabc"))
    assert cursor.key == "a"
    cursor.toggle_follow()
    assert not cursor.follow
    assert cursor.pinned
    cursor.to(0)
    assert not cursor.pinned


def test_what_is_followed_and_goes_is_followed_no_more():
    cursor = at("abc")
    cursor.toggle_follow()
    cursor.place(list("bc"))
    assert not cursor.follow
    assert cursor.key == "b"


def test_the_newest_of_a_stream_is_followed_until_the_cursor_moves():
    cursor = at("abc", newest_last=True)
    assert cursor.follow
    cursor.place(list("abcd"))
    assert cursor.key == "d"
    cursor.to(1)
    assert not cursor.follow
    cursor.place(list("abcde"))
    assert cursor.key == "b"
    cursor.toggle_follow()
    assert (cursor.key, cursor.follow) == ("e", True)
    cursor.toggle_follow()
    cursor.place(list("abcdef"))
    assert cursor.key == "e"


# --- the text of a detail ----------------------------------------------------------


def test_a_text_keeps_its_lines_and_nothing_else():
    assert paragraph("a\r\n\tb\n\x1b[0m\n") == ("a", "        b", "\\x1b[0m")
    assert paragraph("") == ("",)


def test_a_huge_text_is_cut_and_says_so(monkeypatch):
    monkeypatch.setattr(table_module, "_TEXT_MAX_CHARS", 3)
    assert paragraph("abcdef") == ("abc", "(cut: 6 characters)")


def test_raw_fields_are_json():
    fields = {"a": 1, "b\x1b": [None, "\u202e"]}
    lines = raw(fields)
    assert json.loads("\n".join(lines)) == fields
    assert all(line.isprintable() for line in lines)
    assert raw({}) == ("{", "}")


# --- options -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("", "", ()), ("", "share", True, None)),
        (("name:mail", "", ()), ("name:mail", "share", True, None)),
        (("", "failed", ()), ("", "failed", True, None)),
        (("", "-rate", ()), ("", "rate", False, None)),
        (("", "name", ("rate", "name")), ("", "name", False, ("rate", "name"))),
    ],
)
def test_a_table_is_arranged_as_options_want_it(arguments, shown):
    table = Model(clock=FakeClock()).views["types"]
    table.arrange(*arguments)
    assert (table.filter_text, table.sort_key, table.reverse, table.chosen) == shown


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
