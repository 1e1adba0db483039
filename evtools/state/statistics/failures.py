"""Failures in groups: those that differ only in details are of one kind."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from evtools.state.statistics.cells import FAILED
from evtools.state.statistics.fingerprint import TEXT_MAX, Fingerprint, fingerprint
from evtools.state.statistics.rows import OTHERS, UNKNOWN
from evtools.state.statistics.windows import Windows
from evtools.wire import Event

if TYPE_CHECKING:
    from evtools.state.task import Task

#: Workers that a group remembers.
WORKERS_MAX: Final = 100
_UUID_MAX: Final = 255

_OTHERS: Final = Fingerprint(OTHERS, "", "")


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one kind in a window.

    `message` has `*` for its variable parts.  `first` and `last` (of all
    time, not only of the window) are by our clock; `workers` are some of
    those it happened on, a hundred at most.  `uuid` is of the newest, and
    `sample` its exception as it was sent.
    """

    task: str
    exception: str
    message: str
    count: int
    rate: float
    first: float
    last: float
    workers: frozenset[str]
    uuid: str
    sample: str


@dataclass(slots=True)
class _Sample:
    first: float
    last: float
    workers: set[str] = field(default_factory=set)
    uuid: str = ""
    text: str = ""


class Failures:
    """The groups, and for each a sample; the bounds are those of the windows."""

    def __init__(self, max_groups: int) -> None:
        self.windows: Windows[Fingerprint] = Windows(
            others=_OTHERS, max_names=max_groups, on_fold=self._forget
        )
        self._samples: dict[Fingerprint, _Sample] = {}
        self._others = _Sample(0.0, 0.0)

    def add(self, task: "Task", event: Event, now: float) -> None:
        """Count the failure that an event tells of; `now` is when it came."""
        exception = event.exception
        name = task.name or UNKNOWN
        group = fingerprint(name, exception, event.traceback)
        self.windows[group][FAILED] += 1
        sample = self._samples.get(group)
        if sample is None:
            sample = self._samples[group] = _Sample(first=now, last=now)
        sample.last = now
        if task.worker is not None and len(sample.workers) < WORKERS_MAX:
            sample.workers.add(task.worker.hostname)
        sample.uuid = task.uuid[:_UUID_MAX]
        sample.text = (exception or "")[:TEXT_MAX]

    def rows(self, window: str, now: float) -> list[FailureGroup]:
        """Return the groups that happened in a window."""
        seconds = self.windows.covered(window, now)
        rows = []
        for group, cells in self.windows.read(window, now).items():
            count = int(cells[FAILED])
            sample = self._samples.get(group, self._others)
            rows.append(
                FailureGroup(
                    *group,
                    count=count,
                    rate=count / seconds,
                    first=sample.first,
                    last=sample.last,
                    workers=frozenset(sample.workers),
                    uuid=sample.uuid,
                    sample=sample.text,
                )
            )
        return rows

    def weight_bytes(self) -> int:
        """Return about how much memory this takes beside the windows."""
        return sum(map(_weigh, self._samples.values()))

    def _forget(self, group: Fingerprint) -> None:
        sample, others = self._samples.pop(group), self._others
        others.first = min(others.first or sample.first, sample.first)
        others.last = max(others.last, sample.last)


def _weigh(sample: _Sample) -> int:
    return 1000 + len(sample.text) + 150 * len(sample.workers)
