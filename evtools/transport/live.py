"""The live source: a broker or the simulated cluster, and what to say when nothing comes."""

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from evtools.clock import Clock
from evtools.transport.buffer import Notice
from evtools.transport.demo import DemoCluster, demo_settings
from evtools.transport.receiver import EventReceiver
from evtools.transport.settings import ConnectionSettings
from evtools.transport.source import Source

DOCTOR: Final = "evtools doctor, given the same broker, finds out more"
#: Workers send heartbeats every two seconds: after this time something is wrong.
_SILENCE_SECONDS: Final = 10.0

OnNotice = Callable[[Notice], None]


class SilenceHint:
    """Look once, ten seconds after the start, whether a source has received anything."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._due = clock.monotonic() + _SILENCE_SECONDS

    def words(self) -> str:
        """Return the hint, once, if nothing has come; at all other times ""."""
        if self._clock.monotonic() < self._due:
            return ""
        self._due = math.inf
        if self._source.statistics().messages:
            return ""
        return f"nothing has come for {_SILENCE_SECONDS:g}s; {DOCTOR}"


def open_live(
    settings: ConnectionSettings, on_notice: OnNotice, *, demo: bool, stack: ExitStack
) -> EventReceiver:
    """Listen to a broker, or with `demo` to a cluster that is simulated.

    `on_notice` is called in the thread that takes the batches; `stack` closes all again.
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
