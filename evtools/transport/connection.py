"""From settings to a kombu connection on which no call can hang."""

import difflib
import inspect
import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

from amqp.exceptions import AMQPError, ResourceError
from kombu.connection import Connection
from kombu.entity import Exchange
from kombu.transport import pyamqp
from kombu.transport import redis as kombu_redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from evtools import __version__
from evtools.errors import AccessRefused, UsageError
from evtools.transport.errors import explain
from evtools.transport.redis_channel import RedisChannel, SentinelChannel, greet_sentinel
from evtools.transport.settings import ConnectionSettings
from evtools.transport.tls import AMQPTransport, tls_for
from evtools.transport.url import Address, kind_of, parse
from evtools.wire import exchange_type

#: kombu's blocking pops wait a second for an answer; a reply deadline must be longer, in seconds.
_REPLY_MIN = 3.0
_DATABASE = re.compile(r"/?[0-9]*", re.ASCII)
#: What a URL may say besides the address; TLS is apart.
_PARAMETERS = frozenset({"virtual_host", "credential_provider", "login_method"})
# fmt: off
#: Parameters that are options of ours, or belong elsewhere in the URL.
_OUR_OPTIONS: Final[Mapping[str, str]] = {
    "heartbeat":          "--heartbeat",
    "connect_timeout":    "--connect-timeout",
    "connection_timeout": "--connect-timeout",
    "cacertfile":         "--tls-ca",
    "certfile":           "--tls-cert",
    "keyfile":            "--tls-key",
    "verify":             "--tls-verify",
    **dict.fromkeys(("user", "username", "password"), "USER:PASSWORD@ in front of the host"),
    "db":                 "its number behind the host, as in redis://host/0",
}
# fmt: on


class OneAttempt(Connection):
    """A kombu connection that tries once and raises what was wrong.

    kombu's own would sleep and try again inside every property access, and raise an error of
    its own in the end.
    """

    recoverable_connection_errors: tuple[type[Exception], ...] = ()
    recoverable_channel_errors: tuple[type[Exception], ...] = ()


class _TidyAMQP(pyamqp.Connection):
    """A py-amqp connection that closes its socket when it is refused, too."""

    def connect(self, callback: Callable[[], Any] | None = None) -> Any:
        try:
            return super().connect(callback)
        except AMQPError:
            self.collect()
            raise

    def Transport(  # noqa: N802  (py-amqp's name)
        self, host: str, connect_timeout: float, ssl: Any, *timeouts: Any, **more: Any
    ) -> Any:
        if not ssl:
            return super().Transport(host, connect_timeout, ssl, *timeouts, **more)
        read, write = timeouts
        more = {"read_timeout": read, "write_timeout": write, **more}
        return AMQPTransport(host, connect_timeout, ssl, **more)


def check_transport(settings: ConnectionSettings) -> None:
    """Raise UsageError for a broker that carries no events, with the reason.

    Nothing is connected and nothing declared: on some services a mere connection makes
    queues that cost money.
    """
    families = {kind_of(parse(address).scheme).family for address in settings.addresses()}
    if len(families) > 1:
        raise UsageError(
            f"the broker URL mixes kinds of broker: {settings.masked()}",
            "the addresses of a list must be able to stand in for each other",
        )
    if settings.event_queue and families != {"amqp"}:
        raise UsageError(
            f"--queue {settings.event_queue}: only RabbitMQ can share out events",
            "over Redis every listener gets all of them",
        )
    if families == {"sentinel"} and not settings.options.get("master_name"):
        raise UsageError(
            "sentinel:// needs the name of the master that the Sentinels watch",
            "as in: --broker-option master_name=mymaster",
        )


