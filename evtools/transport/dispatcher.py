"""Publishing events, as a worker or a client of Celery does."""

import os
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, Self

from kombu.connection import Connection
from kombu.exceptions import EncodeError
from kombu.messaging import Producer
from kombu.serialization import dumps

from evtools.transport.connection import get_exchange
from evtools.wire import EventFields, LamportClock, group_from, routing_key_from
from evtools.wire import make_event as Event  # noqa: N812 - Celery's name

#: Events kept while the broker is away; older ones make room and are counted.
OFFLINE_MAX = 10_000

_CELERYS_DEFAULTS = {"event_serializer": "json", "event_exchange": "celeryev"}
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

    #: As in celery.events.dispatcher.
    DISABLED_TRANSPORTS = frozenset({"sql"})
    #: Celery's factory of dispatchers sets it in a subclass.
    app: Any = None

    def __init__(
        self,
        connection: Connection | None = None,
        hostname: str | None = None,
        enabled: bool = True,
        channel: Any = None,
        buffer_while_offline: bool = True,
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
        conf = _CELERYS_DEFAULTS if app is None else app.conf
        self.channel = channel
        self.pid = os.getpid()
        self.hostname = hostname or f"gen{self.pid}@{socket.gethostname()}"
        self.headers = {"hostname": self.hostname}
        self.serializer = serializer or conf["event_serializer"]
        self.delivery_mode = delivery_mode
        self.groups = frozenset(groups or ())
        self.buffer_while_offline = buffer_while_offline
        self.buffer_group = frozenset(buffer_group or ())
        self.buffer_limit = buffer_limit
        self.on_send_buffered = on_send_buffered
        self.on_enabled: set[Callable[[], None]] = set()
        self.on_disabled: set[Callable[[], None]] = set()
        self.clock = clock or (LamportClock() if app is None else app.clock)
        self.exchange = get_exchange(connection, exchange or conf["event_exchange"])
        #: Events that had to make room for newer ones while offline.
        self.dropped = 0
        self.mutex = threading.Lock()
        self._owns_connection = owns_connection
        self._group_buffer: defaultdict[str, list[EventFields]] = defaultdict(list)
        self._outbound_buffer: deque[tuple[Any, str]] = deque()
        self._closed = False
        #: None while closed; the caller may put another in its place than we made.
        self.producer: Producer | None = None
        self._own_producer: Producer | None = None
        self.enabled = enabled and connection.transport.driver_type not in self.DISABLED_TRANSPORTS
        if self.enabled:
            self.enable()

    #: The producer, under the name that it had in old releases of Celery.
    publisher = property(
        attrgetter("producer"), lambda self, producer: setattr(self, "producer", producer)
    )

    def enable(self) -> None:
        """Begin to send; call the `on_enabled` callbacks."""
        with self.mutex:
            self._revive()
            self._closed, self.enabled = False, True
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
        type: str,
        blind: bool = False,
        utcoffset: Callable[[], float] | None = None,
        retry: bool = False,
        retry_policy: Mapping[str, Any] | None = None,
        Event: Callable[..., EventFields] = Event,
        **fields: Any,
    ) -> None:
        """Send an event of `type`, or keep it if its group is buffered.

        `blind` sends no logical clock; `retry` and `retry_policy` are kombu's; `utcoffset`
        returns how many hours we are west of UTC, and `Event` makes the event.  Do nothing
        while disabled or for a group not in `groups`.
        """
        group, key = group_from(type), routing_key_from(type)
        if not self.enabled or (self.groups and group not in self.groups):
            return
        event = self._prepare_event(type, fields, blind, utcoffset, Event)
        if group not in self.buffer_group:
            with self.mutex:
                if self.producer is not None and not self._closed:
                    self._flush_outbound()
                    self._send_or_keep(event, key, retry=retry, retry_policy=retry_policy)
            return
        with self.mutex:
            batch = self._group_buffer[group]
            batch.append(event)
            surplus = max(0, len(batch) - OFFLINE_MAX)
            del batch[:surplus]
            self.dropped += surplus
            full = len(batch) >= self.buffer_limit
        if full:
            self.flush()
        elif self.on_send_buffered is not None:
            self.on_send_buffered()

    def publish(
        self,
        type: str,
        fields: Mapping[str, Any],
        producer: Producer,
        blind: bool = False,
        Event: Callable[..., EventFields] = Event,
        **kwargs: Any,
    ) -> None:
        """Send an event of `type` through a caller's `producer`; `kwargs` are those of `send`."""
        event = self._prepare_event(type, fields, blind, kwargs.pop("utcoffset", None), Event)
        key = routing_key_from(type)
        with self.mutex:
            if self._publish(event, producer, key, **kwargs) is False:
                self._keep([(event, key)])

    def flush(self, errors: bool = True, groups: bool = True) -> None:
        """Send the events kept offline (`errors`) and the batches (`groups`), or go on waiting."""
        with self.mutex:
            if self._closed:
                return
            if errors:
                self._flush_outbound()
            for group, events in self._group_buffer.items() if groups else ():
                batch = list(events)
                try:
                    if batch:
                        self._send_or_keep(batch, f"{group}.multi")
                except EncodeError:
                    # One that cannot be serialised does not hold up the others for ever.
                    events[:] = [event for event in events if self._is_sound(event)]
                    raise
                del events[: len(batch)]

    def extend_buffer(self, other: "EventDispatcher") -> None:
        """Take over a copy of the events that another dispatcher could not send."""
        waiting = list(other._outbound_buffer)  # noqa: SLF001  (a dispatcher's own kind)
        with self.mutex:
            self._keep(waiting)

    def close(self) -> None:
        """Stop using the connection; waiting events are kept for after `enable`."""
        with self.mutex:
            self._closed, self.producer = True, None
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
        type: str,
        fields: Mapping[str, Any],
        blind: bool,
        utcoffset: Callable[[], float] | None,
        Event: Callable[..., EventFields],
    ) -> EventFields:
        with self.mutex:
            clock = None if blind else self.clock.forward()
        hours = (utcoffset or _utcoffset)()
        # Not under the mutex: `Event` may close the dispatcher.
        own = {"hostname": self.hostname, "utcoffset": hours, "pid": self.pid, "clock": clock}
        return Event(type, **own, **fields)

    # -- inside; the mutex is held ----------------------------------------------

    def _revive(self) -> None:
        # A new one, as one keeps the channel it began with for ever.
        how: Any = {"exchange": self.exchange, "serializer": self.serializer, "auto_declare": False}
        self.producer = self._own_producer = Producer(self.channel or self.connection, **how)

    def _publish(self, body: Any, producer: Any, routing_key: str, **retry: Any) -> bool:
        # Of an event, or a list of events.  Name, arguments and False for what was not sent are
        # known to others, as in Celery.
        if producer is None:
            return False
        try:
            producer.publish(
                body,
                routing_key=routing_key,
                exchange=self.exchange.name,
                declare=[self.exchange],
                serializer=self.serializer,
                headers=self.headers,
                delivery_mode=self.delivery_mode,
                **{"retry": False, "retry_policy": None} | retry,
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

    def _send_or_keep(self, body: Any, routing_key: str, **retry: Any) -> None:
        # Behind what waits.
        waiting = self._outbound_buffer
        if waiting or self._publish(body, self.producer, routing_key, **retry) is False:
            self._keep([(body, routing_key)])

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

    def _is_sound(self, event: EventFields) -> bool:
        try:
            dumps(event, self.serializer)
        except EncodeError:
            return False
        return True


def _utcoffset() -> float:
    # How many hours we are west of UTC, as Celery sends it since 5.7.
    offset = time.altzone if time.localtime().tm_isdst else time.timezone
    return offset / _SECONDS_PER_HOUR
