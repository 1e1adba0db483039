"""What evtools' own receiver makes of the events, batch by batch."""

from __future__ import annotations

import threading
from typing import Self

from cluster.sightings import Event, Sightings
from evtools import EventReceiver
from evtools.transport import ConnectionSettings


class Witness(Sightings):
    """Our receiver in a thread; it listens within its context.

    `batches` has the events of `events` as they came together.
    """

    def __init__(self, broker_url: str, event_exchange: str) -> None:
        super().__init__()
        self.batches: list[list[Event]] = []
        self._listens = threading.Event()
        self._receiver = EventReceiver(
            ConnectionSettings(urls=broker_url, event_exchange=event_exchange),
            on_notice=lambda _: self._listens.set(),
        )
        self._thread = threading.Thread(target=self._run, name="witness")

    def _run(self) -> None:
        try:
            for batch in self._receiver.batches(timeout=1.0):
                self.batches.append(batch)
                self.events.extend(batch)
        except BaseException as error:  # noqa: BLE001  told to whoever waits
            self.error = error

    def __enter__(self) -> Self:
        self._thread.start()
        listens = self._listens.wait(15)
        assert listens, f"the receiver does not listen: {self.error!r}"
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._receiver.close()
        self._thread.join(15)
        assert not self._thread.is_alive(), "the witness did not end"
