import queue
import threading

import pytest

from evtools.errors import BrokerUnavailable, UsageError
from evtools.rows import Trend, trend_of
from evtools.top import feed as feed_module
from evtools.top.feed import ROOM, SLICE, BrokerStats, Ended, Feed
from evtools.top.files import EventHistory
from evtools.transport import Notice, Statistics
from evtools.transport.queues import Depth, Plan, PlannedTask, Waiting
from evtools.wire.redact import redactor
from tools.clock import FakeClock
from tools.typed import events_of

DEADLINE = 10.0


class FakeSource:
    """A source that is given its batches by the test."""

    def __init__(self):
        self.given = queue.SimpleQueue()

    def give(self, *batches):
        for batch in batches:
            self.given.put(batch)

    def events(self, timeout):
        assert timeout is not None
        while (batch := self.given.get()) is not None:
            if isinstance(batch, Exception):
                raise batch
            yield batch

    def statistics(self):
        return Statistics()

    def stop(self):
        self.given.put(None)


class Wakes(threading.Semaphore):
    """Counts how often the screen was woken, and lets the test wait for it."""

    count = 0

    def __init__(self):
        super().__init__(0)

    def __call__(self):
        self.count += 1
        self.release()

    def wait(self):
        assert self.acquire(timeout=DEADLINE)


class FakeRecording:
    def __init__(self):
        self.batches = []
        self.closed = threading.Event()

    def write(self, events):
        self.batches.append(events)

    def close(self):
        self.closed.set()


@pytest.fixture
def wakes():
    return Wakes()


@pytest.fixture
def source():
    return FakeSource()


@pytest.fixture
def idle(wakes, source):
    """Return a feed that has not been started."""
    made = Feed(wakes)
    made.source = source
    return made


@pytest.fixture
def feed(idle):
    idle.start()
    yield idle
    idle.close(DEADLINE)


def events(count):
    return events_of({"type": "task-sent", "number": number} for number in range(count))


def take_all(feed):
    return list(iter(feed.take, None))


def test_what_comes_in_wakes_the_screen_once_until_it_has_taken_all(feed, source, wakes):
    source.give(events(1), events(2), events(3))
    wakes.wait()
    taken = []
    while len(taken) < 3:
        taken += take_all(feed)
    assert taken == [events(1), events(2), events(3)]
    source.give(events(4))
    last = []
    while not last:
        wakes.wait()  # perhaps for one of the others, if they did not come at once
        last = take_all(feed)
    assert last == [events(4)]


def test_the_screen_is_not_woken_again_before_it_has_looked(idle, wakes):
    notices = [Notice("retry", str(number)) for number in range(4)]
    idle.put(notices[0])
    idle.put(notices[1])
    assert wakes.count == 1
    assert idle.take() == notices[0]
    idle.put(notices[2])
    assert wakes.count == 1
    assert take_all(idle) == notices[1:3]
    idle.put(notices[3])
    assert wakes.count == 2


def test_a_large_batch_is_cut_into_slices_that_together_are_the_batch(feed, source, wakes):
    batch = events(2 * SLICE + 1)
    source.give(batch)
    taken = []
    while sum(map(len, taken)) < len(batch):
        wakes.wait()
        taken += take_all(feed)
    assert [len(item) for item in taken] == [SLICE, SLICE, 1]
    assert [event for item in taken for event in item] == batch


