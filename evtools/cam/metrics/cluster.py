"""The metrics of a cluster: what became of its tasks, and who is there."""

import re
from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Final, TypeAlias

from evtools.cam.metrics.catalogue import (
    ACTIVE,
    COUNTERS,
    FOLDED,
    OPEN,
    PREFETCH,
    PREFETCHED,
    RUNTIME,
    TAKEN,
    UP,
    WAIT,
    WORKERS,
    Scheme,
)
from evtools.cam.metrics.exposition import Family, label
from evtools.cam.metrics.instruments import Counter, Gauge, Histogram, Key
from evtools.cam.metrics.steps import STEPS, WAITED, Step, Steps
from evtools.state import ALIVE, OTHERS, UNKNOWN, Change, State, Task

#: The host of what clients did, whose names are new with every process of theirs.
GENERIC: Final = "generic"
#: The state of tasks whose worker has gone with them.
LOST: Final = "LOST"
_RECEIVED: Final = "RECEIVED"

#: What becomes labels.
Raw: TypeAlias = tuple[str | None, ...]

#: The kind of an exception, as its repr begins.
_KIND: Final = re.compile(r"[^\W\d][\w.]{0,200}")


class ClusterMetrics:
    """Keep the metrics of a cluster; they can be asked for from any thread.

    Counters and histograms follow the events, gauges are as of the last `look`.
    """

    def __init__(self, scheme: Scheme | None = None) -> None:
        self._scheme = scheme = scheme or Scheme()
        self._steps = Steps()
        self._lock = Lock()
        about = scheme.about
        self._counters = {step: Counter(about(COUNTERS[step])) for step in STEPS}
        self._runtime = Histogram(about(RUNTIME), scheme.run_buckets)
        self._wait = Histogram(about(WAIT), scheme.wait_buckets)
        self._prefetch = Histogram(about(PREFETCH), scheme.wait_buckets)
        self._up, self._active = Gauge(about(UP)), Gauge(about(ACTIVE))
        self._workers = Gauge(about(WORKERS))
        self._prefetched, self._open = Gauge(about(PREFETCHED)), Gauge(about(OPEN))
        self._taken = Gauge(about(TAKEN))
        self._series: tuple[Counter | Histogram, ...] = (
            *self._counters.values(),
            *(self._runtime, self._wait, self._prefetch),
        )
        self._gauges = (
            *(self._up, self._active, self._workers),
            *(self._prefetched, self._open, self._taken),
        )

    # --- what happens ------------------------------------------------------------

    def observe(self, changes: Iterable[Change]) -> None:
        """Count what events changed; best as `State.changes` tells it.

        For a task is counted as it is by now.
        """
        with self._lock:
            for step in self._steps.of(changes):
                if step.name == WAITED:
                    self._measure_wait(step)
                else:
                    self._count(step)

    def _count(self, step: Step) -> None:
        name, attempt = step.name, step.attempt
        of_queue = _of_queue(step.task)
        host = self._host(GENERIC if name == "sent" else attempt.worker_name)
        key = full = (*of_queue, *host)
        if name == "failed":
            full = (*of_queue, _raised(attempt.exception), *host)
        counter = self._counters[name]
        if full not in counter:
            self._introduce(of_queue, host, name)
        counter.add(full)
        if name == "succeeded" and attempt.runtime is not None:
            self._runtime.observe(key, attempt.runtime)
        elif name == "started" and attempt.eta is None:
            waited = _elapsed(attempt.received, attempt.started)
            if waited is not None:
                self._prefetch.observe(key, waited)

    def _introduce(self, of_queue: Key, host: Key, step: str) -> None:
        """Make the series known that may be counted next.

        Where a series begins with 1, Prometheus does not see the first increase.
        """
        for other, counter in self._counters.items():
            # What clients do is not told of workers.
            if not host or (other == "sent") == (step == "sent"):
                none = ("",) if other == "failed" else ()
                counter.add((*of_queue, *none, *host), 0)

    def _measure_wait(self, step: Step) -> None:
        wait = step.task.wait_of(step.attempt)
        if wait is not None:
            self._wait.observe(_of_queue(step.task), wait)

    # --- how things stand ----------------------------------------------------------

    def look(self, state: State, now: float) -> None:
        """Take in how things stand at `now`, in UTC epoch seconds by our clock.

        Nobody else may change the state meanwhile.
        """
        statuses = {name: worker.status(now) for name, worker in state.workers.items()}
        tasks, prefetched = _of_tasks(state.tasks.open.values(), now)
        with self._lock:
            self._look_at_workers(state, statuses)
            self._open.show(_labelled(tasks))
            if not self._scheme.hostname:
                prefetched = _without_last(prefetched)
            self._prefetched.show(_labelled(prefetched))
            self._taken.show({(): now})
            self._make_room(now, statuses)

    def _look_at_workers(self, state: State, statuses: dict[str, str]) -> None:
        # That there are none is something to tell, too.
        none = {} if self._scheme.hostname else {(): 0}
        up: Tally[Key] = Tally(none)
        active: Tally[Key] = Tally(none)
        for name, worker in state.workers.items():
            key = self._host(name)
            alive = statuses[name] in ALIVE
            up[key] += alive
            active[key] += worker.active or 0 if alive else 0
        self._up.show(up)
        self._active.show(active)
        self._workers.show(Tally((status,) for status in statuses.values()))

    def look_away(self) -> None:
        """Tell nothing of how things stand, for nobody knows."""
        with self._lock:
            for gauge in self._gauges:
                gauge.show({})

    def _make_room(self, now: float, known: Iterable[str]) -> None:
        """Let the series of workers leave that have left, and idle ones if need be."""
        hosts = {OTHERS, UNKNOWN, GENERIC, *(label(name, UNKNOWN) for name in known)}
        for series in self._series:
            series.make_room(now)
            if series.about.labels[-1] == "hostname":
                for key in series.all_keys():
                    if key[-1] not in hosts:
                        series.forget(key)

    def _host(self, hostname: str | None) -> Key:
        """Return the host as a label, if it is one."""
        return (label(hostname, UNKNOWN),) if self._scheme.hostname else ()

    # --- what there is to tell -------------------------------------------------------

    def families(self) -> Sequence[Family]:
        """Return all that has something to tell."""
        with self._lock:
            series = [each.copy() for each in self._series]
            gauges = [each.copy() for each in self._gauges]
        metrics: tuple[Counter | Histogram | Gauge, ...] = (*series, *gauges)
        others = Counter(self._scheme.about(FOLDED))
        others.add((), sum(metric.folded for metric in metrics))
        told = [metric.family() for metric in (*metrics, others)]
        return [family for family in told if family.samples]


