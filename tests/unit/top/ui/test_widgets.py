"""Parts of the screen: lines, the editor, the pager, layers, the detail, the table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.text import sanitize, width
from evtools.top.keys import Keymap
from evtools.top.table import Detail
from evtools.top.ui.theme import ASCII
from evtools.top.ui.widgets import (
    Box,
    Choice,
    DetailPane,
    Dialog,
    Editor,
    Help,
    Menu,
    Pager,
    centred,
    closed,
    columns,
    fitted,
    head_at,
    plain,
    spliced,
    table_lines,
    wrapped,
)

KEYMAP = Keymap()


def texts(lines):
    return [plain(line).rstrip() for line in lines]


def press(layer, *keys):
    outcome = None
    for key in keys:
        outcome = layer.press(key, KEYMAP.find(key, layer.contexts))
    return outcome


def shown(layer, cols=96, rows=38):
    return texts(layer.box(cols, rows).lines)


# --- lines --------------------------------------------------------------------------------

printed = st.text(alphabet="abc .中文🎉e\u0301é", max_size=12).map(sanitize)
lines = st.lists(st.tuples(st.sampled_from(["text", "head"]), printed), max_size=4)


@given(lines, lines, st.integers(0, 30))
def test_lines_are_cut_filled_and_laid_over_each_other_to_the_column(below, above, cols):
    assert columns(fitted(below, cols)) == cols
    assert columns(spliced(below, above, cols)) == max(columns(below), cols + columns(above))


def test_a_fitted_line_keeps_its_styles_and_is_filled_in_another():
    line = [("head", "ab"), ("text", "cd")]
    assert fitted(line, 3) == [("head", "ab"), ("text", "c")]
    assert fitted(line, 6, "dim") == [*line, ("dim", "  ")]
    assert fitted([("text", "a中")], 2) == [("text", "a ")]


def test_a_line_goes_on_behind_the_one_over_it():
    below = [("head", "abc"), ("text", "defghi")]
    assert plain(spliced(below, [("rule", "XX")], 2)) == "abXXefghi"
    assert spliced(below, [("rule", "XX")], 1)[-1] == ("text", "defghi")
    assert plain(spliced([("text", "中中中中")], [("rule", "XX")], 1)) == " XX 中中"


@given(printed, st.integers(2, 20), st.booleans())
def test_a_wrapped_text_loses_nothing_but_blanks_between_words(text, cols, words):
    pieces = list(wrapped(text, cols, words=words))
    assert all(width(piece) <= cols for piece in pieces)
    if words:
        pieces, text = ["".join(pieces).replace(" ", "")], text.replace(" ", "")
    assert "".join(pieces) == text


# fmt: off
@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("one two three",      ["one two", "three"]),
        ("onetwo three",       ["onetwo", "three"]),
        ("one  two",           ["one ", "two"]),
        ("onetwothree four",   ["onetwot", "hree", "four"]),
        ("  onetwothree",      ["  onetw", "othree"]),
        ("中文 字",             ["中文 字"]),
        ("",                   [""]),
    ],
)
def test_a_text_is_broken_between_words_where_it_can_be(text, pieces):
    assert list(wrapped(text, 7, words=True)) == pieces
    assert [list(wrapped(text, 1)) for text in ("中a", "")] == [["中", "a"], [""]]
# fmt: on


# --- boxes --------------------------------------------------------------------------------


def test_a_box_is_as_wide_as_its_widest_line_and_in_the_middle_with_its_cursor():
    box = Box("menu", [[("text", "one")], [("text", "longer line")]])
    over, cursor = centred([[]] * 5, box, (16, 4), ASCII)
    assert cursor is None
    assert texts(over) == [
        "+- menu ------+",
        "| one         |",
        "| longer line |",
        "+-------------+",
        "",
    ]
    below = [[("text", "." * 20)] for _ in range(8)]
    over, cursor = centred(below, Box("t", [[("text", "abc")]], (1, 0)), (20, 8), ASCII)
    assert cursor == (9, texts(over).index("......| abc |......."))
    # One that is larger than the screen is cut.
    box = Box("title of some length", [[("text", "x" * 40)]] * 9, (39, 8))
    over, cursor = centred([[("text", "." * 10)] for _ in range(4)], box, (10, 4), ASCII)
    assert ([columns(line) for line in over], cursor) == ([10] * 4, (9, 3))


# --- the editor ---------------------------------------------------------------------------


def edited(text, *keys, **how):
    """Return an editor after some keys."""
    editor = Editor(text, **how)
    for key in keys:
        editor.press(key, KEYMAP.find(key, ("prompts",)))
    return editor


def marked(editor):
    """Return the text with a | where the cursor is."""
    column = editor.line(1000)[1]
    return editor.text[:column] + "|" + editor.text[column:]


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("home left",              "|one two-three"),
        ("ctrl-a ctrl-e",          "one two-three|"),
        ("left",                   "one two-thre|e"),
        ("ctrl-b ctrl-f",          "one two-three|"),
        ("alt-b",                  "one two-|three"),
        ("ctrl-left alt-b alt-b",  "|one two-three"),
        ("home alt-f",             "one| two-three"),
        ("home ctrl-right alt-f",  "one two|-three"),
        ("backspace",              "one two-thre|"),
        ("left delete",            "one two-thre|"),
        ("home ctrl-d",            "|ne two-three"),
        ("alt-b ctrl-u",           "|three"),
        ("alt-b ctrl-k",           "one two-|"),
        ("ctrl-w",                 "one |"),
        ("home alt-d",             "| two-three"),
        ("ctrl-w home ctrl-y",     "two-three|one "),
        ("home x space",           "x |one two-three"),
        ("f12 pgdn \x1b ctrl-y",   "one two-three|"),
    ],
)  # fmt: skip
def test_the_keys_of_readline(keys, text):
    assert marked(edited("one two-three", *keys.split(" "))) == text


def test_a_text_has_an_end():
    assert len(edited("x" * 4090, *"123456789").text) == 4096
    assert len(edited("x" * 5000, "y", "ctrl-y").text) == 5000


def test_history_goes_back_and_forth_and_keeps_the_line_being_typed():
    editor = Editor("new", history=["first", "second"])
    seen = []
    for command in ("back", "back", "back", "forward", "forward", "forward"):
        editor.press("", f"history-{command}")
        seen.append(editor.text)
    assert seen == ["second", "first", "first", "second", "new", "new"]
    assert marked(editor) == "new|"


def complete(text):
    words = ["worker", "wait", "warm", "sort-left", "sort-right", "a", "ab"]
    start = text.rfind(" ") + 1
    return start, [word for word in words if word.startswith(text[start:])]


@pytest.mark.parametrize(
    ("text", "keys", "completed", "choices"),
    [
        ("a wo",    [],                "a worker|",    ()),
        ("a w",     [],                "a w|",         ("worker", "wait", "warm")),
        ("s",       [],                "sort-|",       ("sort-left", "sort-right")),
        ("a",       [],                "a|",           ("a", "ab")),
        ("wo name", ["alt-b", "left"], "worker| name", ()),
        ("xyz",     [],                "xyz|",         ()),
    ],
)  # fmt: skip
def test_a_word_is_completed_as_far_as_the_choices_agree(text, keys, completed, choices):
    editor = edited(text, *keys, "tab", complete=complete)
    assert (marked(editor), tuple(editor.choices)) == (completed, choices)
    editor.press("i", None)
    assert editor.choices == ()


def test_the_part_around_the_cursor_is_shown():
    assert Editor("short").line(20) == ([("text", "short")], 5)
    assert Editor("中文").line(20)[1] == 4
    for text in ("0123456789" * 5, "中" * 40):
        line, column = Editor(text).line(10)
        assert column == width(line[0][1]) <= 9
        assert line[0][1].endswith(text[-1])
    assert Editor("a\x1b[31m").line(40)[0] == [("text", "a\\x1b[31m")]


# --- the pager ----------------------------------------------------------------------------

TEXT = [f"line {number}" for number in range(30)]


def page(pager, cols=20, rows=10):
    return texts(pager.lines(cols, rows))


@pytest.fixture
def pager():
    made = Pager()
    made.show(TEXT)
    page(made)
    return made


@pytest.mark.parametrize(
    ("commands", "first"),
    [
        ("",                  0),
        ("down",              1),
        ("up",                0),
        ("page-down",         9),
        ("page-down page-up", 0),
        ("half-down",         5),
        ("bottom",            20),
        ("bottom half-up",    15),
        ("bottom down",       20),
        ("pause",             0),
    ],
)  # fmt: skip
def test_a_text_scrolls_and_stops_at_the_ends(pager, commands, first):
    for command in commands.split():
        pager.press(command)
    assert page(pager) == TEXT[first : first + 10]
    assert pager.place() == f"{first + 10}/30"


def test_long_lines_are_wrapped_or_cut_and_then_shifted():
    pager = Pager()
    pager.show(["0123456789abcdef", "x"])
    pages = []
    for command in ("", "right", "wrap", "right", "left", "left"):
        pager.press(command)
        pages.append(page(pager, 10))
    whole, cut = ["0123456789", "abcdef", "x"], ["0123456789", "x"]
    assert pages == [whole, whole, cut, ["89abcdef", ""], cut, cut]
    assert pager.place() == ""


def test_another_text_keeps_the_place_where_it_exists(pager):
    pager.press("half-down")
    pager.show([*TEXT, "one more"])
    assert page(pager)[0] == "line 5"
    pager.show(["short"])
    assert page(pager) == ["short"]
    pager.show(TEXT)
    pager.reset()
    assert page(pager)[0] == "line 0"


def test_a_search_ignores_case_and_its_matches_stand_out(pager):
    assert not pager.search("nowhere")
    assert page(pager) == TEXT[:10]
    assert pager.search("LINE 25")
    assert [("match", "line 25")] in pager.lines(20, 10)
    pager.search("in")
    assert pager.lines(20, 1) == [[("text", "l"), ("match", "in"), ("text", "e 20")]]


def test_a_search_begins_on_the_screen_and_goes_on_in_both_directions_and_around(pager):
    def first():
        return page(pager, rows=1)[0]

    pager.press("half-down")
    assert pager.search("5")
    seen = [first()]
    for back in (False, False, False, True):
        assert pager.search_next(back=back)
        seen.append(first())
    assert seen == ["line 5", "line 15", "line 25", "line 5", "line 25"]


def test_letters_that_change_their_length_with_their_case_do_no_harm():
    pager = Pager()
    pager.show(["o", "İstanbul İ", "istanbul"])
    assert page(pager, rows=1) == ["o"]
    assert pager.search("istanbul")
    assert pager.lines(20, 1) == [[("match", "İstanbul"), ("text", " İ")]]
    assert pager.search_next()
    assert page(pager, rows=1) == ["istanbul"]


# --- layers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "choice"),
    [
        ("q",              "second"),
        ("2",              "third"),
        ("enter",          "first"),
        ("k enter",        "third"),
        ("up down enter",  "first"),
        ("j enter",        "second"),
        ("pgdn enter",     "third"),
        ("pgdn pgup enter", "first"),
        ("j j enter",      None),
        ("x",              None),
        ("h",              None),
    ],
)  # fmt: skip
def test_a_choice_is_taken_by_its_key_or_with_the_cursor(keys, choice):
    taken = []
    choices = [
        Choice("first", lambda: taken.append("first")),
        Choice("second", lambda: taken.append("second"), "q"),
        Choice("only to read", None),
        Choice("third", lambda: taken.append("third")),
    ]
    menu = Menu("menu", lambda: choices)
    # Each has a key of its own, or a digit.
    assert shown(menu) == [">1  first", " q  second", "    only to read", " 2  third"]
    outcome = press(menu, *keys.split())
    if outcome is not None:
        outcome()
    assert taken == ([choice] if choice else [])


def test_a_long_menu_shows_the_choices_around_the_cursor():
    menu = Menu("m", lambda: [Choice(f"choice {n}", closed) for n in range(30)])
    assert len(shown(menu, 36, 10)) == 10
    press(menu, "pgdn")
    assert shown(menu, 36, 10)[-1] == ">   choice 10"
    # Its lines are cut, and those of a dialog, whose word may come from the wire.
    wide = Menu("m", lambda: [Choice("x" * 100, closed)])
    long = Dialog("t", ["x" * 100], closed, word="\x1b" + "x" * 100)
    for layer in (wide, long):
        assert max(map(width, shown(layer, 40, 10))) <= 40
        assert "\x1b" not in "".join(shown(layer))
    assert shown(long)[-1] == ">"


def test_the_help_has_the_keys_with_a_text_and_scrolls():
    layer, tall = Help(KEYMAP, ("lists", "moving", "everywhere")), (96, 198)
    press(layer, *"SORT")
    found = "\n".join(shown(layer, *tall))
    assert found.startswith("find> SORT\n")
    assert "choose the column to sort by" in found
    assert "pause" not in found
    press(layer, *["backspace"] * 4, *"pgdn")
    assert "page down" in "\n".join(shown(layer, *tall)).lower()
    press(layer, *["backspace"] * 4)
    assert "pause" in "\n".join(shown(layer, *tall))
    top = shown(layer, 76, 18)
    press(layer, "down")
    assert shown(layer, 76, 18)[1] == top[2]
    press(layer, "pgdn")
    assert shown(layer, 76, 18)[1] not in top
    press(layer, "up", "pgup")
    assert shown(layer, 76, 18) == top
    press(layer, *"zzzz")
    assert "no key, command or help has this text" in shown(layer, *tall)
    assert layer.box(*tall).cursor == (len("find> zzzz"), 0)


# --- the detail ---------------------------------------------------------------------------

DETAIL = Detail(
    "proj.charge 7a8b8d37",
    ("state   FAILURE", "args    (1,)"),
    {"Traceback": tuple(f"line {n}" for n in range(30)), "Info": ("info",), "Raw": ("{}",)},
    "Traceback",
)


@pytest.fixture
def pane():
    made = DetailPane("7a8b8d37")
    made.show(DETAIL)
    return made


def drawn(pane, cols=60, rows=10):
    found = pane.lines(cols, rows, ASCII)
    assert len(found) <= rows
    assert all(columns(line) <= cols for line in found)
    return texts(found)


def test_a_detail_has_a_title_facts_sections_and_the_text(pane):
    title, first, second, _, text, *_ = drawn(pane)
    assert title.startswith("-- proj.charge 7a8b8d37 -")
    assert title.endswith("- 6/30 --")
    assert len(title) == 60
    assert first.startswith(" state   FAILURE")
    assert first.endswith("[Traceback] Info  Raw")
    assert (second, text) == (" args    (1,)", "line 0")
    assert "line 0" in drawn(pane, rows=4)  # there is always room for some text
    assert len(drawn(pane, rows=1)) == 1
    # Where the facts are long, sections have a line of their own.
    pane.show(Detail("t", ("x" * 58,), {"Info": ("a",), "Raw": ("b",)}))
    assert [line.strip() for line in drawn(pane)[1:3]] == ["[Info] Raw", "x" * 58]


def test_another_row_begins_at_its_first_line_and_the_same_one_does_not(pane):
    drawn(pane)
    pane.pager.press("down")
    pane.follow("7a8b8d37")
    assert drawn(pane)[4] == "line 1"
    pane.follow("other")
    pane.show(DETAIL)
    assert drawn(pane)[4] == "line 0"


def test_a_forgotten_row_stays_readable_and_says_so(pane):
    pane.show(None)
    assert "line 0" in drawn(pane)
    pane.turn(1)
    assert "info" in drawn(pane)
    assert any("this has been forgotten" in line for line in drawn(pane))
    gone = DetailPane("k")
    assert not any("forgotten" in line for line in drawn(gone))
    gone.turn(1)
    gone.show(None)
    assert any("this has been forgotten" in line for line in drawn(gone))


# --- the table ----------------------------------------------------------------------------


def rows_of(table, rows=6, cols=40):
    table.resize(cols)
    found = table_lines(table, (cols, rows), stale=False)
    assert all(columns(line) == cols for line in found[1:])
    return found


def test_the_cursor_is_a_sign_and_reverse_and_a_mark_another_sign(things):
    table = things(3)
    found = rows_of(table)
    head, first, second, _ = texts(found)
    assert head.split() == ["STATE", "NAME^", "NUMBER"]
    assert (first[:3], second[:3]) == (">OK", " OK")
    assert {style for style, _ in found[1]} == {"selected"}
    table.toggle_mark()
    assert rows_of(table)[1][0] == ("marked", "*")
    table.go(0)
    assert texts(rows_of(table))[1].startswith("*")
    # A place on the screen belongs to a column.
    heads = [head_at(table, column) for column in (0, 1, 6, 7, 8, 39, 200)]
    assert heads == ["", "state", "state", "", "name", "number", ""]


def test_a_cell_has_the_style_of_its_value_also_under_the_cursor(things):
    table = things(3)
    table.tint = lambda column, *_: "late" if column.name == "number" else ""
    _, first, second, _ = rows_of(table)
    assert "selected late" in {style for style, _ in first}
    assert "late" in {style for style, _ in second}


def test_only_rows_on_the_screen_are_formatted(things):
    table = things(100_000)
    asked = []
    row = table.row
    table.row = lambda index: asked.append(index) or row(index)
    assert len(rows_of(table, rows=6)) == 6
    assert asked == [0, 1, 2, 3, 4]


def test_the_cell_of_the_state_is_coloured_or_the_whole_row(things):
    table = things(4)
    table.things["key1"]["style"] = "failure"
    table.things["key2"]["style"] = "dim"
    table.things["key3"]["number"] = 0
    found = rows_of(table)
    # A zero stands back, in a row as any other.
    assert [text.strip() for style, text in found[4] if style == "dim"] == ["0"]
    assert (found[2][1], found[2][2][0]) == (("failure", "OK    "), "text")
    assert found[3][1][0] == "dim"
    table.go(1)
    assert rows_of(table)[2][:2] == [("selected", ">"), ("selected failure", "OK    ")]
    assert {style for style, _ in rows_of(table)[2][2:]} == {"selected"}
    assert {style for style, _ in found[3][1:]} <= {"dim", "text"}


def test_the_cursor_is_always_on_the_screen(things):
    table = things(20)
    for key, first in ((7, 3), (8, 4), (5, 4), (2, 2), (19, 15)):
        table.move(key - table.focus_index)
        rows_of(table)
        assert table.top == first


def test_rows_that_come_in_above_do_not_move_the_row_under_the_eye(things):
    table = things(20)
    for step in (12, -2):
        table.move(step)
        rows_of(table)
    before = table.top
    table.things = {"new1": table.things["key0"], **table.things}
    for _ in range(7):
        table.refresh(table.context)
    rows_of(table)
    assert (table.focus_key, table.top) == ("key10", before + 1)


def test_a_table_that_shrinks_leaves_no_empty_lines(things):
    table = things(20)
    table.move(99)
    rows_of(table)
    for left in (3, 0):
        table.things = dict(list(table.things.items())[:left])
        for _ in range(7):
            table.refresh(table.context)
        assert len(rows_of(table)) == left + 1
