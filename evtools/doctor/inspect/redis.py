"""What Redis, Valkey and compatible servers reveal of themselves."""

import hashlib
import re
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from itertools import islice
from typing import Any, Final, NamedTuple, cast
from urllib.parse import unquote

from kombu.connection import Connection
from redis import Redis
from redis.client import PubSub
from redis.exceptions import RedisError, ResponseError, WatchError

from evtools.doctor.inspect import (
    BrokerInspector,
    Elsewhere,
    ExchangeStatus,
    OrphanedQueue,
    OrphanSearch,
    Permission,
    allow,
    is_event,
)
from evtools.transport import ConnectionSettings
from evtools.transport.connection import channels, database_of, topics
from evtools.transport.errors import Diagnosis, diagnose
from evtools.transport.tls import tls_for
from evtools.transport.url import Address, kind_of, mask, parse, with_vhost
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
#: More connections than Redis accepts by default, which is 10 000.
_CLIENTS: Final = 12_000
_DATABASES_MAX: Final = 64
_OVERHEARD_MAX: Final = 20_000
_CHANNELS_MAX: Final = 1_000
_ORPHANS_MAX: Final = 10_000
_NAMES_SHOWN: Final = 3
_CHUNK: Final = 100
_SCAN_COUNT: Final = 1_000
#: A look through all keys ends here, in seconds: Redis serves others meanwhile.
_SCAN_SECONDS: Final = 3.0


