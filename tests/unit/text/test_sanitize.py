"""Untrusted text: printable, with nothing lost."""

import csv
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evtools.text.sanitize import _TABLE, csv_cell, sanitize, sanitize_lines

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""), ("proj.add(1, 2)", "proj.add(1, 2)"), ("a\\nb", "a\\nb"),
        # what a terminal would act on
        ("a\nb\tc\rd", r"a\nb\tc\rd"), ("\x00\x07\x1b[31m\x7f", r"\x00\x07\x1b[31m\x7f"),
        ("\x9b31m", r"\x9b31m"), ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2066a\u2069", r"\u2066a\u2069"), ("a\u200bb\u200dc\ufeffd", r"a\u200bb\u200dc\ufeffd"),
        ("\u2028\u2029", r"\u2028\u2029"), ("\ud800", r"\ud800"), ("\ue000", r"\ue000"),
        ("\U000e0001", r"\U000e0001"), ("\u0378", r"\u0378"), ("\xad", r"\xad"),
        # characters that leave no ink
        ("a\u034fb", r"a\u034fb"), ("a\u115fb", r"a\u115fb"), ("a\u3164b", r"a\u3164b"),
        ("a\ufe00b", r"a\ufe00b"), ("a\U000e0100b", r"a\U000e0100b"),
        # blanks: those of everyday text become blanks of their width
        ("1\xa0234\u202f567 山\u3000田", "1 234 567 山  田"),
        ("a\u2003b\u1680c", r"a\u2003b\u1680c"),
        # ordinary letters, marks and emoji
        *((text, text) for text in ("å", "a\u0301", "中文字", "한국어", "😀", "❤\ufe0f", "עברית")),
    ],
)  # fmt: skip
def test_what_cannot_be_seen_becomes_a_visible_escape(text, expected):
    assert sanitize(text) == expected


@given(ANY_TEXT)
@example("\U0010ffff")
def test_the_result_is_always_printable_and_nothing_disappears(text):
    result = sanitize(text)
    assert result.isprintable()
    assert not {unicodedata.category(c) for c in result} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert sanitize(result) == result
    assert len(result) >= len(text)


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


# --- cells of CSV: read back as they were, and never run -----------------------------

STARTS = [*"=+-@", "\uff1d", "\uff0b", "\uff0d", "\uff20"]


@pytest.mark.parametrize("start", STARTS)
def test_no_text_is_a_formula(start):
    assert csv_cell(f"{start}1+1") == f"'{start}1+1"


def test_a_number_may_be_negative():
    assert csv_cell("-1", is_number=True) == "-1"


@given(st.lists(st.text(), min_size=2, max_size=4))
def test_what_is_read_back_is_what_was_written(texts):
    line = ",".join(map(csv_cell, texts))
    (cells,) = csv.reader([line])
    assert [cell.removeprefix("'") for cell in cells] == [
        sanitize(text).removeprefix("'") for text in texts
    ]
    assert not any(cell.startswith(tuple(STARTS)) for cell in cells)
