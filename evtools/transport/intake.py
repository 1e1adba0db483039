"""The reader thread: drains the broker's socket and nothing else."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from evtools.clock import Clock
from evtools.errors import AccessRefused, BrokerUnavailable, EvtoolsError, UsageError
from evtools.transport.backoff import LONGEST, delays
from evtools.transport.buffer import Buffer, End, Notice
from evtools.transport.errors import diagnose, explain
from evtools.transport.settings import ConnectionSettings
from evtools.transport.streams.base import Stream
from evtools.wire import gap

#: How long one look at the socket may take; stop() is noticed after it.
TICK = 0.2
#: The same, once the end was asked for.
_LAST_LOOK = 0.01
#: How long to wait for more in a busy stream, in seconds.  A process that wakes
#: for hundreds of events at once spends a third less on each: its caches stay warm.
#: It adds this latency there; a quiet stream is read as events come.
GATHER = 0.1
#: Bytes within a second from which on a stream is busy: about 70 single events, or a
#: few batches of the workers that send many.
BUSY = 64 * 1024
#: Bytes in one read from which on more is waiting: a socket holds back little.
MUCH = 64 * 1024

Subscribe = Callable[[ConnectionSettings, int], Stream]


@dataclass(slots=True)
class Connectivity:
    """The state of the connection; only the reader thread writes it."""

    connected: bool = False
    #: In an attempt to connect: drivers do not let themselves be interrupted.
    connecting: bool = False
    reconnects: int = 0
    gaps: int = 0
    gap_seconds: float = 0.0
    messages: int = 0


class _Pace:
    """How many bytes came within about a second."""

    __slots__ = ("_recent", "_then")

    def __init__(self) -> None:
        self._recent = 0.0
        self._then = 0.0

    def is_busy(self, size: int, now: float) -> bool:
        """Add the bytes that came `now`; return whether the stream is busy."""
        faded = min(1.0, max(0.0, now - self._then))
        self._recent = self._recent * (1.0 - faded) + size
        self._then = now
        return self._recent >= BUSY


class Intake(threading.Thread):
    """Keep a subscription open and move its messages into the buffer.

    Reconnect without limit, with backoff; a refused login or wrong settings end the intake.
    Everything for the tool goes through the buffer, in order: chunks, gap records, notices,
    the end.
    """

    def __init__(
        self, settings: ConnectionSettings, buffer: Buffer, *, clock: Clock, subscribe: Subscribe
    ) -> None:
        super().__init__(name="evtools-intake", daemon=True)
        self._settings = settings
        self._buffer = buffer
        self._clock = clock
        self._subscribe = subscribe
        self._stopping = _Stop()
        self._waits = delays()
        #: The broker's last sign of life, once there was one (UTC epoch seconds):
        #: what was sent before it has arrived, what was sent later may not have.
        self._last_alive: float | None = None
        self._lost_because = ""
        self._has_renewed = False
        self.connectivity = Connectivity()

    def stop(self) -> None:
        """End the intake within a tick; safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Run until stopped or refused."""
        error: Exception | None = None
        try:
            self._run()
        except Exception as exc:  # noqa: BLE001  (travels to the tool's thread)
            error = exc
        self.connectivity.connected = False
        self._buffer.close_hole(self._clock.wall())
        self._buffer.add(End(error))

    def _run(self) -> None:
        while not self._stopping.is_set():
            stream = self._connect()
            if stream is None:
                return
            connected = self._clock.monotonic()
            try:
                self._drain(stream)
            except stream.errors as exc:
                self._lose(exc)
            finally:
                self.connectivity.connected = False
                stream.close()
            self._settle(self._clock.monotonic() - connected)

    def _settle(self, lived: float) -> None:
        """Begin the waits anew after a connection worth the name.

        One that was lost at once counts as a failed attempt: reconnecting without a wait
        would hammer the broker.
        """
        if lived > LONGEST:
            self._waits = delays()
        else:
            self._stopping.wait(next(self._waits))

    def _connect(self) -> Stream | None:
        """Return a new stream; None if stopped before there was one."""
        give_up = self._clock.monotonic() + self._settings.connect_timeout
        attempt = 0
        while not self._stopping.is_set():
            try:
                stream = self._attempt(attempt)
            except Exception as exc:  # noqa: BLE001  (travels to the tool's thread)
                self._failed(exc, give_up)
                attempt += 1
            else:
                self._connected()
                return stream
        return None

    def _attempt(self, attempt: int) -> Stream:
        self.connectivity.connecting = True
        try:
            self._settings.refresh()
            return self._subscribe(self._settings, attempt)
        finally:
            self.connectivity.connecting = False

    def _failed(self, exc: Exception, give_up: float) -> None:
        """Wait before the next attempt, or raise when there shall be none."""
        error = self._renewed(explain(exc, self._settings))
        if error is None:
            return
        if self._is_final(error):
            raise error from exc
        if not self._settings.reconnect and self._clock.monotonic() >= give_up:
            raise error from exc
        if self._stopping.is_set():
            return
        wait = next(self._waits)
        self._buffer.add(Notice("retry", f"{error.message}; trying again in {wait:.1f}s"))
        self._stopping.wait(wait)

    def _renewed(self, refusal: EvtoolsError) -> EvtoolsError | None:
        """Read the address again after a refusal, and return None if it has changed.

        Otherwise return what is wrong.  Once for each connection: tokens are others
        each time that one asks.
        """
        if self._has_renewed or not isinstance(refusal, AccessRefused):
            return refusal
        try:
            self._has_renewed = self._settings.renew()
        except BrokerUnavailable as failure:
            return failure
        except EvtoolsError as failure:
            return AccessRefused(refusal.message, f"{refusal.hint}\n{failure.message}".strip())
        if not self._has_renewed:
            return refusal
        where = self._settings.source_of_url
        self._buffer.add(Notice("retry", f"{refusal.message}; trying what {where} says by now"))
        return None

    def _is_final(self, error: EvtoolsError) -> bool:
        """Return whether another attempt is useless."""
        if isinstance(error, UsageError) and self._last_alive is not None:
            # It did work: certificates and keys are just being replaced.
            return False
        return isinstance(error, AccessRefused) or not isinstance(error, BrokerUnavailable)

    def _connected(self) -> None:
        now = self._clock.wall()
        state = self.connectivity
        if self._last_alive is None:
            self._buffer.add(Notice("listening", self._settings.masked()))
        else:
            record = gap("reconnect", self._last_alive, now, error=self._lost_because)
            state.reconnects += 1
            state.gaps += 1
            state.gap_seconds += record.duration
            self._buffer.add(record)
            self._buffer.add(
                Notice(
                    "restored",
                    f"{self._settings.masked()} after {record.duration:.1f}s without events",
                )
            )
        self._last_alive = now
        self._has_renewed = False
        state.connected = True

    def _drain(self, stream: Stream) -> None:
        buffer, wall, stopping = self._buffer, self._clock.wall, self._stopping
        last_seen, pace = stream.last_seen, _Pace()
        stopped = False
        while not stopped:
            # What has arrived by then is taken in, whatever we waited for before.
            stopped = stopping.is_set()
            messages = stream.drain(_LAST_LOOK if stopped else TICK)
            now = wall()
            if stream.last_seen != last_seen:
                last_seen, self._last_alive = stream.last_seen, now
            if messages:
                self.connectivity.messages += len(messages)
                size = buffer.put(now, messages)
                if pace.is_busy(size, now) and size < MUCH and not stopped:
                    time.sleep(GATHER)
            else:
                buffer.close_hole(now)

    def _lose(self, exc: Exception) -> None:
        diagnosis = diagnose(exc, self._settings)
        self._lost_because = f"{self._settings.masked()}: {diagnosis.what}"
        # A stream may know that the broker has been silent for longer.
        silent = self._clock.wall() - getattr(exc, "silent", 0.0)
        self._last_alive = min(self._last_alive or silent, silent)
        self._buffer.close_hole(self._clock.wall())
        self._buffer.add(Notice("lost", self._lost_because))
        if not self._settings.reconnect:
            raise explain(exc, self._settings) from exc


class _Stop:
    """A threading.Event that a signal handler may set at any moment.

    Event.set takes a lock, and a handler that interrupts it and sets the same
    event would wait for itself; SimpleQueue.put is reentrant.
    """

    def __init__(self) -> None:
        self._set = False
        self._wake: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        self._set = True
        self._wake.put(None)

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float) -> None:
        if self._set:
            return
        with suppress(Empty):
            self._wake.get(timeout=timeout)
