"""Brokers that we know only through kombu, and that tell little."""

from collections.abc import Sequence
from contextlib import suppress

from kombu.connection import Connection

from evtools.doctor.inspect.base import Elsewhere, Examination, Ground, Leftover, Right, Search
from evtools.transport.settings import ConnectionSettings


class PlainExamination(Examination):
    """Connect, and leave the rest to listening."""

    keeps_queues = True

    def __init__(self, connection: Connection, settings: ConnectionSettings) -> None:
        connection.connect()
        self._connection = connection
        self._exchange = settings.event_exchange
        self.server = str(connection.transport.driver_type)

    def ground(self) -> Ground:
        """Return the name alone: declaring an exchange makes it here."""
        return Ground(f"exchange {self._exchange}")

    def has_mailboxes(self) -> bool:
        """Return True: only asking tells."""
        return True

    def rights(self) -> list[Right]:
        """Return nothing: kombu has no word for them."""
        return []

    def begin(self) -> None:
        """Do nothing."""

    def elsewhere(self) -> list[Elsewhere]:
        """Return nothing."""
        return []

    def leftovers(self, names: Sequence[str]) -> Search:
        """Return nothing, and that it is unknown."""
        del names
        return Search(gap="this broker cannot be asked for them")

    def remove(self, leftover: Leftover) -> str:
        """Refuse."""
        return f"{leftover.name} is not ours to remove"

    def close(self) -> None:
        """Release the connection."""
        with suppress(OSError, *self._connection.connection_errors):
            self._connection.release()
