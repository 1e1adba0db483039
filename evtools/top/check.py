"""`--check`: is a worker alive, consuming and busy? One line, and a status."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Final

from evtools.clock import Clock, SystemClock
from evtools.errors import BrokerUnavailable, EvtoolsError
from evtools.state import Worker
from evtools.top.options import Check, TopOptions
from evtools.top.source import open_source, watched
from evtools.top.verdict import STATUSES, Sighting, Verdict, judge, line
from evtools.transport import ConnectionSettings, Notice, Replies, call, explain
from evtools.wire import EventFields, from_fields

#: Events are looked at this often, in seconds.
_TICK: Final = 0.25
#: How long a worker may take to answer, in seconds.
_ANSWER: Final = 2.0


def run(options: TopOptions, settings: ConnectionSettings) -> int:
    """Print what there is to say of the workers; return a status as Nagios has it.

    What keeps us from finding out is UNKNOWN.
    """
    assert options.check is not None
    patience = options.refresh
    try:
        seen = look(options, settings, SystemClock())
        verdicts = judge(options.check, seen, patience=patience)
    except EvtoolsError as error:
        seen, verdicts = [], [Verdict("UNKNOWN", error.message)]
    print(line(verdicts, seen, patience))  # noqa: T201  (its answer)
    return STATUSES[verdicts[0].level]


def look(options: TopOptions, settings: ConnectionSettings, clock: Clock) -> list[Sighting]:
    """Listen until all workers have shown what they must, or time is up; then ask.

    Raise EvtoolsError when the broker cannot be reached.
    """
    check = options.check
    assert check is not None
    # Heartbeats say all we need, and a busy cluster has few of them.
    settings = replace(watched(options, settings), routing_keys=("worker.#",))
    pulses = {name: Pulse() for name in check.workers}
    began = clock.monotonic()
    end = began + max(options.refresh, check.max_idle or 0.0)
    # A simulated cluster answers only while it is there.
    with ExitStack() as stack:
        connection = _Connection()
        source = open_source(options, settings, connection.hear, clock=clock, stack=stack)
        for events in source.batches(_TICK):
            _take(pulses, events)
            if all(pulse.suffices(check) for pulse in pulses.values()):
                break
            if clock.monotonic() >= end:
                connection.require()
                break
        looked, now = clock.monotonic() - began, clock.wall()
        # While they answer, or do not, heartbeats grow old.
        asked = None if settings.read_only else ask(check, settings)
    return [_sighting(name, pulses[name], asked, looked, now) for name in pulses]


def ask(check: Check, settings: ConnectionSettings) -> Replies:
    """Ask the workers what they consume, if that matters, or just for a pong."""
    command = "active_queues" if check.queues else "ping"
    try:
        return call(settings, command, destination=check.workers, deadline=_ANSWER)
    except Exception as exc:
        raise explain(exc, settings) from exc


class _Connection:
    """Whether there is one, and why not."""

    def __init__(self) -> None:
        self._live = False
        self._why = "no connection"

    def hear(self, notice: Notice) -> None:
        """Take in what the source tells."""
        self._live = notice.kind in ("listening", "restored")
        if not self._live:
            self._why = notice.text.rpartition("; trying again")[0] or notice.text

    def require(self) -> None:
        """Raise BrokerUnavailable where nothing could be seen for lack of it."""
        if not self._live:
            raise BrokerUnavailable(self._why)


@dataclass(slots=True)
class Pulse:
    """What the events of one worker have told so far.

    `heard` is when the last one came, in UTC epoch seconds.
    """

    heard: float | None = None
    worker: Worker = field(default_factory=Worker)

    def take(self, event: EventFields) -> None:
        """Take in an event of the worker."""
        typed = from_fields(event)
        self.heard = typed.local_received
        self.worker.take(typed)

    @property
    def stopped(self) -> bool:
        """Whether it said goodbye."""
        return self.worker.goodbye is not None

    @property
    def done(self) -> int | None:
        """How many tasks were processed while we looked, None if it is unknown."""
        return self.worker.lives.done

    def suffices(self, check: Check) -> bool:
        """Return whether nothing better can be seen."""
        alive = self.heard is not None and not self.stopped
        return alive and (check.max_idle is None or bool(self.done))


def _take(pulses: Mapping[str, Pulse], events: Iterable[EventFields]) -> None:
    for event in events:
        name, kind = event.get("hostname"), event["type"]
        if isinstance(name, str) and name in pulses and kind.startswith("worker-"):
            pulses[name].take(event)


def _sighting(
    name: str, pulse: Pulse, asked: Replies | None, looked: float, now: float
) -> Sighting:
    return Sighting(
        name,
        looked,
        age=None if pulse.heard is None else max(0.0, now - pulse.heard),
        stopped=pulse.stopped,
        processed=pulse.worker.processed,
        done=pulse.done,
        active=pulse.worker.active,
        processes=pulse.worker.processes(now),
        answers=None if asked is None else name in asked.by_node,
        queues=None if asked is None else _queues(asked.by_node.get(name)),
    )


def _queues(answer: Any) -> tuple[str, ...] | None:
    """Return the names in a worker's reply to active_queues."""
    if not isinstance(answer, list):
        return None
    return tuple(_names(answer))


def _names(answer: list[Any]) -> Iterator[str]:
    for queue in answer:
        name = queue.get("name") if isinstance(queue, dict) else None
        if isinstance(name, str):
            yield name
