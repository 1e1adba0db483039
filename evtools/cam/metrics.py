"""Metrics for Prometheus: bounded instruments, their text, and the metrics of evcam itself."""

import math
import os
import platform
import re
import resource
import sys
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from heapq import nlargest
from operator import itemgetter
from pathlib import Path
from typing import Final, Generic, Literal, NamedTuple, Self, TypeAlias, TypeVar

from evtools import __version__
from evtools.cam.http import Request, Response, Route
from evtools.cam.schedule import Counters
from evtools.state import OTHERS, UNKNOWN
from evtools.text import clip, sanitize
from evtools.transport import Statistics

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
#: Names and values of labels.
Labels: TypeAlias = tuple[tuple[str, str], ...]
#: The values of the labels of a series, in the order in which its family names them.
Key: TypeAlias = tuple[str, ...]
Value = TypeVar("Value")

#: Columns of a terminal that the value of a label may take.
LABEL_MAX_COLS: Final = 200
#: No character of input becomes less than half a column.
_RAW_MAX: Final = 2 * LABEL_MAX_COLS
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


# --- text ---------------------------------------------------------------------------


class Sample(NamedTuple):
    """One figure: what follows the name of its family, its labels, its value."""

    suffix: str
    labels: Labels
    value: float


class Family(NamedTuple):
    """Samples under one name; that of a counter is without its `_total`.

    `help` is one line without quotes and backslashes.
    """

    name: str
    kind: Kind
    help: str
    samples: Sequence[Sample]


class Format(Enum):
    """A text format; the value is its content type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

    @classmethod
    def accepted(cls, accept: str) -> "Format":
        for entry in accept.split(","):
            kind, *parameters = (part.strip() for part in entry.split(";"))
            refused = any(_REFUSED.fullmatch(parameter) for parameter in parameters)
            if kind.lower() == "application/openmetrics-text" and not refused:
                return cls.OPENMETRICS
        return cls.TEXT


_REFUSED: Final = re.compile(r"q\s*=\s*0(\.0*)?", re.IGNORECASE)
_ESCAPED: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def scrape(families: Callable[[], Iterable[Family]]) -> Route:
    """Return a route that answers with the metrics that `families` returns then."""

    def answer(request: Request) -> Response:
        form = Format.accepted(request.accept)
        return Response(200, render(families(), form), form.value)

    return answer


def render(families: Iterable[Family], form: Format = Format.TEXT) -> bytes:
    """Return the text of `families`; a name must not come twice."""
    lines: list[str] = []
    for family in families:
        # The older format calls a family what its samples are called.
        total = "_total" if family.kind == "counter" and form is Format.TEXT else ""
        lines.append(f"# HELP {family.name}{total} {family.help}\n")
        lines.append(f"# TYPE {family.name}{total} {family.kind}\n")
        for suffix, labels, value in family.samples:
            pairs = ",".join(f'{name}="{text.translate(_ESCAPED)}"' for name, text in labels)
            braced = f"{{{pairs}}}" if pairs else ""
            lines.append(f"{family.name}{suffix}{braced} {number(value)}\n")
    if form is Format.OPENMETRICS:
        lines.append("# EOF\n")
    return "".join(lines).encode()


def number(value: float) -> str:
    """Return a figure as both formats have it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def label(text: str | None) -> str:
    """Return text from the wire as the value of a label, printable and of bounded length.

    Two texts that look alike are one value, or Prometheus would refuse them.
    """
    return _label(text[:_RAW_MAX]) if text else UNKNOWN


@lru_cache(maxsize=4096)
def _label(text: str) -> str:
    return clip(sanitize(text), LABEL_MAX_COLS)


