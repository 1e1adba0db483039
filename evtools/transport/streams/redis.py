"""Events from Redis, Valkey and compatible servers."""

import re
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from redis.exceptions import InvalidResponse, RedisError, ResponseError

from evtools.transport.streams import SocketStream
from evtools.wire import ENVELOPE, MESSAGE_MAX_BYTES, Message, RedisTopics, escape_glob

_KNOWN_CHANNELS_MAX: Final = 1024
#: Channels have any name; longer ones are not remembered.
_KNOWN_CHANNEL_BYTES: Final = 255
_KNOWN_LENGTHS_MAX: Final = 4096
#: How many messages are remembered where one may come on two channels.
_RECENT_MAX: Final = 1000

_CRLF: Final = b"\r\n"
#: No reply begins with this.
_NEVER: Final = b"\0"
#: A length and its end.
_LENGTH_BYTES: Final = 12
#: An error names the command that failed, and it may be long.
_LINE_MAX_BYTES: Final = 64 * 1024
#: Replies to subscribers have four at the most.
_ITEMS_MAX: Final = 16
#: Past the cap the codec refuses a message; no more is kept than it takes to see that.
_KEPT_BYTES: Final = MESSAGE_MAX_BYTES + 1


class RedisStream(SocketStream):
    """Read messages straight from the socket of a redis-py connection.

    redis-py connects (TLS, Sentinel, credentials); from then on the replies are read in chunks as
    large as the kernel has, and parsed here: a pub/sub round through redis-py costs more than all
    else that is done with an event, and redis-py and hiredis keep replies of any size in memory.
    `connection` is connected and ours alone, `pool` the pool to end with it.  `timeout` bounds, in
    seconds, the wait for the server's confirmation.
    """

    errors: tuple[type[Exception], ...] = (OSError, RedisError)
    CLOSED = (
        "the broker closed the connection (shut down, or more waited for us than its"
        " client-output-buffer-limit for pubsub allows)"
    )

    def __init__(
        self, connection: Any, pool: Any, topics: RedisTopics, *, heartbeat: float, timeout: float
    ) -> None:
        self._connection, self._pool = connection, pool
        super().__init__(connection._sock, heartbeat)  # noqa: SLF001  (under its parser)
        names = [name.encode() for name in topics.names]
        patterns = [pattern.encode() for pattern in topics.patterns]
        only = patterns[0] if len(patterns) == 1 and not names else None
        self._replies = _Replies(only)
        #: The topic that delivers the messages of a channel, where several may.
        self._sources: dict[bytes, bytes | None] = {name: name for name in names}
        self._has_one_source = len(names) + len(patterns) == 1
        self._patterns = {pattern: _glob(pattern) for pattern in patterns}
        self._recent: dict[int, None] | None = {} if topics.copies else None
        self._messages: list[Message] = []
        self._unconfirmed = 0
        deadline = time.monotonic() + timeout
        try:
            self._subscribe("SUBSCRIBE", names, deadline)
        except ResponseError:
            # A right, or a server, may know patterns only.
            patterns = [*(escape_glob(name).encode() for name in topics.names), *patterns]
            self._unconfirmed -= len(names)
            self._sources = {}
            self._patterns = {pattern: _glob(pattern) for pattern in patterns}
        self._subscribe("PSUBSCRIBE", patterns, deadline)

    def _subscribe(self, command: str, topics: Sequence[bytes], deadline: float) -> None:
        if topics:
            self._send(command, *topics)
        self._unconfirmed += len(topics)
        while self._unconfirmed > 0:
            if time.monotonic() > deadline:
                raise TimeoutError("the broker did not confirm the subscription")
            self._read(max(0.01, deadline - time.monotonic()))

    def drain(self, timeout: float) -> list[Message]:
        if self._needs_heartbeat():
            self._send("PING")
        self._read(timeout)
        messages, self._messages = self._messages, []
        return messages

    def _send(self, *command: Any) -> None:
        # redis-py's own health check would read, and lose, what comes in.
        self._connection.send_command(*command, check_health=False)

    def _read(self, timeout: float) -> None:
        refusal: ResponseError | None = None
        data = self._receive(timeout)
        for reply in self._replies.feed(data, self._messages) if data else ():
            match reply:
                case [b"pmessage" | b"message", *_, bytes(channel), bytes(body)]:
                    # Redis delivers a message once for every topic that matches it, which stands
                    # in front of the channel or is the channel; AMQP once for a queue.
                    is_first = self._has_one_source or self._source_of(channel) == reply[1]
                    if is_first and not self._is_copy(body):
                        self._messages.append(Message(body, ENVELOPE))
                case [b"subscribe" | b"psubscribe", *_]:
                    self._unconfirmed -= 1
                case ResponseError():
                    refusal = reply
                case _:  # the answer to a PING
                    pass
        if refusal is not None:
            raise refusal

    def _source_of(self, channel: bytes) -> bytes | None:
        if channel in self._sources:
            return self._sources[channel]
        patterns = self._patterns.items()
        found = next((pattern for pattern, glob in patterns if glob.fullmatch(channel)), None)
        if len(self._sources) < _KNOWN_CHANNELS_MAX and len(channel) <= _KNOWN_CHANNEL_BYTES:
            self._sources[channel] = found
        return found

    def _is_copy(self, data: bytes) -> bool:
        # It came on another channel just now; kombu gives each a tag of its own, so that two
        # messages are never the same.
        recent = self._recent
        if recent is None:
            return False
        mark = hash(data)
        if mark in recent:
            return True
        recent[mark] = None
        if len(recent) > _RECENT_MAX:
            del recent[next(iter(recent))]
        return False

    def close(self) -> None:
        """Close the connection; Redis asks for no goodbye."""
        self._connection.disconnect()
        self._pool.disconnect()


