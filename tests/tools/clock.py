"""A clock for tests, moved by hand."""

from __future__ import annotations


class FakeClock:
    """Both clocks, showing the same; set `now` to move them."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def wall(self) -> float:
        """Return the seconds it was set to."""
        return self.now

    def monotonic(self) -> float:
        """Return the same seconds."""
        return self.now
