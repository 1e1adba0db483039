"""Events from Redis, Valkey and whatever speaks their protocol."""

import re
import time
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.exceptions import RedisError, ResponseError

from evtools.transport.stream import Heartbeat
from evtools.wire import ENVELOPE, MESSAGE_MAX_BYTES, Message

_READ_BYTES = 256 * 1024
#: What hiredis gets at once: after every reply it moves all it has not parsed yet
#: to the front.
_PARSE_BYTES = 16 * 1024
_KNOWN_CHANNELS_MAX = 1024
#: A reply must be in memory whole, and Redis allows 512 MB.  base64 and the
#: envelope make a third more of a body.
_UNPARSED_MAX_BYTES = 2 * MESSAGE_MAX_BYTES


class RedisStream:
    """Read messages straight from the socket of a redis-py connection.

    redis-py connects (TLS, Sentinel, credentials); from then on the replies
    are read in chunks as large as the kernel has, and parsed by hiredis: a
    pub/sub round through redis-py costs more than everything else we do with
    an event.

    `connection` is connected and ours alone, `pool` the pool to end with it.
    `patterns` are the PSUBSCRIBE patterns; `timeout` bounds, in seconds, the
    wait for the server's confirmation.
    """

    errors: tuple[type[Exception], ...] = (OSError, RedisError, hiredis.ProtocolError)

    def __init__(
        self,
        connection: Any,
        pool: Any,
        patterns: Sequence[str],
        *,
        heartbeat: float,
        timeout: float,
    ) -> None:
        self._connection = connection
        self._pool = pool
        self._sock = connection._sock  # noqa: SLF001  (no public name for it)
        self._data = bytearray(_READ_BYTES)
        self._reader = hiredis.Reader(
            protocolError=hiredis.ProtocolError, replyError=ResponseError
        )
        self._patterns = [pattern.encode() for pattern in patterns]
        self._first_match = _FirstMatch(self._patterns)
        self._confirmed = 0
        self._messages: list[Message] = []
        self._heartbeat = Heartbeat(heartbeat, time.monotonic())
        self._subscribe(timeout)

    @property
    def heard(self) -> float:
        """When the server last gave a sign of life; monotonic."""
        return self._heartbeat.last

    def _subscribe(self, timeout: float) -> None:
        self._send("PSUBSCRIBE", *self._patterns)
        deadline = time.monotonic() + timeout
        while self._confirmed < len(self._patterns):
            if time.monotonic() > deadline:
                raise TimeoutError("the broker did not confirm the subscription")
            self._receive(max(0.01, deadline - time.monotonic()))

    def drain(self, timeout: float) -> list[Message]:
        """Return the messages that have arrived, after `timeout` s at the latest."""
        if self._heartbeat.due(time.monotonic()):
            self._send("PING")
        self._receive(timeout)
        messages, self._messages = self._messages, []
        return messages

    def _send(self, *command: Any) -> None:
        # redis-py's own health check would read, and lose, what comes in.
        self._connection.send_command(*command, check_health=False)

    def _receive(self, timeout: float) -> None:
        self._sock.settimeout(timeout)
        try:
            size = self._sock.recv_into(self._data)
        except TimeoutError:
            return
        if not size:
            raise ConnectionResetError("the broker closed the connection")
        self._heartbeat.heard(time.monotonic())
        for start in range(0, size, _PARSE_BYTES):
            part = min(_PARSE_BYTES, size - start)
            self._reader.feed(self._data, start, part)  # type: ignore[arg-type]  # any buffer will do
            while (reply := self._reader.gets()) is not False:
                self._reply(reply)
        if self._reader.len() > _UNPARSED_MAX_BYTES:
            raise ConnectionResetError("a message is too large to be an event")

    def _reply(self, reply: Any) -> None:
        if isinstance(reply, Exception):
            raise reply
        if not isinstance(reply, list) or not reply:
            return  # the answer to a PING in RESP3
        if reply[0] == b"pmessage":
            _, pattern, channel, data = reply
            if len(self._patterns) == 1 or self._first_match(channel) == pattern:
                self._messages.append(Message(data, ENVELOPE))
        elif reply[0] == b"psubscribe":
            self._confirmed += 1

    def close(self) -> None:
        """Close the connection; Redis asks for no goodbye."""
        self._connection.disconnect()
        self._pool.disconnect()


class _FirstMatch:
    """Tell which of several patterns shall deliver a channel's messages.

    Redis delivers a message once for every pattern that matches it; AMQP
    once for a queue.  We keep the copy of the first pattern that matches.
    """

    def __init__(self, patterns: Sequence[bytes]) -> None:
        self._patterns = [(_glob(pattern), pattern) for pattern in patterns]
        self._known: dict[bytes, bytes | None] = {}

    def __call__(self, channel: bytes) -> bytes | None:
        if channel in self._known:
            return self._known[channel]
        found = next(
            (pattern for rule, pattern in self._patterns if rule.fullmatch(channel)),
            None,
        )
        if len(self._known) < _KNOWN_CHANNELS_MAX:
            self._known[channel] = found
        return found


def _glob(pattern: bytes) -> re.Pattern[bytes]:
    """Compile one of our own Redis patterns: `*` and backslashes only."""
    parts = re.findall(rb"\\.|\*|[^\\*]+", pattern, re.DOTALL)
    return re.compile(
        b"".join(
            b".*" if part == b"*" else re.escape(part.removeprefix(b"\\"))
            for part in parts
        ),
        re.DOTALL,
    )
