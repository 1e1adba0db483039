"""What the doctor asks of any broker, and the types of the answers."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from kombu.connection import Connection

from evtools.transport import ConnectionSettings
from evtools.transport.errors import Diagnosis
from evtools.wire import Codec, Message

OrphanKind: TypeAlias = Literal["queue", "list", "binding"]
ORPHAN_KINDS: Final[tuple[OrphanKind, ...]] = get_args(OrphanKind)

#: What every dispatcher adds to an event, and no task has at its top level.
_EVENT_FIELDS: Final = frozenset({"type", "hostname", "timestamp"})


class ExchangeStatus(NamedTuple):
    """The event exchange, or what stands for it, and `where`, in the broker's own words.

    If it does not exist, no worker or client can ever have sent events to it, and `command` lists
    what there is.  `clash` is how it differs from Celery's; if it exists, we need not declare it.
    """

    where: str
    exists: bool = True
    clash: str = ""
    may_declare: bool = True
    command: str = ""


class Permission(NamedTuple):
    """Something that a monitor has to do; `refusal` is why this user may not, if so."""

    name: str
    refusal: str = ""
    advice: str = ""


class Elsewhere(NamedTuple):
    """Another place on the same broker where Celery was at work, or is, if it is `alive`.

    `words` of a command line lead there; passwords in them are masked.
    """

    where: str
    seen: str
    words: tuple[str, ...]
    alive: bool


class OrphanedQueue(NamedTuple):
    """A queue of events, or a part of one, that has lost its reader unless it is `kept`.

    `messages` and `size_bytes` are None where the broker does not say.  `key` is what the
    broker calls it, where that is not its name, and `mark` stands for its oldest message.
    """

    kind: OrphanKind
    name: str
    kept: str = ""
    messages: int | None = None
    size_bytes: int | None = None
    key: bytes = b""
    mark: bytes = b""


class OrphanSearch(NamedTuple):
    """What was found; `gap` is what could not be looked at, `command` lists the names missing."""

    found: Sequence[OrphanedQueue] = ()
    gap: str = ""
    command: str = ""


class BrokerInspector:
    """A connection on which the doctor asks a broker about itself.

    This one knows what kombu knows of every broker, which is little.  Calls raise what the drivers
    raise.  Nothing is published, and nothing made that does not go with the connection.
    """

    #: Whether events wait for us in a queue that the broker keeps.
    keeps_queues = True

    def __init__(self, connection: Connection, settings: ConnectionSettings) -> None:
        connection.connect()
        self._connection, self._settings = connection, settings
        #: Product and version, as far as they are known.
        self.server = str(connection.transport.driver_type)

    @staticmethod
    def remedy(_diagnosis: Diagnosis, _settings: ConnectionSettings, _attempt: int = 0) -> str:
        """Return the command that an administrator needs against the refusal of an address."""
        return ""

    def exchange(self) -> ExchangeStatus:
        """Look at the event exchange; it is not made if it is missing."""
        return ExchangeStatus(f"exchange {self._settings.event_exchange}")

    def has_mailboxes(self) -> bool:
        """Return whether remote control can reach anybody: its exchange exists."""
        return True

    def permissions(self) -> list[Permission]:
        """Try what a monitor has to do, and undo it."""
        return []

    def begin(self) -> None:
        """Start to overhear, and take the first of two looks at orphans."""

    def elsewhere(self) -> list[Elsewhere]:
        """Return where else Celery is at work, overheard since `begin`."""
        return []

    def orphans(self, _names: Sequence[str]) -> OrphanSearch:
        """Look for what readers have left behind, with names for these only."""
        return OrphanSearch(gap="this broker cannot be asked for them")

    def remove(self, orphan: OrphanedQueue) -> str:
        """Remove it if it still has no reader; return why not, empty if it is gone."""
        return f"{orphan.name} is not ours to remove"

    def close(self) -> None:
        """Leave the broker; never raise what a driver raises."""
        with suppress(OSError, *self._connection.connection_errors):
            self._connection.release()


def allow(command: str, caveat: str = "") -> str:
    """Return the advice to have an administrator type `command`."""
    caveat = f" ({caveat})" if caveat else ""
    return f"The administrator of the broker can allow it{caveat}:\n  {command}"


def is_event(message: Message, accept: Sequence[str]) -> bool:
    """Return whether a message in a queue holds events, and nothing else."""
    events = Codec(accept).decode(message)
    return bool(events) and all(event.keys() >= _EVENT_FIELDS for event in events)
