import json
import queue
import threading
from contextlib import ExitStack

import pytest

from evtools.clock import SystemClock
from evtools.errors import BrokerUnavailable, UsageError
from evtools.top.feed import ROOM, SLICE, BrokerStats, Ended, Feed, open_source, watched
from evtools.top.options import TopOptions
from evtools.transport import ConnectionSettings, Statistics
from evtools.transport.queues import Depth
from evtools.transport.recording.reader import RecordingReader
from evtools.wire.redact import redactor
from servers.process import wait_until
from tools.typed import events_of

DEADLINE = 10.0


class FakeSource:
    """A source that is given its batches by the test."""

    def __init__(self):
        self.given = queue.SimpleQueue()
        self.asked = []

    def give(self, *batches):
        for batch in batches:
            self.given.put(batch)

    def events(self, timeout=None):
        self.asked.append(timeout)
        while (batch := self.given.get()) is not None:
            if isinstance(batch, Exception):
                raise batch
            yield batch

    def statistics(self):
        return Statistics()

    def stop(self):
        self.given.put(None)

    def close(self):
        pass


class Wakes:
    """Counts how often the screen was woken, and lets the test wait for it."""

    def __init__(self):
        self.count = 0
        self._changed = threading.Semaphore(0)

    def __call__(self):
        self.count += 1
        self._changed.release()

    def wait(self):
        assert self._changed.acquire(timeout=DEADLINE)


class FakeRecording:
    def __init__(self):
        self.events = []
        self.batches = 0
        self.closed = threading.Event()

    def write(self, events):
        self.events += events
        self.batches += 1

    def close(self):
        self.closed.set()


@pytest.fixture
def wakes():
    return Wakes()


@pytest.fixture
def source():
    return FakeSource()


@pytest.fixture
def feed(wakes, source):
    made = Feed(wakes)
    made.source = source
    made.start()
    yield made
    made.stop()
    made.join(DEADLINE)


def events(count):
    return events_of({"type": "task-sent", "number": number} for number in range(count))


def take_all(feed):
    taken = []
    while (item := feed.take()) is not None:
        taken.append(item)
    return taken


def test_what_comes_in_wakes_the_screen_once_until_it_has_taken_all(feed, source, wakes):
    source.give(events(1), events(2), events(3))
    wakes.wait()
    taken = []
    while len(taken) < 3:
        taken += take_all(feed)
    assert taken == [events(1), events(2), events(3)]
    source.give(events(4))
    wakes.wait()
    assert take_all(feed) == [events(4)]


def test_the_screen_is_not_woken_again_for_events_before_it_has_looked(wakes):
    feed = Feed(wakes)
    feed._put([{"number": 1}])
    feed._put([{"number": 2}])
    assert wakes.count == 1
    assert feed.take() == [{"number": 1}]
    feed._put([{"number": 3}])
    assert wakes.count == 1
    assert take_all(feed) == [[{"number": 2}], [{"number": 3}]]
    feed._put([{"number": 4}])
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


