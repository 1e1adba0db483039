"""Tasks that workers counted and no event reported."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple

from evtools.wire.events import Event

#: More workers than any cluster has; names are chosen by whoever publishes.
_WORKERS_MAX: Final = 10_000
_HOSTNAME_MAX: Final = 1024

#: Events are off after this many heartbeats that add tasks without any start.
_DARK_BEATS_MAX: Final = 3

#: The types of event with a worker's counters.
HEARTBEATS: Final = frozenset({"worker-heartbeat", "worker-online"})


class _Reading(NamedTuple):
    pid: int
    clock: int  # the worker's logical time
    processed: int
    active: int


@dataclass(slots=True)
class _Worker:
    #: Where we began to count, and the heartbeat that waits to be settled:
    #: starts that it counts may come after it.
    base: _Reading
    last: _Reading
    #: Whether task events are on; that is not known before the first start.
    sends_events: bool = False
    #: Starts seen: settled ones, those the last heartbeat adds, later ones.
    settled: int = 0
    added: int = 0
    later: int = 0
    #: Tasks that the last heartbeat adds.
    grew: int = 0
    #: Tasks of heartbeats in a row that add tasks without any start.
    dark: int = 0
    dark_beats: int = 0
    #: What the heartbeat settled before proved to be missing.
    proved: int = 0
    claimed: int = 0


class MissedTasks:
    """Compare `processed` of worker heartbeats with the task-started seen.

    A worker sends a task-started for every task that it counts, perhaps in a
    later message than the heartbeat that counts it; their logical times show
    which it counts.  A task that is active may be counted and not announced
    yet.  So the figure is a lower bound, except that a task type with
    `send_events=False` looks like one whose events are lost.  Nothing is
    claimed of a worker whose task events seem to be off.
    """

    def __init__(self) -> None:
        self.total = 0
        self._workers: OrderedDict[str, _Worker] = OrderedDict()

    def observe(self, event: Event) -> int:
        """Take in one event; return how many tasks it newly shows as missed."""
        if event.type == "task-started":
            self.started(event.hostname, event.clock)
        elif event.type in HEARTBEATS:
            return self.heartbeat(event)
        return 0

    def started(self, hostname: str, clock: int | None) -> None:
        """Take in that the worker `hostname` started a task at its time `clock`."""
        worker = self._workers.get(hostname)
        if worker is None:
            return
        if clock is None or clock > worker.last.clock:
            worker.later += 1
        elif clock > worker.base.clock:
            worker.added += 1

    def heartbeat(self, event: Event) -> int:
        """Take in a worker's counters; return how many tasks they newly show as missed."""
        hostname = event.hostname
        pid, clock, processed, active = event.pid, event.clock, event.processed, event.active
        if pid is None or clock is None or processed is None or active is None:
            return 0  # it answers a command
        if not 0 < len(hostname) <= _HOSTNAME_MAX:
            return 0
        reading = _Reading(pid, clock, processed, active)
        worker, newly = self._workers.get(hostname), 0
        if worker is not None:
            last = worker.last
            if pid != last.pid or clock <= last.clock or processed < last.processed:
                worker = None  # it began anew
        if worker is not None and worker.sends_events:
            newly = _settle(worker, reading)
        else:
            # Events may have been switched on just now: begin here.
            sends = worker is not None and worker.added + worker.later > 0
            self._workers[hostname] = _Worker(reading, reading, sends_events=sends)
        self._workers.move_to_end(hostname)
        if len(self._workers) > _WORKERS_MAX:
            self._workers.popitem(last=False)
        self.total += newly
        return newly


def _settle(worker: _Worker, reading: _Reading) -> int:
    """Return what the last heartbeat newly proves, now that a later one is here.

    Two heartbeats in a row have to agree.
    """
    if worker.added:
        worker.dark = worker.dark_beats = 0
    elif worker.grew:  # task events may have been switched off
        worker.dark += worker.grew
        worker.dark_beats += 1
        worker.sends_events = worker.dark_beats < _DARK_BEATS_MAX
    worker.settled += worker.added
    unseen = worker.last.processed - worker.base.processed - worker.settled
    proved = unseen - worker.last.active - worker.dark
    newly = max(0, min(proved, worker.proved) - worker.claimed)
    worker.claimed += newly
    worker.proved = proved
    worker.added, worker.later = worker.later, 0
    worker.grew = reading.processed - worker.last.processed
    worker.last = reading
    return newly
