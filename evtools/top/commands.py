"""The user's side of the screen, and the commands behind its keys, also typed after `:`."""

import difflib
import math
import re
from bisect import bisect
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

from evtools import __version__
from evtools.alerts import Alert
from evtools.clock import Clock
from evtools.errors import EvtoolsError, FilterError, UsageError
from evtools.filters import argument_names, caret
from evtools.text import clip, human_age, human_size, pad, parse_duration, sanitize, width
from evtools.top import rerun
from evtools.top.actions import AGAIN, CALLS, Actions
from evtools.top.clusters import Cluster, row_name
from evtools.top.control import ACTIONS, actions_for, target_of
from evtools.top.feed import Feed
from evtools.top.files import History, Recording, render_table, save, write
from evtools.top.keys import BINDINGS, Keymap
from evtools.top.model import Model
from evtools.top.options import (
    COMPARES,
    REFRESH_MIN,
    THEMES,
    TIME_STYLES,
    VIEWS,
    WINDOWS,
    Settings,
    SettingsFile,
    TopOptions,
    View,
)
from evtools.top.programs import Programs
from evtools.top.status import OwnCost
from evtools.top.survey import Report
from evtools.top.table import TableModel
from evtools.top.ui import widgets as ui
from evtools.top.ui.terminal import Display, copy_sequence
from evtools.top.ui.theme import ASCII, UNICODE, Glyphs
from evtools.top.views.events import EventsView
from evtools.top.views.summaries import WorkersView
from evtools.top.views.tasks import TasksView
from evtools.top.views.worker import REPORT_SECTIONS, SECTIONS, answered
from evtools.transport import ConnectionSettings
from evtools.transport.recording.database import DatabaseReader
from evtools.transport.recording.reader import RecordingReader

_Do: TypeAlias = Callable[..., object]
#: The words that complete the text of a command, perhaps those of a session.
_Words: TypeAlias = Sequence[str] | Callable[[Any], Sequence[str]]

#: Other names, from other tools.
_ALIASES: Final = {"q": "quit", "q!": "quit", "h": "help", "w": "export jsonl"}
#: How long to wait for the next key before the table is filtered, in seconds.
_DEBOUNCE: Final = 0.15
_FILTER_LABEL: Final = "filter> "
#: Errors further on are described, but not pointed at.
_POINTED_CHARS: Final = 36
_SAVE: Final = re.compile(r"save\s+([\w-]+)", re.ASCII)
_SAVED: Final = re.compile(r'(?<![\w"@:=~])@([\w-]+)', re.ASCII)
_WORD_START: Final = re.compile(r"[\s(!-]*([^\s(]*)\Z")
#: Field of a filter: its key in the menus of `keep` and `exclude`.
_FIELD_KEYS: Final = {
    "name": "n", "worker": "w", "state": "s", "queue": "u", "exc": "x",
    "root": "r", "type": "t", "uuid": "i",
}  # fmt: skip
#: How long a message stays, in seconds; how many are kept to be read, and how much of each.
_MESSAGE_STAYS: Final = 10.0
_MESSAGES_KEPT: Final = 100
_MESSAGE_CHARS: Final = 4000
_SPEED_MAX: Final = 1000.0
_MOMENTS: Final = "write 14:30, 14:30:05, 2026-11-20T14:30, +10s or -5m"
#: How much of a copy is shown.
_COPY_COLS: Final = 40
#: Views whose keys mean nothing to people, and the field of a row that is copied instead.
_NAMED_BY: Final = {"events": "uuid", "errors": "name"}
#: What can be exported: its key in the menu, and a text.
_EXPORTS: Final = {
    "jsonl": ("j", "rows as JSON Lines"), "csv": ("c", "rows as CSV"),
    "screenshot": ("s", "screenshot"), "recording": ("r", "record from now on"),
}  # fmt: skip
#: How many of the newest tasks are asked for arguments to group by, and how many are offered.
_TASKS_ASKED: Final = 1000
_ARGUMENTS_MAX: Final = 20
# fmt: off
#: Command: its key and title in the menu of F2, the option that it sets, values, a message.
_OPTIONS: Final[Mapping[str, tuple[str, str, str, Sequence[Any], str]]] = {
    "theme":   ("t", "theme",   "theme",      THEMES,                    "theme {}"),
    "refresh": ("r", "refresh", "refresh",    (0.2, 0.5, 1.0, 2.0, 5.0), "refreshed every {}"),
    "window":  ("w", "window",  "window",     WINDOWS,                   "figures of the last {}"),
    "time":    ("z", "times",   "time_style", TIME_STYLES,               "times: {}"),
    "ascii":   ("a", "ASCII",   "ascii",      (False, True),             "ASCII {}"),
    "mouse":   ("m", "mouse",   "mouse",      (False, True),             "mouse {}"),
    "broker-stats": ("b", "broker", "broker_stats", (True, False), "asking the broker: {}"),
    "heat":    ("h", "heat",    "heat",       (False, True),             "heat maps {}"),
    "compare": ("v", "compare", "compare",    tuple(COMPARES),           "compared with: {}"),
}
# fmt: on
#: The names of settings where they differ from those of the fields.
_SETTING_NAMES: Final = {"refresh": "delay", "time_style": "ts"}
_SETTABLE: Final = (*_OPTIONS, "columns")
#: The fields of the options that keys change.
CHANGEABLE: Final = tuple(option for _, _, option, _, _ in _OPTIONS.values())


def _word(value: Any) -> str:
    # The value of an option as it is typed and shown.
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}s" if isinstance(value, float) else str(value)


class Following(NamedTuple):
    """What is shown next: the name of a profile, its options, and how to reach its clusters."""

    profile: str
    options: TopOptions
    clusters: Sequence[ConnectionSettings]


