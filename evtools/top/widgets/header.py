"""The lines above the tables: where, whether, how much."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from evtools.text import clip, human_count, human_duration, human_rate, human_size, width
from evtools.top.glyphs import Glyphs
from evtools.top.header import HeaderFacts
from evtools.top.widgets.line import Line, columns, restyled, spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the header tells beside the figures of the cluster.

    `where` is the broker without its password, or the recording; `badges`
    are modes that must not be forgotten (RO, REC); `own_cpu` is a share of one
    CPU and `own_bytes` our memory, None where nobody knows.  `banner` takes
    the place of the figures while they mean nothing.
    """

    status: str
    where: str
    badges: Sequence[str]
    refresh: float
    clock: str
    own_cpu: float | None = None
    own_bytes: int | None = None
    banner: tuple[str, str] | None = None


#: How wide the picture of the flow is.
_SPARK_COLS, _SHORT_SPARK_COLS = 30, 12

#: From this share on, the bytes are told if they are what runs out.
_NEARLY_FULL: Final = 0.5

#: Before, between and behind the two sides of a banner.
_BANNER_BLANKS: Final = 4

#: How important a piece is (0: to the end), and what it says.
Piece: TypeAlias = tuple[int, Line]

_STATUS: Final = {"LIVE": "live", "REPLAY": "live"}


def header_lines(
    facts: HeaderFacts, around: Surroundings, size: tuple[int, int], glyphs: Glyphs
) -> list[Line]:
    """Return the header in so many columns, as one, two or three lines."""
    cols, count = size
    if count == 1:
        first = _one_line(facts, around)
        lines = [first]
    elif count == 2:  # noqa: PLR2004  (lines of the middle form)
        lines = [_where(facts, around), _short_figures(facts, glyphs)]
    else:
        lines = [_where(facts, around, wide=True), _flow(facts, around, glyphs), _cluster(facts)]
    drawn = [_fitted(left, right, cols) for left, right in lines]
    if around.banner is not None:
        drawn[min(1, count - 1)] = _banner(*around.banner, cols)
    return drawn


def _banner(left: str, right: str, cols: int) -> Line:
    """Return one line in reverse; the age of the data is the last to go."""
    left = clip(left, max(0, cols - width(right) - _BANNER_BLANKS))
    line = spread([("banner", f" {left}")], [("banner", f"{right} ")], cols)
    return restyled(line, "banner")


_Sides: TypeAlias = tuple[list[Piece], list[Piece]]


def _status(around: Surroundings) -> Line:
    return [(_STATUS.get(around.status, "paused"), around.status)]


def _where(facts: HeaderFacts, around: Surroundings, *, wide: bool = False) -> _Sides:
    left: list[Piece] = [(4, [("title", around.where)]), (0, _status(around))]
    if wide:
        left.insert(0, (7, [("title", "evtop")]))
    if facts.lag is not None:
        left.append((3, _said("lag", human_duration(facts.lag))))
    left += _losses(facts, wide=wide)
    right: list[Piece] = [(1, [("badge", badge)]) for badge in around.badges]
    if wide:
        right.append((8, [("dim", f"every {around.refresh:g}s")]))
    right.append((2, [("text", around.clock)]))
    return left, right


def _losses(facts: HeaderFacts, *, wide: bool) -> Iterable[Piece]:
    """Yield what is missing; what is nothing only where there is room."""
    losses = (
        ("reconnects", facts.reconnects, wide),
        ("gaps", facts.gaps, wide),
        ("dropped", facts.dropped, False),
        ("malformed", facts.malformed, False),
        ("missed", facts.missed, False),
    )
    for name, count, always in losses:
        if count or always:
            style = "warning" if count else "dim"
            yield 5, [(style, f"{name} {human_count(count)}")]


def _flow(facts: HeaderFacts, around: Surroundings, glyphs: Glyphs) -> _Sides:
    left: list[Piece] = [
        (0, _said("events", human_rate(facts.event_rate))),
        (3, _spark(facts, glyphs, _SPARK_COLS)),
        (4, [("dim", f"5m peak {human_rate(facts.peak)}")]),
    ]
    right: list[Piece] = [(1, _fill(facts))]
    if around.own_cpu is not None and around.own_bytes is not None:
        own = f"self {around.own_cpu:.0%} cpu {human_size(around.own_bytes)}"
        right.append((6, [("dim", own)]))
    return left, right


