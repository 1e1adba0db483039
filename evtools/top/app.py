"""evtop: the source, the model, the session and the terminal, put together in a loop."""

import gc
import logging
import math
import os
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from evtools.clock import Clock, SystemClock
from evtools.errors import EvtoolsError, UsageError
from evtools.text import hide_credentials, sanitize
from evtools.top import screen
from evtools.top.commands import CHANGEABLE, Session
from evtools.top.control import ControlClient
from evtools.top.feed import PLANNED_VIEWS, BrokerStats, Ended, Feed, open_source, watched
from evtools.top.files import EventHistory, History, Recording, usual_file
from evtools.top.keys import Keymap
from evtools.top.model import Model
from evtools.top.options import REFRESH_MIN, SettingsFile, TopOptions
from evtools.top.programs import Programs, bindings_of
from evtools.top.survey import Inspector
from evtools.top.ui.terminal import Display, EventLoop, Leave, Signals
from evtools.transport import ConnectionSettings, Notice
from evtools.transport.queues import Gauge
from evtools.wire import Event
from evtools.wire.redact import redactor

_log = logging.getLogger(__name__)

#: How long events are taken in between two looks at the keyboard, in seconds.
_SLICE: Final = 0.012
#: After this time of a live cluster, in seconds, the key q asks before it leaves.
_ASKS_AFTER: Final = 300.0
#: Buttons of the mouse that are its wheel.
_WHEEL: Final = {4: "up", 5: "down"}
#: How many kinds of errors over events are distinguished.
_MISTAKES_MAX: Final = 20
#: The shortest time between two looks at the events while they come in, in seconds.
_DRAIN_GAP: Final = 0.05
#: The time between two parts of the work for alerts, in seconds.
_WATCH_EVERY: Final = 0.2
#: No more pictures than this in any second.
REDRAWS_MAX: Final = 10
#: Pictures that may follow each other without a pause, so that a key pressed right after a
#: refresh is answered at once; and the least time between the others, in seconds.
_BURST: Final = 3
_REDRAW_GAP: Final = 1 / (REDRAWS_MAX - _BURST)
_PIPE_BYTES: Final = 4096
#: The shortest time between two collections of garbage, and how long no key must have been
#: pressed before one, in seconds.
_COLLECT_EVERY: Final = 900.0
_QUIET: Final = 30.0


def run(
    options: TopOptions,
    clusters: Sequence[ConnectionSettings],
    settings_file: SettingsFile = SettingsFile(),  # noqa: B008  (it never changes)
) -> int:
    """Show the clusters, or those of the profile switched to, until the user leaves; return 0.

    Raise EvtoolsError for errors of the user: before the terminal is touched if they are known
    by then, otherwise after it is restored.
    """
    view, chosen, message = options.view, dict[str, Any](), ""
    while True:
        with ExitStack() as ending, ExitStack() as stack:
            clock, history = SystemClock(), None
            try:
                history = _open_history(options, clusters, clock, stack)
            except EvtoolsError as error:
                # A full disk, or what belongs to another profile, keeps nobody from watching.
                if isinstance(error, UsageError) and not message:
                    raise
                message = f"{message}; no history: {error.message}".removeprefix("; ")
            console = Console(options, clusters, clock, stack, settings_file)
            session = console.session
            session.feed.history = history
            for name, value in chosen.items():
                setattr(session.model.options, name, value)
            if message:
                # Filter, sort and columns are those of the first view of the options.
                session.show(view)
                session.say(message)
            # They are heeded until all is closed: a recording may have its end to write.
            signals = ending.enter_context(console.signals)
            console.run()
        if (following := session.following) is None or signals.ending:
            return 0
        # What the user has chosen by keys stays.
        view, now = session.view, session.model.options
        for name in CHANGEABLE:
            if (value := getattr(now, name)) != getattr(options, name):
                chosen[name] = value
        message = f"profile {following.profile}"
        if (recording := session.feed.recording) is not None:
            message += f"; the recording ended: {recording.events} events in {recording.path}"
        # In the same file they would seem to be one cluster, and begun anew it would be lost.
        options, clusters = replace(following.options, write=""), following.clusters
        settings_file = replace(settings_file, profile=following.profile)
        # Its tasks and descriptors go before the next ones come: the collector is off then.
        del console, session, signals, now, recording, history
        gc.collect()


