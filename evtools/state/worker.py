"""A worker as it reports itself, its processes, and how far clocks are off."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar, Final

from msgspec import Struct

from evtools.clock import Clock, SystemClock
from evtools.wire import Event, from_fields

#: How many of the newest beats are kept, as Celery does.
HEARTBEATS_MAX: Final = 4
#: Estimated bytes of a worker without its extra fields.
WORKER_BYTES: Final = 1500

#: The statuses of a worker that is there, as far as we know.
ALIVE: Final = frozenset({"online", "late", "busy?", "silent"})
# fmt: off
_REPORTED: Final = (
    "pid", "freq", "clock", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys",
)
# fmt: on
_HEARTBEAT: Final = "worker-heartbeat"
_FREQ_OF_ANSWERS: Final = 5.0
#: For how long an answer shows that a worker is there, in seconds: all are asked each minute.
_ANSWER_LASTS: Final = 90.0
#: After this time without an event, in seconds, an answer is no leftover of before.
_ANSWER_AFTER: Final = 10.0


@dataclass(frozen=True, slots=True)
class Liveness:
    """When a worker is what, in seconds since its last event but for `late_beats`.

    It is late after this many beats, lost after `lost` or twice as many beats, and
    leaves the state after `leave`, or later if it beats so rarely that it was lost
    later.
    """

    late_beats: float = 2.0
    lost: float = 30.0
    leave: float = 600.0


LIVENESS: Final = Liveness()


def answers_wake_up(event: Event) -> bool:
    """Return whether a heartbeat is what Celery's workers answer when tools ask for one.

    That says less than a heartbeat of its own, and a `freq` that is not its own.
    Workers that others wrote may say no more in any heartbeat.
    """
    return (
        event.type == _HEARTBEAT
        and event.freq == _FREQ_OF_ANSWERS
        and event.sw_ident == "py-celery"
        and event.processed is None
        and event.active is None
        and event.loadavg is None
    )


class Worker:
    """A worker, identified by its whole node name.

    `timestamp` is by the worker's clock, `local_received`, when its last event came, and
    `heartbeats` are by ours; all in UTC epoch seconds.  `online_since` is when it said
    that it had started, None if we missed that.  `goodbye` is when it said that it stops,
    None if it did not or came back.  `beats` counts the heartbeats that came, `missed`
    the tasks that it counted and no event reported.  `lives` are its processes, one after
    the other, or several at a time that use its name.  `begins` is whether its last event
    was the start of a task, `beats_busy` whether it has beaten while it ran one.
    `answered` is when it last answered a question, by our clock, -inf if it did not.
    """

    # fmt: off
    __slots__ = (
        "hostname", "_beats_at", *_REPORTED, "timestamp", "local_received",
        "online_since", "goodbye", "beats", "missed",
        "time", "liveness", "offset", "lives", "begins", "beats_busy", "answered",
        "__dict__", "__weakref__",
    )
    # fmt: on

    heartbeat_max: ClassVar = HEARTBEATS_MAX
    expire_window: ClassVar = 200
    #: Fields of its events that Celery does not know.
    extra: Mapping[str, Any] | None = None

    _fields: ClassVar = ("hostname", "pid", "freq", "heartbeats", *_REPORTED[2:])

    def __init__(
        self,
        hostname: str = "",
        pid: int | None = None,
        freq: float = 60,
        heartbeats: list[float] | None = None,
        clock: int = 0,
        active: int | None = None,
        processed: int | None = None,
        loadavg: list[float] | None = None,
        sw_ident: str | None = None,
        sw_ver: str | None = None,
        sw_sys: str | None = None,
        *,
        time: Clock | None = None,
        liveness: Liveness = LIVENESS,
    ) -> None:
        self.hostname = hostname
        self.pid = pid
        self.freq = freq
        self._beats_at = [] if heartbeats is None else heartbeats
        self.clock = clock
        self.active = active
        self.processed = processed
        self.loadavg = loadavg
        self.sw_ident = sw_ident
        self.sw_ver = sw_ver
        self.sw_sys = sw_sys
        self.time = time or SystemClock()
        self.liveness = liveness
        self.timestamp: float | None = None
        self.local_received = max(self._beats_at, default=0.0)
        self.online_since: float | None = None
        self.goodbye: float | None = None
        self.beats = len(self._beats_at)
        self.missed = 0
        #: Of its clock and ours.
        self.offset = Skew()
        self.lives = Lives()
        self.begins = self.beats_busy = False
        self.answered = -inf

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Worker):
            return self.hostname == other.hostname
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.hostname)

    def __reduce__(self) -> tuple[Any, ...]:
        # Of two, as Celery's is, and for all protocols, which slots alone are not.
        return _worker, (type(self), object.__getstate__(self))

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.status_string} clock:{self.clock})>"

    # --- its events ------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """Apply an event of its own."""
        received = event.local_received
        at = received if event.timestamp is None else event.timestamp
        self.local_received = max(self.local_received, received)
        self.begins = False
        life = self.lives.take(event, at)
        self.goodbye = self.lives.goodbye(received)
        if self.goodbye is not None:
            self._beats_at.clear()
        if life is None or event.type == "worker-offline":
            return
        self.online_since = life.since if life.said_hello else None
        self.timestamp = float(at)
        self.pid = life.pid
        if not answers_wake_up(event):
            self.beats_busy |= event.type == _HEARTBEAT and bool(event.active)
            self._take_fields(event)
            self._beat(received)
        self.offset.measure(at, received)

    def _take_fields(self, event: Event) -> None:
        for name in _REPORTED:
            value = getattr(event, name)
            if value is not None:
                setattr(self, name, value)

    def _beat(self, local_received: float) -> None:
        self.beats += 1
        self._beats_at = sorted([*self._beats_at, local_received])[-self.heartbeat_max :]

    def answer(self, at: float, pid: int | None = None) -> None:
        """Note that it answered a question `at` this time by our clock.

        The process is that of `pid`, if the answer says so.
        """
        self.answered = max(self.answered, at)
        if pid is not None and self.lives.answer(pid, at):
            self.pid = pid

    def take_extra(self, fields: Mapping[str, Any]) -> None:
        """Keep fields that Celery does not know, in the place of those before.

        They are attributes where nothing else has their name.
        """
        for name in self.extra or ():
            vars(self).pop(name, None)
        self.extra = fields
        for name, value in fields.items():
            if not hasattr(type(self), name):
                setattr(self, name, value)

    # --- what is derived -------------------------------------------------------------

    @property
    def id(self) -> str:
        """Its name and process."""
        return f"{self.hostname}.{self.pid}"

    @property
    def heartbeats(self) -> list[float]:
        """When the newest heartbeats came, the oldest first.

        The last is when any event of it came, also of a task: to cameras written
        for Celery these are heartbeats, too.
        """
        beats, last = self._beats_at, self.local_received
        if self.goodbye is None and last > (beats[-1] if beats else 0.0):
            return [*beats, last][-self.heartbeat_max :]
        return beats

    @heartbeats.setter
    def heartbeats(self, beats: list[float]) -> None:
        self._beats_at = beats

    @property
    def last_beat(self) -> float | None:
        """When its last heartbeat came, None if none did or it has said goodbye since."""
        return self._beats_at[-1] if self._beats_at else None

    @property
    def skew(self) -> float | None:
        """Seconds that its clock is ahead of ours, None if no event had a time.

        Less what events take at the least from there to here.  Without heartbeats
        it follows from the events of its tasks.
        """
        return self.offset.ahead

    def status(self, now: float) -> str:
        """Return online, late, busy?, silent, offline or gone.

        `now` is in UTC epoch seconds by our clock.  A worker that was lost is gone, unless
        its last event was the start of a task: a worker with the pool solo sends nothing
        while it runs one.  One that runs without heartbeats is silent; more cannot be
        known of it, unless it answers: then it is online.
        """
        status = self._status_by_events(now)
        is_there = status in ("online", "late") or not self._is_known_to_answer(now)
        return status if is_there else "online"

    def answers_only(self, now: float) -> bool:
        """Return whether its answers show that it is there, and by its events it is not."""
        return self._status_by_events(now) in ("gone", "offline") and self.status(now) == "online"

    def _is_known_to_answer(self, now: float) -> bool:
        # The answer of one that has crashed just after it must not hide that.
        quiet, least = self.answered - self.local_received, -inf
        if self.goodbye is not None:
            least = _ANSWER_AFTER
        elif self.beats:
            least = max(_ANSWER_AFTER, self.liveness.late_beats * self.freq)
        return now - self.answered <= _ANSWER_LASTS and quiet > least

    def _status_by_events(self, now: float) -> str:
        age = now - self.local_received
        leave = self.liveness.leave
        if self.goodbye is not None:
            return "offline"
        if not self.beats:
            return "silent" if age <= leave else "gone"
        if age > self._lost_after:
            may_run = self.begins and not self.beats_busy
            return "busy?" if may_run and age <= leave else "gone"
        return "late" if age > self.liveness.late_beats * self.freq else "online"

    @property
    def _lost_after(self) -> float:
        return max(self.liveness.lost, 2 * self.liveness.late_beats * self.freq)

    def leaves(self, now: float) -> bool:
        """Return whether nothing came of it for so long that it is to leave."""
        liveness = self.liveness
        later = self._lost_after - liveness.lost if self.beats else 0.0
        return now - max(self.local_received, self.answered) > liveness.leave + later

    @property
    def was_replaced(self) -> bool:
        """Whether several processes are known to have used its name."""
        return len(self.lives) > 1

    def processes(self, now: float) -> int:
        """Return how many processes are known to use its name."""
        return self.lives.processes(now)

    def lacks(self, pid: int | None, at: float, sign: float, now: float) -> bool:
        """Return whether the process that had a task is gone, while others may be there.

        It is the one that reported the last step of the task: its `pid`, `at` this time by
        its clock, received at `sign` by ours.
        """
        return self.lives.lack(pid, at, sign, now, self.liveness.lost)

    @property
    def alive(self) -> bool:
        """Whether it is there as of now, as far as we can know."""
        return self.status(self.time.wall()) in ALIVE

    @property
    def status_string(self) -> str:
        """ONLINE or OFFLINE."""
        return "ONLINE" if self.alive else "OFFLINE"

    @property
    def heartbeat_expires(self) -> float:
        """When the last heartbeat is too old, as Celery sees it."""
        return heartbeat_expires(self.heartbeats[-1], self.freq, self.expire_window)

    # --- Celery's names --------------------------------------------------------------

    def update(self, f: Mapping[str, Any], **kw: Any) -> None:
        """Set attributes."""
        for name, value in {**f, **kw}.items():
            setattr(self, name, value)

    def event(
        self,
        type_: str | None,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Apply the event `worker-TYPE_`, or None for any sign of life."""
        kind = f"worker-{type_}" if type_ in {"online", "offline"} else _HEARTBEAT
        times = {"timestamp": timestamp, "local_received": local_received}
        event = from_fields({**(fields or {}), **times, "hostname": self.hostname, "type": kind})
        if not event.hostname:
            return
        if type_ != "offline" and not (timestamp and local_received):
            self._take_fields(event)
            return
        beats = self.beats
        self.take(event)
        # As Celery has it, whatever the event says.
        if beats == self.beats and type_ != "offline":
            self._beat(event.local_received)


