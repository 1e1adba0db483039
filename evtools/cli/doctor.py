"""The entry point of evtools doctor."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from evtools.cli.failure import run

if TYPE_CHECKING:
    import click


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the doctor with `arguments` (default: the command line's)."""
    return run(
        "evtools doctor", _load, sys.argv[1:] if arguments is None else arguments
    )


def _load() -> "click.Command":
    from evtools.cli.doctor_command import evdoctor  # noqa: PLC0415  (start-up time)

    return evdoctor
