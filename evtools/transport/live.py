"""The live source: what a broker has to tell, or the simulated cluster."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from evtools.transport.buffer import Notice
from evtools.transport.demo import DemoCluster, demo_settings
from evtools.transport.receiver import EventReceiver
from evtools.transport.settings import ConnectionSettings

OnNotice = Callable[[Notice], None]


def open_live(
    settings: ConnectionSettings, on_notice: OnNotice, *, demo: bool, stack: ExitStack
) -> EventReceiver:
    """Listen to a broker, or with `demo` to a cluster that is simulated.

    `on_notice` is called in the thread that takes the batches; `stack` closes
    all again.
    """
    if demo:
        settings = demo_settings(settings)
        on_notice = _with_demo(settings, on_notice, stack)
    receiver = EventReceiver(settings, on_notice=on_notice)
    stack.callback(receiver.close)
    return receiver


def _with_demo(settings: ConnectionSettings, on_notice: OnNotice, stack: ExitStack) -> OnNotice:
    # Whatever we may do to a cluster, the simulated workers must send.
    cluster = DemoCluster(replace(settings, read_only=False))
    stack.callback(cluster.stop)

    def start_when_listening(notice: Notice) -> None:
        on_notice(notice)
        if notice.kind == "listening":
            cluster.start()

    return start_when_listening
