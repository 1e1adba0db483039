"""The tasks and workers of a cluster, kept up to date by its events."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import inf
from operator import itemgetter
from threading import RLock
from typing import Any, ClassVar, Final

from msgspec.structs import asdict

from evtools.clock import Clock, SystemClock
from evtools.state.annotations import add_fields, annotate, replace_fields
from evtools.state.change import Change
from evtools.state.kin import Kin
from evtools.state.readings import (
    COUNT_MAX,
    TASK_READINGS,
    WORKER_READINGS,
    Sent,
    Started,
    TaskReading,
    WorkerReading,
    read,
    read_odd,
)
from evtools.state.retelling import retell
from evtools.state.sharing import Shared
from evtools.state.shelves import Shelves
from evtools.state.skew import Clients
from evtools.state.steps import STEPS, Step
from evtools.state.task import Task
from evtools.state.transitions import PENDING, RECEIVED, STARTED
from evtools.state.weights import TASK_BYTES, weigh
from evtools.state.worker import LIVENESS, WORKER_BYTES, Liveness, Worker
from evtools.wire import TIME_MAX, EventFields, MissedTasks

#: As much of the fields that Celery does not know as is kept of one worker.
WORKER_EXTRA_MAX_BYTES: Final = 1024
MAX_BYTES: Final = 256 * 1024 * 1024
#: The share of all tasks that is forgotten beyond what has to go.
SPARE: Final = 1 / 128
#: Seconds between looks for workers that have gone.
SWEEP_EVERY: Final = 10.0


#: What all events have.
_OF_ALL: Final = itemgetter(
    *("timestamp", "local_received", "clock", "pid", "hostname", "utcoffset")
)
#: To compare a float with an integer takes longer.
_TIME_MAX: Final = float(TIME_MAX)
_COUNT_BITS: Final = COUNT_MAX.bit_length() - 1


class Kinds:
    """What tasks and workers are; a subclass may have its own."""

    Task = Task
    Worker = Worker


class Workers(OrderedDict[str, Worker]):
    """Workers by their node names, `limit` of them, as in Celery's LRU cache."""

    def __init__(self, limit: float = inf) -> None:
        super().__init__()
        self.limit = limit

    @property
    def data(self) -> "Workers":
        """The workers: to look one up does not change their order."""
        return self

    def __setitem__(self, hostname: str, worker: Worker) -> None:
        super().__setitem__(hostname, worker)
        self._make_room()

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Put workers in; forget what is over the limit, which may have changed."""
        super().update(*args, **kwargs)
        self._make_room()

    def iterkeys(self) -> Iterator[str]:
        """Yield the names, as Celery's LRU cache does; so do the next two."""
        return iter(self)

    def itervalues(self) -> Iterator[Worker]:
        """Yield the workers."""
        return iter(self.values())

    def iteritems(self) -> Iterator[tuple[str, Worker]]:
        """Yield names and workers."""
        return iter(self.items())

    def _make_room(self) -> None:
        while len(self) > max(self.limit, 1):
            self.popitem(last=False)


