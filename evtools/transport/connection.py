"""From settings to a kombu connection on which no call can hang."""

import difflib
import inspect
import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, Final
from urllib.parse import unquote

from amqp.exceptions import AMQPError, ResourceError
from kombu.connection import Connection
from kombu.entity import Exchange
from kombu.transport import pyamqp
from kombu.transport import redis as kombu_redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelManagedConnection

from evtools import __version__
from evtools.errors import AccessRefused, DecodeError, UsageError
from evtools.transport.errors import PeerFailure, explain
from evtools.transport.settings import ConnectionSettings
from evtools.transport.tls import AMQPTransport, RedisConnection, tls_for
from evtools.transport.url import Address, kind_of, parse
from evtools.wire import RedisTopics, bindings, exchange_type, redis_topics

# These are not typed.
_KombuChannel: Any = kombu_redis.Channel
_KombuSentinelChannel: Any = kombu_redis.SentinelChannel
_MasterConnection: Any = SentinelManagedConnection

#: kombu's blocking pops wait a second for an answer; a reply deadline must be longer, in seconds.
_REPLY_MIN: Final = 3.0
#: The largest reply of a worker; kombu reads messages of any size.
REPLY_MAX_BYTES: Final = 1024 * 1024
#: The same in base64, in its envelope.
_ENVELOPE_MAX_BYTES: Final = 2 * REPLY_MAX_BYTES
_NAMES_SHOWN: Final = 5
_DATABASE = re.compile(r"/?[0-9]*", re.ASCII)
#: What a URL may say besides the address; TLS is apart.
_PARAMETERS = frozenset({"virtual_host", "credential_provider", "login_method"})
# fmt: off
#: Parameters that are options of ours, or belong elsewhere in the URL.
_OUR_OPTIONS: Final[Mapping[str, str]] = {
    "heartbeat": "--heartbeat",
    **dict.fromkeys(("connect_timeout", "connection_timeout"), "--connect-timeout"),
    "cacertfile": "--tls-ca", "certfile": "--tls-cert", "keyfile": "--tls-key",
    "verify": "--tls-verify",
    **dict.fromkeys(("user", "username", "password"), "USER:PASSWORD@ in front of the host"),
    "db": "its number behind the host, as in redis://host/0",
}
# fmt: on

# --- what the drivers do otherwise --------------------------------------------------


class OneAttempt(Connection):
    """A kombu connection that tries once; kombu's own tries again in every property access."""

    recoverable_connection_errors: tuple[type[Exception], ...] = ()
    recoverable_channel_errors: tuple[type[Exception], ...] = ()


class _TidyAMQP(pyamqp.Connection):
    # It closes its socket when it is refused, too.

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


