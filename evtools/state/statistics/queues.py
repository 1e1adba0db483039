"""Which tasks wait in which queue, as far as events tell."""

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final

from evtools.state.statistics.cells import PUBLISHED, RECEIVED, WORKER
from evtools.state.statistics.rows import OTHERS, UNKNOWN, QueueStatistics
from evtools.state.statistics.windows import Windows

if TYPE_CHECKING:
    from evtools.state.task import Task

#: Tasks that are followed while they wait; with more, the oldest are let go.
WAITING_MAX: Final = 100_000
_UNPLACED_MAX: Final = 10_000
#: Workers that are told apart.
_WORKERS_MAX: Final = 10_000
_ENTRY_BYTES: Final = 200

NO_SENT: Final = "no task-sent events: task_send_sent_event is off on the clients"
NOT_SENT: Final = "no task-sent event told their queue"
TOO_MANY: Final = f"more wait: only the newest {WAITING_MAX:,} of all are followed"


class Queues:
    """Counts for each queue, and the tasks that wait in it.

    Only `task-sent` names the queue.  What is received and was never seen
    sent counts for `UNKNOWN`.
    """

    def __init__(self, windows: Windows[str]) -> None:
        self.windows = windows
        #: The queue of each task that waits; keyed by hash, for a uuid may be long.
        self._waiting: OrderedDict[int, str] = OrderedDict()
        self._told = self._overflowed = False
        #: Tasks that were received and whose queue is not known yet.
        self._unplaced: OrderedDict[int, None] = OrderedDict()
        self._cell_of: dict[str, int] = {}

    def sent(self, task: "Task") -> None:
        """Count a task as published."""
        self._told = True
        queue, key = task.queue or UNKNOWN, hash(task.uuid)
        cells = self.windows[queue]
        cells[PUBLISHED] += 1
        if task.received is None:
            self._waiting[key] = queue
            if len(self._waiting) > WAITING_MAX:
                self._waiting.popitem(last=False)
                self._overflowed = True
        elif key in self._unplaced:
            # A quick worker may have told of it before the client did.
            del self._unplaced[key]
            cells[RECEIVED] += 1
            self.windows[UNKNOWN][RECEIVED] -= 1

    def received(self, task: "Task") -> None:
        """Count a task as received by its worker."""
        self.left(task)
        cells = self.windows[task.queue or UNKNOWN]
        cells[RECEIVED] += 1
        if task.worker is not None:
            hostname = task.worker.hostname
            cells[self._cell_of.get(hostname) or self._new_cell(hostname)] += 1
        if task.queue is None:
            self._unplaced[hash(task.uuid)] = None
            if len(self._unplaced) > _UNPLACED_MAX:
                self._unplaced.popitem(last=False)

    def left(self, task: "Task") -> None:
        """Know that a task waits no longer."""
        if self._waiting:
            self._waiting.pop(hash(task.uuid), None)

    def rows(self, window: str, now: float) -> list[QueueStatistics]:
        """Return all queues, also those where nothing happened in the window."""
        counted = self.windows.read(window, now)
        seconds = self.windows.covered(window, now)
        known = self.windows.names
        waiting = Counter(
            name if name in known else OTHERS for name in self._waiting.values()
        )
        rows = []
        for name in (*known, *([OTHERS] if self.windows.folded else [])):
            cells = counted.get(name, {})
            backlog, reason = self._backlog(name, waiting)
            row = QueueStatistics(name, cells, seconds, backlog, reason)
            # Of quick tasks we may hear before we hear where they were.
            if name != UNKNOWN or not self._told or row.published or row.received:
                rows.append(row)
        return rows

    def _backlog(self, name: str, waiting: Counter[str]) -> tuple[int | None, str]:
        if name == UNKNOWN:
            return None, NOT_SENT if self._told else NO_SENT
        return waiting[name], TOO_MANY if self._overflowed else ""

    def weight_bytes(self) -> int:
        """Return about how much memory this takes beside the windows."""
        entries = len(self._waiting) + len(self._unplaced) + len(self._cell_of)
        return entries * _ENTRY_BYTES

    def _new_cell(self, hostname: str) -> int:
        if len(self._cell_of) >= _WORKERS_MAX:
            # From here on two workers may share a cell, and count as one.
            self._cell_of.clear()
        cell = self._cell_of[hostname] = WORKER + len(self._cell_of)
        return cell
