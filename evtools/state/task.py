"""A task as its events describe it."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import Any, Final, Protocol

from msgspec import UNSET, Struct

from evtools.state.attempts import (
    ACTIVE_STATES,
    ENDS,
    FINAL_STATES,
    MOMENTS,
    PENDING,
    STATES,
    Attempt,
    History,
    elapsed,
    epoch,
)
from evtools.state.worker import ALIVE, Clients, Worker
from evtools.wire import OWN_FIELDS, Event, tidy

#: What the fields of events are called here, where it is not the same.
_WIRE_NAMES: Final = {"id": "uuid", "hostname": "worker_name"}

#: In seconds.  Less than that can be the time that events take to reach us.
_SKEW_MIN: Final = 1.0
#: A timer may be early by less than this.
_TIMER_MAX: Final = 0.1

#: Estimated bytes of a task without the texts that its events bring, and of the
#: attributes that few tasks have.
TASK_BYTES: Final = 900
RARE_BYTES: Final = 200
#: How much of custom events, and of fields that Celery does not know, a task keeps.
KEPT_MAX_BYTES: Final = 16 * 1024

Bucket = OrderedDict[str, "Task"]
_NOWHERE: Final[Bucket] = OrderedDict()


class Cluster(Protocol):
    """What a task asks the state that it belongs to."""

    clients: Clients
    cluster: str
    unseen_until: float

    @property
    def tasks(self) -> Mapping[str, "Task"]:
        """All tasks by uuid."""

    def children(self, uuid: str) -> "tuple[Task, ...]":
        """Return the tasks that this one sent."""

    def settle(self, *more: "Task") -> None:
        """Let all tasks, and `more` that it has forgotten, show what their events say."""


class TaskAnswer(Struct, frozen=True):
    """What a worker answered when it was asked for a task that might be lost.

    `has` is whether it has it, and `runs` whether it runs it, as of `at`, in UTC epoch
    seconds by our clock.  `pid` is the worker's process then, as far as it is known, and
    `serial` the number of what came of the task before.
    """

    worker: str
    has: bool
    runs: bool
    at: float
    pid: int | None
    serial: int


class Task:
    """A task: what is known of it as a whole, and of its newest attempt.

    Times are UTC epoch seconds by the clocks of the senders, but for `local_received` and
    `first_received`, which are ours: when its last and first event came.  None is
    unknown.  `sent` is when the message was sent that the newest attempt has, also if
    others had it before.  `pid` is the process of the worker that reported its last step;
    `clock` the highest logical time that workers reported, or its client while none has.
    Fields that Celery does not know are attributes too, unless something else has that
    name.
    """

    # fmt: off
    __slots__ = (
        "__dict__",
        "__weakref__",
        "args",
        "client",
        "clock",
        "cluster_state",
        "ended",
        "exchange",
        "extra",
        "extra_at",
        "first_received",
        "history",
        "kwargs",
        "local_received",
        "measured",
        "name",
        "parent_id",
        "pid",
        "queue_or_none",
        "received",
        "result",
        "retries",
        "root_id",
        "routing_key",
        "sent",
        "serial",
        "started",
        "state",
        "stored_in",
        "succeeded",
        "timestamp",
        "utcoffset",
        "uuid",
        "weight_bytes",
        "worker",
    )
    # fmt: on

    # What few tasks have takes space only in those.
    eta: str | None = None
    expires: str | None = None
    exception: str | None = None
    traceback: str | None = None
    failed: float | None = None
    retried: float | None = None
    revoked: float | None = None
    rejected: float | None = None
    # As with Celery's, these are not there until an event has them.
    cancelled: float
    terminated: bool
    signum: int | str
    expired: bool
    requeue: bool
    utcoffset: float
    #: The newest custom event, as task-progress: its type, timestamp and own fields.
    note: Mapping[str, Any] | None = None
    #: Whether its start is known from an answer of its worker only.
    asked: bool = False
    #: The newest answer on whether its worker has it, if it was in doubt.
    worker_answer: TaskAnswer | None = None

    def __init__(
        self,
        uuid: str = "",
        cluster_state: "Cluster | None" = None,
        children: Iterable[str] | None = None,  # noqa: ARG002
        **fields: Any,
    ) -> None:
        self.uuid = uuid
        self.cluster_state = cluster_state
        self.state = PENDING
        self.worker: Worker | None = None
        #: Its events, unless it has had one attempt at one worker.
        self.history: History | None = None
        #: Where it is kept.
        self.stored_in: Bucket = _NOWHERE
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
        #: The run time as measured by the worker.
        self.measured: float | None = None
        self.timestamp: float | None = None
        self.retries: int | None = None
        self.pid: int | None = None
        #: Fields of its events that Celery does not know, and when each was reported; or
        #: when all of them were.
        self.extra: Mapping[str, Any] | None = None
        self.extra_at: float | Mapping[str, float] = 0.0
        self.first_received: float | None = None
        self.local_received = 0.0
        #: The number of its last event.
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
        assert self.state  # so that it is settled
        # Of two, as Celery's is, and for all protocols, which slots alone are not.
        state: Any = object.__getstate__(self)
        attributes, slots = state
        # Without the state that it belongs to.
        left = {"cluster_state": None, "stored_in": _NOWHERE}
        return _task, (type(self), {**slots, **(attributes or {}), **left})

    # --- what is derived -----------------------------------------------------------

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts before the newest, the oldest first."""
        return () if self.history is None else tuple(self.history.attempts[:-1])

    def repeats(self, event: Any) -> bool:
        """Return whether the end that an event reports was reported before, with another time.

        Workers report twice that an attempt failed at its hard time limit.
        """
        if self.history is None:
            return False
        at = event.local_received if event.timestamp is None else event.timestamp
        moment = MOMENTS[STATES[event.type]]
        return all(getattr(attempt, moment) != at for attempt in self.history.attempts)

    @property
    def id(self) -> str:
        """The uuid, under Celery's other name for it."""
        return self.uuid

    @property
    def cluster(self) -> str:
        """The name of the cluster that it ran in, "" if that has none."""
        return "" if self.cluster_state is None else self.cluster_state.cluster

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

    @type.setter  # noqa: A003
    def type(self, type_: str | None) -> None:
        vars(self)["type"] = type_

    @property
    def origin(self) -> str | None:
        """Who reported it last: the worker's id, else the client's name."""
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
        """Seconds that it ran: as measured by the worker, else from start to end."""
        return self.measured if self.measured is not None else elapsed(self.started, self.ended)

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

        From its sending, or else its receipt, or from its ETA, which delayed tasks and
        retries have.  By the worker's clock: if that of the client differs by more than
        a second, the time of sending is corrected by the difference.
        """
        return self.wait_of(self)

    def wait_of(self, attempt: "Task | Attempt") -> float | None:
        """Return the seconds that one of its attempts, or it itself, the newest, waited."""
        started = attempt.started
        if started is None:
            return None
        received, since = attempt.received, self._sent_there(attempt)
        # It cannot have been sent after it was received.
        if since is None or (received is not None and received < since):
            since = received
        if since is None:
            return None
        if attempt.eta is not None:
            eta = epoch(attempt.eta)
            if eta is not None:
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
        if attempt is self and self.history is not None and self.history.is_sent_before(sent):
            return None
        if attempt.worker is None or self.cluster_state is None:
            return sent
        worker = attempt.worker.skew
        client = self.cluster_state.clients.ahead(attempt.client)
        if worker is None or client is None or abs(worker - client) < _SKEW_MIN:
            return sent
        return sent + worker - client

    def lost(self, now: float) -> bool:
        """Return whether the process of its worker that had it went away.

        `now` is in UTC epoch seconds by our clock.  What runs while a worker stops
        warmly ends after its goodbye, so that leaves it some time.  What its worker
        answers when it is asked for the task counts until an event comes.
        """
        worker = self.worker
        if worker is None or self.state not in ACTIVE_STATES or self.may_have_ended(now):
            return False
        status = worker.status(now)
        if status == "offline":
            return now - worker.local_received > worker.liveness.lost
        if status == "gone":
            return True
        answer = self.current_answer(now)
        return self._lacked(worker, now) if answer is None else not answer.has

    def may_have_ended(self, now: float) -> bool:
        """Return whether it was open when nobody looked any more, and no answer says that it is.

        Its worker may have answered that it does not have it, which `current_answer` returns.
        """
        if not self._is_unseen():
            return False
        answer = self.current_answer(now)
        return answer is None or not answer.has

    def _is_unseen(self) -> bool:
        state, is_open = self.cluster_state, self.state in ACTIVE_STATES
        return is_open and state is not None and self.local_received < state.unseen_until

    def _lacked(self, worker: Worker, now: float) -> bool:
        sign = self.local_received
        return self.timestamp is not None and worker.lacks(self.pid, self.timestamp, sign, now)

    def missing_at(self, now: float) -> float | None:
        """Return when its worker said that it does not have it, if it is lost.

        None if it is not, or may only be.
        """
        answer = self.worker_answer
        if answer is None or answer.has or answer.serial != self.serial:
            return None
        return answer.at if self.lost(now) else None

    def current_answer(self, now: float) -> TaskAnswer | None:
        """Return what its worker answered when the task was in doubt, None if that is over.

        It is after an event of the task, and when another process has the worker's name.
        """
        answer, worker = self.worker_answer, self.worker
        if answer is None or answer.serial != self.serial or worker is None:
            return None
        return answer if worker.pid == answer.pid and worker.processes(now) <= 1 else None

    def in_doubt(self, now: float) -> bool:
        """Return whether only its worker can say, when it is asked, if it has it.

        By events it may be lost or have ended, or nothing but answers shows that its worker is
        there.
        """
        worker = self.worker
        if worker is None or self.state not in ACTIVE_STATES:
            return False
        is_there = worker.status(now) in ALIVE and not worker.answers_only(now)
        if is_there and self._is_unseen():
            # Where it has ended that is settled.
            answer = self.current_answer(now)
            return answer is None or answer.has
        return self._lacked(worker, now) if is_there else True

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
        return set(() if self.cluster_state is None else self.cluster_state.children(self.uuid))

    def _other(self, uuid: str | None) -> "Task | None":
        if uuid is None or self.cluster_state is None:
            return None
        return self.cluster_state.tasks.get(uuid)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field by the name it has in events."""
        value = getattr(self, _WIRE_NAMES.get(name, name), None)
        return default if value is None or callable(value) else value

    # --- what events have beyond what Celery knows -------------------------------------

    def take_note(self, type_: str, timestamp: float, fields: Mapping[str, Any]) -> int:
        """Keep a custom event, unless a newer one is there; return the bytes that grows it.

        Of an event that is too large only its type and time are kept.
        """
        known = self.note
        note = {"type": type_, "timestamp": timestamp, **fields}
        size = size_of(note)
        if size > KEPT_MAX_BYTES:
            note = {"type": type_, "timestamp": timestamp}
            size = size_of(note)
        if known is None:
            self.note = note
            return size
        if (timestamp, type_) < (known["timestamp"], known["type"]):
            return 0
        self.note = note
        return size - size_of(known)

    def take_extra(self, timestamp: float, event: Event) -> int:
        """Keep the fields that Celery does not know; of one name the latest.

        Those that do not fit are not kept.  Return the bytes that it has grown.
        """
        known, known_at = self.extra, self.extra_at
        at: float | Mapping[str, float] = timestamp
        if known is not None and known_at.__class__ is float and _repeats(event, known):
            if timestamp > known_at:
                self.extra_at = timestamp
            return 0
        fields = extra = event.extra
        if not fields:
            return 0
        if known is not None:
            if known_at.__class__ is not float or known.keys() != fields.keys():
                extra, at = _merged(known, known_at, timestamp, fields)
            elif timestamp < known_at:
                return 0
        size = size_of(extra)
        if size > KEPT_MAX_BYTES:
            return 0
        grown = size if known is None else size - size_of(known)
        self.extra, self.extra_at = extra, at
        self.show_extra(fields)
        return grown

    def show_extra(self, fields: Mapping[str, Any]) -> None:
        """Make fields that few events have attributes.

        One that Celery has, as `name` in task-started, is set where no event has it by
        rights; of another name nothing else is.
        """
        kind: Any = type(self)
        for name in fields:
            assert self.extra is not None
            value = self.extra[name]
            if name in CELERYS:
                if getattr(self, name, None) is None:
                    tidied = tidy(name, value)
                    if tidied is not None:
                        setattr(self, name, tidied)
            elif _is_free(kind, name):
                setattr(self, name, value)