# --- instruments --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class About:
    """The name of an instrument, its labels, and how many series it may have."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    max_series: int = SERIES_MAX

    @property
    def others(self) -> Key:
        """The series of everything for which there is no room."""
        return (OTHERS,) * len(self.labels)

    def named(self, key: Key) -> Labels:
        return tuple(zip(self.labels, key, strict=True))

    def family(self, kind: Kind, samples: Iterator[Sample]) -> Family:
        return Family(self.name, kind, self.help, tuple(samples))


class _Series(ABC, Generic[Value]):
    """Series that only grow; `folded` is how often one was counted with the others."""

    def __init__(self, about: About) -> None:
        self.about = about
        self.folded = 0
        self._series: dict[Key, Value] = {}
        #: How much was counted when we looked, and since when it is that much.
        self._looked: dict[Key, tuple[int, float]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._series

    def make_room(self, now: float) -> None:
        """Forget idle series if all are taken; `now` is in seconds.

        Their counts go, too: with the others they would look like many events at once.
        """
        if len(self._series) < self.about.max_series:
            self._looked.clear()
            return
        for key, value in list(self._series.items()):
            count = self._count(value)
            before, since = self._looked.get(key, (None, now))
            if count != before:
                self._looked[key] = count, now
            elif now - since > IDLE and key != self.about.others:
                self.forget(key)

    def all_keys(self) -> list[Key]:
        return list(self._series)

    def copy(self) -> Self:
        """Return a copy that does not change, quickly."""
        copied = copy(self)
        copied._series = self._copied()  # noqa: SLF001  (it is one of these)
        return copied

    def forget(self, key: Key) -> None:
        self._looked.pop(key, None)
        self._series.pop(key, None)

    def _room_for(self, key: Key) -> Key:
        return key if len(self._series) < self.about.max_series else self.about.others

    @abstractmethod
    def _count(self, value: Value) -> int:
        """Return how much was counted."""

    @abstractmethod
    def _copied(self) -> dict[Key, Value]: ...


class Counter(_Series[int]):
    """A number for each series that only grows."""

    def add(self, key: Key = (), amount: int = 1) -> None:
        """Count; an `amount` of 0 makes the series known."""
        series = self._series
        try:
            series[key] += amount
        except KeyError:
            known = self._room_for(key)
            self.folded += known is not key and amount > 0
            series[known] = series.get(known, 0) + amount

    def family(self) -> Family:
        named = self.about.named
        samples = (Sample("_total", named(key), value) for key, value in self._series.items())
        return self.about.family("counter", samples)

    def _count(self, value: int) -> int:
        return value

    def _copied(self) -> dict[Key, int]:
        return dict(self._series)


class _Distribution:
    """Counts by bucket, and the sum."""

    __slots__ = ("counts", "sum")

    def __init__(self, counts: list[int], sum_: float = 0.0) -> None:
        self.counts = counts
        self.sum = sum_


class Histogram(_Series[_Distribution]):
    """Durations counted by bucket; `buckets` are upper bounds in seconds."""

    def __init__(self, about: About, buckets: tuple[float, ...] = RUN_BUCKETS) -> None:
        super().__init__(about)
        self._buckets = buckets
        self._bounds = tuple(("le", number(bound)) for bound in (*buckets, math.inf))

    def observe(self, key: Key, value: float) -> None:
        series = self._series.get(key)
        if series is None:
            known = self._room_for(key)
            self.folded += known is not key
            series = self._series.setdefault(known, _Distribution([0] * len(self._bounds)))
        series.counts[bisect_left(self._buckets, value)] += 1
        series.sum += value

    def family(self) -> Family:
        return self.about.family("histogram", self._samples())

    def _samples(self) -> Iterator[Sample]:
        for key, series in self._series.items():
            labels = self.about.named(key)
            total = 0
            for bound, count in zip(self._bounds, series.counts, strict=True):
                total += count
                yield Sample("_bucket", (*labels, bound), total)
            yield Sample("_sum", labels, series.sum)
            yield Sample("_count", labels, total)

    def _count(self, value: _Distribution) -> int:
        return sum(value.counts)

    def _copied(self) -> dict[Key, _Distribution]:
        return {k: _Distribution(each.counts.copy(), each.sum) for k, each in self._series.items()}


class Gauge:
    """Numbers as of a moment, all of them set at once."""

    def __init__(self, about: About) -> None:
        self.about = about
        self.folded = 0
        self._values: Mapping[Key, float] = {}

    def show(self, values: Mapping[Key, float]) -> None:
        """Set these values and no others; the smallest of too many are summed up."""
        surplus = len(values) - self.about.max_series
        if surplus > 0:
            kept = dict(nlargest(self.about.max_series, values.items(), key=itemgetter(1)))
            rest = sum(values.values()) - sum(kept.values())
            kept[self.about.others] = kept.get(self.about.others, 0) + rest
            self.folded += surplus
            values = kept
        self._values = values

    def copy(self) -> Self:
        """Return a copy that does not change, quickly."""
        return copy(self)

    def family(self) -> Family:
        named = self.about.named
        samples = (Sample("", named(key), value) for key, value in self._values.items())
        return self.about.family("gauge", samples)


# --- evcam itself -------------------------------------------------------------------

#: One figure, or some by the value of a label; None for one that is not known.
Figures: TypeAlias = float | Mapping[str, float] | None

_STATM: Final = Path("/proc/self/statm")
_BUILD: Final = (
    ("version", __version__),
    ("python", platform.python_version()),
    ("platform", sys.platform),
)


class Entry(NamedTuple):
    """One metric and where its figures come from; `label` is what they differ in."""

    name: str
    kind: Kind
    help: str
    of: Callable[[Counters, Statistics], Figures]
    label: str = ""


def _cpu_seconds(*_: object) -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _resident_bytes(*_: object) -> int | None:
    """Return the memory in use, None where there is no /proc."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _snapshots(own: Counters, _: object) -> Figures:
    shots = own.shots
    return {
        "taken": shots.taken,
        "failed": shots.failed,
        "overrun": shots.overrun,
        "skipped_rate": shots.skipped_rate,
    }


