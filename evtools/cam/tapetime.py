"""The time on a recording, by which the shots of a replay are taken."""

import math
from collections.abc import Callable, Iterator

from evtools.transport.recording.reader import received
from evtools.wire import EventFields

#: The end of the year 9999, in UTC epoch seconds: no honest recording is later.
_LATEST = 253_402_300_800.0


class TapeTime:
    """A clock that shows when the event at hand was received.

    However fast a recording is replayed, its shots are as many and as far
    apart as they would have been then.  It never goes back.
    """

    def __init__(self) -> None:
        self._now = -math.inf

    @property
    def has_begun(self) -> bool:
        """Whether the first moment is known."""
        return self._now > -math.inf

    def wall(self) -> float:
        """Return the moment, in UTC epoch seconds; 0 before the first."""
        return self._now if self.has_begun else 0.0

    def monotonic(self) -> float:
        """Return the same."""
        return self.wall()

    def move(self, moment: float) -> None:
        """Go on to a moment."""
        self._now = max(self._now, moment)

    def pieces(
        self, events: list[EventFields], due: Callable[[], float]
    ) -> Iterator[tuple[list[EventFields], float]]:
        """Cut events where something is due, as `due()` tells, and where time begins.

        Yield the events of a piece, and the moment after them: it is to be
        moved to once they are taken in.
        """
        begin, now = 0, self._now
        until = due() if self.has_begun else now
        for index, event in enumerate(events):
            moment = received(event)
            if moment is None or not now < moment < _LATEST:
                continue
            now = moment
            if now >= until:
                yield events[begin:index], now
                begin, until = index, due()
        if begin < len(events):
            yield events[begin:], now if now > -math.inf else 0.0
