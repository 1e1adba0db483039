"""What Celery's own receiver makes of the same events, as the yardstick for ours."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

from celery.events.receiver import EventReceiver

from cluster.app import make_app
from cluster.sightings import Sightings
from cluster.worker import close

if TYPE_CHECKING:
    from pathlib import Path

    from celery import Celery

Event = dict[str, Any]


class CeleryCapture(Sightings):
    """Celery's receiver in a thread, writing down everything it is given.

    `events` are the events as Celery decodes them, but with the sender's own timestamp
    and clock (Celery shifts the one and replaces the other) and `local_received`.
    `wire` are the same events as plain JSON, before Celery revives dates and decimals.
    `sizes` has the number of events of every message.
    """

    def __init__(
        self,
        broker_url: str,
        event_exchange: str = "celeryev",
        *,
        wakeup: bool = False,
        ca: Path | None = None,
    ) -> None:
        super().__init__()
        self.app: Celery = make_app(broker_url, event_exchange, ca=ca)
        self.wire: list[Event] = []
        self.sizes: list[int] = []
        self._wakeup = wakeup
        self._bound = threading.Event()
        self._ended = threading.Event()
        self._receiver: EventReceiver | None = None
        self._thread = threading.Thread(target=self._run, name="celery-capture")

    def start(self) -> None:
        """Start, and return when the queue is bound to the exchange."""
        self._thread.start()
        bound = self._bound.wait(15)
        assert bound, f"Celery's receiver is not bound: {self.error!r}"

    def stop(self) -> None:
        """End the thread and close its connections."""
        self._ended.set()
        if self._receiver is not None:
            self._receiver.should_stop = True
        if self._thread.ident is not None:
            self._thread.join(15)
        close(self.app)
        assert not self._thread.is_alive(), "Celery's receiver did not end"

    def _run(self) -> None:
        try:
            with self.app.connection_for_read() as connection:
                self._receiver = _Verbatim(connection, self)
                # kombu subscribes on Redis in the first drain, not before it.
                drains = self._receiver.consume(safety_interval=0.05, wakeup=self._wakeup)
                for _ in drains:
                    pass
        except BaseException as error:  # noqa: BLE001  told to whoever waits
            self.error = error

    def add(self, decoded: list[Event], plain: list[Event]) -> None:
        """Keep the events of one message."""
        now = time.time()
        self.sizes.append(len(decoded))
        self.wire.extend(plain)
        self.events.extend({**event, "local_received": now} for event in decoded)

    def iterated(self, *, first: bool) -> None:
        """Note that the receiver is about to drain, for the first time or again."""
        if not first:
            self._bound.set()


class _Verbatim(EventReceiver):
    """Celery's receiver without the changes it makes to an event."""

    def __init__(self, connection: Any, capture: CeleryCapture) -> None:
        super().__init__(connection, app=capture.app)
        self._capture = capture
        self._first = True

    def on_iteration(self) -> None:
        self._capture.iterated(first=self._first)
        self._first = False

    def _receive(self, body: Any, message: Any) -> None:
        plain = json.loads(message.body)
        self._capture.add(_as_list(body), _as_list(plain))


def _as_list(body: Any) -> list[Event]:
    return body if isinstance(body, list) else [body]
