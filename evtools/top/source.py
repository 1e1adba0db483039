"""Where evtop's events come from: a broker, a recording or the simulated cluster."""

from collections.abc import Callable
from contextlib import ExitStack

from evtools.clock import Clock
from evtools.top.options import TopOptions
from evtools.transport import ConnectionSettings, EventReceiver, Notice
from evtools.transport.demo import demo_settings
from evtools.transport.live import open_live
from evtools.transport.recording.reader import RecordingReader


def open_source(
    options: TopOptions,
    settings: ConnectionSettings,
    on_notice: Callable[[Notice], None],
    *,
    clock: Clock,
    stack: ExitStack,
) -> EventReceiver | RecordingReader:
    """Open what the options ask for; `stack` closes it again.

    `on_notice` is called in the thread that takes the batches.  A tape stays
    open at its end, to be rewound, unless in batch mode.  Nothing is
    redacted yet.  Raise UsageError for a recording that cannot be read.
    """
    if options.read:
        tape = RecordingReader(
            *options.read,
            clock=clock,
            speed=options.speed,
            since=options.since,
            until=options.until,
        )
        tape.on_notice, tape.stays = on_notice, not options.batch
        stack.callback(tape.close)
        return tape
    return open_live(settings, on_notice, demo=options.demo, stack=stack)


def watched(options: TopOptions, settings: ConnectionSettings) -> ConnectionSettings:
    """Return how to reach the cluster that is watched: with --demo, the simulated."""
    if options.demo:
        return demo_settings(settings)
    return settings
