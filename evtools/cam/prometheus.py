"""The camera for Prometheus: metrics of a cluster over HTTP, or in a file for node_exporter."""

import contextlib
import math
import os
import re
import secrets
from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple, TypeAlias

from evtools.cam.camera import Camera
from evtools.cam.http import Address, HTTPServer
from evtools.cam.metrics import (
    RUN_BUCKETS,
    SERIES_MAX,
    WAIT_BUCKETS,
    About,
    Counter,
    Family,
    Gauge,
    Histogram,
    Key,
    label,
    render,
    scrape,
)
from evtools.cam.snapshot import STEPS, WAITED, SnapshotInfo, Step, Steps
from evtools.errors import OutputError, UsageError
from evtools.state import ALIVE, OTHERS, UNKNOWN, Change, State, Task
from evtools.trust import check_way, safe_place

#: The host of events of clients, whose names are new with every process.
GENERIC: Final = "generic"
#: The state of tasks whose worker is gone.
LOST: Final = "LOST"

#: What becomes labels.
Raw: TypeAlias = tuple[str | None, ...]

#: The class of an exception, as its repr begins.
_CLASS: Final = re.compile(r"[^\W\d][\w.]{0,200}")
_PREFIX: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
#: node_exporter runs as another user.
_MODE: Final = 0o644
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


# --- names --------------------------------------------------------------------------

# Names and labels are those of celery-exporter, so that its dashboards and alerts work.
# Metrics that it does not have are named as in Flower, with this prefix.


