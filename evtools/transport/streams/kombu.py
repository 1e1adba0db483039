"""Events from kombu's other transports, through kombu itself."""

import time
from contextlib import ExitStack, suppress
from typing import Any

import kombu.message
from kombu.connection import Connection
from kombu.messaging import Consumer

from evtools.transport.streams import Stream, as_sent
from evtools.wire import Message

#: How many messages to hand out together at the most; kombu gives one at a time.
_AT_ONCE = 1000


class _Packed(kombu.message.Message):
    # Its body stays compressed: kombu unpacks it without any bound.

    def __init__(self, body: Any = None, *args: Any, **more: Any) -> None:
        headers = more.pop("headers", None)
        headers = dict(headers) if isinstance(headers, dict) else {}
        self.compression = headers.pop("compression", None)
        kombus: Any = super()
        kombus.__init__(body, *args, headers=headers, **more)


def keep_packed(channel: Any) -> None:
    """Have a channel of kombu give out messages as they came, for `as_it_came`."""
    channel.Message = type("Message", (channel.Message, _Packed), {})


def as_it_came(message: Any) -> Message:
    """Return a message of such a channel as it was on the wire."""
    facts = (message.content_type, message.content_encoding, message.compression)
    return as_sent(message.body, *facts)


class KombuStream(Stream):
    """Consume with kombu, for transports that have no fast path of their own.

    `channel` is the one that `queue` (a bound kombu queue) is declared on.
    """

    def __init__(self, connection: Connection, channel: Any, queue: Any) -> None:
        self.errors = (*connection.connection_errors, *connection.channel_errors, OSError)
        self._connection = connection
        self._queue = queue
        self._messages: list[Message] = []
        super().__init__()
        keep_packed(channel)
        self._consumer = Consumer(
            channel,
            [queue],
            no_ack=True,
            on_message=lambda message: self._messages.append(as_it_came(message)),
            # What kombu cannot read is for the codec to count.
            on_decode_error=lambda _, exc: self._messages.append(Message(repr(exc).encode(), None)),
            accept=[],
            auto_declare=False,
        )
        self._consumer.consume()

    def drain(self, timeout: float) -> list[Message]:
        try:
            self._connection.drain_events(timeout=timeout)
            while len(self._messages) < _AT_ONCE:
                self._connection.drain_events(timeout=0)
        except TimeoutError:
            pass
        self.last_seen = time.monotonic()  # kombu shows no sign of life
        messages, self._messages = self._messages, []
        self.has_more = len(messages) >= _AT_ONCE
        return messages

    def close(self) -> None:
        with suppress(*self.errors), ExitStack() as stack:
            stack.callback(self._connection.release)
            # Most of these transports delete no queue by themselves.
            stack.callback(self._queue.delete)
            self._consumer.cancel()
