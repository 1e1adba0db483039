"""The seam between the doctor and a broker's own protocol."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias

from evtools.wire import Codec, Message

#: What can be left behind by a monitor that is gone.
LeftoverKind: TypeAlias = Literal["queue", "list", "binding"]

#: What every dispatcher gives to an event, and no task has at its top.
_OF_EVENTS: Final = frozenset({"type", "hostname", "timestamp"})


@dataclass(frozen=True, slots=True)
class Ground:
    """What the events travel over, as the broker has it.

    `where` says it in the broker's own words.  `exists` is False where no
    worker or client can ever have sent events to it, and `command` then tells
    an administrator what there is; `clash` says how it differs from what Celery
    declares.
    """

    where: str
    exists: bool = True
    clash: str = ""
    #: Whether we may declare it ourselves; where it exists, that is no matter.
    may_declare: bool = True
    command: str = ""


@dataclass(frozen=True, slots=True)
class Right:
    """Something that a user needs to watch, and whether this one may do it.

    `why` is the broker's refusal, `grant` what its administrator can type,
    `caveat` what else that does.  Where no right helps, `advice` says what does.
    """

    name: str
    granted: bool
    why: str = ""
    grant: str = ""
    caveat: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another place on the same broker where Celery is, or was, at work.

    `words` are the words of a command line that lead there; passwords in
    them are masked.  It is `alive` if somebody is there right now.
    """

    where: str
    seen: str
    words: tuple[str, ...]
    alive: bool


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something of an event queue that may have lost its reader.

    Only what is `free` has certainly no reader; `why` says why it is not.
    `messages` and `size_bytes` are None where the broker does not tell.
    """

    kind: LeftoverKind
    name: str
    free: bool
    why: str = ""
    messages: int | None = None
    size_bytes: int | None = None
    #: By what the broker knows it, where that is not its name.
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class Search:
    """What was found; `gap` says what could not be looked at, and is empty if all.

    `command` lists the names that are missing, where there is one.
    """

    found: list[Leftover] = field(default_factory=list)
    gap: str = ""
    command: str = ""


class Examination(Protocol):
    """A connection on which the doctor asks a broker about itself.

    Calls raise whatever the drivers raise.  Nothing is published, and nothing
    made that does not go with the connection.
    """

    #: Product and version, as far as it tells.
    server: str
    #: Whether events wait for us in a queue that the broker keeps.
    keeps_queues: bool

    def ground(self) -> Ground:
        """Look at the event exchange; it is not made if it is missing."""
        ...

    def has_mailboxes(self) -> bool:
        """Return whether remote control can reach anybody: its exchange exists."""
        ...

    def rights(self) -> list[Right]:
        """Try what watching takes, and undo it."""
        ...

    def begin(self) -> None:
        """Start to overhear, and take the first of two looks at leftovers."""
        ...

    def elsewhere(self) -> list[Elsewhere]:
        """Return where else Celery is at work, overheard since `begin`."""
        ...

    def leftovers(self, names: Sequence[str]) -> Search:
        """Look for what readers have left behind, with `names` for these only."""
        ...

    def remove(self, leftover: Leftover) -> str:
        """Remove it if it is still free; return why not, empty if it is gone."""
        ...

    def close(self) -> None:
        """Leave the broker; never raise."""
        ...


def is_event(message: Message, accept: Sequence[str]) -> bool:
    """Return whether a message that was left behind has events, and nothing else."""
    events = Codec(accept).decode(message)
    return bool(events) and all(event.keys() >= _OF_EVENTS for event in events)
