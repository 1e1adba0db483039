"""Events on disk until a store has them: a log in segments that survives the end of evcam."""

import fcntl
import logging
import os
import re
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from zlib import crc32

from evtools.errors import OutputError
from evtools.transport.recording import write_all
from evtools.trust import check_folder, make_folders, open_safely

_log = logging.getLogger(__name__)

VERSION: Final = 1
#: The kinds of records: lines of events, and lines of gap records, which are no events.
EVENTS, GAPS = b"E", b"G"
#: Seconds; what was written before has reached the disk.
SYNC_EVERY: Final = 5.0
#: A spool consists of at least so many segments, each of at most so many bytes.
_SEGMENTS: Final = 16
_SEGMENT_BYTES: Final = 4 * 1024 * 1024
#: Of closed segments, so many bytes stay, stored or not, and at most a quarter of all: a broker may
#: deliver again what is not acknowledged, which is up to 500 messages of 24 events.
_TAIL_BYTES: Final = 16 * 1024 * 1024
_TAIL_PART: Final = 4

_MAGIC: Final = b"evspool\n"
#: Magic, version, number of the segment, number of its first event, what no other segment has;
#: then a checksum.  Magic and version are where they are in all versions.
_HEADER: Final = struct.Struct(">8sHQQ8s")
#: Magic, kind, bytes, events, number of the first one, when the first and the last one came; then
#: a checksum of that and of what follows.
_MARK: Final = b"\xfaREC"
_RECORD: Final = struct.Struct(">4scIIQdd")
_SUM: Final = struct.Struct(">I")
_VERSION_END: Final = len(_MAGIC) + 2
_BEGIN: Final = _HEADER.size + _SUM.size
_HEAD: Final = _RECORD.size + _SUM.size
#: Magic, version, a count of writes; segment, offset and event up to which all is stored, and up
#: to which the batch reaches that was last tried; then a checksum.
_SLOT: Final = struct.Struct(">8sHQ6Q")
_SLOT_BYTES: Final = 128
_SLOTS: Final = 2
_NAME: Final = re.compile(r"(\d{12})\.log")


class Position(NamedTuple):
    """A place between two records: the segment, the offset in it, the number of the next event."""

    segment: int
    offset: int
    event: int


class Record(NamedTuple):
    """Lines, and of how many `events`, received from `first` to `last` (UTC epoch seconds)."""

    kind: bytes
    data: bytes
    events: int
    first: float
    last: float


class Loss(NamedTuple):
    """Events that are gone, received from `first` to `last` (UTC epoch seconds)."""

    events: int
    first: float
    last: float


class Piece(NamedTuple):
    """Records that are to be stored together; the same ones have the same `token`."""

    start: Position
    end: Position
    token: str
    records: list[Record]


@dataclass(slots=True)
class _Segment:
    number: int
    #: The numbers of its first event and of the one after its last.
    event: int
    end: int
    key: bytes
    bytes: int


