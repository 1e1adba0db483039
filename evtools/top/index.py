"""Which of very many subjects are shown, and in what order, kept up to date."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, islice
from operator import length_hint
from typing import Any, Final, TypeAlias

from evtools.clock import Clock

#: Returns the values that subjects are sorted by, which can be compared with each other.
Order: TypeAlias = Callable[[Sequence[Any]], Iterable[Any]]
Matches: TypeAlias = Callable[[Any], bool]

#: How long one call works at most, in seconds: keys are waiting.
BUDGET: Final = 0.008
#: How many subjects are worked on between two looks at the clock.
_STRIDE: Final = 1024


class LiveIndex:
    """The subjects that match a filter, newest first or sorted; of equals, the newest first.

    `take` and `forget` note what happens, and cost next to nothing; `refresh` works off what
    was noted.  What cannot be done within the `BUDGET` is left for `work`: `waiting` is how
    much that is.  A new filter and a new order take in the newest first; the others are
    missing until then.  The result never depends on the way that led to it, once nothing is
    left.  No more is noted than there are subjects, if each that ends is forgotten.

    To sort, the value of each subject is kept, and the whole list is sorted by these
    whenever `keys` finds that something has changed.  That costs 8 to 20 ms for 80 000
    subjects, and a change nothing.  A sorted list in which keys are moved, as that of
    sortedcontainers, costs 5 us a change, but 40 ms to make: a key would wait for that.

    `is_alive(key, subject)` says whether a subject still exists.
    """

    def __init__(self, clock: Clock, is_alive: Callable[[str, Any], bool]) -> None:
        self._clock = clock
        self._is_alive = is_alive
        #: All subjects; the one that changed last comes last.  Always the same dictionary.
        self.subjects: dict[str, Any] = {}
        #: How many subjects have come into view so far.
        self.arrived = 0
        #: What was noted, None for what may be gone; and what of that is being applied.
        self._changes: dict[str, Any | None] = {}
        self._coming: Iterator[tuple[str, Any | None]] = iter({}.items())
        self._matches: Matches | None = None
        self._drifts = False
        self._shown: set[str] = set()
        #: Keys that the filter is to be asked about, newest last; and whether it was before.
        self._backlog: list[str] = []
        self._again = False
        self._order: Order | None = None
        self._descending = False
        self._moves: Callable[[Any], bool] | None = None
        #: What subjects sort by; keys of those that have changed since; and the keys and
        #: subjects for which it is being worked out, newest last.
        self._values: dict[str, Any] = {}
        self._unvalued: dict[str, None] = {}
        self._valuing: tuple[list[str], list[Any]] = [], []
        #: Keys of subjects whose value changes with time, and those to be looked at now.
        self._moving: set[str] = set()
        self._movers: list[str] = []
        #: The keys of what is shown, whether they are still those, and whether they can stay
        #: until all has been worked off: to list very many twice takes twice as long.
        self._listed: list[str] | None = None
        self._stale = False
        self._can_wait = False

    @property
    def waiting(self) -> int:
        """How many subjects have not been looked at, filtered or sorted yet."""
        unasked = 0 if self._again else len(self._backlog)
        return length_hint(self._coming) + unasked + len(self._unvalued) + len(self._valuing[0])

    def __contains__(self, key: object) -> bool:
        """Return whether a subject is there and matches."""
        return key in (self.subjects if self._matches is None else self._shown)

    def take(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Note subjects that are new or have changed, with their keys; the newest last."""
        changes = self._changes
        for key, subject in pairs:
            changes.pop(key, None)
            changes[key] = subject

    def forget(self, keys: Iterable[str]) -> None:
        """Note that subjects exist no more."""
        for key in keys:
            self._changes.pop(key, None)
            if key in self.subjects:
                self._changes[key] = None

    def substitute(self, key: str, subject: Any) -> None:
        """Put another object in the place of a subject that is there."""
        self.subjects[key] = subject
        self._stale = True
        if self._order is not None:
            self._unvalued[key] = None

    def set_filter(
        self, matches: Matches | None, *, drifts: bool = False, first: str | None = None
    ) -> None:
        """Show only what matches; the key `first` is looked at first.

        A filter that `drifts` may answer otherwise while a subject stays: it is asked again.
        """
        self._matches, self._drifts, self._again = matches, drifts, False
        self._shown.clear()
        self._listed = None
        self._backlog = list(self.subjects) if matches else []
        if matches is not None and first in self.subjects:
            self._ask(matches, [first])

    def sort(
        self,
        order: Order | None,
        *,
        descending: bool = False,
        moves: Callable[[Any], bool] | None = None,
        first: str | None = None,
    ) -> None:
        """Sort by what `order` returns for subjects, `first` first; newest first if it is None.

        `moves` says for which subjects that changes while they do not.
        """
        self._order, self._descending, self._moves = order, descending, moves
        self._listed = None
        self._values, self._unvalued, self._moving, self._movers = {}, {}, set(), []
        self._valuing = [], []
        if order is not None:
            self._valuing = keys, subjects = list(self.subjects), list(self.subjects.values())
            if first is not None and first in self.subjects:
                keys.append(first)
                subjects.append(self.subjects[first])
            self._value_some(order)

    # --- working off what was noted ---------------------------------------------

    def refresh(self) -> None:
        """Work off what was noted until now, as far as there is time."""
        self._can_wait = not self.waiting
        self._begin()
        if self._drifts and not self._backlog:
            self._backlog, self._again = list(self.subjects), True
        if not self._movers:
            self._movers = list(self._moving)
        self.work()

    def settle(self) -> None:
        """Take in all that was noted until now, however long that takes."""
        self._take_some(None)
        self._begin()
        self._take_some(None)

    def _begin(self) -> None:
        if not length_hint(self._coming):
            self._coming, self._changes = iter(self._changes.items()), {}

    def work(self) -> None:
        """Take in some of what has changed, ask the filter, and work out values."""
        deadline = self._clock.monotonic() + BUDGET
        while self._work_some() and self._clock.monotonic() <= deadline:
            pass

    def _work_some(self) -> bool:
        # Do some of what is to be done next; return whether there was anything.
        if length_hint(self._coming):
            self._take_some(_STRIDE)
        elif self._backlog and self._matches is not None:
            some = self._backlog[-_STRIDE:]
            del self._backlog[-_STRIDE:]
            self._ask(self._matches, reversed(some))
        elif self._order is None:
            return False
        else:
            if not self._valuing[0]:
                some = list(self._unvalued) or self._movers[-_STRIDE:]
                if not some:
                    return False
                if not self._unvalued:
                    del self._movers[-_STRIDE:]
                    self._moving.difference_update(some)
                self._unvalued.clear()
                keys = [key for key in some if key in self.subjects]
                self._valuing = keys, [self.subjects[key] for key in keys]
            self._value_some(self._order)
        return True

    def _take_some(self, count: int | None) -> None:
        subjects, shown, matches = self.subjects, self._shown, self._matches
        self._stale = True
        for key, subject in islice(self._coming, count):
            if subject is None:
                # There may be another one of that key by now.
                there = subjects.get(key)
                if there is not None and not self._is_alive(key, there):
                    del subjects[key]
                    shown.discard(key)
                    self._values.pop(key, None)
            elif self._is_alive(key, subject):
                was_there = subjects.pop(key, None) is not None
                subjects[key] = subject
                if self._order is not None:
                    self._unvalued[key] = None
                if matches is not None:
                    was_there = key in shown
                    if not matches(subject):
                        shown.discard(key)
                        continue
                    shown.add(key)
                self.arrived += not was_there

    def _ask(self, matches: Matches, keys: Iterable[str]) -> None:
        subjects, shown = self.subjects, self._shown
        for key in keys:
            subject = subjects.get(key)
            if subject is not None and matches(subject) is not (key in shown):
                shown.symmetric_difference_update((key,))
                self._stale = True

    def _value_some(self, order: Order) -> None:
        # Newest first, in case the others have to wait.
        waiting, there = self._valuing
        keys, subjects = waiting[: -_STRIDE - 1 : -1], there[: -_STRIDE - 1 : -1]
        del waiting[-_STRIDE:], there[-_STRIDE:]
        self._values.update(zip(keys, order(subjects), strict=True))
        self._stale = True
        if self._moves is not None:
            self._moving.update(compress(keys, map(self._moves, subjects)))

    def keys(self) -> Sequence[str]:
        """Return the keys of what is shown, first row first; it is never changed later."""
        if self._listed is None or (self._stale and not (self.waiting and self._can_wait)):
            self._stale = False
            # Of most there may be no value yet: those that have one stand newest first.
            few = self._order is not None and 2 * len(self._values) < len(self.subjects)
            keys = list(self._values) if few else list(reversed(self.subjects))
            if self._matches is not None:
                keys = list(filter(self._shown.__contains__, keys))
            if self._order is not None:
                if self._valuing[0] or self._unvalued:
                    keys = list(filter(self._values.__contains__, keys))
                keys.sort(key=self._values.__getitem__, reverse=self._descending)
            self._listed = keys
        return self._listed
