"""Events from kombu's other transports, through kombu itself."""

from typing import Any

from kombu.connection import Connection
from kombu.messaging import Consumer

from evtools.wire import Message


class VirtualStream:
    """Consume with kombu, for transports that have no fast path of their own.

    `channel` is the one that `queue` (a bound kombu queue) is declared on.
    """

    def __init__(self, connection: Connection, channel: Any, queue: Any) -> None:
        self.errors = (
            *connection.connection_errors,
            *connection.channel_errors,
            OSError,
        )
        self._connection = connection
        self._messages: list[Message] = []
        self._consumer = Consumer(
            channel, [queue], no_ack=True, on_message=self._receive, accept=[]
        )
        self._consumer.consume()

    def _receive(self, message: Any) -> None:
        body = message.body
        self._messages.append(
            Message(
                body if isinstance(body, bytes) else str(body).encode(),
                message.content_type,
                message.content_encoding,
            )
        )

    def drain(self, timeout: float) -> list[Message]:
        """Return the messages that have arrived, after `timeout` s at the latest."""
        try:
            self._connection.drain_events(timeout=timeout)
        except TimeoutError:
            return []
        messages, self._messages = self._messages, []
        return messages

    def close(self) -> None:
        """Cancel the consumer and release the connection."""
        try:
            self._consumer.cancel()
            self._connection.release()
        except self.errors:
            pass
