"""The status of the connection and of the cluster, as the lines above the tables show it."""

import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, NamedTuple

from evtools.clock import Clock
from evtools.state import ALIVE, State, Statistics, Totals
from evtools.top.options import Window
from evtools.transport import Notice
from evtools.wire import Event, Gap, group_from, moment

#: The seconds that the flow reaches back, and those that are now.
_FLOW_SECONDS: Final = 300
_NOW: Final = 5


@dataclass(slots=True)
class ConnectionStatus:
    """The connection, by the notices of a source.

    `lost_at` is when it was lost, in UTC epoch seconds, None while there is one; `reason` is
    why, and `attempts` counts the vain ones to connect again.  `live_since` is since when there
    is one, in UTC epoch seconds, and `emptiness` why a replay has shown nothing at all, at its end.
    """

    clock: Clock
    status: Literal["connecting", "live", "reconnecting", "ended"] = "connecting"
    reason: str = ""
    attempts: int = 0
    lost_at: float | None = None
    emptiness: str = ""
    live_since: float = 0.0

    @property
    def cause(self) -> str:
        """Why there is no connection, without the time of the next attempt."""
        return self.reason.rpartition("; trying again")[0] or self.reason or "no connection"

    def apply(self, notice: Notice) -> None:
        if notice.kind in ("listening", "restored"):
            self.status, self.reason, self.live_since = "live", "", self.clock.wall()
            self.attempts, self.lost_at = 0, None
        elif notice.kind == "retry":
            self.attempts += 1
            self.reason = notice.text
        elif notice.kind == "lost":
            if self.status == "live":
                self.status, self.lost_at = "reconnecting", self.clock.wall()
            self.reason = notice.text
        elif notice.kind == "refused":
            self.end(notice.text)
        elif notice.kind in ("ended", "rewound"):
            self.emptiness = notice.text if notice.kind == "ended" else ""

    def end(self, reason: str) -> None:
        """Note that nothing more will come; `reason` is "" unless it is an error."""
        self.status = "ended"
        self.reason = reason
        if self.lost_at is None:
            self.lost_at = self.clock.wall()


@dataclass(slots=True)
class StreamCounters:
    """Counters of a stream: its gaps, its lag, the kinds of events in it.

    `gaps` are holes in it, `dropped` events that there was no room for.  `lag` is the longest
    delay of an event between the last two calls of `settle`, corrected for clock skew, in seconds.
    `latest` is when the newest event was received, in UTC epoch seconds.
    """

    events: int = 0
    reconnects: int = 0
    gaps: int = 0
    dropped: int = 0
    lag: float | None = None
    latest: float | None = None
    has_tasks: bool = False
    has_sent: bool = False
    _worst: float | None = None

    def take(self, events: Sequence[Event], state: State) -> None:
        """Count events that `state` has applied."""
        self.events += len(events)
        types = {event.type for event in events}
        self.has_tasks |= "task" in map(group_from, types)
        self.has_sent |= "task-sent" in types
        for event in events:
            if isinstance(event, Gap):
                if event.reason == "buffer":
                    self.dropped += event.dropped
                elif event.reason != "worker":
                    self.gaps += 1
                    self.reconnects += event.reason == "reconnect"
        if not events:
            return
        newest = events[-1]
        received, sent = moment(newest.get("local_received")), newest.timestamp
        if received is None:
            # In recordings of other programs there is only the sender's time.
            self.latest = sent if sent is not None else self.latest
            return
        self.latest = received
        worker = state.workers.get(newest.hostname)
        skew = worker.skew if worker is not None else None
        if sent is not None and skew is not None:
            self._worst = max(0.0, received - sent + skew, self._worst or 0.0)

    def settle(self) -> None:
        """Start to look for the longest delay anew; without events the last one stays."""
        if self._worst is not None:
            self.lag, self._worst = self._worst, None

    @classmethod
    def sum(cls, parts: Sequence["StreamCounters"]) -> "StreamCounters":
        """Return the counters of several streams together."""
        total = replace(parts[0])
        for part in parts[1:]:
            for name in ("events", "reconnects", "gaps", "dropped"):
                setattr(total, name, getattr(total, name) + getattr(part, name))
            for name in ("lag", "latest"):
                known = [one for one in (getattr(total, name), getattr(part, name)) if one]
                setattr(total, name, max(known, default=None))
        return total


class Part(NamedTuple):
    """What figures are made of: what is known of a cluster, as of a time in UTC epoch seconds.

    `is_away` is whether it is one of several that is not connected: nothing is known of it now.
    """

    state: State
    statistics: Statistics
    intake: StreamCounters
    as_of: float
    is_away: bool = False


class Figures:
    """The figures of all clusters together as of a time, in UTC epoch seconds.

    `flow` is events per second, one figure a second, newest last, and `peak` the greatest;
    `event_rate` is that of the last few of them.  `malformed` counts messages that are not
    events or lack their subject, `missed` tasks without any event (estimated), `evicted`
    tasks that were forgotten for want of room, `workers` workers by their status, or `away`.
    """

    def __init__(
        self, parts: Sequence[Part], malformed: int, *, as_of: float, window: Window
    ) -> None:
        states = [part.state for part in parts]
        self.counters = StreamCounters.sum([part.intake for part in parts])
        self.malformed = malformed + sum(state.nameless for state in states)
        flows = [part.statistics.flow(_FLOW_SECONDS, as_of) for part in parts]
        self.flow = [sum(rates) for rates in zip(*flows, strict=True)]
        self.event_rate = sum(self.flow[-_NOW:]) / _NOW
        is_one = len(parts) == 1
        self.peak = parts[0].statistics.peak if is_one else max(self.flow, default=0.0)
        self.tasks = sum(len(state.tasks) for state in states)
        self.max_tasks = sum(state.max_tasks_in_memory for state in states)
        self.weight_bytes = sum(state.weight_bytes for state in states)
        self.max_bytes = sum(state.max_bytes for state in states)
        self.evicted = sum(state.evicted for state in states)
        totals = [part.statistics.totals(window, part.as_of) for part in parts]
        self.totals = Totals.sum(totals)
        self.run = self.totals.run
        self.workers = Counter[str]()
        self.active = self.missed = 0
        for part in parts:
            for worker in part.state.workers.values():
                status = "away" if part.is_away else worker.status(part.as_of)
                self.workers[status] += 1
                self.missed += worker.missed
                if status in ALIVE and not worker.answers_only(part.as_of):
                    self.active += worker.active or 0


class OwnCost:
    """The CPU and memory that evtop takes; `cpu` is a share of one CPU: 1.0 is all of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked, self._used = clock.monotonic(), time.process_time()
        self.cpu = 0.0
        self.bytes = _resident_bytes()

    def look(self) -> None:
        """Measure anew; looks within a tenth of a second change nothing."""
        now = self._clock.monotonic()
        if now - self._looked >= 0.1:  # noqa: PLR2004  (see above)
            used = time.process_time()
            self.cpu = (used - self._used) / (now - self._looked)
            self._looked, self._used = now, used
            self.bytes = _resident_bytes()


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):  # the most there was, then
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")
