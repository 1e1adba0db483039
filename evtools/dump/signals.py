"""What signals mean to evdump."""

import os
import signal
from collections.abc import Callable
from types import FrameType

from evtools.clock import Clock
from evtools.signals import EndingSignals


class Signals(EndingSignals):
    """Turn signals into flags that the main loop looks at.

    INT and TERM end the dump in order.  USR1 (and INFO) ask for the counters,
    HUP to open the recording anew or, where there is none, to end.  TSTP
    stops the process as usual; `stopped` then tells from when to when.
    """

    def __init__(self, end: Callable[[], None], clock: Clock, *, reopen_on_hangup: bool) -> None:
        super().__init__(end, clock)
        self.counters_wanted = False
        self.reopen_wanted = False
        #: (from, to) in UTC epoch seconds, once for each stop.
        self.stopped: list[tuple[float, float]] = []
        self.handlers |= {
            signal.SIGHUP: self._reopen if reopen_on_hangup else self.end,
            signal.SIGUSR1: self._count,
            signal.SIGTSTP: self._stop,
        }
        info = getattr(signal, "SIGINFO", None)  # BSD and macOS: Ctrl-T
        if info is not None:
            self.handlers[info] = self._count

    def _count(self, _number: int, _frame: FrameType | None) -> None:
        self.counters_wanted = True

    def _reopen(self, _number: int, _frame: FrameType | None) -> None:
        self.reopen_wanted = True

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        start = self._clock.wall()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Here we are again, after SIGCONT.
        signal.signal(number, self._stop)
        self.stopped.append((start, self._clock.wall()))
