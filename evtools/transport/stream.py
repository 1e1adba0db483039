"""The seam between a broker's socket and the rest: messages, as they come."""

from typing import Protocol

from evtools.wire import Message


class BrokerSilent(ConnectionError):
    """The connection is open, but the broker has stopped answering."""


class Stream(Protocol):
    """A live subscription to the event exchange.

    One thread owns a stream.  `errors` are the exceptions that mean that it
    is lost; after one of them only `close` may be called.
    """

    errors: tuple[type[Exception], ...]

    def drain(self, timeout: float) -> list[Message]:
        """Return what has arrived, waiting up to `timeout` seconds for some.

        Raise one of `errors`, among them BrokerSilent when the broker has
        missed its heartbeats.
        """
        ...

    def close(self) -> None:
        """Leave the broker; never raise, never wait for more than a second."""
        ...


class Heartbeat:
    """When to send a sign of life and when to give the broker up.

    `interval` is in seconds; 0 switches both off.  All times are monotonic.
    """

    __slots__ = ("_heard", "_next", "interval")

    def __init__(self, interval: float, now: float) -> None:
        self.interval = interval
        self._heard = now
        self._next = now + interval / 2

    def heard(self, now: float) -> None:
        """Note that something, anything, came from the broker."""
        self._heard = now

    def due(self, now: float) -> bool:
        """Return whether to send now; raise BrokerSilent after two intervals."""
        if not self.interval:
            return False
        if now - self._heard > 2 * self.interval:
            raise BrokerSilent(
                f"no sign of life for {now - self._heard:.0f}s (two heartbeats)"
            )
        if now < self._next:
            return False
        self._next = now + self.interval / 2
        return True
