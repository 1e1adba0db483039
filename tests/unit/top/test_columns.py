"""Tests for evtools.top.columns."""

from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.filters import Kind, compile_filter
from evtools.text import width
from evtools.top.columns import (
    Column,
    RenderContext,
    Slot,
    count_column,
    duration_column,
    fields_of,
    finite,
    id_column,
    layout,
    name_column,
    one_line,
    percent_column,
    rate_column,
    text_column,
    time_column,
)

LENS = RenderContext(1000.0)


def column(name="name", **more):
    usual = {"title": name.upper(), "about": "a test", "kind": Kind.TEXT, "cols": 10}
    usual["value"] = lambda row, _: row.get(name)
    return Column(name, **{**usual, **more})


def names(slots):
    return [slot.column.name for slot in slots]


def line_cols(slots):
    return sum(slot.cols + 1 for slot in slots) - 1


def test_a_moment_is_an_age_or_a_time_of_day():
    assert LENS.moment(None) == "-"
    assert LENS.moment(942.0) == "58s"
    assert LENS.moment(2000.0) == "0s"
    east = timezone(timedelta(hours=5, minutes=30))
    assert RenderContext(0.0, east, "local").moment(60.0) == "05:31:00"
    assert RenderContext(0.0, east, "utc").moment(60.0) == "00:01:00"
    assert RenderContext(0.0).time_of_day(60.0625, millis=True) == "00:01:00.062"
    assert RenderContext(0.0).time_of_day(1e300) == "-"


def test_a_cell_is_sanitised_and_of_its_width():
    slot = Slot(column(), 10)
    assert slot.cell({"name": "a"}, LENS) == "a         "
    assert slot.cell({"name": "\x1b[31m"}, LENS) == "\\x1b[31m  "
    assert slot.cell({"name": "abcdefghijkl"}, LENS) == "abcdefghi…"
    assert slot.cell({"name": "a" * 999}, RenderContext(0.0, ascii=True)) == "aaaaaaaa.."
    assert slot.cell({}, LENS) == "-         "
    assert slot.cell({"name": [1]}, LENS) == "[1]       "


def test_a_name_keeps_both_ends():
    slot = Slot(column(elide=True), 12)
    assert slot.cell({"name": "proj.billing.charge"}, LENS) == "proj..charge"
    long = "proj." + "x" * 999 + ".charge"
    assert slot.cell({"name": long}, LENS) == "proj..charge"


def test_a_text_without_room_is_shortened_first():
    wide = column(shorten=lambda text: text[:3])
    assert Slot(wide, 5).cell({"name": "abcdef"}, LENS) == "abc  "
    assert Slot(wide, 6).cell({"name": "abcdef"}, LENS) == "abcdef"


def test_a_column_can_format_the_whole_row():
    both = column(format_row=lambda row, context: f"{row['a']}/{row['b']}")
    assert both.text({"a": 1, "b": 2}, LENS) == "1/2"


def test_a_head_shows_what_sorts():
    slot = Slot(column("age", align="right"), 6)
    assert slot.head("name", descending=True) == "   AGE"
    assert slot.head("age", descending=True) == "  AGEv"
    assert slot.head("age", descending=False) == "  AGE^"
    assert Slot(column("longer"), 4).head("longer", descending=True) == "LONv"


@pytest.mark.parametrize("descending", [True, False])
def test_what_is_unknown_sorts_last(descending):
    text, number = column(), column(kind=Kind.NUMBER)
    ordered = column(order=lambda row, _: row.get("rank"))
    for one, values in ((text, ["b", "A"]), (number, [2, 1.5])):
        rows = [{"name": value} for value in values] + [{}, {"name": []}]
        keys = one.sort_values(rows, 0.0, descending=descending)
        placed = sorted(keys, reverse=descending)
        assert placed[-2:] == keys[2:]
    assert ordered.sort_values([{"rank": 3}], 0.0, descending=True) == [3.0]


