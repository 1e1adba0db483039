"""Snapshots: what each one misses, what changed since the last, steps of tasks, dry runs."""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

import msgspec

from evtools.clock import SystemClock
from evtools.state import Attempt, Change, State, Task, Worker
from evtools.wire import Gap as GapRecord
from evtools.wire import encode_line, moment

#: Seconds: workers send heartbeats every two seconds by default.
WARM_UP: Final = 2.0
#: No worker prolongs the warm-up any further by claiming rare heartbeats.
_WARM_UP_MAX: Final = 60.0
#: Gaps that a snapshot lists; those beyond are merged with the last.
_GAPS_MAX: Final = 100
_REASONS: Final = frozenset({"reconnect", "buffer", "stopped"})
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
        return {**asdict(self), "gaps": [gap.as_dict() for gap in self.gaps]}


class SnapshotSequence:
    """Number the snapshots of one evcam, and note what each of them misses.

    `workers` are those of the state; `started` is the start of this evcam in UTC epoch
    seconds, now by default; `warm_up` is in seconds.
    """

    def __init__(
        self,
        workers: Mapping[str, Worker],
        *,
        started: float | None = None,
        warm_up: float = WARM_UP,
    ) -> None:
        self._workers = workers
        self._warm_up = warm_up
        self._started = SystemClock().wall() if started is None else started
        self._host, self._pid = socket.gethostname(), os.getpid()
        #: No other evcam on any machine has the same name.
        self.evcam = f"{self._host}:{self._pid}:{self._started:.3f}"
        self._sequence = 0
        self._since: float | None = None
        self._subscribed: float | None = None
        self._connected = False
        self._gaps: tuple[Gap, ...] = ()
        self._dropped = self._missed = 0

    def subscribed(self, now: float) -> None:
        """Note that events come from `now` on."""
        if self._since is None:
            self._since = now
        self._subscribed, self._connected = now, True

    def lost(self) -> None:
        """Note that no events come until `subscribed` is called again."""
        self._connected = False

    def note(self, record: GapRecord) -> None:
        """Note a gap record, which may be one of a file."""
        reason = record.reason
        if reason == "worker":
            self._missed += record.missed
            return
        start, end = moment(record.get("from")) or 0.0, moment(record.get("to")) or 0.0
        dropped = record.dropped if reason == "buffer" else 0
        self._dropped += dropped
        if reason == "reconnect":
            # That of a recording: no notice says that events come again.
            self._subscribed = max(start, end)
        if reason in _REASONS:
            self._gaps = _bounded((*self._gaps, Gap(reason, start, max(start, end), dropped)))

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
            gaps=self._gaps,
            dropped=self._dropped,
            missed=self._missed,
        )
        self._since = now
        self._gaps, self._dropped, self._missed = (), 0, 0
        return info

    def restore(self, info: SnapshotInfo) -> None:
        """Let the next snapshot cover the period of this one, which was not written.

        It gets the same number, so that a missing number is always a lost snapshot.
        """
        self._sequence = info.sequence - 1
        self._since = info.since
        self._gaps = _bounded((*info.gaps, *self._gaps))
        self._dropped += info.dropped
        self._missed += info.missed


def _bounded(gaps: tuple[Gap, ...]) -> tuple[Gap, ...]:
    if len(gaps) <= _GAPS_MAX:
        return gaps
    kept, rest = gaps[: _GAPS_MAX - 1], gaps[_GAPS_MAX - 1 :]
    start, end = min(gap.start for gap in rest), max(gap.end for gap in rest)
    return (*kept, Gap("several", start, end, sum(gap.dropped for gap in rest)))


# --- what changed -------------------------------------------------------------------


class Changes(NamedTuple):
    """The changes of a period, in the order in which the tasks changed first.

    A task that changed again after the state had forgotten it is there twice.
    """

    tasks: Sequence[Task] = ()
    workers: Sequence[Worker] = ()


class PendingChanges:
    """Collect changed tasks and workers until they are taken.

    They stay, though the state may forget them.  Of such tasks there are at most
    `max_tasks`, of `max_bytes` together; the oldest are dropped then, and counted in
    `overflow`.  Call everything with the state's lock held.
    """

    def __init__(
        self, state: State, *, max_tasks: int = MAX_TASKS, max_bytes: int = MAX_BYTES
    ) -> None:
        self.state = state
        self.max_tasks = max_tasks
        self.max_bytes = max_bytes
        self.overflow = 0
        #: By identity: the state may have two tasks with one uuid, one after the other.
        self._tasks: dict[int, Task] = {}
        self._workers: dict[str, Worker] = {}
        #: The bytes of those in `_tasks` that the state has forgotten.
        self._kept: dict[int, int] = {}
        self._kept_bytes = 0
        state.on_forget = self._forgotten

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


