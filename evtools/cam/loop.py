"""evcam's main thread: events into the state, signals, signs of life, the end."""

import logging
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from evtools.cam.camera import Camera
from evtools.cam.counters import Counters
from evtools.cam.failures import Failures
from evtools.cam.link import Link
from evtools.cam.news import News
from evtools.cam.notify import Notifier
from evtools.cam.options import CamOptions
from evtools.cam.proof import proof, summary
from evtools.cam.roll import Roll
from evtools.cam.shutter import Shutter
from evtools.cam.sieve import Sieve
from evtools.cam.tapetime import TapeTime
from evtools.cam.traffic import Traffic
from evtools.clock import Clock
from evtools.errors import BrokerUnavailable, EvtoolsError
from evtools.state import Change, State
from evtools.text import human_duration
from evtools.transport import Source
from evtools.wire import GAP, EventFields

_log = logging.getLogger(__name__)

#: The longest wait for anything, in seconds: so often the time is looked at.
TICK: Final = 0.25
#: A camera at work for longer is stuck, and so are we: no sign of life then.
STUCK_AFTER: Final = 120.0
#: When to tell first that it takes long; again when twice as long.
_LONG: Final = 30.0
_STATUS_EVERY: Final = 5.0
EXIT_OK, EXIT_FAILED = 0, 1


class Flags(Protocol):
    """What signals ask for."""

    ending: bool
    reopen_wanted: bool
    dump_wanted: bool
    shot_wanted: bool


def nothing() -> None:
    """Do nothing."""


@dataclass(slots=True)
class Rig:
    """All that the loop works with.

    `times` is the clock of the shots, which is the recording's if one is
    replayed.  `ready` is called once, when events come or the wait for them is
    over, `on_hangup` when somebody asks to open files anew.
    """

    options: CamOptions
    clock: Clock
    times: Clock
    counters: Counters
    source: Source
    sieve: Sieve
    state: State
    roll: Roll
    link: Link
    shutter: Shutter
    camera: Any
    notifier: Notifier = field(default_factory=Notifier)
    ready: Callable[[], None] = nothing
    on_hangup: Callable[[], None] = nothing


