"""How long queues are, as the broker itself has it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from amqp.exceptions import AccessRefused, ChannelError, NotFound, ResourceLocked
from kombu.connection import Connection

from evtools.transport.brokers import kind_of
from evtools.transport.connection import explain, reach
from evtools.transport.settings import ConnectionSettings
from evtools.transport.url import parse

#: How many queues are asked about in one round trip to Redis.
_CHUNK: Final = 100

_NAME_MAX_BYTES: Final = 255

#: Why RabbitMQ tells nothing about a queue.
_REASONS: Final[Mapping[type[Exception], str]] = {
    NotFound: "there is no such queue",
    ResourceLocked: "it belongs to one connection",
    AccessRefused: "we may not see it",
}


@dataclass(frozen=True, slots=True)
class Depth:
    """Messages that wait in a queue, and who consumes it.

    None is what the broker does not tell; `reason` says why.  On Redis a
    queue that is empty and one that never was are the same.
    """

    messages: int | None
    consumers: int | None = None
    reason: str = ""


_NO_NAME: Final = Depth(None, reason="no queue can be called that")


class Gauge:
    """Ask a broker about queues; publishes nothing.

    A connection of its own stays open between two looks, so that looking
    often costs the broker little.  Raise UsageError for settings that cannot
    work.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._connection: Connection | None = None
        scheme = parse(settings.addresses()[0]).scheme
        self._read = _READERS.get(kind_of(scheme).family, _of_kombu)

    def look(self, queues: Iterable[str]) -> dict[str, Depth]:
        """Return how long each queue is.

        Raise BrokerUnavailable when the broker does not answer; the next look
        connects again.
        """
        try:
            if self._connection is None:
                self._connection = reach(self._settings)
            names = list(queues)
            good = [name for name in names if _is_name(name)]
            depths = dict(self._read(self._connection, good))
            return {name: depths.get(name, _NO_NAME) for name in names}
        except Exception as exc:
            self.close()
            raise explain(exc, self._settings) from exc

    def close(self) -> None:
        """Leave the broker; idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()

    def __enter__(self) -> Self:
        """Return the gauge itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close it."""
        self.close()


def _of_rabbitmq(connection: Connection, queues: Sequence[str]) -> Iterator[tuple[str, Depth]]:
    channel = connection.channel()
    for queue in queues:
        try:
            told = channel.queue_declare(queue, passive=True)
        except ChannelError as exc:
            # The channel is closed by that.
            channel = connection.channel()
            yield queue, Depth(None, reason=_REASONS.get(type(exc), str(exc)))
        else:
            yield queue, Depth(told.message_count, told.consumer_count)
    channel.close()


def _of_redis(connection: Connection, queues: Sequence[str]) -> Iterator[tuple[str, Depth]]:
    """Add up the lists that kombu makes of one queue, one for each priority."""
    channel: Any = connection.default_channel
    steps = channel.priority_steps
    with channel.conn_or_acquire() as client:
        for start in range(0, len(queues), _CHUNK):
            chunk = queues[start : start + _CHUNK]
            with client.pipeline(transaction=False) as pipe:
                for queue in chunk:
                    for step in steps:
                        pipe.llen(channel._q_for_pri(queue, step))  # noqa: SLF001
                lengths = iter(pipe.execute(raise_on_error=False))
            for queue in chunk:
                yield queue, _sum([next(lengths) for _ in steps])


def _is_name(text: str) -> bool:
    """Return whether a broker could have a queue of this name: senders say any."""
    try:
        return 0 < len(text.encode()) <= _NAME_MAX_BYTES
    except UnicodeEncodeError:
        return False


def _sum(lengths: list[Any]) -> Depth:
    for length in lengths:
        if isinstance(length, Exception):
            return Depth(None, reason=str(length))
    return Depth(sum(lengths))


def _of_kombu(connection: Connection, queues: Sequence[str]) -> Iterator[tuple[str, Depth]]:
    channel: Any = connection.default_channel
    for queue in queues:
        yield queue, Depth(channel._size(queue))  # noqa: SLF001  (there is no other way)


_READERS: Final[
    Mapping[str, Callable[[Connection, Sequence[str]], Iterator[tuple[str, Depth]]]]
] = {"amqp": _of_rabbitmq, "redis": _of_redis, "socket": _of_redis, "sentinel": _of_redis}
