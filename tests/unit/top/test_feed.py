import queue
import threading

import pytest

from evtools.errors import UsageError
from evtools.top.feed import ROOM, SLICE, Ended, Feed
from evtools.transport import Statistics

DEADLINE = 10.0


class FakeSource:
    """A source that is given its batches by the test."""

    def __init__(self):
        self.given = queue.SimpleQueue()
        self.asked = []

    def give(self, *batches):
        for batch in batches:
            self.given.put(batch)

    def batches(self, timeout=None):
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
    return [{"type": "task-sent", "number": number} for number in range(count)]


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
    def redact(event):
        event["args"] = "***"

    recording = FakeRecording()
    feed = Feed(wakes, redact)
    feed.source = source
    feed.record(recording)
    source.give([{"type": "task-sent", "args": "(1,)"}], None)
    feed.start()
    feed.join(DEADLINE)
    redacted = [{"type": "task-sent", "args": "***"}]
    assert feed.take() == redacted
    assert recording.events == redacted
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
