"""Long streams of every kind, and the same figures counted by hand."""

from collections import Counter
from dataclasses import dataclass
from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtools.state import UNKNOWN, WINDOWS
from tools.watched import Watched

#: The figures of a type, by the type of event that they count.
OF_TYPE = {
    f"task-{name}": name
    for name in (
        *("received", "started", "succeeded", "failed"),
        *("retried", "rejected", "cancelled"),
    )
}
ENDS = ("succeeded", "succeeded", "failed", "retried", "rejected", "cancelled")
#: How far each window moves at once, in seconds.
WIDTHS = {"1m": 5.0, "5m": 15.0, "15m": 60.0, "1h": 300.0, "all": inf}
#: How long nothing comes: within a slot, to the next, or until whole windows pass.
GAPS = (0.0, 0.0, 0.01, 0.4, 2.0, 5.0, 17.0, 64.0, 310.0, 960.0, 3700.0)


@dataclass(slots=True)
class Counted:
    """Something that was counted once, and when it came."""

    table: str
    name: str
    figure: str
    at: float
    value: float = 0.0


class ByHand:
    """A list of all there was; what a window has is looked up one by one."""

    def __init__(self):
        self.counted = []
        self.names, self.queues, self.unplaced = {}, {}, {}

    def count(self, table, name, figure, at, value=0.0):
        counted = Counted(table, name or UNKNOWN, figure, at, value)
        self.counted.append(counted)
        return counted

    def take(self, change):
        event = change.event.as_dict()
        kind, uuid, at = event["type"], event["uuid"], event["local_received"]
        self.count("events", "", "events", at)
        if event.get("name"):
            self.names.setdefault(uuid, event["name"])
        name = self.names.get(uuid)
        if kind in OF_TYPE:
            self.count("types", name, OF_TYPE[kind], at)
        elif kind == "task-revoked" and change.before != change.after:
            self.count("types", name, "revoked", at)
        if kind == "task-sent":
            self.queues[uuid] = event["queue"]
            self.count("queues", event["queue"], "published", at)
            for receipt in self.unplaced.pop(uuid, []):
                receipt.name = event["queue"] or UNKNOWN
        elif kind == "task-received":
            queue = self.queues.get(uuid)
            receipt = self.count("queues", queue, "received", at)
            if queue is None:
                self.unplaced.setdefault(uuid, []).append(receipt)
        elif kind == "task-succeeded":
            self.count("workers", event["hostname"], "succeeded", at)
            for table, of in (("types", name), ("workers", event["hostname"])):
                self.count(table, of, "run", at, event["runtime"])
        elif kind == "task-failed":
            self.count("workers", event["hostname"], "failed", at)
            self.count("errors", f"{name or UNKNOWN} {event['exception']}", "count", at)

    def within(self, window, now):
        """Return what is in a window by table, name and figure: whole slots of it."""
        width = WIDTHS[window]
        span = WINDOWS[window]
        edge = -inf if span is None else (now - span) // width
        found = {}
        for counted in self.counted:
            if counted.at // width >= edge:
                key = counted.table, counted.name
                found.setdefault(key, {}).setdefault(counted.figure, []).append(counted)
        return found


def figures(statistics, window, now):
    """Yield what the statistics show by table, name and figure, if it is not zero."""
    shown = {}
    for row in statistics.types(window, now):
        shown["types", row.name] = dict(row.counts)
    for row in statistics.queues(window, now):
        shown["queues", row.name] = {"published": row.published, "received": row.received}
    for row in statistics.workers(window, now):
        shown["workers", row.name] = {
            figure: row.counts[figure] for figure in ("succeeded", "failed")
        }
    for group in statistics.failures(window, now):
        shown["errors", f"{group.task} {group.exception}()"] = {"count": group.count}
    for key, row in shown.items():
        for figure, count in row.items():
            if count:
                yield (*key, figure), count


def compare(watched, by_hand, window, now):
    statistics, expected = watched.statistics, by_hand.within(window, now)
    counts = {
        (*key, figure): len(counted)
        for key, row in expected.items()
        for figure, counted in row.items()
        if key[0] != "events" and figure != "run"
    }
    assert dict(figures(statistics, window, now)) == counts
    compare_totals(statistics, expected, window, now)
    for rows, table in (
        (statistics.types(window, now), "types"),
        (statistics.workers(window, now), "workers"),
    ):
        for row in rows:
            runs = [counted.value for counted in expected.get((table, row.name), {}).get("run", ())]
            if runs and not row.counts["failed"]:
                assert row.run.max == max(runs)
                assert min(runs) <= row.run.p50 <= row.run.p95 <= row.run.p99
                assert row.run.p99 <= row.run.max


