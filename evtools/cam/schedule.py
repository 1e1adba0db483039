"""When a camera works: its rate, the timer that calls it, and the thread of its snapshots."""

import logging
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, TypeAlias

from evtools.cam.log import FailureLog, named, reason
from evtools.clock import Clock, SystemClock
from evtools.errors import CameraFailed, OutputError, UsageError
from evtools.text import sanitize

_log = logging.getLogger(__name__)

Function: TypeAlias = Callable[..., Any]

#: The missing part of a token that is forgiven, so that a snapshot that is in time is not
#: refused for being a moment early.  It is owed, and so the rate stays what it is.
_SLACK: Final = 0.01
_PER: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
#: Seconds; calls that are due later are waited for again.
_WAIT_MAX: Final = 3600.0
#: Seconds to wait at most after failures in a row, unless the camera's interval is longer, or it
#: has a `retry_max` of its own.
_RETRY_MAX: Final = 300.0
_DOUBLINGS_MAX: Final = 20
#: Of calls that are due together: requests come before the snapshots.
_NOW, _LAST = -1, -2


class TryLater(OutputError):
    """What a camera could not write can be tried again after `wait` seconds, and not before."""

    def __init__(self, message: str, hint: str = "", *, wait: float) -> None:
        super().__init__(message, hint)
        self.wait = wait


@dataclass(slots=True)
class Shots:
    """Snapshots by result; some are skipped as one took too long (`overrun`) or by --maxrate."""

    taken: int = 0
    skipped_rate: int = 0
    overrun: int = 0
    failed: int = 0


@dataclass(slots=True)
class ClusterCounters:
    """What is counted of each cluster; times are UTC epoch seconds."""

    # of the stream
    connected: bool = False
    events: int = 0
    events_by_type: dict[str, int] = field(default_factory=dict)
    events_per_second: float = 0.0
    last_event_at: float | None = None
    last_heartbeat_at: float | None = None
    #: The largest delay of an event in the last seconds.
    lag: float | None = None
    gaps: int = 0

    # of the state
    tasks: int = 0
    workers: int = 0
    workers_alive: int = 0
    evicted: int = 0
    #: Events of tasks and workers without uuid or hostname.
    nameless: int = 0

    #: Of the spool, if there is one: its size on disk, its events that are not written to the store
    #: yet, and those that were dropped.
    spool_bytes: int | None = None
    spool_events: int | None = None
    spool_dropped: int | None = None


