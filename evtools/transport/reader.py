"""The reader thread, which drains the broker's socket, and the bounded buffer behind it."""

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from queue import Empty, SimpleQueue
from typing import TypeAlias

from evtools.clock import Clock
from evtools.errors import AccessRefused, BrokerUnavailable, EvtoolsError, UsageError
from evtools.transport.errors import diagnose, explain
from evtools.transport.settings import ConnectionSettings
from evtools.transport.source import Notice, Statistics
from evtools.transport.streams import Stream
from evtools.wire import Gap, Message, gap

#: How long one look at the socket may take; stop() is noticed after it.
TICK = 0.2
#: The same, once the end was asked for; and how long all of these may take.
_LAST_LOOK, _LAST_LOOKS = 0.01, 1.0
#: The same, while messages are to be acknowledged; and how long they may be, at the end.
_OWING_TICK = 0.02
_LAST_ACKNOWLEDGEMENTS = 1.0
#: How long to wait for more in a busy stream, in seconds; a quiet one is read as events come.  A
#: process that wakes for hundreds at once spends a third less on each: its caches stay warm.
GATHER = 0.1
#: Bytes within a second from which on a stream is busy: about 70 single events, or a few batches
#: of the workers that send many.
BUSY = 64 * 1024
#: The first and the longest wait before the broker is tried again, in seconds: events must flow
#: again within 5 s of its return.
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 2.5
#: Memory that a message takes besides its body, roughly.
_MESSAGE_BYTES = 200

