import pytest
import urwid

from evtools.text import width
from evtools.top.options import THEMES
from evtools.top.ui.theme import ASCII, STYLES, UNICODE, on_cursor, palette, parse_look


@pytest.mark.parametrize("theme", THEMES)
def test_every_theme_has_a_look_for_every_style_that_urwid_can_draw(theme):
    entries = palette(theme)
    assert [entry[0] for entry in entries] == list(STYLES)
    urwid.display.raw.Screen().register_palette(entries)
    for entry in entries:
        assert not {"white", "black", "light gray", "dark gray"} & set(entry[1].split(","))
    selected = next(entry for entry in entries if entry[0] == "selected")
    assert selected == ("selected", "default,standout", "", "standout", "default,standout", "")


def test_without_colours_bold_and_reverse_are_left():
    assert palette("neon") == palette("mono")
    assert {entry[1].split(",")[0] for entry in palette("mono")} == {"default"}
    failure = ("failure", "default,bold", "", "bold", "default,bold", "")
    assert failure in palette("mono")


def test_a_state_keeps_its_colour_under_the_cursor():
    entries = palette("dark")
    looks = {one[0]: one for one in on_cursor(entries)}
    failure = "light red,bold,standout"
    assert looks["selected failure"][1:] == (failure, "", "bold,standout", failure, "")
    urwid.display.raw.Screen().register_palette([*entries, *on_cursor(entries)])
    # On colours that somebody chose for the cursor it may not be readable.
    for own in ("black on 208", "bold"):
        own_entries = palette("dark", {"selected": own})
        selected = next(one[1:] for one in own_entries if one[0] == "selected")
        assert {one[1:] for one in on_cursor(own_entries)} == {selected}


def test_good_and_bad_are_not_green_and_red_where_they_must_be_told_apart():
    looks = {entry[0]: entry for entry in palette("cb")}
    for style in ("good", "running", "waiting", "failure", "retry"):
        assert "green" not in looks[style][1]
        assert "red" not in looks[style][1]
    assert looks["good"][4] != looks["failure"][4]
    assert looks["failure"] == ("failure", "brown,bold", "", "bold", "h208,bold", "")


# fmt: off
_LOOKS = {
    "bold red":           ("dark red,bold", "default", "bold", "dark red,bold", "default"),
    "Bright-Red on blue": ("light red", "dark blue", "", "light red", "dark blue"),
    "208 on #00ff80":     ("default", "default", "", "h208", "#0f8"),
    "#f80 underline dim": ("default,underline,faint", "default", "underline,faint",
                           "#f80,underline,faint", "default"),
    "on bright white":    ("default", "white", "", "default", "white"),
    "grey reverse":       ("dark gray,standout", "default", "standout", "dark gray,standout",
                           "default"),
    "":                   ("default", "default", "", "default", "default"),
}
# fmt: on


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("text", _LOOKS)
def test_a_style_may_have_a_look_of_its_own_in_every_theme(theme, text):
    entries = palette(theme, {"failure": text})
    own = ("failure", *_LOOKS[text])
    assert entries == [own if one[0] == "failure" else one for one in palette(theme)]
    urwid.display.raw.Screen().register_palette(entries)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("redd", r'"redd" is neither a colour nor a setting \(did you mean red\?\)'),
        ("bright bold", "neither a colour"),
        ("256", '"256" is neither a colour nor a setting'),
        ("#ff", "neither a colour"),
        ("red blue", "two colours"),
        ("red on", "ends before its colour"),
        ("on on red", "neither a colour"),
        ("bright", "ends before its colour"),
    ],
)
def test_what_is_no_look_is_refused(text, problem):
    with pytest.raises(ValueError, match=problem):
        parse_look(text)


# --- characters -------------------------------------------------------------------


# fmt: off
@pytest.mark.parametrize(
    ("glyphs", "values", "line"),
    [
        (UNICODE, [1, 0, 2, 3, 4, 5, 6, 7], "▂▁▃▄▅▆▇█"),
        (ASCII,   [0, 1, 2, 3, 4, 5, 6, 7], " .:-=+*#"),
        # It claims nothing of the time before anything was seen.
        (UNICODE, [0, 0, 1, 0, 2],          "  ▅▁█"),
        (UNICODE, [0, 0],                   "  "),
        # What is not nothing can be seen.
        (UNICODE, [0.001, 1000],            "▂█"),
        (ASCII,   [],                       ""),
        (ASCII,   [float("nan")],           " "),
        (ASCII,   [float("nan"), 1],        "  "),
        # A gap in what is known is no zero.
        (UNICODE, [None, 2, None, 0, 2],    " █ ▁█"),
        (ASCII,   [-1.0],                   " "),
    ],
)
def test_a_sparkline_reaches_from_nothing_to_the_top(glyphs, values, line):
    assert glyphs.spark(values) == line
# fmt: on


def test_where_only_ascii_may_be_written_text_stays_as_wide():
    for text in ("plain", "proj.bild.größe", "タスク", "e\u0301", "a\u2764\ufe0fb"):
        plain = ASCII.plain(text)
        assert plain.isascii()
        assert width(plain) == width(text)
        assert UNICODE.plain(text) == text
