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

#: How large all replies to one question may be, unpacked; the largest are a worker's settings.
_REPLIES_MAX_BYTES: Final = 8 * REPLY_MAX_BYTES
_NODES_MAX: Final = 5000
#: Raised by kombu, which parses without checks, where a message is malformed.
_MALFORMED = (DecodeError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
#: How long Celery itself waits for replies, in seconds.
DEADLINE = 1.0


@dataclass(frozen=True, slots=True)
class Replies:
    """What the workers answered, by node name.

    `complete`: whether as many answered as were expected, None if that is open.  `unread` counts
    the replies that could not be decoded, by the reason.
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
    any thread; it is closed again, its reply queue deleted.  Raise UsageError in read-only mode
    and whatever the driver raises.
    """
    _may_publish(command, settings)
    if expected is None and destination:
        expected = len(destination)
    inbox = _Inbox()
    with reach(settings) as connection:
        box, channel = mailbox(connection, settings), connection.default_channel
        is_amqp = connection.transport.driver_name == "py-amqp"
        malformed: tuple[type[Exception], ...] = () if is_amqp else _MALFORMED
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
                end = time.monotonic() + deadline
                while (left := end - time.monotonic()) > 0:
                    if expected is not None and len(inbox.by_node) >= expected:
                        break
                    try:
                        connection.drain_events(timeout=left)
                    except TimeoutError:
                        break
                    except malformed as error:
                        inbox.refuse(None, error)
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

    def receive(self, received: Any) -> None:
        if received.headers.get("ticket", self.ticket) == self.ticket:
            try:
                self._take(as_it_came(received))
            except DecodeError as error:
                self.refuse(None, error)

    def refuse(self, _message: Any, error: Exception) -> None:
        self.unread[error.kind if isinstance(error, DecodeError) else "no kombu envelope"] += 1

    def _take(self, message: Message) -> None:
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
        self.by_node.update(value)


def _may_publish(command: str, settings: ConnectionSettings) -> None:
    if settings.read_only:
        raise UsageError(
            f"{command} is not sent: read-only mode publishes nothing",
            "leave out --read-only (or EVTOOLS_READ_ONLY) to act on the cluster",
        )