def _of_tasks(tasks: Iterable[Task], now: float) -> tuple[Tally[Raw], Tally[Raw]]:
    """Return how many are in which state, and how many wait at their worker."""
    states: Tally[Raw] = Tally()
    prefetched: Tally[Raw] = Tally()
    for task in tasks:
        state = task.state
        if task.worker is not None:
            if task.lost(now):
                state = LOST
            elif state == _RECEIVED and task.eta is None:
                prefetched[task.name, task.queue_or_none, task.worker.hostname] += 1
        states[task.name, task.queue_or_none, state] += 1
    return states, prefetched


def _labelled(tally: Tally[Raw]) -> Tally[Key]:
    """Return the same with labels, of which two may be the same."""
    labelled: Tally[Key] = Tally()
    for raw, count in tally.items():
        labelled[tuple(label(text, UNKNOWN) for text in raw)] += count
    return labelled


def _without_last(tally: Tally[Raw]) -> Tally[Raw]:
    """Return the same summed up over the last part of each key."""
    shorter: Tally[Raw] = Tally()
    for raw, count in tally.items():
        shorter[raw[:-1]] += count
    return shorter


def _of_queue(task: Task) -> Key:
    return label(task.name, UNKNOWN), label(task.queue_or_none, UNKNOWN)


def _raised(exception: str | None) -> str:
    """Return the kind of an exception."""
    found = _KIND.match(exception or "")
    return label(found[0] if found else None, UNKNOWN)


def _elapsed(start: float | None, end: float | None) -> float | None:
    """Return the seconds from one moment to another, None if that is not known."""
    return None if start is None or end is None or end < start else end - start
