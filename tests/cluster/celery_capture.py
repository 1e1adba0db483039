"""What Celery's own receiver makes of the same events, as the yardstick for ours."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

from celery.events.receiver import EventReceiver

from cluster.app import make_app
from cluster.worker import close
from servers.process import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from celery import Celery

Event = dict[str, Any]


class CeleryCapture:
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
        self.app: Celery = make_app(broker_url, event_exchange, ca=ca)
        self.events: list[Event] = []
        self.wire: list[Event] = []
        self.sizes: list[int] = []
        self._wakeup = wakeup
        self._bound = threading.Event()
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._receiver: EventReceiver | None = None
        self._thread = threading.Thread(target=self._run, name="celery-capture")

    def start(self) -> None:
        """Start, and return when the queue is bound to the exchange."""
        self._thread.start()
        bound = self._bound.wait(15)
        assert bound, f"Celery's receiver is not bound: {self._error!r}"

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
                drains = self._receiver.consume(
                    safety_interval=0.05, wakeup=self._wakeup
                )
                for _ in drains:
                    pass
        except BaseException as error:  # noqa: BLE001  told to whoever waits
            self._error = error

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

    def select(self, **fields: Any) -> list[Event]:
        """Return the events that have all these values."""
        return [
            event
            for event in list(self.events)
            if all(event.get(name) == value for name, value in fields.items())
        ]

    def types_of(self, uuid: str) -> list[str]:
        """Return the types of a task's events in the order of their arrival.

        Without task-sent: a client sends it after the task, which may be faster.
        """
        types = [event["type"] for event in self.select(uuid=uuid)]
        return [type_ for type_ in types if type_ != "task-sent"]

    def wait_for(
        self,
        predicate: Callable[[Event], bool] = lambda _: True,
        *,
        count: int = 1,
        deadline: float = 15,
        **fields: Any,
    ) -> list[Event]:
        """Wait for as many events with these values that satisfy the predicate."""

        def look() -> list[Event]:
            assert self._error is None, f"Celery's receiver died: {self._error!r}"
            found = [event for event in self.select(**fields) if predicate(event)]
            return found if len(found) >= count else []

        return wait_until(
            look,
            deadline=deadline,
            what=lambda: f"{count} events with {fields}; seen: {self._summary()}",
        )

    def wait_for_each(
        self, uuids: Iterable[str], types: Iterable[str], *, deadline: float = 30
    ) -> None:
        """Wait until each of the tasks has an event of one of the types."""
        wanted, ending = set(uuids), set(types)

        def missing() -> set[str]:
            ended = {e.get("uuid") for e in list(self.events) if e["type"] in ending}
            return wanted - ended

        wait_until(
            lambda: not missing(),
            deadline=deadline,
            what=lambda: str({uuid: self.types_of(uuid) for uuid in missing()}),
        )

    def _summary(self) -> list[str]:
        return [f"{e['type']} {e.get('uuid', '')}" for e in self.events[-40:]]


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
