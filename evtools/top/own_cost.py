"""What we cost the machine that we run on."""

import os
import resource
import sys
from pathlib import Path
from typing import Final

from evtools.clock import Clock

_STATM: Final = Path("/proc/self/statm")


class OwnCost:
    """Our share of one CPU since the last look, and our memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked, self._used = clock.monotonic(), _used()
        #: As a share of one CPU: 1.0 is all of it.
        self.cpu = 0.0
        self.bytes = _resident_bytes()

    def look(self) -> None:
        """Measure anew; looks within a tenth of a second change nothing."""
        now = self._clock.monotonic()
        if now - self._looked < 0.1:  # noqa: PLR2004  (see above)
            return
        used = _used()
        self.cpu = (used - self._used) / (now - self._looked)
        self._looked, self._used = now, used
        self.bytes = _resident_bytes()


def _used() -> float:
    """Return how many seconds of a CPU we have used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _resident_bytes() -> int:
    """Return how much memory we have now; where nobody tells, the most we had."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")
