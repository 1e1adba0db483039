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
    # Without control characters: like other messages of a tool, or, in a file, each record one
    # line with its time in UTC.
    tool = ""

    def format(self, record: logging.LogRecord) -> str:
        text = sanitize_lines(hide_credentials(super().format(record).rstrip()))
        level = record.levelname.lower()
        if self.tool:
            return f"{self.tool}: {level}: {text}"
        seconds, millis = divmod(int(record.created * 1000), 1000)
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        return f"{at}.{millis:03}Z {level} {text.replace(chr(10), ' | ')}"


class _FileHandler(WatchedFileHandler):
    # A file that logrotate may move away, and that may fill the disk.  One that cannot be
    # opened is tried again for the next record.

    def emit(self, record: logging.LogRecord) -> None:
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


def file_handler(tool: str, path: str | None) -> logging.Handler:
    """Return a handler for `set_up` that writes to a file.

    Without a `path` it is the tool's own as XDG has it, created with the first record, if it
    can be.  Raise OutputError if `path` cannot be written.
    """
    home = os.environ.get("HOME", "")
    state = os.environ.get("XDG_STATE_HOME") or (home and f"{home}/.local/state")
    if not (path or state):
        return logging.NullHandler()
    name = Path(path).expanduser() if path else Path(state) / "evtools" / f"{tool}.log"
    try:
        if not path:
            make_folders(name.parent)
        return _FileHandler(name, encoding="utf-8", delay=not path)
    except OSError as error:
        if path:
            raise OutputError(f"cannot write {name}: {error.strerror}") from None
        return logging.NullHandler()


def set_up(tool: str, values: Mapping[str, Any], handler: logging.Handler | None = None) -> None:
    """Log to stderr or to the handler of a file.

    That is warnings, or of the options in `values` with `quiet` errors only, with `verbose`
    more, and with `debug` everything.
    """
    formatter = _Formatter()
    if handler is None:
        handler, formatter.tool = logging.StreamHandler(sys.stderr), tool
    handler.setFormatter(formatter)
    debug, quiet, verbose = map(values.get, ("debug", "quiet", "verbose"))
    level = logging.INFO if verbose else logging.WARNING
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.ERROR if quiet else level)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.DEBUG if debug else logging.CRITICAL)
    # Python prints what threads and destructors of cameras and applications raise, and
    # warnings, as they are: with passwords, and across the screen.  Hooks of others stay.
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_of_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = lambda failure: _log.error(
            "%s", failure.err_msg or "an exception was ignored", exc_info=failure.exc_value
        )
    logging.captureWarnings(capture=True)


def _log_of_thread(failure: threading.ExceptHookArgs) -> None:
    error = failure.exc_value
    if error is not None and not isinstance(error, SystemExit):
        name = failure.thread.name if failure.thread else "without a name"
        _log.error("thread %s has failed", name, exc_info=error)
