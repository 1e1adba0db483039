"""When to write in colour."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

When: TypeAlias = Literal["auto", "always", "never"]


def wants_colour(when: When, environ: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Return whether a stream gets colours.

    `when` is the option; below it come NO_COLOR, then FORCE_COLOR, then a
    dumb terminal, then whether that very stream `is_terminal`.
    """
    if when != "auto":
        return when == "always"
    if environ.get("EVTOOLS_NO_COLOR") or environ.get("NO_COLOR"):
        return False
    if any(environ.get(name, "0") not in ("", "0") for name in _FORCE):
        return True
    return is_terminal and environ.get("TERM") != "dumb"


_FORCE = ("FORCE_COLOR", "CLICOLOR_FORCE")