def connect(
    settings: ConnectionSettings, *, attempt: int = 0, like: Connection | None = None
) -> Connection:
    """Return a kombu connection, not yet connected.

    It leads to where `settings` say, or to where a caller's connection leads (`like`).  Where that
    is several brokers, `attempt` (0, 1, 2, ...) picks one in turn; Sentinels are always given all.
    Raise UsageError for a broker that carries no events or a URL that cannot work.
    """
    if like is None:
        check_transport(settings)
        urls = settings.addresses()
        address = parse(urls[attempt % len(urls)])
        connection = OneAttempt(**_arguments(settings, urls, address))  # type: ignore[no-untyped-call]
        _check_options(settings, address, connection.transport)
    else:
        is_redis = like.transport.driver_type == "redis"
        family = "redis" if is_redis else "amqp" if like.transport.driver_name == "py-amqp" else ""
        arguments = dict(like._info(resolve=False)) | {  # noqa: SLF001  (what kombu's clone() takes)
            "transport_options": _transport_options(settings, family),
            "connect_timeout": settings.connect_timeout,
            "heartbeat": settings.heartbeat,
        }
        connection = OneAttempt(**arguments)  # type: ignore[no-untyped-call]
        brokers = connection.alt
        if len(brokers) > 1 and connection.transport_cls != "sentinel":
            connection.switch(brokers[attempt % len(brokers)])  # type: ignore[no-untyped-call]
    transport: Any = connection.transport
    if transport.driver_name == "py-amqp":
        transport.Connection = _TidyAMQP
    elif isinstance(transport, kombu_redis.SentinelTransport):
        transport.Channel = SentinelChannel
    elif transport.driver_type == "redis":
        transport.Channel = RedisChannel
    return connection


def get_exchange(connection: Connection, name: str = "celeryev") -> Exchange:
    """Return the event exchange as Celery declares it on this transport."""
    return Exchange(name, type=exchange_type(connection.transport.driver_type))


def _arguments(
    settings: ConnectionSettings, urls: Sequence[str], address: Address
) -> dict[str, Any]:
    # What kombu is given for an address, one of `urls`.
    kind, parameters = kind_of(address.scheme), address.parameters
    # redis-py takes any of its own on a socket.
    for name in () if kind.family == "socket" else parameters:
        if name not in _PARAMETERS and not name.startswith("ssl_"):
            option = _OUR_OPTIONS.get(name, f"--broker-option {name}=...")
            raise UsageError(
                f"unknown parameter {name!r} in the broker URL {address.masked()}", f"use {option}"
            )
    tls = tls_for(settings.tls, address)
    ssl: Any = {"tls": tls} if tls else False
    if tls and kind.family == "amqp":
        ssl["host"] = address.hostname or "localhost"
    database = parameters.get("virtual_host") or unquote(address.path)
    if kind.family in ("redis", "sentinel") and _DATABASE.fullmatch(database) is None:
        raise UsageError(
            f"{settings.masked()}: {database!r} is no number of a Redis database",
            "it follows the last slash, as in redis://localhost:6379/0",
        )
    arguments = {
        "hostname": address.hostname or None,
        "port": address.port,
        "userid": unquote(address.user) or None,
        "password": unquote(address.password or "") or None,
        "virtual_host": database or None,
        "transport": kind.transport,
        "ssl": ssl,
        "connect_timeout": settings.connect_timeout,
        "heartbeat": settings.heartbeat,
        "login_method": settings.login_method or parameters.get("login_method"),
        "credential_provider": parameters.get("credential_provider"),
        "transport_options": _transport_options(settings, kind.family),
    }
    if kind.family == "sentinel":
        hosts = [url.partition("?")[0] for url in urls]
        arguments |= {"hostname": ";".join(hosts), "transport": None}
    elif kind.family == "socket":
        # kombu parses these URLs itself, when it connects.
        url = replace(address, scheme="redis+socket", host="", port=None).url
        arguments |= {"hostname": url, "virtual_host": None}
    return arguments


