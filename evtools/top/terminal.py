"""What a terminal is told and tells us outside of the picture."""

import base64
import os
import signal
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Final, Self

from evtools.clock import Clock
from evtools.signals import Handler, install, put_back

#: The most that terminals take in one piece (xterm, and what copies it).
COPY_BYTES_MAX: Final = 74_994
#: A second SIGINT this soon is the first one seen twice (see evdump).
_SAME_KEY_PRESS: Final = 0.3
_INTERRUPTED: Final = 130


def copy_sequence(text: str) -> str:
    """Return what puts `text` into the clipboard of the user's terminal.

    It is OSC 52, which works through ssh.  Return "" where the text is longer
    than terminals take; nobody tells whether one obeys.
    """
    encoded = base64.b64encode(text.encode(errors="replace")).decode("ascii")
    if len(encoded) > COPY_BYTES_MAX:
        return ""
    return f"\x1b]52;c;{encoded}\x07"


class Signals:
    """Turn signals into flags that the loop of the screen looks at.

    INT is a ctrl-c, which means what the key means at that moment; TERM and
    HUP end; after CONT somebody else may have had the terminal.  `wake` is called
    in the handler.  When a second INT finds the first one unseen, the loop hangs:
    `give_up` restores the terminal, and the process ends at once with status 130.
    """

    def __init__(self, wake: Callable[[], None], give_up: Callable[[], None], clock: Clock) -> None:
        self.ending = False
        self._continued = False
        self._interrupted_at: float | None = None
        self._wake = wake
        self._give_up = give_up
        self._clock = clock
        self._before: Mapping[int, object] = {}

    def __enter__(self) -> Self:
        """Install the handlers."""
        table: dict[int, Handler] = {
            signal.SIGINT: self._interrupt,
            signal.SIGTERM: self._end,
            signal.SIGHUP: self._end,
            signal.SIGCONT: self._continue,
        }
        self._before = install(table)
        # Who is stopped for changing the terminal from the background goes on with
        # that, and is not told that it was interrupted.
        signal.siginterrupt(signal.SIGCONT, False)  # noqa: FBT003  (C's signature)
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Put back what was there before."""
        put_back(self._before)

    def interrupted(self) -> bool:
        """Return whether there was an INT since the last time this was asked."""
        seen, self._interrupted_at = self._interrupted_at is not None, None
        return seen

    def continued(self) -> bool:
        """Return whether there was a CONT since the last time this was asked."""
        seen, self._continued = self._continued, False
        return seen

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        now = self._clock.monotonic()
        if self._interrupted_at is None:
            self._interrupted_at = now
            self._wake()
        elif now - self._interrupted_at > _SAME_KEY_PRESS:
            self._give_up()
            os._exit(_INTERRUPTED)

    def _continue(self, _number: int, _frame: FrameType | None) -> None:
        self._continued = True
        self._wake()

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self.ending = True
        self._wake()