def _worker(kind: type[Worker], state: Any) -> Worker:
    worker = kind.__new__(kind)
    attributes, slots = state
    for name, value in {**slots, **(attributes or {})}.items():
        setattr(worker, name, value)
    return worker


def heartbeat_expires(timestamp: float, freq: float = 60, expire_window: float = 200) -> float:
    """Return when a heartbeat of `timestamp` is too old, as Celery sees it."""
    return float(timestamp) + float(freq) * (expire_window / 100)


# --- its processes ---------------------------------------------------------------------

#: How many processes of one worker are remembered; each restart is one more.
_LIVES_MAX: Final = 8
#: The interval of heartbeats of Celery's workers in seconds, for those without `freq`.
_FREQ: Final = 2.0
#: After this many beats without one, a heartbeat is no longer due, or merely late.
_DUE_BEATS: Final = 1.5
#: After this many, a process is not there if others of its name are.
_LATE_BEATS: Final = 2.0


class Life(Struct, eq=False):
    """One process of a worker.

    `since` and `until` are the times of its first and last event, by its own clock;
    `first_seen` and `last_seen` are when those came, by ours.  `began` is whether it is
    known to have started at `since`, and `said_hello` whether it said so itself.
    """

    pid: int | None
    since: float
    until: float
    first_seen: float
    last_seen: float
    began: bool = False
    said_hello: bool = False
    processed: int | None = None
    #: Its least count of tasks, and how many counts came.
    processed_first: int = 0
    counts: int = 0
    freq: float = _FREQ
    goodbye: float | None = None

    def continues(self, event: Event, at: float) -> bool:
        """Return whether a heartbeat with its pid, or with none, may be its own."""
        if self.began and at < self.since:
            return False
        if at <= self.until and not self.is_late(event.local_received, _DUE_BEATS):
            return True  # it was overtaken
        now, before = event.processed, self.processed
        return now is None or before is None or now >= before

    def take(self, event: Event, at: float) -> None:
        """Apply an event that shows that it is there."""
        self.until = at
        self.last_seen = max(self.last_seen, event.local_received)
        if self.goodbye is not None and at > self.goodbye:
            self.goodbye = None
        if self.pid is None:
            self.pid = event.pid
        count = event.processed
        if count is not None:
            first = min(self.processed_first, count) if self.counts else count
            self.processed, self.processed_first = count, first
            self.counts += 1
        if event.freq and not answers_wake_up(event):
            self.freq = event.freq

    def is_late(self, now: float, beats: float) -> bool:
        """Return whether this many beats are missing at `now`, by our clock."""
        return now - self.last_seen > beats * self.freq


