"""Columns of tables: what a cell says, how wide it is, and what it sorts by."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from operator import attrgetter
from typing import Any, Final, Literal

from evtools.filters import Field, FieldTable, Kind
from evtools.text import clip, elide_middle, human_age, pad, sanitize
from evtools.top.choices import TimeStyle, Window
from evtools.wire import encode_line

#: From this width of the screen on, columns may take their wide form.
WIDE_COLS: Final = 140
#: The cursor and the mark stand before the first column.
MARKER_COLS: Final = 1
_GAP_COLS: Final = 1
#: What stands for a value that is not known.
UNKNOWN: Final = "-"
#: A mark that a sender's "..." cannot be mistaken for.
_CUT: Final = "\N{HORIZONTAL ELLIPSIS}"
_ASCII_CUT: Final = ".."
#: Columns that stay when the others are scrolled.
_PINNED: Final = 2
_NUMBERS: Final = (int, float)
_TEXTUAL: Final = (Kind.TEXT, Kind.ID, Kind.STATE)


@dataclass(frozen=True, slots=True)
class Lens:
    """How and as of when things are shown.

    `now` is the time of the picture, which stands still while paused or
    disconnected; `zone` is of the local times.
    """

    now: float
    zone: tzinfo = UTC
    time_style: TimeStyle = "age"
    ascii: bool = False
    window: Window = "5m"

    def moment(self, epoch: float | None) -> str:
        """Return when something was: its age, or its time of day."""
        if epoch is None:
            return UNKNOWN
        if self.time_style == "age":
            return human_age(max(0.0, self.now - epoch))
        return self.time_of_day(epoch)

    def time_of_day(self, epoch: float, *, millis: bool = False) -> str:
        """Return a time of day in the zone on screen, `-` beyond the calendar."""
        zone = UTC if self.time_style == "utc" else self.zone
        try:
            moment = datetime.fromtimestamp(epoch, zone)
        except (OverflowError, ValueError, OSError):
            return UNKNOWN
        text = moment.strftime("%H:%M:%S")
        return f"{text}.{moment.microsecond // 1000:03}" if millis else text


def _say(value: Any, _: Lens) -> str:
    """Return a value as text: a string as it is, else as JSON."""
    if value is None:
        return UNKNOWN
    return value if isinstance(value, str) else encode_line(value).decode()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    `value(subject, now)` returns what is known, as it is, or None; sorting,
    filters and exports take that.  `say` makes text of it, which need not be
    sanitised; `tell` makes it of the whole subject, where one value is not all.
    `order` is what it sorts by where that is not the value.

    A column is on screens of at least `from_cols`, takes `cols` (`wide_cols` on
    wide screens) and, of what is left, its share `flex` up to `max_cols`.
    """

    name: str
    title: str
    about: str
    kind: Kind
    cols: int
    value: Callable[[Any, float], Any]
    say: Callable[[Any, Lens], str] = _say
    tell: Callable[[Any, Lens], str] | None = None
    #: What shortens a text for which there is no room, before it is cut.
    brief: Callable[[str], str] | None = None
    order: Callable[[Any, float], Any] | None = None
    align: Literal["left", "right"] = "left"
    flex: int = 0
    max_cols: int = 400
    wide_cols: int = 0
    from_cols: int = 0
    elide: bool = False
    #: Whether a sort by it begins with the largest.
    descending: bool = False
    #: Which subjects have a value that changes while nothing happens to them.
    moves: Callable[[Any], bool] | None = None
    #: The attribute of the subject that `value` returns, if it is no more than that.
    attribute: str = ""

    @property
    def textual(self) -> bool:
        """Whether it sorts as text."""
        return self.order is None and self.kind in _TEXTUAL

    def text(self, subject: Any, lens: Lens) -> str:
        """Return the cell's text, not sanitised."""
        if self.tell is not None:
            return self.tell(subject, lens)
        return self.say(self.value(subject, lens.now), lens)

    def sort_values(
        self, subjects: Iterable[Any], now: float, *, descending: bool
    ) -> list[float | str]:
        """Return what subjects sort by; what is unknown comes last."""
        get = self.order or self.value
        if self.attribute:
            values = list(map(attrgetter(self.attribute), subjects))
        else:
            values = [get(subject, now) for subject in subjects]
        # What comes from a sender may be of any type.
        if self.textual:
            nothing = "" if descending else "\U0010ffff"
            if self.kind is Kind.ID:
                return [value.casefold() if type(value) is str else nothing for value in values]
            folded = _Folded()
            return [folded[value] if type(value) is str else nothing for value in values]
        unknown = -math.inf if descending else math.inf
        return [value if type(value) in _NUMBERS else unknown for value in values]


class _Folded(dict[str, str]):
    """Texts without regard to case: there are few names, and one object is equal to itself."""

    def __missing__(self, text: str) -> str:
        self[text] = folded = text.casefold()
        return folded


