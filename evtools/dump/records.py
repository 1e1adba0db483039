"""The records to dump: a source's events, redacted and joined."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from msgspec import UNSET

from evtools.clock import SystemClock
from evtools.dump.options import DumpOptions
from evtools.dump.progress import Progress
from evtools.dump.report import Report
from evtools.transport import ConnectionSettings, Source
from evtools.transport.live import open_live
from evtools.transport.recording.reader import RecordingReader
from evtools.wire import Event, EventFields, Joiner
from evtools.wire.redact import redacted, redactor

Redact = Callable[[EventFields], None]


@dataclass(frozen=True, slots=True)
class Records:
    """A source, its events as records, and what to do after each batch.

    `batches(timeout)` is the source's, with what earlier events told about
    each event's task.
    """

    source: Source
    batches: Callable[[float], Iterator[list[Event]]]
    advance: Callable[[], None]


def open_records(
    options: DumpOptions, settings: ConnectionSettings, report: Report, stack: ExitStack
) -> Records:
    """Open what the options ask for: a recording, the demo, a broker.

    `stack` closes it again.
    """
    redact = redactor(options.redact)
    if options.read:
        return _recorded(options, redact, report, stack)
    return _live(options, settings, redact, report, stack)


def _live(
    options: DumpOptions,
    settings: ConnectionSettings,
    redact: Redact | None,
    report: Report,
    stack: ExitStack,
) -> Records:
    receiver = open_live(settings, report.notice, demo=options.demo, stack=stack)
    joiner = Joiner()

    def batches(timeout: float) -> Iterator[list[Event]]:
        for events in receiver.events(timeout):
            if redact is not None:
                events = [redacted(event, redact) for event in events]  # noqa: PLW2901
            joiner.join(events)
            yield events

    return Records(receiver, batches, _nothing)


def _nothing() -> None:
    """Do nothing: a live stream has no end to be on the way to."""


def _recorded(
    options: DumpOptions, redact: Redact | None, report: Report, stack: ExitStack
) -> Records:
    clock = SystemClock()
    tape = RecordingReader(
        *options.read, clock=clock, speed=options.speed, since=options.since, until=options.until
    )
    stack.callback(tape.close)
    joiner = Joiner()

    def batches(timeout: float) -> Iterator[list[Event]]:
        for events in tape.events(timeout):
            if redact is not None:
                events = [redacted(event, redact) for event in events]  # noqa: PLW2901
            # What evdump recorded knows its task already, and must look as it did;
            # other programs' events are joined here.
            joiner.join([event for event in events if event.known is UNSET])
            yield events

    # Lines on one terminal and a bar at its bottom would tear each other up.
    scrolls = options.print and sys.stdout.isatty()
    progress = stack.enter_context(
        Progress(
            sys.stderr,
            clock,
            shown=sys.stderr.isatty() and not scrolls,
            colour=options.colour_stderr,
        )
    )
    report.before_each_line(progress.hide)
    return Records(tape, batches, lambda: progress.show(*tape.progress()))
