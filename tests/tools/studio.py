"""Cameras that keep their pictures, and time that passes for them by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evtools.cam.camera import Camera, Polaroid

if TYPE_CHECKING:
    from collections.abc import Callable

    from evtools.cam.schedule import Timer
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
    """Keep all snapshots: their information, and the tasks of the state.

    `during` is called while one is written, `fault` is raised after it.
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

    def snapshot(self, info: Any) -> Any:
        """Return its information and the tasks."""
        return info, sorted(self.state.tasks)

    def write(self, snapshot: Any) -> None:
        """Keep it, or raise."""
        if self.during is not None:
            self.during()
        if self.fault is not None:
            raise self.fault
        self.pictures.append(snapshot)

    def restore(self, snapshot: Any) -> None:
        """Note that it came back."""
        self.returned.append(snapshot)

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
    def infos(self) -> list[Any]:
        """The information on the snapshots that were kept."""
        return [info for info, _ in self.pictures]


def let_pass(seconds: float, clock: FakeClock, timer: Timer) -> None:
    """Move the clock, and wait until the timer has done what is due."""
    clock.now += seconds
    assert timer.settle(PATIENCE), "the timer did not come to rest"
