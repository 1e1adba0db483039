"""A simulated cluster inside the process, for a first look without a broker.

It is played in real time in a thread, and obeys remote control.
"""

import heapq
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from random import Random
from signal import Signals
from typing import Any, Final
from uuid import UUID

from kombu.connection import Connection
from kombu.pidbox import Node

from evtools.clock import SystemClock
from evtools.transport.connection import connect
from evtools.transport.control import mailbox
from evtools.transport.dispatcher import EventDispatcher
from evtools.transport.settings import ConnectionSettings
from evtools.wire import LamportClock

#: The broker of the simulated cluster: kombu's, in memory.
URL: Final = "memory://demo"
#: How often its queues are polled, in seconds; kombu would once a second.
_POLLING: Final = 0.05
#: How long a command, or the end, may have to wait for the thread, in seconds.
_PATIENCE: Final = 0.1
#: What happens within this time, in seconds, is sent as one message.
_TURN: Final = 0.02
#: How long a worker is away that was shut down, in seconds.
AWAY: Final = 20.0
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
HEARTBEAT_EVERY: Final = 2.0
#: Messages in a queue; a cluster that is too slow for its clients drops the oldest.
QUEUE_MAX: Final = 1000
#: Revoked tasks that a worker remembers.
REVOKED_MAX: Final = 1000
CONCURRENCY_MAX: Final = 64
#: How many times a task is retried before it fails.
MAX_RETRIES: Final = 2
_RETRY_AFTER: Final = 4.0
_DELIVERY: Final = 0.002
_FIRST_PID: Final = 4000

# --- task types -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class End:
    """How a share (0 to 1) of the tasks end: the event, and what they raise (see `fill`)."""

    share: float
    event: str
    exception: str = ""
    requeue: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """A task type; times are in seconds, `runtime` is the mean, `weight` how often it is sent.

    `args` may be filled (see `fill`).  Tasks that do not end by one of `ends` succeed.  They report
    their `progress` this many times, send tasks of the types `children`, wait `countdown` at first
    and are dropped after `expires`; a share `revoked` is revoked.
    """

    name: str
    queue: str
    runtime: float
    weight: float
    args: tuple[str, ...]
    ends: tuple[End, ...] = ()
    result: str = "None"
    progress: int = 0
    children: tuple[str, ...] = ()
    countdown: float = 0.0
    expires: float = 0.0
    revoked: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Character:
    """How one worker differs from another; its clock is `skew` seconds ahead.

    A `fate` befalls it: the method, first after, how long it is away, how often; in seconds.
    """

    hostname: str
    queues: frozenset[str]
    concurrency: int = 8
    skew: float = 0.0
    version: str = "5.7.0"
    fate: tuple[str, float, float, float] | None = None