def _open_history(
    options: TopOptions, clusters: Sequence[ConnectionSettings], clock: Clock, stack: ExitStack
) -> EventHistory | None:
    if not options.history:
        return None
    origin = [f"{each.cluster} {each.masked()}".lstrip() for each in clusters]
    history = EventHistory(
        options.history, clock, max_bytes=options.history_size,
        origin=["demo"] if options.demo else sorted(origin),
    )  # fmt: skip
    stack.callback(history.close)
    return history


class Console:
    """The loop, its work, and the session that it is for: keys first, then events, then pictures.

    Use it once; `stack` closes what it owns.
    """

    def __init__(
        self,
        options: TopOptions,
        clusters: Sequence[ConnectionSettings],
        clock: Clock,
        stack: ExitStack,
        settings_file: SettingsFile = SettingsFile(),  # noqa: B008  (it never changes)
    ) -> None:
        self.events = EventLoop()
        self.clock = clock
        #: The alarm to look at events, if it is set, and when they were last looked at.
        self._draining: Any = None
        self._drained = clock.monotonic()
        #: The alarm to go on with alerts, if it is set.
        self._watching: Any = None
        #: The alarm to draw at, and its time (monotonic seconds), if it is set.
        self._drawing: Any = None
        self._draws_at = math.inf
        #: When as many pictures may be drawn at once as may ever be.
        self._rested_at = clock.monotonic()
        #: What is written here wakes the loop.
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._closed = False
        stack.callback(self._close)
        self.events.watch_file(self._read, self._woken)
        self.events.alarm(0, self._tick)
        # The collector of cycles runs in `_tick`, when no key waits for the screen.  By itself
        # it counts new objects less freed ones.  With as many tasks forgotten as come in, that
        # is zero for a long time, and then all of them are looked through at once: a tenth of a
        # second for 100 000 tasks, and two for the older generations.  evtools itself leaves no
        # garbage at a rate that matters; libraries do when a connection breaks.  A collection
        # of the youngest generation each second took a twentieth of the CPU of a busy evtop,
        # and a third of an idle one.
        self._pressed = self._collected = clock.monotonic()
        gc.freeze()
        gc.disable()
        stack.callback(gc.enable)
        stack.callback(gc.unfreeze)
        self._frame = screen.Frame([])
        self._error: Exception | None = None
        self._leaving = False
        self._refreshed = 0.0
        #: Steps that have just failed: twice in a row is once too often.
        self._failing: set[str] = set()
        #: Mistakes over events that were reported: the exception, and its place.
        self._mistakes: set[tuple[str, str]] = set()
        keymap = Keymap(options.keys, bindings_of(options.programs))
        programs = Programs(options.programs, self.wake, clock)
        stack.callback(programs.close)
        model = Model(clock=clock, options=options, names=[each.cluster for each in clusters])
        #: What closes the connections beside those that listen.
        self._closers: list[Callable[[], None]] = []
        stack.callback(self._close_all)
        if not options.read:
            for settings in clusters:
                self._reach(model, settings)
        where = ", ".join(options.read or [each.cluster or each.masked() for each in clusters])
        where = hide_credentials(where)
        feed = Feed(self.wake, redactor(options.redact), gathers=not options.read)
        self.session = session = Session(
            model=model,
            keymap=keymap,
            feed=feed,
            display=Display(
                self.events,
                colour=options.colour,
                on_key=self._press,
                on_paste=self._paste,
                on_click=self._click,
                on_input=self._answer_soon,
            ),
            picture=lambda: screen.draw(self.session, self.session.display.size()).lines,
            end=self.end,
            later=self.later,
            clock=clock,
            where="demo" if options.demo else sanitize(where),
            history=History(usual_file(os.environ)),
            settings_file=settings_file,
            programs=programs,
            asks_after=math.inf if options.read or options.demo else _ASKS_AFTER,
        )
        #: To be entered before `run`, and to be left when all is closed.
        self.signals = Signals(self.wake, session.display.stop, clock)
        session.arrange()
        stack.callback(session.history.keep)
        #: When the broker of each cluster last said something of queues, in monotonic seconds.
        self._answered: dict[str, float] = {}
        feed.source = open_source(options, clusters, feed.put, clock=clock, stack=stack)
        if options.write:
            feed.recording = Recording(options.write, clock)
        # The reader of the source ends before the source is closed.
        stack.callback(feed.close)

    def _close_all(self) -> None:
        # At once: several that do not answer would be waited for in turn.
        threads = [threading.Thread(target=close, daemon=True) for close in self._closers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _reach(self, model: Model, settings: ConnectionSettings) -> None:
        # What a cluster is asked and told, beside listening to it.
        options, cluster = model.options, model.clusters.of(settings.cluster)
        settings = watched(options, settings)
        if not options.read_only:
            cluster.control = ControlClient(settings, self.wake, clock=self.clock)
            self._closers.append(cluster.control.close)
        if options.ask and not options.read_only:
            inspector = Inspector(settings, self.wake, clock=self.clock)
            self._closers.append(inspector.close)
            cluster.ask(inspector, redactor(options.redact))
        gauge, redact = Gauge(settings), redactor(options.redact)
        cluster.stats = BrokerStats(gauge, self.wake, clock=self.clock, redact=redact)
        cluster.stats.start()
        self._closers.append(cluster.stats.close)

    # --- running ------------------------------------------------------------------------

    def run(self) -> None:
        """Take over the terminal until `end`, and give it back whatever happens."""
        display = self.session.display
        try:
            display.start()
            display.configure(self.session.model.options)
            self.session.feed.start()
            self.events.run()
        except EvtoolsError:
            raise
        except Exception as error:
            _log.exception("evtop ends")
            raise EvtoolsError(
                f"internal error: {type(error).__name__} in {_place(error)}",
                f"this is a bug in evtools; {_traceback_hint()}",
            ) from error
        finally:
            display.stop()
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Leave `run` soon; for its own thread."""
        self._leaving = True

        def leave() -> None:
            raise Leave

        self.events.alarm(0, leave)

    def _close(self) -> None:
        # To wake the loop then does nothing.
        self._closed = True
        os.close(self._write)
        os.close(self._read)

    def wake(self) -> None:
        """Have signals, answers and events looked at; from any thread or signal handler."""
        if not self._closed:
            with suppress(BlockingIOError):  # where it is full, the loop wakes up anyway
                os.write(self._write, b".")

    def later(self, seconds: float, do: Callable[[], None]) -> Callable[[], object]:
        """Do something later for a key, and draw; return a function that calls it off."""

        def done() -> None:
            with self._guarded("later"):
                do()
            self.draw_soon(answer=True)

        alarm = self.events.alarm(seconds, done)
        return lambda: self.events.remove_alarm(alarm)

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        # Survive a mistake of the program once; a second one in a row is raised.
        try:
            yield
        except Exception:
            if name in self._failing:
                raise
            self._failing.add(name)
            _log.exception("%s", name)
            self.session.recover()
            # The answer to an action is not hidden by it.
            self.session.mention(f"internal error ({name}); {_traceback_hint()}", "error")
            self.draw_soon()
        else:
            self._failing.discard(name)

    # --- keys ---------------------------------------------------------------------------

    def _press(self, key: str) -> None:
        # Keys typed after a ctrl-c or a Q are not meant for the layer that was open.
        self._interrupt()
        if not self._leaving:
            with self._guarded("key"):
                self.session.press(key)

    def _interrupt(self) -> None:
        # A ctrl-c comes as a signal.
        if self.signals.interrupted():
            with self._guarded("key"):
                self.session.press("ctrl-c")
            self._answer_soon()

    def _paste(self, text: str) -> None:
        with self._guarded("paste"):
            self.session.paste(text)

    def _click(self, button: int, column: int, row: int) -> None:
        with self._guarded("mouse"):
            if button in _WHEEL:
                self.session.press(_WHEEL[button])
            elif row in self._frame.hits:
                self._frame.hits[row](column, row)

    def _answer_soon(self) -> None:
        self._pressed = self.clock.monotonic()
        self.draw_soon(answer=True)

    # --- events -------------------------------------------------------------------------

    def _woken(self) -> None:
        os.read(self._read, _PIPE_BYTES)
        if self.signals.ending:
            self.end()
        if self.signals.continued():
            self.session.display.resume()
            self.draw_soon()
        self._interrupt()
        for cluster in self.session.model.clusters.values():
            with self._guarded("answers"):
                if cluster.survey is not None:
                    cluster.survey.take(self.clock.wall())
            at = cluster.broker_facts().at
            if at > self._answered.get(cluster.name, -math.inf):
                # An answer of the broker is not kept waiting.
                self._answered[cluster.name] = at
                self._refresh()
                self.draw_soon()
            control = cluster.control
            while control is not None and (outcome := control.take()) is not None:
                self.session.say(outcome.sentence(), "note" if outcome.good else "warning")
                self.draw_soon()
        while (ended := self.session.programs.take()) is not None:
            self.session.say(ended.text, "note" if ended.good else "warning")
            self.draw_soon()
        with self._guarded("answers"):
            if self.session.finish_reports():
                self.draw_soon()
        if self._draining is None:
            # Soon, but not for every few events that come.
            wait = max(0.0, self._drained + _DRAIN_GAP - self.clock.monotonic())
            self._draining = self.events.alarm(wait, self._drain)

    def work_on(self) -> None:
        """Take the next slice at once: there is work left; for the loop's own thread."""
        if self._draining is not None:
            self.events.remove_alarm(self._draining)
        self._draining = self.events.alarm(0, self._drain)

    def _drain(self) -> None:
        self._draining = None
        if self._take_slice():
            # Keys typed meanwhile come first: the loop looks at its descriptors before
            # it takes the next alarm.
            self.work_on()
        else:
            self._drained = self.clock.monotonic()

    def _take_slice(self) -> bool:
        # Whether there is more.
        session, end = self.session, self.clock.monotonic() + _SLICE
        while (item := session.feed.take()) is not None:
            if isinstance(item, list):
                self._take_events(item)
            else:
                self._take_news(item)
                self.draw_soon()
            if self.clock.monotonic() >= end:
                self._finish_picture()
                return True
        waited = self.clock.monotonic() - self._refreshed
        known = session.table.total or session.model.views["tasks"].total
        if not known and waited >= REFRESH_MIN:
            # The first rows are not kept waiting.  Where nothing fails there are none, however.
            self._refresh()
            self.draw_soon()
        return self._finish_picture()

    def _take_events(self, events: list[Event]) -> None:
        # Mistakes of the program are survived: there may be worse to see.  Each is reported
        # once, when there is nothing else to read.
        try:
            self.session.model.take(events)
        except Exception as error:  # noqa: BLE001  (whatever it is, events go on)
            mistake = type(error).__name__, _place(error)
            if mistake in self._mistakes or len(self._mistakes) >= _MISTAKES_MAX:
                return
            self._mistakes.add(mistake)
            _log.exception("events")
            self.session.mention(f"internal error: some figures may be wrong; {_traceback_hint()}")
            self.draw_soon()

    def _take_news(self, item: Notice | Ended) -> None:
        if isinstance(item, Notice):
            self._take_notice(item)
            gc.collect(0)  # a connection broke, or came back
            return
        for cluster in self.session.model.clusters.values():
            cluster.connection.end("" if item.error is None else str(item.error))
        if item.error is not None:
            self._error = item.error
            self.end()

    def _take_notice(self, notice: Notice) -> None:
        session = self.session
        if notice.kind == "rewound":
            names = [*session.model.clusters]
            session.replace(Model(clock=self.clock, options=session.model.options, names=names))
            notice = Notice("listening", notice.text)
        cluster = session.model.clusters.of(notice.cluster)
        cluster.connection.apply(notice)
        if cluster.survey is not None and notice.kind in ("listening", "restored"):
            cluster.survey.begin(self.clock.wall())
        if notice.kind in ("note", "warning"):
            session.say(sanitize(notice.text), notice.kind)
        if notice.kind == "refused":
            session.say(f"{notice.named}; the other clusters go on", "error")

    # --- pictures -----------------------------------------------------------------------

    def _tick(self) -> None:
        # Work that takes longer than a slice is shown when it is done.
        session = self.session
        session.own_cost.look()
        session.model.malformed = session.feed.source.statistics().malformed
        now = self.clock.monotonic()
        if now - self._collected >= _COLLECT_EVERY and now - self._pressed >= _QUIET:
            self._collected = now
            gc.collect()
        was_lagging = session.model.is_lagging()
        self._refresh()
        if was_lagging or not session.model.is_lagging():
            self.draw_soon()
        else:
            self.work_on()
        self.events.alarm(session.model.options.refresh, self._tick)

    def _refresh(self) -> None:
        session = self.session
        with self._guarded("refresh"):
            self._refreshed = self.clock.monotonic()
            session.settle()
            clusters = session.model.clusters.values()
            for cluster in clusters:
                if cluster.survey is not None:
                    cluster.survey.go_on(self.clock.wall())
                # In a replay there is no broker.
                wanted = session.model.options.broker_stats
                cluster.asks_broker = wanted and cluster.stats is not None
            session.model.refresh(session.view, self.clock.wall())
            session.announce()
            self._watch_on()
            self._ask_brokers()
            session.look()

    def _watch_on(self) -> None:
        # What alerts are about is looked at bit by bit where it is very much.
        if self._watching is None and self.session.model.alerts.waiting:
            self._watching = self.events.alarm(_WATCH_EVERY, self._watch)

    def _watch(self) -> None:
        self._watching = None
        with self._guarded("alerts"):
            self.session.model.alerts.work()
            if self.session.announce():
                self.draw_soon()
        self._watch_on()

    def _ask_brokers(self) -> None:
        # Only about queues on the screen, or of alerts: every question costs the broker.
        session, queues = self.session, self.session.model.views["queues"]
        in_view, rows, page = session.view == "queues", list[Any](), None
        if session.model.options.broker_stats:
            if in_view or session.view == "overview":
                keys = queues.keys if in_view else queues.rows
                rows = [row for key in keys if (row := queues.subject(key)) is not None]
            rows += session.model.alerts.queues()
            if in_view and session.detail is not None:
                page = queues.subject(session.detail.key)
        shows_plans = session.view in PLANNED_VIEWS or session.model.alerts.watches("types")
        plans = session.model.options.broker_stats and shows_plans
        for cluster in session.model.clusters.values():
            cluster.watch_queues(rows, page)
            if cluster.stats is not None:
                cluster.stats.watch_plan(wanted=plans)

    def _finish_picture(self) -> bool:
        # Do a part of the work that it left; return whether there is more.
        model = self.session.model
        if not model.is_lagging():
            return False
        with self._guarded("refresh"):
            model.work()
        if model.is_lagging():
            return True
        self.session.look()
        # A key may have asked for it.
        self.draw_soon(answer=True)
        return False

    def draw_soon(self, *, answer: bool = False) -> None:
        """Draw as soon as allowed: changes that are due together are seen together.

        An `answer` to a key may be needed next, so everything else leaves room for it.
        """
        now = self.clock.monotonic()
        spare = _BURST - 1 if answer else 0
        at = max(now, self._rested_at - spare * _REDRAW_GAP)
        if at < self._draws_at:
            if self._drawing is not None:
                self.events.remove_alarm(self._drawing)
            self._draws_at = at
            self._drawing = self.events.alarm(at - now, self._draw)

    def _draw(self) -> None:
        self._drawing, self._draws_at = None, math.inf
        self._rested_at = max(self._rested_at, self.clock.monotonic()) + _REDRAW_GAP
        with self._guarded("screen"):
            display = self.session.display
            size = display.size()
            self._frame = screen.draw(self.session, size)
            display.draw(self._frame.lines, size, self._frame.cursor)
        if self.session.model.is_lagging():
            self.work_on()


def _place(error: BaseException) -> str:
    # The file and the line where an exception was raised.
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(where.filename).name}:{where.lineno}"


def _traceback_hint() -> str:
    # Where the traceback is that was just logged.
    for handler in logging.getLogger().handlers:
        # One that could not be opened has no stream.
        if isinstance(handler, logging.FileHandler) and handler.stream is not None:
            home = os.environ.get("HOME") or "/nowhere"
            name = handler.baseFilename
            short = f"~{name[len(home) :]}" if name.startswith(f"{home}/") else name
            return f"the traceback is in {sanitize(short)}"
    return "--log-file FILE keeps the traceback"
