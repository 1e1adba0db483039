"""When to collect garbage: by the clock, as the screen must not wait for it."""

import gc
from typing import Final

from evtools.clock import Clock

#: How often to collect what is new, in seconds.
_NEW_EVERY: Final = 1.0
#: How long nobody must have pressed a key before all is looked through, and how
#: often that is done at the most, in seconds.
_QUIET: Final = 30.0
_ALL_EVERY: Final = 900.0


class Garbage:
    """The collector of cycles, run in small bits.

    By itself it counts what is made less what is let go.  With as many tasks
    forgotten as come in, that is nothing for a long time, and then all of them
    are looked through at once: a tenth of a second for 100 000 tasks, and two
    for what has been there for longer.

    Garbage that is older than a second waits until nobody is at the keyboard.
    Nothing of ours leaves any at a rate that matters: it is there for what
    libraries leave behind when a connection breaks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pressed = self._new_at = self._all_at = clock.monotonic()
        gc.freeze()
        gc.disable()

    def pressed(self) -> None:
        """Note that somebody is at the keyboard."""
        self._pressed = self._clock.monotonic()

    def collect(self) -> None:
        """Look at what is new, if it is time; at everything, if it may be."""
        now = self._clock.monotonic()
        if now - self._new_at < _NEW_EVERY:
            return
        self._new_at = now
        if now - self._pressed >= _QUIET and now - self._all_at >= _ALL_EVERY:
            self._all_at = now
            gc.collect()
        else:
            gc.collect(0)

    def close(self) -> None:
        """Leave it to the collector again."""
        gc.unfreeze()
        gc.enable()
