"""The few characters that are no letters, and their ASCII stand-ins."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from evtools.text import width

_FOREIGN: Final = re.compile(r"[^\x00-\x7f]+")


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What to draw with; every one of them takes one column."""

    levels: str
    rule: str
    side: str
    corners: tuple[str, str, str, str]
    ascii: bool

    def spark(self, values: Sequence[float], top: float | None = None) -> str:
        """Return a sparkline of `values`, one column each.

        `top` is the value of a full column, by default the greatest there is.
        Before the first that is not nothing it is blank: perhaps nobody looked.
        """
        top = max(values, default=0.0) if top is None else top
        line = "".join(self._level(value, top) for value in values)
        known = line.lstrip(self.levels[0])
        return " " * (len(line) - len(known)) + known

    def _level(self, value: float, top: float) -> str:
        if not value > 0 or not top > 0:
            return self.levels[0]
        share = min(1.0, value / top)
        steps = len(self.levels) - 1
        return self.levels[max(1, math.ceil(share * steps - 1e-9))]

    def plain(self, text: str) -> str:
        """Return `text` in characters that may be shown, as wide as before."""
        if not self.ascii or text.isascii():
            return text
        return _FOREIGN.sub(lambda found: "?" * width(found[0]), text)


UNICODE: Final = Glyphs("▁▂▃▄▅▆▇█", "─", "│", ("┌", "┐", "└", "┘"), ascii=False)
ASCII: Final = Glyphs(" .:-=+*#", "-", "|", ("+", "+", "+", "+"), ascii=True)


def glyphs(*, ascii_only: bool) -> Glyphs:
    """Return the characters to draw with."""
    return ASCII if ascii_only else UNICODE
