"""What evdump was asked to do."""

from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from evtools.transport.recording.reader import Moment

Output: TypeAlias = Literal["text", "json", "pretty", "logfmt", "csv", "raw", "template", "trace"]
Timestamps: TypeAlias = Literal["local", "utc", "iso", "epoch", "delta", "start", "none"]
By: TypeAlias = Literal["type", "name", "worker", "queue", "exception", "state", "cluster"]
OUTPUTS: Final[tuple[Output, ...]] = get_args(Output)
#: What `-z` prints.
TABLE_OUTPUTS: Final[tuple[Output, ...]] = ("text", "json", "csv")
TABLES: Final[tuple[By, ...]] = get_args(By)
TIMESTAMPS: Final[tuple[Timestamps, ...]] = get_args(Timestamps)

#: The speed of a replay that waits for nothing.
MAX_SPEED: Final = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpOptions:
    """Which events to take, and where and how to write them.

    Every filter text must match and no exclude text may; they are not compiled yet.
    Durations are in seconds, moments UTC epoch seconds, sizes bytes; None and "" mean that
    it was not asked for.  `read` and `write` are paths, or "-" for stdin and stdout.
    """

    # which events
    filters: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    heartbeats: bool = True
    redact: tuple[str, ...] = ()
    expect: str = ""

    # how many
    count: int | None = None
    timeout: float | None = None
    idle: float | None = None

    # where from
    read: tuple[str, ...] = ()
    speed: float = MAX_SPEED
    since: "Moment | None" = None
    until: "Moment | None" = None
    demo: bool = False

    # where to
    write: str = ""
    print: bool = True
    rotate_size: int | None = None
    rotate_every: float | None = None
    rotate_keep: int | None = None
    #: A program and its arguments, to run on each finished file.
    rotate_exec: tuple[str, ...] = ()
    line_buffered: bool = False

    # how
    output: Output = "text"
    #: Count the events in these tables.
    tables: tuple[By, ...] = ()
    template: str = ""
    timestamps: Timestamps = "local"
    #: Of the times in filters.
    zone: tzinfo = UTC
    full: bool = False
    highlight: str = ""
    colour: bool = False
    colour_stderr: bool = False
    #: A traceback may stand on lines of its own.
    multiline: bool = False
    verbosity: int = 0
    quiet: bool = False
    stats: Literal["text", "json"] = "text"
