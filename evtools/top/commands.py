"""The commands behind the keys, which can also be typed after `:`."""

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, time
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from evtools.errors import FilterError, UsageError
from evtools.filters import caret
from evtools.text import clip, human_size, parse_duration, sanitize
from evtools.top import screen
from evtools.top.control import ACTIONS, BY_NAME, Action, Request, actions_for, prepare, target_of
from evtools.top.export import Recording, new_recording, render_table, save
from evtools.top.options import REFRESH_MIN, THEMES, TIME_STYLES, VIEWS, WINDOWS
from evtools.top.session import Session
from evtools.top.ui.terminal import copy_sequence
from evtools.top.ui.theme import ASCII, UNICODE
from evtools.top.ui.widgets import (
    Choice,
    Completer,
    DetailPane,
    Dialog,
    Editor,
    Help,
    Menu,
    OnClose,
    Prompt,
    closed,
    plain,
    step_of,
)
from evtools.top.views.events import EventsView
from evtools.top.views.tasks import TasksView
from evtools.transport.recording.reader import RecordingReader

_Do: TypeAlias = Callable[..., object]
_Choices: TypeAlias = Callable[[Session], Sequence[str]]


class Command(NamedTuple):
    """A command; errors are raised as EvtoolsError.

    One that takes a text has `choices`, the words that complete it.
    """

    do: _Do
    choices: _Choices | None = None


COMMANDS: Final[dict[str, Command]] = {}
#: Other names, from other tools.
_ALIASES: Final = {"q": "quit", "q!": "quit", "h": "help", "w": "export jsonl"}


def command(name: str, choices: _Choices | None = None) -> Callable[[_Do], _Do]:
    """Make a function of a session a command; with `choices` it takes a text as well."""

    def register(do: _Do) -> _Do:
        COMMANDS[name] = Command(do, choices)
        return do

    return register


def _any_text(_: Session) -> Sequence[str]:
    return ()


def run(session: Session, line: str) -> None:
    """Carry out a command with the text behind it.

    Raise UsageError for an unknown one, and the errors of the command.
    """
    line = line.strip()
    name, _, text = _ALIASES.get(line, line).partition(" ")
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        raise UsageError(
            f"there is no command {name}",
            f"did you mean {near[0]}?" if near else "Tab after : shows them all",
        )
    do, choices = COMMANDS[name]
    if choices is None:
        do(session)
    else:
        do(session, text.strip())
    session.look()


def complete(session: Session, text: str) -> tuple[int, Sequence[str]]:
    """Complete the name of a command, or the text behind it."""
    name, blank, argument = text.partition(" ")
    if not blank:
        return 0, [one for one in sorted(COMMANDS) if one.startswith(name)]
    found = COMMANDS.get(name)
    choices = found.choices(session) if found is not None and found.choices is not None else ()
    return len(name) + 1, [one for one in choices if one.startswith(argument)]


def _ask(
    session: Session,
    kind: str,
    then: Callable[[str], object],
    *,
    label: str = "",
    hint: str = "",
    complete: Completer | None = None,
) -> None:
    """Ask for a line of the history's `kind`, and do something with it unless it is blank."""

    def accepted(text: str) -> OnClose:
        session.history.remember(kind, text)
        return partial(then, text) if text.strip() else closed

    editor = Editor(history=session.history.lines(kind), complete=complete)
    session.layers.append(Prompt(label or f"{kind}> ", accepted, editor, hint=hint))


@command("command")
def _command_line(session: Session) -> None:
    _ask(session, "command", session.run, label=":", complete=partial(complete, session))


# --- views and ways out -----------------------------------------------------------------


@command("view", lambda _: VIEWS)
def _view(session: Session, text: str) -> None:
    """Show a view, and perhaps filter it: `view workers web-1`."""
    name, _, rest = text.partition(" ")
    session.show(name)
    session.trail.clear()
    if rest.strip():
        _apply_filter(session, rest.strip().removeprefix("/"))


@command("open")
def _open(session: Session) -> None:
    key = session.table.focus_key
    drilled = session.table.drill(key) if key is not None else None
    if drilled is None or session.reading:
        session.open_detail()
    else:
        session.drill(*drilled)


