"""Tasks sent to workers, as Celery's clients send them."""

import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from amqp.exceptions import NotFound
from kombu.exceptions import EncodeError
from kombu.messaging import Producer

from evtools.errors import UsageError
from evtools.transport.connection import reach
from evtools.transport.settings import ConnectionSettings

#: As of a client of Celery.
_NO_CALLBACKS: Final = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def send_task(
    settings: ConnectionSettings,
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    queue: str,
    root_id: str | None = None,
) -> str:
    """Send a task into a queue, and return its new id.

    The message is one of version 2 of Celery's task protocol, in JSON; `root_id` is the task
    that it belongs to, itself by default.  Raise UsageError in read-only mode, for arguments
    that JSON has no form for, and where RabbitMQ has no such queue; and whatever the driver
    raises.
    """
    if settings.read_only:
        raise UsageError(
            f"{name} is not sent: read-only mode publishes nothing",
            "leave out --read-only (or EVTOOLS_READ_ONLY) to act on the cluster",
        )
    task_id = str(uuid.uuid4())
    headers: dict[str, Any] = {
        "lang": "py", "task": name, "id": task_id, "shadow": None, "eta": None, "expires": None,
        "group": None, "group_index": None, "retries": 0, "timelimit": [None, None],
        "root_id": root_id or task_id, "parent_id": None,
        "argsrepr": repr(tuple(args)), "kwargsrepr": repr(dict(kwargs)),
        "origin": f"evtop{os.getpid()}@{socket.gethostname()}", "ignore_result": False,
        "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
    }  # fmt: skip
    with reach(settings) as connection:
        channel: Any = connection.default_channel
        if connection.transport.driver_name == "py-amqp":
            try:
                # The default exchange drops silently what it has no queue for.
                channel.queue_declare(queue, passive=True)
            except NotFound:
                raise UsageError(
                    f"{name} is not sent: there is no queue {queue}", "see the queues in view 4"
                ) from None
            # It is sent once the broker says that it has it.
            channel.basic_publish = channel.basic_publish_confirm
        try:
            Producer(channel, serializer="json").publish(
                (list(args), dict(kwargs), _NO_CALLBACKS),
                exchange="",
                routing_key=queue,
                headers=headers,
                correlation_id=task_id,
                reply_to="",
                delivery_mode=2,
                priority=0,
                confirm_timeout=settings.connect_timeout,
            )
        except EncodeError as error:
            raise UsageError(f"{name} is not sent: {error}") from None
    return task_id
