"""What the doctor observes, over as soon as all has come that a test waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evtools.doctor.context import Observation
from tools.command import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable


def hurried(until: Callable[[Observation], bool]) -> type[Observation]:
    """Return an observation for which half a minute has passed when `until` says so."""

    class Hurried(Observation):
        @property
        def seconds(self) -> float:
            return self._seconds + (PATIENCE if until(self) else 0.0)

        @seconds.setter
        def seconds(self, value: float) -> None:
            self._seconds = value

    return Hurried
