"""The help: the keys of this view, and those that typing has left of them."""

from collections.abc import Sequence
from typing import Final

from evtools.text import pad, width
from evtools.top.bindings import CONTEXTS
from evtools.top.keymap import Keymap, keys_text
from evtools.top.widgets.box import Box, room
from evtools.top.widgets.editor import Editor
from evtools.top.widgets.layer import Outcome, nothing, typed
from evtools.top.widgets.line import Line
from evtools.top.widgets.pager import Pager

_LEAD: Final = "find> "
_SCROLL: Final = {
    "history-back": "up",
    "history-forward": "down",
    "page-up": "page-up",
    "page-down": "page-down",
}
_NOTE: Final = "Typing filters this list. To select text with the mouse, hold Shift."


class Help:
    """Every key of some contexts; typed text leaves those that have it."""

    contexts = ("prompts", "moving")

    def __init__(self, keymap: Keymap, contexts: Sequence[str]) -> None:
        self._keymap = keymap
        self._about = contexts
        self._editor = Editor()
        self._pager = Pager()
        self._pager.wrap = False

    def press(self, key: str, command: str | None) -> Outcome:
        """Type, scroll, or close."""
        text = typed(key)
        if text == "q" and not self._editor.text:
            return nothing
        if text:
            self._editor.insert(text)
            self._pager.reset()
        elif command in ("cancel", "accept"):
            return nothing
        elif command in _SCROLL:
            self._pager.obey(_SCROLL[command])
        elif command is not None:
            self._editor.obey(command)
        return None

    def box(self, size: tuple[int, int]) -> Box:
        """Return the part of the list that fits."""
        cols, rows = room(size)
        bindings = list(self._keymap.help(self._about, self._editor.text))
        shown = [(keys_text(one), one) for one in bindings]
        keys = max((width(text) for text, _ in shown), default=0)
        rest, context = list[str](), ""
        for text, binding in shown:
            if binding.context != context:
                context = binding.context
                rest.append(CONTEXTS[context])
            rest.append(f"  {pad(text, keys)}  {binding.help}")
        self._pager.show(rest or ["no key, command or help has this text"])
        line, column = self._editor.line(cols - len(_LEAD))
        head: list[Line] = [[("prompt", _LEAD), *line]]
        body = self._pager.lines(cols, max(1, rows - 2))
        foot: Line = [("hint", f"{_NOTE}  {self._pager.place()}")]
        widest = max((width(text) for text in rest), default=0)
        spacer: Line = [("text", " " * min(cols, widest))]
        body = [_coloured(one) for one in body] or [spacer]
        return Box("help", [*head, *body, foot], (len(_LEAD) + column, 0))


def _coloured(line: Line) -> Line:
    """Return a title in the colour of titles."""
    text = "".join(part for _, part in line)
    return line if text.startswith(" ") else [("head", text)]
