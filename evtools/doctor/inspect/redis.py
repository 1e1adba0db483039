"""What Redis, Valkey and their kin let us see of themselves."""

import hashlib
import re
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, cast
from urllib.parse import unquote

from kombu.connection import Connection
from redis import Redis
from redis.client import PubSub
from redis.exceptions import NoPermissionError, RedisError, ResponseError, WatchError

from evtools.doctor.inspect.base import (
    Elsewhere,
    Examination,
    Ground,
    Leftover,
    Right,
    Search,
    is_event,
)
from evtools.doctor.inspect.channels import Naming, difference
from evtools.transport.brokers import kind_of
from evtools.transport.errors import Diagnosis, diagnose
from evtools.transport.redis_channel import channels, database_of, topics
from evtools.transport.settings import ConnectionSettings
from evtools.transport.tls import tls_for
from evtools.transport.url import Address, mask, parse, with_vhost
from evtools.wire import ENVELOPE, Message, escape_glob

_BINDINGS: Final = "_kombu.binding."
#: kombu 5.7 keeps those apart that no deadline ends.
_PERMANENT: Final = "_kombu.binding_permanent."
_MAILBOXES = re.compile(r"(.*)_kombu\.binding\.(.+)\.pidbox", re.DOTALL)

#: The keys that readers of events bind with.
_EVENT_KEY = re.compile(r"|(\*|#|worker|task)([.].*)?", re.DOTALL)

#: The command is allowed, and the channel is not; names of users have no blanks.
_NO_CHANNEL: Final = re.compile(
    r"(?:No|this user has no|User \S+ has no) permissions to access"
    r" (?:a|one of the) channel"
)
_PORT: Final = 6379
#: More connections than Redis takes if it is not told, which is 10 000.
_CLIENTS: Final = 12_000
_DATABASES_MAX: Final = 64
_OVERHEARD_MAX: Final = 20_000
_CHANNELS_MAX: Final = 1_000
_LEFTOVERS_MAX: Final = 10_000
_NAMES_SHOWN: Final = 3
_CHUNK: Final = 100
_SCAN_COUNT: Final = 1_000
#: A look through all keys ends here, in seconds: Redis serves others meanwhile.
_SCAN_SECONDS: Final = 3.0


