"""Events of our own making: a few at once, or a steady flow of numbered ones."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from typing import Any, Self
from urllib.parse import urlsplit

from celery.events.event import get_exchange
from kombu import Connection, Producer

from servers.process import wait_until

# Seconds; to wait before each of a thousand events a second costs more than to send them.
_PAUSE_MIN = 0.005

_CLIENT = {"hostname": "shop@client", "utcoffset": 0, "pid": 4711, "clock": 1}


def on_redis(**fields: Any) -> str:
    """Return an event as a list of Redis has it."""
    event = {**_CLIENT, "timestamp": time.time(), "type": "task-progress", **fields}
    return json.dumps(
        {
            "body": base64.b64encode(json.dumps(event).encode()).decode(),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {},
            "properties": {"body_encoding": "base64"},
        }
    )


class Sender:
    """A connection to publish events on, as Celery's dispatcher does."""

    def __init__(self, url: str, exchange: str = "celeryev", *, timeout: float = 20) -> None:
        # One attempt is enough for a test; who needs more comes back himself.
        timeouts = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), timeout)
        self._connection = Connection(
            url, connect_timeout=timeout, transport_options={"max_retries": 0, **timeouts}
        )
        self._connection.connect()
        channel = self._connection.default_channel
        exchanged = get_exchange(self._connection, exchange)
        self._producer = Producer(channel, exchange=exchanged, serializer="json")
        exchanged(channel).declare()

    def send(self, type_: str = "task-progress", **fields: Any) -> dict[str, Any]:
        """Publish one event and return it."""
        event = {**_CLIENT, "timestamp": time.time(), **fields, "type": type_}
        self.send_body(json.dumps(event), routing_key=type_.replace("-", "."))
        return event

    def send_body(self, body: str | bytes, routing_key: str = "task.multi") -> None:
        """Publish whatever it is, as JSON."""
        self._producer.publish(
            body,
            routing_key=routing_key,
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=1,
            headers={"hostname": "shop@client"},
            retry=False,
        )

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What it raises when the broker is away."""
        errors: tuple[type[Exception], ...] = (
            *self._connection.connection_errors,
            *self._connection.channel_errors,
            OSError,
        )
        return errors

    def close(self) -> None:
        """Leave the broker, dead or alive."""
        self._connection.collect(socket_timeout=1)


class Flow:
    """Numbered events at a steady rate, from a thread that comes back on its own.

    `times` are the timestamps of those that were published.
    """

    def __init__(self, url: str, exchange: str, *, rate: float = 200) -> None:
        self._url = url
        self._exchange = exchange
        self._rate = rate
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flow")
        self.times: list[float] = []

    @property
    def sent(self) -> int:
        """How many were published."""
        return len(self.times)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                # A client library may sleep for seconds before it tries again.
                self._knock()
                # A frozen broker is not waited for.
                sender = Sender(self._url, self._exchange, timeout=2)
            except Exception:  # noqa: BLE001  (a dead broker, in all its forms)
                self._ended.wait(0.02)
                continue
            self._pour(sender)
            sender.close()

    def _knock(self) -> None:
        address = urlsplit(self._url)
        socket.create_connection((address.hostname, address.port), timeout=1).close()

    def _pour(self, sender: Sender) -> None:
        """Publish until the end, or until the broker is away.

        What a busy machine was late for is made up for.
        """
        began, before = time.monotonic(), self.sent
        while not self._ended.wait(max(1 / self._rate, _PAUSE_MIN)):
            due = before + (time.monotonic() - began) * self._rate
            while self.sent < due and not self._ended.is_set():
                try:
                    event = sender.send(number=self.sent)
                except sender.errors:
                    return
                self.times.append(event["timestamp"])

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: self.sent, what="the flow to begin")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join(20)
        assert not self._thread.is_alive(), "the flow did not end"
