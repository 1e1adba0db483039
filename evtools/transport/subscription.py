"""Connecting, declaring and subscribing: from settings to a live stream."""

import logging
import os
import socket
import uuid
from functools import partial
from typing import Any

from amqp.exceptions import AccessRefused as Forbidden
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from redis.exceptions import NoPermissionError

from evtools.transport.connection import connect, connect_like
from evtools.transport.control import broadcast
from evtools.transport.redis_channel import topics
from evtools.transport.settings import ConnectionSettings
from evtools.transport.streams.amqp import AMQPStream
from evtools.transport.streams.base import Stream
from evtools.transport.streams.kombu import KombuStream
from evtools.transport.streams.redis import RedisStream
from evtools.wire import bindings, exchange_type, queue_arguments, queue_name

_log = logging.getLogger(__name__)


def subscribe(settings: ConnectionSettings, *, attempt: int = 0) -> Stream:
    """Connect and subscribe to the event exchange; return the live stream.

    `attempt` picks the address where `settings` has several.  Raise whatever kombu and its
    drivers raise.
    """
    return _open(connect(settings, attempt=attempt), settings)


def subscribe_like(
    given: Connection, settings: ConnectionSettings, *, queue: str, attempt: int = 0
) -> Stream:
    """Subscribe as `subscribe` does, to where a caller's connection leads.

    `queue` is the name of the queue at the first attempt.
    """
    connection = connect_like(given, settings, attempt=attempt)
    return _open(connection, settings, "" if attempt else queue)


def get_exchange(connection: Connection, name: str = "celeryev") -> Exchange:
    """Return the event exchange as Celery declares it on this transport."""
    return Exchange(name, type=exchange_type(connection.transport.driver_type))


def _open(connection: Connection, settings: ConnectionSettings, name: str = "") -> Stream:
    try:
        transport = connection.transport
        if transport.driver_type == "redis":
            return _open_redis(connection, settings)
        channel = connection.channel()
        exchange = get_exchange(connection, settings.event_exchange)
        _declare_exchange(connection, exchange, channel)
        queue = _queue(settings, exchange, name)(channel)
        queue.queue_declare()
        _bind(queue, settings)
        stream: Stream
        if transport.driver_name == "py-amqp":
            bind = partial(_bind, queue, settings, nowait=True)
            stream = AMQPStream(connection, channel, queue.name, bind)
        else:
            stream = KombuStream(connection, channel, queue)
        # After the subscription: while memory or disk are short RabbitMQ no longer listens to
        # a connection that has published, but it goes on delivering.
        _greet(connection, settings)
    except BaseException:
        connection.release()
        raise
    return stream


def _bind(queue: Queue, settings: ConnectionSettings, *, nowait: bool = False) -> None:
    for key in bindings(settings.routing_keys):
        queue.bind_to(settings.event_exchange, routing_key=key, nowait=nowait)


def own_queue(settings: ConnectionSettings, exchange: Exchange, node_id: str) -> Queue:
    """Return the queue of a receiver that a caller gave a name, not declared."""
    return _queue(settings, exchange, f"{settings.event_queue_prefix}.{node_id}")


def _queue(settings: ConnectionSettings, exchange: Exchange, name: str) -> Queue:
    """Return the queue to read from, not declared.

    By default its name is fresh, because after a broken connection the broker may hold the old
    exclusive queue for a while and refuse it to us.  A shared one is durable, for RabbitMQ wants
    queues exclusive or durable; it goes when it has not been read for `event_queue_expires`.
    """
    kind: dict[str, Any] = {
        "name": name or fresh_queue_name(settings),
        "durable": settings.event_queue_durable,
        "exclusive": settings.event_queue_exclusive,
        "auto_delete": not settings.event_queue_durable,
    }
    if settings.event_queue:
        shared = {"durable": True, "exclusive": False, "auto_delete": False}
        kind = {"name": settings.event_queue, **shared}
    return Queue(
        **kind,
        exchange=exchange,
        routing_key=settings.routing_keys[0],
        queue_arguments=queue_arguments(
            ttl=settings.event_queue_ttl, expires=settings.event_queue_expires
        ),
    )


def fresh_queue_name(settings: ConnectionSettings) -> str:
    """Return a name that shows an administrator whose the queue is."""
    return queue_name(
        settings.event_queue_prefix, f"{socket.gethostname()}-{os.getpid()}", uuid.uuid4().hex[:12]
    )


def _declare_exchange(connection: Connection, exchange: Exchange, channel: Any) -> None:
    """Declare the exchange, or see that it is there where we may not."""
    attempt = connection.channel()
    try:
        exchange(attempt).declare()
    except Forbidden:
        exchange(channel).declare(passive=True)
    finally:
        connection.maybe_close_channel(attempt)


def _greet(connection: Connection, settings: ConnectionSettings) -> None:
    """Ask the workers to show themselves, unless we are to publish nothing.

    They show themselves with the next heartbeat anyway, so that a user who may not publish is
    no obstacle; but a failure of `enable_events` must be reported.
    """
    if settings.read_only:
        return
    if settings.enable_events:
        broadcast(connection, "enable_events", settings=settings)
    if settings.wakeup:
        try:
            broadcast(connection, "heartbeat", settings=settings)
        except (Forbidden, NoPermissionError) as exc:
            _log.info("may not ask the workers for a heartbeat: %s", exc)


def _open_redis(connection: Connection, settings: ConnectionSettings) -> RedisStream:
    """Subscribe on a connection of our own, made with kombu's parameters.

    kombu's own connections are closed once the workers are greeted: one connection per tool.
    """
    channel: Any = connection.default_channel
    pool = channel._get_pool()  # noqa: SLF001  (knows TLS, Sentinel, credentials)
    try:
        stream = RedisStream(
            pool.get_connection(),
            pool,
            topics(settings, channel.database, sentinel=channel.has_sentinel),
            heartbeat=settings.heartbeat,
            timeout=settings.connect_timeout,
        )
        _greet(connection, settings)
    except BaseException:
        pool.disconnect()
        raise
    connection.release()
    return stream
