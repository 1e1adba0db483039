"""When a user had better ask the doctor: nothing has come since the start."""

import math
from typing import Final

from evtools.clock import Clock
from evtools.transport.source import Source

DOCTOR: Final = "evtools doctor, given the same broker, finds out more"
#: Workers send heartbeats every two seconds; after so long something is odd.
_PATIENCE: Final = 10.0


class Doubt:
    """Look once, ten seconds after the start, whether a source has had anything."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._due = clock.monotonic() + _PATIENCE

    def words(self) -> str:
        """Return what to tell the user now: once that nothing came, mostly ""."""
        if self._clock.monotonic() < self._due:
            return ""
        self._due = math.inf
        if self._source.statistics().messages:
            return ""
        return f"nothing has come for {_PATIENCE:g}s; {DOCTOR}"