def compare_totals(statistics, expected, window, now):
    sums = Counter()
    for (table, _), row in expected.items():
        if table in ("types", "events"):
            sums.update({figure: len(counted) for figure, counted in row.items()})
    totals = statistics.totals(window, now)
    for figure, count in totals.counts.items():
        assert count == sums[figure]
    assert totals.event_rate * totals.seconds == pytest.approx(sums["events"])


class Stream:
    """Events of tasks that live in every way there is."""

    def __init__(self, random, watched):
        self.random, self.watched = random, watched
        self.live = []
        self.number = 0

    def life(self):
        """Return the events of a task to come, in an order that may be anything."""
        random, self.number = self.random, self.number + 1
        uuid = f"u{self.number}"
        name = random.choice(["a", "b", "c", None])
        queue = random.choice(["q1", "q2", None])
        host = random.choice(["w1", "w2", "w3"])
        events = []
        if random.random() < 0.8:
            events.append(("sent", {"name": name, "queue": queue}))
        events.append(("received", {"name": name, "host": host}))
        if random.random() < 0.1:  # delivered again
            host = random.choice([host, "w4"])
            events.append(("received", {"name": name, "host": host}))
        events.append(("started", {"host": host}))
        end = random.choice(ENDS)
        fields = {"host": host}
        if end == "succeeded":
            fields["runtime"] = random.choice([0.0, 0.1135, 7.957, random.random() * 99])
        if end in ("failed", "retried"):
            fields["exception"] = f"{random.choice('ABC')}Error()"
        events.append((end, fields))
        if random.random() < 0.1:
            events.append(("revoked", {"host": host}))
        if random.random() < 0.3:  # the client tells of it late, or all is mixed
            events.append(events.pop(0))
        if random.random() < 0.1:
            random.shuffle(events)
        return [(kind, uuid, fields) for kind, fields in events]

    def __iter__(self):
        random = self.random
        while True:
            if len(self.live) < 4 or random.random() < 0.1:
                self.live.append(self.life())
            life = random.choice(self.live)
            kind, uuid, fields = life.pop(0)
            if not life:
                self.live.remove(life)
            gap = random.choice(GAPS) * random.choice([0.01, 0.1, 1.0])
            yield self.watched.event(kind, uuid, after=gap, **fields)


def told(random, watched, by_hand, length):
    """Take in a stream, event by event; yield after some of them."""
    stream = iter(Stream(random, watched))
    for _ in range(length):
        (change,) = watched.state.apply([next(stream)])
        watched.statistics.take([change])
        by_hand.take(change)
        if random.random() < 0.2:
            # Who reads may be far ahead of the events, and changes nothing by that.
            yield watched.now + random.choice([0.0, 0.0, 7.0, 70.0, 5000.0])
    for idle in (0.0, 3.0, 61.0, 400.0, 1000.0, 4000.0):
        yield watched.now + idle


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), length=st.integers(50, 500))
def test_whatever_comes_all_figures_are_those_counted_by_hand(seed, length):
    random, watched, by_hand = Random(seed), Watched(), ByHand()
    for now in told(random, watched, by_hand, length):
        compare(watched, by_hand, random.choice(list(WINDOWS)), now)
    for window in WINDOWS:
        compare(watched, by_hand, window, watched.now)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), length=st.integers(50, 500), names=st.integers(1, 3))
def test_what_has_no_room_by_name_is_still_counted(seed, length, names):
    random, by_hand = Random(seed), ByHand()
    kinds = ("max_types", "max_queues", "max_workers", "max_groups")
    watched = Watched(**dict.fromkeys(kinds, names))
    for now in told(random, watched, by_hand, length):
        window = random.choice(list(WINDOWS))
        expected = by_hand.within(window, now)
        compare_totals(watched.statistics, expected, window, now)
        sums, shown = Counter(), Counter()
        for (table, _), row in expected.items():
            sums.update({(table, figure): len(found) for figure, found in row.items()})
        for (table, _, figure), count in figures(watched.statistics, window, now):
            shown[table, figure] += count
        del sums["events", "events"], sums["types", "run"], sums["workers", "run"]
        assert shown == sums
