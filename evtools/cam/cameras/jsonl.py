"""One snapshot a line, as JSON, in files that are rotated."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from evtools.cam.camera import Camera
from evtools.cam.camera_options import Bytes, Seconds
from evtools.cam.changed import Changed, Changes
from evtools.cam.portrait import of_task, of_worker
from evtools.cam.roll import Frame
from evtools.cam.steps import STEPS, Steps
from evtools.errors import OutputError, UsageError
from evtools.state import Change, State
from evtools.transport.recording.writer import RecordingWriter
from evtools.trust import check_way
from evtools.wire import encode_line, iso_utc

VERSION: Final = 1

_STDOUT: Final = "-"
_MOMENTS: Final = ("started", "at", "since")


class Picture:
    """A snapshot: the line it becomes, and what it takes from what changed."""

    def __init__(self, line: dict[str, Any], changes: Changes) -> None:
        self.line = line
        self.changes = changes

    def as_dict(self) -> dict[str, Any]:
        """Return what is to be written."""
        return self.line


class JSONL(Camera):
    """Write each snapshot as one line of JSON, which is there as a whole or not.

    `path` may have strftime codes and end in `.gz` or `.zst`; `-` is stdout.
    What is there stays.  `tasks` says which: those that changed since the last
    snapshot, or all in memory.  Files are rotated before they exceed
    `rotate_size` bytes, and `rotate_every` seconds after they were begun; the
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
        self._changed = Changed(state)
        self._steps = Steps()
        self._taken: Counter[str] = Counter()
        self._writer: RecordingWriter | None = None

    def observe(self, changes: Sequence[Change]) -> None:
        """Note which tasks changed, and count what became of them."""
        self._taken.update(step.name for step in self._steps.of(changes))
        if not self._of_all:
            self._changed.observe(changes)

    def expose(self, frame: Frame) -> Picture:
        """Return what is known of tasks and workers."""
        state, changes = self.state, self._changed.take()
        tasks = state.tasks.values() if self._of_all else changes.tasks
        statuses = Counter(worker.status(frame.at) for worker in state.workers.values())
        line = {
            "v": VERSION,
            **frame.as_dict(),
            **{name: iso_utc(getattr(frame, name)) for name in _MOMENTS},
            "events": state.event_count,
            "known": len(state.tasks),
            "open": len(state.tasks.open),
            "forgotten": state.evicted,
            "lost": self._changed.overflow,
            "steps": {step: self._taken[step] for step in STEPS},
            "statuses": dict(statuses),
            "workers": [of_worker(each, frame.at) for each in state.workers.values()],
            "tasks": [of_task(task) for task in tasks],
        }
        return Picture(line, changes)

    def develop(self, picture: Picture) -> None:
        """Write a line."""
        line = encode_line(picture.line)
        try:
            if self._writer is None:
                self._writer = self._open()
            self._writer.write(line)
            self._writer.flush()
        except BaseException:
            # It has let go of the file; the next one goes on there.
            self._writer = None
            raise

    def restore(self, picture: Picture) -> None:
        """Have the tasks of a line that was not written in the next one."""
        self._changed.restore(picture.changes)

    def reopen(self) -> None:
        """Go on in a file of the same name, after logrotate moved this one away."""
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def check(self) -> None:
        """Raise OutputError if the file cannot be written."""
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
        """Say where the lines go."""
        return "lines to stdout" if self._path == _STDOUT else f"lines in {self._path}"

    def _open(self) -> RecordingWriter:
        return RecordingWriter(self._path, clock=self.clock, append=True, **self._rotation)
