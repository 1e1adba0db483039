"""What went wrong between us and the broker, in one line that names the layer."""

import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import amqp.exceptions
import redis.exceptions
import redis.sentinel

from evtools.errors import AccessRefused, BrokerUnavailable, EvtoolsError
from evtools.transport import url
from evtools.transport.settings import ConnectionSettings

_TEXT_MAX = 300
_CHAIN_MAX = 10

_UP = "Is the broker up, and may this host connect to it?"
_LOGIN = "Check user name and password (in a URL, / ? # ; : @ must be percent-encoded)."
_RIGHTS = "Ask the broker's administrator for the right, or use another user."
_TLS_PORT = "Is this a TLS port (--tls, rediss://, amqps://), or another service's?"
_NO_TLS_PORT = "Is this a port without TLS (--no-tls, redis://, amqp://)?"
_CA = (
    "Give the CA with --tls-ca FILE; --tls-verify none trusts whoever answers,"
    " password included."
)
_CLUSTER = "Celery and kombu cannot use Redis Cluster; use a single master or Sentinel."
_LATER = "It may recover by itself."

_Exceptions = type[BaseException] | tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True)
class _Rule:
    """One kind of failure.

    It is this one if the exception is one of `types` and `words`, in lower
    case, stands in its text.  `what` follows the URL and may contain {text},
    the exception's own words, {host} and {timeout}.
    """

    types: _Exceptions
    words: str
    what: str
    hint: str
    refused: bool = False


_OS_ERRORS = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network unreachable",
    errno.EACCES: "permission denied",
    errno.ENOENT: "no such socket",
}

_REDIS = redis.exceptions.RedisError
_AMQP = amqp.exceptions.AMQPError

#: The first rule that fits anything in the chain of causes wins: special
#: cases first, whole layers last.
_RULES: Final[tuple[_Rule, ...]] = (
    # Login and rights
    _Rule(amqp.exceptions.AccessRefused, "login", "login refused: {text}", _LOGIN, True),
    _Rule(amqp.exceptions.AccessRefused, "", "not allowed: {text}", _RIGHTS, True),
    _Rule(amqp.exceptions.NotAllowed, "not found", "no such vhost: {text}", "", True),
    _Rule(amqp.exceptions.NotAllowed, "", "vhost refused: {text}", _RIGHTS, True),
)


def explain(exc: BaseException, settings: ConnectionSettings) -> EvtoolsError:
    """Turn what a driver raised into an error for the user."""
    return BrokerUnavailable(f"cannot reach {settings.masked()}: {type(exc).__name__}")
