"""`--check`: whether workers are alive, consuming and busy, in one line and a status."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from evtools.clock import Clock, SystemClock
from evtools.errors import BrokerUnavailable, EvtoolsError
from evtools.state import Worker
from evtools.text import human_duration, sanitize
from evtools.top.feed import open_source, watched
from evtools.top.options import Check, TopOptions
from evtools.top.status import ConnectionStatus
from evtools.transport import ConnectionSettings, Replies, call, explain
from evtools.wire import Event

Level: TypeAlias = Literal["OK", "WARNING", "CRITICAL", "UNKNOWN"]

#: The status a plugin of Nagios ends with.
STATUSES: Final[dict[Level, int]] = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}
_WORST_FIRST: Final[tuple[Level, ...]] = ("CRITICAL", "WARNING", "UNKNOWN", "OK")
#: Events are looked at this often, in seconds.
_TICK: Final = 0.25
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


def run(options: TopOptions, settings: ConnectionSettings) -> int:
    """Print the result for the workers; return a status as Nagios has it.

    What keeps it from finding out is UNKNOWN.
    """
    check, patience = options.check, options.refresh
    assert check is not None
    try:
        seen = observe(options, check, settings, SystemClock())
        results = [result for one in seen for result in one.results(check, patience)]
    except EvtoolsError as error:
        seen, results = [], [("UNKNOWN", error.message)]
    level, line = report(results, seen, patience)
    print(line)  # noqa: T201  (its answer)
    return STATUSES[level]


def observe(
    options: TopOptions, check: Check, settings: ConnectionSettings, clock: Clock
) -> list[Observation]:
    """Listen until all workers have shown what they must, or time is up; then ask them.

    Raise EvtoolsError when the broker cannot be reached.
    """
    # Heartbeats are enough, and a busy cluster has few of them.
    settings = replace(watched(options, settings), routing_keys=("worker.#",))
    seen = {name: Observation(name) for name in check.workers}
    began = clock.monotonic()
    end = began + max(options.refresh, check.max_idle or 0.0)
    # A simulated cluster answers only while it is there.
    with ExitStack() as stack:
        connection = ConnectionStatus(clock)
        source = open_source(options, [settings], connection.apply, clock=clock, stack=stack)
        for events in source.events(_TICK):
            for event in events:
                if event.hostname in seen and event.type.startswith("worker-"):
                    seen[event.hostname].take(event)
            if all(one.suffices(check) for one in seen.values()):
                break
            if clock.monotonic() >= end:
                if connection.status != "live":
                    raise BrokerUnavailable(connection.cause)
                break
        # While they answer, or do not, heartbeats grow old.
        looked, now = clock.monotonic() - began, clock.wall()
        replies = None if settings.read_only else ask(check, settings)
    for one in seen.values():
        one.conclude(looked, now, replies)
    return list(seen.values())


def ask(check: Check, settings: ConnectionSettings) -> Replies:
    """Ask the workers for the queues they consume, if that matters, or just for a pong."""
    command = "active_queues" if check.queues else "ping"
    try:
        return call(settings, command, destination=check.workers, deadline=_ANSWER)
    except Exception as exc:
        raise explain(exc, settings) from exc


def report(
    results: Sequence[Result], seen: Sequence[Observation], patience: float
) -> tuple[Level, str]:
    """Return the worst level, and the line that Nagios reads: the level, why, and figures."""
    results = sorted(results, key=lambda result: _WORST_FIRST.index(result[0]))
    text = "; ".join(text for _, text in results).replace("|", "/")
    figures = " ".join(figure for one in seen for figure in one.figures(patience))
    level = results[0][0]
    return level, f"{level} - {text}" + (f" | {figures}" if figures else "")
