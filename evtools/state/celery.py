"""The state of a cluster and its tasks under the names that Celery has for them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, ClassVar, Final, TypeVar

from evtools.clock import Clock
from evtools.state.attempts import RECEIVED
from evtools.state.core import MAX_BYTES, SPARE, Change, Cluster
from evtools.state.task import Task as BaseTask
from evtools.state.worker import LIVENESS, Liveness, Worker
from evtools.wire import Event, EventFields, from_fields

Result = TypeVar("Result")

#: As many names of types as are kept of tasks that were forgotten.
TYPES_MAX: Final = 10_000
TYPE_MAX_CHARS: Final = 255


class Task(BaseTask):
    """A task, with what Celery's Task has besides."""

    # fmt: off
    _fields: ClassVar = (
        "uuid", "name", "state", "received", "sent", "started", "rejected",
        "succeeded", "failed", "retried", "revoked", "args", "kwargs",
        "eta", "expires", "retries", "worker", "result", "exception",
        "timestamp", "runtime", "traceback", "exchange", "routing_key",
        "clock", "client", "root", "root_id", "parent", "parent_id", "children",
    )
    #: As Celery's: what of a task comes from which event.  What is set here changes nothing.
    merge_rules: ClassVar = {
        RECEIVED: (
            "name", "args", "kwargs", "parent_id",
            "root_id", "retries", "eta", "expires",
        )
    }
    _info_fields: ClassVar = (
        "args", "kwargs", "retries", "result", "eta", "runtime",
        "expires", "exception", "exchange", "routing_key",
        "root_id", "parent_id",
    )
    # fmt: on

    def event(
        self,
        type_: str,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Apply the event `task-TYPE_`, in the state that has the task if one has."""
        event = {**(fields or {}), "type": f"task-{type_}", "uuid": self.uuid or "?"}
        event |= {"timestamp": timestamp, "local_received": local_received}
        state = self.cluster_state
        if not isinstance(state, State) or state.tasks.find(self.uuid) is not self:
            # A state of its own for the moment.
            uuid, self.uuid = self.uuid, self.uuid or "?"
            lone = State(tasks={self.uuid: self})
            lone.take(event)
            lone.tasks.clear()
            self.uuid, self.cluster_state = uuid, state
        else:
            state.take(event)

    def info(
        self, fields: Iterable[str] | None = None, extra: Iterable[str] | None = None
    ) -> dict[str, Any]:
        """Return what is known of `fields` (those to show, if None) and `extra`."""
        names = [*(self._info_fields if fields is None else fields), *(extra or ())]
        values = {name: getattr(self, name, None) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that Celery's Task has; other tasks by their ids."""
        return {
            **{name: getattr(self, name) for name in self._fields},
            "root": self.root_id,
            "parent": self.parent_id,
            "children": [child.uuid for child in self.children],
        }


class Groups(Mapping[str, set[BaseTask]]):
    """Sets of a state's tasks by an attribute; called with a name, its tasks by time.

    It is made when somebody asks, and kept until `reset`; so it costs nothing meanwhile.
    A group that nothing is in is empty.
    """

    def __init__(self, state: "State", attribute: str) -> None:
        self._state = state
        self._attribute = attribute
        self._groups: dict[str, set[BaseTask]] | None = None

    def __call__(
        self,
        name: str,
        limit: int | None = None,
        reverse: bool = True,  # noqa: FBT001, FBT002
    ) -> Iterator[tuple[str, BaseTask]]:
        """Yield the uuids and tasks of a group, ordered by time."""
        pairs = self._state.tasks_by_time(None, reverse)
        return islice((pair for pair in pairs if getattr(pair[1], self._attribute) == name), limit)

    def __getitem__(self, name: str) -> set[BaseTask]:
        return self._made().get(name, set())

    def get(self, name: str, default: Any = None) -> Any:
        """Return a group, `default` if nothing is in it."""
        return self._made().get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._made())

    def __len__(self) -> int:
        return len(self._made())

    def __contains__(self, name: object) -> bool:
        return name in self._made()

    def reset(self) -> None:
        """Forget what was made, as the tasks change."""
        self._groups = None

    def _made(self) -> dict[str, set[BaseTask]]:
        if self._groups is None:
            self._groups = {}
            for task in self._state.tasks.values():
                name = getattr(task, self._attribute)
                if name is not None:
                    self._groups.setdefault(name, set()).add(task)
        return self._groups


