"""What is shown over time: the row under the cursor, and the overview of all clusters."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from evtools.state import Totals
from evtools.state.statistics.rows import heat_of
from evtools.state.statistics.windows import WIDTHS
from evtools.text import clip, elide_middle, human_count, human_duration, pad, sanitize, width
from evtools.top.clusters import Cluster
from evtools.top.model import Model
from evtools.top.options import Window
from evtools.top.ui import graphs
from evtools.top.ui.widgets import Line

#: How far back graphs go by the window of the figures, in seconds.
_SPANS: Final[Mapping[Window, float]] = {
    "1m": 900.0, "5m": 900.0, "15m": 900.0, "1h": 3600.0, "all": 86_400.0,
}  # fmt: skip
#: How long graphs stand still, in seconds.
_SLOT: Final = WIDTHS[0]
#: Shorter ones, as long as no more was watched.
_STEPS: Final = (300.0, 900.0, 3600.0)
#: From this width on two graphs stand side by side, and three.
_TWO_COLS, _THREE_COLS = 76, 150
#: The least and, on screens that are not tall, the most rows of a panel, with title and time.
PANEL_MIN, PANEL_MAX = 7, 16
#: The least of a name in a title, and how much of it is looked at.
_NAME_COLS_MIN, _NAME_CHARS = 8, 200
_GAP: Final = 2


def row_panel(model: Model, view: str, size: tuple[int, int], key: str | None) -> list[Line]:
    """Return the row under the cursor over time, in `size` (columns, rows); [] if it has none."""
    _, rows = size
    subject = model.views[view].subject(key) if key is not None else None
    if subject is None or rows < PANEL_MIN or view not in _GRAPHS or model.views[view].grouped_by:
        return []
    cluster = model.clusters.of(subject.cluster or "")
    # Drawn anew when a slot of time is over, not for each picture.
    slot = model.context().now // _SLOT
    options = model.options
    what = view, key, size, options.window, options.ascii, options.heat, slot
    return _kept(model, "row", what, lambda: _row_panel(model, cluster, view, subject, size))


def _kept(model: Model, place: str, what: Any, draw: Callable[[], list[Line]]) -> list[Line]:
    # What was drawn in a place last, as long as it is of the same.
    if model.graphs.get(place, (None,))[0] != what:
        model.graphs[place] = what, draw()
    lines: list[Line] = model.graphs[place][1]
    return lines


def _row_panel(
    model: Model, cluster: Cluster, view: str, subject: Any, size: tuple[int, int]
) -> list[Line]:
    cols, rows = size
    span = _span_of(cluster, model.options.window)
    count = 3 if cols >= _THREE_COLS else 2 if cols >= _TWO_COLS else 1
    found = _GRAPHS[view](cluster, subject, model.options.heat)[:count]
    wide = (cols - 1 - _GAP * (len(found) - 1)) // len(found)
    room = Room(wide, rows - 2, span, cluster.as_of(model.context().now), ascii=model.options.ascii)
    axis = graphs.time_axis(wide, span, ascii_only=room.ascii)
    blocks = [[_title(name, what, room), *draw(room), axis] for name, what, draw in found]
    lines = blocks[0]
    for number, block in enumerate(blocks[1:], 1):
        lines = graphs.beside(lines, block, number * wide + (number - 1) * _GAP, gap=_GAP)
    return [[("text", " "), *line] for line in lines]


class Room(NamedTuple):
    """Where a graph is drawn: columns and rows, how far back (seconds), and as of when."""

    cols: int
    rows: int
    span: float
    now: float
    ascii: bool

    @property
    def size(self) -> tuple[int, int]:
        return self.cols, self.rows

    @property
    def plot_cols(self) -> int:
        return self.cols - graphs.SCALE_COLS

    @property
    def points(self) -> int:
        """How many points a curve has room for."""
        return self.plot_cols * (1 if self.ascii else 2)


Draw = Callable[[Room], list[Line]]
#: The same of all clusters.
DrawAll = Callable[[Model, Room], list[Line]]


def _span_of(cluster: Cluster, window: Window) -> float:
    # Not much more than there is.
    watched = cluster.statistics.watched(cluster.intake.latest or 0.0)
    return min(_SPANS[window], next((one for one in _STEPS if one >= watched), math.inf))


#: What is drawn: a word for each part, its style, and what a curve is drawn with in ASCII.
_RATES: Final = (("completed", "good", ""), ("failed", "failure", ""))
_RUN: Final = (("run p50", "good", " ."), ("p95", "retry", " o"))
_WAIT: Final = (("wait p50", "good", " ."), ("p95", "retry", " o"))
_BOTH_P95: Final = (("run p95", "retry", " ."), ("wait p95", "spark", " o"))


def _title(name: str, what: Sequence[tuple[str, str, str]] | str, room: Room) -> Line:
    # The parts in the colours that they are drawn in.
    line: Line = [("head", what)] if isinstance(what, str) else []
    for word, style, mark in what if not isinstance(what, str) else ():
        line += [("head", ", ")] if line else []
        line.append((style, word + (mark if room.ascii else "")))
    line.append(("dim", f"  {graphs.span_text(room.span)}"))
    left = room.cols - sum(width(text) for _, text in line) - len(": ")
    if name and left >= _NAME_COLS_MIN:
        line.insert(0, ("head", f"{elide_middle(sanitize(name[:_NAME_CHARS]), left)}: "))
    return line


def _over_time(cluster: Cluster, kind: Any, name: Any, room: Room, columns: int) -> list[Totals]:
    rows = cluster.statistics.over_time(kind, name, room.span, room.now, columns)
    return _spread(rows, room.span, columns)


def _spread(rows: list[Totals], span: float, columns: int) -> list[Totals]:
    # As a row is a whole number of slots there may be fewer of them than columns, and the scale
    # below is that of all columns: some rows take two, the same ones at any time.
    whole = round(span / rows[0].seconds) if len(rows) > 1 else columns
    if whole >= columns:
        return rows
    found = [back * whole // columns for back in range(columns)]
    return [rows[-1 - back] for back in reversed(found) if back < len(rows)]


def _rates(cluster: Cluster, kind: Any, name: Any) -> Draw:
    def draw(room: Room) -> list[Line]:
        rows = _over_time(cluster, kind, name, room, room.plot_cols)
        good, failed = [row.ok_rate for row in rows], [row.fail_rate for row in rows]
        return graphs.rates(good, failed, room.size, ascii_only=room.ascii)

    return draw


def _durations(cluster: Cluster, kind: Any, name: Any, what: str) -> Draw:
    def draw(room: Room) -> list[Line]:
        rows = _over_time(cluster, kind, name, room, room.points)
        found = [getattr(row, what) for row in rows]
        series = [one.p50 for one in found], [one.p95 for one in found]
        return graphs.durations(series, ("good", "retry"), room.size, ascii_only=room.ascii)

    return draw


def _heat(cluster: Cluster, kind: Any, name: Any, what: Literal["run", "wait"]) -> Draw:
    def draw(room: Room) -> list[Line]:
        rows = _over_time(cluster, kind, name, room, room.plot_cols)
        heat = heat_of(rows, what, room.rows)
        plot = graphs.heat_map(heat.columns, room.rows, room.plot_cols, ascii_only=room.ascii)
        rows_shown = range(0, room.rows, 2) if heat.rows else ()
        labels = {row: human_duration(heat.longest(room.rows - row - 1)) for row in rows_shown}
        return graphs.with_scale(plot, labels, ascii_only=room.ascii)

    return draw


#: A name, what is drawn of it, and what draws it.
Graph = tuple[str, Sequence[tuple[str, str, str]] | str, Draw]


def _of_type(cluster: Cluster, row: Any, heat: bool) -> list[Graph]:  # noqa: FBT001
    name = row.name
    rates: Graph = name, _RATES, _rates(cluster, "types", name)
    if heat:
        return [
            rates,
            ("", "run: heat map", _heat(cluster, "types", name, "run")),
            ("", "wait: heat map", _heat(cluster, "types", name, "wait")),
        ]
    return [
        rates,
        ("", _RUN, _durations(cluster, "types", name, "run")),
        ("", _WAIT, _durations(cluster, "types", name, "wait")),
    ]


def _of_worker(cluster: Cluster, row: Any, heat: bool) -> list[Graph]:  # noqa: FBT001
    name = row.hostname
    rates: Graph = name, _RATES, _rates(cluster, "workers", name)
    if heat:
        return [rates, ("", "run: heat map", _heat(cluster, "workers", name, "run"))]
    return [rates, ("", _RUN, _durations(cluster, "workers", name, "run"))]


def _of_failure(cluster: Cluster, row: Any, _: bool) -> list[Graph]:  # noqa: FBT001
    name = row.task, row.exception, row.message
    return [
        (row.exception or row.task, "failures", _rates(cluster, "errors", name)),
        (row.task, _RATES, _rates(cluster, "types", row.task)),
    ]


def _of_queue(cluster: Cluster, row: Any, heat: bool) -> list[Graph]:  # noqa: FBT001
    found: list[Graph] = []
    samples = cluster.broker_facts().history.get(row.name, ())
    if len(samples) > 1:
        found.append((row.name, "depth", _depths(samples)))
    if heat:
        return [*found, (row.name, "wait: heat map", _heat(cluster, "queues", row.name, "wait"))]
    return [*found, (row.name, _WAIT, _durations(cluster, "queues", row.name, "wait"))]


def _depths(samples: Sequence[tuple[float, int]]) -> Draw:
    def draw(room: Room) -> list[Line]:
        points, latest = room.points, samples[-1][0]
        values: list[float | None] = [None] * points
        for at, depth in samples:
            point = points - 1 - round((latest - at) / room.span * (points - 1))
            if 0 <= point < points:
                values[point] = float(depth)
        # The depth stays what it was until the broker says another one.
        for point in range(1, points):
            values[point] = values[point - 1] if values[point] is None else values[point]
        top, size = graphs.scale_top([values]), (room.plot_cols, room.rows)
        plot = graphs.curves([values], ("spark",), size, top=top, ascii_only=room.ascii)
        labels = {0: human_count(top), room.rows - 1: "0"}
        return graphs.with_scale(plot, labels, ascii_only=room.ascii)

    return draw


#: What is drawn of a row by view: titles, and what draws them.
_GRAPHS: Final[Mapping[str, Callable[[Cluster, Any, bool], list[Graph]]]] = {
    "types": _of_type, "workers": _of_worker, "queues": _of_queue, "errors": _of_failure,
}  # fmt: skip


# --- the overview -----------------------------------------------------------------------

#: The least rows of one of its panels.
_OVERVIEW_MIN: Final = 4
#: From this number of rows on a graph of it has a scale of time below.
_AXIS_FROM: Final = 5
_METER_COLS: Final = 12


def overview(model: Model, size: tuple[int, int]) -> list[Line]:
    """Return the panels above the table of the overview, in `size` (columns, rows)."""
    if size[1] < _OVERVIEW_MIN:
        return []
    return _overview(model, size)


def _overview(model: Model, size: tuple[int, int]) -> list[Line]:
    cols, rows = size
    span = max(_span_of(cluster, "15m") for cluster in model.clusters.values())
    panels: tuple[DrawAll, ...] = (
        _all_rates, _all_durations, _queue_lines, _worker_lines, _error_lines,
    )  # fmt: skip
    across = 3 if cols >= _THREE_COLS else 2 if cols >= _TWO_COLS else 1
    grid = [panels[start : start + across] for start in range(0, len(panels), across)]
    # As many as have room: the first ones are the most telling.
    grid = grid[: max(1, rows // _OVERVIEW_MIN)]
    blocks: list[list[Line]] = []
    # From below: what lists leave empty is that of the graphs above them.
    for row in reversed(grid):
        high = rows // (len(grid) - len(blocks))
        wide = (cols - 1 - _GAP * (len(row) - 1)) // len(row)
        room = Room(wide, high - 2, span, model.context().now, ascii=model.options.ascii)
        drawn = [_drawn(model, room, draw) for draw in row]
        block = drawn[0]
        for at, other in enumerate(drawn[1:], 1):
            block = graphs.beside(block, other, at * wide + (at - 1) * _GAP, gap=_GAP)
        blocks.append([*([("text", " "), *line] for line in block), []][:high])
        rows -= len(blocks[-1])
    return [line for block in reversed(blocks) for line in block]


def _drawn(model: Model, room: Room, draw: DrawAll) -> list[Line]:
    # Graphs stand still for a slot of time, lists do not.
    if draw not in (_all_rates, _all_durations):
        return draw(model, room)
    what = room._replace(now=room.now // _SLOT)
    return _kept(model, str(draw is _all_rates), what, lambda: draw(model, room))


def _of_all(model: Model, room: Room, columns: int) -> list[Totals]:
    # Of all clusters together, the newest last; nothing is known of one since it is away.
    series = [
        cluster.statistics.over_time("types", None, room.span, room.now, columns)
        for cluster in model.clusters.values()
    ]
    longest = max(map(len, series), default=0)
    rows = [
        Totals.sum([each[-back] for each in series if len(each) >= back])
        for back in range(longest, 0, -1)
    ]
    return _spread(rows, room.span, columns)


def _all_rates(model: Model, room: Room) -> list[Line]:
    rows = _of_all(model, room, room.plot_cols)
    good, failed = [row.ok_rate for row in rows], [row.fail_rate for row in rows]

    def plot(size: tuple[int, int]) -> list[Line]:
        return graphs.rates(good, failed, size, ascii_only=room.ascii)

    return [_title("", _RATES, room), *_with_axis(room, plot)]


def _all_durations(model: Model, room: Room) -> list[Line]:
    rows = _of_all(model, room, room.points)
    series = [row.run.p95 for row in rows], [row.wait.p95 for row in rows]

    def plot(size: tuple[int, int]) -> list[Line]:
        return graphs.durations(series, ("retry", "spark"), size, ascii_only=room.ascii)

    return [_title("", _BOTH_P95, room), *_with_axis(room, plot)]


def _with_axis(room: Room, plot: Callable[[tuple[int, int]], list[Line]]) -> list[Line]:
    # The scale of time has a line where the graph does not need it more.
    if room.rows < _AXIS_FROM:
        return plot(room.size)
    axis = graphs.time_axis(room.cols, room.span, ascii_only=room.ascii)
    return [*plot((room.cols, room.rows - 1)), axis]


def _meter(share: float, cols: int, *, ascii_only: bool) -> str:
    full = round(min(1.0, max(0.0, share)) * cols)
    return ("#" if ascii_only else "█") * full + ("." if ascii_only else "░") * (cols - full)


def _listed(entries: Sequence[tuple[Any, Line]], room: Room) -> list[Line]:
    # The name of each row, with its cluster if it has one, and beside the names what is said.
    names = [
        sanitize(f"{row.cluster} {row.name}".lstrip()[:_NAME_CHARS]) if row.cluster else
        sanitize(row.name[:_NAME_CHARS])
        for row, _ in entries
    ]  # fmt: skip
    most = max((sum(width(text) for _, text in said) for _, said in entries), default=0)
    cols = max(_NAME_COLS_MIN, min(max(map(width, names), default=0), room.cols - most - 1))
    return [
        [("text", f"{pad(elide_middle(name, cols), cols)} "), *said]
        for name, (_, said) in zip(names, entries, strict=True)
    ]


def _queue_lines(model: Model, room: Room) -> list[Line]:
    rows = list(model.views["queues"].rows.values())
    known = [row for row in rows if row.depth.ready is not None]
    counted = sorted(
        (row for row in rows if row.backlog is not None), key=lambda row: (-row.backlog, row.name)
    )
    if not known and counted:
        # No broker is asked, as in a replay.
        found: list[tuple[Any, Line]] = []
        for row in counted[: room.rows]:
            count = f"{human_count(row.backlog)}{'+' if row.backlog_reason else ''}"
            found.append((row, [("text" if row.backlog else "dim", f"{count:>5}")]))
        return [[("head", "queues: sent and not received yet")], *_listed(found, room)]
    known.sort(key=lambda row: -row.depth.ready)
    most, entries = max((row.depth.ready for row in known), default=0), list[tuple[Any, Line]]()
    for row in known[: room.rows]:
        meter = _meter(row.depth.ready / max(1, most), _METER_COLS, ascii_only=room.ascii)
        trend = f" {row.net_per_min:+.0f}/min" if row.net_per_min else ""
        style = "late" if row.grows or (row.depth.ready and row.consumers == 0) else "text"
        count = f" {human_count(row.depth.ready):>5}"
        entries.append((row, [("spark", meter), (style, count + trend)]))
    lines = _listed(entries, room) or [[("dim", "none whose depth is known")]]
    return [[("head", "queues, the deepest first")], *lines]


def _worker_lines(model: Model, room: Room) -> list[Line]:
    table = model.views["workers"]
    status = table.find_column("status")

    def order(row: Any) -> tuple[int, float, int, str]:
        # Those in trouble, those that work, the busiest first, and those that have left.
        rank = {"online": 1, "silent": 1, "offline": 2}.get(row.status, 0)
        active = row.active or 0
        return rank, -(active / row.pool) if row.pool else 0.0, -active, row.name

    rows, entries = sorted(table.rows.values(), key=order), list[tuple[Any, Line]]()
    for row in rows[: room.rows]:
        active = "?" if row.active is None else str(row.active)
        if row.status not in ("online", "silent"):
            words = sanitize(status.text(row, table.context.of(row)))
            said: Line = [(table.style_of(row), words)]
        elif row.pool:
            meter = _meter((row.active or 0) / row.pool, _METER_COLS, ascii_only=room.ascii)
            said = [("running", meter), ("text", f" {active}/{row.pool}")]
        else:
            # Of how many is not known: a meter would be a guess.
            said = [("text", f"{active} active")]
        entries.append((row, said))
    lines = _listed(entries, room) or [[("dim", "none was seen")]]
    return [[("head", "workers: in trouble, then the busiest")], *lines]


def _error_lines(model: Model, room: Room) -> list[Line]:
    groups = []
    for cluster in model.clusters.values():
        groups += cluster.statistics.failures("5m", cluster.as_of(room.now))
    groups.sort(key=lambda group: -group.count)
    lines: list[Line] = []
    for group in groups[: room.rows]:
        what = f"{group.exception}: {group.message}" if group.message else group.exception
        text = clip(sanitize(f"{group.task}  {what}"[:400]), max(8, room.cols - 7))
        lines.append([("failure", f"{human_count(group.count):>5}"), ("text", f"  {text}")])
    title: Line = [("head", "errors"), ("dim", "  5m")]
    return [title, *(lines or [[("good", "none")]])]
