"""Remote control of workers through kombu's pidbox, and tasks sent to them."""

import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

from amqp.exceptions import ChannelError, MessageNacked, NotFound, ResourceLocked
from kombu.connection import Connection
from kombu.messaging import Consumer, Producer
from kombu.pidbox import Mailbox
from redis.exceptions import ResponseError

from evtools.errors import BrokerUnavailable, DecodeError, UsageError
from evtools.transport.connection import REPLY_MAX_BYTES, reach
from evtools.transport.errors import explain
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
    with ControlChannel(settings) as channel:
        question = channel.ask(
            command, arguments, destination=destination, deadline=deadline, expected=expected
        )
        while (left := question.left) > 0:
            channel.drain(left)
        return question.replies


class Question:
    """A command that was sent, and the replies that have come so far; one thread at a time.

    `expected` is how many workers are to answer, None if that is not known.
    """

    def __init__(self, deadline: float, expected: int | None) -> None:
        self.ticket = str(uuid.uuid4())
        self.expected = expected
        self._by_node: dict[str, Any] = {}
        #: The part of it that `take_new` has not returned yet.
        self._new: dict[str, Any] = {}
        self._unread: Counter[str] = Counter()
        self._codec = Codec(["json"], max_bytes=REPLY_MAX_BYTES)
        self._left_bytes = _REPLIES_MAX_BYTES
        self._end = time.monotonic() + deadline

    @property
    def left(self) -> float:
        """For how many seconds more replies are waited for; 0 if all have come."""
        if self.expected is not None and len(self._by_node) >= self.expected:
            return 0.0
        return max(0.0, self._end - time.monotonic())

    @property
    def replies(self) -> Replies:
        """What has come so far."""
        complete = None if self.expected is None else len(self._by_node) >= self.expected
        return Replies(dict(self._by_node), complete, dict(self._unread))

    @property
    def replied(self) -> int:
        """How many workers have replied."""
        return len(self._by_node)

    def take_new(self) -> dict[str, Any]:
        """Return the replies that came since the last call."""
        new, self._new = self._new, {}
        return new

    def refuse(self, error: Exception) -> None:
        """Count a reply that cannot be read."""
        self._unread[error.kind if isinstance(error, DecodeError) else "no kombu envelope"] += 1

    def take(self, message: Message) -> None:
        """Add the reply in a message; raise DecodeError for what is none, or one too many."""
        if message.compression:
            body = decompress(message.body, message.compression, max_bytes=REPLY_MAX_BYTES)
            message = message._replace(body=body, compression=None)
        # Anyone who can publish can send some.
        if len(message.body) > self._left_bytes or len(self._by_node) >= _NODES_MAX:
            raise DecodeError("too many replies")
        self._left_bytes -= len(message.body)
        value = self._codec.value(message)
        if not isinstance(value, dict) or len(value) > _NODES_MAX:
            raise DecodeError("no reply of a worker")
        if is_deep(value):
            raise DecodeError("nested too deep")
        self._by_node.update(value)
        self._new.update(value)


class ControlChannel:
    """Questions to the workers over one connection, which stays open between them.

    There is one reply queue for all of them; `close` deletes it.  For one thread, and for
    questions that may overlap.  Raise UsageError in read-only mode and whatever the driver
    raises.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        _may_publish("a question", settings)
        self._questions: dict[str, Question] = {}
        with ExitStack() as undo:
            self._connection = undo.enter_context(reach(settings))
            channel = self._connection.default_channel
            keep_packed(channel)
            self._box = mailbox(self._connection, settings)
            queue = self._box.reply_queue(channel)
            queue.declare()
            undo.callback(queue.delete)
            how: dict[str, Any] = {
                "on_message": self._receive,
                "on_decode_error": lambda _, error: self._refuse(error),
            }
            undo.enter_context(Consumer(channel, [queue], accept=[], no_ack=True, **how))
            is_amqp = self._connection.transport.driver_name == "py-amqp"
            self._malformed: tuple[type[Exception], ...] = () if is_amqp else _MALFORMED
            self._undo = undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete the reply queue and close the connection, unless it is broken."""
        with suppress(*self._connection.connection_errors, *self._connection.channel_errors):
            self._undo.close()

    def ask(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        destination: Sequence[str] | None = None,
        deadline: float = DEADLINE,
        expected: int | None = None,
    ) -> Question:
        """Send `command`; return what `drain` adds the replies to.

        Arguments as of `call`.
        """
        if expected is None and destination:
            expected = len(destination)
        question = Question(deadline, expected)
        self._questions = {ticket: one for ticket, one in self._questions.items() if one.left}
        self._questions[question.ticket] = question
        self._box._publish(  # noqa: SLF001  (multi_call has no deadline for all replies)
            command,
            dict(arguments or {}),
            destination=destination and list(destination),
            reply_ticket=question.ticket,
            timeout=deadline,
        )
        return question

    def drain(self, timeout: float) -> None:
        """Take replies that have come, or the next one within `timeout` seconds."""
        try:
            self._connection.drain_events(timeout=timeout)
        except TimeoutError:
            pass
        except self._malformed as error:
            self._refuse(error)

    def _receive(self, received: Any) -> None:
        ticket = received.headers.get("ticket")
        if ticket is None and len(self._questions) == 1:
            ticket = next(iter(self._questions))
        question = self._questions.get(ticket) if isinstance(ticket, str) else None
        if question is not None:
            try:
                question.take(as_it_came(received))
            except DecodeError as error:
                question.refuse(error)

    def _refuse(self, error: Exception) -> None:
        # Whose reply it was to be is not known.
        for question in self._questions.values():
            question.refuse(error)


