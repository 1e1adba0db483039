"""Columns of tables: the text of a cell, its width, and what a column sorts by."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from itertools import repeat
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple

from evtools.filters import Kind, argument
from evtools.rows import KINDS, TEXTUAL, RowField, Sort, Value
from evtools.text import clip, elide_middle, human_age, human_count, human_duration, pad, sanitize
from evtools.top.options import Compare, TimeStyle, Window
from evtools.wire import encode_line

#: From this width of the screen on, columns may take their wide form.
_WIDE_COLS: Final = 140
#: The cursor and the mark stand before the first column.
_MARKER_COLS: Final = 1
_GAP_COLS: Final = 1
#: No screen is as wide: where the user has not chosen columns, these are left out.
_NEVER: Final = 100_000
#: Stands for a value that is not known.
UNKNOWN: Final = "-"
#: A mark that a sender's "..." cannot be mistaken for.
_CUT: Final = "\N{HORIZONTAL ELLIPSIS}"
#: How many columns stay when the others are scrolled.
_PINNED: Final = 2
#: The beginning of a text by which it sorts, and the digits of whole numbers in it.
_NATURAL_CHARS: Final = 100
_NATURAL_DIGITS: Final = 20
_DIGITS: Final = re.compile(r"(?<!\.)[0-9]+")
#: What a column of one's own may be called.
_OWN: Final = re.compile(r"(kwargs|field)\.([^\s,\"']{1,100})", re.IGNORECASE)

#: Celery cuts the reprs it sends at 1024 characters; a few less after cutting.
_CUT_FROM_CHARS: Final = 1000


@dataclass(frozen=True, slots=True)
class RenderContext:
    """How values are shown, and as of when: `now` is the time of the picture.

    `lost` is since when clusters are away, by their names, in UTC epoch seconds; `age` is how old
    what is shown of one that is away is by now, in seconds.
    """

    now: float
    zone: tzinfo = UTC
    time_style: TimeStyle = "age"
    ascii: bool = False
    window: Window = "5m"
    compare: Compare = "off"
    lost: Mapping[str, float] = field(default_factory=dict)
    age: float = 0.0

    def of(self, row: Any) -> "RenderContext":
        """Return the context of a row, which stands still while its cluster is away."""
        lost_at = self.lost.get(row.cluster) if self.lost else None
        if lost_at is None:
            return self
        return replace(self, now=min(self.now, lost_at), age=max(0.0, self.now - lost_at))

    def moment(self, epoch: float | None) -> str:
        """Return a moment as its age, or as its time of day."""
        if epoch is None:
            return UNKNOWN
        if self.time_style == "age":
            return human_age(max(0.0, self.now - epoch))
        return self.time_of_day(epoch)

    def time_of_day(self, epoch: float, *, millis: bool = False) -> str:
        """Return a time of day in the zone of the screen, `-` beyond the calendar."""
        try:
            moment = datetime.fromtimestamp(epoch, UTC if self.time_style == "utc" else self.zone)
        except (OverflowError, ValueError, OSError):
            return UNKNOWN
        text = moment.strftime("%H:%M:%S")
        return f"{text}.{moment.microsecond // 1000:03}" if millis else text


def as_text(value: Any) -> str:
    """Return a value as text, not sanitised: a string as it is, else as JSON."""
    return value if isinstance(value, str) else encode_line(value).decode()


def was_cut(value: Any) -> bool:
    """Return whether the sender has cut a repr."""
    return isinstance(value, str) and len(value) >= _CUT_FROM_CHARS and "..." in value[-6:]


def known(format_: Callable[[Any], str]) -> Callable[[Any, RenderContext], str]:
    """Return a formatter of values by `format_`, with `-` for those that are not known."""
    return lambda value, _: UNKNOWN if value is None else format_(value)


_formatted: Final = known(as_text)


def per_second(rate: float) -> str:
    """Return a rate as `0.02`, `1.3`, `12`: the unit is in the title, so that all compare."""
    if rate >= 9.95 or not rate > 0:  # noqa: PLR2004  (from there on without digits)
        return human_count(rate)
    for least, digits in ((0.1, 1), (0.01, 2), (0.001, 3)):
        if rate >= least:
            return f"{rate:.{digits}f}"
    return "<0.001"


def per_cent(share: float) -> str:
    """Return a share in per cent as `33.6`; `0` and `100` are exactly that."""
    if share in (0, 100):
        return str(int(share))
    if 0 < share < 0.05:  # noqa: PLR2004  (what would be rounded to nothing)
        return "<0.1"
    return ">99.9" if 99.95 <= share < 100 else f"{share:.1f}"  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Sorting, filters and exports take the `value`, None if it is not known.  `format` makes
    text of it, or `format_row` of the whole row; neither need be sanitised.  `order` is
    what it sorts by if that is not the value.  It is on screens of at least `from_cols`, takes
    `cols` (`wide_cols` on wide screens) and, of what is left, its share `flex` up to `max_cols`.
    """

    name: str
    title: str
    about: str
    kind: Kind
    cols: int
    value: Callable[[Any, float], Any]
    format: Callable[[Any, RenderContext], str] = _formatted
    format_row: Callable[[Any, RenderContext], str] | None = None
    order: Callable[[Any, float], Any] | None = None
    align: Literal["left", "right"] = "left"
    flex: int = 0
    max_cols: int = 400
    wide_cols: int = 0
    from_cols: int = 0
    #: Whether both ends of a text stay when it is cut.
    elide: bool = False
    #: Whether a sort by it starts with the largest.
    descending: bool = False
    #: Whether numbers within texts, or texts that are numbers, sort as numbers.
    natural: bool = False
    #: Says whether the value of a row changes while nothing happens to it.
    moves: Callable[[Any], bool] | None = None
    #: The style of a cell by its value, "" for the usual one.
    tint: Callable[[Any], str] | None = None
    #: The attribute of the row that `value` returns, if it is no more than that.
    attribute: str = ""

    def text(self, row: Any, context: RenderContext) -> str:
        """Return the text of a cell, not sanitised."""
        if self.format_row is not None:
            return self.format_row(row, context)
        return self.format(self.value(row, context.now), context)

    def sort_values(
        self, rows: Sequence[Any], context: RenderContext, *, descending: bool
    ) -> list[float | str]:
        """Return what rows sort by; unknown values come last, whatever the direction."""
        if self.order is None and self.attribute:
            values = list(map(attrgetter(self.attribute), rows))
        else:
            lost, now = context.lost, context.now
            times = [context.of(row).now for row in rows] if lost else repeat(now)
            values = list(map(self.order or self.value, rows, times))
        # Values that a sender chose may be of any type.
        if self.natural:
            nothing = "" if descending else "\U0010ffff"
            return [nothing if value is None else _natural(as_text(value)) for value in values]
        if self.order is not None or self.kind not in TEXTUAL:
            unknown = -math.inf if descending else math.inf
            return [value if type(value) in (int, float) else unknown for value in values]
        nothing = "" if descending else "\U0010ffff"
        if self.kind is Kind.ID:
            return [value.casefold() if type(value) is str else nothing for value in values]
        folded = _Folded()
        return [folded[value] if type(value) is str else nothing for value in values]


