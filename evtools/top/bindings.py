"""The keys of evtop as they come: one table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Binding:
    """Which keys give which command, in a context.

    `command` is what could be typed after `:`, `help` is one line.
    """

    context: str
    command: str
    keys: tuple[str, ...]
    help: str


#: Context: its title in the help.  The order is that of the help.
CONTEXTS: Final = {
    "lists": "LISTS",
    "workers": "WORKERS",
    "events": "EVENTS",
    "moving": "MOVING",
    "text": "TEXT",
    "paused": "PAUSED OR REPLAY",
    "everywhere": "EVERYWHERE",
    "menus": "MENUS AND DIALOGS",
    "prompts": "PROMPTS",
}

# fmt: off
#: Context: command, keys, help.
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
        ("tree", "t f5", "tree of callers and called"),
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
        ("actions", "a f9", "what can be done to this row, or the marks"),
        ("revoke", "C", "revoke: it will not start"),
        ("terminate", "K", "revoke, and terminate it where it runs"),
        ("rate-limit", "L", "limit the rate of this type"),
    ),
    "workers": (
        ("shutdown", "S", "shut this worker down"),
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
        ("search-next", "n", "next place found"),
        ("search-previous", "N", "previous place found"),
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
        ("back", "q", "back; from the first view, quit (after 5 minutes it asks)"),
        ("quit", "Q ctrl-c", "quit at once"),
        ("escape", "esc", "close, leave, unmark, drop the filter; never quits"),
        ("view tasks", "1", "tasks"),
        ("view types", "2", "task types"),
        ("view workers", "3", "workers"),
        ("view queues", "4", "queues"),
        ("view events", "5", "events"),
        ("view errors", "6", "errors, grouped"),
        ("next-pane", "tab", "next pane, or next view"),
        ("previous-pane", "shift-tab", "previous pane, or previous view"),
        ("command", ":", "command line, Tab completes"),
        ("pause", "p Z", "pause the picture; events are still taken in"),
        ("window", "T", "window of the figures: 1m 5m 15m 1h all"),
        ("time", "z", "times as age, local, UTC"),
        ("mouse", "M", "mouse on or off"),
        ("options", "f2", "options: columns, theme, refresh, ASCII"),
        ("export", "x", "export: JSON Lines, CSV, screenshot, recording"),
        ("redraw", "ctrl-l", "draw the screen again"),
        ("suspend", "ctrl-z", "suspend; fg comes back"),
    ),
    "menus": (
        ("menu-down", "j down tab", "next choice"),
        ("menu-up", "k up shift-tab", "previous choice"),
        ("menu-page-down", "pgdn ctrl-f", "one page down"),
        ("menu-page-up", "pgup ctrl-b", "one page up"),
        ("menu-left", "h left", "the button to the left"),
        ("menu-right", "l right", "the button to the right"),
        ("choose", "enter", "take it"),
        ("menu-close", "q esc ctrl-c", "close it"),
    ),
    "prompts": (
        ("accept", "enter", "apply"),
        ("cancel", "esc ctrl-c", "cancel; the filter is as it was"),
        ("complete", "tab", "complete"),
        ("history-back", "up ctrl-p", "what was typed before"),
        ("history-forward", "down ctrl-n", "what was typed after that"),
        ("line-start", "ctrl-a home", "to the start"),
        ("line-end", "ctrl-e end", "to the end"),
        ("char-left", "left ctrl-b", "one character to the left"),
        ("char-right", "right ctrl-f", "one character to the right"),
        ("erase-left", "backspace", "erase to the left"),
        ("erase-right", "delete ctrl-d", "erase to the right"),
        ("erase-to-start", "ctrl-u", "erase to the start"),
        ("erase-to-end", "ctrl-k", "erase to the end"),
        ("erase-word", "ctrl-w", "erase the word to the left"),
    ),
}
# fmt: on

BINDINGS: Final = tuple(
    Binding(context, command, tuple(keys.split()), text)
    for context, rows in _TABLE.items()
    for command, keys, text in rows
)

#: The bottom line, from left to right: a command, its word there, and how long
#: it stays when the terminal gets narrow (0 stays longest).
FOOTER: Final = (
    ("accept", "Apply", 0),
    ("cancel", "Cancel", 0),
    ("complete", "Complete", 1),
    ("choose", "Choose", 0),
    ("menu-close", "Close", 0),
    ("help", "Help", 0),
    ("filter", "Filter", 1),
    ("search", "Search", 1),
    ("search-next", "Next", 6),
    ("open", "Detail", 2),
    ("section-next", "Section", 2),
    ("wrap", "Wrap", 7),
    ("full", "Full", 5),
    ("mark", "Mark", 10),
    ("pause", "Pause", 3),
    ("step-forward", "Step", 3),
    ("follow", "Follow", 5),
    ("tree", "Tree", 6),
    ("sort", "Sort", 4),
    ("window", "Window", 8),
    ("copy", "Copy", 9),
    ("actions", "Actions", 7),
    ("back", "Quit", 0),
)