_GATEWAY: Final = "GatewayTimeout('no answer from 10.0.0.<2-9>:8443 after 30.<0-9>s')"
_SMTP = "SMTPServerDisconnected('Connection unexpectedly closed: timed out after <5-30> seconds')"
_DEADLOCK = "OperationalError('deadlock detected: process <1000-9999> waits for table stock')"
_TIME_LIMIT: Final = End(0.0, "failed", "TimeLimitExceeded(30.0,)")
_MAIL: Final = (
    "('user<1-99>@example.org', 'Your order')",
    "('田中@example.jp', 'ご注文ありがとうございます 🎉')",
    "('김민준@example.kr', '주문 확인 📦')",
)
# fmt: off
KINDS: Final = (
    Kind("shop.web.checkout", "celery", 0.06, 5, ("(<1-500>,)",),
         (End(0.01, "failed", "KeyError('basket')"),), result="'confirmed'"),
    Kind("shop.billing.charge", "billing", 0.9, 3, ("(<1000-9999>, 'EUR')",),
         (End(0.09, "failed", "CardError('card <1000-9999> declined')"),
          End(0.03, "failed", _GATEWAY))),
    Kind("shop.mail.send", "mail", 0.2, 4, _MAIL, (End(0.3, "retried", _SMTP),)),
    Kind("shop.images.thumbnail", "images", 2.0, 2, ("('img-<1000-9999>.jpg', 256)",),
         (End(0.04, "failed", "MemoryError()"),), result="(256, 192)", progress=3),
    Kind("shop.stock.sync", "celery", 0.4, 1.5, ("('warehouse-<1-3>',)",),
         (End(0.1, "rejected", requeue=True), End(0.05, "rejected"),
          End(0.05, "failed", _DEADLOCK))),
    Kind("shop.reports.build", "reports", 12.0, 0.5, ("('2026-<10-12>',)",),
         result="'report.pdf'", progress=9, expires=20.0, revoked=0.25),
    Kind("shop.offers.remind", "mail", 0.1, 0.5, ("(<1-500>,)",), countdown=15.0, revoked=0.3),
    Kind("shop.orders.fulfil", "celery", 0.6, 0.5, ("(<1000-9999>,)",),
         children=("shop.orders.pack",) * 3),
    Kind("shop.orders.pack", "orders", 0.8, 0.0, ("('item-<1-99>',)",),
         children=("shop.orders.label",)),
    Kind("shop.orders.label", "orders", 0.3, 0.0, ("(<100000-999999>,)",),
         (End(0.05, "failed", "PrinterError('out of paper')"),)),
)
CHARACTERS: Final = (
    Character(hostname="w1@demo-a", queues=frozenset({"celery", "billing", "orders"})),
    Character(hostname="w2@demo-a", queues=frozenset({"celery", "mail", "orders"})),
    Character(hostname="w3@demo-b", queues=frozenset({"celery", "billing", "mail"}),
              fate=("leave", 40.0, 10.0, 90.0)),
    Character(hostname="reports@demo-b", queues=frozenset({"reports"}), concurrency=4,
              version="5.6.2", fate=("die", 20.0, 45.0, 120.0)),
    Character(hostname="images@demo-c", queues=frozenset({"images"}), skew=29.0, version="5.4.0"),
)
# fmt: on
BY_NAME: Final = {kind.name: kind for kind in KINDS}
QUEUES: Final = tuple(dict.fromkeys(kind.queue for kind in KINDS))
_WEIGHTS: Final = [kind.weight for kind in KINDS]
_RANGE: Final = re.compile(r"<(\d+)-(\d+)>")


def fill(rng: Random, text: str) -> str:
    """Return `text` with a number of each range in it, such as `<1-500>`."""
    return _RANGE.sub(lambda found: str(rng.randint(int(found[1]), int(found[2]))), text)


# --- tasks ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class DemoTask:
    """One delivery of a task; `eta` and `expires` are UTC epoch seconds, or 0."""

    kind: Kind
    uuid: str
    #: What both client and worker report of it.
    fields: dict[str, Any]
    eta: float
    expires: float


def _iso(moment: float) -> str | None:
    return datetime.fromtimestamp(moment, UTC).isoformat() if moment else None


# --- the cluster ----------------------------------------------------------------------