def _natural(text: str) -> str:
    folded = text[:_NATURAL_CHARS].casefold()
    return _DIGITS.sub(lambda found: found[0].zfill(_NATURAL_DIGITS), folded)


class _Folded(dict[str, str]):
    # Names are few, and identical ones compare at once; a cache of functools takes twice as long.

    def __missing__(self, text: str) -> str:
        self[text] = folded = text.casefold()
        return folded


# fmt: off
_FIGURE: Final = {"align": "right", "descending": True}
#: What is usual for columns of a sort; names keep both of their ends.
_SORTS: Final[Mapping[Sort, Mapping[str, Any]]] = {
    "name":     {"cols": 12, "elide": True, "flex": 1, "max_cols": 80},
    "id":       {"cols": 8},
    "text":     {"cols": 12},
    "count":    {**_FIGURE, "format": known(human_count)},
    "rate":     {**_FIGURE, "format": known(per_second)},
    "duration": {**_FIGURE, "format": known(human_duration)},
    "percent":  {**_FIGURE, "format": known(per_cent)},
    "time":     {**_FIGURE, "cols": 8, "format": lambda at, how: how.moment(at)},
}
# fmt: on


def column(sort: Sort, name: str, title: str, about: str, value: Value, **more: Any) -> Column:
    """Return a column as is usual for its `sort`, such as "name" or "rate"; `more` differs."""
    more = {"cols": max(6, len(title)), "kind": KINDS[sort], **_SORTS[sort], **more}
    if callable(value):
        return Column(name, title, about, value=value, **more)
    get = attrgetter(value)
    return Column(name, title, about, value=lambda row, _: get(row), attribute=value, **more)


