"""Plots as SVG: what stretches is drawn in units of its own, texts stay as large as they are."""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from evtools.report.html import Html, el, html
from evtools.state import Totals
from evtools.state.statistics.rows import BOUNDS, Heat
from evtools.text import human_duration, scale_end

#: In pixels: of plots, of what stands below them, and the least between two labels.
_HIGH: Final = 150
_AXIS_HIGH: Final = 22
_APART: Final = 15
_LEFT: Final = 58
#: Rows of a heat map, each so many pixels high, and its shades, which grow with the root of counts.
HEAT_ROWS: Final = 22
_ROW_HIGH: Final = 9
SHADES: Final = 8
#: Steps of an axis of time, in seconds, and how many labels there may be.
_STEPS: Final = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200),
    *(86_400, 2 * 86_400, 7 * 86_400, 14 * 86_400, 28 * 86_400, 91 * 86_400, 365 * 86_400),
)
_LABELS_MAX: Final = 9
_DAY: Final = 86_400
_MINUTE: Final = 60
#: Where scales end; the half of it is a label as well.
_SCALE: Final = (1, 2, 3, 4, 6, 8)
#: Units of a plot in which heights are given.
_UNITS: Final = 1000
#: The least width of a bar, in per cent.
_BAR_MIN: Final = 0.3


class Span(NamedTuple):
    """From when to when an axis goes, in UTC epoch seconds."""

    first: float
    last: float

    def share(self, moment: float) -> float:
        """Return where a moment is, from 0 to 100 per cent."""
        long = self.last - self.first
        share = (moment - self.first) / long if long > 0 else 0.0
        return round(100 * min(1.0, max(0.0, share)), 3)


class Series(NamedTuple):
    """What is drawn: a word for it, its class, and its values, of which None is unknown."""

    word: str
    css: str
    values: Sequence[float | None]


def _percent(value: float) -> str:
    return f"{value:.6g}%"


def _ticks(span: Span) -> list[tuple[float, str, bool]]:
    # Moments with their labels, and whether they are left out on narrow screens.
    long = span.last - span.first
    step = next((step for step in _STEPS if long / step <= _LABELS_MAX), None)
    if step is None or long <= 0:
        return []
    try:
        zone = datetime.fromtimestamp(span.first).astimezone().utcoffset()
    except (OverflowError, ValueError, OSError):  # beyond the calendar
        return []
    offset = zone.total_seconds() if zone is not None else 0.0
    at = math.ceil((span.first + offset) / step) * step - offset
    found: list[tuple[float, str, bool]] = []
    day = ""
    form = "%H:%M:%S" if step < _MINUTE else "%H:%M"
    while at <= span.last:
        moment = datetime.fromtimestamp(at)  # noqa: DTZ006
        text = moment.strftime(form)
        today = f"{moment.day} {moment:%b}"
        if step >= _DAY:
            text = today if step < _STEPS[-1] else f"{moment:%b %Y}"
        elif long > _DAY and (today != day or not len(found) % 3):
            text, day = f"{today} {text}", today
        found.append((at, text, bool(len(found) % 3)))
        at += step
    # Where they would stand out at the sides there are none.
    return [each for each in found if 3 <= span.share(each[0]) <= 97]  # noqa: PLR2004


def time_axis(span: Span, top: float) -> Html:
    """Return the labels of an axis of time, which stand so many pixels from the top."""
    return html(
        el("text", text, x=_percent(span.share(at)), y=top, text_anchor="middle",
           class_="wide" if leaves else None)
        for at, text, leaves in _ticks(span)
    )  # fmt: skip


