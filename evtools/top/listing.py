"""Tables of a few thousand rows at most, read anew at every refresh."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from evtools.filters import FieldTable
from evtools.top.columns import fields_of, one_line
from evtools.top.detail import Detail, labelled, raw
from evtools.top.table import TableModel

_TITLE_COLS: Final = 100


class Listing(TableModel):
    """A table of immutable rows; a filter knows its columns."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._rows: dict[str, Any] = {}
        super().__init__(now)

    @abstractmethod
    def _read(self) -> Iterable[tuple[str, Any]]:
        """Yield all rows as of `lens.now`, each with its key."""

    def _load(self) -> None:
        self._rows = dict(self._read())

    @property
    def fields(self) -> FieldTable:
        """What its filter knows: its columns."""
        return fields_of(self.columns, lambda: self.lens.now)

    @property
    def total(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def subject(self, key: str) -> Any:
        """Return a row, None if there is none of that key any more."""
        return self._rows.get(key)

    def _arranged(self) -> Sequence[str]:
        now, descending = self.lens.now, self.reverse
        column = self._column(self.sort_key)
        keys = sorted(key for key, row in self._rows.items() if self.matches(row))
        rows = [self._rows[key] for key in keys]
        values = column.sort_values(rows, now, descending=descending)
        ranks = dict(zip(keys, values, strict=True))
        keys.sort(key=ranks.__getitem__, reverse=descending)
        return keys

    def detail(self, key: str) -> Detail | None:
        """Return all that is known of a row: each column with what it means."""
        row = self.subject(key)
        if row is None:
            return None
        info = labelled(
            (column.name, f"{column.text(row, self.lens):<12} {column.about}")
            for column in self.columns
        )
        sections = {"Info": info, "Raw": raw(self.record(key))}
        title = one_line(self.columns[0].text(row, self.lens), _TITLE_COLS)
        return Detail(title, (), sections, "Info")
