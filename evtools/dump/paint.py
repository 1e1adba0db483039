"""Colours, as the characters to print before and after a text."""

from functools import cache
from typing import TypeAlias

#: What to print before and after.
Paint: TypeAlias = tuple[str, str]

PLAIN: Paint = ("", "")


@cache
def paint(style: str) -> Paint:
    """Return the paint of a rich style such as `bold red`.

    Nothing from the wire ever passes through rich: its markup would let a
    task's argument restyle the terminal, and its console wraps lines.
    """
    from rich.color import ColorSystem  # noqa: PLC0415  (only with colours)
    from rich.style import Style  # noqa: PLC0415  (only with colours)

    # The sixteen colours that every theme has set up to be readable.
    rendered = Style.parse(style).render("\0", color_system=ColorSystem.STANDARD)
    before, _, after = rendered.partition("\0")
    return before, after
