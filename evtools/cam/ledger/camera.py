"""A camera that writes what changed into the tables of a database."""

import logging
from collections.abc import Sequence
from typing import Any, Final

from evtools.cam.camera import Bytes, Camera, Seconds
from evtools.cam.ledger.notebook import MAX_BYTES, Notebook
from evtools.cam.ledger.retention import KEEP, KEEP_FAILED, KEEP_TASKS, Retention
from evtools.cam.ledger.shot import Picture, ahead
from evtools.cam.ledger.store import Store
from evtools.cam.snapshot import SnapshotInfo
from evtools.state import Change, State

_log = logging.getLogger(__name__)

#: As many rows are removed at once, so often in a sweep, and after each shot while
#: there is more: nobody has to wait for long.
_SLICE_ROWS: Final = 1000
_SWEEP_SLICES: Final = 100
_SHOT_SLICES: Final = 5


class LedgerCamera(Camera):
    """Write tasks, their attempts, workers and snapshots into a `store`.

    A row that is there is not written over: what it was made of and what was
    heard since are put together.  So several evcams may write into one
    database, each what it heard, in any order.

    Rows are kept for `keep`, of tasks that did not succeed for `keep_failed`,
    and of tasks `keep_tasks` at the most; 0 is for ever.  What cannot be
    written waits in memory, up to `max_waiting`.
    """

    store: Store

    def __init__(
        self,
        state: State,
        *,
        keep: Seconds = KEEP,
        keep_failed: Seconds = KEEP_FAILED,
        keep_tasks: int = KEEP_TASKS,
        max_waiting: Bytes = MAX_BYTES,
        **standard: Any,
    ) -> None:
        super().__init__(state, **standard)
        self.retention = Retention(keep=keep, keep_failed=keep_failed, keep_tasks=keep_tasks)
        self.notebook = Notebook(max_waiting)
        self._sweeps = False

    # --- a shot ----------------------------------------------------------------------

    def observe(self, changes: Sequence[Change]) -> None:
        """Note what was heard."""
        self.notebook.observe(changes)

    def snapshot(self, info: SnapshotInfo) -> Picture:
        """Return what was heard since the last time."""
        return Picture(info, self.notebook.take(), ahead(self.state))

    def restore(self, snapshot: Picture) -> None:
        """Take back what could not be written."""
        self.notebook.restore(snapshot.notes)

    def write(self, snapshot: Picture) -> None:
        """Write a snapshot, in one transaction."""
        with self.store.transaction() as writer:
            snapshot.write(writer)
        if snapshot.notes.lost:
            _log.error(
                "%s: %d events were forgotten, as too many waited to be written",
                self.describe(),
                snapshot.notes.lost,
            )

    def capture(self) -> None:
        """Take a snapshot, and remove some of what is too old, if a sweep left it."""
        super().capture()
        if self._sweeps:
            self._remove(_SHOT_SLICES)

    # --- the rest --------------------------------------------------------------------

    def sweep(self) -> None:
        """Remove what is too old."""
        self._remove(_SWEEP_SLICES)

    def reopen(self) -> None:
        """Open the database anew."""
        self.store.close()

    def close(self) -> None:
        """Let go of the database."""
        self.store.close()

    def check(self) -> None:
        """Raise OutputError if the database could not be written."""
        self.store.check()

    def describe(self) -> str:
        """Say which database it is."""
        return self.store.describe()

    def _remove(self, slices: int) -> None:
        """Remove old rows, so many slices at the most; the rest is for later."""
        removed: dict[str, int] = {}
        left = slices
        for expired in self.retention.expired(self.store, self.clock.wall()):
            count = _SLICE_ROWS
            while count == _SLICE_ROWS and left:
                count = self.store.expire(expired, _SLICE_ROWS)
                name = expired.table.name
                removed[name] = removed.get(name, 0) + count
                left -= 1
        self._sweeps = not left
        gone = ", ".join(f"{name} {count}" for name, count in removed.items() if count)
        if gone:
            _log.info("%s: removed what is too old: %s", self.describe(), gone)
