"""How many messages a queue has, as operators see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers.rabbitmq import RabbitMQServer

if TYPE_CHECKING:
    from servers.redis import RedisServer


def depth_of(broker: RedisServer | RabbitMQServer, url: str, queue: str) -> tuple[int, int | None]:
    """Return how many messages are ready, and how many are not acknowledged if that is known."""
    if isinstance(broker, RabbitMQServer):
        listed = broker.list_queues("name", "messages_ready")
        return next(one["messages_ready"] for one in listed if one["name"] == queue), None
    database = int(url.rpartition("/")[2])
    lists = [queue, *(f"{queue}\x06\x16{step}" for step in (3, 6, 9))]
    lengths = [broker.redis_cli("LLEN", key, database=database) for key in lists]
    return sum(map(int, lengths)), int(broker.redis_cli("HLEN", "unacked", database=database))
