"""The base of cameras that hand on every event, in bounded batches, to a store elsewhere."""

import logging
import uuid
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from itertools import count, groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
from msgspec import UNSET

from evtools.cam.camera import Bytes, Camera
from evtools.cam.log import named
from evtools.cam.snapshot import SnapshotInfo, clocks_ahead
from evtools.cam.spool import EVENTS, GAPS, Piece, Position, Record, Spool
from evtools.errors import OutputError, UsageError
from evtools.state import Change, State, event_bytes
from evtools.transport.recording.reader import events_in
from evtools.wire import EnvelopeWriter, Event, Gap, Schema, encode_line, gap

_log = logging.getLogger(__name__)

#: Bytes that may wait in memory for a store that does not answer.
MAX_WAITING: Final = 256 * 1024 * 1024
#: Bytes of a spool, and the least of one.
SPOOL_SIZE: Final = 1024 * 1024 * 1024
SPOOL_SIZE_MIN: Final = 1024 * 1024
#: What is written into it as one record, at the most.
RECORD_EVENTS: Final = 500
#: Seconds after which it is over that events are delivered again after a connection was lost.
_REPEATS: Final = 60.0
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
    #: In the spool, where they are instead.
    until: Position | None = None

    def as_dict(self) -> dict[str, Any]:
        events = [event.as_dict() for event, _ in self.events]
        return {**self.info.as_dict(), "ahead": dict(self.ahead), "lost": self.lost,
                "events": events}  # fmt: skip


