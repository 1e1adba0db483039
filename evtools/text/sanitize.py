"""Text from outside: decoded, made printable, cut to columns, and made a cell of CSV."""

import re
from typing import Final, Literal, TypeAlias

# Anyone who can enqueue a task chooses what is printed.  Nothing is deleted: what a
# terminal would act on, or what an eye could not see, becomes a visible escape (\n, \x1b,
# \u202e, \U000e0001), so that a forgery stays visible, too.
#
# Escaped is everything `str.isprintable` refuses (controls, format and bidi characters,
# separators, lone surrogates, private use, unassigned) and what is a letter or mark by name but
# leaves no ink.  A backslash stays single: what must be read back is written as JSON.
#
# ZERO WIDTH JOINER is escaped like other format characters, although it glues emoji families
# and is needed in some scripts: `proj.add` and a look-alike could share one spelling, and
# terminals disagree on the width of what it glues, which shifts every column to its right.

#: No-break, narrow no-break and ideographic space become plain blanks of their width.
_SPECIAL: Final = {
    0x0A: "\\n", 0x09: "\\t", 0x0D: "\\r", 0x00A0: " ", 0x202F: " ", 0x3000: "  ",
}  # fmt: skip
# Characters that pass isprintable and show nothing: combining grapheme joiner, Hangul
# fillers, Khmer inherent vowels, Mongolian and other variation selectors.  VARIATION
# SELECTOR-16 stays, as it is what makes a heart an emoji.
_INKLESS: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0e\uffa0\U000e0100-\U000e01ef]"
)


class _Table(dict[int, str]):
    # For `str.translate`.  Latin-1 is in it; anything else is computed each time and not kept,
    # as the sender chooses how many different characters there are.

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if character.isprintable() and not _INKLESS.match(character):
            return character
        if code in _SPECIAL:
            return _SPECIAL[code]
        return ascii(character)[1:-1]  # \x1b, \u202e, \U000e0001


_TABLE: Final = _Table({code: _Table()[code] for code in range(0x100)})


def sanitize(text: str) -> str:
    """Return `text` on one line and printable: `str.isprintable` is true of it."""
    if text.isprintable() and (text.isascii() or not _INKLESS.search(text)):
        return text
    return text.translate(_TABLE)


def sanitize_lines(text: str) -> str:
    r"""Return `text` printable except for its line breaks, which become \n, and tabs expanded."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(sanitize(line.expandtabs()) for line in lines)


#: Spreadsheets take text with such a start, or its wide form, for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_cell(text: str, *, is_number: bool = False) -> str:
    """Return a text as a cell of CSV (RFC 4180); before a formula stands an apostrophe."""
    text = sanitize(text)
    if not is_number and text.startswith(_FORMULA):
        text = "'" + text
    if "," in text or '"' in text or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text


def encoding_of(head: bytes) -> str:
    """Return the codec of a text file, UTF-8 or UTF-16, by its first bytes."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # Without a byte order mark there is a zero next to the first letter.
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

# Columns are what a terminal advances: two for CJK and emoji, none for combining marks.  Text is
# sanitised; no character is cut in half, so that `clip` may return a column less.
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
    """Return `text`, or its start and, if it fits, `ellipsis`, in at most `cols` columns."""
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
