"""Tasks grouped by what they have in common, as Celery's State offers them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from evtools.state.task import Task

_Call = Callable[[str, int | None, bool], Iterator[tuple[str, Task]]]


class Groups(Mapping[str, set[Task]]):
    """Sets of tasks by the text that `key` returns for them.

    It is made of `tasks` when somebody asks, and kept until `reset`; so it
    costs nothing meanwhile.  A group that nothing is in is empty.  Called, it
    does what `call` does.
    """

    def __init__(
        self, tasks: Iterable[Task], key: Callable[[Task], str | None], call: _Call
    ) -> None:
        self._tasks = tasks
        self._key = key
        self._call = call
        self._groups: dict[str, set[Task]] | None = None

    def __call__(
        self,
        name: str,
        limit: int | None = None,
        reverse: bool = True,  # noqa: FBT001, FBT002
    ) -> Iterator[tuple[str, Task]]:
        """Yield the uuids and tasks of a group, ordered by time."""
        return self._call(name, limit, reverse)

    def __getitem__(self, name: str) -> set[Task]:
        return self._made().get(name, set())

    def get(self, name: str, default: Any = None) -> Any:
        """Return a group, `default` if nothing is in it."""
        return self._made().get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._made())

    def __len__(self) -> int:
        return len(self._made())

    def __contains__(self, name: object) -> bool:
        return name in self._made()

    def reset(self) -> None:
        """Forget what was made, as the tasks change."""
        self._groups = None

    def _made(self) -> dict[str, set[Task]]:
        if self._groups is None:
            groups: dict[str, set[Task]] = {}
            for task in self._tasks:
                name = self._key(task)
                if name is not None:
                    groups.setdefault(name, set()).add(task)
            self._groups = groups
        return self._groups
