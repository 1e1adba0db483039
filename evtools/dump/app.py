"""evdump: from a source through filters to stdout and recordings."""

import gc
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Final

from msgspec import UNSET

from evtools.clock import Clock, SystemClock
from evtools.dump.formats import FORMATS
from evtools.dump.options import DumpOptions
from evtools.dump.output import Counts, Report, Tables
from evtools.errors import BrokerUnavailable, UsageError
from evtools.filters import Filter, all_of, compile_filter, exclude
from evtools.signals import EndingSignals
from evtools.transport import ConnectionSettings, Source
from evtools.transport.receiver import open_live
from evtools.transport.recording import RecordingWriter, RotateCommand
from evtools.transport.recording.database import SQLITE, DatabaseReader, is_database, open_replay
from evtools.transport.recording.reader import RecordingReader, files_of
from evtools.transport.source import SilenceHint
from evtools.wire import EnvelopeWriter, Event, Gap, Joiner, gap
from evtools.wire.redact import redactor

#: The longest wait for events before deadlines are looked at, in seconds.
TICK: Final = 0.25
EXIT_OK, EXIT_NOT_EXPECTED, EXIT_TIMED_OUT = 0, 1, 124
#: Of the garbage collector, by generation.  Events have no cycles, and looking through
#: 100 000 remembered tasks again and again took a quarter of all CPU.
_COLLECT_AFTER: Final = (50_000, 20, 100)
_REPLAYS: Final = (RecordingReader, DatabaseReader)


