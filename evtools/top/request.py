"""A change to the cluster that somebody asks for, captured when a key is pressed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from evtools.errors import UsageError
from evtools.state import ALIVE, State, Task
from evtools.text import sanitize
from evtools.top.actions import BY_NAME, Action, Kind

#: The argument that says where a command is sent, not what it says.
DESTINATION: Final = "worker"
_UUID_CHARS: Final = 8
_LABEL_CHARS: Final = 200
_NOUNS: Final[Mapping[Kind, tuple[str, str]]] = {
    "task": ("task", "tasks"),
    "type": ("task type", "task types"),
    "worker": ("worker", "workers"),
    "queue": ("queue", "queues"),
}


@dataclass(frozen=True, slots=True)
class Call:
    """One command to the workers; `destination` None is all of them.

    `expected` is how many are likely to answer, None if nobody knows.
    """

    command: str
    arguments: Mapping[str, Any]
    destination: tuple[str, ...] | None
    expected: int | None


@dataclass(frozen=True, slots=True)
class Request:
    """An action, what it is done to, and what was answered to its questions.

    The targets are those of the moment it was made, whatever the screen shows
    later.  `labels` describe them for people, sanitised.  `workers` is how
    many workers there were to answer.
    """

    action: Action
    targets: tuple[str, ...]
    labels: tuple[str, ...]
    workers: int | None
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def confirmation(self) -> str:
        """What must be typed: the name, the count, `y`, or "" for nothing."""
        if self.action.severity == "mild":
            return ""
        if len(self.targets) > 1:
            return str(len(self.targets))
        return self.targets[0] if self.action.severity == "severe" else "y"

    @property
    def summary(self) -> str:
        """What it is about in a few words: the one target, or how many."""
        one, many = _NOUNS[self.action.kind]
        count = len(self.targets)
        return f"{one} {self.labels[0]}" if count == 1 else f"{count} {many}"

    def is_confirmed(self, typed: str) -> bool:
        """Return whether what was typed says yes."""
        return typed.strip() == self.confirmation

    def answered(self, texts: Mapping[str, str]) -> "Request":
        """Return the request with the answers to its questions.

        Raise UsageError for an answer that is not good; its hint says how to
        answer.
        """
        values = {}
        for argument in self.action.arguments:
            default = argument.choices[0] if argument.choices else argument.default
            try:
                values[argument.name] = argument.parse(texts.get(argument.name, default))
            except ValueError as error:
                raise UsageError(f"{argument.title}: {error}", argument.about) from None
        try:
            self.action.check(values)
        except ValueError as error:
            raise UsageError(str(error)) from None
        return replace(self, values=values)

    def calls(self) -> Iterator[Call]:
        """Yield the commands that carry it out."""
        action = self.action
        arguments = {**self.values, **dict(action.constants)}
        destination = self._destination(arguments.pop(DESTINATION, None))
        expected = self.workers if destination is None else len(destination)
        if not action.answers:
            expected = 0
        for subject in self._subjects():
            yield Call(action.command, arguments | subject, destination, expected)

    def _destination(self, worker: Any) -> tuple[str, ...] | None:
        if not self.action.subject:
            return self.targets
        return None if worker is None else (worker,)

    def _subjects(self) -> Iterator[dict[str, Any]]:
        name = self.action.subject
        if not name:
            yield {}
        elif self.action.takes_many:
            yield {name: list(self.targets)}
        else:
            yield from ({name: target} for target in self.targets)


def prepare(state: State, command: str, targets: Sequence[str], *, now: float) -> Request:
    """Capture an action on `targets` (ids or names), to be asked about and sent.

    `now` is in UTC epoch seconds.  Raise UsageError for an unknown action and
    where there is nothing to do it to.
    """
    action = BY_NAME.get(command)
    if action is None:
        raise UsageError(f"there is no action {sanitize(command)}")
    targets = tuple(dict.fromkeys(targets))
    if not targets:
        raise UsageError(f"{action.title.lower()}: there is nothing to do it to")
    workers = sum(worker.status(now) in ALIVE for worker in state.workers.values())
    return Request(
        action,
        targets,
        tuple(_label(state, action.kind, target, now) for target in targets),
        workers or None,
    )


def _label(state: State, kind: Kind, target: str, now: float) -> str:
    return sanitize(_described(state, kind, target, now)[:_LABEL_CHARS])


def _described(state: State, kind: Kind, target: str, now: float) -> str:
    if kind == "task":
        task = state.tasks.get(target)
        return target if task is None else _task(task)
    if kind == "worker":
        worker = state.workers.get(target)
        return target if worker is None else f"{target}, {worker.status(now)}"
    return target


def _task(task: Task) -> str:
    where = f" on {task.worker.hostname}" if task.worker is not None else ""
    return f"{task.name or '?'} {task.uuid[:_UUID_CHARS]}{where}, {task.state}"
