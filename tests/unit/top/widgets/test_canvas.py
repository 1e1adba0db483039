import urwid

from evtools.top.glyphs import ASCII, UNICODE
from evtools.top.theme import looks
from evtools.top.widgets.canvas import painted, palette, use_encoding


def test_a_canvas_has_the_size_it_is_asked_for():
    use_encoding(ascii_only=False)
    lines = [[("head", "abc"), ("text", "defgh")], [("text", "中")]]
    canvas = painted(lines, (5, 3), UNICODE, (1, 2))
    assert list(canvas.decoded_text) == ["abcde", "中   ", "     "]
    assert (canvas.cols(), canvas.rows()) == (5, 3)
    assert canvas.cursor == (1, 2)
    rows = list(canvas.content())
    assert [(style, text) for style, _, text in rows[0]] == [("head", b"abc"), ("text", b"de")]


def test_lines_beyond_the_last_row_are_left_out():
    canvas = painted([[("text", "a")], [("text", "b")]], (1, 1), UNICODE)
    assert canvas.text == [b"a"]


def test_only_ascii_reaches_a_terminal_that_takes_no_more():
    use_encoding(ascii_only=True)
    canvas = painted([[("text", "größe 中")]], (8, 1), ASCII)
    assert canvas.text == [b"gr??e ??"]
    use_encoding(ascii_only=False)


def test_the_palette_is_one_that_urwid_takes():
    screen = urwid.display.raw.Screen()
    for theme in ("dark", "light", "cb", "mono"):
        screen.register_palette(palette(looks(theme)))
    entries = {entry[0]: entry for entry in palette(looks("cb"))}
    assert entries["failure"] == ("failure", "brown,bold", "", "bold", "h208,bold", "")
    assert entries["text"] == ("text", "default", "", "", "default", "")
