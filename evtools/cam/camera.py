"""A camera that looks quickly and writes slowly: the base of the built-in ones."""

import threading
from collections.abc import Sequence
from typing import Any

from evtools.cam.polaroid import AnyTimer, Polaroid
from evtools.cam.roll import Frame, Roll
from evtools.clock import Clock, SystemClock
from evtools.state import Change, State


class Camera(Polaroid):
    """A camera for what takes long: it holds up no event while it writes.

    A shot is two steps.  `expose(frame)` looks at the state while no event is
    taken in, and returns a picture of plain values, quickly; `develop(picture)`
    then writes that, and may take its time or raise.  If it raises, `restore`
    gets the picture back, and the next frame covers its period, too.

    A subclass takes options of its own as keyword arguments with annotations,
    for `--camera-option NAME=VALUE`, and hands the rest on to this class.
    """

    def __init__(
        self,
        state: State,
        freq: float = 1.0,
        maxrate: str | float | None = None,
        cleanup_freq: float = 3600.0,
        timer: AnyTimer | None = None,
        app: Any = None,
    ) -> None:
        super().__init__(state, freq, maxrate, cleanup_freq, timer, app)
        self.clock: Clock = SystemClock()
        self.roll = Roll(state.workers)
        # Two shots at a time would write in any order.
        self._shooting = threading.Lock()

    def load(self, roll: Roll, clock: Clock) -> None:
        """Take another roll, and the time from another clock.

        With a recording, the clock is the recording's.
        """
        self.roll, self.clock = roll, clock

    # --- what a subclass does -------------------------------------------------------

    def observe(self, changes: Sequence[Change]) -> None:
        """Look at what events changed.

        Called for each event, or several, by the thread that applies them, before
        the next one is applied; the state stands still meanwhile, and so does the
        intake of events.
        """

    def expose(self, frame: Frame) -> Any:
        """Return a picture of the state: plain values that do not change later.

        Called while the state stands still.
        """
        raise NotImplementedError

    def develop(self, picture: Any) -> None:
        """Write a picture; raise if it could not be written, all of it."""
        raise NotImplementedError

    def restore(self, picture: Any) -> None:
        """Take back what is in a picture that could not be written.

        Called while the state stands still.
        """

    def sweep(self) -> None:
        """Remove what is too old, every `cleanup_freq` seconds."""

    def reopen(self) -> None:
        """Open files anew that were moved away."""

    def close(self) -> None:
        """Let go of everything, after the last shot."""

    def check(self) -> None:
        """Raise UsageError or OutputError, in one line, if it could not write.

        Called before the process goes into the background, and before it waits for
        its only shot.
        """

    def describe(self) -> str:
        """Say in a few words where the pictures go."""
        return type(self).__name__

    # --- what makes a shot of it ----------------------------------------------------

    def on_cleanup(self) -> None:
        """Remove what is too old."""
        self.sweep()

    def capture(self) -> None:
        """Take a snapshot, unless there were too many lately."""
        with self._shooting:
            if not self.may_shoot():
                return
            frame, picture = self.state.freeze_while(self._expose)
            try:
                self.develop(picture)
            except BaseException:
                self.state.freeze_while(self._take_back, frame, picture)
                raise

    def _expose(self) -> tuple[Frame, Any]:
        self.shutter_signal.send(sender=self.state)
        frame = self.roll.next(self.clock.wall())
        try:
            picture = self.expose(frame)
        except BaseException:
            self.roll.restore(frame)
            raise
        if self.clear_after:
            self.state.clear()
        return frame, picture

    def _take_back(self, frame: Frame, picture: Any) -> None:
        self.roll.restore(frame)
        self.restore(picture)