class Lives(list[Life]):
    """The processes that used the name of a worker, in the order in which they appeared.

    There is one at a time, or several if two workers of one name were started.  Another
    process shows by its pid, by saying hello, and by a count of tasks that goes back, as
    in containers all have the same pid.  Whether the one before it is still there its
    next heartbeat has to show.
    """

    def take(self, event: Event, at: float) -> Life | None:
        """Apply an event of a process at this time of its clock; return which one's it is.

        None if that is over.
        """
        if event.type == "worker-offline":
            return self._end(event, at)
        if event.type == "worker-online" and not event.processed:
            life: Life | None = self._begin(event, at)
        else:
            life = self._of(event, at)
        if life is not None:
            life.take(event, at)
        return life

    def _begin(self, event: Event, at: float) -> Life:
        """Return the process that says hello."""
        same = [life for life in self if life.pid == event.pid]
        for life in same:
            # Its first heartbeat has overtaken it.
            if life.since >= at:
                life.since, life.began, life.said_hello = at, True, True
                if life.goodbye == at:
                    life.goodbye = None
                return life
        life = self._add(event, at, began=True)
        life.said_hello = True
        if same and same[-1].until > at:
            # What came of it before its hello was taken for another's.
            last = same[-1]
            life.processed, life.freq = last.processed, last.freq
            life.goodbye, last.goodbye = last.goodbye, None
        return life

    def _of(self, event: Event, at: float) -> Life | None:
        """Return the process that a heartbeat is of, None if it is over."""
        same = self._same(event.pid)
        if same and all(life.began and at < life.since for life in same):
            return None
        own = [life for life in same if life.continues(event, at)]
        if not own:
            return self._add(event, at, began=bool(same))
        due = [life for life in own if not life.is_late(event.local_received, _DUE_BEATS)]
        counted = [life for life in due if life.processed is not None] or due
        return max(counted, key=lambda life: life.processed or 0) if due else own[-1]

    def _end(self, event: Event, at: float) -> Life | None:
        """Return the process that says goodbye, None if it was one before."""
        for life in reversed(self._same(event.pid) or [self._add(event, at, began=False)]):
            if life.until <= at and not (life.said_hello and life.since == at):
                life.goodbye = at
                life.last_seen = max(life.last_seen, event.local_received)
                return life
        return None

    def _same(self, pid: int | None) -> list[Life]:
        """Return those of a pid, or those without; all if it is None."""
        same = [life for life in self if pid in {None, life.pid}]
        return same or [life for life in self if life.pid is None]

    def _add(self, event: Event, at: float, *, began: bool) -> Life:
        received = event.local_received
        life = Life(event.pid, at, at, received, received, began)
        self.append(life)
        del self[:-_LIVES_MAX]
        return life

    def answer(self, pid: int, at: float) -> bool:
        """Note that the process of a pid answered `at` this time by our clock.

        Return whether that is one that was not known.
        """
        if self._same(pid):
            return False
        self.append(Life(pid, at, at, at, at))
        del self[:-_LIVES_MAX]
        return True

    # --- what is derived -------------------------------------------------------------

    def goodbye(self, now: float) -> float | None:
        """Return when the last of them said goodbye, None if one is there."""
        if self._there(now):
            return None
        said = [life.goodbye for life in self if life.goodbye is not None]
        return max(said, default=None)

    def processes(self, now: float) -> int:
        """Return how many are there together, as far as their heartbeats prove it."""
        there = self._there(now)
        return sum(
            all(life.last_seen > other.first_seen for other in there if other is not life)
            for life in there
        )

    @property
    def done(self) -> int | None:
        """How many tasks they began since we are connected; None if no count came twice."""
        done = [(life.processed or 0) - life.processed_first for life in self if life.counts > 1]
        return sum(done) if done else None

    def lack(self, pid: int | None, at: float, sign: float, now: float, grace: float) -> bool:
        """Return whether the process that had a task is no longer there.

        After its goodbye it has `grace` seconds to end what it runs.
        """
        same = [life for life in self if life.pid is not None and life.pid == pid]
        if same:
            possible = [life for life in same if not life.began or life.since <= at]
        else:
            # The pid can be that of a child, and then says nothing.
            possible = [life for life in self if life.since <= at]
            possible = possible or [life for life in self[:1] if not life.began]
        for life in possible:
            # What came of the task came from it.
            own = sign if life.pid == pid else 0.0
            if life.goodbye is None:
                if self._is_there(life, now, own):
                    return False
            elif now - max(life.last_seen, own) <= grace:
                return False
        return bool(self)

    def _there(self, now: float) -> list[Life]:
        return [life for life in self if life.goodbye is None and self._is_there(life, now)]

    def _is_there(self, life: Life, now: float, sign: float = 0.0) -> bool:
        """Return whether no other has taken its place since its last sign.

        Another has if it started later, or beats while this one misses its beats.
        """
        seen = max(life.last_seen, sign)
        late = now - seen > _LATE_BEATS * life.freq
        return not any(
            (other.began and other.first_seen > seen)
            or (late and other.goodbye is None and other.last_seen > seen)
            for other in self
            if other is not life
        )