class State(Cluster):
    """The state of a cluster, as Celery's `celery.events.state.State` and more.

    `callback(state, event)` is called before each event is applied,
    `on_node_join(worker)` and `on_node_leave(worker)` after a worker came or
    said goodbye; `handlers[group](subject, event)` takes the events of a group
    instead of the state.  They run in the thread that applies events.
    """

    Task = Task
    #: As Celery's, and of no effect: there is no heap of tasks.
    heap_multiplier: ClassVar = 4

    def __init__(
        self,
        callback: Callable[["State", EventFields], object] | None = None,
        workers: Mapping[str, Worker] | None = None,
        tasks: Mapping[str, BaseTask] | None = None,
        taskheap: object = None,  # noqa: ARG002  (there is none)
        max_workers_in_memory: int = 5000,
        max_tasks_in_memory: int = 10000,
        on_node_join: Callable[[Worker], object] | None = None,
        on_node_leave: Callable[[Worker], object] | None = None,
        tasks_by_type: object = None,  # noqa: ARG002  (made of the tasks)
        tasks_by_worker: object = None,  # noqa: ARG002
        *,
        max_bytes: int = MAX_BYTES,
        clock: Clock | None = None,
        liveness: Liveness = LIVENESS,
        cluster: str = "",
    ) -> None:
        super().__init__(
            max_tasks_in_memory=max_tasks_in_memory,
            max_workers_in_memory=max_workers_in_memory,
            max_bytes=max_bytes,
            clock=clock,
            liveness=liveness,
            cluster=cluster,
        )
        self.event_callback = callback
        self.on_node_join = on_node_join
        self.on_node_leave = on_node_leave
        self.handlers: dict[str, Callable[[str, EventFields], Any]] = {}
        self.tasks_by_type = Groups(self, "name")
        self.tasks_by_worker = Groups(self, "worker_name")
        #: The names of the types of tasks that were forgotten.
        self._types: dict[str, None] = {}
        self.workers.update(workers or {})
        for task in (tasks or {}).values():
            self.adopt(task)
            self.event_count += 1
        self.event_count = 0
        self._number_anew()

    def __repr__(self) -> str:
        return f"<State: events={self.event_count} tasks={self.task_count}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle what is known, callbacks included, handlers not."""
        # fmt: off
        made_with = (
            self.event_callback, dict(self.workers), dict(self.tasks_by_time(reverse=False)), None,
            self.max_workers_in_memory, self.max_tasks_in_memory,
            self.on_node_join, self.on_node_leave, None, None,
        )
        copied = ("event_count", "task_count", "evicted", "departed", "clock", "_types")
        # fmt: on
        # A subclass that was written for Celery takes what Celery's State takes.
        usual = {"max_bytes": MAX_BYTES, "liveness": LIVENESS, "cluster": ""}
        own = {name: getattr(self, name) for name in usual if getattr(self, name) != usual[name]}
        make = partial(type(self), **own) if own else type(self)
        return make, made_with, {name: getattr(self, name) for name in copied}

    # --- events ----------------------------------------------------------------------

    def apply(self, events: Iterable[Event | EventFields]) -> list[Change]:
        """Apply events, typed or as dictionaries; return what each of them changed.

        It never raises on an event, and leaves them as they are.  By then what has
        changed may have changed again: `changes` is for counting.
        """
        return list(self.changes(events))

    def changes(self, events: Iterable[Event | EventFields]) -> Iterator[Change]:
        """Apply each event when the next change is asked for.

        So its task or worker is as this event left it, however many come together.
        The state is locked until the last one.
        """
        with self._lock:
            self._spare = SPARE
            calls = self.event_callback or self.on_node_join or self.on_node_leave
            if calls or self.handlers:
                for event in events:
                    yield self._apply_and_call(event)[0]
            else:
                try:
                    yield from self._apply_all(events)
                finally:
                    self._forget_groups()

    def event(self, event: EventFields) -> tuple[Any, str] | None:
        """Apply one event; return `((subject, created), type)` as Celery does.

        `type` is without the group.  A handler's result takes the place of the
        pair; None if the event is of an unknown group, or of no use.  Other than
        with `apply`, a worker whose first event is its goodbye does not stay.
        """
        with self._lock:
            return self._event(event)

    # Where Celery's State does what `event` does.
    def _event(self, event: EventFields) -> tuple[Any, str] | None:
        # One at a time, the first in `tasks`, as those expect who keep an index.
        self._spare = 0.0
        change, answer = self._apply_and_call(event)
        worker = change.subject
        if isinstance(worker, Worker) and change.created and change.after == "offline":
            del self.workers[worker.hostname]
        return answer

    def task_event(self, type_: str, fields: Mapping[str, Any]) -> Any:
        """Apply the event `task-TYPE_`; return the task and whether it is new."""
        answer = self.event({**fields, "type": f"task-{type_}"})
        return answer and answer[0]

    def worker_event(self, type_: str, fields: Mapping[str, Any]) -> Any:
        """Apply the event `worker-TYPE_`; return the worker and whether it is new."""
        answer = self.event({**fields, "type": f"worker-{type_}"})
        return answer and answer[0]

    def take(self, event: Event | EventFields) -> Change:
        """Apply one event, without callbacks; return what it changed."""
        with self._lock:
            self._forget_groups()
            (change,) = self._apply_all((event,))
            return change

    def _apply_and_call(self, event: Event | EventFields) -> tuple[Change, tuple[Any, str] | None]:
        type_ = event.get("type")
        group, _, subject = type_.partition("-") if isinstance(type_, str) else ("", "", "")
        handler = self.handlers.get(group)
        if handler is not None or self.event_callback is not None:
            fields = event.as_dict() if isinstance(event, Event) else event
            if self.event_callback is not None:
                self.event_callback(self, fields)
            if handler is not None:
                self.event_count += 1
                typed = event if isinstance(event, Event) else from_fields(event)
                return Change(typed), (handler(subject, fields), subject)
        change = self.take(event)
        worker, created = change.subject, change.created
        if worker is None:
            return change, None
        if isinstance(worker, Worker):
            call = self.on_node_join if created or subject == "online" else None
            if subject == "offline":
                call, created = self.on_node_leave, False
            if call is not None:
                call(worker)
        return change, ((worker, created), subject)

    def _forget_groups(self) -> None:
        self.tasks_by_type.reset()
        self.tasks_by_worker.reset()

    # --- looking ---------------------------------------------------------------------

    def freeze_while(self, fun: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Call `fun` while no event is applied; clear after it if `clear_after`.

        Nothing is cleared if it raises: what it did not do it can do again.
        """
        clear_after = kwargs.pop("clear_after", False)
        with self._lock:
            result = fun(*args, **kwargs)
            if clear_after:
                self._clear()
            return result

    @contextmanager
    def held(self, timeout: float) -> Iterator[bool]:
        """Keep other threads from the state, which may take `timeout` seconds.

        Yield False if somebody held it for all that time, and holds it still.
        """
        ours = self._lock.acquire(timeout=timeout)
        try:
            yield ours
        finally:
            if ours:
                self._lock.release()

    def tasks_by_time(
        self,
        limit: int | None = None,
        reverse: bool = True,  # noqa: FBT001, FBT002
    ) -> Iterator[tuple[str, BaseTask]]:
        """Yield uuids and tasks by their last events, newest first.

        At most `limit` tasks; with `reverse=False` the oldest first.
        """
        tasks = self.tasks.by_time(newest_first=reverse)
        return ((task.uuid, task) for task in islice(tasks, limit))

    tasks_by_timestamp = tasks_by_time

    def itertasks(self, limit: int | None = None) -> Iterator[tuple[str, BaseTask]]:
        """Yield uuids and tasks in no particular order."""
        return islice(self.tasks.items(), limit or None)

    def task_types(self) -> list[str]:
        """Return the names of the tasks seen, sorted, also of those forgotten."""
        return sorted({*self.tasks_by_type, *self._types})

    def alive_workers(self) -> Iterator[Worker]:
        """Yield the workers that are there, as far as is known."""
        return (worker for worker in self.workers.values() if worker.alive)

    # --- changing --------------------------------------------------------------------

    def get_or_create_worker(self, hostname: str, **kwargs: Any) -> tuple[Worker, bool]:
        """Return a worker, with attributes set from `kwargs`, and whether it is new."""
        with self._lock:
            created = hostname not in self.workers
            worker = self._join(hostname) if created else self.workers[hostname]
            worker.update(kwargs)
            return worker, created

    def get_or_create_task(self, uuid: str) -> tuple[BaseTask, bool]:
        """Return a task, and whether it is new."""
        with self._lock:
            task = self.tasks.find(uuid)
            if task is not None:
                return task, False
            self._forget_groups()
            task = self._create(uuid)
            self.make_room()
            return task, True

    def clear_tasks(self, ready: bool = True) -> None:  # noqa: FBT001, FBT002
        """Forget the tasks that have ended, or all with `ready=False`."""
        with self._lock:
            self._clear_tasks(ready)

    def clear(self, ready: bool = True) -> None:  # noqa: FBT001, FBT002
        """Forget all workers, the tasks that have ended (or all), and the counts."""
        with self._lock:
            self._clear(ready)

    # Subclasses that were written for Celery's State override these.

    def _clear_tasks(self, ready: bool = True) -> None:  # noqa: FBT001, FBT002
        self.tasks.clear(finished_only=ready)

    def _clear(self, ready: bool = True) -> None:  # noqa: FBT001, FBT002
        self.workers.clear()
        self._clear_tasks(ready)
        self.event_count = self.task_count = 0
        self._number_anew()

    def adopt(self, task: BaseTask) -> None:
        with self._lock:
            self._forget_groups()
            super().adopt(task)

    def drop(self, tasks: Iterable[BaseTask]) -> None:
        tasks = list(tasks)
        self._forget_groups()
        for task in tasks:
            if task.name and len(task.name) <= TYPE_MAX_CHARS:
                self._types[task.name] = None
        while len(self._types) > TYPES_MAX:
            del self._types[next(iter(self._types))]
        super().drop(tasks)

    def rebuild_taskheap(self) -> None:
        """Do nothing: tasks are always in order."""

    def _number_anew(self) -> None:
        # The tasks come before all events, as the count of these begins.
        tasks = list(self.tasks.by_time(newest_first=False))
        for serial, task in enumerate(tasks, -len(tasks)):
            task.serial = serial
