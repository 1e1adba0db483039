"""Rows of a table as they are on the screen."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from evtools.top.table import TableModel

#: No terminal shows more rows at once.
_ROWS_MAX: Final = 400


@dataclass(frozen=True, slots=True)
class Row:
    """A row on the screen; `cells` are sanitised and as wide as their slots.

    `style` names a style of the theme.
    """

    key: str
    cells: tuple[str, ...]
    style: str = ""
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The rows of a table that were on the screen, and how many there were."""

    rows: tuple[Row, ...]
    focus: int
    shown: int
    total: int

    def looks_like(self, other: "Excerpt") -> bool:
        """Return whether all is the same but for the place of the cursor."""
        return replace(self, focus=0) == replace(other, focus=0)


def excerpt_of(table: "TableModel", indexes: Iterable[int]) -> Excerpt:
    """Return rows of a table by their numbers; `focus` is 0 without the cursor."""
    chosen = sorted(indexes)[:_ROWS_MAX]
    at = table.focus_index
    focus = chosen.index(at) if at in chosen else 0
    rows = tuple(table.row(index) for index in chosen)
    return Excerpt(rows, focus, len(table), table.total)