def test_columns_suit_the_width_of_the_screen():
    columns = [
        column("state", cols=6),
        column("name", cols=20, flex=1),
        column("queue", cols=9, from_cols=100),
        column("age", cols=6),
    ]
    assert names(layout(columns, 80)) == ["state", "name", "age"]
    assert names(layout(columns, 120)) == ["state", "name", "queue", "age"]
    assert names(layout(columns, 30)) == ["state", "name"]
    assert line_cols(layout(columns, 80)) == 79
    assert names(layout(columns, 4)) == ["state"]
    assert line_cols(layout(columns, 4)) == 3
    assert layout([], 80) == ()


def test_what_is_left_is_shared_up_to_a_limit():
    columns = [column("a", flex=1), column("b", flex=3, max_cols=15), column("c")]
    sizes = [slot.cols for slot in layout(columns, 60)]
    assert sizes == [32, 15, 10]
    fixed = [column("a"), column("b")]
    assert [slot.cols for slot in layout(fixed, 60)] == [10, 10]


def test_wide_screens_have_wide_columns():
    columns = [column("uuid", cols=8, wide_cols=36)]
    assert layout(columns, 139)[0].cols == 8
    assert layout(columns, 140)[0].cols == 36


def test_columns_can_be_chosen():
    columns = [column(name, from_cols=200) for name in "abc"]
    assert names(layout(columns, 80, chosen=("c", "x", "a"))) == ["c", "a"]


def test_columns_can_be_scrolled_but_for_the_first_two():
    columns = [column(name, cols=20) for name in "abcdef"]
    assert names(layout(columns, 80)) == ["a", "b", "c"]
    assert names(layout(columns, 80, scrolled=2)) == ["a", "b", "e"]


@given(
    st.lists(
        st.builds(
            column,
            st.sampled_from("abcdefgh"),
            cols=st.integers(1, 30),
            flex=st.integers(0, 3),
            from_cols=st.integers(0, 150),
            elide=st.booleans(),
        ),
        min_size=1,
    ),
    st.integers(2, 300),
    st.text(max_size=50),
)
def test_no_line_is_wider_than_the_screen(columns, cols, text):
    slots = layout(columns, cols)
    assert line_cols(slots) <= cols - 1 or not slots
    for slot in slots:
        cell = slot.cell({slot.column.name: text}, LENS)
        assert width(cell) == slot.cols
        assert cell.isprintable()


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1.0), (1.5, 1.5), (True, None), ("1", None), (None, None), (10**400, None),
     (float("nan"), None), (float("inf"), None), ([], None)],
)  # fmt: skip
def test_only_finite_numbers_are_numbers(value, number):
    assert finite(value) == number


def test_columns_make_a_filter():
    columns = [column("name"), column("rate", kind=Kind.NUMBER)]
    table = fields_of(columns, lambda: 0.0)
    row = {"name": "proj.add", "rate": 3}
    for text in ("name:proj.*", "rate>2", "add", "has:rate"):
        assert compile_filter(text, fields=table).matches(row)
    assert not compile_filter("rate>3", fields=table).matches(row)
    assert not compile_filter("3", fields=table).matches(row)


def test_one_line_is_sanitised_and_short():
    assert one_line("a\nb", 10) == "a\\nb"
    assert one_line("x" * 100, 5) == "xxxx…"


# --- the usual kinds ------------------------------------------------------------

UUID = "7a8b8d37-ebe5-4d26-8057-17bb6963e503"


@pytest.mark.parametrize(
    ("make", "value", "text"),
    [
        (count_column, 12_345, "12k"),
        (count_column, None, "-"),
        (rate_column, 3.14, "3.1/s"),
        (duration_column, 1.04, "1.04s"),
        (percent_column, 0.333, "0.33"),
        (time_column, 940.0, "1m00s"),
        (name_column, "proj.add", "proj.add"),
        (text_column, None, "-"),
        (id_column, UUID, UUID),
    ],
)
def test_each_kind_says_its_values(make, value, text):
    column = make("name", "TITLE", "a test", lambda row, _: row)
    assert column.text(value, LENS) == text


def test_figures_are_as_wide_as_their_title_and_ids_are_shortened():
    assert [count_column("x", title, "", "x").cols for title in ("OK", "CONSUMERS")] == [6, 9]
    slot = Slot(id_column("uuid", "UUID", "", lambda row, _: row), 10)
    assert slot.cell(UUID, LENS) == "7a8b8d37  "
    assert slot.cell("a-custom-id-of-mine", LENS) == "a-custom-…"
