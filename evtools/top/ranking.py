"""Keys in the order of what they are ranked by, of which few change at a time."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, chain, islice
from operator import itemgetter
from typing import Any, Final, TypeAlias, overload

#: What a key is ranked by, and the key; compared with others of the same ranking.
Entry: TypeAlias = tuple[Any, ...]

#: A part that is twice as long is halved.
_PART: Final = 1000
#: Less than this share of all, when gathered, is put in key by key.
_FEW: Final = 1 / 50


class Ranking(Sequence[str]):
    """A sequence of keys that costs little to keep in order, however long it is.

    It is a list of short sorted lists: to put a key in its place moves as much
    memory as a short one has.  Very many are gathered and then sorted at once, which
    takes a fraction of the time.  Of those that rank the same, keys decide.
    """

    def __init__(self, *, descending: bool = False) -> None:
        self._descending = descending
        self._entries: dict[str, Entry] = {}
        #: In rising order, none of them empty; and the last entry of each.
        self._parts: list[list[Entry]] = []
        self._lasts: list[Entry] = []
        self._gathered: dict[str, Entry] = {}
        #: How many entries there are up to the end of each part, if worked out.
        self._ends: list[int] = []

    def place(self, entry: Entry) -> None:
        """Put a key where it belongs."""
        key = entry[-1]
        before = self._entries.get(key)
        if before == entry:
            return
        if before is not None:
            self._take_out(before)
        self._entries[key] = entry
        self._put_in(entry)

    def drop(self, key: str) -> None:
        """Take a key out, if it is there."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._take_out(entry)

    @property
    def gathered(self) -> int:
        """How many keys were gathered and are in no place yet."""
        return len(self._gathered)

    def gather(self, keys: Collection[str], entries: Collection[Entry]) -> None:
        """Take in keys with their entries, to be placed at once."""
        self._gathered.update(zip(keys, entries, strict=True))

    def place_gathered(self) -> None:
        """Put all that was gathered in its place."""
        gathered, self._gathered = self._gathered, {}
        if len(gathered) < len(self._entries) * _FEW:
            for entry in gathered.values():
                self.place(entry)
            return
        # What was gathered is most of all, and takes the place of what was there.
        before = self._entries.items()
        gathered |= [(key, entry) for key, entry in before if key not in gathered]
        self._entries = gathered
        entries = list(gathered.values())
        # Numbers or texts alone are compared at a fifth of the price of tuples, and
        # little is left to do for what follows.
        entries.sort(key=itemgetter(0))
        entries.sort()
        self._parts = [entries[at : at + _PART] for at in range(0, len(entries), _PART)]
        self._lasts = [part[-1] for part in self._parts]
        self._ends.clear()

    def _put_in(self, entry: Entry) -> None:
        self._ends.clear()
        if not self._parts:
            self._parts.append([])
            self._lasts.append(entry)
        at = min(bisect_left(self._lasts, entry), len(self._parts) - 1)
        part = self._parts[at]
        insort(part, entry)
        if len(part) >= 2 * _PART:
            self._parts[at : at + 1] = [part[:_PART], part[_PART:]]
            self._lasts.insert(at, part[_PART - 1])
            at += 1
        self._lasts[at] = self._parts[at][-1]

    def _take_out(self, entry: Entry) -> None:
        self._ends.clear()
        at = bisect_left(self._lasts, entry)
        part = self._parts[at]
        del part[bisect_left(part, entry)]
        if part:
            self._lasts[at] = part[-1]
        else:
            del self._parts[at], self._lasts[at]

    # --- as a sequence ----------------------------------------------------------

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[str]:
        if self._descending:
            entries = chain.from_iterable(map(reversed, reversed(self._parts)))
        else:
            entries = chain.from_iterable(self._parts)
        return (entry[-1] for entry in entries)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if (start, step) == (0, 1):
                return list(islice(self, stop))
            return [self._at(at) for at in range(start, stop, step)]
        return self._at(range(len(self))[index])

    def _at(self, index: int) -> str:
        if self._descending:
            index = len(self) - 1 - index
        ends = self._counted()
        at = bisect_right(ends, index)
        part = self._parts[at]
        key: str = part[index - ends[at] + len(part)][-1]
        return key

    def index(self, key: Any, start: int = 0, stop: int | None = None) -> int:
        """Return the place of a key; raise ValueError where it is not."""
        entry = self._entries.get(key)
        if entry is None:
            raise ValueError(key)
        at = bisect_left(self._lasts, entry)
        part = self._parts[at]
        found = self._counted()[at] - len(part) + bisect_left(part, entry)
        if self._descending:
            found = len(self) - 1 - found
        if found not in range(len(self))[start:stop]:
            raise ValueError(key)
        return found

    def _counted(self) -> list[int]:
        if not self._ends:
            self._ends = list(accumulate(map(len, self._parts)))
        return self._ends
