"""What is counted of a cluster: bounded instruments, and those of its tasks and workers."""

import math
import re
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from heapq import nlargest
from itertools import pairwise
from operator import add, itemgetter
from threading import Lock
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

from evtools.cam.queues import QueueWatch
from evtools.cam.snapshot import STEPS, WAITED, SnapshotInfo, Step
from evtools.errors import UsageError
from evtools.filters import running_since
from evtools.state import ALIVE, OTHERS, UNKNOWN, State
from evtools.state.statistics.rows import BOUNDS
from evtools.text import clip, sanitize

#: Names and values of labels.
Labels: TypeAlias = tuple[tuple[str, str], ...]
#: The values of the labels of a series, in the order in which its family names them.
Key: TypeAlias = tuple[str, ...]

#: Columns of a terminal that the value of a label may take.
LABEL_MAX_COLS: Final = 200
#: Series of one family; anything beyond is counted in one more.
SERIES_MAX: Final = 1000
#: Seconds after which a series whose value has not changed makes room.
IDLE: Final = 3600.0

# fmt: off
#: Seconds: the buckets of prometheus_client, and so of celery-exporter and Flower.
RUN_BUCKETS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)
#: Seconds: a full queue makes tasks wait for minutes.
WAIT_BUCKETS: Final = (
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
)
# fmt: on

#: The class of an exception, as its repr begins.
_CLASS: Final = re.compile(r"[^\W\d][\w.]{0,200}")


class Sample(NamedTuple):
    """One figure: what follows the name of its family, its labels, its value."""

    suffix: str
    labels: Labels
    value: float


class Family(NamedTuple):
    """Samples under one name, to be read once; that of a counter is without its `_total`.

    `kind` is counter, gauge or histogram, `help` one line without quotes and backslashes.
    """

    name: str
    kind: str
    help: str
    samples: Iterable[Sample]


def label(text: str | None) -> str:
    """Return text from the wire as the value of a label, printable and of bounded length."""
    # No character of input becomes less than half a column.
    return _label(text[: 2 * LABEL_MAX_COLS]) if text else UNKNOWN


@lru_cache(maxsize=4096)
def _label(text: str) -> str:
    return clip(sanitize(text), LABEL_MAX_COLS)


def exception_class(exception: str | None) -> str | None:
    """Return the class that the repr of an exception begins with, None if it does not."""
    found = _CLASS.match(exception or "")
    return found and found[0]


class Gauge:
    """Figures as of one moment by the values of their `labels`, and one for all beyond.

    There are `max_series` at most; `folded` is how often something was counted with the others.
    """

    kind: ClassVar = "gauge"
    suffix: ClassVar = ""

    def __init__(
        self, name: str, text: str, labels: Key = (), max_series: int = SERIES_MAX
    ) -> None:
        self.name, self.help, self.labels, self.max_series = name, text, labels, max_series
        self.others: Key = (OTHERS,) * len(labels)
        self.folded = 0
        self.series: dict[Key, Any] = {}

    def show(self, values: Mapping[Key, float]) -> None:
        """Set these values and no others; the smallest of too many are summed up."""
        self.series = dict(values)
        surplus = len(values) - self.max_series
        if surplus > 0:
            kept = dict(nlargest(self.max_series, values.items(), key=itemgetter(1)))
            rest = sum(values.values()) - sum(kept.values())
            kept[self.others] = kept.get(self.others, 0) + rest
            self.folded += surplus
            self.series = kept

    def family(self) -> Family:
        """Return the series as they are now; quickly, for their text is made when it is read."""
        series = {k: v.copy() if v.__class__ is list else v for k, v in self.series.items()}
        return Family(self.name, self.kind, self.help, self._samples(series))

    def _samples(self, series: Mapping[Key, Any]) -> Iterator[Sample]:
        for key, value in series.items():
            yield Sample(self.suffix, tuple(zip(self.labels, key, strict=True)), value)


