"""One snapshot a line, as JSON, in files that are rotated."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from evtools.cam.camera import Bytes, Camera, Seconds, check_place
from evtools.cam.snapshot import GENERATION, STEPS, SnapshotInfo, Steps
from evtools.errors import UsageError
from evtools.state import Change, State, Task, Worker
from evtools.transport.recording import RecordingWriter
from evtools.transport.recording.database import TASKS, clean, clean_end
from evtools.wire import encode_line, iso_utc

VERSION: Final = 1
#: Of a line that names its cluster.
_VERSION_NAMED: Final = 2
#: Tasks that the state has forgotten and that wait to be written, and their bytes.
MAX_TASKS: Final = 200_000
MAX_BYTES: Final = 256 * 1024 * 1024
_STDOUT: Final = "-"


class Snapshot(NamedTuple):
    """The line to write, and the changed tasks in it."""

    line: dict[str, Any]
    changed: Sequence[Task]

    def as_dict(self) -> dict[str, Any]:
        return self.line


class JSONL(Camera):
    """Append each snapshot of a cluster as one line of JSON, completely or not at all.

    `path` may have strftime codes and end in `.gz` or `.zst`; `-` is stdout.  `tasks` are those
    that changed since the last snapshot, or all in memory.  Files are rotated before they exceed
    `rotate_size` bytes, and after `rotate_every` seconds; the newest `rotate_keep` old ones are
    kept.  0 is never, and all of them.
    """

    writes_for_all = True

    def __init__(
        self,
        state: State,
        *,
        path: str = _STDOUT,
        tasks: Literal["changed", "all"] = "changed",
        rotate_size: Bytes = 0,
        rotate_every: Seconds = 0.0,
        rotate_keep: int = 0,
        **standard: Any,
    ) -> None:
        super().__init__(state, **standard)
        if path == _STDOUT and (rotate_size or rotate_every):
            raise UsageError("stdout cannot be rotated", "give a path to write to")
        self._path = path
        self._of_all = tasks == "all"
        self._rotation: dict[str, Any] = {
            "rotate_size": rotate_size, "rotate_every": rotate_every, "rotate_keep": rotate_keep
        }  # fmt: skip
        self._changed = ChangedTasks(state)
        self._steps = Steps()
        self._taken: Counter[str] = Counter()
        self._writer: RecordingWriter | None = None

    def observe(self, changes: Sequence[Change]) -> None:
        self._taken.update(step.name for step in self._steps.of(changes))
        if not self._of_all:
            self._changed.observe(changes)

    def snapshot(self, info: SnapshotInfo) -> Snapshot:
        state, changed = self.state, self._changed.take()
        tasks = state.tasks.values() if self._of_all else changed
        workers = state.workers.values()
        version = {"v": _VERSION_NAMED, "cluster": info.cluster} if info.cluster else {"v": VERSION}
        line = {
            **version,
            **info.as_dict(),
            **{name: iso_utc(getattr(info, name)) for name in ("started", "at", "since")},
            "events": state.event_count,
            "known": len(state.tasks),
            "open": len(state.tasks.open),
            "forgotten": state.evicted,
            "lost": self._changed.overflow,
            "steps": {step: self._taken[step] for step in STEPS},
            "statuses": dict(Counter(worker.status(info.at) for worker in workers)),
            "workers": [serialize_worker(worker, info.at) for worker in workers],
            "tasks": [serialize_task(task) for task in tasks],
        }
        return Snapshot(line, changed)

    def write(self, snapshot: Snapshot) -> None:
        line = encode_line(snapshot.line)
        try:
            if self._writer is None:
                how = self._rotation
                self._writer = RecordingWriter(self._path, clock=self.clock, append=True, **how)
            self._writer.write(line)
            self._writer.flush()
        except BaseException:
            # It has closed the file; the next one continues it.
            self._writer = None
            raise

    def share(self, parts: int) -> None:
        self._changed.share(parts)
        self._steps.generation = GENERATION // parts

    def restore(self, snapshot: Snapshot) -> None:
        self._changed.restore(snapshot.changed)

    def reopen(self) -> None:
        # The next line goes on in a file of the same name.
        self.close()

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def check(self) -> None:
        if self._path != _STDOUT:
            check_place(Path(self._path))

    def describe(self) -> str:
        return "lines to stdout" if self._path == _STDOUT else f"lines in {self._path}"


class ChangedTasks:
    """Collect tasks that changed, in the order of their first change, until they are taken.

    They stay, though the state may forget them.  Of such there are at most `max_tasks`, of
    `max_bytes` together; the oldest are dropped then, and counted in `overflow`.  One that changed
    again after it was forgotten is there twice.  Call everything with the state's lock held.
    """

    def __init__(
        self, state: State, *, max_tasks: int = MAX_TASKS, max_bytes: int = MAX_BYTES
    ) -> None:
        self.state = state
        self._max_tasks, self._max_bytes = max_tasks, max_bytes
        self.overflow = 0
        #: By identity: the state may have two tasks with one uuid, one after the other.
        self._tasks: dict[int, Task] = {}
        #: The bytes of those that the state has forgotten.
        self._kept: dict[int, int] = {}
        self._kept_bytes = 0
        state.on_forget = self._keep

    def observe(self, changes: Iterable[Change]) -> None:
        for change in changes:
            subject = change.subject
            if isinstance(subject, Task):
                self._tasks[id(subject)] = subject

    def take(self) -> Sequence[Task]:
        taken = tuple(self._tasks.values())
        self._tasks, self._kept, self._kept_bytes = {}, {}, 0
        return taken

    def restore(self, taken: Sequence[Task]) -> None:
        self._tasks = {id(task): task for task in taken} | self._tasks
        # Each once, and the first is dropped first.
        gone = [task for task in taken if self.state.tasks.find(task.uuid) is not task]
        forgotten = {id(task): task for task in gone}
        forgotten |= {key: self._tasks[key] for key in self._kept}
        self._kept, self._kept_bytes = {}, 0
        for task in forgotten.values():
            self._keep(task)

    def share(self, parts: int) -> None:
        """Keep one of so many equal parts of what may be kept."""
        self._max_tasks, self._max_bytes = MAX_TASKS // parts, MAX_BYTES // parts

    def _keep(self, task: Task) -> None:
        if id(task) not in self._tasks:
            return
        self._kept[id(task)] = task.weight_bytes
        self._kept_bytes += task.weight_bytes
        while len(self._kept) > self._max_tasks or self._kept_bytes > self._max_bytes:
            oldest = next(iter(self._kept))
            self._kept_bytes -= self._kept.pop(oldest)
            del self._tasks[oldest]
            self.overflow += 1


#: What of events is called otherwise here than in the state.
_ATTRIBUTES: Final = {
    "worker": "worker_name", "queue": "queue_or_none",
    "first_heard": "first_received", "last_heard": "local_received",
}  # fmt: skip
_AS_TEXT: Final[Mapping[str, Callable[[Any], Any]]] = {
    **{name: clean for name, kind in TASKS.columns.items() if kind == "text"},
    **{name: iso_utc for name, kind in TASKS.columns.items() if kind == "time"},
    **dict.fromkeys(("online_since", "goodbye"), iso_utc),
    **dict.fromkeys(("note", "extra"), dict),
    "hostname": clean,
    "traceback": clean_end,
    "signum": lambda signal: signal,
}
_OF_TASK: Final = tuple(n for n in TASKS.columns if n not in {"retried", "heard", "cluster"})
# fmt: off
_OF_ATTEMPT: Final = (
    "number", "state", "worker", "sent", "received", "started", "ended", "retries", "runtime",
    "terminated", "expired", "requeue", "exception",
)
_OF_WORKER: Final = (
    "hostname", "last_heard", "online_since", "goodbye", "skew", "pid", "freq", "active",
    "processed", "missed", "loadavg", "sw_ident", "sw_ver", "sw_sys", "extra",
)
# fmt: on


def serialize_task(task: Task) -> dict[str, Any]:
    """Return what is known of a task for JSON: times are ISO 8601, `attempts` the earlier ones."""
    attempts = [_known(each, _OF_ATTEMPT) for each in task.attempts]
    return _known(task, _OF_TASK) | ({"attempts": attempts} if attempts else {})


def serialize_worker(worker: Worker, now: float) -> dict[str, Any]:
    """Return a worker for JSON, with its status as of `now` (UTC epoch seconds)."""
    return {"status": worker.status(now), **_known(worker, _OF_WORKER)}


def _known(subject: Any, names: Iterable[str]) -> dict[str, Any]:
    values = {}
    for name in names:
        value = getattr(subject, _ATTRIBUTES.get(name, name), None)
        if value is not None:
            values[name] = _AS_TEXT[name](value) if name in _AS_TEXT else value
    return values
