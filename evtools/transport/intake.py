"""The reader thread: drains the broker's socket and nothing else."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from evtools.clock import Clock
from evtools.errors import AccessRefused, BrokerUnavailable, EvtoolsError, UsageError
from evtools.transport.backoff import delays
from evtools.transport.buffer import Buffer, End, Notice
from evtools.transport.connection import explain
from evtools.transport.settings import ConnectionSettings
from evtools.transport.stream import Stream
from evtools.wire import gap

#: How long one look at the socket may take; stop() is noticed after it.
TICK = 0.2
#: When little has come, wait this long for more: at high rates one wake-up
#: then serves dozens of messages.  It is the latency we add, in seconds.
GATHER = 0.004
#: Messages in one read from which on gathering has nothing to win.
BUSY = 16

Subscribe = Callable[[ConnectionSettings, int], Stream]


@dataclass(slots=True)
class Connectivity:
    """What the reader thread tells about the connection; it alone writes it."""

    connected: bool = False
    reconnects: int = 0
    gaps: int = 0
    gap_seconds: float = 0.0
    messages: int = 0


class Intake(threading.Thread):
    """Keep a subscription open and move its messages into the buffer.

    Reconnect for ever, with backoff; a refused login or wrong settings end
    the intake instead.  All that the tool must know travels through the
    buffer, in order: chunks, gap records, notices, the end.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        buffer: Buffer,
        *,
        clock: Clock,
        subscribe: Subscribe,
    ) -> None:
        super().__init__(name="evtools-intake", daemon=True)
        self._settings = settings
        self._buffer = buffer
        self._clock = clock
        self._subscribe = subscribe
        self._stopping = threading.Event()
        #: When the broker last was there, once it was (UTC epoch seconds).
        self._last_alive: float | None = None
        self._lost_because = ""
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
            try:
                self._drain(stream)
            except stream.errors as exc:
                self._lose(exc)
            finally:
                self.connectivity.connected = False
                stream.close()

    def _connect(self) -> Stream | None:
        """Return a new stream; None if stopped before there was one."""
        give_up = self._clock.monotonic() + self._settings.connect_timeout
        waits = delays()
        attempt = 0
        while not self._stopping.is_set():
            try:
                stream = self._subscribe(self._settings, attempt)
            except Exception as exc:  # noqa: BLE001  (explained, or raised again)
                self._failed(exc, give_up, waits)
                attempt += 1
            else:
                self._connected()
                return stream
        return None

    def _failed(self, exc: Exception, give_up: float, waits: Iterator[float]) -> None:
        """Wait before the next attempt, or raise when there shall be none."""
        error = exc if isinstance(exc, EvtoolsError) else explain(exc, self._settings)
        if isinstance(error, (AccessRefused, UsageError)) or not isinstance(
            error, BrokerUnavailable
        ):
            raise error from exc
        if self._gives_up(give_up):
            raise error from exc
        wait = next(waits)
        self._buffer.add(
            Notice("retry", f"{error.message}; trying again in {wait:.1f}s")
        )
        self._stopping.wait(wait)

    def _gives_up(self, deadline: float) -> bool:
        if self._last_alive is None and not self._settings.reconnect:
            return self._clock.monotonic() >= deadline
        return not self._settings.reconnect

    def _connected(self) -> None:
        now = self._clock.wall()
        state = self.connectivity
        if self._last_alive is None:
            self._buffer.add(Notice("listening", self._settings.masked()))
        else:
            record = gap("reconnect", self._last_alive, now, error=self._lost_because)
            state.reconnects += 1
            state.gaps += 1
            state.gap_seconds += record["duration"]
            self._buffer.add(record)
            self._buffer.add(
                Notice(
                    "restored",
                    f"{self._settings.masked()} after "
                    f"{record['duration']:.1f}s without events",
                )
            )
        self._last_alive = now
        state.connected = True

    def _drain(self, stream: Stream) -> None:
        buffer, wall, stopping = self._buffer, self._clock.wall, self._stopping
        while not stopping.is_set():
            messages = stream.drain(TICK)
            now = self._last_alive = wall()
            if messages:
                self.connectivity.messages += len(messages)
                buffer.put(now, messages)
                if len(messages) < BUSY:
                    stopping.wait(GATHER)
            else:
                buffer.close_hole(now)

    def _lose(self, exc: Exception) -> None:
        error = explain(exc, self._settings)
        self._lost_because = error.message
        self._buffer.add(Notice("lost", error.message))
        if not self._settings.reconnect:
            raise error from exc
