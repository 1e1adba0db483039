"""The figures above the tables."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from evtools.state import ALIVE, Quantiles, State, Statistics
from evtools.top.choices import Window
from evtools.top.columns import finite
from evtools.top.intake import Intake

#: The seconds that the flow reaches back, and those that are now.
_FLOW_COLS: Final = 300
_NOW: Final = 5


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """What the lines above the tables say, as plain values.

    `as_of` is the time of the picture, in UTC epoch seconds; rates are per
    second, durations in seconds, `failure_share` is from 0 to 1.  `slots` is how
    many tasks the workers can run at once, None if nobody knows.  `flow` is events
    per second, one figure a second, newest last, and `peak` the greatest; the
    `event_rate` is that of the last few of them.  `gaps` counts
    holes in the stream, `dropped` events that we had no room for, `malformed` what
    was no event or did not say whom it is about, `missed` tasks
    whose events we did not see (estimated), `evicted` tasks that were forgotten
    for want of room.
    """

    as_of: float
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
    slots: int | None
    ok_rate: float
    fail_rate: float
    retry_rate: float
    failure_share: float | None
    run: Quantiles
    wait: Quantiles

    @property
    def online(self) -> int:
        """How many workers are there, by their heartbeats."""
        return self.workers["online"]

    @property
    def late(self) -> int:
        """How many workers have missed heartbeats."""
        return self.workers["late"]

    @property
    def busy(self) -> int:
        """How many workers may have gone, or run a task and send nothing meanwhile."""
        return self.workers["busy?"]

    @property
    def silent(self) -> int:
        """How many workers send no heartbeats: they do not tell what is active."""
        return self.workers["silent"]

    @property
    def gone(self) -> int:
        """How many workers went without saying goodbye."""
        return self.workers["gone"]

    @property
    def known_workers(self) -> int:
        """How many workers there are, all told."""
        return self.workers.total()


def header_facts(
    state: State,
    statistics: Statistics,
    intake: Intake,
    *,
    as_of: float,
    window: Window,
    slots_of: Mapping[str, int],
) -> HeaderFacts:
    """Gather the figures as of a time, in UTC epoch seconds.

    `slots_of` tells how many tasks each worker can run at once, as far as
    somebody knows.
    """
    flow = statistics.flow(_FLOW_COLS, as_of)
    totals = statistics.totals(window, as_of)
    workers = Counter[str]()
    active = missed = 0
    for worker in state.workers.values():
        now = worker.status(as_of)
        workers[now] += 1
        missed += worker.missed
        if now in ALIVE:
            active += int(finite(worker.active) or 0)
    return HeaderFacts(
        as_of=as_of,
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
        slots=sum(slots_of.values()) if slots_of else None,
        ok_rate=totals.ok_rate,
        fail_rate=totals.fail_rate,
        retry_rate=totals.retry_rate,
        failure_share=totals.failure_share,
        run=totals.run,
        wait=totals.wait,
    )
