"""The two clocks, injected wherever time matters."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall clock and monotonic clock."""

    def wall(self) -> float:
        """Return UTC epoch seconds."""

    def monotonic(self) -> float:
        """Return seconds that never jump."""


class SystemClock:
    """The clocks of the machine."""

    def wall(self) -> float:
        return time.time()  # noqa: TID251  (this is the Clock that others take)

    def monotonic(self) -> float:
        return time.monotonic()
