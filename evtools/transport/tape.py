"""Recordings: the event stream as JSON Lines, written by `-w`, replayed by `-r`."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from evtools.clock import Clock
from evtools.errors import DecodeError, UsageError
from evtools.transport.buffer import Notice
from evtools.transport.pace import Pace, received
from evtools.transport.recorder import TapeWriter
from evtools.transport.reels import Reel
from evtools.transport.source import Statistics
from evtools.transport.tally import Tally
from evtools.wire import DECODERS, EventFields, Record, open_envelope

__all__ = ["Tape", "TapeRecord", "TapeWriter"]

_decode_line = DECODERS["json"][1]

#: Longer than any line evdump writes: an event of the greatest size we take,
#: with every character escaped.
_LINE_BYTES_MAX: Final = 128 * 1024 * 1024

#: How many events one batch has at most.
_BATCH: Final = 1000

#: How long a wait goes on after `stop`, in seconds.
_SLICE: Final = 0.1


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

    `pause`, `resume`, `seek` and `speed` may be used from another thread than
    the one that takes the events.  Who sets `stays` has the tape wait at its
    end to be wound back.  `on_notice` is called, in the thread that takes the
    events, when the tape was wound back (`rewound`: all that was told before
    is to be forgotten) and when its end is reached (`ended`).
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
        self._pace = Pace(speed, clock)
        self.on_notice: Callable[[Notice], None] | None = None
        self.stays = False
        self._since = -math.inf if since is None else since
        self._until = math.inf if until is None else until
        self._sleep = sleep
        self._reel = Reel(path, clock=clock)
        self._lines = _Lines()
        self._ready: deque[TapeRecord] = deque()
        self._tally = Tally()
        self._ended = False
        self._told_end = False
        #: When what was given out last was received.
        self._latest: float | None = None
        #: Somebody wants to go back to the beginning.
        self._rewinding = False
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
        return self._ended and not self._ready and not self._rewinding

    def seek(self, moment: float) -> None:
        """Go on from `moment` (UTC epoch seconds), forwards or back.

        All events up to it are given out, as fast as can be, so that who
        follows them knows what was the case then.  To go back the tape begins
        anew.  Raise UsageError where that cannot be, as with stdin.
        """
        position = self.position
        back = position is not None and moment < position
        if back and not self._reel.rewindable:
            raise UsageError(
                f"{self._path} cannot be wound back", "replay a file to go back in it"
            )
        # In this order: what comes after the beginning must find the new pace.
        self._pace.jump(moment)
        if back:
            self._rewinding = True

    # --- reading ------------------------------------------------------------------

    def _next(self, timeout: float | None) -> list[TapeRecord] | None:
        """Return what is due, [] when nothing is in time, None at the end."""
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        while not self._stopped:
            if self._rewinding:
                self._rewind()
            if not self._ready and not self._ended:
                left = None if deadline is None else deadline - self._clock.monotonic()
                self._read(left)
            if not self._ready and self._ended and not self._at_end():
                return None
            if due := self._due():
                return due
            if deadline is not None and self._clock.monotonic() >= deadline:
                return []
            self._doze(deadline)
        return None

    def _at_end(self) -> bool:
        """Tell once that the end is reached; return whether we stay there."""
        if not self._told_end:
            self._told_end = True
            self._tell("ended", self._path)
        return self.stays

    def _rewind(self) -> None:
        """Begin anew."""
        self._rewinding = self._ended = self._told_end = False
        self._reel.close()
        self._reel = Reel(self._path, clock=self._clock)
        self._lines = _Lines()
        self._ready.clear()
        self._tally = Tally()
        self._tell("rewound", self._path)

    def _tell(self, kind: str, text: str) -> None:
        if self.on_notice is not None:
            self.on_notice(Notice(kind, text))

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
        moment = received(event)
        if moment is None or self._since <= moment <= self._until:
            recorded = joined is not None
            self._ready.append(TapeRecord(event, joined or {}, recorded=recorded))

    # --- pace ---------------------------------------------------------------------

    def _due(self) -> list[TapeRecord]:
        due: list[TapeRecord] = []
        while self._ready and len(due) < _BATCH:
            if self._pace.wait(received(self._ready[0].event)) > 0:
                break
            due.append(self._ready.popleft())
        if due:
            self._latest = received(due[-1].event) or self._latest
        return due

    def _doze(self, deadline: float | None) -> None:
        """Wait for the next event, the deadline, or a while, whatever is first."""
        waits = [_SLICE]
        if self._ready:
            waits.append(self._pace.wait(received(self._ready[0].event)))
        if deadline is not None:
            waits.append(deadline - self._clock.monotonic())
        self._sleep(max(0.0, min(waits)))


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


def _object(line: bytes) -> dict[str, Any]:
    value = _decode_line(line)
    if not isinstance(value, dict):
        raise DecodeError("no object", type(value).__name__)
    return value
