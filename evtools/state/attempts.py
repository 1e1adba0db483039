"""What the events of one task mean: its attempts, whatever order the events came in."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from evtools.wire import COMMON, FIELDS, OWN_FIELDS, Event, TaskEvent, from_fields, make_class

if TYPE_CHECKING:
    from evtools.state.worker import Worker

# --- states -------------------------------------------------------------------------

PENDING: Final = "PENDING"
RECEIVED: Final = "RECEIVED"
STARTED: Final = "STARTED"
SUCCESS: Final = "SUCCESS"
FAILURE: Final = "FAILURE"
RETRY: Final = "RETRY"
REVOKED: Final = "REVOKED"
REJECTED: Final = "REJECTED"
CANCELLED: Final = "CANCELLED"

#: The states in which a worker ends an attempt, by precedence: a task that rejects its
#: message without requeue also fails, one that is terminated while it ends also
#: succeeds, and the result backend has the first of them in this order.
ENDS: Final = (SUCCESS, FAILURE, REVOKED, CANCELLED, REJECTED, RETRY)
_RANKS: Final = {state: rank for rank, state in enumerate(reversed(ENDS))}

#: Nothing follows these, as far as this delivery of the message goes.
FINAL_STATES: Final = frozenset(ENDS) - {RETRY}
#: A worker has the task.
ACTIVE_STATES: Final = frozenset({RECEIVED, STARTED})

# fmt: off
#: The attribute that holds when a state was entered; `task-NAME` is its event.
MOMENTS: Final = {
    PENDING: "sent", RECEIVED: "received", STARTED: "started",
    SUCCESS: "succeeded", FAILURE: "failed", RETRY: "retried",
    REVOKED: "revoked", REJECTED: "rejected", CANCELLED: "cancelled",
}
# fmt: on
#: The state that an event enters, by the type of the event.
STATES: Final = {f"task-{moment}": state for state, moment in MOMENTS.items()}

#: The fields of an event that ends an attempt, each with the attribute that holds it.
_OUTCOMES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    SUCCESS: (("result", "result"), ("runtime", "measured")),
    FAILURE: (("exception", "exception"), ("traceback", "traceback")),
    RETRY: (("exception", "exception"), ("traceback", "traceback")),
    REVOKED: (("terminated", "terminated"), ("signum", "signum"), ("expired", "expired")),
    REJECTED: (("requeue", "requeue"),),
    CANCELLED: (),
}

# --- an attempt ---------------------------------------------------------------------


class Attempt:
    """One attempt at a task: from its sending, or its receipt by a worker, to its end.

    Times are UTC epoch seconds by the clocks of the senders, None if unknown; `began` is
    the first one reported by the worker.  `worker` is the one that had it, `pid` the
    process that reported its last step.  `number` counts from 0; it is a lower bound
    while `retries`, which events have, is None.
    """

    number: int = 0
    worker_name: str | None = None
    worker: "Worker | None" = None
    client: str | None = None
    began: float | None = None
    # From here on, what an attempt and a task have in common.
    state: str = PENDING
    timestamp: float | None = None
    pid: int | None = None
    sent: float | None = None
    received: float | None = None
    started: float | None = None
    succeeded: float | None = None
    ended: float | None = None
    measured: float | None = None
    retries: int | None = None
    result: str | None = None
    # Few tasks have these.
    failed: float | None = None
    retried: float | None = None
    revoked: float | None = None
    rejected: float | None = None
    cancelled: float | None = None
    eta: str | None = None
    expires: str | None = None
    exception: str | None = None
    traceback: str | None = None
    terminated: bool | None = None
    signum: int | str | None = None
    expired: bool | None = None
    requeue: bool | None = None

    def __repr__(self) -> str:
        return f"<Attempt {self.number}: {self.state} on {self.worker_name}>"

    @property
    def waits(self) -> bool:
        """Whether it has neither started nor ended."""
        return self.started is None and self.ended is None

    @property
    def runtime(self) -> float | None:
        """Seconds that it ran: as measured by the worker, else from start to end."""
        return self.measured if self.measured is not None else elapsed(self.started, self.ended)


# --- one attempt: each event sets what is its own, in any order -----------------------
#
# `life` is an attempt, or a task that has had one attempt.


def add_sent(life: Any, event: TaskEvent) -> None:
    """Add its sending, of which a receipt knows better."""
    life.sent = event.timestamp
    if life.retries is None:
        life.retries = event.retries
    if event.eta is not None and life.eta is None:
        life.eta = event.eta
    if event.expires is not None and life.expires is None:
        life.expires = event.expires
    if life.received is None and life.started is None and life.ended is None:
        life.state = RETRY if event.retries else PENDING
        life.timestamp = event.timestamp


def add_received(life: Any, event: TaskEvent) -> None:
    """Add its receipt by a worker."""
    life.received = event.timestamp
    life.retries = event.retries
    if event.eta is not None:
        life.eta = event.eta
    if event.expires is not None:
        life.expires = event.expires
    if life.started is None and life.ended is None:
        life.state = RETRY if event.retries else RECEIVED
        life.timestamp = event.timestamp
        life.pid = event.pid


def add_started(life: Any, event: TaskEvent) -> None:
    """Add its start."""
    life.started = event.timestamp
    if life.ended is None:
        life.state = STARTED
        life.timestamp = event.timestamp
        life.pid = event.pid


def add_end(life: Any, event: TaskEvent) -> None:
    """Add an end; of several the state with the higher precedence counts.

    What is reported twice, as the end of a process that was terminated, was true the
    first time.
    """
    state = STATES[event.type]
    moment = MOMENTS[state]
    if getattr(life, moment, None) is not None:
        return
    counts = life.ended is None or _RANKS[state] > _RANKS[life.state]
    setattr(life, moment, event.timestamp)
    if counts:
        life.state = state
        life.ended = life.timestamp = event.timestamp
        life.pid = event.pid
    for field, name in _OUTCOMES[state]:
        value = getattr(event, field)
        if field == "exception":
            value = unwrapped(value, event.traceback)
        if value is not None and (counts or getattr(life, name, None) is None):
            setattr(life, name, value)


def first_end(life: Any) -> float | None:
    """Return when the first of its ends was."""
    ends = [getattr(life, MOMENTS[state], None) for state in ENDS]
    return min((end for end in ends if end is not None), default=None)


# --- all attempts -------------------------------------------------------------------

#: Of events of the same moment, these come first.
_ORDER: Final = {"task-sent": 0, "task-received": 1, "task-started": 2}


def place(event: TaskEvent) -> tuple[float, int, str, str, int]:
    """Return the place of an event among others of its task; two at one are the same."""
    kind = event.type
    order = _ORDER.get(kind, 3)
    return event.timestamp or 0.0, order, kind, event.hostname, event.retries or 0


def in_order(events: Iterable[TaskEvent]) -> list[TaskEvent]:
    """Return each event of a task once, in order of time."""
    distinct: dict[Any, TaskEvent] = {}
    for event in events:
        distinct.setdefault(place(event), event)
    return [distinct[key] for key in sorted(distinct)]


class Group(Struct, eq=False):
    """The events of one attempt, and of these what it takes to find out that they are."""

    worker_name: str | None = None
    began: float | None = None
    number: int = 0
    client: str | None = None
    sent: float | None = None
    retries: int | None = None
    received: bool = False
    started: bool = False
    ended: bool = False
    retried: bool = False
    events: list[Any] = []


def attempts(
    events: Sequence[TaskEvent], skews: Mapping[str, float | None] | None = None
) -> list[Attempt]:
    """Return the attempts of a task, oldest first, from its events `in_order`.

    They follow from what the events say, not from the order in which they came.  The
    events of each worker are taken in the order of its own clock and belong to attempts
    as `_group_of` says.  Attempts are in the order of their numbers, and
    redeliveries, which share one, in the order in which workers began with them; `skews`
    has the seconds that the clock of a worker is ahead of ours.
    """
    return [_attempt_of(group) for group in grouped(events, skews)]


def _attempt_of(group: Group) -> Attempt:
    attempt = Attempt()
    attempt.number = group.number
    attempt.worker_name = group.worker_name or None
    attempt.client = group.client
    attempt.began = group.began
    _fold(attempt, group)
    return attempt


def _fold(life: Any, group: Group) -> None:
    # An attempt, or a task that has none yet, takes the events of a group.
    for event in group.events:
        ADD[event.type](life, event)
    if group.began is not None and not group.started and not group.ended:
        life.state = RETRY if group.number else RECEIVED


#: What each event of a task sets in the attempt that it is of.
ADD: Final[Mapping[str, Callable[[Any, TaskEvent], None]]] = {
    **dict.fromkeys(STATES, add_end),
    "task-sent": add_sent,
    "task-received": add_received,
    "task-started": add_started,
}


def grouped(
    events: Sequence[TaskEvent], skews: Mapping[str, float | None] | None = None
) -> list[Group]:
    """Return the events of a task by attempt: see `attempts`."""
    runs: dict[str, list[Group]] = {}
    sent = []
    for event in events:
        kind = event.type
        if kind == "task-sent":
            sent.append(event)
            continue
        hostname = event.hostname
        if not hostname:
            # That of the only worker there is.
            names = {each.hostname for each in events if each.type != "task-sent"} - {""}
            hostname = names.pop() if len(names) == 1 else ""
        run = runs.get(hostname)
        if run is None:
            run = runs[hostname] = []
        group = _group_of(event, run)
        if group is None:
            group = Group(hostname, event.timestamp)
            run.append(group)
        _add(group, event)

    def began(group: Group) -> float:
        return (group.began or 0.0) - ((skews or {}).get(group.worker_name or "") or 0.0)

    found = [group for run in runs.values() for group in run]
    if len(runs) > 1:
        found.sort(key=began)
    is_sorted = _number(found, sent)
    for event in sent:
        # That of the first attempt of its number that has none, or of a new one.
        number = event.retries or 0
        for group in found:
            if group.number == number and group.sent is None:
                break
        else:
            group = Group(number=number)
            found.append(group)
        group.client = event.hostname or None
        group.sent = event.timestamp
        group.events.append(event)
    if len(runs) > 1 or not is_sorted or (sent and found[-1].began is None):
        found.sort(key=lambda each: (each.number, each.began is None, began(each)))
    return found


def _add(group: Group, event: TaskEvent) -> None:
    kind = event.type
    group.events.append(event)
    if kind == "task-received":
        group.received = True
        group.retries = event.retries
    elif kind == "task-started":
        group.started = True
    else:
        group.ended = True
        group.retried |= kind == "task-retried"


def _number(found: list[Group], sent: list[TaskEvent]) -> bool:
    """Give groups, which are in the order of their beginning, their numbers.

    One without a receipt is a redelivery of the one before it, or follows it if that
    was retried.  Return whether the numbers are in order.
    """
    number = min([event.retries or 0 for event in sent], default=0)
    before, is_sorted = 0, True
    for group in found:
        if group.retries is not None:
            number = group.retries
        group.number = number
        is_sorted &= number >= before
        before = number
        number += group.retried
    return is_sorted


def _group_of(event: TaskEvent, run: list[Group]) -> Group | None:
    """Return which of a worker's attempts an event belongs to; None: a new one.

    Only a receipt says which attempt it is of.  A worker's process sends the next attempt
    before it ends; so the worker may receive that, and another of its processes may run
    it, before it reports that this one is to be retried, or even that it started.
    """
    kind = event.type
    if not run:
        return None
    latest = run[-1]
    if kind == "task-received":
        # A new one, unless a clock was set back while it began.
        return latest if not latest.received and not event.retries else None
    if len(run) == 1 and kind != "task-started":
        return latest
    if kind == "task-started":
        # The newest delivery of the earliest attempt that waits.
        found = None
        for group in reversed(run):
            waits = not group.started and not group.ended
            if waits and (found is None or (group.retries or 0) < (found.retries or 0)):
                found = group
        return found
    unended = [group for group in run if not group.ended]
    running = [group for group in unended if group.started]
    if kind == "task-retried":
        # The newest that runs, else the one that is open for longest.  The next attempt may
        # have started, and even ended, before; so one that was followed by another comes first.
        newest = latest.retries or 0
        followed = [group for group in running if (group.retries or 0) < newest]
        return (followed[-1:] or running[-1:] or unended or [latest])[0]
    # The delivery of the latest attempt that runs, else the newest open one.
    for groups in (running, unended):
        own = [group for group in groups if group.retries == latest.retries]
        if own:
            return own[-1]
    return latest


# --- the events of a task that had several ---------------------------------------------

_NAMES: Final = tuple(Attempt.__annotations__)
_SHOWN: Final = _NAMES[_NAMES.index("state") :]
_RARE: Final = frozenset(_NAMES[_NAMES.index("failed") :])
#: What a task shows of the attempt before while the newest waits.
_LAST: Final = ("retried", "exception", "traceback")

#: How many events of one task are kept; of one that is retried for ever, the oldest go.
EVENTS_MAX: Final = 64
_EVENTS_KEPT: Final = 48
_CUT_MAX: Final = 16
#: Estimated bytes of a log without its events, and of an event without its texts.
_LOG_BYTES: Final = 1000
#: And of the events of a first attempt, which have the texts of the task.
_BEGUN_BYTES: Final = 800
EVENT_BYTES: Final = 200

OF_TASK: Final = ("name", "args", "kwargs", "root_id", "parent_id")
CALLS: Final = frozenset({"task-sent", "task-received"})
_OF_TASK: Final = attrgetter(*OF_TASK)
#: What a sending says besides, and the attributes of a task that hold it.
_SENDING: Final = attrgetter("hostname", "queue", "exchange", "routing_key")
_SENT: Final = ("client", "queue_or_none", "exchange", "routing_key")
_SENT_OF: Final = attrgetter(*_SENT)
_TEXTS: Final = {
    kind: attrgetter(*names) if len(names) > 1 else None
    for kind, own in OWN_FIELDS.items()
    if kind in STATES
    for names in [[name for name in own if FIELDS[name] == (str | None)]]
}


class History:
    """The events of a task that had more than one attempt or worker, by attempt.

    They are put in order and shown in the task when somebody reads that.
    """

    __slots__ = (
        "_added", "_attempts", "_events", "_groups", "_is_whole", "_waiting", "clock", "given",
        "is_of_worker", "latest", "news", "probable_state", "weight_bytes", "workers",
    )  # fmt: skip

    def __init__(
        self,
        events: Iterable[TaskEvent] = (),
        workers: "Mapping[str, Worker] | None" = None,
        clock: int = 0,
        given: Mapping[str, Any] | None = None,
    ) -> None:
        #: In order of time.
        self._events = in_order(events)
        #: Those that were added and are not in their places yet, and what they take.
        self._waiting: list[tuple[TaskEvent, int]] = []
        #: Whether the events are there that the task was made from.
        self._is_whole = True
        self.workers = dict(workers or {})
        #: The highest logical time of workers, or else of clients.
        self.clock = clock
        self.is_of_worker = any(event.type != "task-sent" for event in self._events)
        #: What the task was made with by hand, and no event has.
        self.given = given or {}
        self.weight_bytes = _LOG_BYTES + sum(map(event_bytes, self._events))
        #: When the latest event was, and the state that it enters.
        self.latest, self.probable_state = 0.0, PENDING
        #: The events that say of the task as a whole what it does not show.
        self.news: list[TaskEvent] = self._events[:]
        #: The events that were added since they were grouped, if these are the latest.
        self._added: list[TaskEvent] = []
        self._groups: list[Group] | None = None
        self._attempts: list[Attempt] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # The classes of events are made by decoders.
        events = [event.as_dict() for event in self._events]
        return _history, (events, self.workers, self.clock, self.given)

    @classmethod
    def of(cls, task: Any) -> "History":
        """Return the history of a task that has had one attempt."""
        worker = task.worker
        given = {}
        if task.first_received is None:
            values = {name: getattr(task, name, None) for name in ("worker", *_SHOWN)}
            given = {name: value for name, value in values.items() if value is not None}
        history = cls((), {} if worker is None else {worker.hostname: worker}, task.clock, given)
        history._is_whole = False
        history.is_of_worker = worker is not None
        history.latest, history.probable_state = task.timestamp or 0.0, task.state
        history.weight_bytes += _BEGUN_BYTES
        return history

    @property
    def groups(self) -> list[Group]:
        """The events by attempt, the newest last; worked out when somebody asks."""
        added, self._added = self._added, []
        if self._groups is None or not all(map(self._follow, added)):
            skews = None
            if len(self.workers) > 1:
                # Without heartbeats the skew is no more than a guess.
                skews = {name: each.skew for name, each in self.workers.items() if each.beats}
            self._groups = grouped(self._events, skews)
        return self._groups

    @property
    def attempts(self) -> list[Attempt]:
        """All attempts, the newest last; worked out when somebody asks."""
        if self._attempts is None:
            self._attempts = [_attempt_of(group) for group in self.groups]
            for attempt in self._attempts:
                attempt.worker = self.workers.get(attempt.worker_name or "")
        return self._attempts

    def _follow(self, event: TaskEvent) -> bool:
        # Add the latest event to its group; False if it may change others.
        if event.type in CALLS or len(self.workers) != 1 or event.hostname not in self.workers:
            return False
        run: list[Group] = []
        for group in self._groups or ():
            if group.began is not None:
                if group.retries is None or (run and run[-1].began > group.began):  # type: ignore[operator]
                    return False
                run.append(group)
        chosen = _group_of(event, run)
        if chosen is not None:
            _add(chosen, event)
        return chosen is not None

    def is_sent_before(self, sent: float) -> bool:
        """Return whether an attempt before the newest was sent at this time."""
        return sent in [group.sent for group in self.groups[:-1]]

    def add(self, task: Any, event: TaskEvent, worker: "Worker | None", size: int) -> bool:
        """Add an event, which takes `size` bytes; return whether there are too many now."""
        if _has_news(task, event):
            self.news.append(event)
        if worker is not None:
            self.workers[worker.hostname] = worker
        clock, at = event.clock or 0, event.timestamp or 0.0
        if event.type == "task-sent":
            if not self.is_of_worker:
                self.clock = max(self.clock, clock)
        elif clock > self.clock or not self.is_of_worker:
            self.clock = clock
            self.is_of_worker = True
        if at >= self.latest:
            self.latest, self.probable_state = at, STATES[event.type]
        self.weight_bytes += size
        self._waiting.append((event, size))
        return len(self._waiting) + len(self._events) > EVENTS_MAX

    def _put_in_order(self) -> None:
        events = self._events
        for event, size in self._waiting:
            at = event.timestamp or 0.0
            index = len(events)
            while index and events[index - 1].timestamp > at:  # type: ignore[operator]
                index -= 1
            if index and events[index - 1].timestamp == at:
                key = place(event)
                while index and place(events[index - 1]) > key:
                    index -= 1
                if index and place(events[index - 1]) == key:
                    self.weight_bytes -= size
                    continue
            if index == len(events):
                self._added.append(event)
            else:
                self._groups = None
            events.insert(index, event)
        self._waiting = []
        self._attempts = None
        if len(events) > EVENTS_MAX:
            del events[:-_EVENTS_KEPT]
            # What is left of an attempt would be taken for all of it.
            kinds = [event.type for event in events[:_CUT_MAX]]
            begin = next((kind for kind in ("task-sent", "task-received") if kind in kinds), None)
            del events[: kinds.index(begin) if begin else 0]
            self._groups = None
            self.weight_bytes = _LOG_BYTES + sum(map(event_bytes, events))

    def show(self, task: Any) -> None:
        """Show in its task what is known with the events that were added."""
        if not self._is_whole:
            self._events = sorted(_events_of(task), key=place)
            self._is_whole = True
        self._put_in_order()
        task.clock = self.clock
        self._show_newest(task)
        if self.news:
            *others, news = self.news
            is_latest = not others and news.retries == self.groups[-1].number
            if is_latest and news.type == "task-received":
                is_latest = news is self._events[-1]
            elif is_latest:
                sent = [event for event in self._events if event.type == "task-sent"]
                is_latest = news is sent[-1] and _OF_TASK(news) == _OF_TASK(task)
            # Of one that is the latest, it is enough to add what it says.
            known = announcement(news) if is_latest else announced(self._events)
            for name, text in known.items():
                setattr(task, name, task.uuid if text == task.uuid else text)
            self.news = []
        for name, value in self.given.items():
            if getattr(task, name, None) is None:
                setattr(task, name, value)

    def _show_newest(self, task: Any) -> None:
        # And while that waits, why the one before did not do.
        *earlier, newest = self.groups
        task.state = PENDING
        task.timestamp = task.pid = task.retries = task.measured = task.result = None
        task.sent = task.received = task.started = task.succeeded = task.ended = None
        own = vars(task)
        for name in [name for name in own if name in _RARE]:
            del own[name]
        _fold(task, newest)
        task.worker = self.workers.get(newest.worker_name or "")
        if earlier and newest.number and not newest.started and not newest.ended:
            last = _attempt_of(earlier[-1])
            task.worker = task.worker or self.workers.get(last.worker_name or "")
            own.update({name: vars(last)[name] for name in _LAST if name in vars(last)})
        if newest.sent is None:
            # A message that is delivered again was sent once.
            for group in earlier:
                if group.number == newest.number and group.sent is not None:
                    task.sent = group.sent


def _history(events: Iterable[Mapping[str, Any]], *known: Any) -> History:
    return History([plain(from_fields(event)) for event in events], *known)


def plain(event: Any, timestamp: float | None = None) -> Any:
    """Return an event with Celery's fields only, so that it is small."""
    kind = event.type
    fields = dict(zip(_PLAIN_NAMES[kind], _PLAIN_VALUES[kind](event), strict=True))
    if timestamp is not None:
        fields["timestamp"] = timestamp
    return _PLAIN[kind](**fields)


