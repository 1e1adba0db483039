"""Where log records go: to stderr, and only what somebody should read."""

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

_log = logging.getLogger(__name__)

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT
#: Talkative libraries; what matters of it we say ourselves.
_LIBRARIES: Final = ("amqp", "celery", "kombu", "redis", "vine", "asyncio")


class _Formatter(logging.Formatter):
    """One line like our other messages; nothing in it can harm a terminal."""

    def __init__(self, tool: str) -> None:
        super().__init__()
        self._tool = tool

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        text = sanitize_lines(hide_credentials(super().format(record).rstrip()))
        return f"{self._tool}: {level}: {text}"


class _FileFormatter(logging.Formatter):
    """One line with the time in UTC; nothing in it can harm a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        lines = sanitize_lines(hide_credentials(super().format(record).rstrip()))
        text = " | ".join(lines.split("\n"))
        seconds, millis = divmod(int(record.created * 1000), 1000)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        return f"{moment}.{millis:03}Z {record.levelname.lower()} {text}"


class _FileHandler(WatchedFileHandler):
    """A file that logrotate may move away, and that may fill the disk."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; one that cannot be opened now may be there for the next."""
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def _open(self) -> TextIOWrapper:
        """Open the file; root goes no way that others can change."""
        file = open_safely(self.baseFilename, _FLAGS)
        return open(file, "a", encoding=self.encoding)  # noqa: PTH123  (a descriptor)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's)
        """Let the record go: a traceback would be painted over the screen."""


def wanted(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return how much the values of the options ask for, for one of the below."""
    return {"verbosity": values["verbose"], "quiet": values["quiet"], "debug": values["debug"]}


def set_up(tool: str, *, verbosity: int, quiet: bool, debug: bool) -> None:
    """Send log records to stderr: warnings, errors only, or everything."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(tool))
    _install(handler, verbosity, quiet=quiet, debug=debug)


def set_up_file(tool: str, path: str | None, *, verbosity: int, quiet: bool, debug: bool) -> None:
    """Send log records to a file, for a tool that has the screen for itself.

    Without a `path` that is the usual one, which is made when there is
    something to write.  Raise OutputError when `path` cannot be written.
    """
    usual = usual_file(tool, os.environ)
    name = Path(path).expanduser() if path else usual
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
    _install(handler, verbosity, quiet=quiet, debug=debug)


def usual_file(tool: str, environ: Mapping[str, str]) -> Path | None:
    """Return where a tool logs, as XDG has it; None without a home."""
    home = environ.get("HOME", "")
    state = environ.get("XDG_STATE_HOME") or (home and f"{home}/.local/state")
    return Path(state) / "evtools" / f"{tool}.log" if state else None


def _install(handler: logging.Handler, verbosity: int, *, quiet: bool, debug: bool) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_level(verbosity, quiet=quiet, debug=debug))
    for name in _LIBRARIES:
        level = logging.DEBUG if debug else logging.CRITICAL
        logging.getLogger(name).setLevel(level)
    _take_strays()


def _take_strays() -> None:
    """Log what the threads and destructors of cameras and applications raise.

    Warnings, too.  Python would print all of it as it is: with the passwords in
    it, and across a screen.  A hook that somebody has set stays.
    """
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_of_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _log_unraisable
    logging.captureWarnings(capture=True)


def _log_of_thread(failure: threading.ExceptHookArgs) -> None:
    error = failure.exc_value
    if error is not None and not isinstance(error, SystemExit):
        name = failure.thread.name if failure.thread else "of no name"
        _log.error("thread %s has failed", name, exc_info=error)


def _log_unraisable(failure: "sys.UnraisableHookArgs") -> None:
    text = failure.err_msg or "an exception was ignored"
    _log.error("%s", text, exc_info=failure.exc_value)


def _level(verbosity: int, *, quiet: bool, debug: bool) -> int:
    if debug:
        return logging.DEBUG
    if quiet:
        return logging.ERROR
    return logging.INFO if verbosity else logging.WARNING
