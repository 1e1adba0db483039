"""What the tests of the commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from cluster.scenario import Scenario
from cluster.story import Story, watch
from servers.redis import RedisServer
from tools.flow import Sender

if TYPE_CHECKING:
    from servers.rabbitmq import RabbitMQServer

StartSender = Callable[..., Sender]


@pytest.fixture
def sender() -> Iterator[StartSender]:
    """Publish events of one's own: `sender(url, exchange).send("task-sent", ...)`."""
    started = []

    def start(url: str, exchange: str = "celeryev") -> Sender:
        made = Sender(url, exchange)
        started.append(made)
        return made

    yield start
    for made in started:
        made.close()


@pytest.fixture(scope="session")
def story(
    broker: RedisServer | RabbitMQServer,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Story:
    """What happened in a cluster, on each kind of broker; nothing of it runs now."""
    redis = isinstance(broker, RedisServer)
    return watch(
        Scenario(
            broker_url=broker.fresh_url() if redis else broker.url,
            event_exchange="celeryev.story",
            result_backend=redis_server.fresh_url(),
            folder=tmp_path_factory.mktemp("story"),
            redelivers=not redis,
        )
    )
