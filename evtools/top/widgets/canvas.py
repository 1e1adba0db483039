"""Lines as a canvas of urwid."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeAlias

import urwid

from evtools.top.glyphs import Glyphs
from evtools.top.theme import Look
from evtools.top.widgets.line import Line, fitted

#: Column and row, both from 0.
Cursor: TypeAlias = tuple[int, int] | None


def use_encoding(*, ascii_only: bool) -> None:
    """Tell urwid in which characters the terminal is written to."""
    urwid.set_encoding("ascii" if ascii_only else "utf-8")


def painted(
    lines: Sequence[Line], size: tuple[int, int], glyphs: Glyphs, cursor: Cursor = None
) -> urwid.TextCanvas:
    """Return a canvas of `size` (columns, rows) that shows the lines.

    What is too long is cut and what is missing is blank.
    """
    cols, rows = size
    texts: list[bytes] = []
    styles: list[list[tuple[Hashable, int]]] = []
    for number in range(rows):
        line = fitted(lines[number] if number < len(lines) else [], cols)
        parts = [(style, glyphs.plain(text).encode(errors="replace")) for style, text in line]
        texts.append(b"".join(part for _, part in parts))
        styles.append([(style, len(part)) for style, part in parts])
    # urwid need not measure again: both of us ask wcwidth, and where the two
    # should ever differ, a column askew is better than no screen.
    return urwid.TextCanvas(texts, styles, cursor=cursor, maxcol=cols, check_width=False)


def palette(looks: Mapping[str, Look]) -> list[tuple[str, str, str, str, str, str]]:
    """Return the entries of urwid's palette for the styles of a theme."""
    return [
        (
            style,
            _joined(look.foreground, look.settings),
            "",
            look.settings,
            _joined(look.high or look.foreground, look.settings),
            "",
        )
        for style, look in looks.items()
    ]


def _joined(foreground: str, settings: str) -> str:
    return f"{foreground},{settings}" if settings else foreground
