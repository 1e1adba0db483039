"""Logging: to stderr, or to a file where the screen is taken."""

import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, Final

from evtools.errors import OutputError
from evtools.text import hide_credentials, sanitize_lines
from evtools.trust import make_folders, open_safely

_log: Final = logging.getLogger(__name__)

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT
#: Verbose libraries; the tools report themselves what matters of it.
_LIBRARIES: Final = ("amqp", "celery", "kombu", "redis", "vine", "asyncio")


class _Formatter(logging.Formatter):
    """One line like other messages, without control characters."""

    def __init__(self, tool: str) -> None:
        super().__init__()
        self._tool = tool

    def format(self, record: logging.LogRecord) -> str:
        text = sanitize_lines(hide_credentials(super().format(record).rstrip()))
        return f"{self._tool}: {record.levelname.lower()}: {text}"


class _FileFormatter(logging.Formatter):
    """One line with the time in UTC, without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        lines = sanitize_lines(hide_credentials(super().format(record).rstrip()))
        seconds, millis = divmod(int(record.created * 1000), 1000)
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        return f"{at}.{millis:03}Z {record.levelname.lower()} {lines.replace(chr(10), ' | ')}"


class _FileHandler(WatchedFileHandler):
    """A file that logrotate may move away, and that may fill the disk."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a file that cannot be opened is tried again for the next one."""
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def _open(self) -> TextIOWrapper:
        # As root, it follows no path that others can change.
        file = open_safely(self.baseFilename, _FLAGS)
        return open(file, "a", encoding=self.encoding)  # noqa: PTH123  (a descriptor)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's)
        """Drop the record: a traceback would be printed across the screen."""


def wanted(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that say how much to log, as set_up and set_up_file take them."""
    return {name: values[name] for name in ("verbose", "quiet", "debug")}


def set_up(tool: str, *, verbose: int, quiet: bool, debug: bool) -> None:
    """Log to stderr: warnings, errors only, or everything."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(tool))
    _install(handler, verbose, quiet=quiet, debug=debug)


def set_up_file(tool: str, path: str | None, *, verbose: int, quiet: bool, debug: bool) -> None:
    """Log to a file, for a tool that uses the whole screen.

    Without a `path` it is the default file, created with the first record.  Raise
    OutputError if `path` cannot be written.
    """
    name = Path(path).expanduser() if path else default_file(tool)
    handler: logging.Handler = logging.NullHandler()
    if name is not None:
        try:
            if not path:
                make_folders(name.parent)
            handler = _FileHandler(name, encoding="utf-8", delay=not path)
        except OSError as error:
            if path:
                raise OutputError(f"cannot write {name}: {error.strerror}") from None
    handler.setFormatter(_FileFormatter())
    _install(handler, verbose, quiet=quiet, debug=debug)


def default_file(tool: str) -> Path | None:
    """Return where a tool logs, as XDG has it; None without a home."""
    home = os.environ.get("HOME", "")
    state = os.environ.get("XDG_STATE_HOME") or (home and f"{home}/.local/state")
    return Path(state) / "evtools" / f"{tool}.log" if state else None


def _install(handler: logging.Handler, verbose: int, *, quiet: bool, debug: bool) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    if debug:
        root.setLevel(logging.DEBUG)
    elif quiet:
        root.setLevel(logging.ERROR)
    else:
        root.setLevel(logging.INFO if verbose else logging.WARNING)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.DEBUG if debug else logging.CRITICAL)
    # Python prints what threads and destructors of cameras and applications raise, and
    # warnings, as they are: with passwords, and across the screen.  Hooks of others stay.
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_of_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _log_unraisable
    logging.captureWarnings(capture=True)


def _log_of_thread(failure: threading.ExceptHookArgs) -> None:
    error = failure.exc_value
    if error is not None and not isinstance(error, SystemExit):
        name = failure.thread.name if failure.thread else "without a name"
        _log.error("thread %s has failed", name, exc_info=error)


def _log_unraisable(failure: "sys.UnraisableHookArgs") -> None:
    text = failure.err_msg or "an exception was ignored"
    _log.error("%s", text, exc_info=failure.exc_value)
