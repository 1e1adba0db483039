"""A task as its events tell it."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from evtools.state.attempt import Attempt
from evtools.state.retelling import tell
from evtools.state.times import elapsed, epoch
from evtools.state.transitions import ACTIVE_STATES, ENDS, FINAL_STATES, MOMENTS, PENDING, RECEIVED

if TYPE_CHECKING:
    from evtools.state.cluster import Cluster
    from evtools.state.history import History
    from evtools.state.worker import Worker

#: What the fields of events are called here, where it is not the same.
_WIRE_NAMES: Final = {"id": "uuid", "hostname": "worker_name"}

#: In seconds.  Less than that can be the time that events take to us.
_SKEW_MIN: Final = 1.0
#: A timer may be early by less than this.
_TIMER_MAX: Final = 0.1

Shelf = OrderedDict[str, "Task"]


class Task:
    """A task: what we know of it as a whole, and of its newest attempt.

    Times are UTC epoch seconds by the clocks of the senders, but for
    `local_received` and `first_received`, which are ours: when we last and
    first heard of it.  What nothing told is None.  `sent` is when the message was
    sent that the newest attempt has, also if others had it before.  `pid` is the
    process of the worker that told its last step; `clock` the highest logical time
    that workers told, or its client while none has.  Fields that Celery does not
    know are attributes too, unless something else has that name.
    """

    __slots__ = (
        *("uuid", "name", "state", "worker", "client", "cluster_state"),
        *("sent", "received", "started", "succeeded", "ended", "measured"),
        *("args", "kwargs", "result", "retries", "root_id", "parent_id"),
        *("queue_or_none", "exchange", "routing_key", "clock", "pid", "timestamp"),
        *("local_received", "first_received", "serial", "weight_bytes", "history"),
        *("shelf", "utcoffset"),
        *("__dict__", "__weakref__"),
    )

    #: What few tasks have takes space only in those.
    eta: str | None = None
    expires: str | None = None
    exception: str | None = None
    traceback: str | None = None
    failed: float | None = None
    retried: float | None = None
    revoked: float | None = None
    rejected: float | None = None
    #: As with Celery's, these are not there until an event has them.
    cancelled: float
    terminated: bool
    signum: int | str
    expired: bool
    requeue: bool
    utcoffset: float
    #: The attempts before the newest, the oldest first.
    attempts: tuple[Attempt, ...] = ()
    #: The newest custom event, as task-progress: its type, timestamp and own fields.
    note: Mapping[str, Any] | None = None
    #: What Celery's events told under names that Celery does not use.
    extra: Mapping[str, Any] | None = None
    extra_told_at: Mapping[str, float] | None = None

    _fields: ClassVar = (
        *("uuid", "name", "state", "received", "sent", "started", "rejected"),
        *("succeeded", "failed", "retried", "revoked", "args", "kwargs"),
        *("eta", "expires", "retries", "worker", "result", "exception"),
        *("timestamp", "runtime", "traceback", "exchange", "routing_key"),
        *("clock", "client", "root", "root_id", "parent", "parent_id", "children"),
    )
    #: As Celery's: what of a task comes from which event.  `evtools.state.history` is
    #: where it is so; what is set here changes nothing.
    merge_rules: ClassVar = {
        RECEIVED: (
            *("name", "args", "kwargs", "parent_id"),
            *("root_id", "retries", "eta", "expires"),
        )
    }
    _info_fields: ClassVar = (
        *("args", "kwargs", "retries", "result", "eta", "runtime"),
        *("expires", "exception", "exchange", "routing_key"),
        *("root_id", "parent_id"),
    )

    def __init__(
        self,
        uuid: str = "",
        cluster_state: "Cluster | None" = None,
        children: Iterable[str] | None = None,  # noqa: ARG002  (Celery's argument)
        **fields: Any,
    ) -> None:
        self.uuid = uuid
        self.cluster_state = cluster_state
        self.state = PENDING
        self.worker: Worker | None = None
        #: All we heard of it, if its life was not as simple as most are.
        self.history: History | None = None
        #: Where it is kept.
        self.shelf: Shelf = _NOWHERE
        self.name: str | None = None
        self.args: str | None = None
        self.kwargs: str | None = None
        self.result: str | None = None
        self.root_id: str | None = None
        self.parent_id: str | None = None
        self.client: str | None = None
        self.queue_or_none: str | None = None
        self.exchange: str | None = None
        self.routing_key: str | None = None
        self.sent: float | None = None
        self.received: float | None = None
        self.started: float | None = None
        self.succeeded: float | None = None
        #: When its attempt ended, in whatever way.
        self.ended: float | None = None
        #: The run time as the worker measured it.
        self.measured: float | None = None
        self.timestamp: float | None = None
        self.retries: int | None = None
        self.pid: int | None = None
        self.first_received: float | None = None
        self.local_received = 0.0
        #: The number of the event that we last heard of it.
        self.serial = self.weight_bytes = self.clock = 0
        if fields:
            self._set(fields)

    def _set(self, fields: Mapping[str, Any]) -> None:
        """Set what is given by hand, as `as_dict` returns it or a part of that."""
        for name, value in fields.items():
            if name not in {"root", "parent"}:
                setattr(self, name, value)
        if self.state in ENDS and self.ended is None:
            self.ended = getattr(self, MOMENTS[self.state], None)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Task):
            return self.uuid == other.uuid
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __repr__(self) -> str:
        return f"<Task: {self.name}({self.uuid}) {self.state} clock:{self.clock}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # Of two, as Celery's is, and for all protocols, which no slots are.
        state: Any = object.__getstate__(self)
        attributes, slots = state
        # Without the state that it belongs to.
        left = {"cluster_state": None, "shelf": _NOWHERE}
        return _task, (type(self), {**slots, **(attributes or {}), **left})

    # --- what is derived -----------------------------------------------------------

    @property
    def id(self) -> str:
        """The uuid, under Celery's other name for it."""
        return self.uuid

    @property
    def worker_name(self) -> str | None:
        """The worker's name."""
        return None if self.worker is None else self.worker.hostname

    # Celery's Task has the fields of the events that came, and no others.  So these
    # are attributes only where they are known, and `getattr(task, "queue", "celery")`
    # has its default otherwise.

    @property
    def hostname(self) -> str:
        """The worker's name, or the client's as long as no worker is known."""
        given = vars(self).get("hostname")
        return _known("hostname", self.worker_name or self.client or given)

    @hostname.setter
    def hostname(self, hostname: str | None) -> None:
        vars(self)["hostname"] = hostname

    @property
    def queue(self) -> str:
        """The queue that its client sent it to."""
        return _known("queue", self.queue_or_none)

    @queue.setter
    def queue(self, queue: str | None) -> None:
        self.queue_or_none = queue

    @property
    def type(self) -> str:
        """The type of the event that its state is from."""
        if self.history is None and self.first_received is None:
            return _known("type", vars(self).get("type"))
        return f"task-{MOMENTS.get(self.state, self.state.lower())}"

    @type.setter  # noqa: A003  (Celery's name)
    def type(self, type_: str | None) -> None:
        vars(self)["type"] = type_

    @property
    def origin(self) -> str | None:
        """Who told of it last: the worker's id, else the client's name."""
        return self.client if self.worker is None else self.worker.id

    @property
    def ready(self) -> bool:
        """Whether it is in a final state."""
        return self.state in FINAL_STATES

    @property
    def done(self) -> float | None:
        """When it entered its final state."""
        return self.ended if self.ready else None

    @property
    def runtime(self) -> float | None:
        """How long it ran: as the worker measured it, else from start to end."""
        if self.measured is not None:
            return self.measured
        return elapsed(self.started, self.ended)

    @runtime.setter
    def runtime(self, value: float | None) -> None:
        self.measured = value

    @property
    def queue_time(self) -> float | None:
        """Seconds from its sending to its receipt, by the worker's clock."""
        return elapsed(self._sent_there(self), self.received)

    @property
    def wait(self) -> float | None:
        """Seconds it waited for its start, without those it was meant to wait.

        From its sending, or else its receipt, or from its ETA, which delayed
        tasks and retries have.  By the worker's clock: if that of the client
        differs by more than a second, its sending is moved by so much.
        """
        return self.wait_of(self)

    def wait_of(self, attempt: "Task | Attempt") -> float | None:
        """Return how long one of its attempts waited, or it itself: the newest."""
        started, since, received = attempt.started, self._sent_there(attempt), attempt.received
        if since is None or (received is not None and received < since):
            since = received  # it cannot have been sent after it was received
        if since is None or started is None:
            return None
        if attempt.eta is not None and (eta := epoch(attempt.eta)) is not None:
            if started < eta < started + _TIMER_MAX:
                return 0.0
            since = max(since, eta)
        return started - since if started >= since else None

    def _sent_there(self, attempt: "Task | Attempt") -> float | None:
        """Return when it was sent, by the clock of its worker.

        None for a message that is delivered again: it waits from its receipt.
        """
        sent = attempt.sent
        if sent is None:
            return None
        if self.attempts and attempt is self and sent in [each.sent for each in self.attempts]:
            return None
        if attempt.worker is None or self.cluster_state is None:
            return sent
        worker = attempt.worker.skew
        client = self.cluster_state.clients.ahead(attempt.client)
        if worker is None or client is None or abs(worker - client) < _SKEW_MIN:
            return sent
        return sent + worker - client

    def lost(self, now: float) -> bool:
        """Tell whether the process of its worker that had it went away.

        `now` is in UTC epoch seconds by our clock.  What runs while a worker stops
        warmly ends after its goodbye, so that leaves it some time.
        """
        worker = self.worker
        if worker is None or self.state not in ACTIVE_STATES:
            return False
        status = worker.status(now)
        if status == "offline":
            return now - worker.local_received > worker.liveness.lost
        return status == "gone" or worker.lacks(self, now)

    # --- relations -----------------------------------------------------------------

    @property
    def parent(self) -> "Task | None":
        """The task that sent it, if we have that."""
        return self._other(self.parent_id)

    @property
    def root(self) -> "Task | None":
        """The first task of its workflow, if we have that."""
        return self._other(self.root_id)

    @property
    def children(self) -> "set[Task]":
        """The tasks that it sent, as far as we have them."""
        return set(self._children())

    def _children(self) -> "tuple[Task, ...]":
        if self.cluster_state is None:
            return ()
        return self.cluster_state.children(self.uuid)

    def _other(self, uuid: str | None) -> "Task | None":
        if uuid is None or self.cluster_state is None:
            return None
        return self.cluster_state.tasks.get(uuid)

    # --- for cameras and filters ---------------------------------------------------

    def event(
        self,
        type_: str,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Take in the event `task-TYPE_`, in the state that has the task if one has."""
        event = {**(fields or {}), "type": f"task-{type_}", "uuid": self.uuid}
        event |= {"timestamp": timestamp, "local_received": local_received}
        state = self.cluster_state
        if state is not None and state.tasks.find(self.uuid) is self:
            state.take(event)
        else:
            tell(self, event)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field by the name it has in events."""
        value = getattr(self, _WIRE_NAMES.get(name, name), None)
        return default if value is None or callable(value) else value

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
            "children": [task.uuid for task in self._children()],
        }


_NOWHERE: Final[Shelf] = OrderedDict()


def _known(name: str, value: str | None) -> str:
    if value is None:
        raise AttributeError(f"no event has said the {name} of this task")
    return value


def _task(kind: type[Task], attributes: Mapping[str, Any]) -> Task:
    """Return the task that was pickled."""
    task = kind.__new__(kind)
    for name, value in attributes.items():
        setattr(task, name, value)
    return task
