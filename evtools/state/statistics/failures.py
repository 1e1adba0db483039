"""Failures in groups: those that differ only in details are of one kind."""

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from evtools.state.statistics.rows import FAILED, OTHERS, UNKNOWN
from evtools.state.statistics.windows import Windows
from evtools.wire import Event

if TYPE_CHECKING:
    from evtools.state.task import Task

# --- the fingerprint of a failure: what stays the same when only details differ ----------

#: A task, the type of the exception, and its message, in which this stands for the
#: variable parts; so it is a glob of its kind.
_Fingerprint: TypeAlias = tuple[str, str, str]
BLANK: Final = "*"
#: Longer texts are cut before anything looks at them, in characters.
TEXT_MAX: Final = 500

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


@lru_cache(maxsize=256)
def _fingerprint(text: str, traceback: str) -> tuple[str, str]:
    """Return the type of an exception and its message, blanked."""
    lines = traceback.strip().splitlines()
    last = _LAST_LINE.fullmatch(lines[-1]) if lines else None
    if last is not None:
        return last[1].rpartition(".")[2], _blank(last[2] or "")
    found = _REPR.fullmatch(text.strip())
    if found is None:
        return "", _blank(text)
    return found[1], _blank(_ARGUMENT.sub(r"\g<text>", found[2] or ""))


def fingerprint(event: Event) -> tuple[str, str]:
    """Return the type of the exception of an event, "" if that is unknown, and its message."""
    text = (event.exception or "")[:TEXT_MAX]
    # Only a wrapper needs the traceback, and few texts make a memo that helps.
    end = (event.traceback or "")[-TEXT_MAX:] if text.startswith(_WRAPPERS) else ""
    return _fingerprint(text, end)


def _blank(message: str) -> str:
    text = _VARIABLE.sub(rf"\1\2{BLANK}\1\2", message)
    # A pair of quotes with nothing in it gets longer.
    return _LIST.sub(BLANK, _SPACE.sub(" ", text)).strip()[:TEXT_MAX]


# --- groups -----------------------------------------------------------------------------

#: Workers that a group remembers.
WORKERS_MAX: Final = 100
_UUID_MAX: Final = 255
_OTHERS: Final = (OTHERS, "", "")


@dataclass(slots=True)
class FailureGroup:
    """Failures of one kind in a window.

    `message` has `*` for its variable parts.  `first` and `last` (of all
    time, not only of the window) are by our clock; `workers` are some of
    those it happened on, a hundred at most.  `uuid` is of the newest, and
    `sample` its exception as it was sent, `traceback` the end of its traceback, "" if it had none
    or none is kept.
    """

    task: str
    exception: str
    message: str
    first: float = 0.0
    last: float = 0.0
    workers: set[str] | frozenset[str] = field(default_factory=set)
    uuid: str = ""
    sample: str = ""
    traceback: str = ""
    count: int = 0
    rate: float = 0.0
    #: The name of the cluster, for those who show several.
    cluster: str = ""

    @property
    def name(self) -> str:
        """What tells it from others; no part contains what joins them."""
        return f"{self.task}\0{self.exception}\0{self.message}"


class Failures:
    """The groups, as the newest failure of each left them; the bounds are those of the windows.

    Of a traceback the last `traceback_chars` characters are kept, which say most.
    """

    def __init__(self, max_groups: int, *, slides: bool, traceback_chars: int) -> None:
        self._traceback_chars = traceback_chars
        self.windows: Windows[_Fingerprint] = Windows(
            others=_OTHERS, max_names=max_groups, on_fold=self._forget, slides=slides
        )
        self._groups: dict[_Fingerprint, FailureGroup] = {}
        self._others = FailureGroup(*_OTHERS)

    def add(self, task: "Task", event: Event, now: float) -> None:
        """Count the failure that an event reports; `now` is when it came."""
        name = (task.name or UNKNOWN, *fingerprint(event))
        self.windows[name][FAILED] += 1
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = FailureGroup(*name, first=now)
        group.last = now
        if task.worker is not None and len(group.workers) < WORKERS_MAX:
            group.workers |= {task.worker.hostname}
        group.uuid = task.uuid[:_UUID_MAX]
        group.sample = (event.exception or "")[:TEXT_MAX]
        if self._traceback_chars:
            group.traceback = (event.traceback or "")[-self._traceback_chars :]

    def rows(self, window: str, now: float) -> list[FailureGroup]:
        """Return the groups that happened in a window."""
        seconds = self.windows.covered(window, now)
        rows = []
        for name, cells in self.windows.read(window, now).items():
            group, count = self._groups.get(name, self._others), int(cells[FAILED])
            workers = frozenset(group.workers)
            rows.append(replace(group, count=count, rate=count / seconds, workers=workers))
        return rows

    def weight_bytes(self) -> int:
        """Return about how much memory this takes beside the windows."""
        return sum(
            1000 + len(group.sample) + len(group.traceback) + 150 * len(group.workers)
            for group in self._groups.values()
        )

    def _forget(self, name: _Fingerprint) -> None:
        group, others = self._groups.pop(name), self._others
        others.first = min(others.first or group.first, group.first)
        others.last = max(others.last, group.last)