class RedisExamination(Examination):
    """Ask on connections of kombu's pool, without kombu's prefixes in between."""

    keeps_queues = False

    def __init__(self, connection: Connection, settings: ConnectionSettings) -> None:
        channel: Any = connection.default_channel  # connects, logs in, selects
        self._connection = connection
        self._settings = settings
        self._pool = channel._get_pool()  # noqa: SLF001  (knows TLS, Sentinel, credentials)
        self._client = Redis(connection_pool=self._pool)
        self._database: int = channel.database
        self._prefix: str = channel.global_keyprefix or ""
        self._separator: str = channel.sep
        sentinel: bool = channel.has_sentinel
        self._topics = topics(settings, self._database, sentinel=sentinel)
        self._naming = Naming(
            tuple(channels(settings, self._database, sentinel=sentinel)),
            exchange=settings.event_exchange,
            database=self._database,
            keyprefix=self._prefix,
            by_key=bool(channel.fanout_patterns),
        )
        self._overheard: PubSub | None = None
        self._marks: dict[bytes, bytes] = {}
        self.server = self._ask_server()

    def _ask_server(self) -> str:
        try:
            told = self._client.info("server")
        except (NoPermissionError, ResponseError):
            return "Redis"
        if told.get("redis_mode") == "sentinel":
            # So they say themselves, but only to who publishes.
            raise ResponseError("ERR Only HELLO messages are accepted by Sentinel instances.")
        valkey = told.get("valkey_version")
        return f"Valkey {valkey}" if valkey else f"Redis {told.get('redis_version')}"

    def ground(self) -> Ground:
        """Name the channel: Redis has no exchanges, and nothing can clash."""
        return Ground(f"channel {' and '.join(self._naming.bases)}")

    def has_mailboxes(self) -> bool:
        """Return True: a channel is there as soon as somebody uses it."""
        return True

    def rights(self) -> list[Right]:
        """Subscribe as every monitor does."""
        names, patterns, _ = self._topics
        found = []
        if names:
            right = self._right("subscribe", names)
            found.append(right if right.granted else self._by_pattern(right))
        if patterns:
            found.append(self._right("psubscribe", patterns))
        return found

    def _right(self, command: str, topics: Sequence[str]) -> Right:
        name = f"{command} {' '.join(topics)}"
        try:
            self._subscribe(command, topics).close()
        except ResponseError as exc:
            told = diagnose(exc, self._settings)
            if told.layer != "permission":
                return Right(name, granted=False, why=told.text, advice=told.hint)
            allow = grant(told, self._settings)
            return Right(name, granted=False, why=told.text, grant=allow)
        return Right(name, granted=True)

    def _by_pattern(self, refused: Right) -> Right:
        """Return whether names may be subscribed to as patterns, as we then do."""
        right = self._right("psubscribe", [*map(escape_glob, self._topics.names)])
        return right if right.granted else refused

    def _subscribe(self, command: str, topics: Sequence[str]) -> PubSub:
        """Subscribe and wait for the server to say yes."""
        heard: PubSub = self._client.pubsub()
        try:
            getattr(heard, command)(*topics)
            for _ in topics:
                heard.get_message(timeout=self._settings.connect_timeout)
        except BaseException:
            heard.close()
            raise
        return heard

    # -- elsewhere ------------------------------------------------------------

    def begin(self) -> None:
        """Overhear the heartbeats of all workers, whatever their settings are."""
        exchange = escape_glob(self._settings.event_exchange)
        # Of workers only: tasks may be many, and every worker has heartbeats.
        patterns = dict.fromkeys(("*/worker.*", "*celeryev", f"*{exchange}"))
        with suppress(NoPermissionError, ResponseError):
            self._marks = {key: mark for key, (_, mark, _) in self._lists()[0].items()}
        with suppress(NoPermissionError, ResponseError):
            self._overheard = self._subscribe("psubscribe", list(patterns))

    def elsewhere(self) -> list[Elsewhere]:
        """Return what was overheard, and traces in other databases."""
        found: dict[tuple[str, ...], Elsewhere] = {}
        for place in (*self._heard(), *self._traced()):
            found.setdefault(place.words, place)
        return list(found.values())

    def _heard(self) -> Iterator[Elsewhere]:
        for channel in self._channels():
            words = difference(self._naming, channel)
            if words:
                yield Elsewhere(
                    f"channel {channel}",
                    "workers send events there",
                    self._with_database(words),
                    alive=True,
                )

    def _channels(self) -> list[str]:
        """Return the channels on which something was overheard."""
        heard, self._overheard = self._overheard, None
        if heard is None:
            return []
        channels: dict[str, None] = {}
        try:
            for _ in range(_OVERHEARD_MAX):
                message = heard.get_message(timeout=0.0)
                if message is None or len(channels) >= _CHANNELS_MAX:
                    break
                channels[_text(message["channel"])] = None
        finally:
            heard.close()
        return list(channels)

    def _with_database(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """Turn `-b N` into the URL of database N."""
        if words[0] != "-b":
            return words
        urls = (with_vhost(url, words[1]) for url in self._settings.addresses())
        return ("-b", mask(";".join(urls)), *words[2:])

    def _traced(self) -> Iterator[Elsewhere]:
        with suppress(NoPermissionError, ResponseError):
            for number in self._databases():
                yield from self._traces(number)

    def _databases(self) -> list[int]:
        told = self._client.info("keyspace")
        numbers = [int(name[2:]) for name in told if name.startswith("db")]
        others = [number for number in numbers if number != self._database]
        return [self._database, *others[:_DATABASES_MAX]]

    def _traces(self, number: int) -> Iterator[Elsewhere]:
        """Yield the mailboxes of workers in one database, unless they are ours."""
        listeners = self._listeners(number)
        if listeners == 0:
            return  # workers listen to their mailboxes as long as they live
        # A connection of its own, which is thrown away: of those in the pool
        # each is known to be in our database.
        client = Redis(connection_pool=self._pool, single_connection_client=True)
        try:
            client.execute_command("SELECT", number)
            keys, _ = _scan(client, f"*{_BINDINGS}*.pidbox")
            for key in keys:
                found = self._mailboxes(client, key, number)
                if found is not None:
                    yield replace(found, alive=listeners is not None)
        finally:
            if client.connection is not None:
                client.connection.disconnect()
            client.close()

    def _mailboxes(self, client: Any, key: bytes, number: int) -> Elsewhere | None:
        match = _MAILBOXES.fullmatch(_text(key))
        if match is None or match[2].startswith("reply."):
            return None
        prefix, control = match.groups()
        words: tuple[str, ...] = ()
        if number != self._database:
            words += ("-b", str(number))
        if prefix != self._prefix:
            words += ("--global-keyprefix", prefix)
        if control != self._settings.control_exchange:
            words += ("--control-exchange", control)
        if not words:
            return None
        nodes = [
            _text(member).split(self._separator)[-1].removesuffix(f".{control}.pidbox")
            for member in client.srandmember(key, _NAMES_SHOWN)
        ]
        where = f"database {number}, {_text(key)}"
        seen = f"workers have, or had, their mailboxes there: {', '.join(sorted(nodes))}"
        return Elsewhere(where, seen, self._with_database(words), alive=False)

    # -- leftovers ------------------------------------------------------------

    def leftovers(self, names: Sequence[str]) -> Search:
        """Look for lists that nobody reads and bindings that nobody can have."""
        try:
            return self._search(names)
        except ResponseError as exc:
            return Search(gap=diagnose(exc, self._settings).text)

    def _search(self, names: Sequence[str]) -> Search:
        lists, all_lists = self._lists()
        found = [self._list(key, *facts) for key, facts in lists.items()]
        members, all_members = self._members()
        unread = {list_.name for list_ in found if list_.free}
        others = {list_.name for list_ in found if not list_.free}
        found += self._bindings(members, unread, others)
        if names:
            found = [leftover for leftover in found if leftover.name in names]
        is_all = all_lists and all_members
        gap = "" if is_all else "there are too many keys to look at all of them"
        return Search(found, gap)

    def _lists(self) -> tuple[dict[bytes, tuple[int, bytes, bool]], bool]:
        """Return what there is of each list with our prefix, and whether that is all.

        It is the length, and of the oldest message a mark and whether it is an event.
        """
        pattern = escape_glob(f"{self._prefix}{self._settings.event_queue_prefix}.")
        keys, complete = _scan(self._client, f"{pattern}*")
        found: dict[bytes, tuple[int, bytes, bool]] = {}
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            with self._client.pipeline(transaction=False) as pipe:
                for key in chunk:
                    pipe.llen(key)
                    pipe.lindex(key, -1)
                told = pipe.execute(raise_on_error=False)
            for key, length, oldest in zip(chunk, told[::2], told[1::2], strict=True):
                if isinstance(length, int) and isinstance(oldest, bytes):
                    known = is_event(Message(oldest, ENVELOPE), self._settings.accept)
                    found[key] = length, _mark(oldest), known
        return found, complete

    def _list(self, key: bytes, length: int, mark: bytes, known: bool) -> Leftover:  # noqa: FBT001
        why = ""
        if not known:
            why = "its oldest message is no event"
        elif self._marks.get(key) != mark:
            # Who reads takes the oldest message away.
            why = "somebody reads from it, or it is new"
        return Leftover(
            "list",
            _text(key),
            free=not why,
            why=why,
            messages=length,
            size_bytes=self._size(key),
            key=key,
        )

    def _size(self, key: bytes) -> int | None:
        with suppress(NoPermissionError, ResponseError):
            return self._client.memory_usage(key, samples=5)
        return None

    def _bindings(
        self, members: Sequence[bytes], unread: set[str], others: set[str]
    ) -> Iterator[Leftover]:
        """Yield the bindings of event queues; the lists of `others` are in use.

        On Redis no binding brings events to anybody; only a publisher that
        takes the exchange for another type heeds them, and fills lists.
        """
        listeners = self._listeners(self._database) if members else 0
        begin = f"{self._settings.event_queue_prefix}."
        for member in members:
            key, *_, queue = _text(member).split(self._separator)
            list_ = f"{self._prefix}{queue}"
            if _EVENT_KEY.fullmatch(key) is None or not queue.startswith(begin):
                why = "it is not of an event queue"
            elif list_ in others or (list_ not in unread and listeners != 0):
                why = _shared(listeners)
            else:
                why = ""
            free = not why
            yield Leftover("binding", queue, free=free, why=why, key=member)

    def _members(self) -> tuple[list[bytes], bool]:
        """Return the bindings of the event exchange, and whether that is all."""
        key = f"{self._prefix}{_BINDINGS}{self._settings.event_exchange}"
        members: list[bytes] = []
        for member in self._client.sscan_iter(key, count=_SCAN_COUNT):
            members.append(member)
            if len(members) >= _LEFTOVERS_MAX:
                return members, False
        return members, True

    def _listeners(self, database: int) -> int | None:
        """Return how many subscribers a database has, None if it is not told."""
        try:
            clients = self._client.client_list(_type="pubsub")
        except (NoPermissionError, ResponseError):
            return None
        return sum(client.get("db") == str(database) for client in clients)

    def remove(self, leftover: Leftover) -> str:
        """Remove a list that nobody has read from since, or a binding."""
        if leftover.kind == "binding":
            exchange = self._settings.event_exchange
            for keys in (_BINDINGS, _PERMANENT):
                self._client.srem(f"{self._prefix}{keys}{exchange}", leftover.key)
            return ""
        key = leftover.key
        with self._client.pipeline() as pipe:
            pipe.watch(key)
            oldest = cast("bytes | None", pipe.lindex(key, -1))
            if oldest is None or _mark(oldest) != self._marks.get(key):
                return "somebody has read from it meanwhile"
            pipe.multi()
            pipe.delete(key)
            try:
                pipe.execute()
            except WatchError:
                return "somebody uses it right now"
        return ""

    def close(self) -> None:
        """Close all connections."""
        with suppress(OSError, RedisError):
            if self._overheard is not None:
                self._overheard.close()
            self._pool.disconnect()
            self._connection.release()


def grant(told: Diagnosis, settings: ConnectionSettings, *, attempt: int = 0) -> str:
    """Return what an administrator types so that a user may watch.

    Redis looks at the command first, and says nothing of channels to those who
    may not use it.  A channel for those who may use all is an error of its own,
    and adds nothing: so it stands in a line of its own.
    """
    addresses = settings.addresses()
    address = parse(addresses[attempt % len(addresses)])
    words = ["redis-cli", *_server(address, settings), "ACL", "SETUSER"]
    words.append(unquote(address.user) or "default")
    database = database_of(address)
    sentinel = kind_of(address.scheme).family == "sentinel"
    names, patterns, _ = topics(settings, database, sentinel=sentinel)
    allowed = [f"&{topic}" for topic in (*names, *patterns)]
    if _NO_CHANNEL.match(told.text):
        return shlex.join((*words, *allowed))
    commands = ["+ping", *["+select"] * bool(database)]
    commands += ["+subscribe"] * bool(names) + ["+psubscribe"] * bool(patterns)
    return f"{shlex.join((*words, *commands))}\n  {shlex.join((*words, *allowed))}"


def raise_limit(settings: ConnectionSettings, *, attempt: int = 0) -> str:
    """Return what raises maxclients, as soon as there is room for redis-cli."""
    addresses = settings.addresses()
    address = parse(addresses[attempt % len(addresses)])
    words = ("redis-cli", *_server(address, settings), "CONFIG", "SET", "maxclients")
    # Whatever else it is told ends it.
    full = "grep -v -e 'max number' -e '^$'"
    return f"until {shlex.join(words)} {_CLIENTS} | {full}; do sleep 1; done"


def _server(address: Address, settings: ConnectionSettings) -> Iterator[str]:
    """Yield the words that lead redis-cli to the server."""
    family = kind_of(address.scheme).family
    if family == "socket":
        yield from ("-s", f"/{unquote(address.path)}")
    elif family == "redis":
        if address.hostname not in ("", "localhost", "127.0.0.1"):
            yield from ("-h", address.hostname)
        if address.port not in (None, _PORT):
            yield from ("-p", str(address.port))
        if tls_for(settings.tls, address) is not None:
            yield "--tls"


def _scan(client: Any, pattern: str) -> tuple[list[bytes], bool]:
    """Return the keys that match, and whether all keys were looked at."""
    keys: dict[bytes, None] = {}
    end = time.monotonic() + _SCAN_SECONDS
    cursor = 0
    while True:
        cursor, some = client.scan(cursor, match=pattern, count=_SCAN_COUNT)
        keys.update(dict.fromkeys(some))
        if int(cursor) == 0:
            return list(keys), True
        if len(keys) >= _LEFTOVERS_MAX or time.monotonic() > end:
            return list(keys)[:_LEFTOVERS_MAX], False


def _shared(listeners: int | None) -> str:
    if listeners is None:
        return "we may not ask who listens"
    return f"it may belong to one of {listeners} listeners"


def _mark(message: bytes) -> bytes:
    return hashlib.blake2b(message, digest_size=16).digest()


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
