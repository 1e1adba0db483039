"""Lines of styled text: what every part of the screen is made of."""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from evtools.text import clip, pad, width

# Parts of the screen return lines, not widgets of urwid: text from the wire can
# then never be taken for markup, there is no tree of widgets to keep in step
# with the cluster, and a screen is a value that tests read.

#: A style of the theme, and text that is already sanitised.
Span: TypeAlias = tuple[str, str]
Line: TypeAlias = list[Span]


def columns(line: Line) -> int:
    """Return how many columns a line takes."""
    return sum(width(text) for _, text in line)


def plain(line: Line) -> str:
    """Return the text of a line."""
    return "".join(text for _, text in line)


def fitted(line: Line, cols: int, fill: str = "text") -> Line:
    """Return the line in exactly `cols` columns, cut or filled with blanks."""
    room, parts = max(0, cols), list[Span]()
    for style, text in line:
        if room <= 0:
            break
        taken = width(text)
        if taken > room:
            text, taken = pad(clip(text, room, ""), room), room  # noqa: PLW2901
        parts.append((style, text))
        room -= taken
    if room > 0:
        parts.append((fill, " " * room))
    return parts


def spread(left: Line, right: Line, cols: int, fill: str = "text") -> Line:
    """Return `left` and `right` at the two ends of `cols` columns.

    Where there is no room for both, the right one goes.
    """
    room = cols - columns(left) - columns(right)
    if room < 1:
        return fitted(left, cols, fill)
    return fitted([*left, (fill, " " * room), *right], cols, fill)


def restyled(line: Line, style: str) -> Line:
    """Return the text of the line in one style."""
    return [(style, plain(line))]


def spliced(below: Line, above: Line, start: int) -> Line:
    """Return `below` with `above` laid over it from column `start` on."""
    cols, end = columns(below), start + columns(above)
    left = fitted(below, start)
    return [*left, *above, *_from(below, end, cols)]


def _from(line: Line, start: int, cols: int) -> Line:
    """Return columns `start` to `cols` of a line."""
    rest: Line = []
    at = 0
    for style, text in line:
        end = at + width(text)
        if at >= start:
            rest.append((style, text))
        elif end > start:
            skipped = clip(text, start - at, "")
            tail = text[len(skipped) :]
            rest.append((style, tail))
        at = end
    return _shortened(rest, max(0, cols - start))


def _shortened(line: Line, cols: int) -> Line:
    """Return the line in `cols` columns; half a wide character became a blank."""
    extra = columns(line) - cols
    if extra <= 0 or not line:
        return line
    style, text = line[0]
    return [(style, " " * (width(text[0]) - extra) + text[1:]), *line[1:]]


def wrapped(text: str, cols: int) -> Iterator[str]:
    """Yield `text` in pieces of at most `cols` columns."""
    cols = max(1, cols)
    while width(text) > cols:
        piece = clip(text, cols, "") or text[0]
        yield piece
        text = text[len(piece) :]
    yield text


def worded(text: str, cols: int) -> Iterator[str]:
    """Yield `text` in pieces of at most `cols` columns, broken between words.

    A word that is too long by itself is cut.
    """
    cols = max(1, cols)
    while width(text) > cols:
        piece = clip(text, cols, "") or text[0]
        head, _, _ = piece.rpartition(" ")
        if head.strip() and text[len(piece)] != " ":
            piece = head
        yield piece
        text = text[len(piece) :].lstrip(" ")
    yield text


def with_matches(text: str, style: str, found: Iterable[tuple[int, int]]) -> Line:
    """Return a line in which the places `found` (from, to) stand out."""
    line, at = list[Span](), 0
    for start, end in found:
        line += [(style, text[at:start]), ("match", text[start:end])]
        at = end
    line.append((style, text[at:]))
    return [span for span in line if span[1]]
