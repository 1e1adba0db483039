"""Remote control of workers through kombu's pidbox."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kombu.connection import Connection
from kombu.messaging import Consumer
from kombu.pidbox import Mailbox

from evtools.errors import UsageError
from evtools.transport.reach import reach
from evtools.transport.settings import ConnectionSettings

#: How long Celery itself waits for replies, in seconds.
DEADLINE = 1.0


@dataclass(frozen=True, slots=True)
class Replies:
    """What the workers answered, by node name.

    `complete` says whether as many answered as were expected; without an
    expectation nobody can tell, and it is None.
    """

    by_node: Mapping[str, Any] = field(default_factory=dict)
    complete: bool | None = None


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
        command, dict(arguments or {}), destination=_nodes(destination)
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

    Return after `deadline` seconds, or as soon as `expected` workers have
    answered (by default as many as `destination` names).  A connection of
    its own serves the call, so that it may run in any thread and never
    disturbs the reader; it is closed again, its reply queue deleted.

    Raise UsageError in read-only mode and whatever the driver raises.
    """
    _may_publish(command, settings)
    if expected is None and destination:
        expected = len(destination)
    with reach(settings) as connection:
        return _gather(
            connection,
            settings,
            _Call(
                command, dict(arguments or {}), _nodes(destination), deadline, expected
            ),
        )


@dataclass(frozen=True, slots=True)
class _Call:
    command: str
    arguments: dict[str, Any]
    destination: list[str] | None
    deadline: float
    expected: int | None


def _gather(
    connection: Connection, settings: ConnectionSettings, request: _Call
) -> Replies:
    box = mailbox(connection, settings)
    channel = connection.default_channel
    ticket = str(uuid.uuid4())
    replies: dict[str, Any] = {}

    def receive(body: Any, message: Any) -> None:
        if message.headers.get("ticket", ticket) == ticket and isinstance(body, dict):
            replies.update(body)

    def ignore(message: Any, error: Exception) -> None:
        """Treat a worker whose answer cannot be read as one that is silent."""

    queue = box.reply_queue(channel)
    queue.declare()
    try:
        with Consumer(
            channel,
            [queue],
            callbacks=[receive],
            on_decode_error=ignore,
            accept=["json"],
            no_ack=True,
        ):
            box._publish(  # noqa: SLF001  (multi_call has no deadline for all replies)
                request.command,
                request.arguments,
                destination=request.destination,
                reply_ticket=ticket,
                timeout=request.deadline,
            )
            _drain(connection, replies, request)
    finally:
        queue.delete()
    complete = None
    if request.expected is not None:
        complete = len(replies) >= request.expected
    return Replies(replies, complete)


def _drain(connection: Connection, replies: Mapping[str, Any], request: _Call) -> None:
    end = time.monotonic() + request.deadline
    while request.expected is None or len(replies) < request.expected:
        left = end - time.monotonic()
        if left <= 0:
            return
        try:
            connection.drain_events(timeout=left)
        except TimeoutError:
            return


def _may_publish(command: str, settings: ConnectionSettings) -> None:
    if settings.read_only:
        raise UsageError(
            f"{command} is not sent: read-only mode publishes nothing",
            "leave out --read-only (or EVTOOLS_READ_ONLY) to act on the cluster",
        )


def _nodes(destination: Sequence[str] | None) -> list[str] | None:
    return None if destination is None else list(destination)
