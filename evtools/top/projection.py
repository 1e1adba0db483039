"""Which of very many subjects are shown, and in what order, kept up to date."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Generic, TypeAlias, TypeVar

from evtools.clock import Clock

S = TypeVar("S")

#: What a subject is sorted by; compared with others of the same projection only.
Order: TypeAlias = tuple[Any, ...]
Matches: TypeAlias = Callable[[Any], bool]

#: How long one refresh may spend on asking a filter about what is there already.
BUDGET: Final = 0.02
#: So many subjects are asked between two looks at the clock.
_STRIDE: Final = 64
#: Changes that wait for a refresh are looked through when there are more.
_CHANGES_MAX: Final = 50_000


class Projection(Generic[S]):
    """The subjects that match a filter, newest first or sorted.

    `take` notes a change and costs next to nothing; `refresh` works off what
    was noted.  A new filter or order is applied to the newest first and, as the
    `BUDGET` of each refresh allows, to all others; until then those that are
    not sorted come last, and `waiting` tells how many are left.  The result
    never depends on the way that led to it, once none is left.

    `is_alive(key, subject)` tells whether a subject still exists.
    """

    def __init__(self, clock: Clock, is_alive: Callable[[str, S], bool]) -> None:
        self._clock = clock
        self._is_alive = is_alive
        #: All subjects; what changed last comes last.
        self.subjects: dict[str, S] = {}
        #: How many subjects have come into view so far.
        self.arrived = 0
        self._changes: dict[str, S] = {}
        self._changes_max = _CHANGES_MAX
        self._matches: Matches | None = None
        self._drifts = False
        self._again = False
        self._shown: set[str] = set()
        self._backlog: list[str] = []
        self._order: Callable[[S], Order] | None = None
        self._descending = False
        self._moves: Callable[[S], bool] | None = None
        self._entries: list[Any] = []
        #: What is not in its place: keys of the sort's backlog, newest last.
        self._unplaced: dict[str, None] = {}
        self._moving: set[str] = set()

    @property
    def waiting(self) -> int:
        """How many subjects have not been filtered or sorted yet."""
        unasked = 0 if self._again else len(self._backlog)
        return max(unasked, len(self._unplaced))

    def take(self, key: str, subject: S) -> None:
        """Note that a subject is new or has changed."""
        self._changes.pop(key, None)
        self._changes[key] = subject
        if len(self._changes) > self._changes_max:
            self._forget_changes()

    def substitute(self, key: str, subject: S) -> bool:
        """Put another object in the place of a subject; False if there is none."""
        if key not in self.subjects:
            return False
        self.subjects[key] = subject
        return True

    def set_filter(self, matches: Matches | None, *, drifts: bool = False) -> None:
        """Show only what matches.

        `drifts` says that the answer may change while a subject does not: with
        time.  Such a filter is asked again and again.
        """
        self._matches, self._drifts, self._again = matches, drifts, False
        self._shown.clear()
        self._backlog = list(self.subjects) if matches else []
        self._place_anew()

    def sort(
        self,
        order: Callable[[S], Order] | None,
        *,
        descending: bool = False,
        moves: Callable[[S], bool] | None = None,
    ) -> None:
        """Sort by what `order` makes of a subject, or newest first.

        `moves` tells for which subjects that changes while they do not.  Orders
        must differ by themselves where the result is not to depend on keys.
        """
        self._order, self._descending, self._moves = order, descending, moves
        self._place_anew()

    def _place_anew(self) -> None:
        self._entries.clear()
        self._moving.clear()
        self._unplaced = dict.fromkeys(self._visible()) if self._order else {}

    # --- working off what was noted ---------------------------------------------

    def refresh(self) -> None:
        """Take in what changed, and ask the filter about some of what was there."""
        changes, self._changes = self._changes, {}
        self._changes_max = max(_CHANGES_MAX, 2 * len(self.subjects))
        for key, subject in changes.items():
            if self.subjects.pop(key, None) is None and self._matches is None:
                self.arrived += 1
            self.subjects[key] = subject
            self._ask(key, subject)
        if self._drifts and not self._backlog:
            self._backlog, self._again = list(self.subjects), True
        self.work_off()

    def _ask(self, key: str, subject: S) -> None:
        self._touch(key)
        if self._matches is None:
            return
        if not self._matches(subject):
            self._shown.discard(key)
        elif key not in self._shown:
            self._shown.add(key)
            self.arrived += 1

    def work_off(self) -> None:
        """Ask the filter about some of what it has not been asked about."""
        backlog, deadline = self._backlog, self._clock.monotonic() + BUDGET
        while backlog and self._clock.monotonic() <= deadline:
            for key in reversed(backlog[-_STRIDE:]):
                if key in self.subjects:
                    self._ask_again(key)
            del backlog[-_STRIDE:]

    def _ask_again(self, key: str) -> None:
        assert self._matches is not None
        shown = self._matches(self.subjects[key])
        if shown is not (key in self._shown):
            (self._shown.add if shown else self._shown.discard)(key)
            self._touch(key)

    def _touch(self, key: str) -> None:
        """Note that a subject has to be placed anew."""
        if self._order is not None:
            self._unplaced.pop(key, None)
            self._unplaced[key] = None

    def purge(self, dead: Iterable[str]) -> None:
        """Let go of subjects that exist no more."""
        dead = set(dead)
        for key in dead:
            del self.subjects[key]
            self._touch(key)
        self._shown -= dead

    def _forget_changes(self) -> None:
        self._changes = {
            key: subject
            for key, subject in self._changes.items()
            if self._is_alive(key, subject)
        }
        self._changes_max = max(self._changes_max, 2 * len(self._changes))

    # --- what is shown ------------------------------------------------------------

    def keys(self) -> list[str]:
        """Return the keys of what is shown, first row first."""
        if self._order is not None:
            return self._sorted(self._order)
        keys = self._visible()
        keys.reverse()
        return keys

    def _visible(self) -> list[str]:
        if self._matches is None:
            return list(self.subjects)
        shown = self._shown
        return [key for key in self.subjects if key in shown]

    def _sorted(self, order: Callable[[S], Order]) -> list[str]:
        """Return the keys in order; only what was touched is placed anew.

        list.sort finds by itself that most of it is sorted, and merges the rest.
        """
        unplaced = self._unplaced
        for key in self._moving:
            unplaced[key] = None
        if not unplaced:
            return [entry[-1] for entry in self._entries]
        kept = [entry for entry in self._entries if entry[-1] not in unplaced]
        fresh = list(self._placed(order))
        if fresh:
            fresh.sort(reverse=self._descending)
            kept += fresh
            kept.sort(reverse=self._descending)
        self._entries = kept
        keys = [entry[-1] for entry in kept]
        keys += [key for key in reversed(unplaced) if self._is_shown(key)]
        return keys

    def _placed(self, order: Callable[[S], Order]) -> Iterator[tuple[Any, ...]]:
        """Yield what was not in its place, newest first, as long as time allows."""
        unplaced, deadline = self._unplaced, self._clock.monotonic() + BUDGET
        while unplaced and self._clock.monotonic() <= deadline:
            for _ in range(min(_STRIDE, len(unplaced))):
                key, _ = unplaced.popitem()
                self._moving.discard(key)
                if not self._is_shown(key):
                    continue
                subject = self.subjects[key]
                if self._moves is not None and self._moves(subject):
                    self._moving.add(key)
                yield *order(subject), key

    def _is_shown(self, key: str) -> bool:
        if self._matches is None:
            return key in self.subjects
        return key in self._shown
