"""A picture of what was heard, and how it is written."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from evtools.cam.ledger.account import Account, WorkerAccount, merged, merged_workers, settled
from evtools.cam.ledger.notebook import Notes
from evtools.cam.ledger.packing import unpack, unpack_worker
from evtools.cam.ledger.rows import Rows, of_snapshot
from evtools.cam.ledger.store import Writer
from evtools.cam.ledger.tables import (
    ATTEMPTS,
    SNAPSHOTS,
    TABLES,
    TASKS,
    WORKERS,
    Row,
    Stored,
    Table,
)
from evtools.cam.snapshot import SnapshotInfo
from evtools.state import State

_log = logging.getLogger(__name__)

#: What is seen to at a time, in tasks, and in bytes of what was heard of them.
_CHUNK_TASKS: Final = 2000
_CHUNK_BYTES: Final = 4 * 1024 * 1024

#: The place of that in what is read; the key is before it.
_HEARD: Final = 1

_Account = TypeVar("_Account", Account, WorkerAccount)

#: What raises if `heard` is not what we have written.
_UNREADABLE: Final = (msgspec.DecodeError, KeyError, TypeError, AttributeError)


class Picture:
    """What was heard since the picture before, and whose clocks are `ahead`."""

    def __init__(self, frame: SnapshotInfo, notes: Notes, ahead: Mapping[str, int]) -> None:
        self.frame = frame
        self.notes = notes
        self.ahead = ahead

    def write(self, writer: Writer) -> None:
        """Write all of it."""
        notes = self.notes
        shot = Shot(writer, self.ahead)
        for chunk in _chunks(notes.tasks):
            shot.write_tasks(chunk)
        shot.write_workers(notes.workers)
        row = of_snapshot(self.frame, events=notes.events, tasks=len(notes.tasks), lost=notes.lost)
        writer.put(SNAPSHOTS, [row])

    def as_dict(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows, by table, that it would be in an empty database."""
        sheet = _Sheet()
        self.write(sheet)
        return {
            table.name: [
                dict(zip(table.columns, row, strict=True)) for row in sheet.rows[table.name]
            ]
            for table in TABLES
        }


class _Sheet:
    """Where a picture is written to be looked at."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {table.name: [] for table in TABLES}

    def read(self, *_: object) -> Mapping[str, Stored]:
        """Nothing is there."""
        return {}

    def swap(self, table: Table, rows: Sequence[Row], _: Mapping[str, Stored]) -> Collection[str]:
        self.put(table, rows)
        return ()

    def put(self, table: Table, rows: Sequence[Row]) -> None:
        self.rows[table.name] += rows

    def drop(self, table: Table, keys: Sequence[str]) -> None:
        """Nothing is there."""


class Shot:
    """The writing of one picture, in one transaction."""

    def __init__(self, writer: Writer, ahead: Mapping[str, int]) -> None:
        self._writer = writer
        self._ahead = ahead
        self._rows = Rows()

    def write_tasks(self, accounts: Mapping[str, Account]) -> None:
        """Write what was heard of tasks; their uuids are sorted."""
        left = {uuid: self._own(account) for uuid, account in accounts.items()}
        while left:
            stored = self._writer.read(TASKS, list(left))
            made = self._rows.of_tasks(_joined(left, stored, _known, merged))
            rows = [row for row, _ in made.values()]
            changed = self._writer.swap(TASKS, rows, stored)
            left = {uuid: left[uuid] for uuid in changed}
            written = {uuid: each for uuid, each in made.items() if uuid not in left}
            self._writer.drop(ATTEMPTS, [uuid for uuid in written if uuid in stored])
            attempts = [row for _, rows in written.values() for row in rows]
            self._writer.put(ATTEMPTS, attempts)

    def write_workers(self, accounts: Mapping[str, WorkerAccount]) -> None:
        """Write what was heard of workers."""
        left = {hostname: accounts[hostname] for hostname in sorted(accounts)}
        while left:
            stored = self._writer.read(WORKERS, list(left))
            joined = _joined(left, stored, _known_worker, merged_workers)
            rows = [self._rows.of_worker(*each) for each in joined.items()]
            changed = self._writer.swap(WORKERS, rows, stored)
            left = {hostname: left[hostname] for hostname in changed}

    def _own(self, account: Account) -> Account:
        """Return an account as it is written, if nothing else is known."""
        own = settled(account)
        own.weight = 0
        if self._ahead:
            senders = {str(sender) for sender in own.senders()} & self._ahead.keys()
            own.ahead = {sender: self._ahead[sender] for sender in senders}
        return own


def _joined(
    news: Mapping[str, _Account],
    stored: Mapping[str, Stored],
    known_in: Callable[[Stored], _Account | None],
    join: Callable[[_Account, _Account], _Account],
) -> dict[str, _Account]:
    """Return what is known with the news, where these are news."""
    joined = dict(news)
    for key, row in stored.items():
        known = known_in(row)
        both = join(known, news[key]) if known else news[key]
        if both == known:
            del joined[key]
        else:
            joined[key] = both
    return joined


def _known(stored: Stored) -> Account | None:
    """Return the account in a row; None if there is none, as of another's row."""
    try:
        return unpack(stored[_HEARD], stored)
    except _UNREADABLE as error:
        _log.warning("task %s: what was heard is unreadable: %s", stored[0], error)
        return None


def _known_worker(stored: Stored) -> WorkerAccount | None:
    try:
        return unpack_worker(stored[_HEARD])
    except _UNREADABLE:
        return None


def _chunks(accounts: Mapping[str, Account]) -> Iterator[dict[str, Account]]:
    """Yield accounts by uuid, sorted, a few at a time."""
    chunk: dict[str, Account] = {}
    left = _CHUNK_BYTES
    for uuid in sorted(accounts):
        chunk[uuid] = accounts[uuid]
        left -= accounts[uuid].weight
        if left < 0 or len(chunk) == _CHUNK_TASKS:
            yield chunk
            chunk, left = {}, _CHUNK_BYTES
    if chunk:
        yield chunk


def ahead(state: State) -> dict[str, int]:
    """Return the whole seconds by which clocks are ahead, where there are any.

    What is less than a second may be the time that events took.
    """
    skews: Iterable[tuple[str, float | None]] = [
        *((name, each.skew) for name, each in state.workers.items() if each.beats),
        *((name, each.ahead) for name, each in state.clients.items()),
    ]
    whole = {name: int(skew) for name, skew in skews if skew is not None}
    return {name: seconds for name, seconds in whole.items() if seconds}