class Simulation:
    """A cluster of which everything happens in the order of time, decided by `rng` alone.

    `dispatcher` makes what sends events as EventDispatcher does, for a hostname (None is the
    client's) and a group of events that go out together (or ""), and `wall` says which time they
    show.  The client sends tasks at `rate` per second.
    """

    def __init__(
        self,
        dispatcher: Callable[[str | None, str], Any],
        *,
        rng: Random,
        wall: Callable[[], float],
        rate: float,
        cast: Iterable[Character] = CHARACTERS,
    ) -> None:
        self.rng = rng
        self.wall = wall
        #: Tasks, and messages with some that others sent.
        self.queues = {name: deque[Any](maxlen=QUEUE_MAX) for name in QUEUES}
        #: The moment of what happens just now, in seconds from the start.
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._entered = 0
        self._client = dispatcher(None, "")
        self._rate = rate
        self.last_pid = _FIRST_PID
        self.workers: list[DemoWorker] = []
        for one in cast:
            # As Celery does: the main process sends what happens together as one message, a
            # process of the pool each event by itself.
            main, child = (dispatcher(one.hostname, group) for group in ("task", ""))
            worker = DemoWorker(self, one, main, child)
            self.workers.append(worker)
            self.after(0.0, worker.come)
            if one.fate is not None:
                deed, first, away, every = one.fate
                befall = partial(getattr(worker, deed), away)
                self.after(first, partial(self._repeat, befall, every))
        self.after(0.0, self._next_task)

    def after(self, delay: float, action: Callable[[], object]) -> None:
        """Let `action` happen in `delay` seconds; at the same moment, in this order."""
        self._entered += 1
        heapq.heappush(self._due, (self.now + delay, self._entered, action))

    def play(self, until: float) -> float:
        """Let happen what is due; return the seconds from then until something is due."""
        while self._due[0][0] <= until:
            self.now, _, action = heapq.heappop(self._due)
            action()
        self.now = max(self.now, until)
        return self._due[0][0] - self.now

    def make_task(self, kind: Kind, parent: DemoTask | None = None) -> DemoTask:
        """Have the client, or a task that runs, send a task of a type."""
        now, uuid = self.wall(), str(UUID(int=self.rng.getrandbits(128), version=4))
        eta, expires = (after and now + after for after in (kind.countdown, kind.expires))
        fields = {
            "uuid": uuid,
            "name": kind.name,
            "args": fill(self.rng, self.rng.choice(kind.args)),
            "kwargs": "{}",
            "retries": 0,
            "eta": _iso(eta),
            "expires": _iso(expires),
            "root_id": parent.fields["root_id"] if parent else uuid,
            "parent_id": parent.uuid if parent else None,
        }
        task = DemoTask(kind, uuid, fields, eta, expires)
        self.send(task)
        return task

    def send(self, task: DemoTask) -> None:
        queue = task.kind.queue
        self._client.send("task-sent", queue=queue, exchange="", routing_key=queue, **task.fields)
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
                with suppress(IndexError):  # it may be purged meanwhile
                    found = queue.popleft()
                    task = found if isinstance(found, DemoTask) else _task_in(found)
                    if task is not None:
                        self.rng.choice(free).receive(task)

    def _repeat(self, deed: Callable[[], None], every: float) -> None:
        deed()
        self.after(every, partial(self._repeat, deed, every))

    def _next_task(self) -> None:
        (kind,) = self.rng.choices(KINDS, _WEIGHTS)
        task = self.make_task(kind)
        if self.rng.random() < kind.revoked:
            wait = self.rng.uniform(4, 9)
            for worker in self.workers:
                self.after(wait, partial(worker.revoke, task.uuid, signum=15))
        self.after(self.rng.expovariate(self._rate), self._next_task)


