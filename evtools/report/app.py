"""evtools report: recordings read, counted, and written as one page."""

import gc
import os
import stat
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Final

from msgspec import UNSET

from evtools.clock import Clock, SystemClock
from evtools.errors import OutputError, UsageError
from evtools.filters import Filter, all_of, compile_filter, exclude
from evtools.report.figures import Figures
from evtools.report.page import About, render
from evtools.text import human_duration, human_size, sanitize
from evtools.transport import Notice
from evtools.transport.recording import write_all
from evtools.transport.recording.database import SQLITE, DatabaseReader, is_database, open_replay
from evtools.transport.recording.reader import SOON, Moment, ProgressBar, RecordingReader, files_of
from evtools.trust import open_safely, replace_file
from evtools.wire import Event, Joiner
from evtools.wire.redact import redactor

#: How long a pipe is waited for before the bar is drawn anew, in seconds.
_TICK: Final = 0.25
_STDOUT: Final = 1
#: Of the garbage collector, by generation: neither tasks nor events are in cycles.
_COLLECT_AFTER: Final = (100_000, 50, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """Which recordings to report, what of them, and where to write the page.

    `files` are as for `evdump -r`; `output` is a path, or "-" for stdout.  Every filter text must
    match and no exclude text may.  Moments are UTC epoch seconds or times of day; None and "" mean
    that it was not asked for.
    """

    files: tuple[str, ...]
    output: str
    title: str = ""
    top: int = 30
    filters: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    redact: tuple[str, ...] = ()
    since: Moment | None = None
    until: Moment | None = None
    #: Of the times in filters.
    zone: tzinfo = UTC
    quiet: bool = False
    colour_stderr: bool = False


def run(options: ReportOptions) -> int:
    """Write the page; return the exit status.

    Raise EvtoolsError for what the user must mend: no recording, a bad filter, a place that cannot
    be written.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    clock = SystemClock()
    report = _Report(options, clock)
    _check_overwriting(options)
    source = open_replay(
        options.files, clock=clock, speed=None, since=options.since, until=options.until
    )
    with closing(source):
        report.read(source)
        page = report.page(source)
    _write(options.output, page)
    report.conclude(source, len(page))
    return 0


class _Report:
    def __init__(self, options: ReportOptions, clock: Clock) -> None:
        def compiled(text: str) -> Filter:
            return compile_filter(text, zone=options.zone, now=clock.wall)

        self._options, self._clock = options, clock
        self._began = clock.monotonic()
        self._figures = Figures(clock)
        every = [compiled(text) for text in options.filters]
        every += [exclude(map(compiled, options.excludes))] if options.excludes else []
        self._filter = all_of(*every) if every else None
        self._redact = redactor(options.redact)
        #: What is left out, for the page.
        self._notes: list[str] = []
        self._bar = ProgressBar(sys.stderr, colour=options.colour_stderr)

    def read(self, source: RecordingReader | DatabaseReader) -> None:
        """Count all events of a source."""
        source.on_notice = self._notice
        joiners: defaultdict[str, Joiner] = defaultdict(Joiner)
        shows = sys.stderr.isatty() and not self._options.quiet
        shown = self._began + SOON - _TICK
        try:
            for batch in source.events(_TICK):
                self._figures.see(batch)
                self._figures.take(self._selected(batch, joiners))
                if shows and self._clock.monotonic() - shown > _TICK:
                    shown = self._clock.monotonic()
                    if isinstance(source, RecordingReader):
                        self._bar.show(*source.progress())
        finally:
            self._bar.hide()
        self._figures.end()

    def _selected(self, batch: list[Event], joiners: defaultdict[str, Joiner]) -> Iterator[Event]:
        if self._redact is not None:
            batch = list(map(self._redact.of_event, batch))
        if self._filter is None:
            yield from batch
            return
        # What evdump recorded is joined already; the others are of one cluster.
        if fresh := [event for event in batch if event.known is UNSET]:
            joiners[fresh[0].cluster or ""].join(fresh)
        matches = self._filter.matches
        for event in batch:
            if event.is_gap or matches(event):
                yield event

    def _notice(self, notice: Notice) -> None:
        if notice.kind in ("warning", "note"):
            self._notes.append(notice.text)
            self._bar.hide()
            self._say(notice.text, always=notice.kind == "warning")

    def page(self, source: RecordingReader | DatabaseReader) -> bytes:
        """Return the page about what was read."""
        options = self._options
        files = {"stdin" if name == "-" else name: size for name, size in source.files().items()}
        names = [name.rpartition("/")[2] or name for name in files]
        title = options.title or f"Celery tasks in {names[0]}"
        if len(names) > 1 and not options.title:
            title += f" and {len(names) - 1} more"
        filters = [*options.filters, *(f"-x {text!r}" for text in options.excludes)]
        about = About(
            title=title,
            files=files,
            counters=source.statistics(),
            made=self._clock.wall(),
            filters=filters,
            notes=self._notes,
            redacted=bool(options.redact),
            top=options.top,
        )
        return render(self._figures, about)

    def conclude(self, source: RecordingReader | DatabaseReader, size_bytes: int) -> None:
        """Say what was done, and why nothing is in it if that is so."""
        figures, counters = self._figures, source.statistics()
        for defect in counters.defects:
            words = defect.words(redacted=bool(self._options.redact))
            self._say(f"left out: {words}", always=True)
        if not figures.events:
            self._say(source.extent())
            notes = self._filter.unknown() if self._filter is not None else []
            if counters.events and self._filter is not None:
                notes += self._filter.hints()
            for note in notes:
                self._say(note)
        seconds = human_duration(self._clock.monotonic() - self._began)
        place = "stdout" if self._options.output == "-" else self._options.output
        events = f"{figures.events} events" if figures.events != 1 else "1 event"
        self._say(f"{place}: {events}, {human_size(size_bytes)}, {seconds}")

    def _say(self, text: str, *, always: bool = False) -> None:
        if always or not self._options.quiet:
            with suppress(OSError, ValueError):
                sys.stderr.write(f"evtools report: {sanitize(text)}\n")
                sys.stderr.flush()


def _check_overwriting(options: ReportOptions) -> None:
    # A recording must not be replaced by the page about it.
    output = Path(options.output)
    if options.output == "-" or not output.exists():
        return
    if output.is_dir():
        raise OutputError(f"cannot write {options.output}: it is a directory")
    paths = [path.removeprefix(SQLITE) for path in options.files]
    paths = paths if any(map(is_database, options.files)) else files_of(paths, [])
    if any(output.samefile(path) for path in map(Path, paths) if path.exists()):
        raise UsageError(f"-o {options.output} would overwrite a recording", "name another file")


def _write(output: str, page: bytes) -> None:
    # Whole or not at all, where that can be.
    try:
        if output == "-":
            _write_to(_STDOUT, page)
        elif _is_special(output):
            descriptor = open_safely(output, os.O_WRONLY)
            try:
                _write_to(descriptor, page)
            finally:
                os.close(descriptor)
        else:
            replace_file(output, page)
    except BrokenPipeError:
        raise
    except OSError as error:
        place = "stdout" if output == "-" else output
        raise OutputError(f"cannot write {place}: {error.strerror}") from error


def _is_special(output: str) -> bool:
    # A device or a pipe stays what it is.
    try:
        return not stat.S_ISREG(Path(output).stat().st_mode)
    except OSError:
        return False


def _write_to(descriptor: int, page: bytes) -> None:
    _, error = write_all(descriptor, page)
    if error is not None:
        raise error
