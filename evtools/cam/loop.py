"""evcam's main loop: events into the state, signals, signs of life, the end."""

import logging
import math
import sys
from collections.abc import Callable, Iterator
from datetime import tzinfo
from typing import Any, Final, Protocol

from evtools.cam.camera import Camera, snapshot_of
from evtools.cam.daemon import Notifier
from evtools.cam.log import FailureLog
from evtools.cam.options import CamOptions
from evtools.cam.schedule import CameraThread
from evtools.cam.snapshot import SnapshotSequence, dry_run, summary
from evtools.cam.status import Counters, StatusReporter
from evtools.clock import Clock
from evtools.errors import BrokerUnavailable, EvtoolsError
from evtools.filters import all_of, compile_filter
from evtools.state import Change, State
from evtools.text import human_duration
from evtools.transport import Source
from evtools.transport.recording.reader import received
from evtools.wire import GAP, EventFields, Joiner, from_fields
from evtools.wire.redact import redactor

_log = logging.getLogger(__name__)

#: The longest wait in seconds before the loop looks at the time.
TICK: Final = 0.25
#: Seconds after which a camera at work is stuck, and evcam too: no sign of life then.
STUCK_AFTER: Final = 120.0
#: Seconds after which a warning says that it takes long; the next at twice that.
_LONG: Final = 30.0
_STATUS_EVERY: Final = 5.0
EXIT_OK, EXIT_FAILED = 0, 1
#: The end of the year 9999, in UTC epoch seconds: no honest recording is later.
_LATEST: Final = 253_402_300_800.0


class EventFilter:
    """Redact events, and drop those of tasks that do not match all filters.

    An event of a task is matched with the fields of earlier events of that task.  Events of
    workers always pass, as tasks mean little without them.  Raise FilterError or UsageError
    for invalid filters and patterns.
    """

    def __init__(
        self,
        filters: tuple[str, ...] = (),
        redact: tuple[str, ...] = (),
        *,
        zone: tzinfo,
        now: Callable[[], float],
    ) -> None:
        texts = [text for text in filters if text.strip()]
        compiled = [compile_filter(text, zone=zone, now=now) for text in texts]
        self._filter = all_of(*compiled) if compiled else None
        self._redact = redactor(redact)
        self._joiner = Joiner()
        self._asked = self._passed = 0

    def apply(self, events: list[EventFields]) -> list[EventFields]:
        """Return the events that pass, which are redacted in place."""
        if self._redact is not None:
            for fields in events:
                self._redact(fields)
        if self._filter is None:
            return events
        typed = [from_fields(event) for event in events]
        self._joiner.join(typed)
        passed: list[EventFields] = []
        for event, fields in zip(typed, events, strict=True):
            if event.type.startswith("task-"):
                self._asked += 1
                if not self._filter.matches(event):
                    continue
                self._passed += 1
            passed.append(fields)
        return passed

    def notes(self) -> list[str]:
        """Return why no event of a task has passed, if that is so."""
        if self._filter is None or self._passed or not self._asked:
            return []
        head = f"--filter matched none of {self._asked} events of tasks"
        return [head, *self._filter.unknown(), *self._filter.hints()]


class ReplayClock:
    """A clock that shows when the current event of a recording was received.

    However fast a recording is replayed, its snapshots are as many and as far apart as they
    would have been then.  It never goes back.
    """

    def __init__(self) -> None:
        self._now = -math.inf

    def wall(self) -> float:
        """Return UTC epoch seconds; 0 before the first event."""
        return max(self._now, 0.0)

    def monotonic(self) -> float:
        return self.wall()

    def move(self, moment: float) -> None:
        self._now = max(self._now, moment)

    def pieces(
        self, events: list[EventFields], due: Callable[[], float]
    ) -> Iterator[tuple[list[EventFields], float]]:
        """Cut events where something is due, according to `due()`, and where time begins.

        Yield the events of a piece, and the moment to move to once they are applied.
        """
        begin, now = 0, self._now
        until = due() if now > -math.inf else now
        for index, event in enumerate(events):
            moment = received(event)
            if moment is None or not now < moment < _LATEST:
                continue
            now = moment
            if now >= until:
                yield events[begin:index], now
                begin, until = index, due()
        if begin < len(events):
            yield events[begin:], max(now, 0.0)


class Flags(Protocol):
    """The wishes that signals express."""

    ending: bool
    reopen_wanted: bool
    dump_wanted: bool
    shot_wanted: bool


