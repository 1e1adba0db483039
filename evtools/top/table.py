"""Tables: filter, order, cursor, marks, columns and cells; read anew, or kept up to date."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any, ClassVar, Final, NamedTuple

from evtools.clock import Clock
from evtools.errors import ConfigError, UsageError
from evtools.filters import FieldTable, Filter, compile_filter, quote
from evtools.rows import fields_of
from evtools.text import pad, sanitize, sanitize_lines, width
from evtools.top.columns import Column, RenderContext, as_text, layout, one_line
from evtools.top.index import LiveIndex, Matches
from evtools.top.status import Figures
from evtools.wire import encode_line

#: How many refreshes rows stay where they are after a key of the cursor.
HOLD: Final = 5
#: No terminal shows more rows at once.
_ROWS_MAX: Final = 400
#: Longer texts are cut, with a note; no sender has to send one.
_TEXT_MAX_CHARS: Final = 1_000_000


class Row(NamedTuple):
    """A row on the screen: sanitised cells as wide as their slots, and a style of the theme.

    `tints` are the styles of cells by their values, "" for the usual one.
    """

    key: str
    cells: tuple[str, ...]
    style: str = ""
    tints: tuple[str, ...] = ()
    marked: bool = False


class Picture(NamedTuple):
    """What was on the screen at one refresh: which view, its rows, the figures above them.

    `shown` and `total` are how many rows there were with and without a filter, `focus` is
    the number of the row under the cursor, `as_of` the time in UTC epoch seconds.
    """

    view: str
    rows: tuple[Row, ...]
    shown: int
    total: int
    focus: int
    as_of: float
    header: Figures


@dataclass(frozen=True, slots=True)
class Detail:
    """The text of the pane of one row, sanitised: `lines`, and one section at a time."""

    title: str
    lines: tuple[str, ...] = ()
    sections: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: The one that is shown at first.
    section: str = "Info"


def labelled(pairs: Iterable[tuple[str, Any]]) -> tuple[str, ...]:
    """Return a line for each label whose value is known, in two columns."""
    known = ((label, as_text(value)) for label, value in pairs if value is not None)
    return tuple(f"{label:<14}{sanitize(text)}" for label, text in known)


#: The columns of a label, and those of a value beside which there is what it means.
_LABEL_COLS, _VALUE_COLS = 14, 13
_ABOUT_COLS_MIN: Final = 20


def _explained(label: str, value: str, about: str, cols: int) -> Iterator[str]:
    # A value, and beside or below it what it means, in lines that are not wrapped any more.
    begin = f"{label:<{_LABEL_COLS}}{pad(value, _VALUE_COLS)}"
    if width(value) >= _VALUE_COLS:
        yield f"{label:<{_LABEL_COLS}}{value}"
        begin = ""
    for piece in wrap(about, max(_ABOUT_COLS_MIN, cols - _LABEL_COLS - _VALUE_COLS)):
        yield f"{begin or ' ' * (_LABEL_COLS + _VALUE_COLS)}{piece}"
        begin = ""


def paragraph(text: str) -> tuple[str, ...]:
    """Return a text of several lines as sanitised lines."""
    lines = sanitize_lines(text[:_TEXT_MAX_CHARS]).rstrip("\n").split("\n")
    cut = [f"(cut: {len(text)} characters)"] if len(text) > _TEXT_MAX_CHARS else []
    return (*lines, *cut)


def raw(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return fields as JSON, one line each."""
    pairs = [(encode_line(str(name)), encode_line(value)) for name, value in fields.items()]
    lines = [f"  {name.decode()}: {value.decode()}" for name, value in pairs]
    return ("{", *(f"{line}," for line in lines[:-1]), *lines[-1:], "}")


