"""The steps of tasks, each counted once however often it was told."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from evtools.state import Attempt, Change, Task

#: Tasks of which we know what was counted: those of the newest generation, and as
#: many before them.
_GENERATION: Final = 50_000
#: How often each step of a task was counted is kept in so many bits.
_BITS: Final = 7
_MASK: Final = (1 << _BITS) - 1

#: The steps that events tell, called like the attributes of tasks and attempts that
#: hold when they took them.
STEPS: Final = (
    *("sent", "received", "started", "succeeded", "failed"),
    *("retried", "revoked", "rejected", "cancelled"),
)
#: That it was sent and has started, of which either may be told first.
WAITED: Final = "waited"


def _moment(step: str, attempt: Any) -> float | None:
    moment: float | None = getattr(attempt, step, None)
    return moment


def _waited(attempt: Any) -> float | None:
    return None if attempt.sent is None else attempt.started


#: What returns None while a task, or an attempt at it, has not taken a step.
_WHEN: Final[Mapping[str, Callable[[Any], float | None]]] = {
    **{step: partial(_moment, step) for step in STEPS},
    WAITED: _waited,
}
_SHIFTS: Final = {step: number * _BITS for number, step in enumerate(_WHEN)}
#: The steps that an event tells, by its type.
_TELLS: Final[Mapping[str, tuple[str, ...]]] = {
    f"task-{step}": (step, WAITED) if step in {"sent", "started"} else (step,) for step in STEPS
}


class Step(NamedTuple):
    """A step of a task, and the attempt that took it: the task, if it is simple."""

    name: str
    task: Task
    attempt: Task | Attempt


class Steps:
    """Tell what is new of tasks, from events that may come twice and in any order.

    A step of an attempt counts once, as the state understands it: what is told
    of the next attempt before the end of this one is a step of that, and the end
    of a process that is told by two of its parents is one.  A task may be run again
    and again: each change is to be told before the next one.
    """

    def __init__(self, generation: int = _GENERATION) -> None:
        self._generation = generation
        # Keyed by hash, for a uuid may be long.
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def of(self, changes: Iterable[Change]) -> Iterator[Step]:
        """Yield the steps that are new with these changes."""
        for change in changes:
            task = change.subject
            if not isinstance(task, Task):
                continue
            event = change.event
            told = _TELLS.get(event.type, ())
            if task.history is not None:
                at = event.local_received if event.timestamp is None else event.timestamp
                yield from self._of_attempts(task, task.history.attempts, told, at)
                continue
            for name in told:
                taken = _WHEN[name](task) is not None
                if taken and self._count(task, name, 1, told=True):
                    yield Step(name, task, task)

    def _of_attempts(
        self, task: Task, attempts: Sequence[Attempt], told: Sequence[str], at: Any
    ) -> Iterator[Step]:
        # Now it may be understood otherwise what was told before.
        for name, when in _WHEN.items():
            taken = [attempt for attempt in attempts if when(attempt) is not None]
            own = []
            if name in told:
                own = [each for each in taken if _WHEN[told[0]](each) == at]
            new = self._count(task, name, len(taken), told=bool(own))
            for attempt in own[-1:] if new == 1 and own else taken[len(taken) - new :]:
                yield Step(name, task, attempt)

    def _count(self, task: Task, name: str, now: int, *, told: bool) -> int:
        """Return how many attempts have newly taken a step that `now` have taken.

        They are less than before where the state has forgotten the task, or the
        oldest attempts at one that is tried again and again.
        """
        key, shift = hash(task.uuid), _SHIFTS[name]
        counted = self._young.get(key)
        if counted is None:
            counted = self._old.get(key, 0)
        before = counted >> shift & _MASK
        if now == before or (now < before and not told):
            return 0
        self._young[key] = counted + (now - before << shift)
        if len(self._young) > self._generation:
            self._old, self._young = self._young, {}
        return now - before if now > before else min(now, 1)