@command("back")
def _back(session: Session) -> None:
    if session.detail is not None:
        session.detail = None
    elif not session.climb():
        session.leave()


@command("escape")
def _escape(session: Session) -> None:
    table = session.table
    if session.detail is not None:
        session.detail = None
    elif table.marks:
        table.clear_marks()
    elif table.filter_text:
        table.set_filter("")
    else:
        session.message = None


def _pane(session: Session, step: int) -> None:
    """Go between table and detail, or to the next view if there is no detail."""
    if session.detail is not None:
        if session.table_shown:
            session.detail.focused = not session.detail.focused
        return
    session.trail.clear()
    session.show(VIEWS[(VIEWS.index(session.view) + step) % len(VIEWS)])


@command("help")
def _help(session: Session) -> None:
    session.layers.append(Help(session.keymap, (*session.contexts(), "prompts", "menus")))


def _move(session: Session, name: str) -> None:
    table = session.table
    if session.reading and session.detail is not None:
        session.detail.pager.press(name)
    elif name not in ("left", "right"):
        table.move(step_of(name, session.viewport.rows - 1))
    elif isinstance(table, TasksView) and table.tree:
        table.expand(shut=name == "left")
    else:
        table.scroll_columns(1 if name == "right" else -1)


# fmt: off
for _name in (
    "down", "up", "top", "bottom", "page-down", "page-up", "half-down", "half-up", "left", "right",
):
    command(_name)(partial(_move, name=_name))
# fmt: on


# --- the text of the detail -------------------------------------------------------------


def _detail(session: Session) -> DetailPane:
    if session.detail is None:
        raise UsageError("there is no detail to read", "Enter opens it")
    return session.detail


@command("search", _any_text)
def _search(session: Session, text: str) -> None:
    pane = _detail(session)

    def look_for(text: str) -> None:
        if not pane.pager.search(text):
            session.complain(f"not found: {text}")

    if text:
        session.history.remember("search", text)
        look_for(text)
    else:
        _ask(session, "search", look_for)
        pane.focused = True


def _search_again(session: Session, *, back: bool) -> None:
    pager = _detail(session).pager
    if not pager.sought:
        raise UsageError("nothing to search for yet", "/ searches the text")
    if not pager.search_next(back=back):
        session.complain(f"not found: {pager.sought}")


@command("wrap")
def _wrap(session: Session) -> None:
    pager = _detail(session).pager
    pager.press("wrap")
    session.say(f"long lines are {'wrapped' if pager.wrap else 'cut'}")


@command("full")
def _full(session: Session) -> None:
    pane = _detail(session)
    pane.full = not pane.full
    pane.focused = pane.focused or pane.full


# --- filter -----------------------------------------------------------------------------

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


@command("filter", _any_text)
def _filter(session: Session, text: str) -> None:
    if text:
        _apply_filter(session, text)
    else:
        session.layers.append(_FilterPrompt(session))


def _apply_filter(session: Session, text: str) -> None:
    """Filter the table; `save NAME` names the filter that is there instead.

    Raise FilterError for an invalid filter, and keep the old one.
    """
    saved = _SAVE.fullmatch(text.strip())
    if saved is not None:
        if not session.table.filter_text:
            raise UsageError("there is no filter to save")
        session.history.save(saved[1], session.table.filter_text)
        session.say(f"saved: write @{saved[1]} in a filter")
        return
    session.table.set_filter(_expanded(session, text))
    session.history.remember("filter", text.strip())
    for note in session.table.notes():
        session.say(note)
    session.look()


def _expanded(session: Session, text: str) -> str:
    """Return a filter with the saved ones, written @NAME, put in.

    Raise FilterError for a name without a filter.
    """

    def one(found: re.Match[str]) -> str:
        saved = session.history.saved.get(found[1])
        if saved is None:
            known = ", ".join(f"@{name}" for name in session.history.saved)
            raise FilterError(
                f"no filter was saved as @{found[1]}",
                f"there are {known}" if known else ":filter save NAME saves one",
                text=text,
                position=found.start(),
                length=len(found[0]),
            )
        return f"({saved})"

    return _SAVED.sub(one, text)


