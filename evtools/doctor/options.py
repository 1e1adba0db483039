"""What the doctor was asked to do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Output: TypeAlias = Literal["text", "json"]
OUTPUTS: Final[tuple[Output, ...]] = ("text", "json")


def _refuse(question: str) -> bool:
    del question
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """How to examine, and how to tell.

    `wait` is for how long to listen, in seconds.  `queues` are names of
    queues to look at besides those that the broker lists.  With `fix`, what
    is left behind is removed, once `confirm` has said yes to the question.
    """

    wait: float = 6.0
    queues: tuple[str, ...] = ()
    fix: bool = False
    confirm: Callable[[str], bool] = _refuse
    output: Output = "text"
    colour: bool = False
    #: How wide the terminal is; 0: it is none, and lines are as long as they are.
    cols: int = 0
    quiet: bool = False
    #: Shows all names where otherwise some will do.
    verbose: bool = False
