"""The camera's thread: its shots, what became of them, and the last one."""

import logging
from collections.abc import Callable
from typing import Any, Final

from evtools.cam.counters import Counters
from evtools.cam.failures import Failures, reason
from evtools.cam.timer import Entry, Timer
from evtools.clock import Clock
from evtools.errors import CameraFailed

_log = logging.getLogger(__name__)

#: The longest wait after failures in a row, in seconds, unless the camera's own
#: interval is longer.
_LONGEST: Final = 300.0
_DOUBLINGS_MAX: Final = 20
#: Of calls that are due together: who wants something now comes before the shots.
_NOW, _LAST = -1, -2


class Shutter:
    """Call a camera at its times, in a thread of its own.

    `timer` is what the camera is made with.  What the camera raises is logged
    and counted, and the next try comes after a wait that doubles; after
    `max_failures` in a row there is none, and `gave_up` says why.  `clock`
    measures how long a shot takes; `times` says when one is due, which is
    another clock if a recording is replayed.
    """

    def __init__(
        self,
        counters: Counters,
        clock: Clock,
        *,
        times: Clock | None = None,
        max_failures: int | None = None,
    ) -> None:
        self._counters = counters
        self._clock = clock
        self._max_failures = max_failures
        self._failures = Failures()
        self._camera: Any = None
        self._installed = False
        self._maxrate: Any = None
        self.timer = Timer(
            times or clock,
            name="evtools-camera",
            call=self._call,
            # The time of a recording stands still meanwhile.
            on_skipped=self._skip if times is None else None,
        )
        #: Why there will be no more shots, if that is so.
        self.gave_up: CameraFailed | None = None
        #: Whether the last shot, at the end, came to nothing.
        self.last_failed = False

    # --- in the main thread -----------------------------------------------------------

    def mount(self, camera: Any, *, install: bool = True) -> None:
        """Call this camera, from now on or, without `install`, once at the end."""
        self._camera, self._installed = camera, install
        # Celery's cameras look at it too late: they clear the state even if they
        # take no shot.
        if hasattr(getattr(camera, "maxrate", None), "can_consume"):
            self._maxrate, camera.maxrate = camera.maxrate, None
        if install:
            camera.install()

    def shoot(self) -> None:
        """Take a shot as soon as can be."""
        if hasattr(self._camera, "capture"):
            self.soon(self._camera.capture)
        else:
            _log.warning("this camera takes no shots but at its own times")

    def soon(self, fun: Callable[[], Any]) -> None:
        """Call `fun` in the camera's thread as soon as can be."""
        self.timer.call_after(0.0, fun, priority=_NOW)

    def running_for(self, now: float) -> float:
        """Return for how long the camera has been at work, 0 if it is not.

        `now` is by the monotonic clock.
        """
        since = self._counters.busy_since
        return 0.0 if since is None else now - since

    def catch_up(self, timeout: float) -> bool:
        """Let the camera do what its clock says is due; return whether it has."""
        self.timer.wake()
        return self.timer.settle(timeout)

    def end(self) -> None:
        """Ask for the last shot and the end; `join` waits for both."""
        self.timer.call_after(0.0, self._finish, priority=_LAST)

    def join(self, timeout: float) -> bool:
        """Wait for the end; return whether it has come."""
        return self.timer.join(timeout)

    # --- in the thread ----------------------------------------------------------------

    def _call(self, entry: Entry) -> float | None:
        self._counters.busy_since = self._clock.monotonic()
        try:
            if entry.fun == self._finish:
                self._finish()
                return None
            return self._account(entry)
        finally:
            self._counters.busy_since = None

    def _account(self, entry: Entry) -> float | None:
        """Call what is due; return how long to wait with the next, if not as usual."""
        if entry.fun == getattr(self._camera, "cleanup", None):
            self._counters.cleanups += 1
            self._counters.cleanups_failed += not self._survives(entry, "cleaning up")
        elif entry.seconds is None and entry.fun != getattr(self._camera, "capture", None):
            self._survives(entry, "the camera")
        elif self._maxrate is not None and not self._maxrate.can_consume():
            self._counters.shots.skipped_rate += 1
        else:
            return self._shoot(entry, entry.seconds)
        return None

    def _survives(self, fun: Callable[[], Any], what: str) -> bool:
        try:
            fun()
        except BaseException as error:  # noqa: BLE001  (whatever it is, we go on)
            self._failures.tell(f"{what} failed", error)
            return False
        return True

    def _shoot(self, fun: Callable[[], Any], seconds: float | None) -> float | None:
        counters, began = self._counters, self._clock.monotonic()
        try:
            fun()
        except BaseException as error:  # noqa: BLE001  (whatever it is, we go on)
            return self._fail(error, seconds)
        counters.shots.taken += 1
        counters.last_shot_seconds = self._clock.monotonic() - began
        counters.shot_seconds += counters.last_shot_seconds
        counters.last_shot_at = counters.last_success_at = self._clock.wall()
        if counters.failures_in_row:
            _log.warning("the camera works again, after %d failures", counters.failures_in_row)
            counters.failures_in_row = 0
        return None

    def _fail(self, error: BaseException, seconds: float | None) -> float | None:
        counters = self._counters
        counters.shots.failed += 1
        counters.failures_in_row += 1
        counters.last_shot_at = self._clock.wall()
        counters.last_error = reason(error)
        failures, wait = counters.failures_in_row, None
        is_enough = self._max_failures is not None and failures >= self._max_failures
        if seconds is not None and not is_enough:
            doubled = seconds * 2 ** min(failures - 1, _DOUBLINGS_MAX)
            wait = min(doubled, max(_LONGEST, seconds))
        after = "" if wait is None else f", next try in {wait:g}s"
        self._failures.tell(f"the camera failed ({failures} in a row){after}", error)
        if is_enough:
            self._give_up(error)
        return wait

    def _give_up(self, error: BaseException) -> None:
        self.gave_up = CameraFailed(
            f"gave up after {self._counters.failures_in_row} failures of the camera: "
            f"{reason(error)}",
            "the log has the first of each kind with its traceback",
        )
        self._close()

    def _finish(self) -> None:
        failed = self._counters.shots.failed
        # Whatever the rate: what came in since the last shot would be lost.
        self._shoot(self._last_shot, None)
        self.last_failed = self._counters.shots.failed > failed
        if not self.gave_up:
            self._close()

    def _last_shot(self) -> None:
        if not self._installed:
            self._camera.install()
        self._camera.cancel()

    def _close(self) -> None:
        close = getattr(self._camera, "close", None)
        if callable(close):
            self._survives(close, "closing the camera")
        self.timer.stop()

    def _skip(self, entry: Entry, ticks: int) -> None:
        if entry.fun == getattr(self._camera, "cleanup", None):
            return
        shots = self._counters.shots
        before = shots.overrun
        shots.overrun += ticks
        if before.bit_length() < shots.overrun.bit_length():
            _log.warning(
                "the camera takes longer than its %gs: %d shots left out so far",
                entry.seconds,
                shots.overrun,
            )
