"""What lies over the screen and takes the keys: what each such thing can do."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from evtools.top.widgets.box import Box

#: None: it stays open.  Otherwise it is closed, and this is called then.
Outcome: TypeAlias = Callable[[], None] | None


def nothing() -> None:
    """Do nothing: the outcome of what was only looked at."""


class Layer(Protocol):
    """A menu, a dialog, the help, a prompt."""

    @property
    def contexts(self) -> tuple[str, ...]:
        """Where the keymap looks for a key, in this order."""
        ...

    def press(self, key: str, command: str | None) -> Outcome:
        """Take a key, as the table names it, and the command it means here."""
        ...

    def box(self, size: tuple[int, int]) -> Box | None:
        """Return what to show in the middle of a screen of (columns, rows)."""
        ...


def typed(key: str) -> str:
    """Return the character that a key types, or ""."""
    if key == "space":
        return " "
    return key if len(key) == 1 else ""