# --- tasks --------------------------------------------------------------------------------

#: As of a client of Celery.
_NO_CALLBACKS: Final = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
#: Why RabbitMQ takes nothing for a queue, and its code for a message that found none.
_NO_QUEUE: Final[Mapping[type[Exception], str]] = {
    NotFound: "there is no such queue",
    ResourceLocked: "it belongs to one connection",
    MessageNacked: "it takes no more messages",
}
_NO_ROUTE: Final = 312


class TaskCall(NamedTuple):
    """A task to be sent: its arguments, as values that JSON has, and as events show them.

    `parent_id` is the task that it is sent again for, `root_id` the first of their workflow.
    """

    name: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    queue: str
    argsrepr: str
    kwargsrepr: str
    root_id: str | None = None
    parent_id: str | None = None


def send_tasks(settings: ConnectionSettings, calls: Sequence[TaskCall]) -> Iterator[str]:
    """Send tasks into their queues, and yield the new id of each once the broker has it.

    The messages are of version 2 of Celery's task protocol, in JSON.  Raise UsageError in
    read-only mode, before anything is sent where RabbitMQ lacks one of the queues, and where one
    takes no message; BrokerUnavailable where it is open whether the last one was sent; and
    whatever else the driver raises.
    """
    _may_publish("a task", settings)
    with reach(settings) as connection:
        channel: Any = connection.default_channel
        is_amqp = connection.transport.driver_name == "py-amqp"
        for queue in dict.fromkeys(call.queue for call in calls):
            try:
                channel.queue_declare(queue, passive=True) if is_amqp else channel._size(queue)  # noqa: SLF001
            except (NotFound, ResourceLocked, ResponseError) as error:
                reason = _NO_QUEUE.get(type(error), str(error).rpartition("error: ")[2])
                raise UsageError(f"queue {queue}: {reason}", "see the queues in view 4") from None
        if is_amqp:  # then it is sent once the broker says that it has it
            channel.basic_publish = channel.basic_publish_confirm
        producer = Producer(channel, serializer="json")
        for call in calls:
            task_id = str(uuid.uuid4())
            try:
                producer.publish(
                    (list(call.args), dict(call.kwargs), _NO_CALLBACKS),
                    exchange="",
                    routing_key=call.queue,
                    headers=_headers(task_id, call),
                    correlation_id=task_id,
                    reply_to="",
                    delivery_mode=2,
                    priority=0,
                    # The default exchange drops silently what it has no queue for.
                    mandatory=True,
                    confirm_timeout=settings.connect_timeout,
                )
            except (MessageNacked, ChannelError) as error:
                if getattr(error, "reply_code", _NO_ROUTE) != _NO_ROUTE:
                    raise
                reason = _NO_QUEUE.get(type(error), "there is no such queue any more")
                raise UsageError(f"queue {call.queue}: {reason}") from None
            except (OSError, *connection.connection_errors) as error:
                problem = explain(error, settings)
                text = f"{problem.message}; whether {task_id} was sent is not known"
                raise BrokerUnavailable(text, problem.hint) from error
            yield task_id


def _headers(task_id: str, call: TaskCall) -> dict[str, Any]:
    return {
        "lang": "py", "task": call.name, "id": task_id, "shadow": None, "eta": None,
        "expires": None, "group": None, "group_index": None, "retries": 0,
        "timelimit": [None, None], "root_id": call.root_id or task_id, "parent_id": call.parent_id,
        "argsrepr": call.argsrepr, "kwargsrepr": call.kwargsrepr,
        "origin": f"evtop{os.getpid()}@{socket.gethostname()}", "ignore_result": False,
        "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
    }  # fmt: skip


def _may_publish(command: str, settings: ConnectionSettings) -> None:
    if settings.read_only:
        raise UsageError(
            f"{command} is not sent: read-only mode publishes nothing",
            "leave out --read-only (or EVTOOLS_READ_ONLY) to act on the cluster",
        )
