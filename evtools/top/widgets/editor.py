"""A line being typed, with the keys of readline."""

from collections.abc import Callable, Sequence

from evtools.text import sanitize, width
from evtools.top.widgets.line import Line

#: Longer than any filter that is taken.
_LONGEST = 4096

#: What completes a text up to the cursor: where the word starts, and the words
#: that could stand there.
Completer = Callable[[str], tuple[int, Sequence[str]]]


class Editor:
    """A text with a cursor; `commands` of the context "prompts" change it.

    `history` are earlier texts, oldest first.
    """

    def __init__(
        self, text: str = "", *, history: Sequence[str] = (), complete: Completer | None = None
    ) -> None:
        self.text = text
        self.cursor = len(text)
        #: What the word could become, after `complete` found several.
        self.choices: tuple[str, ...] = ()
        self._complete = complete
        self._versions = [*history, text]
        self._version = len(history)
        self._verbs: dict[str, Callable[[], None]] = {
            "line-start": lambda: self._go(0),
            "line-end": lambda: self._go(len(self.text)),
            "char-left": lambda: self._go(self.cursor - 1),
            "char-right": lambda: self._go(self.cursor + 1),
            "erase-left": lambda: self._erase(self.cursor - 1, self.cursor),
            "erase-right": lambda: self._erase(self.cursor, self.cursor + 1),
            "erase-to-start": lambda: self._erase(0, self.cursor),
            "erase-to-end": lambda: self._erase(self.cursor, len(self.text)),
            "erase-word": lambda: self._erase(self._word_start(), self.cursor),
            "history-back": lambda: self._recall(self._version - 1),
            "history-forward": lambda: self._recall(self._version + 1),
            "complete": self._expand,
        }

    def insert(self, text: str) -> None:
        """Put `text` at the cursor; what no key types is left out."""
        text = "".join(one for one in text if one.isprintable())
        text = text[: max(0, _LONGEST - len(self.text))]
        self.choices = ()
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)

    def obey(self, command: str) -> bool:
        """Carry out a command; return whether it is one of ours."""
        verb = self._verbs.get(command)
        if verb is None:
            return False
        if command != "complete":
            self.choices = ()
        verb()
        return True

    def _go(self, place: int) -> None:
        self.cursor = min(max(0, place), len(self.text))

    def _erase(self, start: int, end: int) -> None:
        start = max(0, start)
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start

    def _word_start(self) -> int:
        head = self.text[: self.cursor].rstrip(" ")
        return head.rfind(" ") + 1

    def _recall(self, version: int) -> None:
        if not 0 <= version < len(self._versions):
            return
        self._versions[self._version] = self.text
        self._version = version
        self.text = self._versions[version]
        self._go(len(self.text))

    def _expand(self) -> None:
        if self._complete is None:
            return
        start, choices = self._complete(self.text[: self.cursor])
        if not choices:
            return
        common = _common_start(choices)
        self.text = self.text[:start] + common + self.text[self.cursor :]
        self.cursor = start + len(common)
        self.choices = tuple(choices) if len(choices) > 1 else ()

    def line(self, cols: int) -> tuple[Line, int]:
        """Return the part of the text around the cursor, and the cursor's column."""
        before, after = sanitize(self.text[: self.cursor]), self.text[self.cursor :]
        room = max(1, cols - 1)
        while width(before) > room:
            before = before[max(1, (width(before) - room) // 2) :]
        return [("text", before + sanitize(after))], width(before)


def _common_start(words: Sequence[str]) -> str:
    first, last = min(words), max(words)
    for place, letter in enumerate(first):
        if place >= len(last) or last[place] != letter:
            return first[:place]
    return first
