"""The options of evtop, and the values that some can have; cheap to import for --help."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, get_args

if TYPE_CHECKING:
    from evtools.alerts import Rule
    from evtools.transport import ConnectionSettings
    from evtools.transport.recording.reader import Moment

View: TypeAlias = Literal["overview", "tasks", "types", "workers", "queues", "events", "errors"]
Window: TypeAlias = Literal["1m", "5m", "15m", "1h", "all"]
TimeStyle: TypeAlias = Literal["age", "local", "utc"]
Compare: TypeAlias = Literal["off", "1h", "1d"]
Theme: TypeAlias = Literal["dark", "light", "cb", "mono"]
Output: TypeAlias = Literal["table", "csv", "json"]

VIEWS: Final[tuple[View, ...]] = get_args(View)
WINDOWS: Final[tuple[Window, ...]] = get_args(Window)
TIME_STYLES: Final[tuple[TimeStyle, ...]] = get_args(TimeStyle)
#: With what types are compared, and how long ago that was, in seconds.
COMPARES: Final[Mapping[Compare, float]] = {"off": 0.0, "1h": 3600.0, "1d": 86_400.0}
THEMES: Final[tuple[Theme, ...]] = get_args(Theme)
OUTPUTS: Final[tuple[Output, ...]] = get_args(Output)

#: From this number of columns on evtop begins with the overview.
OVERVIEW_COLS: Final = 100
#: The shortest time between two looks at the state, in seconds.
REFRESH_MIN: Final = 0.2
HISTORY_MIN_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The conditions of `--check`.

    `workers` are full node names, `queues` those that each of them must consume.  `max_idle`
    is how long a worker may go without processing a task, in seconds; None for any time.  `alerts`
    are watched for `watch` seconds.
    """

    workers: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    max_idle: float | None = None
    alerts: "tuple[Rule, ...]" = ()
    watch: float = 0.0


class Arrangement(NamedTuple):
    """The order or the columns of a view in the settings file; `place` is its file and table."""

    place: str
    view: View
    sort: str = ""
    columns: tuple[str, ...] = ()


#: A value by its table and key in the settings file: `("evtop", "sort", "tasks")`.
Settings: TypeAlias = Mapping[tuple[str, ...], str | bool | Sequence[str]]


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What the screen does with the settings file: to switch to one of its profiles, and to save.

    `profile` is the one in use, or "".  `open` returns the options of one and how to reach its
    clusters.  `save` changes settings, those that the profile has in its tables, and returns
    the path.  Both raise EvtoolsError.
    """

    profiles: tuple[str, ...] = ()
    open: "Callable[[str], tuple[TopOptions, Sequence[ConnectionSettings]]] | None" = None
    save: Callable[[Settings, str], str] | None = None
    profile: str = ""


@dataclass(slots=True, kw_only=True)
class TopOptions:
    """The options, as the command line or the settings file gives them.

    Filter texts are not compiled yet.  Durations are in seconds, moments UTC epoch seconds,
    sizes bytes; None and "" mean "not asked for".  `sort` is the title of a column, with a "-"
    before it for the other order; it and `columns` are those of the first view, and `arranged`
    are those of any view on the screen, from the settings file.  `zone` is that of the times
    shown and of those in filters, unless the style is UTC.  `keys` are the [keys] of the settings
    file: a command, and the keys that mean it; `colours` are looks of styles by their names,
    `programs` those of [command.NAME], and `alerts` the rules of [alert.NAME].
    `read`, `write` and `history` are paths.  `speed` is a factor, infinite for no waiting.
    """

    # what to show
    view: View = "tasks"
    filter: str = ""
    sort: str = ""
    window: Window = "5m"
    compare: Compare = "off"
    heat: bool = False
    columns: tuple[str, ...] = ()
    arranged: tuple[Arrangement, ...] = ()
    redact: tuple[str, ...] = ()
    # how much to remember
    max_tasks: int = 100_000
    max_memory: int = 256 * 1024 * 1024
    # the screen
    refresh: float = 1.0
    theme: Theme = "dark"
    colours: Mapping[str, str] = field(default_factory=dict)
    programs: tuple[Any, ...] = ()
    alerts: "tuple[Rule, ...]" = ()
    ascii: bool = False
    mouse: bool = False
    colour: bool = True
    time_style: TimeStyle = "age"
    zone: tzinfo = UTC
    keys: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    # the cluster
    read_only: bool = False
    ask: bool = True
    broker_stats: bool = True
    # recordings
    write: str = ""
    history: str = ""
    history_size: int = 64 * 1024 * 1024
    read: tuple[str, ...] = ()
    speed: float = 1.0
    since: "Moment | None" = None
    until: "Moment | None" = None
    demo: bool = False
    # without a screen
    batch: bool = False
    iterations: int = 1
    output: Output = "table"
    expect: str = ""
    check: Check | None = None
    quiet: bool = False