class Loop:
    """Take events until the end, and never wait for anything longer than a tick.

    The camera may hold the state for as long as it likes: events then wait
    where they come in, as bytes.
    """

    def __init__(self, rig: Rig, flags: Flags) -> None:
        self._rig = rig
        self._flags = flags
        self._tape = rig.times if isinstance(rig.times, TapeTime) else None
        self._observer = rig.camera if isinstance(rig.camera, Camera) else None
        self._is_single = rig.options.once or rig.options.test
        self._traffic = Traffic(rig.counters, rig.state)
        self._news = News(
            *(rig.counters, rig.source, rig.link, rig.clock),
            replays=bool(self._tape),
            redacts=bool(rig.options.redact),
        )
        self._failures = Failures()
        self._started = rig.clock.monotonic()
        self._mounted = False
        #: When the one period of --once and --test ends, by the clock of the shots.
        self._period_ends = math.inf
        #: When the end must have come, once somebody wants it.
        self._deadline = math.inf
        self._next_status = 0.0
        self._warn_at = _LONG

    def run(self) -> int:
        """Run to the end; return the exit status.

        Raise EvtoolsError when the camera or the source has given up.
        """
        rig = self._rig
        rig.counters.ticked_at = self._started
        if self._tape is None:
            self._mount()
        try:
            for batch in rig.source.batches(TICK):
                self._take(batch)
                if self._is_over():
                    break
        except EvtoolsError:
            if rig.counters.events:
                self._finish()
            raise
        if rig.shutter.gave_up is not None:
            rig.notifier.stopping(rig.shutter.gave_up.message)
            raise rig.shutter.gave_up
        return self._finish()

    def _mount(self) -> None:
        self._mounted = True
        self._rig.shutter.mount(self._rig.camera, install=not self._is_single)

    # --- events -----------------------------------------------------------------------

    def _take(self, batch: list[EventFields]) -> None:
        for piece, moment in self._pieces(batch):
            events = self._rig.sieve.take(piece)
            while not self._apply(events):
                self._tick()
                if self._is_over():
                    return
            if self._tape is not None:
                self._move(self._tape, moment)
        self._tick()

    def _pieces(self, events: list[EventFields]) -> Iterator[tuple[list[EventFields], float]]:
        if self._tape is None:
            return iter([(events, 0.0)])
        return self._tape.pieces(events, lambda: self._rig.shutter.timer.due)

    def _apply(self, events: list[EventFields]) -> bool:
        """Let the state take events in; return False if the camera is holding it."""
        rig = self._rig
        if not events:
            return True
        with rig.state.held(TICK) as ours:
            if not ours:
                return False
            # One after the other: what is counted of a task is what it was then.
            for change in rig.state.changes(events):
                self._observe(change)
            for event in events:
                if event["type"] == GAP:
                    rig.roll.note(event)
        self._traffic.take(events)
        return True

    def _observe(self, change: Change) -> None:
        """Let the camera see what an event changed."""
        if self._observer is not None:
            try:
                self._observer.observe((change,))
            except Exception as error:  # noqa: BLE001  (whoever wrote the camera)
                self._failures.tell("the camera failed to observe", error)

    def _move(self, tape: TapeTime, moment: float) -> None:
        """Go on to a moment of a recording, and let the camera do what is due."""
        rig = self._rig
        tape.move(moment)
        if not self._mounted:
            rig.roll.subscribed(moment)
            self._mount()
        while not rig.shutter.catch_up(TICK):
            self._tick()
            if self._is_over():
                return

    # --- between events ---------------------------------------------------------------

    def _tick(self) -> None:
        """Look at the time, the signals, and the camera."""
        rig, now = self._rig, self._rig.clock.monotonic()
        rig.counters.ticked_at = now
        if self._flags.ending and math.isinf(self._deadline):
            self._deadline = now + rig.options.shutdown_timeout
            rig.notifier.stopping("taking the last shot")
        self._obey()
        self._get_ready(now)
        self._look_after_camera(now)
        if now >= self._next_status:
            self._next_status = now + _STATUS_EVERY
            self._traffic.settle(now)
            self._news.tell_defects()
            self._news.tell_doubt()
            if rig.counters.ready:
                rig.notifier.status(self._news.status())

    def _obey(self) -> None:
        """Do what signals asked for."""
        rig, flags = self._rig, self._flags
        if flags.shot_wanted:
            flags.shot_wanted = False
            rig.shutter.shoot()
        if flags.dump_wanted:
            flags.dump_wanted = False
            self._traffic.settle(rig.clock.monotonic())
            self._news.dump()
        if flags.reopen_wanted:
            flags.reopen_wanted = False
            self._reopen()

    def _reopen(self) -> None:
        rig = self._rig
        if rig.counters.ready:
            rig.notifier.reloading()
        rig.on_hangup()
        if self._observer is not None:
            rig.shutter.soon(self._observer.reopen)
        if rig.counters.ready:
            rig.notifier.ready()

    def _get_ready(self, now: float) -> None:
        rig, counters = self._rig, self._rig.counters
        is_there = counters.connected or self._tape is not None
        waited = now - self._started >= rig.options.ready_timeout
        if self._is_single and math.isinf(min(self._period_ends, self._deadline)):
            if not is_there and waited:
                raise BrokerUnavailable(rig.link.why, "there is nothing to look at")
            if is_there and self._mounted:
                self._period_ends = rig.times.monotonic() + rig.options.freq
        if not counters.ready and (is_there or waited):
            counters.ready = True
            rig.ready()
            rig.notifier.ready(self._news.status())

    def _look_after_camera(self, now: float) -> None:
        rig = self._rig
        busy = rig.shutter.running_for(now)
        if busy < STUCK_AFTER:
            rig.notifier.watchdog()
        if busy < _LONG:
            self._warn_at = _LONG
        elif busy >= self._warn_at:
            self._warn_at = 2 * busy
            _log.warning("the camera has been at work for %s", human_duration(busy))

    def _is_over(self) -> bool:
        """Return whether to take no more events."""
        rig = self._rig
        if rig.shutter.gave_up is not None:
            return True
        if self._period_ends <= rig.times.monotonic():
            return True
        # What has come in is taken in, as far as half of the time for the end goes.
        left = self._deadline - rig.clock.monotonic()
        return left <= rig.options.shutdown_timeout / 2

    # --- the end ----------------------------------------------------------------------

    def _finish(self) -> int:
        """Take the last shot, within the time there is; return the exit status."""
        rig, timeout = self._rig, self._rig.options.shutdown_timeout
        self._news.tell_defects()
        if not self._mounted:
            self._mount()
        for note in rig.sieve.notes():
            _log.warning("%s", note)
        if rig.options.test:
            return self._print_proof()
        left = rig.source.statistics().buffered_bytes
        if left and not self._is_single:  # which ends with its period
            _log.error("no time for events that have come in: %d bytes", left)
        self._deadline = min(self._deadline, rig.clock.monotonic() + timeout)
        rig.shutter.end()
        while not rig.shutter.join(self._patience()):
            self._tick()
            if not self._patience():
                _log.error(
                    "the camera is still at work after %s; "
                    "what came in since its last shot may be lost",
                    human_duration(timeout),
                )
                return EXIT_FAILED
        return EXIT_FAILED if rig.shutter.last_failed else EXIT_OK

    def _patience(self) -> float:
        """Return how long to wait for the camera before looking around again."""
        return min(TICK, max(0.0, self._deadline - self._rig.clock.monotonic()))

    def _print_proof(self) -> int:
        rig = self._rig
        frame = rig.roll.next(rig.times.wall())
        if self._observer is not None:
            picture = rig.state.freeze_while(self._observer.expose, frame)
        else:
            picture = rig.state.freeze_while(summary, rig.state, frame)
        sys.stdout.buffer.write(proof(picture) + b"\n")
        sys.stdout.buffer.flush()
        return EXIT_OK
