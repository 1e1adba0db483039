"""The tasks and workers in memory, bounded: what is forgotten first, who belongs to whom."""

from collections import OrderedDict, defaultdict
from collections.abc import ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from heapq import merge
from itertools import chain, takewhile
from math import inf
from operator import attrgetter
from typing import Any, Final, Protocol, Self, TypeVar

from evtools.state.attempts import FINAL_STATES, SUCCESS
from evtools.state.task import Bucket, Task
from evtools.state.worker import Worker

#: The share of all tasks that finished ones may keep while others are forgotten,
#: and the share of finished ones that failures may take.
_FINISHED_SHARE: Final = 0.1
_BAD_SHARE: Final = 0.75

#: More different names than a cluster has, and longer ones than AMQP allows; that
#: is 1 MB at most.
_NAMES_MAX: Final = 4096
_NAME_MAX_CHARS: Final = 255


Value = TypeVar("Value")


class _Owner(Protocol):
    # The state, which is made of this module.
    def adopt(self, task: Task) -> None: ...
    def drop(self, tasks: Iterable[Task]) -> None: ...
    def make_room(self) -> None: ...
    def settle(self) -> None: ...


class _CelerysNames(Mapping[str, Value]):
    """The names that Celery's LRU cache has besides those of a mapping."""

    @property
    def data(self) -> Self:
        """Itself: to look something up does not change the order."""
        return self

    def iterkeys(self) -> Iterator[str]:
        return iter(self)

    def itervalues(self) -> Iterator[Value]:
        return iter(self.values())

    def iteritems(self) -> Iterator[tuple[str, Value]]:
        return iter(self.items())


