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

#: What happened, as a small integer (see cells.py), and how often; under the
#: negative ones, the greatest value that was seen of something.
Cells: TypeAlias = dict[int, float]
Name = TypeVar("Name", bound=Hashable)

_LEVEL_OF: Final = {name: number for number, name in enumerate(WINDOWS)}
_COVERED_MIN: Final = 1.0
#: Measured: what a cell takes in a table, and what its name takes beside it.
_CELL_BYTES: Final = 50
_NAME_BYTES: Final = 150
#: What a cell takes in a slot that is over.
_NUMBER_BYTES: Final = array("i").itemsize
_PACKED_BYTES: Final = _NUMBER_BYTES + array("d").itemsize


class Windows(dict[Name, Cells], Generic[Name]):
    """Counts by name and cell over all of `WINDOWS` at once.

    As a dictionary it is the slot of time that is open now: to count is
    `windows[name][cell] += 1`, which costs two look-ups.  `advance` closes
    the slot when its time is over.  Closed slots are kept as bytes until
    they leave their window, and what is in a window is kept summed up, so
    that neither counting nor reading walks through time.

    Bounded by names and by cells: the names that were silent for longest are
    folded into `others`, together with all that was counted for them, and
    `on_fold` is called with each of them.  How long a name may be is up to the caller.
    """

    __slots__ = (*("folded", "names", "since"), *("_levels", "_limits", "_on_fold", "_others"))

    def __init__(
        self,
        *,
        others: Name,
        max_names: int,
        max_cells: int = 800_000,
        on_fold: Callable[[Name], None] | None = None,
    ) -> None:
        super().__init__()
        #: All names but the others; the last seen are last.
        self.names: OrderedDict[Name, None] = OrderedDict()
        #: The time of the first event, in seconds; None before it.
        self.since: float | None = None
        #: How many names went into the others.
        self.folded = 0
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
            self.names[name] = None
            self._fold(len(self.names) - self._limits[0])
        return cells

    def advance(self, now: float) -> float:
        """Go on to `now` (seconds); return when the slot that is open ends."""
        if self.since is None:
            self.since = now
        carried: dict[Name, Cells] = {}
        for level in self._levels:
            for name, cells in carried.items():
                _add(level.open, name, cells)  # no other slot has them any more
            index = now // level.width
            if index <= level.index or math.isinf(level.width):
                break
            level.expire(now)
            carried = level.close(index)
        self._fold_cells()
        return (self._levels[0].index + 1) * WIDTHS[0]

    def read(self, window: str, now: float) -> dict[Name, Cells]:
        """Return what was counted in a window, by name; the caller's to keep.

        A name with nothing in the window is not in it.
        """
        chosen = _LEVEL_OF[window]
        level = self._levels[chosen]
        merged: dict[Name, Cells] = {}
        _add_all(merged, level.summed(now))
        # The largest first, which is copied; the others are added cell by cell.
        for finer in reversed(self._levels[: chosen + 1]):
            if level.reaches(finer.index * finer.width, now):
                _add_all(merged, finer.open)
        return merged

    @property
    def slot(self) -> float:
        """The slot that is open, for `amend`."""
        return self._levels[0].index

    def amend(self, name: Name, cells: Cells, slot: float) -> None:
        """Add counts, of which some may be below zero, to a slot of before.

        What has left a window meanwhile is not brought back into it.
        """
        if name not in self.names:
            name = self._others
        for level in self._levels:
            index = slot * WIDTHS[0] // level.width
            if index >= level.index or math.isinf(level.width):
                # What is open here has not reached the coarser ones yet.
                _amend(level.open, name, cells)
                return
            level.amend(name, cells, index)

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
        counted = [
            (slot.index, dict(_unpack(slot.tables[name])))
            for slot in level.closed
            if name in slot.tables
        ]
        counted.append((level.index, level.open.get(name, {})))
        # What is open may be over, if nothing came since.
        counted.append((finest.index * finest.width // level.width, self.get(name, {})))
        for index, counts in counted:
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
    """A slot of time that is over."""

    __slots__ = ("index", "tables")

    def __init__(self, index: float, table: Mapping[Name, Cells]) -> None:
        self.index = index
        self.tables = {name: _pack(cells) for name, cells in table.items()}

    def add(self, name: Name, cells: Cells) -> None:
        counted = dict(_unpack(self.tables.pop(name, b"")))
        merge(counted, cells)
        if counted:
            self.tables[name] = _pack(counted)

    def fold(self, name: Name, others: Name) -> None:
        packed = self.tables.pop(name, None)
        if packed is not None:
            self.add(others, dict(_unpack(packed)))

    def weight_bytes(self) -> int:
        cells = sum(map(len, self.tables.values()))
        return len(self.tables) * _NAME_BYTES + cells


class _Level(Generic[Name]):
    """One window: the open slot, the closed ones, and the closed ones' sum."""

    __slots__ = (*("closed", "index", "open", "others", "span", "total", "width"), "_ahead")

    def __init__(self, span: float | None, width: float, others: Name) -> None:
        self.span = span
        self.width = width
        self.others = others
        # Before the first event that says when it came.
        self.index = -1.0
        self.open: dict[Name, Cells] = {}
        self.closed: deque[_Slot[Name]] = deque()
        self.total: dict[Name, Cells] = {}
        #: The sum of the closed slots from an index on, as it was last asked for.
        self._ahead: tuple[float, dict[Name, Cells]] | None = None

    def edge(self, now: float) -> float:
        """Return the index of the first slot that is in the window."""
        return -math.inf if self.span is None else (now - self.span) // self.width

    def reaches(self, start: float, now: float) -> bool:
        """Tell whether what began at `start` is in the window."""
        return self.span is None or start // self.width >= self.edge(now)

    def summed(self, now: float) -> dict[Name, Cells]:
        """Return the sum of the closed slots that are in the window at `now`.

        Who reads may be ahead of the events, and changes nothing: only they make
        slots leave for good.
        """
        edge = self.edge(now)
        if not self.closed or self.closed[0].index >= edge:
            return self.total
        if self._ahead is None or self._ahead[0] != edge:
            total: dict[Name, Cells] = {}
            for slot in self.closed:
                if slot.index >= edge:
                    for name, packed in slot.tables.items():
                        _add(total, name, dict(_unpack(packed)))
            self._ahead = edge, total
        return self._ahead[1]

    def close(self, index: float) -> dict[Name, Cells]:
        """Begin the slot of that index; return what the one before counted."""
        self._ahead = None
        table = dict(self.open)
        self.open.clear()
        self.closed.append(_Slot(self.index, table))
        self.index = index
        _add_all(self.total, table)
        return table

    def expire(self, now: float) -> None:
        """Forget the slots that have left the window."""
        edge = self.edge(now)
        while self.closed and self.closed[0].index < edge:
            for name, packed in self.closed.popleft().tables.items():
                self._subtract(name, packed)

    def amend(self, name: Name, cells: Cells, index: float) -> None:
        """Add to what a slot that is over counted, if it is still here."""
        self._ahead = None
        for slot in self.closed:
            if slot.index == index:
                slot.add(name, cells)
                _amend(self.total, name, cells)

    def fold(self, name: Name) -> None:
        """Count what `name` has for the others."""
        self._ahead = None
        for table in (self.open, self.total):
            cells = table.pop(name, None)
            if cells is not None:
                _add(table, self.others, cells)
        for slot in self.closed:
            slot.fold(name, self.others)

    def cells_of(self, name: Name) -> int:
        return len(self.open.get(name, ())) + len(self.total.get(name, ()))

    def cells(self) -> int:
        return sum(map(len, self.open.values())) + sum(map(len, self.total.values()))

    def weight_bytes(self) -> int:
        names = len(self.open) + len(self.total)
        closed = sum(slot.weight_bytes() for slot in self.closed)
        return names * _NAME_BYTES + self.cells() * _CELL_BYTES + closed

    def _subtract(self, name: Name, packed: bytes) -> None:
        """Take away what a slot counted that is no longer here.

        What is in no cell counts as zero, so that it does not matter in which
        order slots that add and slots that take away come and go.
        """
        cells = dict(_unpack(packed))
        _amend(self.total, name, {cell: -n for cell, n in cells.items() if cell >= 0})
        into = self.total.get(name, {})
        for cell, value in cells.items():
            if cell < 0 and value >= into.get(cell, value):
                self._look_again(name, cell, into)
        if not into:
            self.total.pop(name, None)

    def _look_again(self, name: Name, cell: int, into: Cells) -> None:
        """Find the greatest value of a cell among the slots that are left."""
        before, most = into.get(cell), -math.inf
        for slot in reversed(self.closed):
            value = _unpack_one(slot.tables.get(name, b""), cell)
            if value is not None and value > most:
                most = value
                if value == before:
                    return
        if most > -math.inf:
            into[cell] = most
        else:
            into.pop(cell, None)


def _add(table: dict[Name, Cells], name: Name, cells: Cells) -> None:
    """Add `cells` to those of `name`; they become the table's own."""
    into = table.get(name)
    if into is None:
        table[name] = cells
    else:
        merge(into, cells)


def _amend(table: dict[Name, Cells], name: Name, cells: Cells) -> None:
    """Add `cells`, some of them below zero; what comes to nothing is left out."""
    into = table.get(name)
    if into is None:
        into = table[name] = defaultdict(int)
    merge(into, cells)
    if not into:
        del table[name]


def merge(into: Cells, cells: Cells) -> None:
    """Add `cells` to others; what comes to nothing is left out."""
    for cell, value in cells.items():
        if cell < 0:
            into[cell] = max(value, into.get(cell, value))
        elif total := into.get(cell, 0) + value:
            into[cell] = total
        else:
            into.pop(cell, None)


def _add_all(table: dict[Name, Cells], other: Mapping[Name, Cells]) -> None:
    """Add what `other` counted; it stays as it is."""
    for name, cells in other.items():
        _add(table, name, cells if name in table else dict(cells))


def _pack(cells: Cells) -> bytes:
    return array("i", cells).tobytes() + array("d", cells.values()).tobytes()


def _unpack(packed: bytes) -> Iterator[tuple[int, float]]:
    numbers, values = _halves(packed)
    return zip(numbers, values.tolist(), strict=True)


def _unpack_one(packed: bytes, cell: int) -> float | None:
    numbers, values = _halves(packed)
    return values[numbers.index(cell)] if cell in numbers else None


def _halves(packed: bytes) -> tuple[list[int], "memoryview[float]"]:
    end = len(packed) // _PACKED_BYTES * _NUMBER_BYTES
    numbers = memoryview(packed)[:end].cast("i").tolist()
    return numbers, memoryview(packed)[end:].cast("d")
