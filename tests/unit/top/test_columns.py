"""Columns: cells, heads, their widths, and what they sort by."""

from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.filters import Kind
from evtools.text import width
from evtools.top.columns import Column, RenderContext, Slot, column, layout

LENS = RenderContext(1000.0)


def made(name="name", **more):
    usual = {"title": name.upper(), "about": "a test", "kind": Kind.TEXT, "cols": 10}
    usual["value"] = lambda row, _: row.get(name)
    return Column(name, **{**usual, **more})


def names(slots):
    return [slot.column.name for slot in slots]


def line_cols(slots):
    return sum(slot.cols + 1 for slot in slots) - 1


def test_a_moment_is_an_age_or_a_time_of_day():
    assert [LENS.moment(at) for at in (None, 942.0, 2000.0)] == ["-", "58s", "0s"]
    east = timezone(timedelta(hours=5, minutes=30))
    assert RenderContext(0.0, east, "local").moment(60.0) == "05:31:00"
    assert RenderContext(0.0, east, "utc").moment(60.0) == "00:01:00"
    assert RenderContext(0.0).time_of_day(60.0625, millis=True) == "00:01:00.062"
    assert RenderContext(0.0).time_of_day(1e300) == "-"


@pytest.mark.parametrize(
    ("more", "value", "cell"),
    [
        ({}, "a",                  "a         "),
        ({}, "\x1b[31m",           "\\x1b[31m  "),
        ({}, "abcdefghijkl",       "abcdefghi…"),
        ({}, "a" * 999,            "aaaaaaaaa…"),
        ({}, None,                 "-         "),
        ({}, [1],                  "[1]       "),
        # Names keep both ends.
        ({"elide": True}, "proj.billing.charge",               "pr..charge"),
        ({"elide": True}, "proj." + "x" * 999 + ".charge",     "pr..charge"),
        ({"format_row": lambda row, _: f"{row['name']}/2"}, 1, "1/2       "),
    ],
)  # fmt: skip
def test_a_cell_is_sanitised_and_of_its_width(more, value, cell):
    assert Slot(made(**more), 10).cell({"name": value}, LENS) == cell


def test_where_only_ascii_may_be_written_a_cut_is_two_dots():
    row = {"name": "a" * 999}
    assert Slot(made(), 10).cell(row, RenderContext(0.0, ascii=True)) == "aaaaaaaa.."


def test_a_head_shows_what_sorts():
    slot = Slot(made("age", align="right"), 6)
    assert slot.head("name", descending=True) == "   AGE"
    assert slot.head("age", descending=True) == "  AGEv"
    assert slot.head("age", descending=False) == "  AGE^"
    assert Slot(made("longer"), 4).head("longer", descending=True) == "LONv"


@pytest.mark.parametrize("descending", [True, False])
def test_what_is_unknown_sorts_last(descending):
    text, number = made(), made(kind=Kind.NUMBER)
    ordered = made(order=lambda row, _: row.get("rank"))
    for one, values in ((text, ["b", "A"]), (number, [2, 1.5])):
        rows = [{"name": value} for value in values] + [{}, {"name": []}]
        keys = one.sort_values(rows, RenderContext(0.0), descending=descending)
        placed = sorted(keys, reverse=descending)
        assert placed[-2:] == keys[2:]
    assert ordered.sort_values([{"rank": 3}], RenderContext(0.0), descending=True) == [3.0]


def test_columns_suit_the_width_of_the_screen():
    columns = [
        made("state", cols=6),
        made("name", cols=20, flex=1),
        made("queue", cols=9, from_cols=100),
        made("age", cols=6),
    ]
    assert names(layout(columns, 120)) == ["state", "name", "queue", "age"]
    assert names(layout(columns, 30)) == ["state", "name"]
    for cols, shown in ((80, ["state", "name", "age"]), (4, ["state"])):
        slots = layout(columns, cols)
        assert (names(slots), line_cols(slots)) == (shown, cols - 1)
    assert layout([], 80) == ()
    wide = [made("uuid", cols=8, wide_cols=36)]
    assert [layout(wide, cols)[0].cols for cols in (139, 140)] == [8, 36]


def test_what_is_left_is_shared_up_to_a_limit():
    columns = [made("a", flex=1), made("b", flex=3, max_cols=15), made("c")]
    assert [slot.cols for slot in layout(columns, 60)] == [32, 15, 10]
    fixed = [made("a"), made("b")]
    assert [slot.cols for slot in layout(fixed, 60)] == [10, 10]


def test_columns_can_be_chosen_and_scrolled_but_for_the_first_two():
    columns = [made(name, cols=20, from_cols=200) for name in "abcdef"]
    assert names(layout(columns, 80, chosen=("c", "x", "a"))) == ["c", "a"]
    assert names(layout(columns, 80, scrolled=2)) == ["a", "b", "e"]


@given(
    st.lists(
        st.builds(
            made,
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


UUID = "7a8b8d37-ebe5-4d26-8057-17bb6963e503"


@pytest.mark.parametrize(
    ("sort", "value", "cell"),
    [
        ("count",    12_345,                "   12k"),
        ("count",    None,                  "     -"),
        ("rate",     3.14,                  "   3.1"),
        ("rate",     0.0234,                "  0.02"),
        ("rate",     1 / 300,               " 0.003"),
        ("rate",     1e-5,                  "<0.001"),
        ("rate",     12.3,                  "    12"),
        ("rate",     0,                     "     0"),
        ("duration", 1.04,                  " 1.04s"),
        ("percent",  0.333,                 "   0.3"),
        ("percent",  0.0,                   "     0"),
        ("percent",  0.01,                  "  <0.1"),
        ("percent",  99.99,                 " >99.9"),
        ("time",     940.0,                 "   1m00s"),
        ("name",     "proj.add",            "proj.add    "),
        ("text",     None,                  "-           "),
        ("id",       UUID,                  "7a8b8d37"),
        ("id",       "a-custom-id-of-mine", "a-custo…"),
    ],
)  # fmt: skip
def test_each_sort_of_column_formats_its_values(sort, value, cell):
    one = column(sort, "name", "TITLE", "a test", lambda row, _: row)
    assert Slot(one, one.cols).cell(value, LENS) == cell
