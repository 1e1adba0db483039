"""Where evtop's events come from: a broker, a recording or the simulated cluster."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from evtools.clock import Clock
from evtools.top.options import TopOptions
from evtools.transport import ConnectionSettings, EventReceiver, Notice
from evtools.transport.demo import DemoCluster, demo_settings
from evtools.transport.tape import Tape

OnNotice = Callable[[Notice], None]


def open_source(
    options: TopOptions,
    settings: ConnectionSettings,
    on_notice: OnNotice,
    *,
    clock: Clock,
    stack: ExitStack,
) -> EventReceiver | Tape:
    """Open what the options ask for; `stack` closes it again.

    `on_notice` is called in the thread that takes the batches.  A tape stays
    open at its end, to be wound back, unless in batch mode.  Nothing is
    redacted yet.  Raise UsageError for a recording that cannot be read.
    """
    if options.read:
        tape = Tape(
            options.read,
            clock=clock,
            speed=options.speed,
            since=options.since,
            until=options.until,
        )
        tape.on_notice, tape.stays = on_notice, not options.batch
        stack.callback(tape.close)
        return tape
    settings = watched(options, settings)
    if options.demo:
        on_notice = _with_demo(settings, on_notice, stack)
    receiver = EventReceiver(settings, on_notice=on_notice)
    stack.callback(receiver.close)
    return receiver


def watched(options: TopOptions, settings: ConnectionSettings) -> ConnectionSettings:
    """Return how to reach the cluster that is watched: with --demo, the simulated."""
    if options.demo:
        return demo_settings(settings)
    return settings


def _with_demo(
    settings: ConnectionSettings, on_notice: OnNotice, stack: ExitStack
) -> OnNotice:
    # Whatever we may do to the cluster, the simulated workers must send.
    demo = DemoCluster(replace(settings, read_only=False))
    stack.callback(demo.stop)

    def start_when_listening(notice: Notice) -> None:
        on_notice(notice)
        if notice.kind == "listening":
            demo.start()

    return start_when_listening