class TableModel(ABC):
    """A table: its rows, their order, and where the user is.

    `refresh` makes the picture; between refreshes it stands still, whatever comes in.  While
    `frozen` it takes nothing in, but can be sorted, filtered and scrolled.  Its rows are a few
    thousand immutable ones at most, which `load` makes anew for every refresh; its filter
    knows its columns.

    The cursor is on a key, not on a row number.  It starts loose, at the edge where new rows
    come in (the first row, or the last one if `newest_last`), and stays there as they do.
    Once moved away from that edge it is `pinned`: it sticks to its key wherever that goes.
    """

    #: Of the view, and of its rows in notes.
    name: ClassVar[str]
    default_sort: ClassVar[str]
    newest_last: ClassVar[bool] = False
    #: The fields of its filter whose values `=` and `!` offer.
    offers: ClassVar[tuple[str, ...]] = ("name",)
    #: The argument whose values the rows are, "" where they are what the view is named after.
    grouped_by: str = ""

    def __init__(self) -> None:
        self.context = RenderContext(0.0)
        self.frozen = False
        #: What each row is about, by its key, whatever the filter.
        self.rows: Mapping[str, Any] = {}
        #: The keys of the rows that are shown, in their order.
        self.keys: Sequence[str] = ()
        self.marks: set[str] = set()
        #: The row under the cursor: its number and its key, even while there is no such row.
        self.focus_index, self._key = 0, ""
        #: Whether the cursor has left the edge, or follows its row also there.
        self.pinned = self._sticks = False
        #: For how many refreshes the order is still held.
        self.held = 0
        #: The columns that the user chose, in order; None for those that suit the width.
        self.chosen: tuple[str, ...] | None = None
        #: Those of arguments and other fields that were asked for, by name.
        self.own: dict[str, Column] = {}
        #: Columns moved out of sight to the left.
        self._scrolled = 0
        #: The first row on the screen, how many have room there, and the line with the cursor, and
        #: in which room it came there.
        self.top, self.room, self._line, self._line_room = 0, 10, 0, 0
        self._seen_key: str | None = None
        self.filter: Filter | None = None
        self._filter_zone = self.context.zone
        self.sort_key = self.default_sort
        self.reverse = self._column(self.sort_key).descending
        #: Cells and style of the rows asked for since the last refresh, by their numbers.
        self._drawn: dict[int, tuple[tuple[str, ...], str, tuple[str, ...]]] = {}
        self._past: Picture | None = None
        #: How many rows had come in when the cursor was last where they come in.
        self._seen = 0
        self.resize(120)

    # --- for subclasses -------------------------------------------------------------

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """All columns, in their order."""

    def make_column(self, name: str) -> Column | None:  # noqa: ARG002  (by default)
        """Return the column of an argument or another field, None if the table has none."""
        return None

    def columns_on(self, screen_cols: int) -> tuple[Column, ...]:  # noqa: ARG002  (by default)
        """Return the columns as they look on a screen of that width."""
        return self.columns

    @abstractmethod
    def load(self) -> None:
        """Take in what happened until `context.now`."""

    @property
    def title(self) -> str:
        return self.name.capitalize()

    @property
    def has_page(self) -> bool:
        """Whether a row has a page to be read, before one goes to its tasks."""
        return False

    @property
    def fields(self) -> FieldTable:
        return fields_of(self.columns, self.now_of)

    @property
    def arrived(self) -> int:
        """How many rows have come in so far, if the table counts them."""
        return 0

    @property
    def waiting(self) -> int:
        """How many rows have not been looked at, filtered or sorted yet."""
        return 0

    @property
    def progress(self) -> str:
        """How far the table is, while some rows are `waiting`."""
        return f"{100 - 100 * self.waiting // max(1, self.total)}% searched"

    def work(self) -> None:
        """Continue with what the last refresh had no time for, as `waiting` says."""
        self._arrange()

    def matching(self) -> Sequence[str]:
        """Return the keys of the rows that match, in order."""
        keys = sorted(
            key for key, row in self.rows.items() if self.filter is None or self.filter.matches(row)
        )
        rows, descending = [self.rows[key] for key in keys], self.reverse
        values = self._column(self.sort_key).sort_values(rows, self.context, descending=descending)
        ranks = dict(zip(keys, values, strict=True))
        return sorted(keys, key=ranks.__getitem__, reverse=descending)

    def cells(self, subject: Any) -> tuple[str, ...]:
        """Return the cells of a row, as wide as their slots."""
        context = self.context.of(subject)
        return tuple(slot.cell(subject, context) for slot in self.slots)

    def style_of(self, subject: Any) -> str:  # noqa: ARG002  (by default)
        return ""

    def tints(self, subject: Any) -> tuple[str, ...]:
        """Return the styles of the cells of a row by their values."""
        now = self.now_of(subject)
        return tuple(self.tint(slot.column, subject, now) for slot in self.slots)

    def tint(self, column: Column, subject: Any, now: float) -> str:
        """Return the style of a cell by its value, "" for the usual one."""
        return "" if column.tint is None else column.tint(column.value(subject, now))

    def record_of(self, subject: Any) -> Any:
        """Return what a filter is asked about a row."""
        return subject

    def drill(self, key: str) -> tuple[str, str] | None:  # noqa: ARG002  (by default)
        """Return the view that a row leads to and the filter to open it with."""
        return None

    def detail_of(self, subject: Any) -> Detail:
        """Return all that is known of a row."""
        info: list[str] = []
        for column in self.columns:
            text = sanitize(column.text(subject, self.context.of(subject))[:_TEXT_MAX_CHARS])
            info += _explained(column.name, text, column.about, self.screen_cols)
        title = one_line(self.columns[0].text(subject, self.context), 100)
        return Detail(title, (), {"Info": tuple(info), "Raw": raw(self.plain(subject))})

    def plain(self, subject: Any) -> dict[str, Any]:
        """Return a row as plain values by the names of its columns."""
        now = self.now_of(subject)
        return {column.name: column.value(subject, now) for column in self.columns}

    # --- the picture -------------------------------------------------------------

    def now(self) -> float:
        """Return the time that ages are counted from, in UTC epoch seconds."""
        return self.context.now

    def now_of(self, subject: Any) -> float:
        """Return the time up to which a row is known: it may be of a cluster that is away."""
        return self.context.of(subject).now

    @property
    def total(self) -> int:
        """How many rows there are without a filter."""
        return len(self.rows)

    def __len__(self) -> int:
        return len(self.keys)

    def subject(self, key: str) -> Any:
        """Return what the row `key` is about, None if that has been forgotten."""
        return self.rows.get(key)

    def detail(self, key: str) -> Detail | None:
        """Return all that is known of a row, None if it has been forgotten."""
        subject = self.subject(key)
        return None if subject is None else self.detail_of(subject)

    def record(self, key: str) -> dict[str, Any]:
        """Return a row as plain values, {} if it has been forgotten."""
        subject = self.subject(key)
        if subject is None:
            return {}
        now, own = self.now_of(subject), [one for one in self.chosen or () if one in self.own]
        return self.plain(subject) | {one: self.own[one].value(subject, now) for one in own}

    def refresh(self, context: RenderContext) -> None:
        """Make the picture anew, as of `context.now`."""
        self.context, self._past = context, None
        if not self.frozen:
            self.load()
        # Other options may want other columns.
        self.resize(self.screen_cols)
        if self.held and not self.frozen:
            self.held -= 1
        else:
            self._arrange()
        if not self.pinned:
            self._seen = self.arrived

    def freeze(self, context: RenderContext) -> None:
        """Take in all that happened as of `context.now`, and nothing more; `refresh` shows it."""
        self.context = context
        self.load()
        self.frozen = True

    def thaw(self) -> None:
        """Go on from the next refresh."""
        self.frozen = False

    def _arrange(self) -> None:
        self._drawn.clear()
        self.place(self.matching())

    def _rearrange(self) -> None:
        # At once, whatever is held: the user asked for another order.
        self._past = None
        self.held = 0
        self._arrange()

    def row(self, index: int) -> Row:
        """Return a row of the picture; raise IndexError beyond it."""
        if self._past is not None:
            return self._past.rows[index]
        key = self.keys[index]
        if index not in self._drawn:
            subject = self.subject(key)
            if subject is None:
                *others, last = self.slots
                cells = [slot.fitted("") for slot in others]
                self._drawn[index] = (*cells, last.fitted("(forgotten)")), "dim", ()
            else:
                is_away = bool(self.context.lost) and subject.cluster in self.context.lost
                style = "dim" if is_away else self.style_of(subject)
                self._drawn[index] = self.cells(subject), style, self.tints(subject)
        return Row(key, *self._drawn[index], key in self.marks)

    def in_sight(self, room: int) -> range:
        """Return the numbers of the rows that are on a screen with `room` lines.

        The row under the cursor stays on its line while rows come and go above it; only moving
        the cursor scrolls.
        """
        index, key = self.focus_index, self.focus_key
        self.room = max(1, room)
        if key == self._seen_key:
            self.top = index - min(self._line, self.room - 1)
        last = max(0, len(self) - self.room)
        self.top = min(max(self.top, index - self.room + 1, 0), index, last)
        if key != self._seen_key or room == self._line_room:
            # In another room it may not have place there, and comes back to it after that.
            self._line, self._line_room = index - self.top, room
        self._seen_key = key
        return range(self.top, min(len(self), self.top + room))

    def heads(self) -> str:
        """Return the titles of the columns, above their cells."""
        return " ".join(slot.head(self.sort_key, descending=self.reverse) for slot in self.slots)

    def counts(self) -> str:
        """Return how much is shown: `37 of 41203 shown, 2 marked`."""
        shown, total = len(self), self.total
        if self._past is not None:
            shown, total = self._past.shown, self._past.total
        parts = [f"{shown} of {total} shown" if shown != total else f"{shown} shown"]
        if self.waiting and total:
            parts.append(self.progress)
        if self.marks:
            parts.append(f"{len(self.marks)} marked")
        return ", ".join(parts)

    def news(self) -> str:
        """Return what the cursor keeps out of sight: `132 new`, ..."""
        parts = []
        # How many rows came in since the cursor left the edge that they come in at.
        new = self.arrived - self._seen if self.pinned else 0
        if new > 0:
            parts.append(f"{new} new{' below, G to follow' if self.newest_last else ''}")
        if self.held and not (self.newest_last or self.frozen):
            parts.append("order frozen while you move")
        return ", ".join(parts)

    def picture(self, header: Figures) -> Picture:
        """Return the picture of the rows that have been asked for since the last refresh."""
        asked, at = sorted(self._drawn)[:_ROWS_MAX], self.focus_index
        rows, focus = tuple(map(self.row, asked)), asked.index(at) if at in asked else 0
        return Picture(self.name, rows, len(self), self.total, focus, self.context.now, header)

    def show(self, picture: Picture) -> None:
        """Show rows as they were; the next refresh ends that."""
        self._drawn.clear()
        self._past = picture
        self.keys = [row.key for row in picture.rows]
        self.focus_index = picture.focus

    # --- filter, order and columns ------------------------------------------------

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

    def values(self, key: str) -> Mapping[str, str]:
        """Return the fields and values of a row that `=` and `!` offer."""
        subject = self.subject(key)
        if subject is None:
            return {}
        record, fields = self.record_of(subject), self.fields
        found = {name: fields[name].get(record) for name in self.offers if name in fields}
        return {name: value for name, value in found.items() if isinstance(value, str) and value}

    def narrow(self, field: str, value: str, *, exclude: bool = False) -> None:
        """Add to the filter that a field has this value, or that it has not."""
        text = self.filter_text.strip()
        if " OR " in text:
            text = f"({text})"
        self.set_filter(f"{text} {'NOT ' if exclude else ''}{field}={quote(value)}".strip())

    def notes(self) -> list[str]:
        """Return notes on what the filter could not see."""
        return self.filter.unknown(self.name) if self.filter else []

    def find_column(self, name: str) -> Column:
        """Return a column by its name or title; raise UsageError if there is none.

        Tasks and events have columns of arguments, `kwargs.NAME`, and other fields, `field.NAME`.
        """
        wanted = name.strip().casefold()
        for one in self.columns:
            if wanted in (one.name.casefold(), one.title.casefold()):
                return one
        made = self.make_column(name.strip())
        if made is None:
            names = ", ".join(one.name for one in self.columns)
            also = "" if self.make_column("kwargs.x") is None else ", kwargs.NAME, field.NAME"
            problem = f"the view {self.name} has no column {name.strip()!r}"
            raise UsageError(problem, f"it has {names}{also}")
        return self.own.setdefault(made.name, made)

    def _column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def sort_by(self, name: str) -> None:
        """Sort by a column, in its own direction; an unknown name changes nothing."""
        for column in self.columns:
            if column.name == name:
                self.sort_key, self.reverse = name, column.descending
                self._rearrange()

    @property
    def order(self) -> str:
        """The column that it is sorted by, with a `-` before it if that is reversed."""
        return f"{'-' * (self.reverse != self._column(self.sort_key).descending)}{self.sort_key}"

    def sort_beside(self, step: int) -> None:
        """Sort by the column to the left (-1) or to the right (1) on the screen."""
        names = [slot.column.name for slot in self.slots]
        at = names.index(self.sort_key) if self.sort_key in names else 0
        self.sort_by(names[max(0, min(at + step, len(names) - 1))])

    def invert(self) -> None:
        self.reverse = not self.reverse
        self._rearrange()

    def arrange(
        self, filter_text: str, sort: str, columns: Sequence[str], *, place: str = ""
    ) -> None:
        """Filter, sort (`-` before the column reverses) and choose columns as options want it.

        `place` is the table of the settings file where they are.  Raise FilterError for an invalid
        filter, and UsageError, or with a `place` ConfigError, for an unknown column.
        """
        flag, name = "--sort", sort.removeprefix("-")
        if place and not any(one.name == "cluster" for one in self.columns):
            # It was there when the settings were saved.
            columns = [one for one in columns if one != "cluster"]
            name = "" if name == "cluster" else name
        try:
            by = self.find_column(name).name if name else ""
            flag = "--columns"
            chosen = [self.find_column(one).name for one in columns]
        except UsageError as error:
            if place:
                raise ConfigError(f"{place}: {error.message}", error.hint) from None
            raise UsageError(f"{flag}: {error.message}", error.hint) from None
        if filter_text:
            self.set_filter(filter_text)
        if by:
            self.sort_by(by)
            if sort != name:
                self.invert()
        if chosen:
            self.choose_columns(chosen)

    def resize(self, screen_cols: int) -> None:
        """Fit the columns to a screen, in columns of the terminal."""
        self.screen_cols = screen_cols
        self.slots = layout(
            self.columns_on(screen_cols), screen_cols, chosen=self.chosen, scrolled=self._scrolled
        )
        self._drawn.clear()

    def choose_columns(self, names: Sequence[str] | None) -> None:
        """Show these columns; None: those that suit the width."""
        self.chosen = tuple(names) if names is not None else None
        self.resize(self.screen_cols)

    def scroll_columns(self, by: int) -> None:
        """Move the columns after the second one out of sight, or back."""
        self._scrolled = max(0, min(self._scrolled + by, len(self.columns) - 3))
        self.resize(self.screen_cols)

    # --- cursor and marks ----------------------------------------------------------

    @property
    def focus_key(self) -> str | None:
        """The key under the cursor, None in an empty list."""
        return self.keys[self.focus_index] if self.keys else None

    @property
    def follows(self) -> bool:
        """Whether the cursor follows the newest event, or else its row."""
        return not self.pinned if self.newest_last else self._sticks

    def place(self, keys: Sequence[str]) -> None:
        """Show the rows of these keys, in this order.

        If its key has gone, the cursor stays where it was; without any rows it keeps its key.
        """
        self.keys = keys
        if not keys:
            self.focus_index = 0
        elif not self.pinned:
            self._point_at(len(keys) - 1 if self.newest_last else 0)
        else:
            try:
                self.focus_index = keys.index(self._key)
            except ValueError:
                self._point_at(min(self.focus_index, len(keys) - 1))
                self._sticks = False

    def _point_at(self, index: int) -> None:
        self.focus_index, self._key = index, self.keys[index]

    def go(self, index: int) -> None:
        """Move the cursor to a row, or to the nearest there is."""
        if self.keys:
            last = len(self.keys) - 1
            self._point_at(max(0, min(index, last)))
            self.pinned = self._sticks or self.focus_index != (last if self.newest_last else 0)
            self.held = HOLD if self.pinned else 0

    def move(self, by: int) -> None:
        self.go(self.focus_index + by)

    def go_to(self, key: str) -> bool:
        """Move the cursor to a key, to stay with it; return False if it is not shown."""
        if key not in self.keys:
            return False
        self.go(self.keys.index(key))
        self.pinned = True
        return True

    def expect(self, key: str) -> None:
        """Move the cursor to `key` as soon as that is shown."""
        self._key, self.pinned = key, True

    def toggle_follow(self) -> None:
        if self.newest_last:
            self.pinned, self.held = not self.pinned, 0
        else:
            self._sticks = not self._sticks
            self.pinned = self._sticks or self.focus_index > 0
        if not self.pinned:
            self.place(self.keys)

    def seek(self, wanted: Callable[[Any], bool], step: int) -> bool:
        """Move to the next (1) or previous (-1) row that is wanted; return False if none is."""
        last = len(self) if step > 0 else -1
        for index in range(self.focus_index + step, last, step):
            subject = self.subject(self.keys[index])
            if subject is not None and wanted(subject):
                self.go(index)
                return True
        return False

    def toggle_mark(self) -> None:
        """Mark or unmark the row under the cursor, and go down."""
        if self.focus_key is not None:
            self.marks ^= {self.focus_key}
            self.move(1)

    def targets(self) -> list[str]:
        """Return the marked keys, or else the one under the cursor."""
        if self.marks:
            return sorted(self.marks)
        return [self.focus_key] if self.focus_key is not None else []

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield all rows that are shown, in their order."""
        return filter(None, map(self.record, list(self.keys)))

    def as_json(self, key: str) -> str:
        return encode_line(self.record(key)).decode()


class LiveTable(TableModel):
    """A table of very many subjects that is kept up to date as they change.

    `is_alive(key, subject)` says whether a subject is still remembered.
    """

    def __init__(self, clock: Clock, is_alive: Callable[[str, Any], bool]) -> None:
        self._index = LiveIndex(clock, is_alive)
        self._filter_in_force: Filter | None = None
        self._order_in_force = self.default_sort, True
        super().__init__()
        self.rows = self._index.subjects

    @abstractmethod
    def note(self) -> None:
        """Note what happened, in the index."""

    def matcher(self, chosen: Filter) -> Matches:
        """Return the test that a filter makes of subjects."""
        return chosen.matches

    @property
    def arrived(self) -> int:
        return self._index.arrived

    @property
    def waiting(self) -> int:
        return self._index.waiting

    def load(self) -> None:
        """Take in what happened, also while something else is on the screen."""
        self.note()
        self._index.refresh()
        self.marks = {key for key in self.marks if key in self.rows}

    def work(self) -> None:
        self._index.work()
        # The list is made as a whole: that would take longer than the work.
        if not self.waiting and (self.frozen or not self.held):
            self._arrange()

    def matching(self) -> Sequence[str]:
        index, first = self._index, self.focus_key
        in_order, descending = self.sort_key == self.default_sort, self.reverse
        if self._order_in_force != (self.sort_key, descending):
            self._order_in_force = self.sort_key, descending
            column = self._column(self.sort_key)

            def order(subjects: Sequence[Any]) -> Sequence[float | str]:
                return column.sort_values(subjects, self.context, descending=descending)

            chosen = None if in_order else order
            index.sort(chosen, descending=descending, moves=column.moves, first=first)
            index.work()
        if self._filter_in_force is not self.filter:
            self._filter_in_force = wanted = self.filter
            matches = self.matcher(wanted) if wanted is not None else None
            index.set_filter(matches, drifts=wanted is not None and wanted.drifts, first=first)
            index.work()
        # The index has the newest first, which is one of the two ways to sort by time.
        keys = index.keys()
        return keys[::-1] if in_order and not self.reverse else keys