class _FilterPrompt(Prompt):
    """The prompt for a filter: the table is filtered while one is typed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._before = session.table.filter_text
        self._call_off: Callable[[], None] = closed
        lines = session.history.lines("filter")
        editor = Editor(self._before, history=lines, complete=self._complete)
        super().__init__(_FILTER_LABEL, self._apply, editor)

    def changed(self) -> None:
        self._call_off()
        self._call_off = self._session.loop.later(_DEBOUNCE, self._preview)

    def cancelled(self) -> None:
        self._call_off()
        self._session.table.set_filter(self._before)

    def _preview(self) -> None:
        """Filter by the text so far; an error keeps the last good filter."""
        self.notes = []
        try:
            self._session.table.set_filter(_expanded(self._session, self.text))
        except FilterError as error:
            lines = [sanitize(error.message), *map(sanitize, error.hint.splitlines())]
            if error.position <= _POINTED_CHARS:
                carets = caret(error).split("\n")[1].removeprefix("  ")
                lines.append(" " * len(_FILTER_LABEL) + carets)
            self.notes = [("error", line) for line in lines]
        else:
            self._session.look()

    def _apply(self, text: str) -> OnClose:
        self._call_off()
        self._preview()
        return None if self.notes else partial(_apply_filter, self._session, text)

    def _complete(self, text: str) -> tuple[int, Sequence[str]]:
        """Complete the name of a field, or of a saved filter, at the end of `text`."""
        found = _WORD_START.search(text)
        assert found is not None
        word = found[1]
        if word.startswith("@"):
            names = [f"@{name}" for name in self._session.history.saved]
        else:
            names = [f"{name}:" for name in self._session.table.fields]
        return found.start(1), [name for name in sorted(names) if name.startswith(word)]


def _narrow(session: Session, *, exclude: bool) -> None:
    table = session.table
    key = table.focus_key
    values = table.values(key) if key is not None else {}
    if not values:
        raise UsageError("this row has no value to filter by")

    def narrow(field: str, value: str) -> None:
        table.narrow(field, value, exclude=exclude)
        session.history.remember("filter", table.filter_text)

    choices = [
        Choice(f"{field} {value}", partial(narrow, field, value), _FIELD_KEYS.get(field, ""))
        for field, value in values.items()
    ]
    session.menu("exclude" if exclude else "keep only", choices)


# --- order, columns and rows ------------------------------------------------------------


def _columns_of(session: Session) -> list[str]:
    return [column.name for column in session.table.columns]


def _column(session: Session, name: str) -> str:
    """Return the name of a column by its name or title; raise UsageError if there is none."""
    wanted = name.strip().casefold()
    for column in session.table.columns:
        if wanted in (column.name.casefold(), column.title.casefold()):
            return column.name
    names = ", ".join(_columns_of(session))
    raise UsageError(f"there is no column {name.strip()} here", f"there are {names}")


@command("sort", _columns_of)
def _sort(session: Session, name: str) -> None:
    """Sort by a column; `-` before it reverses the order."""
    table = session.table
    if name:
        table.sort_by(_column(session, name.removeprefix("-")))
        if name.startswith("-"):
            table.invert()
        return
    names = _columns_of(session)
    choices = [
        Choice(f"{column.title}  {column.about}", partial(table.sort_by, column.name))
        for column in table.columns
    ]
    at = names.index(table.sort_key) if table.sort_key in names else 0
    session.menu("sort by", choices, at=at)


@command("columns", _columns_of)
def _columns(session: Session, text: str) -> None:
    """Choose the columns: their names with commas between, or `auto`."""
    names = None if text in ("", "auto") else [_column(session, one) for one in text.split(",")]
    session.table.choose_columns(names)


@command("follow")
def _follow(session: Session) -> None:
    cursor = session.table.cursor
    cursor.toggle_follow()
    followed = "the newest" if cursor.newest_last else "this row"
    session.say(f"following {followed}" if cursor.follow else "not following")


def _failure(session: Session, step: int) -> None:
    table = session.table
    if not isinstance(table, TasksView | EventsView):
        raise UsageError("only in the views of tasks and events", "1 shows the tasks")
    if not table.next_failure(step):
        session.say(f"no failure {'further down' if step > 0 else 'further up'}")


def _related(session: Session, step: int) -> None:
    table = session.table
    if isinstance(table, EventsView) and not table.next_related(step):
        session.say("no other event of this task in that direction")


def _tasks(session: Session) -> TasksView:
    if not isinstance(session.table, TasksView):
        raise UsageError("only in the view of tasks", "1 shows it")
    return session.table


@command("tree")
def _tree(session: Session) -> None:
    table = _tasks(session)
    table.toggle_tree()
    session.say(f"tree view {'on' if table.tree else 'off'}")


@command("parent")
def _parent(session: Session) -> None:
    why_not = _tasks(session).jump_to_parent()
    if why_not:
        session.say(why_not)


# --- display options --------------------------------------------------------------------

_SETTABLE: Final = ("theme", "refresh", "window", "time", "ascii", "mouse", "columns")
#: Offered by F2; each turn takes the next value.
_REFRESHES: Final = (0.2, 0.5, 1.0, 2.0, 5.0)


# fmt: off
#: Command: the option that it sets, its values, a word for it, what is said then.
_OPTIONS: Final[Mapping[str, tuple[str, Sequence[str], str, str]]] = {
    "window": ("window",     WINDOWS,     "window",         "figures of the last {}"),
    "time":   ("time_style", TIME_STYLES, "style of times", "times: {}"),
    "theme":  ("theme",      THEMES,      "theme",          "theme {}"),
}
# fmt: on


def _choose(session: Session, text: str, name: str) -> None:
    """Set an option to one of its values; without a text, to the one after its value."""
    option, values, noun, sentence = _OPTIONS[name]
    options = session.model.options
    if not text:
        text = values[(values.index(getattr(options, option)) + 1) % len(values)]
    elif text not in values:
        raise UsageError(f'invalid {noun} "{text}"', f"there are {', '.join(values)}")
    setattr(options, option, text)
    if name == "theme":
        session.display.set_theme(options.theme)
    session.show(session.view)
    session.say("all figures" if text == "all" else sentence.format(text))


for _name, (_, _values, _, _) in _OPTIONS.items():
    command(_name, partial(lambda values, _: values, _values))(partial(_choose, name=_name))


@command("refresh", _any_text)
def _refresh(session: Session, text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
    session.model.options.refresh = max(REFRESH_MIN, seconds)
    session.say(f"refreshed every {session.model.options.refresh:g}s")


@command("ascii", lambda _: ("on", "off"))
def _ascii(session: Session, text: str) -> None:
    wanted = not session.glyphs.ascii if text in ("", "toggle") else text == "on"
    session.glyphs = ASCII if wanted else UNICODE
    session.model.options.ascii = wanted
    session.display.set_glyphs(session.glyphs)
    session.show(session.view)


@command("mouse")
def _mouse(session: Session) -> None:
    session.mouse = not session.mouse
    session.display.set_mouse(on=session.mouse)
    session.say("mouse on; hold Shift to select text" if session.mouse else "mouse off")


@command("set", lambda _: _SETTABLE)
def _set(session: Session, text: str) -> None:
    """`set NAME VALUE`, as `NAME VALUE` alone would do."""
    name, _, value = text.replace("=", " ").partition(" ")
    if name not in _SETTABLE:
        raise UsageError(f"there is no option {name}", f"there are {', '.join(_SETTABLE)}")
    session.run(f"{name} {value.strip()}".strip())


@command("options")
def _options(session: Session) -> None:
    def choices() -> list[Choice]:
        options = session.model.options
        slower = next((one for one in _REFRESHES if one > options.refresh), _REFRESHES[0])
        settings = (
            ("t", "theme", options.theme, "theme"),
            ("r", "refresh", f"{options.refresh:g}s", f"refresh {slower:g}"),
            ("w", "window", options.window, "window"),
            ("z", "times", options.time_style, "time"),
            ("a", "ASCII", "on" if session.glyphs.ascii else "off", "ascii toggle"),
            ("m", "mouse", "on" if session.mouse else "off", "mouse"),
        )
        lines = [
            Choice(f"{name:<9}{value}", partial(session.run, line), key)
            for key, name, value, line in settings
        ]
        return [*lines, Choice("columns  ...", partial(_choose_columns, session), "c")]

    session.layers.append(Menu("options", choices, stays=True))


def _choose_columns(session: Session) -> None:
    table = session.table

    def shown() -> set[str]:
        return {slot.column.name for slot in table.slots}

    def toggle(name: str) -> None:
        wanted = shown() ^ {name}
        table.choose_columns([one for one in _columns_of(session) if one in wanted] or None)

    def choices() -> list[Choice]:
        lines = []
        for column in table.columns:
            box = "[x]" if column.name in shown() else "[ ]"
            text = f"{box} {column.title:<20} {column.about}"
            lines.append(Choice(text, partial(toggle, column.name)))
        return lines

    session.layers.append(Menu(f"columns of {table.title}", choices, stays=True))


# --- pause and replay -------------------------------------------------------------------

_SPEED_MAX: Final = 1000.0
_MOMENTS: Final = "write 14:30, 14:30:05, 2026-11-20T14:30, +10s or -5m"


def _replay(session: Session) -> RecordingReader:
    source = session.feed.source
    if not isinstance(source, RecordingReader):
        raise UsageError("only in a replay", "evtop -r FILE replays a recording")
    return source


@command("pause")
def _pause(session: Session) -> None:
    """Pause the display; of a replay, the recording."""
    source, model = session.feed.source, session.model
    if isinstance(source, RecordingReader):
        (source.resume if source.paused else source.pause)()
        session.say("replay paused" if source.paused else "replay resumed")
    elif model.paused:
        model.thaw()
        session.show(session.view)
        session.say("live again")
    else:
        model.freeze(session.clock.wall())
        session.say("paused; events are still collected")


def _step(session: Session, step: int) -> None:
    source, model = session.feed.source, session.model
    if isinstance(source, RecordingReader):
        source.pause()
        if source.position is not None:
            source.seek(source.position + step * model.options.refresh)
        return
    if not model.paused:
        raise UsageError("only a paused display can be stepped", "p pauses it")
    picture = model.step(step, session.clock.wall())
    if picture is None:
        session.say("no earlier picture that looks different was kept")
        return
    session.switch_to(picture.view)
    session.say(f"as it was at {model.context().time_of_day(picture.as_of)}")


@command("seek", _any_text)
def _seek(session: Session, text: str) -> None:
    """Go to a time of a replay; a time of day is one of the day that is being played."""
    replay = _replay(session)
    if not text:
        _ask(session, "seek", lambda text: _seek(session, text.strip()), hint=_MOMENTS)
        return
    position = replay.position
    if position is None:
        raise UsageError("nothing has been played yet")
    zone = session.model.context().zone
    try:
        if text[0] in "+-":
            seconds = parse_duration(text[1:])
            moment = position + (seconds if text[0] == "+" else -seconds)
        else:
            day = datetime.fromtimestamp(position, zone).date()
            if "-" in text:
                at = datetime.fromisoformat(text)
            else:
                at = datetime.combine(day, time.fromisoformat(text))
            moment = (at if at.tzinfo else at.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(f'invalid time "{text}"', _MOMENTS) from None
    replay.seek(moment)


@command("speed", _any_text)
def _speed(session: Session, text: str) -> None:
    replay = _replay(session)
    try:
        speed = math.inf if text == "max" else float(text.removesuffix("x"))
    except ValueError:
        speed = math.nan
    if not (0 < speed <= _SPEED_MAX or speed == math.inf):
        raise UsageError(f'invalid speed "{text}"', "write 1x, 10x or max")
    replay.speed = speed
    session.say(f"speed {text}")


# --- copies and files -------------------------------------------------------------------

#: How much of a copy is shown.
_COPY_COLS: Final = 40
#: Views whose keys mean nothing to people, and the field of a row that is copied instead.
_NAMED_BY: Final = {"events": "uuid", "errors": "name"}


def _copy(session: Session, *, whole: bool) -> None:
    """Copy a row as JSON, or else its id or name."""
    table, key = session.table, session.table.focus_key
    if key is None:
        raise UsageError("there is no row to copy")
    name = _NAMED_BY.get(session.view, "")
    text = table.as_json(key) if whole else table.values(key).get(name, key)
    sequence = copy_sequence(text)
    if sequence:
        session.display.send(sequence)
        session.say(f"copied, if the terminal allows it: {clip(sanitize(text), _COPY_COLS)}")
    else:
        path = save(session.clock, "copy", "txt", [text])
        session.say(f"too long for a clipboard; it is in {path}")


_EXPORTS: Final = ("jsonl", "csv", "screenshot", "recording")


@command("export", lambda _: _EXPORTS)
def _export(session: Session, kind: str) -> None:
    table = session.table
    recording = session.feed.recording
    if kind in ("jsonl", "csv"):
        lines = render_table(table, "json" if kind == "jsonl" else "csv")
        path = save(session.clock, table.name, kind, lines)
        session.say(f"{len(table)} rows in {path}")
    elif kind == "screenshot":
        # The picture on the terminal still has the menu in which it was asked for.
        picture = screen.draw(session, session.display.size())
        lines = (plain(line).rstrip() for line in picture.lines)
        path = save(session.clock, session.view, "txt", lines)
        session.say(f"screenshot in {path}")
    elif kind == "recording":
        _record(session, "")
    elif kind:
        raise UsageError(f"{kind} cannot be exported", f"there are {', '.join(_EXPORTS)}")
    else:
        record = "stop recording" if recording else "record from now on"
        texts = ("rows as JSON Lines", "rows as CSV", "screenshot", record)
        choices = [
            Choice(text, partial(_export, session, one), one[0])
            for one, text in zip(_EXPORTS, texts, strict=True)
        ]
        session.menu("export", choices)


@command("record", _any_text)
def _record(session: Session, path: str) -> None:
    """Record into a file, or into a new one; `off` stops, as no path does while recording."""
    recording = session.feed.recording
    if path in ("off", "stop") or (recording is not None and not path):
        session.feed.recording = None
        if recording is not None:
            session.say(f"{recording.events} events in {recording.path}")
    elif not path:
        _record_into(session, "")
    elif Path(path).is_file() and (size := Path(path).stat().st_size):
        text = f"{sanitize(path)} has {human_size(size)}."
        overwrite = partial(_record_into, session, path)
        session.layers.append(Dialog("overwrite?", [text], overwrite, yes="Overwrite"))
    else:
        _record_into(session, path)


def _record_into(session: Session, path: str) -> None:
    recording = Recording(path, session.clock) if path else new_recording(session.clock)
    session.feed.recording = recording
    session.say(f"recording into {recording.path}")


# --- changes to the cluster -------------------------------------------------------------

#: How many targets a dialog names.
_NAMED_MAX: Final = 5
_NAME_COLS: Final = 70


def _require_control(session: Session) -> None:
    if session.control is None:
        raise UsageError("nothing is changed: read-only mode", "leave out --read-only to act")


def _targets(session: Session, action: Action) -> list[str]:
    """Return the targets of an action: the marks, or the row."""
    table = session.table
    found = (target_of(action, session.view, key, table.values(key)) for key in table.targets())
    return list(dict.fromkeys(one for one in found if one is not None))


@command("actions", _any_text)
def _actions(session: Session, name: str) -> None:
    if name:
        _act(session, name)
        return
    _require_control(session)
    choices = []
    for action in actions_for(session.view):
        targets = _targets(session, action)
        if targets:
            many = f"{len(targets)} {action.kind}s"
            about = clip(targets[0], _NAME_COLS // 2) if len(targets) == 1 else many
            do = partial(_act, session, action.name)
            choices.append(Choice(f"{action.title}  ({about})", do, action.key))
    if not choices:
        raise UsageError("there are no actions on this row")
    session.menu("actions", choices)


def _act(session: Session, name: str) -> None:
    """Ask the questions of an action and for a confirmation, and send it.

    The targets are those of this moment, whatever moves under the cursor.
    """
    _require_control(session)
    action = BY_NAME.get(name)
    if action is None:
        raise UsageError(f"there is no action {name}")
    if action not in actions_for(session.view):
        raise UsageError(f"{action.title} is not for {session.table.title.lower()}")
    targets = _targets(session, action)
    _answer(session, prepare(session.model.state, action, targets, now=session.clock.wall()), {})


def _answer(session: Session, request: Request, answers: dict[str, str]) -> None:
    """Ask the next question of a request, or for its confirmation if there is none left."""
    left = (one for one in request.action.arguments if one.name not in answers)
    argument = next(left, None)
    if argument is None:
        _confirm(session, request.answered(answers))
        return

    def answered(text: str) -> Callable[[], None]:
        return partial(_answer, session, request, {**answers, argument.name: text})

    def accepted(text: str) -> OnClose:
        try:
            argument.parse(text)
        except ValueError as error:
            prompt.notes = [("error", f"{error} ({argument.question})")]
            return None
        return answered(text)

    if argument.choices:
        title = f"{request.action.title}: {argument.title}"
        session.menu(title, [Choice(choice, answered(choice)) for choice in argument.choices])
        return
    editor = Editor(argument.default)
    prompt = Prompt(f"{argument.title}> ", accepted, editor, hint=f"{argument.question}:")
    session.layers.append(prompt)


def _confirm(session: Session, request: Request) -> None:
    action = request.action

    def send() -> None:
        assert session.control is not None
        session.control.submit(request)
        session.say(f"{request.summary}: sent ...")

    if not request.confirmation:
        send()
        return
    text = [clip(label, _NAME_COLS) for label in request.labels[:_NAMED_MAX]]
    if len(request.labels) > _NAMED_MAX:
        text.append(f"and {len(request.labels) - _NAMED_MAX} more")
    for argument in action.arguments:
        value = request.values.get(argument.name)
        text.append(f"{argument.title}: {'none' if value is None else value}")
    text.append(action.consequence)
    word = "" if request.confirmation == "y" else request.confirmation
    session.layers.append(Dialog(action.title, text, send, word=word, yes=action.title))


# --- commands that are one call each ----------------------------------------------------

# fmt: off
_CALLS: Final[dict[str, Callable[[Session], object]]] = {
    "detail":           lambda session: session.open_detail(),
    "result":           lambda session: session.open_detail("Info"),
    "next-pane":        lambda session: _pane(session, 1),
    "previous-pane":    lambda session: _pane(session, -1),
    "quit":             lambda session: session.loop.end(),
    "redraw":           lambda session: session.display.redraw(),
    "suspend":          lambda session: session.display.suspend(),
    "search-next":      lambda session: _search_again(session, back=False),
    "search-previous":  lambda session: _search_again(session, back=True),
    "section-next":     lambda session: _detail(session).turn(1),
    "section-previous": lambda session: _detail(session).turn(-1),
    "keep":             lambda session: _narrow(session, exclude=False),
    "exclude":          lambda session: _narrow(session, exclude=True),
    "sort-left":        lambda session: session.table.sort_beside(-1),
    "sort-right":       lambda session: session.table.sort_beside(1),
    "invert":           lambda session: session.table.invert(),
    "mark":             lambda session: session.table.toggle_mark(),
    "unmark":           lambda session: session.table.clear_marks(),
    "next-failure":     lambda session: _failure(session, 1),
    "previous-failure": lambda session: _failure(session, -1),
    "next-related":     lambda session: _related(session, 1),
    "previous-related": lambda session: _related(session, -1),
    "expand":           lambda session: _tasks(session).expand(),
    "collapse":         lambda session: _tasks(session).expand(shut=True),
    "expand-all":       lambda session: _tasks(session).toggle_all(),
    "step-back":        lambda session: _step(session, -1),
    "step-forward":     lambda session: _step(session, 1),
    "copy":             lambda session: _copy(session, whole=False),
    "copy-row":         lambda session: _copy(session, whole=True),
}
# fmt: on
COMMANDS.update((name, Command(do)) for name, do in _CALLS.items())
COMMANDS.update((one.name, Command(partial(_act, name=one.name))) for one in ACTIONS)
