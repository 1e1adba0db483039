"""The base of cameras that hand on every event, in bounded batches, to a store elsewhere."""

import logging
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from msgspec import UNSET

from evtools.cam.camera import Bytes, Camera
from evtools.cam.log import named
from evtools.cam.snapshot import SnapshotInfo, clocks_ahead
from evtools.state import Change, State, event_bytes
from evtools.wire import Event, encode_line

_log = logging.getLogger(__name__)

#: Bytes that may wait in memory for a store that does not answer.
MAX_WAITING: Final = 256 * 1024 * 1024
#: What is handed on at a time, at the most.
BATCH_EVENTS: Final = 20_000
BATCH_BYTES: Final = 16 * 1024 * 1024
#: Of an event whose texts are not counted one by one.
_EVENT_BYTES: Final = 400


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one cluster in the order in which they were received, to be stored together.

    `info` is of the snapshot with which they are written, for which there is at least one batch, if
    need be without events; `ahead` has the whole seconds by which the clocks of workers and clients
    are ahead, by hostname, as far as they are a second or more off.  `lost` events were dropped
    before these.  A batch that is written again has the same `token`, and no other has that.
    """

    cluster: str
    events: Sequence[Event]
    info: SnapshotInfo
    ahead: Mapping[str, int]
    token: str
    lost: int = 0


@dataclass(slots=True)
class Period:
    """The events since the snapshot before, each with its weight in bytes, and those dropped."""

    camera: "StoreCamera"
    info: SnapshotInfo
    ahead: Mapping[str, int]
    events: deque[tuple[Event, int]]
    lost: int

    def as_dict(self) -> dict[str, Any]:
        events = [event.as_dict() for event, _ in self.events]
        return {**self.info.as_dict(), "ahead": dict(self.ahead), "lost": self.lost,
                "events": events}  # fmt: skip


class StoreCamera(Camera):
    """Hand on all events that change a task or a worker, in order.

    A subclass has `store`, which is called by the camera's thread with a batch of one cluster
    after the other, and raises if it could not store it.  What could not be stored waits in memory,
    up to `max_waiting` bytes of all clusters; beyond, the oldest events are dropped and counted.
    """

    writes_for_all = True

    def __init__(self, state: State, *, max_waiting: Bytes = MAX_WAITING, **standard: Any) -> None:
        super().__init__(state, **standard)
        self._waiting = _Waiting(max_waiting)
        self._max_waiting = max_waiting
        self._tokens = map(f"{uuid.uuid4().hex}-{{}}".format, count(1))
        #: What could not be stored, and comes first.
        self._unstored: Batch | None = None

    def store(self, batch: Batch) -> None:
        """Store a batch, as a whole or not at all; raise if that fails.

        It comes again then, as it is.  Where it is not known whether it was stored, its token says
        that it is the same.
        """
        raise NotImplementedError

    def observe(self, changes: Sequence[Change]) -> None:
        self._waiting.add(change.event for change in changes if change.subject is not None)

    def snapshot(self, info: SnapshotInfo) -> Period:
        waiting, self._waiting = self._waiting, _Waiting(self._waiting.max_bytes)
        ahead = clocks_ahead(self.state)
        return Period(self, info, ahead, waiting.events, waiting.lost)

    def restore(self, snapshot: Period) -> None:
        self._waiting.put_back(snapshot.events, snapshot.lost)

    def share(self, parts: int) -> None:
        self._waiting.max_bytes = self._max_waiting // parts

    def write(self, snapshot: Period) -> None:
        self.write_all([snapshot])

    def write_all(self, snapshots: list[Period]) -> None:
        """Store the events of all clusters; what was stored is not handed on again."""
        while snapshots:
            period = snapshots[0]
            for batch in period.camera.batches(period):
                self.gets_on()
                self.store(batch)
            del snapshots[0]

    def batches(self, period: Period) -> Iterator[Batch]:
        """Yield what is to be stored; whoever asks for the next one has stored the last."""
        if self._unstored is not None:
            yield self._unstored
        self._unstored = None
        info, is_first = period.info, True
        while period.events or is_first:
            is_first = False
            events, token = _first_of(period.events), next(self._tokens)
            self._unstored = Batch(info.cluster, events, info, period.ahead, token, period.lost)
            if period.lost:
                words = "%s: %d events were dropped, as too many waited to be written"
                _log.error(named(words, info.cluster), self.describe(), period.lost)
                period.lost = 0
            yield self._unstored
            self._unstored = None


@dataclass(slots=True)
class _Waiting:
    # Events that wait in memory, with the bytes of each.

    max_bytes: int
    events: deque[tuple[Event, int]] = field(default_factory=deque)
    bytes: int = 0
    lost: int = 0

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            weight = weight_of(event)
            self.events.append((event, weight))
            self.bytes += weight
        while self.bytes > self.max_bytes and self.events:
            self.bytes -= self.events.popleft()[1]
            self.lost += 1

    def put_back(self, earlier: deque[tuple[Event, int]], lost: int) -> None:
        self.events.extendleft(reversed(earlier))
        self.bytes += sum(weight for _, weight in earlier)
        self.lost += lost
        self.add(())


def _first_of(events: deque[tuple[Event, int]]) -> list[Event]:
    # Take those of a batch out, at least one.
    taken: list[Event] = []
    left = BATCH_BYTES
    while events and len(taken) < BATCH_EVENTS:
        left -= events[0][1]
        if taken and left < 0:
            break
        taken.append(events.popleft()[0])
    return taken


def weight_of(event: Event) -> int:
    """Return about how many bytes an event takes, whatever is in it."""
    known: Any = event.known
    if event.original is not UNSET or event.learned or isinstance(known, Mapping):
        return _EVENT_BYTES + 2 * len(encode_line([event.as_dict(), dict(event.joined)]))
    texts = (event.hostname, event.sw_ident, event.sw_ver, event.sw_sys)
    joined = 0 if known is UNSET else len(known.members)
    return event_bytes(event) + joined + sum([len(text) for text in texts if text])
