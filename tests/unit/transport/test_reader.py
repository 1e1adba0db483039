import itertools
import signal
from itertools import count

import pytest
from redis.exceptions import AuthenticationError

from evtools.clock import SystemClock
from evtools.errors import AccessRefused, BrokerUnavailable, UsageError
from evtools.transport.reader import BUSY, GATHER, Buffer, Chunk, End, Reader
from evtools.transport.settings import ConnectionSettings, Renewal
from evtools.transport.source import Notice
from evtools.transport.streams import BrokerSilent
from evtools.wire import Gap, Message

SETTINGS = ConnectionSettings(urls="redis://:secret@broker/0")


class Clock:
    """The wall clock and the monotonic one, moved by the script of a stream."""

    now = 1000.0

    def wall(self):
        return self.now

    def monotonic(self):
        return self.now - 900


@pytest.fixture
def clock():
    return Clock()


class FakeStream:
    """A stream that follows a script.

    A list is what arrives, a number how many seconds nothing comes, an exception what is
    raised; after the last step the reader is stopped.
    """

    errors = (ConnectionError, KeyError)
    has_more = has_repeats = False
    delivered = 0

    def __init__(self, clock, *script):
        self.clock = clock
        self.script = list(script)
        self.last_seen = clock.monotonic()
        self.timeouts = []

    def drain(self, timeout):
        self.timeouts.append(timeout)
        if not self.script:
            self.at_end()
            return []
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, list):
            self.last_seen = self.clock.monotonic()
            return step
        self.clock.now += step
        return []

    def close(self):
        pass


class Play:
    """A reader that runs in this thread until the script has ended.

    `answers` are streams, errors, or functions that return one, for each attempt to subscribe.
    """

    def __init__(self, clock, *answers, buffer_bytes=100_000, **settings):
        self.answers = list(answers)
        self.attempts, self.waits, self.items = [], [], []
        #: What the statistics said when a notice came, by kind.
        self.told = {}
        buffer = Buffer(buffer_bytes, lambda _: 1, lambda: self.look(buffer))
        settings = ConnectionSettings(urls=SETTINGS.urls, **settings)
        self.reader = Reader(settings, buffer, clock, self.subscribe)
        self.reader._wait = self.waits.append  # the seam to real time
        self.reader.run()
        while (item := buffer.take(0)) is not None:
            self.items.append(item)

    def subscribe(self, settings, attempt):
        assert settings.urls
        self.attempts.append(attempt)
        answer = self.answers.pop(0)
        if callable(answer):
            answer = answer(self)
        if isinstance(answer, Exception):
            raise answer
        answer.at_end = getattr(answer, "at_end", self.reader.stop)
        return answer

    def look(self, buffer):
        statistics = self.reader.statistics
        self.told[_kind(buffer._items[-1])] = (statistics.connected, statistics.gaps)

    @property
    def kinds(self):
        return [_kind(item) for item in self.items]

    @property
    def gaps(self):
        return [item.original for item in self.items if isinstance(item, Gap)]

    @property
    def error(self):
        assert isinstance(self.items[-1], End)
        return self.items[-1].error


def _kind(item):
    if isinstance(item, Notice):
        return item.kind
    if isinstance(item, Gap):
        return item.reason
    return type(item).__name__


def test_who_has_heard_nothing_for_long_has_a_gap_since_then(clock):
    lost = ConnectionError("no exchange")
    lost.silent = 4.0
    play = Play(clock, FakeStream(clock, 5, [Message(b"")], lost), FakeStream(clock))
    assert (play.gaps[0]["from"], play.gaps[0]["to"]) == (1001.0, 1005.0)


def test_a_password_is_in_no_notice(clock):
    lost = FakeStream(clock, ConnectionError("redis://:secret@broker/0 is gone"))
    play = Play(clock, OSError("secret"), lost, FakeStream(clock))
    texts = [item.text for item in play.items if isinstance(item, Notice)]
    assert len(texts) == 4
    assert all("secret" not in text for text in texts)
    assert "redis://:**@broker/0" in texts[0]


