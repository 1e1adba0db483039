"""What comes in: the source, the thread between it and the screen, the depth of queues."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Final, NamedTuple, TypeAlias

from evtools.clock import Clock
from evtools.errors import EvtoolsError
from evtools.top.files import Recording
from evtools.top.options import TopOptions
from evtools.transport import ConnectionSettings, Notice, Source
from evtools.transport.demo import demo_settings
from evtools.transport.queues import Depth, Gauge
from evtools.transport.receiver import open_live
from evtools.transport.recording.reader import RecordingReader
from evtools.wire import Event
from evtools.wire.redact import Redactor


def open_source(
    options: TopOptions,
    settings: ConnectionSettings,
    on_notice: Callable[[Notice], None],
    *,
    clock: Clock,
    stack: ExitStack,
) -> Source:
    """Open the source that the options ask for, not redacted yet; `stack` closes it again.

    `on_notice` is called in the thread that takes the events.  A recording stays open at its
    end, to be rewound, unless in batch mode.  Raise UsageError if it cannot be read.
    """
    if not options.read:
        return open_live([settings], on_notice, demo=options.demo, stack=stack)
    recording = RecordingReader(
        *options.read, clock=clock, speed=options.speed, since=options.since, until=options.until
    )
    recording.on_notice, recording.stays = on_notice, not options.batch
    stack.callback(recording.close)
    return recording


def watched(options: TopOptions, settings: ConnectionSettings) -> ConnectionSettings:
    """Return how to reach the cluster that is watched: with --demo, the simulated one."""
    return demo_settings(settings) if options.demo else settings


# --- the thread between the source and the screen ---------------------------------------
#
# What works where, and why (measured with 10 000 events a second and 100 000 tasks in memory
# on two cores, Python 3.11):
#
# * The receiver's own thread drains the socket.  Nothing here can stop it: what is not taken
#   waits, undecoded, in its buffer, which is bounded in bytes and reports what it must drop.
# * This thread takes from there, which is where events are decoded, redacted and recorded, and
#   puts them into a queue of a bounded number of events.  When that is full it waits; so a
#   frozen screen holds back bytes, not objects.
# * The thread of the screen takes from the queue and applies the events to the state, in
#   slices, and looks at the keyboard between two of them.
#
# Applying in a thread of its own was rejected.  Python runs one thread at a time, so it would
# not be faster, and drawing would have to wait for a lock or see a half-applied batch.  Against
# the GIL itself nothing had to be done: the longest the screen waits for it is one switch
# interval (5 ms), because decoding gives it up when asked.  A key was answered after 2 ms in
# the median and 70 ms at the worst, at 15 % of a CPU.

#: How many events one slice has at most: some milliseconds of work.
SLICE: Final = 200
#: How many events wait here at most, decoded.
ROOM: Final = 5000
#: After this number of events at once more will come: how long to let them gather, in
#: seconds.  Waking up seldom saves a fifth of the cost of each, as caches stay warm.
_MANY: Final = 50
_GATHER: Final = 0.3
#: The number of events that is worth waking the screen for while more come at once.
_ENOUGH: Final = 1000
#: How often to look after the recording while nothing comes, in seconds.
_TICK: Final = 1.0


class Ended(NamedTuple):
    """The source has no more events; `error` is the reason if it is one."""

    error: Exception | None = None


#: What the screen takes, in the order in which it happened.
Item: TypeAlias = list[Event] | Notice | Ended


class Feed(threading.Thread):
    """Take events from a source and have them ready for the screen.

    `wake` is called, in the feed's thread, when there is something to take after the screen
    has taken all there was.  `redact` is applied to every event before anything else sees it.
    With `gathers` it waits a moment for more while the source is busy.  `source` is set before
    `start`; it may need `put` to be made.
    """

    source: Source
    #: Set by the screen, and obeyed in the feed's thread within a second: a slow disk does not
    #: hold up the screen.  The recording before is ended then.
    recording: Recording | None = None

    def __init__(
        self, wake: Callable[[], None], redact: Redactor | None = None, *, gathers: bool = False
    ) -> None:
        super().__init__(name="evtools-feed", daemon=True)
        #: How many events wait to be taken.
        self.waiting = 0
        self._wake = wake
        self._redact = redact
        self._gathers = gathers
        self._items: deque[Item] = deque()
        self._room = threading.Condition()
        self._signalled = False
        self._stopped = False

    def run(self) -> None:
        """In the feed's thread, take from the source until it ends or fails."""
        error: Exception | None = None
        recording = self.recording
        try:
            for batch in self.source.events(_TICK):
                if self._redact is not None:
                    batch = list(map(self._redact.of_event, batch))  # noqa: PLW2901
                if recording is not None and recording is not self.recording:
                    recording.close()
                recording = self.recording
                if recording is not None:
                    recording.write(batch)
                self._pass_on(batch)
                if self._stopped:
                    break
        except Exception as caught:  # noqa: BLE001  (the screen's thread reports it)
            error = caught
        if recording is not None:
            recording.close()
        self.put(Ended(error))

    def _pass_on(self, batch: list[Event]) -> None:
        for start in range(0, len(batch), SLICE):
            if self.waiting >= ROOM:
                self._signal()
            with self._room:
                self._room.wait_for(lambda: self.waiting < ROOM or self._stopped)
            self._add(batch[start : start + SLICE])
        # Wake the screen, at once or with more; while many come, let them gather.
        many = self._gathers and len(batch) >= _MANY
        at_once = many and self.source.statistics().buffered_bytes > 0
        if not at_once or self.waiting >= _ENOUGH:
            self._signal()
        if many and not at_once:
            with self._room:
                self._room.wait_for(lambda: self._stopped, _GATHER)

    def put(self, item: Item) -> None:
        """Pass on a notice of the source, in its place among the events."""
        self._add(item)
        self._signal()

    def _add(self, item: Item) -> None:
        with self._room:
            self._items.append(item)
            self.waiting += len(item) if isinstance(item, list) else 0

    def _signal(self) -> None:
        # Wake the screen, if it has something to take and does not know that.
        with self._room:
            wake = bool(self._items) and not self._signalled
            self._signalled |= wake
        if wake:
            self._wake()

    def take(self) -> Item | None:
        """In the screen's thread, return the next item; None if there is none: `wake` follows."""
        with self._room:
            if not self._items:
                self._signalled = False
                return None
            item = self._items.popleft()
            self.waiting -= len(item) if isinstance(item, list) else 0
            if self.waiting < ROOM:
                self._room.notify()
            return item

    def close(self, timeout: float = 2.0) -> None:
        """End the source and the thread; wait at most `timeout` seconds for it."""
        self.source.stop()
        with self._room:
            self._stopped = True
            self._room.notify()
        if self.ident is not None:
            self.join(timeout)


