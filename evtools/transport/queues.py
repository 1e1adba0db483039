"""What a broker says of queues, what waits in them on Redis, and purging them; RedBeat's entries.

RedBeat is a scheduler of Celery that keeps its entries in Redis.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Final, Self

import msgspec
from amqp.exceptions import AccessRefused, ChannelError, NotFound, ResourceLocked
from kombu.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ResponseError

from evtools.errors import UsageError
from evtools.transport.connection import reach
from evtools.transport.errors import explain
from evtools.transport.settings import ConnectionSettings
from evtools.wire import TIME_MAX

#: How many queues are asked about in one round trip to Redis.
_CHUNK: Final = 100
_NAME_MAX_BYTES: Final = 255
#: Why RabbitMQ says nothing about a queue.
_REASONS: Final[dict[type[Exception], str]] = {
    NotFound: "there is no such queue",
    ResourceLocked: "it belongs to one connection",
    AccessRefused: "we have no permission for it",
}
#: How much of the messages in Redis one look reads, and of a single one.
_LOOK_BYTES: Final = 2 * 1024 * 1024
_MESSAGE_BYTES: Final = 1024 * 1024
#: More messages without an acknowledgement are not counted by queue.
_UNACKED_MAX: Final = 2000
_EXCHANGES_MAX: Final = 20
_BINDINGS_MAX: Final = 1000
#: How many waiting messages are looked at, and at once.
PEEKED_MAX: Final = 100
_PEEKED_AT_ONCE: Final = 10
#: The longest name of a task, or id, that is kept.
_TEXT_MAX_CHARS: Final = 300
_LARGE_MAX: Final = 1000
#: How many entries of RedBeat are read, and how long one and its key may be.
_ENTRIES_MAX: Final = 500
_ENTRY_MAX_BYTES: Final = 64 * 1024
_KEY_MAX_BYTES: Final = 1024
_PART_MAX_CHARS: Final = 60
#: The fields of a crontab as cron has them, and the frequencies of a rule by their numbers.
_CRONTAB: Final = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
_FREQUENCIES: Final = dict(
    enumerate(("yearly", "monthly", "weekly", "daily", "hourly", "minutely", "secondly"))
)
_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]{1,30}(?:/[A-Za-z0-9_+-]{1,30}){0,2}")
_LINE_MAX_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages a queue has `ready` for consumers; None has a `reason`.

    `ready` is what operators compare with: messages_ready of RabbitMQ, and LLEN over the lists
    of all priorities on Redis.  `unacked` ones are with workers that have not acknowledged them,
    None where that is not known; `consumers` likewise.  `oldest` has the ids of the tasks that
    wait for longest, one for each priority in which any wait, None if they are not known.
    On Redis a queue that is empty and one that never was are the same.
    """

    ready: int | None
    consumers: int | None = None
    reason: str = ""
    unacked: int | None = None
    unacked_reason: str = ""
    oldest: tuple[str, ...] | None = None


_NO_NAME: Final = Depth(None, reason="no queue can be called that")
_MISSING: Final = Depth(None, reason=_REASONS[NotFound])


@dataclass(frozen=True, slots=True)
class Waiting:
    """The messages of a queue that are next: how many of them are of which type of task.

    The name is "" where a message does not say it.  `reason` says why no more of them, or
    none, were looked at.
    """

    names: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""

    @property
    def count(self) -> int:
        """How many were looked at."""
        return sum(self.names.values())


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """An entry of RedBeat: the type of task that it sends, and when.

    `due` is when it is to be sent next, and `last` when it was sent, in UTC epoch seconds by the
    clock of the scheduler; None if never.  `every` is its interval in seconds, None where it has a
    crontab or a rule, and `schedule` any of them as text, which is not sanitised.
    """

    name: str
    task: str
    due: float
    last: float | None = None
    every: float | None = None
    schedule: str = ""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """The entries of RedBeat that are enabled, the first that are due; or else why not: `reason`.

    `left_out` is how many more there are, or cannot be read.
    """

    tasks: tuple[PlannedTask, ...] = ()
    left_out: int = 0
    reason: str = ""