class Counter(Gauge):
    """Numbers that only grow."""

    kind, suffix = "counter", "_total"

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        #: How much was counted when we looked, and since when it is that much.
        self._looked: dict[Key, tuple[float, float]] = {}

    def add(self, key: Key = (), amount: int = 1) -> None:
        """Count; an `amount` of 0 makes the series known."""
        series = self.series
        try:
            series[key] += amount
        except KeyError:
            known = key if len(series) < self.max_series else self.others
            self.folded += known is not key and amount > 0
            series[known] = series.get(known, 0) + amount

    def make_room(self, now: float) -> None:
        """Forget idle series if all are taken, and their counts; `now` is in seconds."""
        if len(self.series) < self.max_series:
            self._looked.clear()
            return
        for key, value in list(self.series.items()):
            count = sum(value[:-1]) if isinstance(value, list) else value
            before, since = self._looked.get(key, (None, now))
            if count != before:
                self._looked[key] = count, now
            elif now - since > IDLE and key != self.others:
                self.forget(key)

    def forget(self, key: Key) -> None:
        self._looked.pop(key, None)
        self.series.pop(key, None)


class Histogram(Counter):
    """Durations counted by bucket, with their sum last; `buckets` are upper bounds in seconds."""

    kind = "histogram"
    buckets: tuple[float, ...] = RUN_BUCKETS

    def observe(self, key: Key, value: float) -> None:
        series = self.series.get(key)
        if series is None:
            known = key if len(self.series) < self.max_series else self.others
            self.folded += known is not key
            series = self.series.setdefault(known, [0] * (len(self.buckets) + 1) + [0.0])
        series[bisect_left(self.buckets, value)] += 1
        series[-1] += value

    def _samples(self, series: Mapping[Key, Any]) -> Iterator[Sample]:
        bounds = [("le", number(bound)) for bound in (*self.buckets, math.inf)]
        for key, (*counts, sum_) in series.items():
            labels, total = tuple(zip(self.labels, key, strict=True)), 0
            for bound, count in zip(bounds, counts, strict=True):
                total += count
                yield Sample("_bucket", (*labels, bound), total)
            yield Sample("_sum", labels, sum_)
            yield Sample("_count", labels, total)