#: Time between two questions about the depth of queues, in seconds.
EVERY: Final = 5.0
#: How many queues are asked about at most.
_QUEUES_MAX: Final = 1000


class BrokerStats(threading.Thread):
    """Keep at hand how long the queues are that `watch` names.

    `depths` is what the broker answered last, {} if it did not.  `wake` is called, in this
    thread, after each answer.
    """

    def __init__(self, gauge: Gauge, wake: Callable[[], None]) -> None:
        super().__init__(name="evtools-depths", daemon=True)
        self.depths: Mapping[str, Depth] = {}
        self._gauge = gauge
        self._wake = wake
        self._queues: tuple[str, ...] = ()
        self._changed = threading.Event()
        self._stopped = False

    def watch(self, queues: Iterable[str]) -> None:
        """Set the queues to ask about from now on; new ones are asked about soon."""
        wanted = tuple(dict.fromkeys(queues))[:_QUEUES_MAX]
        if not set(wanted) <= set(self._queues):
            self._changed.set()
        self._queues = wanted

    def close(self, timeout: float = 2.0) -> None:
        """End the thread; wait at most `timeout` seconds for it."""
        self._stopped = True
        self._changed.set()
        self.join(timeout)

    def run(self) -> None:
        while not self._stopped:
            self._changed.clear()
            if self._queues:
                try:
                    self.depths = dict(self._gauge.look(self._queues))
                except EvtoolsError:
                    self.depths = {}
                self._wake()
            self._changed.wait(EVERY)
        self._gauge.close()
