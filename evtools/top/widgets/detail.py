"""All that is known of one row: facts, and a section of text below them."""

from typing import Final

from evtools.top.detail import Detail
from evtools.top.glyphs import Glyphs
from evtools.top.widgets.line import Line, columns, fitted, spread, worded
from evtools.top.widgets.pager import Pager

_GONE: Final = "this has been forgotten: there was no more room for it"


class DetailPane:
    """The detail of a row of a view, as it is now.

    `focused` says that keys go to it, `full` that it has the whole screen.
    `section` is the one to begin with, "" for the one that suits.
    """

    def __init__(self, view: str, key: str, *, section: str = "") -> None:
        self.view = view
        self.key = key
        self.focused = False
        self.full = False
        self.pager = Pager()
        self._wanted = section
        self._detail: Detail | None = None
        self._forgotten = False

    @property
    def section(self) -> str:
        """The section on the screen."""
        if self._detail is None:
            return ""
        if self._wanted in self._detail.sections:
            return self._wanted
        return self._detail.section

    def follow(self, key: str) -> None:
        """Show another row of the same view, at the same kind of section."""
        if key != self.key:
            self.key, self._detail, self._forgotten = key, None, False
            self.pager.reset()

    def show(self, detail: Detail | None) -> None:
        """Take what is known now; None is: no more than before."""
        self._forgotten = detail is None
        if detail is not None:
            self._detail = detail
        if self._detail is not None:
            self.pager.show(self._detail.sections.get(self.section, ()))

    def turn(self, step: int) -> None:
        """Go to the next section (1) or the one before (-1)."""
        if self._detail is None:
            return
        names = list(self._detail.sections)
        if names:
            self.choose(names[(names.index(self.section) + step) % len(names)])

    def choose(self, section: str) -> None:
        """Go to a section, if there is one of that name."""
        if self._detail is not None and section in self._detail.sections:
            self._wanted = section
            self.pager.reset()
            self.pager.show(self._detail.sections[section])

    def lines(self, cols: int, rows: int, glyphs: Glyphs) -> list[Line]:
        """Return the pane in so many columns and rows."""
        above = [*self._facts(cols), []]
        if len(above) + 1 >= rows:
            # The text matters more than the facts about it.
            above = above[: max(0, rows // 2 - 1)]
        text = self.pager.lines(cols, max(0, rows - len(above) - 1))
        return [self._title(cols, glyphs.rule), *above, *text][:rows]

    def _title(self, cols: int, bar: str) -> Line:
        title = self._detail.title if self._detail is not None else self.key
        place = self.pager.place()
        right: Line = [("hint", f" {place} "), ("rule", bar * 2)] if place else []
        left: Line = [("rule", bar * 2), ("head", f" {title} ")]
        room = cols - columns(right) - 2
        left = fitted(left, min(columns(left), room))
        rest = cols - columns(left) - columns(right)
        return [*left, ("rule", bar * max(0, rest)), *right]

    def _facts(self, cols: int) -> list[Line]:
        if self._detail is None:
            return [[("hint", f" {_GONE}")]] if self._forgotten else []
        facts: list[Line] = [
            [("text", f" {piece}")]
            for line in self._detail.lines
            for piece in worded(line, cols - 1)
        ]
        if self._forgotten:
            facts.append([("warning", f" {_GONE}")])
        sections = self._sections()
        first = facts[0] if facts else []
        room = cols - columns(sections) - 1
        if columns(first) <= room:
            return [spread(first, sections, cols), *facts[1:]]
        return [spread([], sections, cols), *facts]

    def _sections(self) -> Line:
        assert self._detail is not None
        line: Line = []
        for name in self._detail.sections:
            on = name == self.section
            text = f"[{name}]" if on else f" {name} "
            line.append(("tab-on" if on else "tab", text))
        return line
