"""What was counted in a window for one name, as figures to show."""

from collections.abc import Mapping
from typing import Final

from evtools.state.statistics.cells import (
    EVENTS,
    FAILED,
    PUBLISHED,
    RECEIVED,
    RETRIED,
    RUN,
    STATES,
    SUCCEEDED,
    WAIT,
    WORKER,
)
from evtools.state.statistics.quantiles import Quantiles, quantiles
from evtools.state.statistics.windows import Cells

#: Under this name stands what exceeded the bounds.
OTHERS: Final = "(others)"
#: Under this name stands what nobody named: we have not seen the event that does.
UNKNOWN: Final = "(unknown)"


class _Row:
    """Counts over `seconds`, and what can be worked out of them.

    Rates are per second.  Quantiles are worked out when they are asked for:
    of a thousand rows a screen shows thirty.
    """

    __slots__ = ("_cells", "name", "seconds")

    def __init__(self, name: str, cells: Cells, seconds: float) -> None:
        self.name = name
        self.seconds = seconds
        self._cells = cells

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {self.counts}>"

    @property
    def counts(self) -> Mapping[str, int]:
        """How many tasks were received, started, succeeded, failed, ..."""
        return {name: self._count(cell) for name, cell in STATES.items()}

    @property
    def failure_share(self) -> float | None:
        """Which share (0 to 1) of the completed tasks failed; None if none were."""
        completed = self._count(SUCCEEDED, FAILED)
        return self._count(FAILED) / completed if completed else None

    @property
    def run(self) -> Quantiles:
        """How long tasks ran, whether they succeeded or failed."""
        return quantiles(self._cells, RUN)

    @property
    def wait(self) -> Quantiles:
        """How long tasks waited from their sending to their start."""
        return quantiles(self._cells, WAIT)

    def _count(self, *cells: int) -> int:
        return int(sum(self._cells.get(cell, 0) for cell in cells))

    def _rate(self, *cells: int) -> float:
        return self._count(*cells) / self.seconds


class TypeStatistics(_Row):
    """The tasks of one type; `running` of them at this moment."""

    __slots__ = ("running",)

    def __init__(self, name: str, cells: Cells, seconds: float, running: int) -> None:
        super().__init__(name, cells, seconds)
        self.running = running

    @property
    def rate(self) -> float:
        """Tasks completed per second, well or not."""
        return self._rate(SUCCEEDED, FAILED)


class WorkerStatistics(_Row):
    """The tasks that one worker ran."""

    __slots__ = ()

    @property
    def completed_rate(self) -> float:
        """Tasks completed per second, well or not."""
        return self._rate(SUCCEEDED, FAILED)

    @property
    def ok_rate(self) -> float:
        """Tasks that succeeded per second."""
        return self._rate(SUCCEEDED)

    @property
    def failed_rate(self) -> float:
        """Tasks that failed per second."""
        return self._rate(FAILED)


class QueueStatistics(_Row):
    """The tasks that went through one queue.

    `backlog` is how many were published since we listen and not received
    yet, None if that cannot be known; `backlog_reason` says why it is not, or
    not exactly.
    """

    __slots__ = ("backlog", "backlog_reason")

    def __init__(
        self, name: str, cells: Cells, seconds: float, backlog: int | None, backlog_reason: str = ""
    ) -> None:
        super().__init__(name, cells, seconds)
        self.backlog = backlog
        self.backlog_reason = backlog_reason

    @property
    def published(self) -> int:
        """How many tasks were sent to it."""
        return self._count(PUBLISHED)

    @property
    def received(self) -> int:
        """How many tasks were received from it."""
        return self._count(RECEIVED)

    @property
    def published_rate(self) -> float:
        """Tasks sent to it per second."""
        return self._rate(PUBLISHED)

    @property
    def received_rate(self) -> float:
        """Tasks received from it per second."""
        return self._rate(RECEIVED)

    @property
    def consumers(self) -> int:
        """How many workers received from it in the window."""
        return sum(cell >= WORKER for cell in self._cells)


class Totals(_Row):
    """All tasks and events of the cluster."""

    __slots__ = ()

    @property
    def event_rate(self) -> float:
        """Events per second, of any kind."""
        return self._rate(EVENTS)

    @property
    def ok_rate(self) -> float:
        """Tasks that succeeded per second."""
        return self._rate(SUCCEEDED)

    @property
    def fail_rate(self) -> float:
        """Tasks that failed per second."""
        return self._rate(FAILED)

    @property
    def retry_rate(self) -> float:
        """Attempts per second that are to be tried again."""
        return self._rate(RETRIED)
