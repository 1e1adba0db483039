"""Colours by meaning, and the few characters that are not letters, with ASCII stand-ins."""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from evtools.text import width

# The background is always the terminal's own and so is the colour of plain text: white on
# a light terminal and black on a dark one cannot be read, and a program cannot tell which
# one it is on.  A selection is the reverse.  No meaning is in a colour alone: states are
# words, a mark is a character.

# fmt: off
#: Style: its settings, which are all there is without colours, and the meaning of its colour.
_STYLES: Final = {
    # the frame
    "text":     ("", ""),
    "title":    ("bold", "accent"),
    "dim":      ("faint", ""),
    "head":     ("bold", "accent"),
    "tab":      ("", ""),
    "tab-on":   ("bold", "accent"),
    "rule":     ("", "quiet"),
    "key":      ("bold", "accent"),
    "spark":    ("", "accent"),
    "prompt":   ("bold", "accent"),
    "hint":     ("faint", ""),
    "note":     ("", ""),
    "warning":  ("bold", "warn"),
    "error":    ("bold", "bad"),
    "banner":   ("standout,bold", ""),
    "alert":    ("standout,bold", "bad"),
    "alert-warning": ("standout,bold", "warn"),
    "badge":    ("standout", ""),
    "live":     ("", "good"),
    "paused":   ("standout", ""),
    "stale":    ("faint", ""),
    "match":    ("standout", ""),
    # rows
    "selected": ("standout", ""),
    "marked":   ("bold", "warn"),
    "good":     ("", "good"),
    "running":  ("", "info"),
    "waiting":  ("", "quiet"),
    "failure":  ("bold", "bad"),
    "retry":    ("", "warn"),
    "gone":     ("faint", ""),
    "late":     ("bold", "warn"),
    # in a graph, what stands on failures: their colour before that of the rest
    "stack":    ("", "bad"),
}
#: Where there are no colours, what stands on failures would be a hole below the rest.
_PLAIN: Final = {"stack": "standout"}
#: Style: the meaning of the colour behind it.
_BEHIND: Final = {"stack": "good"}

#: Theme: the colour of each meaning, as one of 16 and, where it differs, one of 256.
_COLOURS: Final[Mapping[str, Mapping[str, str]]] = {
    "dark":  {"accent": "light cyan", "quiet": "dark cyan", "good": "light green",
              "info": "light blue/h75", "warn": "yellow", "bad": "light red"},
    "light": {"accent": "dark blue", "quiet": "dark cyan", "good": "dark green",
              "info": "dark blue", "warn": "dark magenta/h130", "bad": "dark red"},
    # Nearly everyone can distinguish blue from orange.
    "cb":    {"accent": "dark cyan", "quiet": "dark cyan", "good": "light blue/h33",
              "info": "dark cyan/h37", "warn": "brown/h178", "bad": "brown/h208"},
    "mono":  {},
}
# fmt: on

STYLES: Final = tuple(_STYLES)


# fmt: off
#: Colours that have names: the dark one, and the bright one.
_NAMED: Final = {
    "black":   ("black",      "dark gray"),     "red":  ("dark red",   "light red"),
    "green":   ("dark green", "light green"),   "yellow": ("brown",    "yellow"),
    "blue":    ("dark blue",  "light blue"),    "cyan": ("dark cyan",  "light cyan"),
    "magenta": ("dark magenta", "light magenta"), "white": ("light gray", "white"),
    "gray":    ("dark gray",  "light gray"),    "grey": ("dark gray",  "light gray"),
    "default": ("default",    "default"),
}
#: Words for what is no colour, and urwid's.
_SETTINGS: Final = {
    "bold": "bold", "faint": "faint", "dim": "faint", "italic": "italics", "blink": "blink",
    "underline": "underline", "reverse": "standout", "strike": "strikethrough",
}
# fmt: on
_WORDS: Final = (*_NAMED, "bright", "on", *_SETTINGS)
_RGB: Final = re.compile(r"#(?:[0-9a-f]{3}|[0-9a-f]{6})", re.IGNORECASE)


class Look(NamedTuple):
    """How a style looks, in urwid's words: settings, and pairs of one of 16 colours and of 256."""

    settings: tuple[str, ...]
    text: tuple[str, str]
    background: tuple[str, str]


def parse_look(text: str) -> Look:
    """Return the look that `bold red`, `bright cyan on blue`, `208`, `#f80` or `reverse` means.

    Raise ValueError for anything else.
    """
    settings, colours, is_behind, is_bright = (
        list[str](),
        dict[bool, tuple[str, str]](),
        False,
        False,
    )
    for word in text.lower().replace("-", " ").split():
        if word in _SETTINGS and not is_bright:
            settings.append(_SETTINGS[word])
        elif word == "on" and not (is_behind or is_bright):
            is_behind = True
        elif word == "bright" and not is_bright:
            is_bright = True
        elif is_behind in colours:
            raise ValueError(f'"{text}" has two colours for one thing')
        else:
            colours[is_behind] = _colour(word, bright=is_bright)
            is_bright = False
    if is_bright or (is_behind and True not in colours):
        raise ValueError(f'"{text}" ends before its colour')
    nothing = ("default", "default")
    return Look(tuple(settings), colours.get(False, nothing), colours.get(True, nothing))


