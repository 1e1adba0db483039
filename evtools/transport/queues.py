"""How long queues are, as the broker itself counts, and purging them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, Self

from amqp.exceptions import AccessRefused, ChannelError, NotFound, ResourceLocked
from kombu.connection import Connection

from evtools.errors import UsageError
from evtools.transport.connection import reach
from evtools.transport.errors import explain
from evtools.transport.settings import ConnectionSettings

#: How many queues are asked about in one round trip to Redis.
_CHUNK: Final = 100
_NAME_MAX_BYTES: Final = 255
#: Why RabbitMQ says nothing about a queue.
_REASONS: Final[dict[type[Exception], str]] = {
    NotFound: "there is no such queue",
    ResourceLocked: "it belongs to one connection",
    AccessRefused: "we have no permission for it",
}


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages wait in a queue, and how many consumers it has; None has a `reason`.

    On Redis a queue that is empty and one that never was are the same.
    """

    messages: int | None
    consumers: int | None = None
    reason: str = ""


_NO_NAME: Final = Depth(None, reason="no queue can be called that")
_MISSING: Final = Depth(None, reason=_REASONS[NotFound])


class Gauge:
    """Ask a broker about queues, on a connection that stays open; publish nothing."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._connection: Connection | None = None

    def look(self, queues: Iterable[str]) -> dict[str, Depth]:
        """Return how long each queue is.

        Raise UsageError for settings that cannot work and BrokerUnavailable when the broker
        does not answer; the next look connects again.
        """
        depths = dict.fromkeys(queues, _NO_NAME)
        names = [name for name in depths if _is_name(name)]
        try:
            if self._connection is None:
                self._connection = reach(self._settings)
            transport = self._connection.transport
            channel: Any = self._connection.default_channel
            if transport.driver_name == "py-amqp":
                depths.update(_on_rabbitmq(self._connection, names, _length))
            elif transport.driver_type == "redis":
                depths.update(_of_redis(channel, names))
            else:
                depths.update((name, Depth(channel._size(name))) for name in names)  # noqa: SLF001
        except Exception as exc:
            self.close()
            raise explain(exc, self._settings) from exc
        return depths

    def close(self) -> None:
        connection, self._connection = self._connection, None
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
            for name, depth in _of_redis(channel, names):
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
    return Depth(declared.message_count, declared.consumer_count)


def _of_redis(channel: Any, queues: list[str]) -> Iterator[tuple[str, Depth]]:
    # kombu makes several lists of one queue, one for each priority.
    steps = channel.priority_steps
    with channel.conn_or_acquire() as client:
        for start in range(0, len(queues), _CHUNK):
            chunk = queues[start : start + _CHUNK]
            with client.pipeline(transaction=False) as pipe:
                for queue, step in product(chunk, steps):
                    pipe.llen(channel._q_for_pri(queue, step))  # noqa: SLF001
                replies = iter(pipe.execute(raise_on_error=False))
            for queue in chunk:
                lengths = [next(replies) for _ in steps]
                errors = [length for length in lengths if isinstance(length, Exception)]
                yield queue, Depth(None, reason=str(errors[0])) if errors else Depth(sum(lengths))