class RedisChannel(_KombuChannel):  # type: ignore[misc]
    """Redis, spoken to as servers and proxies of all ages understand it."""

    connection_class_ssl: Any = RedisConnection
    has_sentinel = False
    keyprefix_fanout: str = _KombuChannel.keyprefix_fanout
    _written_prefix: str | None = None

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002
        parameters: dict[str, Any] = super()._connparams(asynchronous)
        name = parameters.pop("client_name", None)
        # Only the administrator, who may have forbidden it, needs the name.
        command = ("CLIENT", "SETNAME", name) if name else ()
        return parameters | {
            # RESP2 needs no HELLO, and says all that we ask for.
            "protocol": self.connection.client.transport_options.get("protocol", 2),
            "driver_info": None,
            "redis_connect_func": partial(_log_in, command),
        }

    def _get_pool(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002
        # kombu formats the prefix once for each pool: what is left in braces once more.
        self._written_prefix = self._written_prefix or self.keyprefix_fanout
        self.keyprefix_fanout = self._written_prefix
        return super()._get_pool(asynchronous)

    @cached_property
    def client(self) -> Any:
        """The client that reads lists, bounded to the size of what workers reply."""
        client = self._create_client(asynchronous=True)
        parse = client.parse_response

        def bounded(connection: Any, command: str, **options: Any) -> Any:
            found = parse(connection, command, **options)
            if command == "BRPOP" and found and len(found[1]) > _ENVELOPE_MAX_BYTES:
                raise DecodeError("message too large", f"over {REPLY_MAX_BYTES} bytes")
            return found

        client.parse_response = bounded
        return client

    @property
    def database(self) -> int:
        """The number of the database."""
        return int(self._prepare_virtual_host(self.connection.client.virtual_host))

    def _get_publish_topics(self, exchange: str, routing_key: str) -> list[str]:
        topic: str = super()._get_publish_topic(exchange, routing_key)
        rest = topic.removeprefix(self.keyprefix_fanout)
        options = self.connection.client.transport_options
        found = _prefixes(options, self.database, sentinel=self.has_sentinel)
        return [f"{prefix}{rest}" for prefix in found]


def _log_in(command: Sequence[str], connection: Any) -> None:
    # What redis-py does on a new connection, and then a command that may be refused.
    connection.on_connect()
    if command:
        connection.send_command(*command, check_health=False)
        with suppress(ResponseError):
            connection.read_response()


class _Master(_MasterConnection):  # type: ignore[misc]
    # It says which one it is when it fails.

    def connect_to(self, address: tuple[str, int]) -> None:
        try:
            super().connect_to(address)
        except RedisError as error:
            raise PeerFailure("master", f"{address[0]}:{address[1]}") from error


class _MasterTLS(_Master, RedisConnection):
    pass


class SentinelChannel(RedisChannel, _KombuSentinelChannel):  # type: ignore[misc]
    """A channel of the master that Sentinels name."""

    has_sentinel = True
    connection_class = _Master
    connection_class_ssl: Any = _MasterTLS

    def _sentinel_managed_pool(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002
        pool = super()._sentinel_managed_pool(asynchronous)
        manager: Any = self._async_sentinel_manager if asynchronous else self._sentinel_manager
        manager.discover_master = partial(_discover, manager)
        return pool


def _discover(manager: Sentinel, name: str) -> tuple[str, int]:
    # redis-py's own takes every failure for one of the name.
    failure: PeerFailure | None = None
    refusal = ""
    sentinels = manager.sentinels
    for number, sentinel in enumerate(sentinels):
        try:
            masters: Any = sentinel.sentinel_masters()
        except (RedisError, OSError) as error:
            if failure is None:
                where = sentinel.connection_pool.connection_kwargs
                failure = PeerFailure("Sentinel", "{host}:{port}".format_map(where))
                failure.__cause__ = error
            continue
        state = masters.get(name)
        if state and manager.check_master_state(state, name):
            sentinels[0], sentinels[number] = sentinel, sentinels[0]
            return state["ip"], state["port"]
        refusal = refusal or _why(manager, name, masters)
    if failure is None or refusal:
        raise MasterNotFoundError(refusal)
    raise failure


def _why(manager: Sentinel, name: str, masters: Mapping[str, Any]) -> str:
    state = masters.get(name)
    if not state:
        names = ", ".join(sorted(masters)[:_NAMES_SHOWN]) or "no master at all"
        return f"no master of the name {name}; it watches {names}"
    where = f"the master {name}, {state['ip']}:{state['port']},"
    if not state["is_master"] or state["is_sdown"] or state["is_odown"]:
        return f"{where} is down, and there is no other one yet"
    others = f"{state['num-other-sentinels']} other Sentinels"
    wanted = f"min_other_sentinels wants {manager.min_other_sentinels}"
    return f"{where} is watched by {others}, and {wanted}"


# --- a connection -------------------------------------------------------------------


def check_transport(settings: ConnectionSettings) -> None:
    """Raise UsageError for a broker that carries no events, with the reason; connect to nothing.

    On some services a mere connection makes queues that cost money.
    """
    of = f"{settings.cluster}: " if settings.cluster else ""
    families = {kind_of(parse(address).scheme).family for address in settings.addresses()}
    if len(families) > 1:
        raise UsageError(
            f"{of}the broker URL mixes kinds of broker: {settings.masked()}",
            "the addresses of a list must be able to stand in for each other",
        )
    if settings.event_queue and families != {"amqp"}:
        raise UsageError(
            f"{of}--queue {settings.event_queue}: only RabbitMQ can share out events",
            "over Redis every listener gets all of them",
        )
    if families == {"sentinel"} and not settings.options.get("master_name"):
        raise UsageError(
            f"{of}sentinel:// needs the name of the master that the Sentinels watch",
            "as in: --broker-option master_name=mymaster",
        )


def connect(
    settings: ConnectionSettings, *, attempt: int = 0, like: Connection | None = None
) -> Connection:
    """Return a kombu connection, not yet made, to where `settings` or a connection `like` lead.

    Where that is several brokers, `attempt` (0, 1, 2, ...) picks one in turn; Sentinels are always
    given all.  Raise UsageError for a broker that carries no events or a URL that cannot work.
    """
    if like is None:
        check_transport(settings)
        urls = settings.addresses()
        address = parse(urls[attempt % len(urls)])
        scheme, family = address.scheme, kind_of(address.scheme).family
        arguments = _arguments(settings, urls, address)
    else:
        scheme = ""
        is_redis = like.transport.driver_type == "redis"
        family = "redis" if is_redis else "amqp" if like.transport.driver_name == "py-amqp" else ""
        arguments = dict(like._info(resolve=False))  # noqa: SLF001  (what kombu's clone() takes)
    arguments["transport_options"] = _transport_options(settings, family)
    arguments |= {"connect_timeout": settings.connect_timeout, "heartbeat": settings.heartbeat}
    connection = OneAttempt(**arguments)  # type: ignore[no-untyped-call]
    brokers = connection.alt
    if scheme:
        _check_options(settings, scheme, connection.transport)
    elif len(brokers) > 1 and connection.transport_cls != "sentinel":
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
    for name in parameters:
        # redis-py takes any of its own on a socket.
        if not (kind.family == "socket" or name in _PARAMETERS or name.startswith("ssl_")):
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
        "login_method": settings.login_method or parameters.get("login_method"),
        "credential_provider": parameters.get("credential_provider"),
    }
    if kind.family == "sentinel":
        hosts = [url.partition("?")[0] for url in urls]
        arguments |= {"hostname": ";".join(hosts), "transport": None}
    elif kind.family == "socket":
        # kombu parses these URLs itself, when it connects.
        url = replace(address, scheme="redis+socket", host="", port=None).url
        arguments |= {"hostname": url, "virtual_host": None}
    return arguments


def _check_options(settings: ConnectionSettings, scheme: str, transport: Any) -> None:
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
        near, listed = difflib.get_close_matches(name, known, 1, 0.75), ", ".join(sorted(known))
        hint = f"did you mean {near[0]}?" if near else f"these are known: {listed}"
        raise UsageError(f"{scheme}:// has no transport option {name!r}", hint)
    if settings.options.get("protocol", 2) not in (2, 3):
        raise UsageError("transport option protocol: Redis has 2 and 3")


def _transport_options(settings: ConnectionSettings, family: str) -> dict[str, Any]:
    options, timeout = dict(settings.options), settings.connect_timeout
    if family == "amqp":
        properties = {"product": settings.tool, "product_version": __version__}
        properties |= {"connection_name": client_name(settings.tool)}
        properties |= options.get("client_properties") or {}
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
            # Over TLS 1.3 a server sends its session tickets when it likes.  redis-py takes them
            # for a stray reply if they come before the first one, so wait for an answer.
            "redis_connect_func": partial(_log_in, ("PING",)),
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
    """Log in to a broker anew, and leave; raise BrokerUnavailable if none lets us in."""
    try:
        reach(settings).release()
    except Exception as error:
        raise explain(error, settings) from error


def reach(settings: ConnectionSettings) -> Connection:
    """Return a connection to the first address that lets us in; raise what the last one raised.

    It is for one question: nothing answers the broker's heartbeats on it.
    """
    settings = replace(settings, heartbeat=0.0)
    settings.refresh()
    attempt, has_renewed = 0, False
    while True:
        try:
            with ExitStack() as undo:
                connection = connect(settings, attempt=attempt)
                undo.callback(connection.release)
                # Of Redis, a connection is not made before there is something to say.
                connection.default_channel  # noqa: B018  (a property that connects)
                if connection.transport.driver_name == "py-amqp":
                    amqp = connection.connection
                    amqp.on_blocked = partial(_refuse, amqp)
                undo.pop_all()
                return connection
        except Exception as error:
            attempt += 1
            if attempt < len(settings.addresses()):
                continue
            is_refused = isinstance(explain(error, settings), AccessRefused)
            if has_renewed or not is_refused or not settings.renew():
                raise
            attempt, has_renewed = 0, True


def _refuse(amqp: Any, _reason: str) -> None:
    # RabbitMQ no longer listens: nothing gets an answer after that, not even what undoes something.
    amqp.collect()
    reason = "the broker takes nothing from publishers, as it is short of memory or disk"
    raise ResourceError(f"RESOURCE_ERROR - {reason}")


# --- the names of channels ----------------------------------------------------------


def _prefixes(options: Mapping[str, Any], database: int, *, sentinel: bool) -> list[str]:
    # kombu formats the prefix for each of its pools, and so sends the first message of a connection
    # to the prefix that was formatted once, and the others to the one that was formatted twice.
    # They differ where braces are left.  Of Sentinels it formatted none before 5.4.
    written = options.get("fanout_prefix", True)
    if not isinstance(written, str):
        written = RedisChannel.keyprefix_fanout if written else ""
    once = written.format(db=database)
    found = [once]
    with suppress(KeyError, IndexError, ValueError):
        found.append(once.format(db=database))
    if sentinel and options.get("sentinel_fanout_compat"):
        found.append(written)
    return list(dict.fromkeys(found))


def channels(settings: ConnectionSettings, database: int, *, sentinel: bool) -> list[str]:
    """Return the names of the channels of events, without the routing key."""
    before = settings.options.get("global_keyprefix") or ""
    found = _prefixes(settings.options, database, sentinel=sentinel)
    return [f"{before}{prefix}{settings.event_exchange}" for prefix in found]


def topics(settings: ConnectionSettings, database: int, *, sentinel: bool) -> RedisTopics:
    """Return the topics of the events that `settings` ask for."""
    by_key = bool(settings.options.get("fanout_patterns", True))
    names = channels(settings, database, sentinel=sentinel)
    return redis_topics(names, bindings(settings.routing_keys), by_key=by_key)


def database_of(address: Address) -> int:
    # The path of a socket is its own.
    path = "" if kind_of(address.scheme).family == "socket" else unquote(address.path)
    text = address.parameters.get("virtual_host") or path
    return int(text.removeprefix("/") or 0)
