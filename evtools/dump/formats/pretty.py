"""Blocks for people: every field on a line of its own."""

from collections.abc import Iterator
from typing import Any, Final

from evtools.dump.formatter import FormatOptions, Formatter
from evtools.dump.paint import PLAIN, Paint, paint
from evtools.dump.stamps import Stamps
from evtools.dump.wording import failure, gap_sentence, said
from evtools.text import clip, sanitize, sanitize_lines, width
from evtools.wire import Event

_LABEL_COLS_MAX: Final = 30
_VALUE_COLS: Final = 1000
_CUT: Final = "\N{HORIZONTAL ELLIPSIS}"


class PrettyFormatter(Formatter):
    """Write a title and the fields below it, and an empty line between blocks.

    A field that was joined from an earlier event says so.  Tracebacks keep
    their lines.
    """

    def __init__(self, options: FormatOptions) -> None:
        self._stamps = Stamps(options.timestamps, options.zone)
        self._full = options.full
        self._title: Paint = paint("bold") if options.colour else PLAIN
        self._label: Paint = paint("dim") if options.colour else PLAIN

    def header(self) -> bytes:
        """Return nothing."""
        return b""

    def format(self, event: Event) -> bytes:
        """Return the block of the event, the empty line after it included."""
        return "".join([f"{line}\n" for line in self._lines(event)]).encode() + b"\n"

    def _lines(self, event: Event) -> Iterator[str]:
        stamp = self._stamps.stamp(event)
        before, after = self._title
        title = f"{before}{self._shown(event.type)}{after}  {stamp}"
        yield title.rstrip()
        if event.is_gap:
            yield f"  {self._shown(gap_sentence(event))}"
        fields = event.as_dict()
        del fields["type"]
        labels = [self._shown(name) for name in (*fields, *event.joined)]
        cols = min(max(map(width, labels), default=0), _LABEL_COLS_MAX)
        for name, value in fields.items():
            yield from self._field(name, value, cols)
        for name, value in event.joined.items():
            yield from self._field(name, value, cols, note="  (joined)")
        real = failure(event)
        if real != event.get("exception"):
            yield from self._field("exception", real, cols, note="  (from traceback)")

    def _field(self, name: str, value: Any, cols: int, *, note: str = "") -> Iterator[str]:
        shown = self._shown(name)
        label = shown + " " * (cols - width(shown))
        before, after = self._label
        if name == "traceback" and isinstance(value, str) and "\n" in value:
            yield f"  {before}{label}{after}"
            for line in sanitize_lines(value).rstrip().split("\n"):
                yield f"      {line}".rstrip()
        else:
            text = f"{self._shown(said(value))}{note}"
            yield f"  {before}{label}{after}  {text}".rstrip()

    def _shown(self, text: str) -> str:
        if self._full:
            return sanitize(text)
        # Escaping only lengthens, so what is far beyond the edge can go first.
        near = sanitize(text[: 4 * _VALUE_COLS])
        whole = len(text) <= 4 * _VALUE_COLS
        return clip(near if whole else near + _CUT, _VALUE_COLS, _CUT)


def make(options: FormatOptions) -> PrettyFormatter:
    """Make the format."""
    return PrettyFormatter(options)
