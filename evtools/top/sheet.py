"""A whole table as text: aligned for people, CSV, or one JSON object per line."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from evtools.text import clip, csv_cell, pad, sanitize, width
from evtools.top.choices import Output
from evtools.top.columns import Column
from evtools.top.table import TableModel
from evtools.top.wording import said
from evtools.wire import encode_line

#: No cell of a table for people is wider.
_CELL_COLS: Final = 80
_GAP: Final = "  "


def lines(table: TableModel, output: Output) -> Iterator[str]:
    """Yield the rows that `table` shows as lines, beginning with a header.

    They have the columns that the user chose, or else all there are.  JSON
    has no header, and always everything that is known of a row.  Nothing in
    the lines can harm a terminal.
    """
    match output:
        case "table":
            yield from _aligned(table, _columns(table))
        case "csv":
            yield from _csv(table, _columns(table))
        case "json":
            for record in table.records():
                yield encode_line(record).decode()


def _rows(table: TableModel) -> Iterator[Any]:
    for key in list(table.cursor.keys):
        subject = table.subject(key)
        if subject is not None:
            yield subject


def _columns(table: TableModel) -> Sequence[Column]:
    if table.chosen is None:
        return table.columns
    by_name = {column.name: column for column in table.columns}
    return [by_name[name] for name in table.chosen if name in by_name]


def _aligned(table: TableModel, columns: Sequence[Column]) -> Iterator[str]:
    body = [
        [_fitted(column.text(subject, table.lens)) for column in columns]
        for subject in _rows(table)
    ]
    head = [column.title for column in columns]
    sizes = [max(map(width, cells)) for cells in zip(head, *body, strict=True)]
    for cells in (head, *body):
        padded = [
            pad(cell, cols, column.align)
            for column, cell, cols in zip(columns, cells, sizes, strict=True)
        ]
        yield _GAP.join(padded).rstrip()


def _fitted(text: str) -> str:
    return clip(sanitize(text[: 2 * _CELL_COLS]), _CELL_COLS, "..")


def _csv(table: TableModel, columns: Sequence[Column]) -> Iterator[str]:
    """Yield RFC 4180, except for the ends of the lines.

    A text that a spreadsheet would run as a formula has an apostrophe put
    before it.
    """
    yield ",".join(column.name for column in columns)
    for subject in _rows(table):
        values = [column.value(subject, table.lens.now) for column in columns]
        yield ",".join(map(_cell, values))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return csv_cell(said(value), is_number=not isinstance(value, str))
