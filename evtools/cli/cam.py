"""The evcam command's entry point."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from evtools import __version__

if TYPE_CHECKING:
    import click


def main(arguments: Sequence[str] | None = None) -> int:
    """Run evcam with `arguments` (default: the command line's)."""
    if arguments is None:
        arguments = sys.argv[1:]
    if list(arguments) == ["-V"]:
        # The one thing asked by programs, often: not even click is needed.
        print(f"evcam {__version__}")  # noqa: T201  (a command's answer)
        return 0
    from evtools.cli.failure import run  # noqa: PLC0415  (start-up time)

    return run("evcam", _load, arguments)


def _load() -> "click.Command":
    from evtools.cli.cam_command import evcam  # noqa: PLC0415  (start-up time)

    return evcam
