"""The thread between the source and the screen."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from evtools.top.export import Recording
from evtools.transport import Notice, Source
from evtools.wire import EventFields

# Who works where, and why (measured with 10 000 events a second and 100 000
# tasks in memory on two cores, Python 3.11):
#
# * The receiver's own thread drains the socket.  Nothing here can stop it: what
#   is not taken waits, undecoded, in its buffer, which is bounded in bytes,
#   counts what it must drop, and says so by a gap record.
# * This thread takes from there, which is where events are decoded, redacted
#   and recorded, and puts them into a queue of a bounded number of events.  When
#   that is full it waits; so a frozen screen holds back bytes, not objects.
# * The thread of the screen takes from the queue and applies the events to the
#   state, in slices, and looks at the keyboard between two of them.
#
# Applying in a thread of its own was rejected.  Python runs one thread at a
# time, so it would not be faster, and drawing would have to wait for a lock or
# see a half-applied batch; with one owner there is neither.  Against the GIL
# itself nothing had to be done: the longest the screen waits for it is one
# switch interval (5 ms), because decoding gives it up when asked.  A key was
# answered after 2 ms in the median and 70 ms at the worst, at 15 % of a CPU.

#: How many events one slice has at most: some milliseconds of work.
SLICE: Final = 200
#: How many events wait here at most, decoded.
ROOM: Final = 5000
#: After so many events at once there will be more: for how long to let them gather,
#: in seconds.  Who wakes up seldom spends a fifth less on each, as caches stay warm.
_MANY: Final = 50
_GATHER: Final = 0.3
#: So many events are worth waking the screen for while more come at once.
_ENOUGH: Final = 1000
#: How often to look after the recording while nothing comes, in seconds.
_TICK: Final = 1.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The source has no more events; `error` is the reason if it is one."""

    error: Exception | None = None


Redact: TypeAlias = Callable[[EventFields], None]
#: What the screen takes, in the order in which it happened.
Item: TypeAlias = list[EventFields] | Notice | Ended


class Feed(threading.Thread):
    """Take events from a source and have them ready for the screen.

    `wake` is called, in the feed's thread, when there is something to take
    after the screen has taken all there was.  `redact` is applied to every
    event before anything else sees it.  `source` is set before `start`; it may
    need `notice` to be made.  `gathers` says to wait a moment for more while the
    source is busy.
    """

    def __init__(
        self, wake: Callable[[], None], redact: Redact | None = None, *, gathers: bool = False
    ) -> None:
        super().__init__(name="evtools-feed", daemon=True)
        self.source: Source | None = None
        #: What is being recorded into, for the screen to look at.
        self.recording: Recording | None = None
        self._recording: Recording | None = None
        self._wake = wake
        self._redact = redact
        self._gathers = gathers
        self._items: deque[Item] = deque()
        self._waiting = 0
        self._room = threading.Condition()
        self._signalled = False
        self._stopped = False

    # --- in the thread of the feed ----------------------------------------------

    def run(self) -> None:
        """Take from the source until it ends or fails."""
        assert self.source is not None
        error = None
        try:
            for batch in self.source.batches(_TICK):
                self._pass_on(batch)
                if self._stopped:
                    break
                self._settle(self.source, len(batch))
        except Exception as caught:  # noqa: BLE001  (the screen's thread tells it)
            error = caught
        if self._recording is not None:
            self._recording.close()
        self._put(Ended(error))

    def _settle(self, source: Source, came: int) -> None:
        """Tell the screen, at once or with more; while many come, let them gather."""
        many = self._gathers and came >= _MANY
        at_once = many and source.statistics().buffered_bytes > 0
        if not at_once or self._waiting >= _ENOUGH:
            self._tell()
        if many and not at_once:
            with self._room:
                self._room.wait_for(lambda: self._stopped, _GATHER)

    def notice(self, notice: Notice) -> None:
        """Hand on what the source tells about the connection, in its place."""
        self._put(notice)

    def _pass_on(self, batch: list[EventFields]) -> None:
        if self._redact is not None:
            for event in batch:
                self._redact(event)
        self._record(batch)
        for start in range(0, len(batch), SLICE):
            self._wait_for_room()
            self._add(batch[start : start + SLICE])

    def _record(self, batch: list[EventFields]) -> None:
        before, self._recording = self._recording, self.recording
        if before is not None and before is not self._recording:
            before.close()
        if self._recording is not None:
            self._recording.write(batch)

    def _wait_for_room(self) -> None:
        if self._waiting >= ROOM:
            self._tell()
        with self._room:
            while self._waiting >= ROOM and not self._stopped:
                self._room.wait()

    def _put(self, item: Item) -> None:
        self._add(item)
        self._tell()

    def _add(self, item: Item) -> None:
        with self._room:
            self._items.append(item)
            self._waiting += _events_in(item)

    def _tell(self) -> None:
        """Wake the screen, if it has something to take and does not know that."""
        with self._room:
            wake = bool(self._items) and not self._signalled
            self._signalled |= wake
        if wake:
            self._wake()

    # --- in the thread of the screen ----------------------------------------------

    def record(self, recording: Recording | None) -> None:
        """Record into this one from now on, and end the one before.

        That happens in the feed's thread, within a second: a slow disk does not
        hold up the screen.
        """
        self.recording = recording

    def take(self) -> Item | None:
        """Return the next item; None when there is none, and `wake` will follow."""
        with self._room:
            if not self._items:
                self._signalled = False
                return None
            item = self._items.popleft()
            self._waiting -= _events_in(item)
            if self._waiting < ROOM:
                self._room.notify()
            return item

    @property
    def malformed(self) -> int:
        """How many messages, or parts of one, were no events."""
        return 0 if self.source is None else self.source.statistics().malformed

    @property
    def waiting(self) -> int:
        """How many events wait to be taken."""
        return self._waiting

    def stop(self) -> None:
        """End the source and the thread; do not wait for it."""
        if self.source is not None:
            self.source.stop()
        with self._room:
            self._stopped = True
            self._room.notify()


def _events_in(item: Item) -> int:
    return len(item) if isinstance(item, list) else 0