@cache
def unsettled(kind: type[Task]) -> Any:
    """Return the class that tasks of a `kind` have until somebody reads them.

    The events of a task with several attempts can come faster than they are read, and to
    work out anew what all of them mean takes more than to add one.
    """

    class Unsettled(kind):  # type: ignore[misc,valid-type]
        __slots__ = ()
        settled = kind

        def __getattribute__(self, name: str) -> Any:
            known = object.__getattribute__
            if name in _ALWAYS_KNOWN:
                return known(self, name)
            field = _RARELY_NEWS.get(name)
            if field is not None:
                values = {getattr(event, field) for event in known(self, "history").news}
                values.add(known(self, name))
                values.discard(None)
                if len(values) < 2 and "" not in values:  # noqa: PLR2004
                    return values.pop() if values else None
            known(self, "cluster_state").settle(self)
            return getattr(self, name)

    Unsettled.__name__ = kind.__name__
    return Unsettled


#: What its cluster keeps up to date.
_ALWAYS_KNOWN: Final = frozenset((
    "uuid", "weight_bytes", "serial", "stored_in", "first_received", "local_received", "cluster",
    "cluster_state",
))  # fmt: skip
#: What the second attempt rarely has of its own, with the field that says it.
_RARELY_NEWS: Final = {"name": "name", "queue_or_none": "queue"}

