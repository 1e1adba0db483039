"""Lives of a task as Celery's workers tell them, and how they have to be understood."""

from __future__ import annotations

from typing import Any, NamedTuple

from tools.told import CLIENT, OTHER, Event, told


class Story(NamedTuple):
    """What senders told in the order in which it happened, and what is true of it.

    `attempts` are the states of all attempts, the newest last, `retries` is how
    often the task had been tried before, `hostname` is where it is now.
    """

    events: list[Event]
    attempts: tuple[str, ...]
    retries: int = 0
    hostname: str | None = "celery@one"


def _of(*steps: tuple[Any, ...]) -> list[Event]:
    """Return events of (type, time, fields)."""
    return [
        told(f"task-{type_}", at, **(fields[0] if fields else {})) for type_, at, *fields in steps
    ]


_THERE = {"hostname": OTHER}
_SENT = ("sent", 10.0)
_RECEIVED = ("received", 11.0)
_STARTED = ("started", 12.0)
_BEGUN = (_SENT, _RECEIVED, _STARTED)


def _try(number: int, at: float, **fields: Any) -> tuple[tuple[Any, ...], ...]:
    """Return the steps of an attempt, from its sending by the one before it."""
    sender = CLIENT if number == 0 else "celery@one"
    return (
        ("sent", at, {"retries": number, "hostname": sender, **fields}),
        ("received", at + 0.5, {"retries": number, **fields}),
        ("started", at + 2.0),
    )


#: What nearly all lives are like: all that happens to them is told by one worker.
USUAL = {
    "succeeded": Story(_of(*_BEGUN, ("succeeded", 13.0)), ("SUCCESS",)),
    "failed": Story(_of(*_BEGUN, ("failed", 13.0)), ("FAILURE",)),
    "terminated": Story(_of(*_BEGUN, ("revoked", 13.0)), ("REVOKED",)),
    "cancelled": Story(_of(*_BEGUN, ("cancelled", 13.0)), ("CANCELLED",)),
    "given back": Story(_of(*_BEGUN, ("rejected", 13.0)), ("REJECTED",)),
    "to be retried": Story(_of(*_BEGUN, ("retried", 13.0)), ("RETRY",)),
    "running": Story(_of(*_BEGUN), ("STARTED",)),
    "reserved": Story(_of(_SENT, _RECEIVED), ("RECEIVED",)),
    "pending": Story(_of(_SENT), ("PENDING",), 0, None),
    "not announced": Story(_of(_RECEIVED, _STARTED, ("succeeded", 13.0)), ("SUCCESS",)),
    "revoked before it began": Story(
        _of(_SENT, _RECEIVED, ("revoked", 13.0, {"terminated": False, "signum": None})),
        ("REVOKED",),
    ),
    "expired": Story(
        _of(_SENT, _RECEIVED, ("revoked", 13.0, {"terminated": False, "expired": True})),
        ("REVOKED",),
    ),
    "renamed by who receives it": Story(
        _of(_SENT, ("received", 11.0, {"name": "shop.charge"}), _STARTED), ("STARTED",)
    ),
}