def test_an_address_is_read_again_once_before_giving_up(clock):
    told = iter(["redis://:b@broker/0", "redis://:c@broker/0"])
    refused = [AccessRefused("no"), AccessRefused("never")]
    renewal = Renewal("redis://:a@broker/0", lambda: next(told), due=False)
    play = Play(clock, *refused, renewal=renewal)
    assert play.kinds == ["retry", "End"]
    assert play.error is refused[1]
    assert next(told) == "redis://:c@broker/0"


def test_after_each_connection_the_address_may_be_another(clock):
    numbers = count()
    renewal = Renewal("x://0", lambda: f"redis://:{next(numbers)}@broker/0", due=True)
    lost = FakeStream(clock, ConnectionError("gone"))
    refused = AccessRefused("no")
    answers = (refused, lost, refused, FakeStream(clock))
    play = Play(clock, *answers, renewal=renewal)
    assert play.error is None
    assert play.kinds == ["retry", "listening", "lost", "retry", "reconnect", "restored", "End"]


def test_where_the_address_cannot_be_had_now_it_is_asked_for_again(clock):
    def fail():
        if next(numbers) < 2:
            raise BrokerUnavailable("nobody knows it")
        return SETTINGS.urls

    numbers = count()
    renewal = Renewal(SETTINGS.urls, fail, due=True)
    play = Play(clock, FakeStream(clock), renewal=renewal)
    assert play.kinds == ["retry", "retry", "listening", "End"]


def test_a_refusal_says_that_the_address_cannot_be_read_again(clock):
    def fail():
        raise UsageError("/run/url: Permission denied")

    renewal = Renewal(SETTINGS.urls, fail, due=False)
    play = Play(clock, AccessRefused("no", "hint"), renewal=renewal)
    assert play.error.message == "no"
    assert play.error.hint == "hint\n/run/url: Permission denied"


def test_files_that_are_just_replaced_at_a_reconnect_are_waited_for(clock):
    lost = FakeStream(clock, ConnectionError("gone"))
    bad = UsageError("--tls-cert x: not a usable PEM file")
    play = Play(clock, lost, bad, FakeStream(clock))
    assert play.error is None
    assert "not a usable PEM file; trying again" in play.items[2].text
    assert Play(clock, bad).error is bad


