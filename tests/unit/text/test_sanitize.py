"""Untrusted text: printable, with nothing lost."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evtools.text.sanitize import _TABLE, sanitize, sanitize_lines

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("proj.add(1, 2)", "proj.add(1, 2)"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x00\x07\x1b[31m\x7f", r"\x00\x07\x1b[31m\x7f"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2066a\u2069", r"\u2066a\u2069"),
        ("a\u200bb\u200dc\ufeffd", r"a\u200bb\u200dc\ufeffd"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\ud800", r"\ud800"),
        ("\ue000", r"\ue000"),
        ("\U000e0001", r"\U000e0001"),
        ("\u0378", r"\u0378"),
        ("\xad", r"\xad"),
    ],
)
def test_what_a_terminal_would_act_on_becomes_a_visible_escape(text, expected):
    assert sanitize(text) == expected


@pytest.mark.parametrize("text", ["å", "a\u0301", "中文字", "한국어", "😀", "❤\ufe0f", "עברית"])
def test_ordinary_letters_marks_and_emoji_stay(text):
    assert sanitize(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\u034fb", r"a\u034fb"), ("a\u115fb", r"a\u115fb"), ("a\u3164b", r"a\u3164b"),
        ("a\ufe00b", r"a\ufe00b"), ("a\U000e0100b", r"a\U000e0100b"),
    ],
)  # fmt: skip
def test_characters_that_leave_no_ink_become_visible(text, expected):
    assert sanitize(text) == expected


def test_everyday_blanks_become_blanks_of_their_width():
    assert sanitize("1\xa0234\u202f567 山\u3000田") == "1 234 567 山  田"


def test_other_blanks_become_visible():
    assert sanitize("a\u2003b\u1680c") == r"a\u2003b\u1680c"


def test_a_backslash_is_not_doubled():
    assert sanitize("a\\nb") == "a\\nb"


@given(ANY_TEXT)
@example("\U0010ffff")
def test_the_result_is_always_printable(text):
    result = sanitize(text)
    assert result.isprintable()
    assert not {unicodedata.category(c) for c in result} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(ANY_TEXT)
def test_what_was_sanitised_stays_as_it_is(text):
    assert sanitize(sanitize(text)) == sanitize(text)


@given(ANY_TEXT)
def test_nothing_disappears(text):
    assert len(sanitize(text)) >= len(text)


def test_many_different_characters_leave_nothing_behind():
    before = len(_TABLE)
    sanitize("\n" + "".join(map(chr, range(0x4E00, 0x9000))))
    assert len(_TABLE) == before


def test_lines_keep_their_breaks_and_lose_everything_else():
    text = "Traceback\r\n\tFile \x1b[1mx\n  boom\rgone\u2028"
    assert sanitize_lines(text) == "Traceback\n        File \\x1b[1mx\n  boom\\rgone\\u2028"


@given(ANY_TEXT)
def test_every_line_is_printable(text):
    assert all(line.isprintable() for line in sanitize_lines(text).split("\n"))
