"""Where events come from: a broker, a recording, a simulated cluster."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from evtools.clock import Clock
from evtools.wire import Defect

DOCTOR: Final = "evtools doctor, given the same broker, finds out more"
#: Workers send heartbeats every two seconds: after this time something is wrong.
_SILENCE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Notice:
    """A change of the connection, for the user; `text` is one line that shows no password.

    `kind` is `listening`, `lost`, `retry` or `restored`, of a recording `rewound` or `ended`, of
    one of several clusters `refused`: nothing more will come of it; or it is a `note` or `warning`.
    `cluster` is its name, and `hint`, of any number of lines, says what to do.
    """

    kind: str
    text: str
    cluster: str = ""
    hint: str = ""

    @property
    def named(self) -> str:
        """The text, with the name of the cluster before it if it has one."""
        return f"{self.cluster}: {self.text}" if self.cluster else self.text


@dataclass(slots=True)
class Statistics:
    """What a source has seen so far.

    `dropped` events did not fit into our buffer (exact), `gaps` are holes of together `gap_seconds`
    without a connection, `missed` tasks workers counted without an event for us (an estimate).
    There has been no connection since `away_since` (UTC epoch seconds, 0 if there never was one),
    because of `problem`; None is that there is one, or was until the end.  What `is_refused` was
    left out for that.  `clusters` has the statistics of each, by name, where there are several.
    """

    events: int = 0
    messages: int = 0
    dropped: int = 0
    gaps: int = 0
    gap_seconds: float = 0.0
    missed: int = 0
    reconnects: int = 0
    buffered_bytes: int = 0
    connected: bool = False
    away_since: float | None = None
    problem: str = ""
    is_refused: bool = False
    defects: tuple[Defect, ...] = ()
    clusters: Mapping[str, "Statistics"] = field(default_factory=dict)

    @property
    def malformed(self) -> int:
        """How many messages or parts of one were no events."""
        return sum(defect.count for defect in self.defects)

    @classmethod
    def total(cls, clusters: Mapping[str, "Statistics"]) -> "Statistics":
        """Return the sum of several; it is connected if all of them are."""
        total, defects = cls(connected=True, clusters=clusters), dict[str, Defect]()
        for part in clusters.values():
            for name in _COUNTED:
                setattr(total, name, getattr(total, name) + getattr(part, name))
            total.connected &= part.connected
            for defect in part.defects:
                count = defects[defect.kind].count if defect.kind in defects else 0
                first = defects.get(defect.kind, defect)
                defects[defect.kind] = replace(first, count=count + defect.count)
        total.defects = tuple(defects.values())
        return total


_COUNTED: Final = (
    "events", "messages", "dropped", "gaps", "gap_seconds", "missed", "reconnects",
    "buffered_bytes",
)  # fmt: skip


class SilenceHint:
    """Look once, ten seconds after the start, whether a source has received anything.

    Of several clusters, those are named from which nothing has come.
    """

    def __init__(self, statistics: Callable[[], Statistics], clock: Clock) -> None:
        self._statistics, self._clock = statistics, clock
        self._due = clock.monotonic() + _SILENCE_SECONDS

    def words(self) -> str:
        """Return the hint, once, if nothing has come; at all other times ""."""
        if self._clock.monotonic() < self._due:
            return ""
        self._due = math.inf
        statistics = self._statistics()
        clusters = statistics.clusters
        silent = [name for name, each in clusters.items() if not each.messages | each.is_refused]
        if statistics.messages and not silent:
            return ""
        source = f" from {', '.join(silent)}" if silent else ""
        return f"nothing has come{source} for {_SILENCE_SECONDS:g}s; {DOCTOR}"