class RedisInspector(BrokerInspector):
    """Ask on connections of kombu's pool, without kombu's prefixes in between."""

    keeps_queues = False

    def __init__(self, connection: Connection, settings: ConnectionSettings) -> None:
        channel: Any = connection.default_channel  # connects, logs in, selects
        self._connection, self._settings = connection, settings
        self._pool = channel._get_pool()  # noqa: SLF001  (kombu has no other way)
        self._client = Redis(connection_pool=self._pool)
        self._database: int = channel.database
        self._prefix: str = channel.global_keyprefix or ""
        self._separator: str = channel.sep
        sentinel: bool = channel.has_sentinel
        self._topics = topics(settings, self._database, sentinel=sentinel)
        bases = tuple(channels(settings, self._database, sentinel=sentinel))
        exchange, by_key = settings.event_exchange, bool(channel.fanout_patterns)
        self._naming = Naming(bases, exchange, self._database, self._prefix, by_key)
        self._overheard: PubSub | None = None
        #: By key, a mark of the oldest message of each list at the first look.
        self._marks: dict[bytes, bytes] = {}
        self.server = "Redis"
        info: dict[str, Any] = {}
        with suppress(ResponseError):
            info = self._client.info("server")
        # Valkey 8 calls it by a name of its own.
        if "sentinel" in (info.get("redis_mode"), info.get("server_mode")):
            # So they say themselves, but only to those who publish.
            raise ResponseError("ERR Only HELLO messages are accepted by Sentinel instances.")
        if info:
            valkey = info.get("valkey_version")
            self.server = f"Valkey {valkey}" if valkey else f"Redis {info.get('redis_version')}"

    def exchange(self) -> ExchangeStatus:
        """Name the channel: Redis has no exchanges, and nothing can clash."""
        return ExchangeStatus(f"channel {' and '.join(self._naming.bases)}")

    def permissions(self) -> list[Permission]:
        names, patterns, _ = self._topics
        tried = []
        if names:
            permission = self._try("subscribe", names)
            if permission.refusal:
                # Where names are refused, monitors subscribe to them as patterns.
                by_pattern = self._try("psubscribe", [*map(escape_glob, names)])
                permission = permission if by_pattern.refusal else by_pattern
            tried.append(permission)
        return [*tried, self._try("psubscribe", patterns)] if patterns else tried

    def _try(self, command: str, wanted: Sequence[str]) -> Permission:
        name = f"{command} {' '.join(wanted)}"
        try:
            self._subscribe(command, wanted).close()
        except ResponseError as exc:
            diagnosis = diagnose(exc, self._settings)
            advice = diagnosis.hint
            if diagnosis.layer == "permission":
                advice = allow(_grant(diagnosis, self._settings))
            return Permission(name, diagnosis.text, advice)
        return Permission(name)

    def _subscribe(self, command: str, wanted: Sequence[str]) -> PubSub:
        pubsub: PubSub = self._client.pubsub()
        try:
            getattr(pubsub, command)(*wanted)
            for _ in wanted:
                pubsub.get_message(timeout=self._settings.connect_timeout)
        except BaseException:
            pubsub.close()
            raise
        return pubsub

    def begin(self) -> None:
        """Overhear the heartbeats of all workers, whatever their settings are."""
        exchange = escape_glob(self._settings.event_exchange)
        # Of workers only: tasks may be many, and every worker has heartbeats.
        patterns = dict.fromkeys(("*/worker.*", "*celeryev", f"*{exchange}"))
        with suppress(ResponseError):
            self._marks = {orphan.key: orphan.mark for orphan in self._lists()[0]}
        with suppress(ResponseError):
            self._overheard = self._subscribe("psubscribe", list(patterns))

    def elsewhere(self) -> list[Elsewhere]:
        found: dict[tuple[str, ...], Elsewhere] = {}
        if self._overheard is not None:
            channels_seen: dict[str, None] = {}
            with closing(self._overheard) as pubsub:
                for _ in range(_OVERHEARD_MAX):
                    message = pubsub.get_message(timeout=0.0)
                    if message is None or len(channels_seen) >= _CHANNELS_MAX:
                        break
                    channels_seen[_text(message["channel"])] = None
            self._overheard = None
            for channel in channels_seen:
                words = self._with_database(difference(self._naming, channel))
                seen = "workers send events there"
                found.setdefault(words, Elsewhere(f"channel {channel}", seen, words, alive=True))
        with suppress(ResponseError):
            keyspace = self._client.info("keyspace")
            numbers = [int(name[2:]) for name in keyspace if name.startswith("db")]
            others = [number for number in numbers if number != self._database]
            for number in (self._database, *others[:_DATABASES_MAX]):
                for place in self._mailboxes(number):
                    found.setdefault(place.words, place)
        found.pop((), None)  # our own
        return list(found.values())

    def _with_database(self, words: tuple[str, ...]) -> tuple[str, ...]:
        if words[:1] != ("-b",):
            return words
        urls = (with_vhost(url, words[1]) for url in self._settings.addresses())
        return ("-b", mask(";".join(urls)), *words[2:])

    def _mailboxes(self, number: int) -> Iterator[Elsewhere]:
        # Those of workers in one database.
        listeners = self._listeners(number)
        if listeners == 0:
            return  # workers listen to their mailboxes as long as they live
        # A connection of its own, which is thrown away: those in the pool are all in our database.
        client: Any = Redis(connection_pool=self._pool, single_connection_client=True)
        try:
            client.execute_command("SELECT", number)
            for key in map(_text, _scan(client, f"*{_BINDINGS}*.pidbox")[0]):
                match = _MAILBOXES.fullmatch(key)
                if match is None or match[2].startswith("reply."):
                    continue
                prefix, control = match.groups()
                words: tuple[str, ...] = ()
                for option, theirs, ours in (
                    ("-b", str(number), str(self._database)),
                    ("--global-keyprefix", prefix, self._prefix),
                    ("--control-exchange", control, self._settings.control_exchange),
                ):
                    words += (option, theirs) if theirs != ours else ()
                queues = [
                    _text(member).split(self._separator)[-1]
                    for member in client.srandmember(key, _NAMES_SHOWN)
                ]
                nodes = sorted(queue.removesuffix(f".{control}.pidbox") for queue in queues)
                where = f"database {number}, {key}"
                seen = f"workers have, or had, their mailboxes there: {', '.join(nodes)}"
                alive = listeners is not None
                yield Elsewhere(where, seen, self._with_database(words), alive)
        finally:
            if client.connection is not None:
                client.connection.disconnect()
            client.close()

    def orphans(self, names: Sequence[str]) -> OrphanSearch:
        settings = self._settings
        try:
            lists, all_lists = self._lists()
            table = f"{self._prefix}{_BINDINGS}{settings.event_exchange}"
            every = self._client.sscan_iter(table, count=_SCAN_COUNT)
            members = list(islice(every, _ORPHANS_MAX))
        except ResponseError as exc:
            return OrphanSearch(gap=diagnose(exc, settings).text)
        # On Redis no binding brings events to anybody; only a publisher that takes the exchange
        # for another type heeds them, and fills lists.
        listeners = self._listeners(self._database) if members else 0
        kept_lists, found = {orphan.name: orphan.kept for orphan in lists}, list(lists)
        for member in members:
            key, *_, queue = _text(member).split(self._separator)
            kept_list, kept = kept_lists.get(f"{self._prefix}{queue}"), ""
            is_ours = queue.startswith(f"{settings.event_queue_prefix}.")
            if _EVENT_KEY.fullmatch(key) is None or not is_ours:
                kept = "it is not of an event queue"
            elif kept_list or (kept_list is None and listeners != 0):
                kept = "we may not ask who listens"
                if listeners is not None:
                    kept = f"it may belong to one of {listeners} listeners"
            found.append(OrphanedQueue("binding", queue, kept, key=member))
        if names:
            found = [orphan for orphan in found if orphan.name in names]
        complete = all_lists and len(members) < _ORPHANS_MAX
        return OrphanSearch(found, "" if complete else "there are too many keys to look at all")

    def _lists(self) -> tuple[list[OrphanedQueue], bool]:
        # The lists with our prefix, and whether these are all.  A reader takes the oldest
        # message away; so a list whose mark stayed has no reader.
        pattern = escape_glob(f"{self._prefix}{self._settings.event_queue_prefix}.")
        keys, complete = _scan(self._client, f"{pattern}*")
        found = []
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            with self._client.pipeline(transaction=False) as pipe:
                for key in chunk:
                    pipe.llen(key)
                    pipe.lindex(key, -1)
                    pipe.memory_usage(key, samples=5)
                replies = pipe.execute(raise_on_error=False)
            for number, key in enumerate(chunk):
                length, oldest, size = replies[3 * number : 3 * number + 3]
                if not (isinstance(length, int) and isinstance(oldest, bytes)):
                    continue
                mark, kept = _mark(oldest), ""
                if not is_event(Message(oldest, ENVELOPE), self._settings.accept):
                    kept = "its oldest message is no event"
                elif self._marks.get(key) != mark:
                    kept = "somebody reads from it, or it is new"
                size_bytes = size if isinstance(size, int) else None  # we may not ask for it
                found.append(OrphanedQueue("list", _text(key), kept, length, size_bytes, key, mark))
        return found, complete

    def _listeners(self, database: int) -> int | None:
        # How many subscribers a database has, None if we may not know.
        try:
            clients = self._client.client_list(_type="pubsub")
        except ResponseError:
            return None
        return sum(client.get("db") == str(database) for client in clients)

    def remove(self, orphan: OrphanedQueue) -> str:
        """Remove a list that has not been read from since, or a binding."""
        if orphan.kind == "binding":
            for keys in (_BINDINGS, _PERMANENT):
                table = f"{self._prefix}{keys}{self._settings.event_exchange}"
                self._client.srem(table, orphan.key)
            return ""
        with self._client.pipeline() as pipe:
            pipe.watch(orphan.key)
            oldest = cast("bytes | None", pipe.lindex(orphan.key, -1))
            if oldest is None or _mark(oldest) != self._marks.get(orphan.key):
                return "somebody has read from it meanwhile"
            pipe.multi()
            pipe.delete(orphan.key)
            try:
                pipe.execute()
            except WatchError:
                return "somebody uses it right now"
        return ""

    def close(self) -> None:
        with suppress(OSError, RedisError):
            if self._overheard is not None:
                self._overheard.close()
            self._pool.disconnect()
            self._connection.release()

    @staticmethod
    def remedy(diagnosis: Diagnosis, settings: ConnectionSettings, attempt: int = 0) -> str:
        if diagnosis.layer == "permission":
            return _grant(diagnosis, settings, attempt)
        if diagnosis.layer != "limit":
            return ""
        # As soon as there is room for redis-cli.
        server = _server(_address(settings, attempt), settings)
        words = ("redis-cli", *server, "CONFIG", "SET", "maxclients")
        # Whatever else it prints ends the loop.
        full = "grep -v -e 'max number' -e '^$'"
        return f"until {shlex.join(words)} {_CLIENTS} | {full}; do sleep 1; done"


