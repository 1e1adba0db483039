"""Streams of messages, one for each kind of broker, and what they have in common."""

import ssl
import time
from contextlib import suppress
from typing import Any, Final

from evtools.wire import Message

#: How much is read from a socket at once.
READ_BYTES: Final = 256 * 1024
#: What TLS gives out at once, at the most.
_RECORD_BYTES: Final = 16 * 1024
#: After a longer time without a look, in seconds, the process was stopped (Ctrl-Z, a debugger).
_ASLEEP: Final = 2.0


class BrokerSilent(ConnectionError):
    """The connection is open, but the broker has stopped answering."""


class Stream:
    """A live subscription to the event exchange, owned by one thread.

    `errors` are the exceptions that mean that it is lost; after one of them only `close` may be
    called.
    """

    errors: tuple[type[Exception], ...]
    #: Of a broker that keeps messages until they are acknowledged: the number of the last that has
    #: come, and whether one of those of the last `drain` may have come before.
    delivered = 0
    has_repeats = False

    def __init__(self) -> None:
        #: Whether the last `drain` took as much as it may, so that more is likely to be there.
        self.has_more = False
        #: When the broker last gave a sign of life; monotonic.
        self.last_seen = time.monotonic()

    def drain(self, timeout: float) -> list[Message]:
        """Return what has arrived, waiting up to `timeout` seconds for some.

        Raise one of `errors`, among them BrokerSilent when the broker has missed its heartbeats.
        """
        raise NotImplementedError

    def acknowledge(self, number: int) -> None:
        """Let the broker forget all messages up to this one; raise one of `errors`."""

    def close(self) -> None:
        """Leave the broker; never raise, never wait for more than a second."""
        raise NotImplementedError


def as_sent(body: Any, *facts: Any) -> Message:
    """Return the message of a driver's body, content type, encoding and compression."""
    body = body.encode() if isinstance(body, str) else bytes(body)
    return Message(body, *(fact if isinstance(fact, str) else None for fact in facts))


class SocketStream(Stream):
    """A stream that reads the socket of its driver's connection itself.

    It knows when to send a sign of life and when to give the broker up; `heartbeat`, in seconds,
    is the interval, and 0 switches both off.
    """

    CLOSED = "the broker closed the connection"

    def __init__(self, sock: Any, heartbeat: float) -> None:
        super().__init__()
        self._sock = sock
        self._silent_since = self._looked = self.last_seen
        self._heartbeat = heartbeat
        self._next_heartbeat = self.last_seen + heartbeat / 2

    def _needs_heartbeat(self) -> bool:
        # Before every look at the socket: time in which the process did not look says nothing
        # about the broker, which is given up after two intervals.
        if not self._heartbeat:
            return False
        now = time.monotonic()
        away, self._looked = now - self._looked, now
        if away > _ASLEEP:
            self._silent_since += away
        silent = now - self._silent_since
        if silent > 2 * self._heartbeat:
            raise BrokerSilent(f"no sign of life for {silent:.1f}s (two heartbeats)")
        if now < self._next_heartbeat:
            return False
        self._next_heartbeat = now + self._heartbeat / 2
        return True

    def _receive(self, timeout: float) -> bytes:
        # What has arrived, up to READ_BYTES, and b"" after `timeout` seconds without.
        self.has_more = False
        # TLS gives out one record at a time, and a broker may make one for each message.
        sock, is_tls = self._sock, isinstance(self._sock, ssl.SSLSocket)
        sock.settimeout(timeout)
        try:
            parts = [sock.recv(_RECORD_BYTES if is_tls else READ_BYTES)]
        except TimeoutError:
            return b""
        size = len(parts[0])
        if not size:
            raise ConnectionResetError(self.CLOSED)
        if is_tls:
            sock.settimeout(0)
            # An error comes again, once what came before it is taken.
            with suppress(OSError):
                while parts[-1] and size < READ_BYTES:
                    parts.append(sock.recv(_RECORD_BYTES))
                    size += len(parts[-1])
        self.has_more = size >= READ_BYTES
        self.last_seen = self._silent_since = time.monotonic()
        return b"".join(parts)