def test_a_busy_stream_is_gathered_unless_more_is_waiting(clock, monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    few, much = [Message(b"x" * (BUSY // 2))], [Message(b"x" * 5 * BUSY)]
    Play(clock, FakeStream(clock, few, few, much, few))
    assert slept == [GATHER] * 3
    full = FakeStream(clock, few, much, much)
    full.has_more = True
    Play(clock, full)
    assert slept == [GATHER] * 3


def test_what_comes_while_it_is_stopped_is_taken_in(clock):
    late = [[Message(b"late")], [Message(b"too late")]]
    stream = FakeStream(clock, [Message(b"first")])

    def start(play):
        stream.at_end = lambda: play.reader.stop() or stream.script.extend(late)
        return stream

    chunks = [item for item in Play(clock, start).items if isinstance(item, Chunk)]
    assert [message.body for chunk in chunks for message in chunk.messages] == [b"first", b"late"]
    assert stream.timeouts[-1] < stream.timeouts[0]


def test_much_that_had_come_before_the_end_is_taken_in_to_the_last(clock):
    much, few = [Message(b"x" * BUSY)], [Message(b"few")]
    stream = FakeStream(clock, few)

    def start(play):
        stream.at_end = lambda: play.reader.stop() or stream.script.extend([much, much, few, few])
        return stream

    items = Play(clock, start, buffer_bytes=10 * BUSY).items
    chunks = [item for item in items if isinstance(item, Chunk)]
    assert [chunk.messages for chunk in chunks] == [few, much, much, few]


def test_a_stream_without_end_is_left_all_the_same(clock, monkeypatch):
    monkeypatch.setattr("evtools.transport.reader._LAST_LOOKS", 0.05)
    stream = FakeStream(clock)

    def start(play):
        much = itertools.repeat([Message(b"x" * BUSY)])
        stream.at_end = lambda: play.reader.stop() or setattr(stream, "drain", lambda _: next(much))
        return stream

    assert Play(clock, start, buffer_bytes=10 * BUSY).error is None


def test_a_quiet_stream_is_read_as_events_come(clock, monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    few = [Message(b"x" * (BUSY // 3))]
    Play(clock, FakeStream(clock, few, 0.5, few, 0.5, few, 2, few))
    assert slept == []


def test_a_lost_connection_is_a_gap_between_two_signs_of_life(clock):
    play = Play(
        clock,
        FakeStream(clock, 5, [Message(b"")], 5, 5, BrokerSilent("silent for 10s")),
        FakeStream(clock, 1, [Message(b"")]),
    )
    assert play.kinds == ["listening", "Chunk", "lost", "reconnect", "restored", "Chunk", "End"]
    (gap,) = play.gaps
    assert (gap["from"], gap["to"], gap["duration"]) == (1005.0, 1015.0, 10.0)
    assert gap["error"] == "redis://:**@broker/0: TCP: silent for 10s"
    state = play.reader.statistics
    assert (state.reconnects, state.gaps, state.gap_seconds) == (1, 1, 10.0)


def test_who_has_a_notice_finds_what_it_says_in_the_statistics(clock):
    play = Play(clock, FakeStream(clock, ConnectionError("gone")), FakeStream(clock))
    assert play.told == {
        "listening": (True, 0),
        "lost": (False, 0),
        "reconnect": (True, 1),
        "restored": (True, 1),
        "End": (False, 1),
    }


def test_a_second_loss_is_a_second_gap(clock):
    play = Play(
        clock,
        FakeStream(clock, 4, [], ConnectionError()),
        FakeStream(clock, 4, [], 4, KeyError("channel")),
        FakeStream(clock),
    )
    spans = [(gap["from"], gap["to"]) for gap in play.gaps]
    assert spans == [(1004.0, 1004.0), (1008.0, 1012.0)]
    assert play.reader.statistics.gap_seconds == 4.0


def test_a_hole_in_the_buffer_stands_before_the_gap_of_the_connection(clock):
    lost = FakeStream(clock, 3, [Message(b"x" * 900)], ConnectionError())
    play = Play(clock, lost, AccessRefused("enough"), buffer_bytes=10)
    assert play.kinds == ["listening", "buffer", "lost", "End"]


def test_a_hole_is_closed_when_nothing_comes_any_more(clock):
    play = Play(clock, FakeStream(clock, [Message(b"x" * 900)], 0.2, []), buffer_bytes=10)
    assert play.kinds == ["listening", "buffer", "End"]
    assert [(gap["from"], gap["to"]) for gap in play.gaps] == [(1000.0, 1000.2)]


def are_between_half_and_all_of(bounds, waits):
    return all(bound / 2 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))


def test_attempts_are_repeated_with_growing_waits(clock):
    down = [ConnectionRefusedError(111, "Connection refused")] * 6
    play = Play(clock, *down, FakeStream(clock, 3))
    assert play.kinds == [*["retry"] * 6, "listening", "End"]
    assert play.attempts == [0, 1, 2, 3, 4, 5, 6]
    assert are_between_half_and_all_of([0.25, 0.5, 1, 2, 2.5, 2.5], play.waits[:6])
    assert "TCP: connection refused; trying again in 0." in play.items[0].text


def test_waits_begin_anew_after_a_connection_that_lived(clock):
    down = [ConnectionRefusedError()] * 5
    play = Play(clock, *down, FakeStream(clock, 60, ConnectionError()), *down, FakeStream(clock))
    again = ["retry"] * 5
    assert play.kinds == [*again, "listening", "lost", *again, "reconnect", "restored", "End"]
    assert play.waits[5] <= 0.25


def test_a_connection_that_is_lost_at_once_is_no_success(clock):
    brief = [FakeStream(clock, 1, ConnectionError()) for _ in range(4)]
    play = Play(clock, *brief, FakeStream(clock))
    assert are_between_half_and_all_of([0.25, 0.5, 1, 2], play.waits[:4])


@pytest.mark.parametrize("error", [AccessRefused("no"), UsageError("wrong")])
def test_what_cannot_pass_is_not_tried_again(clock, error):
    play = Play(clock, error)
    assert play.error is error
    assert play.attempts == [0]


def test_what_the_driver_says_is_explained(clock):
    play = Play(clock, BrokerUnavailable("x"), AuthenticationError("WRONGPASS"))
    assert play.kinds == ["retry", "End"]
    assert isinstance(play.error, AccessRefused)
    assert isinstance(play.error.__cause__, AuthenticationError)


def test_without_reconnecting_the_first_loss_ends_it(clock):
    play = Play(clock, FakeStream(clock, 3, ConnectionResetError()), reconnect=False)
    assert play.kinds == ["listening", "lost", "End"]
    assert isinstance(play.error, BrokerUnavailable)


def test_without_reconnecting_the_first_connection_has_its_time(clock):
    def refuse(_):
        clock.now += 1
        return ConnectionRefusedError()

    play = Play(clock, refuse, refuse, refuse, refuse, reconnect=False, connect_timeout=3)
    assert play.kinds == ["retry", "retry", "End"]
    assert isinstance(play.error, BrokerUnavailable)


def test_stopping_while_connecting_ends_with_that_attempt(clock):
    def refuse(play):
        play.reader.stop()
        return ConnectionRefusedError()

    assert Play(clock, refuse).kinds == ["End"]


class HeldUpReader(Reader):
    """A reader that is stopped when it is about to connect, and nobody could see that yet."""

    @property
    def connecting(self):
        return self.__dict__["connecting"]

    @connecting.setter
    def connecting(self, value):
        if value:
            self.stop()
        self.__dict__["connecting"] = value


def test_a_stop_just_before_an_attempt_is_not_kept_waiting_by_it(clock):
    attempts = []
    reader = HeldUpReader(SETTINGS, Buffer(10, len), clock, lambda *each: attempts.append(each))
    reader.run()
    assert attempts == []
    assert not reader.connecting


def test_stopping_during_a_wait_is_prompt():
    def refuse(settings, attempt):
        raise ConnectionRefusedError

    buffer = Buffer(10, len)
    reader = Reader(SETTINGS, buffer, SystemClock(), refuse)
    # A wait that nobody sits out.
    reader._waits = itertools.repeat(3600.0)
    reader.start()
    assert "trying again in 3600.0s" in buffer.take(10).text
    reader.stop()
    reader.join(10)
    assert not reader.is_alive()
    assert _kind(buffer.take(0)) == "End"


def test_a_stop_may_come_from_a_handler_that_interrupts_a_stop(clock):
    reader = Reader(SETTINGS, Buffer(10, len), clock, FakeStream)
    before = signal.signal(signal.SIGALRM, lambda *_: reader.stop())
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        for _ in range(20_000):
            reader.stop()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert reader._stopping
    reader._wait(3600)


# --- what the broker keeps ------------------------------------------------------------


class KeepingStream(FakeStream):
    """A stream of numbered messages; it keeps which were acknowledged."""

    def __init__(self, clock, *script):
        super().__init__(clock, *script)
        self.acknowledged = []

    def drain(self, timeout):
        messages = super().drain(timeout)
        self.delivered += len(messages)
        return messages

    def acknowledge(self, number):
        self.acknowledged.append(number)


KEEPS = {"event_queue": "shared", "acknowledges": True}


def test_what_was_taken_is_acknowledged_once_and_at_the_end_waited_for(clock):
    stream = KeepingStream(clock, [Message(b"")] * 3, 1)

    def at_end():
        play.reader.acknowledge((1, 3))
        play.reader.stop()

    stream.at_end = at_end
    play = Play.__new__(Play)
    play.__init__(clock, stream, **KEEPS)
    [chunk] = [item for item in play.items if isinstance(item, Chunk)]
    assert chunk.last == (1, 3)
    assert stream.acknowledged == [3]


def test_what_came_through_a_lost_connection_is_not_acknowledged_through_the_next(clock):
    lost = KeepingStream(clock, [Message(b"")] * 3, ConnectionError("gone"))
    stream = KeepingStream(clock, [Message(b"")], 1)

    def at_end():
        play.reader.acknowledge((1, 3))
        clock.now += 1
        play.reader._send_acknowledgement(stream)
        play.reader.acknowledge((2, 1))
        play.reader.stop()

    stream.at_end = at_end
    play = Play.__new__(Play)
    play.__init__(clock, lost, stream, **KEEPS)
    assert (lost.acknowledged, stream.acknowledged) == ([], [1])
