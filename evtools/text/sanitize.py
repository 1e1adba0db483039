"""Text from outside: decoded, made printable, cut to columns, and made a cell of CSV."""

import re
from typing import Final, Literal, TypeAlias

# Anyone who can enqueue a task chooses what is printed.  Nothing is deleted: what a
# terminal would act on, or what an eye could not see, becomes a visible escape (\n, \x1b,
# \u202e, \U000e0001), so that a forgery stays visible, too.
#
# Escaped is everything `str.isprintable` refuses (controls, format characters and bidi
# controls, separators, lone surrogates, private use, unassigned) and the characters that
# are letters or marks by name but leave no ink.
#
# * ZERO WIDTH JOINER is a format character and is escaped like the others, although it
#   glues emoji families and is needed in some scripts.  Otherwise `proj.add` and a
#   look-alike could share one spelling on the screen, and terminals disagree on the width
#   of what it glues, which shifts every column to its right.  Simple emoji, accents and
#   CJK are untouched.
# * Three blanks of everyday text become plain blanks of the same width instead of escapes:
#   NO-BREAK SPACE, NARROW NO-BREAK SPACE, IDEOGRAPHIC SPACE.
# * A backslash stays as it is and is not doubled: the output is for reading.  What must be
#   read back is written as JSON.

_SPECIAL: Final = {
    ord("\n"): "\\n",
    ord("\t"): "\\t",
    ord("\r"): "\\r",
    0x00A0: " ",
    0x202F: " ",
    0x3000: "  ",
}
# Characters that pass isprintable and show nothing: combining grapheme joiner, Hangul
# fillers, Khmer inherent vowels, Mongolian and other variation selectors.  VARIATION
# SELECTOR-16 stays, as it is what makes a heart an emoji.
_INKLESS: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0e\uffa0\U000e0100-\U000e01ef]"
)
_BYTE: Final = 0x100
_BMP: Final = 0x10000


class _Table(dict[int, str]):
    # For `str.translate`.  Latin-1 is in it; anything else is computed each time and not kept,
    # as the sender chooses how many different characters there are.

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if character.isprintable() and not _INKLESS.match(character):
            return character
        if code in _SPECIAL:
            return _SPECIAL[code]
        if code < _BYTE:
            return f"\\x{code:02x}"
        return f"\\u{code:04x}" if code < _BMP else f"\\U{code:08x}"


_TABLE: Final = _Table({code: _Table()[code] for code in range(_BYTE)})


def sanitize(text: str) -> str:
    """Return `text` on one line and printable: `str.isprintable` is true of it."""
    if text.isprintable() and (text.isascii() or not _INKLESS.search(text)):
        return text
    return text.translate(_TABLE)


def sanitize_lines(text: str) -> str:
    r"""Return `text` printable except for its line breaks, for tracebacks.

    Line breaks are \n and \r\n, and become \n.  Tabs become blanks up to the next
    multiple of eight columns.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(sanitize(line.expandtabs()) for line in lines)


#: Spreadsheets take text with such a start, or its wide form, for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_cell(text: str, *, is_number: bool = False) -> str:
    """Return a text as a cell of CSV (RFC 4180), without control characters.

    An apostrophe is put before text that a spreadsheet would run as a formula, unless it
    `is_number`.
    """
    text = sanitize(text)
    if not is_number and text.startswith(_FORMULA):
        text = "'" + text
    if "," in text or '"' in text or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text


def encoding_of(head: bytes) -> str:
    """Return the codec of a text file, by its first bytes.

    Windows marks UTF-8 and UTF-16 by a byte order mark; UTF-16 without one is recognised
    by the zeros next to the first letter.
    """
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if len(head) > 1 and head[0] and not head[1]:
        return "utf-16-le"
    if len(head) > 1 and not head[0] and head[1]:
        return "utf-16-be"
    return "utf-8-sig"


def decode_text(data: bytes) -> str:
    r"""Return the content of a text file, UTF-8 or UTF-16, with \n at the ends of lines.

    Raise UnicodeDecodeError for other encodings.
    """
    text = data.decode(encoding_of(data)).removeprefix("\ufeff")
    return text.replace("\r\n", "\n").replace("\r", "\n")


# --- columns ------------------------------------------------------------------------

# Columns are what a terminal advances: two for CJK and emoji, none for combining marks.
# The functions expect sanitised text; a control character in it counts as nothing.  A
# character is never cut in half: where one does not fit, `clip` and `elide_middle` return
# a column less, and `pad` fills it with a blank.
#
# wcwidth takes 30 ms to import, as it pulls in hashing for its terminal queries, and text
# from the wire is mostly ASCII, which needs no tables.
# ruff: noqa: PLC0415

Align: TypeAlias = Literal["left", "right", "center"]
_ELLIPSIS: Final = ".."


def width(text: str) -> int:
    """Return how many columns `text` takes; never negative."""
    if text.isascii() and text.isprintable():
        return len(text)
    from wcwidth import width as columns

    return max(0, columns(text, control_codes="ignore"))


def clip(text: str, cols: int, ellipsis: str = _ELLIPSIS) -> str:
    """Return `text`, or its start and `ellipsis`, in at most `cols` columns.

    If not even the ellipsis fits, the start stands alone.
    """
    if width(text) <= cols:
        return text
    mark = ellipsis if width(ellipsis) < cols else ""
    return _part(text, cols - width(mark)) + mark


def elide_middle(text: str, cols: int) -> str:
    """Return `text`, or its two ends around an ellipsis, in at most `cols` columns.

    Made for dotted names, whose tail carries the meaning: the last part is kept whole if
    it takes a third to three quarters of the room, otherwise the tail has two thirds of it.
    """
    if width(text) <= cols:
        return text
    room = cols - len(_ELLIPSIS)
    if room <= 1:
        return clip(text, cols, "")
    last = width(text.rpartition(".")[2])
    tail_cols = last if room // 3 <= last <= room * 3 // 4 else room - room // 3
    tail = _part(text, tail_cols, from_end=True)
    return _part(text, room - width(tail)).rstrip(".") + _ELLIPSIS + tail


def pad(text: str, cols: int, align: Align = "left") -> str:
    """Return `text` in exactly `cols` columns, clipped or filled with blanks."""
    text = clip(text, cols)
    blanks = max(0, cols - width(text))
    left = {"left": 0, "right": blanks, "center": blanks // 2}[align]
    return " " * left + text + " " * (blanks - left)


def _part(text: str, cols: int, *, from_end: bool = False) -> str:
    cols = max(0, cols)
    if text.isascii() and text.isprintable():
        return text[max(0, len(text) - cols) :] if from_end else text[:cols]
    from wcwidth import iter_graphemes, iter_graphemes_reverse

    taken: list[str] = []
    for grapheme in (iter_graphemes_reverse if from_end else iter_graphemes)(text):
        cols -= width(grapheme)
        if cols < 0:
            break
        taken.append(grapheme)
    return "".join(reversed(taken) if from_end else taken)
