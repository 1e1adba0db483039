"""Whether a broker can be reached now, over a connection made for that."""

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from amqp.exceptions import ResourceError
from kombu.connection import Connection

from evtools.errors import AccessRefused
from evtools.transport.connection import connect, explain
from evtools.transport.settings import ConnectionSettings


def probe(settings: ConnectionSettings) -> None:
    """Log in to a broker and leave; raise BrokerUnavailable if none lets us in.

    A connection that is there for long may be dead without anybody knowing.
    """
    try:
        reach(settings).release()
    except Exception as error:
        raise explain(error, settings) from error


def reach(settings: ConnectionSettings) -> Connection:
    """Return a connection to the first address that lets us in.

    It is for one question: nobody answers the broker's heartbeats on it.  Raise
    what the last address raised if none does.
    """
    settings = replace(settings, heartbeat=0.0)
    settings.refresh()
    try:
        return _enter_any(settings)
    except Exception as error:
        refused = isinstance(explain(error, settings), AccessRefused)
        if not (refused and settings.renew()):
            raise
    return _enter_any(settings)


def _enter_any(settings: ConnectionSettings) -> Connection:
    *earlier, last = range(len(settings.addresses()))
    for attempt in earlier:
        with suppress(Exception):
            return _enter(settings, attempt)
    return _enter(settings, last)


def _enter(settings: ConnectionSettings, attempt: int) -> Connection:
    connection = connect(settings, attempt=attempt)
    try:
        # Of Redis, a connection is not made before there is something to say.
        connection.default_channel  # noqa: B018  (a property that connects)
        if connection.transport.driver_name == "py-amqp":
            connection.connection.on_blocked = partial(_refuse, connection.connection)
    except BaseException:
        connection.release()
        raise
    return connection


def _refuse(amqp: Any, _reason: str) -> None:
    """Say at once that RabbitMQ no longer listens to who publishes.

    Nothing that is asked after that is answered, not even to undo something.
    """
    amqp.collect()
    raise ResourceError(
        "RESOURCE_ERROR - the broker takes nothing from publishers, as it is short of"
        " memory or disk"
    )
