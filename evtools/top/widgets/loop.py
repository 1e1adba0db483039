"""The loop of the screen: keys first, then events in slices, then the picture."""

import math
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol, Self

import urwid

from evtools.clock import Clock

#: Events are looked at so often at most while they come in, in seconds.
_DRAIN_GAP: Final = 0.05
#: No more pictures than this in any second.
REDRAWS_MAX: Final = 10
#: Pictures that may follow each other without a pause, so that a key pressed
#: right after a refresh is answered at once.
_BURST: Final = 3
_PIPE_BYTES: Final = 4096


class Work(Protocol):
    """What is done between two looks at the keyboard."""

    def take_slice(self) -> bool:
        """Take in a bounded part of what came; return whether there is more."""
        ...

    def hear(self) -> None:
        """Look after signals and answers: somebody woke the loop."""
        ...

    def refresh(self) -> float:
        """Work on a new picture; return in how many seconds the next is due."""
        ...

    def draw(self) -> None:
        """Show the picture."""
        ...


class Loop:
    """Run some work, woken by keys, by time, and from other threads.

    Use it once, as a context manager: it owns a pipe.
    """

    def __init__(self, clock: Clock) -> None:
        self.events = urwid.SelectEventLoop()
        self._clock = clock
        self._work: Work | None = None
        self._bucket = Bucket(clock, REDRAWS_MAX - _BURST, _BURST)
        #: The alarm to look at events, if it is set.
        self._draining: Any = None
        #: The alarm to draw at, and its time (monotonic seconds), if it is set.
        self._drawing: Any = None
        self._draws_at = math.inf
        self._drained = clock.monotonic()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._closed = False

    def __enter__(self) -> Self:
        """Return the loop itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Let go of the pipe; whoever wakes the loop then does so in vain."""
        self._closed = True
        os.close(self._write)
        os.close(self._read)

    def run(self, work: Work) -> None:
        """Run until `end`, or until the work raises."""
        self._work = work
        self.events.watch_file(self._read, self._woken)
        self.events.alarm(0, self._tick)
        self.events.run()

    def end(self) -> None:
        """Leave `run` soon; for its own thread."""
        self.events.alarm(0, _leave)

    def wake(self) -> None:
        """Have the loop look after what came; from any thread or signal handler."""
        if self._closed:
            return
        with suppress(BlockingIOError):  # where it is full, the loop wakes up anyway
            os.write(self._write, b".")

    def later(self, seconds: float, do: Callable[[], None]) -> Callable[[], None]:
        """Have something done for a key, and drawn; return what calls that off."""

        def done() -> None:
            do()
            self.draw_soon(answer=True)

        alarm = self.events.alarm(seconds, done)
        return lambda: _ignore(self.events.remove_alarm(alarm))

    def draw_soon(self, *, answer: bool = False) -> None:
        """Show the picture as soon as may be: what changed is seen together.

        An `answer` to a key may be needed next, so what is none leaves room for it.
        """
        wait = self._bucket.wait(1 if answer else _BURST)
        at = self._clock.monotonic() + wait
        if at < self._draws_at:
            if self._drawing is not None:
                self.events.remove_alarm(self._drawing)
            self._draws_at = at
            self._drawing = self.events.alarm(wait, self._draw)

    def work_on(self) -> None:
        """Take the next slice at once: there is work left; for its own thread."""
        if self._draining is not None:
            self.events.remove_alarm(self._draining)
        self._draining = self.events.alarm(0, self._drain)

    # --- what the loop calls ------------------------------------------------------

    def _woken(self) -> None:
        os.read(self._read, _PIPE_BYTES)
        assert self._work is not None
        self._work.hear()
        self._drain_soon()

    def _drain_soon(self) -> None:
        """Look at the events soon, and not for every few that come."""
        if self._draining is None:
            passed = self._clock.monotonic() - self._drained
            wait = max(0.0, _DRAIN_GAP - passed)
            self._draining = self.events.alarm(wait, self._drain)

    def _drain(self) -> None:
        assert self._work is not None
        self._draining = None
        if self._work.take_slice():
            # Whatever was typed meanwhile comes first: the loop looks at its
            # descriptors before it takes the next alarm.
            self.work_on()
        else:
            self._drained = self._clock.monotonic()

    def _tick(self) -> None:
        assert self._work is not None
        seconds = self._work.refresh()
        self.events.alarm(seconds, self._tick)

    def _draw(self) -> None:
        assert self._work is not None
        self._drawing, self._draws_at = None, math.inf
        self._bucket.take()
        self._work.draw()


class Bucket:
    """Allow `rate` things a second, and `burst` of them at once."""

    def __init__(self, clock: Clock, rate: float, burst: float) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = self._left = burst
        self._filled = clock.monotonic()

    def wait(self, count: float = 1) -> float:
        """Return in how many seconds there may be `count` at once."""
        self._fill()
        return max(0.0, (count - self._left) / self._rate)

    def take(self) -> None:
        """Note that one was."""
        self._fill()
        self._left -= 1

    def _fill(self) -> None:
        now = self._clock.monotonic()
        self._left = min(self._burst, self._left + (now - self._filled) * self._rate)
        self._filled = now


def _leave() -> None:
    raise urwid.ExitMainLoop


def _ignore(_: object) -> None:
    """Make nothing of a result."""
