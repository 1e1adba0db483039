"""What comes in: how much, of which types, and how late."""

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from evtools.cam.counters import Counters
from evtools.state import State
from evtools.wire import GAP, EventFields, moment

#: How many types of event are told apart; senders choose their names.
_TYPES_MAX: Final = 200
OTHERS: Final = "(others)"
_HEARTBEAT: Final = "worker-heartbeat"
_type = itemgetter("type")


class Traffic:
    """Count events as they come, into `counters`."""

    def __init__(self, counters: Counters, state: State) -> None:
        self._counters = counters
        self._state = state
        self._settled: float | None = None
        self._events_then = 0
        self._worst: float | None = None

    def take(self, events: Sequence[EventFields]) -> None:
        """Count events that the state has taken in."""
        if not events:
            return
        counters, known = self._counters, self._counters.events_by_type
        types = Counter(map(_type, events))
        counters.gaps += types.pop(GAP, 0)
        for kind, number in types.items():
            name = kind if kind in known or len(known) < _TYPES_MAX else OTHERS
            known[name] = known.get(name, 0) + number
        counters.events += types.total()
        received = moment(events[-1].get("local_received"))
        if received is not None:
            counters.last_event_at = received
            if _HEARTBEAT in types:
                counters.last_heartbeat_at = received
            self._measure(events[-1], received)

    def settle(self, now: float) -> None:
        """Bring up to date what is told per second; `now` is by the monotonic clock."""
        counters, state = self._counters, self._state
        then, self._settled = self._settled, now
        if then is not None and now > then:
            counters.events_per_second = (counters.events - self._events_then) / (now - then)
        self._events_then = counters.events
        counters.lag, self._worst = self._worst, None
        workers = list(state.workers.values())
        counters.tasks, counters.workers = len(state.tasks), len(workers)
        counters.workers_alive = sum(worker.alive for worker in workers)
        counters.evicted = state.evicted
        counters.nameless = state.nameless

    def _measure(self, event: EventFields, received: float) -> None:
        """Look how late an event is, less the difference between the clocks."""
        sent, hostname = moment(event.get("timestamp")), event.get("hostname")
        if sent is None or not isinstance(hostname, str):
            return
        worker = self._state.workers.get(hostname)
        skew = None if worker is None else worker.skew
        if skew is not None:
            lag = max(0.0, received - sent + skew)
            self._worst = lag if self._worst is None else max(lag, self._worst)
