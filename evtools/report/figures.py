"""What a report is about: the figures of all events of recordings, in bounded memory."""

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import groupby, islice
from typing import Any, Final, Generic, TypeVar, cast

from evtools.clock import Clock
from evtools.state import OTHERS, Change, Liveness, State, Statistics, Task, Totals
from evtools.state.statistics.rows import FAILED, SUCCEEDED
from evtools.state.statistics.windows import Cells, merge
from evtools.state.store import Family, family_of
from evtools.wire import Event, Gap

#: Of all clusters together, shared out among them.
_TASKS_MAX: Final = 100_000
_TASKS_BYTES: Final = 256 * 2**20
#: How many clusters are told apart; what comes of others counts for one of this name.
_CLUSTERS_MAX: Final = 50
_OTHERS: Final = OTHERS
#: In how many slots of time figures of all tasks are counted, and those of each type.
SLOTS_MAX: Final = 240
_TYPE_SLOTS_MAX: Final = 120
#: Of how many types, and how many gap records are kept.
_TYPES_MAX: Final = 1000
_GAPS_MAX: Final = 1000
#: How many tasks are the slowest, and how many of a workflow are shown.
SLOWEST_MAX: Final = 10
FAMILY_MAX: Final = 200
#: How much of a traceback is kept, from its end.
TRACEBACK_CHARS: Final = 4000
#: The widths of slots, in seconds; each is a multiple of the one before.
_WIDTHS: Final = (5, 10, 30, 60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400)
_ENDS: Final = ("task-succeeded", "task-failed")

Name = TypeVar("Name", bound=Hashable)


