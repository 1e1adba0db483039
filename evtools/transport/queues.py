"""How long queues are, as the broker itself counts."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, Self

from amqp.exceptions import AccessRefused, ChannelError, NotFound, ResourceLocked
from kombu.connection import Connection

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
    AccessRefused: "we may not see it",
}


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages wait in a queue, and how many consumers it has; None has a `reason`.

    On Redis a queue that is empty and one that never was are the same.
    """

    messages: int | None
    consumers: int | None = None
    reason: str = ""


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
        depths = {name: Depth(None, reason="no queue can be called that") for name in queues}
        names = [name for name in depths if _is_name(name)]
        try:
            if self._connection is None:
                self._connection = reach(self._settings)
            transport = self._connection.transport
            channel: Any = self._connection.default_channel
            if transport.driver_name == "py-amqp":
                depths.update(_of_rabbitmq(self._connection, names))
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


def _is_name(text: str) -> bool:
    # Senders choose any.
    try:
        return 0 < len(text.encode()) <= _NAME_MAX_BYTES
    except UnicodeEncodeError:
        return False


def _of_rabbitmq(connection: Connection, queues: Iterable[str]) -> Iterator[tuple[str, Depth]]:
    channel = connection.channel()
    for queue in queues:
        try:
            declared = channel.queue_declare(queue, passive=True)
        except ChannelError as exc:
            # The channel is closed by that.
            channel = connection.channel()
            yield queue, Depth(None, reason=_REASONS.get(type(exc), str(exc)))
        else:
            yield queue, Depth(declared.message_count, declared.consumer_count)
    channel.close()


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
