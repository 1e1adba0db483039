"""What evcam was asked to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any, Final

from evtools.cam.choices import LogFormat
from evtools.transport.recording.reader import Moment

#: The speed of a replay that waits for nothing.
MAX_SPEED: Final = float("inf")
#: How often Celery's cameras shoot and clean up, in seconds.
FREQ: Final = 1.0
CLEANUP_FREQ: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CamOptions:
    """Which camera to hand the cluster's state to, how often, and as what process.

    Durations are in seconds, sizes bytes; None and "" mean "not asked for".
    Filter texts are not compiled yet, and only events that match all of them
    reach the state.  `camera` is a dotted path, or the name of a built-in
    camera with or without `:PLACE`; `camera_options` are as texts, to be
    converted by what the camera's constructor says.  `maxrate` is in Celery's
    notation, `10/m`.  `uid` and `gid` are names or numbers; `umask` is a
    number.  Relative paths count from `workdir`, where one is given.
    """

    # the camera
    camera: str = ""
    camera_options: Mapping[str, Any] = field(default_factory=dict)
    pythonpath: tuple[str, ...] = ()
    allow_insecure_camera: bool = False

    # when it shoots
    freq: float = FREQ
    maxrate: str = ""
    cleanup_freq: float = CLEANUP_FREQ
    #: The least time after the start during which pictures are marked as warm-up.
    warm_up: float = 2.0
    once: bool = False
    test: bool = False
    #: Failures in a row after which evcam gives up; None for never.
    max_failures: int | None = None

    # which events, and how much to remember
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

    # what it says
    logfile: str = ""
    #: A level of the logging module.
    loglevel: int = 20
    #: None: journal lines where stderr is systemd's journal, else text.
    log_format: LogFormat | None = None
    #: Where to serve health and metrics, HOST:PORT.
    listen: str = ""
    quiet: bool = False
