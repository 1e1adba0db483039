"""What a command is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evtools.top.session import Session


def _no_choices(_: Session) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Verb:
    """A command: its name, and what it does with the text behind the name.

    `argument` tells people what may stand there, "" for nothing; `choices`
    gives completion the words.  Failures are raised as EvtoolsError.
    """

    name: str
    about: str
    do: Callable[[Session, str], None]
    argument: str = ""
    choices: Callable[[Session], Sequence[str]] = _no_choices


def plain(name: str, about: str, do: Callable[[Session], None]) -> Verb:
    """Return a command that takes nothing."""
    return Verb(name, about, lambda session, _: do(session))