def _colour(word: str, *, bright: bool) -> tuple[str, str]:
    # One of 16, and one of 256.
    if word in _NAMED:
        name = _NAMED[word][bright]
        return name, name
    if not bright and _RGB.fullmatch(word):
        # Of each two digits one is as much as 256 colours can show.
        return "default", word if len(word) == len("#rgb") else f"#{word[1::2]}"
    if not bright and word.isascii() and word.isdigit() and (number := int(word)) < 256:  # noqa: PLR2004
        return "default", f"h{number}"
    near = difflib.get_close_matches(word, _WORDS, 1)
    guess = f" (did you mean {near[0]}?)" if near else ""
    raise ValueError(f'"{word}" is neither a colour nor a setting{guess}')


def palette(
    theme: str, own: Mapping[str, str] | None = None
) -> list[tuple[str, str, str, str, str, str]]:
    """Return urwid's palette of a theme; an unknown theme is `mono`.

    It is style, foreground of 16 colours, background, mono, foreground of 256, background.  `own`
    are looks of styles, as `parse_look` takes them, in the place of those of the theme.
    """
    colours, own = _COLOURS.get(theme, {}), own or {}
    entries = []
    for style, (settings, meaning) in _STYLES.items():
        if style in own:
            look = parse_look(own[style])
            settings = ",".join(look.settings)  # noqa: PLW2901
            low, high = (",".join((colour, *look.settings)) for colour in look.text)
            behind, behind_high = look.background
            entries.append((style, low, behind, settings, high, behind_high))
            continue
        low, _, high = colours.get(meaning, "default").partition("/")
        mono = _PLAIN.get(style, settings)
        settings = settings if colours else mono  # noqa: PLW2901
        more = f",{settings}" if settings else ""
        behind, _, high_behind = colours.get(_BEHIND.get(style, ""), "").partition("/")
        entries.append(
            (style, low + more, behind, mono, (high or low) + more, high_behind or behind)
        )
    return entries


#: The styles of a state that keep their colour under the cursor, as `selected STYLE`.
ON_CURSOR: Final = ("good", "running", "waiting", "failure", "retry", "late")


def on_cursor(
    entries: Sequence[tuple[str, str, str, str, str, str]],
) -> list[tuple[str, str, str, str, str, str]]:
    """Return the looks of states under the cursor, for a palette with these entries.

    They are the colour of the state in reverse.  Where the cursor has colours of its own, those
    stay: nobody knows whether another one can be read on them.
    """
    looks = {entry[0]: entry[1:] for entry in entries}
    low, behind, mono, high, behind_high = selected = looks["selected"]
    settings = mono.split(",")
    own = {low.split(",")[0], high.split(",")[0], behind, behind_high} - {"", "default"}
    found = []
    for style in ON_CURSOR:
        if own or "standout" not in settings:
            found.append((f"selected {style}", *selected))
            continue
        low, behind, mono, high, behind_high = looks[style]
        texts = [
            ",".join(dict.fromkeys(filter(None, (*text.split(","), *settings))))
            for text in (low, mono, high)
        ]
        found.append((f"selected {style}", texts[0], behind, texts[1], texts[2], behind_high))
    return found


_FOREIGN: Final = re.compile(r"[^\x00-\x7f]+")


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Characters to draw with; each takes one column."""

    levels: str
    rule: str
    side: str
    corners: tuple[str, str, str, str]
    ascii: bool

    def spark(self, values: Sequence[float | None]) -> str:
        """Return a sparkline of `values`, one column each, in which the greatest is full.

        It is blank where a value is not known, and before the first one above zero: nothing may
        have been watched then.
        """
        steps, top = len(self.levels) - 1, max((one or 0.0 for one in values), default=0.0)
        line = ""
        for value in values:
            is_some = value is not None and value > 0 and top > 0
            at = max(1, math.ceil((value or 0.0) / top * steps - 1e-9)) if is_some else 0
            line += " " if value is None else self.levels[at]
        known = line.lstrip(self.levels[0])
        return " " * (len(line) - len(known)) + known

    def plain(self, text: str) -> str:
        """Return `text` in characters that may be shown, as wide as before."""
        if not self.ascii or text.isascii():
            return text
        return _FOREIGN.sub(lambda found: "?" * width(found[0]), text)


UNICODE: Final = Glyphs("▁▂▃▄▅▆▇█", "─", "│", ("┌", "┐", "└", "┘"), ascii=False)
ASCII: Final = Glyphs(" .:-=+*#", "-", "|", ("+", "+", "+", "+"), ascii=True)
