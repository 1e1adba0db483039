"""Where log records go: to stderr, and only what somebody should read."""

import logging
import sys
from typing import Final

from evtools.text import sanitize_lines

#: Talkative libraries; what matters of it we say ourselves.
_LIBRARIES: Final = ("amqp", "celery", "kombu", "redis", "vine", "asyncio")


class _Formatter(logging.Formatter):
    """One line like our other messages; nothing in it can harm a terminal."""

    def __init__(self, tool: str) -> None:
        super().__init__()
        self._tool = tool

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        text = sanitize_lines(super().format(record))
        return f"{self._tool}: {level}: {text}"


def set_up(tool: str, *, verbosity: int, quiet: bool, debug: bool) -> None:
    """Send log records to stderr: warnings, errors only, or everything."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(tool))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_level(verbosity, quiet=quiet, debug=debug))
    for name in _LIBRARIES:
        level = logging.DEBUG if debug else logging.CRITICAL
        logging.getLogger(name).setLevel(level)


def _level(verbosity: int, *, quiet: bool, debug: bool) -> int:
    if debug:
        return logging.DEBUG
    if quiet:
        return logging.ERROR
    return logging.INFO if verbosity else logging.WARNING
