"""Colours by meaning: the themes, and what stands for a colour without one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# The background is always the terminal's own and so is the colour of plain
# text: white on a light terminal and black on a dark one cannot be read, and
# nobody can tell which one it is.  A selection is the reverse of what is there.
# No meaning is in a colour alone: states are words, a mark is a character.

DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Look:
    """A style as urwid's palettes have it.

    `foreground` is a colour of the basic 16 and `high` one of 256, or "" for
    the same; `settings` are bold, faint, underline and standout, joined by
    commas, and are all there is without colours.
    """

    foreground: str = DEFAULT
    settings: str = ""
    high: str = ""


#: Style: what it looks like apart from its colour.
_SETTINGS: Final = {
    "text": "",
    # the frame
    "title": "bold",
    "dim": "faint",
    "head": "bold",
    "tab": "",
    "tab-on": "bold",
    "rule": "",
    "key": "bold",
    "spark": "",
    "prompt": "bold",
    "hint": "faint",
    "note": "",
    "warning": "bold",
    "error": "bold",
    "banner": "standout,bold",
    "badge": "standout",
    "live": "",
    "paused": "standout",
    "stale": "faint",
    "match": "standout",
    # rows
    "selected": "standout",
    "marked": "bold",
    # what rows tell
    "good": "",
    "running": "",
    "waiting": "",
    "failure": "bold",
    "retry": "",
    "gone": "faint",
    "late": "bold",
}

_MEANINGS: Final = {
    "title": "accent", "head": "accent", "tab-on": "accent", "prompt": "accent",
    "key": "accent", "spark": "accent", "rule": "quiet", "warning": "warn",
    "error": "bad", "live": "good", "good": "good", "running": "info",
    "waiting": "quiet", "failure": "bad", "retry": "warn", "late": "warn",
    "marked": "warn",
}  # fmt: skip

#: Theme: colour of each meaning, as (of 16, of 256).
_COLOURS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "dark": {
        "accent": ("light cyan", ""),
        "quiet": ("dark cyan", ""),
        "good": ("light green", ""),
        "info": ("light blue", "h75"),
        "warn": ("yellow", ""),
        "bad": ("light red", ""),
    },
    "light": {
        "accent": ("dark blue", ""),
        "quiet": ("dark cyan", ""),
        "good": ("dark green", ""),
        "info": ("dark blue", ""),
        "warn": ("dark magenta", "h130"),
        "bad": ("dark red", ""),
    },
    # Blue and orange are told apart by nearly everybody.
    "cb": {
        "accent": ("dark cyan", ""),
        "quiet": ("dark cyan", ""),
        "good": ("light blue", "h33"),
        "info": ("dark cyan", "h37"),
        "warn": ("brown", "h178"),
        "bad": ("brown", "h208"),
    },
    "mono": {},
}

THEMES: Final = tuple(_COLOURS)
STYLES: Final = tuple(_SETTINGS)


def looks(theme: str) -> dict[str, Look]:
    """Return the look of every style; an unknown theme is `mono`."""
    colours = _COLOURS.get(theme, {})
    return {
        style: _look(settings, *colours.get(_MEANINGS.get(style, ""), (DEFAULT, "")))
        for style, settings in _SETTINGS.items()
    }


def _look(settings: str, foreground: str, high: str) -> Look:
    if "standout" in settings:
        # Reversed colours have a background of ours after all.
        return Look(settings=settings)
    return Look(foreground, settings, high)
