"""The keys of evtop: the table, and the [keys] of the settings file on top of it."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from evtools.errors import ConfigError, UsageError
from evtools.text import width

#: Context: its title in the help.  The order is that of the help.
CONTEXTS: Final = {
    "lists": "LISTS",
    "workers": "WORKERS",
    "queues": "QUEUES",
    "events": "EVENTS",
    "moving": "MOVING",
    "text": "TEXT",
    "paused": "PAUSED OR REPLAY",
    "everywhere": "EVERYWHERE",
    "menus": "MENUS AND DIALOGS",
    "prompts": "PROMPTS",
}

# fmt: off
#: Context: command as it could be typed after `:`, keys, help.
_TABLE: Final[Mapping[str, Sequence[tuple[str, str, str]]]] = {
    "lists": (
        ("open", "enter", "detail, or the tasks of this row"),
        ("detail", "i", "detail of this row"),
        ("filter", "/ \\ f4", "filter, live"),
        ("keep", "=", "keep only a value of this row"),
        ("exclude", "!", "exclude a value of this row"),
        ("sort", "o f6", "choose the column to sort by"),
        ("sort-left", "<", "sort by the column to the left"),
        ("sort-right", ">", "sort by the column to the right"),
        ("invert", "I", "invert the order"),
        ("follow", "F", "follow this row, or the newest event"),
        ("group", "A", "types by the values of an argument, or no more"),
        ("tree", "t f5", "show tasks as call trees, whole whatever the filter"),
        ("expand", "+", "expand this node of the tree"),
        ("collapse", "-", "collapse this node of the tree"),
        ("expand-all", "*", "expand all, or collapse all"),
        ("parent", "J", "jump to the task that called this one"),
        ("next-failure", "e", "next failure"),
        ("previous-failure", "E", "previous failure"),
        ("mark", "space", "mark, and go down"),
        ("unmark", "U", "unmark all"),
        ("copy", "y c", "copy the id or the name"),
        ("copy-row", "Y", "copy the row as JSON"),
        ("result", "r", "detail, at the result"),
        ("actions", "a f9", "actions on this row, or on the marked ones"),
        ("revoke", "C", "revoke: it will not start"),
        ("terminate", "K", "revoke, and terminate it where it runs"),
        ("run-again", "R", "run again: send a new message with the same arguments"),
        ("rate-limit", "L", "limit the rate of this type"),
    ),
    "workers": (
        ("shutdown", "S", "shut this worker down"),
    ),
    "queues": (
        ("broker-stats", "b", "ask the broker about queues, or ask it no more"),
    ),
    "events": (
        ("next-related", "o", "next event of the same task"),
        ("previous-related", "O", "previous event of the same task"),
    ),
    "moving": (
        ("down", "j down", "down"),
        ("up", "k up", "up"),
        ("top", "g home", "first row"),
        ("bottom", "G end", "last row"),
        ("page-down", "pgdn ctrl-f", "one page down"),
        ("page-up", "pgup ctrl-b", "one page up"),
        ("half-down", "ctrl-d", "half a page down"),
        ("half-up", "ctrl-u", "half a page up"),
        ("left", "h left", "scroll to the left; in a tree, collapse"),
        ("right", "l right", "scroll to the right; in a tree, expand"),
    ),
    "text": (
        ("search", "/", "search in the text"),
        ("search-next", "n", "next match"),
        ("search-previous", "N", "previous match"),
        ("wrap", "w", "wrap long lines"),
        ("full", "f", "full screen"),
        ("section-previous", "[", "previous section"),
        ("section-next", "]", "next section"),
    ),
    "paused": (
        ("step-back", ",", "step back by one refresh"),
        ("step-forward", ".", "step forward by one refresh"),
        ("seek", "S", "seek to a time (replay)"),
    ),
    "everywhere": (
        ("help", "? f1", "this help; typing filters it"),
        ("alerts", "W", "go to the alert that fires, or choose among several"),
        ("messages", "m", "the last messages, with their times"),
        ("back", "q", "back; from the first view, quit (after 5 minutes it asks)"),
        ("quit", "Q ctrl-c", "quit at once"),
        ("escape", "esc", "close, leave, unmark, clear the filter; never quits"),
        ("view overview", "0", "overview: graphs, and what needs attention"),
        ("view tasks", "1", "tasks"),
        ("view types", "2", "task types"),
        ("view workers", "3", "workers"),
        ("view queues", "4", "queues"),
        ("view events", "5", "events"),
        ("view errors", "6", "errors, grouped"),
        ("next-pane", "tab", "next pane, or next view"),
        ("previous-pane", "shift-tab", "previous pane, or previous view"),
        ("command", ":", "command line, Tab completes"),
        ("pause", "p Z", "pause the display; events are still collected"),
        ("window", "T", "time window of the figures: 1m 5m 15m 1h all"),
        ("heat", "H", "durations over time as a heat map, or as p50 and p95"),
        ("compare", "V", "compare types with an hour ago, with a day ago"),
        ("time", "z", "times as age, local, UTC"),
        ("mouse", "M", "mouse on or off"),
        ("options", "f2", "display options: columns, theme, refresh, ASCII"),
        ("export", "x", "export: JSON Lines, CSV, screenshot, recording, calls"),
        ("redraw", "ctrl-l", "redraw the screen"),
        ("suspend", "ctrl-z", "suspend; fg comes back"),
    ),
    "menus": (
        ("menu-down", "j down tab", "next choice"),
        ("menu-up", "k up shift-tab", "previous choice"),
        ("menu-page-down", "pgdn ctrl-f", "one page down"),
        ("menu-page-up", "pgup ctrl-b", "one page up"),
        ("menu-left", "h left", "the button to the left"),
        ("menu-right", "l right", "the button to the right"),
        ("choose", "enter", "choose it"),
        ("menu-close", "q esc ctrl-c", "close it"),
    ),
    "prompts": (
        ("accept", "enter", "apply"),
        ("cancel", "esc ctrl-c", "cancel; the filter is as it was"),
        ("complete", "tab", "complete"),
        ("history-back", "up ctrl-p", "previous line of the history"),
        ("history-forward", "down ctrl-n", "next line of the history"),
        ("line-start", "ctrl-a home", "to the start"),
        ("line-end", "ctrl-e end", "to the end"),
        ("char-left", "left ctrl-b", "one character to the left"),
        ("char-right", "right ctrl-f", "one character to the right"),
        ("word-left", "alt-b ctrl-left", "one word to the left"),
        ("word-right", "alt-f ctrl-right", "one word to the right"),
        ("erase-left", "backspace", "erase to the left"),
        ("erase-right", "delete ctrl-d", "erase to the right"),
        ("erase-to-start", "ctrl-u", "erase to the start"),
        ("erase-to-end", "ctrl-k", "erase to the end"),
        ("erase-word", "ctrl-w", "erase the word to the left"),
        ("erase-word-right", "alt-d", "erase the word to the right"),
        ("yank", "ctrl-y", "insert the text that was erased last"),
    ),
}

#: The bottom line, from left to right: a command, its word, and the order in which words
#: are left out where the terminal is narrow (0 stays longest).
FOOTER: Final = (
    ("accept", "Apply", 0), ("cancel", "Cancel", 0), ("complete", "Complete", 1),
    ("choose", "Choose", 0), ("menu-close", "Close", 0), ("help", "Help", 0),
    ("filter", "Filter", 1), ("search", "Search", 1), ("search-next", "Next", 6),
    ("open", "Detail", 2), ("section-next", "Section", 2), ("wrap", "Wrap", 7),
    ("full", "Full", 5), ("mark", "Mark", 10), ("pause", "Pause", 3),
    ("step-forward", "Step", 3), ("follow", "Follow", 5), ("tree", "Tree", 6),
    ("sort", "Sort", 4), ("window", "Window", 8), ("copy", "Copy", 9),
    ("actions", "Actions", 7), ("back", "Quit", 0),
)

_NAMES: Final = {
    "enter": "Enter", "esc": "Esc", "tab": "Tab", "space": "Space", "backspace": "Backspace",
    "delete": "Del", "insert": "Ins", "home": "Home", "end": "End", "pgup": "PgUp",
    "pgdn": "PgDn", "up": "Up", "down": "Down", "left": "Left", "right": "Right",
} | {f"f{number}": f"F{number}" for number in range(1, 13)}

#: Keys that terminals cannot tell from another key, or keep for themselves.
_TAKEN: Final = {
    "ctrl-h": "backspace", "ctrl-i": "tab", "ctrl-j": "enter", "ctrl-m": "enter",
    "ctrl-[": "esc", "ctrl-s": "a stop of the terminal", "ctrl-q": "a start of the terminal",
    "ctrl-z": "suspend",
}
# fmt: on

#: Keys that always lead out, so they cannot mean anything else.
_FIXED: Final = ("esc", "ctrl-c")
#: Contexts that are never active together with another one, and pairs that share keys, for
#: the first goes before the other.
_ALONE: Final = {"menus", "prompts"}
_SHADOWS: Final = (
    {"text", "lists"}, {"events", "lists"}, {"workers", "events"}, {"workers", "paused"},
)  # fmt: skip
#: Context: those in which a key could mean something else at the same time.
_MEETING: Final = {
    one: [
        other
        for other in CONTEXTS
        if one == other or not ({one, other} & _ALONE or {one, other} in _SHADOWS)
    ]
    for one in CONTEXTS
}

_KEY: Final = re.compile(
    rf"(?:(?:shift|ctrl|alt)-)*(?:{'|'.join(_NAMES)})|(?:ctrl-[a-z\\\]^_])|alt-[!-~]"
)


class Binding(NamedTuple):
    """The keys of a command in a context; `help` is one line."""

    context: str
    command: str
    keys: tuple[str, ...]
    help: str


BINDINGS: Final = tuple(
    Binding(context, command, tuple(keys.split()), text)
    for context, rows in _TABLE.items()
    for command, keys, text in rows
)
_KEYS: Final = {binding.command: binding.keys for binding in BINDINGS}


def canonical(key: str) -> str:
    """Return the name in the table of a key as urwid calls it."""
    if len(key) == 1:
        return "space" if key == " " else key
    key = key.replace("page up", "pgup").replace("page down", "pgdn")
    return key.replace("meta ", "alt ").replace(" ", "-")


def keys_text(binding: Binding) -> str:
    """Return the keys of a binding as people read them: `PgDn ctrl-f`."""
    return " ".join(_NAMES.get(key, key) for key in binding.keys)


class Keymap:
    """The table with the `overrides` of the settings file.

    They name a command and the keys that mean it instead of the built-in ones; no keys
    take them away.  `own` are commands of the user, by their place in that file.  Raise
    UsageError, or for those ConfigError, for an unknown command or key and for a key with two
    meanings.
    """

    def __init__(
        self,
        overrides: Mapping[str, str | Sequence[str]] | None = None,
        own: Mapping[str, Binding] | None = None,
    ) -> None:
        self._keys = _KEYS | {
            command: _checked(command, [keys] if isinstance(keys, str) else keys)
            for command, keys in (overrides or {}).items()
        }
        self.bindings = tuple(one._replace(keys=self._keys[one.command]) for one in BINDINGS)
        places = {binding.command: place for place, binding in (own or {}).items()}
        for place, (context, command, keys, text) in (own or {}).items():
            for key in keys:
                if (wrong := _problem(key)) is not None:
                    raise ConfigError(f"{place}: {wrong[0]}", wrong[1])
            self._keys[command] = keys
            self.bindings += (Binding(context, command, keys, text),)
        #: What a key means in a context.
        self._commands: dict[tuple[str, str], str] = {}
        for context, command, keys, _ in self.bindings:
            for key in keys:
                found = (self._commands.get((other, key)) for other in _MEETING[context])
                before = next(filter(None, found), None)
                if before is not None and command in places:
                    problem = f'{places[command]}: the key "{key}" means "{before}" already'
                    raise ConfigError(problem, "give it another key")
                if before is not None:
                    raise UsageError(
                        f'[keys] the key "{key}" means both "{before}" and "{command}"',
                        "give one of them another key",
                    )
                self._commands[context, key] = command

    def find(self, key: str, contexts: Iterable[str]) -> str | None:
        """Return the command of a key in the first of the contexts that has one."""
        found = (self._commands.get((context, key)) for context in contexts)
        return next(filter(None, found), None)

    def key_of(self, command: str) -> str:
        """Return the first key of a command, as people read it, or ""."""
        return next((_NAMES.get(key, key) for key in self._keys.get(command, ())), "")

    def help(self, contexts: Iterable[str], wanted: str = "") -> Iterator[Binding]:
        """Yield the bindings of some contexts that have `wanted` in keys, command or help."""
        active, wanted = set(contexts), wanted.casefold()
        for binding in self.bindings:  # in the order of CONTEXTS
            text = f"{keys_text(binding)}\n{binding.command}\n{binding.help}"
            if binding.context in active and binding.keys and wanted in text.casefold():
                yield binding

    def footer(
        self, contexts: Sequence[str], cols: int, words: Mapping[str, str]
    ) -> list[tuple[str, str]]:
        """Return (key, word) of the bottom line, as many as fit into `cols`.

        `words` has other words for some commands; "" leaves one out.
        """
        items = []
        for command, usual, rank in FOOTER:
            word, keys = words.get(command, usual), self._keys[command]
            if word and keys and self.find(keys[0], contexts) == command:
                items.append((rank, self.key_of(command), word))
        while sum(width(key) + width(word) + 3 for _, key, word in items) > cols:
            items.remove(max(reversed(items), key=lambda item: item[0]))
        return [(key, word) for _, key, word in items]


def _problem(key: str) -> tuple[str, str] | None:
    # Why a key cannot be given to a command, and a hint.
    is_character = len(key) == 1 and key.isprintable() and key != " "
    if not is_character and not _KEY.fullmatch(key):
        hint = "write a character, or as in ctrl-x, alt-x, shift-tab, enter, pgup, f1"
        return f'"{key}" is not a key', hint
    if key in _FIXED:
        return f'"{key}" always leads out and means nothing else', "give it another key"
    if key in _TAKEN:
        return f'for a terminal "{key}" is {_TAKEN[key]}', "give it another key"
    return None


def _checked(command: str, keys: Sequence[str]) -> tuple[str, ...]:
    # The keys that a command is to have; the ways out remain.
    if command not in _KEYS:
        near = difflib.get_close_matches(command, _KEYS, 1)
        hint = f'did you mean "{near[0]}"?' if near else "see KEYS in evtop(1)"
        raise UsageError(f'[keys] there is no command "{command}"', hint)
    usual = _KEYS[command]
    for key in keys:
        if key not in usual and (problem := _problem(key)):
            raise UsageError(f"[keys] {command}: {problem[0]}", problem[1])
    return (*keys, *(key for key in _FIXED if key in usual and key not in keys))
