"""Snapshots: what each one misses, what changed since the last, and dry runs."""

import math
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from evtools.clock import Clock, SystemClock
from evtools.state import Change, State, Task, Worker
from evtools.wire import EventFields, encode_line

#: Seconds: workers send heartbeats every two seconds by default.
WARM_UP: Final = 2.0
#: No worker prolongs the warm-up any further by claiming rare heartbeats.
_WARM_UP_MAX: Final = 60.0
#: Gaps that a snapshot lists; those beyond are merged with the last.
_GAPS_MAX: Final = 100
_REASONS: Final = frozenset({"reconnect", "buffer", "stopped"})
#: Beyond any clock and any count, and still exact as a float.
_TOO_LARGE: Final = 2**53
#: Tasks that the state has forgotten and that wait to be written, and their bytes.
MAX_TASKS: Final = 200_000
MAX_BYTES: Final = 256 * 1024 * 1024


# --- what a snapshot says of itself -------------------------------------------------


@dataclass(frozen=True, slots=True)
class Gap:
    """A gap in the stream, from `start` to `end` (UTC epoch seconds).

    `reason` is `reconnect`, `buffer` (evcam was too slow, and `dropped` events), `stopped`,
    or `several`.
    """

    reason: str
    start: float
    end: float
    dropped: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {"reason": self.reason, "from": self.start, "to": self.end, "dropped": self.dropped}


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """The origin and the number of a snapshot, its period, and what it misses.

    Times are UTC epoch seconds.  The snapshot was taken at `at` and covers events since
    `since`, `period` seconds before.  `warm` is False while some workers may not have sent
    a heartbeat yet, so that their absence says nothing; `connected` is False without a
    connection.  In that period events fell into the `gaps`, of which `dropped` events are
    known, and workers counted `missed` tasks without an event reaching evcam.
    """

    evcam: str
    host: str
    pid: int
    started: float
    sequence: int
    at: float
    since: float
    period: float
    warm: bool
    connected: bool
    gaps: tuple[Gap, ...] = ()
    dropped: int = 0
    missed: int = 0

    def as_dict(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "gaps": [gap.as_dict() for gap in self.gaps]}


class SnapshotSequence:
    """Number the snapshots of one evcam, and note what each of them misses.

    `workers` are those of the state; `started` is the start of this evcam in UTC epoch
    seconds, now by default; `warm_up` is in seconds.
    """

    def __init__(
        self,
        workers: Mapping[str, Worker],
        *,
        clock: Clock | None = None,
        started: float | None = None,
        warm_up: float = WARM_UP,
    ) -> None:
        self._workers = workers
        self._warm_up = warm_up
        self._started = (clock or SystemClock()).wall() if started is None else started
        self._host = socket.gethostname()
        self._pid = os.getpid()
        #: No other evcam on any machine has the same name.
        self.evcam = f"{self._host}:{self._pid}:{self._started:.3f}"
        self._sequence = 0
        self._since: float | None = None
        self._subscribed: float | None = None
        self._connected = False
        self._gaps: list[Gap] = []
        self._dropped = 0
        self._missed = 0

    def subscribed(self, now: float) -> None:
        """Note that events come from `now` on."""
        if self._since is None:
            self._since = now
        self._subscribed, self._connected = now, True

    def lost(self) -> None:
        """Note that no events come until `subscribed` is called again."""
        self._connected = False

    def note(self, event: EventFields) -> None:
        """Note a gap record, which may be one of a file."""
        reason = event.get("reason")
        if reason == "worker":
            self._missed += int(_plausible(event.get("missed")))
            return
        start, end = _plausible(event.get("from")), _plausible(event.get("to"))
        dropped = int(_plausible(event.get("dropped"))) if reason == "buffer" else 0
        self._dropped += dropped
        if reason == "reconnect":
            # That of a recording: no notice says that events come again.
            self._subscribed = max(start, end)
        if isinstance(reason, str) and reason in _REASONS:
            self._gaps.append(Gap(reason, start, max(start, end), dropped))
            self._gaps = _bounded(self._gaps)

    def is_warm(self, now: float) -> bool:
        """Return whether every worker should have sent a heartbeat by `now`."""
        if self._subscribed is None:
            return False
        beats = (worker.freq for worker in self._workers.values() if worker.beats)
        longest = max((min(freq, _WARM_UP_MAX) for freq in beats), default=0.0)
        return now - self._subscribed >= max(longest, self._warm_up)

    def next(self, now: float) -> SnapshotInfo:
        """Return the information on a snapshot that is taken `now` (UTC epoch seconds)."""
        since = self._started if self._since is None else self._since
        self._sequence += 1
        info = SnapshotInfo(
            evcam=self.evcam,
            host=self._host,
            pid=self._pid,
            started=self._started,
            sequence=self._sequence,
            at=now,
            since=since,
            period=max(0.0, now - since),
            warm=self.is_warm(now),
            connected=self._connected,
            gaps=tuple(self._gaps),
            dropped=self._dropped,
            missed=self._missed,
        )
        self._since = now
        self._gaps, self._dropped, self._missed = [], 0, 0
        return info

    def restore(self, info: SnapshotInfo) -> None:
        """Let the next snapshot cover the period of this one, which was not written.

        It gets the same number, so that a missing number is always a lost snapshot.
        """
        self._sequence = info.sequence - 1
        self._since = info.since
        self._gaps = _bounded([*info.gaps, *self._gaps])
        self._dropped += info.dropped
        self._missed += info.missed


