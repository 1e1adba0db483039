"""Task types: how often, how long, how badly."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from evtools.filters import Kind, quote
from evtools.state import OTHERS, UNKNOWN, Statistics
from evtools.top.cells import (
    count_column,
    duration_column,
    name_column,
    percent,
    percent_column,
    rate_column,
)
from evtools.top.columns import Column, Lens
from evtools.top.listing import Listing
from evtools.top.ui.theme import ASCII, UNICODE

_SPARK_COLS: Final = 12


def _counted(state: str) -> Callable[[Any, float], int]:
    return lambda row, _: row.counts.get(state, 0)


_COLUMNS: Final = (
    name_column("name", "TASK", "the type of task", lambda row, _: row.name, cols=20),
    rate_column("rate", "RATE", "completed per second", lambda row, _: row.rate),
    count_column("ok", "OK", "succeeded", _counted("succeeded"), cols=5),
    percent_column(
        "share",
        "FAIL%",
        "failures among those completed, in per cent",
        lambda row, _: percent(row.failure_share),
    ),
    count_column("failed", "FAIL", "failed", _counted("failed"), from_cols=140),
    count_column("retried", "RETRY", "retries", _counted("retried")),
    count_column("active", "ACTIVE", "running now", lambda row, _: row.running),
    duration_column(
        "wait_p95",
        "WAIT p95",
        "95 % waited no longer for their start",
        lambda row, _: row.wait.p95,
        from_cols=100,
    ),
    duration_column(
        "run_p50", "RUN p50", "50 % ran no longer", lambda row, _: row.run.p50, from_cols=90
    ),
    duration_column("run_p95", "p95", "95 % ran no longer", lambda row, _: row.run.p95),
    duration_column(
        "run_p99", "p99", "99 % ran no longer", lambda row, _: row.run.p99, from_cols=100
    ),
    duration_column(
        "run_max", "MAX", "the longest ran so long", lambda row, _: row.run.max, from_cols=100
    ),
)


def averaged(values: Sequence[float], count: int) -> list[float]:
    """Return `count` values at most: averages of neighbours."""
    size = max(1, -(-len(values) // count))
    parts = [values[start : start + size] for start in range(0, len(values), size)]
    return [sum(part) / len(part) for part in parts]


def _spark(values: Sequence[float], lens: Lens) -> str:
    return (ASCII if lens.ascii else UNICODE).spark(averaged(values, _SPARK_COLS))


class TypesView(Listing):
    """One row for each type of task."""

    name = "types"
    title = "Types"
    noun = "types"
    default_sort = "share"

    def __init__(self, statistics: Statistics, now: Callable[[], float]) -> None:
        self._statistics = statistics
        self._columns = (
            *_COLUMNS,
            Column(
                "trend",
                "RATE 5m",
                "rate over 5 minutes, each row to a scale of its own",
                Kind.OTHER,
                _SPARK_COLS,
                lambda row, now: statistics.trend(row.name, now),
                _spark,
                order=lambda row, _: row.rate,
                from_cols=110,
                descending=True,
            ),
        )
        super().__init__(now)

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns there are, in their order."""
        return self._columns

    def _read(self) -> Iterable[tuple[str, Any]]:
        rows = self._statistics.types(self.lens.window, self.lens.now)
        return ((row.name, row) for row in rows)

    def style_of(self, subject: Any) -> str:
        """Return the style of a type: whether any of it fails."""
        return "failure" if subject.counts.get("failed") else ""

    def drill(self, key: str) -> tuple[str, str] | None:
        """Return the tasks of this type."""
        if key == UNKNOWN:
            return "tasks", "-has:name"
        return None if key == OTHERS else ("tasks", f"name={quote(key)}")

    def values(self, key: str) -> Mapping[str, str]:
        """Return what of a row can be kept or excluded."""
        return {"name": key}
