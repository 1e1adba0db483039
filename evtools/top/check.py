"""`--check`: whether workers are alive and busy, and alerts fire, in one line and a status."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from evtools.alerts import Alert
from evtools.clock import Clock, SystemClock
from evtools.errors import BrokerUnavailable, EvtoolsError
from evtools.state import Worker
from evtools.text import human_duration, sanitize
from evtools.top.feed import BrokerStats, open_source, watched
from evtools.top.model import Model
from evtools.top.options import Check, TopOptions
from evtools.top.status import ConnectionStatus
from evtools.top.survey import Inspector
from evtools.transport import ConnectionSettings, Notice, Replies, call, explain
from evtools.transport.queues import Gauge
from evtools.wire import Event
from evtools.wire.redact import redactor

Level: TypeAlias = Literal["OK", "WARNING", "CRITICAL", "UNKNOWN"]

#: The status a plugin of Nagios ends with.
STATUSES: Final[dict[Level, int]] = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}
_WORST_FIRST: Final[tuple[Level, ...]] = ("CRITICAL", "WARNING", "UNKNOWN", "OK")
#: Events are looked at this often, in seconds.
_TICK: Final = 0.25
#: Alerts are looked at this often, in seconds.
_LOOK: Final = 1.0
#: How long a worker may take to answer, in seconds.
_ANSWER: Final = 2.0
#: A level and why.
Result: TypeAlias = tuple[Level, str]


@dataclass(slots=True)
class Observation:
    """What is known of a worker from its events and its answer, after `looked` seconds.

    `age` is that of its last event, None if there was none; `processes` is how many use its
    name.  `answers` and `queues` come from its reply, None if it was not asked.
    """

    name: str
    worker: Worker = field(default_factory=Worker)
    last_seen: float | None = None
    looked: float = 0.0
    age: float | None = None
    processes: int = 1
    answers: bool | None = None
    queues: tuple[str, ...] | None = None

    @property
    def done(self) -> int | None:
        """How many tasks were processed meanwhile, None if it did not report that twice."""
        return self.worker.lives.done

    def take(self, event: Event) -> None:
        self.last_seen = event.local_received
        self.worker.take(event)

    def suffices(self, check: Check) -> bool:
        """Return whether nothing better can be seen."""
        alive = self.last_seen is not None and self.worker.goodbye is None
        return alive and (check.max_idle is None or bool(self.done))

    def conclude(self, looked: float, now: float, replies: Replies | None) -> None:
        """Add how long it was observed, until when, and what it answered if it was asked."""
        self.looked = looked
        self.age = None if self.last_seen is None else max(0.0, now - self.last_seen)
        self.processes = self.worker.processes(now)
        if replies is not None:
            self.answers = self.name in replies.by_node
            answer = replies.by_node.get(self.name)
            if isinstance(answer, list):  # the reply to active_queues, whatever is in it
                names = [queue.get("name") for queue in answer if isinstance(queue, dict)]
                self.queues = tuple(name for name in names if isinstance(name, str))

    def results(self, check: Check, patience: float) -> list[Result]:
        """Return all that is wrong, or that all is well; a heartbeat may be `patience` old."""
        found = list(self._problems(check, patience))
        if not found:
            text = f"is alive, heartbeat {human_duration(self.age or 0.0)} ago"
            if check.queues:
                text += ", consumes " + " ".join(map(sanitize, check.queues))
            if check.max_idle is not None:
                noun = "task" if self.done == 1 else "tasks"
                text += f", {self.done} {noun} in {human_duration(self.looked)}"
            found = [("OK", text)]
        return [(level, f"{sanitize(self.name)} {text}") for level, text in found]

    def _problems(self, check: Check, patience: float) -> Iterator[Result]:
        if self.worker.goodbye is not None:
            yield "CRITICAL", "has shut down"
            return
        silent = f"sent no heartbeat in {human_duration(patience)}"
        if self.age is None or self.age > patience:
            if self.answers:
                yield "WARNING", f"answers, but {silent}"
            else:
                yield "CRITICAL", silent + ("" if self.answers is None else " and does not answer")
        elif self.answers is False:
            yield "WARNING", "sends heartbeats, but does not answer"
        if self.processes > 1:
            yield "WARNING", f"is the name of {self.processes} processes"
        if check.queues and self.answers is None:
            yield "UNKNOWN", "was not asked what it consumes: --read-only"
        for queue in check.queues:
            if self.queues is not None and queue not in self.queues:
                yield "CRITICAL", f"does not consume {sanitize(queue)}"
        if check.max_idle is not None and not self.done and self.age is not None:
            span = human_duration(self.looked)
            if self.done is None:
                yield "UNKNOWN", f"did not report in {span} what it has processed"
            else:
                yield "CRITICAL", f"has processed no task in {span}"

    def figures(self, patience: float) -> Iterator[str]:
        """Yield the figures as Nagios reads them."""
        name = sanitize(self.name).replace("'", "''").replace("=", "_").replace("|", "/")
        if self.age is not None:
            yield f"'{name} heartbeat_age'={self.age:.3f}s;;{patience:g};0"
        if self.worker.processed is not None:
            yield f"'{name} processed'={self.worker.processed}c"
        if self.worker.active is not None:
            yield f"'{name} active'={self.worker.active};;;0"


class AlertWatch:
    """The alerts that are checked, in a model of what they are about.

    `stack` closes what it asks the workers and the broker with.
    """

    def __init__(
        self, options: TopOptions, check: Check, settings: ConnectionSettings, clock: Clock,
        stack: ExitStack,
    ) -> None:  # fmt: skip
        # Each look is at all there is.
        options = replace(options, alerts=check.alerts, batch=True)
        self.model = Model(clock=clock, options=options, names=[settings.cluster])
        self.alerts = self.model.alerts.alerts
        self._clock, self._redact = clock, redactor(options.redact)
        self._cluster = cluster = self.model.clusters.of(settings.cluster)
        self.connection = cluster.connection
        self._due = clock.monotonic()
        self._looked = 0.0
        if options.ask and not settings.read_only:
            inspector = Inspector(settings, lambda: None, clock=clock)
            stack.callback(inspector.close)
            cluster.ask(inspector, self._redact)
        views = {rule.view for rule in check.alerts}
        if options.broker_stats and views & {"queues", "types"}:
            cluster.stats = BrokerStats(
                Gauge(settings), lambda: None, clock=clock, redact=self._redact
            )
            cluster.asks_broker = True
            cluster.stats.watch_plan(wanted="types" in views)
            cluster.stats.start()
            stack.callback(cluster.stats.close)

    def apply(self, notice: Notice) -> None:
        """Apply a notice of the source."""
        self.connection.apply(notice)
        if self._cluster.survey is not None and notice.kind in ("listening", "restored"):
            self._cluster.survey.begin(self._clock.wall())

    def take(self, events: list[Event]) -> None:
        """Take in events, and look at the alerts every now and then."""
        if self._redact is not None:
            events = list(map(self._redact.of_event, events))
        self.model.take(events)
        survey, now = self._cluster.survey, self._clock.wall()
        if survey is not None:
            survey.take(now)
            survey.go_on(now)
        if self._clock.monotonic() >= self._due:
            self._due = self._clock.monotonic() + _LOOK
            self.look()

    def look(self) -> None:
        """Look at all alerts."""
        self.model.refresh("tasks", self._clock.wall())
        self._cluster.watch_queues(self.model.alerts.queues())

    def suffices(self) -> bool:
        """Return whether nothing else can come of it."""
        return all(alert.fires for alert in self.alerts)

    def results(self, looked: float) -> list[Result]:
        """Return what fires and what is not known after `looked` seconds, or that none fires."""
        found: list[Result] = []
        for alert in self.alerts:
            rule = alert.rule
            if alert.fires:
                level: Level = "CRITICAL" if rule.level == "critical" else "WARNING"
                found.append((level, f"{rule.name} fires: {rule.about}: {alert.found()}"))
            elif why := self._why_unknown(alert):
                found.append(("UNKNOWN", f"{rule.name}: {why}"))
        span = human_duration(looked)
        if found:
            return found
        if not self._cluster.intake.events:
            return [("UNKNOWN", f"no event was received in {span}")]
        return [("OK", f"no alert fires of {len(self.alerts)}, watched for {span}")]

    def _why_unknown(self, alert: Alert) -> str:
        rule, now = alert.rule, self.model.context().now
        if alert.since is not None:
            held, hold = map(human_duration, (max(0.0, now - alert.since), rule.hold))
            return f"{alert.found()} for {held}, and it fires after {hold}: give a longer -d"
        # Of types and workers what is not known has not happened.
        rows = self.model.alerts.queues() if rule.view == "queues" else ()
        is_known = any(row.depth.ready is not None for row in rows)
        if rule.view in ("tasks", "events") or (rows and not is_known):
            notes = alert.filter.unknown(rule.view)
            error = self._cluster.broker_facts().error if rule.view == "queues" else ""
            return "; ".join(filter(None, [*notes[:1], sanitize(error) if notes else ""]))
        return ""

    def figures(self) -> Iterator[str]:
        """Yield how many rows or events match each, as Nagios reads it."""
        for alert in self.alerts:
            yield f"'{alert.rule.name} matched'={alert.matched};;;0"


def run(options: TopOptions, settings: ConnectionSettings) -> int:
    """Print the result for workers and alerts; return a status as Nagios has it.

    What keeps it from finding out is UNKNOWN.
    """
    check, patience = options.check, options.refresh
    assert check is not None
    figures: list[str] = []
    try:
        seen, watch, looked = observe(options, check, settings, SystemClock())
        results = [result for one in seen for result in one.results(check, patience)]
        figures += (figure for one in seen for figure in one.figures(patience))
        if watch is not None:
            results += watch.results(looked)
            figures += watch.figures()
    except EvtoolsError as error:
        results = [("UNKNOWN", error.message)]
    level, line = report(results, figures)
    print(line)  # noqa: T201  (its answer)
    return STATUSES[level]


def observe(
    options: TopOptions, check: Check, settings: ConnectionSettings, clock: Clock
) -> tuple[list[Observation], AlertWatch | None, float]:
    """Listen until workers have shown what they must and alerts fire, or time is up; ask workers.

    Return the workers, the alerts if any are checked, and for how many seconds.  Raise EvtoolsError
    when the broker cannot be reached.
    """
    settings = watched(options, settings)
    if not check.alerts:
        # Heartbeats are enough, and a busy cluster has few of them.
        settings = replace(settings, routing_keys=("worker.#",))
    seen = {name: Observation(name) for name in check.workers}
    # A simulated cluster answers only while it is there.
    with ExitStack() as stack:
        watch = AlertWatch(options, check, settings, clock, stack) if check.alerts else None
        connection = ConnectionStatus(clock) if watch is None else watch.connection
        apply = connection.apply if watch is None else watch.apply
        began = clock.monotonic()
        times = [options.refresh, check.max_idle or 0.0] if seen or watch is None else []
        end = began + max([*times, check.watch if watch is not None else 0.0])
        source = open_source(options, [settings], apply, clock=clock, stack=stack)
        for events in source.events(_TICK):
            for event in events:
                if event.hostname in seen and event.type.startswith("worker-"):
                    seen[event.hostname].take(event)
            if watch is not None:
                watch.take(events)
            all_fire = watch is None or watch.suffices()
            if all_fire and all(one.suffices(check) for one in seen.values()):
                break
            if clock.monotonic() >= end:
                if connection.status != "live":
                    raise BrokerUnavailable(connection.cause)
                if watch is not None:
                    watch.look()
                break
        # While they answer, or do not, heartbeats grow old.
        looked, now = clock.monotonic() - began, clock.wall()
        replies = None if settings.read_only or not seen else ask(check, settings)
    for one in seen.values():
        one.conclude(looked, now, replies)
    return list(seen.values()), watch, looked


def ask(check: Check, settings: ConnectionSettings) -> Replies:
    """Ask the workers for the queues they consume, if that matters, or just for a pong."""
    command = "active_queues" if check.queues else "ping"
    try:
        return call(settings, command, destination=check.workers, deadline=_ANSWER)
    except Exception as exc:
        raise explain(exc, settings) from exc


def report(results: Sequence[Result], figures: Iterable[str] = ()) -> tuple[Level, str]:
    """Return the worst level, and the line that Nagios reads: the level, why, and figures."""
    results = sorted(results, key=lambda result: _WORST_FIRST.index(result[0]))
    text = "; ".join(text for _, text in results).replace("|", "/")
    level, after = results[0][0], " ".join(figures)
    return level, f"{level} - {text}" + (f" | {after}" if after else "")