def _cleanups(own: Counters, _: object) -> Figures:
    return {"done": own.cleanups - own.cleanups_failed, "failed": own.cleanups_failed}


# fmt: off
ENTRIES: Final = (
    Entry("evcam_up", "gauge", "Always 1.", lambda *_: 1),
    Entry("evcam_connected", "gauge", "1 if there is a connection to the broker.",
          lambda _, stream: int(stream.connected)),
    Entry("evcam_events", "counter", "Events by type.",
          # A copy in one step, for it grows in another thread.
          lambda own, _: dict(own.events_by_type), "type"),
    Entry("evcam_events_lost", "counter",
          "Events dropped because evcam was too slow, and tasks that workers counted without"
          " an event reaching evcam.",
          lambda _, stream: {"dropped": stream.dropped, "missed": stream.missed}, "reason"),
    Entry("evcam_malformed", "counter",
          "Malformed messages, unreadable values in events, and events of tasks and workers"
          " without uuid or hostname.",
          lambda own, stream: stream.malformed + own.nameless),
    Entry("evcam_gaps", "counter", "Interruptions of the connection.",
          lambda _, stream: stream.gaps),
    Entry("evcam_gap_seconds", "counter", "Time without a connection, in seconds.",
          lambda _, stream: stream.gap_seconds),
    Entry("evcam_reconnects", "counter", "Connections after the first.",
          lambda _, stream: stream.reconnects),
    Entry("evcam_buffered_bytes", "gauge", "Size of events waiting to be processed.",
          lambda _, stream: stream.buffered_bytes),
    Entry("evcam_lag_seconds", "gauge",
          "Delay of the most recent events, corrected for clock skew: the largest of the last"
          " seconds.",
          lambda own, _: own.lag),
    Entry("evcam_last_event_timestamp_seconds", "gauge",
          "Time of the last event, in seconds since 1970.", lambda own, _: own.last_event_at),
    Entry("evcam_snapshots", "counter",
          "Snapshots by result: taken, failed, skipped because one took too long (overrun) or"
          " because of the maximum rate.",
          _snapshots, "result"),
    Entry("evcam_snapshot_duration_seconds", "gauge", "Duration of the last snapshot.",
          lambda own, _: own.last_shot_seconds),
    Entry("evcam_snapshot_seconds", "counter", "Duration of all snapshots together.",
          lambda own, _: own.shot_seconds),
    Entry("evcam_snapshot_failures_in_row", "gauge",
          "Failed snapshots since the last successful one.",
          lambda own, _: own.failures_in_row),
    Entry("evcam_last_success_timestamp_seconds", "gauge",
          "Time of the last successful snapshot, in seconds since 1970.",
          lambda own, _: own.last_success_at),
    Entry("evcam_cleanups", "counter", "Cleanups by result.", _cleanups, "result"),
    Entry("evcam_state_tasks", "gauge", "Tasks in memory.", lambda own, _: own.tasks),
    Entry("evcam_state_workers", "gauge", "Workers in memory.", lambda own, _: own.workers),
    Entry("evcam_state_evicted", "counter", "Tasks forgotten to make room.",
          lambda own, _: own.evicted),
    Entry("process_start_time_seconds", "gauge",
          "Start time of evcam, in seconds since 1970.", lambda own, _: own.started),
    Entry("process_cpu_seconds", "counter", "CPU time used, in seconds.", _cpu_seconds),
    Entry("process_resident_memory_bytes", "gauge", "Resident memory.", _resident_bytes),
)
# fmt: on


def own_families(counters: Counters, statistics: Statistics) -> Iterator[Family]:
    """Yield the metrics of evcam itself, as far as they are known."""
    yield Family("evcam_build_info", "gauge", "Version of evcam.", (Sample("", _BUILD, 1),))
    for entry in ENTRIES:
        figures = entry.of(counters, statistics)
        suffix = "_total" if entry.kind == "counter" else ""
        samples: list[Sample] = []
        if isinstance(figures, Mapping):
            # Two types of event may look alike.
            summed: dict[str, float] = {}
            for name, figure in figures.items():
                summed[label(name)] = summed.get(label(name), 0) + figure
            samples += (Sample(suffix, ((entry.label, k),), v) for k, v in summed.items())
        elif figures is not None:
            samples.append(Sample(suffix, (), figures))
        if samples:
            yield Family(entry.name, entry.kind, entry.help, samples)
