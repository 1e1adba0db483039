"""evdump: from a source through filters and formats to stdout and recordings."""

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from msgspec import UNSET

from evtools.clock import Clock, SystemClock
from evtools.dump.formatter import FormatOptions, Formatter, make_formatter
from evtools.dump.options import DumpOptions
from evtools.dump.records import Records, open_records
from evtools.dump.report import Counts, Report
from evtools.dump.signals import Signals
from evtools.dump.sink import Sink
from evtools.errors import BrokerUnavailable, UsageError
from evtools.filters import Filter, all_of, compile_filter, exclude
from evtools.text import BoundedPattern
from evtools.transport import ConnectionSettings
from evtools.transport.live import SilenceHint
from evtools.transport.recording.reader import RecordingReader, files_of
from evtools.transport.recording.writer import RecordingWriter
from evtools.wire import EnvelopeWriter, Event, Gap, gap

#: The longest wait for events before deadlines are looked at, in seconds.
TICK = 0.25
EXIT_OK, EXIT_NOT_EXPECTED, EXIT_TIMED_OUT = 0, 1, 124
_HEARTBEAT = "worker-heartbeat"
#: Of the garbage collector, by generation.
_COLLECT_AFTER = (50_000, 20, 100)


def run(options: DumpOptions, settings: ConnectionSettings) -> int:
    """Dump events until asked to end; return the exit status.

    Raise EvtoolsError for what the user must mend: a bad filter or template,
    a refused login, a file that cannot be written.
    """
    _calm_collector()
    clock = SystemClock()
    report = Report(
        sys.stderr,
        tool="evdump",
        quiet=options.quiet,
        stats=options.stats,
        redacts=bool(options.redact),
    )
    with ExitStack() as stack:
        # What may be wrong first, what overwrites a file last.
        filters = Filters(options, clock)
        formatter = _formatter(options)
        _spare_what_is_read(options, clock)
        records = open_records(options, settings, report, stack)
        outputs = Outputs(options, formatter, clock, stack)
        dump = Dump(options, records, filters, outputs, report, clock)
        with Signals(records.source.stop, clock, reopen_on_hangup=bool(options.write)) as signals:
            return dump.run(signals)


def _calm_collector() -> None:
    """Let Python look for cycles rarely: events have none, and we keep 100 000 tasks.

    Looking through them again and again took a quarter of all CPU.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


class Filters:
    """The questions asked of every event."""

    def __init__(self, options: DumpOptions, clock: Clock) -> None:
        def compiled(text: str) -> Filter:
            return compile_filter(text, zone=options.zone, now=clock.wall)

        wanted = [compiled(text) for text in options.filters]
        unwanted = [compiled(text) for text in options.excludes]
        if not options.heartbeats:
            unwanted.append(compiled(f"type={_HEARTBEAT}"))
        every = [*wanted, *([exclude(unwanted)] if unwanted else [])]
        self._all = all_of(*every)
        self.matches: Callable[[Event], bool] | None = self._all.matches if every else None
        self.expected = compiled(options.expect) if options.expect else None

    def notes(self, counts: Counts) -> list[str]:
        """Return why nothing matched, and what fields no event could tell."""
        notes = self._all.unknown()
        if counts.captured and not counts.matched:
            notes += self._all.hints()
        elif self.expected and counts.captured and not counts.expected:
            notes += self.expected.hints()
        return notes


class Outputs:
    """Where matching events go: stdout, a recording, or both."""

    def __init__(
        self, options: DumpOptions, formatter: Formatter | None, clock: Clock, stack: ExitStack
    ) -> None:
        self._formatter = formatter
        self._sink: Sink | None = None
        self._tape: RecordingWriter | None = None
        self._envelopes = EnvelopeWriter()
        self._line_buffered = options.line_buffered
        if options.write:
            self._tape = RecordingWriter(
                options.write,
                clock=clock,
                rotate_size=options.rotate_size or 0,
                rotate_every=options.rotate_every or 0.0,
                rotate_keep=options.rotate_keep or 0,
            )
            stack.callback(self._tape.close)
        if formatter is not None:
            self._sink = Sink(sys.stdout.fileno(), clock=clock, line_buffered=options.line_buffered)
            stack.callback(self._sink.close)
            self._sink.write(formatter.header())

    def write(self, events: list[Event]) -> None:
        """Write events everywhere."""
        if self._formatter is not None and self._sink is not None:
            self._sink.write(self._formatter.format_all(events))
        if self._tape is not None:
            for event in events:
                self._tape.write(self._envelopes.line(event))

    def settle(self) -> None:
        """Let out what is due, after a batch or a wait."""
        if self._line_buffered:
            self.flush()
        if self._sink is not None:
            self._sink.settle()
        if self._tape is not None:
            self._tape.settle()

    def flush(self) -> None:
        """Let out everything."""
        if self._sink is not None:
            self._sink.flush()
        if self._tape is not None:
            self._tape.flush()

    def reopen(self) -> None:
        """Begin the recording's file anew, under its name."""
        if self._tape is not None:
            self._tape.reopen()


