"""The steps of tasks, each counted once, from events that may come twice and in any order."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from evtools.state import Attempt, Change, Task

#: Tasks whose counts are remembered: those of the newest generation, and as many before.
_GENERATION: Final = 50_000
#: The count of each step of a task is kept in this many bits.
_BITS: Final = 7
_MASK: Final = (1 << _BITS) - 1

#: The steps, named as the attributes of tasks and attempts that hold their times.
STEPS: Final = (
    "sent",
    "received",
    "started",
    "succeeded",
    "failed",
    "retried",
    "revoked",
    "rejected",
    "cancelled",
)
#: It was sent and has started, whichever event comes first.
WAITED: Final = "waited"
_SHIFTS: Final = {step: number * _BITS for number, step in enumerate((*STEPS, WAITED))}
#: The steps that an event reports, by its type.
_OF_EVENT: Final = {
    f"task-{step}": (step, WAITED) if step in {"sent", "started"} else (step,) for step in STEPS
}


class Step(NamedTuple):
    """A step of a task, and the attempt that took it: the task, if it is simple."""

    name: str
    task: Task
    attempt: Task | Attempt


class Steps:
    """Find the new steps in changes of tasks.

    A step of an attempt counts once, as the state understands it: an event of the next
    attempt before the end of this one is a step of the next, and the end of a process that
    is reported by two of its parents is one.  A task may be run again and again: apply each
    change before the next one.
    """

    def __init__(self, generation: int = _GENERATION) -> None:
        self._generation = generation
        # Keyed by hash, for a uuid may be long.
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def of(self, changes: Iterable[Change]) -> Iterator[Step]:
        """Yield the steps that are new with these changes."""
        for change in changes:
            task, event = change.subject, change.event
            if not isinstance(task, Task):
                continue
            names = _OF_EVENT.get(event.type, ())
            if task.history is not None:
                at = event.local_received if event.timestamp is None else event.timestamp
                yield from self._of_attempts(task, task.history.attempts, names, at)
                continue
            for name in names:
                if _when(task, name) is not None and self._count(task, name, 1, is_own=True):
                    yield Step(name, task, task)

    def _of_attempts(
        self, task: Task, attempts: Sequence[Attempt], names: Sequence[str], at: Any
    ) -> Iterator[Step]:
        # Earlier events may be understood otherwise now.
        for name in _SHIFTS:
            taken = [attempt for attempt in attempts if _when(attempt, name) is not None]
            own = []
            if name in names:
                own = [each for each in taken if _when(each, names[0]) == at]
            new = self._count(task, name, len(taken), is_own=bool(own))
            for attempt in own[-1:] if new == 1 and own else taken[len(taken) - new :]:
                yield Step(name, task, attempt)

    def _count(self, task: Task, name: str, now: int, *, is_own: bool) -> int:
        """Return how many attempts have newly taken a step that `now` have taken.

        They are fewer than before if the state has forgotten the task, or the oldest
        attempts of one that is retried again and again; then the step of the event itself
        counts (`is_own`).
        """
        key, shift = hash(task.uuid), _SHIFTS[name]
        counted = self._young.get(key)
        if counted is None:
            counted = self._old.get(key, 0)
        before = counted >> shift & _MASK
        if now == before or (now < before and not is_own):
            return 0
        self._young[key] = counted + (now - before << shift)
        if len(self._young) > self._generation:
            self._old, self._young = self._young, {}
        return now - before if now > before else min(now, 1)


def _when(attempt: Any, name: str) -> Any:
    """Return when an attempt took a step, None if it has not."""
    if name == WAITED:
        return None if attempt.sent is None else attempt.started
    return getattr(attempt, name, None)
