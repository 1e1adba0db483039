"""How long a ledger keeps what is in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from evtools.cam.ledger.store import Expired, Store
from evtools.cam.ledger.tables import SNAPSHOTS, TASKS, WORKERS
from evtools.wire import iso_utc

_DAY: Final = 86_400.0
KEEP: Final = 7 * _DAY
KEEP_FAILED: Final = 30 * _DAY
KEEP_TASKS: Final = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Seconds for which rows are kept after we last heard of what they tell.

    `keep` is for what succeeded, for workers and snapshots, `keep_failed` for
    tasks that ended otherwise or of which no end is known.  Of tasks the last
    `keep_tasks` are kept.  0 is for ever, or any number.
    """

    keep: float = KEEP
    keep_failed: float = KEEP_FAILED
    keep_tasks: int = KEEP_TASKS

    def expired(self, store: Store, now: float) -> Iterator[Expired]:
        """Yield what may go as of `now` (UTC epoch seconds)."""
        before = _moment(now, self.keep)
        if before is not None:
            yield Expired(TASKS, "last_heard", before, successes_only=True)
            yield Expired(WORKERS, "last_heard", before)
            yield Expired(SNAPSHOTS, "at", before)
        before = _moment(now, self.keep_failed)
        if before is not None:
            yield Expired(TASKS, "last_heard", before)
        if self.keep_tasks:
            before = store.boundary(TASKS, "last_heard", self.keep_tasks)
            if before is not None:
                yield Expired(TASKS, "last_heard", before)


def _moment(now: float, keep: float) -> str | None:
    return iso_utc(now - keep) if keep else None
