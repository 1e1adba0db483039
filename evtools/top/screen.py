"""The whole screen: status bar, tabs, table, detail, keys, and the layers over them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from textwrap import wrap
from typing import Final, TypeAlias

from evtools.text import (
    clip,
    human_age,
    human_count,
    human_duration,
    human_rate,
    human_size,
    sanitize,
    width,
)
from evtools.top.choices import VIEWS
from evtools.top.columns import RenderContext
from evtools.top.session import Session
from evtools.top.ui.widgets import (
    Line,
    Prompt,
    centred,
    columns,
    fitted,
    head_at,
    paragraph,
    plain,
    spread,
    table_lines,
)
from evtools.transport.recording.reader import RecordingReader

#: The smallest terminal that anything is shown on, in columns and rows.
LEAST: Final = (50, 12)
#: From this number of rows on: how many lines the status bar has.
_BAR_LINES: Final = ((28, 3), (20, 2), (0, 1))
#: From this number of rows on the detail stands below the table, not in its place, and the
#: filter has a line of its own.
_TALL_ROWS: Final = 28
#: Tabs, message and keys have one line each, always.
_FRAME_ROWS: Final = 3
#: Of the rows of a split screen, the share of the table.
_TABLE_SHARE: Final = 0.45
#: From this number of columns on, lines have words that shorter ones leave out.
_WIDE_COLS: Final = 100

#: Called with the column and row of a press of the mouse.
Hit: TypeAlias = Callable[[int, int], None]


@dataclass(slots=True)
class Frame:
    """A picture of the screen; `hits` are called for a press of the mouse, by row."""

    lines: list[Line]
    cursor: tuple[int, int] | None = None
    hits: dict[int, Hit] = field(default_factory=dict)


def draw(session: Session, size: tuple[int, int]) -> Frame:
    """Draw the screen in `size` (columns, rows)."""
    cols, rows = size
    if cols < LEAST[0] or rows < LEAST[1]:
        text = f"Terminal too small: {cols}x{rows}, needs {LEAST[0]}x{LEAST[1]}. Q quits"
        return Frame([[("warning", line[:cols])] for line in wrap(text, cols)][:rows])
    detail = session.detail
    bar = next(count for least, count in _BAR_LINES if rows >= least)
    filter_row = bool(session.table.filter_text) and rows >= _TALL_ROWS
    body = rows - bar - filter_row - _FRAME_ROWS
    if detail is None:
        table_rows = body
    elif detail.full or rows < _TALL_ROWS:
        table_rows = 0
    else:
        table_rows = max(5, round(body * _TABLE_SHARE))
    session.table_shown = table_rows > 0

    frame = Frame(StatusBar(session).lines(cols, bar))
    _add_tabs(frame, session, cols)
    if filter_row:
        left: Line = [("prompt", " filter> "), ("text", _filter(session))]
        frame.lines.append(spread(left, [("hint", f"{session.table.counts()} ")], cols))
    if table_rows:
        _add_table(frame, session, cols, table_rows)
    if detail is not None:
        frame.lines += detail.lines(cols, body - table_rows, session.glyphs)
    frame.lines += [[] for _ in range(rows - 2 - len(frame.lines))]
    _add_bottom(frame, session, cols, filter_row=filter_row)
    for layer in session.layers:
        box = layer.box(size)
        if box is not None:
            frame.lines, frame.cursor = centred(frame.lines, box, size, session.glyphs)
    if session.layers:
        frame.hits.clear()
    return frame


def _filter(session: Session) -> str:
    # A filter is typed here, or comes from a row: from the wire.
    text = session.table.filter_text
    return text if text.isprintable() else "?"


def _add_tabs(frame: Frame, session: Session, cols: int) -> None:
    wide = cols >= _WIDE_COLS
    line: Line = []
    ends: list[tuple[int, str]] = []
    for view in VIEWS:
        key = session.keymap.key_of(f"view {view}")
        text = f"{key} {session.model.views[view].title}".lstrip()
        on = view == session.view
        text = f"[{text}]" if on else f" {text} " if wide else f"{text} "
        line.append(("tab-on" if on else "tab", text))
        ends.append((columns(line), view))
    table, options = session.table, session.model.options
    if wide:
        order = f"sort {table.sort_key} {'v' if table.reverse else '^'}"
        summary = f"window {options.window}   {order}   times {options.time_style} "
    else:
        summary = f"{len(table)}/{table.total} {options.window} "

    def press(column: int, _: int) -> None:
        view = next((view for end, view in ends if column < end), None)
        if view is not None:
            session.run(f"view {view}")

    frame.hits[len(frame.lines)] = press
    frame.lines.append(spread(line, [("dim", summary)], cols))


def _add_table(frame: Frame, session: Session, cols: int, rows: int) -> None:
    table = session.table
    if cols != table.screen_cols:
        table.resize(cols)
    top = len(frame.lines)
    stale = is_stale(session)
    lines = table_lines(table, session.viewport, (cols, rows), stale=stale)
    lines += [
        line
        for text in session.model.diagnosis(session.view)
        for line in paragraph(text, cols - 2, indent="  ")
    ]
    lines += [[] for _ in range(rows - len(lines))]
    frame.lines += lines[:rows]

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

    frame.hits[top] = sort
    frame.hits |= dict.fromkeys(range(top + 1, top + rows), choose)


# --- the two lines at the bottom --------------------------------------------------------

#: Shown above the keys while there is no message: command, words.
_HINTS: Final = (
    ("next-failure", "next failure"),
    ("keep", "keep only this value"),
    ("exclude", "exclude it"),
)


def _add_bottom(frame: Frame, session: Session, cols: int, *, filter_row: bool) -> None:
    layer, message = session.layer, session.message
    if isinstance(layer, Prompt):
        line, column = layer.line(cols)
        bottom = [*layer.above(cols), line]
        frame.cursor = (min(column, cols - 1), len(frame.lines) + 1)
    elif message is not None and width(message.text) > cols - 2:
        bottom = paragraph(message.text, cols - 1, style=message.style, indent=" ")
    else:
        bottom = [_message(session, cols, filter_row=filter_row), _footer(session, cols)]
    # More than two lines lie over the end of the table.
    del frame.lines[len(frame.lines) + 2 - len(bottom) :]
    frame.lines += [fitted(line, cols) for line in bottom]


def _message(session: Session, cols: int, *, filter_row: bool) -> Line:
    table = session.table
    news = table.news()
    if not filter_row:
        news = "  ".join(filter(None, (table.counts(), news)))
    if session.message is not None:
        left: Line = [(session.message.style, f" {session.message.text}")]
    elif table.filter_text and not filter_row:
        left = [("prompt", " filter> "), ("text", _filter(session))]
    elif session.view == "tasks" and not session.reading:
        hints = ((session.keymap.key_of(name), words) for name, words in _HINTS)
        left = [("hint", " " + "   ".join(f"{key} {words}" for key, words in hints if key))]
    else:
        left = []
    return spread(left, [("hint", f"{news} ")] if news else [], cols)


def _footer(session: Session, cols: int) -> Line:
    # Words that are others here; "" leaves one out.
    words = {}
    if session.reading:
        words["open"] = ""
    elif session.view in ("types", "workers", "queues", "errors"):
        words["open"] = "Tasks"
    if session.detail is not None or session.trail:
        words["back"] = "Back"
    if session.model.paused:
        words["pause"] = "Resume"
    if session.view != "tasks":
        words["tree"] = ""
    if session.control is None:
        words["actions"] = ""
    contexts = session.layer.contexts if session.layer is not None else session.contexts()
    line: Line = []
    for key, word in session.keymap.footer(contexts, cols, words):
        line += [("text", " "), ("key", key), ("text", f" {word} ")]
    return line


# --- the status bar ---------------------------------------------------------------------

#: Connected, but without an event for this long, in seconds: workers send a heartbeat every
#: few seconds.
_STALE_AFTER: Final = 30.0
_REASON_CHARS: Final = 200
#: The name of a zone that does not say which one it is.
_LOCAL: Final = "local"
_SPARK_COLS, _SHORT_SPARK_COLS = 30, 12
#: From this share on, bytes are shown if they are the first to run out.
_NEARLY_FULL: Final = 0.5

#: How soon a piece is left out where there is no room (0: never), and its text.
Piece: TypeAlias = tuple[int, Line]
_Sides: TypeAlias = tuple[list[Piece], list[Piece]]


def is_stale(session: Session) -> bool:
    """Return whether the rows show a state of the past: the connection is lost."""
    return session.connection.lost_at is not None and not session.model.replayed


class StatusBar:
    """The lines above the tabs: source, connection, losses, rates, workers."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._facts = session.model.header()

    def lines(self, cols: int, count: int) -> list[Line]:
        """Return one, two or three lines of `cols` columns."""
        if count == 1:
            sides = [self._one_line()]
        elif count == 2:  # noqa: PLR2004  (lines of the middle form)
            sides = [self._source(wide=False), self._figures()]
        else:
            sides = [self._source(wide=True), self._flow(), self._cluster()]
        lines = [_fitted(left, right, cols) for left, right in sides]
        if is_stale(self._session):
            lines[min(1, count - 1)] = self._banner(cols)
        return lines

    def _banner(self, cols: int) -> Line:
        """Return the state of the lost connection; the age of the data is cut last."""
        session, connection = self._session, self._session.connection
        assert connection.lost_at is not None
        reason = sanitize(connection.reason[:_REASON_CHARS])
        if connection.status == "ended":
            left = f"ENDED  {reason}" if reason else "ENDED"
        else:
            tries = f"  attempt {connection.attempts}" if connection.attempts else ""
            left = f"RECONNECTING{tries}: {reason} (Q quits)"
        age = human_age(max(0.0, session.clock.wall() - connection.lost_at))
        right = f"data as of {session.model.context().time_of_day(connection.lost_at)}, {age} old"
        left = clip(left, max(0, cols - width(right) - 4))
        line = spread([("", f" {left}")], [("", f"{right} ")], cols)
        return [("banner", plain(line))]

    # --- the first line -----------------------------------------------------------------

    def _source(self, *, wide: bool) -> _Sides:
        session, facts = self._session, self._facts
        status = self._status()
        style = "live" if status in ("LIVE", "REPLAY") else "paused"
        left: list[Piece] = [(4, [("title", session.where)]), (0, [(style, status)])]
        if wide:
            left.insert(0, (7, [("title", "evtop")]))
        if facts.lag is not None:
            left.append((3, _labelled("lag", human_duration(facts.lag))))
        left += self._losses(wide=wide)
        right: list[Piece] = [(1, [("badge", badge)]) for badge in self._badges()]
        if wide:
            right.append((8, [("dim", f"every {session.model.options.refresh:g}s")]))
        return left, [*right, (2, [("text", self._clock())])]

    def _status(self) -> str:
        session, tape = self._session, self._session.feed.source
        if isinstance(tape, RecordingReader):
            if session.model.paused or tape.paused:
                return "REPLAY PAUSED"
            if tape.ended:
                return "REPLAY ENDED"
            return "REPLAY" if tape.speed in (1, math.inf) else f"REPLAY {tape.speed:g}x"
        if session.model.paused:
            return "PAUSED"
        latest = session.model.intake.latest
        silent = latest is not None and session.clock.wall() - latest > _STALE_AFTER
        return (
            "STALE"
            if session.connection.status == "live" and silent
            else session.connection.status.upper()
        )

    def _losses(self, *, wide: bool) -> Iterator[Piece]:
        facts = self._facts
        for name, count, always in (
            ("reconnects", facts.reconnects, wide),
            ("gaps", facts.gaps, wide),
            ("dropped", facts.dropped, False),
            ("malformed", facts.malformed, False),
            ("missed", facts.missed, False),
        ):
            if count or always:
                yield 5, [("warning" if count else "dim", f"{name} {human_count(count)}")]

    def _badges(self) -> Iterator[str]:
        """Yield the modes that must not be forgotten."""
        recording = self._session.feed.recording
        if recording is not None:
            yield f"REC {recording.events}" if not recording.error else "REC FAILED"
        if self._session.mouse:
            yield "MOUSE"
        yield "RO" if self._session.control is None else "RW"

    def _clock(self) -> str:
        """Return the time and its zone: of a replay, the time of the recording."""
        session, context = self._session, self._session.model.context()
        now = context.now if session.model.replayed else session.clock.wall()
        try:
            moment = datetime.fromtimestamp(now, context.zone)
            zone = moment.tzname() or ""
            if zone == _LOCAL:
                zone = moment.astimezone().tzname() or ""
        except (OverflowError, ValueError, OSError):
            zone = ""
        return f"{RenderContext(now, context.zone).time_of_day(now)} {zone}".rstrip()

    # --- the other lines ----------------------------------------------------------------

    def _flow(self) -> _Sides:
        facts, own = self._facts, self._session.own_cost
        left: list[Piece] = [
            (0, _labelled("events", human_rate(facts.event_rate))),
            (3, self._spark(_SPARK_COLS)),
            (4, [("dim", f"5m peak {human_rate(facts.peak)}")]),
        ]
        right: list[Piece] = [(1, self._memory())]
        if own is not None:
            right.append((6, [("dim", f"self {own.cpu:.0%} cpu {human_size(own.bytes)}")]))
        return left, right

    def _spark(self, cols: int) -> Line:
        flow = self._facts.flow
        per = max(1, len(flow) // cols)
        levels = [sum(flow[start : start + per]) / per for start in range(0, len(flow), per)]
        return [("spark", self._session.glyphs.spark(levels))]

    def _memory(self) -> Line:
        """Return how full the memory is, by the bound that is met first."""
        facts = self._facts
        by_count = facts.tasks / max(1, facts.max_tasks)
        if facts.weight_bytes / max(1, facts.max_bytes) > max(by_count, _NEARLY_FULL):
            room = f"{human_size(facts.weight_bytes)}/{human_size(facts.max_bytes)}"
            line = _labelled("tasks", f"{facts.tasks} ({room})")
        else:
            line = _labelled("tasks", f"{facts.tasks}/{facts.max_tasks}")
        if facts.evicted:
            line.append(("dim", f" forgot {human_count(facts.evicted)}"))
        return line

    def _cluster(self) -> _Sides:
        facts = self._facts
        workers = _labelled("workers", f"{facts.workers['online']} online")
        for name in ("silent", "late", "busy?", "gone"):
            if count := facts.workers[name]:
                style = "waiting" if name == "silent" else "late"
                workers.append((style, f" {count} {name}"))
        left: list[Piece] = [
            (0, workers),
            (4, _labelled("active", self._active())),
            (3, _labelled("ok", human_rate(facts.ok_rate))),
            (1, self._failing()),
            (5, _labelled("retry", human_rate(facts.retry_rate))),
        ]
        run = facts.run
        return left, [
            (6, [("dim", f"run p50 {_duration(run.p50)}")]),
            (2, [("text", f"p95 {_duration(run.p95)}")]),
            (7, [("dim", f"p99 {_duration(run.p99)}")]),
        ]

    def _active(self) -> str:
        # Workers without heartbeats do not report their active tasks.
        return f"{self._facts.active}{'+' if self._facts.workers['silent'] else ''}"

    def _failing(self) -> Line:
        facts = self._facts
        style = "failure" if facts.fail_rate else "text"
        line: Line = [("dim", "fail "), (style, human_rate(facts.fail_rate))]
        if facts.failure_share is not None:
            line.append((style, f" {facts.failure_share:.1%}"))
        return line

    def _figures(self) -> _Sides:
        facts = self._facts
        workers = _labelled("wk", f"{facts.workers['online']}/{facts.workers.total()}")
        if silent := facts.workers["silent"]:
            workers.append(("waiting", f" {silent} silent"))
        left: list[Piece] = [
            (0, [("text", human_rate(facts.event_rate))]),
            (4, self._spark(_SHORT_SPARK_COLS)),
            (2, workers),
            (3, _labelled("run", self._active())),
        ]
        p95 = _labelled("p95", _duration(facts.run.p95))
        return left, [(1, self._failing()[:2]), (5, p95)]

    def _one_line(self) -> _Sides:
        left, right = self._source(wide=False)
        left.append((3, [("text", human_rate(self._facts.event_rate))]))
        return left, [(1, self._failing()[:2]), *right]


def _labelled(name: str, text: str) -> Line:
    return [("dim", f"{name} "), ("text", text)]


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else human_duration(seconds)


def _fitted(left: list[Piece], right: list[Piece], cols: int) -> Line:
    """Return the pieces at both ends, without those there is no room for."""
    while sum(columns(line) + 2 for _, line in (*left, *right)) + 3 > cols:
        if len(left) + len(right) == 1:
            break
        rank = max(rank for rank, _ in (*left, *right))
        for pieces in (right, left):
            last = [index for index, (of, _) in enumerate(pieces) if of == rank]
            if last:
                del pieces[last[-1]]
                break
    return spread([("text", " "), *_joined(left)], [*_joined(right), ("text", " ")], cols)


def _joined(pieces: list[Piece]) -> Line:
    line: Line = []
    for _, piece in pieces:
        line += [("text", "  "), *piece] if line else piece
    return line
