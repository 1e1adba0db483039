"""Recordings: the event stream as JSON Lines, written by `-w`, replayed by `-r`."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeGuard

from evtools.clock import Clock
from evtools.errors import DecodeError, UsageError
from evtools.transport.recorder import TapeWriter
from evtools.transport.reels import Reel
from evtools.transport.source import Statistics
from evtools.wire import DECODERS, GAP, Defect, EventFields, Record, open_envelope

__all__ = ["Tape", "TapeRecord", "TapeWriter"]

_decode_line = DECODERS["json"][1]

#: Longer than any line evdump writes: an event of the greatest size we take,
#: with every character escaped.
_LINE_BYTES_MAX: Final = 128 * 1024 * 1024

#: How many events one batch has at most.
_BATCH: Final = 1000

#: How many bad lines in a row, with no event before, make a file no recording.
_STRANGE_LINES: Final = 100

#: How long a wait goes on after `stop`, in seconds.
_SLICE: Final = 0.1

_SAMPLE_BYTES: Final = 200

#: Beyond any clock, and still exact as a float.
_TOO_LARGE: Final = 10**15


class TapeRecord(Record):
    """A record from a recording.

    `recorded` is False for the bare event of another program, to which nothing
    was joined when it was written.
    """

    __slots__ = ("recorded",)

    def __init__(
        self, event: EventFields, joined: dict[str, Any], *, recorded: bool
    ) -> None:
        super().__init__(event, joined)
        self.recorded = recorded


class Tape:
    """Replay a recording, as a source of events.

    `path` is `-` for stdin.  With a `speed` the events come at that multiple
    of the pace at which they were received, without one (None or infinite) as
    fast as they can be read.  `since` and `until` (UTC epoch seconds) leave
    out what was received outside of them.  Lines that are no events are
    counted, in `statistics`.  Raises `UsageError` when the file cannot be
    opened and, while reading, when it is no recording at all.
    """

    def __init__(
        self,
        path: str,
        *,
        clock: Clock,
        speed: float | None = None,
        since: float | None = None,
        until: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._clock = clock
        self._pace = _Pace(speed, clock)
        self._since = -math.inf if since is None else since
        self._until = math.inf if until is None else until
        self._sleep = sleep
        self._reel = Reel(path, clock=clock)
        self._lines = _Lines()
        self._ready: deque[TapeRecord] = deque()
        self._tally = _Tally()
        self._ended = False
        # A plain flag: setting a threading.Event from a signal handler can
        # deadlock with the wait that the signal interrupted.
        self._stopped = False

    def batches(self, timeout: float | None = None) -> Iterator[list[EventFields]]:
        """Yield the events, and [] when none is due within `timeout` seconds."""
        for records in self.records(timeout):
            yield [record.event for record in records]

    def records(self, timeout: float | None = None) -> Iterator[list[TapeRecord]]:
        """Yield the events with what was joined to them when they were recorded."""
        while not self._stopped:
            batch = self._next(timeout)
            if batch is None:
                return
            self._tally.count(batch)
            yield batch

    def statistics(self) -> Statistics:
        """Return the counters as they are now."""
        return self._tally.statistics(connected=not self._ended)

    def progress(self) -> tuple[int, int | None]:
        """Return how many bytes were read, and of how many if that is known."""
        return self._reel.done_bytes, self._reel.total_bytes

    def stop(self) -> None:
        """End the replay; safe in a signal handler."""
        self._stopped = True

    def close(self) -> None:
        """Let go of the file; idempotent."""
        self._reel.close()

    # --- reading ------------------------------------------------------------------

    def _next(self, timeout: float | None) -> list[TapeRecord] | None:
        """Return what is due, [] when nothing is in time, None at the end."""
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        while not self._stopped:
            if not self._ready and not self._ended:
                left = None if deadline is None else deadline - self._clock.monotonic()
                self._read(left)
            if not self._ready and self._ended:
                return None
            if due := self._due():
                return due
            if deadline is not None and self._clock.monotonic() >= deadline:
                return []
            self._doze(deadline)
        return None

    def _read(self, timeout: float | None) -> None:
        content = self._reel.read(timeout, lambda: self._stopped)
        if content is None:
            return
        if content:
            lines = self._lines.feed(content)
        else:
            self._ended = True
            lines = self._lines.rest()
            if self._reel.damage:
                self._tally.defect("damaged recording", b"", self._reel.damage)
        if self._lines.too_long:
            self._lines.too_long = False
            self._tally.defect("line too long", b"", f"over {_LINE_BYTES_MAX} bytes")
        for line in lines:
            self._take(line, torn=not content)
        if self._tally.is_strange(ended=self._ended):
            self._ended = True
            raise UsageError(
                f"{self._path} is no recording: {self._tally.first_defect()}",
                "a recording has one JSON event per line, as evdump -w writes it",
            )

    def _take(self, line: bytes, *, torn: bool) -> None:
        if not line.strip():
            return
        try:
            event, joined = open_envelope(_object(line))
            kind = event.get("type")
            if not isinstance(kind, str) or not kind:
                raise DecodeError("no type")  # noqa: TRY301  (counted like the others)
        except DecodeError as error:
            if torn:
                error = DecodeError("torn last line", error.kind)
            self._tally.defect(error.kind, line, error.detail)
            return
        self._tally.good += 1
        if self._since <= _received(event, self._since) <= self._until:
            recorded = joined is not None
            self._ready.append(TapeRecord(event, joined or {}, recorded=recorded))

    # --- pace ---------------------------------------------------------------------

    def _due(self) -> list[TapeRecord]:
        due: list[TapeRecord] = []
        while self._ready and len(due) < _BATCH:
            if self._pace.wait(self._ready[0].event) > 0:
                break
            due.append(self._ready.popleft())
        return due

    def _doze(self, deadline: float | None) -> None:
        """Wait for the next event, the deadline, or a while, whatever is first."""
        waits = [_SLICE]
        if self._ready:
            waits.append(self._pace.wait(self._ready[0].event))
        if deadline is not None:
            waits.append(deadline - self._clock.monotonic())
        self._sleep(max(0.0, min(waits)))


class _Pace:
    """When an event is due, by when it was received and how fast we replay."""

    def __init__(self, speed: float | None, clock: Clock) -> None:
        self._speed = math.inf if speed is None else speed
        self._clock = clock
        self._origin: tuple[float, float] | None = None

    def wait(self, event: EventFields) -> float:
        """Return in how many seconds the event is due; 0 or less is now."""
        if math.isinf(self._speed):
            return 0.0
        received = _received(event, math.nan)
        if math.isnan(received):
            return 0.0
        now = self._clock.monotonic()
        if self._origin is None:
            self._origin = received, now
        first, began = self._origin
        return began + (received - first) / self._speed - now


class _Lines:
    """Whole lines out of pieces."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._length = 0
        self._skipping = False
        self.too_long = False

    def feed(self, content: bytes) -> list[bytes]:
        """Return the lines that are complete now."""
        *lines, rest = content.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._pieces, lines[0]])
            if self._skipping:
                del lines[0]
            self._pieces, self._length, self._skipping = [], 0, False
        if not self._skipping and rest:
            self._pieces.append(rest)
            self._length += len(rest)
            if self._length > _LINE_BYTES_MAX:
                self._pieces, self._length = [], 0
                self._skipping = self.too_long = True
        return lines

    def rest(self) -> list[bytes]:
        """Return the last line, if it has no end."""
        return [b"".join(self._pieces)]


