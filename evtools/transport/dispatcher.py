"""Publishing events, as a worker or a client of Celery does."""

import os
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from kombu.connection import Connection
from kombu.exceptions import EncodeError
from kombu.messaging import Producer
from kombu.serialization import dumps

from evtools.transport.connection import get_exchange
from evtools.wire import EventFields, LamportClock, group_from, routing_key_from
from evtools.wire import make_event as Event  # noqa: N812 - Celery's name

#: Transports over which Celery sends no events (celery.events.dispatcher).
DISABLED_TRANSPORTS = frozenset({"sql"})
#: Events kept while the broker is away; older ones make room and are counted.
OFFLINE_MAX = 10_000

_SECONDS_PER_HOUR = 3600


class EventDispatcher:
    """Send events to a cluster's event exchange.

    `connection` is a kombu connection (or give a `channel` of one); `close` closes it only with
    `owns_connection`.  `hostname` is the sender's name, `gen<pid>@<host>` unless given.  With
    `groups` only events of these groups are sent.  Events of a group in `buffer_group` are kept
    until there are `buffer_limit` of them, or until `flush`, and go out as one `<group>.multi`
    message; `on_send_buffered` is called for each one kept.  With `buffer_while_offline` an event
    that cannot be sent waits for `flush`, and later ones wait behind it (`OFFLINE_MAX` of them;
    `dropped` counts those that had to go); without, the driver's exception is raised, and a batch
    goes on waiting.  An event that cannot be serialised always raises.  A Celery `app` gives the
    names of exchange and serialiser, the logical clock, and a connection where none is given.

    Over a transport that carries no events the dispatcher is disabled.  Any thread may send.
    """

    DISABLED_TRANSPORTS = DISABLED_TRANSPORTS
    #: Celery's factory of dispatchers sets it in a subclass.
    app: Any = None

    def __init__(
        self,
        connection: Connection | None = None,
        hostname: str | None = None,
        enabled: bool = True,  # noqa: FBT001, FBT002  (Celery's arguments)
        channel: Any = None,
        buffer_while_offline: bool = True,  # noqa: FBT001, FBT002
        app: Any = None,
        serializer: str | None = None,
        groups: Iterable[str] | None = None,
        delivery_mode: int = 1,
        buffer_group: Iterable[str] | None = None,
        buffer_limit: int = 24,
        on_send_buffered: Callable[[], None] | None = None,
        *,
        exchange: str | None = None,
        clock: Any = None,
        owns_connection: bool = False,
    ) -> None:
        self.app = app = self.app if app is None else app
        if connection is None and channel is None and app is not None:
            connection, owns_connection = app.connection_for_write(), True
        if connection is None and channel is None:
            raise TypeError(
                "EventDispatcher needs a connection or a channel, or an app that "
                "has one; Events(url).Dispatcher() makes a connection of its own"
            )
        self.connection = connection = connection or channel.connection.client
        if not hasattr(connection, "transport"):
            raise TypeError(
                "EventDispatcher needs a kombu.Connection, not a "
                f"{type(connection).__name__}; Events(url).Dispatcher() makes one"
            )
        self.channel = channel
        self._owns_connection = owns_connection
        self.hostname = hostname or f"gen{os.getpid()}@{socket.gethostname()}"
        self.pid = os.getpid()
        self.headers = {"hostname": self.hostname}
        self.serializer = serializer or _of(app, "event_serializer", "json")
        self.delivery_mode = delivery_mode
        self.groups = frozenset(groups or ())
        self.buffer_while_offline = buffer_while_offline
        self.buffer_group = frozenset(buffer_group or ())
        self.buffer_limit = buffer_limit
        self.on_send_buffered = on_send_buffered
        self.on_enabled: set[Callable[[], None]] = set()
        self.on_disabled: set[Callable[[], None]] = set()
        self.clock = clock or (LamportClock() if app is None else app.clock)
        self.exchange = get_exchange(
            self.connection, exchange or _of(app, "event_exchange", "celeryev")
        )
        #: Events that had to make room for newer ones while offline.
        self.dropped = 0
        self.mutex = threading.Lock()
        self._group_buffer: defaultdict[str, list[EventFields]] = defaultdict(list)
        self._outbound_buffer: deque[tuple[Any, str]] = deque()
        self._closed = False
        self.producer: Producer | None = None
        #: The producer that we made, if the caller has not put another in its place.
        self._own_producer: Producer | None = None
        driver_type = self.connection.transport.driver_type
        self.enabled = enabled and driver_type not in self.DISABLED_TRANSPORTS
        if self.enabled:
            self.enable()

    @property
    def publisher(self) -> Producer | None:
        """The producer, under the name that it had in old releases of Celery."""
        return self.producer

    @publisher.setter
    def publisher(self, producer: Producer | None) -> None:
        self.producer = producer

    def enable(self) -> None:
        """Begin to send; call the `on_enabled` callbacks."""
        with self.mutex:
            self._revive()
            self._closed = False
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
        blind: bool = False,  # noqa: FBT001, FBT002  (Celery's arguments)
        utcoffset: Callable[[], float] | None = None,
        retry: bool = False,  # noqa: FBT001, FBT002
        retry_policy: Mapping[str, Any] | None = None,
        Event: Callable[..., EventFields] = Event,  # noqa: N803
        **fields: Any,
    ) -> None:
        """Send an event of `type`, or keep it if its group is buffered.

        `blind` sends no logical clock; `retry` and `retry_policy` are kombu's; `utcoffset`
        returns how many hours we are west of UTC, and `Event` makes the event.  Do nothing
        while disabled or for a group not in `groups`.
        """
        group = group_from(type)
        if not self.enabled or (self.groups and group not in self.groups):
            return
        event = self._prepare_event(type, fields, blind, Event, utcoffset)
        if group in self.buffer_group:
            self._buffer(group, event)
            return
        with self.mutex:
            if self._closed or self.producer is None:
                return
            self._flush_outbound()
            key, producer = routing_key_from(type), self.producer
            if (
                self._outbound_buffer
                or self._publish(event, producer, key, retry, retry_policy) is False
            ):
                self._keep([(event, key)])

    def publish(
        self,
        type: str,  # noqa: A002  (Celery's name)
        fields: Mapping[str, Any],
        producer: Producer,
        blind: bool = False,  # noqa: FBT001, FBT002  (Celery's arguments)
        Event: Callable[..., EventFields] = Event,  # noqa: N803
        **kwargs: Any,
    ) -> None:
        """Send an event of `type` through a `producer` of the caller's.

        `retry`, `retry_policy` and `utcoffset` are those of `send`.
        """
        utcoffset = kwargs.pop("utcoffset", None)
        event = self._prepare_event(type, fields, blind, Event, utcoffset)
        key = routing_key_from(type)
        with self.mutex:
            if self._publish(event, producer, key, **kwargs) is False:
                self._keep([(event, key)])

    def flush(self, errors: bool = True, groups: bool = True) -> None:  # noqa: FBT001, FBT002
        """Send the events kept offline (`errors`) and the batches (`groups`).

        Those that cannot be sent now go on waiting, in their order.
        """
        with self.mutex:
            if self._closed:
                return
            if errors:
                self._flush_outbound()
            if groups:
                self._flush_batches()

    def extend_buffer(self, other: "EventDispatcher") -> None:
        """Take over a copy of the events that another dispatcher could not send."""
        waiting = list(other._outbound_buffer)  # noqa: SLF001  (a dispatcher's own kind)
        with self.mutex:
            self._keep(waiting)

    def close(self) -> None:
        """Stop using the connection; waiting events are kept for after `enable`."""
        with self.mutex:
            self._closed = True
            self.producer = None
            if self._owns_connection:
                self.connection.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.flush()
        finally:
            self.close()

    def _prepare_event(
        self,
        type: str,  # noqa: A002  (Celery's name)
        fields: Mapping[str, Any],
        blind: bool,  # noqa: FBT001  (as in send)
        Event: Callable[..., EventFields],  # noqa: N803
        utcoffset: Callable[[], float] | None,
    ) -> EventFields:
        with self.mutex:
            clock = None if blind else self.clock.forward()
        # Not under the mutex: `Event` may close the dispatcher.
        return Event(
            type,
            hostname=self.hostname,
            utcoffset=(utcoffset or _utcoffset)(),
            pid=self.pid,
            clock=clock,
            **fields,
        )

    def _buffer(self, group: str, event: EventFields) -> None:
        with self.mutex:
            batch = self._group_buffer[group]
            batch.append(event)
            surplus = len(batch) - OFFLINE_MAX
            if surplus > 0:
                del batch[:surplus]
                self.dropped += surplus
            full = len(batch) >= self.buffer_limit
        if full:
            self.flush()
        elif self.on_send_buffered is not None:
            self.on_send_buffered()

    # -- inside; the mutex is held ----------------------------------------------

    def _revive(self) -> None:
        """Make a new producer: one keeps the channel it began with for ever."""
        self.producer = self._own_producer = Producer(
            self.channel or self.connection,
            exchange=self.exchange,
            serializer=self.serializer,
            auto_declare=False,
        )

    def _publish(
        self,
        event: Any,
        producer: Any,
        routing_key: str,
        retry: bool = False,  # noqa: FBT001, FBT002
        retry_policy: Mapping[str, Any] | None = None,
    ) -> bool:
        """Send an event, or a list of events; return whether it was sent."""
        if producer is None:
            return False
        try:
            producer.publish(
                event,
                routing_key=routing_key,
                exchange=self.exchange.name,
                retry=retry,
                retry_policy=retry_policy,
                declare=[self.exchange],
                serializer=self.serializer,
                headers=self.headers,
                delivery_mode=self.delivery_mode,
            )
        except EncodeError:
            raise
        except Exception:
            # Of any kind, as kombu and its drivers have many for a broker that is away.
            if producer is self._own_producer:
                if not self.connection.connected:
                    # kombu would connect anew and leave the dead socket open.
                    self.connection.collect()
                self._revive()
            if not self.buffer_while_offline:
                raise
            return False
        return True

    def _keep(self, waiting: Iterable[tuple[Any, str]]) -> None:
        self._outbound_buffer.extend(waiting)
        while len(self._outbound_buffer) > OFFLINE_MAX:
            body, _ = self._outbound_buffer.popleft()
            self.dropped += len(body) if isinstance(body, list) else 1

    def _flush_outbound(self) -> None:
        while self._outbound_buffer:
            body, routing_key = self._outbound_buffer[0]
            if self._publish(body, self.producer, routing_key) is False:
                return
            self._outbound_buffer.popleft()

    def _flush_batches(self) -> None:
        for group, events in self._group_buffer.items():
            if not events:
                continue
            batch, key = list(events), f"{group}.multi"
            try:
                if self._outbound_buffer or self._publish(batch, self.producer, key) is False:
                    self._keep([(batch, key)])
            except EncodeError:
                # One that cannot be serialised does not hold up the others for ever.
                events[:] = [event for event in events if self._is_sound(event)]
                raise
            del events[: len(batch)]

    def _is_sound(self, event: EventFields) -> bool:
        try:
            dumps(event, self.serializer)
        except EncodeError:
            return False
        return True


def _of(app: Any, setting: str, default: str) -> str:
    value: str = default if app is None else app.conf[setting]
    return value


def _utcoffset() -> float:
    # How many hours we are west of UTC, as Celery sends it since 5.7.
    offset = time.altzone if time.localtime().tm_isdst else time.timezone
    return offset / _SECONDS_PER_HOUR
