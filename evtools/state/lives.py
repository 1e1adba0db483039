"""The processes of a worker, told from each other by its heartbeats."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from evtools.state.readings import Heartbeat, Offline, Online, WorkerReading

if TYPE_CHECKING:
    from evtools.state.task import Task

#: As many processes as are remembered of one worker; each restart is one more.
_LIVES_MAX: Final = 8
#: How often Celery's workers beat, in seconds; for those that do not say.
_FREQ: Final = 2.0
#: After so many beats without one, a heartbeat is no longer due, or merely late.
_DUE_BEATS: Final = 1.5
#: After so many, a process is not there if others of its name are.
_LATE_BEATS: Final = 2.0


class Life(Struct, eq=False):
    """One process of a worker.

    `since` and `told` are when it first and last told of itself, by its own clock;
    `heard_first` and `heard` are when that came, by ours.  `began` tells whether we
    know that it started at `since`, and `said_hello` whether it said so itself.
    """

    pid: int | None
    since: float
    told: float
    heard_first: float
    heard: float
    began: bool = False
    said_hello: bool = False
    processed: int | None = None
    #: The least count of tasks that it told, and how many counts came.
    processed_first: int = 0
    counts: int = 0
    freq: float = _FREQ
    goodbye: float | None = None

    def continues(self, reading: WorkerReading) -> bool:
        """Tell whether a heartbeat with its pid, or with none, may be its own."""
        at, heard = reading.timestamp, reading.local_received
        if self.began and at < self.since:
            return False
        if at <= self.told and not self.is_late(heard, _DUE_BEATS):
            return True  # it was overtaken
        now, before = reading.processed, self.processed
        return now is None or before is None or now >= before

    def take(self, reading: WorkerReading) -> None:
        """Take in that it is there."""
        self.told = reading.timestamp
        self.heard = max(self.heard, reading.local_received)
        if self.goodbye is not None and self.told > self.goodbye:
            self.goodbye = None
        if self.pid is None:
            self.pid = reading.pid
        count = reading.processed
        if count is not None:
            first = min(self.processed_first, count) if self.counts else count
            self.processed, self.processed_first = count, first
            self.counts += 1
        if reading.freq and not _is_answer(reading):
            self.freq = reading.freq

    def is_late(self, now: float, beats: float) -> bool:
        """Tell whether so many beats are missing at `now`, by our clock."""
        return now - self.heard > beats * self.freq


class Lives:
    """The processes that used the name of a worker, in the order we heard of them.

    There is one at a time, or several if somebody started two workers of one name.
    Another process shows by its pid, by saying hello, and by a count of tasks that
    goes back, as in containers all have the same pid.  Whether the one before it is
    still there its next heartbeat has to show.
    """

    def __init__(self) -> None:
        self._lives: list[Life] = []

    # --- what they tell -------------------------------------------------------------

    def take(self, reading: WorkerReading) -> Life | None:
        """Take in what a process tells, and return which, None if it is over."""
        if isinstance(reading, Offline):
            return self._end(reading)
        if isinstance(reading, Online) and not reading.processed:
            life = self._begin(reading)
        else:
            found = self._of(reading)
            if found is None:
                return None
            life = found
        life.take(reading)
        return life

    def _begin(self, reading: WorkerReading) -> Life:
        """Return the process that says hello."""
        at = reading.timestamp
        same = [life for life in self._lives if life.pid == reading.pid]
        for life in same:
            # Its first heartbeat has overtaken it.
            if life.since >= at:
                life.since, life.began, life.said_hello = at, True, True
                if life.goodbye == at:
                    life.goodbye = None
                return life
        life = self._add(reading, began=True)
        life.said_hello = True
        if same and same[-1].told > at:
            # What came of it before its hello was taken for another's.
            last = same[-1]
            life.processed, life.freq = last.processed, last.freq
            life.goodbye, last.goodbye = last.goodbye, None
        return life

    def _of(self, reading: WorkerReading) -> Life | None:
        """Return the process that a heartbeat is of, None if it is over."""
        lives, pid = self._lives, reading.pid
        same = [life for life in lives if pid is None or life.pid == pid]
        same = same or [life for life in lives if life.pid is None]
        if same and all(life.began and reading.timestamp < life.since for life in same):
            return None
        own = [life for life in same if life.continues(reading)]
        if not own:
            return self._add(reading, began=bool(same))
        heard = reading.local_received
        due = [life for life in own if not life.is_late(heard, _DUE_BEATS)]
        return max(due, key=_count) if due else own[-1]

    def _end(self, reading: WorkerReading) -> Life | None:
        """Return the process that says goodbye, None if it was one before."""
        at, lives = reading.timestamp, self._lives
        same = [life for life in lives if reading.pid in {None, life.pid}]
        same = same or [life for life in lives if life.pid is None]
        for life in reversed(same or [self._add(reading, began=False)]):
            if life.told <= at and not (life.said_hello and life.since == at):
                life.goodbye = at
                life.heard = max(life.heard, reading.local_received)
                return life
        return None

    def _add(self, reading: WorkerReading, *, began: bool) -> Life:
        at, heard = reading.timestamp, reading.local_received
        life = Life(reading.pid, at, at, heard, heard, began)
        self._lives.append(life)
        del self._lives[:-_LIVES_MAX]
        return life

    # --- what we make of it ---------------------------------------------------------

    def goodbye(self, now: float) -> float | None:
        """Return when the last of them said goodbye, None if one is there."""
        if self._there(now):
            return None
        said = [life.goodbye for life in self._lives if life.goodbye is not None]
        return max(said, default=None)

    def count(self, now: float) -> int:
        """Return how many are there together, as far as their heartbeats prove it."""
        there = self._there(now)
        return sum(
            all(life.heard > other.heard_first for other in there if other is not life)
            for life in there
        )

    @property
    def done(self) -> int | None:
        """How many tasks they began since we listen; None if no count came twice."""
        done = [
            (life.processed or 0) - life.processed_first for life in self._lives if life.counts > 1
        ]
        return sum(done) if done else None

    def lack(self, task: "Task", now: float, grace: float) -> bool:
        """Tell whether the one that had a task is no longer there.

        After its goodbye it has so many seconds to end what it runs.
        """
        if task.timestamp is None or not self._lives:
            return False
        for life in self._with(task.pid, task.timestamp):
            # What came of the task came from it.
            sign = task.local_received if life.pid == task.pid else 0.0
            if life.goodbye is not None and now - max(life.heard, sign) <= grace:
                return False
            if life.goodbye is None and self._is_there(life, now, sign):
                return False
        return True

    def _with(self, pid: int | None, at: float) -> Sequence[Life]:
        """Return those that may have told something of a task with this pid and time.

        The pid can be that of a child, and then says nothing.
        """
        lives = self._lives
        same = [life for life in lives if life.pid is not None and life.pid == pid]
        if same:
            return [life for life in same if not life.began or life.since <= at]
        known = [life for life in lives if life.since <= at]
        return known or [life for life in lives[:1] if not life.began]

    def _there(self, now: float) -> list[Life]:
        return [life for life in self._lives if life.goodbye is None and self._is_there(life, now)]

    def _is_there(self, life: Life, now: float, sign: float = 0.0) -> bool:
        """Tell whether no other has taken its place since it gave a sign.

        Not if another has started, nor if it misses its beats while others have them.
        """
        heard = max(life.heard, sign)
        late = now - heard > _LATE_BEATS * life.freq
        return not any(
            (other.began and other.heard_first > heard)
            or (late and other.goodbye is None and other.heard > heard)
            for other in self._lives
            if other is not life
        )


def _count(life: Life) -> int:
    return -1 if life.processed is None else life.processed


def _is_answer(reading: WorkerReading) -> bool:
    return isinstance(reading, Heartbeat) and reading.answers_wake_up
