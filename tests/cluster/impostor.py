"""Answers to commands that no worker gave: odd ones, and those of very many workers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from kombu import Connection, Consumer, Exchange, Producer, Queue

#: For a broker in memory.
FAST = {"polling_interval": 0.01}
Send = Callable[..., None]


class Impostor(threading.Thread):
    """Answer each command with what a worker should not.

    `replies(send, to)` is called with what sends a body, and where to.
    """

    def __init__(
        self, url: str, exchange: str, replies: Callable[[Send, dict[str, str]], None]
    ) -> None:
        super().__init__(daemon=True)
        self.replies = replies
        self.connection = Connection(url, transport_options=FAST if "memory" in url else {})
        channel = self.connection.default_channel
        queue = Queue(
            f"impostor.{exchange}",
            Exchange(f"{exchange}.pidbox", type="fanout", durable=False),
            durable=False,
            exclusive=True,
        )
        self.consumer = Consumer(channel, [queue], callbacks=[self.answer], no_ack=True)
        self.consumer.consume()
        self.ended = False
        self.start()

    def answer(self, command: dict[str, Any], message: object) -> None:
        if to := command.get("reply_to"):
            producer = Producer(self.connection.default_channel)
            ticket = {"ticket": command["ticket"]}
            self.replies(
                lambda body, headers=ticket, **how: producer.publish(
                    body, headers=dict(headers), **to, **how
                ),
                to,
            )

    def run(self) -> None:
        while not self.ended:
            with contextlib.suppress(TimeoutError):
                self.connection.drain_events(timeout=0.1)

    def end(self) -> None:
        """Stop, and close the connection."""
        self.ended = True
        self.join(10)
        self.connection.release()