class _Tally:
    """What was on the tape."""

    def __init__(self) -> None:
        self.good = 0
        self._bad = 0
        self._events = 0
        self._gaps = 0
        self._gap_seconds = 0.0
        self._dropped = 0
        self._missed = 0
        self._defects: dict[str, Defect] = {}

    def defect(self, kind: str, line: bytes, detail: str) -> None:
        """Count a line that is no event; the first of each kind is a sample."""
        self._bad += 1
        defect = self._defects.setdefault(
            kind, Defect(kind, line[:_SAMPLE_BYTES], detail)
        )
        defect.count += 1

    def count(self, records: list[TapeRecord]) -> None:
        """Count what is handed out."""
        for record in records:
            if record.event["type"] == GAP:
                self._count_gap(record.event)
            else:
                self._events += 1

    def _count_gap(self, event: EventFields) -> None:
        match event.get("reason"):
            case "buffer":
                self._dropped += _whole(event.get("dropped"))
            case "worker":
                self._missed += _whole(event.get("missed"))
            case _:
                self._gaps += 1
                duration: Any = event.get("duration")
                self._gap_seconds += duration if _is_number(duration) else 0.0

    def is_strange(self, *, ended: bool) -> bool:
        """Return whether all that was read says: this is no recording."""
        enough = 1 if ended else _STRANGE_LINES
        return not self.good and self._bad >= enough

    def first_defect(self) -> str:
        """Return what was wrong first."""
        first = next(iter(self._defects.values()))
        return f"{first.kind} ({first.detail})" if first.detail else first.kind

    def statistics(self, *, connected: bool) -> Statistics:
        """Return the counters."""
        return Statistics(
            events=self._events,
            messages=self.good + self._bad,
            dropped=self._dropped,
            gaps=self._gaps,
            gap_seconds=self._gap_seconds,
            missed=self._missed,
            connected=connected,
            defects=tuple(self._defects.values()),
        )


def _object(line: bytes) -> dict[str, Any]:
    value = _decode_line(line)
    if not isinstance(value, dict):
        raise DecodeError("no object", type(value).__name__)
    return value


def _received(event: EventFields, default: float) -> float:
    """Return when an event was received, or else sent, if it says so."""
    for name in ("local_received", "timestamp"):
        moment: Any = event.get(name)
        if _is_number(moment):
            return float(moment)
    return default


def _is_number(value: Any) -> TypeGuard[float]:
    return value.__class__ in (float, int) and abs(value) < _TOO_LARGE


def _whole(value: Any) -> int:
    return value if value.__class__ is int else 0
