"""What comes in: the source, the thread between it and the screen, the broker's word on queues."""

import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias

from evtools.clock import Clock
from evtools.errors import EvtoolsError
from evtools.rows import PLAN_EVERY, QUEUES_MAX, QueueFacts, with_depths
from evtools.state import OTHERS, UNKNOWN
from evtools.top.files import EventHistory, Recording
from evtools.top.options import TopOptions
from evtools.transport import ConnectionSettings, Notice, Source
from evtools.transport.demo import demo_settings
from evtools.transport.queues import Depth, Gauge, Plan, PlannedTask, Waiting
from evtools.transport.receiver import open_live
from evtools.transport.recording.database import open_replay
from evtools.wire import Event
from evtools.wire.redact import MASK, Redactor


def open_source(
    options: TopOptions,
    clusters: Sequence[ConnectionSettings],
    on_notice: Callable[[Notice], None],
    *,
    clock: Clock,
    stack: ExitStack,
) -> Source:
    """Open the source that the options ask for, not redacted yet; `stack` closes it again.

    `on_notice` is called in the thread that takes the events.  What is replayed stays open at its
    end, a recording to be rewound, unless in batch mode.  Raise UsageError if it cannot be read.
    """
    if not options.read:
        return open_live(clusters, on_notice, demo=options.demo, stack=stack)
    replay = open_replay(
        options.read, clock=clock, speed=options.speed, since=options.since, until=options.until,
        max_tasks=options.max_tasks,
    )  # fmt: skip
    replay.on_notice, replay.stays = on_notice, not options.batch
    stack.callback(replay.close)
    return replay


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
    #: Comes before what the source has, and is written by the feed's thread.
    history: EventHistory | None = None

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
            for batch in self._batches():
                if self._redact is not None:
                    batch = list(map(self._redact.of_event, batch))  # noqa: PLW2901
                if recording is not None and recording is not self.recording:
                    recording.close()
                recording = self.recording
                if recording is not None:
                    recording.write(batch)
                if self.history is not None:
                    batch = self.history.write(batch)  # noqa: PLW2901
                    self._report_history(self.history)
                self._pass_on(batch, gathers=self._gathers)
                if self._stopped:
                    break
        except Exception as caught:  # noqa: BLE001  (the screen's thread reports it)
            error = caught
        if recording is not None:
            recording.close()
        if self.history is not None:
            self.history.close()
        self.put(Ended(error))

    def _batches(self) -> Iterator[list[Event]]:
        # Of the source; what there is of earlier ones is passed on before.
        batches = self.source.events(_TICK)
        if self.history is not None:
            # The source listens from now on, so that nothing is missed meanwhile.
            first = next(batches, None)
            for earlier in self.history.events():
                redacted = earlier
                if self._redact is not None:
                    redacted = list(map(self._redact.of_event, earlier))
                self._pass_on(redacted, gathers=False)
                if self._stopped:
                    return
            self._report_history(self.history)
            yield from [] if first is None else [first]
        yield from batches

    def _report_history(self, history: EventHistory) -> None:
        for notice in history.news():
            self.put(notice)

    def _pass_on(self, batch: list[Event], *, gathers: bool) -> None:
        for start in range(0, len(batch), SLICE):
            if self.waiting >= ROOM:
                self._signal()
            with self._room:
                self._room.wait_for(lambda: self.waiting < ROOM or self._stopped)
            self._add(batch[start : start + SLICE])
        # Wake the screen, at once or with more; while many come, let them gather.
        many = gathers and len(batch) >= _MANY
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


# --- what the broker says of queues -----------------------------------------------------

#: Time between two questions about the depth of queues, in seconds; new queues wait for less.
EVERY: Final = 5.0
_NEW_EVERY: Final = 1.0
#: What the broker said is taken for true for so long, in seconds.
_TRUE_FOR: Final = 15.0
#: How long what RedBeat plans is taken for true, in seconds.
_PLAN_TRUE_FOR: Final = 90.0
#: The views that show it.
PLANNED_VIEWS: Final = ("types", "overview")
_MASKED: Final = Depth(None, reason="its name is masked by --redact")


def asked_about(names: Iterable[str]) -> list[str]:
    """Return the names of rows that are queues: not those that stand for others."""
    return [name for name in names if name not in (OTHERS, UNKNOWN)]


