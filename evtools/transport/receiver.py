"""The receiver, which gives out events as batches or to handlers, and its subscription."""

import logging
import math
import os
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final, Self

from amqp.exceptions import AccessRefused as Forbidden
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from msgspec import UNSET
from redis.exceptions import NoPermissionError

from evtools.clock import Clock, SystemClock
from evtools.errors import EvtoolsError
from evtools.transport.connection import connect, get_exchange, topics
from evtools.transport.control import broadcast
from evtools.transport.demo import DemoCluster, demo_settings
from evtools.transport.reader import Buffer, Chunk, Delivery, End, Item, Reader
from evtools.transport.settings import ConnectionSettings
from evtools.transport.source import Notice, Statistics
from evtools.transport.streams import Stream
from evtools.transport.streams.amqp import AMQPStream
from evtools.transport.streams.kombu import KombuStream
from evtools.transport.streams.redis import RedisStream
from evtools.wire import (
    GAP,
    HEARTBEATS,
    Codec,
    Event,
    EventFields,
    Gap,
    LamportClock,
    Message,
    MissedTasks,
    bindings,
    gap,
    queue_arguments,
    queue_name,
    wanted,
)
from evtools.wire.serializers import READERS

_log = logging.getLogger(__name__)

Handler = Callable[[EventFields], Any]
OnNotice = Callable[[Notice], None]
#: Celery's receiver orders a client's task-sent just before what it has seen.
_CLIENT_CLOCK_SKEW = -1
#: How long to wait for the goodbye, in seconds; the thread is a daemon and does not keep us.
_CLOSE_WAIT = 1.8
#: What is decoded, looked at and written at once, in bytes.  Of more, the first would have left the
#: processor's caches before they are written, and their memory would be asked for anew each time.
_PART_BYTES = 64 * 1024
#: Messages that a broker sends before they are acknowledged: what comes in a fraction of a second.
_PREFETCH = 500
#: The least that one of several clusters has for what waits.
_BUFFER_BYTES_MIN = 1024 * 1024
# fmt: off
#: What an application says of the queue, under Celery's names and ours.
_OF_APP: Final = (
    "event_exchange", "event_queue_prefix", "event_queue_ttl", "event_queue_expires",
    "event_queue_exclusive", "event_queue_durable", "control_exchange",
)
# fmt: on
_SERIALIZERS: Final = {content_type: name for name, (content_type, _) in READERS.items()}


class Redelivered(list[Event]):
    """A batch of which some events may have been given out before, by this process or another."""


