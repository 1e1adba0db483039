"""evcam's main loop: events into the state, signals, signs of life, reports, the end."""

import json
import logging
import math
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from msgspec import UNSET

from evtools.cam.camera import Camera, snapshot_of
from evtools.cam.daemon import Notifier
from evtools.cam.log import FailureLog
from evtools.cam.options import CamOptions
from evtools.cam.schedule import CameraThread, Counters
from evtools.cam.snapshot import SnapshotSequence, dry_run, summary
from evtools.clock import Clock
from evtools.errors import BrokerUnavailable, EvtoolsError
from evtools.filters import all_of, compile_filter
from evtools.signals import EndingSignals
from evtools.state import OTHERS, State
from evtools.text import human_duration, sanitize
from evtools.transport import Notice, Source
from evtools.transport.source import SilenceHint
from evtools.wire import Event, Gap, Joiner
from evtools.wire.redact import redactor

_log = logging.getLogger(__name__)

#: The longest wait in seconds before the loop looks at the time.
TICK: Final = 0.25
#: Seconds after which a camera at work is stuck, and evcam too: no sign of life then.
STUCK_AFTER: Final = 120.0
#: Seconds after which a warning says that it takes long; the next at twice that.
_LONG: Final = 30.0
_STATUS_EVERY: Final = 5.0
#: Types of event that are counted apart; senders choose their names.
_TYPES_MAX: Final = 200


class Signals(EndingSignals):
    """Keep signals until the main loop looks at them, and takes them out of `came`.

    INT and TERM ask for a last snapshot and the end, HUP to open logs and outputs anew and to read
    the settings file again, USR1 for counters and stacks in the log, USR2 for a snapshot now.
    """

    def __init__(self, end: Callable[[], None], clock: Clock) -> None:
        super().__init__(end, clock)
        self.came: set[int] = set()
        wanted = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
        self.handlers |= dict.fromkeys(wanted, lambda number, _: self.came.add(number))


class EventFilter:
    """Redact events, and drop those of tasks that do not match all filters of `options`.

    An event is matched with the fields of earlier events of its task.  Events of workers always
    pass, as tasks mean little without them.  Raise FilterError or UsageError for invalid ones.
    """

    def __init__(self, options: CamOptions, *, now: Callable[[], float]) -> None:
        texts = [text for text in options.filters if text.strip()]
        compiled = [compile_filter(text, zone=options.zone, now=now) for text in texts]
        self._filter = all_of(*compiled) if compiled else None
        self._redact = redactor(options.redact)
        self._joiner = Joiner()
        self._asked = self._passed = 0

    def apply(self, events: list[Event]) -> list[Event]:
        """Return the events that pass, masked."""
        if self._redact is not None:
            events = list(map(self._redact.of_event, events))
        if self._filter is None:
            return events
        # What evdump recorded is joined already.
        self._joiner.join([event for event in events if event.known is UNSET])
        passed: list[Event] = []
        for event in events:
            if event.type.startswith("task-"):
                self._asked += 1
                if not self._filter.matches(event):
                    continue
                self._passed += 1
            passed.append(event)
        return passed

    def notes(self) -> list[str]:
        """Return why no event of a task has passed, if that is so."""
        if self._filter is None or self._passed or not self._asked:
            return []
        head = f"--filter matched none of {self._asked} events of tasks"
        return [head, *self._filter.unknown(), *self._filter.hints()]


class ReplayClock:
    """A clock that shows when the current event of a recording was received.

    However fast it is replayed, there are as many snapshots and as far apart as there would have
    been then.  It never goes back, and is 0 before the first event.
    """

    def __init__(self) -> None:
        self._now = 0.0

    def wall(self) -> float:
        return self._now

    monotonic = wall

    def move(self, moment: float) -> None:
        self._now = max(self._now, moment)

    def pieces(
        self, events: list[Event], due: Callable[[], float]
    ) -> Iterator[tuple[list[Event], float]]:
        """Cut events where something is due, according to `due()`, and where time begins.

        Yield the events of a piece, and the moment to move to once they are applied.
        """
        begin, now = 0, self._now
        until = due() if now else 0.0
        for index, event in enumerate(events):
            moment = event.local_received
            if moment <= now:
                continue
            now = moment
            if now >= until:
                yield events[begin:index], now
                begin, until = index, due()
        if begin < len(events):
            yield events[begin:], now


