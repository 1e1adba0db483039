"""`-B`: collect events, print a view as text, and exit."""

import logging
import math
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Final

from evtools.clock import Clock, SystemClock
from evtools.errors import BrokerUnavailable
from evtools.filters import compile_filter
from evtools.signals import EndingSignals
from evtools.top.feed import PLANNED_VIEWS, BrokerStats, open_source, watched
from evtools.top.files import Recording, render_table
from evtools.top.model import Model
from evtools.top.options import TopOptions
from evtools.top.survey import Inspector
from evtools.transport import ConnectionSettings, Notice
from evtools.transport.queues import Gauge, Plan
from evtools.wire import Defect, Event
from evtools.wire.redact import redactor

_log = logging.getLogger(__name__)

#: The longest wait for events before the time is looked at, in seconds.
_TICK: Final = 0.25
EXIT_OK, EXIT_NOT_EXPECTED = 0, 1
#: As of any unexpected error.
EXIT_FAILED: Final = 1


def run(options: TopOptions, clusters: Sequence[ConnectionSettings]) -> int:
    """Print what the options ask for; return the exit status.

    Raise EvtoolsError for what the user must mend, and BrokerUnavailable if there never was a
    connection.
    """
    clock = SystemClock()
    with ExitStack() as ending, ExitStack() as stack:
        names = [each.cluster for each in clusters]
        batch = Batch(options, clock, names, origin=clusters[0].source_of_url)
        for settings in () if options.read else clusters:
            cluster, masks = batch.clusters.of(settings.cluster), redactor(options.redact)
            settings = watched(options, settings)  # noqa: PLW2901
            if options.broker_stats and options.view in ("queues", *PLANNED_VIEWS):
                # It is asked in this thread.
                cluster.stats = BrokerStats(
                    Gauge(settings), lambda: None, clock=clock, redact=masks
                )
                cluster.asks_broker = True
                stack.callback(cluster.stats.close)
            if options.ask and not options.read_only:
                inspector = Inspector(settings, lambda: None, clock=clock)
                stack.callback(inspector.close)
                cluster.ask(inspector, masks)
        source = open_source(options, clusters, batch.apply, clock=clock, stack=stack)
        redact = redactor(options.redact)
        recording = Recording(options.write, clock) if options.write else None
        if recording is not None:
            stack.callback(recording.close)
        signals = EndingSignals(source.stop, clock)
        signals.handlers[signal.SIGHUP] = signals.end
        # They are heeded until all is closed: a recording may have its end to write.
        ending.enter_context(signals)
        for events in source.events(_TICK):
            if redact is not None:
                events = list(map(redact.of_event, events))  # noqa: PLW2901
            if recording is not None:
                recording.write(events)
            batch.take(events)
            if batch.is_over():
                break
        else:
            # A recording has ended, or a signal came.
            batch.conclude()
        return batch.status(source.statistics().defects)