@dataclass(frozen=True, slots=True)
class Slot:
    """A column on the screen and the columns of the terminal that it takes."""

    column: Column
    cols: int

    def cell(self, subject: Any, lens: Lens) -> str:
        """Return the cell of `subject`: sanitised, of exactly `cols` columns."""
        text = self.column.text(subject, lens)
        if self.column.brief is not None and len(text) > self.cols:
            text = self.column.brief(text)
        return self.fitted(text, ascii_only=lens.ascii)

    def head(self, sorted_by: str, *, descending: bool) -> str:
        """Return the title in `cols` columns, with `v` or `^` if it sorts."""
        mark = ("v" if descending else "^") if sorted_by == self.column.name else ""
        room = self.cols - len(mark)
        title = clip(self.column.title, room, "") + mark
        return pad(title, self.cols, self.column.align)

    def fitted(self, text: str, *, ascii_only: bool = False) -> str:
        """Return any text sanitised and in `cols` columns."""
        # Escaping only lengthens, so what is far beyond the edge can go first.
        # Names keep their end, so there both ends stay.
        cut = _ASCII_CUT if ascii_only else _CUT
        most = 4 * self.cols
        if self.column.elide:
            if len(text) > 2 * most:
                text = text[:most] + text[-most:]
            shown = elide_middle(sanitize(text), self.cols)
        else:
            near = sanitize(text[:most])
            shown = clip(near if len(text) <= most else near + cut, self.cols, cut)
        return pad(shown, self.cols, self.column.align)


def layout(
    columns: Sequence[Column],
    screen_cols: int,
    *,
    chosen: Sequence[str] | None = None,
    scrolled: int = 0,
) -> tuple[Slot, ...]:
    """Choose the columns for a screen and share its width among them.

    `chosen` names the columns that the user wants, in their order, instead of
    those that suit the width; `scrolled` is how many of the columns after the
    first two have been moved out of sight to the left.
    """
    by_name = {column.name: column for column in columns}
    if chosen is not None:
        wanted = [by_name[name] for name in chosen if name in by_name]
    elif scrolled:
        wanted = list(columns)
    else:
        wanted = [column for column in columns if column.from_cols <= screen_cols]
    wanted = wanted[:_PINNED] + wanted[_PINNED:][scrolled:]
    room = screen_cols - MARKER_COLS
    sizes = [_least(column, screen_cols) for column in wanted]
    while len(sizes) > 1 and _taken(sizes) > room:
        sizes.pop()
    _stretch(wanted[: len(sizes)], sizes, room - _taken(sizes))
    if sizes:
        sizes[0] = max(1, min(sizes[0], room))
    return tuple(map(Slot, wanted, sizes))


def _least(column: Column, screen_cols: int) -> int:
    wide = column.wide_cols if screen_cols >= WIDE_COLS else 0
    return max(column.cols, wide)


def _taken(sizes: Sequence[int]) -> int:
    return sum(sizes) + _GAP_COLS * (len(sizes) - 1)


def _stretch(columns: Sequence[Column], sizes: list[int], left: int) -> None:
    """Share `left` columns among those that take more, as long as any does."""
    while left > 0:
        takers = [
            index
            for index, column in enumerate(columns)
            if column.flex and sizes[index] < column.max_cols
        ]
        shares = sum(columns[index].flex for index in takers)
        if not takers:
            return
        before = left
        for index in takers:
            column = columns[index]
            more = max(1, before * column.flex // shares)
            more = min(more, column.max_cols - sizes[index], left)
            sizes[index] += more
            left -= more


def line_cols(slots: Iterable[Slot]) -> int:
    """Return how many columns a line of `slots` takes, without its marker."""
    return _taken([slot.cols for slot in slots])


def number(value: object) -> int | float | None:
    """Return a finite number as it is, anything else as None."""
    if type(value) is float:  # most are, and very many are asked about
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None


def finite(value: object) -> float | None:
    """Return a finite number as a float, anything else as None."""
    known = number(value)
    return None if known is None else float(known)


def fields_of(columns: Iterable[Column], now: Callable[[], float]) -> FieldTable:
    """Return the fields of a filter on rows with these columns.

    Bare words search what is text.
    """
    columns = tuple(columns)
    texts = [column for column in columns if column.kind in _TEXTUAL]
    fields = [
        Field(column.name, column.kind, _getter(column, now), column.about) for column in columns
    ]
    words = [_getter(column, now) for column in texts]
    return {field.name: field for field in fields} | {
        "has": Field("has", Kind.PRESENCE, lambda _: None, "names a field that is there"),
        "any": Field(
            "any",
            Kind.TEXTS,
            lambda subject: tuple(get(subject) for get in words),
            "what bare words search",
        ),
    }


def _getter(column: Column, now: Callable[[], float]) -> Callable[[Any], object]:
    return lambda subject: column.value(subject, now())


def one_line(text: str, cols: int) -> str:
    """Return any text sanitised and in at most `cols` columns."""
    shown = sanitize(text[: 4 * cols])
    return clip(shown if len(text) <= 4 * cols else shown + _CUT, cols, _CUT)