_PLAIN: Final = {kind: make_class(kind, OWN_FIELDS[kind]) for kind in STATES}
_PLAIN_NAMES: Final = {kind: (*OWN_FIELDS[kind], "local_received") for kind in STATES}
_PLAIN_VALUES: Final = {kind: attrgetter(*names) for kind, names in _PLAIN_NAMES.items()}


def announced(events: Iterable[TaskEvent]) -> dict[str, str]:
    """Return what the events of a task say of it as a whole, by attribute.

    What a worker received counts more than what a client sent, and a later attempt more
    than an earlier one.
    """
    sent: list[TaskEvent] = []
    received: list[TaskEvent] = []
    for event in events:
        if event.type == "task-sent":
            sent.append(event)
        elif event.type == "task-received":
            received.append(event)
    known: dict[str, str] = {}
    for calls in (sent, received):
        if len(calls) > 1:
            calls.sort(key=lambda call: call.retries or 0)
        for event in calls:
            known |= announcement(event)
    return known


def announcement(event: TaskEvent) -> dict[str, str]:
    """Return what an event says of the task as a whole, by attribute."""
    is_sent = event.type == "task-sent"
    known: dict[str, str] = {}
    # What is said is so, even if that is an empty text, but for these.
    if name := event.name:
        known["name"] = name
    if root_id := event.root_id:
        known["root_id"] = root_id
    if parent_id := event.parent_id:
        known["parent_id"] = parent_id
    if is_sent and event.hostname:
        known["client"] = event.hostname
    if (args := event.args) is not None:
        known["args"] = args
    if (kwargs := event.kwargs) is not None:
        known["kwargs"] = kwargs
    if is_sent:
        if (queue := event.queue) is not None:
            known["queue_or_none"] = queue
        if (exchange := event.exchange) is not None:
            known["exchange"] = exchange
        if (routing_key := event.routing_key) is not None:
            known["routing_key"] = routing_key
    return known


