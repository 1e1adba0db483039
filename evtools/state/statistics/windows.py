"""Counts by name over sliding windows of time."""

import math
from array import array
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Final, Generic, TypeAlias, TypeVar

#: The windows by name, each with its length in seconds; None is all time.
WINDOWS: Final[Mapping[str, float | None]] = {
    "1m": 60.0,
    "5m": 300.0,
    "15m": 900.0,
    "1h": 3600.0,
    "all": None,
}

#: How far each window moves at once, in seconds: its edge is that coarse.
#: Every width is a multiple of the one before, so slots nest.
WIDTHS: Final = (5.0, 15.0, 60.0, 300.0, math.inf)

#: What happened, as a small integer (see cells.py), and how often.
Cells: TypeAlias = dict[int, int]
Name = TypeVar("Name", bound=Hashable)

_LEVEL_OF: Final = {name: number for number, name in enumerate(WINDOWS)}
_COVERED_MIN: Final = 1.0
#: Measured: what a cell takes in a table, and what its name takes beside it.
_CELL_BYTES: Final = 50
_NAME_BYTES: Final = 150


class Windows(dict[Name, Cells], Generic[Name]):
    """Counts by name and cell over all of `WINDOWS` at once.

    As a dictionary it is the slot of time that is open now: to count is
    `windows[name][cell] += 1`, which costs two look-ups.  `advance` closes
    the slot when its time is over.  Closed slots are kept as bytes until
    they leave their window, and what is in a window is kept summed up, so
    that neither counting nor reading walks through time.

    Bounded by names and by cells: the names that were silent for longest are
    folded into `others`, together with all that was counted for them, and
    `on_fold` is told each of them.  How long a name may be is up to the caller.
    """

    __slots__ = (
        *("folded", "names", "since"),
        *("_closings", "_levels", "_limits", "_on_fold", "_others"),
    )

    def __init__(
        self,
        *,
        others: Name,
        max_names: int,
        max_cells: int = 800_000,
        on_fold: Callable[[Name], None] | None = None,
    ) -> None:
        super().__init__()
        #: Names with the slot they appeared in; those heard of last are last.
        self.names: OrderedDict[Name, int] = OrderedDict()
        #: The time of the first event, in seconds; None before it.
        self.since: float | None = None
        #: How many names went into the others.
        self.folded = 0
        self._closings = 0
        self._others = others
        self._on_fold = on_fold
        self._limits = (max_names, max_cells)
        self._levels = [
            _Level(span, width, others)
            for span, width in zip(WINDOWS.values(), WIDTHS, strict=True)
        ]
        self._levels[0].open = self

    def __missing__(self, name: Name) -> Cells:
        """Make room for a name that is new in this slot."""
        cells: Cells = defaultdict(int)
        self[name] = cells
        if name in self.names:
            self.names.move_to_end(name)
        elif name != self._others:
            self.names[name] = self._closings
            self._fold(len(self.names) - self._limits[0])
        return cells

    def advance(self, now: float) -> float:
        """Go on to `now` (seconds); return when the slot that is open ends."""
        if self.since is None:
            self.since = now
        carried: dict[Name, Cells] = {}
        for level in self._levels:
            for name, cells in carried.items():
                _add(level.open, name, cells)  # they are nobody else's any more
            index = now // level.width
            if index <= level.index or math.isinf(level.width):
                break
            level.expire(now, self.names)
            carried = level.close(index, self._closings)
        self._closings += 1
        self._fold_cells()
        return (self._levels[0].index + 1) * WIDTHS[0]

    def read(self, window: str, now: float) -> dict[Name, Cells]:
        """Return what was counted in a window, by name; the caller's to keep.

        A name with nothing in the window is not in it.
        """
        chosen = _LEVEL_OF[window]
        level = self._levels[chosen]
        level.expire(now, self.names)
        merged: dict[Name, Cells] = {}
        _add_all(merged, level.total)
        # The largest first, which is copied; the others are added cell by cell.
        for finer in reversed(self._levels[: chosen + 1]):
            if level.reaches(finer.index * finer.width, now):
                _add_all(merged, finer.open)
        return merged

    def is_open(self, window: str, now: float) -> bool:
        """Tell whether the slot that is open is in a window."""
        start = self._levels[0].index * WIDTHS[0]
        return self._levels[_LEVEL_OF[window]].reaches(start, now)

    def covered(self, window: str, now: float) -> float:
        """Return how many seconds a window reaches back: what rates divide by.

        That is its length and up to a slot more, or less as long as there
        was nothing to listen to before.
        """
        level = self._levels[_LEVEL_OF[window]]
        if self.since is None:
            return _COVERED_MIN
        start = self.since
        if level.span is not None:
            start = max(start, level.edge(now) * level.width)
        return max(_COVERED_MIN, now - start)

    def trend(self, name: Name, cells: tuple[int, ...], now: float) -> list[float]:
        """Return the rate of `cells` per second over the last 5 m, newest last.

        One figure for each slot of that window that is over.
        """
        finest, level = self._levels[:2]
        first = level.edge(now)
        rates = [0.0] * round(now // level.width - first)
        told = [
            (slot.index, dict(_unpack(slot.tables[name])))
            for slot in level.closed
            if name in slot.tables
        ]
        told.append((level.index, level.open.get(name, {})))
        # What is open may be over, if nothing came since.
        told.append((finest.index * finest.width // level.width, self.get(name, {})))
        for index, counts in told:
            if 0 <= index - first < len(rates):
                count = sum(counts.get(cell, 0) for cell in cells)
                rates[round(index - first)] += count / level.width
        return rates

    def weight_bytes(self) -> int:
        """Return about how much memory all of this takes."""
        return sum(level.weight_bytes() for level in self._levels)

    def _fold_cells(self) -> None:
        """Fold the quietest names while there are too many cells."""
        excess = sum(level.cells() for level in self._levels) - self._limits[1]
        while excess > 0 and self.names:
            name = next(iter(self.names))
            excess -= sum(level.cells_of(name) for level in self._levels)
            self._fold(1)

    def _fold(self, count: int) -> None:
        for _ in range(count):
            name, _ = self.names.popitem(last=False)
            self.folded += 1
            for level in self._levels:
                level.fold(name)
            if self._on_fold is not None:
                self._on_fold(name)


class _Slot(Generic[Name]):
    """A slot of time that is over; `closing` says how many were closed before."""

    __slots__ = ("closing", "index", "tables")

    def __init__(self, index: float, closing: int, table: dict[Name, Cells]) -> None:
        self.index = index
        self.closing = closing
        self.tables = {name: _pack(cells) for name, cells in table.items()}

    def weight_bytes(self) -> int:
        cells = sum(map(len, self.tables.values()))
        return len(self.tables) * _NAME_BYTES + cells


class _Level(Generic[Name]):
    """One window: the open slot, the closed ones, and the closed ones' sum."""

    __slots__ = ("closed", "index", "open", "others", "span", "total", "width")

    def __init__(self, span: float | None, width: float, others: Name) -> None:
        self.span = span
        self.width = width
        self.others = others
        self.index = -math.inf
        self.open: dict[Name, Cells] = {}
        self.closed: deque[_Slot[Name]] = deque()
        self.total: dict[Name, Cells] = {}

    def edge(self, now: float) -> float:
        """Return the index of the first slot that is in the window."""
        return -math.inf if self.span is None else (now - self.span) // self.width

    def reaches(self, start: float, now: float) -> bool:
        """Tell whether what began at `start` is in the window."""
        return self.span is None or start // self.width >= self.edge(now)

    def close(self, index: float, closing: int) -> dict[Name, Cells]:
        """Begin the slot of that index; return what the one before counted."""
        table = dict(self.open)
        self.open.clear()
        self.closed.append(_Slot(self.index, closing, table))
        self.index = index
        _add_all(self.total, table)
        return table

    def expire(self, now: float, names: Mapping[Name, int]) -> None:
        """Forget the slots that have left the window."""
        edge = self.edge(now)
        while self.closed and self.closed[0].index < edge:
            slot = self.closed.popleft()
            for name, packed in slot.tables.items():
                # A name that was folded since, even if it has come back, left
                # what this slot counted with the others.
                owner = name if names.get(name, math.inf) <= slot.closing else None
                self._subtract(self.others if owner is None else owner, packed)

    def fold(self, name: Name) -> None:
        """Count what `name` has for the others."""
        for table in (self.open, self.total):
            cells = table.pop(name, None)
            if cells is not None:
                _add(table, self.others, cells)

    def cells_of(self, name: Name) -> int:
        return len(self.open.get(name, ())) + len(self.total.get(name, ()))

    def cells(self) -> int:
        return sum(map(len, self.open.values())) + sum(map(len, self.total.values()))

    def weight_bytes(self) -> int:
        names = len(self.open) + len(self.total)
        closed = sum(slot.weight_bytes() for slot in self.closed)
        return names * _NAME_BYTES + self.cells() * _CELL_BYTES + closed

    def _subtract(self, name: Name, packed: bytes) -> None:
        into = self.total[name]
        for cell, count in _unpack(packed):
            left = into[cell] - count
            if left:
                into[cell] = left
            else:
                del into[cell]
        if not into:
            del self.total[name]


def _add(table: dict[Name, Cells], name: Name, cells: Cells) -> None:
    """Add `cells` to those of `name`; they become the table's own."""
    into = table.get(name)
    if into is None:
        table[name] = cells
        return
    for cell, count in cells.items():
        into[cell] = into.get(cell, 0) + count


def _add_all(table: dict[Name, Cells], other: Mapping[Name, Cells]) -> None:
    """Add what `other` counted; it stays as it is."""
    for name, cells in other.items():
        _add(table, name, cells if name in table else dict(cells))


def _pack(cells: Cells) -> bytes:
    return array("i", [*cells, *cells.values()]).tobytes()


def _unpack(packed: bytes) -> Iterator[tuple[int, int]]:
    numbers = memoryview(packed).cast("i").tolist()
    half = len(numbers) // 2
    return zip(numbers[:half], numbers[half:], strict=True)
