"""The part of a table that is on the screen."""

from typing import Final

from evtools.top.excerpt import Row
from evtools.top.table import TableModel
from evtools.top.widgets.line import Line, fitted, restyled

#: Columns that tell the state of a row, and are coloured instead of the first.
_TELLING: Final = ("state", "status")
#: Styles of a whole row.
_WHOLE: Final = ("dim", "gone")


class Viewport:
    """Which rows of a table are on the screen.

    The row under the cursor stays on its line of the screen while rows come
    and go above it; only moving the cursor scrolls.
    """

    def __init__(self) -> None:
        self.top = 0
        #: Rows of the table at the last time it was drawn.
        self.rows = 10
        self._key: str | None = None
        self._line = 0

    def place(self, table: TableModel, rows: int) -> range:
        """Return the numbers of the rows to show in `rows` lines."""
        index = table.focus_index
        self.rows = max(1, rows)
        if table.focus_key == self._key:
            self.top = index - min(self._line, self.rows - 1)
        last = max(0, len(table) - self.rows)
        lowest = max(0, index - self.rows + 1)
        self.top = min(max(self.top, lowest), index, last)
        self._key, self._line = table.focus_key, index - self.top
        return range(self.top, min(len(table), self.top + rows))


def table_lines(
    table: TableModel, viewport: Viewport, size: tuple[int, int], *, stale: bool
) -> list[Line]:
    """Return the heads and the rows of a table in `size` (columns, rows).

    `stale` dims the rows: they are not how things are.
    """
    cols, rows = size
    names = [slot.column.name for slot in table.slots]
    told = next((names.index(name) for name in _TELLING if name in names), 0)
    head: Line = [("head", " " + " ".join(table.heads()))]
    lines = [head]
    for number in viewport.place(table, rows - 1):
        focused = number == table.focus_index
        line = _row_line(table.row(number), told, focused=focused)
        if stale and not focused:
            line = restyled(line, "stale")
        lines.append(fitted(line, cols, "selected" if focused else "text"))
    return lines


def _row_line(row: Row, told: int, *, focused: bool) -> Line:
    if focused:
        marker = "*" if row.marked else ">"
        return [("selected", marker + " ".join(row.cells))]
    mark = ("marked", "*") if row.marked else ("text", " ")
    if row.style in _WHOLE:
        return [mark, (row.style, " ".join(row.cells))]
    line: Line = [mark]
    for number, cell in enumerate(row.cells):
        style = row.style if number == told and row.style else "text"
        line += [(style, cell), ("text", " ")]
    return line[:-1]


def head_at(table: TableModel, column: int) -> str:
    """Return the name of the table's column at a column of the screen, or ""."""
    start = 1
    for slot in table.slots:
        if start <= column < start + slot.cols:
            return slot.column.name
        start += slot.cols + 1
    return ""
