"""A command on a terminal that notes when bytes came, and is drawn later.

To follow every byte as it comes would take a CPU that the others need, and would
be part of what is measured.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tools.screen import Evtop

if TYPE_CHECKING:
    from collections.abc import Callable


class Timed(Evtop):
    """A running command, evtop or another, whose screen is drawn when looked at."""

    def __init__(self, *args: Any, **how: Any) -> None:
        #: What came since somebody looked, each with its time (monotonic seconds).
        self._unseen: list[tuple[float, bytes]] = []
        self.came: list[tuple[float, int]] = []
        super().__init__(*args, **how)

    def _feed(self, data: bytes) -> None:
        now = time.monotonic()
        self.came.append((now, len(data)))
        self._unseen.append((now, data))

    def screen(self) -> str:
        """Return what the terminal shows."""
        self._draw()
        return super().screen()

    def _draw(self) -> None:
        while self._unseen:
            super()._feed(self._unseen.pop(0)[1])

    def answer(self, text: str, shows: Callable[[str], bool], *, deadline: float = 10) -> float:
        """Type a text; return after how many seconds the screen showed something."""
        self._draw()
        pressed = time.monotonic()
        self.type(text)
        while time.monotonic() < pressed + deadline:
            if not self._unseen:
                time.sleep(0.001)
                continue
            came, data = self._unseen.pop(0)
            super()._feed(data)
            if came >= pressed and shows(super().screen()):
                return came - pressed
        raise AssertionError(f"{text!r} was not answered:\n{self.screen()}")
