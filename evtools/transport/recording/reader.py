"""Recordings played back, as a source of events."""

import codecs
import glob
import heapq
import math
import os
import re
import stat
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TextIO, TypeAlias

import msgspec
from msgspec import UNSET

from evtools.clock import Clock
from evtools.errors import DecodeError, UsageError
from evtools.transport.recording import LINE_BYTES_MAX, FileReader
from evtools.transport.source import Notice, Statistics
from evtools.wire import (
    TIME_MAX,
    Defect,
    Event,
    Gap,
    Lost,
    Schema,
    cluster_of,
    from_fields,
    open_envelope,
    read_fields,
)
from evtools.wire.values import DEPTH_MAX

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
    leave out what was received outside of them.  A local time of day is known once the recording
    has begun: `since` is on the day of its first event, or on the next one where the recording
    begins later in the day and goes on until then; `until` is the first such time after both.
    Lines that are no events are counted, in `statistics`, unless `since` or `until` leaves them
    out.  Of several files, one that cannot be opened or is no recording is left out, with a notice
    (`warning`).  Raise UsageError when none can be opened and, while reading, when none is a
    recording.

    `speed` and `paused` may be set, and `seek` called, from another thread than the one that takes
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
    ) -> None:
        self.on_notice: Callable[[Notice], object] = lambda _notice: None
        self.stays = False
        self.paused = False
        self.speed = math.inf if speed is None else speed
        self._clock = clock
        self._asked = (since, until)
        self._since = since if isinstance(since, float | int) else -math.inf
        self._until = until if isinstance(until, float | int) else math.inf
        self._has_days = not any(isinstance(asked, time_of_day) for asked in self._asked)
        #: By file, its size; None where it can be read only once.
        self._sizes: dict[str, int | None] = {}
        #: What is wrong with files that are left out, of which `on_notice` is not called yet.
        self._left_out: list[UsageError] = []
        for path in files_of(paths, self._left_out):
            try:
                self._sizes[path] = _size(path)
            except UsageError as error:
                self._left_out.append(error)
        if not self._sizes:
            raise self._left_out[0]
        self._is_one = len(self._sizes) == 1
        self._schema = Schema()
        #: When what was given out last was received; 0 is unknown, here as in all events.
        self._latest = 0.0
        #: Where on the recording the replay was, in UTC epoch seconds, nowhere before the first
        #: event; and when that was looked at.
        self._position = -math.inf
        self._looked_at = clock.monotonic()
        self._target: float | None = None
        # No threading.Event: a signal handler that sets it may deadlock with the wait it breaks.
        self._stopped = False
        self._order = self._ordered()
        self._begin()

    def _ordered(self) -> list[tuple[float, str]]:
        # The files by when they begin; a pipe is read at once.
        if self._is_one and self._has_days:
            return [(-math.inf, path) for path in self._sizes]
        order = []
        for path, size in self._sizes.items():
            times = filter(None, islice(_times_in_file(path), _LINES_WITHOUT_TIME))
            order.append((-math.inf if size is None else next(times, -math.inf), path))
        begun = [begin for begin, _ in order if begin > -math.inf]
        if begun:
            self._find_days(min(begun), looks_ahead=None not in self._sizes.values())
        return sorted(order)

    def _find_days(self, first: float, *, looks_ahead: bool) -> None:
        # Of the times of day, from the first and, if asked, the last event.
        since, until = self._asked
        self._has_days = True
        if isinstance(since, time_of_day):
            self._since, after = on_day_of(first, since)
            if self._since < first:
                times = chain.from_iterable(map(_times_in_file, self._sizes if looks_ahead else ()))
                if after <= max(filter(None, times), default=math.inf):
                    self._since = after
        if isinstance(until, time_of_day):
            begin = max(first, self._since)
            self._until, after = on_day_of(begin, until)
            if self._until < begin:
                self._until = after

    def _begin(self) -> None:
        #: Those that were opened so far.
        self._files: list[FileReader] = []
        self._statistics = Statistics()
        self._strange: UsageError | None = None
        self._first, self._last = math.inf, -math.inf
        self._is_exhausted = self._end_reported = False
        self._merged = self._merge()
        #: The next event, if it was read; at first a file is only opened.
        self._event = next(self._merged, None)

    def events(self, timeout: float | None = None) -> Iterator[list[Event]]:
        """Yield events, gap records among them, and [] when none is due within `timeout` seconds.

        Their `known` is as it was recorded, UNSET in the bare events of other programs.
        """
        self._report_left_out()
        while (batch := self._next(timeout)) is not None:
            self._report_left_out()
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
        self._report_left_out()

    def _report_left_out(self) -> None:
        while self._left_out:
            error = self._left_out.pop(0)
            self.on_notice(Notice("warning", f"left out: {error.message}", hint=error.hint))

    def statistics(self) -> Statistics:
        """Return the counters as they are now."""
        defects: dict[str, Defect] = {}
        for defect in chain.from_iterable(file.defects.values() for file in self._files):
            before = defects.get(defect.kind, replace(defect, count=0))
            defects[defect.kind] = replace(before, count=before.count + defect.count)
        connected, found = not self._is_exhausted, tuple(defects.values())
        return replace(self._statistics, connected=connected, defects=found)

    def progress(self) -> tuple[int, int | None]:
        """Return how many bytes were read, and of how many if that is known."""
        done = sum(file.done_bytes for file in self._files)
        sizes = [size for size in self._sizes.values() if size is not None]
        return done, sum(sizes) if len(sizes) == len(self._sizes) else None

    def files(self) -> dict[str, int | None]:
        """Return the size in bytes of each file that is read, by path; None of a pipe."""
        return dict(self._sizes)

    def clusters(self) -> list[str]:
        """Return the names of clusters at the beginning of the files; pipes are left alone."""
        names = []
        for path, size in self._sizes.items():
            if size is not None:
                with closing(FileReader(path)) as file:
                    text = file.read_lines(_SLICE) or b""
                names += [name.decode() for name in _CLUSTERS.findall(text)]
        return list(dict.fromkeys(names))

    def extent(self) -> str:
        """Return that no event is shown, of how many, and from when to when they go, local."""
        limits = (("from", self._since), ("to", self._until))
        asked = "".join(f" {word} {stamp(at)}" for word, at in limits if math.isfinite(at))
        events = f"0 of {sum(file.good for file in self._files)} events{asked}"
        if self._first > self._last:
            return events
        return f"{events}; the recording goes from {stamp(self._first)} to {stamp(self._last)}"

    def stop(self) -> None:
        """End the replay; safe in a signal handler."""
        self._stopped = True

    def close(self) -> None:
        """Close the files; idempotent."""
        for file in self._files:
            file.close()

    # --- steering -------------------------------------------------------------------

    @property
    def position(self) -> float | None:
        """The moment on the recording that is played, None before the first event."""
        if self._target is not None:
            return self._target
        position = self._latest if self._is_exhausted else self._position
        return position if position > 0 else None

    @property
    def ended(self) -> bool:
        """Whether all that is on the recording has been given out."""
        return self._is_exhausted and self._target is None

    def seek(self, moment: float) -> None:
        """Go on from `moment` (UTC epoch seconds), forwards or back.

        All events up to it are given out, as fast as can be, for the state at that moment; to go
        back, the recording begins anew.  Raise UsageError where that cannot be, as with stdin.
        """
        if None in self._sizes.values() and moment < (self.position or 0.0):
            name = ", ".join(self._sizes)
            raise UsageError(f"{name} cannot be rewound", "replay a file to go back in it")
        self._target = moment

    def _wait_for(self, moment: float) -> float:
        # In how many seconds an event is due; one without a time is due with those before it.
        if not self.paused and (self.speed == math.inf or self._position == -math.inf):
            self._position = max(self._position, moment or -math.inf)
        elif moment > self._position:
            return math.inf if self.paused else (moment - self._position) / self.speed
        return 0.0

    def _look(self) -> float:
        # Let the replay go on until now; return the time.
        now = self._clock.monotonic()
        if not self.paused and self.speed < math.inf:
            self._position += (now - self._looked_at) * self.speed
        self._looked_at = now
        return now

    # --- playing --------------------------------------------------------------------

    def _next(self, timeout: float | None) -> list[Event] | None:
        # What is due, [] when nothing is in time, None at the end.
        self._deadline = self._look() + (math.inf if timeout is None else timeout)
        due: list[Event] = []
        while not self._stopped and len(due) < _BATCH:
            if (target := self._target) is not None and not due:
                goes_back = target < (self._latest if self._is_exhausted else self._position)
                self._position, self._target = target, None
                if goes_back:
                    self.close()
                    self._begin()
                    self.on_notice(Notice("rewound", ", ".join(self._sizes)))
            if self._event is None:
                try:
                    self._event = next(self._merged)
                except StopIteration:
                    self._is_exhausted = True
            event, wait = self._event, math.inf
            if event is not None and (wait := self._wait_for(event.local_received)) <= 0:
                due.append(event)
                self._latest = event.local_received or self._latest
                self._event = None
                continue
            if due:
                break
            if self._is_exhausted and not self._end_reported:
                self._end_reported = True
                self.on_notice(Notice("ended", "" if self._statistics.events else self.extent()))
            if self._is_exhausted and not self.stays:
                return None
            left = self._deadline - self._look()
            if left <= 0:
                return []
            # Not while more is read: what is left out takes no time.
            if event is not None or self._is_exhausted:
                time.sleep(min(_SLICE, left, wait))
                self._look()
        return due or None

    def _merge(self) -> Iterator[Event | None]:
        # The events of all files by when they were received, None where that takes time.  Without
        # a time, an event comes with those before it.  Files are opened when they begin.
        waiting = deque(self._order)
        heads: list[tuple[float, int, Event, Iterator[Event | None]]] = []
        while waiting or heads:
            if waiting and (not heads or waiting[0][0] <= heads[0][0]):
                number, rest = len(self._files), self._events_of(waiting.popleft()[1])
            else:
                _, number, event, rest = heapq.heappop(heads)
                yield event
            if not waiting and not heads:
                yield from rest
            for following in rest:
                if following is not None:
                    heapq.heappush(heads, (following.local_received, number, following, rest))
                    break
                yield None
        if self._strange is not None and not any(file.good for file in self._files):
            raise self._strange

    def _events_of(self, path: str) -> Iterator[Event | None]:
        # The wanted events of a file, None when it is open and where it has no more yet.
        file = FileReader(path)
        self._files.append(file)
        yield None
        while True:
            left = self._deadline - self._clock.monotonic()
            text = file.read_lines(max(0.0, min(_SLICE, left))) or b""
            if file.too_long:
                file.too_long = False
                self._count(file, "line too long", b"", f"over {LINE_BYTES_MAX} bytes")
            if file.ended and file.damage:
                kind = "damaged recording" if self._is_one else f"damaged recording {path}"
                self._count(file, kind, b"", file.damage)
            events = self._take(file, text)
            if not file.good and file.bad >= (1 if file.ended else _STRANGE_LINES):
                hint = "a recording has one JSON event per line, as evdump -w writes it"
                if any(one.sample.startswith(b"SQLite format 3") for one in file.defects.values()):
                    hint = f"a database of evcam is read with sqlite:{file.path}"
                self._strange = UsageError(f"{file.path} is no recording: {file.defect}", hint)
                if self._is_one:
                    raise self._strange
                self._left_out.append(self._strange)
                file.defects.clear()
                file.close()
                return
            yield from events
            if file.ended:
                file.close()
                return
            if not events:
                yield None

    def _take(self, file: FileReader, text: bytes) -> list[Event]:
        # The wanted events of whole lines; all that are events are counted.
        events: list[Event] = []
        # Where all is left out it need not be decoded to see that.
        is_bounded = self._since > -math.inf or self._until < math.inf
        times = _times_in(text) if is_bounded else []
        if not times or (max(times) >= self._since and min(times) <= self._until):
            times = []
            for line in text.split(b"\n"):
                event = _typed(line, self._schema) or self._parse(file, line)
                if event is None:
                    continue
                when = event.local_received
                times.append(when)
                if when and not self._has_days:
                    self._find_days(when, looks_ahead=False)
                is_timeless = not when and event.get("local_received") != 0
                if is_timeless or self._since <= when <= self._until:
                    events.append(event)
        file.good += len(times)
        self._statistics.messages += len(times)
        known = list(filter(None, times))
        self._first = min(self._first, *known, math.inf)
        self._last = max(self._last, *known, -math.inf)
        return events

    def _parse(self, file: FileReader, line: bytes) -> Event | None:
        # The event of any line; None if there is none, which is counted.
        line = line.removeprefix(codecs.BOM_UTF8)  # of files that were joined
        if not line.strip():
            return None
        lost: list[Lost] = []
        try:
            whole = _fields_in(line, lost)
            fields, joined = open_envelope(whole)
            if not fields.get("type") or not isinstance(fields["type"], str):
                raise DecodeError("no type")  # noqa: TRY301  (counted like the others)
        except DecodeError as error:
            if file.ended:
                of = "" if self._is_one else f" of {file.path}"
                error = DecodeError(f"torn last line{of}", error.kind)
            file.bad += 1
            file.defect = file.defect or str(error)
            self._count(file, error.kind, line, error.detail)
            return None
        for each in lost:
            self._count(file, each.kind, line, each.detail, is_whole=False)
        event = from_fields(fields, self._schema)
        if joined is not None:
            event.known = joined
            event.cluster = cluster_of(whole) or UNSET
        return event

    def _count(
        self, file: FileReader, kind: str, line: bytes, detail: str, *, is_whole: bool = True
    ) -> None:
        # A line that is no event, or what was lost of one; the first is a sample.
        self._statistics.messages += is_whole
        sample = Defect(kind, line[:_SAMPLE_BYTES], detail, 0, len(line))
        file.defects.setdefault(kind, sample).count += 1


