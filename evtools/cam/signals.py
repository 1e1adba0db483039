"""What signals mean to evcam."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Final

from evtools.clock import Clock
from evtools.signals import EndingSignals

#: Signal: the flag that it sets.
_FLAGS: Final = {
    signal.SIGHUP: "reopen_wanted",
    signal.SIGUSR1: "dump_wanted",
    signal.SIGUSR2: "shot_wanted",
}


class Signals(EndingSignals):
    """Turn signals into flags that the main loop looks at, and puts down again.

    INT and TERM ask for a last shot and the end.  HUP asks to open logs and
    outputs anew and to read the settings file again, USR1 for the counters
    and the stacks of all threads in the log, USR2 for a shot now.
    """

    def __init__(self, end: Callable[[], None], clock: Clock) -> None:
        super().__init__(end, clock)
        self.reopen_wanted = False
        self.dump_wanted = False
        self.shot_wanted = False
        self.handlers |= dict.fromkeys(_FLAGS, self._raise_flag)

    def _raise_flag(self, number: int, _frame: FrameType | None) -> None:
        setattr(self, _FLAGS[signal.Signals(number)], True)
