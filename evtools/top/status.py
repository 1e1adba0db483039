"""The status of the connection and of the cluster, as the lines above the tables show it."""

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal

from evtools.clock import Clock
from evtools.state import ALIVE, Quantiles, State, Statistics
from evtools.top.choices import Window
from evtools.top.columns import finite
from evtools.top.intake import Intake
from evtools.transport import Notice

#: The seconds that the flow reaches back, and those that are now.
_FLOW_SECONDS: Final = 300
_NOW: Final = 5


@dataclass(slots=True)
class ConnectionStatus:
    """The connection, by the notices of a source.

    `lost_at` is when it was lost, in UTC epoch seconds, None while there is one; `reason` is
    why, and `attempts` counts the vain ones to connect again.  `emptiness` is why a replay
    has shown nothing at all, at its end.
    """

    clock: Clock
    status: Literal["connecting", "live", "reconnecting", "ended"] = "connecting"
    reason: str = ""
    attempts: int = 0
    lost_at: float | None = None
    emptiness: str = ""

    def apply(self, notice: Notice) -> None:
        if notice.kind in ("listening", "restored"):
            self.status, self.reason = "live", ""
            self.attempts, self.lost_at = 0, None
        elif notice.kind == "retry":
            self.attempts += 1
            self.reason = notice.text
        elif notice.kind == "lost":
            if self.status == "live":
                self.status, self.lost_at = "reconnecting", self.clock.wall()
            self.reason = notice.text
        elif notice.kind in ("ended", "rewound"):
            self.emptiness = notice.text if notice.kind == "ended" else ""

    def end(self, error: Exception | None) -> None:
        """Note that nothing more will come, and the reason if it is an error."""
        self.status = "ended"
        self.reason = str(error) if error is not None else ""
        if self.lost_at is None:
            self.lost_at = self.clock.wall()


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of the cluster.

    Rates are per second, durations in seconds, `failure_share` is from 0 to 1.  `flow` is
    events per second, one figure a second, newest last, and `peak` the greatest;
    `event_rate` is that of the last few of them.  `gaps` counts holes in the stream,
    `dropped` events that there was no room for, `malformed` messages that are not events or
    lack their subject, `missed` tasks without any event (estimated), `evicted` tasks that
    were forgotten for want of room.  `workers` counts them by status.
    """

    lag: float | None
    reconnects: int
    gaps: int
    dropped: int
    malformed: int
    missed: int
    event_rate: float
    flow: tuple[float, ...]
    peak: float
    tasks: int
    max_tasks: int
    weight_bytes: int
    max_bytes: int
    evicted: int
    workers: Counter[str]
    active: int
    ok_rate: float
    fail_rate: float
    retry_rate: float
    failure_share: float | None
    run: Quantiles


def figures(
    state: State, statistics: Statistics, intake: Intake, *, as_of: float, window: Window
) -> Figures:
    """Gather the figures as of a time, in UTC epoch seconds."""
    flow = statistics.flow(_FLOW_SECONDS, as_of)
    totals = statistics.totals(window, as_of)
    workers = Counter[str]()
    active = missed = 0
    for worker in state.workers.values():
        status = worker.status(as_of)
        workers[status] += 1
        missed += worker.missed
        if status in ALIVE:
            active += int(finite(worker.active) or 0)
    return Figures(
        lag=intake.lag,
        reconnects=intake.reconnects,
        gaps=intake.gaps,
        dropped=intake.dropped,
        malformed=intake.malformed + state.nameless,
        missed=missed,
        event_rate=sum(flow[-_NOW:]) / _NOW,
        flow=tuple(flow),
        peak=statistics.peak,
        tasks=len(state.tasks),
        max_tasks=state.max_tasks_in_memory,
        weight_bytes=state.weight_bytes,
        max_bytes=state.max_bytes,
        evicted=state.evicted,
        workers=workers,
        active=active,
        ok_rate=totals.ok_rate,
        fail_rate=totals.fail_rate,
        retry_rate=totals.retry_rate,
        failure_share=totals.failure_share,
        run=totals.run,
    )