def _check_options(settings: ConnectionSettings, address: Address, transport: Any) -> None:
    # Refuse what kombu would drop without a word.
    known = {"max_retries", "interval_start", "interval_step", "interval_max"}  # kombu's own
    if transport.driver_type == "amqp":
        known.update(inspect.getfullargspec(pyamqp.Connection.__init__).args[1:])
    else:
        known.update(transport.Channel.from_transport_options, ("polling_interval",))
    if transport.driver_type == "redis":
        known.add("protocol")  # ours
    for name in settings.options:
        if name in known or name in settings.may_ignore:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        hint = (
            f"did you mean {near[0]}?" if near else f"these are known: {', '.join(sorted(known))}"
        )
        raise UsageError(f"{address.scheme}:// has no transport option {name!r}", hint)
    if settings.options.get("protocol", 2) not in (2, 3):
        raise UsageError("transport option protocol: Redis has 2 and 3")


def _transport_options(settings: ConnectionSettings, family: str) -> dict[str, Any]:
    options, timeout = dict(settings.options), settings.connect_timeout
    if family == "amqp":
        properties = {
            "product": settings.tool,
            "product_version": __version__,
            "connection_name": client_name(settings.tool),
            **(options.get("client_properties") or {}),
        }
        timeouts = {"read_timeout": timeout, "write_timeout": timeout}
        return {**timeouts, **options, "client_properties": properties}
    if family not in ("redis", "socket", "sentinel"):
        return options
    prefix = options.get("fanout_prefix")
    try:
        str(prefix).format(db=0)
    except (KeyError, IndexError, ValueError):
        raise UsageError(
            f"transport option fanout_prefix: {prefix!r}: only {{db}} may stand in braces",
            "Celery cannot use it, either; braces of its own are doubled: {{ and }}",
        ) from None
    if family == "sentinel":
        options["sentinel_kwargs"] = {
            "protocol": 2,
            "driver_info": None,
            "redis_connect_func": greet_sentinel,
            "socket_connect_timeout": timeout,
            "socket_timeout": timeout,
            # redis-py would try a dead Sentinel several times before the next one.
            "retry": Retry(NoBackoff(), 0),
            **(options.get("sentinel_kwargs") or {}),
        }
    return {
        "socket_connect_timeout": timeout,
        "socket_timeout": max(timeout, _REPLY_MIN),
        "socket_keepalive": True,
        "client_name": client_name(settings.tool),
        **options,
    }


def client_name(tool: str) -> str:
    """Return how the broker's administrator sees us: tool, host and process."""
    host = re.sub(r"[^\w.-]", "-", socket.gethostname())
    return f"{tool}@{host}:{os.getpid()}"


# --- a connection for one question --------------------------------------------------


def probe(settings: ConnectionSettings) -> None:
    """Log in to a broker and leave; raise BrokerUnavailable if none lets us in.

    The connection is a new one: an old one may be dead and not show it.
    """
    try:
        reach(settings).release()
    except Exception as error:
        raise explain(error, settings) from error


def reach(settings: ConnectionSettings) -> Connection:
    """Return a connection to the first address that lets us in.

    It is for one question: nothing answers the broker's heartbeats on it.  Raise what the
    last address raised if none does.
    """
    settings = replace(settings, heartbeat=0.0)
    settings.refresh()
    attempt, has_renewed = 0, False
    while True:
        try:
            return _enter(settings, attempt)
        except Exception as error:
            attempt += 1
            if attempt < len(settings.addresses()):
                continue
            if has_renewed or not isinstance(explain(error, settings), AccessRefused):
                raise
            if not settings.renew():
                raise
            attempt, has_renewed = 0, True


def _enter(settings: ConnectionSettings, attempt: int) -> Connection:
    connection = connect(settings, attempt=attempt)
    try:
        # Of Redis, a connection is not made before there is something to say.
        connection.default_channel  # noqa: B018  (a property that connects)
        if connection.transport.driver_name == "py-amqp":
            amqp = connection.connection
            amqp.on_blocked = partial(_refuse, amqp)
    except BaseException:
        connection.release()
        raise
    return connection


def _refuse(amqp: Any, _reason: str) -> None:
    # RabbitMQ no longer listens to publishers: whatever is asked after that gets no answer, not
    # even what undoes something.
    amqp.collect()
    raise ResourceError(
        "RESOURCE_ERROR - the broker takes nothing from publishers, as it is short of"
        " memory or disk"
    )
