import pytest

from evtools.top.widgets.line import columns, plain
from evtools.top.widgets.table import Viewport, head_at, table_lines


@pytest.fixture
def viewport():
    return Viewport()


def drawn(table, viewport, rows=6, cols=40, *, stale=False):
    table.resize(cols)
    lines = table_lines(table, viewport, (cols, rows), stale=stale)
    assert all(columns(line) == cols for line in lines[1:])
    return lines


def texts(lines):
    return [plain(line).rstrip() for line in lines]


def test_heads_stand_above_rows_and_the_cursor_is_a_sign_and_reverse(things, viewport):
    lines = drawn(things(3), viewport)
    head, first, second, _ = texts(lines)
    assert head.split() == ["STATE^", "NAME", "NUMBER"] or "NAME^" in head
    assert first.startswith(">OK")
    assert second.startswith(" OK")
    assert {style for style, _ in lines[1]} == {"selected"}


def test_only_rows_on_the_screen_are_formatted(things, viewport):
    table = things(100_000)
    asked = []
    row = table.row
    table.row = lambda index: asked.append(index) or row(index)
    assert len(drawn(table, viewport, rows=6)) == 6
    assert asked == [0, 1, 2, 3, 4]


def test_a_mark_is_a_sign_that_is_seen_without_colours(things, viewport):
    table = things(3)
    table.toggle_mark()
    lines = drawn(table, viewport)
    assert lines[1][0] == ("marked", "*")
    assert texts(lines)[2].startswith(">")
    table.home()
    assert texts(drawn(table, viewport))[1].startswith("*")
    assert drawn(table, viewport)[1][0][0] == "selected"


def test_the_cell_of_the_state_is_coloured_or_the_whole_row(things, viewport):
    table = things(4)
    table.things["key1"]["style"] = "failure"
    table.things["key2"]["style"] = "dim"
    lines = drawn(table, viewport)
    assert lines[2][1] == ("failure", "OK    ")
    assert lines[2][3][0] == "text"
    assert {style for style, _ in lines[3][1:]} <= {"dim", "text"}
    assert lines[3][1][0] == "dim"


def test_rows_that_are_not_how_things_are_now_are_dimmed(things, viewport):
    lines = drawn(things(3), viewport, stale=True)
    assert {style for style, _ in lines[1]} == {"selected"}
    assert lines[2][0][0] == "stale"


def test_the_cursor_is_always_on_the_screen(things, viewport):
    table = things(20)
    for key, first in ((7, 3), (8, 4), (5, 4), (2, 2), (19, 15)):
        table.move(key - table.focus_index)
        drawn(table, viewport)
        assert viewport.top == first


def test_rows_that_come_in_above_do_not_move_the_row_under_the_eye(things, viewport):
    table = things(20)
    table.move(10)
    drawn(table, viewport)
    before = viewport.top
    table.things = {"new1": table.things["key0"], **table.things}
    table.refresh(table.lens)
    for _ in range(6):
        table.refresh(table.lens)
    drawn(table, viewport)
    assert table.focus_key == "key10"
    assert viewport.top == before + 1


def test_a_table_that_shrinks_leaves_no_empty_lines(things, viewport):
    table = things(20)
    table.end()
    drawn(table, viewport)
    table.things = dict(list(table.things.items())[:3])
    for _ in range(7):
        table.refresh(table.lens)
    assert len(drawn(table, viewport)) == 4
    table.things = {}
    for _ in range(7):
        table.refresh(table.lens)
    assert len(drawn(table, viewport)) == 1


def test_a_place_on_the_screen_belongs_to_a_column(things, viewport):
    table = things(2)
    drawn(table, viewport)
    assert head_at(table, 0) == ""
    assert head_at(table, 1) == "state"
    assert head_at(table, 6) == "state"
    assert head_at(table, 7) == ""
    assert head_at(table, 8) == "name"
    assert head_at(table, 39) == "number"
    assert head_at(table, 200) == ""
