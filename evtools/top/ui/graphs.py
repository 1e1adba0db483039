"""Graphs as lines of text: stacked bars, curves, a heat map; each with its scale beside it."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from evtools.text import human_duration, human_rate, pad, scale_end
from evtools.top.ui.widgets import Line, Span, fitted

#: What has no value, as before the first event, is None; an empty slot of time is 0.
Values = Sequence[float | None]

#: The columns of the scale at the left of a graph.
SCALE_COLS: Final = 7
#: Eighths of a cell, from the bottom.
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
#: A whole cell of failures, so that it is told from others also without colours.
_FAILED: Final = "▒"
#: In ASCII, what fills a cell of each part, and what the two ends of curves are drawn with.
_ASCII_GOOD, _ASCII_FAILED = "#", "x"
_ASCII_CURVES: Final = ".o"
#: The bits of a braille cell: by column (of 2) and row (of 4, from the top).
_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BRAILLE: Final = 0x2800
_SHADES: Final = " ░▒▓█"
_ASCII_SHADES: Final = " .:o#"
#: Styles of the heat map, from few to many.
_HEAT: Final = ("text", "waiting", "running", "retry", "failure")


def scale_top(values: Sequence[Values]) -> float:
    """Return where the scale of some values ends: at 1, 2 or 5 and zeros, above all of them."""
    most = max((value for each in values for value in each if value is not None), default=0.0)
    return scale_end(most)


def bars(
    good: Values, failed: Values, size: tuple[int, int], *, top: float, ascii_only: bool
) -> list[Line]:
    """Return stacked bars in `size` (columns, rows), the failures below the rest.

    A column has one value of each; `top` is the value of a full one.  A height is exact to an
    eighth of a row, or to a row in ASCII; failures are exact to a row, and always seen.
    """
    cols, rows = size
    parts = 1 if ascii_only else 8
    heights = []
    for one, two in zip(good, failed, strict=True):
        below = _height(two, top, rows * parts, least=True)
        heights.append((below, max(below, _height((one or 0.0) + (two or 0.0), top, rows * parts))))
    heights = [(0, 0)] * (cols - len(heights)) + heights[-cols:]
    lines: list[Line] = []
    for row in reversed(range(rows)):
        cells = [
            _bar_cell(below - row * parts, total - row * parts, parts) for below, total in heights
        ]
        lines.append(_joined(cells))
    return lines


def _height(value: float | None, top: float, steps: int, *, least: bool = False) -> int:
    if value is None or value <= 0 or top <= 0:
        return 0
    return max(1 if least else 0, min(steps, round(value / top * steps)))


def _bar_cell(below: int, total: int, parts: int) -> Span:
    # What is in a cell: failures up to `below`, the rest up to `total`, of `parts`.
    below, total = min(below, parts), min(total, parts)
    if total <= 0:
        return "text", " "
    if parts == 1:
        return ("failure", _ASCII_FAILED) if below > 0 else ("good", _ASCII_GOOD)
    if below >= parts:
        return "failure", _FAILED
    if below <= 0:
        return "good", _EIGHTHS[total]
    # Of three colours a cell can have two: the height stays right, and failures are seen.
    return ("stack", _EIGHTHS[below]) if total == parts else ("failure", _EIGHTHS[total])


def curves(
    series: Sequence[Values],
    styles: Sequence[str],
    size: tuple[int, int],
    *,
    top: float,
    ascii_only: bool,
) -> list[Line]:
    """Return curves in `size` (columns, rows), two values for each column, or one in ASCII.

    Where two meet the last one is seen.  A value is exact to a quarter of a row.
    """
    cols, rows = size
    wide, high = (1, 1) if ascii_only else (2, 4)
    grid: dict[tuple[int, int], tuple[int, str, str]] = {}
    for number, values in enumerate(series):
        shift = cols * wide - len(values)
        for at, value in enumerate(values[-cols * wide :], max(0, shift)):
            if value is None:
                continue
            level = min(rows * high - 1, round(value / top * (rows * high - 1))) if top > 0 else 0
            row, dot = divmod(rows * high - 1 - level, high)
            column, side = divmod(at, wide)
            bits = grid.get((row, column), (0, "", ""))[0]
            mark = _ASCII_CURVES[number % len(_ASCII_CURVES)]
            grid[row, column] = bits | _DOTS[side][dot], styles[number], mark
    lines = []
    for row in range(rows):
        cells: list[Span] = []
        for column in range(cols):
            bits, style, mark = grid.get((row, column), (0, "text", " "))
            shown = mark if ascii_only or not bits else chr(_BRAILLE + bits)
            cells.append((style, shown))
        lines.append(_joined(cells))
    return lines


def heat_map(
    counts: Sequence[Mapping[int, float]], rows: int, cols: int, *, ascii_only: bool
) -> list[Line]:
    """Return a map of `cols` columns of time and `rows` rows, the lowest first in `counts`.

    Each column has counts by row; the shade grows with the logarithm of the count.
    """
    most = max((count for column in counts for count in column.values()), default=0.0)
    shades = _ASCII_SHADES if ascii_only else _SHADES
    nothing: Mapping[int, float] = {}
    columns = [nothing] * (cols - len(counts)) + list(counts[-cols:])
    lines = []
    for row in reversed(range(rows)):
        cells = []
        for column in columns:
            count = column.get(row, 0.0)
            level = 0
            if count > 0:
                share = math.log1p(count) / math.log1p(most)
                level = max(1, math.ceil(share * (len(shades) - 1) - 1e-9))
            cells.append((_HEAT[level], shades[level]))
        lines.append(_joined(cells))
    return lines


def _joined(cells: Sequence[Span]) -> Line:
    # Neighbours of one style as one span.
    line: list[Span] = []
    for style, text in cells:
        if line and line[-1][0] == style:
            line[-1] = style, line[-1][1] + text
        else:
            line.append((style, text))
    return line


def with_scale(lines: Sequence[Line], labels: Mapping[int, str], *, ascii_only: bool) -> list[Line]:
    """Return a graph with labels, by row from the top, in `SCALE_COLS` columns at its left."""
    side = "|" if ascii_only else "│"
    return [
        [("dim", pad(labels.get(row, ""), SCALE_COLS - 1, "right") + side), *line]
        for row, line in enumerate(lines)
    ]


def span_text(seconds: float) -> str:
    """Return a span of whole minutes as text: 5m, 1h, 24h."""
    minutes = round(seconds / 60)
    return f"{minutes}m" if minutes < 60 else f"{minutes // 60}h"  # noqa: PLR2004


def time_axis(cols: int, span: float, *, ascii_only: bool) -> Line:
    """Return the line below a graph with its scale: from when to now."""
    corner, rule = ("+", "-") if ascii_only else ("└", "─")
    begin = f" {span_text(span)} ago "
    room = cols - SCALE_COLS - len(begin) - len(" now ")
    if room < 1:
        return fitted([("dim", " " * (SCALE_COLS - 1) + corner + rule * cols)], cols)
    text = " " * (SCALE_COLS - 1) + corner + begin + rule * room + " now "
    return [("dim", text)]


def rates(good: Values, failed: Values, size: tuple[int, int], *, ascii_only: bool) -> list[Line]:
    """Return stacked bars of rates per second with their scale, in `size` (columns, rows)."""
    cols, rows = size
    both = [(one or 0.0) + (two or 0.0) for one, two in zip(good, failed, strict=True)]
    top = scale_top([both])
    plot = bars(good, failed, (cols - SCALE_COLS, rows), top=top, ascii_only=ascii_only)
    return with_scale(plot, {0: human_rate(top), rows - 1: "0"}, ascii_only=ascii_only)


def durations(
    series: Sequence[Values], styles: Sequence[str], size: tuple[int, int], *, ascii_only: bool
) -> list[Line]:
    """Return curves of durations in seconds with their scale, in `size` (columns, rows)."""
    cols, rows = size
    top = scale_top(series)
    room = (cols - SCALE_COLS, rows)
    plot = curves(series, styles, room, top=top, ascii_only=ascii_only)
    return with_scale(plot, {0: human_duration(top), rows - 1: "0"}, ascii_only=ascii_only)


def beside(left: Sequence[Line], right: Sequence[Line], cols: int, *, gap: int = 2) -> list[Line]:
    """Return two blocks side by side, the left one in `cols` columns."""
    rows = max(len(left), len(right))
    blank: Line = []
    return [
        [
            *fitted(left[row] if row < len(left) else blank, cols),
            ("text", " " * gap),
            *(right[row] if row < len(right) else blank),
        ]
        for row in range(rows)
    ]
