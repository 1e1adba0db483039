"""Queues: what goes in, what comes out, what waits."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from evtools.filters import quote
from evtools.state import OTHERS, UNKNOWN, Statistics
from evtools.text import human_count
from evtools.top.cells import count_column, duration_column, name_column, rate_column
from evtools.top.columns import UNKNOWN as NOT_KNOWN
from evtools.top.columns import Column, Lens
from evtools.top.listing import Listing
from evtools.transport.queues import Depth

_NO_DEPTH: Final = Depth(None)
_NO_EVENT: Final = "no event names it"


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue at one moment: what events tell, and what the broker told."""

    name: str
    consumers: int | None
    published_rate: float | None
    received_rate: float | None
    backlog: int | None
    backlog_reason: str
    wait_p95: float | None
    depth: int | None
    depth_reason: str

    def get(self, name: str) -> Any:
        """Return what is called so, None if nothing is."""
        return getattr(self, name, None)


def _backlog(row: QueueRow, _: Lens) -> str:
    return _doubtful(row.backlog, row.backlog_reason)


def _depth(row: QueueRow, _: Lens) -> str:
    return _doubtful(row.depth, row.depth_reason)


def _doubtful(number: int | None, reason: str) -> str:
    """Return a number, and what is to be known of it."""
    if number is None:
        return f"? {reason}" if reason else NOT_KNOWN
    return f"{human_count(number)} {reason}" if reason else human_count(number)


_COLUMNS: Final = (
    name_column("name", "NAME", "the queue", lambda row, _: row.name, cols=16),
    count_column(
        "consumers", "CONSUMERS", "workers that received from it", lambda row, _: row.consumers
    ),
    rate_column(
        "published", "PUBLISHED", "sent to it per second", lambda row, _: row.published_rate
    ),
    rate_column(
        "received", "RECEIVED", "received from it per second", lambda row, _: row.received_rate
    ),
    duration_column(
        "wait_p95", "WAIT p95", "95 % waited no longer for their start", lambda row, _: row.wait_p95
    ),
)
_DEPTH: Final = count_column(
    "depth",
    "DEPTH",
    "messages that the broker has ready",
    lambda row, _: row.depth,
    tell=_depth,
    align="left",
    cols=8,
    flex=1,
    max_cols=40,
)
_BACKLOG: Final = count_column(
    "backlog",
    "BACKLOG",
    "sent and not received yet, as far as events tell",
    lambda row, _: row.backlog,
    tell=_backlog,
    align="left",
    cols=12,
    flex=2,
    max_cols=80,
)
COLUMNS: Final = (*_COLUMNS, _BACKLOG)
_WITH_DEPTH: Final = (*_COLUMNS, _DEPTH, _BACKLOG)


class QueuesView(Listing):
    """One row for each queue that events or the broker tell of.

    `depths` is what the broker told, empty if it is not asked.
    """

    name = "queues"
    title = "Queues"
    noun = "queues"
    default_sort = "backlog"

    def __init__(self, statistics: Statistics, now: Callable[[], float]) -> None:
        self._statistics = statistics
        self.depths: Mapping[str, Depth] = {}
        super().__init__(now)

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns there are; the depth only if the broker is asked."""
        return _WITH_DEPTH if self.depths else COLUMNS

    def _read(self) -> Iterable[tuple[str, Any]]:
        depths = dict(self.depths)
        for row in self._statistics.queues(self.lens.window, self.lens.now):
            depth = depths.pop(row.name, _NO_DEPTH)
            yield (
                row.name,
                QueueRow(
                    row.name,
                    row.consumers,
                    row.published_rate,
                    row.received_rate,
                    row.backlog,
                    row.backlog_reason,
                    row.wait.p95,
                    depth.messages,
                    depth.reason,
                ),
            )
        for name, depth in depths.items():
            told = (depth.consumers, None, None, None, _NO_EVENT, None)
            yield name, QueueRow(name, *told, depth.messages, depth.reason)

    def drill(self, key: str) -> tuple[str, str] | None:
        """Return the tasks of this queue."""
        if key == UNKNOWN:
            return "tasks", "-has:queue"
        return None if key == OTHERS else ("tasks", f"queue={quote(key)}")

    def values(self, key: str) -> Mapping[str, str]:
        """Return what of a row can be kept or excluded."""
        return {"name": key}
