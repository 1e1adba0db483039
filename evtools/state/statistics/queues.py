"""Which tasks wait in which queue, according to their events."""

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final, TypeAlias

from evtools.state.statistics.rows import (
    OTHERS,
    PUBLISHED,
    RECEIVED,
    UNKNOWN,
    WORKER,
    QueueStatistics,
)
from evtools.state.statistics.windows import Windows

if TYPE_CHECKING:
    from evtools.state.task import Task

#: Tasks that are followed while they wait; with more, the oldest are let go.
WAITING_MAX: Final = 100_000
_UNPLACED_MAX: Final = 10_000
#: How many workers are distinguished.
_WORKERS_MAX: Final = 10_000
_ENTRY_BYTES: Final = 200
_RECEIPT_BYTES: Final = 300

#: A slot, and the cell of the worker, or that of all receipts if there was none.
_Receipt: TypeAlias = tuple[float, int]

NO_SENT: Final = "no task-sent events: task_send_sent_event is off on the clients"
NOT_SENT: Final = "no task-sent event has their queue"
TOO_MANY: Final = f"more wait: only the newest {WAITING_MAX:,} of all are followed"


class Queues:
    """Counts for each queue, and the tasks that wait in it.

    Only `task-sent` names the queue.  What is received and was never seen
    sent counts for `UNKNOWN`.
    """

    def __init__(self, max_names: int) -> None:
        self.windows: Windows[str] = Windows(
            others=OTHERS, max_names=max_names, on_fold=self._folded
        )
        #: The queue of each task that waits; keyed by hash, for a uuid may be long.
        self._waiting: OrderedDict[int, str] = OrderedDict()
        self._saw_sent = self._overflowed = False
        #: Receipts of tasks whose queue is not known yet, by the task, each with the
        #: slot and the cell it is counted in.
        self._unplaced: OrderedDict[int, list[_Receipt]] = OrderedDict()
        self._unplaced_count = 0
        self._cell_of: dict[str, int] = {}

    def sent(self, task: "Task") -> None:
        """Count a task as published."""
        self._saw_sent = True
        queue, key = task.queue_or_none or UNKNOWN, hash(task.uuid)
        self.windows[queue][PUBLISHED] += 1
        if task.received is None:
            self._waiting[key] = queue
            if len(self._waiting) > WAITING_MAX:
                self._waiting.popitem(last=False)
                self._overflowed = True
        # The events of a quick worker may come before the client's.
        for slot, worker in self._let_go(key):
            for name, count in ((UNKNOWN, -1), (queue, 1)):
                self.windows.amend(name, dict.fromkeys((RECEIVED, worker), count), slot)

    def received(self, task: "Task", hostname: str | None) -> None:
        """Count a task as received by a worker."""
        self.left(task)
        cells = self.windows[task.queue_or_none or UNKNOWN]
        cells[RECEIVED] += 1
        cell = RECEIVED
        if hostname:
            cell = self._cell_of.get(hostname, 0)
            if not cell:
                if len(self._cell_of) >= _WORKERS_MAX:
                    # From here on two workers may share a cell, and count as one.
                    self._cell_of.clear()
                cell = self._cell_of[hostname] = WORKER + len(self._cell_of)
            cells[cell] += 1
        if task.queue_or_none is None:
            key = hash(task.uuid)
            self._unplaced.setdefault(key, []).append((self.windows.slot, cell))
            self._unplaced_count += 1
            while self._unplaced_count > _UNPLACED_MAX:
                self._let_go(next(iter(self._unplaced)))

    def _let_go(self, key: int) -> list[_Receipt]:
        """Return the receipts of a task, and remember them no more."""
        receipts = self._unplaced.pop(key, [])
        self._unplaced_count -= len(receipts)
        return receipts

    def left(self, task: "Task") -> None:
        """Know that a task waits no longer."""
        if self._waiting:
            self._waiting.pop(hash(task.uuid), None)

    def _folded(self, name: str) -> None:
        if name == UNKNOWN:
            self._unplaced.clear()
            self._unplaced_count = 0

    def rows(self, window: str, now: float) -> list[QueueStatistics]:
        """Return all queues, also those where nothing happened in the window."""
        counted = self.windows.read(window, now)
        seconds = self.windows.covered(window, now)
        known = self.windows.names
        waiting = Counter(name if name in known else OTHERS for name in self._waiting.values())
        reason = TOO_MANY if self._overflowed else ""
        rows = [
            QueueStatistics(name, counted.get(name, {}), seconds, waiting[name], reason)
            for name in (*known, *([OTHERS] if self.windows.folded else []))
        ]
        for row in [row for row in rows if row.name == UNKNOWN]:
            row.backlog, row.backlog_reason = None, NOT_SENT if self._saw_sent else NO_SENT
            # The end of a quick task may come before the event with its queue.
            if self._saw_sent and not (row.published or row.received):
                rows.remove(row)
        return rows

    def weight_bytes(self) -> int:
        """Return about how much memory this takes beside the windows."""
        entries = len(self._waiting) + len(self._cell_of)
        return entries * _ENTRY_BYTES + self._unplaced_count * _RECEIPT_BYTES
