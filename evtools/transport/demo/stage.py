"""The stage of the simulated cluster: its time, its client and its queues."""

from collections import deque
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final, Protocol

from evtools.clock import Clock
from evtools.transport.demo.agenda import Agenda
from evtools.transport.demo.kinds import KINDS, QUEUES
from evtools.transport.demo.task import DemoTask, make_task
from evtools.wire import LamportClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evtools.transport.demo.worker import DemoWorker

#: Messages in a queue; a cluster that is too slow for its clients drops the oldest.
QUEUE_MAX: Final = 1000
_DELIVERY: Final = 0.002
_WEIGHTS: Final = [kind.weight for kind in KINDS]
_FIRST_PID: Final = 4000


class Sender(Protocol):
    """Sends events under a name of its own; EventDispatcher is one."""

    hostname: str
    pid: int
    clock: LamportClock

    def send(self, type: str, **fields: Any) -> None:  # noqa: A002  (Celery's name)
        """Send an event, or keep it for the next flush."""
        ...

    def flush(self) -> None:
        """Send what was kept."""
        ...


class Stage:
    """Where clients send tasks and workers receive them.

    `rate` is in tasks per second.  What happens is decided by `rng` alone;
    `clock` only tells which time events say it was.
    """

    def __init__(self, rng: Random, clock: Clock, client: Sender, rate: float) -> None:
        self.agenda = Agenda()
        self.rng = rng
        self.client = client
        self.workers: Sequence[DemoWorker] = ()
        self._clock = clock
        self._rate = rate
        self._queues = {name: deque[DemoTask](maxlen=QUEUE_MAX) for name in QUEUES}
        self._pid = _FIRST_PID

    def wall(self) -> float:
        """Return UTC epoch seconds."""
        return self._clock.wall()

    def open(self, workers: "Sequence[DemoWorker]") -> None:
        """Let the workers come and the client begin."""
        self.workers = workers
        for worker in workers:
            worker.come()
        self._next_task()

    def new_pid(self) -> int:
        """Return a process id that none had before, nor the one that follows it."""
        self._pid += self.rng.randint(2, 50)
        return self._pid

    def send(self, task: DemoTask) -> None:
        """Let a client send a task."""
        queue = task.kind.queue
        told = task.told()
        self.client.send("task-sent", queue=queue, exchange="", routing_key=queue, **told)
        self.agenda.after(_DELIVERY, partial(self.enqueue, task))

    def enqueue(self, task: DemoTask) -> None:
        """Put a task into its queue."""
        self._queues[task.kind.queue].append(task)
        self.deliver()

    def deliver(self) -> None:
        """Give workers what waits and they have room for."""
        for name, queue in self._queues.items():
            while queue:
                free = [worker for worker in self.workers if worker.has_room(name)]
                if not free:
                    break
                self.rng.choice(free).receive(queue.popleft())

    def _next_task(self) -> None:
        (kind,) = self.rng.choices(KINDS, _WEIGHTS)
        task = make_task(self.rng, kind, self.wall())
        self.send(task)
        if self.rng.random() < kind.revoked:
            self.agenda.after(self.rng.uniform(4, 9), partial(self._revoke, task.uuid))
        self.agenda.after(self.rng.expovariate(self._rate), self._next_task)

    def _revoke(self, uuid: str) -> None:
        """Call a task off everywhere, as a client does with a broadcast."""
        for worker in self.workers:
            worker.revoke(uuid, signum=15)
