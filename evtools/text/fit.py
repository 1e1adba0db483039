"""Text in a given number of display columns."""

from collections.abc import Iterator
from typing import Literal, TypeAlias

# Columns are what a terminal advances: two for CJK and emoji, none for combining
# marks.  The functions expect sanitised text; a control character that slips in
# counts as nothing.  A character is never cut in half: where one does not fit,
# `clip` and `elide_middle` return a column less and `pad` fills it with a blank.

Align: TypeAlias = Literal["left", "right", "center"]

ELLIPSIS = ".."

# wcwidth takes 30 ms to import (it pulls in hashing for its terminal queries)
# and text from the wire is mostly ASCII, which needs no tables.


def _measure(text: str) -> int:
    from wcwidth import width as columns  # noqa: PLC0415  (30 ms, see above)

    return max(0, columns(text, control_codes="ignore"))


def _graphemes(text: str) -> Iterator[str]:
    from wcwidth import iter_graphemes  # noqa: PLC0415  (30 ms, see above)

    return iter_graphemes(text)


def _graphemes_from_end(text: str) -> Iterator[str]:
    from wcwidth import iter_graphemes_reverse  # noqa: PLC0415  (30 ms, see above)

    return iter_graphemes_reverse(text)


def _is_plain(text: str) -> bool:
    """Return whether every character takes exactly one column."""
    return text.isascii() and text.isprintable()


def width(text: str) -> int:
    """Return how many columns `text` takes; never negative."""
    return len(text) if _is_plain(text) else _measure(text)


def clip(text: str, cols: int, ellipsis: str = ELLIPSIS) -> str:
    """Return `text`, or its start and `ellipsis`, in at most `cols` columns.

    Where not even the ellipsis fits, the start stands alone.
    """
    if width(text) <= cols:
        return text
    mark = ellipsis if width(ellipsis) < cols else ""
    return _start(text, cols - width(mark)) + mark


def elide_middle(text: str, cols: int, ellipsis: str = ELLIPSIS) -> str:
    """Return `text`, or its two ends around `ellipsis`, in at most `cols` columns.

    Made for dotted names, where the tail carries the meaning: the last part is
    kept whole if it takes a third to three quarters of the room, otherwise the
    tail has two thirds of it.
    """
    if width(text) <= cols:
        return text
    room = cols - width(ellipsis)
    if room <= 1:
        return clip(text, cols, "")
    last = width(text.rpartition(".")[2])
    tail_cols = last if room // 3 <= last <= room * 3 // 4 else room - room // 3
    tail = _end(text, tail_cols)
    return _start(text, room - width(tail)).rstrip(".") + ellipsis + tail


def pad(text: str, cols: int, align: Align = "left") -> str:
    """Return `text` in exactly `cols` columns, clipped or filled with blanks."""
    text = clip(text, cols)
    blanks = max(0, cols - width(text))
    if align == "right":
        return " " * blanks + text
    if align == "center":
        return " " * (blanks // 2) + text + " " * (blanks - blanks // 2)
    return text + " " * blanks


def _start(text: str, cols: int) -> str:
    """Return the longest start of `text` in at most `cols` columns."""
    if _is_plain(text):
        return text[: max(0, cols)]
    return "".join(_take(_graphemes(text), cols))


def _end(text: str, cols: int) -> str:
    """Return the longest end of `text` in at most `cols` columns."""
    if _is_plain(text):
        return text[max(0, len(text) - cols) :]
    return "".join(reversed(_take(_graphemes_from_end(text), cols)))


def _take(graphemes: Iterator[str], cols: int) -> list[str]:
    """Return the first graphemes that fit into `cols` columns together."""
    taken: list[str] = []
    while (grapheme := next(graphemes, "")) and _measure(grapheme) <= cols:
        cols -= _measure(grapheme)
        taken.append(grapheme)
    return taken