class Spool:
    """A log of records in `folder`, which is made for this user alone; of one evcam at a time.

    `append` is called by one thread, and what reads by another.  A record is written before
    `append` returns, so that the end of the process loses none; `SYNC_EVERY` seconds later it has
    reached the disk.  What cannot be written, as the disk is full, waits in memory, up to
    `max_waiting` bytes.  The files take up to `max_bytes`; beyond, the oldest segment goes.  What
    is gone is in the log, as so many `items`, and in `losses` until `take_losses`.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int, max_waiting: int, items: str = "events"
    ) -> None:
        self.folder, self._items = folder, items
        self.max_bytes, self.max_waiting = max_bytes, max_waiting
        #: Of the files, and those of them that were lost since the start.
        self.bytes = self.dropped = 0
        #: When the last event before this start was received, if there was one, and the lines of
        #: gaps that were not stored.
        self.last: float | None = None
        self.gaps: list[bytes] = []
        #: What was to be remembered last.
        self.remembered = b""
        self._lock = threading.RLock()
        self._segments: list[_Segment] = []
        #: Where all is stored up to; to where the batch reaches that was tried last, if that
        #: failed or its end is unknown, and whether it is being stored.
        self._stored = self._tried = self.end = Position(0, 0, 0)
        self._is_storing = False
        self._fd = self._slots = self._lock_file = -1
        self._saves = 0
        self._unwritten: deque[Record] = deque()
        self._unwritten_bytes = 0
        self._losses: list[Loss] = []
        self._is_stuck = self._is_unsaved = False
        #: Closed segments that have not reached the disk.
        self._unsynced: list[int] = []
        self._closed = threading.Event()

    @property
    def is_open(self) -> bool:
        return self._lock_file >= 0

    @property
    def has_unwritten(self) -> bool:
        """Whether anything waits for room on the disk."""
        return bool(self._unwritten)

    @property
    def waiting(self) -> int:
        """The number of events that are not stored yet."""
        with self._lock:
            left = sum(record.events for record in self._unwritten)
            for each in self._segments:
                if each.number >= self._stored.segment:
                    is_first = each.number == self._stored.segment
                    left += each.end - (self._stored.event if is_first else each.event)
            return left

    # --- opening ----------------------------------------------------------------------

    def check(self) -> None:
        """Raise OutputError if it could not be used; change nothing, and leave its lock alone."""
        place = self.folder
        while not place.exists() and place != place.parent:
            place = place.parent
        try:
            check_folder(place)
            if not place.is_dir():
                raise OutputError(f"cannot use the spool {self.folder}: {place} is no directory")
            if not os.access(place, os.W_OK | os.X_OK, effective_ids=True):
                raise OutputError(f"cannot use the spool {self.folder}: permission denied")
            if place == self.folder:
                self._check_owner()
        except OSError as error:
            raise self._refused(error) from error

    def open(self) -> None:
        """Lock it, and look at what is there; raise OutputError if that fails."""
        try:
            make_folders(self.folder)
            check_folder(self.folder)
            self._check_owner()
            self._take_lock()
            self._slots = open_safely(
                self.folder / "stored", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600
            )
            self._look()
            with suppress(FileNotFoundError):
                self.remembered = (self.folder / "remembered").read_bytes()
        except OSError as error:
            self._release()
            raise self._refused(error) from error
        self._closed = threading.Event()
        threading.Thread(
            target=self._sync, args=(self._closed,), name="evtools-spool", daemon=True
        ).start()

    def _check_owner(self) -> None:
        status = self.folder.stat()
        if status.st_uid != os.geteuid():
            raise OutputError(
                f"cannot use the spool {self.folder}: it belongs to user {status.st_uid}",
                "run evcam as that user (--uid), or give another folder",
            )
        if status.st_mode & 0o022:
            raise OutputError(
                f"cannot use the spool {self.folder}: others can write it",
                f"take that away: chmod go-w {self.folder}",
            )

    def _refused(self, error: OSError) -> OutputError:
        why = error.strerror or str(error)
        if isinstance(error, FileExistsError | NotADirectoryError):
            why = "it is no directory"
        return OutputError(f"cannot use the spool {self.folder}: {why}")

    def _take_lock(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        file = open_safely(self.folder / "lock", flags, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(file, 20, 0).decode(errors="replace").strip()
            os.close(file)
            who = f"evcam process {pid}" if pid.isdigit() else "another evcam"
            raise OutputError(
                f"{who} uses the spool {self.folder}", "give each evcam a spool of its own"
            ) from None
        self._lock_file = file
        with suppress(OSError):  # a full disk
            os.ftruncate(file, 0)
            os.pwrite(file, b"%d\n" % os.getpid(), 0)

    def _look(self) -> None:
        # Find the segments and what of them is stored.
        self._segments, self.bytes, highest = [], 0, 0
        for name in sorted(path.name for path in self.folder.iterdir()):
            match = _NAME.fullmatch(name)
            if match is None:
                continue
            highest = max(highest, int(match[1]))
            segment = self._opened(int(match[1]))
            if segment is not None:
                if self._segments:
                    self._segments[-1].end = max(self._segments[-1].event, segment.event)
                self._segments.append(segment)
                self.bytes += segment.bytes
        self._stored, self._tried = self._saved() or (Position(0, 0, 0), Position(0, 0, 0))
        self._cut_torn_end()
        following = max(highest, self._stored.segment) + 1
        # Where the next segment will begin.
        self.end = Position(following, _BEGIN, max(self.end.event, self._stored.event))
        if self._stored.segment not in {each.number for each in self._segments}:
            later = [each for each in self._segments if each.number > self._stored.segment]
            self._stored = _start_of(later[0]) if later else self.end
        if not self._stored <= self._tried <= self.end:
            self._tried = self._stored
        self._read_gaps()

    def _opened(self, number: int) -> _Segment | None:
        # One of version or with a beginning that we cannot read is put aside.
        path = self._path(number)
        file = open_safely(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            head, size = os.pread(file, _BEGIN, 0), os.fstat(file).st_size
        finally:
            os.close(file)
        magic, version = head[: len(_MAGIC)], int.from_bytes(head[len(_MAGIC) : _VERSION_END])
        if magic == _MAGIC and len(head) == _BEGIN and version != VERSION:
            self._put_aside(path, f"version-{version}", "is of another version")
        elif len(head) < _BEGIN or not _is_whole(head, _HEADER.size):
            if not size:  # evcam was killed before it had begun
                path.unlink()
            else:
                self._put_aside(path, "damaged", f"is damaged ({size} bytes)")
        else:
            _, _, _, event, key = _HEADER.unpack_from(head)
            return _Segment(number, event, event, key, size)
        return None

    def _put_aside(self, path: Path, suffix: str, why: str) -> None:
        aside = path.with_name(f"{path.name}.{suffix}")
        path.rename(aside)
        words = "spool %s: %s %s: it is put aside as %s, and not written"
        _log.error(words, self.folder, path.name, why, aside.name)

    def _saved(self) -> tuple[Position, Position] | None:
        # The newer of two slots, which are written in turn.
        found: list[tuple[int, ...]] = []
        data = os.pread(self._slots, _SLOTS * _SLOT_BYTES, 0)
        for place in range(0, len(data), _SLOT_BYTES):
            slot = data[place : place + _SLOT.size + _SUM.size]
            if len(slot) == _SLOT.size + _SUM.size and _is_whole(slot, _SLOT.size):
                magic, version, *numbers = _SLOT.unpack_from(slot)
                if (magic, version) == (_MAGIC, VERSION):
                    found.append(tuple(numbers))
        if not found:
            if data and self._segments:
                words = "spool %s: what was stored of it is not known: all of it is written again"
                _log.warning(words, self.folder)
            return None
        self._saves, *numbers = max(found)
        return Position(*numbers[:3]), Position(*numbers[3:])

    def _cut_torn_end(self) -> None:
        # Of the last segment, which evcam may have been writing.
        if not self._segments:
            return
        segment = self._segments[-1]
        data = self._data_of(segment, 0)
        end, event, last = _BEGIN, segment.event, None
        for found in _records_in(data, _BEGIN):
            end, event = found.end, found.event + found.record.events
            last = max(last or 0.0, found.record.last)
        if end < len(data):
            with suppress(OSError):
                os.truncate(self._path(segment.number), end)
            words = "spool %s: its end was torn: %d bytes are cut off"
            _log.warning(words, self.folder, len(data) - end)
            # What it says of itself, if that much was written.
            if len(data) - end >= _RECORD.size and data.startswith(_MARK, end):
                _, _, _, events, number, first, then = _RECORD.unpack_from(data, end)
                if number == event:
                    self._lose(events, first, then)
        self.bytes -= len(data) - end
        segment.bytes, segment.end = end, event
        self.last = last or self._last_before(segment)
        self.end = Position(segment.number, end, event)

    def _last_before(self, segment: _Segment) -> float | None:
        # Of a last segment without any record, the time of the end of the one before.
        for earlier in reversed(self._segments[: self._segments.index(segment)]):
            records = [each.record for each in _records_in(self._data_of(earlier, 0), _BEGIN)]
            if records:
                return records[-1].last
        return None

    def _read_gaps(self) -> None:
        # Without reading all the events.
        for segment in self._segments:
            start = self._stored.offset if segment.number == self._stored.segment else _BEGIN
            if segment.number >= self._stored.segment:
                for offset, (kind, size, *_) in self._heads(segment, start):
                    if kind == GAPS:
                        data = self._data_of(segment, offset, offset + _HEAD + size)
                        self.gaps += [each.record.data for each in _records_in(data, 0)]

    def _heads(self, segment: _Segment, offset: int) -> Iterator[tuple[int, tuple[Any, ...]]]:
        # The offsets of records, and what stands before them, up to what is damaged.
        with suppress(OSError):
            file = os.open(self._path(segment.number), os.O_RDONLY | os.O_CLOEXEC)
            try:
                while len(head := os.pread(file, _RECORD.size, offset)) == _RECORD.size:
                    mark, *facts = _RECORD.unpack(head)
                    if mark != _MARK:
                        break
                    yield offset, tuple(facts)
                    offset += _HEAD + facts[1]
            finally:
                os.close(file)

    # --- writing ----------------------------------------------------------------------

    def append(self, *records: Record) -> bool:
        """Write records after all others; return whether nothing waits for room on the disk."""
        with self._lock:
            for record in records:
                self._unwritten.append(record)
                self._unwritten_bytes += len(record.data)
            if not self.is_open:
                return not self._unwritten
            error = self._write_out()
            if error is not None and self._free():
                error = self._write_out()
            if error is not None:
                if not self._is_stuck:
                    words = "cannot write the spool %s: %s: %s wait in memory until it can be"
                    _log.error(words, self.folder, error.strerror, self._items)
                self._is_stuck = True
                self._drop_unwritten()
                return False
            if self._is_stuck:
                _log.warning("the spool %s can be written again", self.folder)
                self._is_stuck = False
            return True

    def _write_out(self) -> OSError | None:
        # All that waits in memory; return what stopped that.
        try:
            while self._unwritten:
                self._write(self._unwritten[0])
                self._unwritten_bytes -= len(self._unwritten.popleft().data)
        except OSError as error:
            return error
        return None

    def _free(self) -> bool:
        # Give back the room of what is stored; return whether there was any.
        before = self.bytes
        for segment in self._segments[:-1]:
            if segment.number < self._stored.segment:
                self._remove(segment)
        if self._fd >= 0 and self._stored == self.end and self.end.offset > _BEGIN:
            os.close(self._fd)
            self._fd = -1
            self._remove(self._segments[-1])
            self.end = Position(self.end.segment + 1, _BEGIN, self.end.event)
            self._stored = self._tried = self.end
            self._save()
        return self.bytes < before

    def take_losses(self) -> list[Loss]:
        """Return what was lost since the last call, in a row as one."""
        with self._lock:
            losses, self._losses = self._losses, []
            return losses

    def _drop_unwritten(self) -> None:
        gone: list[Record] = []
        while self._unwritten_bytes > self.max_waiting:
            record = self._unwritten.popleft()
            self._unwritten_bytes -= len(record.data)
            gone += [record] * (record.kind == EVENTS)
        events = sum(record.events for record in gone)
        if events:
            words = "spool %s: too many %s wait for room on its disk: %d were dropped"
            self._say_of_loss(words, events)
            self._lose(events, gone[0].first, gone[-1].last)

    def _write(self, record: Record) -> None:
        # Raise OSError, with nothing changed.
        kind, data, events, first, last = record
        head = _RECORD.pack(_MARK, kind, len(data), events, self.end.event, first, last)
        blob = b"%b%b%b" % (head, _SUM.pack(crc32(data, crc32(head))), data)
        is_full = self.end.offset + len(blob) > self._segment_bytes and self.end.offset > _BEGIN
        if self._fd < 0 or is_full:
            self._begin_segment()
        self._put(blob, self.end.offset)
        number, offset, event = self.end
        self.end = Position(number, offset + len(blob), event + events)
        self._segments[-1].bytes += len(blob)
        self._segments[-1].end += events
        self.bytes += len(blob)
        self._make_room()

    def _put(self, blob: bytes, offset: int) -> None:
        os.lseek(self._fd, offset, os.SEEK_SET)
        _, error = write_all(self._fd, blob)
        if error is not None:
            with suppress(OSError):
                os.ftruncate(self._fd, offset)
            raise error

    def _begin_segment(self) -> None:
        # Those of earlier processes are not gone on with.
        number = self.end.segment + (self._fd >= 0)
        make_folders(self.folder)  # where somebody has removed it
        path = self._path(number)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        key, event, before = os.urandom(8), self.end.event, self._fd
        head = _HEADER.pack(_MAGIC, VERSION, number, event, key)
        self._fd = open_safely(path, flags, 0o600)
        try:
            self._put(head + _SUM.pack(crc32(head)), 0)
        except OSError:
            os.close(self._fd)
            self._fd = before
            with suppress(OSError):
                path.unlink()
            raise
        if before >= 0:
            self._unsynced.append(before)
        if self._stored == self.end:
            self._stored = self._tried = Position(number, _BEGIN, event)
        self.end = Position(number, _BEGIN, event)
        self._segments.append(_Segment(number, event, event, key, _BEGIN))
        self.bytes += _BEGIN

    @property
    def _segment_bytes(self) -> int:
        return min(_SEGMENT_BYTES, self.max_bytes // _SEGMENTS)

    @property
    def _tail(self) -> int:
        return min(_TAIL_BYTES, self.max_bytes // _TAIL_PART) // self._segment_bytes

    def _make_room(self) -> None:
        while self.bytes > self.max_bytes:
            # Not what is being stored, as whether that is lost is not known.
            first, last = self._stored.segment, self._tried.segment
            free = [
                each
                for each in self._segments[:-1]
                if not (self._is_storing and first <= each.number <= last)
            ]
            if not free:
                return
            self._drop(free[0])

    def _drop(self, segment: _Segment) -> None:
        number, stored = segment.number, self._stored
        if number >= stored.segment:
            is_first = number == stored.segment
            events = segment.end - (stored.event if is_first else segment.event)
            heads = self._heads(segment, stored.offset if is_first else _BEGIN)
            times = [facts[-2:] for _, facts in heads if facts[0] == EVENTS]
            if events:
                words = "the spool %s is full: of the %s in it the oldest %d were dropped"
                self._say_of_loss(words, events)
                first, last = (times[0][0], times[-1][1]) if times else (0.0, 0.0)
                self._lose(events, first, last)
            if is_first:
                following = self._segments[self._segments.index(segment) + 1]
                self._stored = _start_of(following)
                self._tried = max(self._tried, self._stored)
                self._save()
        self._remove(segment)

    def _remove(self, segment: _Segment) -> None:
        with suppress(OSError):
            self._path(segment.number).unlink()
        self._segments.remove(segment)
        self.bytes -= segment.bytes

    def _lose(self, events: int, first: float, last: float) -> None:
        self.dropped += events
        last = max(first, last)
        if self._losses and self._losses[-1].last <= first:
            before = self._losses.pop()
            events, first = before.events + events, before.first
        self._losses.append(Loss(events, first, last))

    def _say_of_loss(self, words: str, events: int) -> None:
        # Of many in a row, when there are twice as many.
        if not self.dropped or (self.dropped + events).bit_length() > self.dropped.bit_length():
            more = f", {self.dropped + events} so far" if self.dropped else ""
            _log.error(words + more, self.folder, self._items, events)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:012}.log"

    # --- reading ----------------------------------------------------------------------

    def read(self, until: Position, *, max_events: int, max_bytes: int) -> Piece | None:
        """Return the next records that are not stored, at most so many, at least one.

        Those that were tried last come again as they were.  None if there are none before `until`.
        Raise OSError.
        """
        with self._lock:
            start = end = self._stored
            is_again = self._tried > start
            until = self._tried if is_again else min(until, self.end)
            records, token, events, size = list[Record](), "", 0, 0
            for place, record, lost, after in self._steps(start, until):
                if record is not None:
                    events, size = events + record.events, size + len(record.data)
                    is_much = events > max_events or size > max_bytes
                    if records and is_much and not is_again:
                        break
                    records.append(record)
                    token = token or place
                if lost:
                    self._lose_damaged(lost, records)
                end = after
            token += f"-{end.segment}-{end.offset}"
            return None if end == start else Piece(start, end, token, records)

    def _steps(
        self, start: Position, until: Position
    ) -> Iterator[tuple[str, Record | None, int, Position]]:
        # Records, each with what no other place is called, how many events before it are damaged,
        # and where it ends; and the end of each segment.
        for segment in self._segments.copy():
            number = segment.number
            if not start.segment <= number <= until.segment:
                continue
            is_first, is_last = number == start.segment, number == until.segment
            offset, expected = start[1:] if is_first else (_BEGIN, segment.event)
            last = until if is_last else Position(number, segment.bytes, segment.end)
            for found in _records_in(self._data_of(segment, offset, last.offset), 0):
                begin = offset + found.end - len(found.record.data)
                place, lost = f"{segment.key.hex()}-{begin}", max(0, found.event - expected)
                expected = found.event + found.record.events
                yield place, found.record, lost, Position(number, offset + found.end, expected)
            yield "", None, max(0, last.event - expected), last

    def _lose_damaged(self, events: int, records: list[Record]) -> None:
        words = "the spool %s is damaged: %d %s in it cannot be read"
        _log.error(words, self.folder, events, self._items)
        times = [(each.first, each.last) for each in records[-2:] if each.kind == EVENTS]
        first, last = (times[0][1], times[-1][0]) if times else (0.0, 0.0)
        self._lose(events, min(first, last), max(first, last))

    def _data_of(self, segment: _Segment, start: int, end: int | None = None) -> bytes:
        end = segment.bytes if end is None else end
        try:
            file = os.open(self._path(segment.number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # somebody has removed it: as if it were empty
            return b""
        try:
            return os.pread(file, max(0, end - start), start)
        finally:
            os.close(file)

    def begin(self, piece: Piece) -> bool:
        """Note that a piece is being stored; return False if it is not the next one any more."""
        with self._lock:
            if piece.start != self._stored:
                return False
            self._tried, self._is_storing = piece.end, True
            self._save()
            return True

    def fail(self) -> None:
        """Note that what is being stored may not have been."""
        with self._lock:
            self._is_storing = False

    def acknowledge(self, piece: Piece) -> None:
        """Note that a piece is stored, once and for all, and make room."""
        with self._lock:
            self._is_storing = False
            self._stored = self._tried = piece.end
            self._save()
            stored = [each for each in self._segments[:-1] if each.number < piece.end.segment]
            for segment in stored[: max(0, len(self._segments) - 1 - self._tail)]:
                self._remove(segment)

    def _save(self) -> None:
        # In place, which needs no room on a disk that is full.
        self._saves += 1
        slot = _SLOT.pack(_MAGIC, VERSION, self._saves, *self._stored, *self._tried)
        slot = (slot + _SUM.pack(crc32(slot))).ljust(_SLOT_BYTES, b"\0")
        try:
            os.pwrite(self._slots, slot, self._saves % _SLOTS * _SLOT_BYTES)
            self._is_unsaved = False
        except OSError as error:
            if not self._is_unsaved:
                words = "cannot note in the spool %s what is stored: %s"
                _log.error(words, self.folder, error.strerror)
            self._is_unsaved = True

    def newest(self) -> Iterator[bytes]:
        """Yield the lines of the last events that are there, stored or not."""
        with self._lock:
            unwritten = [each for each in self._unwritten if each.kind == EVENTS]
            parts = [self._data_of(each, _BEGIN) for each in self._segments[-self._tail - 1 :]]
        for data in parts:
            for found in _records_in(data, 0):
                if found.record.kind == EVENTS:
                    yield found.record.data
        yield from (record.data for record in unwritten)

    # --- the disk, and the end --------------------------------------------------------

    def remember(self, data: bytes) -> None:
        """Keep a few bytes for who opens it next, instead of the last, if there is room."""
        new = self.folder / "remembered.new"
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            file = open_safely(new, flags, 0o600)
            try:
                _, error = write_all(file, data)
            finally:
                os.close(file)
            if error is None:
                new.rename(self.folder / "remembered")

    def _sync(self, closed: threading.Event) -> None:
        # In a thread of its own, as it may take seconds.
        done: Any = None
        while not closed.wait(SYNC_EVERY):
            with self._lock:
                ended, self._unsynced = self._unsynced, []
                is_new = self._fd >= 0 and done != self.end and not closed.is_set()
                done = self.end
                current = [os.dup(self._fd)] if is_new else []
            for file in (*ended, *current):
                with suppress(OSError):
                    os.fdatasync(file)
                os.close(file)

    def reopen(self) -> None:
        """Begin anew where its folder was moved away; raise OutputError if that fails."""
        with self._lock:
            with suppress(OSError):
                if os.path.samestat((self.folder / "lock").stat(), os.fstat(self._lock_file)):
                    return
            words = "the spool %s was moved away, with %d %s that are not stored: begun anew"
            _log.warning(words, self.folder, self.waiting, self._items)
            self._release()
            self.open()

    def close(self) -> None:
        with self._lock:
            left = sum(record.events for record in self._unwritten)
            if left:
                words = "spool %s: %d %s are lost: there was no room for them on its disk"
                _log.error(words, self.folder, left, self._items)
            self._unwritten.clear()
            self._unwritten_bytes = 0
            self._release()

    def _release(self) -> None:
        self._closed.set()
        for file in (*self._unsynced, self._fd):
            if file >= 0:
                with suppress(OSError):
                    os.fdatasync(file)
                os.close(file)
        for file in (self._slots, self._lock_file):
            if file >= 0:
                os.close(file)
        self._fd = self._slots = self._lock_file = -1
        self._unsynced = []


class _Found(NamedTuple):
    # A record, the number of its first event, and where it ends.
    record: Record
    event: int
    end: int


def _records_in(data: bytes, offset: int) -> Iterator[_Found]:
    # The whole records from `offset` on; what is damaged is left out.
    while True:
        offset = data.find(_MARK, offset)
        if offset < 0 or offset + _HEAD > len(data):
            return
        _, kind, size, events, number, first, last = _RECORD.unpack_from(data, offset)
        begin = offset + _HEAD
        lines = data[begin : begin + size]
        head = data[offset : offset + _RECORD.size]
        (checksum,) = _SUM.unpack_from(data, offset + _RECORD.size)
        if len(lines) == size and crc32(lines, crc32(head)) == checksum:
            offset = begin + size
            yield _Found(Record(kind, lines, events, first, last), number, offset)
        else:
            offset += 1


def _is_whole(data: bytes, size: int) -> bool:
    return _SUM.pack(crc32(data[:size])) == data[size : size + _SUM.size]


def _start_of(segment: _Segment) -> Position:
    return Position(segment.number, _BEGIN, segment.event)
