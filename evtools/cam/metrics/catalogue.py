"""What the metrics of a cluster are called, what they tell, and their labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from evtools.cam.metrics.instruments import RUN_BUCKETS, SERIES_MAX, WAIT_BUCKETS, About

# Names and labels are those of celery-exporter, so that its dashboards and alerts
# go on.  What it does not have is called as in Flower, with this prefix.


class Entry(NamedTuple):
    """One metric; `of_worker` ones may have the worker's name as a label."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    of_worker: bool = False


_TASK: Final = ("name", "queue_name")
_LABELS: Final = {"failed": (*_TASK, "exception")}

#: The counters, by the step of a task that they count.
COUNTERS: Final[Mapping[str, Entry]] = {
    step: Entry(f"task_{step}", help_, _LABELS.get(step, _TASK), of_worker=True)
    for step, help_ in {
        "sent": "Tasks that were sent.",
        "received": "Tasks that a worker received.",
        "started": "Tasks that began to run.",
        "succeeded": "Tasks that succeeded.",
        "failed": "Tasks that failed, by the exception that they raised.",
        "retried": "Attempts at tasks that are to be tried again.",
        "revoked": "Tasks that were called off, or had expired.",
        "rejected": "Tasks whose message the worker gave back or away.",
        "cancelled": "Tasks that were given up as the worker lost its connection.",
    }.items()
}

RUNTIME: Final = Entry(
    "task_runtime", "How long tasks ran that succeeded, in seconds.", _TASK, of_worker=True
)
#: Without the worker's name: waiting is what queues do.
WAIT: Final = Entry(
    "task_queue_wait_time",
    "How long tasks waited from their sending, or their ETA, to their start, in seconds.",
    _TASK,
)
PREFETCH: Final = Entry(
    "task_prefetch_time_seconds",
    "How long tasks without an ETA waited at their worker.",
    _TASK,
    of_worker=True,
)

UP: Final = Entry("worker_up", "Workers that are there.", of_worker=True)
ACTIVE: Final = Entry("worker_tasks_active", "Tasks that run, as heartbeats say.", of_worker=True)
WORKERS: Final = Entry("workers", "Workers by status.", ("status",))
PREFETCHED: Final = Entry(
    "worker_prefetched_tasks",
    "Tasks without an ETA that workers have and do not run yet.",
    _TASK,
    of_worker=True,
)
OPEN: Final = Entry(
    "tasks",
    "Tasks in memory that have not ended, by state; LOST are those whose worker has gone.",
    (*_TASK, "state"),
)
TAKEN: Final = Entry(
    "snapshot_timestamp_seconds", "When the gauges were taken, in seconds since 1970."
)
FOLDED: Final = Entry(
    "series_folded", "How often something was counted as (others), as there were too many series."
)


@dataclass(frozen=True, slots=True)
class Scheme:
    """How the metrics of a cluster are named, labelled and bounded.

    With `hostname`, what workers did is told for each of them.  Buckets are
    upper bounds in seconds.
    """

    prefix: str = "celery_"
    hostname: bool = False
    run_buckets: tuple[float, ...] = RUN_BUCKETS
    wait_buckets: tuple[float, ...] = WAIT_BUCKETS
    max_series: int = SERIES_MAX

    def about(self, entry: Entry) -> About:
        """Return what an instrument is to be called and labelled."""
        hostname = ("hostname",) if entry.of_worker and self.hostname else ()
        labels = (*entry.labels, *hostname)
        return About(self.prefix + entry.name, entry.help, labels, self.max_series)
