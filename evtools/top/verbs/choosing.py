"""Commands that choose rows: filter, order, marks, trees."""

from typing import Final

from evtools.errors import UsageError
from evtools.top.session import Session
from evtools.top.table import TableModel
from evtools.top.verbs.filtering import apply_filter, filter_prompt
from evtools.top.verbs.verb import Verb, plain
from evtools.top.views.events import EventsView
from evtools.top.views.tasks import TasksView
from evtools.top.widgets.menu import Choice

#: Field of a filter: its key in the menu.
_KEYS: Final = {
    "name": "n", "worker": "w", "state": "s", "queue": "u", "exc": "x",
    "root": "r", "type": "t", "uuid": "i",
}  # fmt: skip


def _tasks(session: Session) -> TasksView:
    if not isinstance(session.table, TasksView):
        raise UsageError("that is for tasks", "1 shows them")
    return session.table


# --- filter ---------------------------------------------------------------------


def _filter(session: Session, text: str) -> None:
    if text:
        apply_filter(session, text)
    else:
        filter_prompt(session)


def _narrow(session: Session, *, exclude: bool) -> None:
    table = session.table
    key = table.focus_key
    values = table.values(key) if key is not None else {}
    if not values:
        raise UsageError("this row has no value to filter by")

    def narrow(field: str, value: str) -> None:
        table.narrow(field, value, exclude=exclude)
        session.history.remember("filter", table.filter_text)

    session.menu(
        "exclude" if exclude else "keep only",
        [
            Choice(
                f"{field} {value}",
                lambda field=field, value=value: narrow(field, value),  # type: ignore[misc]
                _KEYS.get(field, ""),
            )
            for field, value in values.items()
        ],
    )


# --- order ----------------------------------------------------------------------


def _names(session: Session) -> list[str]:
    return [column.name for column in session.table.columns]


def _sort(session: Session, name: str) -> None:
    if name:
        _sort_by(session, name)
        return
    table, names = session.table, _names(session)
    session.menu(
        "sort by",
        [
            Choice(
                f"{column.title}  {column.about}",
                lambda name=column.name: table.sort_by(name),  # type: ignore[misc]
            )
            for column in table.columns
        ],
        at=names.index(table.sort_key) if table.sort_key in names else 0,
    )


def _sort_by(session: Session, name: str) -> None:
    """Sort by a column, by its name or title; `-` before it turns it round."""
    wanted = name.removeprefix("-").casefold()
    table = session.table
    for column in table.columns:
        if wanted in (column.name.casefold(), column.title.casefold()):
            table.sort_by(column.name)
            if name.startswith("-"):
                table.invert()
            return
    names = ", ".join(_names(session))
    raise UsageError(f"there is no column {name} here", f"there are {names}")


def _follow(session: Session) -> None:
    cursor = session.table.cursor
    cursor.toggle_follow()
    what = "the newest" if cursor.newest_last else "this row"
    session.say(f"following {what}" if cursor.follow else "not following")


# --- rows -----------------------------------------------------------------------


def _mark(session: Session) -> None:
    session.table.toggle_mark()
    session.look()


def _failure(session: Session, step: int) -> None:
    table = session.table
    if not isinstance(table, TasksView | EventsView):
        raise UsageError("that is for tasks and events", "1 shows the tasks")
    if not table.next_failure(step):
        session.say(f"no failure {'further down' if step > 0 else 'further up'}")
    session.look()


def _related(session: Session, step: int) -> None:
    table = session.table
    if isinstance(table, EventsView) and not table.next_related(step):
        session.say("no other event of this task in that direction")
    session.look()


def _tree(session: Session) -> None:
    table = _tasks(session)
    table.toggle_tree()
    session.say("tree" if table.tree else "list")


def _parent(session: Session) -> None:
    why_not = _tasks(session).jump_to_parent()
    if why_not:
        session.say(why_not)
    session.look()


def _columns(session: Session, text: str) -> None:
    """Choose the columns: their names with commas between, or `auto`."""
    table = session.table
    if text in ("", "auto"):
        table.choose_columns(None)
        return
    names = [name.strip().casefold() for name in text.split(",")]
    known = _by_any_name(table)
    for name in names:
        if name not in known:
            raise UsageError(
                f"there is no column {name} here", f"there are {', '.join(_names(session))}"
            )
    table.choose_columns([known[name] for name in names])


def _by_any_name(table: TableModel) -> dict[str, str]:
    titles = {column.title.casefold(): column.name for column in table.columns}
    return titles | {column.name.casefold(): column.name for column in table.columns}


VERBS: Final = (
    Verb("filter", "show only what matches", _filter, "FILTER | save NAME"),
    plain("keep", "keep only a value", lambda s: _narrow(s, exclude=False)),
    plain("exclude", "exclude a value", lambda s: _narrow(s, exclude=True)),
    Verb("sort", "sort by a column", _sort, "[-]COLUMN", _names),
    plain("sort-left", "sort further left", lambda s: s.table.sort_beside(-1)),
    plain("sort-right", "sort further right", lambda s: s.table.sort_beside(1)),
    plain("invert", "invert the order", lambda s: s.table.invert()),
    plain("follow", "follow this row, or the newest event", _follow),
    plain("mark", "mark, and go down", _mark),
    plain("unmark", "unmark all", lambda s: s.table.clear_marks()),
    plain("next-failure", "next failure", lambda s: _failure(s, 1)),
    plain("previous-failure", "previous failure", lambda s: _failure(s, -1)),
    plain("next-related", "next event of the task", lambda s: _related(s, 1)),
    plain("previous-related", "previous event of it", lambda s: _related(s, -1)),
    plain("tree", "tree of callers and called", _tree),
    plain("expand", "expand this node", lambda s: _tasks(s).expand()),
    plain("collapse", "collapse this node", lambda s: _tasks(s).expand(shut=True)),
    plain("expand-all", "expand or collapse all", lambda s: _tasks(s).toggle_all()),
    plain("parent", "jump to the parent", _parent),
    Verb("columns", "choose the columns", _columns, "NAME,NAME | auto", _names),
)
