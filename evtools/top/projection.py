"""Which of very many subjects are shown, and in what order, kept up to date."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, islice
from typing import Any, Final, Generic, TypeAlias, TypeVar

from evtools.clock import Clock
from evtools.top.ranking import Entry, Ranking

S = TypeVar("S")

#: Makes what subjects are sorted by: the first thing of each, the second of each, ...
Order: TypeAlias = Callable[[Sequence[Any]], tuple[Sequence[Any], ...]]
Matches: TypeAlias = Callable[[Any], bool]

#: For how long one call works at the most, in seconds: keys are waiting.
BUDGET: Final = 0.008
#: So many subjects are worked on between two looks at the clock.
_STRIDE: Final = 128
#: Changes that wait for a refresh are looked through when there are more.
_CHANGES_MAX: Final = 50_000


class Projection(Generic[S]):
    """The subjects that match a filter, newest first or sorted.

    `take` and `forget` note what happens, and cost next to nothing; `refresh`
    works off what was noted.  What cannot be done within the `BUDGET` is left for
    `work`: `waiting` tells how much that is.  A new filter is asked about the
    newest first, and a new order takes them in first; the others are missing
    until then.  The result never depends on the way that led to it, once
    nothing is left.  What `keys` returns stays as it is until `keys` is asked
    again.

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
        #: Changes that are being taken in, and how many of them are left.
        self._coming: Iterator[tuple[str, S]] = iter(())
        self._coming_left = 0
        #: What exists no more, and what of that is being let go of.
        self._gone: set[str] = set()
        self._going: set[str] = set()
        self._matches: Matches | None = None
        self._drifts = False
        self._again = False
        self._shown: set[str] = set()
        #: The keys of what is shown, newest first, until that changes.
        self._listed: list[str] | None = None
        self._backlog: list[str] = []
        self._order: Order | None = None
        self._descending = False
        self._moves: Callable[[S], bool] | None = None
        self._ranking = Ranking()
        #: The one before, until the next refresh: to free it takes longer than a key
        #: should wait.
        self._former: Ranking | None = None
        #: What is not in its place, newest last: what has changed, and what an
        #: order that is new has not been asked about.
        self._unplaced: dict[str, None] = {}
        #: Keys, and the subjects of them: to look up very many takes its time.
        self._unordered: tuple[list[str], list[S]] = [], []
        #: What leaves its place as time goes by, and what of that is still to be
        #: looked at.
        self._moving: set[str] = set()
        self._movers: list[str] = []

    @property
    def waiting(self) -> int:
        """How many subjects have not been looked at, filtered or sorted yet."""
        unordered = len(self._unordered[0]) + self._ranking.gathered
        return self.unseen + unordered + len(self._unplaced)

    @property
    def unseen(self) -> int:
        """How many of these have not been looked at or filtered yet."""
        unasked = 0 if self._again else len(self._backlog)
        return len(self._going) + self._coming_left + unasked

    @property
    def is_ranked(self) -> bool:
        """Whether there is an order other than that of change."""
        return self._order is not None

    def __contains__(self, key: object) -> bool:
        """Return whether a subject is there and matches."""
        return key in (self.subjects if self._matches is None else self._shown)

    def take(self, key: str, subject: S) -> None:
        """Note that a subject is new or has changed."""
        self._changes.pop(key, None)
        self._changes[key] = subject
        if len(self._changes) > self._changes_max:
            self._forget_changes()

    def forget(self, key: str) -> None:
        """Note that a subject exists no more."""
        self._changes.pop(key, None)
        if key in self.subjects:
            self._gone.add(key)

    def append(self, pairs: Iterable[tuple[str, S]]) -> None:
        """Note subjects that are new and will never change."""
        self._changes.update(pairs)

    def forget_first(self, count: int) -> None:
        """Note that the `count` that changed first exist no more."""
        self._gone.update(islice(self.subjects, count))

    def substitute(self, key: str, subject: S) -> bool:
        """Put another object in the place of a subject; False if there is none."""
        if key not in self.subjects:
            return False
        self.subjects[key] = subject
        if self._unordered[0]:
            self._touch(key)
        return True

    def set_filter(
        self, matches: Matches | None, *, drifts: bool = False, first: str | None = None
    ) -> None:
        """Show only what matches.

        `drifts` says that the answer may change while a subject does not: with
        time.  Such a filter is asked again and again.  `first` is the key that
        it is asked about first.
        """
        self._matches, self._drifts, self._again = matches, drifts, False
        self._shown.clear()
        self._listed = None
        self._backlog = list(self.subjects) if matches else []
        self._place_anew()
        if matches:
            self._unordered = [], []
            if first in self.subjects:
                self._ask_again(first)

    def sort(
        self,
        order: Order | None,
        *,
        descending: bool = False,
        moves: Callable[[S], bool] | None = None,
        first: str | None = None,
    ) -> None:
        """Sort by what `order` makes of subjects, or newest first.

        `moves` tells for which subjects that changes while they do not.  What it
        makes must differ where the result is not to depend on keys.
        `first` is the key that is placed first.
        """
        self._order, self._descending, self._moves = order, descending, moves
        self._place_anew()
        if order is not None and first is not None and first in self:
            self._gather([first], [self.subjects[first]], order)

    def _place_anew(self) -> None:
        self._former = self._ranking
        self._ranking = Ranking(descending=self._descending)
        self._moving.clear()
        self._movers.clear()
        self._unplaced.clear()
        # To look only at what is shown would take too long here, of very many.
        subjects = self.subjects if self._order is not None else {}
        self._unordered = list(subjects), list(subjects.values())

    # --- working off what was noted ---------------------------------------------

    def refresh(self) -> None:
        """Work off what was noted until now, as far as there is time."""
        self._former = None
        self._begin()
        if self._drifts and not self._backlog:
            self._backlog, self._again = list(self.subjects), True
        if not self._movers:
            self._movers = list(self._moving)
        self.work()

    def settle(self) -> None:
        """Take in all that was noted until now, however long that takes."""
        while self._going or self._coming_left or self._gone or self._changes:
            self._begin()
            self._let_go(len(self._going))
            self._take_some(self._coming_left)

    def _begin(self) -> None:
        if not self._going:
            self._going, self._gone = self._gone, set()
        if not self._coming_left:
            changes, self._changes = self._changes, {}
            self._coming, self._coming_left = iter(changes.items()), len(changes)
            self._changes_max = max(_CHANGES_MAX, 2 * len(self.subjects))

    def work(self) -> None:
        """Take in some of what has changed, and ask the filter about some."""
        for _ in self._in_time():
            if self._going:
                self._let_go(_STRIDE)
            elif self._coming_left:
                self._take_some(_STRIDE)
            elif self._backlog:
                self._ask_some()
            else:
                break

    def _in_time(self) -> Iterator[None]:
        """Yield as long as there is time, and once at least."""
        deadline = self._clock.monotonic() + BUDGET
        yield
        while self._clock.monotonic() <= deadline:
            yield

    def _take_some(self, count: int) -> None:
        for key, subject in islice(self._coming, count):
            self._coming_left -= 1
            if self._is_alive(key, subject):
                self._take_one(key, subject)

    def _take_one(self, key: str, subject: S) -> None:
        if self.subjects.pop(key, None) is None and self._matches is None:
            self.arrived += 1
        self.subjects[key] = subject
        self._listed = None
        self._touch(key)
        if self._matches is None:
            return
        if not self._matches(subject):
            self._shown.discard(key)
        elif key not in self._shown:
            self._shown.add(key)
            self.arrived += 1

    def _ask_some(self) -> None:
        for key in reversed(self._backlog[-_STRIDE:]):
            if key in self.subjects:
                self._ask_again(key)
        del self._backlog[-_STRIDE:]

    def _ask_again(self, key: str) -> None:
        assert self._matches is not None
        subject = self.subjects[key]
        shown = self._matches(subject)
        if shown is not (key in self._shown):
            (self._shown.add if shown else self._shown.discard)(key)
            self._listed = None
            if self._order is not None and shown:
                self._unordered[0].append(key)
                self._unordered[1].append(subject)
            else:
                self._touch(key)

    def _touch(self, key: str) -> None:
        """Note that a subject has to be placed anew."""
        if self._order is not None:
            self._unplaced.pop(key, None)
            self._unplaced[key] = None

    def _let_go(self, count: int) -> None:
        """Let go of some subjects that exist no more."""
        for _ in range(min(count, len(self._going))):
            key = self._going.pop()
            subject = self.subjects.get(key)
            # There may be another one of that key by now.
            if subject is not None and not self._is_alive(key, subject):
                del self.subjects[key]
                self._shown.discard(key)
                self._listed = None
                self._touch(key)

    def _forget_changes(self) -> None:
        self._changes = {
            key: subject for key, subject in self._changes.items() if self._is_alive(key, subject)
        }
        self._changes_max = max(self._changes_max, 2 * len(self._changes))

    # --- what is shown ------------------------------------------------------------

    def keys(self) -> Sequence[str]:
        """Return the keys of what is shown, first row first."""
        if self._order is not None:
            self._place(self._order)
            return self._ranking
        if self._listed is None:
            self._listed = self._visible()
        return self._listed

    def _visible(self) -> list[str]:
        newest_first = reversed(self.subjects)
        if self._matches is None:
            return list(newest_first)
        shown = self._shown
        return [key for key in newest_first if key in shown]

    def _place(self, order: Order) -> None:
        """Place what is not in its place, as long as time allows, newest first.

        First what a new order has not been asked about, of which some are to be seen
        at once; with the time that is left, look at what moves by itself.
        """
        ranking, (keys, subjects) = self._ranking, self._unordered
        for _ in self._in_time():
            if keys:
                self._gather(keys[-_STRIDE:], subjects[-_STRIDE:], order)
                del keys[-_STRIDE:], subjects[-_STRIDE:]
            elif ranking.gathered:
                ranking.place_gathered()
            elif not self._place_some(order):
                break
        if not len(ranking):
            ranking.place_gathered()

    def _gather(self, keys: list[str], subjects: list[S], order: Order) -> None:
        """Ask the order about subjects; what has changed since is placed later."""
        if self._matches is not None:
            shown = [key in self._shown for key in keys]
            keys = list(compress(keys, shown))
            subjects = list(compress(subjects, shown))
        self._ranking.gather(keys, self._entries(keys, subjects, order))

    def _entries(self, keys: list[str], subjects: list[S], order: Order) -> list[Entry]:
        """Return what subjects are ranked by, and note which of them move."""
        if self._moves is not None:
            self._moving.update(compress(keys, map(self._moves, subjects)))
        return list(zip(*order(subjects), keys, strict=True))

    def _place_some(self, order: Order) -> bool:
        """Place some of what has changed or moves; return whether there was any."""
        asked = list(islice(reversed(self._unplaced), _STRIDE))
        for key in asked:
            del self._unplaced[key]
        if not asked:
            asked = self._movers[-_STRIDE:]
            del self._movers[-_STRIDE:]
        self._moving.difference_update(asked)
        keys = [key for key in asked if key in self]
        for key in asked:
            if key not in self:
                self._ranking.drop(key)
        subjects = [self.subjects[key] for key in keys]
        for entry in self._entries(keys, subjects, order):
            self._ranking.place(entry)
        return bool(asked)
