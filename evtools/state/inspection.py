"""What workers answer when they are asked for their tasks, their pool and their queues."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

#: Commands that workers answer with tasks that they have, and those that run them.
TASK_COMMANDS: Final = ("active", "reserved", "scheduled")
_UUID_MAX_CHARS: Final = 255
#: As long as Celery sends the texts of arguments.
_TEXT_MAX_CHARS: Final = 1024
_TIME_MAX: Final = 1e11
_NAMES_MAX: Final = 1000
#: No pool is larger, and no pid.
_COUNT_MAX: Final = 2**32


class InspectedTask(Struct, frozen=True):
    """A task as the worker that has it describes it; what it does not say is None.

    `started` is in UTC epoch seconds by the worker's clock, `eta` is as it was sent.
    """

    uuid: str
    runs: bool
    name: str | None = None
    args: str | None = None
    kwargs: str | None = None
    started: float | None = None
    eta: str | None = None
    exchange: str | None = None
    routing_key: str | None = None

    @property
    def queue(self) -> str | None:
        """The queue it came from, where that is certain: AMQP's default exchange names it."""
        return self.routing_key if self.exchange == "" else None


def tasks_in(command: str, answer: object) -> Iterator[InspectedTask]:
    """Yield the tasks in a worker's answer to one of `TASK_COMMANDS`, or to query_task.

    As `celery.worker.control` makes them; what is none is left out.
    """
    for runs, eta, request in _requests(command, answer):
        uuid = request.get("id")
        if not isinstance(uuid, str) or not 0 < len(uuid) <= _UUID_MAX_CHARS:
            continue
        started: Any = request.get("time_start")
        delivery = request.get("delivery_info")
        delivery = delivery if isinstance(delivery, Mapping) else {}
        yield InspectedTask(
            uuid=uuid,
            runs=runs,
            name=_text(request.get("name")),
            args=_arguments(request.get("args")),
            kwargs=_arguments(request.get("kwargs")),
            started=float(started) if runs and _is_time(started) else None,
            eta=_text(eta),
            exchange=_text(delivery.get("exchange")),
            routing_key=_text(delivery.get("routing_key")),
        )


def _requests(command: str, answer: Any) -> Iterator[tuple[bool, Any, Mapping[str, Any]]]:
    """Yield whether a task runs, its ETA and its description, of each in an answer."""
    items: Iterable[Any] = answer if isinstance(answer, list) else ()
    if command == "query_task" and isinstance(answer, Mapping):
        items = answer.values()
    for item in items:
        match item:
            case {"request": dict(request)} if command == "scheduled":
                yield False, item.get("eta"), request
            case [str(state), dict(request)] if command == "query_task" and state != "ready":
                yield state == "active", None, request
            case dict(request) if command in ("active", "reserved"):
                yield command == "active", None, request


def _is_time(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value < _TIME_MAX  # which is false for NaN


def _text(value: object) -> str | None:
    return value[:_TEXT_MAX_CHARS] if isinstance(value, str) else None


def _arguments(value: object) -> str | None:
    """Return arguments as events have them; JSON made a list of the tuple."""
    if isinstance(value, str) or value is None:
        return _text(value)
    text = repr(tuple(value) if isinstance(value, list) else value)
    return text if len(text) <= _TEXT_MAX_CHARS else f"{text[: _TEXT_MAX_CHARS - 3]}..."


def pool_size(stats: Any) -> int | None:
    """Return the size of the pool in a worker's answer to `stats`, None if it has none."""
    return count_in(stats.get("pool"), "max-concurrency") if isinstance(stats, Mapping) else None


def count_in(value: Any, name: str) -> int | None:
    """Return the whole number of that name in a part of an answer, None if there is none."""
    count = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(count, int) or isinstance(count, bool):
        return None
    return count if 0 <= count < _COUNT_MAX else None


def queue_names(queues: Any) -> tuple[str, ...] | None:
    """Return the names in a worker's answer to `active_queues`, None if it is none."""
    if not isinstance(queues, list):
        return None
    names = (one.get("name") for one in queues if isinstance(one, Mapping))
    return tuple(name for name in names if isinstance(name, str))[:_NAMES_MAX]
