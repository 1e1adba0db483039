"""The entry point of `evtools selftest`."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the program itself (default arguments: the command line's)."""
    from evtools.cli.failure import run  # noqa: PLC0415  (start-up time)

    if arguments is None:
        arguments = sys.argv[1:]
    return run("evtools selftest", _load, arguments)


def _load() -> "click.Command":
    from evtools.cli.selftest_command import selftest  # noqa: PLC0415  (start-up time)

    return selftest