def _frame(
    ident: str,
    title: str,
    desc: str,
    span: Span,
    labels: Iterable[tuple[float, str]],
    drawn: Html,
    *,
    high: float,
    gaps: Iterable[Span] = (),
) -> Html:
    # Labels are at heights in pixels from the top.
    labels = list(labels)
    left = el(
        "svg",
        *(el("text", text, x=_LEFT - 8, y=at + 4, text_anchor="end") for at, text in labels),
        width=_LEFT, height=high + _AXIS_HIGH, aria_hidden="true",
    )  # fmt: skip
    right = el(
        "svg",
        el("title", title, id=f"{ident}-title"),
        el("desc", desc, id=f"{ident}-desc"),
        *(el("line", x1="0", x2="100%", y1=at, y2=at, class_="grid") for at, _ in labels),
        drawn,
        *(el("rect", x=_percent(span.share(gap.first)), y="0", height=high, class_="s-gap",
             width=_percent(max(_BAR_MIN, span.share(gap.last) - span.share(gap.first))))
          for gap in gaps),
        el("line", x1="0", x2="100%", y1=high, y2=high, class_="base"),
        time_axis(span, high + 17),
        role="img", height=high + _AXIS_HIGH, aria_labelledby=f"{ident}-title {ident}-desc",
    )  # fmt: skip
    return el("div", left, right, class_="plot")


def _stretched(drawn: Html, cols: int, rows: float, high: float) -> Html:
    return el(
        "svg", drawn, viewBox=f"0 0 {max(1, cols)} {rows:g}", preserveAspectRatio="none",
        width="100%", height=high, aria_hidden="true",
    )  # fmt: skip


def key(word: str, css: str, *, line: bool = False) -> Html:
    """Return an entry of a legend."""
    if line:
        mark = el("path", d="M0 6h12", class_=css)
    else:
        mark = el("rect", width=12, height=12, rx=2, class_=css)
    return el("span", el("svg", mark, aria_hidden="true"), word, class_="key")