def _spark(facts: HeaderFacts, glyphs: Glyphs, cols: int) -> Line:
    per = max(1, len(facts.flow) // cols)
    starts = range(0, len(facts.flow), per)
    levels = [sum(facts.flow[start : start + per]) / per for start in starts]
    return [("spark", glyphs.spark(levels))]


def _fill(facts: HeaderFacts) -> Line:
    """Return how full the memory is, by the bound that is met first."""
    by_count = facts.tasks / max(1, facts.max_tasks)
    by_bytes = facts.weight_bytes / max(1, facts.max_bytes)
    if by_bytes > max(by_count, _NEARLY_FULL):
        room = f"{human_size(facts.weight_bytes)}/{human_size(facts.max_bytes)}"
        text = f"{facts.tasks} ({room})"
    else:
        text = f"{facts.tasks}/{facts.max_tasks}"
    line = _said("tasks", text)
    if facts.evicted:
        line.append(("dim", f" forgot {human_count(facts.evicted)}"))
    return line


def _cluster(facts: HeaderFacts) -> _Sides:
    left: list[Piece] = [
        (0, _workers(facts)),
        (4, _said("active", _active(facts))),
        (3, _said("ok", human_rate(facts.ok_rate))),
        (1, _failing(facts)),
        (5, _said("retry", human_rate(facts.retry_rate))),
    ]
    run = facts.run
    right: list[Piece] = [
        (6, [("dim", f"run p50 {_span(run.p50)}")]),
        (2, [("text", f"p95 {_span(run.p95)}")]),
        (7, [("dim", f"p99 {_span(run.p99)}")]),
    ]
    return left, right


def _workers(facts: HeaderFacts) -> Line:
    line = _said("workers", f"{facts.online} online")
    others = (
        ("silent", facts.silent, "waiting"),
        ("late", facts.late, "late"),
        ("busy?", facts.busy, "late"),
        ("gone", facts.gone, "late"),
    )
    for name, count, style in others:
        if count:
            line.append((style, f" {count} {name}"))
    return line


def _workers_up(facts: HeaderFacts) -> Line:
    line = _said("wk", f"{facts.online}/{facts.known_workers}")
    if facts.silent:
        line.append(("waiting", f" {facts.silent} silent"))
    return line


def _active(facts: HeaderFacts) -> str:
    at_least = "+" if facts.silent else ""
    slots = "" if facts.slots is None else f"/{facts.slots}"
    return f"{facts.active}{at_least}{slots}"


def _failing(facts: HeaderFacts) -> Line:
    style = "failure" if facts.fail_rate else "text"
    line: Line = [("dim", "fail "), (style, human_rate(facts.fail_rate))]
    if facts.failure_share is not None:
        line.append((style, f" {facts.failure_share:.1%}"))
    return line


def _short_figures(facts: HeaderFacts, glyphs: Glyphs) -> _Sides:
    left: list[Piece] = [
        (0, [("text", human_rate(facts.event_rate))]),
        (4, _spark(facts, glyphs, _SHORT_SPARK_COLS)),
        (2, _workers_up(facts)),
        (3, _said("run", _active(facts))),
    ]
    return left, [(1, _failing(facts)[:2]), (5, _said("p95", _span(facts.run.p95)))]


def _one_line(facts: HeaderFacts, around: Surroundings) -> _Sides:
    left, right = _where(facts, around)
    left.append((3, [("text", human_rate(facts.event_rate))]))
    return left, [(1, _failing(facts)[:2]), *right]


def _said(name: str, text: str) -> Line:
    return [("dim", f"{name} "), ("text", text)]


def _span(seconds: float | None) -> str:
    return "-" if seconds is None else human_duration(seconds)


def _fitted(left: list[Piece], right: list[Piece], cols: int) -> Line:
    """Return the pieces at both ends, without those there is no room for."""
    while _taken(left) + _taken(right) + 3 > cols and len(left) + len(right) > 1:
        rank = max(rank for rank, _ in (*left, *right))
        for pieces in (right, left):
            last = [index for index, (of, _) in enumerate(pieces) if of == rank]
            if last:
                del pieces[last[-1]]
                break
    return spread([("text", " "), *_joined(left)], [*_joined(right), ("text", " ")], cols)


def _taken(pieces: list[Piece]) -> int:
    return sum(columns(line) + 2 for _, line in pieces)


def _joined(pieces: list[Piece]) -> Line:
    line: Line = []
    for _, piece in pieces:
        line += [("text", "  "), *piece] if line else piece
    return line
