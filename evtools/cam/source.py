"""Where evcam's events come from: a broker, a recording, the simulated cluster."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from evtools.cam.options import CamOptions
from evtools.clock import Clock
from evtools.transport import ConnectionSettings, EventReceiver, Notice, connect
from evtools.transport.demo import DemoCluster, demo_settings
from evtools.transport.tape import Tape

OnNotice = Callable[[Notice], None]


def open_source(
    options: CamOptions,
    settings: ConnectionSettings,
    on_notice: OnNotice,
    *,
    clock: Clock,
    stack: ExitStack,
) -> EventReceiver | Tape:
    """Open what the options ask for; `stack` closes it again.

    `on_notice` is called in the thread that takes the batches.  Raise
    UsageError for a recording that cannot be read, and for a broker that
    cannot work.
    """
    if options.read:
        tape = Tape(options.read, clock=clock, speed=options.speed)
        stack.callback(tape.close)
        return tape
    if options.demo:
        settings = demo_settings(settings)
        on_notice = _with_demo(settings, on_notice, stack)
    # Not to connect, but to import what that takes: months later, the files of
    # a single-file binary may be gone.
    connect(settings)
    receiver = EventReceiver(settings, on_notice=on_notice)
    stack.callback(receiver.close)
    return receiver


def _with_demo(
    settings: ConnectionSettings, on_notice: OnNotice, stack: ExitStack
) -> OnNotice:
    # Whatever we may do to a cluster, the simulated workers must send.
    demo = DemoCluster(replace(settings, read_only=False))
    stack.callback(demo.stop)

    def start_when_listening(notice: Notice) -> None:
        on_notice(notice)
        if notice.kind == "listening":
            demo.start()

    return start_when_listening
