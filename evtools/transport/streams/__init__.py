"""Streams of messages, one for each kind of broker, and what they have in common."""

import ssl
import time
from contextlib import suppress
from typing import Any, Final, Protocol

from evtools.wire import Message

#: How much is read from a socket at once.
READ_BYTES: Final = 256 * 1024
#: What TLS gives out at once, at the most.
_RECORD_BYTES: Final = 16 * 1024


class BrokerSilent(ConnectionError):
    """The connection is open, but the broker has stopped answering."""


class Stream(Protocol):
    """A live subscription to the event exchange.

    One thread owns a stream.  `errors` are the exceptions that mean that it is lost; after
    one of them only `close` may be called.
    """

    errors: tuple[type[Exception], ...]

    @property
    def last_seen(self) -> float:
        """When the broker last gave a sign of life; monotonic."""
        ...

    @property
    def has_more(self) -> bool:
        """Whether the last `drain` took as much as it may, so that more is likely to be there."""
        ...

    def drain(self, timeout: float) -> list[Message]:
        """Return what has arrived, waiting up to `timeout` seconds for some.

        Raise one of `errors`, among them BrokerSilent when the broker has missed its heartbeats.
        """
        ...

    def close(self) -> None:
        """Leave the broker; never raise, never wait for more than a second."""
        ...


def receive(sock: Any, timeout: float) -> bytes:
    """Return what has arrived at a socket, up to READ_BYTES, and b"" at its end.

    Wait up to `timeout` seconds for some; raise TimeoutError.
    """
    sock.settimeout(timeout)
    if not isinstance(sock, ssl.SSLSocket):
        data: bytes = sock.recv(READ_BYTES)
        return data
    # TLS gives out one record at a time, and a broker may make one for each message.
    parts = [sock.recv(_RECORD_BYTES)]
    size = len(parts[0])
    sock.settimeout(0)
    # An error comes again, once what came before it is taken.
    with suppress(OSError):
        while parts[-1] and size < READ_BYTES:
            parts.append(sock.recv(_RECORD_BYTES))
            size += len(parts[-1])
    return b"".join(parts)


#: After a longer time between two looks at the socket, in seconds, the process itself was
#: stopped (Ctrl-Z, a debugger).
_ASLEEP = 2.0


class Heartbeat:
    """When to send a sign of life and when to give the broker up.

    `interval` is in seconds; 0 switches both off.  All times are monotonic.
    """

    __slots__ = ("_interval", "_looked", "_next", "_silent_since", "last_seen")

    def __init__(self, interval: float, now: float) -> None:
        self._interval = interval
        #: When something last came from the broker.
        self.last_seen = self._silent_since = self._looked = now
        self._next = now + interval / 2

    def alive(self, now: float) -> None:
        """Note that something, anything, came from the broker."""
        self.last_seen = self._silent_since = now

    def due(self, now: float) -> bool:
        """Return whether to send now; raise BrokerSilent after two intervals.

        Call it before every look at the socket: time in which the process did not look says
        nothing about the broker.
        """
        if not self._interval:
            return False
        away = now - self._looked
        self._looked = now
        if away > _ASLEEP:
            self._silent_since += away
        silent = now - self._silent_since
        if silent > 2 * self._interval:
            raise BrokerSilent(f"no sign of life for {silent:.1f}s (two heartbeats)")
        if now < self._next:
            return False
        self._next = now + self._interval / 2
        return True


class SocketStream:
    """A stream that reads the socket of its driver's connection itself.

    `heartbeat` is in seconds, 0 for none.
    """

    CLOSED = "the broker closed the connection"

    def __init__(self, sock: Any, heartbeat: float) -> None:
        self._sock = sock
        self._heartbeat = Heartbeat(heartbeat, time.monotonic())
        self.has_more = False

    @property
    def last_seen(self) -> float:
        """When the broker last gave a sign of life; monotonic."""
        return self._heartbeat.last_seen

    def _receive(self, timeout: float) -> bytes:
        self.has_more = False
        try:
            data = receive(self._sock, timeout)
        except TimeoutError:
            return b""
        if not data:
            raise ConnectionResetError(self.CLOSED)
        self.has_more = len(data) >= READ_BYTES
        self._heartbeat.alive(time.monotonic())
        return data
