"""The question before something is changed or lost."""

from collections.abc import Callable, Sequence
from typing import Final

from evtools.top.widgets.box import Box, room
from evtools.top.widgets.editor import Editor
from evtools.top.widgets.layer import Outcome, nothing, typed
from evtools.top.widgets.line import Line, worded

_LEAD: Final = "type it: "
_WIDEST: Final = 76


class Dialog:
    """Ask before `confirmed` is called; No is what Enter means at first.

    `word` is what has to be typed to confirm (a count, a name); with "" the
    key y is enough.  `sure` are keys that confirm, too: with some of them Yes is
    what Enter means.
    """

    def __init__(
        self,
        title: str,
        text: Sequence[str],
        confirmed: Callable[[], None],
        *,
        word: str = "",
        yes: str = "Yes",
        sure: Sequence[str] = (),
    ) -> None:
        self.contexts = ("prompts",) if word else ("menus",)
        self.title = title
        self._text = text
        self._confirmed = confirmed
        self._word = word
        self._buttons = ("No", yes)
        self._sure = sure
        self._at = 1 if sure else 0
        self._editor = Editor()

    def press(self, key: str, command: str | None) -> Outcome:
        """Take y and n, the buttons, or what is typed."""
        return self._write(key, command) if self._word else self._press(key, command)

    def _press(self, key: str, command: str | None) -> Outcome:
        if key == "y" or key in self._sure:
            return self._confirmed
        if key == "n" or command == "menu-close":
            return nothing
        if command == "choose":
            return self._confirmed if self._at else nothing
        if command is not None:
            self._at = 1 - self._at
        return None

    def _write(self, key: str, command: str | None) -> Outcome:
        if command == "cancel":
            return nothing
        if command == "accept":
            # What is not exactly the word is a No.
            return self._confirmed if self._editor.text == self._word else nothing
        if command is None:
            self._editor.insert(typed(key))
        else:
            self._editor.obey(command)
        return None

    def box(self, size: tuple[int, int]) -> Box:
        """Return the text, and the buttons or the place to type."""
        cols = min(_WIDEST, room(size)[0])
        lines: list[Line] = [
            [("text", piece)] for text in self._text for piece in worded(text, cols)
        ]
        lines.append([])
        if not self._word:
            return Box(self.title, [*lines, self._button_line()])
        lines.append([("note", "Type "), ("title", self._word), ("note", " to go on.")])
        line, column = self._editor.line(cols - len(_LEAD))
        lines.append([("prompt", _LEAD), *line])
        return Box(self.title, lines, (len(_LEAD) + column, len(lines) - 1))

    def _button_line(self) -> Line:
        line: Line = []
        for number, button in enumerate(self._buttons):
            style = "selected" if number == self._at else "text"
            line += [(style, f"[{button}]"), ("text", "  ")]
        keys = " or ".join(("y", *self._sure[:1]))
        return [*line, ("hint", f"{keys} confirms, Esc closes")]
