"""Boxes over the screen: a title, a frame, and lines."""

from collections.abc import Sequence
from dataclasses import dataclass

from evtools.text import width
from evtools.top.glyphs import Glyphs
from evtools.top.widgets.line import Line, columns, fitted, spliced

#: Frame and blanks to the left and right of what is in a box.
FRAME_COLS = 4
#: The upper and the lower edge.
FRAME_ROWS = 2


@dataclass(frozen=True, slots=True)
class Box:
    """What a popup shows; `cursor` is (column, row) in its lines."""

    title: str
    lines: Sequence[Line]
    cursor: tuple[int, int] | None = None


def framed(box: Box, glyphs: Glyphs) -> list[Line]:
    """Return the lines of a box with its frame, as wide as its widest line."""
    inner = max([width(box.title) + 2, *map(columns, box.lines)])
    left_top, right_top, left_end, right_end = glyphs.corners
    bar, side = glyphs.rule, glyphs.side
    title = f" {box.title} " if box.title else ""
    rest = inner + 1 - width(title)
    rows: list[Line] = [
        [("rule", left_top + bar), ("head", title), ("rule", bar * rest + right_top)]
    ]
    rows += [
        [("rule", side + " "), *fitted(line, inner), ("rule", " " + side)] for line in box.lines
    ]
    rows.append([("rule", left_end + bar * (inner + 2) + right_end)])
    return rows


def centred(
    below: list[Line], box: Box, size: tuple[int, int], glyphs: Glyphs
) -> tuple[list[Line], tuple[int, int] | None]:
    """Return the screen with a box in its middle, and where the cursor is.

    What does not fit is cut at the right and at the bottom.
    """
    cols, rows = size
    above = [fitted(line, min(cols, columns(line))) for line in framed(box, glyphs)]
    above = above[:rows]
    start = max(0, (cols - columns(above[0])) // 2)
    top = max(0, (rows - len(above)) // 2)
    lines = list(below)
    for number, line in enumerate(above, top):
        lines[number] = spliced(fitted(lines[number], cols), line, start)
    if box.cursor is None:
        return lines, None
    column, row = box.cursor
    return lines, (min(cols - 1, start + 2 + column), min(rows - 1, top + 1 + row))


def room(size: tuple[int, int]) -> tuple[int, int]:
    """Return the columns and rows inside of the greatest box on a screen."""
    cols, rows = size
    return max(1, cols - FRAME_COLS), max(1, rows - FRAME_ROWS)
