"""The cluster as the screen shows it: the state, the tables made of it, the figures above."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, tzinfo
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from evtools.alerts import LEVELS, NAMES_MAX, Alert, Change, Rule, take_events
from evtools.clock import Clock, SystemClock
from evtools.errors import UsageError
from evtools.rows import title_of, title_of_task
from evtools.text import human_age, sanitize
from evtools.top.clusters import Cluster, Clusters
from evtools.top.columns import RenderContext
from evtools.top.options import TopOptions
from evtools.top.status import Figures
from evtools.top.table import Picture, TableModel
from evtools.top.views.events import EventsView
from evtools.top.views.overview import OverviewView
from evtools.top.views.queues import QueuesView
from evtools.top.views.summaries import ErrorsView, GroupsView, TypesView, WorkersView
from evtools.top.views.tasks import TasksView
from evtools.transport.source import DOCTOR
from evtools.wire import Event

#: How many earlier pictures there are to step back to.
PICTURES_MAX: Final = 120


class Model:
    """The cluster, and six tables of it.  One thread owns it: the screen's.

    `take` gets every batch of events, also while the picture is paused;
    `refresh` makes a new picture of one view.  Times (`now`) are wall-clock
    seconds; the picture is as of `as_of(now)`: it stands still while paused,
    without connection and, in a replay, with the tape.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        options: TopOptions | None = None,
        names: Sequence[str] = ("",),
    ) -> None:
        clock = clock or SystemClock()
        #: Its own: keys change them.
        self.options = options = replace(options or TopOptions())
        self.clusters = clusters = Clusters(names, options, clock)
        #: The last graphs that were drawn in each place, and what they are of.
        self.graphs: dict[Any, tuple[Any, Any]] = {}
        #: What came in is not an event, in messages or parts of them.
        self.malformed = 0
        self._clock = clock
        #: The time and the view of the picture, its figures, and whether it stands still.
        self._now, self._view = clock.wall(), "tasks"
        self._facts: Figures | None = None
        self.paused = False
        #: Earlier pictures, and how many of them the user has stepped back.
        self._pictures: deque[Picture] = deque(maxlen=PICTURES_MAX)
        self._back = 0
        self._tasks = TasksView(clusters, clock)
        self._events = EventsView(clusters, clock)
        summaries = (TypesView(clusters), WorkersView(clusters), QueuesView(clusters))
        views = (self._tasks, *summaries, self._events, ErrorsView(clusters))
        tables: dict[str, TableModel] = {view.name: view for view in views}
        self.views: Mapping[str, TableModel] = tables
        self.alerts = AlertTables(options.alerts, clusters, tables, clock, zone=self.context().zone)
        tables["overview"] = OverviewView(clusters, tables, self.alerts.firing)
        self._tables, self._types = tables, tables["types"]

    def arrange(self) -> None:
        """Filter, sort and choose the columns of all views as options and settings file want it.

        Raise FilterError, UsageError or ConfigError as `TableModel.arrange` does.
        """
        options = self.options
        for place, view, sort, columns in options.arranged:
            self.views[view].arrange("", sort, columns, place=place)
        self.views[options.view].arrange(options.filter, options.sort, options.columns)

    def group(self, argument: str) -> None:
        """Have a row of the view of types for each value of an argument; "" ends that.

        Raise UsageError for what is no argument, and while the picture stands still.
        """
        if self.paused:
            raise UsageError("not while the display is paused", "p resumes it")
        if not argument:
            self._tables["types"] = self._types
            return
        column = self._tasks.make_column(argument)
        if column is None:
            problem = f"types cannot be grouped by {argument!r}"
            raise UsageError(problem, "write kwargs.NAME, or field.NAME for another field")
        tasks = self._tasks.rows
        self._tables["types"] = GroupsView(self.clusters, tasks, column, self._clock)

    def take(self, events: Sequence[Event]) -> None:
        """Take in events; what the screen shows changes at the next refresh.

        What fails in one part keeps them from no other: an error is raised at the end.
        """
        with ExitStack() as stack:
            # The last one comes first: what is known of its task counts for an alert on an event.
            stack.callback(self.alerts.take, events)
            stack.callback(self._events.take, events)
            groups = [(name, list(some)) for name, some in groupby(events, attrgetter("cluster"))]
            for name, some in reversed(groups):
                stack.callback(self._take, self.clusters.of(name or ""), some)

    def _take(self, cluster: Cluster, events: list[Event]) -> None:
        if self.paused:
            self._tasks.keep(cluster, events)
        changes = cluster.state.changes(events)
        with ExitStack() as stack:
            stack.callback(cluster.intake.take, events, cluster.state)
            # The state takes in what the statistics have left, should they fail.
            stack.callback(deque, changes, maxlen=0)
            cluster.statistics.take(changes)

    def as_of(self, now: float) -> float:
        """Return the time of the picture when it is `now`: the newest that any cluster has."""
        if self.paused:
            return self._now
        if self.options.read:
            return max(one.intake.latest or 0.0 for one in self.clusters.values()) or now
        return max(cluster.as_of(now) for cluster in self.clusters.values())

    def context(self) -> RenderContext:
        """Return how and as of when things are shown."""
        options = self.options
        zone = UTC if options.time_style == "utc" else options.zone
        style, lost = options.time_style, {} if options.read else self.clusters.lost()
        return RenderContext(
            self._now, zone, style, options.ascii, options.window, options.compare, lost
        )

    def refresh(self, view: str, now: float) -> None:
        """Make a new picture of a view, unless paused, and keep it to step back to."""
        if self.paused:
            self._tasks.note()
            return
        table = self.views[view]
        self._keep_picture()
        self._now, self._view, self._facts = self.as_of(now), view, None
        for cluster in self.clusters.values():
            cluster.intake.settle()
        context, whole = self.context(), self.options.batch
        if table is self._tasks:
            table.refresh(context)
            self.alerts.look(context, whole=whole)
            return
        # What alerts are about is there before them, and they before the overview.
        self._tasks.context = context
        self._tasks.load()
        self.alerts.look(context, whole=whole)
        table.refresh(context)

    def is_lagging(self) -> bool:
        """Whether the last picture lacks what `work` would add."""
        return not self._back and bool(self.views[self._view].waiting)

    def work(self) -> None:
        self.views[self._view].work()

    def refresh_view(self, view: str) -> None:
        """Make the picture of another view, or by other options, as of the same time as before.

        While paused, another window waits until the picture goes on.
        """
        self._back, self._view = 0, view
        if not self.paused:
            self._facts = None
        self.views[view].refresh(self.context())

    def header(self) -> Figures:
        """Return the figures above the tables, of the picture."""
        if self._back:
            return self._pictures[-self._back].header
        if self._facts is None:
            parts, window = self.clusters.parts(self._now), self.options.window
            self._facts = Figures(parts, self.malformed, as_of=self._now, window=window)
        return self._facts

    def freeze(self, now: float) -> None:
        """Let the picture stand still; events are taken in as before."""
        if self.paused:
            return
        self._keep_picture()
        self._now, self._facts = self.as_of(now), None
        self.paused = True
        self.alerts.interrupt()
        for table in self.views.values():
            table.freeze(self.context())
        self.views[self._view].refresh(self.context())
        self.header()

    def thaw(self) -> None:
        """Let the picture go on, from the next refresh."""
        self.paused, self._back = False, 0
        for table in self.views.values():
            table.thaw()

    def step(self, by: int, now: float) -> Picture | None:
        """Go back (-1) or forward (1) to what looked different; None if nothing did.

        An earlier picture is what was on the screen then, in its view, and no more.  Forward
        from the one that was paused at, a new one is made, and paused at.
        """
        kept = self._pictures
        if by > 0 and not self._back:
            self.thaw()
            self.refresh(self._view, now)
            self.freeze(now)
        else:
            # Different are the view, its rows or how many there are, wherever the cursor is.
            before = kept[-self._back] if self._back else self._picture()
            others = range(self._back - by, 0 if by > 0 else len(kept) + 1, -by)
            found = next((back for back in others if kept[-back][:4] != before[:4]), None)
            if found is None and by < 0:
                return None
            self._back = found or 0
        if self._back:
            picture = kept[-self._back]
            self.views[picture.view].show(picture)
            return picture
        self.refresh_view(self._view)
        return self._picture()

    def _keep_picture(self) -> None:
        # Unless nobody looked at it.
        if self._facts is not None and (picture := self._picture()).rows:
            self._pictures.append(picture)

    def _picture(self) -> Picture:
        return self.views[self._view].picture(self.header())

    def diagnosis(self, view: str) -> list[str]:
        """Return lines on why a view shows nothing; [] if it shows something."""
        table, lines = self.views[view], list[str]()
        if len(table):
            return []
        for cluster in self.clusters.values():
            connection = cluster.connection
            if connection.emptiness:
                return [sanitize(f"{connection.emptiness}.")]
            who = f"{cluster.name}: not" if cluster.name else "Not"
            reason = connection.reason[:_REASON_CHARS]
            reason = sanitize(f": {reason}" if reason else ".")
            if connection.status == "connecting":
                lines.append(f"{who} connected yet{reason}")
                lines += [f"{DOCTOR}."] if connection.attempts else []
            elif connection.status != "live" and connection.lost_at is not None:
                age = human_age(max(0.0, self._clock.wall() - connection.lost_at))
                lines.append(f"{who} connected for {age}{reason}")
        if table.filter is not None and table.total:
            searched = " so far" if table.waiting else ""
            hides = f"The filter hides all of {table.total} {table.name}{searched}."
            lines.append(f"{hides} Esc clears it, / changes it.")
            return [*lines, *map(sanitize, (*table.notes(), *table.filter.hints()))]
        lines.append(_NOTHING_YET[view].format(window=table.context.window))
        return [*lines, *self._silence(view)]

    def _silence(self, view: str) -> Iterator[str]:
        clusters = self.clusters.values()
        is_asked = any(cluster.survey is not None for cluster in clusters)
        if view == "queues" and not (is_asked or self.options.read):
            yield "The workers are not asked which queues they consume: --read-only or --no-ask."
        intakes = [cluster.intake for cluster in clusters]
        if not any(intake.events for intake in intakes):
            live = all(cluster.connection.status == "live" for cluster in clusters)
            yield from _SILENCE if live else ()
        elif view in ("tasks", "types", "errors") and not any(one.has_tasks for one in intakes):
            workers = {
                f"{one.name} {name}".lstrip(): worker
                for one in clusters
                for name, worker in one.state.workers.items()
            }
            if workers:
                names = [sanitize(name[:80]) for name in sorted(workers)[:_NAMES_MAX]]
                more = ["..."] if len(workers) > _NAMES_MAX else []
                sending = "1 worker is" if len(workers) == 1 else f"{len(workers)} workers are"
                yield f"{sending} sending heartbeats but no task events:"
                yield f"{', '.join(names + more)}."
            yield from _EVENTS_OFF
            if busy := sum(bool(worker.active) for worker in workers.values()):
                yield f"{busy} of them report{'s' * (busy == 1)} running tasks right now."
        elif view == "queues" and not any(intake.has_sent for intake in intakes):
            yield from _SENT_OFF
        elif view == "workers":
            yield "Only events of clients have been received, and no heartbeat of any worker."


