"""`-B`: collect events, print a view as text, and exit."""

import logging
import math
import signal
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Final

from evtools.clock import Clock, SystemClock
from evtools.errors import BrokerUnavailable
from evtools.filters import compile_filter
from evtools.signals import EndingSignals
from evtools.top.feed import BrokerStats, asked_about, open_source, watched
from evtools.top.files import Recording, render_table
from evtools.top.model import Model
from evtools.top.options import TopOptions
from evtools.top.status import ConnectionStatus
from evtools.top.survey import Inspector
from evtools.transport import ConnectionSettings, Notice
from evtools.transport.queues import Gauge
from evtools.wire import Defect, Event
from evtools.wire.redact import redactor

_log = logging.getLogger(__name__)

#: The longest wait for events before the time is looked at, in seconds.
_TICK: Final = 0.25
EXIT_OK, EXIT_NOT_EXPECTED = 0, 1
#: As of any unexpected error.
EXIT_FAILED: Final = 1


def run(options: TopOptions, settings: ConnectionSettings) -> int:
    """Print what the options ask for; return the exit status.

    Raise EvtoolsError for what the user must mend, and BrokerUnavailable if there never was a
    connection.
    """
    clock = SystemClock()
    with ExitStack() as stack:
        batch = Batch(options, clock, origin=settings.source_of_url)
        if options.broker_stats and options.view == "queues" and not options.read:
            gauge, masks = Gauge(watched(options, settings)), redactor(options.redact)
            batch.stats = BrokerStats(gauge, lambda: None, clock=clock, redact=masks)
            stack.callback(batch.stats.close)
        if options.ask and not options.read_only and not options.read:
            inspector = Inspector(watched(options, settings), lambda: None, clock=clock)
            stack.callback(inspector.close)
            batch.ask(inspector)
        source = open_source(options, settings, batch.apply, clock=clock, stack=stack)
        redact = redactor(options.redact)
        recording = Recording(options.write, clock) if options.write else None
        if recording is not None:
            stack.callback(recording.close)
        signals = EndingSignals(source.stop, clock)
        signals.handlers[signal.SIGHUP] = signals.end
        stack.enter_context(signals)
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

    def __init__(self, options: TopOptions, clock: Clock, *, origin: str) -> None:
        #: What the broker says of queues, if it is asked: it is, in this thread.
        self.stats: BrokerStats | None = None
        self._origin = origin
        self._options = options
        self._clock = clock
        self._connection = ConnectionStatus(clock)
        if options.read:
            self._connection.apply(Notice("listening", ", ".join(options.read)))
        self._model = Model(clock=clock, options=options, connection=self._connection)
        self._table = table = self._model.views[options.view]
        table.arrange(options.filter, options.sort, options.columns)
        self._expected = (
            compile_filter(options.expect, fields=table.fields, zone=options.zone, now=table.now)
            if options.expect
            else None
        )
        self._matched = self._rows = self._printed = 0
        #: Whether the output may be incomplete, after an internal error.
        self._failed = False
        # A recording that is read at once has nothing to wait for.
        at_once = bool(options.read) and math.isinf(options.speed)
        self._every = math.inf if at_once else options.refresh
        self._asks_at = 0.0
        self._due = clock.monotonic() + self._every

    def ask(self, inspector: Inspector) -> None:
        """Ask the workers for what no event says."""
        self._model.ask(inspector)

    def apply(self, notice: Notice) -> None:
        """Apply a notice of the source."""
        self._connection.apply(notice)
        if self._model.survey is not None and notice.kind in ("listening", "restored"):
            self._model.survey.begin(self._clock.wall())
        if notice.kind == "lost":
            _log.warning("connection lost: %s", notice.text)
        elif notice.kind == "restored":
            _log.warning("connected again to %s", notice.text)

    def take(self, events: list[Event]) -> None:
        """Take in a batch of events; print when it is time."""
        try:
            self._model.take(events)
        except Exception:  # noqa: BLE001  (an internal error costs no more than what failed)
            if not self._failed:
                _log.error("internal error: some figures may be wrong; see --debug")
            self._failed = True
            _log.debug("events", exc_info=True)
        if self._model.survey is not None:
            self._model.survey.take(self._clock.wall())
            self._model.survey.go_on(self._clock.wall())
        if self.stats is not None and self._clock.monotonic() >= self._asks_at:
            # So that it is known by the end how depths change.
            self._asks_at = self._clock.monotonic() + _TICK
            self._watch_queues(self.stats)
            if self.stats.is_due():
                self.stats.look()
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
        if nameless := self._model.state.nameless:
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
        if self._connection.status == "connecting":
            raise BrokerUnavailable(self._connection.cause, f"tried: {self._origin}")
        model, table, now = self._model, self._table, self._clock.wall()
        if self.stats is not None:
            self._watch_queues(self.stats)
            if error := self.stats.look().error:
                _log.warning("queues are shown without their depth: %s", error)
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

    def _watch_queues(self, stats: BrokerStats) -> None:
        self._model.ask_broker(stats)
        self._model.refresh(self._table.name, self._clock.wall())
        stats.watch(asked_about(self._table.keys), oldest=self._model.intake.has_sent)

    def _note(self, text: str) -> None:
        if not self._options.quiet:
            print(f"evtop: {text}", file=sys.stderr)  # noqa: T201  (beside its output)
