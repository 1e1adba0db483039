"""Failures in groups: those that differ only in details are of one kind."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from evtools.state.statistics.rows import FAILED, OTHERS, UNKNOWN
from evtools.state.statistics.windows import Windows
from evtools.wire import Event

if TYPE_CHECKING:
    from evtools.state.task import Task

# --- the fingerprint of a failure: what stays the same when only details differ ----------

#: Longer texts are cut before anything looks at them, in characters.
TEXT_MAX: Final = 500
#: What stands for the variable parts; so a message is a glob of its kind.
BLANK: Final = "*"

# Exceptions travel as their repr, perhaps cut: CardError('declined', 402).
_REPR: Final = re.compile(r"([^\W\d][\w.]{0,200})(?:\((.*?),?\)?)?", re.DOTALL)
# What billiard wraps an exception into; the traceback's end knows better.
_WRAPPERS: Final = ("ExceptionWithTraceback(", "ExceptionInfo(")
_LAST_LINE: Final = re.compile(r"([^\W\d][\w.]{0,200})(?::\s*(.*))?")

# A string that is an argument by itself is the message, not a part quoted in
# it; it ends where its quote is followed by the next argument or the end.
_ARGUMENT: Final = re.compile(
    r"""(?:^|(?<=,\ ))(?P<quote>['"])(?P<text>.*?)(?<!\\)(?P=quote)(?=,|$)""",
    re.DOTALL | re.VERBOSE,
)
# Quoted parts, but no apostrophes; words with a digit or an @ in them.  These
# are numbers, hex, uuids, addresses of memory, hosts and mail, ids, dates.
_VARIABLE: Final = re.compile(
    r"""(?<!\w)(')[^']*'(?!\w) | (?<!\w)(")[^"]*"(?!\w)
    | (?<![\w@.+-])[\w.+-]*?[\d@](?:[\w@.:+-]*\w)?""",
    re.VERBOSE,
)
_LIST: Final = re.compile(r"\*(?:,\s?\*)+")
_SPACE: Final = re.compile(r"\s+")


class Fingerprint(NamedTuple):
    """What failures of one kind share; the texts are as the sender wrote them."""

    task: str
    exception: str
    message: str


def fingerprint(task: str, exception: object, traceback: object) -> Fingerprint:
    """Return the fingerprint of a failure, from the fields of its event."""
    text = exception[:TEXT_MAX] if isinstance(exception, str) else ""
    end = traceback[-TEXT_MAX:] if isinstance(traceback, str) else ""
    # Only a wrapper needs the traceback, and few texts make a memo that helps.
    return Fingerprint(task, *_parts(text, end if text.startswith(_WRAPPERS) else ""))


def blank(message: str) -> str:
    """Return a message, its variable parts blanked, on one line."""
    text = _VARIABLE.sub(rf"\1\2{BLANK}\1\2", message)
    # A pair of quotes with nothing in it gets longer.
    return _LIST.sub(BLANK, _SPACE.sub(" ", text)).strip()[:TEXT_MAX]


@lru_cache(maxsize=256)
def _parts(text: str, traceback: str) -> tuple[str, str]:
    """Return the type of an exception and its message, blanked."""
    lines = traceback.strip().splitlines()
    last = _LAST_LINE.fullmatch(lines[-1]) if lines else None
    if last is not None:
        return last[1].rpartition(".")[2], blank(last[2] or "")
    found = _REPR.fullmatch(text.strip())
    if found is None:
        return "", blank(text)
    return found[1], blank(_ARGUMENT.sub(r"\g<text>", found[2] or ""))


# --- groups -----------------------------------------------------------------------------

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
        """Count the failure that an event reports; `now` is when it came."""
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
