"""Publishing events, as a worker or a client of Celery does."""

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from kombu.connection import Connection
from kombu.messaging import Producer

from evtools.transport.subscription import get_exchange
from evtools.wire import Event, EventFields, LamportClock, group_from, routing_key_from

#: Transports over which Celery sends no events (celery.events.dispatcher).
DISABLED_TRANSPORTS = frozenset({"sql"})
#: Events kept while the broker is away; older ones make room and are counted.
OFFLINE_MAX = 10_000

_SECONDS_PER_HOUR = 3600


class EventDispatcher:
    """Send events to a cluster's event exchange.

    `connection` is a kombu connection (or give a `channel` of one); it is
    closed by `close` only with `owns_connection`.  `hostname` is who we say
    we are, `gen<pid>@<host>` unless given.  With `groups` only events of
    these groups are sent.  Events of a group in `buffer_group` are kept until
    there are `buffer_limit` of them, or until `flush`, and go out as one
    `<group>.multi` message; `on_send_buffered` is called for each one kept.  With
    `buffer_while_offline` an event that cannot be sent waits for `flush`, and
    later ones wait behind it (`OFFLINE_MAX` of them; `dropped` counts those
    that had to go); without, `send` raises what the driver raised.

    Over a transport that carries no events the dispatcher is disabled.  Any
    thread may send.
    """

    DISABLED_TRANSPORTS = DISABLED_TRANSPORTS

    def __init__(
        self,
        connection: Connection | None = None,
        hostname: str | None = None,
        *,
        enabled: bool = True,
        channel: Any = None,
        buffer_while_offline: bool = True,
        serializer: str = "json",
        groups: Iterable[str] | None = None,
        delivery_mode: int = 1,
        buffer_group: Iterable[str] | None = None,
        buffer_limit: int = 24,
        on_send_buffered: Callable[[], None] | None = None,
        exchange: str = "celeryev",
        clock: LamportClock | None = None,
        owns_connection: bool = False,
    ) -> None:
        if connection is None and channel is None:
            raise TypeError("EventDispatcher needs a connection or a channel")
        self.connection = connection or channel.connection.client
        self.channel = channel
        self._owns_connection = owns_connection
        self.hostname = hostname or f"gen{os.getpid()}@{socket.gethostname()}"
        self.pid = os.getpid()
        self.headers = {"hostname": self.hostname}
        self.serializer = serializer
        self.delivery_mode = delivery_mode
        self.groups = frozenset(groups or ())
        self.buffer_while_offline = buffer_while_offline
        self.buffer_group = frozenset(buffer_group or ())
        self.buffer_limit = buffer_limit
        self.on_send_buffered = on_send_buffered
        self.on_enabled: set[Callable[[], None]] = set()
        self.on_disabled: set[Callable[[], None]] = set()
        self.clock = clock or LamportClock()
        self.exchange = get_exchange(self.connection, exchange)
        #: Events that had to make room for newer ones while offline.
        self.dropped = 0
        self.mutex = threading.Lock()
        self._batches: dict[str, list[EventFields]] = {}
        self._outbound: deque[tuple[Any, str]] = deque()
        self.producer: Producer | None = None
        driver_type = self.connection.transport.driver_type
        self.enabled = enabled and driver_type not in self.DISABLED_TRANSPORTS
        if self.enabled:
            self.enable()

    def enable(self) -> None:
        """Begin to send; call the `on_enabled` callbacks."""
        with self.mutex:
            self._revive()
            self.enabled = True
        for callback in self.on_enabled:
            callback()

    def disable(self) -> None:
        """Stop sending; call the `on_disabled` callbacks.  Idempotent."""
        if not self.enabled:
            return
        self.enabled = False
        self.close()
        for callback in self.on_disabled:
            callback()

    def send(
        self,
        type: str,  # noqa: A002  (Celery's name)
        *,
        blind: bool = False,
        retry: bool = False,
        retry_policy: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """Send an event of `type`, or keep it if its group is buffered.

        `blind` sends no logical clock; `retry` and `retry_policy` are
        kombu's.  Do nothing while disabled or for a group not in `groups`.
        """
        group = group_from(type)
        if not self.enabled or (self.groups and group not in self.groups):
            return
        if group in self.buffer_group:
            self._buffer(group, type, fields, blind=blind)
            return
        with self.mutex:
            if self.producer is not None:
                self._send(
                    self._prepare(type, fields, blind=blind),
                    routing_key_from(type),
                    retry=retry,
                    retry_policy=retry_policy,
                )

    def publish(
        self,
        type: str,  # noqa: A002  (Celery's name)
        fields: Mapping[str, Any],
        producer: Producer,
        *,
        blind: bool = False,
        **kwargs: Any,
    ) -> None:
        """Send an event of `type` through a `producer` of the caller's."""
        with self.mutex:
            event, key = (
                self._prepare(type, fields, blind=blind),
                routing_key_from(type),
            )
            try:
                self._put(event, producer, key, **kwargs)
            except self._errors():
                self._keep_or_raise(event, key)

    def flush(self, *, errors: bool = True, groups: bool = True) -> None:
        """Send what waits: the events kept offline (`errors`), the batches (`groups`).

        What cannot be sent now goes on waiting, in its order.
        """
        with self.mutex:
            if self.producer is None:
                return
            if errors:
                self._flush_outbound()
            if groups:
                self._flush_batches()

    def extend_buffer(self, other: "EventDispatcher") -> None:
        """Take over a copy of what another dispatcher could not send."""
        waiting = list(other._outbound)  # noqa: SLF001  (a dispatcher's own kind)
        with self.mutex:
            self._keep(waiting)

    def close(self) -> None:
        """Stop using the connection; what waits is kept for after `enable`."""
        with self.mutex:
            self.producer = None
            if self._owns_connection:
                self.connection.release()

    def __enter__(self) -> Self:
        """Return the dispatcher itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Send what waits and close."""
        try:
            self.flush()
        finally:
            self.close()

    # -- inside; the mutex is held ----------------------------------------------

    def _revive(self) -> None:
        """Make a producer anew: one keeps the channel it began with for ever."""
        self.producer = Producer(
            self.channel or self.connection,
            exchange=self.exchange,
            serializer=self.serializer,
            auto_declare=False,
        )

    def _recover(self) -> None:
        """Make ready for the broker's return."""
        if not self.connection.connected:
            # kombu would connect anew and leave the dead socket open.
            self.connection.collect()
        self._revive()

    def _prepare(
        self,
        type: str,  # noqa: A002  (as in send)
        fields: Mapping[str, Any],
        *,
        blind: bool,
    ) -> EventFields:
        return Event(
            type,
            hostname=self.hostname,
            utcoffset=_utcoffset(),
            pid=self.pid,
            clock=None if blind else self.clock.forward(),
            **fields,
        )

    def _buffer(
        self,
        group: str,
        type: str,  # noqa: A002  (as in send)
        fields: Mapping[str, Any],
        *,
        blind: bool,
    ) -> None:
        with self.mutex:
            batch = self._batches.setdefault(group, [])
            batch.append(self._prepare(type, fields, blind=blind))
            full = len(batch) >= self.buffer_limit
        if full:
            self.flush()
        elif self.on_send_buffered is not None:
            self.on_send_buffered()

    def _send(self, body: Any, routing_key: str, **kwargs: Any) -> None:
        """Send `body`, after all that waits."""
        self._flush_outbound()
        if self._outbound:
            self._keep([(body, routing_key)])
            return
        try:
            self._put(body, self.producer, routing_key, **kwargs)
        except self._errors():
            self._recover()
            self._keep_or_raise(body, routing_key)

    def _keep_or_raise(self, body: Any, routing_key: str) -> None:
        """Keep what could not be sent, or raise the error that is handled."""
        if not self.buffer_while_offline:
            raise  # noqa: PLE0704  (called in an except clause)
        self._keep([(body, routing_key)])

    def _put(self, body: Any, producer: Any, routing_key: str, **kwargs: Any) -> None:
        producer.publish(
            body,
            routing_key=routing_key,
            exchange=self.exchange.name,
            declare=[self.exchange],
            serializer=self.serializer,
            headers=self.headers,
            delivery_mode=self.delivery_mode,
            **kwargs,
        )

    def _errors(self) -> tuple[type[Exception], ...]:
        connection = self.connection
        return (*connection.connection_errors, *connection.channel_errors, OSError)

    def _keep(self, waiting: Iterable[tuple[Any, str]]) -> None:
        self._outbound.extend(waiting)
        while len(self._outbound) > OFFLINE_MAX:
            body, _ = self._outbound.popleft()
            self.dropped += len(body) if isinstance(body, list) else 1

    def _flush_outbound(self) -> None:
        while self._outbound:
            body, routing_key = self._outbound[0]
            try:
                self._put(body, self.producer, routing_key)
            except self._errors():
                self._recover()
                return
            self._outbound.popleft()

    def _flush_batches(self) -> None:
        for group, events in self._batches.items():
            if events:
                batch, self._batches[group] = events, []
                self._send(batch, f"{group}.multi")


def _utcoffset() -> float:
    """Return how many hours we are west of UTC, as Celery sends it since 5.7."""
    offset = time.altzone if time.localtime().tm_isdst else time.timezone
    return offset / _SECONDS_PER_HOUR
