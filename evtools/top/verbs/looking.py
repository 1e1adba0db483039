"""Commands about what is looked at: views, detail, pause, window, look."""

from collections.abc import Sequence
from typing import Final, TypeVar

from evtools.errors import UsageError
from evtools.text import parse_duration
from evtools.top.choices import THEMES, TIME_STYLES, VIEWS, WINDOWS
from evtools.top.glyphs import glyphs
from evtools.top.options import REFRESH_MIN
from evtools.top.session import Session
from evtools.top.verbs.filtering import apply_filter
from evtools.top.verbs.verb import Verb, plain
from evtools.top.widgets.help import Help
from evtools.top.widgets.menu import Choice, Menu

C = TypeVar("C", bound=str)

# --- ways in and out --------------------------------------------------------------


def _view(session: Session, text: str) -> None:
    """Show a view, and perhaps filter it: `view workers web-1`."""
    name, _, rest = text.partition(" ")
    session.show(name)
    session.trail.clear()
    if rest.strip():
        apply_filter(session, rest.strip().removeprefix("/"))


def _open(session: Session) -> None:
    key = session.table.focus_key
    drilled = session.table.drill(key) if key is not None else None
    if drilled is None or session.reading:
        session.open_detail()
    else:
        session.drill(*drilled)


def _back(session: Session) -> None:
    if session.detail is not None:
        session.detail = None
    elif not session.climb():
        session.leave()


def _escape(session: Session) -> None:
    table = session.table
    if session.detail is not None:
        session.detail = None
    elif table.marks:
        table.clear_marks()
    elif table.filter_text:
        table.set_filter("")
    elif session.message is not None:
        session.message = None


def _pane(session: Session, step: int) -> None:
    """Go between table and detail, or to the next view if there is no detail."""
    if session.detail is not None:
        if session.table_shown:
            session.detail.focused = not session.detail.focused
        return
    session.trail.clear()
    session.show(VIEWS[(VIEWS.index(session.view) + step) % len(VIEWS)])


def _help(session: Session) -> None:
    contexts = (*session.contexts(), "prompts", "menus")
    session.layers.append(Help(session.keymap, contexts))


# --- the picture ------------------------------------------------------------------


def _window(session: Session, text: str) -> None:
    window = _chosen(text, WINDOWS, session.model.options.window, "window")
    session.model.options.window = window
    session.show(session.view)
    session.say(f"figures of the last {window}" if window != "all" else "all figures")


def _time(session: Session, text: str) -> None:
    before = session.model.options.time_style
    style = _chosen(text, TIME_STYLES, before, "style of times")
    session.model.options.time_style = style
    session.show(session.view)
    session.say(f"times: {style}")


def _chosen(text: str, choices: Sequence[C], now: C, what: str) -> C:
    """Return the choice of that name; without one, the one after `now`."""
    if not text:
        return choices[(choices.index(now) + 1) % len(choices)]
    for choice in choices:
        if choice == text:
            return choice
    raise UsageError(f"{text} is no {what}", f"there are {', '.join(choices)}")


# --- options ----------------------------------------------------------------------


def _theme(session: Session, text: str) -> None:
    theme = _chosen(text, THEMES, session.model.options.theme, "theme")
    session.model.options.theme = theme
    session.host.set_theme(theme)
    session.say(f"theme {theme}")


