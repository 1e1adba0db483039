"""evtop: the source, the model, the session and the terminal, put together."""

import logging
import math
import os
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from evtools.clock import Clock, SystemClock
from evtools.errors import EvtoolsError
from evtools.text import sanitize
from evtools.top import commands
from evtools.top.arrangement import arrange
from evtools.top.broker_stats import BrokerStats
from evtools.top.desk import ControlDesk
from evtools.top.feed import Ended, Feed
from evtools.top.garbage import Garbage
from evtools.top.glyphs import Glyphs, glyphs
from evtools.top.history import History, usual_file
from evtools.top.keymap import Keymap
from evtools.top.link import Link
from evtools.top.model import Model, Options
from evtools.top.options import REFRESH_MIN, TopOptions
from evtools.top.own_cost import OwnCost
from evtools.top.picture import Drawing, drawn
from evtools.top.recording import Recording
from evtools.top.session import Parts, Session
from evtools.top.source import open_source, watched
from evtools.top.standing import surroundings
from evtools.top.terminal import Signals
from evtools.top.widgets.display import Display
from evtools.top.widgets.line import plain
from evtools.top.widgets.loop import Loop
from evtools.transport import ConnectionSettings, Notice
from evtools.transport.queues import Gauge
from evtools.wire import EventFields
from evtools.wire.redact import redactor

_log = logging.getLogger(__name__)

#: How long events are taken in between two looks at the keyboard, in seconds.
_SLICE: Final = 0.012
#: How long the reader of the source may take to end, in seconds.
_END_WAIT: Final = 2.0
#: After so many seconds of a live cluster, the key q asks before it leaves.
_ASKS_AFTER: Final = 300.0
#: How many mistakes over events are told apart.
_MISTAKES_MAX: Final = 20


def run(options: TopOptions, settings: ConnectionSettings) -> int:
    """Show the cluster until the user leaves; return the exit status.

    Raise EvtoolsError for what the user must mend: before the terminal is
    touched where it is known by then, otherwise after it is restored.
    """
    clock = SystemClock()
    with ExitStack() as stack:
        loop = stack.enter_context(Loop(clock))
        console = Console(options, settings, clock, loop, stack)
        console.run()
    return 0


