"""A worker as it tells of itself, and whether it still does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from evtools.clock import Clock, SystemClock
from evtools.state.lives import Lives
from evtools.state.readings import WORKER_READINGS, Heartbeat, Offline, WorkerReading, read
from evtools.state.skew import Skew

if TYPE_CHECKING:
    from evtools.state.task import Task

#: How many of the newest beats are kept, as Celery does.
HEARTBEATS_MAX: Final = 4
#: What a worker takes without its extra fields, in bytes.
WORKER_BYTES: Final = 1500

#: The statuses of a worker that is there, as far as we know.
ALIVE: Final = frozenset({"online", "late", "busy?", "silent"})
_TOLD: Final = (
    *("pid", "freq", "clock", "active", "processed", "loadavg"),
    *("sw_ident", "sw_ver", "sw_sys"),
)


@dataclass(frozen=True, slots=True)
class Liveness:
    """When a worker is what, in seconds since we heard of it but for `late_beats`.

    It is late after so many beats, lost after `lost` or twice as many beats, and
    leaves the state after `leave`, or later if it beats so rarely that it was lost
    later.
    """

    late_beats: float = 2.0
    lost: float = 30.0
    leave: float = 600.0


LIVENESS: Final = Liveness()


class Worker:
    """A worker, identified by its whole node name.

    `timestamp` is by the worker's clock, `local_received`, when we last heard
    of it, and `heartbeats` are by ours; all in UTC epoch seconds.
    `online_since` is when it said that it had started, None if we missed that.
    `goodbye` is when it said that it stops, None if it did not or came back.
    `beats` is how many heartbeats came, `missed` how many tasks it counted and
    no event told of.  `lives` are its processes, one after the other, or several
    at a time that use its name.  `begins` tells whether the last event that came
    of it was the start of a task, `beats_busy` whether it has beaten while it ran one.
    """

    __slots__ = (
        *("hostname", "_beats_at", *_TOLD, "timestamp", "local_received"),
        *("online_since", "goodbye", "beats", "missed"),
        *("time", "liveness", "offset", "lives", "begins", "beats_busy"),
        *("__dict__", "__weakref__"),
    )

    heartbeat_max: ClassVar = HEARTBEATS_MAX
    expire_window: ClassVar = 200
    #: What it told under names that Celery does not use.
    extra: Mapping[str, Any] | None = None

    _fields: ClassVar = ("hostname", "pid", "freq", "heartbeats", *_TOLD[2:])

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

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Worker):
            return self.hostname == other.hostname
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.hostname)

    def __reduce__(self) -> tuple[Any, ...]:
        # Of two, as Celery's is, and for all protocols, which no slots are.
        return _worker, (type(self), object.__getstate__(self))

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.status_string} clock:{self.clock})>"

    # --- what it tells -------------------------------------------------------------

    def take(self, reading: WorkerReading) -> None:
        """Take in what it tells of itself."""
        self.local_received = max(self.local_received, reading.local_received)
        self.begins = False
        life = self.lives.take(reading)
        self.goodbye = self.lives.goodbye(reading.local_received)
        if self.goodbye is not None:
            self._beats_at.clear()
        if life is None or isinstance(reading, Offline):
            return
        self.online_since = life.since if life.said_hello else None
        self.timestamp = reading.timestamp
        self.pid = life.pid
        if not (isinstance(reading, Heartbeat) and reading.answers_wake_up):
            self.beats_busy |= isinstance(reading, Heartbeat) and bool(reading.active)
            self._tell(reading)
            self._beat(reading.local_received)
        self.offset.measure(reading.timestamp, reading.local_received)

    def hear(self, timestamp: float, local_received: float) -> None:
        """Take in that it told something of a task."""
        self.local_received = max(self.local_received, local_received)
        # Heartbeats travel alone, events of tasks wait for others.
        if not self.beats:
            self.offset.measure(timestamp, local_received)

    def _tell(self, reading: WorkerReading) -> None:
        for name in _TOLD:
            value = getattr(reading, name)
            if value is not None:
                setattr(self, name, value)

    def _beat(self, local_received: float) -> None:
        self.beats += 1
        self._beats_at.append(local_received)
        self._beats_at.sort()
        del self._beats_at[: -self.heartbeat_max]

    # --- what we make of it ----------------------------------------------------------

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
    def skew(self) -> float | None:
        """Seconds that its clock is ahead of ours, None if it has not told the time.

        Less what events take at the least from there to here.  Without heartbeats
        it is what the events of its tasks tell.
        """
        return self.offset.ahead

    def status(self, now: float) -> str:
        """Return online, late, busy?, silent, offline or gone.

        `now` is in UTC epoch seconds by our clock.  Gone is who was lost, unless the
        last that came was the start of a task: a worker with the pool solo sends
        nothing while it runs one.  Silent is who runs without heartbeats, of whom we
        cannot tell more.
        """
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
        """Seconds of silence after which it was lost."""
        return max(self.liveness.lost, 2 * self.liveness.late_beats * self.freq)

    def leaves(self, now: float) -> bool:
        """Tell whether we have not heard of it for so long that it is to leave."""
        liveness = self.liveness
        later = self._lost_after - liveness.lost if self.beats else 0.0
        return now - self.local_received > liveness.leave + later

    def processes(self, now: float) -> int:
        """Return how many processes are known to use its name."""
        return self.lives.count(now)

    def lacks(self, task: "Task", now: float) -> bool:
        """Tell whether the process that had a task is no longer there.

        While another of this name may be.
        """
        return self.lives.lack(task, now, self.liveness.lost)

    @property
    def alive(self) -> bool:
        """Whether it is there as of now, as far as we can tell."""
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
        """Take in the event `worker-TYPE_`, or None for any sign of life."""
        event = {**(fields or {}), "hostname": self.hostname, "timestamp": timestamp}
        event["local_received"] = local_received
        kind = WORKER_READINGS.get(f"worker-{type_}", Heartbeat)
        reading, _ = read(event, kind)
        if reading is None:
            return
        if type_ != "offline" and not (timestamp and local_received):
            self._tell(reading)
            return
        beats = self.beats
        self.take(reading)
        # As Celery has it, whatever the event says.
        if beats == self.beats and type_ != "offline":
            self._beat(reading.local_received)


def _worker(kind: type[Worker], state: Any) -> Worker:
    """Return the worker that was pickled."""
    worker = kind.__new__(kind)
    attributes, slots = state
    for name, value in {**slots, **(attributes or {})}.items():
        setattr(worker, name, value)
    return worker


def heartbeat_expires(timestamp: float, freq: float = 60, expire_window: float = 200) -> float:
    """Return when a heartbeat of `timestamp` is too old, as Celery sees it."""
    return float(timestamp) + float(freq) * (expire_window / 100)
