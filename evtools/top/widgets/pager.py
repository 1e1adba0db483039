"""Text to read: scrolled, wrapped, searched."""

from collections.abc import Sequence
from typing import Final

from evtools.text import clip
from evtools.top.widgets.line import Line, with_matches, wrapped

#: How many columns one step to the side is.
_STEP: Final = 8


class Pager:
    """Some lines of sanitised text, a part of which is on the screen.

    The commands of the context "moving" scroll it.  A search finds texts as
    they are, in any case.
    """

    def __init__(self, lines: Sequence[str] = ()) -> None:
        self.wrap = True
        self.sought = ""
        self._lines = list(lines)
        self._pieces: list[str] = []
        self._laid_out: tuple[int, bool] | None = None
        self._size = (80, 10)
        self._top = 0
        self._left = 0
        self._found: int | None = None

    def show(self, lines: Sequence[str]) -> None:
        """Show other lines; the place is kept where it still exists."""
        if list(lines) != self._lines:
            self._lines = list(lines)
            self._laid_out = None

    def reset(self) -> None:
        """Go to the first line."""
        self._top = self._left = 0
        self._found = None

    # --- what is on the screen ------------------------------------------------

    def lines(self, cols: int, rows: int) -> list[Line]:
        """Return the part that fits into `cols` and `rows`."""
        self._lay_out(cols, rows)
        part = self._pieces[self._top : self._top + rows]
        return [self._line(piece) for piece in part]

    def place(self) -> str:
        """Return where in the text we are, or "" if all of it is there."""
        rows = self._size[1]
        if len(self._pieces) <= rows:
            return ""
        last = min(len(self._pieces), self._top + rows)
        return f"{last}/{len(self._pieces)}"

    def _lay_out(self, cols: int, rows: int) -> None:
        self._size = (cols, rows)
        if self._laid_out != (cols, self.wrap):
            self._laid_out = (cols, self.wrap)
            self._pieces = [
                piece
                for line in self._lines
                for piece in (wrapped(line, cols) if self.wrap else (line,))
            ]
        self._go(self._top)

    def _line(self, piece: str) -> Line:
        shown = piece[len(clip(piece, self._left, "")) :] if self._left else piece
        shown = clip(shown, self._size[0], "")
        return with_matches(shown, "text", self._places(shown))

    def _places(self, text: str) -> list[tuple[int, int]]:
        wanted, folded, places = self.sought.lower(), text.lower(), []
        if not wanted or len(folded) != len(text):
            return []
        at = folded.find(wanted)
        while at >= 0:
            places.append((at, at + len(wanted)))
            at = folded.find(wanted, at + len(wanted))
        return places

    # --- moving ---------------------------------------------------------------

    def obey(self, command: str) -> bool:
        """Carry out a command; return whether it is one of ours."""
        rows = self._size[1]
        steps = {
            "down": 1,
            "up": -1,
            "page-down": max(1, rows - 1),
            "page-up": -max(1, rows - 1),
            "half-down": max(1, rows // 2),
            "half-up": -max(1, rows // 2),
            "top": -len(self._pieces),
            "bottom": len(self._pieces),
        }
        if command in steps:
            self._go(self._top + steps[command])
        elif command in ("left", "right"):
            self._shift(_STEP if command == "right" else -_STEP)
        elif command == "wrap":
            self.wrap = not self.wrap
            self._left = 0
        else:
            return False
        return True

    def _go(self, line: int) -> None:
        last = max(0, len(self._pieces) - self._size[1])
        self._top = min(max(0, line), last)

    def _shift(self, cols: int) -> None:
        if not self.wrap:
            self._left = max(0, self._left + cols)

    # --- searching ------------------------------------------------------------

    def search(self, text: str) -> bool:
        """Look for a text from here on; return whether it is there."""
        self.sought = text
        self._found = self._top - 1
        return self.search_next()

    def search_next(self, *, back: bool = False) -> bool:
        """Go to the next line with what is sought, or the one before."""
        self._lay_out(*self._size)
        hits = [number for number, piece in enumerate(self._pieces) if self._places(piece)]
        if not hits:
            return False
        at = self._top if self._found is None else self._found
        if back:
            self._found = max((hit for hit in hits if hit < at), default=hits[-1])
        else:
            self._found = min((hit for hit in hits if hit > at), default=hits[0])
        self._go(self._found)
        return True
