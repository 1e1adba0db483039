"""What is going to happen, in the order of time."""

import heapq
from collections.abc import Callable
from typing import TypeAlias

Action: TypeAlias = Callable[[], None]


class Agenda:
    """Actions and their moments, in seconds from the start.

    What is due at the same moment happens in the order it was entered.
    """

    def __init__(self) -> None:
        #: The moment of what happens just now.
        self.now = 0.0
        self._due: list[tuple[float, int, Action]] = []
        self._entered = 0

    def after(self, delay: float, action: Action) -> None:
        """Enter what is to happen in `delay` seconds."""
        self._entered += 1
        heapq.heappush(self._due, (self.now + delay, self._entered, action))

    def pause(self, moment: float) -> float:
        """Return the seconds from `moment` until something is due."""
        return max(0.0, self._due[0][0] - moment) if self._due else 0.0

    def play(self, until: float) -> None:
        """Let happen what is due until that moment."""
        while self._due and self._due[0][0] <= until:
            self.now, _, action = heapq.heappop(self._due)
            action()
        self.now = max(self.now, until)
