"""The bounded buffer between the reader thread and the tool."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TypeAlias

from evtools.wire import Gap, Message, gap


@dataclass(frozen=True, slots=True)
class Notice:
    """A change of the connection, for the user.

    `kind` is `listening`, `lost`, `retry` or `restored`, and of a recording
    `rewound` or `ended`; `text` is one line that shows no password.
    """

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Messages that arrived together, at `received` (UTC epoch seconds)."""

    received: float
    messages: Sequence[Message]
    bytes: int


class End:
    """Nothing more will come; `error` is the reason if it is one."""

    __slots__ = ("error",)

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


Item: TypeAlias = Chunk | Gap | Notice | End | None

#: Memory that a message takes besides its body, roughly.
_MESSAGE_BYTES = 200


class Buffer:
    """Hand chunks from the reader thread to the tool's thread, and never wait.

    Bodies stay undecoded while they wait, at a third to a half of the memory, so
    `limit` (bytes) is honest.  What does not fit is dropped, newest first, and
    `count_events` returns how many events that were; a gap record with the
    count takes the place of the hole.

    One thread puts, one thread takes; `wake` may be called from anywhere,
    signal handlers included (SimpleQueue.put is reentrant).
    """

    def __init__(self, limit: int, count_events: Callable[[Message], int]) -> None:
        self._limit = limit
        self._count_events = count_events
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._put_bytes = 0
        self._taken_bytes = 0
        self._hole: _Hole | None = None
        self._hole_lock = threading.Lock()
        #: Events dropped because the buffer was full.
        self.dropped = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait to be taken."""
        return self._put_bytes - self._taken_bytes

    def put(self, received: float, messages: Sequence[Message]) -> int:
        """Add what arrived at `received`, or count it as dropped; return its bytes."""
        size = sum(len(message.body) for message in messages)
        size += _MESSAGE_BYTES * len(messages)
        if self.waiting_bytes + size > self._limit:
            self._drop(received, messages)
            return size
        self.close_hole(received)
        self._put_bytes += size
        self._queue.put(Chunk(received, messages, size))
        return size

    def _drop(self, received: float, messages: Sequence[Message]) -> None:
        dropped = sum(map(self._count_events, messages))
        with self._hole_lock:
            self.dropped += dropped
            if self._hole is None:
                self._hole = _Hole(received)
            self._hole.dropped += dropped
            self._hole.end = received

    def close_hole(self, now: float) -> None:
        """Put the record of what was dropped, if there is a hole to close.

        The reader calls it when something fits again, and when nothing
        arrives any more.
        """
        with self._hole_lock:
            hole, self._hole = self._hole, None
        if hole is not None and hole.dropped:
            self._queue.put(gap("buffer", hole.start, max(hole.end, now), dropped=hole.dropped))

    def add(self, item: Gap | Notice | End) -> None:
        """Add a gap record, a notice or the end; there is always room for them."""
        self._queue.put(item)

    def wake(self) -> None:
        """Make a waiting `take` return at once."""
        self._queue.put(None)

    def take(self, timeout: float | None) -> Item:
        """Return the next item; None on wake-up and after `timeout` seconds."""
        try:
            item = self._queue.get(timeout=timeout)
        except Empty:
            return None
        if type(item) is Chunk:
            self._taken_bytes += item.bytes
        return item


class _Hole:
    __slots__ = ("dropped", "end", "start")

    def __init__(self, start: float) -> None:
        self.start = self.end = start
        self.dropped = 0
