"""Tables: filter, order, cursor, marks, columns and cells; of snapshots, or kept up to date."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Generic, TypeVar

from evtools.clock import Clock
from evtools.errors import UsageError
from evtools.filters import FieldTable, Filter, compile_filter, quote
from evtools.text import sanitize, sanitize_lines
from evtools.top.columns import Column, RenderContext, Slot, fields_of, layout, one_line
from evtools.top.index import LiveIndex, Matches, Order
from evtools.wire import encode_line

S = TypeVar("S")

_DEFAULT_COLS: Final = 120
#: How many refreshes rows stay where they are after a key of the cursor.
HOLD: Final = 5
#: No terminal shows more rows at once.
_ROWS_MAX: Final = 400
_LABEL_COLS: Final = 14
_TITLE_COLS: Final = 100
#: Longer texts are cut, with a note; no sender has to send one.
_TEXT_MAX_CHARS: Final = 1_000_000


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
class TableSnapshot:
    """The rows of a table that were on the screen, and how many there were."""

    rows: tuple[Row, ...]
    focus: int
    shown: int
    total: int

    def looks_like(self, other: "TableSnapshot") -> bool:
        """Return whether all is the same but for the place of the cursor."""
        return replace(self, focus=0) == replace(other, focus=0)


@dataclass(frozen=True, slots=True)
class Detail:
    """The text of the pane of one row; every line is sanitised.

    `lines` are always there; of the `sections` one at a time, at first the one
    called `section`.
    """

    title: str
    lines: tuple[str, ...] = ()
    sections: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    section: str = "Info"


def labelled(pairs: Iterable[tuple[str, str | None]]) -> tuple[str, ...]:
    """Return a line for each label whose text is known, in two columns."""
    return tuple(
        f"{label:<{_LABEL_COLS}}{sanitize(text)}" for label, text in pairs if text is not None
    )


def paragraph(text: str) -> tuple[str, ...]:
    """Return a text of several lines as sanitised lines."""
    cut = text[:_TEXT_MAX_CHARS]
    lines = sanitize_lines(cut).rstrip("\n").split("\n")
    if len(cut) < len(text):
        lines.append(f"(cut: {len(text)} characters)")
    return tuple(lines)


def raw(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return fields as JSON, one line each."""
    lines = [
        f"  {encode_line(str(name)).decode()}: {encode_line(value).decode()}"
        for name, value in fields.items()
    ]
    return ("{", *(f"{line}," for line in lines[:-1]), *lines[-1:], "}")


class Cursor:
    """The place of the user in a list of keys that changes: on a key, not on a row number.

    It starts loose, at the edge where new rows come in (the first row, or the
    last one if `newest_last`), and stays there as they do.  Once moved away
    from that edge it is `pinned`: it sticks to its key wherever that goes.
    """

    def __init__(self, *, newest_last: bool = False) -> None:
        self.newest_last = newest_last
        self.keys: Sequence[str] = ()
        self.index = 0
        self.pinned = False
        #: For how many refreshes the order is still held.
        self.held = 0
        self._key = ""
        self._sticks = False

    @property
    def key(self) -> str | None:
        """The key under the cursor, None in an empty list."""
        return self.keys[self.index] if self.keys else None

    @property
    def follow(self) -> bool:
        """Whether it follows the newest event, or else this row."""
        return not self.pinned if self.newest_last else self._sticks

    def place(self, keys: Sequence[str]) -> None:
        """Take the list as it is now.

        If its key has gone, the cursor stays where it was; a key that was there
        before the list was empty is found again.
        """
        self.keys = keys
        if not keys:
            self.index = 0
        elif not self.pinned:
            self._go(self._edge)
        else:
            try:
                self.index = keys.index(self._key)
            except ValueError:
                self._go(min(self.index, len(keys) - 1))
                self._sticks = False

    @property
    def _edge(self) -> int:
        return len(self.keys) - 1 if self.newest_last else 0

    def _go(self, index: int) -> None:
        self.index = index
        self._key = self.keys[index]

    def to(self, index: int) -> None:
        """Go to a row, or to the nearest there is."""
        if self.keys:
            self._go(max(0, min(index, len(self.keys) - 1)))
            self.pinned = self._sticks or self.index != self._edge
            self.held = HOLD if self.pinned else 0

    def to_key(self, key: str) -> bool:
        """Go to a key, and stay with it; return False if it is not in the list."""
        if key not in self.keys:
            return False
        self.to(self.keys.index(key))
        self.pinned = True
        return True

    def expect(self, key: str) -> None:
        """Go to `key` as soon as a list has it."""
        self._key, self.pinned = key, True

    def toggle_follow(self) -> None:
        """Start or stop following."""
        if self.newest_last:
            self.pinned, self.held = not self.pinned, 0
        else:
            self._sticks = not self._sticks
            self.pinned = self._sticks or self.index != self._edge
        if not self.pinned:
            self.place(self.keys)