#: The fields that some of Celery's events of tasks have, and not all of them.
CELERYS: Final = frozenset(
    name for kind, own in OWN_FIELDS.items() if kind.startswith("task-") for name in own
) - frozenset(OWN_FIELDS["task-started"])


@lru_cache(maxsize=1024)
def _is_free(kind: Any, name: str) -> bool:
    """Return whether no attribute of a task has a name."""
    return not hasattr(kind, name) and name not in Task.__annotations__


def _repeats(event: Event, known: Mapping[str, Any]) -> bool:
    """Return whether these are the fields of an event that Celery does not know.

    Most events of a task have the same.
    """
    if event.original is not UNSET:
        return False
    count = 0
    for name, slot in event.learned:
        value = getattr(event, slot)
        if value is not UNSET:
            if value != known.get(name, UNSET):
                return False
            count += 1
    return count == len(known)


def _merged(
    known: Mapping[str, Any],
    known_at: float | Mapping[str, float],
    timestamp: float,
    fields: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, float]]:
    """Return fields and their times with others added; of one name the latest counts."""
    extra = dict(known)
    times = dict(known_at) if isinstance(known_at, Mapping) else dict.fromkeys(known, known_at)
    for name, value in fields.items():
        if times.get(name, -1.0) <= timestamp:
            extra[name] = value
            times[name] = timestamp
    return extra, times


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


def size_of(value: Any) -> int:
    """Return about how many bytes a value of any JSON type takes."""
    size = 0
    waiting: list[Any] = [value]
    while waiting:
        value = waiting.pop()
        size += value.__sizeof__()
        if value.__class__ is dict:
            for name, item in value.items():
                size += name.__sizeof__()
                if item.__class__ is str:  # as most are
                    size += item.__sizeof__()
                else:
                    waiting.append(item)
        elif value.__class__ in (list, tuple):
            waiting += value
    return size
