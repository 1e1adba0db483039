"""Calls at an interval, all in one thread."""

import logging
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from evtools.clock import Clock, SystemClock

_log = logging.getLogger(__name__)

#: In seconds.  What is due later is waited for again.
_WAIT_MAX: Final = 3600.0


class Entry:
    """A call that is due at `due` (by the monotonic clock), again and again.

    It is due once only if `seconds` is None, and never if that is not above
    zero.  It can be called like what it stands for, as Celery's can.
    """

    __slots__ = ("args", "cancelled", "due", "fun", "kwargs", "priority", "seconds")

    def __init__(
        self,
        seconds: float | None,
        fun: Callable[..., Any],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        priority: int = 0,
        due: float = 0.0,
    ) -> None:
        self.seconds = seconds
        self.fun = fun
        self.args = tuple(args)
        self.kwargs = dict(kwargs or {})
        self.priority = priority
        self.due = due if seconds is None or seconds > 0 else math.inf
        self.cancelled = False

    def __call__(self) -> Any:
        """Call what it stands for."""
        return self.fun(*self.args, **self.kwargs)

    def __repr__(self) -> str:
        return f"<Entry: {self.fun!r} every {self.seconds}s>"

    def cancel(self) -> None:
        """Never call it again."""
        self.cancelled = True


Call = Callable[[Entry], float | None]


def _call(entry: Entry) -> None:
    """Call an entry; log what it raises."""
    try:
        entry()
    except Exception:  # noqa: BLE001  (the timer goes on)
        _log.exception("%r raised", entry.fun)


class Timer:
    """Call functions at an interval, one after the other, in a thread of its own.

    The thread begins with the first call that is asked for.  Calls keep to
    their grid: what takes longer than its interval leaves out the ticks that
    it missed, and `on_skipped(entry, ticks)` is told how many.  `call` runs an
    entry; it may return the seconds until the entry's next call, for a wait
    that is not on the grid.  It must not raise.

    `clock` need not run by itself: after moving it, `wake` the timer, and
    `settle` waits until it has done what was due.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        name: str = "evtools-timer",
        call: Call = _call,
        on_skipped: Callable[[Entry, int], None] | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._call = call
        self._on_skipped = on_skipped
        self._entries: list[Entry] = []
        self._changed = threading.Condition()
        self._running = False
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    # --- what a camera asks for -------------------------------------------------------

    def call_repeatedly(
        self,
        seconds: float,
        fun: Callable[..., Any],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        priority: int = 0,
    ) -> Entry:
        """Call `fun` every `seconds`, for the first time after so many.

        Of calls that are due together those with a lower `priority` come first.
        """
        due = self._clock.monotonic() + seconds
        return self._add(Entry(seconds, fun, args, kwargs, priority, due))

    def call_after(
        self,
        seconds: float,
        fun: Callable[..., Any],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        priority: int = 0,
    ) -> Entry:
        """Call `fun` once, after `seconds`."""
        due = self._clock.monotonic() + seconds
        return self._add(Entry(None, fun, args, kwargs, priority, due))

    def cancel(self, entry: Entry) -> None:
        """Never call an entry again."""
        entry.cancel()

    # --- what others ask for ----------------------------------------------------------

    def stop(self) -> None:
        """Call nothing any more; what runs is not interrupted."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread to end after `stop`; return whether it did."""
        if self._thread.ident is not None and self._thread is not (threading.current_thread()):
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def wake(self) -> None:
        """Look at the clock, which was moved."""
        with self._changed:
            self._changed.notify_all()

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is due and nothing runs; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(self._is_settled, timeout)

    @property
    def due(self) -> float:
        """When the next call is due, by the monotonic clock; infinite for never."""
        with self._changed:
            return min((entry.due for entry in self._waiting()), default=math.inf)

    # --- in the thread ----------------------------------------------------------------

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            self._again(entry, self._call(entry))

    def _next(self) -> Entry | None:
        """Wait for the entry that is due, and return it; None after `stop`."""
        with self._changed:
            self._running = False
            self._changed.notify_all()
            while not self._stopped:
                entry = min(self._waiting(), key=lambda entry: entry.due, default=None)
                wait = math.inf if entry is None else entry.due - self._clock.monotonic()
                if entry is not None and wait <= 0:
                    self._running = True
                    return self._first_of_those_due()
                self._changed.wait(min(wait, _WAIT_MAX))
        return None

    def _first_of_those_due(self) -> Entry:
        now = self._clock.monotonic()
        return min(
            (entry for entry in self._waiting() if entry.due <= now),
            key=lambda entry: (entry.priority, entry.due),
        )

    def _again(self, entry: Entry, wait: float | None) -> None:
        """Set when an entry that was called is due next."""
        now = self._clock.monotonic()
        skipped = 0
        with self._changed:
            if self._stopped:
                return
            if entry.seconds is None:
                entry.cancel()
            elif wait is not None:
                entry.due = now + wait
            else:
                skipped = max(0, math.floor((now - entry.due) / entry.seconds))
                entry.due += (skipped + 1) * entry.seconds
        if skipped and self._on_skipped is not None:
            self._on_skipped(entry, skipped)

    # --- the table --------------------------------------------------------------------

    def _add(self, entry: Entry) -> Entry:
        with self._changed:
            self._entries.append(entry)
            if self._thread.ident is None and not self._stopped:
                self._thread.start()
            self._changed.notify_all()
        return entry

    def _waiting(self) -> list[Entry]:
        self._entries = [entry for entry in self._entries if not entry.cancelled]
        return self._entries

    def _is_settled(self) -> bool:
        if self._stopped:
            return not self._running
        now = self._clock.monotonic()
        return not self._running and all(entry.due > now for entry in self._waiting())