class Dump:
    """The main loop."""

    def __init__(
        self,
        options: DumpOptions,
        records: Records,
        filters: Filters,
        outputs: Outputs,
        report: Report,
        clock: Clock,
    ) -> None:
        self._options = options
        self._records = records
        self._filters = filters
        self._outputs = outputs
        self._report = report
        self._clock = clock
        self._counts = Counts()
        self._started = self._last_event = clock.monotonic()
        self._doubt = None if options.read else SilenceHint(records.source, clock)
        #: When to look for what was no event next.
        self._tell_at = self._started
        #: Whether events have to be looked at one by one.
        self._asks = bool(filters.matches or filters.expected or options.count)

    def run(self, signals: Signals) -> int:
        """Take events until one of the ends; return the exit status."""
        try:
            status = self._loop(signals)
            self._obey(signals)
        except BrokerUnavailable:
            if self._counts.captured:
                self._conclude()
            raise
        self._conclude()
        if status == EXIT_OK and self._filters.expected and not self._counts.expected:
            return EXIT_NOT_EXPECTED
        return status

    def _conclude(self) -> None:
        """Tell how it went, once all that was taken is written."""
        self._outputs.flush()
        self._tell_defects()
        source = self._records.source
        if isinstance(source, RecordingReader) and not self._counts.matched:
            self._report.say(source.extent())
        for note in self._filters.notes(self._counts):
            self._report.say(note)
        self._summarise()

    def _loop(self, signals: Signals) -> int:
        """Return why the dump ended, as an exit status."""
        status = EXIT_OK
        for batch in self._records.batches(TICK):
            if self._take_all(batch):
                return EXIT_OK
            self._outputs.settle()
            self._obey(signals)
            if self._last_event >= self._tell_at:
                # There may be hundreds of batches a second.
                self._tell_at = self._last_event + TICK
                self._tell_defects()
            self._wonder()
            self._records.advance()
            ended = self._overdue()
            if ended is not None and not signals.ending:
                status = ended
                self._records.source.stop()
        return status

    def _take_all(self, batch: list[Event]) -> bool:
        """Take a batch; return whether `--count` is reached."""
        if not batch:
            return False
        self._last_event = self._clock.monotonic()
        counts, count = self._counts, self._options.count
        gaps = 0
        # Nothing else is a gap or nameless.
        for event in [event for event in batch if event.original is not UNSET]:
            counts.nameless += event.is_nameless
            if isinstance(event, Gap):
                gaps += 1
                self._count_gap(event)
        if self._asks:
            batch = list(self._wanted(batch))
        else:
            counts.captured += len(batch) - gaps
            counts.matched += len(batch) - gaps
        self._outputs.write(batch)
        return count is not None and counts.matched >= count

    def _wanted(self, batch: list[Event]) -> Iterator[Event]:
        """Count each event; yield what is to be shown, up to `--count`."""
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

    def _count_gap(self, gap: Gap) -> None:
        counts = self._counts
        if gap.reason == "buffer":
            counts.lost += gap.dropped
        elif gap.reason == "worker":
            counts.missed += gap.missed
        else:
            counts.gaps += 1
            counts.gap_seconds += gap.duration

    def _overdue(self) -> int | None:
        """Return the exit status if a deadline has passed."""
        options, now = self._options, self._clock.monotonic()
        total = options.timeout is not None and now - self._started >= options.timeout
        idle = options.idle is not None and now - self._last_event >= options.idle
        if not (total or idle):
            return None
        return EXIT_OK if options.count is None else EXIT_TIMED_OUT

    def _obey(self, signals: Signals) -> None:
        """Do what signals asked for."""
        if signals.counters_wanted:
            signals.counters_wanted = False
            self._summarise()
        if signals.reopen_wanted:
            signals.reopen_wanted = False
            self._outputs.reopen()
        while signals.stopped:
            start, end = signals.stopped.pop(0)
            hole = gap("stopped", start, end)
            self._count_gap(hole)
            self._outputs.write([hole])
            self._report.say(f"stopped for {end - start:.1f}s; events may be missing")

    def _wonder(self) -> None:
        """Tell where to look if nothing comes at all."""
        words = self._doubt.words() if self._doubt is not None else ""
        if words:
            self._report.say(words)

    def _tell_defects(self) -> None:
        self._report.defects(self._records.source.statistics().defects)

    def _summarise(self) -> None:
        seconds = self._clock.monotonic() - self._started
        statistics = self._records.source.statistics()
        self._report.summary(self._counts, statistics, seconds)


def _spare_what_is_read(options: DumpOptions, clock: Clock) -> None:
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


def _formatter(options: DumpOptions) -> Formatter | None:
    if not options.print:
        return None
    return make_formatter(options.output, _format_options(options))


def _format_options(options: DumpOptions) -> FormatOptions:
    return FormatOptions(
        colour=options.colour,
        verbosity=options.verbosity,
        quiet=options.quiet,
        timestamps=options.timestamps,
        full=options.full,
        multiline=sys.stdout.isatty(),
        highlight=_highlight(options.highlight),
        template=options.template,
    )


def _highlight(text: str) -> BoundedPattern | None:
    if not text:
        return None
    try:
        return BoundedPattern(text)
    except ValueError as error:
        raise UsageError(f"--highlight {text}: {error}", "give a regular expression") from None
