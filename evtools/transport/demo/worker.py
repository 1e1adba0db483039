"""A worker of the simulated cluster."""

from collections import OrderedDict, deque
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from evtools.transport.demo.kinds import BY_NAME, End
from evtools.transport.demo.stage import Sender, Stage
from evtools.transport.demo.task import MAX_RETRIES, DemoTask, end_of, make_task, traceback
from evtools.wire import LamportClock

HEARTBEAT_EVERY: Final = 2.0
#: Revoked tasks that a worker remembers.
REVOKED_MAX: Final = 1000
CONCURRENCY_MAX: Final = 64
_TIME_LIMIT: Final = End(0.0, "failed", lambda _: "TimeLimitExceeded(30.0,)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Character:
    """What tells one worker from another; its clock is `skew` seconds ahead."""

    hostname: str
    queues: frozenset[str]
    concurrency: int = 8
    skew: float = 0.0
    version: str = "5.7.0"


class DemoWorker:
    """Receives tasks, runs them, and tells about it.

    `sender` is its main process, `child` one of its pool, which sends the
    events of the application.
    """

    def __init__(self, stage: Stage, character: Character, sender: Sender, child: Sender) -> None:
        self.character = character
        self.hostname = character.hostname
        self.queues = set(character.queues)
        self.concurrency = character.concurrency
        self.up = False
        #: Whether it sends events of tasks.
        self.tells = True
        self.processed = 0
        self.sender = sender
        #: Tasks it was given and has not started, and those that run.
        self.received: dict[str, DemoTask] = {}
        self.running: dict[str, DemoTask] = {}
        #: Starts per second and longest run time in seconds, by task type.
        self.rate_limits: dict[str, float] = {}
        self.time_limits: dict[str, float] = {}
        self._stage = stage
        self._child = child
        self._due: deque[DemoTask] = deque()
        self._next_start: dict[str, float] = {}
        self._revoked: OrderedDict[str, None] = OrderedDict()
        self._leaving: float | None = None

    # -- coming and going --------------------------------------------------------

    def come(self) -> None:
        """Start, as a new process."""
        if self.up:
            return
        pid = self._stage.new_pid()
        for offset, sender in enumerate((self.sender, self._child)):
            sender.pid, sender.clock = pid + offset, LamportClock()
        self.up, self._leaving, self.processed = True, None, 0
        self.tell("worker-online", **self._vitals())
        self._stage.agenda.after(HEARTBEAT_EVERY, partial(self._beat, pid))
        self._stage.deliver()

    def die(self, away: float) -> None:
        """Vanish without a word, and come back after so many seconds."""
        if self.up:
            self.up = False
            self.running.clear()
            self._give_back()
            self._stage.agenda.after(away, self.come)

    def leave(self, away: float) -> None:
        """Finish what runs, say goodbye, come back after so many seconds."""
        if self.up and self._leaving is None:
            self._leaving = away
            self._give_back()
            self._go_when_done()

    def goodbye(self) -> None:
        """Say goodbye, if it is there."""
        if self.up:
            self.tell("worker-offline", **self._vitals())
            self.up = False

    def wake_up(self) -> None:
        """Answer the question who is there, with as little as Celery tells then."""
        self.tell("worker-heartbeat", freq=5.0, **self._software())

    def resize(self, concurrency: int) -> None:
        """Run so many tasks at a time; one at the least."""
        self.concurrency = max(1, min(concurrency, CONCURRENCY_MAX))
        self._start_due()

    def serve(self, queue: str) -> None:
        """Take tasks from another queue, too."""
        self.queues.add(queue)
        self._stage.deliver()

    # -- tasks ---------------------------------------------------------------------

    def has_room(self, queue: str) -> bool:
        """Tell whether it takes another task from a queue."""
        # What is to be delayed is not counted, as in Celery.
        ready = sum(task.eta is None for task in self.received.values())
        serves = self.up and self._leaving is None and queue in self.queues
        return serves and ready + len(self.running) < 2 * self.concurrency

    def receive(self, task: DemoTask) -> None:
        """Take a task from its queue."""
        now = self._stage.wall()
        expired = task.expires is not None and task.expires < now
        if expired or task.uuid in self._revoked:
            # Such a task is not told to have been received.
            self._tell_revoked(task, expired=expired)
            return
        self.received[task.uuid] = task
        self.tell("task-received", **task.told())
        wait = max(0.0, (task.eta or now) - now) + self._stage.rng.expovariate(40)
        self._stage.agenda.after(wait, partial(self._ready, task))

    def revoke(self, uuid: str, signum: int | None = None) -> None:
        """Let a task not start; with a signal, also end it if it runs."""
        self._revoked[uuid] = None
        if len(self._revoked) > REVOKED_MAX:
            self._revoked.popitem(last=False)
        task = self.received.pop(uuid, None)
        if task is not None:
            self._tell_revoked(task)
        elif signum is not None and uuid in self.running:
            self._tell_revoked(self.running.pop(uuid), signum=signum)
            self._start_due()

    def tell(self, type_: str, **fields: Any) -> None:
        """Send an event of the main process, at the time its clock shows."""
        self._send(self.sender, type_, fields)

    # -- inside --------------------------------------------------------------------

    def _send(self, sender: Sender, type_: str, fields: dict[str, Any]) -> None:
        if self.tells or not type_.startswith("task-"):
            timestamp = self._stage.wall() + self.character.skew
            sender.send(type_, timestamp=timestamp, **fields)

    def _vitals(self) -> dict[str, Any]:
        load = len(self.running) / 2
        rng = self._stage.rng
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
        if self.up and self.sender.pid == pid:
            self.tell("worker-heartbeat", **self._vitals())
            self._stage.agenda.after(HEARTBEAT_EVERY, partial(self._beat, pid))

    def _give_back(self) -> None:
        """Return to the queues what was not started, as the broker would."""
        given_back = list(self.received.values())
        self.received.clear()
        self._due.clear()
        for task in given_back:
            self._stage.enqueue(task.again())

    def _go_when_done(self) -> None:
        if self._leaving is not None and not self.running:
            self.goodbye()
            self._stage.agenda.after(self._leaving, self.come)

    def _ready(self, task: DemoTask) -> None:
        if self.received.get(task.uuid) is task:
            self._due.append(task)
            self._start_due()

    def _start_due(self) -> None:
        while self._due and len(self.running) < self.concurrency:
            task = self._due.popleft()
            if self.received.get(task.uuid) is task and not self._is_held(task):
                self._start(task)
        self._stage.deliver()

    def _is_held(self, task: DemoTask) -> bool:
        """Hold a task until its rate limit lets it start."""
        name, agenda = task.kind.name, self._stage.agenda
        limit = self.rate_limits.get(name)
        if not limit:
            return False
        wait = self._next_start.get(name, 0.0) - agenda.now
        if wait > 0:
            agenda.after(wait, partial(self._ready, task))
            return True
        self._next_start[name] = agenda.now + 1 / limit
        return False

    def _start(self, task: DemoTask) -> None:
        del self.received[task.uuid]
        self.running[task.uuid] = task
        self.processed += 1
        self.tell("task-started", uuid=task.uuid)
        kind, rng, after = task.kind, self._stage.rng, self._stage.agenda.after
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
            stage = self._stage
            stage.send(make_task(stage.rng, BY_NAME[name], stage.wall(), parent))

    def _end(self, task: DemoTask, runtime: float, end: End | None) -> None:
        if self.running.get(task.uuid) is not task:
            return
        del self.running[task.uuid]
        if end is None:
            result = task.kind.result
            self.tell("task-succeeded", uuid=task.uuid, result=result, runtime=runtime)
        elif end.event == "rejected":
            self.tell("task-rejected", uuid=task.uuid, requeue=end.requeue)
            if end.requeue:
                self._stage.enqueue(task.again())
        else:
            self._raise(task, end)
        self._go_when_done()
        self._start_due()

    def _raise(self, task: DemoTask, end: End) -> None:
        exception = end.exception(self._stage.rng) if end.exception else "Exception()"
        event = f"task-{end.event}"
        if end.event == "retried":
            if task.retries < MAX_RETRIES:
                self._stage.send(task.retry(self._stage.wall()))
            else:
                event = "task-failed"
                exception = (
                    f"MaxRetriesExceededError(\"Can't retry {task.kind.name}"
                    f'[{task.uuid}] args:{task.args} kwargs:{{}}")'
                )
        self.tell(
            event, uuid=task.uuid, exception=exception, traceback=traceback(task.kind, exception)
        )

    def _tell_revoked(
        self, task: DemoTask, *, signum: int | None = None, expired: bool = False
    ) -> None:
        self.tell(
            "task-revoked",
            uuid=task.uuid,
            terminated=signum is not None,
            signum=signum,
            expired=expired,
        )
