"""Counts by name over sliding windows of time."""

import math
from array import array
from collections import OrderedDict, defaultdict
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
#: For how long slots of each width are kept after their window, in seconds, to be looked back at.
KEPT: Final = (900.0, 3600.0, 86_400.0, 0.0, 0.0)
#: Which part of their memory those of each width may take; most are the minutes of a day.
_SHARES: Final = (0.125, 0.125, 0.75, 0.0, 0.0)
_MINUTES: Final = 2

#: What happened, as a small integer (see rows.py), and how often; under the
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
#: What a name takes in a slot that is over, beside its cells.
_ENTRY_BYTES: Final = 110


class Windows(dict[Name, Cells], Generic[Name]):
    """Counts by name and cell over all of `WINDOWS` at once.

    As a dictionary it is the slot of time that is open now: to count is
    `windows[name][cell] += 1`, which costs two look-ups.  `advance` closes
    the slot when its time is over.  Closed slots are kept as bytes until
    they leave their window, and what is in a window is kept summed up, so
    that neither counting nor reading walks through time.

    What has left its window is kept for a while (`KEPT`), for `series` and `between`, as far as
    it fits into `past_bytes`: the oldest goes first, and `reach` says how far back there is any.

    With `slides` false there is the window of all time only, and nothing is kept: to let slots
    leave windows that nobody reads would take most of the time.

    Bounded by names and by cells: the names that were silent for longest are
    folded into `others`, together with all that was counted for them, and
    `on_fold` is called with each of them.  How long a name may be is up to the caller.
    """

    __slots__ = ("_levels", "_limits", "_on_fold", "_others", "folded", "names", "since")

    def __init__(
        self,
        *,
        others: Name,
        max_names: int,
        max_cells: int = 800_000,
        past_bytes: int = 8 * 2**20,
        on_fold: Callable[[Name], None] | None = None,
        slides: bool = True,
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
        sizes = [*zip(WINDOWS.values(), WIDTHS, KEPT, strict=True)]
        if not slides:
            sizes = [(0.0, WIDTHS[0], 0.0), sizes[-1]]
        self._levels = [_Level(span, width, others, kept) for span, width, kept in sizes]
        self.limit_past(past_bytes)
        self._levels[0].open = self

    def __missing__(self, name: Name) -> Cells:
        """Make room for a name that is new in this slot."""
        cells: Cells = defaultdict(int)
        self[name] = cells
        if name in self.names:
            self.names.move_to_end(name)
        elif name != self._others:
            self.names[name] = None
            if len(self.names) > self._limits[0]:
                self._fold()
        return cells

    def _fold(self) -> None:
        """Fold the name that was silent for longest."""
        name, _ = self.names.popitem(last=False)
        self.folded += 1
        for level in self._levels:
            level.fold(name)
        if self._on_fold is not None:
            self._on_fold(name)

    def advance(self, now: float) -> float:
        """Go on to `now` (seconds); return when the slot that is open ends."""
        if self.since is None:
            self.since = now
        carried: dict[Name, Cells] = {}
        for level in self._levels:
            _add_all(level.open, carried)
            index = now // level.width
            if index <= level.index or math.isinf(level.width):
                break
            level.expire(now)
            carried = level.close(index)
        excess = sum(level.cells() for level in self._levels) - self._limits[1]
        while excess > 0 and self.names:
            name = next(iter(self.names))
            excess -= sum(
                len(table.get(name, ())) for level in self._levels for table in level.tables()
            )
            self._fold()
        return (self._levels[0].index + 1) * WIDTHS[0]

    def read(self, window: str, now: float) -> dict[Name, Cells]:
        """Return what was counted in a window, by name; the caller's to keep.

        A name with nothing in the window is not in it.
        """
        finer = self._levels[: _LEVEL_OF[window] + 1]
        level = finer[-1]
        merged: dict[Name, Cells] = {}
        _add_all(merged, level.summed(now))
        # The largest first, which is copied; the others are added cell by cell.
        for each in reversed(finer):
            if level.span is None or each.index * each.width // level.width >= level.edge(now):
                _add_all(merged, each.open)
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
                _add(level.open, name, defaultdict(int, cells))
                return
            if index in level.closed:
                level.ahead = None
                level.sums.pop(index, None)
                _repack(level.closed[index], name, cells)
                _add(level.total, name, dict(cells))

    def covered(self, window: str, now: float) -> float:
        """Return how many seconds a window reaches back: what rates divide by.

        That is its length and up to a slot more, or less as long as there
        was nothing to listen to before.
        """
        if self.since is None:
            return _COVERED_MIN
        level = self._levels[min(_LEVEL_OF[window], len(self._levels) - 1)]
        return max(_COVERED_MIN, now - max(self.since, level.edge(now) * level.width))

    def trend(self, name: Name, cells: tuple[int, ...], now: float) -> list[float]:
        """Return the rate of `cells` per second over the last 5 m, newest last.

        One figure for each slot of that window that is over.
        """
        finest, level = self._levels[:2]
        first = level.edge(now)
        rates = [0.0] * round(now // level.width - first)
        counted = [
            (index, dict(_unpack(packed[name])))
            for index, packed in level.closed.items()
            if name in packed
        ]
        counted.append((level.index, level.open.get(name, {})))
        # What is open may be over, if nothing came since.
        counted.append((finest.index * finest.width // level.width, self.get(name, {})))
        for index, counts in counted:
            if 0 <= index - first < len(rates):
                count = sum(counts.get(cell, 0) for cell in cells)
                rates[round(index - first)] += count / level.width
        return rates

    def series(self, name: Name | None, span: float, now: float) -> tuple[float, list[Cells]]:
        """Return what was counted over the last `span` seconds, slot by slot, the newest last.

        With None for a name that is of all names.  The slots are the narrowest that are kept
        for so long, of the width that is returned, in seconds.  The newest one is not over yet;
        what was counted before there was anything to listen to is not in the list.
        """
        at = next((n for n, kept in enumerate(KEPT) if span <= kept), _MINUTES)
        level = self._levels[at]
        first, last = (now - span) // level.width + 1, now // level.width
        first = max(first, level.oldest(self.since if self.since is not None else now))
        counted: dict[float, Cells] = {float(n): {} for n in range(round(first), round(last) + 1)}
        slots = [(index, level.cells_of(index, name)) for index in counted]
        # What is open in it, and in those that have not been added to it yet.
        for each in self._levels[: at + 1]:
            index = each.index * each.width // level.width
            tables = [each.open.get(name, {})] if name is not None else each.open.values()
            slots += [(index, cells) for cells in tables]
        for index, cells in slots:
            if index in counted:
                merge(counted[index], cells)
        return level.width, list(counted.values())

    def between(self, start: float, end: float) -> dict[Name, Cells]:
        """Return what was counted in the whole minutes between two times, by name.

        Both are in seconds, and the minutes must be over: an hour ago, or a day.
        """
        level, merged = self._levels[_MINUTES], dict[Name, Cells]()
        for index in range(math.ceil(start / level.width), math.floor(end / level.width)):
            _add_all(merged, level.slot(index))
        return merged

    def reach(self, now: float) -> float:
        """Return for how many seconds there are minutes to look back at."""
        if self.since is None:
            return 0.0
        level = self._levels[_MINUTES]
        return max(0.0, now - max(self.since, level.oldest(self.since) * level.width))

    def limit_past(self, past_bytes: float) -> None:
        """Change how much memory what has left its window may take; the next slots keep to it."""
        for level, share in zip(self._levels, _SHARES, strict=False):
            level.limit = past_bytes * share

    def weight_bytes(self) -> int:
        """Return about how much memory all of this takes."""
        weight = sum(level.past_bytes for level in self._levels)
        for level in self._levels:
            closed = [cells for packed in level.closed.values() for cells in packed.values()]
            names = len(level.open) + len(level.total) + len(closed)
            weight += names * _NAME_BYTES + level.cells() * _CELL_BYTES + sum(map(len, closed))
        return weight


class _Level(Generic[Name]):
    """One window: the open slot, the closed ones, and the closed ones' sum."""

    __slots__ = (
        "ahead", "closed", "cut", "index", "kept", "limit", "open", "others", "past",
        "past_bytes", "span", "sums", "total", "width",
    )  # fmt: skip

    def __init__(self, span: float | None, width: float, others: Name, kept: float) -> None:
        self.span = span
        #: How long slots are kept, in seconds, and how much those may take that have left.
        self.kept, self.limit = kept, 0.0
        #: Those, by index, the oldest first; what they take; and up to where some are gone.
        self.past: dict[float, dict[Name, bytes]] = {}
        self.past_bytes = 0
        #: What was counted for all names in slots that are over, as far as it was asked for.
        self.sums: dict[float, Cells] = {}
        self.cut = -math.inf
        self.width = width
        self.others = others
        # Before the first event that says when it came.
        self.index = -1.0
        self.open: dict[Name, Cells] = {}
        #: By index, the oldest first, with packed cells.
        self.closed: dict[float, dict[Name, bytes]] = {}
        self.total: dict[Name, Cells] = {}
        #: The sum of the closed slots from an index on, as it was last asked for.
        self.ahead: tuple[float, dict[Name, Cells]] | None = None

    def edge(self, now: float) -> float:
        """Return the index of the first slot that is in the window."""
        return -math.inf if self.span is None else (now - self.span) // self.width

    def summed(self, now: float) -> dict[Name, Cells]:
        """Return the sum of the closed slots that are in the window at `now`.

        Who reads may be ahead of the events, and changes nothing: only they make
        slots leave for good.
        """
        edge = self.edge(now)
        if next(iter(self.closed), edge) >= edge:
            return self.total
        if self.ahead is None or self.ahead[0] != edge:
            total: dict[Name, Cells] = {}
            for index, packed in self.closed.items():
                if index >= edge:
                    _add_all(total, {name: dict(_unpack(packed[name])) for name in packed})
            self.ahead = edge, total
        return self.ahead[1]

    def close(self, index: float) -> dict[Name, Cells]:
        """Begin the slot of that index; return what the one before counted."""
        self.ahead = None
        table = dict(self.open)
        self.open.clear()
        self.closed[self.index] = {name: _pack(cells) for name, cells in table.items()}
        self.index = index
        _add_all(self.total, table)
        return table

    def expire(self, now: float) -> None:
        """Forget the slots that have left the window.

        What is in no cell counts as zero, so that it does not matter in which
        order slots that add and slots that take away come and go.
        """
        edge = self.edge(now)
        while self.closed and (oldest := next(iter(self.closed))) < edge:
            slot = self.closed.pop(oldest)
            self._keep(oldest, slot, now)
            for name, packed in slot.items():
                cells = dict(_unpack(packed))
                _add(self.total, name, {cell: -n for cell, n in cells.items() if cell >= 0})
                left = self.total.get(name, {})
                for cell, value in cells.items():
                    if cell < 0 and value >= left.get(cell, value):
                        self._look_again(name, cell, left)
                if not left:
                    self.total.pop(name, None)

    def _keep(self, index: float, slot: dict[Name, bytes], now: float) -> None:
        """Keep a slot that has left the window, and forget what is too old or too much."""
        if not self.kept:
            return
        self.past[index] = slot = {name: _pack_past(dict(_unpack(slot[name]))) for name in slot}
        self.past_bytes += _weight_of(slot)
        edge = (now - self.kept) // self.width
        while self.past and (
            (first := next(iter(self.past))) < edge or self.past_bytes > self.limit
        ):
            self.past_bytes -= _weight_of(self.past.pop(first))
            self.sums.pop(first, None)
            self.cut = first + 1

    def oldest(self, since: float) -> float:
        """Return the index of the oldest slot that is whole, where counting began at `since`."""
        return max(since // self.width, self.cut)

    def slot(self, index: float) -> dict[Name, Cells]:
        """Return what was counted in a slot that is over, by name."""
        if index in self.closed:
            return {name: dict(_unpack(cells)) for name, cells in self.closed[index].items()}
        return {name: _unpack_past(cells) for name, cells in self.past.get(index, {}).items()}

    def cells_of(self, index: float, name: Name | None) -> Cells:
        """Return what was counted for a name in a slot that is over, or for all."""
        if name is not None:
            if index in self.closed:
                return dict(_unpack(self.closed[index].get(name, b"")))
            return _unpack_past(self.past.get(index, {}).get(name, b""))
        if index >= self.index:
            return {}
        if index not in self.sums:
            cells: Cells = {}
            self.sums[index] = cells
            for each in self.slot(index).values():
                merge(cells, each)
        return self.sums[index]

    def _look_again(self, name: Name, cell: int, left: Cells) -> None:
        """Find the greatest value of a cell among the slots that are left."""
        before, most = left.pop(cell, None), -math.inf
        for packed in reversed(self.closed.values()):
            numbers, values = _halves(packed.get(name, b""))
            if cell in numbers:
                left[cell] = most = max(most, values[numbers.index(cell)])
                if most == before:
                    return

    def fold(self, name: Name) -> None:
        """Count what `name` has for the others."""
        self.ahead = None
        for table in self.tables():
            _add(table, self.others, table.pop(name, {}))
        for packed in self.closed.values():
            if name in packed:
                _repack(packed, self.others, dict(_unpack(packed.pop(name))))

    def tables(self) -> tuple[dict[Name, Cells], dict[Name, Cells]]:
        return self.open, self.total

    def cells(self) -> int:
        return sum(map(len, self.open.values())) + sum(map(len, self.total.values()))


def _weight_of(slot: Mapping[Name, bytes]) -> int:
    names = (name if isinstance(name, tuple) else (str(name),) for name in slot)
    texts = sum(sum(map(len, parts)) for parts in names)
    return texts + sum(map(len, slot.values())) + _ENTRY_BYTES * len(slot)


def _add_all(table: dict[Name, Cells], other: Mapping[Name, Cells]) -> None:
    """Add what `other` counted; it stays as it is."""
    for name, cells in other.items():
        _add(table, name, cells if name in table else dict(cells))


def _add(table: dict[Name, Cells], name: Name, cells: Cells) -> None:
    """Add `cells`, which become the table's own, to those of `name`; leave out what has none."""
    into = table.get(name)
    if into is not None:
        merge(into, cells)
        if not into:
            del table[name]
    elif cells:
        table[name] = cells


def merge(into: Cells, cells: Cells) -> None:
    """Add `cells` to others; what comes to nothing is left out."""
    for cell, value in cells.items():
        if cell < 0:
            into[cell] = max(value, into.get(cell, value))
        elif total := into.get(cell, 0) + value:
            into[cell] = total
        else:
            into.pop(cell, None)


def _repack(packed: dict[Name, bytes], name: Name, cells: Cells) -> None:
    """Add `cells` to those of `name` in a slot that is over."""
    counted = dict(_unpack(packed.pop(name, b"")))
    merge(counted, cells)
    if counted:
        packed[name] = _pack(counted)


def _pack(cells: Cells) -> bytes:
    return array("i", cells).tobytes() + array("d", cells.values()).tobytes()


def _unpack(packed: bytes) -> Iterator[tuple[int, float]]:
    numbers, values = _halves(packed)
    return zip(numbers, values.tolist(), strict=True)


def _pack_past(cells: Cells) -> bytes:
    # In half the room: counts up to 16 million are exact.
    return array("h", cells).tobytes() + array("f", cells.values()).tobytes()


def _unpack_past(packed: bytes) -> Cells:
    end = len(packed) // 3
    numbers, values = memoryview(packed)[:end].cast("h"), memoryview(packed)[end:].cast("f")
    return dict(zip(numbers.tolist(), values.tolist(), strict=True))


def _halves(packed: bytes) -> tuple[list[int], "memoryview[float]"]:
    end = len(packed) // _PACKED_BYTES * _NUMBER_BYTES
    numbers = memoryview(packed)[:end].cast("i").tolist()
    return numbers, memoryview(packed)[end:].cast("d")
