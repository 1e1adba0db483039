"""What evcam counts of itself, as plain numbers that any thread may read."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Shots:
    """How the shots ended: `overrun` are those left out as one took too long.

    `skipped_rate` were more than --maxrate allows.
    """

    taken: int = 0
    skipped_rate: int = 0
    overrun: int = 0
    failed: int = 0


@dataclass(slots=True)
class Counters:
    """What evcam did so far.

    The camera's thread writes about the shots, the main thread about all else,
    so that nothing has to be locked.  Times are UTC epoch seconds, but for
    `ticked_at` and `busy_since`, which are by the monotonic clock.
    """

    started: float = 0.0

    # about the shots
    shots: Shots = field(default_factory=Shots)
    cleanups: int = 0
    cleanups_failed: int = 0
    #: Since when the camera has been at work, None if it is not.
    busy_since: float | None = None
    last_shot_at: float | None = None
    last_shot_seconds: float | None = None
    shot_seconds: float = 0.0
    last_success_at: float | None = None
    failures_in_row: int = 0
    last_error: str = ""

    # about the stream
    connected: bool = False
    events: int = 0
    events_by_type: dict[str, int] = field(default_factory=dict)
    events_per_second: float = 0.0
    last_event_at: float | None = None
    last_heartbeat_at: float | None = None
    #: The most that an event was late of those in the last seconds.
    lag: float | None = None
    gaps: int = 0

    # about the state
    tasks: int = 0
    workers: int = 0
    workers_alive: int = 0
    evicted: int = 0
    #: Events of tasks and workers that do not name them.
    nameless: int = 0

    # about the main loop
    ticked_at: float = 0.0
    ready: bool = False
