"""`--check`: whether workers are alive, consuming and busy, in one line and a status."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple, TypeAlias

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


class Result(NamedTuple):
    """A level and why."""

    level: Level
    text: str


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

    def take(self, event: Event) -> None:
        """Apply an event of the worker."""
        self.last_seen = event.local_received
        self.worker.take(event)

    @property
    def stopped(self) -> bool:
        """Whether it has shut down."""
        return self.worker.goodbye is not None

    @property
    def done(self) -> int | None:
        """How many tasks were processed meanwhile, None if it did not report that twice."""
        return self.worker.lives.done

    def suffices(self, check: Check) -> bool:
        """Return whether nothing better can be seen."""
        alive = self.last_seen is not None and not self.stopped
        return alive and (check.max_idle is None or bool(self.done))

    def conclude(self, looked: float, now: float, replies: Replies | None) -> None:
        """Add how long it was observed, until when, and what it answered if it was asked."""
        self.looked = looked
        self.age = None if self.last_seen is None else max(0.0, now - self.last_seen)
        self.processes = self.worker.processes(now)
        if replies is not None:
            self.answers = self.name in replies.by_node
            self.queues = queue_names(replies.by_node.get(self.name))


def run(options: TopOptions, settings: ConnectionSettings) -> int:
    """Print the result for the workers; return a status as Nagios has it.

    What keeps it from finding out is UNKNOWN.
    """
    assert options.check is not None
    patience = options.refresh
    try:
        seen = observe(options, settings, SystemClock())
        results = judge(options.check, seen, patience=patience)
    except EvtoolsError as error:
        seen, results = [], [Result("UNKNOWN", error.message)]
    print(line(results, seen, patience))  # noqa: T201  (its answer)
    return STATUSES[results[0].level]


def observe(options: TopOptions, settings: ConnectionSettings, clock: Clock) -> list[Observation]:
    """Listen until all workers have shown what they must, or time is up; then ask them.

    Raise EvtoolsError when the broker cannot be reached.
    """
    check = options.check
    assert check is not None
    # Heartbeats are enough, and a busy cluster has few of them.
    settings = replace(watched(options, settings), routing_keys=("worker.#",))
    seen = {name: Observation(name) for name in check.workers}
    began = clock.monotonic()
    end = began + max(options.refresh, check.max_idle or 0.0)
    # A simulated cluster answers only while it is there.
    with ExitStack() as stack:
        connection = ConnectionStatus(clock)
        source = open_source(options, settings, connection.apply, clock=clock, stack=stack)
        for events in source.events(_TICK):
            for event in events:
                if event.hostname in seen and event.type.startswith("worker-"):
                    seen[event.hostname].take(event)
            if all(each.suffices(check) for each in seen.values()):
                break
            if clock.monotonic() >= end:
                if connection.status != "live":
                    raise BrokerUnavailable(connection.cause)
                break
        # While they answer, or do not, heartbeats grow old.
        looked, now = clock.monotonic() - began, clock.wall()
        replies = None if settings.read_only else ask(check, settings)
    for each in seen.values():
        each.conclude(looked, now, replies)
    return list(seen.values())


def ask(check: Check, settings: ConnectionSettings) -> Replies:
    """Ask the workers for the queues they consume, if that matters, or just for a pong."""
    command = "active_queues" if check.queues else "ping"
    try:
        return call(settings, command, destination=check.workers, deadline=_ANSWER)
    except Exception as exc:
        raise explain(exc, settings) from exc


def queue_names(answer: Any) -> tuple[str, ...] | None:
    """Return the names in a worker's reply to active_queues, None if it is not one."""
    if not isinstance(answer, list):
        return None
    names = [queue.get("name") for queue in answer if isinstance(queue, dict)]
    return tuple(name for name in names if isinstance(name, str))


# --- the result -----------------------------------------------------------------


def judge(check: Check, seen: Sequence[Observation], *, patience: float) -> list[Result]:
    """Return all results, the worst first; `patience` is the age limit of a heartbeat."""
    results = [
        Result(level, f"{sanitize(one.name)} {text}")
        for one in seen
        for level, text in list(_problems(check, one, patience)) or [("OK", _well(check, one))]
    ]
    return sorted(results, key=lambda result: _WORST_FIRST.index(result.level))


def _problems(check: Check, one: Observation, patience: float) -> Iterator[tuple[Level, str]]:
    if one.stopped:
        yield "CRITICAL", "has shut down"
        return
    beats = one.age is not None and one.age <= patience
    silent = f"sent no heartbeat in {human_duration(patience)}"
    if not beats and one.answers:
        yield "WARNING", f"answers, but {silent}"
    elif not beats:
        yield "CRITICAL", silent + ("" if one.answers is None else " and does not answer")
    elif one.answers is False:
        yield "WARNING", "sends heartbeats, but does not answer"
    if one.processes > 1:
        yield "WARNING", f"is the name of {one.processes} processes"
    if check.queues and one.answers is None:
        yield "UNKNOWN", "was not asked what it consumes: --read-only"
    for queue in check.queues:
        if one.queues is not None and queue not in one.queues:
            yield "CRITICAL", f"does not consume {sanitize(queue)}"
    if check.max_idle is not None and not one.done and one.age is not None:
        span = human_duration(one.looked)
        if one.done is None:
            yield "UNKNOWN", f"did not report in {span} what it has processed"
        else:
            yield "CRITICAL", f"has processed no task in {span}"


def _well(check: Check, one: Observation) -> str:
    parts = [f"is alive, heartbeat {human_duration(one.age or 0.0)} ago"]
    if check.queues:
        parts.append("consumes " + " ".join(map(sanitize, check.queues)))
    if check.max_idle is not None:
        noun = "task" if one.done == 1 else "tasks"
        parts.append(f"{one.done} {noun} in {human_duration(one.looked)}")
    return ", ".join(parts)


def line(results: Sequence[Result], seen: Sequence[Observation], patience: float) -> str:
    """Return the line that Nagios reads: the level, why, and figures."""
    text = "; ".join(result.text for result in results).replace("|", "/")
    figures = " ".join(figure for one in seen for figure in _figures(one, patience))
    return f"{results[0].level} - {text}" + (f" | {figures}" if figures else "")


def _figures(one: Observation, patience: float) -> Iterator[str]:
    name = sanitize(one.name).replace("'", "''").replace("=", "_").replace("|", "/")
    if one.age is not None:
        yield f"'{name} heartbeat_age'={one.age:.3f}s;;{patience:g};0"
    if one.worker.processed is not None:
        yield f"'{name} processed'={one.worker.processed}c"
    if one.worker.active is not None:
        yield f"'{name} active'={one.worker.active};;;0"
