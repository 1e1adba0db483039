"""evdump: from a source through filters to stdout and recordings."""

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Final

from msgspec import UNSET

from evtools.clock import Clock, SystemClock
from evtools.dump.options import DumpOptions
from evtools.dump.output import FORMATS, Counts, Outputs, Progress, Report
from evtools.errors import BrokerUnavailable, UsageError
from evtools.filters import Filter, all_of, compile_filter, exclude
from evtools.signals import EndingSignals
from evtools.transport import ConnectionSettings, Source
from evtools.transport.receiver import open_live
from evtools.transport.recording.reader import RecordingReader, files_of
from evtools.transport.source import SilenceHint
from evtools.wire import Event, Gap, Joiner, gap
from evtools.wire.redact import redactor

#: The longest wait for events before deadlines are looked at, in seconds.
TICK: Final = 0.25
EXIT_OK, EXIT_NOT_EXPECTED, EXIT_TIMED_OUT = 0, 1, 124
#: Of the garbage collector, by generation.  Events have no cycles, and looking through
#: 100 000 remembered tasks again and again took a quarter of all CPU.
_COLLECT_AFTER: Final = (50_000, 20, 100)


def run(options: DumpOptions, settings: ConnectionSettings) -> int:
    """Dump events until asked to end; return the exit status.

    Raise EvtoolsError for what the user must fix: a bad filter or template, a refused login,
    a file that cannot be written.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    clock = SystemClock()
    report = Report(
        sys.stderr, quiet=options.quiet, stats=options.stats, redacts=bool(options.redact)
    )
    with ExitStack() as stack:
        # What may be wrong first, what overwrites a file last.
        filters = Filters(options, clock)
        formatter = FORMATS[options.output](options) if options.print else None
        _check_overwriting(options, clock)
        source = open_source(options, settings, report, stack)
        outputs = Outputs(options, formatter, clock, stack)
        dump = Dump(options, source, filters, outputs, report, clock)
        with Signals(source.stop, clock, reopen_on_hangup=bool(options.write)) as signals:
            return dump.run(signals)


def _check_overwriting(options: DumpOptions, clock: Clock) -> None:
    """Refuse to record into the recording that is read."""
    rotates = options.rotate_size or options.rotate_every
    if not options.read or not options.write or rotates:
        return
    name = Path(time.strftime(options.write, time.localtime(clock.wall())))
    read = [path for path in map(Path, files_of(options.read)) if path.exists()]
    if name.exists() and any(map(name.samefile, read)):
        raise UsageError(
            f"-w {options.write} would overwrite what -r reads", "record into another file"
        )


def open_source(
    options: DumpOptions, settings: ConnectionSettings, report: Report, stack: ExitStack
) -> Source:
    """Open what the options ask for: a recording, the demo, a broker; `stack` closes it."""
    if not options.read:
        return open_live(settings, report.notice, demo=options.demo, stack=stack)
    clock = SystemClock()
    reader = RecordingReader(
        *options.read, clock=clock, speed=options.speed, since=options.since, until=options.until
    )
    stack.callback(reader.close)
    # Lines on one terminal and a bar at its bottom would tear each other up.
    scrolls = options.print and sys.stdout.isatty()
    if sys.stderr.isatty() and not scrolls:
        report.progress = Progress(sys.stderr, clock, colour=options.colour_stderr)
        stack.callback(report.progress.hide)
    return reader


class Signals(EndingSignals):
    """Turn signals into flags that the main loop looks at.

    INT and TERM end the dump in order.  USR1 (and INFO) ask for the counters, HUP to reopen
    the recording or, where there is none, to end.  TSTP stops the process as usual.
    """

    def __init__(self, end: Callable[[], None], clock: Clock, *, reopen_on_hangup: bool) -> None:
        super().__init__(end, clock)
        self.counters_wanted = False
        self.reopen_wanted = False
        #: From when to when the process was stopped, in UTC epoch seconds.
        self.stopped: list[tuple[float, float]] = []
        self.handlers |= {
            signal.SIGHUP: self._reopen if reopen_on_hangup else self.end,
            signal.SIGUSR1: self._count,
            signal.SIGTSTP: self._stop,
        }
        info = getattr(signal, "SIGINFO", None)  # BSD and macOS: Ctrl-T
        if info is not None:
            self.handlers[info] = self._count

    def _count(self, _number: int, _frame: FrameType | None) -> None:
        self.counters_wanted = True

    def _reopen(self, _number: int, _frame: FrameType | None) -> None:
        self.reopen_wanted = True

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        start = self._clock.wall()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Here the process goes on, after SIGCONT.
        signal.signal(number, self._stop)
        self.stopped.append((start, self._clock.wall()))


class Filters:
    """The filters of `options`, compiled; `matches` is None if every event matches."""

    def __init__(self, options: DumpOptions, clock: Clock) -> None:
        def compiled(text: str) -> Filter:
            return compile_filter(text, zone=options.zone, now=clock.wall)

        wanted = [compiled(text) for text in options.filters]
        unwanted = [compiled(text) for text in options.excludes]
        if not options.heartbeats:
            unwanted.append(compiled("type=worker-heartbeat"))
        every = [*wanted, *([exclude(unwanted)] if unwanted else [])]
        self._all = all_of(*every)
        self.matches: Callable[[Event], bool] | None = self._all.matches if every else None
        self.expected = compiled(options.expect) if options.expect else None

    def notes(self, counts: Counts) -> list[str]:
        """Return why nothing matched, and which fields no event had."""
        notes = self._all.unknown()
        if counts.captured and not counts.matched:
            notes += self._all.hints()
        elif self.expected and counts.captured and not counts.expected:
            notes += self.expected.hints()
        return notes


class Dump:
    """The main loop."""

    def __init__(
        self,
        options: DumpOptions,
        source: Source,
        filters: Filters,
        outputs: Outputs,
        report: Report,
        clock: Clock,
    ) -> None:
        self._options = options
        self._source = source
        self._filters = filters
        self._outputs = outputs
        self._report = report
        self._clock = clock
        self._counts = Counts()
        self._started = self._last_event = clock.monotonic()
        self._hint = None if options.read else SilenceHint(source, clock)
        #: When to report malformed input next: there may be hundreds of batches a second.
        self._defects_due = self._started
        #: Whether each event has to be looked at.
        self._selects = bool(filters.matches or filters.expected or options.count)

    def run(self, signals: Signals) -> int:
        """Take events until one of the ends; return the exit status."""
        try:
            status = self._loop(signals)
            self._handle_signals(signals)
        except BrokerUnavailable:
            if self._counts.captured:
                self._conclude()
            raise
        self._conclude()
        if status == EXIT_OK and self._filters.expected and not self._counts.expected:
            return EXIT_NOT_EXPECTED
        return status

    def _conclude(self) -> None:
        # Once all that was taken is written.
        self._outputs.flush()
        self._report.defects(self._source.statistics().defects)
        if isinstance(self._source, RecordingReader) and not self._counts.matched:
            self._report.say(self._source.extent())
        for note in self._filters.notes(self._counts):
            self._report.say(note)
        self._summarise()

    def _loop(self, signals: Signals) -> int:
        """Return why the dump ended, as an exit status."""
        status = EXIT_OK
        for batch in self._batches():
            if batch and self._take(batch):
                return EXIT_OK
            self._outputs.settle()
            self._handle_signals(signals)
            if self._last_event >= self._defects_due:
                self._defects_due = self._last_event + TICK
                self._report.defects(self._source.statistics().defects)
            if self._hint is not None and (words := self._hint.words()):
                self._report.say(words)
            if self._report.progress is not None and isinstance(self._source, RecordingReader):
                self._report.progress.show(*self._source.progress())
            if self._is_overdue() and not signals.ending:
                status = EXIT_OK if self._options.count is None else EXIT_TIMED_OUT
                self._source.stop()
        return status

    def _batches(self) -> Iterator[list[Event]]:
        """Yield the source's events, redacted and joined."""
        redact, joiner = redactor(self._options.redact), Joiner()
        for events in self._source.events(TICK):
            if redact is not None:
                events = list(map(redact.of_event, events))  # noqa: PLW2901
            # What evdump recorded is joined already, and must look as it did.
            joiner.join([event for event in events if event.known is UNSET])
            yield events

    def _take(self, batch: list[Event]) -> bool:
        """Take a batch; return whether `--count` is reached."""
        self._last_event = self._clock.monotonic()
        counts, count = self._counts, self._options.count
        gaps = 0
        # No other event is a gap or nameless.
        for event in [event for event in batch if event.original is not UNSET]:
            counts.nameless += event.is_nameless
            if isinstance(event, Gap):
                gaps += 1
                counts.add_gap(event)
        if self._selects:
            batch = list(self._selected(batch))
        else:
            counts.captured += len(batch) - gaps
            counts.matched += len(batch) - gaps
        self._outputs.write(batch)
        return count is not None and counts.matched >= count

    def _selected(self, batch: list[Event]) -> Iterator[Event]:
        """Count each event; yield those to be shown, up to `--count`."""
        counts, count = self._counts, self._options.count
        matches, expected = self._filters.matches, self._filters.expected
        for event in batch:
            if event.is_gap:  # shown whatever the filters are
                yield event
                continue
            counts.captured += 1
            if matches is not None and not matches(event):
                continue
            counts.matched += 1
            if expected is not None and expected.matches(event):
                counts.expected += 1
            yield event
            if counts.matched == count:
                return

    def _is_overdue(self) -> bool:
        options, now = self._options, self._clock.monotonic()
        total = options.timeout is not None and now - self._started >= options.timeout
        return total or (options.idle is not None and now - self._last_event >= options.idle)

    def _handle_signals(self, signals: Signals) -> None:
        if signals.counters_wanted:
            signals.counters_wanted = False
            self._summarise()
        if signals.reopen_wanted:
            signals.reopen_wanted = False
            self._outputs.reopen()
        while signals.stopped:
            start, end = signals.stopped.pop(0)
            hole = gap("stopped", start, end)
            self._counts.add_gap(hole)
            self._outputs.write([hole])
            self._report.say(f"stopped for {end - start:.1f}s; events may be missing")

    def _summarise(self) -> None:
        seconds = self._clock.monotonic() - self._started
        self._report.summary(self._counts, self._source.statistics(), seconds)
