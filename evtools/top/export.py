"""Files that the user asks for: tables, screenshots, copies, recordings; and tables as text."""

import copy
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from msgspec import UNSET

from evtools.clock import Clock
from evtools.errors import OutputError
from evtools.text import clip, csv_cell, pad, sanitize, width
from evtools.top.columns import as_text
from evtools.top.options import Output
from evtools.top.table import TableModel
from evtools.transport.recording.writer import RecordingWriter
from evtools.trust import open_safely
from evtools.wire import EnvelopeWriter, Event, Joiner, encode_line

# --- a table as text --------------------------------------------------------------------

#: No cell of a table for people is wider.
_CELL_COLS: Final = 80


def render_table(table: TableModel, output: Output) -> Iterator[str]:
    """Yield the rows that `table` shows as lines, beginning with a header.

    They have the columns that the user chose, or else all there are.  JSON has no header,
    and always all columns.  Nothing in the lines can harm a terminal.
    """
    if output == "json":
        for record in table.records():
            yield encode_line(record).decode()
        return
    by_name = {column.name: column for column in table.columns}
    chosen = by_name if table.chosen is None else table.chosen
    columns = [by_name[name] for name in chosen if name in by_name]
    subjects = (table.subject(key) for key in list(table.cursor.keys))
    rows = (subject for subject in subjects if subject is not None)
    if output == "csv":
        # RFC 4180, except for the ends of the lines.
        yield ",".join(column.name for column in columns)
        for subject in rows:
            values = (column.value(subject, table.context.now) for column in columns)
            yield ",".join(map(_csv_cell, values))
        return
    head = [column.title for column in columns]
    body = [[_cell(column.text(row, table.context)) for column in columns] for row in rows]
    sizes = [max(map(width, cells)) for cells in zip(head, *body, strict=True)]
    for cells in (head, *body):
        padded = (
            pad(cell, cols, column.align)
            for column, cell, cols in zip(columns, cells, sizes, strict=True)
        )
        yield "  ".join(padded).rstrip()


def _cell(text: str) -> str:
    return clip(sanitize(text[: 2 * _CELL_COLS]), _CELL_COLS, "..")


def _csv_cell(value: Any) -> str:
    """Return a cell; an apostrophe goes before a text that a spreadsheet would run."""
    return "" if value is None else csv_cell(as_text(value), is_number=not isinstance(value, str))


# --- files ------------------------------------------------------------------------------

#: How many files of one second are distinguished by a number.
_NUMBERS: Final = 1000


class Recording:
    """Write the events that come in into a file; one thread at a time may write.

    A failure ends the recording, not the watching: `error` then says why.  Raise OutputError
    when `path` cannot be written at all.
    """

    def __init__(self, path: str, clock: Clock) -> None:
        self.error = ""
        #: How many events it has.
        self.events = 0
        self._writer = RecordingWriter(path, clock=clock)
        self._joiner = Joiner()
        self._envelopes = EnvelopeWriter()

    @property
    def path(self) -> str:
        return self._writer.path

    def write(self, events: Iterable[Event]) -> None:
        """Write a batch of events as evdump does, and flush what is due; never raises.

        Call it while nothing comes, too, with an empty batch.
        """
        if self.error:
            return
        # What the screen shows gets nothing joined; a recording that is played has it already.
        copies = [copy.copy(event) for event in events]
        self._joiner.join([event for event in copies if event.known is UNSET])
        try:
            for event in copies:
                self._writer.write(self._envelopes.line(event))
                self.events += 1
            self._writer.settle()
        except OutputError as error:
            self.error = error.message

    def close(self) -> None:
        """Write the rest and let go of the file; idempotent, never raises."""
        try:
            self._writer.close()
        except OutputError as error:
            self.error = self.error or error.message


def save(clock: Clock, subject: str, extension: str, lines: Iterable[str]) -> str:
    """Write lines into a new file called evtop-SUBJECT-TIME.EXTENSION; return its name.

    It is where evtop was started, and never overwrites another.  Raise OutputError when
    there is none.
    """
    path, file = _new(clock, subject, extension)
    try:
        with file:
            file.writelines(f"{line}\n" for line in lines)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    return str(path)


def new_recording(clock: Clock) -> Recording:
    """Begin a recording in a new file; raise OutputError when there is none."""
    path, file = _new(clock, "recording", "jsonl")
    file.close()
    return Recording(str(path), clock)


def _new(clock: Clock, subject: str, extension: str) -> tuple[Path, IO[str]]:
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock.wall()))
    stem = f"evtop-{subject}-{moment}"
    for number in range(1, _NUMBERS):
        name = stem if number == 1 else f"{stem}-{number}"
        path = Path(f"{name}.{extension}")
        try:
            file = open_safely(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            continue
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        return path, os.fdopen(file, "w", encoding="utf-8", errors="backslashreplace")
    raise OutputError(f"cannot write {stem}.{extension}: too many of that name")
