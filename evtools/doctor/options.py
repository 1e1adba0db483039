"""What the doctor was asked to do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Output: TypeAlias = Literal["text", "json"]
OUTPUTS: Final[tuple[Output, ...]] = ("text", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """How to examine, and how to report.

    `wait` is how long to listen, in seconds.  `queues` are names of queues to look at
    besides those that the broker lists.  With `fix`, orphans are removed once `confirm`
    has said yes to the question.  `cols` is the width of the terminal, 0 without one.
    """

    wait: float = 6.0
    queues: tuple[str, ...] = ()
    fix: bool = False
    confirm: Callable[[str], bool] = lambda _question: False
    output: Output = "text"
    colour: bool = False
    cols: int = 0
    quiet: bool = False
    #: Name all workers and queues, where otherwise a few stand for the rest.
    verbose: bool = False