def _has_news(task: Any, event: TaskEvent) -> bool:
    # Whether an event says of the task as a whole what it does not show.
    if event.type == "task-sent":
        return _SENDING(event) != _SENT_OF(task) or _OF_TASK(event) != _OF_TASK(task)
    return event.type == "task-received" and _OF_TASK(event) != _OF_TASK(task)


def is_known(task: Any, event: TaskEvent) -> bool:
    """Return whether a task that has had one attempt shows this event already."""
    if getattr(task, MOMENTS[STATES[event.type]], None) != event.timestamp:
        return False
    return place(event) in map(place, _events_of(task))


def _events_of(task: Any) -> list[Any]:
    # Of a task that has had one attempt.
    events: list[Any] = []
    hostname, pid = task.worker_name or "", task.pid
    for kind in _PLAIN if task.ended is not None else _BEGINNINGS:
        at = getattr(task, MOMENTS[STATES[kind]], None)
        if at is not None:
            make: Any = _PLAIN[kind]
            event = make(
                uuid=task.uuid, hostname=hostname, timestamp=at, pid=pid, clock=task.clock,
                utcoffset=None, local_received=task.local_received,
                **{field: getattr(task, name, None) for field, name in _FIELDS_OF[kind]},
            )  # fmt: skip
            if kind == "task-sent":
                event.hostname, event.pid = task.client or "", None
            events.append(event)
    return events