class Message(NamedTuple):
    """The line above the keys, and when it came (monotonic seconds)."""

    text: str
    style: str
    at: float


@dataclass(kw_only=True)
class Session(Actions):
    """The state of the screen, which keys and commands change; it draws nothing.

    `picture` returns the lines of the screen as they are now.  `end` leaves the loop, `later`
    does something in it after some seconds, and returns what calls that off.  `where` is the
    broker, or the recording, fit to be shown.  After `asks_after` seconds a key that leaves asks
    first: the data of that time will be lost.
    """

    model: Model
    keymap: Keymap
    feed: Feed
    display: Display
    picture: Callable[[], list[ui.Line]]
    end: Callable[[], None]
    later: Callable[[float, Callable[[], None]], Callable[[], object]]
    clock: Clock
    where: str
    asks_after: float = math.inf
    history: History = field(default_factory=History)
    settings_file: SettingsFile = field(default_factory=SettingsFile)
    programs: Programs = field(default_factory=Programs)

    view: View = field(default="tasks", init=False)
    detail: ui.DetailPane | None = field(default=None, init=False)
    layers: list[ui.Layer] = field(default_factory=list, init=False)
    #: For each drill-down, the view and the row where it began, and what goes back there.
    trail: list[tuple[str, str, Callable[[], None]]] = field(default_factory=list, init=False)
    message: Message | None = field(default=None, init=False)
    #: The last messages, the newest first: when each came (UTC epoch seconds), text and style.
    said: deque[tuple[float, str, str]] = field(
        default_factory=lambda: deque(maxlen=_MESSAGES_KEPT), init=False
    )
    #: What to show after the end: the name of a profile, its options, its clusters.
    following: Following | None = field(default=None, init=False)
    #: Whether the table was on the screen when it was last drawn.
    table_shown: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self._began = self.clock.monotonic()
        self.own_cost = OwnCost(self.clock)
        #: Reports whose answers are waited for, with their files.
        self._reports: list[tuple[str, Cluster, Report]] = []
        #: What the settings file has by now, as far as it can be saved.
        self._saved: Settings = {}
        #: A message that waits until there is no other one, with its style.
        self._mentioned: tuple[str, str] | None = None

    @property
    def glyphs(self) -> Glyphs:
        return ASCII if self.model.options.ascii else UNICODE

    @property
    def table(self) -> TableModel:
        return self.model.views[self.view]

    @property
    def reading(self) -> bool:
        """Whether the keys go to the text of the detail."""
        return self.detail is not None and (self.detail.focused or not self.table_shown)

    @property
    def layer(self) -> ui.Layer | None:
        """The layer on top, which takes the keys."""
        return self.layers[-1] if self.layers else None

    def contexts(self) -> tuple[str, ...]:
        """Return where the keymap looks for a key, in this order."""
        special: list[str] = [self.view] if self.view in ("workers", "queues", "events") else []
        if self.model.paused or self.model.options.read:  # there is something to step in
            special.append("paused")
        if self.reading:
            return ("text", *special, "moving", "lists", "everywhere")
        pane = ["text"] if self.detail is not None else []
        return (*special, "lists", "moving", *pane, "everywhere")

    # --- keys and commands --------------------------------------------------------------

    def press(self, key: str) -> None:
        """Take a key: the layer on top has it, or else it may mean a command."""
        layer = self.layer
        command = self.keymap.find(key, self.contexts() if layer is None else layer.contexts)
        if layer is None:
            if command is not None:
                self.run(command)
            return
        with self._complaining():
            outcome = layer.press(key, command)
            if outcome is not None:
                self.layers.remove(layer)
                outcome()

    def paste(self, text: str) -> None:
        """Take pasted text: where something is typed, and nowhere else."""
        if self.layer is None or "prompts" not in self.layer.contexts:
            self.say("text can be pasted into prompts only: press / or : first")
            return
        for character in text:
            if character.isprintable():
                self.press("space" if character == " " else character)

    def run(self, command: str) -> None:
        """Carry out a command; an error becomes a message."""
        with self._complaining():
            self.execute(command)

    @contextmanager
    def _complaining(self) -> Iterator[None]:
        try:
            yield
        except EvtoolsError as error:
            hint = f" ({error.hint.splitlines()[0]})" if error.hint else ""
            self.say(error.message + hint, "error")

    def recover(self) -> None:
        """Close everything that is open: it may be the cause of a failure."""
        self.layers.clear()
        self.detail = None

    # --- messages -----------------------------------------------------------------------

    def say(self, text: str, style: str = "note") -> None:
        """Show a message until another one comes, or for some seconds."""
        self.message = Message(self._noted(text, style), style, self.clock.monotonic())

    def mention(self, text: str, style: str = "warning") -> None:
        """Show a message that takes the place of no other, but waits for its turn."""
        self._mentioned = self._noted(text, style), style
        self.settle()

    def _noted(self, text: str, style: str) -> str:
        # Fit to be shown, and kept to be read later.
        shown = sanitize(text)
        self.said.appendleft((self.clock.wall(), shown[:_MESSAGE_CHARS], style))
        return shown

    def settle(self) -> None:
        """Let go of a message that has been there for long enough."""
        now = self.clock.monotonic()
        if self.message and now - self.message.at >= _MESSAGE_STAYS:
            self.message = None
        if self.message is None and self._mentioned is not None:
            self.message, self._mentioned = Message(*self._mentioned, now), None

    def _messages(self) -> list[ui.Span]:
        # With their times; no style alone says that one is an error.
        context = self.model.context()
        words = {"warning": "warning: ", "error": "error: "}
        return [
            (style, f"{context.time_of_day(at)}  {words.get(style, '')}{text}")
            for at, text, style in self.said
        ]

    # --- going from view to view --------------------------------------------------------

    def show(self, view: str, *, anew: bool = True) -> None:
        """Show a view, by default in a new picture; raise UsageError if there is no such view."""
        found = next((one for one in VIEWS if one == view), None)
        if found is None:
            raise UsageError(f"there is no view {view}", f"there are {', '.join(VIEWS)}")
        if found != self.view:
            self.detail, self.view = None, found
        self.look()
        if anew:
            self.model.refresh_view(found)

    def arrange(self) -> None:
        """Show the first view, and all views as options and settings file want them."""
        self.show(self.model.options.view)
        self.model.arrange()
        self._saved = self._settings()

    def replace(self, model: Model) -> None:
        """Go on with another model: filters, orders and columns stay."""
        before, self.model = self.model, model
        model.group(before.views["types"].grouped_by)
        for name, table in model.views.items():
            old = before.views[name]
            for own in old.own:
                table.find_column(own)
            table.choose_columns(old.chosen)
            table.sort_by(old.sort_key)
            if table.reverse != old.reverse:
                table.invert()
            table.set_filter(old.filter_text)
            if old.pinned and old.focus_key is not None:
                table.expect(old.focus_key)

    def look(self) -> None:
        """Have the detail show the row under the cursor, as it is now."""
        if self.detail is not None and self.table.focus_key is not None:
            self.detail.follow(self.table.focus_key)
        subject = self.table.subject(self.detail.key) if self.detail is not None else None
        page = subject if self.view == "workers" else None
        for cluster in self.model.clusters.values():
            if cluster.survey is None:
                continue
            if page is not None and page.cluster == cluster.name and self.detail is not None:
                commands = SECTIONS.get(self.detail.section, ())
                cluster.survey.look_at(page.hostname, commands, self.clock.wall())
            else:
                cluster.survey.close_page()
        if self.detail is not None:
            self.detail.show(self.table.detail(self.detail.key))

    def open_detail(self, section: str = "") -> None:
        key = self.table.focus_key
        if key is None:
            raise UsageError("there is no row to look at")
        if self.table.has_page:
            # It stays that of this row, whichever comes first then.
            self.table.go_to(key)
        self.detail = ui.DetailPane(key, section=section)
        self.look()

    def open_row(self) -> None:
        """Open the detail of a row, or another view with the tasks of the row."""
        key = self.table.focus_key
        drilled = self.table.drill(key) if key is not None and not self.reading else None
        if key is None or drilled is None or (self.table.has_page and self.detail is None):
            self.open_detail()
            return
        subject = self.table.subject(key)
        if self.view == "overview" and subject.about == "alert":
            self._alerts(subject.name)
            return
        row = self.table.detail(key)
        self._lead(*drilled, "" if row is None else row.title)

    def _lead(
        self, view: str, filter_text: str, row: str, changes: Mapping[str, Any] | None = None
    ) -> None:
        # To a view with a filter, perhaps with other options; what goes back there is kept.
        before, key, target = self.view, self.table.focus_key, self.model.views[view]
        old_filter, old_key = target.filter_text, target.focus_key if target.pinned else None
        old = {name: getattr(self.model.options, name) for name in changes or {}}

        def set_options(values: Mapping[str, Any]) -> None:
            for name, value in values.items():
                setattr(self.model.options, name, value)
            if values:  # the columns that a filter knows may be others then
                self.model.views[view].refresh(self.model.context())

        def go_back() -> None:
            set_options(old)
            target = self.model.views[view]
            target.set_filter(old_filter)
            target.go(0)
            if old_key is not None:
                target.expect(old_key)
            self.show(before)
            if key is not None:
                self.table.go_to(key)

        set_options(changes or {})
        target.set_filter(filter_text)
        target.go(0)
        self.trail.append((self.table.title, row, go_back))
        self.show(view)

    def _alerts(self, name: str) -> None:
        # To what an alert is about; without a name, to the one that fires.
        alerts = self.model.alerts
        if not alerts.alerts:
            hint = "an [alert.NAME] in the settings file is one; see evtools.toml(5)"
            raise UsageError("there are no alerts", hint)
        if name:
            found = [one for one in alerts.alerts if one.rule.name == name]
            if not found:
                hint = f"there are {', '.join(one.rule.name for one in alerts.alerts)}"
                raise UsageError(f"there is no alert {name}", hint)
        else:
            found = alerts.firing()
        if not found:
            unknown = (
                f"; {one.rule.name}: {note}"
                for one in alerts.alerts
                for note in one.filter.unknown(one.rule.view)
            )
            self.say(f"no alert fires of {len(alerts.alerts)}{''.join(unknown)}")
        elif len(found) == 1:
            self._go_to_alert(found[0])
        else:
            choices = [
                ui.Choice(f"{one.rule.name}: {one.found()}", partial(self._go_to_alert, one))
                for one in found
            ]
            self.layers.append(ui.Menu("alerts", choices))

    def _go_to_alert(self, alert: Alert) -> None:
        rule, changes = alert.rule, dict[str, Any]()
        if self.model.views[rule.view].grouped_by:
            self.model.group("")
        if rule.view not in ("tasks", "events"):
            changes = {"window": rule.window, "compare": "off"}
        self.detail = None
        self._lead(rule.view, rule.filter, f"alert {rule.name}", changes)

    def announce(self) -> bool:
        """Note for the log what has become of alerts, and ring for those that want it.

        Return whether anything has.
        """
        changes = self.model.alerts.changes()
        for change in changes:
            style = "error" if change.alert.rule.level == "critical" else "warning"
            self._noted(change.text, style if change.what == "fired" else "note")
        if any(change.what == "fired" and change.alert.rule.bell for change in changes):
            self.display.send("\a")
        return bool(changes)

    def back(self) -> None:
        """Close the detail, or go back to where the last drill-down began, or leave.

        If that would lose the data of a long time, ask first.
        """
        if self.detail is not None:
            self.detail = None
            return
        if self.trail:
            *_, go_back = self.trail.pop()
            go_back()
            return
        self._leave("quit evtop?", self.end, yes="Quit", sure=("q", "Q", "ctrl-c"))

    def _leave(
        self, title: str, leave: Callable[[], None], *, yes: str, sure: Sequence[str] = ()
    ) -> None:
        # At once, or after a question where data of a long time would be lost.
        watched = self.clock.monotonic() - self._began
        clusters = self.model.clusters.values()
        if watched < self.asks_after or not any(cluster.intake.events for cluster in clusters):
            leave()
            return
        tasks = sum(len(cluster.state.tasks) for cluster in clusters)
        lost = f"{tasks} task{'s' if tasks != 1 else ''}"
        text = f"evtop has watched for {human_age(watched)}. Its data on {lost} will be lost."
        self.layers.append(ui.Dialog(title, [text], leave, yes=yes, sure=tuple(sure)))

    def _switch(self, name: str) -> None:
        # To another profile of the settings file.
        file = self.settings_file
        if file.open is None or not file.profiles:
            hint = "a [profile.NAME] in the settings file is one; see evtools.toml(5)"
            raise UsageError("there are no profiles to switch among", hint)
        if not name:
            choices = [ui.Choice(one, partial(self._switch, one)) for one in file.profiles]
            self.layers.append(ui.Menu("profiles", choices))
            return
        if name not in file.profiles:
            hint = f"there are {', '.join(file.profiles)}"
            raise UsageError(f"there is no profile {name}", hint)
        following = Following(name, *file.open(name))
        # What is wrong is said while there is something to go on with.
        Keymap(following.options.keys)
        Model(clock=self.clock, options=following.options).arrange()

        def leave() -> None:
            self.following = following
            self.end()

        self._leave(f"switch to {name}?", leave, yes="Switch")

    def escape(self) -> None:
        """Undo one thing: the detail, the marks, the filter, or the message."""
        if self.detail is not None:
            self.detail = None
        elif self.table.marks:
            self.table.marks.clear()
        elif self.table.filter_text:
            self.table.set_filter("")
        else:
            self.message = None

    def next_pane(self, step: int) -> None:
        """Go between table and detail, or to the next view if there is no detail."""
        if self.detail is None:
            self.trail.clear()
            self.show(VIEWS[(VIEWS.index(self.view) + step) % len(VIEWS)])
        elif self.table_shown:
            self.detail.focused = not self.detail.focused

    def move(self, name: str) -> None:
        """Carry out a command of the context "moving", in the text that is read or the table."""
        table = self.table
        if self.reading and self.detail is not None:
            self.detail.pager.press(name)
        elif name not in ("left", "right"):
            table.move(ui.step_of(name, table.room - 1))
        elif isinstance(table, TasksView) and table.tree:
            table.expand(shut=name == "left")
        else:
            table.scroll_columns(1 if name == "right" else -1)

    # --- commands -----------------------------------------------------------------------

    def execute(self, line: str) -> None:
        """Carry out a line as it could be typed after `:`; raise EvtoolsError."""
        line = line.strip()
        name, _, text = _ALIASES.get(line, line).partition(" ")
        if name in self.with_text:
            self.with_text[name][0](self, text.strip())
        elif name in self.commands:
            self.commands[name](self)
        else:
            near = difflib.get_close_matches(name, self.commands, 1)
            hint = f"did you mean {near[0]}?" if near else "Tab after : shows them all"
            raise UsageError(f"there is no command {name}", hint)
        self.look()

    def complete(self, text: str) -> tuple[int, Sequence[str]]:
        """Complete the name of a command, or the text behind it."""
        name, blank, argument = text.partition(" ")
        if not blank:
            return 0, [one for one in sorted(self.commands) if one.startswith(name)]
        words = self.with_text[name][1] if name in self.with_text else ()
        found = words(self) if callable(words) else words
        return len(name) + 1, [one for one in found if one.startswith(argument)]

    def _ask(self, kind: str, then: Callable[[str], object], hint: str = "") -> None:
        # For a line of the history's `kind`, and do something with it unless it is blank.
        def accepted(text: str) -> ui.OnClose:
            self.history.remember(kind, text)
            return partial(then, text.strip()) if text.strip() else ui.closed

        complete, label = (self.complete, ":") if kind == "command" else (None, f"{kind}> ")
        editor = ui.Editor(history=self.history.lines(kind), complete=complete)
        self.layers.append(ui.Prompt(label, accepted, editor, hint=hint))

    def _view(self, text: str) -> None:
        # And perhaps filter it: `view workers web-1`.
        name, _, rest = text.partition(" ")
        self.show(name)
        self.trail.clear()
        if rest.strip():
            self.apply_filter(rest.strip().removeprefix("/"))

    # --- the text of the detail -------------------------------------------------------------

    def _detail(self) -> ui.DetailPane:
        if self.detail is None:
            raise UsageError("there is no detail to read", "Enter opens it")
        return self.detail

    def _search(self, text: str) -> None:
        pane = self._detail()
        if not text:
            self._ask("search", self._search)
            pane.focused = True
            return
        self.history.remember("search", text)
        if not pane.pager.search(text):
            self.say(f"not found: {text}", "error")

    def _search_again(self, *, back: bool) -> None:
        pager = self._detail().pager
        if not pager.sought:
            raise UsageError("nothing to search for yet", "/ searches the text")
        if not pager.search_next(back=back):
            self.say(f"not found: {pager.sought}", "error")

    def _wrap(self) -> None:
        pager = self._detail().pager
        pager.press("wrap")
        self.say(f"long lines are {'wrapped' if pager.wrap else 'cut'}")

    def _full(self) -> None:
        pane = self._detail()
        pane.full = not pane.full
        pane.focused = pane.focused or pane.full

    # --- filter -----------------------------------------------------------------------------

    def _filter(self, text: str) -> None:
        # Without a text it is asked for, and the table is filtered while one is typed.
        if text:
            self.apply_filter(text)
            return
        before = self.table.filter_text
        call_off: Callable[[], object] = ui.closed

        def preview() -> None:
            # An error keeps the last good filter.
            prompt.notes = []
            # The filter that is to be saved is the one of before.
            text = before if _SAVE.fullmatch(prompt.text.strip()) else prompt.text
            try:
                self.table.set_filter(self.expanded(text))
            except FilterError as error:
                lines = [sanitize(error.message), *map(sanitize, error.hint.splitlines())]
                if error.position <= _POINTED_CHARS:
                    carets = caret(error).split("\n")[1].removeprefix("  ")
                    lines.append(" " * len(_FILTER_LABEL) + carets)
                prompt.notes = [("error", line) for line in lines]
            else:
                self.look()

        def changed() -> None:
            nonlocal call_off
            call_off()
            call_off = self.later(_DEBOUNCE, preview)

        def cancelled() -> None:
            call_off()
            self.table.set_filter(before)

        def accepted(text: str) -> ui.OnClose:
            call_off()
            preview()
            return None if prompt.notes else partial(self.apply_filter, text)

        def complete(text: str) -> tuple[int, Sequence[str]]:
            # The name of a field, or of a saved filter, at the end.
            found = _WORD_START.search(text)
            assert found is not None
            names = [f"{name}:" for name in self.table.fields]
            if found[1].startswith("@"):
                names = [f"@{name}" for name in self.history.saved]
            return found.start(1), [name for name in sorted(names) if name.startswith(found[1])]

        editor = ui.Editor(before, history=self.history.lines("filter"), complete=complete)
        prompt = ui.Prompt(_FILTER_LABEL, accepted, editor, changed=changed, cancelled=cancelled)
        self.layers.append(prompt)

    def apply_filter(self, text: str) -> None:
        """Filter the table; `save NAME` names the filter that is there instead.

        Raise FilterError for an invalid filter, and keep the old one.
        """
        table, saved = self.table, _SAVE.fullmatch(text.strip())
        if saved is None:
            table.set_filter(self.expanded(text))
            self.history.remember("filter", text.strip())
            for note in table.notes():
                self.say(note)
            self.look()
        elif table.filter_text:
            self.history.save(saved[1], table.filter_text)
            self.say(f"saved: write @{saved[1]} in a filter")
        else:
            raise UsageError("there is no filter to save")

    def expanded(self, text: str) -> str:
        """Return a filter with the saved ones, written @NAME, put in.

        Raise FilterError for a name without a filter.
        """
        saved = self.history.saved
        for found in _SAVED.finditer(text):
            if found[1] not in saved:
                known = ", ".join(f"@{name}" for name in saved)
                raise FilterError(
                    f"no filter was saved as @{found[1]}",
                    f"there are {known}" if known else ":filter save NAME saves one",
                    text=text,
                    position=found.start(),
                    length=len(found[0]),
                )
        return _SAVED.sub(lambda found: f"({saved[found[1]]})", text)

    def _narrow(self, *, exclude: bool) -> None:
        table = self.table
        key = table.focus_key
        values = table.values(key) if key is not None else {}
        if not values:
            raise UsageError("this row has no value to filter by")

        def narrow(field: str, value: str) -> None:
            table.narrow(field, value, exclude=exclude)
            self.history.remember("filter", table.filter_text)

        choices = [
            ui.Choice(f"{field} {value}", partial(narrow, field, value), _FIELD_KEYS.get(field, ""))
            for field, value in values.items()
        ]
        self.layers.append(ui.Menu("exclude" if exclude else "keep only", choices))

    # --- order, columns and rows ------------------------------------------------------------

    def _columns_of(self) -> list[str]:
        return [column.name for column in self.table.columns]

    def _sort(self, name: str) -> None:
        # By a column; `-` before it reverses the order.
        table = self.table
        if name:
            table.sort_by(table.find_column(name.removeprefix("-")).name)
            if name.startswith("-"):
                table.invert()
            return
        cols = max(width(column.title) for column in table.columns)
        choices = [
            ui.Choice(
                f"{pad(column.title, cols)}  {column.about}", partial(table.sort_by, column.name)
            )
            for column in table.columns
        ]
        at = self._columns_of().index(table.sort_key)
        self.layers.append(ui.Menu("sort by", choices, at=at))

    def _columns(self, text: str) -> None:
        # Their names with commas between, or `auto`.
        table, wanted = self.table, [] if text in ("", "auto") else text.split(",")
        table.choose_columns([table.find_column(one).name for one in wanted] or None)

    def _follow(self) -> None:
        table = self.table
        table.toggle_follow()
        followed = "the newest" if table.newest_last else "this row"
        self.say(f"following {followed}" if table.follows else "not following")

    def _failure(self, step: int) -> None:
        table = self.table
        if not isinstance(table, TasksView | EventsView):
            raise UsageError("only in the views of tasks and events", "1 shows the tasks")
        if not table.next_failure(step):
            self.say(f"no failure {'further down' if step > 0 else 'further up'}")

    def _related(self, step: int) -> None:
        table = self.table
        if isinstance(table, EventsView) and not table.next_related(step):
            self.say("no other event of this task in that direction")

    def _tasks(self) -> TasksView:
        if not isinstance(self.table, TasksView):
            raise UsageError("only in the view of tasks", "1 shows it")
        return self.table

    def _tree(self) -> None:
        table = self._tasks()
        table.toggle_tree()
        self.say(f"tree view {'on' if table.tree else 'off'}")

    def _parent(self) -> None:
        if why_not := self._tasks().jump_to_parent():
            self.say(why_not)

    def _group(self, argument: str) -> None:
        # The types by an argument; without one, no more, or by one of those that there are.
        grouped_by = self.model.views["types"].grouped_by
        if argument or grouped_by:
            self.model.group("" if argument == "off" else argument)
            self.show("types")
            self.trail.clear()
            self.say(f"grouped by {argument}" if self.table.grouped_by else "grouped by type")
            return
        found = self._arguments()
        if not found:
            hint = ":group kwargs.NAME groups by any, :group field.NAME by another field"
            raise UsageError("the newest tasks have no keyword arguments", hint)
        choices = [ui.Choice(sanitize(name), partial(self._group, name)) for name in found]
        self.layers.append(ui.Menu("group types by", choices))

    def _arguments(self) -> list[str]:
        # The keyword arguments of the newest tasks, the most frequent first.
        tasks, counts = self.model.views["tasks"], Counter[str]()
        for task in list(tasks.rows.values())[-_TASKS_ASKED:]:
            counts.update(f"kwargs.{name}" for name in argument_names(task.kwargs))
        names = [name for name, _ in counts.most_common(2 * _ARGUMENTS_MAX)]
        return [name for name in names if tasks.make_column(name)][:_ARGUMENTS_MAX]

    # --- display options --------------------------------------------------------------------

    def _set_option(self, text: str, name: str) -> None:
        # To a value; without a text, to the one after its value.
        options = self.model.options
        _, _, field, values, message = _OPTIONS[name]
        if name == "broker-stats" and options.read:
            raise UsageError("a recording has no broker to ask")
        by_word = {_word(value): value for value in values}
        if not text:
            old = getattr(options, field)
            # A refresh may be any number.
            at = values.index(old) + 1 if old in values else bisect(values, old)
            value = values[at % len(values)]
        elif name == "refresh":
            try:
                value = max(REFRESH_MIN, parse_duration(text))
            except ValueError as error:
                raise UsageError(str(error)) from None
        elif text in by_word:
            value = by_word[text]
        else:
            raise UsageError(f'invalid {name} "{text}"', f"there are {', '.join(by_word)}")
        setattr(options, field, value)
        if name in ("theme", "ascii", "mouse"):
            self.display.configure(options)
        self.show(self.view)
        self.say("all figures" if value == "all" else message.format(_word(value)))
        if options.mouse and name == "mouse":
            self.say("mouse on; hold Shift to select text")

    def _set(self, text: str) -> None:
        # `set NAME VALUE`, as `NAME VALUE` alone would do.
        name, _, value = text.replace("=", " ").partition(" ")
        if name not in _SETTABLE:
            raise UsageError(f"there is no option {name}", f"there are {', '.join(_SETTABLE)}")
        self.run(f"{name} {value.strip()}")

    def _options(self) -> None:
        def choices() -> list[ui.Choice]:
            lines = []
            for name, (key, title, option, _, _) in _OPTIONS.items():
                text = f"{title:<9}{_word(getattr(self.model.options, option))}"
                lines.append(ui.Choice(text, partial(self.run, name), key))
            return [*lines, ui.Choice("columns  ...", self._choose_columns, "c")]

        self.layers.append(ui.Menu("options", choices, stays=True))

    def _choose_columns(self) -> None:
        table = self.table

        def toggle(name: str) -> None:
            wanted = {slot.column.name for slot in table.slots} ^ {name}
            table.choose_columns([one for one in self._columns_of() if one in wanted] or None)

        def choices() -> list[ui.Choice]:
            marks = {slot.column.name: "x" for slot in table.slots}
            return [
                ui.Choice(
                    f"[{marks.get(one.name, ' ')}] {one.title:<20} {one.about}",
                    partial(toggle, one.name),
                )
                for one in table.columns
            ]

        self.layers.append(ui.Menu(f"columns of {table.title}", choices, stays=True))

    def _settings(self) -> Settings:
        # What can be saved: options, and columns and order of each view; no columns are those
        # that suit the width.
        found: dict[tuple[str, ...], str | bool | Sequence[str]] = {}
        for option in CHANGEABLE:
            value = getattr(self.model.options, option)
            key = _SETTING_NAMES.get(option, option)
            found["evtop", key] = value if isinstance(value, bool) else _word(value)
        for view, table in self.model.views.items():
            if table.grouped_by:
                continue
            found["evtop", "columns", view] = table.chosen or ()
            found["evtop", "sort", view] = table.order
        return found

    def _save(self) -> None:
        # What was changed on the screen, into the settings file.
        now = self._settings()
        changed = {key: value for key, value in now.items() if value != self._saved.get(key)}
        if self.settings_file.save is None:
            raise UsageError("there is no settings file to save in")
        if not changed:
            raise UsageError("nothing was changed that could be saved", "F2 has display options")
        path = self.settings_file.save(changed, self.settings_file.profile)
        self._saved = now
        names = (" of ".join(key[1:]) for key in changed)
        self.say(f"saved in {path}: {', '.join(names)}")

    # --- pause and replay -------------------------------------------------------------------

    def _replay(self) -> RecordingReader:
        source = self.feed.source
        if isinstance(source, DatabaseReader):
            # Of a database, evtop shows how things stood in the end.
            text = "a database cannot be played: it is shown as it stood at its end"
            raise UsageError(text, "evtop -r FILE replays a recording")
        if not isinstance(source, RecordingReader):
            raise UsageError("only in a replay", "evtop -r FILE replays a recording")
        return source

    def _pause(self) -> None:
        # The display; of a replay, the recording.
        source, model = self.feed.source, self.model
        if isinstance(source, RecordingReader | DatabaseReader):
            source = self._replay()
            source.paused = not source.paused
            self.say("replay paused" if source.paused else "replay resumed")
        elif model.paused:
            model.thaw()
            self.show(self.view)
            self.say("live again")
        else:
            model.freeze(self.clock.wall())
            self.say("paused; events are still collected")

    def _step(self, step: int) -> None:
        source, model = self.feed.source, self.model
        if isinstance(source, RecordingReader | DatabaseReader):
            source = self._replay()
            source.paused = True
            if source.position is not None:
                source.seek(source.position + step * model.options.refresh)
            return
        if not model.paused:
            raise UsageError("only a paused display can be stepped", "p pauses it")
        picture = model.step(step, self.clock.wall())
        if picture is None:
            self.say("no earlier picture that looks different was kept")
            return
        self.show(picture.view, anew=False)
        self.say(f"as it was at {model.context().time_of_day(picture.as_of)}")

    def _seek(self, text: str) -> None:
        replay = self._replay()
        if not text:
            self._ask("seek", self._seek, hint=_MOMENTS)
            return
        position, zone = replay.position, self.model.context().zone
        if position is None:
            raise UsageError("nothing has been played yet")
        try:
            if text[0] in "+-":
                moment = position + float(f"{text[0]}1") * parse_duration(text[1:])
            else:
                # A time of day is one of the day that is being played.
                day = "" if "-" in text else f"{datetime.fromtimestamp(position, zone).date()}T"
                at = datetime.fromisoformat(day + text)
                moment = (at if at.tzinfo else at.replace(tzinfo=zone)).timestamp()
        except (ValueError, OverflowError, OSError):
            raise UsageError(f'invalid time "{text}"', _MOMENTS) from None
        replay.seek(moment)

    def _speed(self, text: str) -> None:
        replay = self._replay()
        try:
            speed = math.inf if text == "max" else float(text.removesuffix("x"))
        except ValueError:
            speed = math.nan
        if not (0 < speed <= _SPEED_MAX or speed == math.inf):
            raise UsageError(f'invalid speed "{text}"', "write 1x, 10x or max")
        replay.speed = speed
        self.say(f"speed {text}")

    # --- copies and files -------------------------------------------------------------------

    def _copy(self, *, whole: bool) -> None:
        # As JSON, or else its id or name.
        table, key = self.table, self.table.focus_key
        if key is None:
            raise UsageError("there is no row to copy")
        name, row = _NAMED_BY.get(self.view, ""), table.subject(key)
        plain = key if row is None else row_name(row.cluster or "", key)
        self._to_clipboard(table.as_json(key) if whole else table.values(key).get(name, plain))

    def copy_calls(self, kind: str, cluster: Cluster, uuids: Iterable[str]) -> None:
        # The lines that send tasks again.
        tasks = filter(None, map(cluster.state.tasks.get, uuids))
        line = rerun.python_line if kind == "python" else rerun.celery_line
        lines = [line(task) for task in tasks]
        if not lines:
            raise UsageError("there is no task to copy", "evtop no longer remembers it")
        self._to_clipboard("\n".join(lines))

    def _to_clipboard(self, text: str) -> None:
        sequence = copy_sequence(text)
        if sequence:
            self.display.send(sequence)
            self.say(f"copied, if the terminal allows it: {clip(sanitize(text), _COPY_COLS)}")
        else:
            path = save(self.clock, "copy", "txt", [text])
            self.say(f"too long for a clipboard; it is in {path}")

    def _export(self, kind: str) -> None:
        table = self.table
        if kind in ("jsonl", "csv"):
            lines = render_table(table, "json" if kind == "jsonl" else "csv")
            path = save(self.clock, table.name, kind, lines)
            self.say(f"{len(table)} rows in {path}")
        elif kind == "screenshot":
            # The picture on the terminal still has the menu in which it was asked for.
            lines = (ui.plain(line).rstrip() for line in self.picture())
            self.say(f"screenshot in {save(self.clock, self.view, 'txt', lines)}")
        elif kind == "recording":
            self._record("")
        elif kind in CALLS:
            if AGAIN not in actions_for(self.view):
                raise UsageError("only in the views of tasks and events", "1 shows the tasks")
            cluster, names = self.of_one_cluster(keys := table.targets())
            rows = zip(names, map(table.values, keys), strict=True)
            uuids = (target_of(AGAIN, self.view, *row) for row in rows)
            self.copy_calls(kind, cluster, filter(None, uuids))
        elif kind:
            there = ", ".join((*_EXPORTS, *CALLS))
            raise UsageError(f"{kind} cannot be exported", f"there are {there}")
        else:
            texts = _EXPORTS | (CALLS if AGAIN in actions_for(self.view) else {})
            if self.feed.recording:
                texts |= {"recording": ("r", "stop recording")}
            choices = [
                ui.Choice(text, partial(self._export, one), key)
                for one, (key, text) in texts.items()
            ]
            self.layers.append(ui.Menu("export", choices))

    def _record(self, path: str) -> None:
        # Into a file, or into a new one; `off` stops, as no path does while recording.
        recording = self.feed.recording

        def begin() -> None:
            self.feed.recording = begun = Recording(path, self.clock)
            self.say(f"recording into {begun.path}")

        if path in ("off", "stop") or (recording is not None and not path):
            self.feed.recording = None
            if recording is not None:
                self.say(f"{recording.events} events in {recording.path}")
        else:
            self._unless_there(path, begin)

    def _unless_there(self, path: str, begin: Callable[[], None]) -> None:
        # Ask before the file has another content.
        if path and Path(path).is_file() and (size := Path(path).stat().st_size):
            text = f"{sanitize(path)} has {human_size(size)}."
            self.layers.append(ui.Dialog("overwrite?", [text], begin, yes="Overwrite"))
        else:
            begin()

    def _report(self, path: str) -> None:
        # On the worker whose page is open, or else on the marked ones, or the row.
        keys = []
        if self.view == "workers":
            keys = self.table.targets() if self.detail is None else [self.detail.key]
        cluster, nodes = self.of_one_cluster(keys)
        survey = cluster.survey
        if survey is None:
            raise UsageError("the workers are not asked", "not with --no-ask, --read-only or -r")
        if not nodes:
            raise UsageError("there is no worker to report on", "3 shows the workers")

        def begin() -> None:
            # What cannot be written is said at once.
            name = path or save(self.clock, "report", "txt")
            write(name, (), 0)
            self._reports.append((name, cluster, survey.report(nodes)))
            noun = nodes[0] if len(nodes) == 1 else f"{len(nodes)} workers"
            self.say(f"asking {noun} for a report ...")

        self._unless_there(path, begin)

    def finish_reports(self) -> bool:
        """Write the reports for which no more answers are waited for; return whether any was."""
        finished = [each for each in self._reports if not each[2].waiting]
        for path, cluster, report in finished:
            self._reports.remove((path, cluster, report))
            with self._complaining():
                write(path, self._report_lines(cluster, report))
                parts = [answered(report.replies.get(node, {})) for node in report.nodes]
                total = len(parts) * len(REPORT_SECTIONS)
                text = f"report in {path}: {sum(parts)} of {total} sections answered"
                if len(parts) > 1:
                    text += f", {len(report.replies)} of {len(parts)} workers"
                text += f"; they could not be asked: {report.error}" if report.error else ""
                self.say(text, "note" if sum(parts) == total else "warning")
        return bool(finished)

    def _report_lines(self, cluster: Cluster, report: Report) -> Iterator[str]:
        now, workers = self.clock.wall(), self.model.views["workers"]
        assert isinstance(workers, WorkersView)
        at = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
        yield f"evtools {__version__}, {at}: what workers replied when they were asked"
        yield f"broker: {sanitize(self.where)}"
        if cluster.name:
            yield f"cluster: {sanitize(cluster.name)}"
        if report.error:
            yield sanitize(f"they could not be asked: {report.error}")
        for node in report.nodes:
            yield ""
            yield from workers.report(cluster, node, report.replies.get(node, {}), now)

    # --- the table ----------------------------------------------------------------------

    # fmt: off
    #: Commands that take a text, with the words that complete it.
    with_text: ClassVar[dict[str, tuple[_Do, _Words]]] = {
        "view":    (_view,    VIEWS),
        "filter":  (_filter,  ()),
        "search":  (_search,  ()),
        "sort":    (_sort,    _columns_of),
        "columns": (_columns, _columns_of),
        "set":     (_set,     _SETTABLE),
        "seek":    (_seek,    ()),
        "speed":   (_speed,   ()),
        "export":  (_export,  (*_EXPORTS, *CALLS)),
        "record":  (_record,  ()),
        "ctx":     (_switch,  lambda self: self.settings_file.profiles),
        "report":  (_report,  ()),
        "group":   (_group,   lambda self: [*self._arguments(), "off"]),
        "actions": (Actions.act, ()),
        "alerts":  (_alerts,  lambda self: [one.rule.name for one in self.model.alerts.alerts]),
        "run":     (Actions.run_program, lambda self: [*self.programs.named]),
    }
    #: All commands.
    commands: ClassVar[dict[str, _Do]] = {
        "command":          lambda self: self._ask("command", self.run),
        "help":             lambda self: self.layers.append(
                                ui.Help(self.keymap, (*self.contexts(), "prompts", "menus"))),
        "messages":         lambda self: self.layers.append(ui.Messages(self._messages)),
        "open":             open_row,
        "back":             back,
        "escape":           escape,
        "detail":           open_detail,
        "result":           lambda self: self.open_detail("Info"),
        "next-pane":        lambda self: self.next_pane(1),
        "previous-pane":    lambda self: self.next_pane(-1),
        "quit":             lambda self: self.end(),
        "redraw":           lambda self: self.display.redraw(),
        "suspend":          lambda self: self.display.suspend(),
        "search-next":      lambda self: self._search_again(back=False),
        "search-previous":  lambda self: self._search_again(back=True),
        "section-next":     lambda self: self._detail().turn(1),
        "section-previous": lambda self: self._detail().turn(-1),
        "wrap":             _wrap,
        "full":             _full,
        "keep":             lambda self: self._narrow(exclude=False),
        "exclude":          lambda self: self._narrow(exclude=True),
        "sort-left":        lambda self: self.table.sort_beside(-1),
        "sort-right":       lambda self: self.table.sort_beside(1),
        "invert":           lambda self: self.table.invert(),
        "mark":             lambda self: self.table.toggle_mark(),
        "unmark":           lambda self: self.table.marks.clear(),
        "follow":           _follow,
        "next-failure":     lambda self: self._failure(1),
        "previous-failure": lambda self: self._failure(-1),
        "next-related":     lambda self: self._related(1),
        "previous-related": lambda self: self._related(-1),
        "tree":             _tree,
        "expand":           lambda self: self._tasks().expand(),
        "collapse":         lambda self: self._tasks().expand(shut=True),
        "expand-all":       lambda self: self._tasks().toggle_all(),
        "parent":           _parent,
        "pause":            _pause,
        "step-back":        lambda self: self._step(-1),
        "step-forward":     lambda self: self._step(1),
        "copy":             lambda self: self._copy(whole=False),
        "copy-row":         lambda self: self._copy(whole=True),
        "options":          _options,
        "save":             _save,
    }
    for _name, (_, _, _, _values, _) in _OPTIONS.items():
        with_text[_name] = (partial(_set_option, name=_name), tuple(map(_word, _values)))
    for _name, _row in with_text.items():
        commands[_name] = _row[0]
    for _action in ACTIONS:
        commands[_action.name] = partial(Actions.act, name=_action.name)
    for _binding in BINDINGS:
        if _binding.context == "moving":
            commands[_binding.command] = partial(move, name=_binding.command)
    # fmt: on