@dataclass(slots=True)
class Counters(ClusterCounters):
    """Everything that evcam counts, as plain numbers that any thread may read.

    Nothing is locked: the camera's thread writes those of the snapshots, the main thread all
    others.  Times are UTC epoch seconds, `ticked_at` and `busy_since` by the monotonic clock.
    What is counted of clusters with names is in `clusters`, by name, and in the `total`.
    """

    started: float = 0.0

    # of the snapshots
    shots: Shots = field(default_factory=Shots)
    cleanups: int = 0
    cleanups_failed: int = 0
    #: Since when the camera has been at work, or when it last got on; None if it is not.
    busy_since: float | None = None
    last_shot_at: float | None = None
    last_shot_seconds: float | None = None
    shot_seconds: float = 0.0
    last_success_at: float | None = None
    failures_in_row: int = 0
    last_error: str = ""

    # of the main loop
    ticked_at: float = 0.0
    ready: bool = False

    clusters: dict[str, ClusterCounters] = field(default_factory=dict)
    #: Events of a recording that has too many clusters.
    left_out: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return all as plain values, with the sums of all clusters: connected is one of them."""
        clusters = {name: _plain(each) for name, each in self.clusters.copy().items()}
        values = _plain(self) | {"shots": asdict(self.shots), "clusters": clusters}
        if not clusters:
            del values["clusters"], values["left_out"]
            return values
        for name in [each.name for each in fields(ClusterCounters)]:
            parts = [values[name], *(of_one[name] for of_one in clusters.values())]
            known = [part for part in parts if part is not None]
            if name == "events_by_type":
                total: dict[str, int] = {}
                for types in known:
                    for kind, count in types.items():
                        total[kind] = total.get(kind, 0) + count
                values[name] = total
            elif name in _LATEST:
                values[name] = max(known, default=None)
            else:
                total_of_all = sum(known) if known or not name.startswith("spool") else None
                values[name] = any(known) if name == "connected" else total_of_all
        return values


#: Of all clusters, the greatest counts, and not the sum.
_LATEST: Final = frozenset({"last_event_at", "last_heartbeat_at", "lag"})


def _plain(counters: ClusterCounters) -> dict[str, Any]:
    values = {each.name: getattr(counters, each.name) for each in fields(counters)}
    # A copy in one step, for it grows in another thread.
    return values | {"events_by_type": counters.events_by_type.copy()}


def rate(text: str | float) -> float:
    """Return the times per second of `100/s`, `10/m`, `2/h` or `0.5`, as Celery writes it.

    Raise UsageError for anything else, and for a rate that is not above zero.
    """
    number, _, unit = str(text).strip().partition("/")
    try:
        per_second = float(number) / _PER[unit.strip() or "s"]
    except (ValueError, KeyError):
        per_second = 0.0
    if not 0 < per_second < math.inf:
        hint = "write it as in 10/m, 100/s or 2/h"
        raise UsageError(f'invalid rate "{sanitize(str(text))}"', hint)
    return per_second


# Not kombu's: that belongs to `transport` alone, and would be imported with every camera.
class TokenBucket:
    """Allow something at a `rate` (per second) at most, evenly spaced."""

    def __init__(self, rate: float, *, clock: Clock | None = None) -> None:
        self.fill_rate = float(rate)
        self._clock = clock or SystemClock()
        self._tokens = 1.0
        self._then = self._clock.monotonic()

    def can_consume(self, tokens: float = 1.0) -> bool:
        """Take `tokens` out and return True, if there are that many."""
        now = self._clock.monotonic()
        filled = self._tokens + self.fill_rate * (now - self._then)
        self._tokens, self._then = min(1.0, filled), now
        if tokens > self._tokens + _SLACK:
            return False
        self._tokens -= tokens
        return True


@dataclass(eq=False, slots=True)
class Entry:
    """A call that is due at `due` (by the monotonic clock), and then every `seconds`, if given.

    As Celery's, it can be called like the function that it stands for.
    """

    seconds: float | None
    fun: Function
    args: Iterable[Any]
    kwargs: Mapping[str, Any]
    priority: int
    due: float
    cancelled: bool = False

    def __call__(self) -> Any:
        return self.fun(*self.args, **self.kwargs)

    def cancel(self) -> None:
        self.cancelled = True


class Timer:
    """Call functions at an interval, one after the other, in a thread that begins with the first.

    Calls keep to their grid: one that takes longer than its interval leaves out the ticks that it
    missed.  `clock` need not run by itself: after moving it, `settle` waits for all that was due.
    """

    def __init__(self, clock: Clock | None = None, *, name: str = "evtools-timer") -> None:
        self._clock = clock or SystemClock()
        self._entries: list[Entry] = []
        self._changed = threading.Condition()
        self._running = self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def call_repeatedly(
        self, seconds: float, fun: Function, args: Any = (), kwargs: Any = None, priority: int = 0
    ) -> Entry:
        """Call `fun` every `seconds`, for the first time after that many; never if that is 0.

        Of calls that are due together those with a lower `priority` come first.
        """
        due = self._clock.monotonic() + seconds if seconds > 0 else math.inf
        return self._add(Entry(seconds, fun, args, kwargs or {}, priority, due))

    def call_after(
        self, seconds: float, fun: Function, args: Any = (), kwargs: Any = None, priority: int = 0
    ) -> Entry:
        due = self._clock.monotonic() + seconds
        return self._add(Entry(None, fun, args, kwargs or {}, priority, due))

    def cancel(self, entry: Entry) -> None:
        entry.cancel()

    def stop(self) -> None:
        """Call nothing any more; a call under way is not interrupted."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end of the thread; return whether it has ended."""
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is due and nothing runs; return whether that is so."""

        def is_settled() -> bool:
            is_due = not self._stopped and self._next_due() <= self._clock.monotonic()
            return not (self._running or is_due)

        with self._changed:
            self._changed.notify_all()
            return self._changed.wait_for(is_settled, timeout)

    @property
    def due(self) -> float:
        """When the next call is due, by the monotonic clock; infinite for never."""
        with self._changed:
            return self._next_due()

    # --- in the thread; a subclass may have its own -----------------------------------

    def call(self, entry: Entry) -> float | None:
        """Call an entry; return the seconds until its next call, if it leaves its grid."""
        try:
            entry()
        except Exception:  # noqa: BLE001  (the timer goes on)
            _log.exception("%r raised", entry.fun)
        return None

    def skipped(self, entry: Entry, ticks: int) -> None:
        """Note that an entry was not called at some of its times."""

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            wait = self.call(entry)
            now = self._clock.monotonic()
            if entry.seconds is None:
                entry.cancel()
            elif wait is not None:
                entry.due = now + wait
            else:
                ticks = max(0, math.floor((now - entry.due) / entry.seconds))
                entry.due += (ticks + 1) * entry.seconds
                if ticks and not self._stopped:
                    self.skipped(entry, ticks)

    def _next(self) -> Entry | None:
        # Wait for the entry that is due, and return it; None after `stop`.
        with self._changed:
            self._running = False
            self._changed.notify_all()
            while not self._stopped:
                now, due = self._clock.monotonic(), self._next_due()
                if due <= now:
                    self._running = True
                    ready = [entry for entry in self._entries if entry.due <= now]
                    return min(ready, key=lambda entry: (entry.priority, entry.due))
                self._changed.wait(min(due - now, _WAIT_MAX))
        return None

    def _add(self, entry: Entry) -> Entry:
        with self._changed:
            self._entries.append(entry)
            if self._thread.ident is None and not self._stopped:
                self._thread.start()
            self._changed.notify_all()
        return entry

    def _next_due(self) -> float:
        self._entries = [entry for entry in self._entries if not entry.cancelled]
        return min((entry.due for entry in self._entries), default=math.inf)


@dataclass(eq=False, slots=True)
class Mounted:
    """A camera of a cluster, the rate of its snapshots, and its failures in a row."""

    camera: Any
    cluster: str
    maxrate: Any = None
    failures: int = 0

    def is_called(self, entry: Entry, name: str) -> bool:
        """Return whether an entry stands for its method of that name."""
        return bool(entry.fun == getattr(self.camera, name, None))


class CameraThread(Timer):
    """The timer of cameras, which calls them at their times and survives what they do.

    Exceptions of the camera are logged and counted, and the next try comes after a wait that
    doubles; after `max_failures` in a row there is none, and `gave_up` says why.  `clock` measures
    how long a snapshot takes; `times`, the clock of a replayed recording, says when one is due.
    """

    def __init__(
        self, counters: Counters, clock: Clock, times: Clock | None, max_failures: int | None
    ) -> None:
        super().__init__(times or clock, name="evtools-camera")
        self._counters, self._real_clock, self._max_failures = counters, clock, max_failures
        self._is_replay = times is not None
        self._failures = FailureLog()
        self._mounted: list[Mounted] = []
        self._installed = False
        #: Why there will be no more snapshots, if that is so.
        self.gave_up: CameraFailed | None = None
        #: Whether the last snapshot, at the end, failed.
        self.last_failed = False

    def mount(self, camera: Any, *, cluster: str = "", install: bool = True) -> None:
        """Call this camera, too, from now on or, without `install`, once at the end."""
        mounted = Mounted(camera, cluster)
        self._installed = install
        # Celery's cameras look at it too late: they clear the state even if they take no snapshot.
        if hasattr(getattr(camera, "maxrate", None), "can_consume"):
            mounted.maxrate, camera.maxrate = camera.maxrate, None
        self._mounted.append(mounted)
        if install:
            camera.install()

    def take_one(self) -> None:
        for camera in [each.camera for each in self._mounted]:
            if hasattr(camera, "capture"):
                self.soon(camera.capture)
            else:
                _log.warning("this camera takes snapshots at its own times only")
                break

    def soon(self, fun: Function) -> None:
        self.call_after(0.0, fun, priority=_NOW)

    def gets_on(self) -> None:
        """Note that what the camera is doing has not come to a stop."""
        if self._counters.busy_since is not None:
            self._counters.busy_since = self._real_clock.monotonic()

    def end(self) -> None:
        """Have the last snapshot taken, and the camera closed; `join` waits for that."""
        self.call_after(0.0, self._finish, priority=_LAST)

    def call(self, entry: Entry) -> float | None:
        counters = self._counters
        # A function of another name may be that of any camera.
        owners = [each for each in self._mounted if each.is_called(entry, "capture")]
        owner = (owners or self._mounted or [Mounted(None, "")])[0]
        counters.busy_since = self._real_clock.monotonic()
        try:
            if entry.fun == self._finish:
                self._finish()
            elif self._is_cleanup(entry):
                counters.cleanups += 1
                counters.cleanups_failed += not self._survives(entry, "cleaning up")
            elif entry.seconds is None and not owners:
                self._survives(entry, "the camera")
            elif owner.maxrate is not None and not owner.maxrate.can_consume():
                counters.shots.skipped_rate += 1
            else:
                return self._snapshot(owner, entry, entry.seconds)
            return None
        finally:
            counters.busy_since = None

    def skipped(self, entry: Entry, ticks: int) -> None:
        # The time of a recording stands still meanwhile.
        if self._is_replay or self._is_cleanup(entry):
            return
        shots = self._counters.shots
        before, shots.overrun = shots.overrun, shots.overrun + ticks
        if before.bit_length() < shots.overrun.bit_length():
            text = "a snapshot takes longer than the interval of %gs: %d skipped so far"
            _log.warning(text, entry.seconds, shots.overrun)

    def _is_cleanup(self, entry: Entry) -> bool:
        return any(each.is_called(entry, "cleanup") for each in self._mounted)

    def _survives(self, fun: Function, what: str) -> bool:
        try:
            fun()
        except BaseException as error:  # noqa: BLE001  (whatever it is, we go on)
            self._failures.error(f"{what} failed", error)
            return False
        return True

    def _snapshot(self, owner: Mounted, fun: Function, seconds: float | None) -> float | None:
        # Return the seconds to the next try, if it failed and there is to be one.
        counters, clock, wait = self._counters, self._real_clock, None
        began = clock.monotonic()
        try:
            fun()
        except BaseException as error:  # noqa: BLE001  (whatever it is, we go on)
            owner.failures = failures = owner.failures + 1
            self._count_failures()
            counters.last_shot_at = clock.wall()
            counters.last_error = reason(error)
            # Whoever sees it counted finds the rest as well.
            counters.shots.failed += 1
            is_enough = self._max_failures is not None and failures >= self._max_failures
            if seconds is not None and not is_enough:
                doubled = seconds * 2 ** min(failures - 1, _DOUBLINGS_MAX)
                most = getattr(owner.camera, "retry_max", _RETRY_MAX)
                wait = min(doubled, max(most, seconds))
                if isinstance(error, TryLater):
                    wait = error.wait
            after = "" if wait is None else f", next try in {wait:g}s"
            text = f"the camera failed ({failures} in a row){after}"
            self._failures.error(named(text, owner.cluster), error)
            if is_enough:
                self.gave_up = CameraFailed(
                    named(
                        f"gave up after {failures} failures of the camera: {reason(error)}",
                        owner.cluster,
                    ),
                    "the log has the first of each kind with its traceback",
                )
                self._close()
            return wait
        counters.last_shot_seconds = clock.monotonic() - began
        counters.shot_seconds += counters.last_shot_seconds
        counters.last_shot_at = counters.last_success_at = clock.wall()
        counters.shots.taken += 1
        if owner.failures:
            words = "the camera works again, after %d failures"
            _log.warning(named(words, owner.cluster), owner.failures)
            owner.failures = 0
            self._count_failures()
        return None

    def _count_failures(self) -> None:
        failures = [each.failures for each in self._mounted]
        self._counters.failures_in_row = max(failures, default=0)

    def _finish(self) -> None:
        def last_snapshot() -> None:
            if not self._installed:
                each.camera.install()
            each.camera.cancel()

        failed = self._counters.shots.failed
        for each in self._mounted:
            # Whatever the rate: events since the last snapshot would be lost.
            self._snapshot(each, last_snapshot, None)
        self.last_failed = self._counters.shots.failed > failed
        if not self.gave_up:
            self._close()

    def _close(self) -> None:
        for each in self._mounted:
            close = getattr(each.camera, "close", None)
            if callable(close):
                self._survives(close, "closing the camera")
        self.stop()