# --- what alerts are about --------------------------------------------------------------

#: How many tasks alerts are asked about between two looks at the clock.
_STRIDE: Final = 500
#: How long alerts work at once, in seconds: keys are waiting.
_ALERT_BUDGET: Final = 0.004
#: How many changes of alerts wait to be asked for.
_CHANGES_MAX: Final = 100
_SUMMARIES: Final[Mapping[str, Callable[[Clusters], TableModel]]] = {
    "types": TypesView, "workers": WorkersView, "queues": QueuesView, "errors": ErrorsView,
}  # fmt: skip


class AlertTables:
    """The alerts, and the rows that they are about; `tables` are those of the screen, by view.

    Types, workers, queues and errors are in tables of their own, one for each view and window, as
    those of the screen may be in another window.  They are looked at in turn, and so are the tasks,
    some hundred at once, for no longer than the `_ALERT_BUDGET` but for one step at least; what is
    left is for `work`.  Events are counted as they come.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        clusters: Clusters,
        tables: Mapping[str, TableModel],
        clock: Clock,
        *,
        zone: tzinfo,
    ) -> None:
        self._clock, self._tasks, self._events = clock, tables["tasks"], tables["events"]
        self._context = RenderContext(0.0)
        self._summaries: dict[tuple[str, str], TableModel] = {}
        self._by_place: dict[tuple[str, str], list[Alert]] = {}
        self.alerts: list[Alert] = []
        for rule in rules:
            table = tables[rule.view]
            if rule.view in _SUMMARIES:
                table = self._summaries.setdefault(
                    (rule.view, rule.window), _SUMMARIES[rule.view](clusters)
                )
            chosen = rule.compile(table.fields, zone=zone, now=lambda: self._context.now)
            self.alerts.append(alert := Alert(rule, chosen))
            self._by_place.setdefault((rule.view, rule.window), []).append(alert)
        self._on_events = [alert for alert in self.alerts if alert.rule.view == "events"]
        self._on_tasks = self._by_place.get(("tasks", ""), [])
        #: What is left of this round, if anything, and what became of alerts since `changes`.
        self._round: Iterator[None] | None = None
        self._changes: deque[Change] = deque(maxlen=_CHANGES_MAX)

    def take(self, events: Sequence[Event]) -> None:
        """Count the events that alerts are about."""
        take_events(self._on_events, events, self._events.record_of)

    def look(self, context: RenderContext, *, whole: bool = False) -> None:
        """Look at what alerts are about, as of `context.now`: at a part, or the `whole` of it."""
        if not self.alerts:
            return
        self._context = context
        for alert in self._on_events:
            self._note(alert.look_at_events(context.now))
        self._round = (None if whole else self._round) or self._look_at_rows()
        self.work(math.inf if whole else _ALERT_BUDGET)

    @property
    def waiting(self) -> bool:
        """Whether there is something left for `work`."""
        return self._round is not None

    def work(self, budget: float = _ALERT_BUDGET) -> None:
        """Go on with what the last look had no time for; `budget` is in seconds."""
        began = self._clock.monotonic()
        for _ in self._round or ():
            if self._clock.monotonic() - began > budget:
                return
        self._round = None

    def _look_at_rows(self) -> Iterator[None]:
        # A round through all rows that alerts are about; it can be interrupted where it yields.
        for (view, window), table in self._summaries.items():
            wide: Any = window
            table.context = replace(self._context, window=wide, compare="off")
            table.load()
            for alert in self._by_place[view, window]:
                rows = list(filter(alert.filter.matches, table.rows.values()))
                self._note(alert.look(len(rows), map(title_of, rows), self._context.now))
            yield
        if self._on_tasks:
            yield from self._look_at_tasks()

    def _look_at_tasks(self) -> Iterator[None]:
        subjects, matched = self._tasks.rows, [0] * len(self._on_tasks)
        keys = list(subjects)
        names = [deque[str](maxlen=NAMES_MAX + 1) for _ in matched]
        for start in range(0, len(keys), _STRIDE):
            yield
            tasks = list(filter(None, map(subjects.get, keys[start : start + _STRIDE])))
            for number, alert in enumerate(self._on_tasks):
                found = list(filter(alert.filter.matches, tasks))
                matched[number] += len(found)
                names[number].extend(map(title_of_task, found[-NAMES_MAX - 1 :]))
        for alert, count, some in zip(self._on_tasks, matched, names, strict=True):
            # The newest come last.
            self._note(alert.look(count, reversed(some), self._context.now))

    def _note(self, change: Change | None) -> None:
        if change is not None:
            self._changes.append(change)

    def interrupt(self) -> None:
        """Know that nothing is looked at for a while."""
        self._round = None
        for alert in self.alerts:
            alert.interrupt()

    def changes(self) -> list[Change]:
        """Return what has become of alerts since it was last asked for."""
        changes = list(self._changes)
        self._changes.clear()
        return changes

    def firing(self) -> list[Alert]:
        """Return the alerts that fire, the critical ones first, the oldest of them first."""
        firing = [alert for alert in self.alerts if alert.fires]
        return sorted(firing, key=lambda one: (LEVELS.index(one.rule.level), one.since or 0.0))

    def watches(self, view: str) -> bool:
        """Return whether an alert is about the rows of a view."""
        return any(alert.rule.view == view for alert in self.alerts)

    def queues(self) -> list[Any]:
        """Return the rows of queues that alerts are about, for which the broker is to be asked."""
        return [
            row
            for (view, _), table in self._summaries.items()
            if view == "queues"
            for row in table.rows.values()
        ]


#: How many workers are named.
_NAMES_MAX: Final = 5
_REASON_CHARS: Final = 300

_SILENCE: Final = (
    "Nothing has been received so far. Workers send a heartbeat every few seconds, so",
    "either none is running (or all run with --without-heartbeat), or they use",
    "another broker, virtual host, database, event exchange or key prefix.",
    f"{DOCTOR}.",
)
_EVENTS_OFF: Final = (
    "Task events are off, or there are no tasks. To enable them: start workers",
    "with -E, set worker_send_task_events, or press a on a worker (view 3) and",
    "choose to enable events.",
)
_SENT_OFF: Final = (
    "Queues are known from task-sent events and from workers that say what they consume.",
    "No such event has been received: task_send_sent_event is off in the clients, or",
    "nothing has been sent since then.",
)
_NOTHING_YET: Final = {
    "overview": "Nothing needs attention.",
    "tasks": "No tasks yet.",
    "types": "No tasks yet.",
    "workers": "No workers seen yet.",
    "queues": "No queues seen yet.",
    "events": "No events yet.",
    "errors": "No failures in the window {window}.",
}
