"""How the rows of a terminal are shared out."""

from dataclasses import dataclass
from typing import Final

#: What is needed at least, in columns and rows.
LEAST: Final = (50, 12)

#: From so many rows on: how many lines the header has.
_HEADERS: Final = ((28, 3), (20, 2), (0, 1))
#: From so many rows on, the detail stands below the table, not in its place.
SPLIT_FROM_ROWS: Final = 28
#: The tabs, the message and the keys have one line each, always.
_ALWAYS: Final = 3
#: Of the rows of a split screen, the share of the table.
_TABLE_SHARE: Final = 0.45


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows of each part; together they are those of the terminal.

    `filter` is 1 where the filter has a line of its own, `table` counts the
    heads of the columns, `detail` its title.
    """

    header: int
    filter: int
    table: int
    detail: int


def too_small(size: tuple[int, int]) -> bool:
    """Return whether a terminal has too few columns or rows to show anything."""
    return size[0] < LEAST[0] or size[1] < LEAST[1]


def shared_out(rows: int, *, filtered: bool, detail: bool, full: bool = False) -> Layout:
    """Share out the rows of a terminal.

    `filtered` says that there is a filter to show, `detail` that the detail is
    open, `full` that it shall have all there is.
    """
    header = next(count for least, count in _HEADERS if rows >= least)
    filter_row = int(filtered and rows >= SPLIT_FROM_ROWS)
    body = rows - header - filter_row - _ALWAYS
    if not detail:
        return Layout(header, filter_row, body, 0)
    if full or rows < SPLIT_FROM_ROWS:
        return Layout(header, filter_row, 0, body)
    table = max(5, round(body * _TABLE_SHARE))
    return Layout(header, filter_row, table, body - table)