_BEGINNINGS: Final = ("task-sent", "task-received", "task-started")
#: The fields of each type of event that only some have, each with the attribute that holds it.
_FIELDS_OF: Final = {
    kind: [
        (field, {"queue": "queue_or_none", "runtime": "measured"}.get(field, field))
        for field in OWN_FIELDS[kind]
        if field not in COMMON
    ]
    for kind in STATES
}


def event_bytes(event: Event) -> int:
    """Return about how many bytes an event of a task takes."""
    texts = _TEXTS.get(event.type)
    return EVENT_BYTES + (0 if texts is None else text_bytes(*texts(event)))


def text_bytes(*texts: str | None) -> int:
    """Return how many bytes texts take."""
    return sum([text.__sizeof__() for text in texts if text is not None])


# --- odd values ----------------------------------------------------------------------

#: What billiard makes of an exception that a worker raises for its process: of one
#: that was lost, or too slow.
_WRAPPER: Final = "ExceptionWithTraceback()"
#: The last line of a traceback, and as much of it as a text may have.
_RAISED: Final = re.compile(r"(?:\w+\.)*(?P<kind>\w+)(?:: (?P<text>.*))?", re.DOTALL)
_TEXT_MAX: Final = 1024


def unwrapped(exception: str | None, traceback: str | None) -> str | None:
    """Return the exception that was raised, as its repr, as far as it can be known."""
    if exception != _WRAPPER or traceback is None:
        return exception
    line = traceback[-_TEXT_MAX:].rstrip().rpartition("\n")[2]
    found = _RAISED.fullmatch(line)
    if found is None:
        return exception
    kind, text = found["kind"], found["text"]
    if text is None:
        return f"{kind}()"
    # Where the text is a repr already, it says it all.
    return text if text.startswith(f"{kind}(") else f"{kind}({text!r})"


def elapsed(start: float | None, end: float | None) -> float | None:
    """Return the seconds between two moments, None if unknown or, by two clocks, negative."""
    return None if start is None or end is None or end < start else end - start


def epoch(moment: str | None) -> float | None:
    """Return a moment in ISO 8601 as UTC epoch seconds, None if it is not one.

    Celery writes UTC where it does not write a zone.
    """
    if moment is None:
        return None
    try:
        parsed = datetime.fromisoformat(moment)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