def column_of(field: RowField, title: str, **more: Any) -> Column:
    """Return the column of a field of rows."""
    return column(
        field.sort, field.name, title, field.about, field.read, **{"kind": field.kind, **more}
    )


def own_column(name: str, get: Callable[[Any, str], Any]) -> Column | None:
    """Return the column of an argument, `kwargs.NAME`, or of another field, `field.NAME`.

    `get` returns a field of a row by the name it has in events.  None if `name` is neither.
    """
    found = _OWN.fullmatch(name)
    if found is None or not name.isprintable():
        return None
    owner, key = found[1].lower(), found[2]

    def value(row: Any, _: float) -> Any:
        known = argument(get(row, "kwargs"), key) if owner == "kwargs" else get(row, key)
        return known if isinstance(known, str | int | float | list | dict) else None

    about = f"the {'argument' if owner == 'kwargs' else 'field'} {key}, as it was sent"
    return column(
        "text", f"{owner}.{key}", key.upper(), about, value, natural=True, flex=1, max_cols=40,
        cols=max(6, min(len(key), 16)), from_cols=_NEVER,
    )  # fmt: skip


# --- on the screen --------------------------------------------------------------


class Slot(NamedTuple):
    """A column on the screen and the columns of the terminal that it takes."""

    column: Column
    cols: int

    def cell(self, row: Any, context: RenderContext) -> str:
        """Return the cell of a row: sanitised, of exactly `cols` columns."""
        text = self.column.text(row, context)
        # Of a UUID the start is enough where there is no room for all of it.
        if len(text) == 36 > self.cols and text[8] == "-" and self.column.kind is Kind.ID:  # noqa: PLR2004
            text = text[:8]
        return self.fitted(text, ascii_only=context.ascii)

    def head(self, sorted_by: str, *, descending: bool) -> str:
        """Return the title in `cols` columns, with `v` or `^` if the table is sorted by it."""
        mark = ("v" if descending else "^") if sorted_by == self.column.name else ""
        title = clip(self.column.title, self.cols - len(mark), "") + mark
        return pad(title, self.cols, self.column.align)

    def fitted(self, text: str, *, ascii_only: bool = False) -> str:
        """Return any text sanitised and in `cols` columns."""
        if self.column.elide:
            # Escaping only lengthens, so what is far beyond the edge can go first.
            most = 4 * self.cols
            near = text if len(text) <= 2 * most else text[:most] + text[-most:]
            shown = elide_middle(sanitize(near), self.cols)
        else:
            shown = one_line(text, self.cols, ".." if ascii_only else _CUT)
        return pad(shown, self.cols, self.column.align)


def one_line(text: str, cols: int, cut: str = _CUT) -> str:
    """Return any text sanitised and in at most `cols` columns."""
    shown = sanitize(text[: 4 * cols])
    return clip(shown if len(text) <= 4 * cols else shown + cut, cols, cut)


def layout(
    columns: Sequence[Column],
    screen_cols: int,
    *,
    chosen: Sequence[str] | None = None,
    scrolled: int = 0,
) -> tuple[Slot, ...]:
    """Choose the columns for a screen and share its width among them.

    `chosen` names those that the user wants, in their order, instead of those that suit the
    width; `scrolled` of those after the first two are out of sight to the left.
    """
    if chosen is not None:
        by_name = {column.name: column for column in columns}
        columns = [by_name[name] for name in chosen if name in by_name]
    elif not scrolled:
        columns = [column for column in columns if column.from_cols <= screen_cols]
    columns = [*columns[:_PINNED], *columns[_PINNED:][scrolled:]]
    is_wide = screen_cols >= _WIDE_COLS
    sizes = [max(column.cols, column.wide_cols if is_wide else 0) for column in columns]
    room = screen_cols - _MARKER_COLS + _GAP_COLS
    while len(sizes) > 1 and sum(sizes) + len(sizes) * _GAP_COLS > room:
        sizes.pop()
    left = room - sum(sizes) - len(sizes) * _GAP_COLS
    # What is left is shared among those that take more, as long as any does.
    while left > 0:
        at = [
            n for n, one in enumerate(columns[: len(sizes)]) if one.flex and sizes[n] < one.max_cols
        ]
        if not at:
            break
        shares, before = sum(columns[n].flex for n in at), left
        for n in at:
            share = max(1, before * columns[n].flex // shares)
            more = min(share, columns[n].max_cols - sizes[n], left)
            sizes[n] += more
            left -= more
    if sizes:
        sizes[0] = max(1, min(sizes[0], room - _GAP_COLS))
    return tuple(map(Slot, columns, sizes))
