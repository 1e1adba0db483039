"""The tasks and workers of a cluster, kept up to date by its events."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import RLock
from typing import Any, Final, TypeAlias

from msgspec import UNSET, Struct

from evtools.clock import Clock, SystemClock
from evtools.state.attempts import (
    CALLS,
    EVENT_BYTES,
    MOMENTS,
    OF_TASK,
    PENDING,
    RECEIVED,
    RETRY,
    STARTED,
    STATES,
    SUCCESS,
    History,
    add_end,
    add_received,
    add_sent,
    add_started,
    announcement,
    epoch,
    first_end,
    is_known,
    plain,
    text_bytes,
)
from evtools.state.inspection import InspectedTask
from evtools.state.store import Interner, TaskStore, TaskTree, Workers
from evtools.state.task import CELERYS, RARE_BYTES, TASK_BYTES, Task, TaskAnswer, size_of, unsettled
from evtools.state.worker import LIVENESS, WORKER_BYTES, Clients, Liveness, Worker
from evtools.wire import Event, EventFields, Gap, MissedTasks, TaskEvent, WorkerEvent, from_fields

#: How much of the fields that Celery does not know is kept of one worker.
WORKER_EXTRA_MAX_BYTES: Final = 1024
MAX_BYTES: Final = 256 * 1024 * 1024
#: The share of all tasks that is forgotten beyond what has to go.
SPARE: Final = 1 / 128
#: Seconds between looks for workers that have gone.
SWEEP_EVERY: Final = 10.0


class Change(Struct, gc=False):
    """One event, and what it did to its subject.

    `subject` is the task or the worker that it is about, None if it is about neither (an
    unknown group) or does not say about which.  `created` is whether this was the first
    event of it.  `before` and `after` are the states of a task, or the statuses of a
    worker as of the receipt of the event; they differ if the event was a transition.

    The event that ends an attempt need not be one: of a retry, the event that the next
    attempt was sent may come before the one that this one was retried.
    """

    event: Event
    subject: Task | Worker | None = None
    created: bool = False
    before: str | None = None
    #: None if the state of the task was not worked out.
    known_after: str | None = None

    @property
    def after(self) -> str | None:
        """The state of a task, or the status of a worker, after the event.

        Of a task with several attempts, that is its state now.
        """
        if self.known_after is None and isinstance(self.subject, Task):
            return self.subject.state
        return self.known_after


# --- tasks with one attempt at one worker --------------------------------------------
#
# Their events are applied to the task itself, in any order and as often as they come.
# A step returns by how many bytes the task has grown; or None, before it changes
# anything, if the event may be of another attempt, or the worker is another.

Step: TypeAlias = Callable[[Task, TaskEvent, float, Worker | None, Interner], int | None]


def _sent(task: Task, event: TaskEvent, at: float, _: Worker | None, names: Interner) -> int | None:
    retries = event.retries
    if retries is None:
        return None
    if task.sent is not None:
        same = task.sent == at and task.retries == retries
        return 0 if same and task.client == (event.hostname or None) else None
    if task.retries is not None and task.retries != retries:
        return None
    task.client = names[event.hostname or None]
    task.queue_or_none = names[event.queue]
    task.exchange = names[event.exchange]
    task.routing_key = names[event.routing_key]
    add_sent(task, event)
    if task.worker is None:
        task.clock = event.clock or 0
    return _announce(task, event, names, overrides=task.received is None)


def _received(
    task: Task, event: TaskEvent, at: float, worker: Worker | None, names: Interner
) -> int | None:
    retries = event.retries
    known = task.worker
    if worker is None or retries is None or task.received is not None:
        same = task.received == at and task.retries == retries and known == worker
        return 0 if same and worker is not None else None
    if known is not None and (
        task.pid != event.pid or (known is not worker and known.hostname != worker.hostname)
    ):
        return None
    if task.retries is not None and task.retries != retries:
        return None
    if retries and (task.started is not None or task.ended is not None):
        # Without a receipt before them these could be of another attempt.
        end = first_end(task)
        if (task.started is not None and task.started < at) or (end is not None and end < at):
            return None
    if known is not worker:
        _set_worker(task, worker)
    add_received(task, event)
    return _announce(task, event, names, overrides=True)


def _started(
    task: Task, event: TaskEvent, at: float, worker: Worker | None, _: Interner
) -> int | None:
    known = task.worker
    if worker is None or task.started is not None:
        started = task.started
        if task.asked and known is worker and started and abs(started - at) < _START_SPREAD:
            # The worker had said when, but not to the same part of a second.
            task.started = at
            task.asked = False
        return 0 if worker is not None and task.started == at and known == worker else None
    if known is not None and (
        task.pid != event.pid or (known is not worker and known.hostname != worker.hostname)
    ):
        return None
    if task.ended is not None:
        end = first_end(task)
        if end is not None and end < at:
            return None
    if task.retries and task.received is not None and task.received > at:
        return None
    if known is not worker:
        _set_worker(task, worker)
    add_started(task, event)
    return 0


def _ended(
    task: Task, event: TaskEvent, at: float, worker: Worker | None, _: Interner
) -> int | None:
    known = task.worker
    if worker is None:
        return None
    if known is not None and (
        task.pid != event.pid or (known is not worker and known.hostname != worker.hostname)
    ):
        return None
    if task.started is not None and task.started > at:
        return None
    if task.retries and task.received is not None and task.received > at:
        return None
    state = STATES[event.type]
    if task.ended is not None:
        moment = getattr(task, MOMENTS[state], None)
        if moment is not None:
            return 0 if moment == at else None
        if RETRY in {state, task.state}:
            return None
    if known is not worker:
        _set_worker(task, worker)
    if state == SUCCESS and task.ended is None:
        task.state = SUCCESS
        task.succeeded = task.ended = task.timestamp = at
        task.pid = event.pid
        task.result = result = event.result
        task.measured = event.runtime
        return 0 if result is None else result.__sizeof__()
    add_end(task, event)
    return RARE_BYTES + text_bytes(event.result, event.exception, event.traceback)


#: The step of each of Celery's events of tasks, and the state that it enters.
_STEPS: Final[Mapping[str, tuple[Step, str]]] = {
    kind: (
        {"sent": _sent, "received": _received, "started": _started}.get(MOMENTS[state], _ended),
        state,
    )
    for kind, state in STATES.items()
}


def _set_worker(task: Task, worker: Worker) -> None:
    if task.worker is None:
        # That of a client counts no more.
        task.clock = 0
    task.worker = worker


def _announce(task: Task, event: TaskEvent, names: Interner, *, overrides: bool) -> int:
    """Take what an event says of the task as a whole; return by how much that grows it.

    It `overrides` what is known, or else only adds to it.
    """
    name, args, kwargs = event.name, event.args, event.kwargs
    root, parent = event.root_id, event.parent_id
    if task.args is None and task.name is None and task.root_id is None:
        task.name = names[name]
        task.args = args
        task.kwargs = kwargs
        grown = args.__sizeof__() + kwargs.__sizeof__()
        if root == task.uuid:
            task.root_id = task.uuid
        elif root:
            task.root_id = root
            grown += root.__sizeof__()
        if parent:
            task.parent_id = parent
            grown += parent.__sizeof__()
    elif (
        args == task.args
        and name == task.name
        and root == task.root_id
        and parent == task.parent_id
        and kwargs == task.kwargs
    ):
        grown = 0
    else:
        grown = 0
        for field, value in announcement(event).items():
            known = getattr(task, field)
            if field in OF_TASK and value != known and (overrides or known is None):
                setattr(task, field, names[value] if field == "name" else value)
                grown += value.__sizeof__()
        if task.root_id == task.uuid:
            task.root_id = task.uuid
    if event.eta is not None or event.expires is not None:
        grown += RARE_BYTES + text_bytes(event.eta, event.expires)
    return grown


#: By how many seconds the start that a worker names when asked may differ from its event's.
_START_SPREAD: Final = 1.0


class Kinds:
    """What tasks and workers are; a subclass may have its own."""

    Task = Task
    Worker = Worker


class Cluster(Kinds):
    """What is known of a cluster, from its events.

    Bounded by `max_tasks_in_memory` and `max_workers_in_memory`, and by `max_bytes` for
    both together, estimated in `weight_bytes`.  `evicted` counts the tasks that were
    forgotten for that, `departed` the workers that left because no events came of them
    any more.  No clock is read: `clock` is for `Worker.alive`.  `cluster` is its name, "" if it
    needs none.
    """

    def __init__(
        self,
        *,
        max_tasks_in_memory: int,
        max_workers_in_memory: int,
        max_bytes: int = MAX_BYTES,
        clock: Clock | None = None,
        liveness: Liveness = LIVENESS,
        cluster: str = "",
    ) -> None:
        self.cluster = cluster
        self.max_bytes = max_bytes
        self.clock = clock or SystemClock()
        self.liveness = liveness
        self.evicted = 0
        #: Events of tasks and workers that do not name them.
        self.nameless = 0
        self.departed = 0
        #: Until when nobody looked, in UTC epoch seconds: what was open before may have ended.
        self.unseen_until = 0.0
        #: Called with each task that is forgotten.
        self.on_forget: Callable[[Task], object] | None = None
        #: Called with each task before the answer of a worker changes it.
        self.on_answer: Callable[[Task], object] | None = None
        #: Events applied, and of these how many were task-received.
        self.event_count = 0
        self.task_count = 0
        self.tasks = TaskStore(self, max_tasks_in_memory)
        #: In the order in which their last events came.
        self.workers = Workers(max_workers_in_memory)
        self.clients = Clients()
        self._tree = TaskTree()
        self._names = Interner()
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

    def children(self, uuid: str) -> tuple[Task, ...]:
        """Return the tasks that this one sent, as far as they are here."""
        self.tasks.settled()
        return self._here(self._tree.children(uuid))

    def family(self, uuid: str) -> tuple[Task, ...]:
        """Return the tasks of this one's workflow, itself among them, oldest first."""
        task = self.tasks.find(uuid)
        root = uuid if task is None or task.root_id is None else task.root_id
        return self._here(dict.fromkeys((root, uuid, *self._tree.family(root))))

    def _here(self, uuids: Iterable[str]) -> tuple[Task, ...]:
        found = (self.tasks.find(uuid) for uuid in uuids)
        return tuple(task for task in found if task is not None)

    # --- events of tasks -------------------------------------------------------------

    # In one piece, with what it needs at hand, as every call and every look into the
    # state would cost more than the budget has.
    def _apply_all(  # noqa: C901  (see above)
        self, events: Iterable[Event | EventFields]
    ) -> Iterator[Change]:
        steps, workers, names = _STEPS, self.workers, self._names
        clients, count_start = self.clients, self._missed.started
        tasks, bucket_of = self.tasks, self.tasks.of_state
        find_open, find_done, find_bad = tasks.open.get, tasks.done.get, tasks.bad.get
        max_bytes, usual = self.max_bytes - WORKER_BYTES * len(workers), self.Task
        serial = self.event_count
        for given in events:
            event: Any = given
            try:
                kind = event.type
            except AttributeError:
                event = from_fields(event)
                kind = event.type
            self.event_count = serial = serial + 1
            uuid = event.uuid
            found = steps.get(kind)
            if found is None or not uuid:
                yield self._apply_other(event)
                continue
            step, enters = found
            task: Any = find_open(uuid) or find_done(uuid) or find_bad(uuid) or self._create(uuid)
            form: Any = type(task)
            if form is not usual:
                # As it was read last, so that no event is read before it has to be.
                task.__class__ = form = getattr(form, "settled", form)
            before = task.state
            at, received = event.timestamp, event.local_received
            clock, hostname = event.clock, event.hostname
            own = event
            if at.__class__ is not float or received.__class__ is not float:
                received = float(received)
                at = received if at is None else float(at)
                own = plain(event, at)
            worker = None
            if enters is PENDING:
                skew = clients[hostname] if hostname else None
            elif hostname:
                worker = workers.get(hostname)
                if worker is None:
                    worker = self._join(hostname)
                    max_bytes = self.max_bytes - WORKER_BYTES * len(workers)
                if received > worker.local_received:  # noqa: PLR1730  (max takes longer)
                    worker.local_received = received
                worker.begins = enters is STARTED
                # Heartbeats travel alone, events of tasks wait for others.
                skew = None if worker.beats else worker.offset
            else:
                skew = None
            if skew is not None and (received - at < skew.least or received > skew.until):
                skew.measure(at, received)
            grown = step(task, own, at, worker, names) if task.history is None else None
            if grown is None:
                grown = self._add_to_history(task, own, worker)
            elif worker is not None and clock is not None and task.clock < clock:
                task.clock = clock
            if event.learned or event.original is not UNSET:
                grown += task.take_extra(at, event)
            created = task.first_received is None
            if created:
                task.first_received = task.local_received = received
                if event.utcoffset is not None:
                    task.utcoffset = event.utcoffset
            elif received >= task.local_received:
                task.local_received = received
            elif received < task.first_received:
                task.first_received = received
            task.serial = serial
            history = task.history
            after = task.state if history is None else None
            bucket = bucket_of[after or history.probable_state]
            if bucket is task.stored_in:
                bucket.move_to_end(uuid)
            else:
                del task.stored_in[uuid]
                bucket[uuid] = task
                task.stored_in = bucket
            if grown:
                task.weight_bytes += grown
                tasks.weight_bytes += grown
                if task.parent_id is not None or task.root_id is not task.uuid:
                    self._tree.add(uuid, task.parent_id, task.root_id)
                if tasks.weight_bytes > max_bytes:
                    self.make_room()
            if history is not None and bucket.get(uuid) is task:
                task.__class__ = unsettled(form)
                tasks.unsettled[uuid] = task  # type: ignore[assignment]
            if enters is RECEIVED:
                self.task_count += 1
            elif enters is STARTED:
                count_start(hostname, clock)
            yield Change(event, task, created, None if created else before, after)

    def settle(self, *more: Task) -> None:
        """Let the tasks with several attempts, and `more`, show what their events say.

        Whoever reads one of them, or looks through all tasks, has that done.
        """
        with self._lock:
            misplaced = []
            waiting: list[Any] = [*self.tasks.unsettled.values(), *more]
            self.tasks.unsettled.clear()
            for task in waiting:
                kind = type(task)
                if not hasattr(kind, "settled"):
                    continue
                task.__class__ = kind.settled
                weight_bytes = task.history.weight_bytes
                task.history.show(task)
                grown = task.history.weight_bytes - weight_bytes
                if task.extra is not None and not CELERYS.isdisjoint(task.extra):
                    # What shows an attempt may have hidden them.
                    task.show_extra(task.extra)
                if task.stored_in.get(task.uuid) is task:
                    if task.parent_id is not None or task.root_id is not task.uuid:
                        self._tree.add(task.uuid, task.parent_id, task.root_id)
                    task.weight_bytes += grown
                    self.tasks.weight_bytes += grown
                    if task.stored_in is not self.tasks.of_state[task.state]:
                        misplaced.append(task)
            self.tasks.insert(misplaced)

    def _create(self, uuid: str) -> Task:
        tasks = self.tasks
        task = self.Task(uuid, self)
        task.stored_in = tasks.open
        task.serial = self.event_count
        task.weight_bytes = weight = TASK_BYTES + len(uuid)
        tasks.weight_bytes += weight
        tasks.open[uuid] = task
        if len(tasks.open) + len(tasks.done) + len(tasks.bad) > tasks.limit:
            self.make_room()
        return task

    def _add_to_history(self, task: Task, event: TaskEvent, worker: Worker | None) -> int:
        # To those of a task that had several attempts, or has now; return how it grows.
        history, before = task.history, 0
        if history is not None:
            before = history.weight_bytes
        elif is_known(task, event):
            return 0
        else:
            history = task.history = History.of(task)
        if event.learned or event.original is not UNSET:
            event = plain(event)
        # It gets the texts of its task, to share their memory; `size` is of the others.
        size = EVENT_BYTES
        event.uuid = task.uuid
        if worker is not None:
            event.hostname = worker.hostname
        if event.type in CALLS:
            for name in OF_TASK:
                text = getattr(event, name)
                if text is not None:
                    known = getattr(task, name)
                    if text == known:
                        setattr(event, name, known)
                    else:
                        size += text.__sizeof__()
            if event.type == "task-sent":
                names = self._names
                event.hostname = names[event.hostname]
                event.queue = names[event.queue]
                event.exchange = names[event.exchange]
                event.routing_key = names[event.routing_key]
        else:
            size += text_bytes(event.result, event.exception, event.traceback)
        if history.add(task, event, worker, size):
            history.show(task)
        return history.weight_bytes - before

    def _grow(self, task: Task, grown: int) -> None:
        task.weight_bytes += grown
        self.tasks.weight_bytes += grown
        if self.weight_bytes > self.max_bytes:
            self.make_room()

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
            if known is task:
                self.tasks.move(task)
                return
            task.stored_in = self.tasks.of_state[task.state]
            task.stored_in[task.uuid] = task
            task.serial = self.event_count
            task.weight_bytes = task.weight_bytes or TASK_BYTES
            self.tasks.weight_bytes += task.weight_bytes
            self._tree.add(task.uuid, task.parent_id, task.root_id)
            if len(self.tasks) > self.tasks.limit:
                self.make_room()

    def drop(self, tasks: Iterable[Task]) -> None:
        """Note that these tasks are gone."""
        for task in tasks:
            self.tasks.weight_bytes -= task.weight_bytes
            self._tree.discard(task.uuid)
            if self.on_forget is not None:
                self.on_forget(task)

    # --- what workers answer ---------------------------------------------------------

    def answered(self, hostname: str, at: float, pid: int | None = None) -> None:
        """Take in that a worker answered something, and the `pid` of its process if it said that.

        `at` is when the answer came, in UTC epoch seconds by our clock.
        """
        with self._lock:
            worker = self.workers.get(hostname)
            if worker is not None:
                worker.answer(at, pid)

    def seed(
        self, hostname: str, found: Iterable[InspectedTask], now: float, absent: Iterable[str] = ()
    ) -> list[Task]:
        """Take in tasks that a worker says it has; return those that are new or know more.

        Nothing that events said is changed by it, and a task that ended stays ended: the
        answer may be from before.  `now` is when it came, in UTC epoch seconds by our clock.
        Tasks of a worker whose process is not known yet are left out, as their next events
        would look like those of another attempt.  `absent` are those, by uuid, that it was
        asked for and does not have.
        """
        with self._lock:
            worker = self.workers.get(hostname)
            if worker is None or worker.pid is None:
                return []
            # For what looks for changes by number.
            self.event_count += 1
            known, found, absent = [], list(found), list(absent)
            if self.on_answer is not None:
                for uuid in (*(one.uuid for one in found), *absent):
                    if (task := self.tasks.find(uuid)) is not None:
                        self.on_answer(task)
            for one in found:
                in_doubt = self._in_doubt(worker, one.uuid, now)
                task = self._seed(worker, one, now)
                if in_doubt is not None:
                    self._settle_doubt(in_doubt, worker, now, has=True, runs=one.runs)
                known += [] if task is None else [task]
            for uuid in absent:
                in_doubt = self._in_doubt(worker, uuid, now)
                # Older Celery does not find, by query_task, those that wait for their ETA.
                if in_doubt is not None and (epoch(in_doubt.eta) or 0.0) <= now:
                    self._settle_doubt(in_doubt, worker, now, has=False)
            return known

    def _in_doubt(self, worker: Worker, uuid: str, now: float) -> Task | None:
        # Of others the next event says more than an answer, which it may overtake.
        task = self.tasks.find(uuid)
        if task is None or task.worker is None or task.worker.hostname != worker.hostname:
            return None
        return task if task.in_doubt(now) else None

    def _settle_doubt(
        self, task: Task, worker: Worker, now: float, *, has: bool, runs: bool = False
    ) -> None:
        task.serial = self.event_count
        task.worker_answer = TaskAnswer(worker.hostname, has, runs, now, worker.pid, task.serial)
        self.tasks.move(task)

    def _seed(self, worker: Worker, found: InspectedTask, now: float) -> Task | None:
        task = self.tasks.find(found.uuid)
        if task is None:
            task = self._create(found.uuid)
            task.first_received = now
        elif task.history is not None or task.ended is not None:
            return None
        if task.worker is not None and task.worker.hostname != worker.hostname:
            return None
        grown = 0
        for name in ("args", "kwargs", "eta"):
            if getattr(task, name) is None and (text := getattr(found, name)) is not None:
                setattr(task, name, text)
                grown += text_bytes(text)
        for name in ("name", "exchange", "routing_key"):
            if getattr(task, name) is None:
                setattr(task, name, self._names[getattr(found, name)])
        if task.queue_or_none is None:
            task.queue_or_none = self._names[found.queue]
        if task.worker is None:
            _set_worker(task, worker)
            task.pid = worker.pid
        if found.runs and task.state != STARTED:
            task.state = STARTED
            task.started = task.timestamp = found.started
            task.asked = True
        elif task.state == PENDING:
            task.state, task.timestamp = RECEIVED, None
        task.local_received = max(task.local_received, now)
        task.serial = self.event_count
        self.tasks.move(task)
        self._grow(task, grown)
        return task

    # --- other events ----------------------------------------------------------------

    def _apply_other(self, event: Event) -> Change:
        kind = event.type
        if kind.startswith("worker-"):
            return self._apply_worker(event)
        if not kind.startswith("task-"):
            if isinstance(event, Gap) and event.reason == "stopped":
                self.unseen_until = max(self.unseen_until, event.local_received)
            return Change(event)
        if not event.uuid or kind in _STEPS:
            self.nameless += 1
            return Change(event)
        # It says something of a task, but not of its state.
        received = float(event.local_received)
        at = received if event.timestamp is None else float(event.timestamp)
        worker = self.workers.get(event.hostname)
        if worker is not None:
            worker.local_received = max(worker.local_received, received)
            # Heartbeats travel alone, events of tasks wait for others.
            if not worker.beats:
                worker.offset.measure(at, received)
        task = self.tasks.find(event.uuid) or self._create(event.uuid)
        created = task.first_received is None
        before = None if created else task.state
        grown = task.take_note(kind, at, event.extra)
        first = task.first_received
        task.first_received = received if first is None else min(first, received)
        task.local_received = max(task.local_received, received)
        task.serial = self.event_count
        self.tasks.move(task)
        self._grow(task, grown)
        return Change(event, task, created, before)

    def _apply_worker(self, event: Event) -> Change:
        hostname = event.hostname
        if not hostname:
            self.nameless += 1
            return Change(event)
        received = event.local_received
        worker = self.workers.get(hostname)
        before = None if worker is None else worker.status(received)
        if worker is None:
            worker = self._join(hostname)
        worker.take(event)
        if isinstance(event, WorkerEvent):
            worker.missed += self._missed.observe(event)
            extra = event.extra
            if extra and size_of(extra) <= WORKER_EXTRA_MAX_BYTES:
                worker.take_extra(extra)
        self.workers.move_to_end(hostname)
        if abs(received - self._swept) > SWEEP_EVERY:
            self._swept = received
            for each in [each for each in self.workers.values() if each.leaves(received)]:
                del self.workers[each.hostname]
                self.departed += 1
        return Change(event, worker, before is None, before, worker.status(received))

    def _join(self, hostname: str) -> Worker:
        worker = self.Worker(hostname, time=self.clock, liveness=self.liveness)
        self.workers[hostname] = worker
        return worker
