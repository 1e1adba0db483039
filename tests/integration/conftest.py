"""What the tests of the commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tools.flow import Sender

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
