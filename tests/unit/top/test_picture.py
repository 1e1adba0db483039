import pytest

from evtools.top.model import Model
from evtools.top.widgets.header import Surroundings
from tools.screen import FakeTerminal


def keys(terminal):
    return terminal.lines()[-1]


def test_every_part_has_its_rows_at_120x32(busy):
    lines = busy.lines()
    assert len(lines) == 32
    assert lines[0].startswith(" evtop  redis://host  LIVE")
    assert lines[1].startswith(" events ")
    assert lines[2].startswith(" workers 1 online")
    assert lines[3].startswith("[1 Tasks] 2 Types  3 Workers")
    assert lines[3].endswith("window 5m   sort age v   times age")
    assert lines[4].split()[:3] == ["STATE", "TASK", "UUID"]
    assert lines[5].startswith(">RUN")
    assert lines[-2].endswith("3 shown")
    assert lines[-1].startswith(" ? Help  / Filter  Enter Detail")


def test_every_part_has_its_rows_at_80x24(small):
    small.take(small.life.failure("aaaa1111", "proj.charge"))
    lines = small.lines()
    assert len(lines) == 24
    assert lines[0].startswith(" redis://host  LIVE")
    assert lines[2].startswith("[1 Tasks]2 Types 3 Workers")
    assert lines[2].endswith("1/1 5m")
    assert lines[3].startswith(" STATE")
    assert lines[4].startswith(">FAIL")
    small.command("filter state:fail")
    assert small.lines()[-2].startswith(" filter> state:fail")
    assert small.lines()[-2].endswith("1 of 1 shown") or "1 shown" in small.text


def test_a_table_is_fitted_to_the_screen_whatever_model_it_is_of(small):
    small.lines()
    before = small.session.table
    small.session.replace(Model(clock=small.clock))
    small.take(small.life.failure("aaaa1111", "proj.charge"))
    assert small.session.table is not before
    small.lines()
    assert small.session.table.screen_cols == 80


def test_the_filter_has_a_line_of_its_own_where_there_is_room(busy):
    busy.command("filter state:fail")
    assert busy.lines()[4].startswith(" filter> state:fail")
    assert busy.lines()[4].endswith("1 of 3 shown")


def test_what_is_opened_lies_over_the_table(busy):
    busy.press("o")
    assert "sort by" in busy.text
    assert "Enter Choose" in keys(busy)
    assert busy.drawing().hits == {}


def test_a_prompt_takes_the_last_line_and_has_the_cursor(busy):
    busy.press("/")
    busy.write("st")
    assert keys(busy) == "filter> st"
    assert busy.drawing().cursor == (10, 31)
    busy.press("tab")
    assert keys(busy) == "filter> sta"
    assert "started:  state:" in busy.lines()[-2]


def test_a_dialog_has_the_cursor_where_a_word_is_typed(busy):
    busy.command("view workers")
    busy.press("S")
    column, row = busy.drawing().cursor
    assert busy.lines()[row][:column].endswith("type it: ")


# --- sizes ------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [5, 12, 19, 20, 24, 27, 28, 40, 100])
@pytest.mark.parametrize("cols", [20, 49, 50, 79, 80, 100, 139, 140, 300])
def test_every_size_can_be_drawn(busy, cols, rows):
    for setting in ((), ("enter",), ("f",), ("?",), ("esc", "o"), ("esc", "/")):
        busy.size = (cols, rows)
        busy.press(*setting)
        assert len(busy.lines()) <= rows


def test_a_terminal_that_is_too_small_says_so_and_recovers(busy):
    busy.size = (44, 10)
    assert busy.text == "Terminal too small: 44x10, needs 50x12. Q\nquits"
    busy.press("q")
    assert busy.host.calls == ["end"]
    busy.size = (80, 24)
    assert "[1 Tasks]" in busy.text


