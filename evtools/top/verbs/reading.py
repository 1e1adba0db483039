"""Commands of the detail: its sections, its text, what to search in it."""

from typing import Final

from evtools.errors import UsageError
from evtools.top.session import Session
from evtools.top.verbs.verb import Verb, plain
from evtools.top.widgets.detail import DetailPane
from evtools.top.widgets.editor import Editor
from evtools.top.widgets.prompt import Prompt


def _pane(session: Session) -> DetailPane:
    if session.detail is None:
        raise UsageError("there is no detail to read", "Enter opens it")
    return session.detail


def _search(session: Session, text: str) -> None:
    pane = _pane(session)
    if text:
        _look_for(session, text)
        return
    editor = Editor(history=session.history.lines("search"))
    session.ask(Prompt("search> ", editor, lambda text: _look_for(session, text)))
    pane.focused = True


def _look_for(session: Session, text: str) -> bool:
    session.history.remember("search", text)
    if text and not _pane(session).pager.search(text):
        session.complain(f"not found: {text}")
    return True


def _again(session: Session, *, back: bool) -> None:
    pager = _pane(session).pager
    if not pager.sought:
        raise UsageError("nothing has been sought", "/ searches the text")
    if not pager.search_next(back=back):
        session.complain(f"not found: {pager.sought}")


def _wrap(session: Session) -> None:
    pager = _pane(session).pager
    pager.obey("wrap")
    session.say(f"long lines are {'wrapped' if pager.wrap else 'cut'}")


def _full(session: Session) -> None:
    pane = _pane(session)
    pane.full = not pane.full
    pane.focused = pane.focused or pane.full


VERBS: Final = (
    Verb("search", "search in the text", _search, "TEXT"),
    plain("search-next", "next place found", lambda s: _again(s, back=False)),
    plain("search-previous", "previous place found", lambda s: _again(s, back=True)),
    plain("wrap", "wrap long lines", _wrap),
    plain("full", "full screen", _full),
    plain("section-next", "next section", lambda s: _pane(s).turn(1)),
    plain("section-previous", "previous section", lambda s: _pane(s).turn(-1)),
)
