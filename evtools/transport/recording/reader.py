"""Recordings: the event stream as JSON Lines, written by `-w`, replayed by `-r`."""

import codecs
import glob
import itertools
import math
import os
import re
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, TypeAlias

from evtools.clock import Clock
from evtools.errors import DecodeError, UsageError
from evtools.transport.buffer import Notice
from evtools.transport.recording.compression import Reel
from evtools.transport.recording.writer import RecordingWriter
from evtools.transport.source import Statistics
from evtools.transport.tally import Tally
from evtools.wire import TIME_MAX, EventFields, Lost, Record, open_envelope, read_fields
from evtools.wire import moment as moment_of

__all__ = ["Moment", "RecordedEvent", "RecordingReader", "RecordingWriter", "files_of"]

#: UTC epoch seconds, or a time of day on the days of the recording.
Moment: TypeAlias = float | time_of_day

#: Longer than any line evdump writes: an event of the greatest size we take,
#: with every character escaped.
_LINE_BYTES_MAX: Final = 128 * 1024 * 1024

#: How many events one batch has at most.
_BATCH: Final = 1000

#: How long a wait goes on after `stop`, in seconds.
_SLICE: Final = 0.1

#: How many lines may come before the first that has a time.
_LINES_WITHOUT_TIME: Final = 1000

#: How many bad lines in a row, with no event before, make a file no recording.
_STRANGE_LINES: Final = 100

_STAMP: Final = "%Y-%m-%d %H:%M:%S"


class RecordedEvent(Record):
    """A record from a recording.

    `recorded` is False for the bare event of another program, to which nothing
    was joined when it was written.  `moment` is when the event was received, or
    else sent, if that is known.
    """

    __slots__ = ("moment", "recorded")

    def __init__(self, event: EventFields, joined: dict[str, Any], *, recorded: bool) -> None:
        super().__init__(event, joined)
        self.recorded = recorded
        self.moment = received(event)