def test_a_stop_does_not_wait_for_room(wakes):
    source = FakeSource()
    feed = Feed(wakes)
    feed.source = source
    source.give(*[events(SLICE) for _ in range(2 * ROOM // SLICE)])
    feed.start()
    wakes.wait()
    feed.stop()
    feed.join(DEADLINE)
    assert not feed.is_alive()


def test_the_end_of_the_source_is_told_after_all_else(feed, source, wakes):
    source.give(events(1), None)
    feed.join(DEADLINE)
    assert take_all(feed) == [events(1), Ended()]


def test_a_source_that_fails_ends_with_its_reason(feed, source, wakes):
    error = UsageError("no recording")
    source.give(error)
    feed.join(DEADLINE)
    assert take_all(feed) == [Ended(error)]


def test_a_feed_without_a_source_can_be_stopped(wakes):
    Feed(wakes).stop()
    assert wakes.count == 0


def test_secrets_are_removed_before_anybody_sees_an_event(wakes, source):
    recording = FakeRecording()
    feed = Feed(wakes, redactor(["args"]))
    feed.source = source
    feed.record(recording)
    source.give(events_of([{"type": "task-sent", "args": "(1,)"}]), None)
    feed.start()
    feed.join(DEADLINE)
    [event] = feed.take()
    assert event.args == "***"
    assert recording.events == [event]
    assert recording.closed.is_set()


def test_another_recording_ends_the_one_before(feed, source, wakes):
    first, second = FakeRecording(), FakeRecording()
    feed.record(first)
    source.give(events(1))
    wakes.wait()
    take_all(feed)
    feed.record(second)
    assert feed.recording is second
    source.give(events(2))
    assert first.closed.wait(DEADLINE)
    wakes.wait()
    feed.record(None)
    source.give([])
    assert second.closed.wait(DEADLINE)
    assert first.events == events(1)
    assert second.events == events(2)


def test_a_recording_is_looked_after_while_nothing_comes(feed, source):
    recording = FakeRecording()
    feed.record(recording)
    source.give([], [])
    source.give(None)
    feed.join(DEADLINE)
    assert recording.batches == 2
    assert source.asked[0] is not None


# --- the source ------------------------------------------------------------------


SETTINGS = ConnectionSettings(urls="memory://nobody")


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "x.jsonl"
    lines = [{"type": "x", "local_received": float(number)} for number in range(5)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def opened(stack, told=None, settings=SETTINGS, **options):
    return open_source(
        TopOptions(**options),
        settings,
        (told if told is not None else []).append,
        clock=SystemClock(),
        stack=stack,
    )


def test_a_recording_is_replayed_and_stays_open(stack, recording):
    told = []
    tape = opened(stack, told, read=(recording,), since=1.0, until=2.0, speed=4.0)
    assert isinstance(tape, RecordingReader)
    assert (tape.speed, tape.stays) == (4.0, True)
    batches = tape.events(0.0)
    assert [event.local_received for event in next(batches)] == [1.0]
    tape.seek(9.0)
    assert [event.local_received for event in next(batches)] == [2.0]
    next(batches)
    assert [notice.kind for notice in told] == ["ended"]


def test_a_recording_that_is_not_there_is_refused(stack):
    with pytest.raises(UsageError, match="cannot read"):
        opened(stack, read=("/none",))


def test_with_a_demo_the_cluster_is_the_simulated_one():
    assert watched(TopOptions(), SETTINGS) is SETTINGS
    demo = watched(TopOptions(demo=True), SETTINGS)
    assert (demo.urls, demo.source_of_url) == ("memory://demo", "--demo")


# --- the depth of queues ---------------------------------------------------------


class FakeGauge:
    """Each queue holds as many messages as its name has letters."""

    def __init__(self):
        self.asked = []
        self.away = False
        self.closed = False

    def look(self, queues):
        self.asked.append(tuple(queues))
        if self.away:
            raise BrokerUnavailable("cannot reach it")
        return {queue: Depth(len(queue)) for queue in queues}

    def close(self):
        self.closed = True


@pytest.fixture
def gauge():
    return FakeGauge()


@pytest.fixture
def stats(gauge):
    made = BrokerStats(gauge, lambda: None, every=600.0)
    yield made
    made.close()


def test_a_look_finds_the_depths_of_the_queues(stats):
    stats.watch(["mail", "img"])
    stats.look()
    assert stats.depths == {"mail": Depth(4), "img": Depth(3)}
    assert stats.error == ""


def test_a_broker_that_is_away_tells_nothing_instead_of_what_was(stats, gauge):
    stats.watch(["mail"])
    stats.look()
    gauge.away = True
    stats.look()
    assert stats.depths == {}
    assert stats.error == "cannot reach it"
    gauge.away = False
    stats.look()
    assert stats.depths == {"mail": Depth(4)}
    assert stats.error == ""


def test_queues_are_asked_about_once_and_not_without_end(stats, gauge):
    stats.watch(["a", "a", *(f"q{number}" for number in range(2000))])
    stats.look()
    [asked] = gauge.asked
    assert len(asked) == len(set(asked)) == 1000


def test_a_new_queue_is_asked_about_without_waiting(gauge):
    looked = threading.Semaphore(0)
    stats = BrokerStats(gauge, looked.release, every=600.0)
    stats.start()
    stats.watch(["mail"])
    assert looked.acquire(timeout=10)
    stats.watch(["mail", "img"])
    assert looked.acquire(timeout=10)
    stats.close()
    assert stats.depths == {"mail": Depth(4), "img": Depth(3)}
    assert gauge.closed


def test_it_looks_again_and_again(gauge):
    looked = threading.Semaphore(0)
    stats = BrokerStats(gauge, looked.release, every=0.01)
    stats.watch(["mail"])
    stats.start()
    for _ in range(3):
        assert looked.acquire(timeout=10)
    stats.close()


def test_where_no_queue_is_known_nobody_is_asked(gauge):
    stats = BrokerStats(gauge, lambda: None, every=0.01)
    stats.start()
    stats.watch([])
    stats.close()
    assert gauge.asked == []
    wait_until(lambda: gauge.closed, deadline=5, what="the gauge to be closed")