# --- clocks ----------------------------------------------------------------------------

#: Seconds that the least delay is looked for in; as many before count as well.
_WINDOW: Final = 60.0
#: More clients, and machines that they run on, than a cluster has at a time; names
#: are chosen by senders.
_CLIENTS_MAX: Final = 4096
_MACHINES_MAX: Final = 1024
_LENGTH_MAX: Final = 255


class Skew:
    """How far one clock is ahead of ours, from when events are sent and received.

    An event comes late by the skew and its transit.  Transit is never negative, so the
    least delay is nearest to the truth; while all that comes is late because the stream
    is, that is one from before.  A delay is of interest if it is less than `least`, or
    comes after `until`.  `ahead` is how many seconds the clock is ahead of ours, less the
    transit; None if that is unknown.
    """

    def __init__(self) -> None:
        self.least = self._before = inf
        self.until = -inf
        self.ahead: float | None = None

    def measure(self, timestamp: float, local_received: float) -> None:
        """Apply when an event was sent, by the one clock, and received, by ours."""
        delay = local_received - timestamp
        if local_received > self.until:
            recent = local_received <= self.until + _WINDOW
            self._before = self.least if recent else inf
            self.least, self.until = delay, local_received + _WINDOW
        elif delay < self.least:
            self.least = delay
        # Kept, as it is read for the wait of each task, and rarely changes.
        self.ahead = -min(self.least, self._before)


class Clients(dict[str, Skew]):
    """The skews of clients, by their hostnames.

    Clients come and go, with names of their own.  What follows the @ is the
    machine, whose clock they share.
    """

    def __init__(self) -> None:
        super().__init__()
        self._machines: dict[str, Skew] = {}

    def __missing__(self, client: str) -> Skew:
        if len(client) > _LENGTH_MAX:
            return Skew()
        if len(self._machines) >= _MACHINES_MAX:
            self._machines.clear()
        if len(self) >= _CLIENTS_MAX:
            self.clear()
        skew = self[client] = self._machines.setdefault(client.rpartition("@")[2], Skew())
        return skew

    def ahead(self, client: str | None) -> float | None:
        """Return the seconds that a client's clock is ahead of ours, if known."""
        return None if client is None else self[client].ahead