class TaskStore(_CelerysNames[Task], MutableMapping[str, Task]):
    """Tasks by uuid, in three buckets: successes, other finished tasks, and open ones.

    Each bucket is in the order in which the last events of its tasks came; the task that
    is forgotten next comes first.  As with Celery's LRU cache, tasks may be put in and
    taken out, and `limit` bounds how many there are.
    """

    def __init__(self, owner: _Owner, limit: int) -> None:
        self._owner = owner
        self.limit = limit
        #: Estimated bytes of all tasks together.
        self.weight_bytes = 0
        self.done: Bucket = OrderedDict()
        self.bad: Bucket = OrderedDict()
        self.open: Bucket = OrderedDict()
        #: Those whose events were not read yet; in the bucket of the latest of these.
        self.unsettled: dict[str, Task] = {}
        #: A task of a state that is not Celery's, made by hand, is an open one.
        self.of_state: defaultdict[str, Bucket] = defaultdict(lambda: self.open)
        self.of_state |= {**dict.fromkeys(FINAL_STATES, self.bad), SUCCESS: self.done}

    def __getitem__(self, uuid: str) -> Task:
        task = self.find(uuid)
        if task is None:
            raise KeyError(uuid)
        return task

    def __setitem__(self, uuid: str, task: Task) -> None:
        if uuid != task.uuid:
            raise ValueError(f"the uuid of {task!r} is not {uuid!r}")
        self._owner.adopt(task)

    def __delitem__(self, uuid: str) -> None:
        task = self[uuid]
        del task.stored_in[uuid]
        self._owner.drop([task])

    def __contains__(self, uuid: object) -> bool:
        return any(uuid in bucket for bucket in (self.open, self.done, self.bad))

    def __len__(self) -> int:
        return len(self.done) + len(self.bad) + len(self.open)

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self.buckets())

    def popitem(self, last: bool = True) -> tuple[str, Task]:  # noqa: FBT001, FBT002
        """Remove the task whose event came last, or else the one to forget next."""
        task = next(self.by_time(newest_first=True) if last else iter(self.values()), None)
        if task is None:
            raise KeyError("there is no task")
        del self[task.uuid]
        return task.uuid, task

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Put tasks in; forget what is over the limit, which may have been changed."""
        super().update(*args, **kwargs)
        self._owner.make_room()

    def values(self) -> ValuesView[Task]:
        return _Tasks(self)

    def items(self) -> ItemsView[str, Task]:
        return _Pairs(self)

    def copy(self) -> dict[str, Task]:
        """Return a dictionary of what is here."""
        return dict(self.items())

    def __repr__(self) -> str:
        return repr(self.copy())

    def find(self, uuid: str) -> Task | None:
        """Return a task, None if it is not here."""
        for bucket in (self.open, self.done, self.bad):
            if uuid in bucket:
                return bucket[uuid]
        return None

    def settled(self) -> tuple[Bucket, ...]:
        """Return successes, other finished tasks and open ones, as it is known now."""
        if self.unsettled:
            self._owner.settle()
        return self.done, self.bad, self.open

    def insert(self, tasks: Iterable[Task]) -> None:
        """Put tasks into the buckets of their states, where they belong in time."""
        late: dict[int, list[Task]] = {}
        for task in sorted(tasks, key=attrgetter("serial")):
            del task.stored_in[task.uuid]
            task.stored_in = bucket = self.of_state[task.state]
            if bucket and next(reversed(bucket.values())).serial > task.serial:
                late.setdefault(id(bucket), []).append(task)
            else:
                bucket[task.uuid] = task
        for tasks_of_bucket in late.values():
            first = tasks_of_bucket[0]
            bucket, later = first.stored_in, []
            while bucket and next(reversed(bucket.values())).serial > first.serial:
                later.append(bucket.popitem()[1])
            for task in merge(reversed(later), tasks_of_bucket, key=attrgetter("serial")):
                bucket[task.uuid] = task

    def move(self, task: Task) -> None:
        """Put a task into the bucket of its state, as the one that changed last."""
        del task.stored_in[task.uuid]
        task.stored_in = self.of_state[task.state]
        task.stored_in[task.uuid] = task

    def forget(self, count: int) -> list[Task]:
        """Remove and return up to `count` tasks that are least needed, at least one."""
        (bucket, *_), surplus = self._next()
        count = min(count, max(int(surplus), 1))
        forgotten = [bucket.popitem(last=False)[1] for _ in range(count)]
        for task in forgotten:
            self.unsettled.pop(task.uuid, None)
        return forgotten

    def _next(self, more_open: int = 0) -> tuple[tuple[Bucket, ...], float]:
        # The buckets, what to forget first, and how much of the first; with `more_open`
        # open tasks.
        done, bad = len(self.done), len(self.bad)
        waiting = len(self.open) + more_open
        finished = done + bad
        surplus = finished - _FINISHED_SHARE * (finished + waiting)
        if surplus <= 0 and self.open:
            return (self.open, self.done, self.bad), waiting
        if bad > _BAD_SHARE * finished:
            return (self.bad, self.done, self.open), bad - _BAD_SHARE * finished
        return (self.done, self.bad, self.open), min(surplus, done)

    def buckets(self) -> tuple[Bucket, ...]:
        """Return the buckets, what is forgotten when a new task comes first."""
        self.settled()
        return self._next(1)[0]

    def by_time(self, *, newest_first: bool) -> Iterator[Task]:
        """Return the tasks in the order in which their last events came."""
        ordered = [
            reversed(bucket.values()) if newest_first else iter(bucket.values())
            for bucket in self.settled()
        ]
        return merge(*ordered, key=attrgetter("serial"), reverse=newest_first)

    def changed_since(self, serial: int) -> list[Task]:
        """Return the tasks with events after the one of that number, the latest last."""
        changed: list[Task] = []
        for bucket in self.settled():
            newest_first = reversed(bucket.values())
            changed += takewhile(lambda task: task.serial > serial, newest_first)
        changed.sort(key=attrgetter("serial"))
        return changed

    def clear(self, *, finished_only: bool = False) -> None:
        """Remove all tasks, or the finished ones."""
        buckets = self.settled()[:2] if finished_only else self.buckets()
        removed = [task for bucket in buckets for task in bucket.values()]
        for bucket in buckets:
            bucket.clear()
        self._owner.drop(removed)


# The mapping's own views would look up each.


class _Tasks(ValuesView[Task]):
    _mapping: TaskStore

    def __iter__(self) -> Iterator[Task]:
        return chain.from_iterable(bucket.values() for bucket in self._mapping.buckets())


class _Pairs(ItemsView[str, Task]):
    _mapping: TaskStore

    def __iter__(self) -> Iterator[tuple[str, Task]]:
        return chain.from_iterable(bucket.items() for bucket in self._mapping.buckets())


class Workers(OrderedDict[str, Worker], _CelerysNames[Worker]):
    """Workers by their node names, `limit` of them, as in Celery's LRU cache."""

    def __init__(self, limit: float = inf) -> None:
        super().__init__()
        self.limit = limit

    def __setitem__(self, hostname: str, worker: Worker) -> None:
        super().__setitem__(hostname, worker)
        self._make_room()

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Put workers in; forget what is over the limit, which may have changed."""
        super().update(*args, **kwargs)
        self._make_room()

    def _make_room(self) -> None:
        while len(self) > max(self.limit, 1):
            self.popitem(last=False)


class TaskTree:
    """The tasks of workflows, by parent and by root.

    It holds uuids of tasks that were added and not discarded, and of nothing else; their
    parents need not be known.
    """

    def __init__(self) -> None:
        self._of: dict[str, tuple[str | None, str | None]] = {}
        self._children: dict[str, dict[str, None]] = {}
        self._families: dict[str, dict[str, None]] = {}

    def add(self, uuid: str, parent: str | None, root: str | None) -> None:
        """Add a task, or change what is known of it."""
        if root == uuid:
            root = None
        if self._of.get(uuid, (None, None)) == (parent, root):
            return
        self.discard(uuid)
        self._of[uuid] = (parent, root)
        for group, key in ((self._children, parent), (self._families, root)):
            if key is not None:
                group.setdefault(key, {})[uuid] = None

    def discard(self, uuid: str) -> None:
        """Forget a task, if it is here."""
        keys = self._of.pop(uuid, None)
        if keys is None:
            return
        for group, key in zip((self._children, self._families), keys, strict=True):
            if key is not None:
                members = group[key]
                del members[uuid]
                if not members:
                    del group[key]

    def children(self, uuid: str) -> tuple[str, ...]:
        """Return the children of a task in the order in which they were added."""
        return tuple(self._children.get(uuid, ()))

    def family(self, root: str) -> tuple[str, ...]:
        """Return the tasks whose root this is, in the order in which they were added."""
        return tuple(self._families.get(root, ()))


class Interner(dict[Any, Any]):
    """Return for a name the equal string that was asked for first: `names[name]`.

    What is too long for a name is returned as it is, and None for None.  It begins anew
    when it holds too many.
    """

    def __missing__(self, name: Any) -> Any:
        if name is None or len(name) > _NAME_MAX_CHARS:
            return name
        if len(self) >= _NAMES_MAX:
            self.clear()
        self[name] = name
        return name