def on_day_of(moment: float, wanted: time_of_day) -> tuple[float, float]:
    """Return when a time of day is on the day of `moment`, and on the next day."""
    try:
        day = datetime.fromtimestamp(moment, wanted.tzinfo).date()
        one = datetime.combine(day, wanted).timestamp()
        return one, datetime.combine(day + timedelta(days=1), wanted).timestamp()
    except (OverflowError, ValueError, OSError):  # beyond the calendar
        return -math.inf, math.inf


def stamp(moment: float) -> str:
    """Return a time for people, local."""
    try:
        return datetime.fromtimestamp(moment, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"{moment:g}"


#: A recording that is read in less than this, in seconds, needs no progress bar.
SOON: Final = 0.5


class ProgressBar:
    """A bar on a terminal that shows how much of a recording was read."""

    def __init__(self, stream: TextIO, *, colour: bool) -> None:
        self._stream, self._colour = stream, colour
        self._bar: Any = None

    def show(self, done_bytes: int, total_bytes: int | None) -> None:
        """Set the bar to `done_bytes` of `total_bytes`; None is an unknown total."""
        if self._bar is None:
            from rich import progress  # noqa: PLC0415  (only on a terminal)
            from rich.console import Console  # noqa: PLC0415  (only on a terminal)

            self._bar = progress.Progress(
                "{task.description}",
                progress.BarColumn(),
                progress.DownloadColumn(),
                progress.TimeRemainingColumn(),
                console=Console(file=self._stream, no_color=not self._colour),
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bar.add_task("reading", total=total_bytes)
        self._bar.start()
        (task,) = self._bar.task_ids
        self._bar.update(task, completed=done_bytes, total=total_bytes)

    def hide(self) -> None:
        """Take it off the screen, until it is shown again."""
        if self._bar is not None:
            self._bar.stop()


# --- files ------------------------------------------------------------------------


def files_of(paths: Iterable[str], lacking: list[UsageError]) -> list[str]:
    """Return the files that paths and patterns name, each once; raise UsageError.

    A pattern without a file adds to what is `lacking`.
    """
    found: dict[str, str] = {}
    for path in paths:
        names = [path]
        if glob.has_magic(path) and not Path(path).exists():
            pattern = str(Path(path).expanduser())
            names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  (of any folder)
            if not names:
                lacking.append(UsageError(f"cannot read {path}: no file has such a name"))
        for name in names:
            found.setdefault("-" if name == "-" else os.path.realpath(name), name)
    if "-" in found and len(found) > 1:
        raise UsageError(
            "stdin cannot be replayed together with files",
            "join them before: cat FILE... | evdump -r -",
        )
    return list(found.values())


def _size(path: str) -> int | None:
    # None if it can be read only once; raise UsageError if it cannot be opened.
    if path == "-":
        return None
    try:
        status = Path(path).stat()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if stat.S_ISFIFO(status.st_mode):  # opened once, when it is its turn
        return None
    FileReader(path).close()
    return status.st_size if stat.S_ISREG(status.st_mode) else None


# --- lines ------------------------------------------------------------------------


class _Line(msgspec.Struct, gc=False):
    # As evdump writes it.
    v: Literal[1, 2]
    local_received: Annotated[float, msgspec.Meta(ge=0, le=TIME_MAX)]


_decode_lines: Final = msgspec.json.Decoder(_Line).decode_lines
_decode_fields: Final = msgspec.json.Decoder(dict[str, Any]).decode
_BROKEN: Final = (msgspec.MsgspecError, ValueError, RecursionError)
#: The beginning of an event's line; `lag` and what was joined follow the event.
_BEGINNING: Final = re.compile(
    rb'\{"v":(?:1,"ts":"[^"\\]*"|2,"ts":"[^"\\]*","cluster":"([A-Za-z0-9][A-Za-z0-9_.-]{0,63})"),(?="type":)'
)
#: Names in lines of EnvelopeWriter; the time of a gap record is missing.
_CLUSTERS: Final = re.compile(
    rb'^\{"v":2,(?:"ts":"[^"\\]*",)?"cluster":"([A-Za-z0-9][A-Za-z0-9_.-]{0,63})"', re.MULTILINE
)
_LAG: Final = b',"lag":'
#: No joined field has such a name.
_RESERVED: Final = frozenset({"v", "ts", "own", "type", "local_received"})


def _typed(line: bytes, schema: Schema) -> Event | None:
    # The event of a line that is as evdump writes it and has nothing odd, else None.  Its keys are
    # in a fixed order, so its middle is the event as it was sent, decoded without a dictionary.
    begin = _BEGINNING.match(line)
    if begin is None or line.count(b"[") + line.count(b"{") > DEPTH_MAX:
        return None
    fields, _, rest = line[begin.end() :].partition(_LAG)
    try:
        event: Event = schema.json_event(b"{%b}" % fields)
        joined = _decode_fields(b'{"lag":%b' % rest)
    except _BROKEN:
        return None
    del joined["lag"]
    names = joined.pop("joined", [])
    received: Any = event.local_received
    if received is UNSET or list(joined) != names or not _RESERVED.isdisjoint(joined):
        return None
    event.known = joined
    if begin[1]:
        event.cluster = sys.intern(begin[1].decode())
    return event


def events_in(text: bytes, schema: Schema) -> list[Event]:
    """Return the events of lines of EnvelopeWriter, without those that cannot be read."""
    events = []
    for line in text.splitlines():
        event = _typed(line, schema)
        if event is None:
            try:
                whole = _fields_in(line, [])
                fields, joined = open_envelope(whole)
            except DecodeError:
                continue
            event = from_fields(fields, schema)
            event.known = joined or UNSET
            event.cluster = cluster_of(whole) or UNSET
        events.append(event)
    return events


def _fields_in(line: bytes, lost: list[Lost]) -> dict[str, Any]:
    value = read_fields(line, lost)
    if not isinstance(value, dict):
        raise DecodeError("no object", type(value).__name__)
    return value


def _event_in(line: bytes) -> Event:
    return from_fields(open_envelope(_fields_in(line, []))[0])


def _times_in(text: bytes) -> list[float]:
    # When the events of many lines were received, if all of them are evdump's.
    try:
        return [line.local_received for line in _decode_lines(text)]
    except _BROKEN:
        return []


def _times_in_file(path: str) -> Iterator[float]:
    # When the events of a file were received, or else sent; 0 for those without a time.
    with closing(FileReader(path)) as file:
        while not file.ended:
            text = file.read_lines(_SLICE) or b""
            for line in text.split(b"\n"):
                try:
                    times = _times_in(line) or [_event_in(line).local_received]
                except DecodeError:
                    times = [0.0]
                yield times[0]