class TableModel(ABC):
    """A table: its rows, their order, and where the user is.

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
        self.context = RenderContext(0.0)
        self.frozen = False
        self.marks: set[str] = set()
        #: The columns that the user chose, in order; None for those that suit the width.
        self.chosen: tuple[str, ...] | None = None
        self.cursor = Cursor(newest_last=self.newest_last)
        self.filter: Filter | None = None
        self._filter_zone = self.context.zone
        self.sort_key = self.default_sort
        self.reverse = self._column(self.sort_key).descending
        self.slots: tuple[Slot, ...] = ()
        self._laid_out: tuple[Column, ...] = ()
        self._scrolled = 0
        #: The columns of the terminal that the slots fit.
        self.screen_cols = _DEFAULT_COLS
        #: The rows asked for since the last refresh: cells and style by key; their numbers.
        self._cells: dict[str, tuple[tuple[str, ...], str]] = {}
        self._asked: set[int] = set()
        self._seen = 0
        self._past: TableSnapshot | None = None
        self.resize(_DEFAULT_COLS)

    # --- what differs from table to table ------------------------------------------

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """All columns, in their order."""

    @property
    @abstractmethod
    def fields(self) -> FieldTable:
        """The fields of its filter."""

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

    def style_of(self, subject: Any) -> str:  # noqa: ARG002  (by default)
        """Return the style of a row."""
        return ""

    def detail(self, key: str) -> Detail | None:  # noqa: ARG002  (by default)
        """Return all that is known of a row, None if it has been forgotten."""
        return None

    def drill(self, key: str) -> tuple[str, str] | None:  # noqa: ARG002  (by default)
        """Return the view that a row leads to and the filter to open it with."""
        return None

    def values(self, key: str) -> Mapping[str, str]:  # noqa: ARG002  (by default)
        """Return the fields and values of a row that `=` and `!` offer."""
        return {}

    @property
    def arrived(self) -> int:
        """How many rows have come in so far, if the table counts them."""
        return 0

    @property
    def waiting(self) -> int:
        """How many rows have not been looked at, filtered or sorted yet."""
        return 0

    def matches(self, subject: Any) -> bool:
        """Return whether the filter holds."""
        return self.filter is None or self.filter.matches(subject)

    # --- the picture -------------------------------------------------------------

    def refresh(self, context: RenderContext) -> None:
        """Make the picture anew, as of `context.now`."""
        self.context = context
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

    def freeze(self, context: RenderContext) -> None:
        """Make a last picture of all that happened, and take nothing in any more."""
        self.refresh(context)
        self.frozen = True

    def work(self) -> None:
        """Continue with what the last refresh had no time for, as `waiting` says."""
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
        """Return a row of the picture; raise IndexError beyond it."""
        if self._past is not None:
            return self._past.rows[index]
        key = self.cursor.keys[index]
        self._asked.add(index)
        if key not in self._cells:
            self._cells[key] = self._formatted(key)
        return Row(key, *self._cells[key], key in self.marks)

    def _formatted(self, key: str) -> tuple[tuple[str, ...], str]:
        subject = self.subject(key)
        if subject is None:
            cells = [slot.fitted("") for slot in self.slots]
            cells[-1] = self.slots[-1].fitted("(forgotten)")
            return tuple(cells), "dim"
        return tuple(self._cell(slot, key, subject) for slot in self.slots), self.style_of(subject)

    def _cell(self, slot: Slot, key: str, subject: Any) -> str:  # noqa: ARG002  (a tree needs it)
        return slot.cell(subject, self.context)

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
        """Return what the cursor keeps out of sight: `132 new`, ..."""
        parts = []
        if self.new_below:
            where = " below, G to follow" if self.newest_last else ""
            parts.append(f"{self.new_below} new{where}")
        if self.cursor.held and not (self.newest_last or self.frozen):
            parts.append("order frozen while you move")
        return ", ".join(parts)

    # --- stepping back -----------------------------------------------------------

    def snapshot(self) -> TableSnapshot:
        """Return the rows that have been asked for since the last refresh."""
        chosen = sorted(self._asked)[:_ROWS_MAX]
        focus = chosen.index(self.focus_index) if self.focus_index in chosen else 0
        return TableSnapshot(tuple(map(self.row, chosen)), focus, len(self), self.total)

    def show(self, snapshot: TableSnapshot) -> None:
        """Show rows as they were; the next refresh ends that."""
        self._forget_cells()
        self._past = snapshot
        self.cursor.keys = [row.key for row in snapshot.rows]
        self.cursor.index = snapshot.focus

    # --- filter and order --------------------------------------------------------

    @property
    def filter_text(self) -> str:
        """The filter as it was written, "" for none."""
        return self.filter.text if self.filter else ""

    def set_filter(self, text: str) -> None:
        """Show only what matches; raise FilterError, and keep the old filter."""
        zone = self.context.zone
        if not text.strip():
            self.filter = None
        elif (text, zone) != (self.filter_text, self._filter_zone):
            # The same filter again is not asked about all rows again.
            self.filter = compile_filter(text, fields=self.fields, zone=zone, now=self.now)
            self._filter_zone = zone
        self._rearrange()

    def narrow(self, field: str, value: str, *, exclude: bool = False) -> None:
        """Add to the filter that a field has this value, or that it has not."""
        term = f"{'NOT ' if exclude else ''}{field}={quote(value)}"
        text = self.filter_text.strip()
        if " OR " in text:
            text = f"({text})"
        self.set_filter(f"{text} {term}".strip())

    def notes(self) -> list[str]:
        """Return notes on what the filter could not see."""
        return self.filter.unknown(self.noun) if self.filter else []

    def sort_by(self, name: str) -> None:
        """Sort by a column, in its own direction; an unknown name changes nothing."""
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
        """Sort in the other direction."""
        self.reverse = not self.reverse
        self._rearrange()

    def _rearrange(self) -> None:
        self._past = None
        self.cursor.held = 0
        self._arrange()

    def _column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def arrange(self, filter_text: str, sort: str, columns: Sequence[str]) -> None:
        """Filter, sort (`-` before the column reverses) and choose columns as options want it.

        Raise FilterError for an invalid filter, and UsageError for an unknown column.
        """
        known = [column.name for column in self.columns]
        name = sort.removeprefix("-")
        for flag, names in (("--sort", [name] if name else []), ("--columns", columns)):
            for one in names:
                if one not in known:
                    raise UsageError(
                        f"{flag}: the view {self.name} has no column {one!r}",
                        f"it has {', '.join(known)}",
                    )
        if filter_text:
            self.set_filter(filter_text)
        if sort:
            self.sort_by(name)
            if sort != name:
                self.invert()
        if columns:
            self.choose_columns(columns)

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
        """Move the cursor by a number of rows."""
        self.cursor.to(self.cursor.index + by)

    def home(self) -> None:
        """Move to the first row."""
        self.cursor.to(0)

    def end(self) -> None:
        """Move to the last row."""
        self.cursor.to(len(self) - 1)

    def seek(self, wanted: Callable[[Any], bool], step: int) -> bool:
        """Move to the next (1) or previous (-1) row that is wanted; return False if none is."""
        last = len(self) if step > 0 else -1
        for index in range(self.cursor.index + step, last, step):
            subject = self.subject(self.cursor.keys[index])
            if subject is not None and wanted(subject):
                self.cursor.to(index)
                return True
        return False

    def toggle_mark(self) -> None:
        """Mark or unmark the row under the cursor, and go down."""
        if self.focus_key is not None:
            self.marks ^= {self.focus_key}
            self.move(1)

    def clear_marks(self) -> None:
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
        """Show these columns; None: those that suit the width."""
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
        return {column.name: column.value(subject, self.context.now) for column in self.columns}

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield all rows that are shown, in their order."""
        return filter(None, map(self.record, list(self.cursor.keys)))

    def as_json(self, key: str) -> str:
        """Return a row as one line of JSON."""
        return encode_line(self.record(key)).decode()


