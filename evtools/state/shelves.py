"""The tasks in memory, on three shelves: what goes first, and what is kept longer."""

from collections import OrderedDict
from collections.abc import ItemsView, Iterator, Mapping, MutableMapping, ValuesView
from heapq import merge
from itertools import chain, takewhile
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from evtools.state.task import Shelf, Task
from evtools.state.transitions import FINAL_STATES, MOMENTS, SUCCESS

if TYPE_CHECKING:
    from evtools.state.cluster import Cluster

#: The share of all tasks that finished ones may keep while others are forgotten,
#: and the share of finished ones that failures may take.
_FINISHED_SHARE: Final = 0.1
_BAD_SHARE: Final = 0.75


class Shelves(MutableMapping[str, Task]):
    """Tasks by uuid: successes, other finished tasks, and open ones.

    Each shelf is in the order in which the last events of its tasks came; the
    task that is forgotten next comes first.  As with Celery's LRU cache, tasks may
    be put in and taken out, and `limit` bounds how many there are.
    """

    def __init__(self, cluster: "Cluster", limit: int) -> None:
        self._cluster = cluster
        self.limit = limit
        #: About how many bytes they take together.
        self.weight_bytes = 0
        self.done: Shelf = OrderedDict()
        self.bad: Shelf = OrderedDict()
        self.open: Shelf = OrderedDict()
        self.of_state: Mapping[str, Shelf] = {
            **dict.fromkeys(MOMENTS, self.open),
            **dict.fromkeys(FINAL_STATES, self.bad),
            SUCCESS: self.done,
        }

    @property
    def data(self) -> "Shelves":
        """The tasks: to look one up does not change their order."""
        return self

    def __getitem__(self, uuid: str) -> Task:
        task = self.find(uuid)
        if task is None:
            raise KeyError(uuid)
        return task

    def __setitem__(self, uuid: str, task: Task) -> None:
        if uuid != task.uuid:
            raise ValueError(f"the uuid of {task!r} is not {uuid!r}")
        self._cluster.adopt(task)

    def __delitem__(self, uuid: str) -> None:
        task = self[uuid]
        del task.shelf[uuid]
        self._cluster.drop((task,))

    def __contains__(self, uuid: object) -> bool:
        return uuid in self.open or uuid in self.done or uuid in self.bad

    def __len__(self) -> int:
        return len(self.done) + len(self.bad) + len(self.open)

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._in_order())

    def popitem(self, last: bool = True) -> tuple[str, Task]:  # noqa: FBT001, FBT002
        """Remove the task whose event came last, or else the one to forget next."""
        if last:
            task = next(self.by_time(newest_first=True), None)
        else:
            task = next(iter(self.values()), None)
        if task is None:
            raise KeyError("there is no task")
        del self[task.uuid]
        return task.uuid, task

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Put tasks in; forget what is over the limit, which may have been changed."""
        super().update(*args, **kwargs)
        self._cluster.make_room()

    def values(self) -> ValuesView[Task]:
        """Return the tasks."""
        return _Tasks(self)

    def items(self) -> ItemsView[str, Task]:
        """Return uuids and tasks."""
        return _Pairs(self)

    def iterkeys(self) -> Iterator[str]:
        """Yield the uuids, as Celery's LRU cache does; so do the next two."""
        return iter(self)

    def itervalues(self) -> Iterator[Task]:
        """Yield the tasks."""
        return iter(self.values())

    def iteritems(self) -> Iterator[tuple[str, Task]]:
        """Yield uuids and tasks."""
        return iter(self.items())

    def copy(self) -> dict[str, Task]:
        """Return a dictionary of what is here."""
        return dict(self.items())

    def __repr__(self) -> str:
        return repr(self.copy())

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
        (shelf, *_), surplus = self._next()
        count = min(count, max(int(surplus), 1))
        return [shelf.popitem(last=False)[1] for _ in range(count)]

    def _next(self, more_open: int = 0) -> tuple[tuple[Shelf, ...], float]:
        """Return the shelves, what to forget first, and how much of the first.

        As it is with `more_open` open tasks.
        """
        done, bad, waiting = len(self.done), len(self.bad), len(self.open) + more_open
        finished = done + bad
        surplus = finished - _FINISHED_SHARE * (finished + waiting)
        if surplus <= 0 and self.open:
            return (self.open, self.done, self.bad), waiting
        if bad > _BAD_SHARE * finished:
            return (self.bad, self.done, self.open), bad - _BAD_SHARE * finished
        return (self.done, self.bad, self.open), min(surplus, done)

    def _in_order(self) -> tuple[Shelf, ...]:
        """Return the shelves, what is forgotten when a new task comes first."""
        return self._next(1)[0]

    def by_time(self, *, newest_first: bool) -> Iterator[Task]:
        """Return the tasks in the order in which we last heard of them."""
        shelves = (self.done, self.bad, self.open)
        ordered = [
            reversed(shelf.values()) if newest_first else iter(shelf.values()) for shelf in shelves
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

    def clear(self, *, finished_only: bool = False) -> None:
        """Remove all tasks, or the finished ones."""
        shelves = (self.done, self.bad) if finished_only else self._in_order()
        removed = [task for shelf in shelves for task in shelf.values()]
        for shelf in shelves:
            shelf.clear()
        self._cluster.drop(removed)


class _Tasks(ValuesView[Task]):
    """The mapping's own would look up each."""

    def __init__(self, shelves: Shelves) -> None:
        super().__init__(shelves)
        self._shelves = shelves

    def __iter__(self) -> Iterator[Task]:
        shelves = self._shelves._in_order()  # noqa: SLF001  (its own view)
        return chain.from_iterable(shelf.values() for shelf in shelves)


class _Pairs(ItemsView[str, Task]):
    def __init__(self, shelves: Shelves) -> None:
        super().__init__(shelves)
        self._shelves = shelves

    def __iter__(self) -> Iterator[tuple[str, Task]]:
        shelves = self._shelves._in_order()  # noqa: SLF001  (its own view)
        return chain.from_iterable(shelf.items() for shelf in shelves)
