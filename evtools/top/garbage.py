"""When to collect garbage: when nobody waits for the screen."""

import gc
from typing import Final

from evtools.clock import Clock

#: How long nobody must have pressed a key before all is looked through, and how
#: often that is done at the most, in seconds.
_QUIET: Final = 30.0
_ALL_EVERY: Final = 900.0


class Garbage:
    """The collector of cycles, run when nobody waits.

    By itself it counts what is made less what is let go.  With as many tasks
    forgotten as come in, that is nothing for a long time, and then all of them
    are looked through at once: a tenth of a second for 100 000 tasks, and two
    for what has been there for longer.

    Nothing of ours leaves garbage at a rate that matters: it is there for what
    libraries leave behind when a connection breaks.  To look at what is new each
    second took a twentieth of the CPU of a busy evtop, and a third of an idle one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pressed = self._all_at = clock.monotonic()
        gc.freeze()
        gc.disable()

    def pressed(self) -> None:
        """Note that somebody is at the keyboard."""
        self._pressed = self._clock.monotonic()

    def collect(self) -> None:
        """Look at everything, if it is time and nobody is at the keyboard."""
        now = self._clock.monotonic()
        if now - self._all_at >= _ALL_EVERY and now - self._pressed >= _QUIET:
            self._all_at = now
            gc.collect()

    def collect_new(self) -> None:
        """Look at what has been made since: a connection broke, or came back."""
        gc.collect(0)

    def close(self) -> None:
        """Leave it to the collector again."""
        gc.unfreeze()
        gc.enable()