def _bounded(gaps: list[Gap]) -> list[Gap]:
    if len(gaps) <= _GAPS_MAX:
        return gaps
    kept, rest = gaps[: _GAPS_MAX - 1], gaps[_GAPS_MAX - 1 :]
    start, end = min(gap.start for gap in rest), max(gap.end for gap in rest)
    return [*kept, Gap("several", start, end, sum(gap.dropped for gap in rest))]


def _plausible(value: Any) -> float:
    """Return a time or a count of a gap record, 0 for anything else."""
    is_number = value.__class__ in (int, float)
    return value if is_number and math.isfinite(value) and 0 <= value < _TOO_LARGE else 0


# --- what changed -------------------------------------------------------------------


class Changes(NamedTuple):
    """The changes of a period, in the order in which the tasks changed first.

    A task that changed again after the state had forgotten it is there twice.
    """

    tasks: Sequence[Task] = ()
    workers: Sequence[Worker] = ()


@dataclass(slots=True)
class PendingChanges:
    """Collect changed tasks and workers until they are taken.

    They stay, though the state may forget them.  Of such tasks there are at most
    `max_tasks`, of `max_bytes` together; the oldest are dropped then, and counted in
    `overflow`.  Call everything with the state's lock held.
    """

    state: State
    max_tasks: int = MAX_TASKS
    max_bytes: int = MAX_BYTES
    overflow: int = 0
    #: By identity: the state may have two tasks with one uuid, one after the other.
    _tasks: dict[int, Task] = field(default_factory=dict)
    _workers: dict[str, Worker] = field(default_factory=dict)
    #: The bytes of those in `_tasks` that the state has forgotten.
    _kept: dict[int, int] = field(default_factory=dict)
    _kept_bytes: int = 0

    def __post_init__(self) -> None:
        self.state.on_forget = self._forgotten

    def __len__(self) -> int:
        return len(self._tasks)

    def observe(self, changes: Iterable[Change]) -> None:
        tasks, workers = self._tasks, self._workers
        for change in changes:
            subject = change.subject
            if isinstance(subject, Task):
                tasks[id(subject)] = subject
                worker = subject.worker
                if worker is not None:
                    workers[worker.hostname] = worker
            elif subject is not None:
                workers[subject.hostname] = subject

    def take(self) -> Changes:
        taken = Changes(tuple(self._tasks.values()), tuple(self._workers.values()))
        self._tasks, self._workers = {}, {}
        self._kept, self._kept_bytes = {}, 0
        return taken

    def restore(self, taken: Changes) -> None:
        """Take back changes that could not be written."""
        self._tasks = {id(task): task for task in taken.tasks} | self._tasks
        self._workers = {worker.hostname: worker for worker in taken.workers} | self._workers
        # The first is dropped first.
        later, self._kept, self._kept_bytes = self._kept, {}, 0
        for task in taken.tasks:
            if self.state.tasks.find(task.uuid) is not task:
                self._keep(task)
        for key in later:
            self._keep(self._tasks[key])

    def _forgotten(self, task: Task) -> None:
        if id(task) in self._tasks:
            self._keep(task)

    def _keep(self, task: Task) -> None:
        self._kept[id(task)] = task.weight_bytes
        self._kept_bytes += task.weight_bytes
        while len(self._kept) > self.max_tasks or self._kept_bytes > self.max_bytes:
            oldest = next(iter(self._kept))
            self._kept_bytes -= self._kept.pop(oldest)
            del self._tasks[oldest]
            self.overflow += 1


# --- dry runs -----------------------------------------------------------------------


def dry_run(snapshot: Any) -> bytes:
    """Return a snapshot of any camera as a line of JSON."""
    if hasattr(snapshot, "as_dict"):
        snapshot = snapshot.as_dict()
    try:
        shown = msgspec.to_builtins(snapshot, enc_hook=_plain, str_keys=True)
    except (TypeError, ValueError, RecursionError):  # odd keys, and worse
        shown = {"picture": repr(snapshot)}
    return encode_line(shown)


def summary(state: State, info: SnapshotInfo) -> dict[str, Any]:
    """Return the state in figures, for a camera without snapshots of its own."""
    states: dict[str, int] = {}
    for task in state.tasks.values():
        states[task.state] = states.get(task.state, 0) + 1
    return {
        **info.as_dict(),
        "event_count": state.event_count,
        "task_count": state.task_count,
        "tasks": dict(sorted(states.items())),
        "workers": {worker.hostname: worker.status(info.at) for worker in state.workers.values()},
    }


def _plain(value: Any) -> Any:
    return value.as_dict() if hasattr(value, "as_dict") else repr(value)
