"""The queues of a cluster as its broker and its workers describe them, asked in a thread."""

import logging
import math
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from evtools.cam.log import named, reason
from evtools.clock import Clock, SystemClock
from evtools.errors import EvtoolsError
from evtools.rows import NO_FACTS, PLAN_EVERY, QUEUES_MAX, QueueFacts, WorkerFacts, with_depths
from evtools.state.inspection import pool_size, queue_names
from evtools.transport import ConnectionSettings, call, explain
from evtools.transport.queues import Depth, Gauge, Plan
from evtools.wire.redact import MASK, Redactor

_log = logging.getLogger(__name__)

#: How often the broker is asked, and how often the workers are, in seconds.
EVERY: Final = 10.0
_WORKERS_EVERY: Final = 60.0
#: What was said is taken for true for so long, in seconds, beyond the time that it took to ask.
_TRUE_FOR: Final = 3 * EVERY
_WORKERS_TRUE_FOR: Final = 3 * _WORKERS_EVERY
#: How long replies of workers are waited for, in seconds.
_DEADLINE: Final = 2.0
#: What RedBeat plans is taken for true for so long, in seconds.
_PLAN_TRUE_FOR: Final = 3 * PLAN_EVERY


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What the broker says of a queue, and how many workers consume it, with how many processes.

    None where that is not known.
    """

    depth: Depth
    workers: int | None = None
    processes: int | None = None


class Asks(Protocol):
    """Asks a broker about queues, as `Gauge` does."""

    def look(self, queues: Iterable[str], *, oldest: bool = False) -> Mapping[str, Depth]: ...
    def plan(self) -> Plan: ...
    def close(self) -> None: ...


class QueueWatch(threading.Thread):
    """Keep at hand what is said of the queues with these `names`, and of those that are noted.

    With `asks_workers`, and unless the settings are read-only, the workers are asked once a minute
    which queues they consume and how large their pools are; these queues are asked about, too.
    With `reads_plans`, what RedBeat plans is read as well.  Names that `redact` masks are asked
    about under their own name and known by the mask.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        names: Iterable[str] = (),
        *,
        asks_workers: bool = True,
        reads_plans: bool = False,
        redact: Redactor | None = None,
        clock: Clock | None = None,
        gauge: Asks | None = None,
    ) -> None:
        super().__init__(name="evtools-queues", daemon=True)
        self._settings, self._names, self._redact = settings, tuple(names), redact
        self._asks_workers = asks_workers and not settings.read_only
        self._clock, self._gauge = clock or SystemClock(), gauge or Gauge(settings)
        self._reads_plans = reads_plans
        #: What RedBeat plans, when it said so (wall clock), and when it was asked (monotonic).
        self._plan, self._planned_at, self._plan_read_at = Plan(), 0.0, -math.inf
        self._noted: frozenset[str] = frozenset()
        #: The same as in `known`, by name, and the depths of the last minutes.
        self._facts = NO_FACTS
        #: What was said last, when by the monotonic clock, and how long it took to ask.
        self._known: Sequence[tuple[str, QueueStatus]] = ()
        self._at, self._took = -math.inf, 0.0
        #: The queues that each worker consumes and the size of its pool, and when it said so.
        self._workers: Mapping[str, tuple[tuple[str, ...], int | None]] | None = None
        self._workers_at = self._asked_at = -math.inf
        #: What is wrong, as it is in the log.
        self._problems: dict[str, str] = {}
        self._stopped = threading.Event()

    def note(self, names: Iterable[str]) -> None:
        """Ask about these queues, too, from now on: those that events name."""
        # What is masked is the name of no queue.
        self._noted = frozenset(name for name in names if MASK not in name)

    def known(self) -> Sequence[tuple[str, QueueStatus]]:
        """Return what was said last of each queue; nothing if that is no longer true.

        Of several whose names are masked the names are the same.
        """
        age = self._clock.monotonic() - self._at
        return self._known if age <= _TRUE_FOR + 2 * self._took else ()

    def facts(self) -> QueueFacts:
        """Return what was said last, by name; of what is no longer true only the history."""
        facts = self._facts
        return facts if self.known() else QueueFacts(history=facts.history)

    def asked(self) -> Mapping[str, WorkerFacts] | None:
        """Return what workers said of themselves, by node; None if that is not known now."""
        workers = self._workers
        age = self._clock.monotonic() - self._workers_at
        if workers is None or age > _WORKERS_TRUE_FOR:
            return None
        return {
            node: WorkerFacts(pool, None, queues, tuple(map(self._masked, queues)))
            for node, (queues, pool) in workers.items()
        }

    def plan(self) -> tuple[Plan, float]:
        """Return what RedBeat plans, and as of when, in UTC epoch seconds."""
        if self._clock.monotonic() - self._plan_read_at > _PLAN_TRUE_FOR:
            return Plan(), 0.0
        return self._plan, self._planned_at

    def look(self) -> None:
        """Ask now, the workers and RedBeat if that is due."""
        began = self._clock.monotonic()
        if self._asks_workers and began - self._asked_at >= _WORKERS_EVERY:
            self._asked_at = began
            self._ask_workers()
        if self._reads_plans and began - self._plan_read_at >= PLAN_EVERY:
            self._read_plan()
        workers = self._workers
        if self._clock.monotonic() - self._workers_at > _WORKERS_TRUE_FOR:
            workers = None
        consumed = Counter[str]()
        processes: dict[str, int | None] = {}
        for queues, pool in (workers or {}).values():
            for queue in dict.fromkeys(queues):
                consumed[queue] += 1
                before = processes.get(queue, 0)
                processes[queue] = None if pool is None or before is None else before + pool
        wanted = [*dict.fromkeys((*self._names, *consumed, *sorted(self._noted)))][:QUEUES_MAX]
        try:
            depths = self._gauge.look(wanted, oldest=True)
        except EvtoolsError as error:
            self._problem("the broker could not be asked about queues", error.message)
            return
        self._problem("the broker could not be asked about queues", "")
        known = []
        for queue, depth in depths.items():
            count = None if workers is None else consumed[queue]
            of_pools = None if workers is None else processes.get(queue, 0)
            known.append((self._masked(queue), QueueStatus(depth, count, of_pools)))
        now = self._clock.monotonic()
        # Of several queues with one mask none is known by it.
        by_name = {queue: status.depth for queue, status in known if MASK not in queue}
        self._facts = QueueFacts(by_name, with_depths(self._facts.history, by_name, now), at=now)
        self._known, self._took, self._at = known, now - began, now

    def close(self, timeout: float = 2.0) -> None:
        """End the thread; wait at most `timeout` seconds for it."""
        self._stopped.set()
        if self.ident is not None:
            self.join(timeout)

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.look()
            except Exception as error:  # noqa: BLE001  (whatever it is, events go on)
                self._problem("queues could not be looked at", reason(error))
            self._stopped.wait(EVERY)
        self._gauge.close()

    def _read_plan(self) -> None:
        # As of before it is asked: what is due may be sent meanwhile.
        at = self._clock.wall()
        try:
            plan = self._gauge.plan()
        except EvtoolsError as error:
            plan = Plan(reason=error.message)
        self._problem("what RedBeat plans could not be read", plan.reason)
        tasks = [replace(each, task=self._masked(each.task, "name")) for each in plan.tasks]
        self._plan, self._planned_at = replace(plan, tasks=tuple(tasks)), at
        self._plan_read_at = self._clock.monotonic()

    def _ask_workers(self) -> None:
        what = "the workers could not be asked for their queues"
        replies: dict[str, Mapping[str, Any]] = {}
        try:
            for command in ("active_queues", "stats"):
                expected = len(replies["active_queues"]) if replies else None
                found = call(self._settings, command, deadline=_DEADLINE, expected=expected)
                replies[command] = found.by_node
        except Exception as error:  # noqa: BLE001  (whatever a driver raises)
            self._problem(what, explain(error, self._settings).message)
            return
        self._problem(what, "")
        pools = {node: pool_size(stats) for node, stats in replies["stats"].items()}
        self._workers = {
            node: (queue_names(queues) or (), pools.get(node))
            for node, queues in replies["active_queues"].items()
        }
        self._workers_at = self._clock.monotonic()

    def _masked(self, value: str, name: str = "queue") -> str:
        fields: dict[str, Any] = {name: value}
        if self._redact is not None:
            self._redact(fields)
        return str(fields[name])

    def _problem(self, what: str, why: str) -> None:
        # Once, and when it is over.
        if self._problems.get(what, "") == why:
            return
        self._problems[what] = why
        text = f"{what}: {why}" if why else f"over: {what}"
        _log.warning("%s", named(text, self._settings.cluster))