def number(value: float) -> str:
    """Return a figure as both formats have it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


# --- those of a cluster -------------------------------------------------------------

_TASK: Final = ("name", "queue_name")
_QUEUE: Final = ("queue_name",)
#: The name of the worker is a label only with the camera's option `hostname`.
_HOST: Final = ("hostname",)
_BOTH: Final = (*_TASK, *_HOST)
# fmt: off
#: Names and labels are those of celery-exporter, so that its dashboards and alerts work.
#: Metrics that it does not have are named as in Flower, with this prefix.
METRICS: Final[Mapping[str, tuple[type[Gauge], Key, str]]] = {
    "task_sent": (Counter, _BOTH, "Tasks sent."),
    "task_received": (Counter, _BOTH, "Tasks received by a worker."),
    "task_started": (Counter, _BOTH, "Tasks started."),
    "task_succeeded": (Counter, _BOTH, "Tasks that succeeded."),
    "task_failed": (Counter, (*_TASK, "exception", *_HOST), "Tasks that failed, by exception."),
    "task_retried": (Counter, _BOTH, "Task retries."),
    "task_revoked": (Counter, _BOTH, "Tasks revoked or expired."),
    "task_rejected": (Counter, _BOTH, "Tasks rejected by a worker."),
    "task_cancelled": (
        Counter, _BOTH, "Tasks cancelled because their worker lost its connection."),
    "task_runtime": (Histogram, _BOTH, "Run time of successful tasks, in seconds."),
    # Waiting is a matter of queues, not of the worker.
    "task_queue_wait_time": (
        Histogram, _TASK, "Time from sending a task, or its ETA, to its start, in seconds."),
    "task_prefetch_time_seconds": (
        Histogram, _BOTH, "Time that tasks without an ETA waited at their worker."),
    "worker_up": (Gauge, _HOST, "1 if the worker is alive."),
    "worker_tasks_active": (Gauge, _HOST, "Running tasks according to heartbeats."),
    "workers": (Gauge, ("status",), "Workers by status."),
    "worker_prefetched_tasks": (
        Gauge, _BOTH, "Tasks without an ETA that workers hold but have not started."),
    "tasks": (Gauge, (*_TASK, "state"),
              "Unfinished tasks in memory by state; LOST if their worker is gone."),
    "tasks_beyond_p99": (
        Gauge, _TASK, "Running tasks that have run for longer than the p99 of their type."),
    "worker_clock_skew_seconds": (
        Gauge, _HOST, "By how much clocks of workers are off: the most, in either direction."),
    "queue_length": (Gauge, _QUEUE, "Messages in a queue that are ready for a worker."),
    "queue_unacked": (
        Gauge, _QUEUE, "Messages of a queue that workers have not acknowledged yet."),
    "queue_oldest_waiting_seconds": (
        Gauge, _QUEUE, "Time since the task was sent that has waited for longest in a queue."),
    "active_consumer_count": (Gauge, _QUEUE, "Consumers of a queue, as the broker says."),
    "active_worker_count": (Gauge, _QUEUE, "Workers that consume a queue, as they say."),
    "active_process_count": (
        Gauge, _QUEUE, "Processes in the pools of the workers that consume a queue."),
    "snapshot_timestamp_seconds": (
        Gauge, (), "Time at which the gauges were taken, in seconds since 1970."),
    "series_folded": (
        Counter, (), "Counts that went into (others) because there were too many series."),
}

_WORKER: Final = ("worker",)
_FLOWERS: Final = (*_WORKER, "task")
#: Those of Flower, with its names and labels, for its dashboards and rules.
FLOWER: Final[Mapping[str, tuple[type[Gauge], Key, str]]] = {
    "flower_events": (Counter, (*_WORKER, "type", "task"), "Events of tasks."),
    "flower_task_runtime_seconds": (
        Histogram, _FLOWERS, "Run time of successful tasks, in seconds."),
    "flower_task_prefetch_time_seconds": (
        Gauge, _FLOWERS,
        "Time that the running task without an ETA waited at its worker, 0 if none runs."),
    "flower_worker_prefetched_tasks": (
        Gauge, _FLOWERS, "Tasks without an ETA that a worker holds but has not started."),
    "flower_worker_online": (Gauge, _WORKER, "1 if the worker is alive."),
    "flower_worker_number_of_currently_executing_tasks": (
        Gauge, _WORKER, "Running tasks according to heartbeats."),
}
# fmt: on
_OF_QUEUES: Final = (
    "queue_length",
    "queue_unacked",
    "queue_oldest_waiting_seconds",
    "active_consumer_count",
    "active_worker_count",
    "active_process_count",
)  # fmt: skip


class ClusterMetrics:
    """Count the steps of tasks of a cluster, and show its workers and open tasks.

    `instruments` are by their names in METRICS, to which `prefix` is added.  With `hostname` the
    name of the worker is a label.  `runtime_buckets` and `wait_buckets` are upper bounds in
    seconds; raise UsageError if they do not grow, or for `max_series`, those of one metric, if
    there are too few.  With `flower` there are those of FLOWER, too.  Hold `lock` while looking at
    instruments.
    """

    def __init__(
        self,
        state: State,
        *,
        prefix: str = "",
        hostname: bool = False,
        runtime_buckets: tuple[float, ...] = RUN_BUCKETS,
        wait_buckets: tuple[float, ...] = WAIT_BUCKETS,
        max_series: int = SERIES_MAX,
        flower: bool = False,
    ) -> None:
        if max_series < 1:
            raise UsageError(f"max_series: {max_series} is too few")
        self.state, self._by_host = state, hostname
        self.lock = Lock()
        self.instruments: dict[str, Any] = {}
        for name, (kind, labels, text) in METRICS.items():
            shown = labels if hostname else tuple(each for each in labels if each not in _HOST)
            self.instruments[name] = kind(prefix + name, text, shown, max_series)
        self._has_flowers = flower
        for name, (kind, labels, text) in FLOWER.items() if flower else ():
            # One of them counts what others have a counter for, each.
            size = max_series * (len(STEPS) if kind is Counter else 1)
            self.instruments[name] = kind(name, text, labels, size)
        bounds = _bounds("wait_buckets", wait_buckets)
        for name in ("task_queue_wait_time", "task_prefetch_time_seconds"):
            self.instruments[name].buckets = bounds
        bounds = _bounds("runtime_buckets", runtime_buckets)
        for name in ("task_runtime", "flower_task_runtime_seconds"):
            if name in self.instruments:
                self.instruments[name].buckets = bounds
        self._counters: dict[str, Counter] = {n: self.instruments[f"task_{n}"] for n in STEPS}
        self._run_times = RunTimes(max_series)
        #: Asks the broker, if that is wanted.
        self.queues: QueueWatch | None = None

    def observe(self, steps: Iterable[Step]) -> None:
        """Count new steps; the state is as it was with their event."""
        with self.lock:
            for step in steps:
                if step.name != WAITED:
                    self._count(step)
                elif (wait := step.task.wait_of(step.attempt)) is not None:
                    queue = label(step.task.name), label(step.task.queue_or_none)
                    self.instruments["task_queue_wait_time"].observe(queue, wait)

    def look(self, info: SnapshotInfo) -> None:
        """Set the gauges, while they can be known; the state stands still."""
        figures = self._figures(info.at) if info.warm and info.connected else {}
        if self.queues is not None:
            figures |= self._of_queues(self.queues, info.at)
        with self.lock:
            for name, metric in self.instruments.items():
                if metric.kind == "gauge":
                    metric.show(figures.get(name, {}))
            if info.warm and info.connected:
                self._make_room(info.at)

    def families(self) -> list[Family]:
        """Return all metrics that have series, as they are now."""
        with self.lock:
            self.count_folded()
            return [each.family() for each in self.instruments.values() if each.series]

    def count_folded(self) -> None:
        metrics = self.instruments
        metrics["series_folded"].series = {(): sum(each.folded for each in metrics.values())}

    def _count(self, step: Step) -> None:
        name, task, attempt = step
        queue = label(task.name), label(task.queue_or_none)
        # The names of clients are new with every process.
        host = self._host("generic" if name == "sent" else attempt.worker_name)
        key = full = (*queue, *host)
        if name == "failed":
            full = (*queue, label(exception_class(attempt.exception)), *host)
        counter = self._counters[name]
        if full not in counter.series:
            # What may be counted next is made known: if a series begins with 1, Prometheus
            # does not see the first increase.  Clients send, workers do all the rest.
            # A name is known by the next step, and where one is sent its queue, so that another
            # series has that.
            for other, each in self._counters.items():
                if UNKNOWN in (queue if other == "sent" else queue[:1]):
                    continue
                if not host or (other == "sent") == (name == "sent"):
                    each.add((*queue, *(("",) if other == "failed" else ()), *host), 0)
        counter.add(full)
        if self._has_flowers:
            self._count_for_flower(step)
        if name == "succeeded" and attempt.runtime is not None:
            self.instruments["task_runtime"].observe(key, attempt.runtime)
            self._run_times.add(task.name, attempt.runtime)
        elif name == "started" and attempt.eta is None:
            received, started = attempt.received, attempt.started
            if received is not None and started is not None and started >= received:
                self.instruments["task_prefetch_time_seconds"].observe(key, started - received)

    def _count_for_flower(self, step: Step) -> None:
        name, task, attempt = step
        worker = label("generic" if name == "sent" else attempt.worker_name)
        events, task_name = self.instruments["flower_events"], label(task.name)
        if (worker, f"task-{name}", task_name) not in events.series:
            for other in STEPS:
                if (other == "sent") == (name == "sent"):
                    events.add((worker, f"task-{other}", task_name), 0)
        events.add((worker, f"task-{name}", task_name))
        if name == "succeeded" and attempt.runtime is not None:
            run = self.instruments["flower_task_runtime_seconds"]
            run.observe((worker, task_name), attempt.runtime)

    def _host(self, hostname: str | None) -> Key:
        return (label(hostname),) if self._by_host else ()

    def _figures(self, now: float) -> dict[str, Mapping[Key, float]]:
        # The values of the gauges that the state has.
        workers = self.state.workers
        statuses = {name: worker.status(now) for name, worker in workers.items()}
        # Without workers there is a zero, unless it needs a name.
        none = {} if self._by_host else {(): 0}
        up, active = Tally[Key](none), Tally[Key](none)
        for name, worker in workers.items():
            key, alive = self._host(name), statuses[name] in ALIVE
            up[key] += alive
            active[key] += worker.active or 0 if alive else 0
        skews = dict[Key, float]()
        for name, worker in workers.items():
            key, skew = self._host(name), worker.skew if worker.beats else None
            if skew is not None and abs(skew) >= abs(skews.get(key, 0.0)):
                skews[key] = skew
        states, prefetched, slow = Tally[Any](), Tally[Any](), Tally[Any]()
        for task in self.state.tasks.open.values():
            state = task.state
            if task.worker is not None:
                if task.lost(now):
                    state = "LOST"
                elif state == "RECEIVED" and task.eta is None:
                    prefetched[task.name, task.queue_or_none, task.worker.hostname] += 1
            p99, since = self._run_times.p99(task.name), running_since(task)
            if p99 is not None and since is not None and state != "LOST" and now - since > p99:
                slow[task.name, task.queue_or_none] += 1
            states[task.name, task.queue_or_none, state] += 1
        figures: dict[str, Mapping[Key, float]] = {
            "worker_up": up,
            "worker_tasks_active": active,
            "workers": Tally((status,) for status in statuses.values()),
            "tasks": _as_labels(states),
            "tasks_beyond_p99": _as_labels(slow, labels=2),
            "worker_clock_skew_seconds": skews,
            "worker_prefetched_tasks": _as_labels(prefetched, labels=3 if self._by_host else 2),
            "snapshot_timestamp_seconds": {(): now},
        }
        if self._has_flowers:
            figures |= self._for_flower(statuses, prefetched, now)
        return figures

    def _for_flower(
        self, statuses: Mapping[str, str], prefetched: Tally[Any], now: float
    ) -> dict[str, Mapping[Key, float]]:
        # Flower's gauges: all that are known of a worker and a task stay at 0, as there.
        known = {(worker, task) for worker, _, task in self.instruments["flower_events"].series}
        hosts = set(map(label, statuses))
        held = Tally[Key]({key: 0 for key in known if key[0] in hosts})
        waits: dict[Key, float] = dict.fromkeys(held, 0.0)
        for (name, _, worker), count in prefetched.items():
            held[label(worker), label(name)] += count
        newest: dict[Key, float] = {}
        for task in self.state.tasks.open.values():
            started, received = task.started, task.received
            if task.state != "STARTED" or task.worker is None or task.eta is not None:
                continue
            if started is None or received is None or started < received or task.lost(now):
                continue
            key = label(task.worker.hostname), label(task.name)
            if started >= newest.get(key, started):
                newest[key], waits[key] = started, started - received
        alive = {name: int(status in ALIVE) for name, status in statuses.items()}
        active = {name: self.state.workers[name].active or 0 for name in statuses}
        return {
            "flower_task_prefetch_time_seconds": waits,
            "flower_worker_prefetched_tasks": held,
            "flower_worker_online": {(label(name),): up for name, up in alive.items()},
            "flower_worker_number_of_currently_executing_tasks": {
                (label(name),): active[name] if up else 0 for name, up in alive.items()
            },
        }

    def _of_queues(self, queues: QueueWatch, now: float) -> dict[str, Mapping[Key, float]]:
        # The values of the gauges that the broker and the workers say.
        tasks = self.state.tasks
        queues.note({queue for task in tasks.open.values() if (queue := task.queue_or_none)})
        figures: dict[str, dict[Key, float]] = {name: {} for name in _OF_QUEUES}
        for queue, status in queues.known():
            depth, key = status.depth, (label(queue),)
            found = [tasks.find(uuid) for uuid in depth.oldest or ()]
            sent = [task.sent for task in found if task is not None and task.sent is not None]
            is_known = sent and len(sent) == len(found)
            values = (
                depth.ready, depth.unacked, max(0.0, now - min(sent)) if is_known else None,
                depth.consumers, status.workers, status.processes,
            )  # fmt: skip
            for (name, known), value in zip(figures.items(), values, strict=True):
                if value is not None:
                    # Several may have one name, if it is masked.
                    together = max if name == "queue_oldest_waiting_seconds" else add
                    known[key] = together(known.get(key, 0), value)
        return {**figures}

    def _make_room(self, now: float) -> None:
        hosts = {OTHERS, UNKNOWN, "generic", *map(label, self.state.workers)}
        for metric in self.instruments.values():
            if metric.kind == "gauge":
                continue
            # Idle series make room if need be, those of workers that are gone leave.
            metric.make_room(now)
            at = {"hostname": -1, "worker": 0}
            for place in [at[name] for name in metric.labels if name in at]:
                for key in [key for key in metric.series if key[place] not in hosts]:
                    metric.forget(key)


#: Of runs of a type: from so many on its p99 is known, and how many at most count.
_RUNS_MIN, _RUNS_MAX = 100, 20_000


class RunTimes:
    """The run times of up to `max_types` types of tasks, by bucket; the newest count most."""

    def __init__(self, max_types: int) -> None:
        self._max_types = max_types
        self._by_type: dict[str | None, Tally[int]] = {}
        self._p99: dict[str | None, float | None] = {}

    def add(self, name: str | None, seconds: float) -> None:
        runs = self._by_type.get(name)
        if runs is None:
            if len(self._by_type) >= self._max_types:
                return
            runs = self._by_type[name] = Tally()
        runs[bisect_left(BOUNDS, seconds)] += 1
        self._p99.pop(name, None)

    def p99(self, name: str | None) -> float | None:
        """Return the run time (seconds) that 99 of 100 do not exceed, None for too few runs."""
        if name not in self._p99:
            self._p99[name] = self._work_out(self._by_type.get(name, Tally()))
        return self._p99[name]

    def _work_out(self, runs: Tally[int]) -> float | None:
        total = runs.total()
        if total < _RUNS_MIN:
            return None
        if total > _RUNS_MAX:
            for bucket in [*runs]:
                runs[bucket] = -(-runs[bucket] // 2)
            total = runs.total()
        above, left = 0, total // 100
        for bucket in sorted(runs, reverse=True):
            above += runs[bucket]
            if above > left:
                return BOUNDS[min(bucket, len(BOUNDS) - 1)]
        return None


def labelled(samples: Iterable[Sample], cluster: str) -> Iterator[Sample]:
    """Yield samples with the name of a cluster as their first label."""
    for suffix, labels, value in samples:
        yield Sample(suffix, (("cluster", cluster), *labels), value)


def _as_labels(tally: Tally[Any], labels: int = 3) -> Tally[Key]:
    # The same by the first few values as labels, of which two may be the same.
    labelled = Tally[Key]()
    for raw, count in tally.items():
        labelled[tuple(map(label, raw[:labels]))] += count
    return labelled


def _bounds(name: str, bounds: tuple[float, ...]) -> tuple[float, ...]:
    grow = all(one < other for one, other in pairwise((0.0, *bounds)))
    if not (bounds and grow and math.isfinite(bounds[-1])):
        raise UsageError(f"{name} must increase, from above 0", "as in 0.1,0.5,1,5")
    return tuple(map(float, bounds))