class Gauge:
    """Ask a broker about queues, on a connection that stays open; publish and take nothing."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._connection: Connection | None = None
        self._redis: _Redis | None = None

    def look(self, queues: Iterable[str], *, oldest: bool = False) -> dict[str, Depth]:
        """Return how long each queue is, and with `oldest` which tasks wait for longest.

        Raise UsageError for settings that cannot work and BrokerUnavailable when the broker
        does not answer; the next look connects again.
        """
        depths = dict.fromkeys(queues, _NO_NAME)
        names = [name for name in depths if _is_name(name)]
        try:
            connection = self._connect()
            if connection.transport.driver_name == "py-amqp":
                depths.update(_on_rabbitmq(connection, names, _length))
            elif self._redis is not None:
                depths.update(self._redis.look(names, oldest=oldest))
            else:
                channel: Any = connection.default_channel
                depths.update((name, Depth(channel._size(name))) for name in names)  # noqa: SLF001
        except Exception as exc:
            self.close()
            raise explain(exc, self._settings) from exc
        return depths

    def peek(self, queue: str) -> Waiting:
        """Return what waits in a queue, without taking it; raise as `look` does."""
        try:
            connection = self._connect()
            if self._redis is not None:
                return self._redis.peek(queue) if _is_name(queue) else Waiting()
        except Exception as exc:
            self.close()
            raise explain(exc, self._settings) from exc
        if connection.transport.driver_name == "py-amqp":
            return Waiting(reason="RabbitMQ shows messages only by taking them")
        return Waiting(reason="this broker does not show what waits")

    def plan(self) -> Plan:
        """Return what RedBeat plans, nothing where it is not used; raise as `look` does."""
        try:
            self._connect()
            if self._redis is None:
                return Plan()
            return self._redis.plan(self._settings.redbeat_key_prefix)
        except Exception as exc:
            self.close()
            raise explain(exc, self._settings) from exc

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = reach(self._settings)
            if self._connection.transport.driver_type == "redis":
                self._redis = _Redis(self._connection.default_channel)
        return self._connection

    def close(self) -> None:
        connection, self._connection, self._redis = self._connection, None, None
        if connection is not None:
            connection.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def purge(settings: ConnectionSettings, queues: Iterable[str]) -> Iterator[tuple[str, Depth]]:
    """Delete all messages that are ready in each queue; yield how many those were.

    None of them where the broker refuses, with the reason.  What consumers have and did not
    acknowledge stays.  Raise UsageError in read-only mode and whatever the driver raises.
    """
    if settings.read_only:
        raise UsageError(
            "no queue is purged: read-only mode changes nothing",
            "leave out --read-only (or EVTOOLS_READ_ONLY) to act on the cluster",
        )
    names = list(dict.fromkeys(queues))
    yield from ((name, _NO_NAME) for name in names if not _is_name(name))
    names = list(filter(_is_name, names))
    with reach(settings) as connection:
        channel: Any = connection.default_channel
        if connection.transport.driver_name == "py-amqp":
            yield from _on_rabbitmq(
                connection, names, lambda channel, name: Depth(channel.queue_purge(name))
            )
        elif connection.transport.driver_type == "redis":
            for name, depth in _Redis(channel).lengths(names):
                # A key of that name that is no list would be deleted just the same.
                yield name, depth if depth.reason else Depth(channel.queue_purge(name))
        else:
            for name in names:
                is_there = channel._has_queue(name)  # noqa: SLF001
                yield name, Depth(channel.queue_purge(name)) if is_there else _MISSING


def _is_name(text: str) -> bool:
    # Senders choose any.
    try:
        return 0 < len(text.encode()) <= _NAME_MAX_BYTES
    except UnicodeEncodeError:
        return False


def _on_rabbitmq(
    connection: Connection, queues: Iterable[str], ask: Callable[[Any, str], Depth]
) -> Iterator[tuple[str, Depth]]:
    channel = connection.channel()
    for queue in queues:
        try:
            answer = ask(channel, queue)
        except ChannelError as exc:
            # The channel is closed by that.
            channel = connection.channel()
            answer = Depth(None, reason=_REASONS.get(type(exc), str(exc)))
        yield queue, answer
    channel.close()


def _length(channel: Any, queue: str) -> Depth:
    declared = channel.queue_declare(queue, passive=True)
    reason = "RabbitMQ does not say it over AMQP"
    return Depth(declared.message_count, declared.consumer_count, unacked_reason=reason)


# --- Redis ------------------------------------------------------------------------------
#
# kombu makes several lists of one queue, one for each priority: it pushes at the left and pops
# at the right.  What a consumer has is in one hash for all queues, by delivery tag, until it is
# acknowledged: the message, and by which exchange and routing key it came.

#: An exchange and a routing key.
_Route = tuple[str, str]


class _Envelope(msgspec.Struct):
    headers: Any = None
    properties: Any = None


class _Redis:
    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._prefix: str = channel.global_keyprefix or ""
        #: Of messages that are not acknowledged, by tag; None for what cannot be read.
        self._routes: dict[bytes, _Route | None] = {}
        #: Lists whose next messages are too large to be looked at.
        self._large: set[str] = set()
        #: The lists of each queue that had messages when it was last looked at.
        self._filled: dict[str, list[str]] = {}

    def look(self, queues: list[str], *, oldest: bool) -> Iterator[tuple[str, Depth]]:
        depths = dict(self.lengths(queues))
        ids = self._oldest(self._filled) if oldest else {}
        counts, unknown = self._unacked()
        for queue, depth in depths.items():
            reason = unknown.get(queue, unknown.get("", ""))
            if depth.ready is not None:
                depth = replace(  # noqa: PLW2901
                    depth,
                    unacked=None if reason else counts[queue],
                    unacked_reason=reason,
                    oldest=ids.get(queue),
                )
            yield queue, depth

    def lengths(self, queues: Sequence[str]) -> Iterator[tuple[str, Depth]]:
        self._filled = {}
        for start in range(0, len(queues), _CHUNK):
            keys = {queue: self._keys(queue) for queue in queues[start : start + _CHUNK]}
            replies = iter(self._ask([("LLEN", key) for one in keys.values() for key in one]))
            for queue, lists in keys.items():
                found = {key: next(replies) for key in lists}
                errors = [one for one in found.values() if isinstance(one, Exception)]
                if errors:
                    yield queue, Depth(None, reason=str(errors[0]))
                else:
                    self._filled[queue] = [key for key, length in found.items() if int(length)]
                    yield queue, Depth(sum(map(int, found.values())))

    def _keys(self, queue: str) -> list[str]:
        name = self._channel._q_for_pri  # noqa: SLF001
        # Those of the priority that is served first come first.
        return [f"{self._prefix}{name(queue, step)}" for step in self._channel.priority_steps]

    def _ask(self, commands: Sequence[Sequence[Any]], limit_bytes: int = _LOOK_BYTES) -> list[Any]:
        # The reply to each command, as far as they are not larger than the limit together.
        pool = self._channel.pool
        connection = pool.get_connection()
        try:
            return _replies(connection, commands, limit_bytes)
        finally:
            pool.release(connection)

    # --- what waits ---------------------------------------------------------------------

    def _oldest(self, tails: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
        ids: dict[str, tuple[str, ...]] = {}
        keys = [key for lists in tails.values() for key in lists if key not in self._large]
        messages: dict[str, Any] = {}
        left = _LOOK_BYTES
        for start in range(0, len(keys), _PEEKED_AT_ONCE):
            if left <= 0:
                break
            for key, message in self._messages(
                [(key, 1) for key in keys[start:][:_PEEKED_AT_ONCE]], left
            ):
                messages[key] = message
                left -= len(message or b"")
        for queue, lists in tails.items():
            found = [_task_of(messages.get(key))[1] for key in lists]
            if all(found):
                ids[queue] = tuple(found)
        return ids

    def _messages(
        self, places: Sequence[tuple[str, int]], limit_bytes: int
    ) -> Iterator[tuple[str, bytes | None]]:
        # Messages by their list, and how many from its end; fewer where they are larger.
        replies = self._ask([("LINDEX", key, -number) for key, number in places], limit_bytes)
        for (key, _), reply in zip(places, replies, strict=False):
            yield key, reply if isinstance(reply, bytes) else None
        if len(replies) < len(places) and len(self._large) < _LARGE_MAX:
            # Redis has to copy it each time, so it is not asked for again.
            self._large.add(places[len(replies)][0])

    def peek(self, queue: str) -> Waiting:
        names: Counter[str] = Counter()
        left = _LOOK_BYTES
        keys = self._keys(queue)
        for key, length in zip(keys, self._ask([("LLEN", key) for key in keys]), strict=True):
            if isinstance(length, Exception):
                return Waiting(names, str(length))
            last = min(int(length), PEEKED_MAX - names.total())
            for first in range(1, last + 1, _PEEKED_AT_ONCE):
                if key not in self._large and left > 0:
                    numbers = range(first, min(first + _PEEKED_AT_ONCE, last + 1))
                    for _, message in self._messages([(key, number) for number in numbers], left):
                        if message is not None:
                            names[_task_of(message)[0]] += 1
                            left -= len(message)
                if key in self._large or left <= 0:
                    return Waiting(names, "the next messages are too large to be looked at")
        return Waiting(names)

    # --- what RedBeat plans -------------------------------------------------------------
    #
    # It has a sorted set of the keys of its entries, by when they are due, and a hash for each.
    # It knows no prefix of kombu's.

    def plan(self, prefix: str) -> Plan:
        schedule = f"{prefix}:schedule"
        # What is not to be sent any more is due at -1.
        [count, keys] = self._ask([
            ("ZCOUNT", schedule, 0, "+inf"),
            ("ZRANGEBYSCORE", schedule, 0, "+inf", "LIMIT", 0, _ENTRIES_MAX),
        ])  # fmt: skip
        if isinstance(count, Exception) or isinstance(keys, Exception):
            return Plan(reason=str(count if isinstance(count, Exception) else keys))
        start = prefix.encode()
        keys = [key for key in keys if key.startswith(start) and len(key) <= _KEY_MAX_BYTES]
        sizes = self._ask(
            [("HSTRLEN", key, part) for key in keys for part in ("definition", "meta")]
        )
        if refused := next((size for size in sizes if isinstance(size, Exception)), None):
            return Plan(reason=str(refused))
        small, left = [], _LOOK_BYTES
        for key, *both in zip(keys, sizes[::2], sizes[1::2], strict=True):
            if max(map(int, both)) <= _ENTRY_MAX_BYTES and sum(map(int, both)) <= left:
                small.append(key)
                left -= sum(map(int, both))
        asked: list[Sequence[Any]] = []
        for key in small:
            asked += ("ZSCORE", schedule, key), ("HMGET", key, "definition", "meta")
        replies = self._ask(asked, 2 * _LOOK_BYTES) if asked else []
        pairs = zip(replies[::2], replies[1::2], strict=False)
        tasks = [task for due, parts in pairs if (task := _planned(due, parts)) is not None]
        enabled = tuple(task for task in tasks if task.enabled)
        return Plan(enabled, max(0, int(count) - len(tasks)))

    # --- what is not acknowledged -------------------------------------------------------

    def _unacked(self) -> tuple[Counter[str], dict[str, str]]:
        # How many messages of each queue, and of which it is not known, and why; "" is all.
        counts: Counter[str] = Counter()
        key = f"{self._prefix}{self._channel.unacked_key}"
        [count] = self._ask([("HLEN", key)])
        if isinstance(count, Exception):
            return counts, {"": str(count)}
        if int(count) > _UNACKED_MAX:
            many = f"{int(count)} messages are not acknowledged: too many to count them by queue"
            return counts, {"": many}
        replies = self._ask([("HKEYS", key)]) if int(count) else [[]]
        if not replies or not isinstance(replies[0], list):
            return counts, {"": str(replies[0]) if replies else "they are too large to be read"}
        tags: list[bytes] = replies[0]
        if refusal := self._read_routes(key, tags):
            return counts, {"": refusal}
        routes = Counter(self._routes[tag] for tag in tags if tag in self._routes)
        return self._by_queue(routes)

    def _read_routes(self, key: str, tags: Collection[bytes]) -> str:
        # Of the messages that are new; return why not all are known.
        self._routes = {tag: self._routes[tag] for tag in tags if tag in self._routes}
        new = [tag for tag in tags if tag not in self._routes]
        sizes = self._ask([("HSTRLEN", key, tag) for tag in new]) if new else []
        if refused := next((size for size in sizes if isinstance(size, Exception)), None):
            return str(refused)
        small, gone, left = [], set(), _LOOK_BYTES
        for tag, size in zip(new, map(int, sizes), strict=False):
            if not size:
                gone.add(tag)
            elif size > _MESSAGE_BYTES:
                self._routes[tag] = None
            elif size <= left:
                small.append(tag)
                left -= size
        values = self._ask([("HGET", key, tag) for tag in small], 2 * _LOOK_BYTES) if small else []
        for tag, value in zip(small, values, strict=False):
            if isinstance(value, Exception):
                return str(value)
            if value is None:
                gone.add(tag)
            else:
                self._routes[tag] = _route_of(value)
        is_whole = all(tag in self._routes or tag in gone for tag in new)
        # The next look reads on.
        return "" if is_whole else "they are still being read"

    def _by_queue(self, routes: Mapping[_Route | None, int]) -> tuple[Counter[str], dict[str, str]]:
        counts: Counter[str] = Counter()
        unknown: dict[str, str] = {}
        bindings: dict[str, list[list[str]] | None] = {}
        for route, count in routes.items():
            if route is None:
                unknown[""] = "some messages that are not acknowledged cannot be read"
                continue
            exchange, routing_key = route
            if not exchange:  # the default one leads to the queue of that name
                counts[routing_key] += count
                continue
            if exchange not in bindings:
                few = len(bindings) < _EXCHANGES_MAX
                bindings[exchange] = self._bindings(exchange) if few else None
            bound = bindings[exchange]
            queues = {row[-1] for row in bound or () if _may_match(row, routing_key)}
            if not queues:
                unknown[""] = "some messages came by an exchange whose queues are not known"
            elif len(queues) == 1:
                counts[queues.pop()] += count
            else:
                reason = "its messages came by an exchange that leads to several queues"
                unknown |= dict.fromkeys(queues, reason)
        return counts, unknown

    def _bindings(self, exchange: str) -> list[list[str]] | None:
        # Routing key, pattern and queue of each; None if there are too many, or it is no exchange.
        key = f"{self._prefix}{self._channel.keyprefix_queue % exchange}"
        [count] = self._ask([("SCARD", key)])
        if isinstance(count, Exception) or not 0 < int(count) <= _BINDINGS_MAX:
            return None
        replies = self._ask([("SMEMBERS", key)])
        if not replies or not isinstance(replies[0], list):
            return None
        separator = self._channel.sep
        return [member.decode(errors="replace").split(separator) for member in replies[0]]


def _may_match(binding: Sequence[str], routing_key: str) -> bool:
    # Whether the exchange is a direct one or a topic is not written there, so what has wildcards
    # may match anything.
    return binding[0] == routing_key or any(one in "*#" for one in binding[0].split("."))


def _task_of(message: bytes | None) -> tuple[str, str]:
    # The type and the id of the task in a message, "" where it does not say them.
    try:
        envelope = msgspec.json.decode(message or b"{}", type=_Envelope)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return "", ""
    headers = envelope.headers if isinstance(envelope.headers, dict) else {}
    name, uuid = headers.get("task"), headers.get("id")
    if uuid is None and isinstance(envelope.properties, dict):
        # The first protocol has its headers in the body.
        uuid = envelope.properties.get("correlation_id")
    return _short(name), _short(uuid)


def _short(text: Any) -> str:
    return text if isinstance(text, str) and len(text) <= _TEXT_MAX_CHARS else ""


def _route_of(value: bytes) -> _Route | None:
    try:
        _, exchange, routing_key = msgspec.json.decode(
            value, type=tuple[msgspec.Raw, str | None, str | None]
        )
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if max(len(exchange or ""), len(routing_key or "")) > _NAME_MAX_BYTES:
        return None
    return exchange or "", routing_key or ""


# --- entries of RedBeat -------------------------------------------------------------------
#
# Its own JSON: a schedule, or a time, is an object with its fields and `__type__`.


class _Entry(msgspec.Struct):
    task: str
    schedule: dict[str, Any]
    name: str = ""
    enabled: bool = True


class _Moment(msgspec.Struct):
    year: int
    month: int
    day: int
    hour: int = 0
    minute: int = 0
    second: int = 0
    microsecond: int = 0
    timezone: str | float = "UTC"


class _Runs(msgspec.Struct):
    last_run_at: _Moment | None = None


def _planned(due: Any, parts: Any) -> PlannedTask | None:
    # None for what cannot be read, or has gone meanwhile.
    try:
        definition, meta = parts
        entry = msgspec.json.decode(definition, type=_Entry)
        runs = msgspec.json.decode(meta, type=_Runs) if meta else _Runs()
        at = float(due)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return None
    if not 0 <= at <= TIME_MAX or not 0 < len(entry.task) <= _TEXT_MAX_CHARS:
        return None
    every = entry.schedule.get("every")
    is_interval = entry.schedule.get("__type__") == "interval"
    if not is_interval or not isinstance(every, int | float) or not 0 < every <= TIME_MAX:
        every = None
    last = None if runs.last_run_at is None else _epoch(runs.last_run_at)
    name, text = entry.name[:_TEXT_MAX_CHARS], _schedule_text(entry.schedule)
    return PlannedTask(name, entry.task, at, last, every, text, entry.enabled)


def _epoch(moment: _Moment) -> float | None:
    # Only here: evcam imports this module, and loads a user's camera as another user.
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    zone: tzinfo = UTC
    if isinstance(moment.timezone, str) and not _ZONE.fullmatch(moment.timezone):
        return None
    try:
        if not isinstance(moment.timezone, str):
            zone = timezone(timedelta(seconds=moment.timezone))
        elif moment.timezone != "UTC":
            zone = ZoneInfo(moment.timezone)
        fields = (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)
        return datetime(*fields, moment.microsecond, tzinfo=zone).timestamp()
    except (ValueError, OverflowError, KeyError, OSError):
        return None


def _schedule_text(fields: Mapping[str, Any]) -> str:
    kind = fields.get("__type__")
    if kind == "crontab":
        parts = [str(fields.get(name, "*"))[:_PART_MAX_CHARS] for name in _CRONTAB]
        return f"crontab {' '.join(parts)}"
    if kind == "rrule":
        freq, interval = fields.get("freq"), fields.get("interval")
        named = _FREQUENCIES.get(freq) if isinstance(freq, int) else None
        times = f", interval {interval}" if isinstance(interval, int) and interval != 1 else ""
        return f"rule {named or 'of its own'}{times}"
    return ""


def _replies(connection: Any, commands: Sequence[Sequence[Any]], limit_bytes: int) -> list[Any]:
    # redis-py keeps a reply of any size in memory, so these are read under its parser, and no
    # further than the limit: then there are fewer replies than commands, and the connection ends.
    # Arrays are lists, numbers and texts bytes, refusals ResponseErrors.
    found: list[Any] = []
    try:
        for command in commands:
            connection.send_command(*command, check_health=False)
        with connection._sock.makefile("rb") as stream:  # noqa: SLF001
            reader = _Reader(stream, limit_bytes)
            for _ in commands:
                found.append(reader.reply())  # noqa: PERF401  (whatever comes after it)
    except _TooMuchError:
        connection.disconnect()
    except BaseException:
        connection.disconnect()
        raise
    return found


class _TooMuchError(Exception):
    pass


class _Reader:
    # Of RESP2, and of RESP3 as far as such commands are answered so.

    def __init__(self, stream: Any, limit_bytes: int) -> None:
        self._stream = stream
        self._left = limit_bytes

    def reply(self, *, nests: bool = True) -> Any:
        line = self._stream.readline(_LINE_MAX_BYTES)
        if not line.endswith(b"\r\n"):
            if len(line) == _LINE_MAX_BYTES:
                raise InvalidResponse("a line without end")
            raise RedisConnectionError("the broker closed the connection")
        kind, text = line[:1], line[1:-2]
        self._spend(len(line))
        if kind == b"-":
            return ResponseError(text.decode(errors="replace"))
        if kind in (b"+", b":", b","):
            return text
        if kind == b"_":
            return None
        if kind not in (b"$", b"*", b"~") or not text.lstrip(b"-").isdigit():
            raise InvalidResponse(f"a reply that begins with {line[:20]!r}")
        size = int(text)
        if size < 0:
            return None
        if kind == b"$":
            self._spend(size + 2)
            data = self._stream.read(size + 2)
            if len(data) < size + 2:
                raise RedisConnectionError("the broker closed the connection")
            return data[:-2]
        if not nests:
            raise InvalidResponse("an array within an array")
        self._spend(size)
        return [self.reply(nests=False) for _ in range(size)]

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _TooMuchError
