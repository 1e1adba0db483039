"""Menus: choices with a key each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evtools.text import clip, pad, width
from evtools.top.widgets.box import Box, room
from evtools.top.widgets.layer import Outcome, nothing
from evtools.top.widgets.line import Line

_DIGITS = "123456789"
#: Of `> `, the key and the blanks around them.
_LEAD_COLS = 2


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of a menu.

    `chosen` is called when it is taken; None makes it a line to read.  `key`
    is "" for the next free digit.
    """

    text: str
    chosen: Callable[[], None] | None
    key: str = ""


class Menu:
    """Choices from which one is taken, by its key or with the cursor.

    `choices` is asked each time the menu is drawn.  With `stays` the menu
    remains open after a choice.
    """

    contexts = ("menus",)

    def __init__(
        self,
        title: str,
        choices: Callable[[], Sequence[Choice]],
        *,
        stays: bool = False,
        at: int = 0,
    ) -> None:
        self.title = title
        self._choices = choices
        self._stays = stays
        self._at = at
        self._rows = 10

    def press(self, key: str, command: str | None) -> Outcome:
        """Take a choice's own key, or move, choose and close."""
        choices = _keyed(self._choices())
        for choice in choices:
            if choice.key == key:
                return self._take(choice)
        moves = {
            "menu-down": 1,
            "menu-up": -1,
            "menu-page-down": self._rows,
            "menu-page-up": -self._rows,
        }
        if command in moves:
            self._move(moves[command], len(choices))
        elif command == "choose" and choices:
            return self._take(choices[min(self._at, len(choices) - 1)])
        elif command == "menu-close":
            return nothing
        return None

    def _take(self, choice: Choice) -> Outcome:
        if choice.chosen is None or not self._stays:
            return choice.chosen
        choice.chosen()
        return None

    def _move(self, by: int, count: int) -> None:
        """Go on; a single step goes around the ends."""
        if abs(by) == 1:
            self._at = (self._at + by) % max(1, count)
        else:
            self._at = min(max(0, self._at + by), max(0, count - 1))

    def box(self, size: tuple[int, int]) -> Box:
        """Return the choices around the cursor."""
        cols, rows = room(size)
        choices = _keyed(self._choices())
        self._at = min(self._at, max(0, len(choices) - 1))
        self._rows = max(1, rows)
        top = max(0, self._at - rows + 1)
        shown = list(enumerate(choices))[top : top + rows]
        keys = max((width(choice.key) for choice in choices), default=0)
        return Box(self.title, [self._line(choice, number, keys, cols) for number, choice in shown])

    def _line(self, choice: Choice, number: int, keys: int, cols: int) -> Line:
        text = clip(choice.text, max(1, cols - keys - _LEAD_COLS - 1))
        if number == self._at:
            return [("selected", f">{pad(choice.key, keys)}  {text}")]
        style = "hint" if choice.chosen is None else "text"
        return [("key", f" {pad(choice.key, keys)}  "), (style, text)]


def _keyed(choices: Sequence[Choice]) -> list[Choice]:
    """Give digits to the choices without a key."""
    taken = {choice.key for choice in choices}
    free = (digit for digit in _DIGITS if digit not in taken)
    return [
        choice
        if choice.key or choice.chosen is None
        else Choice(choice.text, choice.chosen, next(free, ""))
        for choice in choices
    ]