# --- steps of tasks -----------------------------------------------------------------

#: Tasks whose counts are remembered: those of the newest generation, and as many before.
_GENERATION: Final = 50_000
#: The count of each step of a task is kept in this many bits.
_BITS: Final = 7
_MASK: Final = (1 << _BITS) - 1
# fmt: off
#: The steps, named as the attributes of tasks and attempts that hold their times.
STEPS: Final = (
    "sent", "received", "started", "succeeded", "failed", "retried", "revoked", "rejected",
    "cancelled",
)
# fmt: on
#: It was sent and has started, whichever event comes first.
WAITED: Final = "waited"
_SHIFTS: Final = {step: number * _BITS for number, step in enumerate((*STEPS, WAITED))}
#: The steps that an event reports, by its type.
_OF_EVENT: Final = {
    f"task-{step}": (step, WAITED) if step in {"sent", "started"} else (step,) for step in STEPS
}


class Step(NamedTuple):
    """A step of a task, and the attempt that took it: the task, if it is simple."""

    name: str
    task: Task
    attempt: Task | Attempt


class Steps:
    """Find the new steps in changes of tasks; each counts once, in whatever order events come.

    A step of an attempt counts as the state understands it: an event of the next attempt
    before the end of this one is a step of the next, and the end of a process that is
    reported by two of its parents is one.  A task may be run again and again: apply each
    change before the next one.
    """

    def __init__(self, generation: int = _GENERATION) -> None:
        self._generation = generation
        # Keyed by hash, for a uuid may be long.
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def of(self, changes: Iterable[Change]) -> Iterator[Step]:
        """Yield the steps that are new with these changes."""
        for change in changes:
            task, event = change.subject, change.event
            if not isinstance(task, Task):
                continue
            names = _OF_EVENT.get(event.type, ())
            if task.history is not None:
                at = event.local_received if event.timestamp is None else event.timestamp
                yield from self._of_attempts(task, task.history.attempts, names, at)
                continue
            for name in names:
                if _when(task, name) is not None and self._count(task, name, 1, is_own=True):
                    yield Step(name, task, task)

    def _of_attempts(
        self, task: Task, attempts: Sequence[Attempt], names: Sequence[str], at: float
    ) -> Iterator[Step]:
        # Earlier events may be understood otherwise now.
        for name in _SHIFTS:
            taken = [attempt for attempt in attempts if _when(attempt, name) is not None]
            own = []
            if name in names:
                own = [each for each in taken if _when(each, names[0]) == at]
            new = self._count(task, name, len(taken), is_own=bool(own))
            for attempt in own[-1:] if new == 1 and own else taken[len(taken) - new :]:
                yield Step(name, task, attempt)

    def _count(self, task: Task, name: str, now: int, *, is_own: bool) -> int:
        """Return how many attempts have newly taken a step that `now` have taken.

        They are fewer than before if the state has forgotten the task, or the oldest
        attempts of one that is retried again and again; then the step of the event itself
        counts (`is_own`).
        """
        key, shift = hash(task.uuid), _SHIFTS[name]
        counted = self._young.get(key)
        if counted is None:
            counted = self._old.get(key, 0)
        before = counted >> shift & _MASK
        if now == before or (now < before and not is_own):
            return 0
        self._young[key] = counted + (now - before << shift)
        if len(self._young) > self._generation:
            self._old, self._young = self._young, {}
        return now - before if now > before else min(now, 1)


def _when(attempt: Any, name: str) -> Any:
    """Return when an attempt took a step, None if it has not."""
    if name == WAITED:
        return None if attempt.sent is None else attempt.started
    return getattr(attempt, name, None)


# --- dry runs -----------------------------------------------------------------------


def dry_run(snapshot: Any) -> bytes:
    """Return a snapshot of any camera as a line of JSON."""

    def plain(value: Any) -> Any:
        return value.as_dict() if hasattr(value, "as_dict") else repr(value)

    if hasattr(snapshot, "as_dict"):
        snapshot = snapshot.as_dict()
    try:
        shown = msgspec.to_builtins(snapshot, enc_hook=plain, str_keys=True)
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
