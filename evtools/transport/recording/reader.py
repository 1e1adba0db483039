"""Recordings played back, as a source of events."""

import codecs
import glob
import itertools
import math
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec

from evtools.clock import Clock
from evtools.errors import DecodeError, UsageError
from evtools.transport.recording.compression import LINE_BYTES_MAX, FileReader
from evtools.transport.source import Notice, Statistics
from evtools.wire import (
    TIME_MAX,
    Defect,
    Event,
    EventFields,
    Gap,
    Lost,
    Schema,
    from_fields,
    open_envelope,
    read_fields,
)
from evtools.wire import moment as moment_of

#: UTC epoch seconds, or a time of day on the days of the recording.
Moment: TypeAlias = float | time_of_day

_BATCH: Final = 1000
#: How long a wait may go on after `stop`, in seconds.
_SLICE: Final = 0.1
#: How many lines may come before the first that has a time.
_LINES_WITHOUT_TIME: Final = 1000
#: How many bad lines in a row, with no event before, make a file no recording.
_STRANGE_LINES: Final = 100
_SAMPLE_BYTES: Final = 200


class RecordingReader:
    """Replay recordings, as a source of events.

    `paths` are files, patterns such as `rec-*.jsonl` for several, or `-` for stdin.  Several files
    are played as one recording, in the order in which their events were received; the order within
    a file is kept.  With a `speed` the events come at that multiple of the pace at which they were
    received, without one (None or infinite) as fast as they can be read.  `since` and `until`
    leave out what was received outside of them; a time of day is the first one on the recording,
    see `_Window`.  Lines that are no events are counted, in `statistics`, unless `since` or
    `until` leaves them out.  Raise UsageError when a file cannot be opened and, while reading,
    when it is no recording at all.

    `pause`, `resume`, `seek` and `speed` may be used from another thread than the one that takes
    the events.  With `stays` the reader waits at the end to be rewound.  `on_notice` is called, in
    the thread that takes the events, when the recording was rewound (`rewound`: forget everything
    before) and when its end is reached (`ended`, with a text if no event was played).
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
        self._clock = clock
        self._sleep = sleep
        self._window = _Window(since, until)
        self.on_notice: Callable[[Notice], None] | None = None
        self.stays = False
        #: By file, its size; None where it can be read only once.
        self._sizes = [_size(path) for path in self._paths]
        self._schema = Schema()
        #: When what was given out last was received.
        self._latest: float | None = None
        #: Guards the pace: where the replay was on the recording (UTC epoch seconds), and when
        #: that was.  It is nowhere until the first event says where it begins.
        self._pace_lock = threading.Lock()
        self._speed = math.inf if speed is None else speed
        self._paused = False
        self._origin: float | None = None
        self._origin_at = 0.0
        self._rewinding = False
        # A plain flag: setting a threading.Event from a signal handler can
        # deadlock with the wait that the signal interrupted.
        self._stopped = False
        self._order = self._ordered()
        self._begin()

    def _begin(self) -> None:
        self._playing: list[_File] = []
        #: Files whose time has not come, by the moment of their first event.
        self._waiting = deque(self._order)
        self._done_bytes = self._seen = 0
        self._statistics = Statistics()
        self._defects: dict[str, Defect] = {}
        self._first, self._last = math.inf, -math.inf
        self._end_reported = False
        self._open_due()

    def _ordered(self) -> list[tuple[float, str]]:
        """Return the files by when they begin; a pipe is read at once."""
        if len(self._paths) == 1 and self._window.is_known:
            return [(-math.inf, self._paths[0])]
        order = []
        for path, size in zip(self._paths, self._sizes, strict=True):
            moments = itertools.islice(_moments(path, self._clock), _LINES_WITHOUT_TIME)
            known = (moment for moment in moments if moment is not None)
            order.append((-math.inf if size is None else next(known, -math.inf), path))
        first = min((moment for moment, _ in order if moment > -math.inf), default=None)
        if first is not None:
            self._window.settle(first, self._end_of_recording)
        return sorted(order)

    def _end_of_recording(self) -> float:
        if None in self._sizes:
            return math.inf
        found = itertools.chain.from_iterable(_moments(path, self._clock) for path in self._paths)
        return max((moment for moment in found if moment is not None), default=math.inf)

    def batches(self, timeout: float | None = None) -> Iterator[list[EventFields]]:
        """Yield the events, and [] when none is due within `timeout` seconds."""
        for events in self.events(timeout):
            yield [event.as_dict() for event in events]

    def events(self, timeout: float | None = None) -> Iterator[list[Event]]:
        """Yield what `batches` does as typed events, `known` as it was recorded.

        It is UNSET in the bare events of other programs.
        """
        while not self._stopped:
            batch = self._next(timeout)
            if batch is None:
                return
            counts = self._statistics
            for event in batch:
                if not isinstance(event, Gap):
                    counts.events += 1
                elif event.reason == "buffer":
                    counts.dropped += event.dropped
                elif event.reason == "worker":
                    counts.missed += event.missed
                else:
                    counts.gaps += 1
                    counts.gap_seconds += event.duration
            yield batch

    def statistics(self) -> Statistics:
        defects = tuple(self._defects.values())
        return replace(self._statistics, connected=not self._is_exhausted, defects=defects)

    def progress(self) -> tuple[int, int | None]:
        """Return how many bytes were read, and of how many if that is known."""
        done = self._done_bytes + sum(file.done_bytes for file in self._playing)
        sizes = [size for size in self._sizes if size is not None]
        return done, sum(sizes) if len(sizes) == len(self._sizes) else None

    def extent(self) -> str:
        """Return that no event is shown, of how many, and from when to when they go.

        In local time, as `since` and `until` are.
        """
        events = f"0 of {self._seen} events{self._window.words()}"
        if self._first > self._last:
            return events
        return f"{events}; the recording goes from {_stamp(self._first)} to {_stamp(self._last)}"

    def stop(self) -> None:
        """End the replay; safe in a signal handler."""
        self._stopped = True

    def close(self) -> None:
        for file in self._playing:
            file.close()

    # --- steering -------------------------------------------------------------------

    @property
    def speed(self) -> float:
        """The factor of the pace; infinite for no waiting. It may be changed."""
        return self._speed

    @speed.setter
    def speed(self, value: float) -> None:
        self._steer(speed=value)

    @property
    def paused(self) -> bool:
        return self._paused

    def pause(self) -> None:
        self._steer(paused=True)

    def resume(self) -> None:
        self._steer(paused=False)

    @property
    def position(self) -> float | None:
        """The moment on the recording that is played, None before the first event."""
        if self.ended:
            return self._latest
        with self._pace_lock:
            return None if self._origin is None else self._origin + self._elapsed()

    @property
    def ended(self) -> bool:
        """Whether all that is on the recording has been given out."""
        return self._is_exhausted and not self._rewinding

    def seek(self, moment: float) -> None:
        """Go on from `moment` (UTC epoch seconds), forwards or back.

        All events up to it are given out, as fast as can be, so that the state at that moment
        is known.  To go back, the recording begins anew.  Raise UsageError where that cannot
        be, as with stdin.
        """
        position = self.position
        goes_back = position is not None and moment < position
        if goes_back and None in self._sizes:
            name = ", ".join(self._paths)
            raise UsageError(f"{name} cannot be rewound", "replay a file to go back in it")
        # In this order: what comes after the beginning must find the new position.
        with self._pace_lock:
            self._origin, self._origin_at = moment, self._clock.monotonic()
        if goes_back:
            self._rewinding = True

    def _steer(self, *, speed: float | None = None, paused: bool | None = None) -> None:
        with self._pace_lock:
            if self._origin is not None:
                self._origin += self._elapsed()
            self._origin_at = self._clock.monotonic()
            if speed is not None:
                self._speed = speed
            if paused is not None:
                self._paused = paused

    def _elapsed(self) -> float:
        if self._paused or math.isinf(self._speed):
            return 0.0
        return (self._clock.monotonic() - self._origin_at) * self._speed

    def _wait_for(self, moment: float | None) -> float:
        """Return in how many seconds an event of `moment` is due; 0 is now.

        Infinite in a pause.  Without a moment an event is due with those before it.
        """
        with self._pace_lock:
            if self._origin is None:
                if self._paused:
                    return math.inf
                if moment is not None:
                    self._origin, self._origin_at = moment, self._clock.monotonic()
                return 0.0
            left = 0.0 if moment is None else moment - self._origin - self._elapsed()
            if left <= 0:
                return 0.0
            if self._paused:
                return math.inf
            if math.isinf(self._speed):
                self._origin = moment
            return left / self._speed

    # --- playing --------------------------------------------------------------------

    def _next(self, timeout: float | None) -> list[Event] | None:
        """Return what is due, [] when nothing is in time, None at the end."""
        deadline = math.inf if timeout is None else self._clock.monotonic() + timeout
        while not self._stopped:
            if self._rewinding:
                self._rewinding = False
                self.close()
                self._begin()
                self._notify("rewound", ", ".join(self._paths))
            left = deadline - self._clock.monotonic()
            hungry = next((file for file in self._playing if not file.ready), None)
            if hungry is not None:
                self._read(hungry, None if left == math.inf else left)
            if self._is_exhausted:
                if not self._end_reported:
                    self._end_reported = True
                    self._notify("ended", "" if self._statistics.events else self.extent())
                if not self.stays:
                    return None
            if due := self._due():
                return due
            left = deadline - self._clock.monotonic()
            if left <= 0:
                return []
            if hungry is None:
                # Only for what is ready and not due: what is left out takes no time.
                file = self._front()
                wait = math.inf if file is None else self._wait_for(file.ready[0][1])
                self._sleep(min(_SLICE, left, wait))
        return None

    def _notify(self, kind: str, text: str) -> None:
        if self.on_notice is not None:
            self.on_notice(Notice(kind, text))

    @property
    def _is_exhausted(self) -> bool:
        return not self._playing and not self._waiting

    def _open_due(self) -> None:
        """Open the files whose first event comes before what is ready."""
        while self._waiting:
            head = min((file.head for file in self._playing), default=math.inf)
            if self._playing and self._waiting[0][0] > head:
                return
            _, path = self._waiting.popleft()
            self._playing.append(_File(path, clock=self._clock))

    def _close(self, file: "_File") -> None:
        self._done_bytes += file.done_bytes
        file.close()
        self._playing.remove(file)
        self._open_due()

    def _due(self) -> list[Event]:
        due: list[Event] = []
        latest = None
        while len(due) < _BATCH and (file := self._front()) is not None:
            event, moment = file.ready[0]
            if self._wait_for(moment) > 0:
                break
            due.append(event)
            latest = moment
            file.advance()
            if not file.ready:
                if file.ended:
                    self._close(file)
                elif len(self._playing) > 1:
                    break
        self._latest = latest or self._latest
        return due

    def _front(self) -> "_File | None":
        """Return the file whose event is next; None where only reading shows that."""
        if self._waiting:
            self._open_due()
        playing = self._playing
        if len(playing) == 1:
            return playing[0] if playing[0].ready else None
        if not playing or not all(file.ready for file in playing):
            return None
        return min(playing, key=_head)

    # --- reading ------------------------------------------------------------------

    def _read(self, file: "_File", timeout: float | None) -> None:
        """Read some more of a file, or close it at its end."""
        text = file.read_lines(timeout, lambda: self._stopped)
        if text is None:
            return
        if file.too_long:
            file.too_long = False
            self._defect("line too long", b"", f"over {LINE_BYTES_MAX} bytes")
        if file.ended and file.damage:
            self._defect("damaged recording", b"", file.damage)
        self._take(file, text)
        if not file.good and file.bad >= (1 if file.ended else _STRANGE_LINES):
            self.close()
            self._waiting.clear()
            self._playing.clear()
            raise UsageError(
                f"{file.path} is no recording: {file.defect}",
                "a recording has one JSON event per line, as evdump -w writes it",
            )
        if file.ended and not file.ready:
            self._close(file)

    def _take(self, file: "_File", text: bytes) -> None:
        """Keep the wanted events of whole lines ready, count the others."""
        window = self._window
        moments = _moments_in(text) if window.is_set else []
        if moments and (max(moments) < window.since or min(moments) > window.until):
            good = len(moments)
        else:
            moments, good = self._take_lines(file, text.split(b"\n"))
        file.good += good
        self._statistics.messages += good
        if moments:
            self._seen += len(moments)
            self._first = min(self._first, *moments)
            self._last = max(self._last, *moments)

    def _take_lines(self, file: "_File", lines: Iterable[bytes]) -> tuple[list[float], int]:
        """Return when the events were received, and how many lines are events."""
        window = self._window
        moments: list[float] = []
        good = 0
        for line in lines:
            # What is left out need not be decoded to see that.
            moment = _glance(line) if window.is_set else None
            if moment is None or window.since <= moment <= window.until:
                event = self._parse(file, line)
                if event is None:
                    continue
                moment = event.local_received or None
                if moment is not None and not window.is_known:
                    window.settle(moment, lambda: math.inf)
                if moment is None or window.since <= moment <= window.until:
                    file.ready.append((event, moment))
            good += 1
            if moment is None:
                self._seen += 1
            else:
                moments.append(moment)
        return moments, good

    def _parse(self, file: "_File", line: bytes) -> Event | None:
        """Return the event of a line; None if there is none, which is counted."""
        line = line.removeprefix(codecs.BOM_UTF8)  # of files that were joined
        if not line.strip():
            return None
        lost: list[Lost] = []
        try:
            fields, joined = _open_line(line, lost)
            if not fields.get("type") or not isinstance(fields["type"], str):
                raise DecodeError("no type")  # noqa: TRY301  (counted like the others)
        except DecodeError as error:
            if file.ended:
                error = DecodeError("torn last line", error.kind)
            file.bad += 1
            file.defect = file.defect or str(error)
            self._defect(error.kind, line, error.detail)
            return None
        for each in lost:
            self._defect(each.kind, line, each.detail, is_whole=False)
        event = from_fields(fields, self._schema)
        if joined is not None:
            event.known = joined
        return event

    def _defect(self, kind: str, line: bytes, detail: str, *, is_whole: bool = True) -> None:
        """Count a line that is no event, or what was lost of one; the first is a sample."""
        self._statistics.messages += is_whole
        sample = Defect(kind, line[:_SAMPLE_BYTES], detail, 0, len(line))
        self._defects.setdefault(kind, sample).count += 1


class _Window:
    """From when to when events are wanted.

    A time of day is known once the recording has begun: `since` is on the day of its first event,
    or on the next one where the recording begins later in the day and goes on until then; `until`
    is the first such time after `since` and after the beginning.  Times of day are local.
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

    def settle(self, first: float, last: Callable[[], float]) -> None:
        """Find the days of the times of day, from the first and, if asked, the last event."""
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
        """Return the limits as words that follow "events"."""
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
    try:
        return datetime.fromtimestamp(moment, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"{moment:g}"


# --- files ------------------------------------------------------------------------


class _File(FileReader):
    """One of the files, and what of it is ready to be played."""

    def __init__(self, path: str, *, clock: Clock) -> None:
        super().__init__(path, clock=clock)
        self.path = path
        #: Events, and when they were received, or else sent, if that is known.
        self.ready: deque[tuple[Event, float | None]] = deque()
        #: How many lines were events, and how many were not.
        self.good = self.bad = 0
        #: What was wrong first.
        self.defect = ""
        self._past = -math.inf

    @property
    def head(self) -> float:
        """When what is ready first was received, never before what was played."""
        if not self.ready:
            return self._past
        return max(self._past, self.ready[0][1] or -math.inf)

    def advance(self) -> None:
        self._past = self.head
        self.ready.popleft()


_head = attrgetter("head")


def files_of(paths: Iterable[str]) -> list[str]:
    """Return the files that paths and patterns name, each once; raise UsageError."""
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
    """Return the size of a file that can be read more than once."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_size if path != "-" and stat.S_ISREG(status.st_mode) else None


# --- moments of lines ---------------------------------------------------------------


class _Times(msgspec.Struct, gc=False):
    local_received: Any = None
    timestamp: Any = None


class _Line(msgspec.Struct, gc=False):
    # As evdump writes it.
    v: Literal[1]
    local_received: float


_decode_times: Final = msgspec.json.Decoder(_Times).decode
_decode_lines: Final = msgspec.json.Decoder(_Line).decode_lines
_NO_JSON: Final = (msgspec.MsgspecError, ValueError, RecursionError)


def received(event: EventFields) -> float | None:
    """Return when an event was received, or else sent, if it says so."""
    at = moment_of(event.get("local_received"))
    return moment_of(event.get("timestamp")) if at is None else at


def _moments(path: str, clock: Clock) -> Iterator[float | None]:
    """Yield when the events of a file were received, None for those without a time."""
    with closing(FileReader(path, clock=clock)) as file:
        while not file.ended:
            text = file.read_lines(None, lambda: False) or b""
            for line in text.split(b"\n"):
                moment = _glance(line)
                if moment is None:
                    with suppress(DecodeError):
                        moment = received(_open_line(line, [])[0])
                yield moment


def _moments_in(text: bytes) -> list[float]:
    """Return when the events of many lines were received, if all of them are evdump's."""
    try:
        found = [line.local_received for line in _decode_lines(text)]
    except _NO_JSON:
        return []
    return found if found and min(found) >= 0 and max(found) <= TIME_MAX else []


def _glance(line: bytes) -> float | None:
    """Return when an event was received, or else sent, without decoding all of its line."""
    try:
        times = _decode_times(line)
    except _NO_JSON:
        return None
    return received({"local_received": times.local_received, "timestamp": times.timestamp})


def _open_line(line: bytes, lost: list[Lost]) -> tuple[EventFields, dict[str, Any] | None]:
    value = read_fields(line, lost)
    if not isinstance(value, dict):
        raise DecodeError("no object", type(value).__name__)
    return open_envelope(value)