Subscribe = Callable[[ConnectionSettings, int], Stream]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Messages that arrived together, at `received` (UTC epoch seconds).

    `last` is the connection that the last came through, by number, and what that calls it; some
    may have come before if it `has_repeats`.
    """

    received: float
    messages: Sequence[Message]
    bytes: int
    last: "Delivery" = (0, 0)
    has_repeats: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """Nothing more will come; `error` is the reason if it is one."""

    error: Exception | None = None


#: The number of a connection, and of a message that came through it.
Delivery: TypeAlias = tuple[int, int]
#: What goes through the buffer; None only wakes who takes it.
Item: TypeAlias = Chunk | Gap | Notice | End | None


class Buffer:
    """Hand chunks from the reader thread, the one that puts, to the tool's; never wait to put.

    Bodies stay undecoded while they wait, at a third to a half of the memory, so `limit` (bytes) is
    honest.  What does not fit is dropped, newest first, and `count_events` returns how many events
    that were; a gap record with the count takes the place of the hole.

    `add`, for what always has room, may be called from anywhere, signal handlers included.  So it
    is no `queue.Queue`; and no SimpleQueue, whose `get` waits for ever if a signal handler, or a
    busy machine, takes it past its timeout.  `on_arrival` is called by `add`, where it is called.
    """

    def __init__(
        self,
        limit: int,
        count_events: Callable[[Message], int],
        on_arrival: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_arrival = on_arrival
        self._limit = limit
        self._count_events = count_events
        self._items: deque[Item] = deque()
        #: Held while nothing was added since `take` has waited last.
        self._nothing_new = threading.Lock()
        self._nothing_new.acquire()
        self._put_bytes = 0
        self._taken_bytes = 0
        #: When events were dropped first and last since something fitted, and how many.
        self._hole: tuple[float, float, int] | None = None
        #: Events dropped because the buffer was full.
        self.dropped = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait to be taken."""
        return self._put_bytes - self._taken_bytes

    def __bool__(self) -> bool:
        """Return whether anything waits to be taken."""
        return bool(self._items)

    def put(
        self,
        received: float,
        messages: Sequence[Message],
        last: Delivery = (0, 0),
        *,
        has_repeats: bool = False,
    ) -> int:
        """Add what arrived at `received`, or count it as dropped; return its bytes."""
        size = sum(len(message.body) for message in messages)
        size += _MESSAGE_BYTES * len(messages)
        if self.waiting_bytes + size > self._limit:
            dropped = sum(map(self._count_events, messages))
            self.dropped += dropped
            start, _, before = self._hole or (received, received, 0)
            self._hole = (start, received, before + dropped)
            return size
        self.close_hole(received)
        self._put_bytes += size
        self.add(Chunk(received, messages, size, last, has_repeats))
        return size

    def add(self, item: Item) -> None:
        self._items.append(item)
        with suppress(RuntimeError):  # as it was released before
            self._nothing_new.release()
        self._on_arrival()

    def close_hole(self, now: float) -> None:
        """Put the record of what was dropped, when nothing more arrives or something fits again."""
        if self._hole is None:
            return
        (start, end, dropped), self._hole = self._hole, None
        if dropped:
            self.add(gap("buffer", start, max(end, now), dropped=dropped))

    def take(self, timeout: float | None) -> Item:
        """Return the next item; None on wake-up and after `timeout` seconds."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        while not self._items:
            left = -1.0 if timeout is None else max(0.0, end - time.monotonic())
            if not self._nothing_new.acquire(timeout=left):
                return None
        item = self._items.popleft()
        if type(item) is Chunk:
            self._taken_bytes += item.bytes
        return item


def waits() -> Iterator[float]:
    """Yield ever longer waits in seconds, drawn so that a fleet does not come back all at once."""
    draw = random.SystemRandom().uniform
    bound = _FIRST_WAIT
    while True:
        yield draw(bound / 2, bound)
        bound = min(_LONGEST_WAIT, bound * 2)


class Reader(threading.Thread):
    """Keep a subscription open and move its messages into the buffer.

    Reconnect without limit, with backoff; a refused login or wrong settings end the thread.  All
    for the tool goes through the buffer, in order: chunks, gap records, notices, the end.
    """

    def __init__(
        self, settings: ConnectionSettings, buffer: Buffer, clock: Clock, subscribe: Subscribe
    ) -> None:
        super().__init__(name="evtools-reader", daemon=True)
        self._settings = settings
        self._buffer = buffer
        self._clock = clock
        self._subscribe = subscribe
        self._stopping = False
        # Not a threading.Event, whose lock a signal handler that interrupts `stop` would wait for.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._waits = waits()
        #: The broker's last sign of life, once there was one (UTC epoch seconds): what was sent
        #: before it has arrived, what was sent later may not have.
        self._last_alive: float | None = None
        self._lost_because = ""
        #: Whether the address was read again since the last connection; tokens differ each time.
        self._has_renewed = False
        #: Of the connection; only this thread writes them.
        self.statistics = Statistics(away_since=0.0)
        #: The connections so far, what the last has acknowledged, and what is to be.
        self._connections = self._acknowledged = 0
        self._to_acknowledge: Delivery = (0, 0)
        #: In an attempt to connect: drivers do not let themselves be interrupted.
        self.connecting = False

    def stop(self) -> None:
        """End the thread within a tick; safe in a signal handler."""
        self._stopping = True
        self._wake.put(None)

    def acknowledge(self, last: Delivery) -> None:
        """Have the broker forget all messages up to this one, soon, if it keeps them."""
        self._to_acknowledge = last

    def run(self) -> None:
        """Run until stopped or refused."""
        error: Exception | None = None
        try:
            while (stream := self._connect()) is not None:
                self._serve(stream)
        except Exception as exc:  # noqa: BLE001  (travels to the tool's thread)
            error = exc
        self._buffer.close_hole(self._clock.wall())
        self._buffer.add(End(error))

    def _connect(self) -> Stream | None:
        # None if stopped before there was one.
        give_up = self._clock.monotonic() + self._settings.connect_timeout
        attempts = count()
        while True:
            # In this order: `stop` is followed by a look at whether we are connecting.
            self.connecting = True
            if self._stopping:
                self.connecting = False
                return None
            try:
                self._settings.refresh()
                stream = self._subscribe(self._settings, next(attempts))
            except Exception as exc:  # noqa: BLE001  (travels to the tool's thread)
                self.connecting = False
                self._failed(exc, give_up)
            else:
                self.connecting = False
                self._connected()
                return stream

    def _failed(self, exc: Exception, give_up: float) -> None:
        # Wait before the next attempt, or raise where there shall be none.
        error = explain(exc, self._settings)
        self.statistics.problem = error.message
        if isinstance(error, AccessRefused) and not self._has_renewed:
            try:
                self._has_renewed = self._settings.renew()
            except BrokerUnavailable as failure:
                error = failure
            except EvtoolsError as failure:
                error = AccessRefused(error.message, f"{error.hint}\n{failure.message}".strip())
            if self._has_renewed:
                where = f"trying what {self._settings.source_of_url} says by now"
                self._buffer.add(Notice("retry", f"{error.message}; {where}"))
                return
        # Settings that did work are right: certificates and keys are just being replaced.
        was_right = isinstance(error, UsageError) and self._last_alive is not None
        may_pass = isinstance(error, BrokerUnavailable) and not isinstance(error, AccessRefused)
        gives_up = not self._settings.reconnect and self._clock.monotonic() >= give_up
        if gives_up or not (may_pass or was_right):
            raise error from exc
        if not self._stopping:
            wait = next(self._waits)
            self._buffer.add(Notice("retry", f"{error.message}; trying again in {wait:.1f}s"))
            self._wait(wait)

    def _wait(self, timeout: float) -> None:
        if not self._stopping:
            with suppress(Empty):
                self._wake.get(timeout=timeout)

    def _connected(self) -> None:
        # Before each notice, the statistics have what it says: who reads it may look at once.
        now, broker, state = self._clock.wall(), self._settings.masked(), self.statistics
        before, self._last_alive = self._last_alive, now
        self._has_renewed = False
        state.away_since, state.problem = None, ""
        if before is None:
            state.connected = True
            self._buffer.add(Notice("listening", broker))
            return
        record = gap("reconnect", before, now, error=self._lost_because)
        state.gap_seconds += record.duration
        state.gaps += 1
        state.reconnects += 1
        state.connected = True
        self._buffer.add(record)
        text = f"{broker} after {record.duration:.1f}s without events"
        self._buffer.add(Notice("restored", text))

    def _serve(self, stream: Stream) -> None:
        connected = self._clock.monotonic()
        self._connections += 1
        self._acknowledged = 0
        try:
            self._drain(stream)
            if self._settings.acknowledges:
                # What has been taken from the buffer by then need not come again.
                end = time.monotonic() + _LAST_ACKNOWLEDGEMENTS
                while self._acknowledged < stream.delivered and time.monotonic() < end:
                    time.sleep(_LAST_LOOK)
                    self._send_acknowledgement(stream)
        except stream.errors as exc:
            broker, why = self._settings.masked(), diagnose(exc, self._settings).what
            self._lost_because = f"{broker}: {why}"
            now = self._clock.wall()
            # A stream may know that the broker has been silent for longer.
            silent = now - getattr(exc, "silent", 0.0)
            self._last_alive = min(self._last_alive or silent, silent)
            self.statistics.away_since = self._last_alive
            self.statistics.problem = self._lost_because
            self.statistics.connected = False
            self._buffer.close_hole(now)
            self._buffer.add(Notice("lost", self._lost_because))
            if not self._settings.reconnect:
                raise explain(exc, self._settings) from exc
        finally:
            self.statistics.connected = False
            stream.close()
        # One that was lost at once counts as a failed attempt: reconnecting without a wait
        # would hammer the broker.
        if self._clock.monotonic() - connected > _LONGEST_WAIT:
            self._waits = waits()
        else:
            self._wait(next(self._waits))

    def _send_acknowledgement(self, stream: Stream) -> None:
        connection, number = self._to_acknowledge
        if connection == self._connections and number > self._acknowledged:
            self._acknowledged = number
            stream.acknowledge(number)

    def _drain(self, stream: Stream) -> None:
        buffer, wall = self._buffer, self._clock.wall
        last_seen = stream.last_seen
        # How many bytes came within about a second before `then`.
        recent = then = 0.0
        size, stopped, until = 0, False, 0.0
        # What has arrived by the end is taken in, whatever we waited for before.  After much the
        # next look finds much, too, if the broker or the kernel held it back for lack of room.
        while not stopped or (size >= BUSY and time.monotonic() < until):
            if self._stopping and not stopped:
                stopped, until = True, time.monotonic() + _LAST_LOOKS
            self._send_acknowledgement(stream)
            is_owing = self._acknowledged < stream.delivered
            messages = stream.drain(_LAST_LOOK if stopped else _OWING_TICK if is_owing else TICK)
            now = wall()
            if stream.last_seen != last_seen:
                last_seen, self._last_alive = stream.last_seen, now
            if not messages:
                size = 0
                buffer.close_hole(now)
                continue
            self.statistics.messages += len(messages)
            last = (self._connections, stream.delivered)
            size = buffer.put(now, messages, last, has_repeats=stream.has_repeats)
            recent = recent * (1.0 - min(1.0, max(0.0, now - then))) + size
            then = now
            if recent >= BUSY and not stream.has_more and not stopped:
                time.sleep(GATHER)