class Console:
    """The work of the loop, and the host of the session."""

    def __init__(
        self,
        options: TopOptions,
        settings: ConnectionSettings,
        clock: Clock,
        loop: Loop,
        stack: ExitStack,
    ) -> None:
        self._options = options
        self._clock = clock
        self._loop = loop
        self._link = Link(clock)
        self._own = OwnCost(clock)
        self._garbage = Garbage(clock)
        stack.callback(self._garbage.close)
        self._drawing = Drawing([])
        self._error: Exception | None = None
        self._leaving = False
        self._refreshed = 0.0
        #: What has just failed: twice in a row is once too often.
        self._failing: set[str] = set()
        #: Mistakes over events that were told of: what was raised, and where.
        self._mistakes: set[tuple[str, str]] = set()
        self._where = _where(options, settings)
        signs = glyphs(ascii_only=options.ascii)
        keymap = Keymap(options.keys)
        feed = Feed(loop.wake, redactor(options.redact), gathers=not options.read)
        self.session = Session(
            Parts(
                model=self._new_model(ascii_only=signs.ascii),
                keymap=keymap,
                feed=feed,
                link=self._link,
                host=self,
                clock=clock,
                glyphs=signs,
                desk=self._open_desk(settings, stack),
                history=History(usual_file(os.environ)),
                mouse=options.mouse,
                asks_after=math.inf if options.read or options.demo else _ASKS_AFTER,
            ),
            commands.run,
        )
        self.session.show(options.view)
        arrange(self.session.table, options)
        stack.callback(self.session.history.keep)
        self._stats = self._open_stats(settings, stack)
        self._open_source(settings, stack)
        theme = options.theme if options.colour else "mono"
        self.display = Display(loop.events, signs, theme=theme, colour=options.colour)

    # --- what it is made of -----------------------------------------------------

    def _new_model(self, *, ascii_only: bool) -> Model:
        options = self._options
        return Model(
            clock=self._clock,
            options=Options(
                window=options.window,
                zone=options.zone,
                time_style=options.time_style,
                theme=options.theme,
                ascii=ascii_only,
                refresh=options.refresh,
            ),
            max_tasks=options.max_tasks,
            max_bytes=options.max_memory,
            link=self._link,
            replayed=bool(options.read),
        )

    def _open_desk(self, settings: ConnectionSettings, stack: ExitStack) -> ControlDesk | None:
        if self._options.read_only or self._options.read:
            return None
        watching = watched(self._options, settings)
        desk = ControlDesk(watching, self._loop.wake, clock=self._clock)
        stack.callback(desk.close)
        return desk

    def _open_stats(self, settings: ConnectionSettings, stack: ExitStack) -> BrokerStats | None:
        if not self._options.broker_stats:
            return None
        gauge = Gauge(watched(self._options, settings))
        stats = BrokerStats(gauge, self._loop.wake)
        stats.start()
        stack.callback(stats.close)
        return stats

    def _open_source(self, settings: ConnectionSettings, stack: ExitStack) -> None:
        feed, options = self.session.feed, self._options
        feed.source = open_source(options, settings, feed.notice, clock=self._clock, stack=stack)
        if options.read:
            self._link.hear(Notice("listening", ", ".join(options.read)))
        if options.write:
            feed.record(Recording(options.write, self._clock))
        # Before the source is closed, its reader ends.
        stack.callback(self._end_feed)

    def _end_feed(self) -> None:
        feed = self.session.feed
        feed.stop()
        if feed.ident is not None:
            feed.join(_END_WAIT)

    # --- running ----------------------------------------------------------------

    def run(self) -> None:
        """Take over the terminal, and give it back whatever happens."""
        display = self.display
        display.on_key = self._press
        display.on_paste = lambda text: self._guarded("paste", lambda: self.session.paste(text))
        display.on_click = lambda *spot: self._guarded("mouse", lambda: self._click(*spot))
        display.on_input = self._attend
        with Signals(self._loop.wake, display.stop, self._clock) as signals:
            self._signals = signals
            try:
                display.start()
                display.set_mouse(on=self.session.mouse)
                self.session.feed.start()
                self._loop.run(self)
            except EvtoolsError:
                raise
            except Exception as error:
                _log.exception("evtop ends")
                raise EvtoolsError(
                    f"internal error: {type(error).__name__} in {_place(error)}",
                    f"this is a mistake in evtools; {_traceback_is()}",
                ) from error
            finally:
                display.stop()
        if self._error is not None:
            raise self._error

    def _press(self, key: str) -> None:
        # What was typed after a ctrl-c or a Q is not meant for what was open.
        self._interrupt()
        if not self._leaving:
            self._guarded("key", lambda: self.session.press(key))

    def _interrupt(self) -> None:
        """Obey a ctrl-c, which is a signal to us."""
        if self._signals.interrupted():
            self._guarded("key", lambda: self.session.press("ctrl-c"))
            self._attend()

    def _attend(self) -> None:
        """Show soon what a key has done."""
        self._garbage.pressed()
        self._loop.draw_soon(answer=True)

    def _guarded(self, what: str, do: Callable[[], None]) -> None:
        """Survive a mistake of ours once; a second one in a row is raised."""
        try:
            do()
        except Exception:
            if what in self._failing:
                raise
            self._failing.add(what)
            _log.exception("%s", what)
            self.session.recover()
            self.session.complain(f"internal error ({what}); {_traceback_is()}")
            self._loop.draw_soon()
        else:
            self._failing.discard(what)

    def _take(self, events: list[EventFields]) -> None:
        """Take events in, and survive mistakes of ours: there may be worse to see.

        Each of them is told of once, when there is nothing else to read.
        """
        try:
            self.session.model.take(events)
        except Exception as error:  # noqa: BLE001  (whatever it is, events go on)
            mistake = type(error).__name__, _place(error)
            if mistake in self._mistakes or len(self._mistakes) >= _MISTAKES_MAX:
                return
            self._mistakes.add(mistake)
            _log.exception("events")
            self.session.mention(f"internal error: some figures may be wrong; {_traceback_is()}")
            self._loop.draw_soon()

    # --- the work of the loop -----------------------------------------------------

    def hear(self) -> None:
        """Look after signals and answers."""
        if self._signals.ending:
            self._loop.end()
        if self._signals.continued():
            self.display.resume()
            self._loop.draw_soon()
        self._interrupt()
        desk = self.session.desk
        while desk is not None and (outcome := desk.take()) is not None:
            style = "note" if outcome.good else "warning"
            self.session.say(outcome.sentence(), style)
            self._loop.draw_soon()

    def take_slice(self) -> bool:
        """Take in events for a moment, then work on; return whether there is more."""
        end = self._clock.monotonic() + _SLICE
        session = self.session
        while (item := session.feed.take()) is not None:
            if isinstance(item, list):
                self._take(item)
            elif isinstance(item, Notice):
                self._hear_notice(item)
            else:
                self._hear_end(item)
            if self._clock.monotonic() >= end:
                self._work_on()
                return True
        waited = self._clock.monotonic() - self._refreshed
        if not session.table.total and waited >= REFRESH_MIN:
            # The first rows are not kept waiting.
            self._guarded("refresh", self._refresh)
            self._loop.draw_soon()
        return self._work_on()

    def _work_on(self) -> bool:
        """Go on with what the picture had no time for; return whether there is more."""
        model = self.session.model
        if not model.is_lagging():
            return False
        self._guarded("refresh", model.work)
        if model.is_lagging():
            return True
        self.session.look()
        # A key may have asked for it.
        self._loop.draw_soon(answer=True)
        return False

    def _hear_notice(self, notice: Notice) -> None:
        self._link.hear(notice)
        self._garbage.collect_new()
        if notice.kind == "rewound":
            model = self._new_model(ascii_only=self.session.glyphs.ascii)
            model.options = self.session.model.options
            self.session.replace(model)
        self._loop.draw_soon()

    def _hear_end(self, end: Ended) -> None:
        self._link.end(end.error)
        if end.error is not None:
            self._error = end.error
            self._loop.end()
        self._loop.draw_soon()

    def refresh(self) -> float:
        """Work on a new picture; return when the next is due, in seconds.

        What takes longer is shown when it is done.
        """
        self._own.look()
        self.session.model.intake.malformed = self.session.feed.malformed
        self._garbage.collect()
        was_lagging = self.session.model.is_lagging()
        self._guarded("refresh", self._refresh)
        if was_lagging or not self.session.model.is_lagging():
            self._loop.draw_soon()
        else:
            self._loop.work_on()
        return self.session.model.options.refresh

    def _refresh(self) -> None:
        session = self.session
        self._refreshed = self._clock.monotonic()
        session.settle()
        if self._stats is not None and session.view == "queues":
            session.model.set_depths(self._stats.depths)
        session.model.refresh(session.view, self._clock.wall())
        if self._stats is not None:
            # Only what is looked at: every question costs the broker.
            wanted = session.table.cursor.keys if session.view == "queues" else ()
            self._stats.watch(wanted)
        session.look()

    def draw(self) -> None:
        """Show the picture, and go on with what it had no time for."""
        self._guarded("screen", self._draw)
        if self.session.model.is_lagging():
            self._loop.work_on()

    def _draw(self) -> None:
        self._drawing = self._drawn()
        size = self.display.size()
        self.display.draw(self._drawing.lines, size, self._drawing.cursor)

    def _drawn(self) -> Drawing:
        around = surroundings(self.session, self._where, self._own)
        return drawn(self.session, self.display.size(), around)

    def _click(self, button: int, column: int, row: int) -> None:
        wheel = {4: "up", 5: "down"}
        if button in wheel:
            self.session.press(wheel[button])
        elif row in self._drawing.hits:
            self._drawing.hits[row](column, row)

    # --- the host of the session --------------------------------------------------

    def later(self, seconds: float, do: Callable[[], None]) -> Callable[[], None]:
        """Have something done after a while; return what calls that off."""
        return self._loop.later(seconds, lambda: self._guarded("later", do))

    def send(self, sequence: str) -> None:
        """Write a sequence to the terminal that is not part of the picture."""
        self.display.send(sequence)

    def set_theme(self, theme: str) -> None:
        """Draw in other colours, if there are to be any."""
        if self._options.colour:
            self.display.set_theme(theme)

    def set_glyphs(self, glyphs: Glyphs) -> None:
        """Draw with other characters."""
        self.display.set_glyphs(glyphs)

    def set_mouse(self, *, on: bool) -> None:
        """Take presses of mouse buttons, or leave the mouse to the terminal."""
        self.display.set_mouse(on=on)

    def screen(self) -> list[str]:
        """Return the text of the picture as it is now, line by line."""
        # The one on the terminal still has the menu in which it was asked for.
        return [plain(line) for line in self._drawn().lines]

    def redraw(self) -> None:
        """Write the whole screen anew."""
        self.display.redraw()

    def suspend(self) -> None:
        """Stop the process as ctrl-z does."""
        self.display.suspend()

    def end(self) -> None:
        """Leave."""
        self._leaving = True
        self._loop.end()


def _where(options: TopOptions, settings: ConnectionSettings) -> str:
    """Return what is watched, fit to be shown."""
    if options.read:
        return sanitize(", ".join(options.read))
    return "demo" if options.demo else sanitize(settings.masked())


def _place(error: BaseException) -> str:
    """Return the file and the line where an exception was raised."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(where.filename).name}:{where.lineno}"


def _traceback_is() -> str:
    """Say where the traceback is that was just logged."""
    for handler in logging.getLogger().handlers:
        # One that could not be opened has no stream.
        if isinstance(handler, logging.FileHandler) and handler.stream is not None:
            home = os.environ.get("HOME") or "/nowhere"
            name = handler.baseFilename
            short = f"~{name[len(home) :]}" if name.startswith(f"{home}/") else name
            return f"the traceback is in {sanitize(short)}"
    return "--log-file FILE keeps the traceback"
