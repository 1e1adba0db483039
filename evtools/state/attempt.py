"""One attempt at a task: from its sending, or its receipt by a worker, to its end."""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final

from evtools.state.readings import (
    TASK_READINGS,
    Failed,
    Received,
    Rejected,
    Retried,
    Revoked,
    Sent,
    Succeeded,
    TaskReading,
)
from evtools.state.times import elapsed
from evtools.state.transitions import ENDS, MOMENTS, PENDING, RECEIVED, RETRY, STARTED

#: The steps of an attempt; of several ends the last in this order is what counts.
_STEPS: Final = (PENDING, RECEIVED, STARTED, *reversed(ENDS))
_RANKS: Final = {state: rank for rank, state in enumerate(_STEPS)}
_STARTED: Final = _RANKS[STARTED]

_SENDING: Final = (("retries", "retries"), ("eta", "eta"), ("expires", "expires"))
_RAISED: Final = (("exception", "exception"), ("traceback", "traceback"))
#: What an event tells of its attempt beside its time, by kind of event: the field,
#: and the attribute.
_TELLS: Final[Mapping[type[TaskReading], tuple[tuple[str, str], ...]]] = {
    Sent: _SENDING,
    Received: _SENDING,
    Succeeded: (("result", "result"), ("runtime", "measured")),
    Failed: _RAISED,
    Retried: _RAISED,
    Revoked: (
        ("terminated", "terminated"),
        ("signum", "signum"),
        ("expired", "expired"),
    ),
    Rejected: (("requeue", "requeue"),),
}

#: What an attempt and a task both have.
SHARED: Final = (
    *("timestamp", "clock", "pid", *MOMENTS.values(), "ended", "measured"),
    *("retries", "eta", "expires", "result", "exception", "traceback"),
    *("terminated", "signum", "expired", "requeue"),
)


class View:
    """Some of what attempts and tasks have in common: its names, and `of` either."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.of: Callable[[object], tuple[Any, ...]] = attrgetter(*names)


#: All of it.
WHOLE: Final = View(*SHARED)
#: What a task shows of its last attempt while the newest waits for its turn.
LAST: Final = View("retried", "exception", "traceback")
#: What an event of its newest attempt may change, by the kind of event.
CHANGES: Final = {
    kind: View(
        *("timestamp", "clock", "pid", "ended", MOMENTS[kind.state], *LAST.names),
        *(name for _, name in _TELLS.get(kind, ())),
    )
    for kind in TASK_READINGS.values()
}


class Attempt:
    """One attempt at a task, made of what events told of it.

    Times are UTC epoch seconds by the clocks of the senders, None if nothing
    told them; `began` is the first that a worker told.  `hostname` is the
    worker's.  `number` counts from 0; it is a lower bound while `retries`,
    which events tell, is None.
    """

    __slots__ = ("_step", "began", "hostname", "number", *SHARED)

    timestamp: float | None
    clock: int
    pid: int | None
    sent: float | None
    received: float | None
    started: float | None
    ended: float | None
    retried: float | None
    retries: int | None
    eta: str | None
    measured: float | None
    result: str | None
    exception: str | None
    traceback: str | None

    def __init__(self, hostname: str | None = None, number: int = 0) -> None:
        self.hostname = hostname
        self.number = number
        self.began: float | None = None
        for name in SHARED:
            setattr(self, name, None)
        self._step = -1

    def __repr__(self) -> str:
        return f"<Attempt {self.number}: {self.state} on {self.hostname}>"

    @property
    def waits(self) -> bool:
        """Whether it has neither started nor ended."""
        return self._step < _STARTED

    @property
    def state(self) -> str:
        """Its state, as of a task: what waits for its second try is a RETRY."""
        return RETRY if self.number and self.waits else _STEPS[max(self._step, 0)]

    @property
    def runtime(self) -> float | None:
        """How long it ran: as the worker measured it, else from start to end."""
        if self.measured is not None:
            return self.measured
        return elapsed(self.started, self.ended)

    def take(self, reading: TaskReading) -> None:
        """Take in a step, those of a worker in the order of their times.

        What was told twice, as the end of a process that was terminated, was
        true the first time.
        """
        moment = MOMENTS[reading.state]
        if getattr(self, moment) is not None:
            return
        at = reading.timestamp
        setattr(self, moment, at)
        step = _RANKS[reading.state]
        counts = step > self._step
        for field, name in _TELLS.get(type(reading), ()):
            if counts or getattr(self, name) is None:
                setattr(self, name, getattr(reading, field))
        if step and self.began is None:
            self.began = at
        if counts:
            self._step = step
            self.timestamp, self.clock, self.pid = at, reading.clock or 0, reading.pid
            if step > _STARTED:
                self.ended = at