class Entry(NamedTuple):
    """One metric; `of_worker` ones may have the worker's name as a label."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    of_worker: bool = False


_TASK: Final = ("name", "queue_name")
# fmt: off
#: The counters, by the step of a task that they count.
COUNTERS: Final = {
    step: Entry(f"task_{step}", help_, (*_TASK, *labels), of_worker=True)
    for step, help_, *labels in (
        ("sent", "Tasks sent."),
        ("received", "Tasks received by a worker."),
        ("started", "Tasks started."),
        ("succeeded", "Tasks that succeeded."),
        ("failed", "Tasks that failed, by exception.", "exception"),
        ("retried", "Task retries."),
        ("revoked", "Tasks revoked or expired."),
        ("rejected", "Tasks rejected by a worker."),
        ("cancelled", "Tasks cancelled because their worker lost its connection."),
    )
}
RUNTIME: Final = Entry("task_runtime", "Run time of successful tasks, in seconds.",
                       _TASK, of_worker=True)
#: Without the worker's name: waiting is a matter of queues.
WAIT: Final = Entry("task_queue_wait_time",
                    "Time from sending a task, or its ETA, to its start, in seconds.", _TASK)
PREFETCH: Final = Entry("task_prefetch_time_seconds",
                        "Time that tasks without an ETA waited at their worker.",
                        _TASK, of_worker=True)
UP: Final = Entry("worker_up", "1 if the worker is alive.", of_worker=True)
ACTIVE: Final = Entry("worker_tasks_active", "Running tasks according to heartbeats.",
                      of_worker=True)
WORKERS: Final = Entry("workers", "Workers by status.", ("status",))
PREFETCHED: Final = Entry("worker_prefetched_tasks",
                          "Tasks without an ETA that workers hold but have not started.",
                          _TASK, of_worker=True)
OPEN: Final = Entry("tasks",
                    "Unfinished tasks in memory by state; LOST if their worker is gone.",
                    (*_TASK, "state"))
TAKEN: Final = Entry("snapshot_timestamp_seconds",
                     "Time at which the gauges were taken, in seconds since 1970.")
FOLDED: Final = Entry("series_folded",
                      "Counts that went into (others) because there were too many series.")
# fmt: on


@dataclass(frozen=True, slots=True)
class Scheme:
    """Names, labels and bounds of a cluster's metrics.

    With `hostname` there is a series for each worker.  Buckets are upper bounds in seconds.
    """

    prefix: str = "celery_"
    hostname: bool = False
    run_buckets: tuple[float, ...] = RUN_BUCKETS
    wait_buckets: tuple[float, ...] = WAIT_BUCKETS
    max_series: int = SERIES_MAX

    def about(self, entry: Entry) -> About:
        hostname = ("hostname",) if entry.of_worker and self.hostname else ()
        labels = (*entry.labels, *hostname)
        return About(self.prefix + entry.name, entry.help, labels, self.max_series)


# --- figures ------------------------------------------------------------------------


class ClusterMetrics:
    """The metrics of a cluster; any thread may ask for them.

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
        gauges = (UP, ACTIVE, WORKERS, PREFETCHED, OPEN, TAKEN)
        self._gauges = {entry: Gauge(about(entry)) for entry in gauges}
        self._series: tuple[Counter | Histogram, ...] = (
            *self._counters.values(),
            self._runtime,
            self._wait,
            self._prefetch,
        )

    def observe(self, changes: Iterable[Change]) -> None:
        with self._lock:
            for step in self._steps.of(changes):
                if step.name == WAITED:
                    wait = step.task.wait_of(step.attempt)
                    if wait is not None:
                        self._wait.observe(_of_queue(step.task), wait)
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
            received, started = attempt.received, attempt.started
            if received is not None and started is not None and started >= received:
                self._prefetch.observe(key, started - received)

    def _introduce(self, of_queue: Key, host: Key, step: str) -> None:
        """Make the series known that may be counted next.

        If a series begins with 1, Prometheus does not see the first increase.
        """
        for other, counter in self._counters.items():
            # Clients send, workers do all the rest.
            if not host or (other == "sent") == (step == "sent"):
                none = ("",) if other == "failed" else ()
                counter.add((*of_queue, *none, *host), 0)

    def look(self, state: State, now: float) -> None:
        """Set the gauges as of `now`, in UTC epoch seconds, while the state stands still."""
        statuses = {name: worker.status(now) for name, worker in state.workers.items()}
        states, prefetched = _of_tasks(state.tasks.open.values(), now)
        if not self._scheme.hostname:
            prefetched = _without_last(prefetched)
        # Without workers there is a zero, unless it needs a name.
        none = {} if self._scheme.hostname else {(): 0}
        up, active = Tally[Key](none), Tally[Key](none)
        for name, worker in state.workers.items():
            key, alive = self._host(name), statuses[name] in ALIVE
            up[key] += alive
            active[key] += worker.active or 0 if alive else 0
        with self._lock:
            self._gauges[UP].show(up)
            self._gauges[ACTIVE].show(active)
            self._gauges[WORKERS].show(Tally((status,) for status in statuses.values()))
            self._gauges[OPEN].show(_labelled(states))
            self._gauges[PREFETCHED].show(_labelled(prefetched))
            self._gauges[TAKEN].show({(): now})
            self._make_room(now, statuses)

    def look_away(self) -> None:
        with self._lock:
            for gauge in self._gauges.values():
                gauge.show({})

    def _make_room(self, now: float, known: Iterable[str]) -> None:
        """Remove the series of workers that are gone, and idle ones if need be."""
        hosts = {OTHERS, UNKNOWN, GENERIC, *map(label, known)}
        for series in self._series:
            series.make_room(now)
            if series.about.labels[-1] == "hostname":
                for key in series.all_keys():
                    if key[-1] not in hosts:
                        series.forget(key)

    def _host(self, hostname: str | None) -> Key:
        return (label(hostname),) if self._scheme.hostname else ()

    def families(self) -> Sequence[Family]:
        with self._lock:
            metrics = [each.copy() for each in (*self._series, *self._gauges.values())]
        folded = Counter(self._scheme.about(FOLDED))
        folded.add((), sum(metric.folded for metric in metrics))
        families = [metric.family() for metric in (*metrics, folded)]
        return [family for family in families if family.samples]


def _of_tasks(tasks: Iterable[Task], now: float) -> tuple[Tally[Raw], Tally[Raw]]:
    """Count tasks by state, and those that wait at their worker."""
    states, prefetched = Tally[Raw](), Tally[Raw]()
    for task in tasks:
        state = task.state
        if task.worker is not None:
            if task.lost(now):
                state = LOST
            elif state == "RECEIVED" and task.eta is None:
                prefetched[task.name, task.queue_or_none, task.worker.hostname] += 1
        states[task.name, task.queue_or_none, state] += 1
    return states, prefetched


def _labelled(tally: Tally[Raw]) -> Tally[Key]:
    """Return the same with labels, of which two may be the same."""
    labelled = Tally[Key]()
    for raw, count in tally.items():
        labelled[tuple(map(label, raw))] += count
    return labelled


def _without_last(tally: Tally[Raw]) -> Tally[Raw]:
    """Return the same summed up over the last part of each key."""
    shorter = Tally[Raw]()
    for raw, count in tally.items():
        shorter[raw[:-1]] += count
    return shorter


def _of_queue(task: Task) -> Key:
    return label(task.name), label(task.queue_or_none)


def _raised(exception: str | None) -> str:
    found = _CLASS.match(exception or "")
    return label(found[0] if found else None)


# --- the camera ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The metrics as of a snapshot."""

    metrics: ClusterMetrics

    def text(self) -> bytes:
        return render(self.metrics.families())

    def as_dict(self) -> dict[str, Any]:
        return {"metrics": self.text().decode().splitlines()}


