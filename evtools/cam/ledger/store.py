"""What a database has to do for a ledger."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from evtools.cam.ledger.tables import Row, Stored, Table


class Expired(NamedTuple):
    """Rows of which `column` is before a moment (ISO 8601), oldest first."""

    table: Table
    column: str
    before: str
    successes_only: bool = False


class Writer(Protocol):
    """A transaction; who reads sees all of it at its end, or nothing."""

    def read(self, table: Table, keys: Sequence[str]) -> Mapping[str, Stored]:
        """Return, by key, what of the rows that are there tells what was heard."""
        ...

    def swap(
        self, table: Table, rows: Sequence[Row], read: Mapping[str, Stored]
    ) -> Collection[str]:
        """Write rows where there is still what was `read`, or still nothing.

        Return the keys of the others, to be read again; from now to the end
        nobody else changes any of them.  Rows are sorted by key, in one order
        by all who write, so that no two wait for each other.
        """
        ...

    def put(self, table: Table, rows: Sequence[Row]) -> None:
        """Write rows, over those that have their keys."""
        ...

    def drop(self, table: Table, keys: Sequence[str]) -> None:
        """Remove the rows whose first key is one of these."""
        ...


class Store(Protocol):
    """A database that has the tables, or will have them when it is first used.

    What it cannot do raises OutputError, in one line; the next call tries anew.
    """

    def transaction(self) -> AbstractContextManager[Writer]:
        """Return a transaction, undone if the block raises."""
        ...

    def expire(self, expired: Expired, limit: int) -> int:
        """Remove up to so many rows, at once; return how many there were."""
        ...

    def boundary(self, table: Table, column: str, keep: int) -> str | None:
        """Return the least value of `column` in the `keep` rows where it is greatest.

        None if there are no more rows than that.
        """
        ...

    def check(self) -> None:
        """Raise OutputError if it could not be written, as far as one can tell.

        Nothing is made and nothing changed.
        """
        ...

    def describe(self) -> str:
        """Say where it is, without any password."""
        ...

    def close(self) -> None:
        """Let go of it; the next call opens it anew."""
        ...
