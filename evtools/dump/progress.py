"""How far the reading of a recording is, on a terminal's stderr."""

from typing import IO, Any, Final, Self

from evtools.clock import Clock

#: A recording that is read in less than this, in seconds, needs no bar.
_SOON: Final = 0.5


class Progress:
    """A bar that is there while there is something to wait for.

    Nothing is imported or written unless `shown`, and nothing for a recording
    that is read in no time.
    """

    def __init__(self, stream: IO[str], clock: Clock, *, shown: bool, colour: bool = False) -> None:
        self._stream = stream
        self._clock = clock
        self._shown = shown
        self._colour = colour
        self._began = clock.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def show(self, done_bytes: int, total_bytes: int | None) -> None:
        """Set the bar to `done_bytes` of `total_bytes`; None is an unknown total."""
        if not self._shown or self._clock.monotonic() - self._began < _SOON:
            return
        if self._bar is None:
            self._bar = _bar(self._stream, colour=self._colour)
            self._task = self._bar.add_task("reading", total=total_bytes)
        self._bar.start()
        self._bar.update(self._task, completed=done_bytes, total=total_bytes)

    def hide(self) -> None:
        """Take the bar off the screen, until it is shown again."""
        if self._bar is not None:
            self._bar.stop()

    def __enter__(self) -> Self:
        """Return the bar itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Take the bar off the screen."""
        self.hide()


def _bar(stream: IO[str], *, colour: bool) -> Any:
    from rich.console import Console  # noqa: PLC0415  (only on a terminal)
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415  (only on a terminal)

    return Bar(
        *("{task.description}", BarColumn()),
        *(DownloadColumn(), TimeRemainingColumn()),
        console=Console(file=stream, no_color=not colour),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
