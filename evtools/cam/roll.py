"""What every snapshot says of itself: who took it, when, and what it misses."""

import math
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from evtools.clock import Clock, SystemClock
from evtools.state import Worker
from evtools.wire import EventFields

#: Workers tell of themselves every two seconds unless told otherwise.
WARM_UP: Final = 2.0
#: Nobody makes us wait for longer by saying that it has rare heartbeats.
_WARM_UP_MAX: Final = 60.0
#: How many holes a frame lists; those beyond are one with the last.
_GAPS_MAX: Final = 100
_REASONS: Final = frozenset({"reconnect", "buffer", "stopped"})
#: Beyond any clock and any count, and still exact as a float.
_TOO_LARGE: Final = 2**53


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole in the stream, from `start` to `end` (UTC epoch seconds).

    `reason` is `reconnect`, `buffer` (we were too slow, and `dropped` events),
    `stopped`, or `several`.
    """

    reason: str
    start: float
    end: float
    dropped: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return it under the names that a gap record has."""
        return {"reason": self.reason, "from": self.start, "to": self.end, "dropped": self.dropped}


@dataclass(frozen=True, slots=True)
class Frame:
    """Who took a snapshot, the how manieth it is, and what it misses.

    Times are UTC epoch seconds.  The snapshot was taken at `at`, and tells of
    what came in since `since`, `period` seconds before.  `warm` is False while
    workers may not have told of themselves yet, so that their absence says
    nothing; `connected` is False while there is no connection, so that all is
    as it was.  In that period events fell into the holes in `gaps`, of which
    `dropped` events are known, and `missed` tasks were counted by workers
    without an event reaching us.
    """

    evcam: str
    host: str
    pid: int
    started: float
    sequence: int
    at: float
    since: float
    period: float
    warm: bool
    connected: bool
    gaps: tuple[Gap, ...] = ()
    dropped: int = 0
    missed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can have it."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "gaps": [gap.as_dict() for gap in self.gaps]}


class Roll:
    """Number the snapshots of one evcam, and note what each of them misses.

    `workers` are those that the state knows.  `started` is when this evcam
    did, in UTC epoch seconds.
    """

    def __init__(
        self,
        workers: Mapping[str, Worker],
        *,
        clock: Clock | None = None,
        started: float | None = None,
        warm_up: float = WARM_UP,
    ) -> None:
        self._workers = workers
        self._warm_up = warm_up
        self._started = (clock or SystemClock()).wall() if started is None else started
        self._host = socket.gethostname()
        self._pid = os.getpid()
        self._sequence = 0
        self._since: float | None = None
        self._subscribed: float | None = None
        self._connected = False
        self._gaps: list[Gap] = []
        self._dropped = 0
        self._missed = 0

    @property
    def evcam(self) -> str:
        """Which evcam this is: no other on any machine has the same name."""
        return f"{self._host}:{self._pid}:{self._started:.3f}"

    # --- what happens to the stream -------------------------------------------------

    def subscribed(self, now: float) -> None:
        """Note that events come from `now` on."""
        if self._since is None:
            self._since = now
        self._subscribed, self._connected = now, True

    def lost(self) -> None:
        """Note that no events come until `subscribed` is called again."""
        self._connected = False

    def note(self, event: EventFields) -> None:
        """Note what a gap record tells, which may be one of a file."""
        reason = event.get("reason")
        if reason == "worker":
            self._missed += _count(event.get("missed"))
            return
        start, end = _moment(event.get("from")), _moment(event.get("to"))
        dropped = _count(event.get("dropped")) if reason == "buffer" else 0
        self._dropped += dropped
        if reason == "reconnect":
            # That of a recording: nobody else tells that events come again.
            self._subscribed = max(start, end)
        if isinstance(reason, str) and reason in _REASONS:
            self._gaps.append(Gap(reason, start, max(start, end), dropped))
            self._gaps = _bounded(self._gaps)

    def is_warm(self, now: float) -> bool:
        """Return whether every worker should have told of itself by `now`."""
        if self._subscribed is None:
            return False
        beats = (worker.freq for worker in self._workers.values() if worker.beats)
        longest = max((min(freq, _WARM_UP_MAX) for freq in beats), default=0.0)
        return now - self._subscribed >= max(longest, self._warm_up)

    # --- what happens to the snapshots ----------------------------------------------

    def next(self, now: float) -> Frame:
        """Return the frame of a snapshot that is taken `now` (UTC epoch seconds)."""
        since = self._started if self._since is None else self._since
        self._sequence += 1
        frame = Frame(
            evcam=self.evcam,
            host=self._host,
            pid=self._pid,
            started=self._started,
            sequence=self._sequence,
            at=now,
            since=since,
            period=max(0.0, now - since),
            warm=self.is_warm(now),
            connected=self._connected,
            gaps=tuple(self._gaps),
            dropped=self._dropped,
            missed=self._missed,
        )
        self._since = now
        self._gaps, self._dropped, self._missed = [], 0, 0
        return frame

    def restore(self, frame: Frame) -> None:
        """Let the next frame tell what this one did, which nobody kept.

        It gets the same number: who reads the snapshots may count on it that one
        that is missing is one that was lost.
        """
        self._sequence = frame.sequence - 1
        self._since = frame.since
        self._gaps = _bounded([*frame.gaps, *self._gaps])
        self._dropped += frame.dropped
        self._missed += frame.missed


def _bounded(gaps: list[Gap]) -> list[Gap]:
    if len(gaps) <= _GAPS_MAX:
        return gaps
    kept, rest = gaps[: _GAPS_MAX - 1], gaps[_GAPS_MAX - 1 :]
    return [*kept, _merged(rest)]


def _merged(gaps: Iterable[Gap]) -> Gap:
    gaps = list(gaps)
    return Gap(
        "several",
        min(gap.start for gap in gaps),
        max(gap.end for gap in gaps),
        sum(gap.dropped for gap in gaps),
    )


def _moment(value: Any) -> float:
    return float(value) if _is_plausible(value) else 0.0


def _count(value: Any) -> int:
    return int(value) if _is_plausible(value) else 0


def _is_plausible(value: Any) -> bool:
    return value.__class__ in (int, float) and (0 <= value < _TOO_LARGE and math.isfinite(value))
