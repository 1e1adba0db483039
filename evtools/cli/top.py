"""The evtop command's entry point."""

import sys
from collections.abc import Sequence

from evtools.cli.entry import start


def main(arguments: Sequence[str] | None = None) -> int:
    """Run evtop with `arguments` (default: the command line's)."""
    return start("top", sys.argv[1:] if arguments is None else arguments)
