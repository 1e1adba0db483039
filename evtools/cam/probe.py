"""Whether the broker lets somebody in now, tried in a thread and not too often."""

import threading
from collections.abc import Callable
from typing import Final

from evtools.clock import Clock
from evtools.errors import EvtoolsError

#: Seconds from the end of a try to the next, at the least.
EVERY: Final = 2.0
#: How long to wait for one that runs when evcam ends, in seconds.
_PATIENCE: Final = 2.0


class Probe:
    """Try something that may hang or fail, for whoever asks whether it works.

    `succeeded_at` is when a try that succeeded began, by the monotonic clock;
    `error` is what the last one failed with, "" if it did not.
    """

    def __init__(self, attempt: Callable[[], None], clock: Clock) -> None:
        self._attempt = attempt
        self._clock = clock
        self._ended_at: float | None = None
        self._thread: threading.Thread | None = None
        self.succeeded_at: float | None = None
        self.error = ""

    def is_running(self) -> bool:
        """Tell whether a try is under way."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> bool:
        """Try, unless that was not long ago; return whether a try is under way.

        For one thread to call.
        """
        if self.is_running():
            return True
        now, ended = self._clock.monotonic(), self._ended_at
        if ended is not None and now - ended < EVERY:
            return False
        self._thread = threading.Thread(target=self._run, name="evtools-probe", daemon=True)
        self._thread.start()
        return True

    def close(self) -> None:
        """Wait for a try that is under way, but not for ever."""
        if self._thread is not None:
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        began = self._clock.monotonic()
        try:
            self._attempt()
        except EvtoolsError as error:
            self.error = error.message
        except Exception as error:  # noqa: BLE001  (told to who asked)
            self.error = f"{type(error).__name__}: {error}"
        else:
            self.succeeded_at, self.error = began, ""
        finally:
            self._ended_at = self._clock.monotonic()
