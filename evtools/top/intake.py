"""What can be told of the events that came in, beside what is in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evtools.state import State
from evtools.top.columns import finite
from evtools.wire import GAP, EventFields, group_from, moment


@dataclass(slots=True)
class Intake:
    """Counters of a stream: losses that it tells of, its lag, what it is made of.

    `lag` is how long events took to us at the most since `settle` was called
    before the last time, less the differences between clocks, in seconds.
    """

    events: int = 0
    reconnects: int = 0
    gaps: int = 0
    dropped: int = 0
    #: Messages, or parts of one, that were no events.
    malformed: int = 0
    lag: float | None = None
    #: When the newest event was received, in UTC epoch seconds.
    latest: float | None = None
    has_tasks: bool = False
    has_sent: bool = False
    has_workers: bool = False
    _worst: float | None = None

    def take(self, events: Sequence[EventFields], state: State) -> None:
        """Look at events that `state` has taken in."""
        self.events += len(events)
        types = {str(event.get("type")) for event in events}
        groups = set(map(group_from, types))
        self.has_tasks |= "task" in groups
        self.has_sent |= "task-sent" in types
        self.has_workers |= "worker" in groups
        if GAP in types:
            for event in events:
                self._count_gap(event)
        if events:
            self._measure(events[-1], state)

    def settle(self) -> None:
        """Begin to look for the greatest lag anew; without events it stays known."""
        if self._worst is not None:
            self.lag, self._worst = self._worst, None

    def _count_gap(self, event: EventFields) -> None:
        if event.get("type") != GAP:
            return
        reason = event.get("reason")
        if reason == "buffer":
            self.dropped += int(finite(event.get("dropped")) or 0)
        elif reason != "worker":
            self.gaps += 1
            self.reconnects += reason == "reconnect"

    def _measure(self, event: EventFields, state: State) -> None:
        received = moment(event.get("local_received"))
        sent, hostname = moment(event.get("timestamp")), event.get("hostname")
        if received is None:
            # In the recordings of others only the sender says when it was.
            self.latest = sent if sent is not None else self.latest
            return
        self.latest = received
        worker: Any = state.workers.get(hostname) if isinstance(hostname, str) else None
        skew = finite(worker.skew) if worker is not None else None
        if sent is not None and skew is not None:
            lag = max(0.0, received - sent + skew)
            self._worst = lag if self._worst is None else max(lag, self._worst)