class _Replies:
    # RESP2 and RESP3.  Of a text that is larger than any event the beginning is kept, and the
    # rest skipped as it comes.  `pattern` is the topic, if there is just one: its messages need
    # no more than to be cut out, which is as fast as hiredis.

    def __init__(self, pattern: bytes | None) -> None:
        #: What stands before the channel, and for the last one before the body.
        self._head, self._last = b"", _NEVER
        if pattern is not None:
            self._head = b"*4\r\n$8\r\npmessage\r\n$%d\r\n%b\r\n$" % (len(pattern), pattern)
        self._lengths = _Lengths()
        self._parts: list[bytes] = []
        self._size = 0
        #: With this many bytes there may be a whole item.
        self._needed = 1
        self._skipped = 0
        #: Of an array: what has come of it, and how many items it has.
        self._items: list[Any] = []
        self._count = 0

    def feed(self, data: bytes, messages: list[Message]) -> Iterator[Any]:
        # Add to `messages` what comes for the one topic; yield all other replies: arrays as lists,
        # errors as ResponseErrors and all else as bytes.
        skipped = min(self._skipped, len(data))
        self._skipped -= skipped
        self._parts.append(data[skipped:])
        self._size += len(data) - skipped
        if self._size < self._needed:
            return
        data = b"".join(self._parts)
        position = 0
        while True:
            if not self._count:
                if self._head:
                    position = self._cut_out(data, position, messages)
                position = self._open(data, position)
            found = self._item(data, position)
            if found is None:
                break
            item, position = found
            if self._count:
                self._items.append(item)
                if len(self._items) < self._count:
                    continue
                item, self._items, self._count = self._items, [], 0
            yield item
        rest = data[position:]
        self._parts, self._size = [rest], len(rest)

    def _cut_out(self, data: bytes, position: int, messages: list[Message]) -> int:
        # Add the whole messages that come next; return where they end.
        find, starts, lengths, total = data.find, data.startswith, self._lengths, len(data)
        head, last, add = self._head, self._last, messages.append
        before = len(last)
        while True:
            if starts(last, position):
                mark = position + before
            elif starts(head, position):
                mark = position + len(head)
                end = find(_CRLF, mark, mark + _LENGTH_BYTES)
                if end < 0:
                    break
                mark = end + len("\r\n\r\n$") + lengths[data[mark:end]]
                if mark > total:  # in the middle of the channel
                    break
                last = data[position:mark]
                before = len(last)
            else:
                break
            end = find(_CRLF, mark, mark + _LENGTH_BYTES)
            if end < 0:
                break
            begin, size = end + 2, lengths[data[mark:end]]
            end = begin + size
            if not 0 <= size < _KEPT_BYTES or end + 2 > total:
                break
            add(Message(data[begin:end], ENVELOPE))
            position = end + 2
        self._last = last if before <= len(head) + _KNOWN_CHANNEL_BYTES else _NEVER
        return position

    def _open(self, data: bytes, position: int) -> int:
        # Begin an array if there is one; return where its first item stands.
        while not self._count and data.startswith((b"*", b">"), position):
            end = data.find(_CRLF, position, position + _LENGTH_BYTES)
            if end < 0:
                break
            self._count = max(0, self._lengths[data[position + 1 : end]])
            position = end + 2
        if self._count > _ITEMS_MAX:
            raise InvalidResponse(f"an array of {self._count}")
        return position

    def _item(self, data: bytes, position: int) -> tuple[Any, int] | None:
        # What stands there and where it ends; None before it is whole.
        end = data.find(_CRLF, position, position + _LINE_MAX_BYTES)
        if end < 0:
            if len(data) - position >= _LINE_MAX_BYTES:
                raise InvalidResponse("a line without end")
            self._needed = len(data) - position + 1
            return None
        kind, line, begin = data[position : position + 1], data[position + 1 : end], end + 2
        if kind == b"$":
            return self._text(data, position, begin, self._lengths[line])
        if kind == b"-":
            return ResponseError(line.decode(errors="replace")), begin
        if kind not in (b"+", b":", b"_"):
            raise InvalidResponse(f"a reply that begins with {kind!r}")
        return line, begin

    def _text(self, data: bytes, position: int, begin: int, size: int) -> tuple[Any, int] | None:
        if size < 0:
            return None, begin
        kept = min(size, _KEPT_BYTES)
        end = begin + size + 2
        needed = begin + kept if size > kept else end
        if len(data) < needed:
            self._needed = needed - position
            return None
        self._skipped = max(0, end - len(data))
        return data[begin : begin + kept], min(end, len(data))


class _Lengths(dict[bytes, int]):
    # By their digits; -1 is for what is not there.  They come again and again.

    def __missing__(self, text: bytes) -> int:
        if text == b"-1":
            return -1
        if not text.isdigit() or len(text) >= _LENGTH_BYTES:
            raise InvalidResponse(f"{text[:_LENGTH_BYTES]!r} is no length")
        if len(self) < _KNOWN_LENGTHS_MAX:
            self[text] = int(text)
        return int(text)


def _glob(pattern: bytes) -> re.Pattern[bytes]:
    # One of our own Redis patterns: `*` and backslashes only.
    parts = re.findall(rb"\\.|\*|[^\\*]+", pattern, re.DOTALL)
    return re.compile(
        b"".join(b".*" if part == b"*" else re.escape(part.removeprefix(b"\\")) for part in parts),
        re.DOTALL,
    )
