"""What an event changed."""

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from evtools.state.task import Task
    from evtools.state.worker import Worker
    from evtools.wire import EventFields


class Change(Struct, gc=False):
    """One event, and what it did to its subject.

    `subject` is the task or the worker that it is about, None if it is about
    neither (an unknown group) or does not say about which.  `created` tells
    whether this was the first we heard of it.  `before` and `after` are the
    states of a task, or the statuses of a worker as of the receipt of the
    event; they differ if the event was a transition.

    The event that ends an attempt need not be one: of a retry, we may hear that
    the next attempt was sent before we hear that this one was retried.
    """

    event: "EventFields"
    subject: "Task | Worker | None" = None
    created: bool = False
    before: str | None = None
    after: str | None = None
