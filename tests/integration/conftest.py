"""What the tests of the commands share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import pytest

from cluster.scenario import Scenario
from cluster.story import Story, watch
from evtools.transport import ConnectionSettings, connect
from servers.redis import RedisServer
from servers.tls import NamedProxy
from tools.daemon import EvcamStarter
from tools.flow import Sender
from tools.screen import EvtopStarter

if TYPE_CHECKING:
    from pathlib import Path

    from servers.rabbitmq import RabbitMQServer
    from servers.tls import Authority


@pytest.fixture
def evtop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EvtopStarter]:
    """Start the real command on a terminal: `evtop("-b", url)`."""
    starter = EvtopStarter(tmp_path_factory.mktemp("evtop"))
    yield starter
    starter.end()


@pytest.fixture
def evcam(tmp_path: Path) -> Iterator[EvcamStarter]:
    """Start the real command in the folder of the test: `evcam("-c", "mod.Camera")`."""
    starter = EvcamStarter(tmp_path)
    yield starter
    starter.end()


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


StartNamed = Callable[[str, str], tuple[NamedProxy, str]]


@pytest.fixture
def named(request: pytest.FixtureRequest, authority: Authority) -> Iterator[StartNamed]:
    """Start a TLS port that answers to one name only, before a broker of either kind.

    `named("redis", "broker.internal")` returns it with its URL on localhost.
    """
    started = []

    def start(kind: str, name: str) -> tuple[NamedProxy, str]:
        behind = request.getfixturevalue(f"{kind}_server")
        proxy = NamedProxy(behind.port, name, authority.stranger)
        started.append(proxy)
        if kind == "redis":
            return proxy, f"rediss://localhost:{proxy.port}/0"
        return proxy, f"amqps://guest:guest@localhost:{proxy.port}//"

    yield start
    for proxy in started:
        proxy.close()


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


@pytest.fixture
def inspecting():
    """Return inspectors of a class: `inspecting(RedisInspector)(url, **settings)`."""
    with contextlib.ExitStack() as stack:

        def at(inspector, url, **settings):
            made = ConnectionSettings(urls=url, **settings)
            return stack.enter_context(contextlib.closing(inspector(connect(made), made)))

        yield lambda inspector: partial(at, inspector)
