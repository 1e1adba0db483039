"""The history of a task: its attempts, told from all we heard of it."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from evtools.state.attempt import Attempt
from evtools.state.readings import Received, Retried, Sent, Started, TaskReading
from evtools.state.transitions import PENDING, RECEIVED, STARTED

if TYPE_CHECKING:
    from evtools.state.worker import Worker

#: As many events as one task is told from; of one that is retried for ever, the
#: oldest are forgotten.
READINGS_MAX: Final = 64
_READINGS_KEPT: Final = 48
_CUT_MAX: Final = 16

_OF_TASK: Final = ("name", "args", "kwargs", "root_id", "parent_id")
_OF_SENT: Final = (*_OF_TASK, "queue", "exchange", "routing_key", "client")
#: What happens later of what one worker tells for the same moment.
_ORDER: Final = {PENDING: 0, RECEIVED: 1, STARTED: 2}


class History:
    """All we heard of a task whose life was not as simple as most are.

    Its `attempts`, the oldest first, depend on what events say and not on the
    order they came in.  Each worker's events are put in the order of its own
    clock, and then belong to attempts as the table `_BELONGS` says.  Attempts
    are ordered by how often the task had been tried, and redeliveries, which
    share that, by when a worker began with them.
    """

    __slots__ = (
        *("_clock", "_runs", "_told_by", "given"),
        *("attempts", "readings", "weight_bytes", "workers"),
    )

    def __init__(
        self,
        readings: Iterable[TaskReading] = (),
        workers: "Iterable[Worker | None]" = (),
        clock: int = 0,
    ) -> None:
        self.readings = sorted(readings, key=_place)
        self.workers = {worker.hostname: worker for worker in workers if worker}
        self._clock = bool(self.workers), clock
        self.attempts: list[Attempt] = []
        self._runs: dict[str | None, list[Attempt]] = {}
        self._told_by: dict[str, tuple[Any, ...]] = {}
        #: What the task was made with, and no event has.
        self.given: dict[str, Any] = {}
        for reading in self.readings:
            if isinstance(reading, Sent | Received):
                self.news_of_task(reading)
        self.weight_bytes = sum(reading.weigh() for reading in self.readings)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    @property
    def clock(self) -> int:
        """The highest logical time that workers told, or else clients."""
        return self._clock[1]

    def add(self, reading: TaskReading, worker: "Worker | None") -> bool:
        """Add what we heard; return whether it is new."""
        readings, place = self.readings, _place(reading)
        index = bisect_left(readings, place, key=_place)
        is_latest = index == len(readings)
        if not is_latest and _place(readings[index]) == place:
            return False
        readings.insert(index, reading)
        clock = not isinstance(reading, Sent), reading.clock or 0
        self._clock = max(self._clock, clock)
        self.weight_bytes += reading.weigh()
        if len(readings) > READINGS_MAX:
            del readings[:-_READINGS_KEPT]
            # What is left of an attempt would be taken for all of it.
            del readings[: _first_begin(readings)]
            self._runs = {}
            self.weight_bytes = sum(known.weigh() for known in readings)
        if worker is not None:
            self.workers[worker.hostname] = worker
        if is_latest and reading.hostname in self._runs:
            self._add(reading)
        else:
            self._runs = {}
            for known in readings:
                self._add(known)
        self._arrange()
        return True

    def _add(self, reading: TaskReading) -> None:
        """Add what a worker told to one of its attempts, in the order of times."""
        if isinstance(reading, Sent):
            return
        # What does not say where it comes from comes from the only worker we know.
        hostname = reading.hostname
        if hostname is None and len(self.workers) == 1:
            (hostname,) = self.workers
        run = self._runs.setdefault(hostname, [])
        attempt = None
        if run:
            attempt = _BELONGS.get(type(reading), _of_latest)(run, reading)
        if attempt is None:
            attempt = Attempt(self.workers.get(hostname or ""))
            run.append(attempt)
        attempt.take(reading)

    def _arrange(self) -> None:
        """Put the attempts of all workers in order, and add what clients told."""
        # What clients tell moves on when more is heard, so it stays out of the runs.
        attempts = [copy(attempt) for run in self._runs.values() for attempt in run]
        if len(self._runs) > 1:
            attempts.sort(key=_began)
        sent = [reading for reading in self.readings if isinstance(reading, Sent)]
        _number(attempts, sent)
        if sent:
            _add_sent(attempts, sent)
        if len(attempts) > 1:
            attempts.sort(key=_turn)
        self.attempts = attempts

    def news_of_task(self, reading: Sent | Received) -> dict[str, Any]:
        """Return what an event tells of the task as a whole, and nothing better did.

        What a worker received counts more than what a client sent, and a later
        attempt more than an earlier one.
        """
        told_by = self._told_by
        received = isinstance(reading, Received)
        place = received, reading.retries or 0, *_place(reading)
        news = {}
        for name in _OF_TASK if received else _OF_SENT:
            value = getattr(reading, name)
            if value is not None and place >= told_by.get(name, place):
                news[name] = value
                told_by[name] = place
        return news


def _first_begin(readings: list[TaskReading]) -> int:
    """Return where the first attempt begins that is there from its beginning."""
    for kind in (Sent, Received):
        for index, reading in enumerate(readings[:_CUT_MAX]):
            if isinstance(reading, kind):
                return index
    return 0


_Place: TypeAlias = tuple[float, int, str, str, int]


def _place(reading: TaskReading) -> _Place:
    """Return where an event is among others; two at one place are the same."""
    state = reading.state
    told = reading.timestamp, _ORDER.get(state, 3), state, reading.hostname or ""
    return *told, getattr(reading, "retries", None) or 0


# --- which attempt an event belongs to ---------------------------------------------
#
# Only `received` says which attempt it is of.  A worker's process sends the next
# attempt before it ends; so the worker may receive that, and another of its processes
# may run it, before it tells that this one is to be retried, or even that it started.


def _of_received(attempts: list[Attempt], reading: TaskReading) -> Attempt | None:
    """Return None, for a new attempt, unless a clock was set while it began."""
    latest = attempts[-1]
    first = latest.received is None and not getattr(reading, "retries", None)
    return latest if first else None


def _of_started(attempts: list[Attempt], _: TaskReading) -> Attempt | None:
    """Return the newest delivery of the earliest attempt that has not started.

    None, for a new attempt, if all have.
    """
    waiting = [attempt for attempt in attempts if attempt.started is None and attempt.ended is None]
    return min(reversed(waiting), key=_retries, default=None)


def _retries(attempt: Attempt) -> int:
    return attempt.retries or 0


def _of_retried(attempts: list[Attempt], _: TaskReading) -> Attempt | None:
    """Return the newest that runs, else the one that is open for longest.

    The next attempt may have started, and even ended, before.  So one that was
    followed by another comes first.
    """
    unended = [attempt for attempt in attempts if attempt.ended is None]
    running = [attempt for attempt in unended if attempt.started is not None]
    newest = _retries(attempts[-1])
    followed = [attempt for attempt in running if _retries(attempt) < newest]
    return (followed[-1:] or running[-1:] or unended or attempts[-1:])[0]


def _of_latest(attempts: list[Attempt], _: TaskReading) -> Attempt | None:
    """Return the delivery of the latest attempt that runs, else the newest open."""
    retries = attempts[-1].retries
    latest = [attempt for attempt in attempts if attempt.retries == retries]
    unended = [attempt for attempt in latest if attempt.ended is None]
    running = [attempt for attempt in unended if attempt.started is not None]
    return (running or unended or latest)[-1]


_Chooser = Callable[[list[Attempt], TaskReading], Attempt | None]
#: Which of a worker's attempts an event belongs to, by its kind; None: a new one.
#: The kinds that are not here end the latest.
_BELONGS: Final[Mapping[type, _Chooser]] = {
    Received: _of_received,
    Started: _of_started,
    Retried: _of_retried,
}


# --- numbers -----------------------------------------------------------------------


def _number(attempts: list[Attempt], sent: list[Sent]) -> None:
    """Give attempts, which are in the order of their beginning, their numbers.

    One whose receipt we missed is a redelivery of the one before it, or follows
    it if that was retried.
    """
    number = min((reading.retries or 0 for reading in sent), default=0)
    for attempt in attempts:
        retries = attempt.retries
        attempt.number = number if retries is None else retries
        number = attempt.number + (attempt.retried is not None)


def _add_sent(attempts: list[Attempt], sent: Iterable[Sent]) -> None:
    """Add each sending to the attempts of its number; what is left over is pending."""
    sendings: dict[int, list[Sent]] = {}
    for reading in sent:
        sendings.setdefault(reading.retries or 0, []).append(reading)
    for number, of_number in sorted(sendings.items()):
        same = [attempt for attempt in attempts if attempt.number == number]
        pending = [Attempt(number=number) for _ in of_number[len(same) :]]
        attempts += pending
        for attempt, reading in zip([*same, *pending], of_number, strict=False):
            attempt.take(reading)


def _turn(attempt: Attempt) -> tuple[int, bool, float]:
    return attempt.number, attempt.began is None, _began(attempt)


def _began(attempt: Attempt) -> float:
    """Return when a worker began with it, by our clock as far as we know."""
    worker = attempt.worker
    # Without heartbeats the skew is no more than a guess.
    ahead = worker.skew if worker is not None and worker.beats else None
    return (attempt.began or 0.0) - (ahead or 0.0)
