"""Events as plain dictionaries, their groups and routing keys."""

import time
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

#: What a Celery event is on the wire and in every tool: a flat mapping with a
#: `type`; any other field may be missing or of any JSON type.
EventFields: TypeAlias = dict[str, Any]

#: The end of the year 9999, in UTC epoch seconds.  What is later is no time: most
#: often somebody sends milliseconds, or finer.
TIME_MAX: Final = 253_402_300_799

#: The type of the record that stands where events may be missing.
GAP = "evdump-gap"


def Event(type: str, _fields: Mapping[str, Any] | None = None, **fields: Any) -> EventFields:  # noqa: A002, N802
    """Make an event of `type` with `fields`.

    `timestamp` (UTC epoch seconds) is now unless given.
    """
    event: EventFields = {**_fields, **fields} if _fields else fields
    if "timestamp" not in event:
        event["timestamp"] = time.time()  # noqa: TID251  (as in Celery's Event)
    event["type"] = type
    return event


def moment(value: object) -> float | None:
    """Return UTC epoch seconds, None for what cannot be a time."""
    if value.__class__ not in (float, int):
        return None
    return float(value) if 0 <= value <= TIME_MAX else None


def is_nameless(event: EventFields) -> bool:
    """Tell whether an event of a task or a worker does not name it.

    Nobody can know whom it is about; it is shown, and counted.
    """
    kind = event["type"]
    if kind.startswith("task-"):
        name = event.get("uuid")
    elif kind.startswith("worker-"):
        name = event.get("hostname")
    else:
        return False
    return not name or type(name) is not str


def group_from(type: str) -> str:  # noqa: A002  (Celery's name)
    """Return the group of an event type: `task` for `task-sent`."""
    return type.split("-", 1)[0]


def routing_key_from(type: str) -> str:  # noqa: A002  (as in group_from)
    """Return the routing key Celery publishes a `type` under: `task.sent`."""
    return type.replace("-", ".")


def gap(reason: str, start: float, end: float, **fields: Any) -> EventFields:
    """Make the record of a hole in the stream.

    `start` and `end` are UTC epoch seconds; `reason` is one of `reconnect`,
    `buffer`, `stopped`, `worker`; `fields` say more (`dropped`, `error`, ...).
    """
    return {
        "type": GAP,
        "reason": reason,
        "from": start,
        "to": end,
        "duration": round(max(0.0, end - start), 6),
        **fields,
        "local_received": end,
    }