class Loop:
    """Apply events until the end, and never wait for anything longer than a tick.

    While the camera holds the state, events wait in the source, as bytes.

    `make_camera` is called with the state and what cameras are made with; raise UsageError if that
    fails, and for invalid filters and patterns.  `ready` is called once, when events come or the
    wait for them is over, `on_hangup` when files are to be opened anew.
    """

    def __init__(
        self,
        options: CamOptions,
        make_camera: Callable[..., Any],
        clock: Clock,
        notifier: Notifier | None = None,
        ready: Callable[[], None] = lambda: None,
        on_hangup: Callable[[], None] = lambda: None,
    ) -> None:
        self._options, self.clock = options, clock
        self._notifier = notifier or Notifier()
        self._ready, self._on_hangup = ready, on_hangup
        self._replay = ReplayClock() if options.read else None
        #: The clock of the snapshots, which is the recording's if one is replayed.
        self._times: Clock = self._replay or clock
        self.counters = Counters(started=clock.wall())
        self.state = State(
            max_tasks_in_memory=options.max_tasks, max_bytes=options.max_memory, clock=self._times
        )
        self.thread = CameraThread(self.counters, clock, self._replay, options.max_failures)
        self._sequence = SnapshotSequence(
            self.state.workers, started=self.counters.started, warm_up=options.warm_up
        )
        self._filter = EventFilter(options, now=self._times.wall)
        self.camera = make_camera(
            self.state, freq=options.freq, maxrate=options.maxrate or None,
            cleanup_freq=options.cleanup_freq, timer=self.thread, app=None,
        )  # fmt: skip
        self._observer = self.camera if isinstance(self.camera, Camera) else None
        if self._observer is not None:
            self._observer.load(self._sequence, self._times)
        self._failures = FailureLog()
        self._is_single = options.once or options.test
        self._started = clock.monotonic()
        self._mounted = False
        #: When the one period of --once and --test ends, by the clock of the snapshots, and when
        #: evcam must have ended, once that is wanted.
        self._period_ends = self._deadline = math.inf
        self._next_status, self._warn_at = 0.0, _LONG
        #: Why there is no connection, and how often that was tried in vain.
        self._why, self._retries = "no connection", 0
        self._updated: float | None = None
        self._events_then = 0
        self._worst_lag: float | None = None
        self._hint: SilenceHint | None = None
        #: Kinds of malformed input that are in the log.
        self._reported: set[str] = set()

    def run(self, source: Source, signals: Signals) -> int:
        """Run to the end; return the exit status.  Raise EvtoolsError if camera or source fail."""
        self._source, self._signals = source, signals
        self.counters.ticked_at = self._started
        if self._replay is None:
            self._mount()
        try:
            for batch in source.events(TICK):
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

    def _take(self, batch: list[Event]) -> None:
        if self._replay is None:
            self._apply(batch)
        else:
            for piece, moment in self._replay.pieces(batch, lambda: self.thread.due):
                if not self._apply(piece):
                    return
                self._replay.move(moment)
                if not self._mounted:
                    self._sequence.subscribed(moment)
                    self._mount()
                while not self.thread.settle(TICK):
                    self._tick()
                    if self._is_over():
                        return
        self._tick()

    def _apply(self, batch: list[Event]) -> bool:
        # To the state, which the camera may be holding.  Return False if the end comes first.
        events = self._filter.apply(batch)
        while events:
            with self.state.held(TICK) as held:
                if held:
                    self._apply_all(events)
                    break
            self._tick()
            if self._is_over():
                return False
        return True

    def _apply_all(self, events: list[Event]) -> None:
        # One after the other: metrics count a task as it was at each event.
        for change in self.state.changes(events):
            if self._observer is not None:
                try:
                    self._observer.observe((change,))
                except Exception as error:  # noqa: BLE001  (whatever the camera raises)
                    self._failures.error("the camera failed to observe", error)
            if isinstance(change.event, Gap):
                self._sequence.note(change.event)
        self._count(events)

    def _tick(self) -> None:
        self.counters.ticked_at = now = self.clock.monotonic()
        if self._signals.ending and math.isinf(self._deadline):
            self._deadline = now + self._options.shutdown_timeout
            self._notifier.stopping("taking the last snapshot")
        self._handle_signals(now)
        self._get_ready(now)
        since = self.counters.busy_since
        busy = 0.0 if since is None else now - since
        if busy < STUCK_AFTER:
            self._notifier.watchdog()
        if busy < _LONG:
            self._warn_at = _LONG
        elif busy >= self._warn_at:
            self._warn_at = 2 * busy
            _log.warning("the camera has been at work for %s", human_duration(busy))
        if now >= self._next_status:
            self._next_status = now + _STATUS_EVERY
            self._update(now)
            self._log_problems()
            if self.counters.ready:
                self._notifier.status(self._line())

    def _handle_signals(self, now: float) -> None:
        while self._signals.came:
            number = self._signals.came.pop()
            if number == signal.SIGUSR2:
                self.thread.take_one()
            elif number == signal.SIGUSR1:
                self._update(now)
                self._dump()
            else:
                if self.counters.ready:
                    self._notifier.reloading()
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
                raise BrokerUnavailable(self._why, "there is nothing to look at")
            if is_there and self._mounted:
                self._period_ends = self._times.monotonic() + self._options.freq
        if not self.counters.ready and (is_there or waited):
            self.counters.ready = True
            self._ready()
            self._notifier.ready(self._line())

    def _is_over(self) -> bool:
        # Events that have come in are applied, for up to half of the time for the end.
        left = self._deadline - self.clock.monotonic()
        return (
            self.thread.gave_up is not None
            or self._period_ends <= self._times.monotonic()
            or left <= self._options.shutdown_timeout / 2
        )

    def on_notice(self, notice: Notice) -> None:
        """Apply a notice of the source; of many retries in a row log the 1st, 2nd, 4th, ..."""
        if notice.kind in {"listening", "restored"}:
            self.counters.connected = True
            self._sequence.subscribed(self.clock.wall())
            self._retries, self._why = 0, "no connection"
            words = "listening on" if notice.kind == "listening" else "connected again:"
            _log.info("%s %s", words, notice.text)
        elif notice.kind == "lost":
            self.counters.connected = False
            self._sequence.lost()
            self._why = notice.text
            _log.warning("connection lost: %s", notice.text)
        elif notice.kind == "ended" and notice.text:
            _log.warning("%s", notice.text)
        elif notice.kind == "retry":
            error = notice.text.rpartition("; trying again")[0] or notice.text
            self._retries = self._retries + 1 if error == self._why else 1
            self._why = error
            if self._retries & (self._retries - 1) == 0:
                _log.warning("%s", notice.text)

    def _count(self, events: Sequence[Event]) -> None:
        # At least one, which were applied to the state.
        counters, known = self.counters, self.counters.events_by_type
        types = Counter([event.type for event in events])
        counters.gaps += types.pop(Gap.type, 0)
        for kind, number in types.items():
            name = kind if kind in known or len(known) < _TYPES_MAX else OTHERS
            known[name] = known.get(name, 0) + number
        counters.events += types.total()
        last = events[-1]
        received = float(last.local_received)
        if not received:  # a bare event without any time
            return
        counters.last_event_at = received
        if "worker-heartbeat" in types:
            counters.last_heartbeat_at = received
        worker = self.state.workers.get(last.hostname)
        if worker is not None and worker.skew is not None and last.timestamp is not None:
            lag = max(0.0, received - last.timestamp + worker.skew)
            self._worst_lag = max(lag, self._worst_lag or 0.0)

    def _update(self, now: float) -> None:
        counters, state = self.counters, self.state
        then, self._updated = self._updated, now
        if then is not None and now > then:
            counters.events_per_second = (counters.events - self._events_then) / (now - then)
        self._events_then = counters.events
        counters.lag, self._worst_lag = self._worst_lag, None
        workers = list(state.workers.values())
        counters.tasks, counters.workers = len(state.tasks), len(workers)
        counters.workers_alive = sum(worker.alive for worker in workers)
        counters.evicted = state.evicted
        counters.nameless = state.nameless

    def _line(self) -> str:
        counters, replays = self.counters, self._options.read
        if not counters.connected and not replays:
            return f"waiting for broker: {self._why}"
        last = "no snapshot yet"
        if counters.last_success_at is not None:
            ago = self.clock.wall() - counters.last_success_at
            last = f"last snapshot {human_duration(ago)} ago"
        return (
            f"{'replaying' if replays else 'connected'}, {counters.events_per_second:.0f} ev/s,"
            f" {counters.workers_alive} workers, {last}, {counters.failures_in_row} failures"
        )

    def _dump(self) -> None:
        # All counters, and the stacks of all threads, the main thread's first.
        statistics = asdict(self._source.statistics())
        malformed = {each["kind"]: each["count"] for each in statistics.pop("defects")}
        del statistics["clusters"]  # there is one
        counters = {**statistics, **asdict(self.counters), "malformed": malformed}
        _log.warning("counters: %s", json.dumps(counters))
        frames = sys._current_frames()  # noqa: SLF001  (its documented use)
        main, lines = threading.main_thread(), []
        for thread in sorted(threading.enumerate(), key=lambda thread: thread is not main):
            lines.append(f"thread {thread.name}{' (daemon)' if thread.daemon else ''}:")
            frame = frames.get(thread.ident or 0)
            if frame is not None:
                lines.append("".join(traceback.format_stack(frame)).rstrip())
        _log.warning("stacks:\n%s", "\n".join(lines))

    def _log_problems(self) -> None:
        # Each kind of malformed input once, and once that nothing comes at all.
        if not self._options.read:
            self._hint = self._hint or SilenceHint(self._source.statistics, self.clock)
            words = self._hint.words()
            if words:
                _log.warning("%s", words)
        for defect in self._source.statistics().defects:
            if defect.kind not in self._reported:
                self._reported.add(defect.kind)
                words = defect.words(redacted=bool(self._options.redact))
                _log.warning("left out: %s", sanitize(words))
        if self.counters.nameless and "" not in self._reported:
            self._reported.add("")
            _log.warning("some events have no uuid or hostname and were ignored")

    def _finish(self) -> int:
        # Take the last snapshot, within the time there is; return the exit status.
        self._log_problems()
        if not self._mounted:
            self._mount()
        for note in self._filter.notes():
            _log.warning("%s", note)
        if self._options.test:
            info = self._sequence.next(self._times.wall())
            looks: tuple[Any, ...] = (summary, self.state, info)
            if self._observer is not None:
                looks = (snapshot_of, self._observer, info)
            sys.stdout.buffer.write(dry_run(self.state.freeze_while(*looks)) + b"\n")
            sys.stdout.buffer.flush()
            return 0
        left = self._source.statistics().buffered_bytes
        if left and not self._is_single:  # which ends with its period
            _log.error("no time for events that have come in: %d bytes", left)
        timeout = self._options.shutdown_timeout
        self._deadline = min(self._deadline, self.clock.monotonic() + timeout)
        self.thread.end()
        while not self.thread.join(min(TICK, max(0.0, self._deadline - self.clock.monotonic()))):
            self._tick()
            if self.clock.monotonic() >= self._deadline:
                loss, took = "events since its last snapshot may be lost", human_duration(timeout)
                _log.error("the camera is still at work after %s; %s", took, loss)
                return 1
        return int(self.thread.last_failed)