#: What else happens.
UNUSUAL = {
    # A worker receives the next attempt before it tells that this one failed.
    "retried at the same worker": Story(
        _of(
            *_try(0, 10.0),
            *_try(1, 13.0)[:2],
            ("retried", 14.0),
            _try(1, 13.0)[2],
            ("succeeded", 16.0),
        ),
        ("RETRY", "SUCCESS"),
        1,
    ),
    # Its process sends the next attempt at once, and that overtakes it.
    "received for its second try before it is told to have started": Story(
        _of(
            *_try(0, 10.0)[:2],
            *_try(1, 11.0)[:2],
            ("started", 12.0),
            ("retried", 13.0),
            ("started", 14.0),
            ("succeeded", 15.0),
        ),
        ("RETRY", "SUCCESS"),
        1,
    ),
    "running for its second try before it is told to be retried": Story(
        _of(*_try(0, 10.0), *_try(1, 13.0), ("retried", 16.0)), ("RETRY", "STARTED"), 1
    ),
    "ended before it is told to be retried": Story(
        _of(*_try(0, 10.0), *_try(1, 13.0), ("succeeded", 16.0), ("retried", 17.0)),
        ("RETRY", "SUCCESS"),
        1,
    ),
    "retried at the other worker": Story(
        _of(
            *_try(0, 10.0),
            _try(1, 13.0)[0],
            ("retried", 14.0),
            ("received", 14.5, {"retries": 1, **_THERE}),
            ("started", 15.0, _THERE),
            ("failed", 16.0, _THERE),
        ),
        ("RETRY", "FAILURE"),
        1,
        OTHER,
    ),
    "waits for its second try": Story(
        _of(*_try(0, 10.0), *_try(1, 13.0)[:2], ("retried", 14.0)), ("RETRY", "RETRY"), 1
    ),
    "sent for its second try": Story(
        _of(*_try(0, 10.0), _try(1, 13.0)[0], ("retried", 14.0)), ("RETRY", "RETRY"), 1
    ),
    "retried in vain": Story(
        _of(
            *_try(0, 10.0),
            *_try(1, 13.0)[:2],
            ("retried", 14.0, {"exception": "OSError(1)"}),
            _try(1, 13.0)[2],
            *_try(2, 16.0)[:2],
            ("retried", 17.0, {"exception": "OSError(2)"}),
            _try(2, 16.0)[2],
            ("failed", 19.0, {"exception": "OSError(3)"}),
        ),
        ("RETRY", "RETRY", "FAILURE"),
        2,
    ),
    "given back and delivered to the other": Story(
        _of(
            *_BEGUN,
            ("rejected", 13.0),
            *(("received", 14.0, _THERE), ("started", 15.0, _THERE)),
            ("succeeded", 16.0, _THERE),
        ),
        ("REJECTED", "SUCCESS"),
        0,
        OTHER,
    ),
    "given back and delivered again": Story(
        _of(
            *_BEGUN,
            ("rejected", 13.0),
            *(("received", 14.0), ("started", 15.0), ("succeeded", 16.0)),
        ),
        ("REJECTED", "SUCCESS"),
    ),
    "given back and waiting": Story(
        _of(*_BEGUN, ("rejected", 13.0), ("received", 14.0)), ("REJECTED", "RECEIVED")
    ),
    # Celery tells both of what is rejected for good.
    "rejected for good": Story(
        _of(*_BEGUN, ("failed", 13.0), ("rejected", 13.1, {"requeue": False})), ("FAILURE",)
    ),
    "rejected for good, the other way round": Story(
        _of(*_BEGUN, ("rejected", 13.0, {"requeue": False}), ("failed", 13.1)), ("FAILURE",)
    ),
    "terminated, and told twice": Story(
        _of(*_BEGUN, ("revoked", 13.0), ("revoked", 13.2, {"signum": "SIGKILL"})), ("REVOKED",)
    ),
    "terminated while it ended": Story(
        _of(*_BEGUN, ("revoked", 13.0), ("succeeded", 13.2)), ("SUCCESS",)
    ),
    "connection lost while it ran": Story(
        _of(
            *_BEGUN,
            ("cancelled", 13.0),
            *(("received", 14.0), ("started", 15.0), ("succeeded", 16.0)),
        ),
        ("CANCELLED", "SUCCESS"),
    ),
    "its worker died": Story(
        _of(
            *_BEGUN,
            *(("received", 20.0, _THERE), ("started", 21.0, _THERE)),
            ("succeeded", 22.0, _THERE),
        ),
        ("STARTED", "SUCCESS"),
        0,
        OTHER,
    ),
    # The visibility timeout of Redis was too short.
    "run by both at a time": Story(
        _of(
            *_BEGUN,
            *(("received", 13.0, _THERE), ("started", 14.0, _THERE)),
            ("succeeded", 15.0),
            ("failed", 16.0, _THERE),
        ),
        ("SUCCESS", "FAILURE"),
        0,
        OTHER,
    ),
    "delivered again after its success": Story(
        _of(*_BEGUN, *(("succeeded", 13.0), ("received", 14.0), ("started", 15.0))),
        ("SUCCESS", "STARTED"),
    ),
    "nobody has it": Story(
        _of(_SENT, ("failed", 11.0, {"exception": "NotRegistered('x')"})), ("FAILURE",)
    ),
    "replaced by another": Story(
        _of(
            *_BEGUN,
            ("sent", 12.5, {"name": "shop.other", "hostname": "celery@one"}),
            ("received", 13.0, {"name": "shop.other"}),
            *(("started", 14.0), ("succeeded", 15.0)),
        ),
        ("STARTED", "SUCCESS"),
    ),
}

STORIES = {**USUAL, **UNUSUAL}
