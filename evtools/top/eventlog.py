"""The newest events as they came, in a ring of bounded count and bytes."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from evtools.wire import EventFields, encode_line

MAX_EVENTS: Final = 20_000
MAX_BYTES: Final = 32 * 1024 * 1024

#: What an event weighs beside what is in it, in bytes.
_EVENT_BYTES: Final = 400
#: What is in events takes about so many times as much memory as it does as JSON.
_JSON_FACTOR: Final = 3
#: An empty list or object is 2 characters of JSON, and takes so many bytes with its
#: place.  What looks like one in a text is counted, too.
_CONTAINER_BYTES: Final = 64


class EventLog:
    """The newest events, each under a number that grows by one.

    The oldest are dropped where there would be more than `max_events`, or, as many
    as were added at once, where together they would weigh (estimated) more than
    `max_bytes`.
    """

    def __init__(self, *, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._ring: deque[EventFields] = deque()
        #: How many were added at once, and what they weigh.
        self._added: deque[tuple[int, int]] = deque()
        #: The number of the oldest event here, and of the next to come.
        self.first = 0
        self.end = 0
        self.weight_bytes = 0

    def __len__(self) -> int:
        return len(self._ring)

    def extend(self, events: Sequence[EventFields]) -> None:
        """Add some events, the newest last."""
        if not events:
            return
        weight_bytes = _weigh(events)
        self._ring.extend(events)
        self._added.append((len(events), weight_bytes))
        self.end += len(events)
        self.weight_bytes += weight_bytes
        while (surplus := len(self._ring) - self._max_events) > 0:
            self._drop_oldest(surplus)
        while self.weight_bytes > self._max_bytes:
            self._drop_oldest(len(self._ring))

    def _drop_oldest(self, most: int) -> None:
        """Drop what is left of those that were added first, or `most` of them."""
        left, weight_bytes = self._added.popleft()
        count = min(left, most)
        share = weight_bytes * count // left
        if count < left:
            self._added.appendleft((left - count, weight_bytes - share))
        for _ in range(count):
            self._ring.popleft()
        self.first += count
        self.weight_bytes -= share

    def since(self, number: int) -> Iterator[EventFields]:
        """Yield the events from a number on, which must not be before `first`."""
        return islice(self._ring, number - self.first, None)

    def get(self, number: int) -> EventFields | None:
        """Return the event of that number if it is still here."""
        if not self.first <= number < self.end:
            return None
        return self._ring[number - self.first]


def _weigh(events: Sequence[EventFields]) -> int:
    """Return about how much memory events take, in bytes.

    By what they are as JSON, all at once: to look at each value takes three times
    as long.
    """
    line = encode_line(events)
    containers = line.count(b"[") + line.count(b"{")
    return len(events) * _EVENT_BYTES + len(line) * _JSON_FACTOR + containers * _CONTAINER_BYTES
