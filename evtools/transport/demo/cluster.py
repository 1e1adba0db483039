"""The simulated cluster, played in real time in a thread of its own."""

import threading
from dataclasses import replace
from random import Random
from typing import Final

from kombu.connection import Connection

from evtools.clock import Clock, SystemClock
from evtools.transport.connection import connect
from evtools.transport.demo.cast import CAST, tempt_fate
from evtools.transport.demo.mailboxes import Mailboxes
from evtools.transport.demo.stage import Stage
from evtools.transport.demo.worker import DemoWorker
from evtools.transport.dispatcher import EventDispatcher
from evtools.transport.settings import ConnectionSettings

#: The broker of the simulated cluster: kombu's, in memory.
URL: Final = "memory://demo"
#: How often its queues are looked into, in seconds; kombu would once a second.
_POLLING: Final = 0.05
#: How long a command, or the end, may have to wait for us, in seconds.
_PATIENCE: Final = 0.1
#: What happens within so many seconds happens in one turn of a worker's loop, and
#: is told in one message.
_TURN: Final = 0.02


def demo_settings(settings: ConnectionSettings) -> ConnectionSettings:
    """Return how to reach the simulated cluster, with what else `settings` say."""
    options = {"polling_interval": _POLLING}
    return replace(settings, urls=URL, renewal=None, source_of_url="--demo", options=options)


class DemoCluster(threading.Thread):
    """Five workers and a client that send events until stopped.

    They obey remote control, too.  `settings` must be of an in-memory
    broker; `rate` is in tasks per second that the client sends.  The same
    `seed` gives the same tasks and the same fates, as long as nobody sends
    commands.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        *,
        rate: float = 5.0,
        seed: int = 1,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(name="evtools-demo", daemon=True)
        self._settings = settings
        self._rate = rate
        self._seed = seed
        self._clock = clock or SystemClock()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Say goodbye for all workers and end."""
        self._stopping.set()
        if self.ident is not None:
            self.join(timeout=2.0)

    def run(self) -> None:
        """Play the cluster's life in real time."""
        with connect(self._settings) as connection:
            rng = Random(self._seed)  # noqa: S311  (a demonstration)
            stage = Stage(rng, self._clock, self._dispatcher(connection), self._rate)
            workers = self._workers(connection, stage)
            mailboxes = Mailboxes(connection, self._settings, workers)
            stage.open(workers)
            began = self._clock.monotonic()
            while not self._stopping.is_set():
                moment = self._clock.monotonic() - began
                stage.agenda.play(moment)
                for worker in workers:
                    worker.sender.flush()
                pause = stage.agenda.pause(moment)
                mailboxes.serve(max(_TURN, min(_PATIENCE, pause)))
            for worker in workers:
                worker.goodbye()
                worker.sender.flush()

    def _workers(self, connection: Connection, stage: Stage) -> list[DemoWorker]:
        workers = []
        for character in CAST:
            # As Celery does: the main process sends what happens together as one
            # message, a process of the pool each event by itself.
            main = self._dispatcher(connection, character.hostname, group="task")
            child = self._dispatcher(connection, character.hostname)
            worker = DemoWorker(stage, character, main, child)
            tempt_fate(stage.agenda, worker)
            workers.append(worker)
        return workers

    def _dispatcher(
        self, connection: Connection, hostname: str | None = None, group: str = ""
    ) -> EventDispatcher:
        return EventDispatcher(
            connection,
            hostname,
            exchange=self._settings.event_exchange,
            buffer_group={group} - {""},
            buffer_limit=24,
        )
