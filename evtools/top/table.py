"""What all tables of evtop share: filter, order, cursor, marks, columns, cells."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from evtools.filters import FieldTable, Filter, compile_filter, quote
from evtools.top.columns import Column, Lens, Slot, layout
from evtools.top.cursor import Cursor
from evtools.top.detail import Detail
from evtools.top.excerpt import Excerpt, Row, excerpt_of
from evtools.wire import encode_line

_DEFAULT_COLS: Final = 120
_FORGOTTEN: Final = "(forgotten)"


class TableModel(ABC):
    """A table: what is in it, in which order, and where the user is.

    `refresh` makes the picture; between refreshes it stands still, whatever
    comes in.  While `frozen` it takes nothing in, but can be sorted, filtered
    and scrolled.  `now` returns the time that ages in filters are counted from.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    #: What its rows are called in notes.
    noun: ClassVar[str]
    default_sort: ClassVar[str]
    newest_last: ClassVar[bool] = False

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.lens = Lens(0.0)
        self.frozen = False
        self.marks: set[str] = set()
        #: The columns that the user chose, in order; None for what suits.
        self.chosen: tuple[str, ...] | None = None
        self.cursor = Cursor(newest_last=self.newest_last)
        self.filter: Filter | None = None
        self._filter_zone = self.lens.zone
        self.sort_key = self.default_sort
        self.reverse = self._column(self.sort_key).descending
        self.slots: tuple[Slot, ...] = ()
        self._laid_out: tuple[Column, ...] = ()
        self._scrolled = 0
        #: The columns of the terminal that the slots fit.
        self.screen_cols = _DEFAULT_COLS
        self._cells: dict[str, tuple[tuple[str, ...], str]] = {}
        self._asked: set[int] = set()
        self._seen = 0
        self._past: Excerpt | None = None
        self.resize(_DEFAULT_COLS)

    # --- what a table has to say -------------------------------------------------

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """All columns there are, in their order."""

    @property
    @abstractmethod
    def fields(self) -> FieldTable:
        """What its filter knows."""

    @property
    @abstractmethod
    def total(self) -> int:
        """How many rows there are without a filter."""

    @abstractmethod
    def subject(self, key: str) -> Any:
        """Return what the row `key` is about, None if that has been forgotten."""

    @abstractmethod
    def _load(self) -> None:
        """Take in what happened since the last refresh."""

    @abstractmethod
    def _arranged(self) -> Sequence[str]:
        """Return the keys of the rows that match, in order."""

    def style_of(self, subject: Any) -> str:  # noqa: ARG002  (others look at it)
        """Return the style of a row."""
        return ""

    def detail(self, key: str) -> Detail | None:  # noqa: ARG002
        """Return all that is known of a row, None if it has been forgotten."""
        return None

    def drill(self, key: str) -> tuple[str, str] | None:  # noqa: ARG002
        """Return the view that a row leads to and the filter to open it with."""
        return None

    def values(self, key: str) -> Mapping[str, str]:  # noqa: ARG002
        """Return what `=` and `!` can take of a row: field and value."""
        return {}

    @property
    def arrived(self) -> int:
        """How many rows have come in so far, for those that count them."""
        return 0

    @property
    def waiting(self) -> int:
        """How many rows the filter has not been asked about yet."""
        return 0

    def matches(self, subject: Any) -> bool:
        """Return whether the filter holds."""
        return self.filter is None or self.filter.matches(subject)

    # --- the picture -------------------------------------------------------------

    def refresh(self, lens: Lens) -> None:
        """Make the picture anew, as of `lens.now`."""
        self.lens = lens
        self._past = None
        if not self.frozen:
            self._load()
        if self.columns is not self._laid_out:
            self.resize(self.screen_cols)
        self._forget_cells()
        if self.cursor.held and not self.frozen:
            self.cursor.held -= 1
        else:
            self._arrange()
        if not self.cursor.pinned:
            self._seen = self.arrived

    def freeze(self, lens: Lens) -> None:
        """Make a last picture of all that happened, and take nothing in any more."""
        self.refresh(lens)
        self.frozen = True

    @property
    def lagging(self) -> bool:
        """Whether the last refresh had no time for all, and `work` can go on."""
        return False

    def work(self) -> None:
        """Go on with what the last refresh had no time for."""
        self._arrange()

    def _arrange(self) -> None:
        self._forget_cells()
        self.cursor.place(self._arranged())

    def _forget_cells(self) -> None:
        self._cells.clear()
        self._asked.clear()

    def __len__(self) -> int:
        return len(self.cursor.keys)

    def row(self, index: int) -> Row:
        """Return a row of the picture; raises IndexError beyond it."""
        if self._past is not None:
            return self._past.rows[index]
        key = self.cursor.keys[index]
        self._asked.add(index)
        if key not in self._cells:
            self._cells[key] = self._formatted(key)
        cells, style = self._cells[key]
        return Row(key, cells, style, key in self.marks)

    def _formatted(self, key: str) -> tuple[tuple[str, ...], str]:
        subject = self.subject(key)
        if subject is None:
            cells = [slot.fitted("") for slot in self.slots]
            cells[-1] = self.slots[-1].fitted(_FORGOTTEN)
            return tuple(cells), "dim"
        cells = [self._cell(slot, key, subject) for slot in self.slots]
        return tuple(cells), self.style_of(subject)

    def _cell(self, slot: Slot, key: str, subject: Any) -> str:  # noqa: ARG002
        return slot.cell(subject, self.lens)

    def heads(self) -> list[str]:
        """Return the titles of the columns, as wide as their slots."""
        return [slot.head(self.sort_key, descending=self.reverse) for slot in self.slots]

    def counts(self) -> str:
        """Return how much is shown: `37 of 41203 shown, 2 marked`."""
        shown, total = len(self), self.total
        if self._past is not None:
            shown, total = self._past.shown, self._past.total
        parts = [f"{shown} of {total} shown" if shown != total else f"{shown} shown"]
        if self.waiting and total:
            parts.append(f"{100 - 100 * self.waiting // total}% searched")
        if self.marks:
            parts.append(f"{len(self.marks)} marked")
        return ", ".join(parts)

    @property
    def new_below(self) -> int:
        """How many rows came in since the cursor left the edge they come in at."""
        return max(0, self.arrived - self._seen) if self.cursor.pinned else 0

    def news(self) -> str:
        """Return what the cursor keeps from sight: `132 new`, `sort held`, ..."""
        parts = []
        if self.new_below:
            where = " below, G to follow" if self.newest_last else ""
            parts.append(f"{self.new_below} new{where}")
        if self.cursor.held and not (self.newest_last or self.frozen):
            parts.append("sort held")
        return ", ".join(parts)

    # --- stepping back -----------------------------------------------------------

    def excerpt(self) -> Excerpt:
        """Return the rows that have been asked for since the last refresh."""
        return excerpt_of(self, self._asked)

    def show(self, excerpt: Excerpt) -> None:
        """Show rows as they were; the next refresh ends that."""
        self._forget_cells()
        self._past = excerpt
        self.cursor.keys = [row.key for row in excerpt.rows]
        self.cursor.index = excerpt.focus

    # --- filter and order --------------------------------------------------------

    @property
    def filter_text(self) -> str:
        """The filter as it was written, "" for none."""
        return self.filter.text if self.filter else ""

    def set_filter(self, text: str) -> None:
        """Show only what matches; raises FilterError, and keeps the old filter."""
        zone = self.lens.zone
        if not text.strip():
            self.filter = None
        elif (text, zone) != (self.filter_text, self._filter_zone):
            # The same filter again is not asked about all rows again.
            self.filter = compile_filter(text, fields=self.fields, zone=zone, now=self.now)
            self._filter_zone = zone
        self._rearrange()

    def narrow(self, field: str, value: str, *, exclude: bool = False) -> None:
        """Add to the filter that a field has this value, or that it has not."""
        term = f"{field}={quote(value)}"
        if exclude:
            term = f"NOT {term}"
        text = self.filter_text.strip()
        if " OR " in text:
            text = f"({text})"
        self.set_filter(f"{text} {term}".strip())

    def notes(self) -> list[str]:
        """Return what the filter could not see."""
        return self.filter.unknown(self.noun) if self.filter else []

    def sort_by(self, name: str) -> None:
        """Sort by a column, its own way round; unknown names change nothing."""
        for column in self.columns:
            if column.name == name:
                self.sort_key, self.reverse = name, column.descending
                self._rearrange()

    def sort_beside(self, step: int) -> None:
        """Sort by the column to the left (-1) or to the right (1) on the screen."""
        names = [slot.column.name for slot in self.slots]
        at = names.index(self.sort_key) if self.sort_key in names else 0
        self.sort_by(names[max(0, min(at + step, len(names) - 1))])

    def invert(self) -> None:
        """Turn the order round."""
        self.reverse = not self.reverse
        self._rearrange()

    def _rearrange(self) -> None:
        self._past = None
        self.cursor.held = 0
        self._arrange()

    def _column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    # --- cursor and marks ----------------------------------------------------------

    @property
    def focus_key(self) -> str | None:
        """The key of the row under the cursor."""
        return self.cursor.key

    @property
    def focus_index(self) -> int:
        """The number of the row under the cursor."""
        return self.cursor.index

    def move(self, by: int) -> None:
        """Move the cursor by so many rows."""
        self.cursor.to(self.cursor.index + by)

    def home(self) -> None:
        """Move to the first row."""
        self.cursor.to(0)

    def end(self) -> None:
        """Move to the last row."""
        self.cursor.to(len(self) - 1)

    def seek(self, wanted: Callable[[Any], bool], step: int) -> bool:
        """Move to the next (1) or previous (-1) row that is wanted, if there is one."""
        index = self.cursor.index + step
        while 0 <= index < len(self):
            subject = self.subject(self.cursor.keys[index])
            if subject is not None and wanted(subject):
                self.cursor.to(index)
                return True
            index += step
        return False

    def toggle_mark(self) -> None:
        """Mark the row under the cursor or not, and go down."""
        key = self.focus_key
        if key is not None:
            self.marks ^= {key}
            self.move(1)

    def clear_marks(self) -> None:
        """Mark nothing."""
        self.marks.clear()

    def targets(self) -> list[str]:
        """Return the marked keys, or else the one under the cursor."""
        if self.marks:
            return sorted(self.marks)
        return [self.focus_key] if self.focus_key is not None else []

    # --- columns -------------------------------------------------------------------

    def resize(self, screen_cols: int) -> None:
        """Fit the columns to a screen, in columns of the terminal."""
        self.screen_cols, self._laid_out = screen_cols, self.columns
        self.slots = layout(self.columns, screen_cols, chosen=self.chosen, scrolled=self._scrolled)
        self._forget_cells()

    def choose_columns(self, names: Sequence[str] | None) -> None:
        """Show these columns, or those that suit the width."""
        self.chosen = tuple(names) if names is not None else None
        self.resize(self.screen_cols)

    def scroll_columns(self, by: int) -> None:
        """Move the columns after the second one out of sight, or back."""
        most = max(0, len(self.columns) - 3)
        self._scrolled = max(0, min(self._scrolled + by, most))
        self.resize(self.screen_cols)

    # --- taking rows away ----------------------------------------------------------

    def record(self, key: str) -> dict[str, Any]:
        """Return a row as plain values by the names of its columns."""
        subject = self.subject(key)
        if subject is None:
            return {}
        return {column.name: column.value(subject, self.lens.now) for column in self.columns}

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield all rows that are shown, in their order."""
        for key in list(self.cursor.keys):
            record = self.record(key)
            if record:
                yield record

    def as_json(self, key: str) -> str:
        """Return a row as one line of JSON."""
        return encode_line(self.record(key)).decode()
