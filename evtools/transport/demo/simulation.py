"""The simulated cluster as a matter of time: its client, queues and workers."""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

from evtools.clock import Clock
from evtools.transport.demo.tasks import (
    BY_NAME,
    KINDS,
    MAX_RETRIES,
    QUEUES,
    DemoTask,
    End,
    end_of,
    make_task,
    traceback,
)
from evtools.wire import LamportClock

HEARTBEAT_EVERY: Final = 2.0
#: Messages in a queue; a cluster that is too slow for its clients drops the oldest.
QUEUE_MAX: Final = 1000
#: Revoked tasks that a worker remembers.
REVOKED_MAX: Final = 1000
CONCURRENCY_MAX: Final = 64
_DELIVERY: Final = 0.002
_WEIGHTS: Final = [kind.weight for kind in KINDS]
_FIRST_PID: Final = 4000
_TIME_LIMIT: Final = End(0.0, "failed", lambda _: "TimeLimitExceeded(30.0,)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Character:
    """How one worker differs from another; its clock is `skew` seconds ahead."""

    hostname: str
    queues: frozenset[str]
    concurrency: int = 8
    skew: float = 0.0
    version: str = "5.7.0"


# fmt: off
CHARACTERS: Final = (
    Character(hostname="w1@demo-a", queues=frozenset({"celery", "billing", "orders"})),
    Character(hostname="w2@demo-a", queues=frozenset({"celery", "mail", "orders"})),
    Character(hostname="w3@demo-b", queues=frozenset({"celery", "billing", "mail"})),
    Character(hostname="reports@demo-b", queues=frozenset({"reports"}), concurrency=4,
              version="5.6.2"),
    Character(hostname="images@demo-c", queues=frozenset({"images"}), skew=29.0, version="5.4.0"),
)
# fmt: on


class Simulation:
    """A cluster of which everything happens in the order of time, decided by `rng` alone.

    `client` sends events as EventDispatcher does, tasks at `rate` per second.  `clock` only
    says which time events show.
    """

    def __init__(self, rng: Random, clock: Clock, client: Any, rate: float) -> None:
        self.rng = rng
        self.workers: list[DemoWorker] = []
        self.queues = {name: deque[DemoTask](maxlen=QUEUE_MAX) for name in QUEUES}
        self.wall = clock.wall
        #: The moment of what happens just now, in seconds from the start.
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._entered = 0
        self._client = client
        self._rate = rate
        self._pid = _FIRST_PID

    def start(self, workers: "Iterable[DemoWorker]", *, fates: bool = True) -> None:
        """Let the workers and the client begin; with `fates`, some workers come and go."""
        self.workers = list(workers)
        for worker in self.workers:
            if fates and worker.hostname in _FATES:
                deed, first, away, every = _FATES[worker.hostname]
                self.after(first, partial(self._repeat, partial(deed, worker, away), every))
        for worker in self.workers:
            worker.come()
        self._next_task()

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Let `action` happen in `delay` seconds; at the same moment, in this order."""
        self._entered += 1
        heapq.heappush(self._due, (self.now + delay, self._entered, action))

    def pause(self, moment: float) -> float:
        """Return the seconds from `moment` until something is due."""
        return max(0.0, self._due[0][0] - moment) if self._due else 0.0

    def play(self, until: float) -> None:
        while self._due and self._due[0][0] <= until:
            self.now, _, action = heapq.heappop(self._due)
            action()
        self.now = max(self.now, until)

    def new_pid(self) -> int:
        """Return a process id that is new, as is the one that follows it."""
        self._pid += self.rng.randint(2, 50)
        return self._pid

    def send(self, task: DemoTask) -> None:
        queue = task.kind.queue
        self._client.send("task-sent", queue=queue, exchange="", routing_key=queue, **task.fields())
        self.after(_DELIVERY, partial(self.enqueue, task))

    def enqueue(self, task: DemoTask) -> None:
        self.queues[task.kind.queue].append(task)
        self.deliver()

    def deliver(self) -> None:
        for name, queue in self.queues.items():
            while queue:
                free = [worker for worker in self.workers if worker.has_room(name)]
                if not free:
                    break
                self.rng.choice(free).receive(queue.popleft())

    def _repeat(self, deed: Callable[[], None], every: float) -> None:
        deed()
        self.after(every, partial(self._repeat, deed, every))

    def _next_task(self) -> None:
        (kind,) = self.rng.choices(KINDS, _WEIGHTS)
        task = make_task(self.rng, kind, self.wall())
        self.send(task)
        if self.rng.random() < kind.revoked:
            self.after(self.rng.uniform(4, 9), partial(self._revoke, task.uuid))
        self.after(self.rng.expovariate(self._rate), self._next_task)

    def _revoke(self, uuid: str) -> None:
        for worker in self.workers:
            worker.revoke(uuid, signum=15)


class DemoWorker:
    """Receives tasks, runs them, and sends events of it.

    `main` is the dispatcher of its main process, `child` of one of its pool, which sends the
    events of the application.
    """

    def __init__(self, simulation: Simulation, character: Character, main: Any, child: Any) -> None:
        self.character = character
        self.hostname = character.hostname
        self.queues = set(character.queues)
        self.concurrency = character.concurrency
        self.up = False
        self.sends_task_events = True
        self.processed = 0
        self.main = main
        #: Tasks it was given and has not started, and those that run.
        self.received: dict[str, DemoTask] = {}
        self.running: dict[str, DemoTask] = {}
        #: Starts per second and longest run time in seconds, by task type.
        self.rate_limits: dict[str, float] = {}
        self.time_limits: dict[str, float] = {}
        self._simulation = simulation
        self._child = child
        self._due: deque[DemoTask] = deque()
        self._next_start: dict[str, float] = {}
        self._revoked: dict[str, None] = {}
        self._leaving: float | None = None

    # -- coming and going --------------------------------------------------------

    def come(self) -> None:
        if self.up:
            return
        pid = self._simulation.new_pid()
        for offset, sender in enumerate((self.main, self._child)):
            sender.pid, sender.clock = pid + offset, LamportClock()
        self.up, self._leaving, self.processed = True, None, 0
        self.emit("worker-online", **self._vitals())
        self._simulation.after(HEARTBEAT_EVERY, partial(self._beat, pid))
        self._simulation.deliver()

    def die(self, away: float) -> None:
        """Vanish without an event, and come back after `away` seconds."""
        if self.up:
            self.up = False
            self.running.clear()
            self._requeue()
            self._simulation.after(away, self.come)

    def leave(self, away: float) -> None:
        """Finish what runs, send worker-offline, come back after `away` seconds."""
        if self.up and self._leaving is None:
            self._leaving = away
            self._requeue()
            self._leave_when_done()

    def go_offline(self) -> None:
        if self.up:
            self.emit("worker-offline", **self._vitals())
            self.up = False

    def wake_up(self) -> None:
        """Answer a request for a heartbeat, with as few fields as Celery does then."""
        self.emit("worker-heartbeat", freq=5.0, **self._software())

    def resize(self, concurrency: int) -> None:
        self.concurrency = max(1, min(concurrency, CONCURRENCY_MAX))
        self._start_due()

    def serve(self, queue: str) -> None:
        self.queues.add(queue)
        self._simulation.deliver()

    # -- tasks ---------------------------------------------------------------------

    def has_room(self, queue: str) -> bool:
        """Return whether it takes another task from a queue."""
        # Delayed tasks are not counted, as in Celery.
        ready = sum(task.eta is None for task in self.received.values())
        serves = self.up and self._leaving is None and queue in self.queues
        return serves and ready + len(self.running) < 2 * self.concurrency

    def receive(self, task: DemoTask) -> None:
        now = self._simulation.wall()
        expired = task.expires is not None and task.expires < now
        if expired or task.uuid in self._revoked:
            # Such a task has no task-received.
            self._emit_revoked(task, expired=expired)
            return
        self.received[task.uuid] = task
        self.emit("task-received", **task.fields())
        wait = max(0.0, (task.eta or now) - now) + self._simulation.rng.expovariate(40)
        self._simulation.after(wait, partial(self._ready, task))

    def revoke(self, uuid: str, signum: int | None = None) -> None:
        """Let a task not start; with a signal, also end it if it runs."""
        self._revoked[uuid] = None
        if len(self._revoked) > REVOKED_MAX:
            del self._revoked[next(iter(self._revoked))]
        task = self.received.pop(uuid, None)
        if task is not None:
            self._emit_revoked(task)
        elif signum is not None and uuid in self.running:
            self._emit_revoked(self.running.pop(uuid), signum=signum)
            self._start_due()

    def emit(self, type_: str, **fields: Any) -> None:
        """Send an event of the main process, at the time its clock shows."""
        self._send(self.main, type_, fields)

    # -- inside --------------------------------------------------------------------

    def _send(self, sender: Any, type_: str, fields: Mapping[str, Any]) -> None:
        if self.sends_task_events or not type_.startswith("task-"):
            timestamp = self._simulation.wall() + self.character.skew
            sender.send(type_, timestamp=timestamp, **fields)

    def _vitals(self) -> dict[str, Any]:
        load = len(self.running) / 2
        rng = self._simulation.rng
        return {
            "freq": HEARTBEAT_EVERY,
            "active": len(self.running),
            "processed": self.processed,
            "loadavg": [round(load + rng.uniform(0.1, 0.5), 2) for _ in range(3)],
            **self._software(),
        }

    def _software(self) -> dict[str, Any]:
        version = self.character.version
        return {"sw_ident": "py-celery", "sw_ver": version, "sw_sys": "Linux"}

    def _beat(self, pid: int) -> None:
        if self.up and self.main.pid == pid:
            self.emit("worker-heartbeat", **self._vitals())
            self._simulation.after(HEARTBEAT_EVERY, partial(self._beat, pid))

    def _requeue(self) -> None:
        """Return to the queues what was not started, as the broker would."""
        tasks = list(self.received.values())
        self.received.clear()
        self._due.clear()
        for task in tasks:
            self._simulation.enqueue(task.redelivery())

    def _leave_when_done(self) -> None:
        if self._leaving is not None and not self.running:
            self.go_offline()
            self._simulation.after(self._leaving, self.come)

    def _ready(self, task: DemoTask) -> None:
        if self.received.get(task.uuid) is task:
            self._due.append(task)
            self._start_due()

    def _start_due(self) -> None:
        while self._due and len(self.running) < self.concurrency:
            task = self._due.popleft()
            if self.received.get(task.uuid) is task and not self._is_held(task):
                self._start(task)
        self._simulation.deliver()

    def _is_held(self, task: DemoTask) -> bool:
        """Hold a task until its rate limit lets it start."""
        name, simulation = task.kind.name, self._simulation
        limit = self.rate_limits.get(name)
        if not limit:
            return False
        wait = self._next_start.get(name, 0.0) - simulation.now
        if wait > 0:
            simulation.after(wait, partial(self._ready, task))
            return True
        self._next_start[name] = simulation.now + 1 / limit
        return False

    def _start(self, task: DemoTask) -> None:
        del self.received[task.uuid]
        self.running[task.uuid] = task
        self.processed += 1
        self.emit("task-started", uuid=task.uuid)
        kind, rng, after = task.kind, self._simulation.rng, self._simulation.after
        runtime, end = rng.gammavariate(4, kind.runtime / 4), end_of(rng, kind)
        limit = self.time_limits.get(kind.name)
        if limit is not None and runtime > limit:
            runtime, end = limit, _TIME_LIMIT
        for number in range(1, kind.progress + 1):
            done = number / (kind.progress + 1)
            after(runtime * done, partial(self._report, task, round(100 * done)))
        for name in kind.children:
            after(runtime * rng.uniform(0.3, 0.9), partial(self._spawn, task, name))
        after(runtime, partial(self._end, task, runtime, end))

    def _report(self, task: DemoTask, percent: int) -> None:
        if self.running.get(task.uuid) is task:
            fields = {"uuid": task.uuid, "percent": percent, "step": "working"}
            self._send(self._child, "task-progress", fields)

    def _spawn(self, parent: DemoTask, name: str) -> None:
        if self.running.get(parent.uuid) is parent:
            simulation = self._simulation
            simulation.send(make_task(simulation.rng, BY_NAME[name], simulation.wall(), parent))

    def _end(self, task: DemoTask, runtime: float, end: End | None) -> None:
        if self.running.get(task.uuid) is not task:
            return
        del self.running[task.uuid]
        if end is None:
            result = task.kind.result
            self.emit("task-succeeded", uuid=task.uuid, result=result, runtime=runtime)
        elif end.event == "rejected":
            self.emit("task-rejected", uuid=task.uuid, requeue=end.requeue)
            if end.requeue:
                self._simulation.enqueue(task.redelivery())
        else:
            self._raise(task, end)
        self._leave_when_done()
        self._start_due()

    def _raise(self, task: DemoTask, end: End) -> None:
        exception = end.exception(self._simulation.rng) if end.exception else "Exception()"
        event = f"task-{end.event}"
        if end.event == "retried":
            if task.retries < MAX_RETRIES:
                self._simulation.send(task.retry(self._simulation.wall()))
            else:
                event = "task-failed"
                exception = (
                    f"MaxRetriesExceededError(\"Can't retry {task.kind.name}"
                    f'[{task.uuid}] args:{task.args} kwargs:{{}}")'
                )
        self.emit(
            event, uuid=task.uuid, exception=exception, traceback=traceback(task.kind, exception)
        )

    def _emit_revoked(
        self, task: DemoTask, *, signum: int | None = None, expired: bool = False
    ) -> None:
        self.emit(
            "task-revoked",
            uuid=task.uuid,
            terminated=signum is not None,
            signum=signum,
            expired=expired,
        )


#: What befalls a worker: first after, how long it is away, how often; in seconds.
_FATES: Final[Mapping[str, tuple[Callable[[DemoWorker, float], None], float, float, float]]] = {
    "reports@demo-b": (DemoWorker.die, 20.0, 45.0, 120.0),
    "w3@demo-b": (DemoWorker.leave, 40.0, 10.0, 90.0),
}
