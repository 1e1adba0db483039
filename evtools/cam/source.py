"""Where evcam's events come from: a broker, a recording, the simulated cluster."""

from collections.abc import Callable
from contextlib import ExitStack

from evtools.cam.options import CamOptions
from evtools.clock import Clock
from evtools.transport import ConnectionSettings, EventReceiver, Notice, connect
from evtools.transport.live import open_live
from evtools.transport.recording.reader import RecordingReader


def open_source(
    options: CamOptions,
    settings: ConnectionSettings,
    on_notice: Callable[[Notice], None],
    *,
    clock: Clock,
    stack: ExitStack,
) -> EventReceiver | RecordingReader:
    """Open what the options ask for; `stack` closes it again.

    `on_notice` is called in the thread that takes the batches.  Raise
    UsageError for a recording that cannot be read, and for a broker that
    cannot work.
    """
    if options.read:
        tape = RecordingReader(
            *options.read,
            clock=clock,
            speed=options.speed,
            since=options.since,
            until=options.until,
        )
        tape.on_notice = on_notice
        stack.callback(tape.close)
        return tape
    if not options.demo:
        # Not to connect, but to import what that takes: months later, the files of
        # a single-file binary may be gone.
        connect(settings)
    return open_live(settings, on_notice, demo=options.demo, stack=stack)