class SnapshotTable(TableModel):
    """A table of a few thousand immutable rows at most, read anew at every refresh.

    Its filter knows its columns.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._rows: dict[str, Any] = {}
        super().__init__(now)

    @abstractmethod
    def _read(self) -> Iterable[tuple[str, Any]]:
        """Yield all rows as of `context.now`, each with its key."""

    def _load(self) -> None:
        self._rows = dict(self._read())

    @property
    def fields(self) -> FieldTable:
        return fields_of(self.columns, lambda: self.context.now)

    @property
    def total(self) -> int:
        return len(self._rows)

    def subject(self, key: str) -> Any:
        return self._rows.get(key)

    def _arranged(self) -> Sequence[str]:
        keys = sorted(key for key, row in self._rows.items() if self.matches(row))
        rows = [self._rows[key] for key in keys]
        column, descending = self._column(self.sort_key), self.reverse
        values = column.sort_values(rows, self.context.now, descending=descending)
        ranks = dict(zip(keys, values, strict=True))
        return sorted(keys, key=ranks.__getitem__, reverse=descending)

    def detail(self, key: str) -> Detail | None:
        """Return the value and the meaning of each column of a row."""
        row = self.subject(key)
        if row is None:
            return None
        info = labelled(
            (column.name, f"{column.text(row, self.context):<12} {column.about}")
            for column in self.columns
        )
        title = one_line(self.columns[0].text(row, self.context), _TITLE_COLS)
        return Detail(title, (), {"Info": info, "Raw": raw(self.record(key))})


class LiveTable(TableModel, Generic[S]):
    """A table of very many subjects that is kept up to date as they change, newest last."""

    def __init__(self, clock: Clock, now: Callable[[], float]) -> None:
        self._index: LiveIndex[S] = LiveIndex(clock, self._is_alive)
        self._filter_in_force: Filter | None = None
        self._order_in_force: tuple[str, bool] | None = None
        super().__init__(now)

    @abstractmethod
    def _is_alive(self, key: str, subject: S) -> bool:
        """Return whether a subject is still remembered."""

    @abstractmethod
    def _note(self) -> None:
        """Note what happened, in the index."""

    def _order(self) -> Order | None:
        """Return what the table sorts by now, None for the order of change."""
        return None

    def _matches_of(self, chosen: Filter) -> Matches:
        """Return the test that a filter makes of subjects."""
        return chosen.matches

    @property
    def total(self) -> int:
        return len(self._index.subjects)

    @property
    def arrived(self) -> int:
        return self._index.arrived

    @property
    def waiting(self) -> int:
        return self._index.waiting

    def subject(self, key: str) -> S | None:
        return self._index.subjects.get(key)

    def work(self) -> None:
        self._index.work()
        # The list is made as a whole: that would take longer than the work.
        if not self.waiting and (self.frozen or not self.cursor.held):
            self._arrange()

    def catch_up(self) -> None:
        """Take in what happened, while something else is on the screen."""
        if not self.frozen:
            self._note()
            self._index.refresh()
            self.marks = {key for key in self.marks if self.subject(key) is not None}

    def _load(self) -> None:
        self.catch_up()

    def _arranged(self) -> Sequence[str]:
        index, first = self._index, self.focus_key
        if self._order_in_force != (self.sort_key, self.reverse):
            self._order_in_force = (self.sort_key, self.reverse)
            moves = self._column(self.sort_key).moves
            index.sort(self._order(), descending=self.reverse, moves=moves, first=first)
            index.work()
        if self._filter_in_force is not self.filter:
            self._filter_in_force = chosen = self.filter
            matches = self._matches_of(chosen) if chosen is not None else None
            drifts = chosen is not None and chosen.drifts
            index.set_filter(matches, drifts=drifts, first=first)
            index.work()
        return index.keys()