def stacked(
    ident: str,
    title: str,
    desc: str,
    span: Span,
    series: Sequence[Series],
    unit: str,
    gaps: Iterable[Span] = (),
) -> Html:
    """Return columns of values that stand on each other, the first series at the bottom.

    `unit` is the time that they are per, a word.
    """
    cols = max((len(each.values) for each in series), default=0)
    sums = [sum(each.values[at] or 0.0 for each in series) for at in range(cols)]
    top = scale_end(max(sums, default=0.0), _SCALE)
    below, drawn = [0] * cols, []
    for each in series:
        path = []
        for at, value in enumerate(each.values):
            # What is there is seen, however little it is.
            high = max(_UNITS // _HIGH + 1, round((value or 0.0) / top * _UNITS)) if value else 0
            if high:
                base = _UNITS - below[at]
                path.append(f"M{at} {base}v{-high}h1v{high}z")
                below[at] += high
        drawn.append(el("path", d="".join(path), class_=f"{each.css} crisp"))
    per = "min" if unit == "minute" else unit[0]
    words = [f"{value:,.10g}/{per}".replace(",", " ") for value in (top, top / 2)]
    labels = [(0.0, words[0]), (_HIGH / 2, words[1]), (float(_HIGH), "0")]
    shapes = _stretched(html(drawn), cols, _UNITS, _HIGH)
    return _frame(ident, title, desc, span, labels, shapes, high=_HIGH, gaps=gaps)


def heat_map(
    ident: str,
    title: str,
    desc: str,
    span: Span,
    heat: Heat,
    curves: Sequence[Series],
    gaps: Iterable[Span] = (),
) -> Html:
    """Return a map of durations over time, the longest at the top, and curves over it."""
    cols, rows = len(heat.columns), heat.rows
    most = max((count for column in heat.columns for count in column.values()), default=0.0)
    paths: list[list[str]] = [[] for _ in range(SHADES + 1)]
    for row in range(rows):
        shades = [
            math.ceil(math.sqrt(column.get(row, 0.0) / most) * SHADES - 1e-9)
            for column in heat.columns
        ]
        at = 0
        while at < cols:
            end = at + 1
            while end < cols and shades[end] == shades[at]:
                end += 1
            if shades[at]:
                paths[shades[at]].append(f"M{at} {rows - row - 1}h{end - at}v1h{at - end}z")
            at = end
    drawn = [
        el("path", d="".join(path), class_=f"h{number} crisp") for number, path in enumerate(paths)
    ][1:]
    for each in curves:
        path = _curve([None if one is None else rows - _height(heat, one) for one in each.values])
        for css in ("halo", each.css):
            drawn.append(el("path", d=path, class_=f"l-p50 {css}" if css == "halo" else css,
                            vector_effect="non-scaling-stroke"))  # fmt: skip
    high = rows * _ROW_HIGH
    labels = [(high - _height(heat, at) * _ROW_HIGH, human_duration(at)) for at in _round(heat)]
    shapes = _stretched(html(drawn), cols, rows, high)
    return _frame(ident, title, desc, span, _spaced(labels), shapes, high=high, gaps=gaps)


def _height(heat: Heat, seconds: float) -> float:
    # In rows from the bottom of the map.
    bucket = 1 + math.log(max(seconds, BOUNDS[0] / 2) / BOUNDS[0]) / math.log(BOUNDS[1] / BOUNDS[0])
    return min(float(heat.rows), max(0.0, (bucket - heat.first) / heat.size))


def _round(heat: Heat) -> list[float]:
    # Round durations in the map, the roundest first.
    tens = [10.0**power for power in range(-4, 1)]
    tens += [10.0, 60.0, 600.0, 3600.0, 36_000.0, 86_400.0, 864_000.0]
    more = [each * factor for each in tens[:6] for factor in (2.0, 5.0)]
    more += [30.0, 120.0, 300.0, 1800.0, 7200.0, 18_000.0]
    return [each for each in (*tens, *more) if 0 < _height(heat, each) < heat.rows]


def _spaced(labels: Iterable[tuple[float, str]]) -> list[tuple[float, str]]:
    # Those that do not stand in each other, the first ones preferred.
    found: list[tuple[float, str]] = []
    for at, text in labels:
        if all(abs(at - other) >= _APART for other, _ in found):
            found.append((at, text))
    return found


def _curve(values: Sequence[float | None]) -> str:
    # Through the middles of columns; what stands alone is a dash.
    path, before = [], False
    for at, value in enumerate(values):
        if value is None:
            before = False
            continue
        after = at + 1 < len(values) and values[at + 1] is not None
        if before:
            path.append(f"L{at + 0.5:g} {value:.2f}")
        else:
            path.append(f"M{at + (0.5 if after else 0.2):g} {value:.2f}")
            path.append("" if after else "h0.6")
        before = True
    return "".join(path)


def spark(
    rows: Sequence[Totals], good: Callable[[Totals], int], bad: Callable[[Totals], int]
) -> Html:
    """Return what succeeded and failed over time, very small."""
    most = max((good(row) + bad(row) for row in rows), default=0) or 1
    paths = {"s-bad": "", "s-good": ""}
    for at, row in enumerate(rows):
        below = 0
        for css, count in (("s-bad", bad(row)), ("s-good", good(row))):
            if count:
                high = max(6, round(100 * count / most))
                paths[css] += f"M{at} {100 - below}v{-high}h1v{high}z"
                below += high
    return el(
        "svg",
        *(el("path", d=path, class_=f"{css} crisp") for css, path in paths.items() if path),
        viewBox=f"0 -6 {max(1, len(rows))} 106", preserveAspectRatio="none", class_="spark",
        aria_hidden="true",
    )  # fmt: skip


def bar(span: Span, first: float, last: float, css: str, *, thin: bool) -> Html:
    """Return a bar on an axis of time in a row that is 20 pixels high."""
    left = min(span.share(first), 100 - _BAR_MIN)
    wide = max(_BAR_MIN, span.share(last) - left)
    top, high = (8, 4) if thin else (3, 14)
    return el("rect", x=_percent(left), y=top, width=_percent(wide), height=high, class_=css)
