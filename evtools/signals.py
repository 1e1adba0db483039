"""Signals that become flags for a main loop to look at."""

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Self, TypeAlias

if TYPE_CHECKING:
    from evtools.clock import Clock

Handler: TypeAlias = Callable[[int, FrameType | None], None]

#: A second Ctrl-C this soon is the first one seen twice: in a single-file
#: binary the terminal and the boot loader both hand it to us.
_SAME_KEY_PRESS = 0.3
_INTERRUPTED = 130


def install(handlers: Mapping[int, Handler]) -> dict[int, object]:
    """Install handlers of signals, and return what was there before, to `put_back`."""
    # What is ignored stays ignored: that is what our caller wants, such as nohup, or a shell
    # that has started us in the background.
    return {
        number: signal.signal(number, handler)
        for number, handler in handlers.items()
        if signal.getsignal(number) is not signal.SIG_IGN
    }


def put_back(before: Mapping[int, object]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)  # type: ignore[arg-type]


def end_echo() -> None:
    """End the line on which the terminal has echoed ^C; safe in a signal handler."""
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, b"\n")


class EndingSignals:
    """INT and TERM end a program in order; a second INT ends it at once.

    The first sets `ending` and calls `end`, which must be safe in a signal handler; the second
    exits with status 130.  A subclass adds to `handlers` before the signals are entered.
    """

    def __init__(self, end: Callable[[], None], clock: "Clock") -> None:
        self.ending = False
        self.handlers: dict[int, Handler] = {
            signal.SIGINT: self._interrupt, signal.SIGTERM: self.end,
        }  # fmt: skip
        self._end, self._clock = end, clock
        self._interrupted_at: float | None = None
        self._before: Mapping[int, object] = {}

    def __enter__(self) -> Self:
        self._before = install(self.handlers)
        return self

    def __exit__(self, *exc_info: object) -> None:
        put_back(self._before)

    def end(self, _number: int, _frame: FrameType | None) -> None:
        self.ending = True
        self._end()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        now = self._clock.monotonic()
        if self._interrupted_at is None:
            self._interrupted_at = now
            end_echo()
            self.end(number, frame)
        elif now - self._interrupted_at > _SAME_KEY_PRESS:
            # A blocked write or a hanging broker must not hold us back.
            os._exit(_INTERRUPTED)
