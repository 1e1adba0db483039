import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.text import sanitize, width
from evtools.top.widgets.line import (
    columns,
    fitted,
    plain,
    restyled,
    spliced,
    spread,
    with_matches,
    worded,
    wrapped,
)

texts = st.text(alphabet="abc .中文🎉e\u0301é", max_size=12).map(sanitize)
lines = st.lists(st.tuples(st.sampled_from(["text", "head"]), texts), max_size=4)
sizes = st.integers(0, 30)


@given(lines, sizes)
def test_a_fitted_line_has_exactly_the_columns_asked_for(line, cols):
    assert columns(fitted(line, cols)) == cols


def test_a_fitted_line_keeps_its_styles_and_is_filled_in_another():
    line = [("head", "ab"), ("text", "cd")]
    assert fitted(line, 3) == [("head", "ab"), ("text", "c")]
    assert fitted(line, 6, "dim") == [*line, ("dim", "  ")]
    assert fitted([("text", "a中")], 2) == [("text", "a ")]


def test_two_ends_are_spread_and_the_right_one_gives_way():
    left, right = [("head", "left")], [("text", "right")]
    assert plain(spread(left, right, 12)) == "left   right"
    assert plain(spread(left, right, 9)) == "left     "


def test_a_restyled_line_has_one_style():
    assert restyled([("head", "a"), ("text", "b")], "dim") == [("dim", "ab")]


@given(lines, lines, sizes)
def test_what_is_laid_over_a_line_moves_nothing_beside_it(below, above, start):
    cols = columns(below)
    result = spliced(below, above, start)
    assert columns(result) == max(cols, start + columns(above))


def test_a_line_goes_on_behind_what_is_laid_over_it():
    below = [("head", "abc"), ("text", "defghi")]
    assert plain(spliced(below, [("rule", "XX")], 2)) == "abXXefghi"
    assert spliced(below, [("rule", "XX")], 1)[-1] == ("text", "defghi")
    assert plain(spliced([("text", "中中中中")], [("rule", "XX")], 1)) == " XX 中中"


@given(texts, st.integers(2, 20))
def test_a_wrapped_text_loses_nothing(text, cols):
    pieces = list(wrapped(text, cols))
    assert "".join(pieces) == text
    assert all(width(piece) <= cols for piece in pieces)


@given(texts, st.integers(2, 12))
def test_a_text_broken_between_words_loses_blanks_only(text, cols):
    pieces = list(worded(text, cols))
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")
    assert all(width(piece) <= cols for piece in pieces)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("one two three", ["one two", "three"]),
        ("onetwo three", ["onetwo", "three"]),
        ("one  two", ["one ", "two"]),
        ("onetwothree four", ["onetwot", "hree", "four"]),
        ("  onetwothree", ["  onetw", "othree"]),
        ("中文 字", ["中文 字"]),
        ("", [""]),
    ],
)
def test_a_text_is_broken_between_words_where_it_can_be(text, pieces):
    assert list(worded(text, 7)) == pieces


def test_a_character_wider_than_the_room_is_not_dropped():
    assert list(wrapped("中a", 1)) == ["中", "a"]
    assert list(wrapped("", 5)) == [""]


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ([], [("text", "abcabc")]),
        ([(0, 6)], [("match", "abcabc")]),
        (
            [(1, 2), (4, 5)],
            [("text", "a"), ("match", "b"), ("text", "ca"), ("match", "b"), ("text", "c")],
        ),
    ],
)
def test_places_found_stand_out(found, line):
    assert with_matches("abcabc", "text", found) == line
