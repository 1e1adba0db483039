"""One attempt at a task: from its sending, or its receipt by a worker, to its end."""

from collections.abc import Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

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

if TYPE_CHECKING:
    from evtools.state.task import Task
    from evtools.state.worker import Worker

#: The steps of an attempt; of several ends the last in this order is what counts.
_STEPS: Final = (PENDING, RECEIVED, STARTED, *reversed(ENDS))
_RANKS: Final = {state: rank for rank, state in enumerate(_STEPS)}
_STARTED: Final = _RANKS[STARTED]

_SENDING: Final = (("retries", "retries"), ("eta", "eta"), ("expires", "expires"))
_RAISED: Final = (("exception", "exception"), ("traceback", "traceback"))
#: What an event tells of its attempt beside its time, by kind of event: the field,
#: and the attribute.
_TELLS: Final[Mapping[type[TaskReading], tuple[tuple[str, str], ...]]] = {
    Sent: (*_SENDING, ("client", "client")),
    Received: _SENDING,
    Succeeded: (("result", "result"), ("runtime", "measured")),
    Failed: _RAISED,
    Retried: _RAISED,
    Revoked: (("terminated", "terminated"), ("signum", "signum"), ("expired", "expired")),
    Rejected: (("requeue", "requeue"),),
}
#: The moment and the rank of the step that an event is, and what it tells.
_TAKES: Final = {
    kind: (MOMENTS[kind.state], _RANKS[kind.state], _TELLS.get(kind, ()))
    for kind in TASK_READINGS.values()
}
#: What an attempt takes beside its texts.
ATTEMPT_BYTES: Final = 400


class Attempt(Struct, eq=False, gc=False):
    """One attempt at a task, made of what events told of it.

    Times are UTC epoch seconds by the clocks of the senders, None if nothing
    told them; `began` is the first that a worker told.  `worker` is who had it,
    `pid` the process that told its last step.  `number` counts from 0; it is a
    lower bound while `retries`, which events tell, is None.
    """

    worker: "Worker | None" = None
    number: int = 0
    client: str | None = None
    began: float | None = None
    _step: int = -1
    # From here on, what an attempt and a task both have.
    timestamp: float | None = None
    pid: int | None = None
    sent: float | None = None
    received: float | None = None
    started: float | None = None
    succeeded: float | None = None
    failed: float | None = None
    retried: float | None = None
    revoked: float | None = None
    rejected: float | None = None
    ended: float | None = None
    measured: float | None = None
    retries: int | None = None
    eta: str | None = None
    expires: str | None = None
    result: str | None = None
    exception: str | None = None
    traceback: str | None = None
    terminated: bool | None = None
    signum: int | str | None = None
    expired: bool | None = None
    requeue: bool | None = None
    cancelled: float | None = None

    def __repr__(self) -> str:
        return f"<Attempt {self.number}: {self.state} on {self.worker_name}>"

    @property
    def worker_name(self) -> str | None:
        """The worker's name."""
        return None if self.worker is None else self.worker.hostname

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

    def weigh(self) -> int:
        """Return about how many bytes it takes."""
        texts: tuple[str | None, ...] = TEXTS.of(self)
        return ATTEMPT_BYTES + sum([len(text) for text in texts if text])

    def take(self, reading: TaskReading) -> None:
        """Take in a step, those of a worker in the order of their times.

        What was told twice, as the end of a process that was terminated, was
        true the first time.
        """
        moment, step, told = _TAKES[type(reading)]
        if getattr(self, moment) is not None:
            return
        at = reading.timestamp
        setattr(self, moment, at)
        counts = step > self._step
        for field, name in told:
            if counts or getattr(self, name) is None:
                setattr(self, name, getattr(reading, field))
        if step and self.began is None:
            self.began = at
        if counts:
            self._step = step
            self.timestamp = at
            if step:
                self.pid = reading.pid
            if step > _STARTED:
                self.ended = at


#: What a task has only if an event said it.
_RARE: Final = ("terminated", "signum", "expired", "requeue", "cancelled")


class View:
    """Some of what attempts and tasks have in common: its names, and `of` either."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self._usual = attrgetter(*[name for name in names if name not in _RARE])
        #: These come last.
        self._rare = [name for name in names if name in _RARE]

    def of(self, shown: "Task | Attempt") -> tuple[Any, ...]:
        """Return the values of an attempt or a task."""
        rare = [getattr(shown, name, None) for name in self._rare]
        return (*self._usual(shown), *rare)

    def show(self, shown: "Task | Attempt", attempt: Attempt) -> None:
        """Set this much of a task, or of another attempt, to that of an attempt."""
        old, new = self.of(shown), self.of(attempt)
        if old == new:
            return
        for name, was, value in zip(self.names, old, new, strict=True):
            # What is None by default takes no space in the task until it is set.
            if was is value:
                continue
            if value is None and name in self._rare:
                delattr(shown, name)
            else:
                setattr(shown, name, value)


#: All of it.
WHOLE: Final = View(*Attempt.__struct_fields__[5:])
#: What a task shows of its last attempt while the newest waits for its turn.
LAST: Final = View("retried", "exception", "traceback")
#: Of that, texts that may be long.
TEXTS: Final = View("eta", "expires", "result", "exception", "traceback")


def newest_of(task: "Task") -> Attempt:
    """Return the newest attempt of a task whose steps were written into it."""
    waits = task.started is None and task.ended is None
    if waits:
        step = PENDING if task.received is None else RECEIVED
    else:
        step = STARTED if task.ended is None else task.state
    attempt = Attempt(
        None if task.received is None else task.worker,
        task.retries or 0,
        None if task.sent is None else task.client,
        task.received,
        _RANKS[step],
        *WHOLE.of(task),
    )
    if waits:
        # Of these the task shows what the attempt before it has.
        LAST.show(attempt, Attempt())
    return attempt
