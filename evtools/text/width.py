"""Text in a given number of display columns."""

from typing import Literal, TypeAlias

# Columns are what a terminal advances: two for CJK and emoji, none for combining marks.
# The functions expect sanitised text; a control character in it counts as nothing.  A
# character is never cut in half: where one does not fit, `clip` and `elide_middle` return
# a column less, and `pad` fills it with a blank.
#
# wcwidth takes 30 ms to import, as it pulls in hashing for its terminal queries, and text
# from the wire is mostly ASCII, which needs no tables.
# ruff: noqa: PLC0415

Align: TypeAlias = Literal["left", "right", "center"]

ELLIPSIS = ".."


def _is_plain(text: str) -> bool:
    # Every character takes exactly one column.
    return text.isascii() and text.isprintable()


def width(text: str) -> int:
    """Return how many columns `text` takes; never negative."""
    if _is_plain(text):
        return len(text)
    from wcwidth import width as columns

    return max(0, columns(text, control_codes="ignore"))


def clip(text: str, cols: int, ellipsis: str = ELLIPSIS) -> str:
    """Return `text`, or its start and `ellipsis`, in at most `cols` columns.

    If not even the ellipsis fits, the start stands alone.
    """
    if width(text) <= cols:
        return text
    mark = ellipsis if width(ellipsis) < cols else ""
    return _part(text, cols - width(mark)) + mark


def elide_middle(text: str, cols: int, ellipsis: str = ELLIPSIS) -> str:
    """Return `text`, or its two ends around `ellipsis`, in at most `cols` columns.

    Made for dotted names, whose tail carries the meaning: the last part is kept whole if
    it takes a third to three quarters of the room, otherwise the tail has two thirds of it.
    """
    if width(text) <= cols:
        return text
    room = cols - width(ellipsis)
    if room <= 1:
        return clip(text, cols, "")
    last = width(text.rpartition(".")[2])
    tail_cols = last if room // 3 <= last <= room * 3 // 4 else room - room // 3
    tail = _part(text, tail_cols, from_end=True)
    return _part(text, room - width(tail)).rstrip(".") + ellipsis + tail


def pad(text: str, cols: int, align: Align = "left") -> str:
    """Return `text` in exactly `cols` columns, clipped or filled with blanks."""
    text = clip(text, cols)
    blanks = max(0, cols - width(text))
    left = {"left": 0, "right": blanks, "center": blanks // 2}[align]
    return " " * left + text + " " * (blanks - left)


def _part(text: str, cols: int, *, from_end: bool = False) -> str:
    cols = max(0, cols)
    if _is_plain(text):
        return text[max(0, len(text) - cols) :] if from_end else text[:cols]
    from wcwidth import iter_graphemes, iter_graphemes_reverse

    taken: list[str] = []
    for grapheme in (iter_graphemes_reverse if from_end else iter_graphemes)(text):
        cols -= width(grapheme)
        if cols < 0:
            break
        taken.append(grapheme)
    return "".join(reversed(taken) if from_end else taken)
