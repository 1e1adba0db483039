"""What signals mean to evdump."""

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Self

from evtools.clock import Clock

#: A second Ctrl-C this soon is the first one seen twice: in a single-file
#: binary the terminal and the boot loader both hand it to us.
_SAME_KEY_PRESS = 0.3
_INTERRUPTED = 130


class Signals:
    """Turn signals into flags that the main loop looks at.

    INT and TERM end the dump in order: they set `ending` and call `end`,
    which must be safe in a signal handler.  A second INT ends the process at
    once with status 130.  USR1 (and INFO) ask for the counters, HUP to open
    the recording anew or, where there is none, to end.  TSTP stops the
    process as usual; `stopped` then tells from when to when.
    """

    def __init__(
        self, end: Callable[[], None], clock: Clock, *, reopen_on_hangup: bool
    ) -> None:
        self.ending = False
        self.counters_wanted = False
        self.reopen_wanted = False
        #: (from, to) in UTC epoch seconds, once for each stop.
        self.stopped: list[tuple[float, float]] = []
        self._end_dump = end
        self._clock = clock
        self._interrupted_at: float | None = None
        hangup = self._reopen if reopen_on_hangup else self._end
        self._table: dict[int, Callable[[int, FrameType | None], None]] = {
            signal.SIGINT: self._interrupt,
            signal.SIGTERM: self._end,
            signal.SIGHUP: hangup,
            signal.SIGUSR1: self._count,
            signal.SIGTSTP: self._stop,
        }
        info = getattr(signal, "SIGINFO", None)  # BSD and macOS: Ctrl-T
        if info is not None:
            self._table[info] = self._count
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        """Install the handlers."""
        for number, handler in self._table.items():
            self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Put back what was there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        now = self._clock.monotonic()
        if self._interrupted_at is None:
            self._interrupted_at = now
            self._end(number, frame)
        elif now - self._interrupted_at > _SAME_KEY_PRESS:
            # A blocked write or a hanging broker must not hold us back.
            os._exit(_INTERRUPTED)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self.ending = True
        self._end_dump()

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