class EventReceiver:
    """Receive the events of a cluster; reconnect by itself.

    `channel` says where from: settings, or as with Celery's receiver a kombu connection or a
    channel of one, or an `app` that has one.  The receiver has a connection of its own to the same
    broker.  `handlers` maps event types to callables; the handler of `"*"` gets every type that has
    none of its own, except gap records, which only a handler of their own type gets.
    `routing_key` overrides the settings' keys, `node_id` and `queue_prefix` name the queue; they
    and what follows them override what the app says.  Nothing is connected before the first event
    is asked for.  `on_notice` is called, in the caller's thread, when the connection changes, and
    `on_arrival`, in any thread, when there may be something to take.
    """

    #: Celery's factory of receivers sets it in a subclass.
    app: Any = None

    def __init__(
        self,
        channel: Any = None,
        handlers: Mapping[str, Handler] | None = None,
        routing_key: str | None = None,
        node_id: str | None = None,
        app: Any = None,
        queue_prefix: str | None = None,
        accept: Iterable[str] | None = None,
        queue_ttl: float | None = None,
        queue_expires: float | None = None,
        queue_exclusive: bool | None = None,  # noqa: FBT001  (Celery's arguments)
        queue_durable: bool | None = None,  # noqa: FBT001
        *,
        on_notice: OnNotice | None = None,
        on_arrival: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        self.app = app = self.app if app is None else app
        if channel is None and app is not None:
            channel = app.connection_for_read()
        self.channel = self.connection = None
        if isinstance(channel, ConnectionSettings):
            settings = channel
        else:
            self.connection = channel
            if not isinstance(channel, Connection) and hasattr(channel, "connection"):
                self.channel = channel
                self.connection = getattr(channel.connection, "client", channel)
            settings = _settings_of(self.connection, app)
        own: dict[str, Any] = {
            "event_queue_prefix": queue_prefix,
            "event_queue_ttl": queue_ttl,
            "event_queue_expires": queue_expires,
            "event_queue_exclusive": queue_exclusive,
            "event_queue_durable": queue_durable,
            "accept": None if accept is None else _serializers(accept),
            "routing_keys": None if routing_key is None else (routing_key,),
        }
        own = {name: value for name, value in own.items() if value is not None}
        self.settings = settings = replace(settings, **own)
        self.handlers = {} if handlers is None else handlers
        self.node_id = node_id or str(uuid.uuid4())
        self.queue_prefix = settings.event_queue_prefix
        self.routing_key = settings.routing_keys[0]
        self.accept = set(settings.accept)
        self.clock = LamportClock()
        self.adjust_clock = self.clock.adjust
        self.forward_clock = self.clock.forward
        self._on_notice, self._on_arrival = on_notice, on_arrival
        self._time = clock or SystemClock()
        self._wanted = wanted(settings.routing_keys)
        self._codec = Codec(settings.accept)
        # Of what is dropped, no defects are counted.
        self._drop_codec = Codec(settings.accept)
        # Missing events show only to a receiver of all events.
        receives_all = self._wanted is None and not settings.event_queue
        self._missed = MissedTasks() if receives_all else None
        self._events = 0
        #: What the batch that was given out last ends with.
        self._given: Delivery = (0, 0)
        name = ""
        if self.connection is not None:
            name = f"{settings.event_queue_prefix}.{self.node_id}"
            self.exchange = get_exchange(self.connection, settings.event_exchange)
            self.queue = _own_queue(settings, self.exchange, name)
        self._subscribe = partial(subscribe, like=self.connection, queue=name)
        self._ended = False
        #: What itercapture has taken from the stream and not given out.
        self._rest: deque[EventFields] = deque()
        self._make_reader()

    def _make_reader(self) -> None:
        self._buffer = Buffer(self.settings.buffer_bytes, self._count, self._on_arrival)
        self._reader = Reader(self.settings, self._buffer, self._time, self._subscribe)

    # -- the stream ---------------------------------------------------------

    def batches(self, timeout: float | None = None) -> Iterator[list[EventFields]]:
        """Yield lists of events as they come, and [] after `timeout` seconds without.

        A [] may also come early, when the receiver is woken.  End after `stop`, when all that had
        arrived has been given out.  Raise AccessRefused or UsageError when another attempt is
        useless, and BrokerUnavailable where the settings say not to reconnect.
        """
        if self._rest:
            rest, self._rest = list(self._rest), deque()
            yield rest
        for events in self.events(timeout):
            yield [event.as_dict() for event in events]

    def events(self, timeout: float | None = None) -> Iterator[list[Event]]:
        """Yield what `batches` does as typed events, which cost less."""
        if self._reader.ident is None:
            self._reader.start()
        end = _end(timeout)
        while not self._ended:
            item = self._buffer.take(_left(end))
            for batch in self._open(item):
                # Notices, and events that are not wanted, do not prolong the wait.
                if batch or item is None or time.monotonic() >= end:
                    yield batch
                    end = _end(timeout)

    def _open(self, item: Item) -> Iterator[list[Event]]:
        # The events of an item; those of a large chunk in several parts.
        if isinstance(item, Chunk):
            messages = item.messages
            step = max(1, len(messages) * _PART_BYTES // item.bytes)
            for start in range(0, len(messages), step):
                batch = self._decode(messages[start : start + step], item.received)
                if start + step >= len(messages):
                    self._given = item.last
                yield Redelivered(batch) if item.has_repeats else batch
            return
        cluster = self.settings.cluster
        if isinstance(item, Notice) and self._on_notice is not None:
            self._on_notice(replace(item, cluster=cluster))
        elif isinstance(item, End):
            self._ended = True
            if item.error is not None:
                raise item.error
        elif isinstance(item, Gap) and cluster:
            item.cluster = cluster
        yield [item] if isinstance(item, Gap) else []

    def _decode(self, messages: Sequence[Message], received: float) -> list[Event]:
        # Events get the time of receipt, and their clock as in Celery's receiver.  A gap record
        # follows for each worker that counts tasks which have not been seen.
        events: list[Event] = []
        decode, is_wanted = self._codec.events, self._wanted
        for message in messages:
            events += decode(message)
        if is_wanted is not None:
            events = [event for event in events if is_wanted(event.type)]
        self._events += len(events)
        holes: list[Event] = []
        adjust, missed = self.clock.adjust, self._missed
        for event in events:
            kind, clock = event.type, event.clock
            if event.original is not UNSET:
                self._stamp_odd(event, received)
            else:
                event.local_received = received
                if kind == "task-sent":
                    event.clock = clock = (self.clock.value or 1) + _CLIENT_CLOCK_SKEW
                adjust(clock)  # type: ignore[arg-type]  # nothing is missing
            if missed is None:
                continue
            if kind == "task-started":
                missed.started(event.hostname, event.clock)
            elif kind in HEARTBEATS and (unseen := missed.heartbeat(event)):
                hostname = event.hostname
                holes.append(gap("worker", received, received, hostname=hostname, missed=unseen))
        events += holes
        if cluster := self.settings.cluster:
            for event in events:
                event.cluster = cluster
        return events

    def _stamp_odd(self, event: Event, received: float) -> None:
        # Its fields may have any value, or be missing.
        event.stamp(received)
        if event.type == "task-sent":
            event.set_clock((self.clock.value or 1) + _CLIENT_CLOCK_SKEW)
        elif "clock" not in event.original:
            event.set_clock(self.clock.forward())
            return
        if event.original["clock"].__class__ is int:
            self.clock.adjust(event.original["clock"])

    def _count(self, message: Message) -> int:
        # How many wanted events a message had that is dropped.
        events, is_wanted = self._drop_codec.events(message), self._wanted
        return sum(is_wanted is None or is_wanted(event.type) for event in events)

    # -- handlers, as in Celery -----------------------------------------------

    def wakeup_workers(self, channel: Any = None) -> None:  # noqa: ARG002  (Celery's)
        """Ask the workers for a heartbeat, as capturing does first."""
        with ExitStack() as stack:
            connection = self.connection or stack.enter_context(connect(self.settings))
            broadcast(connection, "heartbeat", settings=self.settings)

    def event_from_message(
        self,
        body: EventFields,
        localize: bool = True,  # noqa: FBT001, FBT002, ARG002  (Celery's arguments)
        now: Callable[[], float] | None = None,
        tzfields: object = None,  # noqa: ARG002
        adjust_timestamp: object = None,  # noqa: ARG002
        CLIENT_CLOCK_SKEW: int = _CLIENT_CLOCK_SKEW,  # noqa: N803
    ) -> tuple[str, EventFields]:
        """Return the type and the event of what a message had that the caller took from a queue.

        Timestamps are UTC epoch seconds and stay what they are, whatever `localize` says.
        """
        kind: str = body["type"]
        if kind == "task-sent":
            body["clock"] = (self.clock.value or 1) + CLIENT_CLOCK_SKEW
        if "clock" in body:
            self.adjust_clock(body["clock"])
        else:
            body["clock"] = self.forward_clock()
        body["local_received"] = (now or self._time.wall)()
        return kind, body

    def _receive(self, body: Any, message: object) -> None:  # noqa: ARG002
        # Celery's name, under which others call it.
        for event in body if isinstance(body, list) else [body]:
            self.process(*self.event_from_message(event))

    def process(self, type: str, event: EventFields) -> None:  # noqa: A002  (Celery's)
        """Give `event` to the handler of its `type`, else to that of `"*"`."""
        handler = self.handlers.get(type)
        if handler is None and type != GAP:
            handler = self.handlers.get("*")
        if handler is not None:
            handler(event)

    def itercapture(
        self,
        limit: int | None = None,
        timeout: float | None = None,
        wakeup: bool = True,  # noqa: FBT001, FBT002
    ) -> Iterator[EventFields]:
        """Handle and yield events, `limit` at the most; `wakeup` asks for heartbeats first.

        Raise TimeoutError after `timeout` seconds without any.  Made with a connection of the
        caller's, the receiver leaves the broker at the end, and comes back when asked again.
        """
        if not wakeup and self._reader.ident is None:
            self.settings = replace(self.settings, wakeup=False)
            self._make_reader()
        left = math.inf if limit is None else limit
        end = _end(timeout)
        try:
            while left > 0 and (batch := next(self.batches(_left(end)), None)) is not None:
                if not batch and time.monotonic() >= end:
                    raise TimeoutError(f"no event for {timeout:g}s")
                self._rest.extend(batch)
                while self._rest and left > 0:
                    event = self._rest.popleft()
                    self.process(event["type"], event)
                    yield event
                    left -= event["type"] != GAP
                if batch:
                    end = _end(timeout)
        finally:
            if self.connection is not None and not self._ended:
                self._reader.stop()
                self._join()
                self._make_reader()

    def capture(
        self,
        limit: int | None = None,
        timeout: float | None = None,
        wakeup: bool = True,  # noqa: FBT001, FBT002
    ) -> None:
        """Handle events until `limit` of them, `stop`, or a TimeoutError."""
        for _ in self.itercapture(limit, timeout, wakeup):
            pass

    def acknowledge(self, cluster: str = "") -> None:  # noqa: ARG002  (as a group has it)
        """Have the broker forget what was given out, if the settings say that it keeps that."""
        self._reader.acknowledge(self._given)

    # -- the end --------------------------------------------------------------

    @property
    def is_waiting(self) -> bool:
        """Whether something has arrived that was not taken yet."""
        return bool(self._buffer)

    @property
    def should_stop(self) -> bool:
        """Whether the stream has ended; set it to end it, as with Celery's."""
        return self._ended

    @should_stop.setter
    def should_stop(self, value: bool) -> None:
        if value:
            self.stop()

    def statistics(self) -> Statistics:
        """Return the counters as they are now."""
        return replace(
            self._reader.statistics,
            events=self._events,
            dropped=self._buffer.dropped,
            missed=self._missed.total if self._missed is not None else 0,
            buffered_bytes=self._buffer.waiting_bytes,
            defects=tuple(self._codec.defects.values()),
        )

    def stop(self) -> None:
        """End the stream after what has already arrived; safe in a signal handler."""
        self._reader.stop()
        # Nothing will come of an attempt to connect, so nothing need wait for it.
        self._buffer.add(End() if self._reader.connecting else None)

    def close(self, timeout: float = _CLOSE_WAIT) -> None:
        """Stop and leave the broker, for `timeout` seconds at the most; idempotent."""
        self.stop()
        if not self._reader.connecting:
            self._join(timeout)

    def _join(self, timeout: float = _CLOSE_WAIT) -> None:
        if self._reader.ident is not None:
            self._reader.join(timeout=max(0.0, timeout))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _settings_of(connection: Any, app: Any) -> ConnectionSettings:
    if not hasattr(connection, "transport"):
        raise TypeError(
            "EventReceiver needs a kombu.Connection, a channel, an app or "
            f"ConnectionSettings, not a {type(connection).__name__}; "
            "Events(url).Receiver() takes a URL"
        )
    found: dict[str, Any] = {}
    if isinstance(connection, Connection):
        found["urls"] = connection.as_uri()
        found["options"] = dict(connection.transport_options or {})
        if connection.heartbeat:
            found["heartbeat"] = connection.heartbeat
    if app is not None:
        found["accept"] = _serializers({app.conf.event_serializer, "json"})
        found |= {name: getattr(app.conf, name) for name in _OF_APP}
    return ConnectionSettings(source_of_url="the program", **found)


def _serializers(accept: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({_SERIALIZERS.get(name, name) for name in accept}))


def _end(timeout: float | None) -> float:
    return math.inf if timeout is None else time.monotonic() + timeout


def _left(end: float) -> float | None:
    return None if end == math.inf else max(0.0, end - time.monotonic())


class ReceiverGroup:
    """Receive the events of several clusters, each by a receiver of its own.

    `clusters` have names.  A broker that is down holds up none of the others; one that refuses us
    is left out, with a notice, and the group ends when it was the last.  The buffer is shared out.
    At the end there is a gap record for each that was lost and did not come back.
    """

    def __init__(self, clusters: Sequence[ConnectionSettings], on_notice: OnNotice) -> None:
        self._on_notice = on_notice
        #: Held while nothing has arrived anywhere since `events` has waited last; see Buffer.
        self._nothing_new = threading.Lock()
        self._nothing_new.acquire()
        self._receivers: dict[str, EventReceiver] = {}
        for settings in clusters:
            share = max(_BUFFER_BYTES_MIN, settings.buffer_bytes // len(clusters))
            self._receivers[settings.cluster] = EventReceiver(
                replace(settings, buffer_bytes=share), on_notice=on_notice, on_arrival=self._wake
            )
        #: Why a cluster was left out, by its name.
        self._refused: dict[str, EvtoolsError] = {}

    def _wake(self) -> None:
        with suppress(RuntimeError):  # as it was released before
            self._nothing_new.release()

    def events(self, timeout: float | None = None) -> Iterator[list[Event]]:
        """Yield batches, each of one cluster, as `EventReceiver.events` does.

        Raise the error of the last that refused us when all have.
        """
        streams = {name: each.events(0.0) for name, each in self._receivers.items()}
        while streams:
            came = False
            for name, stream in list(streams.items()):
                try:
                    batch = next(stream, None)
                except EvtoolsError as error:
                    batch = None
                    self._refused[name] = error
                    if len(self._refused) < len(self._receivers):
                        self._on_notice(Notice("refused", error.message, name, error.hint))
                if batch is None:
                    del streams[name]
                elif batch:
                    came = True
                    yield batch
            if not came and streams:
                if not any(self._receivers[name].is_waiting for name in streams):
                    self._nothing_new.acquire(timeout=-1.0 if timeout is None else timeout)
                yield []
        yield [*self._open_gaps()]
        if len(self._refused) == len(self._receivers):
            *_, (name, last) = self._refused.items()
            raise type(last)(f"{name}: {last.message}", last.hint)

    def acknowledge(self, cluster: str) -> None:
        """Have the broker of a cluster forget what was given out, if it keeps that."""
        self._receivers[cluster].acknowledge()

    def _open_gaps(self) -> Iterator[Event]:
        # Where one alone is lost the stream goes on, and seems to be whole.
        now = SystemClock().wall()
        for name, each in self.statistics().clusters.items():
            if each.away_since:
                record = gap("reconnect", each.away_since, now, error=each.problem)
                record.cluster = name
                yield record

    def statistics(self) -> Statistics:
        """Return the sums of the counters of all, and those of each."""
        return Statistics.total({
            name: replace(each.statistics(), is_refused=name in self._refused)
            for name, each in self._receivers.items()
        })  # fmt: skip

    def stop(self) -> None:
        """End the stream after what has already arrived; safe in a signal handler."""
        for receiver in self._receivers.values():
            receiver.stop()

    def close(self) -> None:
        """Stop and leave the brokers; idempotent."""
        self.stop()
        end = time.monotonic() + _CLOSE_WAIT  # for all: they leave at the same time
        for receiver in self._receivers.values():
            receiver.close(end - time.monotonic())


def open_live(
    clusters: Sequence[ConnectionSettings], on_notice: OnNotice, *, demo: bool, stack: ExitStack
) -> EventReceiver | ReceiverGroup:
    """Listen to brokers, or with `demo` to a simulated cluster; `stack` closes all again.

    `on_notice` is called in the thread that takes the batches.
    """
    if len(clusters) > 1 and not demo:
        group = ReceiverGroup(clusters, on_notice)
        stack.callback(group.close)
        return group
    settings = clusters[0]
    if demo:
        settings = demo_settings(settings)
        # Whatever we may do to a cluster, the simulated workers must send.
        cluster = DemoCluster(replace(settings, read_only=False))
        stack.callback(cluster.stop)

    def note(notice: Notice) -> None:
        on_notice(notice)
        if demo and notice.kind == "listening":
            cluster.start()

    receiver = EventReceiver(settings, on_notice=note)
    stack.callback(receiver.close)
    return receiver


# --- the subscription ---------------------------------------------------------------


def subscribe(
    settings: ConnectionSettings,
    attempt: int = 0,
    *,
    like: Connection | None = None,
    queue: str = "",
) -> Stream:
    """Connect and subscribe to the event exchange; return the live stream.

    `attempt` picks the address where there are several.  With a connection of a caller's go to
    where that leads (`like`), at first with a `queue` of that name.  Raise what the drivers raise.
    """
    connection = connect(settings, attempt=attempt, like=like)
    is_redis = connection.transport.driver_type == "redis"
    stream: Stream
    with ExitStack() as undo:
        undo.callback(connection.release)
        if is_redis:
            channel: Any = connection.default_channel
            # kombu's parameters (TLS, Sentinel, credentials), for a connection of our own.
            pool = channel._get_pool()  # noqa: SLF001
            undo.callback(pool.disconnect)
            subjects = topics(settings, channel.database, sentinel=channel.has_sentinel)
            how = {"heartbeat": settings.heartbeat, "timeout": settings.connect_timeout}
            stream = RedisStream(pool.get_connection(), pool, subjects, **how)
        else:
            stream = _subscribe_queue(connection, settings, "" if attempt else queue)
        # After the subscription: while memory or disk are short RabbitMQ no longer listens to
        # a connection that has published, but it goes on delivering.
        if settings.enable_events:
            broadcast(connection, "enable_events", settings=settings)
        if settings.wakeup and not settings.read_only:
            try:
                broadcast(connection, "heartbeat", settings=settings)
            except (Forbidden, NoPermissionError) as exc:
                # The workers show themselves with the next heartbeat anyway.
                _log.info("may not ask the workers for a heartbeat: %s", exc)
        undo.pop_all()
    if is_redis:
        # One connection per tool: kombu's was for what we said to the workers.
        connection.release()
    return stream


def _subscribe_queue(connection: Connection, settings: ConnectionSettings, name: str) -> Stream:
    channel = connection.channel()
    exchange = get_exchange(connection, settings.event_exchange)
    attempt = connection.channel()
    try:
        exchange(attempt).declare()
    except Forbidden:
        # See that it is there where we may not declare it.
        exchange(channel).declare(passive=True)
    finally:
        connection.maybe_close_channel(attempt)
    queue = _own_queue(settings, exchange, name)(channel)
    queue.queue_declare()

    def bind(*, nowait: bool = True) -> None:
        for key in bindings(settings.routing_keys):
            queue.bind_to(settings.event_exchange, routing_key=key, nowait=nowait)

    bind(nowait=False)
    if connection.transport.driver_name == "py-amqp":
        prefetch = _PREFETCH if settings.acknowledges else 0
        return AMQPStream(connection, channel, queue.name, bind, prefetch)
    return KombuStream(connection, channel, queue)


def _own_queue(settings: ConnectionSettings, exchange: Exchange, name: str) -> Queue:
    # By default the name is fresh, because after a broken connection the broker may hold the old
    # exclusive queue for a while and refuse it to us.  A shared one is durable, for RabbitMQ wants
    # queues exclusive or durable; it goes when it was not read for `event_queue_expires`.
    shared = bool(settings.event_queue)
    durable = shared or settings.event_queue_durable
    ttl, expires = settings.event_queue_ttl, settings.event_queue_expires
    return Queue(
        settings.event_queue or name or fresh_queue_name(settings),
        durable=durable,
        exclusive=settings.event_queue_exclusive and not shared,
        auto_delete=not durable,
        exchange=exchange,
        routing_key=settings.routing_keys[0],
        queue_arguments=queue_arguments(ttl=ttl, expires=expires),
    )


def fresh_queue_name(settings: ConnectionSettings) -> str:
    """Return a name that shows an administrator whose the queue is."""
    owner = f"{socket.gethostname()}-{os.getpid()}"
    return queue_name(settings.event_queue_prefix, owner, uuid.uuid4().hex[:12])
