"""Text in columns: of exactly the width that is asked for, whatever characters it has."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evtools.text.sanitize import clip, elide_middle, pad, sanitize, width

# fmt: off
PIECES = st.sampled_from([
    "a", ".", "_", "0", "中", "\uff57", "é", "e\u0301", "\u0301", "😀", "❤\ufe0f", "한", "🇸",
    "\ufe0f",
])
# fmt: on
TEXT = st.lists(PIECES).map("".join) | st.text().map(sanitize)
COLS = st.integers(-3, 40)
ALIGN = ["left", "right", "center"]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", 0), ("abc", 3), ("中文", 4), ("e\u0301", 1), ("\u0301", 0), ("😀", 2), ("\x1b", 0),
        ("a\x1bé", 2),
    ],
)  # fmt: skip
def test_width_counts_columns(text, columns):
    assert width(text) == columns


@pytest.mark.parametrize(
    ("text", "cols", "expected"),
    [
        ("charge", 6, "charge"), ("charge_card", 6, "char.."), ("charge_card", 3, "c.."),
        ("charge_card", 2, "ch"), ("charge_card", 0, ""), ("charge_card", -1, ""),
        ("中文字", 5, "中.."), ("中文字", 4, "中.."), ("中文字", 1, ""),
        ("e\u0301e\u0301e\u0301e\u0301", 3, "e\u0301.."),
    ],
)  # fmt: skip
def test_clip_keeps_the_start(text, cols, expected):
    assert clip(text, cols) == expected


@pytest.mark.parametrize(
    ("text", "cols", "expected"),
    [
        ("proj.add", 8, "proj.add"),
        ("proj.billing.invoices.charge_card", 25, "proj.billing..charge_card"),
        ("proj.billing.invoices.charge_card", 20, "proj.bi..charge_card"),
        ("a.b.c.an_extraordinarily_long_name", 20, "a.b.c..ly_long_name"),
        ("abcdefghij", 8, "ab..ghij"), ("abcdefghij", 3, "abc"), ("abcdefghij", 0, ""),
        ("日本.中文字.任務名稱", 13, "日..任務名稱"),
    ],
)  # fmt: skip
def test_elide_middle_keeps_both_ends(text, cols, expected):
    assert elide_middle(text, cols) == expected


def test_pad_fills_with_blanks_also_the_half_of_a_character_that_was_cut():
    assert [pad("ab", 5, align) for align in ALIGN] == ["ab   ", "   ab", " ab  "]
    assert pad("中文字", 5) == "中.. "


@given(TEXT, COLS, st.sampled_from(ALIGN))
@example("a\u0301" * 9, 5, "left")
def test_text_takes_its_columns(text, cols, align):
    room = max(0, cols)
    assert width(clip(text, cols)) <= room
    assert width(elide_middle(text, cols)) <= room
    assert width(pad(text, cols, align)) == room
    assert clip(text, width(text)) == elide_middle(text, width(text)) == text
