"""What the doctor can ask a broker: an inspector for each kind."""

from dataclasses import replace
from typing import Final

from evtools.doctor.inspect import amqp, redis
from evtools.doctor.inspect.base import BrokerInspector
from evtools.transport import ConnectionSettings, connect
from evtools.transport.errors import Diagnosis
from evtools.transport.url import kind_of, parse

_REDIS: Final = ("redis", "socket", "sentinel")


def open_inspector(settings: ConnectionSettings, *, attempt: int = 0) -> BrokerInspector:
    """Connect, log in and return an inspector.

    `attempt` picks the address where there are several.  Raise UsageError, and whatever
    the drivers raise.
    """
    # Between two questions nothing would answer the broker's heartbeats.
    connection = connect(replace(settings, heartbeat=0.0), attempt=attempt)
    family = _family(settings)
    try:
        if family == "amqp":
            return amqp.AMQPInspector(connection, settings)
        if family in _REDIS:
            return redis.RedisInspector(connection, settings)
        return BrokerInspector(connection, settings)
    except BaseException:
        connection.release()
        raise


def remedy(diagnosis: Diagnosis, settings: ConnectionSettings, *, attempt: int = 0) -> str:
    """Return the command that an administrator needs against a refusal, if any."""
    family = _family(settings)
    if family in _REDIS:
        return redis.remedy(diagnosis, settings, attempt=attempt)
    return amqp.remedy(diagnosis, settings, attempt=attempt) if family == "amqp" else ""


def _family(settings: ConnectionSettings) -> str:
    return kind_of(parse(settings.addresses()[0]).scheme).family
