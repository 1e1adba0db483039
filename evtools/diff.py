"""evtools diff: whether tasks run slower or fail more in one recording than in another."""

import gc
import math
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, tzinfo
from datetime import time as time_of_day
from itertools import groupby
from random import Random
from shutil import get_terminal_size
from statistics import NormalDist, fmean
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from msgspec import UNSET

from evtools.clock import Clock, SystemClock
from evtools.errors import UsageError
from evtools.filters import Filter, all_of, compile_filter
from evtools.state import Change, State, Task
from evtools.text import clip, csv_cell, human_duration, pad, sanitize, width
from evtools.transport import Notice
from evtools.transport.recording.database import open_replay
from evtools.transport.recording.reader import Moment, on_day_of, stamp
from evtools.wire import Event, Gap, Joiner, encode_line

Output: TypeAlias = Literal["text", "json", "csv"]
Only: TypeAlias = Literal["worse", "better", "changed"]

EXIT_SAME, EXIT_WORSE = 0, 1
#: How many types of tasks are compared; those that come later are counted together.
TYPES_MAX: Final = 1000
#: How many runs of a type, of each recording, are compared, and how many waits are looked at; of
#: more, that many drawn by chance, each with the same chance.  16 bytes each.
RUNS_MAX, WAITS_MAX = 5000, 1000
_NAME_CHARS: Final = 200
_NAME_COLS: Final = 40
_UNKNOWN: Final = "(unknown)"
#: As in evdump: events have no cycles.
_COLLECT_AFTER: Final = (50_000, 20, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffOptions:
    """What is compared with what, and which differences are reported.

    `recordings` are as for `-r`: two, or with `at` any number that are one together.  `confidence`
    and `min_change` are shares of 1.  `cols` is the width of the terminal, 0 for no limit.
    """

    recordings: tuple[str, ...]
    at: Moment | None = None
    since: Moment | None = None
    until: Moment | None = None
    filters: tuple[str, ...] = ()
    zone: tzinfo = UTC
    confidence: float = 0.95
    min_change: float = 0.05
    only: Only | None = None
    output: Output = "text"
    quiet: bool = False


def run(options: DiffOptions) -> int:
    """Compare, print, and return EXIT_WORSE if something is worse, else EXIT_SAME.

    Raise UsageError for what cannot be read or compared.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    clock = SystemClock()
    before, after = read(options, clock)
    for name, side in (("BEFORE", before), ("AFTER", after)):
        if not side.types:
            hint = "evdump -r FILE -z by:name -o text counts what is in a recording"
            raise UsageError(f"{name} has no task that ran: {side.extent()}", hint)
    if after.last < before.first and not options.quiet:
        _report("AFTER is from before BEFORE: are they in the right order?")
    rows = compare(before, after, confidence=options.confidence, min_change=options.min_change)
    sys.stdout.write(_OUTPUT[options.output](options, before, after, rows))
    return EXIT_WORSE if any(row.is_worse for row in rows) else EXIT_SAME


def _report(text: str) -> None:
    print(f"evtools diff: {sanitize(text)}", file=sys.stderr)  # noqa: T201  (a command line)


# --- recordings -----------------------------------------------------------------------


class Sample:
    """Up to `size` of any number of durations (seconds), drawn with equal chances.

    The same durations in the same order are drawn again with the same `seed`.
    """

    __slots__ = ("_numbers", "_random", "_seed", "_size", "_values", "count")

    def __init__(self, size: int, seed: str) -> None:
        self._size, self._seed = size, seed
        self._random: Random | None = None
        self._values = array("d")
        #: The how manieth each of them was.
        self._numbers = array("Q")
        self.count = 0

    def add(self, seconds: float) -> None:
        number = self.count
        self.count += 1
        if number < self._size:
            self._values.append(seconds)
            self._numbers.append(number)
            return
        if self._random is None:
            self._random = Random(self._seed)  # noqa: S311  (to be the same each time)
        place = int(self._random.random() * self.count)
        if place < self._size:
            self._values[place], self._numbers[place] = seconds, number

    def in_order(self) -> list[float]:
        """Return them in the order in which they came."""
        if self.count <= self._size:
            return self._values.tolist()
        return [value for _, value in sorted(zip(self._numbers, self._values, strict=True))]


class TypeRuns:
    """What one recording has of a type: how its attempts ended, how long they ran and waited.

    Run times are those of successes: what fails may do so at once, or after a timeout.
    """

    __slots__ = ("failed", "retried", "run", "succeeded", "wait")

    def __init__(self, name: str) -> None:
        self.succeeded = self.failed = self.retried = 0
        self.run, self.wait = Sample(RUNS_MAX, name), Sample(WAITS_MAX, name)

    @property
    def ended(self) -> int:
        """How many attempts ran to an end."""
        return self.succeeded + self.failed + self.retried

    def as_dict(self) -> dict[str, Any]:
        return {
            "ended": self.ended,
            "succeeded": self.succeeded, "failed": self.failed, "retried": self.retried,
            "failure_share": _share(self.failed, self.succeeded + self.failed),
            "retry_share": _share(self.retried, self.ended),
            "run": _percentiles(self.run),
            "wait": _percentiles(self.wait),
        }  # fmt: skip


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _percentiles(sample: Sample) -> dict[str, Any]:
    values = sorted(sample.in_order())
    shown = [round(_quantile(values, at), 6) if values else None for at in (0.5, 0.95)]
    return {"count": sample.count, "p50": shown[0], "p95": shown[1]}


def _quantile(values: Sequence[float], share: float) -> float:
    return values[max(0, math.ceil(share * len(values)) - 1)]


@dataclass(slots=True)
class Side:
    """One of the two recordings: its types of tasks, and what is missing in it.

    `first` and `last` are when its first and last event was received, in UTC epoch seconds;
    `others` are attempts of types beyond `TYPES_MAX`.
    """

    types: dict[str, TypeRuns] = field(default_factory=dict)
    first: float = math.inf
    last: float = -math.inf
    events: int = 0
    gaps: int = 0
    gap_seconds: float = 0.0
    lost: int = 0
    missed: int = 0
    others: int = 0

    @property
    def seconds(self) -> float:
        """How long it is."""
        return max(0.0, self.last - self.first) if self.events else 0.0

    @property
    def ended(self) -> int:
        """How many attempts ran to an end."""
        return sum(each.ended for each in self.types.values()) + self.others

    def extent(self) -> str:
        """Return from when to when it goes, local, and what is missing."""
        if not self.events:
            return "it has no events"
        start, end = stamp(self.first), stamp(self.last)
        parts = [f"{start} to {end.removeprefix(start[: len('2026-11-30 ')])}"]
        parts += [f"{self.events} events", f"{self.ended} runs"]
        if self.gaps:
            parts.append(f"{self.gaps} {'gap' if self.gaps == 1 else 'gaps'}"
                         f" ({human_duration(self.gap_seconds)})")  # fmt: skip
        parts += [f"{self.lost} events lost"] if self.lost else []
        parts += [f"~{self.missed} tasks not seen"] if self.missed else []
        parts += [f"{self.others} runs of further types not compared"] if self.others else []
        return ", ".join(parts)

    def of(self, name: str, known: Mapping[str, Any]) -> TypeRuns | None:
        """Return the runs of a type, None if there are too many types."""
        found = self.types.get(name)
        if found is None and (name in known or len(self.types.keys() | known) < TYPES_MAX):
            found = self.types[name] = TypeRuns(name)
        return found

    def see(self, event: Event) -> None:
        """Count an event, and when it was received."""
        if received := event.local_received:
            self.first, self.last = min(self.first, received), max(self.last, received)
            self.events += 1
        if isinstance(event, Gap):
            if event.reason == "buffer":
                self.lost += event.dropped
            elif event.reason == "worker":
                self.missed += event.missed
            else:
                self.gaps += 1
                self.gap_seconds += event.duration

    def as_dict(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.__slots__ if name != "types"}
        is_known = self.first <= self.last
        values |= {"first": self.first, "last": self.last} if is_known else {}
        return {"seconds": round(self.seconds, 6), "ended": self.ended} | (
            values if is_known else values | {"first": None, "last": None}
        )


def read(options: DiffOptions, clock: Clock) -> tuple[Side, Side]:
    """Return what is in the two recordings, or in the two parts of one."""
    sides = Side(), Side()
    if options.at is not None:
        at = _read_into(sides, options.recordings, options, clock)
        if not sides[0].events or not sides[1].events:
            there = next((side for side in sides if side.events), None)
            extent = there.extent() if there else "it has no events"
            raise UsageError(f"--at {stamp(at)} is not within the recording: {extent}")
        return sides
    for side, path in zip(sides, options.recordings, strict=True):
        _read_into((side, side), (path,), options, clock, other=sides[0])
    return sides


def _read_into(
    sides: tuple[Side, Side],
    paths: Sequence[str],
    options: DiffOptions,
    clock: Clock,
    *,
    other: Side | None = None,
) -> float:
    # Read a recording, and return when it is cut.
    def on_notice(notice: Notice) -> None:
        if notice.kind == "warning" or (notice.kind == "note" and not options.quiet):
            _report(notice.named)

    matching = all_of(
        *(compile_filter(text, zone=options.zone, now=clock.wall) for text in options.filters)
    )
    reader = open_replay(paths, clock=clock, speed=None, since=options.since, until=options.until)
    reader.on_notice = on_notice
    counting = _Counting(sides, options.at, matching if options.filters else None, other)
    try:
        for batch in reader.events():
            counting.take(batch)
    finally:
        reader.close()
    for defect in reader.statistics().defects:
        _report(f"left out: {defect.words(redacted=False)}")
    if counting.seen and not counting.matched:
        for note in (*matching.unknown(), *matching.hints()):
            _report(note)
    return counting.at


class _Counting:
    # Counts what the events of a recording did, before and after it is cut.

    def __init__(
        self,
        sides: tuple[Side, Side],
        at: Moment | None,
        matching: Filter | None,
        other: Side | None,
    ) -> None:
        self.sides = sides
        self.at = at if isinstance(at, float | int) else math.inf
        #: The time of day that is not on a day yet.
        self._asked = at if isinstance(at, time_of_day) else None
        self._matches = None if matching is None else matching.matches
        self._known = (sides[0] if other is None else other).types
        self._states: dict[str, State] = {}
        self._joiners: defaultdict[str, Joiner] = defaultdict(Joiner)
        self.seen = self.matched = 0
        self._takers: Mapping[str, Callable[[Task, Event], None]] = {
            "task-started": self._started,
            "task-succeeded": self._ended,
            "task-failed": self._ended,
            "task-retried": self._ended,
        }

    def take(self, batch: list[Event]) -> None:
        # What evdump recorded is joined already.
        fresh = [event for event in batch if event.known is UNSET]
        for cluster, events in groupby(fresh, lambda event: event.cluster or ""):
            self._joiners[cluster].join(events)
        if self._asked is not None:
            first = next(filter(None, (event.local_received for event in batch)), None)
            if first is not None:
                today, next_day = on_day_of(first, self._asked)
                self.at, self._asked = today if today >= first else next_day, None
        for cluster, events in groupby(batch, lambda event: event.cluster or ""):
            state = self._states.get(cluster)
            if state is None:
                state = self._states[cluster] = State(max_tasks_in_memory=100_000, cluster=cluster)
            for change in state.changes(events):
                self._count(change)

    def _count(self, change: Change) -> None:
        event = change.event
        self._side(event.local_received or 0.0).see(event)
        taker = self._takers.get(event.type)
        if taker is not None and isinstance(change.subject, Task):
            self.seen += 1
            if self._matches is None or self._matches(event):
                self.matched += 1
                taker(change.subject, event)

    def _side(self, moment: float) -> Side:
        return self.sides[moment >= self.at]

    def _of(self, moment: float, task: Task, event: Event) -> TypeRuns | None:
        name = task.name or event.get("name")
        name = name if isinstance(name, str) and name else _UNKNOWN
        if len(name) > _NAME_CHARS:
            name = name[: _NAME_CHARS - 1] + "\N{HORIZONTAL ELLIPSIS}"
        side = self._side(moment)
        found = side.of(name, self._known)
        if found is None and event.type != "task-started":
            side.others += 1
        return found

    def _started(self, task: Task, event: Event) -> None:
        of_type = self._of(event.local_received or 0.0, task, event)
        if of_type is not None and (wait := task.wait) is not None:
            of_type.wait.add(wait)

    def _ended(self, task: Task, event: Any) -> None:
        if event.type == "task-failed" and task.repeats(event):
            return
        runtime = event.runtime if event.type == "task-succeeded" else None
        if runtime is None:
            runtime = task.runtime
        # What ran at the cut had begun before, with what was deployed then.
        began = (event.local_received or 0.0) - (runtime or 0.0)
        of_type = self._of(began, task, event)
        if of_type is None:
            return
        if event.type == "task-failed":
            of_type.failed += 1
        elif event.type == "task-retried":
            of_type.retried += 1
        else:
            of_type.succeeded += 1
            if runtime is not None and runtime >= 0:
                of_type.run.add(runtime)


# --- statistics ---------------------------------------------------------------------------
#
# Run times are skewed and have long tails: so ranks are compared (Mann and Whitney), and the
# difference is the median of all ratios of a run after to a run before (Hodges and Lehmann, on
# logarithms), with the interval in which that test would find no difference.  What is slow for
# some minutes, as a database during a backup, makes many runs slow together, which then are no
# independent witnesses: by as much as the means of twenty blocks of runs in a row differ more than
# they would by chance, the test is less sure.

#: Runs, of each recording, without which times are not compared; those without which the slowest
#: are not, or runs in a row.
_RUNS_MIN, _MANY_MIN = 8, 100
_BLOCKS: Final = 20
_SLOWEST: Final = 0.95
#: The precision of a ratio, as a logarithm; the shortest run, in seconds.
_PRECISION, _SHORTEST = 1e-4, 1e-6
#: Up to so many terms a test of shares is exact.
_TERMS_MAX: Final = 2000
#: What is known more precisely than this shows that there is no difference: a ratio of run times,
#: and points of a share of failures.
_PRECISE_RATIO, _PRECISE_SHARE = math.log(1.5), 0.1
_NORMAL: Final = NormalDist()


@dataclass(slots=True)
class Test:
    """What was found of one question about a type.

    `change` is that of the median ratio of run times (0.1: a tenth longer), or the difference of
    two shares, with its interval from `low` to `high`.  `relative` is the change as a share of what
    was before.  `p` is the chance of such a difference where there is none, `adjusted` that with
    regard to how many questions were asked.
    """

    change: float
    relative: float
    p: float
    low: float | None = None
    high: float | None = None
    adjusted: float = 1.0


def compare_times(
    before: Sequence[float], after: Sequence[float], confidence: float
) -> Test | None:
    """Compare two samples of run times, each in the order of time; None if there are too few."""
    if min(len(before), len(after)) < _RUNS_MIN:
        return None
    logs = [[math.log(max(seconds, _SHORTEST)) for seconds in each] for each in (before, after)]
    merged = sorted([*logs[0], *logs[1]])
    ranks = [
        [bisect_left(merged, each) + bisect_right(merged, each) for each in side] for side in logs
    ]
    old, new = map(sorted, logs)
    pairs, total = len(old) * len(new), len(merged)
    ties = sum(count**3 - count for count in Counter(merged).values() if count > 1)
    spread = math.sqrt(pairs / 12 * (total + 1 - ties / (total * (total - 1))))
    spread *= math.sqrt(_inflation(*ranks))
    if not spread:  # all are equal
        return Test(0.0, 0.0, 1.0, 0.0, 0.0)
    # How often one after is longer than one before, in excess of half of all pairs.
    longer = (sum(ranks[1]) - len(new) ** 2) / 2
    p = _two_sided((longer - pairs / 2) / spread)

    def ratio(pairs_longer: float) -> float:
        # By which runs after are longer if so many pairs are longer by even more.
        least, most = new[0] - old[-1], new[-1] - old[0]
        while most - least > _PRECISION:
            middle = (least + most) / 2
            shorter = sum([bisect_left(new, each + middle) for each in old])
            if pairs - shorter > pairs_longer:
                least = middle
            else:
                most = middle
        return math.expm1((least + most) / 2)

    margin = _NORMAL.inv_cdf((1 + confidence) / 2) * spread
    change = ratio(pairs / 2)
    return Test(change, change, p, ratio(pairs / 2 + margin), ratio(pairs / 2 - margin))


def compare_slowest(before: Sequence[float], after: Sequence[float]) -> Test | None:
    """Compare how many of two samples are among the slowest of both, and their p95."""
    if min(len(before), len(after)) < _MANY_MIN:
        return None
    bound = _quantile(sorted([*before, *after]), _SLOWEST)
    slow = [[seconds > bound for seconds in each] for each in (before, after)]
    counts = [sum(each) for each in slow]
    total = sum(counts) / (len(before) + len(after))
    spread = math.sqrt(total * (1 - total) * (1 / len(before) + 1 / len(after)))
    spread *= math.sqrt(_inflation(*slow))
    if not spread:
        return None
    difference = counts[1] / len(after) - counts[0] / len(before)
    old, new = (max(_quantile(sorted(each), _SLOWEST), _SHORTEST) for each in (before, after))
    change = new / old - 1
    # Of a few that are slow the p95 may say the opposite.
    return Test(change, change, _two_sided(difference / spread) if change * difference > 0 else 1.0)


def compare_shares(
    part: int, whole: int, part_after: int, whole_after: int, confidence: float
) -> Test | None:
    """Compare two shares by Fisher's exact test, with Newcombe's interval of the difference.

    None if there is nothing of which they are a share, or to compare.
    """
    if not whole or not whole_after or not part + part_after:
        return None
    share, share_after = part / whole, part_after / whole_after
    change, z = share_after - share, _NORMAL.inv_cdf((1 + confidence) / 2)
    low, high = _wilson(part, whole, z)
    low_after, high_after = _wilson(part_after, whole_after, z)
    relative = change / share if share else math.inf if change else 0.0
    return Test(
        change, relative, _fisher(part, whole, part_after, whole_after),
        change - math.hypot(share_after - low_after, high - share),
        change + math.hypot(high_after - share_after, share - low),
    )  # fmt: skip


def _two_sided(z: float) -> float:
    return math.erfc(abs(z) / math.sqrt(2))


def _inflation(before: Sequence[float], after: Sequence[float]) -> float:
    # By how much more the difference of two means varies than if all values were independent.
    parts = [_of_blocks(each) / len(each) for each in (before, after)]
    return sum(parts) / (1 / len(before) + 1 / len(after))


def _of_blocks(values: Sequence[float]) -> float:
    if len(values) < _MANY_MIN or not (spread := _squares(values) / len(values)):
        return 1.0
    size = len(values) // _BLOCKS
    means = [fmean(values[n * size : (n + 1) * size]) for n in range(_BLOCKS)]
    return max(1.0, _squares(means) / (_BLOCKS - 1) * size / spread)


def _squares(values: Sequence[float]) -> float:
    mean = fmean(values)
    return math.fsum([(each - mean) ** 2 for each in values])


def _wilson(part: int, whole: int, z: float) -> tuple[float, float]:
    share, z2 = part / whole, z * z
    middle = share + z2 / (2 * whole)
    margin = z * math.sqrt(share * (1 - share) / whole + z2 / (4 * whole * whole))
    return (middle - margin) / (1 + z2 / whole), (middle + margin) / (1 + z2 / whole)


def _fisher(part: int, whole: int, part_after: int, whole_after: int) -> float:
    total, both = part + part_after, whole + whole_after
    least, most = max(0, total - whole_after), min(total, whole)
    if most - least > _TERMS_MAX:
        share = total / both
        spread = math.sqrt(share * (1 - share) * (1 / whole + 1 / whole_after))
        return _two_sided((part_after / whole_after - part / whole) / spread) if spread else 1.0

    def log_choose(n: int, k: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    every = log_choose(both, total)
    logs = [
        log_choose(whole, k) + log_choose(whole_after, total - k) - every
        for k in range(least, most + 1)
    ]
    limit = logs[part - least] + 1e-7
    return min(1.0, math.fsum(math.exp(each) for each in logs if each <= limit))


def adjust(tests: Iterable[Test]) -> None:
    """Set what is left of each when so many are looked at (Benjamini and Hochberg).

    If nothing differs, all are right with the confidence asked for; if something does, of those
    that are reported no more than that share is wrong, in the long run.
    """
    ordered = sorted(tests, key=lambda test: -test.p)
    least = 1.0
    for place, test in enumerate(ordered):
        least = min(least, test.p * len(ordered) / (len(ordered) - place))
        test.adjusted = least


# --- verdicts -----------------------------------------------------------------------------

#: By question, what it is called where there is more, and less, of it after.
_VERDICTS: Final = {
    "run": ("slower", "faster"),
    "slowest": ("slowest-slower", "slowest-faster"),
    "failures": ("fails-more", "fails-less"),
    "retries": ("retries-more", "retries-less"),
}
NEW, GONE, SAME, TOO_FEW = "new", "gone", "same", "too-few"
_WORSE: Final = frozenset(more for more, _ in _VERDICTS.values())
_BETTER: Final = frozenset(less for _, less in _VERDICTS.values())


@dataclass(slots=True)
class Row:
    """A type of task, what both recordings have of it, and what that shows."""

    name: str
    before: TypeRuns
    after: TypeRuns
    tests: dict[str, Test]
    verdicts: list[str] = field(default_factory=list)

    @property
    def is_worse(self) -> bool:
        return not _WORSE.isdisjoint(self.verdicts)

    @property
    def is_better(self) -> bool:
        return not _BETTER.isdisjoint(self.verdicts)

    def is_wanted(self, only: Only | None) -> bool:
        """Return whether it is to be shown."""
        wanted = {
            None: True, "worse": self.is_worse, "better": self.is_better,
            "changed": not {SAME, TOO_FEW} & {*self.verdicts},
        }  # fmt: skip
        return wanted[only]

    def as_dict(self) -> dict[str, Any]:
        tests: dict[str, Any] = {}
        for name in _VERDICTS:
            values = asdict(self.tests[name]) if name in self.tests else dict.fromkeys(_FIELDS)
            tests[name] = {key: _rounded(value) for key, value in values.items()}
        return {
            "name": self.name, "verdicts": self.verdicts, "worse": self.is_worse,
            "before": self.before.as_dict(), "after": self.after.as_dict(), **tests,
        }  # fmt: skip


_FIELDS: Final = tuple(Test.__slots__)


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def compare(before: Side, after: Side, *, confidence: float, min_change: float) -> list[Row]:
    """Return the types of both, those that got worse first.

    `min_change` is the least change that is reported, as a share of what was before.
    """
    nothing = TypeRuns("")
    rows = []
    for name in before.types.keys() | after.types.keys():
        old, new = before.types.get(name, nothing), after.types.get(name, nothing)
        if old.ended or new.ended:
            rows.append(Row(name, old, new, _tests(old, new, confidence)))
    adjust([test for row in rows for test in row.tests.values()])
    for row in rows:
        _judge(row, before, after, 1 - confidence, min_change)
    rows.sort(key=lambda row: (_place(row), -(row.before.ended + row.after.ended), row.name))
    return rows


def _tests(old: TypeRuns, new: TypeRuns, confidence: float) -> dict[str, Test]:
    times = old.run.in_order(), new.run.in_order()
    found = {
        "run": compare_times(*times, confidence),
        "slowest": compare_slowest(*times),
        "failures": compare_shares(
            old.failed, old.succeeded + old.failed, new.failed, new.succeeded + new.failed,
            confidence,
        ),
        "retries": compare_shares(old.retried, old.ended, new.retried, new.ended, confidence),
    }  # fmt: skip
    return {name: test for name, test in found.items() if test is not None}


def _judge(row: Row, before: Side, after: Side, alpha: float, min_change: float) -> None:
    if not row.before.ended or not row.after.ended:
        # That there would have been none by chance is as likely as this, if there are as many in
        # an hour of both.
        is_new = not row.before.ended
        there, lacking = (after, before) if is_new else (before, after)
        count = row.after.ended if is_new else row.before.ended
        expected = count * lacking.seconds / there.seconds if there.seconds else 0.0
        is_sure = math.exp(-expected) < alpha
        row.verdicts = [(NEW if is_new else GONE) if is_sure else TOO_FEW]
        return
    for name, (more, less) in _VERDICTS.items():
        test = row.tests.get(name)
        if test is None or test.adjusted >= alpha or abs(test.relative) < min_change:
            continue
        verdict = more if test.change > 0 else less
        if name != "slowest" or ("slower" if test.change > 0 else "faster") not in row.verdicts:
            row.verdicts.append(verdict)
    if not row.verdicts:
        row.verdicts = [SAME if _is_precise(row) else TOO_FEW]


def _is_precise(row: Row) -> bool:
    # Whether what was recorded would have shown a difference, if it were large.
    run, failures = row.tests.get("run"), row.tests.get("failures")
    if run is not None and run.low is not None and run.high is not None:
        return max(-math.log1p(run.low), math.log1p(run.high)) < _PRECISE_RATIO
    if failures is not None and failures.low is not None and failures.high is not None:
        return max(-failures.low, failures.high) < _PRECISE_SHARE
    return False


def _place(row: Row) -> int:
    kinds = (row.is_worse, row.is_better, GONE in row.verdicts, NEW in row.verdicts)
    return next(
        (n for n, found in enumerate(kinds) if found), len(kinds) + (TOO_FEW in row.verdicts)
    )


# --- output -------------------------------------------------------------------------------


def _as_json(options: DiffOptions, before: Side, after: Side, rows: Sequence[Row]) -> str:
    shown = {
        "before": before.as_dict(), "after": after.as_dict(),
        "confidence": options.confidence, "min_change": options.min_change,
        "worse": sum(row.is_worse for row in rows), "better": sum(row.is_better for row in rows),
        "types": [row.as_dict() for row in rows if row.is_wanted(options.only)],
    }  # fmt: skip
    return encode_line(shown).decode() + "\n"


def _as_csv(options: DiffOptions, _before: Side, _after: Side, rows: Sequence[Row]) -> str:
    empty = Row("", TypeRuns(""), TypeRuns(""), {})
    lines = [",".join(_flat(empty.as_dict()))]
    for row in rows:
        if row.is_wanted(options.only):
            values = _flat(row.as_dict() | {"verdicts": " ".join(row.verdicts)}).values()
            lines.append(",".join(map(_cell, values)))
    return "".join(f"{line}\n" for line in lines)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        parts = _flat(value) if isinstance(value, dict) else None
        flat |= {name: value} if parts is None else {f"{name}_{n}": v for n, v in parts.items()}
    return flat


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else encode_line(value).decode()
    return csv_cell(text, is_number=not isinstance(value, str))


class _Column(NamedTuple):
    # What is shown of both recordings, and when it leaves for lack of room, 0 for never.
    title: str
    cell: Callable[[TypeRuns], str]
    leaves: int


def _duration(of: Callable[[TypeRuns], Sample], share: float) -> Callable[[TypeRuns], str]:
    def cell(runs: TypeRuns) -> str:
        values = sorted(of(runs).in_order())
        return human_duration(_quantile(values, share)) if values else "-"

    return cell


def _failing(runs: TypeRuns) -> str:
    share = _share(runs.failed, runs.succeeded + runs.failed)
    return "-" if share is None else f"{share:.1%}"


_COLUMNS: Final = (
    _Column("RUNS", lambda runs: str(runs.ended), 0),
    _Column("FAIL%", _failing, 5),
    _Column("RUN p50", _duration(lambda runs: runs.run, 0.5), 4),
    _Column("RUN p95", _duration(lambda runs: runs.run, 0.95), 3),
    _Column("WAIT p50", _duration(lambda runs: runs.wait, 0.5), 1),
    _Column("WAIT p95", _duration(lambda runs: runs.wait, 0.95), 2),
)


def _as_text(options: DiffOptions, before: Side, after: Side, rows: Sequence[Row]) -> str:
    lines = [f"BEFORE  {before.extent()}", f"AFTER   {after.extent()}"]
    shown = [row for row in rows if row.is_wanted(options.only)]
    if shown:
        cols_max = get_terminal_size().columns if sys.stdout.isatty() else 0
        lines += ["", *_table(shown, cols_max)]
    counts = Counter(_SUMMARY[_place(row)] for row in rows)
    parts = [f"{counts[word]} {word}" for word in _SUMMARY if counts[word] or word == _SUMMARY[0]]
    sure = f"{options.confidence:.4%}".rstrip("0%").rstrip(".")
    smaller = f", changes below {options.min_change:.2%}".replace(".00%", "%")
    ending = f" (confidence {sure}%{smaller if options.min_change else ''}"
    ending += " not reported)" if options.min_change else ")"
    return "".join(f"{line}\n" for line in (*lines, "", ", ".join(parts) + ending))


_SUMMARY: Final = ("worse", "better", "gone", "new", "no difference shown", "too few to say")


def _table(rows: Sequence[Row], cols_max: int) -> Iterator[str]:
    names = ["TASK", *(clip(sanitize(row.name), _NAME_COLS, "\N{HORIZONTAL ELLIPSIS}")
                       for row in rows)]  # fmt: skip
    verdicts = ["VERDICT", *map(_words, rows)]
    shown = {}
    for column in _COLUMNS:
        pairs = [(column.cell(row.before), column.cell(row.after)) for row in rows]
        if any(cell != "-" for pair in pairs for cell in pair):
            shown[column] = [("before", "after"), *pairs]
    cols = {
        column: tuple(max(width(pair[side]) for pair in pairs) for side in (0, 1))
        for column, pairs in shown.items()
    }
    first, last = (max(map(width, each)) for each in (names, verdicts))
    leaving = sorted((each for each in cols if each.leaves), key=lambda each: each.leaves)
    left_out = []
    while cols_max and leaving and first + last + 2 + sum(
        sum(each) + 4 for each in cols.values()
    ) > cols_max:  # fmt: skip
        left_out.append(gone := leaving.pop(0))
        del cols[gone]
    above = " " * first + "".join(
        f"  {column.title.center(sum(each) + 2, '-')}" for column, each in cols.items()
    )
    yield above
    for at, (name, verdict) in enumerate(zip(names, verdicts, strict=True)):
        line = pad(name, first)
        for column, each in cols.items():
            line += "".join(
                f"  {pad(cell, size, 'right')}"
                for cell, size in zip(shown[column][at], each, strict=True)
            )
        yield f"{line}  {verdict}"
    if left_out:
        yield f"no room for {', '.join(each.title for each in left_out)}; -o csv has all"


def _words(row: Row) -> str:
    return ", ".join(_word(row, verdict) for verdict in row.verdicts)


def _word(row: Row, verdict: str) -> str:
    for name, (more, less) in _VERDICTS.items():
        if verdict in (more, less):
            return _PHRASES[name](row.tests[name], verdict)
    return {SAME: "no difference shown", TOO_FEW: "too few to say"}.get(verdict, verdict)


def _of_times(test: Test, verdict: str) -> str:
    return f"{verdict} {_percent(abs(test.change))}{_margin(test)}%"


def _of_slowest(test: Test, _verdict: str) -> str:
    return f"slowest {'slower' if test.change > 0 else 'faster'}: p95 {test.change:+.0%}"


def _of_shares(test: Test, verdict: str) -> str:
    return f"{verdict.replace('-', ' ')} {100 * test.change:+.2g}{_margin(test)} points"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def _margin(test: Test) -> str:
    if test.low is None or test.high is None:
        return ""
    return f" ±{100 * max(test.change - test.low, test.high - test.change):.2g}"


_PHRASES: Final[Mapping[str, Callable[[Test, str], str]]] = {
    "run": _of_times, "slowest": _of_slowest, "failures": _of_shares, "retries": _of_shares,
}  # fmt: skip
_OUTPUT: Final = {"text": _as_text, "json": _as_json, "csv": _as_csv}
