"""How often something may happen: `10/m`, as Celery writes it."""

from typing import Final

from evtools.clock import Clock, SystemClock
from evtools.errors import UsageError
from evtools.text import sanitize

#: How much less than a token will do, so that what comes in time is not refused
#: for being a moment early.  It is owed, and so the rate stays what it is.
_SLACK: Final = 0.01
_PER: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def rate(text: str | float) -> float:
    """Return how many per second `100/s`, `10/m`, `2/h` or `0.5` mean.

    Raise UsageError for anything else, and for what is not above zero.
    """
    number, _, unit = str(text).strip().partition("/")
    try:
        per_second = float(number) / _PER[unit.strip() or "s"]
    except (ValueError, KeyError):
        per_second = 0.0
    if not 0 < per_second < float("inf"):
        raise UsageError(f'"{sanitize(str(text))}" is no rate', "write it as in 10/m, 100/s or 2/h")
    return per_second


class TokenBucket:
    """Let something happen at most at a `rate` (per second), evenly spaced.

    With a `capacity` above 1, what was not used can be used later, up to so
    much at once.
    """

    def __init__(self, rate: float, capacity: float = 1.0, *, clock: Clock | None = None) -> None:
        self.fill_rate = float(rate)
        self.capacity = float(capacity)
        self._clock = clock or SystemClock()
        self._tokens = self.capacity
        self._then = self._clock.monotonic()

    def can_consume(self, tokens: float = 1.0) -> bool:
        """Take `tokens` out, and return True, if that many are in."""
        now = self._clock.monotonic()
        filled = self._tokens + self.fill_rate * (now - self._then)
        self._tokens, self._then = min(self.capacity, filled), now
        if tokens > self._tokens + _SLACK:
            return False
        self._tokens -= tokens
        return True