class BrokerStats(threading.Thread):
    """Keep at hand what one broker says of the queues that `watch` names.

    `wake` is called, in this thread, after each answer.  Names of tasks are masked by `redact`.
    Where it is not started it does nothing by itself: `look` asks.
    """

    def __init__(
        self,
        gauge: Gauge,
        wake: Callable[[], None],
        *,
        clock: Clock,
        redact: Redactor | None = None,
    ) -> None:
        super().__init__(name="evtools-depths", daemon=True)
        self._gauge = gauge
        self._wake = wake
        self._clock = clock
        self._redact = redact
        self._facts = QueueFacts()
        self._took = 0.0
        self._queues: tuple[str, ...] = ()
        self._peeked = ""
        self._oldest = False
        #: What RedBeat plans, when it said so (wall clock and monotonic), and whether it is asked.
        self._plan, self._planned_at, self._looked_at = Plan(), 0.0, -math.inf
        self._plans = False
        self._changed = threading.Event()
        self._stopped = False

    def known(self) -> QueueFacts:
        """Return what the broker said last; of what is no longer true only the history."""
        facts = self._facts
        # To ask about very many queues far away takes long, each time.
        if self._clock.monotonic() - facts.at > _TRUE_FOR + 2 * self._took:
            return QueueFacts(history=facts.history)
        return facts

    def watch(self, queues: Iterable[str], *, peek: str = "", oldest: bool = False) -> None:
        """Set the queues to ask about from now on; new ones are asked about soon.

        With `oldest` also for the tasks that wait for longest; `peek` is the queue to look into.
        """
        wanted = tuple(dict.fromkeys(queues))[:QUEUES_MAX]
        is_new = not set(wanted) <= set(self._queues) or peek not in ("", self._peeked)
        self._queues, self._peeked, self._oldest = wanted, peek, oldest
        if is_new:
            self._changed.set()

    def watch_plan(self, *, wanted: bool) -> None:
        """Set whether to read what RedBeat plans, every half a minute from now on."""
        self._plans, is_new = wanted, wanted and not self._plans
        if is_new and self.plan_is_due():
            self._changed.set()

    def plan_is_due(self) -> bool:
        """Return whether it is time to read what RedBeat plans."""
        return self._plans and self._clock.monotonic() - self._looked_at >= PLAN_EVERY

    def plan(self) -> tuple[Plan, float]:
        """Return what RedBeat plans, and as of when, in UTC epoch seconds."""
        if self._clock.monotonic() - self._looked_at > _PLAN_TRUE_FOR:
            return Plan(), 0.0
        return self._plan, self._planned_at

    def look_at_plan(self) -> None:
        """Read what RedBeat plans now."""
        # As of before it is asked: what is due may be sent meanwhile.
        at = self._clock.wall()
        try:
            plan = self._gauge.plan()
        except EvtoolsError as caught:
            plan = Plan(reason=caught.message)
        if self._redact is not None:
            plan = replace(plan, tasks=tuple(map(self._masked_task, plan.tasks)))
        self._plan, self._planned_at = plan, at
        self._looked_at = self._clock.monotonic()

    def _masked_task(self, task: PlannedTask) -> PlannedTask:
        fields: dict[str, Any] = {"name": task.task}
        assert self._redact is not None
        self._redact(fields)
        return replace(task, task=fields["name"])

    def is_due(self) -> bool:
        """Return whether it is time to ask."""
        since = self._clock.monotonic() - self._facts.at
        return bool(self._queues) and since >= (_NEW_EVERY if self._changed.is_set() else EVERY)

    def look(self) -> QueueFacts:
        """Ask the broker now; return what it says, or why it says nothing."""
        self._changed.clear()
        began = self._clock.monotonic()
        # What is masked is the name of no queue, or of another one.
        masked = {name for name in self._queues if self._redact is not None and MASK in name}
        depths: Mapping[str, Depth] = {}
        waiting, error = None, ""
        try:
            names = tuple(name for name in self._queues if name not in masked)
            depths = {
                **self._gauge.look(names, oldest=self._oldest),
                **dict.fromkeys(masked, _MASKED),
            }
            if (peeked := self._peeked) and peeked not in masked:
                waiting = (peeked, self._masked(self._gauge.peek(peeked)))
        except EvtoolsError as caught:
            depths, error = {}, caught.message
        now = self._clock.monotonic()
        self._took = now - began
        history = with_depths(self._facts.history, depths, now)
        self._facts = QueueFacts(depths, history, waiting, error, now)
        return self._facts

    def _masked(self, waiting: Waiting) -> Waiting:
        if self._redact is None:
            return waiting
        names: Counter[str] = Counter()
        for name, count in waiting.names.items():
            fields: dict[str, Any] = {"name": name}
            self._redact(fields)
            names[fields["name"]] += count
        return replace(waiting, names=names)

    def close(self, timeout: float = 2.0) -> None:
        """End the thread; wait at most `timeout` seconds for it."""
        self._stopped = True
        self._changed.set()
        if self.ident is not None:
            self.join(timeout)
        else:
            self._gauge.close()

    def run(self) -> None:
        while not self._stopped:
            self._changed.clear()
            if asked := bool(self._queues):
                self.look()
            if due := self.plan_is_due():
                self.look_at_plan()
            if asked or due:
                self._wake()
            self._changed.wait(EVERY)
        self._gauge.close()
