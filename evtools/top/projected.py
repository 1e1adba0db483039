"""Tables of very many subjects, kept up to date by a projection."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

from evtools.clock import Clock
from evtools.filters import Filter
from evtools.top.projection import Matches, Order, Projection
from evtools.top.table import TableModel

S = TypeVar("S")


class ProjectedTable(TableModel, Generic[S]):
    """A table whose subjects are told of as they change, newest last."""

    def __init__(self, clock: Clock, now: Callable[[], float]) -> None:
        self._projection: Projection[S] = Projection(clock, self._is_alive)
        self._filter_in_force: Filter | None = None
        self._order_in_force: tuple[str, bool] | None = None
        super().__init__(now)

    @abstractmethod
    def _is_alive(self, key: str, subject: S) -> bool:
        """Return whether a subject is still remembered."""

    @abstractmethod
    def _dead(self) -> Collection[str]:
        """Return the keys of subjects that are remembered no more."""

    @abstractmethod
    def _order(self) -> Callable[[S], Order] | None:
        """Return what the table sorts by now, None for the order of change."""

    def _matches_of(self, chosen: Filter) -> Matches:
        """Return the test that a filter makes of subjects."""
        return chosen.matches

    @property
    def total(self) -> int:
        """How many rows there are without a filter."""
        return len(self._projection.subjects)

    @property
    def arrived(self) -> int:
        """How many rows have come in so far."""
        return self._projection.arrived

    @property
    def waiting(self) -> int:
        """How many rows the filter has not been asked about yet."""
        return self._projection.waiting

    def subject(self, key: str) -> S | None:
        """Return what a row is about, None if that has been forgotten."""
        return self._projection.subjects.get(key)

    def _load(self) -> None:
        self._projection.refresh()
        dead = self._dead()
        if dead:
            self._projection.purge(dead)
            self.marks.difference_update(dead)

    def _arranged(self) -> Sequence[str]:
        projection = self._projection
        if self._order_in_force != (self.sort_key, self.reverse):
            self._order_in_force = (self.sort_key, self.reverse)
            moves = self._column(self.sort_key).moves
            projection.sort(self._order(), descending=self.reverse, moves=moves)
        if self._filter_in_force is not self.filter:
            self._filter_in_force = chosen = self.filter
            matches = self._matches_of(chosen) if chosen is not None else None
            drifts = chosen is not None and chosen.drifts
            projection.set_filter(matches, drifts=drifts)
            projection.work_off()
        elif self.frozen:
            projection.work_off()
        return projection.keys()
