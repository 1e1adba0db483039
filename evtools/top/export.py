"""Files that the user asks for: tables, screenshots, recordings, what was copied."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Final

from evtools.clock import Clock
from evtools.errors import OutputError
from evtools.top.recording import Recording
from evtools.top.sheet import lines
from evtools.top.table import TableModel
from evtools.trust import open_safely

#: How many files of one second are kept apart by a number.
_NUMBERS: Final = 1000


class Exporter:
    """Write files called evtop-WHAT-TIME.EXTENSION; none is ever overwritten.

    They go into `folder`, by default where evtop was started.  Each method
    returns the name of its file and raises OutputError when there is none.
    """

    def __init__(self, clock: Clock, folder: Path | None = None) -> None:
        self._clock = clock
        self._folder = folder or Path()

    def json(self, table: TableModel) -> str:
        """Write the table's rows as JSON Lines."""
        return self._save(table.name, "jsonl", lines(table, "json"))

    def csv(self, table: TableModel) -> str:
        """Write the table's rows as CSV."""
        return self._save(table.name, "csv", lines(table, "csv"))

    def screenshot(self, view: str, screen: Iterable[str]) -> str:
        """Write the lines of the screen."""
        return self._save(view, "txt", (line.rstrip() for line in screen))

    def copied(self, text: str) -> str:
        """Write what the terminal would not take into its clipboard."""
        return self._save("copy", "txt", [text])

    def recording(self) -> Recording:
        """Begin a recording under a name of its own."""
        path, file = self._new("recording", "jsonl")
        file.close()
        return Recording(str(path), self._clock)

    def _save(self, what: str, extension: str, content: Iterable[str]) -> str:
        path, file = self._new(what, extension)

        def write() -> None:
            with file:
                file.writelines(f"{line}\n" for line in content)

        _or_output_error(path, write)
        return str(path)

    def _new(self, what: str, extension: str) -> tuple[Path, IO[str]]:
        """Return a new file, open to be written."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock.wall()))
        stem = f"evtop-{what}-{moment}"
        names = (stem, *(f"{stem}-{number}" for number in range(2, _NUMBERS)))
        paths = [self._folder / f"{name}.{extension}" for name in names]
        for path in paths:
            try:
                file = open_safely(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                continue
            except OSError as error:
                raise OutputError(f"cannot write {path}: {error.strerror}") from error
            return path, os.fdopen(file, "w", encoding="utf-8", errors="backslashreplace")
        raise OutputError(f"cannot write {paths[0]}: too many of that name")


def _or_output_error(path: Path, write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