def test_a_frozen_screen_holds_the_source_back_and_loses_nothing(feed, source, wakes):
    batches = [events(SLICE) for _ in range(2 * ROOM // SLICE)]
    source.give(*batches)
    wakes.wait()
    source.give(None)
    taken = []
    while not taken or not isinstance(taken[-1], Ended):
        assert feed.waiting <= ROOM
        if (item := feed.take()) is not None:
            taken.append(item)
    assert taken[:-1] == batches
    assert feed.waiting == 0


def test_a_stop_does_not_wait_for_room(feed, source, wakes):
    source.give(*[events(SLICE) for _ in range(2 * ROOM // SLICE)])
    wakes.wait()
    feed.close(DEADLINE)
    assert not feed.is_alive()


@pytest.mark.parametrize("error", [None, UsageError("no recording")])
def test_the_end_of_the_source_comes_after_all_else_with_its_reason(feed, source, error):
    source.give(events(1), error)
    feed.join(DEADLINE)
    assert take_all(feed) == [events(1), Ended(error)]


def test_secrets_are_removed_before_anybody_sees_an_event(wakes, source):
    recording = FakeRecording()
    feed = Feed(wakes, redactor(["args"]))
    feed.source, feed.recording = source, recording
    source.give(events_of([{"type": "task-sent", "args": "(1,)"}]), [], None)
    feed.run()
    [event] = feed.take()
    assert event.args == "***"
    # Without events it is looked after, too.
    assert recording.batches == [[event], []]
    assert recording.closed.is_set()


def test_a_history_comes_first_and_is_written_without_secrets(wakes, source, tmp_path):
    def events(*numbers):
        return events_of({"type": "task-sent", "args": "s3cret", "uuid": f"{n}",
                          "local_received": float(n)} for n in numbers)  # fmt: skip

    taken = []
    for numbers in ((1, 2), (5,)):
        feed = Feed(wakes, redactor(["args"]), gathers=True)
        feed.source, path = source, str(tmp_path / "h")
        feed.history = EventHistory(path, FakeClock(9.0), max_bytes=2**20, origin=["x"])
        source.give(events(*numbers), None)
        feed.run()
        taken = take_all(feed)
    earlier, note, now, _ = taken
    assert [event.uuid for event in earlier] == ["1", "2"]
    assert note.kind == "note"
    assert [event.get("uuid", event.type) for event in now] == ["evdump-gap", "5"]
    assert {event.args for event in (*earlier, now[-1])} == {"***"}
    assert b"s3cret" not in (tmp_path / "h").read_bytes()


def test_another_recording_ends_the_one_before(feed, source, wakes):
    first, second = FakeRecording(), FakeRecording()
    for recording, ended, count in ((first, None, 1), (second, first, 2), (None, second, 3)):
        feed.recording = recording
        source.give(events(count))
        wakes.wait()
        take_all(feed)
        assert ended is None or ended.closed.wait(DEADLINE)
    assert (first.batches, second.batches) == ([events(1)], [events(2)])


# --- the depth of queues ------------------------------------------------------------------


class FakeGauge:
    """Each queue holds as many messages as its name has letters, and `more`."""

    def __init__(self):
        self.asked = []
        self.more = self.planned = 0
        self.away = False
        self.closed = False

    def look(self, queues, *, oldest):
        self.asked.append(queues)
        if self.away:
            raise BrokerUnavailable("cannot reach it")
        return {queue: Depth(len(queue) + self.more) for queue in queues}

    def peek(self, queue):
        return Waiting({f"task-{queue}": 2, "": 1})

    def plan(self):
        self.planned += 1
        if self.away:
            raise BrokerUnavailable("cannot reach it")
        return Plan((PlannedTask("daily", "mail.send", 1000.0),))

    def close(self):
        self.closed = True


@pytest.fixture
def gauge():
    return FakeGauge()


@pytest.fixture
def stats(gauge, wakes):
    made = BrokerStats(gauge, wakes, clock=FakeClock())
    made.start()
    yield made
    made.close()
    assert gauge.closed


def test_each_new_queue_is_asked_about_without_waiting(stats, gauge, wakes):
    for queues in ("mail",), ("mail", "img", "img"):
        stats.watch(queues)
        wakes.wait()
    assert stats.known().depths == {"mail": Depth(4), "img": Depth(3)}
    assert gauge.asked == [("mail",), ("mail", "img")]
    stats.watch(f"q{number}" for number in range(2000))
    wakes.wait()
    assert len(gauge.asked[-1]) == 1000


def test_a_queue_that_is_named_late_wakes_nobody_before_it_was_asked_about(gauge):
    depths, woken = [], threading.Event()

    def wake():
        depths.append(stats.known().depths)
        woken.set()

    stats = BrokerStats(gauge, wake, clock=FakeClock())
    stats.plan_is_due = lambda: stats.watch(["mail"])  # which is looked at after the queues
    stats.start()
    assert woken.wait(DEADLINE)
    stats.close()
    assert depths[0] == {"mail": Depth(4)}


def test_a_broker_that_is_away_leaves_nothing_known_until_it_is_back(
    stats, gauge, wakes, monkeypatch
):
    monkeypatch.setattr(feed_module, "EVERY", 0.01)
    stats.watch(["mail"])
    there = ({"mail": Depth(4)}, "")
    for away, known in ((False, there), (True, ({}, "cannot reach it")), (False, there)):
        gauge.away = away
        while wakes.acquire(blocking=False):
            pass  # the looks of before
        wakes.wait()
        wakes.wait()  # the first look may have begun before
        assert (stats.known().depths, stats.known().error) == known


def test_a_trend_is_of_the_last_minute_and_what_is_old_is_no_longer_true(gauge, wakes):
    clock = FakeClock()
    stats = BrokerStats(gauge, wakes, clock=clock, redact=redactor(["/mail/"]))
    stats.watch(["mail"], peek="mail")
    trends = []
    for after, more in ((0.0, 0), (2.0, 1), (5.0, 13), (55.0, 41)):
        clock.now += after
        gauge.more = more
        stats.look()
        trends.append(trend_of(stats.known().history["mail"]))
    # Of 7 s: from 4 to 17.  Of the last minute: from 5 to 45, in 60 s.
    assert trends == [None, None, Trend(60 * 13 / 7, 7.0), Trend(40.0, 60.0)]
    assert stats.known().waiting == ("mail", Waiting({"task-***": 2, "": 1}))
    clock.now += 16.0
    assert stats.known().depths == {}
    assert len(stats.known().history["mail"]) == 4
    clock.now += 900.0
    stats.watch(["img"])
    assert set(stats.look().history) == {"img"}
    # Redis would say of a name that is none that it is empty.
    stats.watch(["***-2"], peek="***-2")
    assert stats.look().depths["***-2"].reason == "its name is masked by --redact"
    assert (gauge.asked[-1], stats.known().waiting) == ((), None)


def test_what_redbeat_plans_is_read_twice_a_minute_while_it_is_wanted(stats, gauge, wakes):
    stats.watch_plan(wanted=False)
    assert not stats.plan_is_due()
    stats.watch_plan(wanted=True)
    wakes.wait()
    assert stats.plan()[0].tasks[0].task == "mail.send"
    stats.watch_plan(wanted=True)
    stats.watch(["mail"])
    wakes.wait()
    assert (gauge.planned, stats.plan_is_due()) == (1, False)


def test_an_old_plan_says_nothing_and_names_in_it_are_masked(gauge, wakes):
    clock = FakeClock()
    stats = BrokerStats(gauge, wakes, clock=clock, redact=redactor(["/mail/"]))
    stats.watch_plan(wanted=True)
    began = clock.wall()
    stats.look_at_plan()
    assert stats.plan()[1] == began
    assert [task.task for task in stats.plan()[0].tasks] == ["***.send"]
    clock.now += 30.0
    assert stats.plan_is_due()
    clock.now += 61.0
    assert stats.plan()[0] == Plan()
    gauge.away = True
    stats.look_at_plan()
    assert stats.plan()[0] == Plan(reason="cannot reach it")
