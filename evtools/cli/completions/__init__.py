"""What lets a shell complete our command lines: text made of the commands."""

# It is static: to start Python at every tab takes too long.

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from evtools.cli.completions import bash, fish, zsh
from evtools.cli.completions.grammar import Program, programs

#: Shell: what writes its text.
SHELLS: Final[Mapping[str, Callable[[Sequence[Program]], str]]] = {
    "bash": bash.script,
    "zsh": zsh.script,
    "fish": fish.script,
}
#: Shell: the name under which it looks for the file.
FILES: Final[Mapping[str, str]] = {
    "bash": "bash/evtools",
    "zsh": "zsh/_evtools",
    "fish": "fish/evtools.fish",
}


def script(shell: str) -> str:
    """Return what `shell` has to read, for all programs."""
    return SHELLS[shell](programs())


__all__ = ["FILES", "SHELLS", "Program", "programs", "script"]