class Batch:
    """The model, and when to print it; `origin` says where the broker's URL comes from."""

    def __init__(
        self, options: TopOptions, clock: Clock, names: Sequence[str] = ("",), *, origin: str
    ) -> None:
        self._origin = origin
        self._options = options
        self._clock = clock
        self._model = Model(clock=clock, options=options, names=names)
        self.clusters = self._model.clusters
        self._table = table = self._model.views[options.view]
        table.arrange(options.filter, options.sort, options.columns)
        self._expected = (
            compile_filter(options.expect, fields=table.fields, zone=options.zone, now=table.now)
            if options.expect
            else None
        )
        self._matched = self._rows = self._printed = 0
        #: Clusters that have never let us in.
        self._refused: set[str] = set()
        #: Whether the output may be incomplete, after an internal error.
        self._failed = False
        # A recording that is read at once has nothing to wait for.
        at_once = bool(options.read) and math.isinf(options.speed)
        self._every = math.inf if at_once else options.refresh
        self._asks_at = 0.0
        self._due = clock.monotonic() + self._every

    def apply(self, notice: Notice) -> None:
        """Apply a notice of the source."""
        cluster = self.clusters.of(notice.cluster)
        if notice.kind == "refused" and cluster.connection.status == "connecting":
            self._refused.add(notice.cluster)
        cluster.connection.apply(notice)
        if cluster.survey is not None and notice.kind in ("listening", "restored"):
            cluster.survey.begin(self._clock.wall())
        where = f" of {notice.cluster}" if notice.cluster else ""
        if notice.kind == "lost":
            _log.warning("connection%s lost: %s", where, notice.text)
        elif notice.kind == "restored":
            _log.warning("connected%s again to %s", where, notice.text)
        elif notice.kind == "note":
            self._note(notice.text)
        elif notice.kind == "warning":
            _log.warning("%s", notice.text)
        elif notice.kind == "refused":
            _log.error("%s; the other clusters go on", notice.named)

    def take(self, events: list[Event]) -> None:
        """Take in a batch of events; print when it is time."""
        try:
            self._model.take(events)
        except Exception:  # noqa: BLE001  (an internal error costs no more than what failed)
            if not self._failed:
                _log.error("internal error: some figures may be wrong; see --debug")
            self._failed = True
            _log.debug("events", exc_info=True)
        for cluster in self.clusters.values():
            if cluster.survey is not None:
                cluster.survey.take(self._clock.wall())
                cluster.survey.go_on(self._clock.wall())
        if self._clock.monotonic() >= self._asks_at:
            # So that it is known by the end how depths change.
            self._asks_at = self._clock.monotonic() + _TICK
            self._ask_brokers(only_due=True)
        if self._clock.monotonic() >= self._due:
            self._due += self._every
            self._print()

    def is_over(self) -> bool:
        """Return whether all that was asked for is printed."""
        return 0 < self._options.iterations <= self._printed

    def conclude(self) -> None:
        """Print what came in since, if there is no connection to wait for."""
        if self._options.read or not self._printed:
            self._print()

    def status(self, defects: Iterable[Defect] = ()) -> int:
        """Return the exit status; report what could not be understood, and what matched."""
        for defect in defects:
            _log.warning("left out: %s, %s times", defect.kind, defect.count)
        if nameless := sum(cluster.state.nameless for cluster in self.clusters.values()):
            _log.warning("events without the uuid or hostname they are about: %s", nameless)
        expected, matched = self._expected, self._matched
        if expected is not None:
            self._note(f"{matched} of {self._rows} rows matched --expect")
            for hint in () if matched else expected.hints():
                self._note(hint)
        if self._failed:
            return EXIT_FAILED
        return EXIT_OK if expected is None or matched else EXIT_NOT_EXPECTED

    def _print(self) -> None:
        away = [one for one in self.clusters.values() if one.connection.status == "connecting"]
        refusing = [self.clusters[name] for name in sorted(self._refused)]
        if len(away) + len(refusing) == len(self.clusters):
            causes = [
                f"{one.name}: {one.connection.cause}".removeprefix(": ") for one in away + refusing
            ]
            raise BrokerUnavailable("; ".join(causes), f"tried: {self._origin}")
        for cluster in away if not self._printed else ():
            _log.warning("%s is left out: %s", cluster.name, cluster.connection.cause)
        model, table, now = self._model, self._table, self._clock.wall()
        self._ask_brokers()
        for cluster in self.clusters.values():
            of, facts = f" of {cluster.name}" if cluster.name else "", cluster.broker_facts()
            refused = [depth.reason for depth in facts.depths.values() if depth.ready is None]
            if facts.error:
                _log.warning("queues%s are shown without their depth: %s", of, facts.error)
            elif refused:
                _log.warning("depth unknown of queues%s: %s (%s)", of, len(refused), refused[0])
            planned = Plan() if cluster.stats is None else cluster.stats.plan()[0]
            if planned.reason:
                _log.info("what RedBeat plans is not known%s: %s", of, planned.reason)
            if planned.left_out:
                _log.warning("entries of RedBeat%s left out: %s", of, planned.left_out)
        model.refresh(table.name, now)
        while table.waiting:  # however much there is to be filtered
            model.refresh(table.name, self._clock.wall())
        subjects = [table.subject(key) for key in table.keys]
        self._rows += len(subjects)
        if self._expected is not None:
            there = [subject for subject in subjects if subject is not None]
            self._matched += sum(map(self._expected.matches, there))
        text = "".join(f"{line}\n" for line in render_table(table, self._options.output))
        if self._printed:
            text = "\n" + text
        sys.stdout.buffer.write(text.encode(errors="backslashreplace"))
        sys.stdout.buffer.flush()
        for line in () if self._printed else model.diagnosis(table.name):
            self._note(line)
        self._printed += 1

    def _ask_brokers(self, *, only_due: bool = False) -> None:
        table, asked = self._table, [one for one in self.clusters.values() if one.asks_broker]
        if table.name in PLANNED_VIEWS:
            for stats in filter(None, (one.stats for one in asked)):
                stats.watch_plan(wanted=True)
                if stats.plan_is_due():
                    stats.look_at_plan()
        if not asked or table.name != "queues":
            return
        self._model.refresh(table.name, self._clock.wall())
        rows = [row for key in table.keys if (row := table.subject(key)) is not None]
        for cluster in asked:
            cluster.watch_queues(rows)
            if cluster.stats is not None and (cluster.stats.is_due() or not only_due):
                cluster.stats.look()

    def _note(self, text: str) -> None:
        if not self._options.quiet:
            print(f"evtop: {text}", file=sys.stderr)  # noqa: T201  (beside its output)