class Prometheus(Camera):
    """Count what became of tasks, and show which workers are alive.

    At `listen` (HOST:PORT), or in the file `path` whose name should end in `.prom`, or
    both.  Counters are as of now, gauges as of the last snapshot.

    Names begin with `prefix`.  With `hostname` the name of the worker is a label.
    `runtime_buckets` and `wait_buckets` are upper bounds in seconds.  Each metric has at
    most `max_series` series; the rest is counted as `(others)`.
    """

    def __init__(
        self,
        state: State,
        *,
        path: str = "",
        listen: str = "",
        prefix: str = "celery_",
        hostname: bool = False,
        runtime_buckets: tuple[float, ...] = RUN_BUCKETS,
        wait_buckets: tuple[float, ...] = WAIT_BUCKETS,
        max_series: int = SERIES_MAX,
        **standard: Any,
    ) -> None:
        super().__init__(state, **standard)
        if not _PREFIX.fullmatch(prefix):
            raise UsageError(f'prefix: no metric\'s name can begin with "{prefix}"')
        if max_series < 1:
            raise UsageError(f"max_series: {max_series} is too few")
        self._path = Path(path) if path else None
        self._address = Address.of(listen) if listen else None
        scheme = Scheme(
            prefix=prefix,
            hostname=hostname,
            run_buckets=_bounds("runtime_buckets", runtime_buckets),
            wait_buckets=_bounds("wait_buckets", wait_buckets),
            max_series=max_series,
        )
        self._metrics = ClusterMetrics(scheme)
        self._server: HTTPServer | None = None
        #: Whether --listen of evcam serves `families`.
        self.is_served = False

    @property
    def address(self) -> Address | None:
        return None if self._server is None else self._server.address

    def families(self) -> Sequence[Family]:
        return self._metrics.families()

    def install(self) -> None:
        self._check_place()
        if self._address is not None and self._server is None:
            self._server = self._serve(self._address)
            self._server.start()
        super().install()

    def observe(self, changes: Sequence[Change]) -> None:
        self._metrics.observe(changes)

    def snapshot(self, info: SnapshotInfo) -> Snapshot:
        if info.warm and info.connected:
            self._metrics.look(self.state, info.at)
        else:
            self._metrics.look_away()
        return Snapshot(self._metrics)

    def write(self, snapshot: Snapshot) -> None:
        if self._path is not None:
            _replace(self._path, snapshot.text())

    def close(self) -> None:
        """Stop listening; the file stays as it is."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def check(self) -> None:
        """Raise UsageError if there is no place for the metrics, OutputError for a bad one."""
        self._check_place()
        if self._address is not None:
            self._serve(self._address).close()
        if self._path is not None:
            folder = self._path.absolute().parent
            try:
                check_way(folder)
            except OSError as error:
                raise OutputError(f"cannot write {self._path}: {error.strerror}") from error
            if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
                raise OutputError(f"cannot write into {folder}")

    def describe(self) -> str:
        places = [str(self._path)] if self._path else []
        if self._address is not None:
            places.append(f"http://{self.address or self._address}/metrics")
        return f"metrics at {' and '.join(places) or 'the address of --listen'}"

    def _check_place(self) -> None:
        if self._path is None and self._address is None and not self.is_served:
            raise UsageError(
                "camera prometheus has nowhere to put its metrics",
                "give evcam --listen 127.0.0.1:9808, or a file: -c prometheus:x.prom",
            )

    def _serve(self, address: Address) -> HTTPServer:
        return HTTPServer(address, {"/metrics": scrape(self.families)})


def _bounds(name: str, bounds: tuple[float, ...]) -> tuple[float, ...]:
    grow = all(one < other for one, other in pairwise((0.0, *bounds)))
    if not (bounds and grow and math.isfinite(bounds[-1])):
        raise UsageError(f"{name} must increase, from above 0", "as in 0.1,0.5,1,5")
    return tuple(map(float, bounds))


def _replace(path: Path, data: bytes) -> None:
    """Write a file that gets its name only when it is complete."""
    try:
        with safe_place(path) as (folder, name):
            head, slash, last = name.rpartition("/")
            # Not *.prom, which node_exporter would read, and not predictable.
            temporary = f"{head}{slash}.{last}.{secrets.token_hex(8)}.tmp"
            descriptor = os.open(temporary, _FLAGS, _MODE, dir_fd=folder)
            try:
                with open(descriptor, "wb") as file:  # noqa: PTH123  (a descriptor)
                    os.fchmod(file.fileno(), _MODE)
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
