"""A camera with Celery's API: `celery.events.snapshot.Polaroid` without Celery."""

import logging
from typing import Any, ClassVar, Protocol, Self

from evtools.cam.observers import Signal
from evtools.cam.rate import TokenBucket, rate
from evtools.cam.timer import Timer
from evtools.state import State

logger = logging.getLogger("evtools.evcam")


class AnyTimer(Protocol):
    """What a camera wants of a timer."""

    def call_repeatedly(self, seconds: float, fun: Any) -> Any:
        """Call `fun` every `seconds`; return what can be called and cancelled."""
        ...


class Polaroid:
    """Take a snapshot of a `state` every `freq` seconds.

    A subclass says in `on_shutter(state)` what to do with it, while no event is
    taken in; what takes long is better done in `Camera.develop`.  With
    `clear_after`, workers and finished tasks are forgotten after each shot,
    though not, as with Celery's, after one that failed or was not taken.
    `maxrate` is the most shots there may be, as in `10/m`; `cleanup_freq` how
    often `on_cleanup` is called, in seconds, 0 for never.  `timer` calls both,
    in its own thread, after `install`.

    Functions connected to `shutter_signal` and `cleanup_signal` are called with
    the state as `sender`.
    """

    shutter_signal: ClassVar = Signal("shutter_signal")
    cleanup_signal: ClassVar = Signal("cleanup_signal")
    timer: Any = None
    clear_after = False

    _tref: Any = None
    _ctref: Any = None
    _own_timer: Timer | None = None

    def __init__(
        self,
        state: State,
        freq: float = 1.0,
        maxrate: str | float | None = None,
        cleanup_freq: float = 3600.0,
        timer: AnyTimer | None = None,
        app: Any = None,
    ) -> None:
        self.app = app
        self.state = state
        self.freq = freq
        self.cleanup_freq = cleanup_freq
        self.timer = timer or self.timer
        if self.timer is None:
            self.timer = self._own_timer = Timer(name="evtools-camera")
        self.logger = logger
        self.maxrate = TokenBucket(rate(maxrate)) if maxrate else None

    def install(self) -> None:
        """Begin to take snapshots."""
        self._tref = self.timer.call_repeatedly(self.freq, self.capture)
        if self.cleanup_freq:
            self._ctref = self.timer.call_repeatedly(self.cleanup_freq, self.cleanup)

    def on_shutter(self, state: State) -> None:
        """Do something with the state; nothing, unless overridden."""

    def on_cleanup(self) -> None:
        """Tidy up; nothing, unless overridden."""

    def cleanup(self) -> None:
        """Tidy up, and tell who wants to know."""
        logger.debug("cleanup")
        self.cleanup_signal.send(sender=self.state)
        self.on_cleanup()

    def shutter(self) -> bool:
        """Take a snapshot, if there were not too many; return whether it did."""
        if not self.may_shoot():
            return False
        logger.debug("shutter: %r", self.state)
        self.shutter_signal.send(sender=self.state)
        self.on_shutter(self.state)
        return True

    def capture(self) -> None:
        """Take a snapshot while no event is taken in, if there were not too many."""
        self.state.freeze_while(self._shoot)

    def _shoot(self) -> None:
        # A subclass's own, as Celery's, returns nothing.
        if self.shutter() is not False and self.clear_after:
            self.state.clear()

    def may_shoot(self) -> bool:
        """Return whether `maxrate` allows a shot, which it then counts as taken."""
        return self.maxrate is None or self.maxrate.can_consume()

    def cancel(self) -> None:
        """Take no more snapshots after a last one of what came in since the last."""
        if self._tref:
            self._tref()
            self._tref.cancel()
        if self._ctref:
            self._ctref.cancel()
        if self._own_timer:
            self._own_timer.stop()

    def __enter__(self) -> Self:
        """Begin to take snapshots."""
        self.install()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End, with a last one."""
        self.cancel()
