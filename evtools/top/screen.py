"""The whole screen: status bar, tabs, table, detail, keys, and the layers over them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from textwrap import wrap
from typing import TYPE_CHECKING, Final, TypeAlias

from evtools.text import (
    clip,
    elide_middle,
    human_age,
    human_count,
    human_duration,
    human_rate,
    human_size,
    sanitize,
    width,
)
from evtools.top.columns import RenderContext
from evtools.top.options import VIEWS
from evtools.top.over_time import PANEL_MAX, PANEL_MIN, overview, row_panel
from evtools.top.ui import widgets as ui
from evtools.transport.recording.database import DatabaseReader
from evtools.transport.recording.reader import RecordingReader

if TYPE_CHECKING:
    from evtools.top.commands import Session
    from evtools.top.status import Figures

#: The smallest terminal that anything is shown on, in columns and rows.
LEAST: Final = (50, 12)
#: From this number of rows on: how many lines the status bar has.
_BAR_LINES: Final = ((28, 3), (20, 2), (0, 1))
#: From this number of rows on the detail stands below the table, not in its place, and the
#: filter has a line of its own.
_TALL_ROWS: Final = 28
#: What a name of where one is takes at most, and what stands around such names.
_CRUMB_COLS: Final = 24
_GAP_COLS: Final = 5
#: What stands before a filter.
_FILTER: Final = " filter> "
#: Tabs, message and keys have one line each, always.
_FRAME_ROWS: Final = 3
#: Of the rows of a split screen, the share of the table.
_TABLE_SHARE: Final = 0.45
_SPLIT_ROWS_MIN: Final = 5
#: The least that the table of the overview has.
_OVERVIEW_ROWS: Final = 4
#: Between a table and what is shown of its row over time.
_GAP_ROWS: Final = 1
#: From this number of columns on, lines have words that shorter ones leave out.
_WIDE_COLS: Final = 100

#: Called with the column and row of a press of the mouse.
Hit: TypeAlias = Callable[[int, int], None]


@dataclass(slots=True)
class Frame:
    """A picture of the screen; `hits` are called for a press of the mouse, by row."""

    lines: list[ui.Line]
    cursor: tuple[int, int] | None = None
    hits: dict[int, Hit] = field(default_factory=dict)


def draw(session: Session, size: tuple[int, int]) -> Frame:
    """Draw the screen in `size` (columns, rows)."""
    cols, rows = size
    if cols < LEAST[0] or rows < LEAST[1]:
        text = f"Terminal too small: {cols}x{rows}, needs {LEAST[0]}x{LEAST[1]}. Q quits"
        return Frame([[("warning", line[:cols])] for line in wrap(text, cols)][:rows])
    detail, table = session.detail, session.table
    if cols != table.screen_cols:
        # Also where the table is not in sight: bars of a detail are as wide.
        table.resize(cols)
        session.look()
    bar = next(count for least, count in _BAR_LINES if rows >= least)
    filter_row = bool(table.filter_text) and rows >= _TALL_ROWS
    strip = _alerts(session, cols)
    body = table_rows = rows - bar - len(strip) - filter_row - _FRAME_ROWS
    if detail is not None:
        split = rows >= _TALL_ROWS and not detail.full
        table_rows = max(_SPLIT_ROWS_MIN, round(body * _TABLE_SHARE)) if split else 0
        if table_rows and len(table):
            # What a short table leaves empty is for what is read.
            table_rows = min(table_rows, max(_SPLIT_ROWS_MIN, len(table) + 2))
    session.table_shown = table_rows > 0

    frame = Frame(status_bar(session, cols, bar))
    frame.hits |= dict.fromkeys(range(bar, bar + len(strip)), lambda *_: session.run("alerts"))
    frame.lines += strip
    _add_tabs(frame, session, cols)
    if filter_row:
        counts: ui.Line = [("hint", f"{table.counts()} ")]
        left = _filter(session, cols - ui.columns(counts) - 1)
        room = cols - ui.columns(left) - ui.columns(counts) - _GAP_COLS
        frame.lines.append(ui.spread(left, [*_crumbs(session, room), *counts], cols))
    if table_rows:
        _add_table(frame, session, cols, table_rows)
    if detail is not None:
        frame.lines += detail.lines(cols, body - table_rows, session.glyphs)
    frame.lines += [[] for _ in range(rows - 2 - len(frame.lines))]
    layer, message = session.layer, session.message
    if isinstance(layer, ui.Prompt):
        bottom, column = layer.lines(cols)
        frame.cursor = (min(column, cols - 1), rows - 1)
    elif message is not None and width(message.text) > cols - 2:
        bottom = ui.paragraph(message.text, cols - 1, style=message.style, indent=" ")
    else:
        bottom = [_message(session, cols, filter_row=filter_row), _footer(session, cols)]
    # More than two lines lie over the end of the table.
    frame.lines[rows - len(bottom) :] = [ui.fitted(line, cols) for line in bottom]
    for layer in session.layers:
        if not isinstance(layer, ui.Prompt):
            box = layer.box(cols - 4, rows - 2)
            frame.lines, frame.cursor = ui.centred(frame.lines, box, size, session.glyphs)
        frame.hits.clear()
    return frame


def _crumbs(session: Session, room: int) -> ui.Line:
    # Where drill-downs have led to, with the rows that they began at, if there is room for it.
    if not session.trail or room < _CRUMB_COLS:
        return []
    steps = [
        elide_middle(one, _CRUMB_COLS) for title, row, _ in session.trail for one in (title, row)
    ]
    text = " > ".join(filter(None, [*steps, session.table.title]))
    return [("dim", f"{elide_middle(text, room)}   ")]


def _filter(session: Session, cols: int) -> ui.Line:
    # A filter is typed here, or comes from a row: from the wire.
    text = sanitize(session.table.filter_text)
    return [("prompt", _FILTER), ("text", clip(text, max(0, cols - width(_FILTER))))]


def _alerts(session: Session, cols: int) -> list[ui.Line]:
    # One line while any alert fires.
    firing, now = session.model.alerts.firing(), session.model.context().now
    if not firing:
        return []
    names = [one.rule.name for one in firing]
    ages = [human_age(max(0.0, now - (one.since or now))) for one in firing]
    if len(firing) == 1:
        message = sanitize(firing[0].rule.message)
        about = ": ".join(filter(None, (names[0], message, firing[0].found())))
        text, does = f"! {about} for {ages[0]}", "goes there"
    else:
        each = ", ".join(f"{name} for {age}" for name, age in zip(names, ages, strict=True))
        text, does = f"! {len(firing)} alerts: {each}", "shows them"
    key = session.keymap.key_of("alerts")
    right = f"{key} {does} " if key else ""
    left = clip(text, max(0, cols - width(right) - 3))
    style = "alert" if firing[0].rule.level == "critical" else "alert-warning"
    return [[(style, ui.plain(ui.spread([("", f" {left}")], [("", right)], cols)))]]


def _add_tabs(frame: Frame, session: Session, cols: int) -> None:
    wide = cols >= _WIDE_COLS
    line: ui.Line = []
    ends: list[tuple[int, str]] = []
    for view in VIEWS:
        key = session.keymap.key_of(f"view {view}")
        text = f"{key} {session.model.views[view].title}".lstrip()
        on = view == session.view
        text = f"[{text}]" if on else f" {text} " if wide else text
        if line and not wide:
            line.append(("tab", " "))
        line.append(("tab-on" if on else "tab", text))
        ends.append((ui.columns(line), view))
    table, options = session.table, session.model.options
    order = f"sort {table.sort_key} {'v' if table.reverse else '^'}"
    summary = f"window {options.window}   {order}   times {options.time_style} "
    if not wide or ui.columns(line) + width(summary) >= cols:
        summary = f"{len(table)}/{table.total} {options.window} "

    def press(column: int, _: int) -> None:
        view = next((view for end, view in ends if column < end), None)
        if view is not None:
            session.run(f"view {view}")

    frame.hits[len(frame.lines)] = press
    frame.lines.append(ui.spread(line, [("dim", summary)], cols))


def _add_table(frame: Frame, session: Session, cols: int, rows: int) -> None:
    table = session.table
    if session.view == "overview" and session.detail is None:
        # Its graphs come first; what needs attention has a third of the room at most.
        own = max(_OVERVIEW_ROWS, min(len(table) + _FRAME_ROWS, rows // 3))
        graphs = overview(session.model, (cols, rows - own))
        frame.lines += [*graphs, *[[] for _ in range(rows - own - len(graphs))]]
        rows = min(rows, own)
    top = len(frame.lines)
    # What the table leaves empty shows its row under the cursor over time.
    left = min(max(PANEL_MAX, rows // 2), rows - 1 - len(table) - _GAP_ROWS)
    panel: list[ui.Line] = []
    if left >= PANEL_MIN and session.detail is None:
        panel = row_panel(session.model, session.view, (cols, left), table.focus_key)
    shown = rows - len(panel)
    lines = ui.table_lines(table, (cols, shown), stale=is_stale(session))
    for text in session.model.diagnosis(session.view):
        lines += ui.paragraph(text, cols - 2, indent="  ")
    lines += [[] for _ in range(shown - len(lines))]
    lines = [*lines[:shown], *panel]
    frame.lines += lines[:rows]

    def sort(column: int, _: int) -> None:
        name = ui.head_at(table, column)
        if name:
            session.run("invert" if name == table.sort_key else f"sort {name}")

    def choose(_: int, row: int) -> None:
        index = table.top + row - top - 1
        if index == table.focus_index:
            session.run("open")
        elif index < len(table):
            table.move(index - table.focus_index)
            session.look()

    frame.hits[top] = sort
    frame.hits |= dict.fromkeys(range(top + 1, top + rows), choose)


# --- the two lines at the bottom --------------------------------------------------------

#: Shown above the keys while there is no message: command, words.
_HINTS: Final = {
    "next-failure": "next failure", "keep": "keep only this value", "exclude": "exclude it",
}  # fmt: skip


def _message(session: Session, cols: int, *, filter_row: bool) -> ui.Line:
    table = session.table
    news = table.news()
    if not filter_row:
        news = "  ".join(filter(None, (table.counts(), news)))
    left, crumbs = list[ui.Span](), list[ui.Span]()
    if session.message is not None:
        left = [(session.message.style, f" {session.message.text}")]
    elif table.filter_text and not filter_row:
        left = _filter(session, cols - width(news) - 2)
        room = cols - ui.columns(left) - width(news) - _GAP_COLS
        crumbs = _crumbs(session, room)
    elif session.view == "tasks" and not session.reading:
        hints = ((session.keymap.key_of(name), words) for name, words in _HINTS.items())
        left = [("hint", " " + "   ".join(f"{key} {words}" for key, words in hints if key))]
    return ui.spread(left, [*crumbs, ("hint", f"{news} ")] if news else crumbs, cols)


def _footer(session: Session, cols: int) -> ui.Line:
    # Words that are others here, and when; "" leaves one out.
    others = (
        ("open", "Tasks", session.view in ("types", "workers", "queues", "errors")),
        ("open", "Detail", session.table.has_page and session.detail is None),
        ("open", "Go there", session.view == "overview"),
        ("open", "", session.reading),
        ("choose", "", isinstance(session.layer, ui.Messages)),
        ("search-next", "", session.detail is not None and not session.detail.pager.sought),
        ("back", "Back", session.detail is not None or session.trail),
        ("pause", "Resume", session.model.paused),
        ("tree", "", session.view != "tasks"),
        ("actions", "", not session.can_act),
    )
    words = {command: word for command, word, here in others if here}
    contexts = session.layer.contexts if session.layer is not None else session.contexts()
    line: ui.Line = []
    for key, word in session.keymap.footer(contexts, cols, words):
        line += [("text", " "), ("key", key), ("text", f" {word} ")]
    return line


# --- the status bar ---------------------------------------------------------------------

#: Connected, but without an event for this long, in seconds: workers send a heartbeat every
#: few seconds.
_STALE_AFTER: Final = 30.0
_REASON_CHARS: Final = 200
#: How much is shown of why one of several clusters is away, and what is left for other pieces.
_AWAY_COLS: Final = 64
_BESIDE_AWAY_COLS: Final = 40
#: From this share on, bytes are shown if they are the first to run out.
_NEARLY_FULL: Final = 0.5

_LOSSES: Final = "reconnects:5 gaps:5 dropped:5 malformed:5 missed:5"
_MODES: Final = "recording:1 history:1 mouse:1 changes:1"
# fmt: off
#: By the number of lines, for each its pieces at both ends, and how soon a piece is left out
#: where there is no room (0: never).
_BARS: Final = {
    1: (
        (f"where:4 status:0 away:1 lag:3 {_LOSSES} rate:3", f"failing:1 {_MODES} clock:2"),
    ),
    2: (
        (f"where:4 status:0 away:1 lag:3 {_LOSSES}",    f"{_MODES} clock:2"),
        ("rate:0 short-flow:4 short-workers:2 run:3",   "failing:1 p95:5"),
    ),
    3: (
        (f"evtop:7 where:4 status:0 away:1 lag:3 {_LOSSES}", f"{_MODES} every:8 clock:2"),
        ("events:0 flow:3 peak:4",                      "memory:1 self:6"),
        ("workers:0 active:4 ok:3 failing:1 retry:5",   "p50:6 p95:2 p99:7"),
    ),
}
# fmt: on


def is_stale(session: Session) -> bool:
    """Return whether the rows show a state of the past: the connection is lost."""
    lost_at = [cluster.connection.lost_at for cluster in session.model.clusters.values()]
    return None not in lost_at and not session.model.options.read


def status_bar(session: Session, cols: int, count: int) -> list[ui.Line]:
    """Return one, two or three lines of `cols` columns; pieces without room are left out."""
    facts = session.model.header()
    wide = count == len(_BARS)
    pieces = _stream(session, facts, cols, wide=wide) | _cluster(session, facts, wide=wide)
    lines = []
    for ends in _BARS[count]:
        fitting: list[tuple[int, int, ui.Line]] = []
        for end, names in enumerate(ends):
            for word in names.split():
                name, _, rank = word.partition(":")
                if name in pieces:
                    fitting.append((int(rank), end, pieces[name]))
        while len(fitting) > 1 and sum(ui.columns(piece) + 2 for _, _, piece in fitting) + 3 > cols:
            fitting.remove(max(reversed(fitting), key=lambda each: each[0]))
        sides: tuple[ui.Line, ui.Line] = ([], [])
        for _, end, piece in fitting:
            sides[end].extend([("text", "  "), *piece] if sides[end] else piece)
        lines.append(ui.spread([("text", " "), *sides[0]], [*sides[1], ("text", " ")], cols))
    if is_stale(session):
        lines[min(1, count - 1)] = _banner(session, cols)
    return lines


def _banner(session: Session, cols: int) -> ui.Line:
    # The state of the lost connection; the age of the data is cut last.
    links = [cluster.connection for cluster in session.model.clusters.values()]
    connection = max(links, key=lambda one: one.lost_at or 0.0)
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
    line = ui.spread([("", f" {left}")], [("", f"{right} ")], cols)
    return [("banner", ui.plain(line))]


def _stream(session: Session, facts: Figures, cols: int, *, wide: bool) -> dict[str, ui.Line]:
    # The pieces about the source, the connection and evtop itself.
    counters, own, options = facts.counters, session.own_cost, session.model.options
    status, recording = _status(session), session.feed.recording
    losses = {
        "reconnects": counters.reconnects, "gaps": counters.gaps, "dropped": counters.dropped,
        "malformed": facts.malformed, "missed": facts.missed,
    }  # fmt: skip
    pieces: dict[str, ui.Line] = {
        name: [("warning" if count else "dim", f"{name} {human_count(count)}")]
        for name, count in losses.items()
        if count or (wide and name in ("reconnects", "gaps"))
    }
    if counters.lag is not None and not isinstance(session.feed.source, DatabaseReader):
        pieces["lag"] = _labelled("lag", human_duration(counters.lag))
    # Modes that must not be forgotten.
    if recording is not None:
        text = "FAILED" if recording.error else f"{recording.events}"
        pieces["recording"] = [("badge", f"REC {text}")]
    history = session.feed.history
    if history is not None and history.error:
        pieces["history"] = [("badge", "HISTORY FAILED")]
    if options.mouse:
        pieces["mouse"] = [("badge", "MOUSE")]
    several = len(session.model.clusters) > 1 and not options.read
    if several and not is_stale(session) and (away := _away(session, cols)):
        pieces["away"] = away
    return pieces | {
        "changes": [("badge", "RW" if session.can_act else "RO")],
        "evtop": [("title", "evtop")],
        "where": [("title", session.where)],
        "status": [("live" if status in ("LIVE", "REPLAY") else "paused", status)],
        "self": [("dim", f"self {own.cpu:>4.0%} cpu {human_size(own.bytes):>4}")],
        "every": [("dim", f"every {options.refresh:g}s")],
        "clock": [("text", _clock(session))],
    }


def _status(session: Session) -> str:
    model, tape = session.model, session.feed.source
    # What is read and not taken in yet is not on the screen.
    is_all = getattr(tape, "ended", False) and not session.feed.waiting
    if isinstance(tape, DatabaseReader):
        return "DATABASE" if is_all else "READING"
    if isinstance(tape, RecordingReader):
        if model.paused or tape.paused:
            return "REPLAY PAUSED"
        if is_all:
            return "REPLAY ENDED"
        return "REPLAY" if tape.speed in (1, math.inf) else f"REPLAY {tape.speed:g}x"
    if model.paused:
        return "PAUSED"
    clusters, words = model.clusters.values(), []
    for cluster in clusters:
        status, latest = cluster.connection.status, cluster.intake.latest
        silent = latest is not None and session.clock.wall() - latest > _STALE_AFTER
        words.append("STALE" if status == "live" and silent else status.upper())
    if len(words) == 1 or set(words) == {"LIVE"}:
        return words[0]
    return f"{words.count('LIVE')} of {len(words)} LIVE"


def _away(session: Session, cols: int) -> ui.Line:
    # Of several clusters, those that are not live, and why: each has the same share of the room.
    parts = []
    for cluster in session.model.clusters.values():
        connection = cluster.connection
        if connection.status != "live":
            age = ""
            if connection.lost_at is not None:
                seconds = max(0.0, session.clock.wall() - connection.lost_at)
                age = f" {human_age(seconds)}"
            why = clip(sanitize(connection.cause[:_REASON_CHARS]), _AWAY_COLS)
            parts.append(f"{cluster.name} {connection.status}{age}: {why}")
    if not parts:
        return []
    room = max(0, cols - _BESIDE_AWAY_COLS)
    share = room // len(parts) - 2
    return [("warning", clip("  ".join(clip(part, share) for part in parts), room))]


def _clock(session: Session) -> str:
    # The time and its zone: of a replay, the time of the recording.
    context = session.model.context()
    now = context.now if session.model.options.read else session.clock.wall()
    try:
        moment = datetime.fromtimestamp(now, context.zone)
        zone = moment.tzname() or ""
        if zone == "local":  # which does not say the zone
            zone = moment.astimezone().tzname() or ""
    except (OverflowError, ValueError, OSError):
        zone = ""
    return f"{RenderContext(now, context.zone).time_of_day(now)} {zone}".rstrip()


def _cluster(session: Session, facts: Figures, *, wide: bool) -> dict[str, ui.Line]:
    # The pieces about events, tasks and workers.
    totals, run, counts = facts.totals, facts.run, facts.workers
    rate = human_rate(facts.event_rate)
    workers = _labelled("workers", f"{counts['online']} online")
    short_workers = _labelled("wk", f"{counts['online']}/{counts.total()}")
    for name in ("silent", "late", "busy?", "gone", "away"):
        if count := counts[name]:
            workers.append(("waiting" if name == "silent" else "late", f" {count} {name}"))
            if name == "silent":
                short_workers.append(workers[-1])
    # Workers without heartbeats do not report their active tasks.
    active = f"{facts.active}{'+' if counts['silent'] else ''}"
    style = "failure" if totals.fail_rate else "text"
    failing: ui.Line = [("dim", "fail "), (style, human_rate(totals.fail_rate))]
    if wide and totals.failure_share is not None:
        failing.append((style, f" {totals.failure_share:.1%}"))
    p50, p95, p99 = (
        "-" if seconds is None else human_duration(seconds)
        for seconds in (run.p50, run.p95, run.p99)
    )

    def spark(cols: int) -> ui.Line:
        flow = facts.flow
        per = max(1, len(flow) // cols)
        levels = [sum(flow[start : start + per]) / per for start in range(0, len(flow), per)]
        return [("spark", session.glyphs.spark(levels))]

    # How full the memory is, by the bound that is met first.
    memory = f"{facts.tasks}/{facts.max_tasks}"
    by_count = facts.tasks / max(1, facts.max_tasks)
    if facts.weight_bytes / max(1, facts.max_bytes) > max(by_count, _NEARLY_FULL):
        room = f"{human_size(facts.weight_bytes)}/{human_size(facts.max_bytes)}"
        memory = f"{facts.tasks} ({room})"
    forgot: ui.Line = [("dim", f" forgot {human_count(facts.evicted)}")] if facts.evicted else []
    return {
        "events": _labelled("events", rate),
        "rate": [("text", rate)],
        "flow": spark(30),
        "short-flow": spark(12),
        "peak": [("dim", f"5m peak {human_rate(facts.peak)}")],
        "memory": _labelled("tasks", memory) + forgot,
        "workers": workers,
        "short-workers": short_workers,
        "active": _labelled("active", active),
        "run": _labelled("run", active),
        "ok": _labelled("ok", human_rate(totals.ok_rate)),
        "failing": failing,
        "retry": _labelled("retry", human_rate(totals.retry_rate)),
        "p50": [("dim", f"run p50 {p50}")],
        "p95": _labelled("p95", p95),
        "p99": [("dim", f"p99 {p99}")],
    }


def _labelled(name: str, text: str) -> ui.Line:
    return [("dim", f"{name} "), ("text", text)]
