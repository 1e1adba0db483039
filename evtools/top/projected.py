"""Tables of very many subjects, kept up to date by a index."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from evtools.clock import Clock
from evtools.filters import Filter
from evtools.top.index import LiveIndex, Matches, Order
from evtools.top.table import TableModel

S = TypeVar("S")


class ProjectedTable(TableModel, Generic[S]):
    """A table whose subjects are told of as they change, newest last."""

    def __init__(self, clock: Clock, now: Callable[[], float]) -> None:
        self._index: LiveIndex[S] = LiveIndex(clock, self._is_alive)
        self._filter_in_force: Filter | None = None
        self._order_in_force: tuple[str, bool] | None = None
        super().__init__(now)

    @abstractmethod
    def _is_alive(self, key: str, subject: S) -> bool:
        """Return whether a subject is still remembered."""

    @abstractmethod
    def _order(self) -> Order | None:
        """Return what the table sorts by now, None for the order of change."""

    def _matches_of(self, chosen: Filter) -> Matches:
        """Return the test that a filter makes of subjects."""
        return chosen.matches

    @property
    def total(self) -> int:
        """How many rows there are without a filter."""
        return len(self._index.subjects)

    @property
    def arrived(self) -> int:
        """How many rows have come in so far."""
        return self._index.arrived

    @property
    def waiting(self) -> int:
        """How many rows the filter has not been asked about yet."""
        return self._index.waiting

    def subject(self, key: str) -> S | None:
        """Return what a row is about, None if that has been forgotten."""
        return self._index.subjects.get(key)

    def _gather(self) -> None:
        """Note what happened, if nobody told."""

    @property
    def lagging(self) -> bool:
        """Whether the last refresh had no time for all, and `work` can go on."""
        return bool(self.waiting)

    def work(self) -> None:
        """Go on with what the last refresh had no time for."""
        self._index.work()
        # The list is made as a whole: that would take longer than the work.
        if not self.waiting and (self.frozen or not self.cursor.held):
            self._arrange()

    def catch_up(self) -> None:
        """Take in what happened, while something else is on the screen."""
        if not self.frozen:
            self._gather()
            self._index.refresh()
            self.marks = {key for key in self.marks if self.subject(key) is not None}

    def _load(self) -> None:
        self.catch_up()

    def _arranged(self) -> Sequence[str]:
        index, first = self._index, self.focus_key
        if self._order_in_force != (self.sort_key, self.reverse):
            self._order_in_force = (self.sort_key, self.reverse)
            moves = self._column(self.sort_key).moves
            index.sort(self._order(), descending=self.reverse, moves=moves, first=first)
            index.work()
        if self._filter_in_force is not self.filter:
            self._filter_in_force = chosen = self.filter
            matches = self._matches_of(chosen) if chosen is not None else None
            drifts = chosen is not None and chosen.drifts
            index.set_filter(matches, drifts=drifts, first=first)
            index.work()
        return index.keys()