class RecordingReader:
    """Replay recordings, as a source of events.

    `paths` are files, patterns such as `rec-*.jsonl` for several, or `-` for
    stdin.  Several files are played as one recording, in the order in which
    their events were received; the order within a file is kept.  With a `speed`
    the events come at that multiple of the pace at which they were received,
    without one (None or infinite) as fast as they can be read.  `since` and
    `until` leave out what was received outside of them; a time of day is the
    first one on the recording, see `_Window`.  Lines that are no events are
    counted, in `statistics`, unless `since` or `until` leaves them out.  Raises
    `UsageError` when a file cannot be opened and, while reading, when it is no
    recording at all.

    `pause`, `resume`, `seek` and `speed` may be used from another thread than
    the one that takes the events.  With `stays` the tape waits at its end to be
    wound back.  `on_notice` is called, in the thread that takes the events, when
    the tape was wound back (`rewound`: all that came before is to be forgotten)
    and when its end is reached (`ended`, with words if no event was played).
    """

    def __init__(
        self,
        *paths: str,
        clock: Clock,
        speed: float | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._paths = files_of(paths)
        self._name = ", ".join(self._paths)
        self._clock = clock
        self._pace = ReplayClock(speed, clock)
        self.on_notice: Callable[[Notice], None] | None = None
        self.stays = False
        self._sleep = sleep
        #: Those that are read now, and those whose time has not come.
        self._playing: list[_Piece] = []
        self._waiting: deque[tuple[float, str]] = deque()
        self._done_bytes = 0
        self._sizes = [_size(path) for path in self._paths]
        self._tally = Tally()
        self._seen = 0
        self._first, self._last = math.inf, -math.inf
        self._told_end = False
        #: When what was given out last was received.
        self._latest: float | None = None
        #: Somebody wants to go back to the beginning.
        self._rewinding = False
        # A plain flag: setting a threading.Event from a signal handler can
        # deadlock with the wait that the signal interrupted.
        self._stopped = False
        self._window = _Window(since, until)
        self._order = self._ordered()
        self._thread()

    def _ordered(self) -> list[tuple[float, str]]:
        """Return the files by when they begin; what is no file is read at once."""
        if len(self._paths) == 1 and self._window.is_known:
            return [(-math.inf, self._paths[0])]
        firsts = {
            path: _first_moment(path, self._clock) if size is not None else None
            for path, size in zip(self._paths, self._sizes, strict=True)
        }
        known = [first for first in firsts.values() if first is not None]
        if known:
            self._window.settle(min(known), self._last_moment)
        return sorted(
            (-math.inf if first is None else first, path) for path, first in firsts.items()
        )

    def _last_moment(self) -> float:
        """Return when the recording ends; infinite where that is not known yet."""
        if None in self._sizes:
            return math.inf
        moments = (
            moment
            for path in self._paths
            for moment in _moments(path, self._clock)
            if moment is not None
        )
        return max(moments, default=math.inf)

    def _thread(self) -> None:
        """Be at the beginning, with the first file open."""
        self._waiting.extend(self._order)
        self._begin_due()

    def batches(self, timeout: float | None = None) -> Iterator[list[EventFields]]:
        """Yield the events, and [] when none is due within `timeout` seconds."""
        for records in self.records(timeout):
            yield [record.event for record in records]

    def records(self, timeout: float | None = None) -> Iterator[list[RecordedEvent]]:
        """Yield the events with what was joined to them when they were recorded."""
        while not self._stopped:
            batch = self._next(timeout)
            if batch is None:
                return
            self._tally.count(batch)
            yield batch

    def statistics(self) -> Statistics:
        """Return the counters as they are now."""
        return self._tally.statistics(connected=not self._at_last_line)

    def progress(self) -> tuple[int, int | None]:
        """Return how many bytes were read, and of how many if that is known."""
        done = self._done_bytes + sum(piece.reel.done_bytes for piece in self._playing)
        sizes = [size for size in self._sizes if size is not None]
        return done, sum(sizes) if len(sizes) == len(self._sizes) else None

    def extent(self) -> str:
        """Return that no event is shown, of how many, and from when to when they go.

        In local time, as `since` and `until` are.
        """
        events = f"0 of {self._seen} events{self._window.words()}"
        if self._first > self._last:
            return events
        first, last = _stamp(self._first), _stamp(self._last)
        return f"{events}; the recording goes from {first} to {last}"

    def stop(self) -> None:
        """End the replay; safe in a signal handler."""
        self._stopped = True

    def close(self) -> None:
        """Let go of the files; idempotent."""
        for piece in self._playing:
            piece.close()

    # --- playing --------------------------------------------------------------------

    @property
    def speed(self) -> float:
        """The factor of the pace; infinite for no waiting. It may be changed."""
        return self._pace.speed

    @speed.setter
    def speed(self, value: float) -> None:
        self._pace.change(speed=value)

    @property
    def paused(self) -> bool:
        """Whether the tape stands still."""
        return self._pace.paused

    def pause(self) -> None:
        """Stand still until `resume`."""
        self._pace.change(paused=True)

    def resume(self) -> None:
        """Go on where we stand."""
        self._pace.change(paused=False)

    @property
    def position(self) -> float | None:
        """The moment on the tape that is played, None before the first event."""
        return self._latest if self.ended else self._pace.position

    @property
    def ended(self) -> bool:
        """Whether all that is on the tape has been given out."""
        return self._at_last_line and not self._rewinding

    @property
    def _at_last_line(self) -> bool:
        return not self._playing and not self._waiting

    def seek(self, moment: float) -> None:
        """Go on from `moment` (UTC epoch seconds), forwards or back.

        All events up to it are given out, as fast as can be, so that who
        follows them knows what was the case then.  To go back the tape begins
        anew.  Raise UsageError where that cannot be, as with stdin.
        """
        position = self.position
        back = position is not None and moment < position
        if back and (None in self._sizes):
            raise UsageError(f"{self._name} cannot be wound back", "replay a file to go back in it")
        # In this order: what comes after the beginning must find the new pace.
        self._pace.jump(moment)
        if back:
            self._rewinding = True

    # --- reading ------------------------------------------------------------------

    def _next(self, timeout: float | None) -> list[RecordedEvent] | None:
        """Return what is due, [] when nothing is in time, None at the end."""
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        while not self._stopped:
            if self._rewinding:
                self._rewind()
            left = None if deadline is None else deadline - self._clock.monotonic()
            hungry = next((piece for piece in self._playing if not piece.ready), None)
            if hungry is not None:
                self._read(hungry, left)
            if self._at_last_line and not self._stays_at_end():
                return None
            if due := self._due():
                return due
            if deadline is not None and self._clock.monotonic() >= deadline:
                return []
            if hungry is None:
                # Only for what is ready and not due: what is left out takes no time.
                self._doze(deadline)
        return None

    def _stays_at_end(self) -> bool:
        """Tell once that the end is reached; return whether we stay there."""
        if not self._told_end:
            self._told_end = True
            shown = self._tally.statistics(connected=False).events
            self._tell("ended", "" if shown else self.extent())
        return self.stays

    def _rewind(self) -> None:
        """Begin anew."""
        self._rewinding = self._told_end = False
        self.close()
        self._playing.clear()
        self._waiting.clear()
        self._done_bytes = self._seen = 0
        self._tally = Tally()
        self._thread()
        self._tell("rewound", self._name)

    def _tell(self, kind: str, text: str) -> None:
        if self.on_notice is not None:
            self.on_notice(Notice(kind, text))

    def _begin_due(self) -> None:
        """Open the files whose first event comes before what is ready."""
        while self._waiting:
            head = min((piece.head for piece in self._playing), default=math.inf)
            if self._playing and not self._waiting[0][0] <= head:
                return
            _, path = self._waiting.popleft()
            self._playing.append(_Piece(path, self._clock))

    def _read(self, piece: "_Piece", timeout: float | None) -> None:
        """Read some more of a file, or let go of it at its end."""
        text = piece.read(timeout, lambda: self._stopped)
        if text is None:
            return
        if piece.whole.too_long:
            piece.whole.too_long = False
            self._tally.defect("line too long", b"", f"over {_LINE_BYTES_MAX} bytes")
        if piece.ended and piece.reel.damage:
            self._tally.defect("damaged recording", b"", piece.reel.damage)
        self._take(piece, text)
        if piece.is_strange():
            self._waiting.clear()
            self.close()
            self._playing.clear()
            raise UsageError(
                f"{piece.path} is no recording: {piece.defect}",
                "a recording has one JSON event per line, as evdump -w writes it",
            )
        if piece.ended and not piece.ready:
            self._end(piece)

    def _end(self, piece: "_Piece") -> None:
        self._done_bytes += piece.reel.done_bytes
        piece.close()
        self._playing.remove(piece)
        self._begin_due()

    def _take(self, piece: "_Piece", text: bytes) -> None:
        """Take in whole lines: have ready what is wanted of them, count the others."""
        window = self._window
        moments = _moments_in(text) if window.is_set else []
        if moments and (max(moments) < window.since or min(moments) > window.until):
            left_out = len(moments)
        else:
            moments, left_out = self._take_lines(piece, text.split(b"\n"))
        piece.good += left_out
        self._tally.good += left_out
        if moments:
            self._seen += len(moments)
            self._first = min(self._first, *moments)
            self._last = max(self._last, *moments)

    def _take_lines(self, piece: "_Piece", lines: Iterable[bytes]) -> tuple[list[float], int]:
        """Return when the events were received, and how many were left out."""
        window = self._window
        moments: list[float] = []
        left_out = 0
        for line in lines:
            # What is left out need not be decoded to see that.
            moment = glance(line) if window.is_set else None
            if moment is not None and not window.since <= moment <= window.until:
                moments.append(moment)
                left_out += 1
                continue
            record = self._record(piece, line)
            if record is None:
                continue
            if record.moment is None:
                self._seen += 1
            else:
                moments.append(record.moment)
                if not window.is_known:
                    window.settle(record.moment, lambda: math.inf)
            if record.moment is None or window.has(record.moment):
                piece.ready.append(record)
        return moments, left_out

    def _record(self, piece: "_Piece", line: bytes) -> RecordedEvent | None:
        """Return the event of a line, None if there is none."""
        line = line.removeprefix(codecs.BOM_UTF8)  # of files that were joined
        if not line.strip():
            return None
        try:
            lost: list[Lost] = []
            event, joined = open_envelope(_object(line, lost))
            kind = event.get("type")
            if not isinstance(kind, str) or not kind:
                raise DecodeError("no type")  # noqa: TRY301  (counted like the others)
        except DecodeError as error:
            if piece.ended:
                error = DecodeError("torn last line", error.kind)
            piece.bad += 1
            piece.defect = piece.defect or str(error)
            self._tally.defect(error.kind, line, error.detail)
            return None
        piece.good += 1
        self._tally.good += 1
        for each in lost:
            self._tally.defect(each.kind, line, each.detail, is_whole=False)
        return RecordedEvent(event, joined or {}, recorded=joined is not None)

    # --- pace ---------------------------------------------------------------------

    def _due(self) -> list[RecordedEvent]:
        due: list[RecordedEvent] = []
        while len(due) < _BATCH and (piece := self._front()) is not None:
            record = piece.ready[0]
            if self._pace.wait(record.moment) > 0:
                break
            due.append(record)
            piece.advance()
            if not piece.ready:
                if piece.ended:
                    self._end(piece)
                elif len(self._playing) > 1:
                    break
        if due:
            self._latest = due[-1].moment or self._latest
        return due

    def _front(self) -> "_Piece | None":
        """Return whose event is next; None where that is not known without reading."""
        if self._waiting:
            self._begin_due()
        playing = self._playing
        if len(playing) == 1:
            return playing[0] if playing[0].ready else None
        if not playing or not all(piece.ready for piece in playing):
            return None
        return min(playing, key=_head)

    def _doze(self, deadline: float | None) -> None:
        """Wait for the next event, the deadline, or a while, whatever is first."""
        waits = [_SLICE]
        if (piece := self._front()) is not None:
            waits.append(self._pace.wait(piece.ready[0].moment))
        if deadline is not None:
            waits.append(deadline - self._clock.monotonic())
        self._sleep(max(0.0, min(waits)))


class ReplayClock:
    """The time on a tape, which runs at a multiple of ours, stands still or jumps.

    One thread asks `wait` for the events; others may steer.
    """

    def __init__(self, speed: float | None, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._speed = math.inf if speed is None else speed
        self._paused = False
        #: Where the tape was, in UTC epoch seconds, and when that was; None
        #: until the first event says where it begins.
        self._origin: float | None = None
        self._since = 0.0

    @property
    def speed(self) -> float:
        """How many seconds on the tape pass in one of ours."""
        return self._speed

    @property
    def paused(self) -> bool:
        """Whether the tape stands still."""
        return self._paused

    @property
    def position(self) -> float | None:
        """The moment on the tape, in UTC epoch seconds; None before the first event."""
        with self._lock:
            return None if self._origin is None else self._origin + self._run()

    def change(self, *, speed: float | None = None, paused: bool | None = None) -> None:
        """Run faster or slower from now on, stand still or go on."""
        with self._lock:
            if self._origin is not None:
                self._origin += self._run()
            self._since = self._clock.monotonic()
            if speed is not None:
                self._speed = speed
            if paused is not None:
                self._paused = paused

    def jump(self, moment: float) -> None:
        """Be at `moment`: all up to it is due at once."""
        with self._lock:
            self._origin, self._since = moment, self._clock.monotonic()

    def wait(self, moment: float | None) -> float:
        """Return in how many seconds an event of `moment` is due; 0 or less is now.

        Infinite while the tape stands still.  Without a moment an event is due
        with those before it.
        """
        with self._lock:
            if self._origin is None and not self._paused and moment is not None:
                self._origin, self._since = moment, self._clock.monotonic()
            left = self._left(moment)
            if left <= 0:
                return 0.0
            if math.isinf(self._speed) and not self._paused:
                self._origin = moment
            return math.inf if self._paused else left / self._speed

    def _left(self, moment: float | None) -> float:
        """Return how far it is to a moment, in seconds of the tape."""
        if self._origin is None:
            return math.inf if self._paused else 0.0
        return 0.0 if moment is None else moment - self._origin - self._run()

    def _run(self) -> float:
        """Return how far the tape came since it was at the origin, in its seconds."""
        if self._paused or math.isinf(self._speed):
            return 0.0
        return (self._clock.monotonic() - self._since) * self._speed


def received(event: EventFields) -> float | None:
    """Return when an event was received, or else sent, if it says so."""
    at = moment_of(event.get("local_received"))
    return moment_of(event.get("timestamp")) if at is None else at


class _Window:
    """From when to when events are wanted.

    A time of day is known once the recording has begun: `since` is on the day of
    its first event, or on the next one where the recording begins later in the day
    and goes on until then; `until` is the first such time after `since` and after
    the beginning.  Times of day are local.
    """

    def __init__(self, since: Moment | None, until: Moment | None) -> None:
        self._since, self._until = since, until
        self.since = since if isinstance(since, float | int) else -math.inf
        self.until = until if isinstance(until, float | int) else math.inf
        self.is_known = not any(isinstance(m, time_of_day) for m in (since, until))

    @property
    def is_set(self) -> bool:
        """Whether anything is left out, as far as that is known."""
        return self.since > -math.inf or self.until < math.inf

    def has(self, moment: float) -> bool:
        """Return whether events of a moment are wanted."""
        return self.since <= moment <= self.until

    def settle(self, first: float, last: Callable[[], float]) -> None:
        """Take in when the recording begins and, if it is asked, when it ends."""
        self.is_known = True
        if isinstance(self._since, time_of_day):
            self.since, after = _on_day_of(first, self._since)
            if self.since < first and after <= last():
                self.since = after
        if isinstance(self._until, time_of_day):
            begin = max(first, self.since)
            self.until, after = _on_day_of(begin, self._until)
            if self.until < begin:
                self.until = after

    def words(self) -> str:
        """Return what was asked for, as words after "events"."""
        since = f" from {_stamp(self.since)}" if self.since > -math.inf else ""
        return since + (f" to {_stamp(self.until)}" if self.until < math.inf else "")


def _on_day_of(moment: float, wanted: time_of_day) -> tuple[float, float]:
    """Return the moments of a time of day on the day of `moment` and on the next."""
    try:
        day = datetime.fromtimestamp(moment, wanted.tzinfo).date()
        one = datetime.combine(day, wanted).timestamp()
        return one, datetime.combine(day + timedelta(days=1), wanted).timestamp()
    except (OverflowError, ValueError, OSError):  # beyond the calendar
        return -math.inf, math.inf


def _stamp(moment: float) -> str:
    """Return a moment in local time, or its seconds if it is beyond the calendar."""
    try:
        return datetime.fromtimestamp(moment, UTC).astimezone().strftime(_STAMP)
    except (OverflowError, ValueError, OSError):
        return f"{moment:g}"


# --- files ------------------------------------------------------------------------


class _Piece:
    """One of the files, and what of it is ready to be played."""

    def __init__(self, path: str, clock: Clock) -> None:
        self.path = path
        self.ready: deque[RecordedEvent] = deque()
        self.ended = False
        #: How many lines were events, and how many were not.
        self.good = self.bad = 0
        #: What was wrong first.
        self.defect = ""
        self.reel = Reel(path, clock=clock)
        self.whole = _Lines()
        self._past = -math.inf

    @property
    def head(self) -> float:
        """When what is ready first was received, never before what was played."""
        if not self.ready:
            return self._past
        return max(self._past, self.ready[0].moment or -math.inf)

    def advance(self) -> None:
        """Let go of what is ready first."""
        self._past = self.head
        self.ready.popleft()

    def read(self, timeout: float | None, stopped: Callable[[], bool]) -> bytes | None:
        """Return more whole lines, also none; None if nothing came in time."""
        content = self.reel.read(timeout, stopped)
        if content is None:
            return None
        if content:
            return self.whole.feed(content)
        self.ended = True
        return self.whole.rest()

    def is_strange(self) -> bool:
        """Return whether all that was read says: this is no recording."""
        return not self.good and self.bad >= (1 if self.ended else _STRANGE_LINES)

    def close(self) -> None:
        """Let go of the file; idempotent."""
        self.reel.close()


_head = attrgetter("head")


def files_of(paths: Iterable[str]) -> list[str]:
    """Return the files that paths and patterns name, each once."""
    found: dict[str, str] = {}
    for path in paths:
        names = [path]
        if glob.has_magic(path) and not Path(path).exists():
            pattern = str(Path(path).expanduser())
            names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  (of any folder)
            if not names:
                raise UsageError(f"cannot read {path}: no file has such a name")
        for name in names:
            found.setdefault("-" if name == "-" else os.path.realpath(name), name)
    if "-" in found and len(found) > 1:
        raise UsageError(
            "stdin cannot be replayed together with files",
            "join them before: cat FILE... | evdump -r -",
        )
    return list(found.values())


def _size(path: str) -> int | None:
    """Return how large a file is that can be read more than once."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_size if path != "-" and stat.S_ISREG(status.st_mode) else None


def _moments(path: str, clock: Clock) -> Iterator[float | None]:
    """Yield when the events of a file were received, None for those without a time."""
    piece = _Piece(path, clock)
    try:
        while not piece.ended:
            text = piece.read(None, lambda: False) or b""
            for line in text.split(b"\n"):
                moment = glance(line)
                if moment is None:
                    with suppress(DecodeError):
                        moment = received(open_envelope(_object(line, []))[0])
                yield moment
    finally:
        piece.close()


def _first_moment(path: str, clock: Clock) -> float | None:
    moments = itertools.islice(_moments(path, clock), _LINES_WITHOUT_TIME)
    return next((moment for moment in moments if moment is not None), None)


_RECEIVED, _SENT = b'"local_received":', b'"timestamp":'
_NUMBER = re.compile(rb"\s*(-?\d{1,15}(?:\.\d+)?)\s*[,}]")
_LINE = re.compile(rb'^\{"v":1,[^\n]*"local_received":(\d{1,15}(?:\.\d+)?)[,}]', re.MULTILINE)


def _moments_in(text: bytes) -> list[float]:
    """Return when the events of many lines were received, without decoding them.

    Nothing unless each line is one of evdump's and says that once.
    """
    found = _LINE.findall(text)
    lines = text.count(b"\n") + 1
    if not len(found) == lines == text.count(_RECEIVED):
        return []
    moments = list(map(float, found))
    return moments if max(moments) <= TIME_MAX else []


def glance(line: bytes) -> float | None:
    """Return when an event was received, or else sent, without decoding its line.

    None where that cannot be seen for sure: the field must be there once, and
    not inside of another one.
    """
    for key in (_RECEIVED, _SENT):
        at = line.find(key)
        if at < 0:
            continue
        after = at + len(key)
        if line.find(key, after) >= 0:
            return None
        if line.count(b"{", 0, at) - line.count(b"}", 0, at) != 1:
            return None
        number = _NUMBER.match(line, after)
        return moment_of(float(number[1])) if number else None
    return None


class _Lines:
    """Whole lines out of pieces."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._length = 0
        self._skipping = False
        self.too_long = False

    def feed(self, content: bytes) -> bytes:
        """Return the lines that are complete now, without the end of the last one."""
        whole, newline, rest = content.rpartition(b"\n")
        if newline:
            if self._skipping:
                whole = whole.partition(b"\n")[2]
            else:
                whole = b"".join([*self._pieces, whole])
            self._pieces, self._length, self._skipping = [], 0, False
        if not self._skipping and rest:
            self._pieces.append(rest)
            self._length += len(rest)
            if self._length > _LINE_BYTES_MAX:
                self._pieces, self._length = [], 0
                self._skipping = self.too_long = True
        return whole

    def rest(self) -> bytes:
        """Return the last line, if it has no end."""
        return b"".join(self._pieces)


def _object(line: bytes, lost: list[Lost]) -> dict[str, Any]:
    value = read_fields(line, lost)
    if not isinstance(value, dict):
        raise DecodeError("no object", type(value).__name__)
    return value
