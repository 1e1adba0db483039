"""All that is known of one row, as text."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from evtools.text import sanitize, sanitize_lines
from evtools.wire import encode_line

_LABEL_COLS: Final = 14
#: Nothing that a sender sends whole is longer; what is gets cut, and that is said.
_TEXT_MAX_CHARS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Detail:
    """What stands in the pane of one row; every line of it is sanitised.

    `lines` are always there, of the `sections` one at a time, at first the one
    called `section`.
    """

    title: str
    lines: tuple[str, ...] = ()
    sections: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    section: str = "Info"


def labelled(pairs: Iterable[tuple[str, str | None]]) -> tuple[str, ...]:
    """Return a line for each label whose text is known, in two columns."""
    return tuple(
        f"{label:<{_LABEL_COLS}}{sanitize(text)}" for label, text in pairs if text is not None
    )


def paragraph(text: str) -> tuple[str, ...]:
    """Return a text of several lines as lines."""
    cut = text[:_TEXT_MAX_CHARS]
    lines = sanitize_lines(cut).rstrip("\n").split("\n")
    if len(cut) < len(text):
        lines.append(f"(cut: {len(text)} characters)")
    return tuple(lines)


def raw(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return fields as JSON, one line each."""
    lines = [
        f"  {encode_line(str(name)).decode()}: {encode_line(value).decode()}"
        for name, value in fields.items()
    ]
    return ("{", *(f"{line}," for line in lines[:-1]), *lines[-1:], "}")
