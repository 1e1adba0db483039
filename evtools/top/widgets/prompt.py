"""The line at the bottom into which filters, commands and searches are typed."""

from collections.abc import Callable

from evtools.top.widgets.editor import Editor
from evtools.top.widgets.layer import Outcome, nothing, typed
from evtools.top.widgets.line import Line, worded


class Prompt:
    """Ask for a line of text at the bottom of the screen.

    `accepted` gets the text on Enter and returns whether it will do; if not,
    the prompt stays.  `cancelled` is called when it is left otherwise, and
    `changed` is told the text after every change.  `error` is shown above it.
    """

    contexts = ("prompts",)

    def __init__(
        self,
        label: str,
        editor: Editor,
        accepted: Callable[[str], bool],
        *,
        changed: Callable[[str], None] | None = None,
        cancelled: Callable[[], None] = nothing,
    ) -> None:
        self.label = label
        self.error: Line = []
        self._editor = editor
        self._accepted = accepted
        self._changed = changed
        self._cancelled = cancelled

    @property
    def text(self) -> str:
        """What has been typed."""
        return self._editor.text

    def press(self, key: str, command: str | None) -> Outcome:
        """Type, edit, accept or cancel."""
        before = self.text
        if typed(key):
            self._editor.insert(typed(key))
        elif command == "accept":
            return nothing if self._accepted(before) else None
        elif command == "cancel" or (command == "erase-left" and not before):
            return self._cancelled
        elif command is not None:
            self._editor.obey(command)
        if self.text != before and self._changed is not None:
            self._changed(self.text)
        return None

    def box(self, size: tuple[int, int]) -> None:  # noqa: ARG002  (a Layer's)
        """Return None: a prompt has a line of its own."""
        return

    def line(self, cols: int) -> tuple[Line, int]:
        """Return the line at the bottom, and the cursor's column."""
        line, column = self._editor.line(cols - len(self.label))
        return [("prompt", self.label), *line], len(self.label) + column

    def above(self, cols: int) -> list[Line]:
        """Return what to tell about what is typed, one line or more.

        That is a mistake, whole, or choices.
        """
        if not self.error:
            return [[("hint", "  ".join(self._editor.choices))]]
        return [[(style, line)] for style, text in self.error for line in worded(text, cols)]
