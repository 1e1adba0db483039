"""kombu's channels of Redis and Sentinel as a monitor needs them, and the names of channels."""

from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property, partial
from typing import Any, Final
from urllib.parse import unquote

from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelManagedConnection

from evtools.errors import DecodeError
from evtools.transport.settings import ConnectionSettings
from evtools.transport.tls import RedisConnection
from evtools.transport.url import Address, kind_of
from evtools.wire import RedisTopics, bindings, redis_topics

_NAMES_SHOWN: Final = 5
#: The largest reply of a worker; kombu reads messages of any size.
REPLY_MAX_BYTES: Final = 1024 * 1024
#: The same in base64, in its envelope.
_ENVELOPE_MAX_BYTES: Final = 2 * REPLY_MAX_BYTES


class PeerFailure(RedisConnectionError):
    """A Sentinel, or the master that it names, failed; `__cause__` says how.

    `peer` is one of the two words, `address` host and port.
    """

    def __init__(self, peer: str, address: str) -> None:
        super().__init__(f"{peer} {address}")
        self.peer = peer
        self.address = address


class RedisChannel(kombu_redis.Channel):
    """Redis, spoken to as servers and proxies of all ages understand it."""

    connection_class_ssl: Any = RedisConnection
    has_sentinel = False
    _written_prefix: str | None = None

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002
        kombus: Any = super()
        parameters: dict[str, Any] = kombus._connparams(asynchronous)  # noqa: SLF001
        name = parameters.pop("client_name", None)
        return parameters | {
            # RESP2 needs no HELLO, and says all that we ask for.
            "protocol": self.connection.client.transport_options.get("protocol", 2),
            "driver_info": None,
            "redis_connect_func": partial(_login, name),
        }

    def _get_pool(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002
        # kombu formats the prefix once for each pool: what is left in braces once
        # more, until a name is not known.
        if self._written_prefix is None:
            self._written_prefix = self.keyprefix_fanout
        self.keyprefix_fanout = self._written_prefix
        kombus: Any = super()
        return kombus._get_pool(asynchronous)  # noqa: SLF001  (as above)

    @cached_property
    def client(self) -> Any:
        """The client that reads lists, bounded to the size of what workers reply."""
        create: Any = self._create_client
        client = create(asynchronous=True)
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
        prepare: Any = self._prepare_virtual_host
        return int(prepare(self.connection.client.virtual_host))

    def _get_publish_topics(self, exchange: str, routing_key: str) -> list[str]:
        kombus: Any = super()
        topic: str = kombus._get_publish_topic(exchange, routing_key)  # noqa: SLF001  (as above)
        rest = topic.removeprefix(self.keyprefix_fanout)
        options, sentinel = self.connection.client.transport_options, self.has_sentinel
        return [f"{p}{rest}" for p in _prefixes(options, self.database, sentinel=sentinel)]


class _Master(SentinelManagedConnection):
    # It says which one it is when it fails.

    def connect_to(self, address: tuple[str, int]) -> None:
        redispys: Any = super()
        try:
            redispys.connect_to(address)
        except RedisError as error:
            raise PeerFailure("master", f"{address[0]}:{address[1]}") from error


class _MasterTLS(_Master, RedisConnection):
    pass


class SentinelChannel(RedisChannel, kombu_redis.SentinelChannel):
    """A channel of the master that Sentinels name."""

    has_sentinel = True
    connection_class = _Master
    connection_class_ssl: Any = _MasterTLS

    def _sentinel_managed_pool(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002
        kombus: Any = super()
        pool = kombus._sentinel_managed_pool(asynchronous)  # noqa: SLF001  (as above)
        manager: Any = self._async_sentinel_manager if asynchronous else self._sentinel_manager
        manager.discover_master = partial(_discover, manager)
        return pool


def _login(name: str | None, connection: Any) -> None:
    # What redis-py does on a new connection: log in, and set our name.
    connection.on_connect()
    if name:
        connection.send_command("CLIENT", "SETNAME", name, check_health=False)
        # Only the administrator, who has forbidden it, needs it.
        with suppress(ResponseError):
            connection.read_response()


def greet_sentinel(connection: Any) -> None:
    """Log in to a Sentinel on a new connection of redis-py, and wait for an answer.

    Over TLS 1.3 a server sends its session tickets when it likes.  redis-py takes them for a
    stray reply if they come before the first one.
    """
    connection.on_connect()
    connection.send_command("PING", check_health=False)
    with suppress(ResponseError):
        connection.read_response()


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
    return (
        f"{where} is watched by {state['num-other-sentinels']} other Sentinels, and"
        f" min_other_sentinels wants {manager.min_other_sentinels}"
    )


# --- the names of channels ----------------------------------------------------------


def _prefixes(options: Mapping[str, Any], database: int, *, sentinel: bool) -> list[str]:
    # kombu formats the prefix for each of its pools, and so sends the first message of a connection
    # to the prefix that was formatted once, and the others to the one that was formatted twice.
    # They differ where braces are left.  Of Sentinels it formatted none before 5.4.
    written = options.get("fanout_prefix", True)
    if not written:
        return [""]
    if not isinstance(written, str):
        written = RedisChannel.keyprefix_fanout
    once = written.format(db=database)
    found = [once]
    with suppress(KeyError, IndexError, ValueError):
        found.append(once.format(db=database))
    if sentinel and options.get("sentinel_fanout_compat"):
        found.append(written)
    return list(dict.fromkeys(found))


def channels(settings: ConnectionSettings, database: int, *, sentinel: bool) -> list[str]:
    """Return the names of the channels of events, without the routing key."""
    before, exchange = settings.options.get("global_keyprefix") or "", settings.event_exchange
    found = _prefixes(settings.options, database, sentinel=sentinel)
    return [f"{before}{prefix}{exchange}" for prefix in found]


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
