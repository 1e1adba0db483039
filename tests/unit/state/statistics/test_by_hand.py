"""Long streams of every kind, and the same figures counted by hand."""

from collections import Counter
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


class ByHand:
    """A list of all there was; what a window has is looked up one by one."""

    def __init__(self):
        #: Table, name, figure, time and value of each.
        self.counted = []
        self.names, self.queues, self.unplaced = {}, {}, {}

    def count(self, table, name, figure, at, value=0.0):
        counted = [table, name or UNKNOWN, figure, at, value]
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
                receipt[1] = event["queue"] or UNKNOWN
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
        """Return the values in a window by table, name and figure: whole slots of it."""
        width, span = WIDTHS[window], WINDOWS[window]
        edge = -inf if span is None else (now - span) // width
        found = {}
        for *key, at, value in self.counted:
            if at // width >= edge:
                found.setdefault(tuple(key), []).append(value)
        return found


def figures(statistics, window, now):
    """Return what the statistics show by table, name and figure, if it is not zero."""
    shown = Counter()
    for row in statistics.types(window, now):
        shown.update({("types", row.name, figure): n for figure, n in row.counts.items()})
    for row in statistics.queues(window, now):
        for figure in ("published", "received"):
            shown["queues", row.name, figure] = getattr(row, figure)
    for row in statistics.workers(window, now):
        for figure in ("succeeded", "failed"):
            shown["workers", row.name, figure] = row.counts[figure]
    for group in statistics.failures(window, now):
        shown["errors", f"{group.task} {group.exception}()", "count"] = group.count
    return +shown


def compare(watched, by_hand, window, now, *, by_name):
    statistics, values = watched.statistics, by_hand.within(window, now)
    expected = Counter({key: len(found) for key, found in values.items() if key[2] != "run"})
    totals = statistics.totals(window, now)
    events = expected.pop(("events", UNKNOWN, "events"), 0)
    assert totals.event_rate * totals.seconds == pytest.approx(events)
    sums = summed(expected)
    assert all(sums["types", figure] == count for figure, count in totals.counts.items())
    shown = figures(statistics, window, now)
    if not by_name:
        assert summed(shown) == sums
        return
    assert shown == expected
    for table in ("types", "workers"):
        for row in getattr(statistics, table)(window, now):
            runs = values.get((table, row.name, "run"))
            if runs and not row.counts["failed"]:
                assert row.run.max == max(runs)
                assert min(runs) <= row.run.p50 <= row.run.p95 <= row.run.p99 <= row.run.max


def summed(counts):
    """Add up what all names have."""
    sums = Counter()
    for (table, _, figure), count in counts.items():
        sums[table, figure] += count
    return sums


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
        if random.random() < 0.3:  # the client's comes late, or all is mixed
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


def moments(random, watched, by_hand, length):
    """Apply a stream, event by event; yield after some of them."""
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


@pytest.mark.parametrize("bounded", [False, True])
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), length=st.integers(50, 500), names=st.integers(1, 3))
def test_all_figures_are_those_counted_by_hand(bounded, seed, length, names):
    """What has no room by name is still counted."""
    kinds = ("max_types", "max_queues", "max_workers", "max_groups") if bounded else ()
    random, watched, by_hand = Random(seed), Watched(**dict.fromkeys(kinds, names)), ByHand()
    for now in moments(random, watched, by_hand, length):
        compare(watched, by_hand, random.choice(list(WINDOWS)), now, by_name=not bounded)
    for window in WINDOWS:
        compare(watched, by_hand, window, watched.now, by_name=not bounded)
