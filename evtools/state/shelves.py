"""The tasks in memory, on three shelves: what goes first, and what is kept longer."""

from collections import OrderedDict
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from heapq import merge
from itertools import chain, takewhile
from operator import attrgetter
from typing import Final

from evtools.state.task import Shelf, Task
from evtools.state.transitions import FINAL_STATES, MOMENTS, SUCCESS

#: The share of all tasks that finished ones may keep while others are forgotten,
#: and the share of finished ones that failures may take.
_FINISHED_SHARE: Final = 0.1
_BAD_SHARE: Final = 0.75


class Shelves(Mapping[str, Task]):
    """Tasks by uuid: successes, other finished tasks, and open ones.

    Each shelf is in the order in which we last heard of its tasks.
    """

    def __init__(self) -> None:
        self.done: Shelf = OrderedDict()
        self.bad: Shelf = OrderedDict()
        self.open: Shelf = OrderedDict()
        self.of_state: Mapping[str, Shelf] = {
            **dict.fromkeys(MOMENTS, self.open),
            **dict.fromkeys(FINAL_STATES, self.bad),
            SUCCESS: self.done,
        }

    def __getitem__(self, uuid: str) -> Task:
        task = self.find(uuid)
        if task is None:
            raise KeyError(uuid)
        return task

    def __len__(self) -> int:
        return len(self.done) + len(self.bad) + len(self.open)

    def __iter__(self) -> Iterator[str]:
        return chain(self.done, self.bad, self.open)

    def values(self) -> ValuesView[Task]:
        """Return the tasks."""
        return _Tasks(self)

    def items(self) -> ItemsView[str, Task]:
        """Return uuids and tasks."""
        return _Pairs(self)

    def __repr__(self) -> str:
        return f"<{len(self)} tasks>"

    def find(self, uuid: str) -> Task | None:
        """Return a task, None if it is not here."""
        return self.open.get(uuid) or self.done.get(uuid) or self.bad.get(uuid)

    def move(self, task: Task, shelf: Shelf) -> None:
        """Put a task on a shelf, as the one we heard of last."""
        del task.shelf[task.uuid]
        shelf[task.uuid] = task
        task.shelf = shelf

    def forget(self, count: int) -> list[Task]:
        """Remove up to `count` tasks that we can do without, at least one.

        Return them; ask again for more.
        """
        done, bad = len(self.done), len(self.bad)
        finished = done + bad
        surplus = finished - _FINISHED_SHARE * (finished + len(self.open))
        if surplus <= 0 and self.open:
            shelf, surplus = self.open, len(self.open)
        elif bad > _BAD_SHARE * finished:
            shelf, surplus = self.bad, bad - _BAD_SHARE * finished
        else:
            shelf, surplus = self.done, min(surplus, done)
        count = min(count, max(int(surplus), 1))
        return [shelf.popitem(last=False)[1] for _ in range(count)]

    def by_time(self, *, newest_first: bool) -> Iterator[Task]:
        """Return the tasks in the order in which we last heard of them."""
        shelves = (self.done, self.bad, self.open)
        ordered = [
            reversed(shelf.values()) if newest_first else iter(shelf.values())
            for shelf in shelves
        ]
        return merge(*ordered, key=attrgetter("serial"), reverse=newest_first)

    def heard_since(self, serial: int) -> list[Task]:
        """Return the tasks that we heard of after the event of that number.

        The one that we heard of last comes last.
        """
        heard: list[Task] = []
        for shelf in (self.done, self.bad, self.open):
            newest_first = reversed(shelf.values())
            heard += takewhile(lambda task: task.serial > serial, newest_first)
        heard.sort(key=attrgetter("serial"))
        return heard

    def clear(self, *, finished_only: bool) -> list[Task]:
        """Remove all tasks, or the finished ones, and return them."""
        shelves = (
            [self.done, self.bad] if finished_only else [self.done, self.bad, self.open]
        )
        removed = [task for shelf in shelves for task in shelf.values()]
        for shelf in shelves:
            shelf.clear()
        return removed


class _Tasks(ValuesView[Task]):
    """The mapping's own would look up each."""

    def __init__(self, shelves: Shelves) -> None:
        super().__init__(shelves)
        self._shelves = shelves

    def __iter__(self) -> Iterator[Task]:
        shelves = self._shelves
        return chain(shelves.done.values(), shelves.bad.values(), shelves.open.values())


class _Pairs(ItemsView[str, Task]):
    def __init__(self, shelves: Shelves) -> None:
        super().__init__(shelves)
        self._shelves = shelves

    def __iter__(self) -> Iterator[tuple[str, Task]]:
        shelves = self._shelves
        return chain(shelves.done.items(), shelves.bad.items(), shelves.open.items())
