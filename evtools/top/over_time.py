"""What is shown over time: the row under the cursor, and the overview of all clusters."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from evtools.state import Totals
from evtools.state.statistics.rows import BOUNDS
from evtools.state.statistics.windows import WIDTHS
from evtools.text import clip, elide_middle, human_count, human_duration, pad, sanitize
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
#: The least and the most rows of a panel, with its title and its time.
PANEL_MIN, PANEL_MAX = 7, 16
_TITLE_COLS: Final = 60
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
    blocks = [[_title(title, span), *draw(room), axis] for title, draw in found]
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


def _title(text: str, span: float) -> Line:
    words = clip(sanitize(text[:_TITLE_COLS]), _TITLE_COLS)
    return [("head", words), ("dim", f"  {graphs.span_text(span)}")]


def _rates(cluster: Cluster, kind: Any, name: Any) -> Draw:
    def draw(room: Room) -> list[Line]:
        over_time = cluster.statistics.over_time
        rows = over_time(kind, name, room.span, room.now, room.plot_cols)
        good, failed = [row.ok_rate for row in rows], [row.fail_rate for row in rows]
        return graphs.rates(good, failed, room.size, ascii_only=room.ascii)

    return draw


def _durations(cluster: Cluster, kind: Any, name: Any, what: str) -> Draw:
    def draw(room: Room) -> list[Line]:
        rows = cluster.statistics.over_time(kind, name, room.span, room.now, room.points)
        found = [getattr(row, what) for row in rows]
        series = [one.p50 for one in found], [one.p95 for one in found]
        return graphs.durations(series, ("good", "retry"), room.size, ascii_only=room.ascii)

    return draw


def _heat(cluster: Cluster, kind: Any, name: Any, what: Literal["run", "wait"]) -> Draw:
    def draw(room: Room) -> list[Line]:
        over_time = cluster.statistics.over_time
        rows = over_time(kind, name, room.span, room.now, room.plot_cols)
        counted = [row.buckets(what) for row in rows]
        present = sorted({bucket for each in counted for bucket in each})
        first, last = (present[0], present[-1]) if present else (0, 0)
        # So many buckets are one row of the map.
        size = max(1, math.ceil((last - first + 1) / room.rows))
        columns: list[dict[int, float]] = []
        for each in counted:
            column: dict[int, float] = {}
            columns.append(column)
            for bucket, count in each.items():
                row = (bucket - first) // size
                column[row] = column.get(row, 0.0) + count
        plot = graphs.heat_map(columns, room.rows, room.plot_cols, ascii_only=room.ascii)
        labels = {}
        for row in range(0, room.rows, 2) if present else ():
            highest = min(first + (room.rows - row) * size - 1, len(BOUNDS) - 1)
            labels[row] = human_duration(BOUNDS[highest])
        return graphs.with_scale(plot, labels, ascii_only=room.ascii)

    return draw


def _of_type(cluster: Cluster, row: Any, heat: bool) -> list[tuple[str, Draw]]:  # noqa: FBT001
    name = row.name
    rates = f"{name}: completed, failed", _rates(cluster, "types", name)
    if heat:
        return [
            rates,
            ("run: heat map", _heat(cluster, "types", name, "run")),
            ("wait: heat map", _heat(cluster, "types", name, "wait")),
        ]
    return [
        rates,
        ("run p50, p95", _durations(cluster, "types", name, "run")),
        ("wait p50, p95", _durations(cluster, "types", name, "wait")),
    ]


def _of_worker(cluster: Cluster, row: Any, heat: bool) -> list[tuple[str, Draw]]:  # noqa: FBT001
    name = row.hostname
    rates = f"{name}: completed, failed", _rates(cluster, "workers", name)
    if heat:
        return [rates, ("run: heat map", _heat(cluster, "workers", name, "run"))]
    return [rates, ("run p50, p95", _durations(cluster, "workers", name, "run"))]


def _of_failure(cluster: Cluster, row: Any, _: bool) -> list[tuple[str, Draw]]:  # noqa: FBT001
    name = row.task, row.exception, row.message
    return [
        (f"{row.exception or row.task}: failures", _rates(cluster, "errors", name)),
        (f"{row.task}: completed, failed", _rates(cluster, "types", row.task)),
    ]


def _of_queue(cluster: Cluster, row: Any, heat: bool) -> list[tuple[str, Draw]]:  # noqa: FBT001
    found: list[tuple[str, Draw]] = []
    samples = cluster.broker_facts().history.get(row.name, ())
    if len(samples) > 1:
        found.append((f"{row.name}: depth", _depths(samples)))
    title, draw = "wait p50, p95", _durations(cluster, "queues", row.name, "wait")
    if heat:
        title, draw = "wait: heat map", _heat(cluster, "queues", row.name, "wait")
    return [*found, (title if found else f"{row.name}: {title}", draw)]


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
_GRAPHS: Final[Mapping[str, Callable[[Cluster, Any, bool], list[tuple[str, Draw]]]]] = {
    "types": _of_type, "workers": _of_worker, "queues": _of_queue, "errors": _of_failure,
}  # fmt: skip


# --- the overview -----------------------------------------------------------------------

#: The least rows of one of its panels.
_OVERVIEW_MIN: Final = 4
_METER_COLS: Final = 12


def overview(model: Model, size: tuple[int, int]) -> list[Line]:
    """Return the panels above the table of the overview, in `size` (columns, rows)."""
    if size[1] < _OVERVIEW_MIN:
        return []
    return _overview(model, size)


def _overview(model: Model, size: tuple[int, int]) -> list[Line]:
    cols, rows = size
    span = max(_span_of(cluster, "15m") for cluster in model.clusters.values())
    panels: list[tuple[Line, DrawAll]] = [
        (_title("completed, failed", span), _all_rates),
        (_title("run p95, wait p95", span), _all_durations),
        ([("head", "queues, the deepest first")], _queue_lines),
        ([("head", "workers, the busiest first")], _worker_lines),
        ([("head", "errors"), ("dim", "  5m")], _error_lines),
    ]
    across = 3 if cols >= _THREE_COLS else 2 if cols >= _TWO_COLS else 1
    grid = [panels[start : start + across] for start in range(0, len(panels), across)]
    # As many as have room: the first ones are the most telling.
    grid = grid[: max(1, rows // _OVERVIEW_MIN)]
    lines: list[Line] = []
    for number, row in enumerate(grid):
        high = rows // len(grid) + (number < rows % len(grid))
        wide = (cols - 1 - _GAP * (len(row) - 1)) // len(row)
        room = Room(wide, high - 2, span, model.context().now, ascii=model.options.ascii)
        blocks = [[title, *_drawn(model, room, draw)] for title, draw in row]
        block = blocks[0]
        for at, other in enumerate(blocks[1:], 1):
            block = graphs.beside(block, other, at * wide + (at - 1) * _GAP, gap=_GAP)
        block = [[("text", " "), *line] for line in block]
        lines += [*block, *[[] for _ in range(high - len(block))]][:high]
    return lines


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
    return [
        Totals.sum([each[-back] for each in series if len(each) >= back])
        for back in range(longest, 0, -1)
    ]


def _all_rates(model: Model, room: Room) -> list[Line]:
    rows = _of_all(model, room, room.plot_cols)
    good, failed = [row.ok_rate for row in rows], [row.fail_rate for row in rows]
    return graphs.rates(good, failed, room.size, ascii_only=room.ascii)


def _all_durations(model: Model, room: Room) -> list[Line]:
    rows = _of_all(model, room, room.points)
    series = [row.run.p95 for row in rows], [row.wait.p95 for row in rows]
    return graphs.durations(series, ("retry", "spark"), room.size, ascii_only=room.ascii)


def _meter(share: float, cols: int, *, ascii_only: bool) -> str:
    full = round(min(1.0, max(0.0, share)) * cols)
    return ("#" if ascii_only else "█") * full + ("." if ascii_only else "░") * (cols - full)


def _named(row: Any, cols: int) -> str:
    # The name, and its cluster if it has one.
    where = f"{row.cluster} " if row.cluster else ""
    return pad(elide_middle(sanitize(f"{where}{row.name}"[:200]), cols), cols)


def _queue_lines(model: Model, room: Room) -> list[Line]:
    known = [row for row in model.views["queues"].rows.values() if row.depth.ready is not None]
    known.sort(key=lambda row: -row.depth.ready)
    most = max((row.depth.ready for row in known), default=0)
    lines: list[Line] = []
    for row in known[: room.rows]:
        meter = _meter(row.depth.ready / max(1, most), _METER_COLS, ascii_only=room.ascii)
        trend = f" {row.net_per_min:+.0f}/min" if row.net_per_min else ""
        style = "late" if row.grows or (row.depth.ready and row.consumers == 0) else "text"
        name = _named(row, max(8, room.cols - _METER_COLS - 18))
        count = f" {human_count(row.depth.ready):>5}"
        lines.append([("text", f"{name} "), ("spark", meter), (style, count + trend)])
    return lines or [[("dim", "none whose depth is known")]]


def _worker_lines(model: Model, room: Room) -> list[Line]:
    rows = list(model.views["workers"].rows.values())

    def use(row: Any) -> float:
        return (row.active or 0) / row.pool if row.pool else 0.0

    rows.sort(key=lambda row: (row.status in ("online", "silent"), -use(row), row.name))
    lines: list[Line] = []
    for row in rows[: room.rows]:
        name = _named(row, max(8, room.cols - _METER_COLS - 18))
        if row.status not in ("online", "silent"):
            lines.append([("text", f"{name} "), ("late", row.status)])
            continue
        meter = _meter(use(row), _METER_COLS, ascii_only=room.ascii)
        count = "?" if row.active is None else str(row.active)
        of = f"/{row.pool}" if row.pool else ""
        lines.append([("text", f"{name} "), ("running", meter), ("text", f" {count}{of}")])
    return lines or [[("dim", "none was seen")]]


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
    return lines or [[("good", "none")]]