class StoreCamera(Camera):
    """Hand on all events that change a task or a worker, in order.

    A subclass has `store`, which is called by the camera's thread with a batch of one cluster
    after the other, and raises if it could not store it.  What could not be stored waits in memory,
    up to `max_waiting` bytes of all clusters; beyond, the oldest events are dropped and counted.

    With `spool`, events are written into that folder first, of each cluster into one of its own,
    and stay there until they are stored; of all clusters together up to `spool_size` bytes.
    """

    writes_for_all = True
    #: Seconds to the next try at most: a store that is back is not to wait, and a try costs little.
    retry_max: ClassVar = 30.0
    #: The seconds for which the broker keeps what comes while there is no evcam.
    kept_for = 0.0

    def __init__(
        self,
        state: State,
        *,
        max_waiting: Bytes = MAX_WAITING,
        spool: str = "",
        spool_size: Bytes = SPOOL_SIZE,
        **standard: Any,
    ) -> None:
        super().__init__(state, **standard)
        if spool_size < SPOOL_SIZE_MIN:
            raise UsageError(f"spool_size {spool_size} is too small", "give it 1M or more")
        self._waiting = _Waiting(max_waiting)
        self._max_waiting, self._spool_size = max_waiting, spool_size
        self._tokens = map(f"{uuid.uuid4().hex}-{{}}".format, count(1))
        #: What could not be stored, and comes first.
        self._unstored: Batch | None = None
        self._unstored_piece: Piece | None = None
        self.spool: Spool | None = None
        self._parts = 1
        self._spool_folder = Path(spool).expanduser().absolute() if spool else None
        #: What was observed and is not in the spool yet.
        self._observed: list[Event] = []
        #: The clocks that are ahead as they are remembered, and as they were for what was in the
        #: spool before this event of it.
        self._ahead: Mapping[str, int] = {}
        self._ahead_before: Mapping[str, int] = {}
        self._began = 0
        self._lines, self._schema = EnvelopeWriter(), Schema()
        #: Events that the broker may deliver again, once it did, and when it did last.
        self._repeatable: set[tuple[Any, ...]] | None = None
        self._repeated_at = 0.0

    def store(self, batch: Batch) -> None:
        """Store a batch, as a whole or not at all; raise if that fails.

        It comes again then, as it is.  Where it is not known whether it was stored, its token says
        that it is the same.
        """
        raise NotImplementedError

    def check(self) -> None:
        if self._spool_folder is not None:
            Spool(self._folder(), max_bytes=0, max_waiting=0).check()

    def install(self) -> None:
        for each in self._cameras:
            each.open_spool()
        self._warn_of_others()
        super().install()

    def observe(self, changes: Sequence[Change]) -> None:
        if self._spool_folder is None:
            self._waiting.add(change.event for change in changes if change.subject is not None)
            return
        for change in changes:
            if change.subject is not None or change.event.is_gap:
                self._observed.append(change.event)

    def _look(self) -> tuple[SnapshotInfo, Any]:
        # What is lost before the snapshot is a gap in it; one, not one for each batch.
        if self.spool is not None and not self.persist():
            self._note_losses(self.spool)
        return super()._look()

    def snapshot(self, info: SnapshotInfo) -> Period:
        ahead = clocks_ahead(self.state)
        if self.spool is not None:
            both = {**self._ahead_before, **ahead}
            if both != self._ahead:
                self._ahead = both
                self.spool.remember(msgspec.json.encode(both))
            return Period(self, info, ahead, deque(), 0, self.spool.end)
        waiting, self._waiting = self._waiting, _Waiting(self._waiting.max_bytes)
        waiting.add(self.take_observed())
        return Period(self, info, ahead, waiting.events, waiting.lost)

    def restore(self, snapshot: Period) -> None:
        self._waiting.put_back(snapshot.events, snapshot.lost)

    def share(self, parts: int) -> None:
        self._waiting.max_bytes = self._max_waiting // parts
        if self.spool is not None:
            self.spool.max_bytes = max(SPOOL_SIZE_MIN, self._spool_size // parts)
            self.spool.max_waiting = self._waiting.max_bytes
        self._parts = parts

    def reopen(self) -> None:
        for each in self._cameras:
            if each.spool is not None:
                each.spool.reopen()

    def close(self) -> None:
        for each in self._cameras:
            if each.spool is not None:
                each.spool.close()

    def write(self, snapshot: Period) -> None:
        self.write_all([snapshot])

    def write_all(self, snapshots: list[Period]) -> None:
        """Store the events of all clusters; what was stored is not handed on again."""
        while snapshots:
            period = snapshots[0]
            with closing(period.camera.batches(period)) as batches:
                for batch in batches:
                    self.gets_on()
                    self.store(batch)
            del snapshots[0]

    def batches(self, period: Period) -> Generator[Batch]:
        """Yield what is to be stored; whoever asks for the next one has stored the last."""
        if period.until is not None:
            yield from self._spooled(period, period.until)
            return
        if self._unstored is not None:
            yield self._unstored
        self._unstored = None
        is_first = True
        while period.events or is_first:
            is_first = False
            self._unstored = self._batch(period, _first_of(period.events), next(self._tokens))
            yield self._unstored
            self._unstored = None

    def _batch(self, period: Period, events: Sequence[Event], token: str) -> Batch:
        info, lost, period.lost = period.info, period.lost, 0
        if lost:
            words = "%s: %d events were dropped, as too many waited to be written"
            _log.error(named(words, info.cluster), self.describe(), lost)
        return Batch(info.cluster, events, info, period.ahead, token, lost)

    # --- the spool --------------------------------------------------------------------

    def open_spool(self) -> None:
        """Begin to use the spool, if there is to be one; raise OutputError if that fails."""
        if self._spool_folder is None or self.spool is not None:
            return
        size = max(SPOOL_SIZE_MIN, self._spool_size // self._parts)
        waiting = self._waiting.max_bytes
        spool = Spool(self._folder(), max_bytes=size, max_waiting=waiting)
        spool.open()
        self.spool, self._began = spool, spool.end.event
        with suppress(msgspec.MsgspecError):
            self._ahead = self._ahead_before = _decode_ahead(spool.remembered)
        if spool.waiting:
            words = "spool %s: %d events from before are still to be stored"
            _log.info(words, spool.folder, spool.waiting)
        for event in _events_in(spool.gaps, Schema()):
            if isinstance(event, Gap):
                self._sequence.note(event)
        now, last = self.clock.wall(), spool.last
        if last is not None and now > last + self.kept_for:
            self._note(gap("stopped", last, now))

    def _warn_of_others(self) -> None:
        # Of clusters that had another name, or are not recorded any more.
        spools = [each.spool for each in self._cameras if each.spool is not None]
        if self._spool_folder is None or len(spools) < len(self._cameras):
            return
        for found in sorted(self._spool_folder.glob("*/stored")):
            folder = found.parent
            if folder in {each.folder for each in spools}:
                continue
            other = Spool(folder, max_bytes=self._spool_size, max_waiting=0)
            with suppress(OutputError), closing(other):
                other.open()
                if other.waiting:
                    words = "%d events stay in %s, of a cluster that is not recorded any more"
                    _log.warning(words, other.waiting, folder)

    def _folder(self) -> Path:
        # No cluster has such a name.
        return Path(self._spool_folder or "", self.state.cluster or "_unnamed")

    def persist(self) -> bool:
        if self._spool_folder is None:
            return True
        self.open_spool()
        assert self.spool is not None
        observed, self._observed = self._observed, []
        if self._repeatable is not None:
            self._repeatable.update(map(_identity, observed))
            if self.clock.monotonic() - self._repeated_at > _REPEATS:
                self._repeatable = None
        is_safe = self.spool.append(*self._records(observed))
        if is_safe:
            self._note_losses(self.spool)
        return is_safe

    def _note_losses(self, spool: Spool) -> None:
        for events, first, last in spool.take_losses():
            self._note(gap("buffer", first, last, dropped=events))

    @property
    def has_spool(self) -> bool:
        """Whether there is to be a spool, which may not be open yet."""
        return self._spool_folder is not None

    def take_observed(self) -> list[Event]:
        """Return the events that were to go into a spool that is not open."""
        observed, self._observed = self._observed, []
        return [event for event in observed if not event.is_gap]

    def _records(self, events: list[Event]) -> Iterator[Record]:
        # Gap records are apart: they are looked for after a restart.
        for is_gap, group in groupby(events, key=attrgetter("is_gap")):
            alike = list(group)
            for start in range(0, len(alike), RECORD_EVENTS):
                part = alike[start : start + RECORD_EVENTS]
                first, last = part[0].local_received, part[-1].local_received
                kind, events_in_it = (GAPS, 0) if is_gap else (EVENTS, len(part))
                yield Record(kind, self._lines.lines(part), events_in_it, first, last)

    def _note(self, record: Gap) -> None:
        # For the next snapshot, and for that of the next evcam if there is none.
        self._sequence.note(record)
        if self.spool is not None:
            self.spool.append(*self._records([record]))

    def _spooled(self, period: Period, until: Position) -> Generator[Batch]:
        spool = self.spool
        assert spool is not None
        is_first = True
        while True:
            piece = self._unstored_piece
            if piece is None:
                most = min(BATCH_BYTES, spool.max_bytes // 8)
                piece = spool.read(until, max_events=BATCH_EVENTS, max_bytes=most)
                self._unstored, self._unstored_piece = None, piece
            if piece is None and spool.has_unwritten:
                # By now there may be room for what waits in memory.
                spool.append()
                if spool.end > until:
                    until = spool.end
                    continue
            if piece is None:
                break
            if not spool.begin(piece):
                # Its beginning was dropped to make room.
                self._unstored_piece = None
                continue
            self._unstored = self._unstored or self._batch_of(piece, period)
            try:
                if self._unstored.events:
                    yield self._unstored
                    is_first &= self._unstored.info is not period.info
            except BaseException:
                spool.fail()
                raise
            spool.acknowledge(piece)
            self._unstored_piece = None
        if is_first:
            yield self._batch(period, [], next(self._tokens))

    def _batch_of(self, piece: Piece, period: Period) -> Batch:
        records = [each for each in piece.records if each.kind == EVENTS]
        events = _events_in([each.data for each in records], self._schema)
        unreadable = sum(each.events for each in records) - len(events)
        if unreadable and self.spool is not None:
            words = "the spool %s has %d events that cannot be read: they are left out"
            _log.error(words, self.spool.folder, unreadable)
        batch = self._batch(period, events, piece.token)
        if piece.start.event < self._began:
            # As far as it is not known better by now.
            return replace(batch, ahead={**self._ahead_before, **period.ahead})
        self._ahead_before = {}
        return batch

    def unrepeated(self, events: list[Event]) -> list[Event]:
        """Return those that are not among the last in the spool; of brokers that deliver again."""
        if self._repeatable is None:
            self.persist()
            newest: Iterable[bytes] = ()
            if self.spool is not None:
                with suppress(OSError):
                    newest = [*self.spool.newest()]
            self._repeatable = {_identity(event) for event in _events_in(newest, Schema())}
        self._repeated_at = self.clock.monotonic()
        return [each for each in events if each.is_gap or _identity(each) not in self._repeatable]


_decode_ahead: Final = msgspec.json.Decoder(dict[str, int]).decode


def _events_in(texts: Iterable[bytes], schema: Schema) -> list[Event]:
    return [event for text in texts for event in events_in(text, schema)]


def _identity(event: Event) -> tuple[Any, ...]:
    return event.type, event.uuid, event.hostname, event.timestamp, event.pid


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
    is_odd = event.original is not UNSET or event.learned
    if is_odd or (known is not UNSET and isinstance(known, Mapping)):
        return _EVENT_BYTES + 2 * len(encode_line([event.as_dict(), dict(event.joined)]))
    texts = (event.hostname, event.sw_ident, event.sw_ver, event.sw_sys)
    joined = 0 if known is UNSET else len(known.members)
    return event_bytes(event) + joined + sum([len(text) for text in texts if text])
