"""The tasks and workers in memory, bounded: what is forgotten first, who belongs to whom.

And workflows, for those who show them: as trees, and as bars on an axis of time.
"""

from collections import OrderedDict, defaultdict
from collections.abc import (
    Callable,
    Container,
    ItemsView,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
    ValuesView,
)
from heapq import merge
from itertools import chain, takewhile
from math import inf
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple, Protocol, Self, TypeAlias, TypeVar

from evtools.state.attempts import FINAL_STATES, RETRY, STARTED, SUCCESS
from evtools.state.task import Bucket, Task
from evtools.state.worker import Clients, Worker

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


# --- workflows: trees, made flat --------------------------------------------------

_TREE_ROWS_MAX: Final = 5_000
MAX_DEPTH: Final = 40
#: Before a node, and before those below it: where others follow at its depth, and where not.
_UNICODE: Final = (("├─ ", "│  "), ("└─ ", "   "))
_ASCII: Final = (("|- ", "|  "), ("`- ", "   "))


def grow(
    roots: Iterable[str],
    children: Callable[[str], Iterable[str]],
    *,
    closed: Container[str] = (),
    ascii_only: bool = False,
    max_rows: int = _TREE_ROWS_MAX,
) -> list[tuple[str, str]]:
    """Return the nodes of the trees under `roots`, each before its children.

    With each is the prefix that draws its branches.  Every key comes once, whatever cycles
    there are.  A node that is `closed`, or too deep, hides its children.
    """
    follows, ends = _ASCII if ascii_only else _UNICODE
    nodes: list[tuple[str, str]] = []
    seen: set[str] = set()
    #: A key, what is drawn before its branch, the branch, and before those below it.
    waiting = [(key, "", "", "") for key in roots][::-1]
    while waiting and len(nodes) < max_rows:
        key, indent, branch, line = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        below = [child for child in children(key) if child not in seen]
        hides = bool(below) and (key in closed or len(indent) >= 3 * MAX_DEPTH)
        nodes.append((key, indent + branch + ("+ " if hides else "")))
        if below and not hides:
            *others, last = below
            waiting.append((last, indent + line, *ends))
            waiting += [(child, indent + line, *follows) for child in reversed(others)]
    return nodes


def tops(
    keys: Iterable[str], parent: Callable[[str], str | None], known: Container[str]
) -> Iterator[str]:
    """Yield the topmost ancestor that is known of each key, each of them once.

    In a cycle, that is the one where the walk closes it.
    """
    #: For each key that was passed, where the walk up began.
    walks: dict[str, str] = {}
    for start in keys:
        at = start
        while at not in walks:
            walks[at] = start
            above = parent(at)
            if above is None or above not in known:
                yield at
                break
            at = above
        else:
            if walks[at] == start:
                yield at


class Family(NamedTuple):
    """The tasks of a workflow, each with what draws its branch; and how many there are of them."""

    members: list[tuple[Task, str]]
    total: int

    def led_to_the_end(self, ends: Mapping[str, float]) -> set[str]:
        """Return the task that ended last, the one that sent it, and so on, by uuid.

        `ends` has when tasks ended.  Events say who sent a task, and not what it waited for
        besides; nothing is known before all have ended.
        """
        tasks = {member.uuid: member for member, _ in self.members}
        if self.total > len(tasks) or any(not member.ready for member in tasks.values()):
            return set()
        path: dict[str, None] = {}
        at: str | None = max(ends, key=ends.__getitem__, default=None)
        while at is not None and at in tasks and at not in path:
            path[at] = None
            at = tasks[at].parent_id
        return set(path)


def family_of(
    task: Task, everybody: Sequence[Task], most: int, *, ascii_only: bool = False
) -> Family:
    """Return a task's workflow, as a tree, of which `everybody` is; `most` of them and the task."""
    family = {each.uuid: each for each in everybody[:most]}
    family[task.uuid] = task
    below: dict[str | None, list[str]] = {}
    for each in family.values():
        below.setdefault(each.parent_id, []).append(each.uuid)
    roots = tops(family, lambda uuid: family[uuid].parent_id, family)
    nodes = grow(roots, lambda uuid: below.get(uuid, ()), ascii_only=ascii_only)
    return Family([(family[uuid], prefix) for uuid, prefix in nodes], len(everybody))


# --- and bars on an axis of time --------------------------------------------------

#: How an attempt went on: `unknown` is that nobody knows since when it does not run.
Outcome: TypeAlias = Literal["succeeded", "retried", "failed", "waiting", "running", "unknown"]
_OUTCOMES: Final[Mapping[str, Outcome]] = {SUCCESS: "succeeded", RETRY: "retried"}
#: From this number of seconds on, times are corrected by the skew of their clock.
SKEW_SHOWN: Final = 1.0


class Piece(NamedTuple):
    """An attempt on the axis: from when on it waited, when it started, until when it went on.

    In UTC epoch seconds by our clock, as far as clocks are known to be off; None is unknown.
    What failed may have been revoked, rejected or cancelled.
    """

    since: float | None
    started: float | None
    end: float
    outcome: Outcome


class Clocks(dict[str, float]):
    """The clocks whose times were corrected, by sender, and how far they are ahead."""

    def ours(self, at: float | None, sender: str | None, skew: float | None) -> float | None:
        """Return a time by our clock; that of its sender is `skew` seconds ahead."""
        if at is None or skew is None or abs(skew) < SKEW_SHOWN:
            return at
        self[sender or "?"] = skew
        return at - skew


def pieces(task: Any, clients: Clients, now: float, clocks: Clocks) -> Iterator[Piece]:
    """Yield the attempts of a task as pieces of an axis, the oldest first; note corrected `clocks`.

    `clients` are those of its cluster; what goes on ends `now`, in UTC epoch seconds.
    """
    sendings: set[float] = set()
    for attempt in (*task.attempts, task):
        skew = None if attempt.worker is None else attempt.worker.skew
        received, started, ended = (
            clocks.ours(at, attempt.worker_name, skew)
            for at in (attempt.received, attempt.started, attempt.ended)
        )
        sent = None
        # A message that is delivered again was sent once, and waits from its receipt.
        if attempt.sent is not None and attempt.sent not in sendings:
            sendings.add(attempt.sent)
            sent = clocks.ours(attempt.sent, attempt.client, clients.ahead(attempt.client))
        since = min((at for at in (sent, received) if at is not None), default=None)
        if started is None and ended is not None and attempt.measured is not None:
            started = ended - attempt.measured
        last = max((at for at in (sent, received, started) if at is not None), default=None)
        if ended is not None:
            yield Piece(since, started, ended, _OUTCOMES.get(attempt.state, "failed"))
        elif last is None:
            continue
        elif attempt is not task or task.lost(now):
            yield Piece(since, started, last, "unknown")
        elif started is None:
            yield Piece(since, None, max(last, now), "waiting")
        elif (
            task.state != STARTED
            or task.may_have_ended(now)
            or task.current_answer(now) is not None
        ):
            yield Piece(since, started, last, "unknown")
        else:
            yield Piece(since, started, max(last, now), "running")