class DemoWorker:
    """Receives tasks, runs them, and sends events of it.

    `main` is the dispatcher of its main process, `child` of one that runs the application.
    """

    def __init__(self, simulation: Simulation, character: Character, main: Any, child: Any) -> None:
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
        #: When those that run were started, and the worker itself, by its clock.
        self.started: dict[str, float] = {}
        self.since = 0.0
        #: Starts per second and longest run time in seconds, by task type.
        self.rate_limits: dict[str, float] = {}
        self.time_limits: dict[str, float] = {}
        self._simulation = simulation
        self._child = child
        self._skew = character.skew
        self.software = {"sw_ident": "py-celery", "sw_ver": character.version, "sw_sys": "Linux"}
        self._due: deque[DemoTask] = deque()
        self._next_start: dict[str, float] = {}
        self.revoked: dict[str, None] = {}
        self._leaving: float | None = None

    def now(self) -> float:
        """Return the time that its clock shows, in UTC epoch seconds."""
        return self._simulation.wall() + self._skew

    def emit(self, type_: str, *, of_child: bool = False, **fields: Any) -> None:
        """Send an event, of its main process or a child, at the time its clock shows."""
        if self.sends_task_events or not type_.startswith("task-"):
            sender = self._child if of_child else self.main
            sender.send(type_, timestamp=self.now(), **fields)

    # -- coming and going --------------------------------------------------------

    def come(self) -> None:
        """Start with new processes, unless it runs."""
        if self.up:
            return
        simulation = self._simulation
        # New ones, of this process and of the next.
        pid = simulation.last_pid = simulation.last_pid + simulation.rng.randint(2, 50)
        for offset, sender in enumerate((self.main, self._child)):
            sender.pid, sender.clock = pid + offset, LamportClock()
        self.up, self._leaving, self.processed = True, None, 0
        self.since = self.now()
        self.emit("worker-online", **self._vitals())
        simulation.after(HEARTBEAT_EVERY, partial(self._beat, pid))
        simulation.deliver()

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

    def _beat(self, pid: int) -> None:
        if self.up and self.main.pid == pid:
            self.emit("worker-heartbeat", **self._vitals())
            self._simulation.after(HEARTBEAT_EVERY, partial(self._beat, pid))

    def _vitals(self) -> dict[str, Any]:
        load, noise = len(self.running) / 2, self._simulation.rng.uniform
        return {
            "freq": HEARTBEAT_EVERY,
            "active": len(self.running),
            "processed": self.processed,
            "loadavg": [round(load + noise(0.1, 0.5), 2) for _ in range(3)],
            **self.software,
        }

    def _requeue(self) -> None:
        # What was not started returns to the queues, as the broker would have it.
        tasks, self.received = self.received, {}
        self._due.clear()
        for task in tasks.values():
            self._simulation.enqueue(replace(task))

    def _leave_when_done(self) -> None:
        if self._leaving is not None and not self.running:
            self.go_offline()
            self._simulation.after(self._leaving, self.come)

    # -- tasks ---------------------------------------------------------------------

    def resize(self, change: int) -> None:
        """Run so many more tasks at a time, within bounds."""
        self.concurrency = max(1, min(self.concurrency + change, CONCURRENCY_MAX))
        self._start_due()

    def switch_events(self, *, on: bool) -> None:
        self.sends_task_events = on

    def serve(self, queue: str) -> None:
        self.queues.add(queue)
        self._simulation.deliver()

    def has_room(self, queue: str) -> bool:
        """Return whether it takes another task from a queue."""
        # Delayed tasks are not counted, as in Celery.
        ready = sum(not task.eta for task in self.received.values())
        serves = self.up and self._leaving is None and queue in self.queues
        return serves and ready + len(self.running) < 2 * self.concurrency

    def receive(self, task: DemoTask) -> None:
        """Take a task; it starts when its time has come and there is room."""
        now = self._simulation.wall()
        expired = 0 < task.expires < now
        if expired or task.uuid in self.revoked:  # then it has no task-received
            self._emit_revoked(task.uuid, expired=expired)
            return
        self.received[task.uuid] = task
        self.emit("task-received", **task.fields)
        wait = max(0.0, task.eta - now) + self._simulation.rng.expovariate(40)
        self._simulation.after(wait, partial(self._ready, task))

    def revoke(self, uuid: str, signum: int | None = None) -> None:
        """Let a task not start; with a signal, also end it if it runs."""
        self.revoked[uuid] = None
        if len(self.revoked) > REVOKED_MAX:
            del self.revoked[next(iter(self.revoked))]
        if self.received.pop(uuid, None) is not None:
            self._emit_revoked(uuid)
        elif signum is not None and self.running.pop(uuid, None) is not None:
            self._emit_revoked(uuid, signum=signum)
            self._start_due()

    def _emit_revoked(self, uuid: str, signum: int | None = None, *, expired: bool = False) -> None:
        terminated = signum is not None
        self.emit("task-revoked", uuid=uuid, terminated=terminated, signum=signum, expired=expired)

    def _ready(self, task: DemoTask) -> None:
        if self.received.get(task.uuid) is task:
            self._due.append(task)
            self._start_due()

    def _start_due(self) -> None:
        simulation = self._simulation
        while self._due and len(self.running) < self.concurrency:
            task = self._due.popleft()
            name, now = task.kind.name, simulation.now
            if self.received.get(task.uuid) is not task:
                continue
            if limit := self.rate_limits.get(name):
                wait = self._next_start.get(name, 0.0) - now
                if wait > 0:
                    simulation.after(wait, partial(self._ready, task))
                    continue
                self._next_start[name] = now + 1 / limit
            self._start(task)
        simulation.deliver()

    def _start(self, task: DemoTask) -> None:
        del self.received[task.uuid]
        self.running[task.uuid] = task
        self.started = {uuid: at for uuid, at in self.started.items() if uuid in self.running}
        self.started[task.uuid] = self.now()
        self.processed += 1
        self.emit("task-started", uuid=task.uuid)
        kind, simulation = task.kind, self._simulation
        runtime = simulation.rng.gammavariate(4, kind.runtime / 4)
        shares = [end.share for end in kind.ends]
        (end,) = simulation.rng.choices((*kind.ends, None), (*shares, 1 - sum(shares)))
        limit = self.time_limits.get(kind.name)
        if limit is not None and runtime > limit:
            runtime, end = limit, _TIME_LIMIT

        def when_done(share: float, action: Callable[[], object]) -> None:
            # Unless it was ended or lost before.
            still = lambda: self.running.get(task.uuid) is task and action()  # noqa: E731
            simulation.after(runtime * share, still)

        for number in range(1, kind.progress + 1):
            share = number / (kind.progress + 1)
            fields = {"uuid": task.uuid, "percent": round(100 * share), "step": "working"}
            when_done(share, partial(self.emit, "task-progress", of_child=True, **fields))
        for name in kind.children:
            share = simulation.rng.uniform(0.3, 0.9)
            when_done(share, partial(simulation.make_task, BY_NAME[name], task))
        when_done(1.0, partial(self._end, task, runtime, end))

    def _end(self, task: DemoTask, runtime: float, end: End | None) -> None:
        del self.running[task.uuid]
        if end is None:
            result = task.kind.result
            self.emit("task-succeeded", uuid=task.uuid, result=result, runtime=runtime)
        elif end.event == "rejected":
            self.emit("task-rejected", uuid=task.uuid, requeue=end.requeue)
            if end.requeue:
                self._simulation.enqueue(replace(task))
        else:
            self._raise(task, end)
        self._leave_when_done()
        self._start_due()

    def _raise(self, task: DemoTask, end: End) -> None:
        simulation, kind = self._simulation, task.kind
        event, exception = f"task-{end.event}", fill(simulation.rng, end.exception)
        retries = task.fields["retries"]
        if end.event == "retried" and retries < MAX_RETRIES:
            eta = simulation.wall() + _RETRY_AFTER
            fields = {**task.fields, "retries": retries + 1, "eta": _iso(eta)}
            simulation.send(replace(task, fields=fields, eta=eta))
        elif end.event == "retried":
            event = "task-failed"
            words = f"Can't retry {kind.name}[{task.uuid}] args:{task.fields['args']} kwargs:{{}}"
            exception = f'MaxRetriesExceededError("{words}")'
        module, _, function = kind.name.rpartition(".")
        name, _, message = exception.removesuffix(")").partition("(")
        traceback = (
            "Traceback (most recent call last):\n"
            f'  File "/srv/{module.replace(".", "/")}.py", line 88, in {function}\n'
            f"    raise {exception}\n"
            f"{name}{message and ': '}{message}\n"
        )
        self.emit(event, uuid=task.uuid, exception=exception, traceback=traceback)


