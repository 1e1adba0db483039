"""Remote control of workers through kombu's pidbox."""

import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kombu.connection import Connection
from kombu.messaging import Consumer
from kombu.pidbox import Mailbox

from evtools.errors import DecodeError, UsageError
from evtools.transport.connection import REPLY_MAX_BYTES, reach
from evtools.transport.settings import ConnectionSettings
from evtools.transport.streams.kombu import as_it_came, keep_packed
from evtools.wire import Codec, Message
from evtools.wire.serializers import decompress, is_deep

#: How large all replies to one question may be, unpacked.  The largest that are asked for are
#: the settings of a worker.
_REPLIES_MAX_BYTES: Final = 8 * REPLY_MAX_BYTES
_NODES_MAX: Final = 5000
#: Raised by kombu, which parses without checks, where a message is malformed.
# fmt: off
_MALFORMED: Final = (
    DecodeError, ValueError, LookupError, TypeError, AttributeError, RecursionError,
)
# fmt: on
#: How long Celery itself waits for replies, in seconds.
DEADLINE = 1.0


@dataclass(frozen=True, slots=True)
class Replies:
    """What the workers answered, by node name.

    `complete` says whether as many answered as were expected, and is None without an
    expectation.  `unread` counts the replies that could not be decoded, by the reason.
    """

    by_node: Mapping[str, Any] = field(default_factory=dict)
    complete: bool | None = None
    unread: Mapping[str, int] = field(default_factory=dict)


def mailbox(connection: Connection, settings: ConnectionSettings) -> Mailbox:
    """Return the pidbox that the workers listen on."""
    return Mailbox(
        settings.control_exchange,
        type="fanout",
        connection=connection,
        accept=["json"],
        serializer="json",
        queue_expires=10.0,
        queue_ttl=300.0,
    )


def broadcast(
    connection: Connection,
    command: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    settings: ConnectionSettings,
    destination: Sequence[str] | None = None,
) -> None:
    """Send `command` to all workers, or to those in `destination`; wait for nothing.

    Raise UsageError in read-only mode, which publishes nothing at all.
    """
    _may_publish(command, settings)
    mailbox(connection, settings)._publish(  # noqa: SLF001  (cast() of one's own)
        command, dict(arguments or {}), destination=destination and list(destination)
    )


def call(
    settings: ConnectionSettings,
    command: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    destination: Sequence[str] | None = None,
    deadline: float = DEADLINE,
    expected: int | None = None,
) -> Replies:
    """Send `command` and gather the replies.

    Return after `deadline` seconds, or as soon as `expected` workers have answered (by default as
    many as `destination` names).  A connection of its own serves the call, so that it may run in
    any thread and never disturbs the reader; it is closed again, its reply queue deleted.

    Raise UsageError in read-only mode and whatever the driver raises.
    """
    _may_publish(command, settings)
    if expected is None and destination:
        expected = len(destination)
    with reach(settings) as connection:
        box = mailbox(connection, settings)
        channel = connection.default_channel
        inbox = _Inbox()
        keep_packed(channel)
        queue = box.reply_queue(channel)
        queue.declare()
        how: dict[str, Any] = {"on_message": inbox.receive, "on_decode_error": inbox.refuse}
        try:
            with Consumer(channel, [queue], accept=[], no_ack=True, **how):
                box._publish(  # noqa: SLF001  (multi_call has no deadline for all replies)
                    command,
                    dict(arguments or {}),
                    destination=destination and list(destination),
                    reply_ticket=inbox.ticket,
                    timeout=deadline,
                )
                inbox.fill(connection, time.monotonic() + deadline, expected)
        finally:
            queue.delete()
    complete = None if expected is None else len(inbox.by_node) >= expected
    return Replies(inbox.by_node, complete, inbox.unread)


class _Inbox:
    # Within bounds: anyone who can publish can send some.

    def __init__(self) -> None:
        self.ticket = str(uuid.uuid4())
        self.by_node: dict[str, Any] = {}
        self.unread: Counter[str] = Counter()
        self._codec = Codec(["json"], max_bytes=REPLY_MAX_BYTES)
        self._left_bytes = _REPLIES_MAX_BYTES

    def fill(self, connection: Connection, end: float, expected: int | None) -> None:
        is_amqp = connection.transport.driver_name == "py-amqp"
        malformed: tuple[type[Exception], ...] = () if is_amqp else _MALFORMED
        while expected is None or len(self.by_node) < expected:
            left = end - time.monotonic()
            if left <= 0:
                return
            try:
                connection.drain_events(timeout=left)
            except TimeoutError:
                return
            except malformed as error:
                self.refuse(None, error)

    def receive(self, received: Any) -> None:
        if received.headers.get("ticket", self.ticket) == self.ticket:
            try:
                self.by_node.update(self._replies_in(as_it_came(received)))
            except DecodeError as error:
                self.refuse(None, error)

    def refuse(self, _message: Any, error: Exception) -> None:
        self.unread[error.kind if isinstance(error, DecodeError) else "no kombu envelope"] += 1

    def _replies_in(self, message: Message) -> dict[str, Any]:
        if message.compression:
            body = decompress(message.body, message.compression, max_bytes=REPLY_MAX_BYTES)
            message = message._replace(body=body, compression=None)
        if len(message.body) > self._left_bytes or len(self.by_node) >= _NODES_MAX:
            raise DecodeError("too many replies")
        self._left_bytes -= len(message.body)
        value = self._codec.value(message)
        if not isinstance(value, dict) or len(value) > _NODES_MAX:
            raise DecodeError("no reply of a worker")
        if is_deep(value):
            raise DecodeError("nested too deep")
        return value


def _may_publish(command: str, settings: ConnectionSettings) -> None:
    if settings.read_only:
        raise UsageError(
            f"{command} is not sent: read-only mode publishes nothing",
            "leave out --read-only (or EVTOOLS_READ_ONLY) to act on the cluster",
        )
