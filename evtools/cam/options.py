"""evcam's options, the built-in cameras, and the words of both; cheap to import."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evtools.alerts import Rule
    from evtools.transport.recording.reader import Moment

LogFormat: TypeAlias = Literal["text", "json", "journal"]
Command: TypeAlias = Literal["status", "stop", "check"]

LOG_FORMATS: Final[tuple[LogFormat, ...]] = get_args(LogFormat)
#: What evcam can do instead of running.
COMMANDS: Final[tuple[Command, ...]] = get_args(Command)
# fmt: off
#: Celery's names for levels, and logging's numbers.
LOG_LEVELS: Final[Mapping[str, int]] = {
    "DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50, "FATAL": 50,
}
# fmt: on
#: What alerts can be about: those of evtools.alerts, which --help need not import.
VIEWS: Final = ("events", "tasks", "types", "workers", "queues", "errors")
#: The speed of a replay without waits.
MAX_SPEED: Final = float("inf")


class BuiltIn(NamedTuple):
    """A camera that `-c NAME` or `-c NAME:VALUE` means, of the class at `where`.

    `value` is the option that VALUE stands for.  It may be followed by other options, as in
    `NAME:FILE?keep=30d&...`, unless it is a URL, which has a query of its own: of that, only
    those `in_url` are options of the camera.
    """

    where: str
    value: str
    has_query: bool = True
    in_url: tuple[str, ...] = ()


# fmt: off
#: The built-in cameras by name.
BUILT_IN: Final[Mapping[str, BuiltIn]] = {
    "sqlite": BuiltIn("evtools.cam.database.sqlite:SQLite", "path"),
    "postgres": BuiltIn(
        "evtools.cam.database.postgres:Postgres", "url", has_query=False,
        # Not connect_timeout, which libpq has as well.
        in_url=("schema", "timeout", "keep", "keep_failed", "keep_tasks", "events", "max_waiting",
                "spool", "spool_size"),
    ),
    "clickhouse": BuiltIn("evtools.cam.clickhouse:ClickHouse", "url"),
    "jsonl": BuiltIn("evtools.cam.jsonl:JSONL", "path"),
    "prometheus": BuiltIn("evtools.cam.prometheus:Prometheus", "path"),
    "otlp": BuiltIn("evtools.cam.otlp:OTLP", "url", has_query=False),
}
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class CamOptions:
    """The options of evcam.

    Durations are in seconds, sizes in bytes; None and "" mean "not given".  Only events that match
    all filters reach the state.  `camera` is a dotted path, or the name of a built-in camera with
    or without `:PLACE`; `camera_options` are texts for its constructor.  `maxrate` is in Celery's
    notation, `10/m`.  `uid` and `gid` are names or numbers; `umask` is a number.  Relative paths
    start at `workdir`, if it is given.  Without a camera there are `alerts`.
    """

    # the camera
    camera: str = ""
    camera_options: Mapping[str, Any] = field(default_factory=dict)
    pythonpath: tuple[str, ...] = ()
    allow_insecure_camera: bool = False

    # its snapshots
    freq: float = 1.0
    maxrate: str = ""
    cleanup_freq: float = 3600.0
    #: The least time after the start during which snapshots are marked as warm-up.
    warm_up: float = 2.0
    once: bool = False
    test: bool = False
    #: Failures in a row after which evcam gives up; None for never.
    max_failures: int | None = None

    # the events, and how many tasks to remember
    filters: tuple[str, ...] = ()
    #: Of the times in filters.
    zone: tzinfo = UTC
    redact: tuple[str, ...] = ()
    max_tasks: int = 100_000
    max_memory: int = 256 * 1024 * 1024
    read: tuple[str, ...] = ()
    since: Moment | None = None
    until: Moment | None = None
    speed: float = MAX_SPEED
    demo: bool = False

    # what to watch for
    alerts: tuple[Rule, ...] = ()

    # the process
    detach: bool = False
    executable: str = ""
    pidfile: str = ""
    uid: str = ""
    gid: str = ""
    umask: int | None = None
    workdir: str = ""
    ready_timeout: float = 30.0
    shutdown_timeout: float = 10.0

    # the log
    logfile: str = ""
    #: A level of the logging module.
    loglevel: int = 20
    #: None: journal lines where stderr is systemd's journal, else text.
    log_format: LogFormat | None = None
    #: Where to serve health and metrics, HOST:PORT.
    listen: str = ""
    quiet: bool = False