# --- the thread that plays it ---------------------------------------------------------


def demo_settings(settings: ConnectionSettings) -> ConnectionSettings:
    """Return how to reach the simulated cluster, with the other `settings` as they are."""
    options = {"polling_interval": _POLLING}
    own = replace(settings, urls=URL, renewal=None, source_of_url="--demo", options=options)
    return replace(own, cluster="")  # whatever name a broker has


class DemoCluster(threading.Thread):
    """Five workers and a client that send events until stopped, and obey remote control.

    `settings` must be of an in-memory broker; the client sends `rate` tasks per second.  Tasks and
    fates are always the same ones, as long as no commands come.
    """

    def __init__(self, settings: ConnectionSettings, *, rate: float = 5.0) -> None:
        super().__init__(name="evtools-demo", daemon=True)
        self._settings = settings
        self._rate = rate
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End, with a goodbye of each worker; wait for that."""
        self._stopping.set()
        if self.ident is not None:
            self.join(timeout=2.0)

    def run(self) -> None:
        clock, exchange = SystemClock(), self._settings.event_exchange
        with connect(self._settings) as connection:
            simulation = Simulation(
                lambda hostname, group: EventDispatcher(
                    connection, hostname, exchange=exchange, buffer_group={group} - {""}
                ),
                rng=Random(1),  # noqa: S311  (it plays)
                wall=clock.wall,
                rate=self._rate,
            )
            listen(connection, self._settings, simulation.workers)
            share_queues(connection, simulation)
            began = clock.monotonic()
            while not self._stopping.is_set():
                pause = simulation.play(clock.monotonic() - began)
                for worker in simulation.workers:
                    worker.main.flush()
                serve(connection, max(_TURN, min(_PATIENCE, pause)))
                simulation.deliver()  # what others have sent
            for worker in simulation.workers:
                worker.go_offline()
                worker.main.flush()


# --- remote control -----------------------------------------------------------------


def listen(connection: Connection, settings: ConnectionSettings, workers: list[DemoWorker]) -> None:
    """Have the workers receive commands, which `serve` then lets them answer."""
    box = mailbox(connection, settings)
    channel = connection.channel()
    for worker in workers:
        node = box.Node(worker.hostname, channel=channel)
        node.listen(callback=partial(_receive, node, worker))


def share_queues(connection: Connection, simulation: Simulation) -> None:
    """Let the queues be the broker's.

    So it counts what waits in them, a purge deletes that, and others can send tasks.
    """
    channel: Any = connection.channel()
    for name, tasks in simulation.queues.items():
        channel._queue_for(name).queue = tasks  # noqa: SLF001


def _task_in(message: Mapping[str, Any]) -> DemoTask | None:
    """Return the task in a message of another sender, None for an unknown type."""
    headers = message["headers"]
    kind = BY_NAME.get(headers.get("task"))
    if kind is None:
        return None
    texts = {"args": headers["argsrepr"], "kwargs": headers["kwargsrepr"]}
    ids = {name: headers[name] for name in ("root_id", "parent_id")}
    fields = {"uuid": headers["id"], "name": kind.name, **texts, **ids}
    fields |= {"retries": 0, "eta": None, "expires": None}
    return DemoTask(kind, headers["id"], fields, 0.0, 0.0)


def serve(connection: Connection, timeout: float) -> None:
    """Let the workers obey what comes within `timeout` seconds."""
    with suppress(TimeoutError):
        connection.drain_events(timeout=timeout)


def _receive(node: Node, worker: DemoWorker, body: Any, _: Any) -> None:
    if not isinstance(body, dict) or not worker.up:
        return
    destination = body.get("destination")
    if destination and worker.hostname not in destination:
        return
    command = body.get("method", "")
    reply = answer(worker, command, body.get("arguments") or {})
    reply_to = body.get("reply_to")
    if reply_to and command != "shutdown":
        where = reply_to["exchange"], reply_to["routing_key"]
        node.reply({worker.hostname: reply}, *where, body.get("ticket"))


def answer(worker: DemoWorker, command: str, arguments: Mapping[str, Any]) -> Any:
    """Let a worker obey; return its reply, an error where it does not know it or cannot do it."""
    try:
        deed, words = _COMMANDS[command]
        reply = deed(worker, **arguments)
    except Exception as error:  # noqa: BLE001  (it is the answer)
        return {"error": repr(error)}
    return {"ok": words.format(reply, **arguments)} if words else reply


def _revoke(
    worker: DemoWorker,
    task_id: str | list[str],
    terminate: bool = False,  # noqa: FBT001, FBT002  (by name, as Celery's)
    signal: str | int | None = None,
    **_: Any,
) -> str:
    uuids = [task_id] if isinstance(task_id, str) else task_id
    signum = None
    if terminate and isinstance(signal, int):
        signum = Signals(signal).value
    elif terminate:
        name = str(signal or "SIGTERM").upper()
        signum = Signals[name if name.startswith("SIG") else f"SIG{name}"].value
    for uuid in uuids:
        worker.revoke(uuid, signum)
    return ", ".join(uuids)


def _limit_rate(worker: DemoWorker, task_name: str, rate_limit: Any) -> Any:
    if task_name not in BY_NAME:
        return {"error": "unknown task"}
    number, _, unit = str(rate_limit).partition("/")
    rate = worker.rate_limits[task_name] = float(number) / _UNITS[unit or "s"]
    return {"ok": "new rate limit set successfully" if rate else "rate limit disabled successfully"}


def _limit_time(worker: DemoWorker, task_name: str, hard: Any = None, **_: Any) -> Any:
    if task_name not in BY_NAME:
        return {"error": "unknown task"}
    worker.time_limits.pop(task_name, None)
    if hard is not None:
        worker.time_limits[task_name] = float(hard)
    return {"ok": "time limits set successfully"}


def _stats(worker: DemoWorker) -> Any:
    return {
        "pid": worker.main.pid,
        "clock": str(worker.main.clock.value),
        "total": {"shop": worker.processed},
        "uptime": int(worker.now() - worker.since),
        "prefetch_count": 2 * worker.concurrency,
        "pool": {
            "implementation": "celery.concurrency.prefork:TaskPool",
            "max-concurrency": worker.concurrency,
            "processes": [worker.main.pid + 1],
            "timeouts": [0, 0],
        },
    }


def _requests(worker: DemoWorker, tasks: Iterable[DemoTask]) -> list[dict[str, Any]]:
    return [
        {
            "id": task.uuid,
            **{name: task.fields[name] for name in ("name", "args", "kwargs")},
            "hostname": worker.hostname,
            "worker_pid": worker.main.pid,
            "time_start": worker.started.get(task.uuid),
            "delivery_info": {"exchange": "", "routing_key": task.kind.queue},
        }
        for task in tasks
    ]


def _reserved(worker: DemoWorker, *, due: bool) -> list[DemoTask]:
    return [task for task in worker.received.values() if (task.eta <= worker.now()) is due]


def _scheduled(worker: DemoWorker, **_: Any) -> list[dict[str, Any]]:
    tasks = _reserved(worker, due=False)
    return [
        {"eta": _iso(task.eta), "priority": 6, "request": request}
        for task, request in zip(tasks, _requests(worker, tasks), strict=True)
    ]


def _query(worker: DemoWorker, ids: list[str], **_: Any) -> dict[str, Any]:
    groups = {"active": worker.running, "reserved": worker.received}
    return {
        uuid: [state, _requests(worker, [tasks[uuid]])[0]]
        for state, tasks in groups.items()
        for uuid in ids
        if uuid in tasks
    }


# fmt: off
#: What a worker does, and the words of its reply with the arguments in them, if that is no other.
_COMMANDS: Final[Mapping[str, tuple[Callable[..., Any], str]]] = {
    "ping": (lambda _worker: None, "pong"),
    # With as few fields as Celery sends then.
    "heartbeat": (lambda worker: worker.emit("worker-heartbeat", freq=5.0, **worker.software), ""),
    "revoke": (_revoke, "tasks {} flagged as revoked"),
    "terminate": (partial(_revoke, terminate=True), "tasks {} flagged as revoked"),
    "rate_limit": (_limit_rate, ""),
    "time_limit": (_limit_time, ""),
    "pool_grow": (lambda worker, n=1: worker.resize(n), "pool will grow"),
    "pool_shrink": (lambda worker, n=1: worker.resize(-n), "pool will shrink"),
    "pool_restart": (lambda _worker: {"error": "ValueError('Pool restarts not enabled')"}, ""),
    "revoke_by_stamped_headers": (lambda _worker, headers, **_: headers,
                                  "headers {} flagged as revoked, but not terminated"),
    "autoscale": (lambda _worker, **_: {"error": "ValueError('Autoscale not enabled')"}, ""),
    "add_consumer": (lambda worker, queue, **_: worker.serve(queue), "add consumer {queue}"),
    "cancel_consumer": (lambda worker, queue, **_: worker.queues.discard(queue),
                        "no longer consuming from {queue}"),
    "enable_events": (partial(DemoWorker.switch_events, on=True), "task events enabled"),
    "disable_events": (partial(DemoWorker.switch_events, on=False), "task events disabled"),
    "shutdown": (lambda worker, **_: worker.leave(AWAY), ""),
    "active": (lambda worker, **_: _requests(worker, worker.running.values()), ""),
    "reserved": (lambda worker, **_: _requests(worker, _reserved(worker, due=True)), ""),
    "scheduled": (_scheduled, ""),
    "query_task": (_query, ""),
    "report": (lambda worker: worker.software["sw_ver"],
               "software -> celery:{} (simulated)\nsettings -> transport:memory results:disabled"),
    "clock": (lambda worker: {"clock": worker.main.clock.value}, ""),
    "revoked": (lambda worker, **_: [*worker.revoked], ""),
    "conf": (lambda _worker, **_: {"broker_url": "memory://", "task_send_sent_event": True,
                                   "worker_send_task_events": True}, ""),
    "active_queues": (lambda worker: [{"name": key, "routing_key": key, "exchange": {"name": key}}
                                      for key in sorted(worker.queues)], ""),
    "registered": (lambda _worker, **_: sorted(BY_NAME), ""),
    "stats": (_stats, ""),
}
# fmt: on
