"""Clocks for tests."""

from __future__ import annotations

from evtools.clock import SystemClock


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


class HeldClock(SystemClock):
    """The clocks of the machine; the monotonic one stands still until it is let go."""

    def __init__(self) -> None:
        self._held: float | None = super().monotonic()

    def monotonic(self) -> float:
        """Return the same seconds each time, and once it is let go those of the machine."""
        return super().monotonic() if self._held is None else self._held

    def let_go(self) -> None:
        """Let it run."""
        self._held = None
