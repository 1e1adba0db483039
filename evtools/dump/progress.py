"""How far the reading of a recording is, on a terminal's stderr."""

from typing import IO, Any, Self


class Progress:
    """A bar that is there while there is something to wait for.

    Nothing is imported or written unless `shown`.
    """

    def __init__(self, stream: IO[str], *, shown: bool) -> None:
        self._bar: Any = None
        self._task: Any = None
        if shown:
            self._bar = _bar(stream)

    def show(self, done_bytes: int, total_bytes: int | None) -> None:
        """Set the bar to `done_bytes` of `total_bytes`; None is an unknown total."""
        if self._bar is None:
            return
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task("reading", total=total_bytes)
        self._bar.update(self._task, completed=done_bytes, total=total_bytes)

    def __enter__(self) -> Self:
        """Return the bar itself; it appears with the first `show`."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()


def _bar(stream: IO[str]) -> Any:
    from rich.console import Console  # noqa: PLC0415  (only on a terminal)
    from rich.progress import (  # noqa: PLC0415  (only on a terminal)
        BarColumn,
        DownloadColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar  # noqa: PLC0415  (only on a terminal)

    return Bar(
        *("[progress.description]{task.description}", BarColumn()),
        *(DownloadColumn(), TimeRemainingColumn()),
        console=Console(file=stream),
        transient=True,
    )
