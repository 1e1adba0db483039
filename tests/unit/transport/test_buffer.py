import signal
import sys
import threading
import time

import pytest

from evtools.transport.reader import Buffer, Chunk, End
from evtools.wire import Message

SIZE = 1000 - 200  # with what a message costs besides its body: 1000


def message(number=0, size=SIZE):
    return Message(str(number).encode().ljust(size))


@pytest.fixture
def buffer():
    """Room for three messages of one event each."""
    return Buffer(3000, lambda _: 1)


def everything(buffer):
    items = []
    while (item := buffer.take(0)) is not None:
        items.append(item)
    return items


def test_bytes_are_accounted_for_until_they_are_taken(buffer):
    buffer.put(1, [message(), message(size=300)])
    buffer.put(1, [Message(b"")])
    assert buffer.waiting_bytes == 1700
    buffer.take(0)
    assert buffer.waiting_bytes == 200
    buffer.take(0)
    assert buffer.waiting_bytes == 0


def test_a_gap_record_stands_in_the_place_of_the_hole(buffer):
    for number in range(5):
        buffer.put(10.0 + number, [message(number)])
    assert buffer.take(0).messages == [message(0)]
    buffer.put(20.0, [message(9)])
    first, second, hole, last = everything(buffer)
    assert (first.messages, second.messages) == ([message(1)], [message(2)])
    span = {"from": 13.0, "to": 20.0, "duration": 7.0, "local_received": 20.0}
    assert hole.as_dict() == {"type": "evdump-gap", "reason": "buffer", "dropped": 2, **span}
    assert last.messages == [message(9)]


def test_each_hole_is_one_record(buffer):
    for _ in range(2):
        buffer.put(1, [message()] * 3)
        buffer.put(2, [message()])
        buffer.close_hole(3)
        buffer.close_hole(4)
        assert [type(item).__name__ for item in everything(buffer)] == ["Chunk", "Gap"]
    buffer.put(4, [message()] * 4)
    buffer.put(5, [message()] * 4)
    # The clock may go backwards; no hole is negative.
    buffer.close_hole(3)
    (hole,) = everything(buffer)
    assert (hole.dropped, hole.original["from"], hole.original["to"]) == (8, 4, 5)
    assert buffer.dropped == 10


def test_dropping_what_had_no_events_leaves_no_record():
    buffer = Buffer(0, lambda _: 0)
    buffer.put(1, [message()])
    buffer.close_hole(2)
    assert everything(buffer) == []


def test_a_signal_handler_may_wake_whatever_it_interrupts(buffer):
    def alarm(*_):
        # A lock that is not reentrant would now wait for itself, sooner or later.
        for _ in range(3):
            buffer.add(None)

    before = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        woken = 0
        while woken < 300:
            buffer.add(None)
            while buffer.take(0) is None and woken < 300:
                woken += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert buffer.waiting_bytes == 0


def test_one_thread_puts_while_another_takes():
    buffer = Buffer(20_000, lambda _: 1)

    def fill():
        for number in range(20_000):
            buffer.put(number, [message(number)])
        buffer.close_hole(20_000)
        buffer.add(End())

    reader = threading.Thread(target=fill)
    reader.start()
    numbers, dropped = [], 0
    while not isinstance(item := buffer.take(None), End):
        if type(item) is Chunk:
            numbers += [int(message.body) for message in item.messages]
        else:
            dropped += item.dropped
    reader.join()
    assert len(numbers) + dropped == 20_000
    assert dropped == buffer.dropped
    assert numbers == sorted(numbers)
    assert buffer.waiting_bytes == 0


@pytest.mark.timeout(20)
def test_a_signal_handler_that_takes_longer_than_the_wait_does_not_prolong_it(buffer):
    """As that of SIGTSTP does, in which the process is stopped."""
    main, handled = threading.main_thread().ident, []

    def outlast(*_):
        handled.append(True)
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            pass

    def interrupt():
        while sys._current_frames()[main].f_code.co_name != "take":
            pass
        signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, outlast)
    try:
        while not handled:
            thread = threading.Thread(target=interrupt)
            thread.start()
            while thread.is_alive():
                assert buffer.take(0.2) is None
            thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
