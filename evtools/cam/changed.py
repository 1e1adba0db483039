"""The tasks and workers that changed since the last snapshot."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from evtools.state import Change, State, Task, Worker

#: How many tasks that the state has forgotten are kept until they are written,
#: and how much they may weigh.
MAX_TASKS: Final = 200_000
MAX_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed in a period: tasks as they were first heard of in it.

    A task of which something came after the state had forgotten it is there
    twice, as what is known before and what came later.
    """

    tasks: Sequence[Task] = ()
    workers: Sequence[Worker] = ()


@dataclass(slots=True)
class Changed:
    """Collect what changed until it is taken.

    What is here stays, though the state may forget it, until it is taken.  Of
    such tasks there are at most `max_tasks`, of `max_bytes` together; the
    oldest are let go then, and counted in `overflow`.  All of this is for
    whoever holds the state's lock.
    """

    state: State
    max_tasks: int = MAX_TASKS
    max_bytes: int = MAX_BYTES
    overflow: int = 0
    #: By identity: the state may have two tasks with one uuid, one after the other.
    _tasks: dict[int, Task] = field(default_factory=dict)
    _workers: dict[str, Worker] = field(default_factory=dict)
    #: Those in `_tasks` that only we still have, and what they weigh.
    _kept: dict[int, int] = field(default_factory=dict)
    _kept_bytes: int = 0

    def __post_init__(self) -> None:
        self.state.on_forget = self._forgotten

    def __len__(self) -> int:
        """Return how many tasks have changed."""
        return len(self._tasks)

    def observe(self, changes: Iterable[Change]) -> None:
        """Note the subjects of changes."""
        tasks, workers = self._tasks, self._workers
        for change in changes:
            subject = change.subject
            if isinstance(subject, Task):
                tasks[id(subject)] = subject
                worker = subject.worker
                if worker is not None:
                    workers[worker.hostname] = worker
            elif subject is not None:
                workers[subject.hostname] = subject

    def take(self) -> Changes:
        """Return what changed, and begin anew."""
        taken = Changes(tuple(self._tasks.values()), tuple(self._workers.values()))
        self._tasks, self._workers = {}, {}
        self._kept, self._kept_bytes = {}, 0
        return taken

    def restore(self, taken: Changes) -> None:
        """Take back what could not be written."""
        self._tasks = {id(task): task for task in taken.tasks} | self._tasks
        earlier = {worker.hostname: worker for worker in taken.workers}
        self._workers = earlier | self._workers
        # What comes first is let go first.
        later, self._kept, self._kept_bytes = self._kept, {}, 0
        for task in taken.tasks:
            if self.state.tasks.find(task.uuid) is not task:
                self._keep(task)
        for key in later:
            self._keep(self._tasks[key])

    def _forgotten(self, task: Task) -> None:
        """Keep a task that the state forgets, if it has changed."""
        if id(task) in self._tasks:
            self._keep(task)

    def _keep(self, task: Task) -> None:
        self._kept[id(task)] = task.weight_bytes
        self._kept_bytes += task.weight_bytes
        while len(self._kept) > self.max_tasks or self._kept_bytes > self.max_bytes:
            oldest = next(iter(self._kept))
            self._kept_bytes -= self._kept.pop(oldest)
            del self._tasks[oldest]
            self.overflow += 1
