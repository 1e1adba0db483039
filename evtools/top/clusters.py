"""The clusters on the screen: what came of each, and how it is asked and changed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from evtools.clock import Clock
from evtools.rows import NO_FACTS, QueueFacts, WorkerFacts, schedules_of
from evtools.state import OTHERS, Schedule, State, Statistics
from evtools.text import human_age
from evtools.top.columns import Column, RenderContext, column
from evtools.top.control import ControlClient
from evtools.top.feed import BrokerStats, asked_about
from evtools.top.options import TopOptions
from evtools.top.status import ConnectionStatus, Part, StreamCounters
from evtools.top.survey import Inspector, Survey
from evtools.transport.queues import Plan
from evtools.wire.redact import Redactor

#: How many clusters a recording may have; what comes of others counts for one of this name.
CLUSTERS_MAX: Final = 50
_OTHERS: Final = OTHERS
#: How much memory the past minutes of a cluster may take, and those of all.
_PAST_BYTES: Final = 64 * 2**20
_ALL_PAST_BYTES: Final = 4 * _PAST_BYTES


@dataclass(slots=True)
class Cluster:
    """One cluster; its name is "" where there is but one and it needs none.

    `survey`, `control` and `stats` are None where workers are not asked, nothing can be changed
    and the broker is not asked.
    """

    name: str
    connection: ConnectionStatus
    state: State
    statistics: Statistics = field(default_factory=Statistics)
    intake: StreamCounters = field(default_factory=StreamCounters)
    survey: Survey | None = None
    control: ControlClient | None = None
    stats: BrokerStats | None = None
    #: Whether what its broker says of queues is shown.
    asks_broker: bool = False

    def as_of(self, now: float) -> float:
        """Return the time that is known of it when it is `now`, in UTC epoch seconds."""
        lost_at = self.connection.lost_at
        return now if lost_at is None else min(now, lost_at)

    def key(self, name: str) -> str:
        """Return the key of a row about something of that name in this cluster."""
        return row_key(self.name, name)

    def ask(self, inspector: Inspector, redact: Redactor | None) -> None:
        """Ask its workers for what no event says, from `Survey.begin` on."""
        self.survey = Survey(inspector, self.state, self.statistics, redact)

    def broker_facts(self) -> QueueFacts:
        """Return what its broker said of queues, nothing where that is not asked."""
        if self.stats is None or not self.asks_broker:
            return NO_FACTS
        return self.stats.known()

    def asked(self) -> Mapping[str, WorkerFacts]:
        """Return what its workers said of themselves, nothing where they are not asked."""
        return {} if self.survey is None else self.survey.workers

    def schedules(self, now: float) -> dict[str, Schedule]:
        """Return the types of task that are sent on a schedule, as of `now`."""
        connection, plan, at = self.connection, Plan(), 0.0
        if self.stats is not None and self.asks_broker:
            plan, at = self.stats.plan()
        return schedules_of(
            self.statistics,
            now,
            unseen=now if connection.status == "connecting" else connection.live_since,
            latest=self.intake.latest or 0.0,
            plan=plan,
            planned_at=at,
        )

    def watch_queues(self, rows: Iterable[Any], page: Any = None) -> None:
        """Have its broker asked about its queues among `rows`, and look into that of `page`."""
        if self.stats is None:
            return
        names = [row.name for row in rows if row.cluster == self.name]
        peek = page.name if page is not None and page.cluster == self.name else ""
        self.stats.watch(asked_about(names), peek=peek, oldest=self.intake.has_sent)

    def own(self, rows: Iterable[Any]) -> Iterator[tuple[str, Any]]:
        """Yield rows, each with its key, and have them know their cluster."""
        for row in rows:
            row.cluster = self.name
            yield self.key(row.name), row


def row_key(cluster: str, name: str) -> str:
    """Return the key of a row: names are unique in their cluster only."""
    # A name with a NUL would otherwise be one of another cluster.
    return f"{cluster}\0{name}" if cluster or "\0" in name else name


def row_name(cluster: str, key: str) -> str:
    """Return the name in the key of a row of that cluster."""
    return key.removeprefix(f"{cluster}\0")


class Clusters(dict[str, Cluster]):
    """The clusters by their names, which share out what may be kept in memory.

    Names that nobody gave come from recordings: they are added as they appear.
    """

    def __init__(self, names: Sequence[str], options: TopOptions, clock: Clock) -> None:
        super().__init__()
        self._options, self._clock = options, clock
        asked = [options.sort, *options.columns]
        for one in options.arranged:
            asked += one.sort, *one.columns
        #: Whether there is a column of the cluster before a recording has named one.
        self._awaits_names = bool(options.read) and any(
            name.removeprefix("-").strip().casefold() == "cluster" for name in asked
        )
        for name in names:
            self._add(name)

    def _add(self, name: str) -> Cluster:
        connection = ConnectionStatus(self._clock)
        if self._options.read:  # a recording is there as soon as it is open
            connection.status = "live"
        self[name] = cluster = Cluster(name, connection, State(clock=self._clock, cluster=name))
        for each in self.values():
            each.state.max_tasks_in_memory = max(1, self._options.max_tasks // len(self))
            each.state.max_bytes = self._options.max_memory // len(self)
            each.statistics.past_bytes = min(_PAST_BYTES, _ALL_PAST_BYTES // len(self))
        return cluster

    def of(self, name: str) -> Cluster:
        """Return the cluster of that name, a new one if there is room for it."""
        found = self.get(name)
        if found is not None:
            return found
        return self.get(_OTHERS) or self._add(name if len(self) < CLUSTERS_MAX else _OTHERS)

    @property
    def named(self) -> list[str]:
        """The names that there are."""
        return [name for name in self if name]

    def lost(self) -> dict[str, float]:
        """Return since when each of several is away, in UTC epoch seconds."""
        if len(self) == 1:
            return {}
        found = ((name, cluster.connection.lost_at) for name, cluster in self.items())
        return {name: lost_at for name, lost_at in found if lost_at is not None}

    def parts(self, now: float) -> list[Part]:
        """Return what the figures of all are made of when it is `now`."""
        lost = self.lost()
        return [
            Part(one.state, one.statistics, one.intake, one.as_of(now), name in lost)
            for name, one in self.items()
        ]

    def column(self, columns: Sequence[Column]) -> tuple[Column, ...]:
        """Return columns with that of the cluster after the first, if clusters have names."""
        first, *others = columns
        if not (self.named or self._awaits_names):
            return (first, *others)
        return (first, CLUSTER if len(self) > 1 else _ONE, *others)


# --- the column ---------------------------------------------------------------------


def _shown(row: Any, context: RenderContext) -> str:
    age = f" {human_age(context.age)}" if context.age else ""
    return f"{row.cluster or '-'}{age}"


_ABOUT: Final = "its cluster, and how long that has been away"
CLUSTER: Final = column(
    "text", "cluster", "CLUSTER", _ABOUT, lambda row, _: row.cluster or None,
    format_row=_shown, cols=8, flex=1, max_cols=24,
)  # fmt: skip
#: Where there is one only, no screen is wide enough to show its name in each row.
_ONE: Final = column(
    "text", "cluster", "CLUSTER", _ABOUT, lambda row, _: row.cluster or None,
    format_row=_shown, cols=8, from_cols=100_000,
)  # fmt: skip
