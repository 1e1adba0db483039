import pytest

from evtools.text import width
from evtools.top.glyphs import ASCII, UNICODE, glyphs


def test_a_sparkline_reaches_from_nothing_to_the_top():
    assert UNICODE.spark([1, 0, 2, 3, 4, 5, 6, 7]) == "▂▁▃▄▅▆▇█"
    assert ASCII.spark([0, 1, 2, 3, 4, 5, 6, 7]) == " .:-=+*#"


def test_a_sparkline_claims_nothing_of_the_time_before_anything_was_seen():
    assert UNICODE.spark([0, 0, 1, 0, 2]) == "  ▅▁█"
    assert UNICODE.spark([0, 0]) == "  "


def test_what_is_not_nothing_can_be_seen():
    assert UNICODE.spark([0.001, 1000]) == "▂█"


def test_a_sparkline_can_be_measured_against_another_top():
    assert ASCII.spark([7, 99], top=14) == "=#"


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [float("nan")], [-1.0]])
def test_nothing_to_draw_is_drawn_as_nothing(values):
    assert ASCII.spark(values) == " " * len(values)


def test_every_character_takes_one_column():
    for one in (UNICODE, ASCII):
        signs = one.levels + one.rule + one.side + "".join(one.corners)
        assert width(signs) == len(signs)
        assert len(one.levels) == 8


def test_where_only_ascii_may_be_written_text_stays_as_wide():
    for text in ("plain", "proj.bild.größe", "タスク", "e\u0301", "a\u2764\ufe0fb"):
        plain = ASCII.plain(text)
        assert plain.isascii()
        assert width(plain) == width(text)
        assert UNICODE.plain(text) == text


def test_ascii_is_used_where_it_is_asked_for():
    assert glyphs(ascii_only=True) is ASCII
    assert glyphs(ascii_only=False) is UNICODE
