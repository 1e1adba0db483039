"""The words of a filter on the command line."""

import os
import stat
import sys
from collections.abc import Sequence
from typing import TextIO

from evtools.errors import UsageError


def filter_of(words: Sequence[str], *, reading: bool = False) -> str:
    """Return the filter that the words make together, "" for none.

    Raise UsageError where they are a broker's URL, what the shell has left of a
    filter, or, while `reading`, what it has made of a pattern.
    """
    if any("://" in word.partition(" ")[0] for word in words[:1]):
        # Not quoted: it may hold a password.
        raise UsageError("a filter looks like a broker URL", "give the URL with -b URL")
    if reading:
        _refuse_files(words)
    _refuse_shell_trap(words)
    return " ".join(words)


def _refuse_files(words: Sequence[str]) -> None:
    """Refuse what `-r rec-*.jsonl` leaves behind the first of the files."""
    for word in words:
        if ("." in word or "/" in word) and os.path.isfile(word):  # noqa: PTH113  (start-up time)
            raise UsageError(
                f"{word} is a file, not a filter",
                "for several recordings quote the pattern, -r 'rec-*.jsonl', or repeat -r",
            )


def _refuse_shell_trap(words: Sequence[str]) -> None:
    from evtools.filters import shell_trap  # noqa: PLC0415  (start-up time)

    if not _is_file(sys.stdout):
        return
    for word in words:
        warning = shell_trap(word)
        if warning:
            raise UsageError(f"the filter is just {word!r}", warning)


def _is_file(stream: TextIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False