def _mark(message: bytes) -> bytes:
    return hashlib.blake2b(message, digest_size=16).digest()


def _scan(client: Any, pattern: str) -> tuple[list[bytes], bool]:
    # The keys that match, and whether all keys were looked at.
    keys: dict[bytes, None] = {}
    end = time.monotonic() + _SCAN_SECONDS
    cursor = 0
    while True:
        cursor, some = client.scan(cursor, match=pattern, count=_SCAN_COUNT)
        keys.update(dict.fromkeys(some))
        if int(cursor) == 0:
            return list(keys), True
        if len(keys) >= _ORPHANS_MAX or time.monotonic() > end:
            return list(keys)[:_ORPHANS_MAX], False


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


# --- remedies -----------------------------------------------------------------------


def _grant(diagnosis: Diagnosis, settings: ConnectionSettings, attempt: int = 0) -> str:
    # What an administrator types so that a user may watch.  Redis looks at the command first,
    # and says nothing of channels to those who may not use it.  A channel for those who may
    # use all is an error of its own, and adds nothing: so it stands on a line of its own.
    address = _address(settings, attempt)
    words = ["redis-cli", *_server(address, settings), "ACL", "SETUSER"]
    words.append(unquote(address.user) or "default")
    database = database_of(address)
    sentinel = kind_of(address.scheme).family == "sentinel"
    names, patterns, _ = topics(settings, database, sentinel=sentinel)
    allowed = shlex.join((*words, *[f"&{topic}" for topic in (*names, *patterns)]))
    if _NO_CHANNEL.match(diagnosis.text):
        return allowed
    needed = {"+ping": True, "+select": database, "+subscribe": names, "+psubscribe": patterns}
    commands = [command for command, is_needed in needed.items() if is_needed]
    return f"{shlex.join((*words, *commands))}\n  {allowed}"


