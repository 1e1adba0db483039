"""The history of a task: its attempts, told from all we heard of it."""

from bisect import insort
from collections.abc import Callable, Iterable, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from evtools.state.attempt import Attempt
from evtools.state.readings import Received, Retried, Sent, Started, TaskReading
from evtools.state.transitions import PENDING, RECEIVED, STARTED

if TYPE_CHECKING:
    from evtools.state.worker import Worker

#: As many events as one task is told from; of one that is retried for ever, the
#: oldest are forgotten.
READINGS_MAX: Final = 64
_READINGS_KEPT: Final = 48

_OF_TASK: Final = ("name", "args", "kwargs", "root_id", "parent_id")
_OF_SENDING: Final = ("queue", "exchange", "routing_key")
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

    __slots__ = ("_runs", "attempts", "readings", "weight_bytes", "workers")

    def __init__(
        self, readings: list[TaskReading], worker: "Worker | None" = None
    ) -> None:
        self.readings = sorted(readings, key=_place)
        self.workers = {} if worker is None else {worker.hostname: worker}
        self.attempts: list[Attempt] = []
        self._runs: dict[str | None, list[Attempt]] = {}
        self.weight_bytes = sum(reading.weigh() for reading in readings)

    def add(self, reading: TaskReading, worker: "Worker | None") -> bool:
        """Add what we heard; return whether it is new."""
        readings = self.readings
        is_latest = not readings or _place(reading) > _place(readings[-1])
        if not is_latest and any([_same(known, reading) for known in readings]):
            return False
        insort(readings, reading, key=_place)
        self.weight_bytes += reading.weigh()
        if len(readings) > READINGS_MAX:
            del readings[:-_READINGS_KEPT]
            self.weight_bytes = sum(known.weigh() for known in readings)
        if worker is not None:
            self.workers[worker.hostname] = worker
        if is_latest and reading.hostname in self._runs:
            if not self._add(reading):
                return True
        else:
            self._runs = {}
            for known in readings:
                self._add(known)
        self._arrange()
        return True

    def _add(self, reading: TaskReading) -> bool:
        """Add what a worker told to one of its attempts, in the order of their times.

        Return whether that may have changed the order of the attempts.
        """
        if isinstance(reading, Sent):
            return True
        # What does not say where it comes from comes from the only worker we know.
        hostname = reading.hostname
        if hostname is None and len(self.workers) == 1:
            (hostname,) = self.workers
        run = self._runs.setdefault(hostname, [])
        attempt = None
        if run:
            attempt = _BELONGS.get(type(reading), _of_latest)(run, reading)
        changes = attempt is None or isinstance(reading, Retried)
        if attempt is None:
            attempt = Attempt(hostname)
            run.append(attempt)
        attempt.take(reading)
        return changes

    def _arrange(self) -> None:
        """Put the attempts of all workers in order, and add what clients told."""
        attempts = [attempt for run in self._runs.values() for attempt in run]
        if len(self._runs) > 1:
            attempts.sort(key=self._began)
        sent = [reading for reading in self.readings if isinstance(reading, Sent)]
        _number(attempts, sent)
        _add_sent(attempts, sent)
        if len(attempts) > 1:
            attempts.sort(key=self._turn)
        self.attempts = attempts

    def _turn(self, attempt: Attempt) -> tuple[int, bool, float]:
        return attempt.number, attempt.began is None, self._began(attempt)

    def _began(self, attempt: Attempt) -> float:
        """Return when a worker began with it, by our clock as far as we know."""
        worker = self.workers.get(attempt.hostname or "")
        ahead = None if worker is None else worker.skew
        return (attempt.began or 0.0) - (ahead or 0.0)

    def of_task(self) -> dict[str, Any]:
        """Return what was told of the task as a whole.

        What a worker received counts more than what a client sent, and a later
        attempt more than an earlier one.
        """
        told: dict[str, Any] = dict.fromkeys((*_OF_TASK, *_OF_SENDING, "client"))
        for kind, names in _TELLING.items():
            found = [reading for reading in self.readings if isinstance(reading, kind)]
            for reading in sorted(found, key=_attempt_place):
                known = {name: getattr(reading, name) for name in names}
                if kind is Sent:
                    known["client"] = reading.hostname
                told |= {
                    name: value for name, value in known.items() if value is not None
                }
        return told


#: What tells of the task as a whole, and what it tells; what comes later counts.
_TELLING: Final = {Sent: (*_OF_TASK, *_OF_SENDING), Received: _OF_TASK}


def _same(one: TaskReading, other: TaskReading) -> bool:
    return (
        one.timestamp == other.timestamp
        and one.state == other.state
        and one.hostname == other.hostname
    )


def _place(reading: TaskReading) -> tuple[float, int, str, str]:
    order = _ORDER.get(reading.state, 3)
    return reading.timestamp, order, reading.state, reading.hostname or ""


def _attempt_place(reading: Any) -> tuple[int, float]:
    return reading.retries or 0, reading.timestamp


# --- which attempt an event belongs to ---------------------------------------------
#
# Only `received` says which attempt it is of.  A worker receives the next attempt
# before it tells that this one is to be retried.


def _of_received(attempts: list[Attempt], reading: TaskReading) -> Attempt | None:
    """A new attempt; but the first one may have begun before, if a clock was set."""
    latest = attempts[-1]
    first = latest.received is None and not getattr(reading, "retries", None)
    return latest if first else None


def _of_started(attempts: list[Attempt], _: TaskReading) -> Attempt | None:
    latest = attempts[-1]
    return latest if latest.started is None else None


def _of_retried(attempts: list[Attempt], _: TaskReading) -> Attempt | None:
    """The attempt that runs, else the one that is open for longest."""
    unended = [attempt for attempt in attempts if attempt.ended is None]
    running = [attempt for attempt in unended if attempt.started is not None]
    return (running[-1:] or unended or attempts[-1:])[0]


def _of_latest(attempts: list[Attempt], _: TaskReading) -> Attempt | None:
    """The delivery of the latest attempt that runs, else the newest that is open."""
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
    """Number attempts, which are in the order of their beginning.

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
        for attempt, reading in zip_longest(same, of_number):
            if reading is None:
                break
            if attempt is None:
                attempt = Attempt(number=number)
                attempts.append(attempt)
            attempt.take(reading)