def _refresh(session: Session, text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
    session.model.options.refresh = max(REFRESH_MIN, seconds)
    session.say(f"refreshed every {session.model.options.refresh:g}s")


def _ascii(session: Session, text: str) -> None:
    wanted = not session.glyphs.ascii if text in ("", "toggle") else text == "on"
    session.glyphs = glyphs(ascii_only=wanted)
    session.model.options.ascii = wanted
    session.host.set_glyphs(session.glyphs)
    session.show(session.view)


def _mouse(session: Session) -> None:
    session.mouse = not session.mouse
    session.host.set_mouse(on=session.mouse)
    if session.mouse:
        session.say("mouse on; hold Shift to select text")
    else:
        session.say("mouse off")


def _set(session: Session, text: str) -> None:
    """`set NAME VALUE`, as `NAME VALUE` alone would do."""
    name, _, value = text.replace("=", " ").partition(" ")
    if name not in _SETTABLE:
        raise UsageError(f"there is no option {name}", f"there are {', '.join(_SETTABLE)}")
    session.run(f"{name} {value.strip()}".strip())


_SETTABLE: Final = ("theme", "refresh", "window", "time", "ascii", "mouse", "columns")
#: What F2 offers; each turn takes the next value.
_REFRESHES: Final = (0.2, 0.5, 1.0, 2.0, 5.0)


def _options(session: Session) -> None:
    def choices() -> list[Choice]:
        options = session.model.options
        settings = (
            ("t", "theme", options.theme, "theme"),
            ("r", "refresh", f"{options.refresh:g}s", f"refresh {_slower(session)}"),
            ("w", "window", options.window, "window"),
            ("z", "times", options.time_style, "time"),
            ("a", "ASCII", "on" if session.glyphs.ascii else "off", "ascii toggle"),
            ("m", "mouse", "on" if session.mouse else "off", "mouse"),
        )
        lines = [
            Choice(
                f"{name:<9}{value}",
                lambda command=command: session.run(command),  # type: ignore[misc]
                key,
            )
            for key, name, value, command in settings
        ]
        columns = Choice("columns  ...", lambda: _choose_columns(session), "c")
        return [*lines, columns]

    session.layers.append(Menu("options", choices, stays=True))


def _slower(session: Session) -> str:
    now = session.model.options.refresh
    return f"{next((one for one in _REFRESHES if one > now), _REFRESHES[0]):g}"


def _choose_columns(session: Session) -> None:
    table = session.table

    def toggle(name: str) -> None:
        shown = [slot.column.name for slot in table.slots]
        wanted = set(shown) ^ {name}
        names = [column.name for column in table.columns if column.name in wanted]
        table.choose_columns(names or None)

    def choices() -> list[Choice]:
        shown = {slot.column.name for slot in table.slots}
        return [
            Choice(
                f"[{'x' if column.name in shown else ' '}] {column.title:<20} {column.about}",
                lambda name=column.name: toggle(name),  # type: ignore[misc]
            )
            for column in table.columns
        ]

    session.layers.append(Menu(f"columns of {table.title}", choices, stays=True))


VERBS: Final = (
    Verb("view", "show a view", _view, "VIEW [FILTER]", lambda _: VIEWS),
    plain("open", "detail, or the tasks of this row", _open),
    plain("detail", "detail of this row", lambda s: s.open_detail()),
    plain("result", "detail, at the result", lambda s: s.open_detail("Info")),
    plain("back", "back, or quit", _back),
    plain("escape", "close, unmark, drop the filter", _escape),
    plain("quit", "quit", lambda s: s.host.end()),
    plain("next-pane", "next pane or view", lambda s: _pane(s, 1)),
    plain("previous-pane", "previous pane or view", lambda s: _pane(s, -1)),
    plain("help", "all keys", _help),
    Verb("window", "window of the figures", _window, "WINDOW", lambda _: WINDOWS),
    Verb("time", "style of times", _time, "STYLE", lambda _: TIME_STYLES),
    Verb("theme", "colours", _theme, "THEME", lambda _: THEMES),
    Verb("refresh", "how often to look", _refresh, "SECONDS"),
    Verb("ascii", "ASCII only", _ascii, "on | off", lambda _: ("on", "off")),
    plain("mouse", "mouse on or off", _mouse),
    plain("options", "all options", _options),
    Verb("set", "set an option", _set, "NAME VALUE", lambda _: _SETTABLE),
    plain("redraw", "draw the screen again", lambda s: s.host.redraw()),
    plain("suspend", "suspend", lambda s: s.host.suspend()),
)
