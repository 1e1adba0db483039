"""evcam's counters, and its reports on itself: in the log, and in one line for systemd."""

import json
import logging
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from evtools.cam.snapshot import SnapshotSequence
from evtools.clock import Clock
from evtools.state import State
from evtools.text import human_duration, sanitize
from evtools.transport import Notice, Source
from evtools.transport.source import SilenceHint
from evtools.wire import GAP, EventFields, moment

_log = logging.getLogger(__name__)

#: Types of event that are counted apart; senders choose their names.
_TYPES_MAX: Final = 200
OTHERS: Final = "(others)"


@dataclass(slots=True)
class Shots:
    """Snapshots by result.

    `overrun` were skipped because one took too long, `skipped_rate` because of --maxrate.
    """

    taken: int = 0
    skipped_rate: int = 0
    overrun: int = 0
    failed: int = 0


@dataclass(slots=True)
class Counters:
    """Everything that evcam counts, as plain numbers that any thread may read.

    The camera's thread writes those of the snapshots, the main thread all others, so that
    nothing has to be locked.  Times are UTC epoch seconds, but for `ticked_at` and
    `busy_since`, which are by the monotonic clock.
    """

    started: float = 0.0

    # of the snapshots
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

    # of the stream
    connected: bool = False
    events: int = 0
    events_by_type: dict[str, int] = field(default_factory=dict)
    events_per_second: float = 0.0
    last_event_at: float | None = None
    last_heartbeat_at: float | None = None
    #: The largest delay of an event in the last seconds.
    lag: float | None = None
    gaps: int = 0

    # of the state
    tasks: int = 0
    workers: int = 0
    workers_alive: int = 0
    evicted: int = 0
    #: Events of tasks and workers without uuid or hostname.
    nameless: int = 0

    # of the main loop
    ticked_at: float = 0.0
    ready: bool = False


class StatusReporter:
    """Keep the counters of the stream and of the state, and report on them.

    `sequence` is notified of the connection.  `why` is the reason for having none.
    """

    def __init__(
        self,
        counters: Counters,
        state: State,
        sequence: SnapshotSequence,
        clock: Clock,
        *,
        replays: bool = False,
        redacts: bool = False,
    ) -> None:
        self._counters = counters
        self._state = state
        self._sequence = sequence
        self._clock = clock
        self._replays = replays
        self._redacts = redacts
        self._retries = 0
        self.why = "no connection"
        self._updated: float | None = None
        self._events_then = 0
        self._worst_lag: float | None = None
        self._hint: SilenceHint | None = None
        self._reported: set[str] = set()

    # --- counting ---------------------------------------------------------------------

    def notice(self, notice: Notice) -> None:
        """Apply a notice of the source; of many retries in a row log the 1st, 2nd, 4th, ..."""
        if notice.kind in {"listening", "restored"}:
            self._counters.connected = True
            self._sequence.subscribed(self._clock.wall())
            self._retries, self.why = 0, "no connection"
            words = "listening on" if notice.kind == "listening" else "connected again:"
            _log.info("%s %s", words, notice.text)
        elif notice.kind == "lost":
            self._counters.connected = False
            self._sequence.lost()
            self.why = notice.text
            _log.warning("connection lost: %s", notice.text)
        elif notice.kind == "ended" and notice.text:
            _log.warning("%s", notice.text)
        elif notice.kind == "retry":
            error = notice.text.rpartition("; trying again")[0] or notice.text
            self._retries = self._retries + 1 if error == self.why else 1
            self.why = error
            if self._retries & (self._retries - 1) == 0:
                _log.warning("%s", notice.text)

    def count(self, events: Sequence[EventFields]) -> None:
        """Count events that were applied to the state, one at least."""
        counters, known = self._counters, self._counters.events_by_type
        types = Counter(event["type"] for event in events)
        counters.gaps += types.pop(GAP, 0)
        for kind, number in types.items():
            name = kind if kind in known or len(known) < _TYPES_MAX else OTHERS
            known[name] = known.get(name, 0) + number
        counters.events += types.total()
        received = moment(events[-1].get("local_received"))
        if received is not None:
            counters.last_event_at = received
            if "worker-heartbeat" in types:
                counters.last_heartbeat_at = received
            self._measure(events[-1], received)

    def _measure(self, event: EventFields, received: float) -> None:
        """Note the delay of an event, less the difference between the clocks."""
        sent, hostname = moment(event.get("timestamp")), event.get("hostname")
        if sent is None or not isinstance(hostname, str):
            return
        worker = self._state.workers.get(hostname)
        if worker is not None and worker.skew is not None:
            lag = max(0.0, received - sent + worker.skew)
            self._worst_lag = lag if self._worst_lag is None else max(lag, self._worst_lag)

    def update(self, now: float) -> None:
        """Update the rates and the counters of the state; `now` is by the monotonic clock."""
        counters, state = self._counters, self._state
        then, self._updated = self._updated, now
        if then is not None and now > then:
            counters.events_per_second = (counters.events - self._events_then) / (now - then)
        self._events_then = counters.events
        counters.lag, self._worst_lag = self._worst_lag, None
        workers = list(state.workers.values())
        counters.tasks, counters.workers = len(state.tasks), len(workers)
        counters.workers_alive = sum(worker.alive for worker in workers)
        counters.evicted = state.evicted
        counters.nameless = state.nameless

    # --- reporting --------------------------------------------------------------------

    def line(self) -> str:
        counters = self._counters
        if not counters.connected and not self._replays:
            return f"waiting for broker: {self.why}"
        last = "no snapshot yet"
        if counters.last_success_at is not None:
            ago = self._clock.wall() - counters.last_success_at
            last = f"last snapshot {human_duration(ago)} ago"
        return (
            f"{'replaying' if self._replays else 'connected'}, "
            f"{counters.events_per_second:.0f} ev/s, "
            f"{counters.workers_alive} workers, {last}, "
            f"{counters.failures_in_row} failures"
        )

    def dump(self, source: Source) -> None:
        statistics = asdict(source.statistics())
        defects = statistics.pop("defects")
        malformed = {defect["kind"]: defect["count"] for defect in defects}
        counters = {**statistics, **asdict(self._counters), "malformed": malformed}
        _log.warning("counters: %s", json.dumps(counters))
        _log.warning("stacks:\n%s", stacks())

    def log_problems(self, source: Source) -> None:
        """Log each kind of malformed input once, and once that nothing comes at all."""
        if not self._replays:
            self._hint = self._hint or SilenceHint(source, self._clock)
            words = self._hint.words()
            if words:
                _log.warning("%s", words)
        for defect in source.statistics().defects:
            if defect.kind not in self._reported:
                self._reported.add(defect.kind)
                _log.warning("left out: %s", sanitize(defect.words(redacted=self._redacts)))
        if self._counters.nameless and "" not in self._reported:
            self._reported.add("")
            _log.warning("some events have no uuid or hostname and were ignored")


def stacks() -> str:
    """Return the stacks of all threads, the main thread's first."""
    frames = sys._current_frames()  # noqa: SLF001  (its documented use)
    main = threading.main_thread()
    lines = []
    for thread in sorted(threading.enumerate(), key=lambda thread: thread is not main):
        lines.append(f"thread {thread.name}{' (daemon)' if thread.daemon else ''}:")
        frame = frames.get(thread.ident or 0)
        if frame is not None:
            lines.append("".join(traceback.format_stack(frame)).rstrip())
    return "\n".join(lines)