def _address(settings: ConnectionSettings, attempt: int) -> Address:
    addresses = settings.addresses()
    return parse(addresses[attempt % len(addresses)])


def _server(address: Address, settings: ConnectionSettings) -> Iterator[str]:
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


# --- names of channels --------------------------------------------------------------

_WITH_DATABASE = re.compile(
    r"(?P<keyprefix>.*)/(?P<database>[0-9]{1,5})\.(?P<exchange>.+)", re.DOTALL
)
#: Events of workers and tasks: kombu puts their routing key behind a slash.
_KEY = re.compile(r"(worker|task)\.[a-z.]{1,40}")


class Naming(NamedTuple):
    """How our own channels are called.

    `bases` are the names of the channel without a routing key, mostly one; `by_key` says
    whether a key follows.
    """

    bases: tuple[str, ...]
    exchange: str
    database: int
    keyprefix: str
    by_key: bool


def difference(ours: Naming, channel: str) -> tuple[str, ...]:
    """Return the options that lead from our settings to `channel`.

    A changed database is `-b` and its number, first of all.  There are none for our own channels.
    """
    base, slash, key = channel.rpartition("/")
    by_key = bool(slash) and _KEY.fullmatch(key) is not None
    base = base if by_key else channel
    words: tuple[str, ...] = ()
    match = _WITH_DATABASE.fullmatch(base)
    if match and base not in ours.bases:
        database = int(match["database"])
        words += ("-b", str(database)) if database != ours.database else ()
        for option, name in (("--event-exchange", "exchange"), ("--global-keyprefix", "keyprefix")):
            words += (option, match[name]) if match[name] != getattr(ours, name) else ()
        # Only our own prefix can be to blame for what is left.
        words = words or ("--fanout-prefix", "on")
    elif base not in ours.bases:
        # What stands before the exchange is a prefix of their own.
        rest = base.removeprefix(ours.keyprefix)
        exchange = next(filter(rest.endswith, (ours.exchange, "celeryev")), rest)
        # As an option has it, where only {db} may stand in braces.
        prefix = rest.removesuffix(exchange).replace("{", "{{").replace("}", "}}")
        words += ("--event-exchange", exchange) if exchange != ours.exchange else ()
        words += ("--fanout-prefix", prefix or "off")
    if by_key != ours.by_key:
        words += ("--fanout-patterns" if by_key else "--no-fanout-patterns",)
    return words