class Loop:
    """Apply events until the end, and never wait for anything longer than a tick.

    The camera may hold the state for as long as it likes: events then wait in the source,
    as bytes.

    `make_camera` is called with the state and what cameras are made with.  `ready` is
    called once, when events come or the wait for them is over, `on_hangup` when files are
    to be opened anew.
    """

    def __init__(
        self,
        options: CamOptions,
        make_camera: Callable[..., Any],
        clock: Clock,
        *,
        notifier: Notifier | None = None,
        ready: Callable[[], None] | None = None,
        on_hangup: Callable[[], None] | None = None,
    ) -> None:
        self._options = options
        self._clock = clock
        self._notifier = notifier or Notifier()
        self._ready = ready
        self._on_hangup = on_hangup
        self._replay = ReplayClock() if options.read else None
        #: The clock of the snapshots, which is the recording's if one is replayed.
        self._times: Clock = self._replay or clock
        self.counters = Counters(started=clock.wall())
        self.state = make_state(options, self._times)
        self.thread = CameraThread(
            self.counters, clock, times=self._replay, max_failures=options.max_failures
        )
        self._sequence = SnapshotSequence(
            self.state.workers, started=self.counters.started, warm_up=options.warm_up
        )
        self._status = StatusReporter(
            self.counters,
            self.state,
            self._sequence,
            clock,
            replays=bool(options.read),
            redacts=bool(options.redact),
        )
        self._filter = EventFilter(
            options.filters, options.redact, zone=options.zone, now=self._times.wall
        )
        self.camera = make(make_camera, options, self.state, self.thread)
        self._observer = self.camera if isinstance(self.camera, Camera) else None
        if self._observer is not None:
            self._observer.load(self._sequence, self._times)
        #: Is called with the notices of the source.
        self.on_notice = self._status.notice
        self._failures = FailureLog()
        self._is_single = options.once or options.test
        self._started = clock.monotonic()
        self._mounted = False
        #: When the one period of --once and --test ends, by the clock of the snapshots.
        self._period_ends = math.inf
        #: When evcam must have ended, once that is wanted.
        self._deadline = math.inf
        self._next_status = 0.0
        self._warn_at = _LONG

    def run(self, source: Source, flags: Flags) -> int:
        """Run to the end; return the exit status.

        Raise EvtoolsError when the camera or the source has given up.
        """
        self._source, self._flags = source, flags
        self.counters.ticked_at = self._started
        if self._replay is None:
            self._mount()
        try:
            for batch in source.batches(TICK):
                self._take(batch)
                if self._is_over():
                    break
        except EvtoolsError:
            if self.counters.events:
                self._finish()
            raise
        if self.thread.gave_up is not None:
            self._notifier.stopping(self.thread.gave_up.message)
            raise self.thread.gave_up
        return self._finish()

    def _mount(self) -> None:
        self._mounted = True
        self.thread.mount(self.camera, install=not self._is_single)

    # --- events -----------------------------------------------------------------------

    def _take(self, batch: list[EventFields]) -> None:
        pieces: Iterator[tuple[list[EventFields], float]] = iter([(batch, 0.0)])
        if self._replay is not None:
            pieces = self._replay.pieces(batch, lambda: self.thread.timer.due)
        for piece, moment in pieces:
            events = self._filter.apply(piece)
            if not self._retried(lambda: self._apply(events)):  # noqa: B023  (called at once)
                return
            if self._replay is not None:
                self._replay.move(moment)
                if not self._mounted:
                    self._sequence.subscribed(moment)
                    self._mount()
                if not self._retried(lambda: self.thread.catch_up(TICK)):
                    return
        self._tick()

    def _retried(self, attempt: Callable[[], bool]) -> bool:
        """Try something until it succeeds; return False if the end comes first."""
        while not attempt():
            self._tick()
            if self._is_over():
                return False
        return True

    def _apply(self, events: list[EventFields]) -> bool:
        """Apply events to the state; return False if the camera is holding it."""
        if not events:
            return True
        with self.state.held(TICK) as held:
            if not held:
                return False
            # One after the other: metrics count a task as it was at each event.
            for change in self.state.changes(events):
                self._observe(change)
            for event in events:
                if event["type"] == GAP:
                    self._sequence.note(event)
        self._status.count(events)
        return True

    def _observe(self, change: Change) -> None:
        if self._observer is not None:
            try:
                self._observer.observe((change,))
            except Exception as error:  # noqa: BLE001  (whatever the camera raises)
                self._failures.error("the camera failed to observe", error)

    # --- between events ---------------------------------------------------------------

    def _tick(self) -> None:
        """Look at the time, the signals, and the camera."""
        self.counters.ticked_at = now = self._clock.monotonic()
        if self._flags.ending and math.isinf(self._deadline):
            self._deadline = now + self._options.shutdown_timeout
            self._notifier.stopping("taking the last snapshot")
        self._handle_signals(now)
        self._get_ready(now)
        self._watch_camera(now)
        if now >= self._next_status:
            self._next_status = now + _STATUS_EVERY
            self._status.update(now)
            self._status.log_problems(self._source)
            if self.counters.ready:
                self._notifier.status(self._status.line())

    def _handle_signals(self, now: float) -> None:
        flags = self._flags
        if flags.shot_wanted:
            flags.shot_wanted = False
            self.thread.take_one()
        if flags.dump_wanted:
            flags.dump_wanted = False
            self._status.update(now)
            self._status.dump(self._source)
        if flags.reopen_wanted:
            flags.reopen_wanted = False
            if self.counters.ready:
                self._notifier.reloading()
            if self._on_hangup is not None:
                self._on_hangup()
            if self._observer is not None:
                self.thread.soon(self._observer.reopen)
            if self.counters.ready:
                self._notifier.ready()

    def _get_ready(self, now: float) -> None:
        is_there = self.counters.connected or self._replay is not None
        waited = now - self._started >= self._options.ready_timeout
        if self._is_single and math.isinf(min(self._period_ends, self._deadline)):
            if not is_there and waited:
                raise BrokerUnavailable(self._status.why, "there is nothing to look at")
            if is_there and self._mounted:
                self._period_ends = self._times.monotonic() + self._options.freq
        if not self.counters.ready and (is_there or waited):
            self.counters.ready = True
            if self._ready is not None:
                self._ready()
            self._notifier.ready(self._status.line())

    def _watch_camera(self, now: float) -> None:
        busy = self.thread.busy_for(now)
        if busy < STUCK_AFTER:
            self._notifier.watchdog()
        if busy < _LONG:
            self._warn_at = _LONG
        elif busy >= self._warn_at:
            self._warn_at = 2 * busy
            _log.warning("the camera has been at work for %s", human_duration(busy))

    def _is_over(self) -> bool:
        """Return whether to apply no more events."""
        if self.thread.gave_up is not None or self._period_ends <= self._times.monotonic():
            return True
        # Events that have come in are applied, for up to half of the time for the end.
        left = self._deadline - self._clock.monotonic()
        return left <= self._options.shutdown_timeout / 2

    # --- the end ----------------------------------------------------------------------

    def _finish(self) -> int:
        """Take the last snapshot, within the time there is; return the exit status."""
        timeout = self._options.shutdown_timeout
        self._status.log_problems(self._source)
        if not self._mounted:
            self._mount()
        for note in self._filter.notes():
            _log.warning("%s", note)
        if self._options.test:
            return self._print_dry_run()
        left = self._source.statistics().buffered_bytes
        if left and not self._is_single:  # which ends with its period
            _log.error("no time for events that have come in: %d bytes", left)
        self._deadline = min(self._deadline, self._clock.monotonic() + timeout)
        self.thread.end()
        while not self.thread.join(self._patience()):
            self._tick()
            if not self._patience():
                _log.error(
                    "the camera is still at work after %s; events since its last snapshot may"
                    " be lost",
                    human_duration(timeout),
                )
                return EXIT_FAILED
        return EXIT_FAILED if self.thread.last_failed else EXIT_OK

    def _patience(self) -> float:
        """Return how many seconds to wait for the camera before the next tick."""
        return min(TICK, max(0.0, self._deadline - self._clock.monotonic()))

    def _print_dry_run(self) -> int:
        info = self._sequence.next(self._times.wall())
        if self._observer is not None:
            snapshot = self.state.freeze_while(snapshot_of, self._observer, info)
        else:
            snapshot = self.state.freeze_while(summary, self.state, info)
        sys.stdout.buffer.write(dry_run(snapshot) + b"\n")
        sys.stdout.buffer.flush()
        return EXIT_OK


def make_state(options: CamOptions, clock: Clock) -> State:
    return State(max_tasks_in_memory=options.max_tasks, max_bytes=options.max_memory, clock=clock)


def make(
    make_camera: Callable[..., Any], options: CamOptions, state: State, thread: CameraThread
) -> Any:
    """Make a camera; raise UsageError if that fails."""
    return make_camera(
        state,
        freq=options.freq,
        maxrate=options.maxrate or None,
        cleanup_freq=options.cleanup_freq,
        timer=thread.timer,
        app=None,
    )