def test_wide_and_escaped_names_break_no_column(terminal):
    names = ("タスク.決済", "a\x1b[31mred", "🎉party", "e\u0301x", "a\u202eb", "x" * 300)
    for number, name in enumerate(names):
        terminal.take(terminal.life.success(f"id{number}", name))
    for size in ((120, 32), (80, 24), (52, 13)):
        terminal.size = size
        assert "\x1b" not in terminal.text
        terminal.press("enter", "tab", "q")


# --- messages -----------------------------------------------------------------------


def test_a_message_stands_above_the_keys(busy):
    busy.session.say("hello")
    assert busy.lines()[-2].startswith(" hello")
    assert "Help" in keys(busy)


def test_a_long_message_takes_the_line_of_the_keys_too(small):
    small.session.complain("word " * 30)
    lines = small.lines()
    assert lines[-2].startswith(" word")
    assert "word" in lines[-1]
    small.tick(20)
    assert "Help" in keys(small)


def test_hints_are_given_while_there_is_nothing_to_say(busy):
    assert "e next failure   = keep only this value   ! exclude it" in busy.text
    busy.press("2")
    assert "next failure" not in busy.text


def test_an_empty_table_says_why(terminal):
    assert "Nothing was received so far" in terminal.text
    terminal.take(terminal.life.success("aaaa1111"))
    assert "Nothing was received so far" not in terminal.text
    terminal.command("filter state:fail")
    assert "The filter hides all of 1 tasks" in terminal.text


def test_a_filter_that_cannot_be_printed_is_not(busy):
    busy.session.table.narrow("name", "a\x1bb")
    assert "\x1b" not in busy.text
    busy.size = (80, 24)
    assert "\x1b" not in busy.text


# --- the keys at the bottom -----------------------------------------------------------


def test_the_last_line_has_the_keys_of_where_one_is(busy):
    assert "q Quit" in keys(busy)
    assert "t Tree" in keys(busy)
    busy.press("2")
    assert "Enter Tasks" in keys(busy)
    assert "Tree" not in keys(busy)
    busy.press("enter")
    assert "q Back" in keys(busy)
    busy.press("enter", "tab")
    assert "/ Search" in keys(busy)
    assert "Enter" not in keys(busy)
    busy.press("p")
    assert "p Go on" in keys(busy)


def test_where_nothing_can_be_changed_no_key_offers_to():
    terminal = FakeTerminal(read_only=True)
    assert "Actions" not in keys(terminal)


# --- stale data -----------------------------------------------------------------------


def test_rows_are_dimmed_and_a_banner_shown_without_a_connection(busy):
    busy.link.lost_at = busy.clock.now
    busy.around = Surroundings(
        status="RECONNECTING",
        where="redis://host",
        badges=(),
        refresh=1.0,
        clock="x",
        banner=("RECONNECTING  attempt 3", "12s old"),
    )
    drawing = busy.drawing()
    assert drawing.lines[1][0][0] == "banner"
    assert "12s old" in busy.lines()[1]
    assert drawing.lines[6][0][0] == "stale"


# --- mouse ----------------------------------------------------------------------------


def click(terminal, column, row):
    terminal.drawing().hits[row](column, row)


def test_a_press_on_a_tab_shows_the_view(busy):
    click(busy, busy.lines()[3].index("3 Workers"), 3)
    assert busy.session.view == "workers"
    click(busy, 110, 3)
    assert busy.session.view == "workers"


def test_a_press_on_a_head_sorts_and_another_one_inverts(busy):
    column = busy.lines()[4].index("TASK")
    click(busy, column, 4)
    assert busy.session.table.sort_key == "name"
    click(busy, column, 4)
    assert busy.session.table.reverse
    click(busy, 0, 4)
    assert busy.session.table.sort_key == "name"


def test_a_press_on_a_row_goes_there_and_another_one_opens_it(busy):
    click(busy, 10, 7)
    assert busy.session.table.focus_key == "aaaa1111"
    click(busy, 10, 7)
    assert busy.session.detail.key == "aaaa1111"
    busy.press("q")
    click(busy, 10, 15)
    assert busy.session.table.focus_key == "aaaa1111"
