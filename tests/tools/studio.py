"""Cameras that keep their pictures, and time that passes for them by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evtools.cam.camera import Camera
from evtools.cam.polaroid import Polaroid

if TYPE_CHECKING:
    from collections.abc import Callable

    from evtools.cam.timer import Timer
    from tools.clock import FakeClock

#: In seconds; nothing in these tests takes that long.
PATIENCE = 20.0


class Snap(Polaroid):
    """Keep what `on_shutter` saw; raise `fault` instead, if there is one."""

    fault: BaseException | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[list[str]] = []
        self.swept = 0

    def on_shutter(self, state: Any) -> None:
        """Note the tasks."""
        if self.fault is not None:
            raise self.fault
        self.seen.append(sorted(state.tasks))

    def on_cleanup(self) -> None:
        """Note that."""
        if self.fault is not None:
            raise self.fault
        self.swept += 1


class Album(Camera):
    """Keep all pictures: the frame, and the tasks that were looked at.

    `during` is called while a picture is developed, `fault` is raised after it.
    """

    fault: BaseException | None = None
    during: Callable[[], object] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pictures: list[Any] = []
        self.returned: list[Any] = []
        self.observed: list[Any] = []
        self.done: list[str] = []

    def observe(self, changes: Any) -> None:
        """Note the changes."""
        self.observed += changes

    def expose(self, frame: Any) -> Any:
        """Return the frame and the tasks."""
        return frame, sorted(self.state.tasks)

    def develop(self, picture: Any) -> None:
        """Keep it, or raise."""
        if self.during is not None:
            self.during()
        if self.fault is not None:
            raise self.fault
        self.pictures.append(picture)

    def restore(self, picture: Any) -> None:
        """Note that it came back."""
        self.returned.append(picture)

    def sweep(self) -> None:
        """Note that."""
        self.done.append("swept")

    def reopen(self) -> None:
        """Note that."""
        self.done.append("reopened")

    def close(self) -> None:
        """Note that."""
        self.done.append("closed")

    @property
    def frames(self) -> list[Any]:
        """The frames of what was kept."""
        return [frame for frame, _ in self.pictures]


def let_pass(seconds: float, clock: FakeClock, timer: Timer) -> None:
    """Move the clock, and wait until the timer has done what is due."""
    clock.now += seconds
    timer.wake()
    assert timer.settle(PATIENCE), "the timer did not come to rest"
