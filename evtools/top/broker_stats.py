"""The thread that asks the broker, now and then, how long the queues are."""

import threading
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from evtools.errors import EvtoolsError
from evtools.transport.queues import Depth, Gauge

#: Time between two looks, in seconds.
EVERY: Final = 5.0
#: At most so many queues are asked about.
_QUEUES_MAX: Final = 1000

_NONE: Final[Mapping[str, Depth]] = MappingProxyType({})


class BrokerStats:
    """Keep the depths of some queues at hand, from a thread of its own.

    `watch` says which queues.  `depths` is what the last look found, and
    `error` why it found nothing, "" if it did.  `wake` is called, in that
    thread, after each look.
    """

    def __init__(self, gauge: Gauge, wake: Callable[[], None], *, every: float = EVERY) -> None:
        self.depths: Mapping[str, Depth] = _NONE
        self.error = ""
        self._gauge = gauge
        self._wake = wake
        self._every = every
        self._queues: tuple[str, ...] = ()
        self._changed = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="evtools-depths", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def watch(self, queues: Iterable[str]) -> None:
        """Say which queues to ask about from now on; new ones are asked about soon."""
        wanted = tuple(dict.fromkeys(queues))[:_QUEUES_MAX]
        if set(wanted) - set(self._queues):
            self._changed.set()
        self._queues = wanted

    def close(self, timeout: float = 2.0) -> None:
        """End; wait `timeout` seconds for it at the most."""
        self._stopped = True
        self._changed.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def look(self) -> None:
        """Ask once about the queues, in the thread of the caller."""
        try:
            self.depths = MappingProxyType(self._gauge.look(self._queues))
        except EvtoolsError as error:
            self.depths, self.error = _NONE, error.message
        else:
            self.error = ""

    def _work(self) -> None:
        while not self._stopped:
            self._changed.clear()
            if self._queues:
                self.look()
                self._wake()
            self._changed.wait(self._every)
        self._gauge.close()
