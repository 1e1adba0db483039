"""The filter prompt: live, with history, completion and saved filters."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from evtools.errors import FilterError, UsageError
from evtools.filters import caret
from evtools.text import sanitize
from evtools.top.session import Session
from evtools.top.widgets.editor import Editor
from evtools.top.widgets.prompt import Prompt

#: How long to wait for the next key before the table is filtered, in seconds.
_DEBOUNCE: Final = 0.15
_LABEL: Final = "filter> "
#: Mistakes further on are told, but not pointed at.
_POINTED_CHARS: Final = 36
_SAVE: Final = re.compile(r"save\s+([\w-]+)", re.ASCII)
_SAVED: Final = re.compile(r'(?<![\w"@:=~])@([\w-]+)', re.ASCII)
_WORD_START: Final = re.compile(r"[\s(!-]*([^\s(]*)\Z")


def apply_filter(session: Session, text: str) -> None:
    """Filter the table; `save NAME` names the filter that is there instead.

    Raise FilterError, and keep the old filter, for a text that is none.
    """
    saved = _SAVE.fullmatch(text.strip())
    if saved is not None:
        _save(session, saved[1])
        return
    session.table.set_filter(expanded(session, text))
    session.history.remember("filter", text.strip())
    for note in session.table.notes():
        session.say(note)
    session.look()


def _save(session: Session, name: str) -> None:
    text = session.table.filter_text
    if not text:
        raise UsageError("there is no filter to save")
    session.history.save(name, text)
    session.say(f"saved: write @{name} in a filter")


def expanded(session: Session, text: str) -> str:
    """Return a filter with the saved ones, written @NAME, put in.

    Raise FilterError for a name under which nothing was saved.
    """

    def one(found: re.Match[str]) -> str:
        saved = session.history.saved.get(found[1])
        if saved is None:
            known = ", ".join(f"@{name}" for name in session.history.saved)
            raise FilterError(
                f"no filter was saved as @{found[1]}",
                f"there are {known}" if known else ":filter save NAME saves one",
                text=text,
                position=found.start(),
                length=len(found[0]),
            )
        return f"({saved})"

    return _SAVED.sub(one, text)


def filter_prompt(session: Session) -> None:
    """Open the prompt; the table is filtered while one types."""
    table = session.table
    before = table.filter_text
    session.ask(_FilterPrompt(session, before).prompt)


class _FilterPrompt:
    """The prompt, what it shows at the moment, and the way back."""

    def __init__(self, session: Session, before: str) -> None:
        self._session = session
        self._before = before
        self._call_off: Callable[[], None] | None = None
        editor = Editor(
            before,
            history=session.history.lines("filter"),
            complete=lambda text: _complete(session, text),
        )
        self.prompt = Prompt(
            _LABEL, editor, self._accepted, changed=self._changed, cancelled=self._cancelled
        )

    def _changed(self, text: str) -> None:
        self._stop_waiting()
        self._call_off = self._session.host.later(_DEBOUNCE, lambda: self._show(text))

    def _stop_waiting(self) -> None:
        if self._call_off is not None:
            self._call_off()
            self._call_off = None

    def _show(self, text: str) -> None:
        self._preview(text)

    def _preview(self, text: str) -> bool:
        """Filter by what is there so far; a mistake keeps the last good filter."""
        self.prompt.error = []
        try:
            self._session.table.set_filter(expanded(self._session, text))
        except FilterError as error:
            self.prompt.error = [("error", text) for text in _pointed(error)]
            return False
        self._session.look()
        return True

    def _accepted(self, text: str) -> bool:
        self._stop_waiting()
        if not self._preview(text):
            return False
        apply_filter(self._session, text)
        return True

    def _cancelled(self) -> None:
        self._stop_waiting()
        self._session.table.set_filter(self._before)


def _pointed(error: FilterError) -> list[str]:
    """Return what the mistake is, with a caret above it as the prompt stands."""
    told = [sanitize(error.message), *map(sanitize, error.hint.splitlines())]
    if error.position > _POINTED_CHARS:
        return told
    carets = caret(error).split("\n")[1].removeprefix("  ")
    return [*told, " " * len(_LABEL) + carets]


def _complete(session: Session, text: str) -> tuple[int, Sequence[str]]:
    """Complete the name of a field, or of a saved filter, at the end of `text`."""
    found = _WORD_START.search(text)
    assert found is not None
    word = found[1]
    if word.startswith("@"):
        names = [f"@{name}" for name in session.history.saved]
    else:
        names = [f"{name}:" for name in session.table.fields]
    return found.start(1), [name for name in sorted(names) if name.startswith(word)]
