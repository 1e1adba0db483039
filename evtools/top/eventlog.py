"""The newest events as they came, in a ring of bounded count and bytes."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

from evtools.wire import EventFields, encode_line

MAX_EVENTS: Final = 20_000
MAX_BYTES: Final = 32 * 1024 * 1024

#: What a field takes beside a long text: its key, and a small value.
_FIELD_BYTES: Final = 80
#: An empty list is 2 characters of JSON, and 64 bytes of memory with its place.
_JSON_FACTOR: Final = 24


class EventLog:
    """The newest events, each under a number that grows by one.

    The oldest are dropped where there would be more than `max_events`, or
    where together they would weigh (estimated) more than `max_bytes`.
    """

    def __init__(
        self, *, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES
    ) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._ring: deque[EventFields] = deque()
        #: What each of them weighs.  No pairs: the garbage collector would look
        #: at every one.
        self._weights: deque[int] = deque()
        #: The number of the oldest event here, and of the next to come.
        self.first = 0
        self.end = 0
        self.weight_bytes = 0

    def __len__(self) -> int:
        return len(self._ring)

    def extend(self, events: Sequence[EventFields]) -> None:
        """Add events, the newest last."""
        weights, total_bytes = self._weights, 0
        for event in events:
            # In one piece, as this is done for every event.
            weight_bytes = _FIELD_BYTES * len(event)
            for value in event.values():
                kind = value.__class__
                if kind is str:
                    weight_bytes += len(value)
                elif kind is list or kind is dict:
                    weight_bytes += _weigh_container(value)
            weights.append(weight_bytes)
            total_bytes += weight_bytes
        self._ring.extend(events)
        self.weight_bytes += total_bytes
        self.end += len(events)
        while len(weights) > self._max_events or self.weight_bytes > self._max_bytes:
            self._ring.popleft()
            self.weight_bytes -= weights.popleft()
            self.first += 1

    def since(self, number: int) -> Iterator[EventFields]:
        """Yield the events from a number on, which must not be before `first`."""
        return islice(self._ring, number - self.first, None)

    def get(self, number: int) -> EventFields | None:
        """Return the event of that number if it is still here."""
        if not self.first <= number < self.end:
            return None
        return self._ring[number - self.first]


def _weigh_container(value: Any) -> int:
    """Return what a list or an object weighs, by what it takes as JSON."""
    return _FIELD_BYTES + _JSON_FACTOR * len(encode_line(value))
