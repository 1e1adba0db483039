"""Snapshots: what each one misses, steps of tasks, dry runs."""

import os
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, NamedTuple

import msgspec

from evtools.clock import SystemClock
from evtools.state import Attempt, Change, State, Task, Worker
from evtools.wire import Gap as GapRecord
from evtools.wire import encode_line, moment

#: Seconds: workers send heartbeats every two seconds by default, and no worker prolongs the
#: warm-up beyond a minute by claiming rare ones.
_WARM_UP, _WARM_UP_MAX = 2.0, 60.0
#: Gaps that a snapshot lists; those beyond are merged with the last.
_GAPS_MAX: Final = 100
_REASONS: Final = frozenset({"reconnect", "buffer", "stopped"})


@dataclass(frozen=True, slots=True)
class Gap:
    """A gap in the stream, from `start` to `end` (UTC epoch seconds).

    `reason` is `reconnect`, `buffer` (evcam was too slow, and `dropped` events), `stopped`, or
    `several`.
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

    It was taken `at` and covers events since `since`, `period` seconds before; times are UTC epoch
    seconds.  `warm` is False while some workers may not have sent a heartbeat yet, so that their
    absence says nothing; `connected` is False without a connection.  Events fell into the `gaps`,
    of which `dropped` are known, and workers counted `missed` tasks whose events did not reach
    evcam.  All of that is of one `cluster`, "" if it has no name.
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
    cluster: str = ""

    def as_dict(self) -> dict[str, Any]:
        values = {**asdict(self), "gaps": [gap.as_dict() for gap in self.gaps]}
        if not self.cluster:
            del values["cluster"]
        return values


class SnapshotSequence:
    """Number the snapshots that one evcam takes of a cluster, and note what each of them misses.

    `workers` are those of the state; `started` is the start of this evcam in UTC epoch seconds, now
    by default; `warm_up` is in seconds.
    """

    def __init__(
        self,
        workers: Mapping[str, Worker],
        started: float | None = None,
        warm_up: float = _WARM_UP,
        *,
        cluster: str = "",
    ) -> None:
        self._workers, self._warm_up, self.cluster = workers, warm_up, cluster
        self._subscribed: float | None = None
        started = SystemClock().wall() if started is None else started
        host, pid = socket.gethostname(), os.getpid()
        #: No other evcam on any machine has the same name.
        self.evcam = f"{host}:{pid}:{started:.3f}"
        #: Of the last snapshot, and what the next one misses so far.
        self._info = SnapshotInfo(
            self.evcam, host, pid, started, sequence=0, at=0.0, since=started, period=0.0,
            warm=False, connected=False,
        )  # fmt: skip

    def subscribed(self, now: float) -> None:
        """Note that events come from `now` on."""
        if self._subscribed is None and not self._info.at:
            self._info = replace(self._info, since=now)
        self._info = replace(self._info, connected=True)
        self._subscribed = now

    def lost(self) -> None:
        """Note that no events come until `subscribed` is called again."""
        self._info = replace(self._info, connected=False)

    def note(self, record: GapRecord) -> None:
        """Note a gap record, which may be one of a file."""
        reason, gaps = record.reason, self._info.gaps
        dropped = record.dropped if reason == "buffer" else 0
        if reason in _REASONS:
            start, end = moment(record.get("from")) or 0.0, moment(record.get("to")) or 0.0
            end = max(start, end)
            if reason == "reconnect":
                # That of a recording: no notice says that events come again.
                self._subscribed = end
            gaps = (*gaps, Gap(reason, start, end, dropped))
        self._miss(gaps, dropped, record.missed if reason == "worker" else 0)

    def next(self, now: float) -> SnapshotInfo:
        """Return the information on a snapshot that is taken `now` (UTC epoch seconds)."""
        last, begun = self._info, self._subscribed
        # Every worker should have sent a heartbeat.
        beats = [min(each.freq, _WARM_UP_MAX) for each in self._workers.values() if each.beats]
        warm = begun is not None and now - begun >= max([self._warm_up, *beats])
        period = max(0.0, now - last.since)
        info = replace(
            last, sequence=last.sequence + 1, at=now, period=period, warm=warm, cluster=self.cluster
        )
        self._info = replace(info, since=now, gaps=(), dropped=0, missed=0)
        return info

    def restore(self, info: SnapshotInfo) -> None:
        """Let the next snapshot, under the same number, cover the period of this one too.

        It was not written, so a missing number is always a lost snapshot.
        """
        self._info = replace(self._info, sequence=info.sequence - 1, since=info.since)
        self._miss((*info.gaps, *self._info.gaps), info.dropped, info.missed)

    def _miss(self, gaps: tuple[Gap, ...], dropped: int, missed: int) -> None:
        if len(gaps) > _GAPS_MAX:
            rest = gaps[_GAPS_MAX - 1 :]
            start, end = min(gap.start for gap in rest), max(gap.end for gap in rest)
            several = Gap("several", start, end, sum(gap.dropped for gap in rest))
            gaps = (*gaps[: _GAPS_MAX - 1], several)
        dropped, missed = self._info.dropped + dropped, self._info.missed + missed
        self._info = replace(self._info, gaps=gaps, dropped=dropped, missed=missed)


# --- steps of tasks -----------------------------------------------------------------

#: Tasks whose counts are remembered: those of the newest generation, and as many before.
GENERATION: Final = 50_000
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

    A step of an attempt counts as the state understands it: an event of the next attempt before the
    end of this one is a step of the next, and the end of a process that is reported by two of its
    parents is one.  A task may be run again and again: apply each change before the next one.
    """

    def __init__(self, generation: int = GENERATION) -> None:
        self.generation = generation
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
            if task.history is None:
                for name in names:
                    if _when(task, name) is not None and self._count(task, name, 1, is_own=True):
                        yield Step(name, task, task)
            else:
                at = event.local_received if event.timestamp is None else event.timestamp
                yield from self._of_attempts(task, task.history.attempts, names, at)

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
        # How many attempts have newly taken a step that `now` have taken.  They are fewer than
        # before if the state has forgotten the task, or the oldest attempts of one that is
        # retried again and again; then the step of the event itself counts (`is_own`).
        key, shift = hash(task.uuid), _SHIFTS[name]
        counted = self._young.get(key)
        if counted is None:
            counted = self._old.get(key, 0)
        before = counted >> shift & _MASK
        if now == before or (now < before and not is_own):
            return 0
        self._young[key] = counted + (now - before << shift)
        if len(self._young) > self.generation:
            self._old, self._young = self._young, {}
        return now - before if now > before else min(now, 1)


def _when(attempt: Any, name: str) -> Any:
    if name == WAITED:
        return None if attempt.sent is None else attempt.started
    return getattr(attempt, name, None)


def clocks_ahead(state: State) -> dict[str, int]:
    """Return the whole seconds by which clocks are ahead, by hostname; others are about right."""
    skews = {name: each.skew for name, each in state.workers.items() if each.beats}
    skews |= {name: each.ahead for name, each in state.clients.items()}
    # Less than a second may be the time that events took.
    whole = {name: int(skew) for name, skew in skews.items() if skew is not None}
    return {name: seconds for name, seconds in whole.items() if seconds}


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
    states = Counter(task.state for task in state.tasks.values())
    return {
        **info.as_dict(),
        "event_count": state.event_count,
        "task_count": state.task_count,
        "tasks": dict(sorted(states.items())),
        "workers": {worker.hostname: worker.status(info.at) for worker in state.workers.values()},
    }
