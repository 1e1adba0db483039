"""From settings to an examination of the broker behind them."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from kombu.connection import Connection

from evtools.doctor.inspect.amqp import AMQPExamination, grant, raise_limit
from evtools.doctor.inspect.base import Examination
from evtools.doctor.inspect.other import PlainExamination
from evtools.doctor.inspect.redis import RedisExamination
from evtools.doctor.inspect.redis import grant as grant_of_redis
from evtools.doctor.inspect.redis import raise_limit as raise_limit_of_redis
from evtools.transport.brokers import kind_of
from evtools.transport.connection import connect
from evtools.transport.errors import Diagnosis
from evtools.transport.settings import ConnectionSettings
from evtools.transport.url import parse

_KINDS: Final[Mapping[str, Callable[[Connection, ConnectionSettings], Examination]]] = {
    "amqp": AMQPExamination,
    "redis": RedisExamination,
    "socket": RedisExamination,
    "sentinel": RedisExamination,
}

_REDIS: Final = ("redis", "socket", "sentinel")


def examine(settings: ConnectionSettings, *, attempt: int = 0) -> Examination:
    """Connect, log in and return an examination.

    `attempt` picks the address where there are several.  Raise UsageError,
    and whatever the drivers raise.
    """
    # Between two questions nobody would answer the broker's heartbeats.
    connection = connect(replace(settings, heartbeat=0.0), attempt=attempt)
    try:
        return _KINDS.get(_family(settings), PlainExamination)(connection, settings)
    except BaseException:
        connection.release()
        raise


def _family(settings: ConnectionSettings) -> str:
    return kind_of(parse(settings.addresses()[0]).scheme).family


def remedy(told: Diagnosis, settings: ConnectionSettings, *, attempt: int = 0) -> str:
    """Return the command that an administrator needs against a refusal, if any."""
    if _family(settings) in _REDIS:
        if told.layer == "limit":
            return raise_limit_of_redis(settings, attempt=attempt)
        is_right = told.layer == "permission"
        return grant_of_redis(told, settings, attempt=attempt) if is_right else ""
    if told.layer not in {"vhost", "limit"}:
        return ""
    with connect(settings, attempt=attempt) as connection:
        vhost = connection.virtual_host or "/"
    if told.layer == "limit":
        return raise_limit(told.text, settings, vhost)
    if told.text.endswith(" is down"):
        return shlex.join(("rabbitmqctl", "restart_vhost", "-p", vhost))
    if told.text.endswith(" not found"):
        return "rabbitmqctl -q list_vhosts"
    return grant(settings, vhost)