class Timeline(Generic[Name]):
    """Counts by name in `most` slots of time at most, which get wider as time goes on.

    `width` is that of a slot in seconds; slots begin at multiples of it.
    """

    def __init__(self, most: int) -> None:
        self.width = float(_WIDTHS[0])
        self._most = most
        self._slots: dict[int, dict[Name, Cells]] = {}
        self._first, self._last = math.inf, -math.inf

    def add(self, begin: float, counted: Mapping[Name, Cells]) -> None:
        """Add what was counted from `begin` on, UTC epoch seconds, which stays as it is."""
        at = int(begin // self.width)
        self._first, self._last = min(self._first, at), max(self._last, at)
        while self._last - self._first >= self._most:
            self._widen()
        _add(self._slots.setdefault(int(begin // self.width), {}), counted)

    def _widen(self) -> None:
        before, slots = self.width, self._slots
        self.width = float(next((each for each in _WIDTHS if each > before), 2 * before))
        times = int(self.width // before)
        self._first, self._last, self._slots = self._first // times, self._last // times, {}
        for at, counted in slots.items():
            _add(self._slots.setdefault(at // times, {}), counted)

    def read(self, name: Name, first: float, last: float) -> list[Totals]:
        """Return the figures of a name slot by slot, those with nothing among them.

        Rates are over what of a slot is between the `first` and the `last` event.
        """
        if not self._slots:
            return []
        rows = []
        for at in range(int(self._first), int(self._last) + 1):
            begin = at * self.width
            seconds = min(last, begin + self.width) - max(first, begin)
            cells = self._slots.get(at, {}).get(name, {})
            rows.append(Totals("", cells, min(self.width, max(1.0, seconds))))
        return rows

    @property
    def begin(self) -> float:
        """When the first slot begins, in UTC epoch seconds."""
        return self._first * self.width


def _add(into: dict[Name, Cells], counted: Mapping[Name, Cells]) -> None:
    for name, cells in counted.items():
        merge(into.setdefault(name, {}), cells)


class Slowest:
    """The `most` tasks that ran longest, and those of their workflows that the state forgets."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.tasks: dict[str, tuple[float, Task]] = {}
        self._least = -math.inf
        self._kept: dict[str, dict[str, Task]] = {}

    def see(self, task: Task, seconds: float) -> None:
        """Look at a task that has ended and ran for so long."""
        if seconds <= self._least and len(self.tasks) >= self._most:
            return
        if task.uuid in self.tasks and self.tasks[task.uuid][0] >= seconds:
            return
        self.tasks[task.uuid] = seconds, task
        if len(self.tasks) > self._most:
            del self.tasks[min(self.tasks, key=lambda uuid: self.tasks[uuid][0])]
        self._least = min(each for each, _ in self.tasks.values())
        roots = {root_of(each) for _, each in self.tasks.values()}
        self._kept = {root: self._kept.get(root, {}) for root in roots}

    def forgotten(self, task: Task) -> None:
        """Keep a task that the state forgets if it belongs to the workflow of one of them."""
        kept = self._kept.get(root_of(task))
        if kept is not None and len(kept) < FAMILY_MAX:
            kept[task.uuid] = task

    def family(self, task: Task, state: State) -> Family:
        """Return the workflow of one of them, as far as its tasks were remembered."""
        root = root_of(task)
        members = {**self._kept.get(root, {}), task.uuid: task}
        members |= {each.uuid: each for each in state.family(root)}
        ordered = sorted(members.values(), key=lambda each: each.first_received or 0.0)
        return family_of(task, ordered, FAMILY_MAX)


def root_of(task: Task) -> str:
    """Return the uuid of the first task of a task's workflow."""
    return task.root_id or task.uuid


class ClusterFigures:
    """The state of one cluster as of its last event, and its statistics."""

    def __init__(self, name: str, clock: Clock, figures: "Figures") -> None:
        self.name = name
        # A worker that has gone is of interest for as long as the recording is.
        self.state = State(clock=clock, cluster=name, liveness=Liveness(leave=math.inf))
        self.slowest = Slowest(SLOWEST_MAX)
        #: Those that others have sent: a workflow says more than a task alone.
        self.sent_by_others = Slowest(1)
        self.state.on_forget = self._forgotten
        self.statistics = Statistics(
            slides=False,
            traceback_chars=TRACEBACK_CHARS,
            on_slot=lambda begin, types: figures.add_slot(name, begin, types),
        )

    def take(self, events: Iterable[Event]) -> None:
        """Take in events of this cluster, in the order in which they were received."""
        self.statistics.take(self._seen(self.state.changes(events)))

    def _seen(self, changes: Iterable[Change]) -> Iterator[Change]:
        for change in changes:
            yield change
            event, task = cast("Any", change.event), cast("Any", change.subject)
            if event.type in _ENDS and task is not None:
                seconds: float | None = task.runtime if event.runtime is None else event.runtime
                if seconds is not None:
                    self.slowest.see(task, seconds)
                    if root_of(task) != task.uuid:
                        self.sent_by_others.see(task, seconds)

    def _forgotten(self, task: Task) -> None:
        self.slowest.forgotten(task)
        self.sent_by_others.forgotten(task)


class Figures:
    """The figures of all events that were taken, by cluster, and over time of all together.

    `first` and `last` are when the first and the last event was received, in UTC epoch seconds,
    whether or not it was one of those that are counted; both are 0 before one was.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.clusters: dict[str, ClusterFigures] = {}
        self.over_time: Timeline[None] = Timeline(SLOTS_MAX)
        self.of_types: Timeline[tuple[str, str]] = Timeline(_TYPE_SLOTS_MAX)
        self._types: set[tuple[str, str]] = set()
        self.events = 0
        self.first = self.last = 0.0
        self.gaps: list[Gap] = []
        self.gap_count = 0

    def see(self, events: Iterable[Event]) -> None:
        """Know when events were received, gap records as well: that is what rates are over."""
        times = [event.local_received for event in events if event.local_received]
        if times:
            self.first = min(self.first or math.inf, *times)
            self.last = max(self.last, *times)

    def take(self, events: Iterable[Event]) -> None:
        """Count events; the gap records among them are no events."""
        for name, group in groupby(events, key=lambda event: event.cluster or ""):
            found = list(group)
            self._of(name).take(found)
            self.events += len(found)
            for event in found:
                if isinstance(event, Gap):
                    self.events -= 1
                    self.gap_count += 1
                    if len(self.gaps) < _GAPS_MAX:
                        self.gaps.append(event)

    def end(self) -> None:
        """Count what is not counted yet; nothing is taken any more."""
        for cluster in self.clusters.values():
            cluster.statistics.give_out()
        # The axes go from the first event to the last, also where no task was about.
        for at in (self.first, self.last) if self.first else ():
            self.over_time.add(at, {})
            self.of_types.add(at, {})

    def add_slot(self, cluster: str, begin: float, types: Mapping[str, Cells]) -> None:
        """Add what types of a cluster have counted in a slot of time."""
        total: Cells = {}
        shown: dict[tuple[str, str], Cells] = {}
        for name, cells in types.items():
            merge(total, cells)
            ended = {cell: cells[cell] for cell in (SUCCEEDED, FAILED) if cells.get(cell)}
            key = cluster, name
            if ended and (key in self._types or len(self._types) < _TYPES_MAX):
                self._types.add(key)
                shown[key] = ended
        self.over_time.add(begin, {None: total})
        self.of_types.add(begin, shown)

    def totals(self) -> Totals:
        """Return the figures of all clusters together, over the time that is reported."""
        parts = [each.statistics.totals("all", self.last) for each in self.clusters.values()]
        total = Totals.sum(parts) if parts else Totals("", {}, 1.0)
        total.seconds = max(1.0, self.last - self.first)
        return total

    def slowest(self) -> list[tuple[float, Task, ClusterFigures]]:
        """Return the tasks that ran longest, each with the seconds that it ran, longest first."""
        found = [
            (seconds, task, cluster)
            for cluster in self.clusters.values()
            for seconds, task in cluster.slowest.tasks.values()
        ]
        found.sort(key=lambda each: -each[0])
        return list(islice(found, SLOWEST_MAX))

    def _of(self, name: str) -> ClusterFigures:
        found = self.clusters.get(name)
        if found is not None:
            return found
        if len(self.clusters) >= _CLUSTERS_MAX:
            name = _OTHERS
            if name in self.clusters:
                return self.clusters[name]
        self.clusters[name] = found = ClusterFigures(name, self._clock, self)
        for each in self.clusters.values():
            each.state.max_tasks_in_memory = max(1, _TASKS_MAX // len(self.clusters))
            each.state.max_bytes = _TASKS_BYTES // len(self.clusters)
        return found
