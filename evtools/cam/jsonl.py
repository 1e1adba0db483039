"""One snapshot a line, as JSON, in files that are rotated."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from evtools.cam.camera import Bytes, Camera, Seconds
from evtools.cam.database.schema import clean, clean_end
from evtools.cam.snapshot import STEPS, Changes, PendingChanges, SnapshotInfo, Steps
from evtools.errors import OutputError, UsageError
from evtools.state import Attempt, Change, State, Task, Worker
from evtools.transport.recording.writer import RecordingWriter
from evtools.trust import check_way
from evtools.wire import encode_line, iso_utc

VERSION: Final = 1

_STDOUT: Final = "-"
_MOMENTS: Final = ("started", "at", "since")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The line to write, and the changes in it."""

    line: dict[str, Any]
    changes: Changes

    def as_dict(self) -> dict[str, Any]:
        return self.line


class JSONL(Camera):
    """Append each snapshot as one line of JSON, completely or not at all.

    `path` may have strftime codes and end in `.gz` or `.zst`; `-` is stdout.  `tasks` are
    those that changed since the last snapshot, or all in memory.  Files are rotated before
    they exceed `rotate_size` bytes, and `rotate_every` seconds after they were begun; the
    newest `rotate_keep` old ones are kept.  0 is never, and all of them.
    """

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
            "rotate_size": rotate_size,
            "rotate_every": rotate_every,
            "rotate_keep": rotate_keep,
        }
        self._changed = PendingChanges(state)
        self._steps = Steps()
        self._taken: Counter[str] = Counter()
        self._writer: RecordingWriter | None = None

    def observe(self, changes: Sequence[Change]) -> None:
        self._taken.update(step.name for step in self._steps.of(changes))
        if not self._of_all:
            self._changed.observe(changes)

    def snapshot(self, info: SnapshotInfo) -> Snapshot:
        state, changes = self.state, self._changed.take()
        tasks = state.tasks.values() if self._of_all else changes.tasks
        statuses = Counter(worker.status(info.at) for worker in state.workers.values())
        line = {
            "v": VERSION,
            **info.as_dict(),
            **{name: iso_utc(getattr(info, name)) for name in _MOMENTS},
            "events": state.event_count,
            "known": len(state.tasks),
            "open": len(state.tasks.open),
            "forgotten": state.evicted,
            "lost": self._changed.overflow,
            "steps": {step: self._taken[step] for step in STEPS},
            "statuses": dict(statuses),
            "workers": [serialize_worker(each, info.at) for each in state.workers.values()],
            "tasks": [serialize_task(task) for task in tasks],
        }
        return Snapshot(line, changes)

    def write(self, snapshot: Snapshot) -> None:
        line = encode_line(snapshot.line)
        try:
            if self._writer is None:
                self._writer = RecordingWriter(
                    self._path, clock=self.clock, append=True, **self._rotation
                )
            self._writer.write(line)
            self._writer.flush()
        except BaseException:
            # It has closed the file; the next one continues it.
            self._writer = None
            raise

    def restore(self, snapshot: Snapshot) -> None:
        """Add the tasks of a line that was not written to the next one."""
        self._changed.restore(snapshot.changes)

    def reopen(self) -> None:
        """Go on in a file of the same name, after logrotate moved this one away."""
        self.close()

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def check(self) -> None:
        if self._path == _STDOUT:
            return
        path = Path(self._path)
        try:
            check_way(path)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        folder = path.parent
        if path.is_dir():
            raise OutputError(f"cannot write {path}: it is a directory")
        if not folder.is_dir():
            raise OutputError(f"cannot write {path}: there is no directory {folder}")
        wanted = path if path.exists() else folder
        if not os.access(wanted, os.W_OK, effective_ids=True):
            raise OutputError(f"cannot write {path}: permission denied")

    def describe(self) -> str:
        return "lines to stdout" if self._path == _STDOUT else f"lines in {self._path}"


# --- as JSON ------------------------------------------------------------------------

_TIMES: Final = ("sent", "received", "started", "ended")
_PLAIN: Final = ("retries", "runtime", "terminated", "expired", "requeue")
# fmt: off
_TEXTS: Final = (
    "args", "kwargs", "result", "exception", "client", "queue", "exchange", "routing_key",
    "root_id", "parent_id",
)
_OF_WORKER: Final = (
    "pid", "freq", "active", "processed", "missed", "loadavg", "sw_ident", "sw_ver", "sw_sys",
)
# fmt: on


def serialize_task(task: Task) -> dict[str, Any]:
    """Return a task for JSON; unknown fields are left out.

    Times are ISO 8601 in UTC.  `attempts` are those before the newest.
    """
    return _known(
        uuid=clean(task.uuid),
        name=clean(task.name) if task.name else None,
        **_serialize_attempt(task),
        wait=task.wait,
        **{name: _cleaned(getattr(task, name, None)) for name in _TEXTS},
        traceback=None if task.traceback is None else clean_end(task.traceback),
        eta=task.eta,
        expires=task.expires,
        signum=task.get("signum"),
        first_heard=iso_utc(task.first_received),
        last_heard=iso_utc(task.local_received),
        note=task.note and dict(task.note),
        extra=task.extra and dict(task.extra),
        attempts=[
            _known(
                number=each.number, **_serialize_attempt(each), exception=_cleaned(each.exception)
            )
            for each in task.attempts
        ]
        or None,
    )


def serialize_worker(worker: Worker, now: float) -> dict[str, Any]:
    """Return a worker for JSON, with its status as of `now` (UTC epoch seconds)."""
    return _known(
        hostname=clean(worker.hostname),
        status=worker.status(now),
        last_heard=iso_utc(worker.local_received),
        online_since=iso_utc(worker.online_since),
        goodbye=iso_utc(worker.goodbye),
        skew=worker.skew,
        **{name: getattr(worker, name) for name in _OF_WORKER},
        extra=worker.extra and dict(worker.extra),
    )


def _serialize_attempt(task: Task | Attempt) -> dict[str, Any]:
    return {
        "state": task.state,
        "worker": task.worker_name,
        **{name: iso_utc(getattr(task, name)) for name in _TIMES},
        **{name: getattr(task, name, None) for name in _PLAIN},
    }


def _cleaned(text: str | None) -> str | None:
    return None if text is None else clean(text)


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
