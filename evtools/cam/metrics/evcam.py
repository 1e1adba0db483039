"""The metrics of evcam itself."""

import os
import platform
import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from evtools import __version__
from evtools.cam.counters import Counters
from evtools.cam.metrics.exposition import Family, Kind, Sample, label
from evtools.state import UNKNOWN
from evtools.transport import Statistics

#: One figure, or some by the value of a label; None for what is not known.
Told: TypeAlias = float | Mapping[str, float] | None

_STATM: Final = Path("/proc/self/statm")


class Entry(NamedTuple):
    """One metric, and how it is worked out; `label` is what its figures differ in."""

    name: str
    kind: Kind
    help: str
    of: Callable[[Counters, Statistics], Told]
    label: str = ""


def _cpu_seconds(*_: object) -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _resident_bytes(*_: object) -> int | None:
    """Return how much memory we have, None where nobody tells."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


_ABOUT: Final = (
    ("version", __version__),
    ("python", platform.python_version()),
    ("platform", sys.platform),
)

ENTRIES: Final = (
    Entry("evcam_up", "gauge", "Always 1.", lambda *_: 1),
    Entry(
        "evcam_connected",
        "gauge",
        "Whether there is a connection to the broker.",
        lambda _, stream: int(stream.connected),
    ),
    Entry(
        "evcam_events",
        "counter",
        "Events, by type.",
        # In one step, for it grows in another thread.
        lambda own, _: dict(own.events_by_type),
        "type",
    ),
    Entry(
        "evcam_events_lost",
        "counter",
        "Events dropped, as we were too slow, and tasks that workers counted and no event told of.",
        lambda _, stream: {"dropped": stream.dropped, "missed": stream.missed},
        "reason",
    ),
    Entry(
        "evcam_malformed",
        "counter",
        "Messages that were no events, values in events that could not be read, and"
        " events of tasks and workers that do not name them.",
        lambda own, stream: stream.malformed + own.nameless,
    ),
    Entry("evcam_gaps", "counter", "Times without a connection.", lambda _, stream: stream.gaps),
    Entry(
        "evcam_gap_seconds",
        "counter",
        "How long there was no connection.",
        lambda _, stream: stream.gap_seconds,
    ),
    Entry(
        "evcam_reconnects",
        "counter",
        "Connections after the first.",
        lambda _, stream: stream.reconnects,
    ),
    Entry(
        "evcam_buffered_bytes",
        "gauge",
        "Events that wait to be taken in.",
        lambda _, stream: stream.buffered_bytes,
    ),
    Entry(
        "evcam_lag_seconds",
        "gauge",
        "How late the latest of the last events was, clocks apart.",
        lambda own, _: own.lag,
    ),
    Entry(
        "evcam_last_event_timestamp_seconds",
        "gauge",
        "When the last event came, in seconds since 1970.",
        lambda own, _: own.last_event_at,
    ),
    Entry(
        "evcam_snapshots",
        "counter",
        "Snapshots taken, failed, left out as one took too long, or as there were too many.",
        lambda own, _: {
            "taken": own.shots.taken,
            "failed": own.shots.failed,
            "overrun": own.shots.overrun,
            "skipped_rate": own.shots.skipped_rate,
        },
        "result",
    ),
    Entry(
        "evcam_snapshot_duration_seconds",
        "gauge",
        "How long the last snapshot took.",
        lambda own, _: own.last_shot_seconds,
    ),
    Entry(
        "evcam_snapshot_seconds",
        "counter",
        "How long all snapshots took.",
        lambda own, _: own.shot_seconds,
    ),
    Entry(
        "evcam_snapshot_failures_in_row",
        "gauge",
        "Snapshots that failed since the last that did not.",
        lambda own, _: own.failures_in_row,
    ),
    Entry(
        "evcam_last_success_timestamp_seconds",
        "gauge",
        "When the last snapshot was taken, in seconds since 1970.",
        lambda own, _: own.last_success_at,
    ),
    Entry(
        "evcam_cleanups",
        "counter",
        "Cleanups, by how they ended.",
        lambda own, _: {"done": own.cleanups - own.cleanups_failed, "failed": own.cleanups_failed},
        "result",
    ),
    Entry("evcam_state_tasks", "gauge", "Tasks in memory.", lambda own, _: own.tasks),
    Entry("evcam_state_workers", "gauge", "Workers in memory.", lambda own, _: own.workers),
    Entry(
        "evcam_state_evicted",
        "counter",
        "Tasks forgotten to make room.",
        lambda own, _: own.evicted,
    ),
    Entry(
        "process_start_time_seconds",
        "gauge",
        "When evcam started, in seconds since 1970.",
        lambda own, _: own.started,
    ),
    Entry("process_cpu_seconds", "counter", "Time on a CPU.", _cpu_seconds),
    Entry("process_resident_memory_bytes", "gauge", "Memory in use.", _resident_bytes),
)


def own_families(counters: Counters, statistics: Statistics) -> Iterator[Family]:
    """Yield the metrics of evcam itself; what is not known is left out."""
    about = Sample("", _ABOUT, 1)
    yield Family("evcam_build_info", "gauge", "Which evcam this is.", (about,))
    for entry in ENTRIES:
        samples = tuple(_samples(entry, entry.of(counters, statistics)))
        if samples:
            yield Family(entry.name, entry.kind, entry.help, samples)


def _samples(entry: Entry, told: Told) -> Iterable[Sample]:
    suffix = "_total" if entry.kind == "counter" else ""
    if told is None:
        return
    if not isinstance(told, Mapping):
        yield Sample(suffix, (), told)
        return
    # Two types of event may look alike.
    figures: dict[str, float] = {}
    for name, figure in told.items():
        value = label(name, UNKNOWN)
        figures[value] = figures.get(value, 0) + figure
    for value, figure in figures.items():
        yield Sample(suffix, ((entry.label, value),), figure)
