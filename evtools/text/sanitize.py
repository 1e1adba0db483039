"""Untrusted text as printable text."""

import re

# Whoever can enqueue a task chooses what we print.  Nothing is deleted: what a
# terminal would act on, or what an eye could not see, becomes a visible escape
# (\n, \x1b, \u202e, \U000e0001), so that a forgery stays visible too.
#
# Escaped is everything `str.isprintable` refuses (controls, format characters
# and bidi controls, separators, lone surrogates, private use, unassigned) and
# the characters that are letters or marks by name but leave no ink.
#
# * ZERO WIDTH JOINER is a format character and is escaped like its siblings,
#   although it glues emoji families and is needed in some scripts.  Kept, it
#   would let `proj.add` and a look-alike share one spelling on the screen, and
#   terminals disagree on the width of what it glues, which shifts every column
#   to its right.  Simple emoji, accents and CJK are untouched.
# * Three blanks of everyday text become plain blanks of the same width instead
#   of escapes: NO-BREAK SPACE, NARROW NO-BREAK SPACE, IDEOGRAPHIC SPACE.
# * A backslash stays as it is, doubled nowhere: the output is for reading.  What
#   must be read back is JSON's business.

_NAMED = {ord("\n"): "\\n", ord("\t"): "\\t", ord("\r"): "\\r"}
_BLANKS = {0x00A0: " ", 0x202F: " ", 0x3000: "  "}

# Characters that pass isprintable and show nothing: combining grapheme joiner,
# Hangul fillers, Khmer inherent vowels, Mongolian and other variation selectors.
# VARIATION SELECTOR-16 stays, it is what makes a heart an emoji.
_INKLESS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0e\uffa0\U000e0100-\U000e01ef]"
)
_BYTE = 0x100
_BMP = 0x10000


def _visible(code: int) -> str:
    """Return one character, or what stands for it."""
    character = chr(code)
    if character.isprintable() and not _INKLESS.match(character):
        return character
    if code in _BLANKS:
        return _BLANKS[code]
    if code in _NAMED:
        return _NAMED[code]
    if code < _BYTE:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < _BMP else f"\\U{code:08x}"


class _Table(dict[int, str]):
    """What `str.translate` looks characters up in.

    Latin-1 is ready; anything else is worked out each time and not kept, for
    the sender chooses how many different characters there are.
    """

    def __missing__(self, code: int) -> str:
        return _visible(code)


_TABLE = _Table({code: _visible(code) for code in range(_BYTE)})


def sanitize(text: str) -> str:
    """Return `text` on one line and printable: `str.isprintable` is true of it."""
    if text.isprintable() and (text.isascii() or not _INKLESS.search(text)):
        return text
    return text.translate(_TABLE)


def sanitize_lines(text: str) -> str:
    r"""Return `text` printable except for its line breaks, for tracebacks.

    Line breaks are \n and \r\n, both given back as \n.  Tabs become blanks up
    to the next multiple of eight columns.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(sanitize(line.expandtabs()) for line in lines)
