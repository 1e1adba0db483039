"""The whole screen: every part of it in its rows, and what lies over them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Final, TypeAlias

from evtools.text import width
from evtools.top.choices import VIEWS
from evtools.top.layout import LEAST, Layout, shared_out, too_small
from evtools.top.session import Session
from evtools.top.standing import is_stale
from evtools.top.table import TableModel
from evtools.top.widgets.box import centred
from evtools.top.widgets.header import Surroundings, header_lines
from evtools.top.widgets.line import Line, columns, fitted, spread, worded
from evtools.top.widgets.prompt import Prompt
from evtools.top.widgets.table import head_at, table_lines

#: From so many columns on, lines have words that shorter ones leave out.
_WIDE_COLS: Final = 100
#: The line above the keys, while there is nothing to say: command, words.
_HINTS: Final = (
    ("next-failure", "next failure"),
    ("keep", "keep only this value"),
    ("exclude", "exclude it"),
)
#: Views in which Enter opens the tasks behind a row.
_LEADING: Final = ("types", "workers", "queues", "errors")

#: What a press of the mouse does at (column, row).
Hit: TypeAlias = Callable[[int, int], None]


@dataclass(slots=True)
class Drawing:
    """A screen; `hits` has, for some rows, what a press of the mouse does there."""

    lines: list[Line]
    cursor: tuple[int, int] | None = None
    hits: dict[int, Hit] = field(default_factory=dict)


def drawn(session: Session, size: tuple[int, int], around: Surroundings) -> Drawing:
    """Draw what the user sees, in `size` (columns, rows)."""
    if too_small(size):
        return Drawing(_too_small(size))
    cols, rows = size
    detail = session.detail
    layout = shared_out(
        rows,
        filtered=bool(session.table.filter_text),
        detail=detail is not None,
        full=detail is not None and detail.full,
    )
    session.table_shown = layout.table > 0
    drawing = Drawing(
        header_lines(session.model.header(), around, (cols, layout.header), session.glyphs)
    )
    _add_tabs(drawing, session, cols)
    if layout.filter:
        drawing.lines.append(_filter_line(session, cols))
    _add_body(drawing, session, layout, cols)
    drawing.lines += [[] for _ in range(rows - 2 - len(drawing.lines))]
    _add_bottom(drawing, session, layout, cols)
    _add_layer(drawing, session, size)
    return drawing


def _too_small(size: tuple[int, int]) -> list[Line]:
    cols, rows = size
    least = f"{LEAST[0]}x{LEAST[1]}"
    text = f"Terminal too small: {cols}x{rows}, needs {least}. Q quits"
    return [[("warning", line[:cols])] for line in wrap(text, cols)][:rows]


# --- tabs and filter ----------------------------------------------------------------


def _add_tabs(drawing: Drawing, session: Session, cols: int) -> None:
    wide = cols >= _WIDE_COLS
    line: Line = []
    spots: list[tuple[int, str]] = []
    for view in VIEWS:
        key = session.keymap.key_of(f"view {view}")
        text = f"{key} {session.model.views[view].title}".lstrip()
        on = view == session.view
        text = f"[{text}]" if on else f" {text} " if wide else f"{text} "
        line.append(("tab-on" if on else "tab", text))
        spots.append((columns(line), view))
    row = len(drawing.lines)
    drawing.lines.append(spread(line, _summary(session, wide=wide), cols))

    def press(column: int, _: int) -> None:
        for end, view in spots:
            if column < end:
                session.run(f"view {view}")
                return

    drawing.hits[row] = press


def _summary(session: Session, *, wide: bool) -> Line:
    """Return how the table is shown: window, order, zone."""
    table, options = session.table, session.model.options
    if not wide:
        shown = f"{len(table)}/{table.total}"
        return [("dim", f"{shown} {options.window} ")]
    order = f"sort {table.sort_key} {'v' if table.reverse else '^'}"
    times = "age" if options.time_style == "age" else options.time_style
    return [("dim", f"window {options.window}   {order}   times {times} ")]


def _filter_line(session: Session, cols: int) -> Line:
    table = session.table
    left: Line = [("prompt", " filter> "), ("text", _shown_filter(table))]
    return spread(left, [("hint", f"{table.counts()} ")], cols)


def _shown_filter(table: TableModel) -> str:
    # A filter is typed here, or comes from a row: from the wire.
    return table.filter_text if table.filter_text.isprintable() else "?"


# --- body -----------------------------------------------------------------------------


def _add_body(drawing: Drawing, session: Session, layout: Layout, cols: int) -> None:
    if layout.table:
        _add_table(drawing, session, cols, layout.table)
    if layout.detail and session.detail is not None:
        drawing.lines += session.detail.lines(cols, layout.detail, session.glyphs)


def _add_table(drawing: Drawing, session: Session, cols: int, rows: int) -> None:
    table = session.table
    if cols != table.screen_cols:
        table.resize(cols)
    top = len(drawing.lines)
    lines = table_lines(table, session.viewport, (cols, rows), stale=is_stale(session))
    lines += [
        [("text", f"  {piece}")]
        for line in session.model.diagnosis(session.view)
        for piece in worded(line, cols - 4)
    ]
    lines += [[] for _ in range(rows - len(lines))]
    drawing.lines += lines[:rows]

    def sort(column: int, _: int) -> None:
        name = head_at(table, column)
        if name:
            session.run("invert" if name == table.sort_key else f"sort {name}")

    def choose(_: int, row: int) -> None:
        index = session.viewport.top + row - top - 1
        if index == table.focus_index:
            session.run("open")
        elif index < len(table):
            table.move(index - table.focus_index)
            session.look()

    drawing.hits[top] = sort
    drawing.hits |= dict.fromkeys(range(top + 1, top + rows), choose)


# --- bottom ---------------------------------------------------------------------------


def _add_bottom(drawing: Drawing, session: Session, layout: Layout, cols: int) -> None:
    layer = session.layer
    if isinstance(layer, Prompt):
        line, column = layer.line(cols)
        above = layer.above(cols)
        # There is one line for it; more of them lie over the end of the table.
        del drawing.lines[len(drawing.lines) + 1 - len(above) :]
        drawing.lines += [fitted(each, cols) for each in (*above, line)]
        drawing.cursor = (min(column, cols - 1), len(drawing.lines) - 1)
        return
    message = session.message
    if message is not None and width(message.text) > cols - 2:
        # A long message takes the line of the keys, and then the end of the table.
        lines = [*worded(message.text, cols - 2)]
        del drawing.lines[len(drawing.lines) + 2 - len(lines) :]
        drawn_lines = [[("text", " "), (message.style, line)] for line in lines]
        drawing.lines += [fitted(line, cols) for line in drawn_lines]
        return
    drawing.lines += [_message(session, layout, cols), _footer(session, cols)]


def _message(session: Session, layout: Layout, cols: int) -> Line:
    table = session.table
    news = table.news() if layout.filter else _counted(table)
    right: Line = [("hint", f"{news} ")] if news else []
    if session.message is not None:
        left: Line = [(session.message.style, f" {session.message.text}")]
    elif table.filter_text and not layout.filter:
        left = [("prompt", " filter> "), ("text", _shown_filter(table))]
    else:
        left = [("hint", f" {_hint(session)}")]
    return spread(left, right, cols)


def _counted(table: TableModel) -> str:
    return "  ".join(filter(None, (table.counts(), table.news())))


def _hint(session: Session) -> str:
    if session.view != "tasks" or session.reading:
        return ""
    hints = ((session.keymap.key_of(name), words) for name, words in _HINTS)
    return "   ".join(f"{key} {words}" for key, words in hints if key)


def _footer(session: Session, cols: int) -> Line:
    layer = session.layer
    contexts = layer.contexts if layer is not None else session.contexts()
    line: Line = []
    for key, word in session.keymap.footer(contexts, cols, _words(session)):
        line += [("text", " "), ("key", key), ("text", f" {word} ")]
    return fitted(line, cols)


def _words(session: Session) -> dict[str, str]:
    """Return words of the footer that are others here; "" leaves one out."""
    words = {"open": "Tasks" if session.view in _LEADING else "Detail"}
    if session.reading:
        words["open"] = ""
    if session.detail is not None or session.trail:
        words["back"] = "Back"
    if session.model.paused:
        words["pause"] = "Go on"
    if session.view != "tasks":
        words["tree"] = ""
    if session.desk is None:
        words["actions"] = ""
    return words


def _add_layer(drawing: Drawing, session: Session, size: tuple[int, int]) -> None:
    """Lay what is open over the picture; a prompt has its own line already."""
    for layer in session.layers:
        box = layer.box(size)
        if box is not None:
            drawing.lines, drawing.cursor = centred(drawing.lines, box, size, session.glyphs)
    if session.layers:
        drawing.hits.clear()
