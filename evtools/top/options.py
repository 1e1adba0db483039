"""The options of evtop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo

from evtools.top.choices import Output, Theme, TimeStyle, View, Window
from evtools.transport.recording.reader import Moment

#: The shortest time between two looks at the state, in seconds.
REFRESH_MIN = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The conditions of `--check`.

    `workers` are full node names, `queues` those that each of them must
    consume.  `max_idle` is how long a worker may go without processing a
    task, in seconds; None for any time.
    """

    workers: tuple[str, ...]
    queues: tuple[str, ...] = ()
    max_idle: float | None = None


@dataclass(slots=True, kw_only=True)
class TopOptions:
    """The options, as the command line or the settings file gives them.

    Filter texts are not compiled yet.  Durations are in seconds, moments UTC
    epoch seconds, sizes bytes; None and "" mean "not asked for".  `sort` is
    the title of a column, with a "-" before it for the other order.  `read`
    and `write` are paths.  `speed` is a factor, infinite for no waiting.
    """

    # what to show
    view: View = "tasks"
    filter: str = ""
    sort: str = ""
    window: Window = "5m"
    columns: tuple[str, ...] = ()
    redact: tuple[str, ...] = ()

    # how much to remember
    max_tasks: int = 100_000
    max_memory: int = 256 * 1024 * 1024

    # the screen
    refresh: float = 1.0
    theme: Theme = "dark"
    ascii: bool = False
    mouse: bool = False
    colour: bool = True
    time_style: TimeStyle = "age"
    #: Of the times shown and of those in filters, unless the style is UTC.
    zone: tzinfo = UTC
    #: The [keys] of the settings file: a command, and the keys that mean it.
    keys: Mapping[str, str | Sequence[str]] = field(default_factory=dict)

    # the cluster
    read_only: bool = False
    broker_stats: bool = False

    # recordings
    write: str = ""
    read: tuple[str, ...] = ()
    speed: float = 1.0
    since: Moment | None = None
    until: Moment | None = None
    demo: bool = False

    # without a screen
    batch: bool = False
    iterations: int = 1
    output: Output = "table"
    expect: str = ""
    check: Check | None = None
    quiet: bool = False
