"""Commands that move the cursor, or the text of the detail."""

from collections.abc import Callable
from typing import Final

from evtools.top.session import Session
from evtools.top.verbs.verb import plain
from evtools.top.views.tasks import TasksView

#: Command: by how many rows of a page of so many.
_STEPS: Final[dict[str, Callable[[int], int]]] = {
    "down": lambda _: 1,
    "up": lambda _: -1,
    "page-down": lambda rows: max(1, rows - 1),
    "page-up": lambda rows: -max(1, rows - 1),
    "half-down": lambda rows: max(1, rows // 2),
    "half-up": lambda rows: -max(1, rows // 2),
}


def _mover(name: str) -> Callable[[Session], None]:
    def move(session: Session) -> None:
        if session.reading and session.detail is not None:
            session.detail.pager.obey(name)
            return
        _move_table(session, name)
        session.look()

    return move


def _move_table(session: Session, name: str) -> None:
    table = session.table
    if name in _STEPS:
        table.move(_STEPS[name](session.viewport.rows - 1))
    elif name == "top":
        table.home()
    else:
        table.end()


def _sideways(name: str) -> Callable[[Session], None]:
    step = 1 if name == "right" else -1

    def shift(session: Session) -> None:
        table = session.table
        if session.reading and session.detail is not None:
            session.detail.pager.obey(name)
        elif isinstance(table, TasksView) and table.tree:
            table.expand(shut=step < 0)
        else:
            table.scroll_columns(step)

    return shift


VERBS: Final = (
    plain("down", "down", _mover("down")),
    plain("up", "up", _mover("up")),
    plain("top", "first row", _mover("top")),
    plain("bottom", "last row", _mover("bottom")),
    plain("page-down", "one page down", _mover("page-down")),
    plain("page-up", "one page up", _mover("page-up")),
    plain("half-down", "half a page down", _mover("half-down")),
    plain("half-up", "half a page up", _mover("half-up")),
    plain("left", "scroll to the left", _sideways("left")),
    plain("right", "scroll to the right", _sideways("right")),
)
