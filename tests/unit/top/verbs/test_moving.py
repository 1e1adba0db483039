import pytest


@pytest.mark.parametrize(
    ("keys", "index"),
    [
        (["j"], 1),
        (["down", "down", "up"], 1),
        (["G"], 39),
        (["end", "g"], 0),
        (["pgdn"], 23),
        (["pgdn", "ctrl-b"], 0),
        (["ctrl-d"], 12),
        (["G", "ctrl-u"], 27),
        (["k"], 0),
    ],
)
def test_the_cursor_moves_and_stops_at_the_ends(terminal, table, keys, index):
    terminal.press(*keys)
    assert table.focus_index == index


def test_columns_are_scrolled_and_come_back(terminal, table):
    before = [slot.column.name for slot in table.slots]
    terminal.press("l")
    assert [slot.column.name for slot in table.slots][2] != before[2]
    terminal.press("h", "h")
    assert [slot.column.name for slot in table.slots] == before


def test_in_a_tree_left_and_right_close_and_open(terminal, table):
    terminal.take(terminal.life.success("root", "proj.root"))
    child = terminal.life.success("leaf", "proj.leaf", parent_id="root", root_id="root")
    terminal.take(child)
    terminal.press("t")
    table.cursor.to_key("root")
    terminal.press("left")
    assert "leaf" not in table.cursor.keys
    terminal.press("right")
    assert "leaf" in table.cursor.keys


def test_the_text_moves_while_one_reads(terminal, session, table):
    terminal.size = (80, 24)
    terminal.press("enter", "]", "w")
    pager = session.detail.pager
    pager.show([f"line {n} " + "x" * 200 for n in range(99)])
    for key, place in (("j", 1), ("pgdn", None), ("g", 0)):
        terminal.press(key)
        assert place is None or pager._top == place
        pager.show([f"line {n} " + "x" * 200 for n in range(99)])
    terminal.press("l")
    assert pager._left
    assert table.focus_index == 0
