"""When an event of a recording is due."""

import math
import threading
from typing import Any, Final, TypeGuard

from evtools.clock import Clock
from evtools.wire import EventFields, moment

#: Beyond any clock, and still exact as a float.
_TOO_LARGE: Final = 10**15


class Pace:
    """The time on a tape, which runs at a multiple of ours, stands still or jumps.

    One thread asks `wait` for the events; others may steer.
    """

    def __init__(self, speed: float | None, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._speed = math.inf if speed is None else speed
        self._paused = False
        #: Where the tape was, in UTC epoch seconds, and when that was; None
        #: until the first event says where it begins.
        self._origin: float | None = None
        self._since = 0.0

    @property
    def speed(self) -> float:
        """How many seconds on the tape pass in one of ours."""
        return self._speed

    @property
    def paused(self) -> bool:
        """Whether the tape stands still."""
        return self._paused

    @property
    def position(self) -> float | None:
        """The moment on the tape, in UTC epoch seconds; None before the first event."""
        with self._lock:
            return None if self._origin is None else self._origin + self._run()

    def change(self, *, speed: float | None = None, paused: bool | None = None) -> None:
        """Run faster or slower from now on, stand still or go on."""
        with self._lock:
            if self._origin is not None:
                self._origin += self._run()
            self._since = self._clock.monotonic()
            if speed is not None:
                self._speed = speed
            if paused is not None:
                self._paused = paused

    def jump(self, moment: float) -> None:
        """Be at `moment`: all up to it is due at once."""
        with self._lock:
            self._origin, self._since = moment, self._clock.monotonic()

    def wait(self, moment: float | None) -> float:
        """Return in how many seconds an event of `moment` is due; 0 or less is now.

        Infinite while the tape stands still.  Without a moment an event is due
        with those before it.
        """
        with self._lock:
            if self._origin is None and not self._paused and moment is not None:
                self._origin, self._since = moment, self._clock.monotonic()
            left = self._left(moment)
            if left <= 0:
                return 0.0
            if math.isinf(self._speed) and not self._paused:
                self._origin = moment
            return math.inf if self._paused else left / self._speed

    def _left(self, moment: float | None) -> float:
        """Return how far it is to a moment, in seconds of the tape."""
        if self._origin is None:
            return math.inf if self._paused else 0.0
        return 0.0 if moment is None else moment - self._origin - self._run()

    def _run(self) -> float:
        """Return how far the tape came since it was at the origin, in its seconds."""
        if self._paused or math.isinf(self._speed):
            return 0.0
        return (self._clock.monotonic() - self._since) * self._speed


def received(event: EventFields) -> float | None:
    """Return when an event was received, or else sent, if it says so."""
    at = moment(event.get("local_received"))
    return moment(event.get("timestamp")) if at is None else at


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a number that can be a time or a span."""
    return value.__class__ in (float, int) and abs(value) < _TOO_LARGE