class Cluster(Kinds):
    """What is known of a cluster: `apply` takes its events in.

    Bounded by `max_tasks_in_memory` and `max_workers_in_memory`, and by
    `max_bytes` for both together, estimated in `weight_bytes`.  `evicted`
    counts the tasks that were forgotten for that, `departed` the workers that
    left, as we had not heard of them for so long.  No clock is read: `clock`
    is for `Worker.alive`.
    """

    def __init__(
        self,
        *,
        max_tasks_in_memory: int,
        max_workers_in_memory: int,
        max_bytes: int = MAX_BYTES,
        clock: Clock | None = None,
        liveness: Liveness = LIVENESS,
    ) -> None:
        self.max_bytes = max_bytes
        self.clock = clock or SystemClock()
        self.liveness = liveness
        self.evicted = 0
        #: Events of tasks and workers that do not name them.
        self.nameless = 0
        self.departed = 0
        #: Called with each task that is forgotten.
        self.on_forget: Callable[[Task], object] | None = None
        #: Events taken in, and of these how many were task-received.
        self.event_count = 0
        self.task_count = 0
        self.tasks = Shelves(self, max_tasks_in_memory)
        #: In the order in which their last events came.
        self.workers = Workers(max_workers_in_memory)
        self.clients = Clients()
        self._kin = Kin()
        self._shared = Shared()
        self._missed = MissedTasks()
        self._spare = SPARE
        self._swept = 0.0
        self._lock = RLock()

    @property
    def max_tasks_in_memory(self) -> int:
        """How many tasks there may be."""
        return self.tasks.limit

    @max_tasks_in_memory.setter
    def max_tasks_in_memory(self, limit: int) -> None:
        self.tasks.limit = limit

    @property
    def max_workers_in_memory(self) -> float:
        """How many workers there may be."""
        return self.workers.limit

    @max_workers_in_memory.setter
    def max_workers_in_memory(self, limit: float) -> None:
        self.workers.limit = limit

    @property
    def weight_bytes(self) -> int:
        """About how many bytes tasks and workers take together."""
        return self.tasks.weight_bytes + WORKER_BYTES * len(self.workers)

    def apply(self, events: Iterable[EventFields]) -> list[Change]:
        """Take in events; return what each of them changed.

        It never raises on an event, and leaves them as they are.  By then what has
        changed may have changed again: `changes` is for who counts.
        """
        return list(self.changes(events))

    def changes(self, events: Iterable[EventFields]) -> Iterator[Change]:
        """Take in each event when it is asked what that changed.

        So its task or worker is as this event left it, however many come together.
        The state is locked until the last one.
        """
        with self._lock:
            yield from self._take_all(events)

    def take(self, event: EventFields) -> Change:
        """Take in one event, whoever wants to be called of it; return what changed."""
        with self._lock:
            (change,) = self._take_all((event,))
            return change

    def children(self, uuid: str) -> tuple[Task, ...]:
        """Return the tasks that this one sent, as far as they are here."""
        return self._here(self._kin.children(uuid))

    def family(self, uuid: str) -> tuple[Task, ...]:
        """Return the tasks of this one's workflow, itself among them, oldest first."""
        task = self.tasks.find(uuid)
        root = uuid if task is None or task.root_id is None else task.root_id
        members = dict.fromkeys((root, uuid, *self._kin.family(root)))
        return self._here(members)

    def _here(self, uuids: Iterable[str]) -> tuple[Task, ...]:
        found = (self.tasks.find(uuid) for uuid in uuids)
        return tuple(task for task in found if task is not None)

    # In one piece, with what it needs at hand, as every call and every look into the
    # state would cost more than the budget has.
    def _take_all(self, events: Iterable[EventFields]) -> Iterator[Change]:  # noqa: C901
        kinds, workers, shared = self._STEPS, self.workers, self._shared
        clients, count_start = self.clients, self._missed.started
        tasks, shelf_of = self.tasks, self.tasks.of_state
        find_open, find_done, find_bad = tasks.open.get, tasks.done.get, tasks.bad.get
        max_bytes = self.max_bytes - WORKER_BYTES * len(workers)
        serial, latest = self.event_count, None
        for event in events:
            serial += 1
            self.event_count = serial
            try:
                step, fields, enters = kinds[event["type"]]
                uuid = event["uuid"]
                task = find_open(uuid) or find_done(uuid) or find_bad(uuid) or self._create(uuid)
            except (KeyError, TypeError):
                yield self._take_other(event)
                continue
            before = task.state
            try:
                at, heard, clock, pid, hostname, offset = _OF_ALL(event)
                worker = None if enters is PENDING else workers.get(hostname)
                if (
                    len(event) == fields
                    and type(at) is float
                    and at >= 0.0
                    and at <= _TIME_MAX
                    # What came together came at the same time.
                    and (heard is latest or _is_time(heard))
                    and heard >= task.local_received
                    and not (clock | pid) >> _COUNT_BITS
                    and task.history is None
                ):
                    grown = step(task, event, at, pid, worker, shared)
                else:
                    grown = None
            except (KeyError, TypeError):
                yield self._take_unusual(task, event)
                continue
            if grown is None:
                yield self._take_unusual(task, event)
                continue
            if worker is not None:
                if task.clock < clock:  # noqa: PLR1730  (a call would take longer)
                    task.clock = clock
                if worker.local_received < heard:  # noqa: PLR1730
                    worker.local_received = heard
                worker.begins = enters is STARTED
                # Heartbeats travel alone, events of tasks wait for others.
                skew = None if worker.beats else worker.offset
            else:
                skew = clients[hostname] if hostname is not None else None
            if skew is not None and (heard - at < skew.least or heard > skew.until):
                skew.measure(at, heard)
            task.local_received = latest = heard
            task.serial = serial
            after = task.state
            created = task.first_received is None
            if created:
                task.first_received = heard
                if offset.__class__ is float or offset.__class__ is int:
                    task.utcoffset = offset
            shelf = shelf_of[after]
            if shelf is task.shelf:
                shelf.move_to_end(uuid)
            else:
                del task.shelf[uuid]
                shelf[uuid] = task
                task.shelf = shelf
            if grown:
                task.weight_bytes += grown
                tasks.weight_bytes += grown
                if task.parent_id is not None or task.root_id is not task.uuid:
                    self._relate(task)
                if tasks.weight_bytes > max_bytes:
                    self.make_room()
            if enters is RECEIVED:
                self.task_count += 1
            elif enters is STARTED:
                count_start(hostname, clock)
            elif enters is PENDING and task.worker is None:
                task.clock = clock
            yield Change(event, task, created, None if created else before, after)

    def _take_unusual(self, task: Task, event: EventFields) -> Change:
        """Take in any other event of a task."""
        kind = event["type"]
        reading, extra = read(event, TASK_READINGS[kind])
        if reading is None:
            self.nameless += 1
            return Change(event)
        times = event.get("timestamp"), event.get("local_received")
        if extra or len(event) != STEPS[kind][1] or not all(map(_is_time, times)):
            # Something is missing, added or odd; it may be as usual otherwise.
            self.event_count -= 1
            usual = {**asdict(reading), "type": kind, "clock": reading.clock or 0}
            (change,) = self._take_all((usual,))
            change.event = event
            # The task may just have been forgotten, to make room.
            if extra and task.uuid in self.tasks:
                self._grow(task, add_fields(task, reading.timestamp, extra))
                self._relate(task)
            return change
        created = task.first_received is None
        if created and isinstance(reading.utcoffset, float | int):
            task.utcoffset = reading.utcoffset
        before = None if created else task.state
        worker = self._sender(reading)
        grown = retell(task, reading, worker)
        self._relate(task)
        self._hear(task, reading.local_received, grown)
        self.task_count += kind == "task-received"
        self._missed.observe(event)
        return Change(event, task, created, before, task.state)

    #: By type of event: the step of a task that it is, how many fields it has, and
    #: the state that it enters.
    _STEPS: ClassVar[Mapping[str, tuple[Step, int, str]]] = STEPS

    def _create(self, uuid: str) -> Task:
        if type(uuid) is not str or not uuid:
            raise TypeError(uuid)
        tasks = self.tasks
        shelf = tasks.open
        task = self.Task(uuid, self)
        task.shelf = shelf
        task.weight_bytes = weight = TASK_BYTES + len(uuid)
        tasks.weight_bytes += weight
        shelf[uuid] = task
        if len(shelf) + len(tasks.done) + len(tasks.bad) > tasks.limit:
            self.make_room()
        return task

    def _sender(self, reading: TaskReading) -> Worker | None:
        """Return the worker that an event came from, and note that we heard of it.

        None for a client, whose clock is noted.
        """
        hostname, at, heard = (reading.hostname, reading.timestamp, reading.local_received)
        if hostname is None:
            return None
        if isinstance(reading, Sent):
            self.clients[hostname].measure(at, heard)
            return None
        worker = self.workers.get(hostname) or self._join(hostname)
        worker.hear(at, heard)
        if type(reading) is not TaskReading:  # a note: the task goes on
            worker.begins = isinstance(reading, Started)
        return worker

    def _hear(self, task: Task, local_received: float, grown: int) -> None:
        """Note that we heard of a task, and put it where it belongs."""
        first = task.first_received
        task.first_received = local_received if first is None else min(first, local_received)
        task.local_received = max(task.local_received, local_received)
        task.serial = self.event_count
        self.tasks.move(task, self.tasks.of_state[task.state])
        self._grow(task, grown)

    def _grow(self, task: Task, grown: int) -> None:
        """Note that a task takes more space, and see to it that there is room."""
        task.weight_bytes += grown
        self.tasks.weight_bytes += grown
        if self.weight_bytes > self.max_bytes:
            self.make_room()

    def _relate(self, task: Task) -> None:
        self._kin.add(task.uuid, task.parent_id, task.root_id)

    def make_room(self) -> None:
        """Forget tasks until the others fit into the bounds; one may always stay.

        A few more than have to go, so that it need not be done for each.
        """
        tasks, limit = self.tasks, max(self.tasks.limit, 1)
        surplus = len(tasks) - limit + int(limit * self._spare)
        while (surplus > 0 or self.weight_bytes > self.max_bytes) and len(tasks) > 1:
            forgotten = tasks.forget(max(surplus, 1))
            self.drop(forgotten)
            self.evicted += len(forgotten)
            surplus -= len(forgotten)

    def adopt(self, task: Task) -> None:
        """Take in a task, of another state or made by hand."""
        with self._lock:
            known = self.tasks.find(task.uuid)
            if known is not None and known is not task:
                del self.tasks[task.uuid]
            task.cluster_state = self
            shelf = self.tasks.of_state.get(task.state, self.tasks.open)
            if known is task:
                self.tasks.move(task, shelf)
                return
            task.shelf = shelf
            shelf[task.uuid] = task
            task.serial = self.event_count
            task.weight_bytes = task.weight_bytes or TASK_BYTES
            self.tasks.weight_bytes += task.weight_bytes
            self._relate(task)
            if len(self.tasks) > self.tasks.limit:
                self.make_room()

    def drop(self, tasks: Iterable[Task]) -> None:
        """Note that these tasks are gone."""
        for task in tasks:
            self.tasks.weight_bytes -= task.weight_bytes
            if task.parent_id is not None or task.root_id is not task.uuid:
                self._kin.discard(task.uuid)
            if self.on_forget is not None:
                self.on_forget(task)

    def _take_other(self, event: EventFields) -> Change:
        kind = event.get("type")
        if isinstance(kind, str):
            if kind.startswith("worker-"):
                return self._take_worker(event)
            if kind.startswith("task-"):
                return self._take_note(event)
        return Change(event)

    def _take_note(self, event: EventFields) -> Change:
        """Take in an event that says something of a task, but not of its state."""
        kind = event["type"]
        reading, own = read_odd(event, TaskReading)
        if reading is None or kind in STEPS:
            self.nameless += 1
            return Change(event)
        if reading.hostname in self.workers:
            self._sender(reading)
        task = self.tasks.find(reading.uuid) or self._create(reading.uuid)
        created = task.first_received is None
        before = None if created else task.state
        grown = annotate(task, kind, reading.timestamp, own)
        self._hear(task, reading.local_received, grown)
        return Change(event, task, created, before, task.state)

    # --- workers ---------------------------------------------------------------------

    def _take_worker(self, event: EventFields) -> Change:
        kind = WORKER_READINGS.get(event["type"], WorkerReading)
        reading, extra = read(event, kind)
        if reading is None or reading.hostname is None:
            self.nameless += 1
            return Change(event)
        at = reading.local_received
        worker = self.workers.get(reading.hostname)
        before = None if worker is None else worker.status(at)
        if worker is None:
            worker = self._join(reading.hostname)
        worker.take(reading)
        if kind is not WorkerReading:
            worker.missed += self._missed.observe(event)
            if extra and weigh(extra) <= WORKER_EXTRA_MAX_BYTES:
                replace_fields(worker, extra)
        self.workers.move_to_end(worker.hostname)
        if abs(at - self._swept) > SWEEP_EVERY:
            self._sweep(at)
        return Change(event, worker, before is None, before, worker.status(at))

    def _join(self, hostname: str) -> Worker:
        worker = self.Worker(hostname, time=self.clock, liveness=self.liveness)
        self.workers[hostname] = worker
        return worker

    def _sweep(self, now: float) -> None:
        """Let workers leave that we have not heard of for long."""
        self._swept = now
        for worker in list(self.workers.values()):
            if worker.leaves(now):
                del self.workers[worker.hostname]
                self.departed += 1


def _is_time(value: object) -> bool:
    return type(value) is float and 0.0 <= value <= _TIME_MAX
