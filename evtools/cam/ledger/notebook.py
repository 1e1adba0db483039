"""What was heard since the last snapshot, noted event by event."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from evtools.cam.ledger.account import (
    OWN_MAX_BYTES,
    Account,
    Told,
    WorkerAccount,
    clean_own,
    joined_extra,
    latest,
    merged,
    merged_workers,
    time_of,
    told,
    told_by_worker,
)
from evtools.cam.ledger.texts import key
from evtools.state import Change, Task, Worker, event_bytes
from evtools.wire import Event, TaskEvent, WorkerEvent

#: As much as may wait for a database that does not answer.
MAX_BYTES: Final = 256 * 1024 * 1024
#: What an account takes beside the events, at the most what one of a worker.
_ACCOUNT_BYTES: Final = 500
_WORKER_BYTES: Final = 4 * OWN_MAX_BYTES
_WORKERS_MAX: Final = 5000
_SENT: Final = "task-sent"
_HEARTBEAT: Final = "worker-heartbeat"


class Notes(Struct):
    """What was heard in a period, of tasks by uuid and of workers by hostname.

    `events` is how many events of tasks that were, `lost` how many more had to be
    forgotten.
    """

    tasks: dict[str, Account] = field(default_factory=dict)
    workers: dict[str, WorkerAccount] = field(default_factory=dict)
    bytes: int = 0
    events: int = 0
    lost: int = 0


class Notebook:
    """Note what events tell, until it is taken.

    What waits is of `max_bytes` at most, estimated; what was heard first is
    forgotten then, and counted.  All of this is for whoever holds the lock of
    the state.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._notes = Notes()

    def observe(self, changes: Iterable[Change]) -> None:
        """Note the events that changed something."""
        for change in changes:
            subject = change.subject
            if isinstance(subject, Task):
                self._note_task(change.event)
            elif isinstance(subject, Worker):
                self._note_worker(change.event)
        self._make_room()

    def take(self) -> Notes:
        """Return what was noted, and begin anew."""
        taken, self._notes = self._notes, Notes()
        return taken

    def restore(self, taken: Notes) -> None:
        """Take back what could not be written."""
        later, self._notes = self._notes, taken
        for uuid, account in later.tasks.items():
            earlier = taken.tasks.get(uuid)
            taken.tasks[uuid] = merged(earlier, account) if earlier else account
        for hostname, of_worker in later.workers.items():
            known = taken.workers.get(hostname, of_worker)
            taken.workers[hostname] = merged_workers(known, of_worker)
        taken.bytes += later.bytes
        taken.events += later.events
        taken.lost += later.lost
        self._make_room()

    def _note_task(self, event: Event) -> None:
        kind, own = event.type, event.extra
        received = float(event.local_received)
        account = self._task(key(event.uuid), received)
        weight = event_bytes(event) + (OWN_MAX_BYTES if own else 0)
        account.weight += weight
        self._notes.bytes += weight
        self._notes.events += 1
        if not isinstance(event, TaskEvent):
            note = Told(key(kind), time_of(event), clean_own(own))
            account.note = latest((account.note, note))
            return
        step = told(event)
        account.steps.append(step)
        if own:
            alone = {n: (step.at, v) for n, v in clean_own(own).items()}
            account.extra = joined_extra((account.extra, alone))
        hostname = step.values[0]
        if kind != _SENT and hostname is not None:
            self._worker(hostname, received)

    def _note_worker(self, event: Event) -> None:
        kind = event.type
        account = self._worker(key(event.hostname), float(event.local_received))
        # The answer to a wake-up says less than a heartbeat.
        is_short = kind == _HEARTBEAT and event.processed is None
        if isinstance(event, WorkerEvent) and not is_short:
            news = told_by_worker(event, clean_own(event.extra))
            account.told[kind] = latest((account.told.get(kind), news)) or news

    def _task(self, uuid: str, heard: float) -> Account:
        account = self._notes.tasks.get(uuid)
        if account is None:
            account = Account(heard, heard, weight=_ACCOUNT_BYTES)
            self._notes.tasks[uuid] = account
            self._notes.bytes += _ACCOUNT_BYTES
        account.first = min(account.first, heard)
        account.last = max(account.last, heard)
        return account

    def _worker(self, hostname: str, heard: float) -> WorkerAccount:
        workers = self._notes.workers
        account = workers.get(hostname)
        if account is None:
            account = workers[hostname] = WorkerAccount(heard)
            self._notes.bytes += _WORKER_BYTES
            if len(workers) > _WORKERS_MAX:
                del workers[next(iter(workers))]
                self._notes.bytes -= _WORKER_BYTES
        account.last = max(account.last, heard)
        return account

    def _make_room(self) -> None:
        """Forget what was heard first, a few more than have to go."""
        notes, tasks = self._notes, self._notes.tasks
        if notes.bytes <= self.max_bytes:
            return
        enough = self.max_bytes - self.max_bytes // 16
        while notes.bytes > enough and tasks:
            account = tasks.pop(next(iter(tasks)))
            events = len(account.steps) + (account.note is not None)
            notes.bytes -= account.weight
            notes.events -= events
            notes.lost += events
