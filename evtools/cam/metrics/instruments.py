"""Counters, gauges and histograms, each with a bounded number of series."""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from heapq import nlargest
from math import inf
from operator import itemgetter
from typing import Final, Generic, Self, TypeAlias, TypeVar

from evtools.cam.metrics.exposition import Family, Kind, Labels, Sample, number
from evtools.state import OTHERS

#: The values of a series' labels, in the order in which its family names them.
Key: TypeAlias = tuple[str, ...]
Value = TypeVar("Value")

#: Series of one family; what comes beyond is counted in one more.
SERIES_MAX: Final = 1000
#: A series whose value has not changed for so long makes room, in seconds.
IDLE: Final = 3600.0

#: The buckets of prometheus_client, and so of celery-exporter and Flower, in seconds.
RUN_BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0),
)
#: A queue that is full makes tasks wait for minutes.
WAIT_BUCKETS: Final = (
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
    *(120.0, 300.0, 600.0, 1800.0),
)


@dataclass(frozen=True, slots=True)
class About:
    """What an instrument is called, what its labels are, how many series it has."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    max_series: int = SERIES_MAX

    @property
    def others(self) -> Key:
        """The series of all for which there is no room."""
        return (OTHERS,) * len(self.labels)

    def named(self, key: Key) -> Labels:
        """Return the labels of a series."""
        return tuple(zip(self.labels, key, strict=True))

    def family(self, kind: Kind, samples: Iterator[Sample]) -> Family:
        """Return the family that these samples make."""
        return Family(self.name, kind, self.help, tuple(samples))


class _Series(ABC, Generic[Value]):
    """Series that stay, and never go back.

    `folded` says how often something was counted with the others.
    """

    def __init__(self, about: About) -> None:
        self.about = about
        self.folded = 0
        self._series: dict[Key, Value] = {}
        #: How much was counted when we looked, and since when it is so much.
        self._looked: dict[Key, tuple[int, float]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._series

    def make_room(self, now: float) -> None:
        """Forget idle series if all are taken; `now` is in seconds.

        Their counts are gone and not with the others, where they would look like
        many events at once.
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
        """Return all series."""
        return list(self._series)

    def copy(self) -> Self:
        """Return the same as it is now, quickly."""
        copied = copy(self)
        copied._series = self._copied()  # noqa: SLF001  (it is one of these)
        return copied

    def forget(self, key: Key) -> None:
        """Let a series leave."""
        self._looked.pop(key, None)
        self._series.pop(key, None)

    def _room_for(self, key: Key) -> Key:
        """Return the series that a key which is not known goes into."""
        return key if len(self._series) < self.about.max_series else self.about.others

    @abstractmethod
    def _count(self, value: Value) -> int:
        """Return how much was counted."""

    @abstractmethod
    def _copied(self) -> dict[Key, Value]:
        """Return what does not change while others count."""


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
        """Return what there is to tell now."""
        named = self.about.named
        samples = (Sample("_total", named(key), value) for key, value in self._series.items())
        return self.about.family("counter", samples)

    def _count(self, value: int) -> int:
        return value

    def _copied(self) -> dict[Key, int]:
        return dict(self._series)


class _Distribution:
    """What a series of a histogram has counted, by bucket, and its sum."""

    __slots__ = ("counts", "sum")

    def __init__(self, counts: list[int], sum_: float = 0.0) -> None:
        self.counts = counts
        self.sum = sum_

    def copy(self) -> "_Distribution":
        return _Distribution(self.counts.copy(), self.sum)


class Histogram(_Series[_Distribution]):
    """How often something took how long, by bucket; `buckets` are upper bounds."""

    def __init__(self, about: About, buckets: tuple[float, ...] = RUN_BUCKETS) -> None:
        super().__init__(about)
        self._buckets = buckets
        self._bounds = tuple(("le", number(bound)) for bound in (*buckets, inf))

    def observe(self, key: Key, value: float) -> None:
        """Count one `value`."""
        series = self._series.get(key)
        if series is None:
            known = self._room_for(key)
            self.folded += known is not key
            empty = _Distribution([0] * len(self._bounds))
            series = self._series.setdefault(known, empty)
        series.counts[bisect_left(self._buckets, value)] += 1
        series.sum += value

    def family(self) -> Family:
        """Return what there is to tell now."""
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
        return {key: series.copy() for key, series in self._series.items()}


class Gauge:
    """Numbers as of a moment, all of them set at once."""

    def __init__(self, about: About) -> None:
        self.about = about
        self.folded = 0
        self._values: Mapping[Key, float] = {}

    def show(self, values: Mapping[Key, float]) -> None:
        """Tell these and no others; the least of too many as their sum."""
        surplus = len(values) - self.about.max_series
        if surplus > 0:
            most = nlargest(self.about.max_series, values.items(), key=itemgetter(1))
            kept = dict(most)
            rest = sum(values.values()) - sum(kept.values())
            kept[self.about.others] = kept.get(self.about.others, 0) + rest
            self.folded += surplus
            values = kept
        self._values = values

    def copy(self) -> Self:
        """Return the same as it is now, quickly."""
        return copy(self)

    def family(self) -> Family:
        """Return what there is to tell now."""
        named = self.about.named
        samples = (Sample("", named(key), value) for key, value in self._values.items())
        return self.about.family("gauge", samples)