def run(options: DumpOptions, clusters: Sequence[ConnectionSettings]) -> int:
    """Dump events until asked to end; return the exit status.

    Raise EvtoolsError for what the user must fix: a bad filter or template, a refused login,
    a file that cannot be written.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    clock = SystemClock()
    with ExitStack() as ending, ExitStack() as stack:
        # What may be wrong first, what overwrites a file last.
        dump = Dump(options, clock)
        _check_overwriting(options, clock)
        if options.read:
            replay = open_replay(
                options.read, clock=clock,
                speed=options.speed, since=options.since, until=options.until,
            )  # fmt: skip
            replay.on_notice = dump.report.replayed
            stack.callback(replay.close)
            source: Source = replay
        else:
            source = open_live(clusters, dump.report.notice, demo=options.demo, stack=stack)
        stack.callback(dump.report.hide_progress)
        dump.open(source, stack, [each.cluster for each in clusters if not options.demo])
        signals = Signals(source.stop, clock, reopen_on_hangup=bool(options.write))
        # They are heeded until all is closed: --rotate-exec may be at work on the last file.
        return dump.run(ending.enter_context(signals))


def _check_overwriting(options: DumpOptions, clock: Clock) -> None:
    # The recording that is read must not be recorded into.
    rotates = options.rotate_size or options.rotate_every
    if not options.read or not options.write or rotates:
        return
    name = Path(time.strftime(options.write, time.localtime(clock.wall())))
    paths = [path.removeprefix(SQLITE) for path in options.read]
    paths = paths if any(map(is_database, options.read)) else files_of(paths, [])
    read = [path for path in map(Path, paths) if path.exists()]
    if name.exists() and any(map(name.samefile, read)):
        hint = "record into another file"
        raise UsageError(f"-w {options.write} would overwrite what -r reads", hint)


class Signals(EndingSignals):
    """Note signals for the main loop to look at.

    INT and TERM end the dump in order.  USR1 (and INFO) ask for the counters, HUP to reopen
    the recording or, where there is none, to end.  TSTP stops the process as usual.
    """

    def __init__(self, end: Callable[[], None], clock: Clock, *, reopen_on_hangup: bool) -> None:
        super().__init__(end, clock)
        #: The signals that came and ask for something.
        self.wanted: set[int] = set()
        #: From when to when the process was stopped, in UTC epoch seconds.
        self.stopped: list[tuple[float, float]] = []
        self.handlers[signal.SIGHUP] = self._want if reopen_on_hangup else self.end
        self.handlers[signal.SIGTSTP] = self._stop
        for name in ("SIGUSR1", "SIGINFO"):  # the latter on BSD and macOS: Ctrl-T
            if hasattr(signal, name):
                self.handlers[getattr(signal, name)] = self._want

    def _want(self, number: int, _frame: FrameType | None) -> None:
        self.wanted.add(number)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        start = self._clock.wall()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Here the process goes on, after SIGCONT.
        signal.signal(number, self._stop)
        self.stopped.append((start, self._clock.wall()))


class Dump:
    """The main loop, with the filters of `options` compiled and their format made."""

    def __init__(self, options: DumpOptions, clock: Clock) -> None:
        def compiled(text: str) -> Filter:
            return compile_filter(text, zone=options.zone, now=clock.wall)

        self._options, self._clock = options, clock
        self._counts = Counts()
        self.report = Report(options, clock)
        unwanted = [*options.excludes, *(() if options.heartbeats else ("type=worker-heartbeat",))]
        every = [compiled(text) for text in options.filters]
        every += [exclude(map(compiled, unwanted))] if unwanted else []
        self._filter = all_of(*every)
        self._matches = self._filter.matches if every else None
        self._expected = compiled(options.expect) if options.expect else None
        #: Whether each event has to be looked at.
        self._selects = bool(every or options.expect or options.count)
        self._formatter = FORMATS[options.output](options) if options.print else None
        self._tables = Tables(options.tables) if options.tables else None
        self._stdout: RecordingWriter | None = None
        self._recording: RecordingWriter | None = None
        self._envelopes = EnvelopeWriter()
        self._started = self._last_event = clock.monotonic()
        #: When to report malformed input next: there may be hundreds of batches a second.
        self._defects_due = self._started
        #: Whether what stands before the first event was written.
        self._begun = False

    def open(self, source: Source, stack: ExitStack, clusters: Sequence[str] = ()) -> None:
        """Take the source, and open what is written to; `stack` closes it.

        `clusters` are the names of those that are watched; a recording has its own.
        """
        options, clock = self._options, self._clock
        names = source.clusters() if isinstance(source, _REPLAYS) else filter(None, clusters)
        self._clusters = tuple(names)
        self._source = source
        self._hint = None if options.read else SilenceHint(source.statistics, clock)
        if options.write:
            command = RotateCommand(options.rotate_exec) if options.rotate_exec else None
            if command is not None:
                stack.callback(command.close)
            self._recording = RecordingWriter(
                options.write,
                clock=clock,
                rotate_size=options.rotate_size or 0,
                rotate_every=options.rotate_every or 0.0,
                rotate_keep=options.rotate_keep or 0,
                command=command,
            )
            stack.callback(self._recording.close)
        if self._formatter is not None or self._tables is not None:
            self._stdout = RecordingWriter("-", clock=clock)
            stack.callback(self._stdout.flush)
            if not options.read:
                self._begin([])
        self._outputs = [out for out in (self._stdout, self._recording) if out is not None]

    def _begin(self, events: Sequence[Event]) -> None:
        # In a replay once there are `events`: only they say which clusters a pipe is about.
        self._begun = True
        names = dict.fromkeys((*self._clusters, *(each.cluster for each in events if each.cluster)))
        if self._formatter is not None and self._stdout is not None:
            self._formatter.show_clusters([*names], replays=bool(self._options.read))
            if self._formatter.header:
                self._stdout.write(self._formatter.header[:-1])

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
        if status == EXIT_OK and self._expected and not self._counts.expected:
            return EXIT_NOT_EXPECTED
        return status

    def _conclude(self) -> None:
        # Once all that was taken is written: why nothing matched, and which fields were unknown.
        counts, report = self._counts, self.report
        if not self._begun:
            self._begin([])
        if self._formatter is not None and self._stdout is not None:
            self._put(self._formatter.footer())
        for output in self._outputs:
            output.flush()
        report.defects(self._source.statistics())
        notes = self._filter.unknown()
        if isinstance(self._source, _REPLAYS) and not counts.matched:
            report.say(self._source.extent())
        if counts.captured and not counts.matched:
            notes += self._filter.hints()
        elif self._expected and counts.captured and not counts.expected:
            notes += self._expected.hints()
        for note in notes:
            report.say(note)
        self._summarise()

    def _loop(self, signals: Signals) -> int:
        # Why the dump ended, as an exit status.
        options, source, report = self._options, self._source, self.report
        redact = redactor(options.redact)
        #: By cluster: in another one the same id is another task.
        joiners: defaultdict[str, Joiner] = defaultdict(Joiner)
        # Lines on one terminal and a bar at its bottom would tear each other up.
        scrolls = options.print and sys.stdout.isatty()
        shows_progress = sys.stderr.isatty() and not scrolls
        status = EXIT_OK
        for batch in source.events(TICK):
            if redact is not None:
                batch = list(map(redact.of_event, batch))  # noqa: PLW2901
            # What evdump recorded is joined already, and must look as it did.
            fresh = [event for event in batch if event.known is UNSET] if options.read else batch
            if fresh:  # all of one cluster
                joiners[fresh[0].cluster or ""].join(fresh)
            if batch and self._take(batch):
                return EXIT_OK
            for output in self._outputs:
                if options.line_buffered:
                    output.flush()
                output.settle()
            self._handle_signals(signals)
            if self._last_event >= self._defects_due:
                self._defects_due = self._last_event + TICK
                report.defects(source.statistics())
            if self._hint is not None and (words := self._hint.words()):
                report.say(words)
            if shows_progress and isinstance(source, RecordingReader):
                report.show_progress(*source.progress())
            if self._is_overdue() and not signals.ending:
                status = EXIT_OK if options.count is None else EXIT_TIMED_OUT
                source.stop()
        return status

    def _take(self, batch: list[Event]) -> bool:
        # Return whether `--count` is reached.
        self._last_event = self._clock.monotonic()
        counts, gaps = self._counts, 0
        # No other event is a gap or nameless.
        for event in [event for event in batch if event.original is not UNSET]:
            counts.nameless += event.is_nameless
            if isinstance(event, Gap):
                gaps += 1
                counts.add_gap(event)
        if self._tables is not None:
            self._tables.see(batch)
        if self._selects:
            batch = list(self._selected(batch))
        else:
            counts.captured += len(batch) - gaps
            counts.matched += len(batch) - gaps
        counts.add_states(batch)
        if self._tables is not None:
            self._tables.count(batch)
        self._write(batch)
        return self._options.count is not None and counts.matched >= self._options.count

    def _selected(self, batch: list[Event]) -> Iterator[Event]:
        # Count each event; yield those to be shown, up to `--count`.
        counts, count = self._counts, self._options.count
        matches, expected = self._matches, self._expected
        for event in batch:
            if event.is_gap:  # shown whatever the filters are
                yield event
                continue
            counts.captured += 1
            if matches is None or matches(event):
                counts.matched += 1
                if expected is not None and expected.matches(event):
                    counts.expected += 1
                yield event
                if counts.matched == count:
                    return

    def _write(self, events: list[Event]) -> None:
        if not events:
            return
        if self._formatter is not None and self._stdout is not None:
            if not self._begun:
                self._begin(events)
            self._put(self._formatter.format_all(events))
        if self._recording is not None:
            for line in self._envelopes.lines(events)[:-1].split(b"\n"):
                self._recording.write(line)

    def _put(self, lines: bytes) -> None:
        # On stdout; a trace has none for some events.
        if lines and self._stdout is not None:
            self._stdout.write(lines[:-1])

    def _is_overdue(self) -> bool:
        options, now = self._options, self._clock.monotonic()
        total = options.timeout is not None and now - self._started >= options.timeout
        return total or (options.idle is not None and now - self._last_event >= options.idle)

    def _handle_signals(self, signals: Signals) -> None:
        wanted, signals.wanted = signals.wanted, set()
        if wanted - {signal.SIGHUP}:
            self._summarise()
        if signal.SIGHUP in wanted and self._recording is not None:
            self._recording.reopen()
        while signals.stopped:
            start, end = signals.stopped.pop(0)
            hole = gap("stopped", start, end)
            self._counts.add_gap(hole)
            self._write([hole])
            self.report.say(f"stopped for {end - start:.1f}s; events may be missing")

    def _summarise(self) -> None:
        if self._tables is not None and self._stdout is not None:
            self._put(self._tables.rendered(self._options, self._counts))
            self._stdout.flush()
        seconds = self._clock.monotonic() - self._started
        self.report.summary(self._counts, self._source.statistics(), seconds)
