from evtools.top.glyphs import ASCII, UNICODE
from evtools.top.widgets.box import Box, centred, framed, room
from evtools.top.widgets.line import columns, plain


def texts(lines):
    return [plain(line) for line in lines]


def test_a_box_is_as_wide_as_its_widest_line():
    box = Box("menu", [[("text", "one")], [("text", "longer line")]])
    assert texts(framed(box, ASCII)) == [
        "+- menu ------+",
        "| one         |",
        "| longer line |",
        "+-------------+",
    ]
    assert texts(framed(Box("", []), UNICODE))[0].startswith("┌─")


def test_a_box_is_laid_into_the_middle_and_its_cursor_with_it():
    below = [[("text", "." * 20)] for _ in range(8)]
    lines, cursor = centred(below, Box("t", [[("text", "abc")]], (1, 0)), (20, 8), ASCII)
    assert texts(lines)[2:6] == [
        "." * 20,
        "......+- t -+.......",
        "......| abc |.......",
        "......+-----+.......",
    ] or texts(lines)[3].count("| abc |")
    row = next(n for n, line in enumerate(texts(lines)) if "abc" in line)
    assert cursor == (texts(lines)[row].index("b"), row)


def test_a_box_larger_than_the_screen_is_cut():
    below = [[("text", "." * 10)] for _ in range(4)]
    box = Box("title of some length", [[("text", "x" * 40)]] * 9, (39, 8))
    lines, cursor = centred(below, box, (10, 4), ASCII)
    assert len(lines) == 4
    assert all(columns(line) == 10 for line in lines)
    assert cursor == (9, 3)


def test_a_screen_has_room_for_a_box_inside_of_its_frame():
    assert room((80, 24)) == (76, 22)
    assert room((2, 1)) == (1, 1)
