"""evcam's log: a file that may be moved away or a standard stream, and failures in it."""

import contextlib
import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from evtools.cam.options import LogFormat
from evtools.cam.privileges import Identity, open_owned
from evtools.errors import EvtoolsError, OutputError
from evtools.text import hide_credentials, sanitize_lines

_log = logging.getLogger(__name__)

#: Names of descriptors that root could not open for another user.
_STREAMS: Final = {"/dev/stdout": 1, "/dev/stderr": 2}
_STDOUT, _STDERR = 1, 2
_MODE: Final = 0o640
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT
#: sd-daemon(3): the level of a line, in front of it.
_PRIORITIES: Final = ((50, 2), (40, 3), (30, 4), (20, 6), (0, 7))
_KINDS_MAX: Final = 100
_REASON_MAX: Final = 300


# --- handlers -----------------------------------------------------------------------


class Log(logging.Handler):
    """Write log records to a descriptor, each as one line with one call.

    Records that cannot be written, to a full disk say, are counted, and the count is
    logged as soon as that is possible.
    """

    #: Of a log file, where it is.
    path: Path | None = None

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lost = 0
        self._is_torn = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; logging calls it with the handler's lock held."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  (of a camera's own log call, say)
            line = f"a log record cannot be written: {record.msg!r:.200}"
        if self._lost:
            text = f"{self._lost} lines that belong here could not be written"
            lost = logging.LogRecord(__name__, logging.ERROR, __file__, 0, text, None, None)
            line = f"{self.format(lost)}\n{line}"
        try:
            self._write(line)
        except OSError:
            self._lost += 1
        else:
            self._lost = 0

    def reopen(self) -> bool:
        """Begin the file anew, if it was moved away; return whether that was possible."""
        return True

    def take_streams(self) -> None:
        """Send stdout and stderr to the log file, if it is one, from now on."""

    def _write(self, line: str) -> None:
        data = f"{line}\n".encode("utf-8", "backslashreplace")
        if self._is_torn:
            data = b"\n" + data
        while data:
            written = os.write(self._descriptor, data)
            data = data[written:]
            self._is_torn = bool(data)


# Not logging.handlers.WatchedFileHandler: that one closes the old file before it opens the
# new one, so that lines are lost where there can be no new one, and its text buffer writes
# parts of lines twice when a disk is full.
class LogFile(Log):
    """A log file; when it is moved away or removed, a new one is begun.

    Lines go on into the old file until there can be a new one.  Raise OutputError when the
    file cannot be written.
    """

    def __init__(self, path: str, owner: Identity | None = None) -> None:
        self.path: Path = Path(path).expanduser().absolute()
        self._owner = owner
        self._copies: tuple[int, ...] = ()
        try:
            descriptor = self._open()
        except OSError as error:
            raise OutputError(
                f"cannot write {self.path}: {error.strerror}", "give another file with --logfile"
            ) from None
        super().__init__(descriptor)
        # logging's own lock of a handler, which emit is called with.
        self._held = contextlib.nullcontext() if self.lock is None else self.lock

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record into the file that has the name now."""
        self._follow()
        super().emit(record)

    def reopen(self) -> bool:
        """Begin the file anew, if it was moved away; return whether that was possible."""
        with self._held:
            self._follow()
            return self._is_in_place()

    def take_streams(self) -> None:
        """Send stdout and stderr to the file from now on."""
        with self._held:
            self._copies = (_STDOUT, _STDERR)
            for copy in self._copies:
                os.dup2(self._descriptor, copy)

    def close(self) -> None:
        with self._held:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
        super().close()

    def _open(self) -> int:
        return open_owned(self.path, _FLAGS, self._owner, mode=_MODE, give=True)

    def _is_in_place(self) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(self.path.stat(), os.fstat(self._descriptor))
        return False

    def _follow(self) -> None:
        if self._is_in_place():
            return
        with contextlib.suppress(OSError, OutputError):
            file = self._open()
            # Under the same number: no other thread can write in between.
            os.dup2(file, self._descriptor, inheritable=False)
            os.close(file)
            for copy in self._copies:
                os.dup2(self._descriptor, copy)


def open_log(
    path: str, form: LogFormat | None, *, owner: Identity | None, environ: Mapping[str, str]
) -> Log:
    """Return a handler for a log file, or for stderr without a `path`.

    Raise OutputError when the file cannot be written.
    """
    if path and path not in _STREAMS:
        log: Log = LogFile(path, owner)
    else:
        descriptor = _STREAMS.get(path, _STDERR)
        log = Log(descriptor)
        with contextlib.suppress(OSError):
            status = os.fstat(descriptor)
            # The journal's, see systemd.exec(5).
            if environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}":
                form = form or "journal"
    log.setFormatter(_FORMATTERS[form or "text"]())
    return log


def default_log_file(environ: Mapping[str, str]) -> str:
    """Return the log file of a detached evcam without --logfile; "" if there is no place.

    For root that is in /var/log, for others where XDG has such files.
    """
    if os.geteuid() == 0:
        return "/var/log/evcam.log"
    home = environ.get("HOME", "")
    state = environ.get("XDG_STATE_HOME") or (home and f"{home}/.local/state")
    return f"{state}/evtools/evcam.log" if state else ""


# --- formats ------------------------------------------------------------------------


class TextFormatter(logging.Formatter):
    """Lines with the time in UTC and the level, for people.

    What follows a line break in a record is indented: no text can forge a record by having
    a line break logged.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = "\n    ".join(_lines(self, record))
        return f"{_moment(record.created)} {record.levelname.lower()} {text}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line with ts, level, logger, message and exception, for programs."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "ts": _moment(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": hide_credentials(record.getMessage()),
        }
        if record.exc_info:
            fields["exception"] = hide_credentials(self.formatException(record.exc_info))
        return json.dumps(fields)


class JournalFormatter(logging.Formatter):
    """Lines with their level as the journal reads it, which adds the time itself."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next(n for level, n in _PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in _lines(self, record))


_FORMATTERS: Final[Mapping[LogFormat, type[logging.Formatter]]] = {
    "text": TextFormatter,
    "json": JsonFormatter,
    "journal": JournalFormatter,
}


def _lines(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    text = hide_credentials(logging.Formatter.format(formatter, record).rstrip())
    return sanitize_lines(text).split("\n")


def _moment(created: float) -> str:
    seconds, millis = divmod(int(created * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{millis:03}Z"


# --- failures of cameras ------------------------------------------------------------


class FailureLog:
    """Log the first failure of a kind with its traceback, the others in one line.

    Our own errors explain themselves and have no traceback.
    """

    def __init__(self) -> None:
        self._known: set[tuple[type[BaseException], str, int]] = set()

    def error(self, what: str, error: BaseException) -> None:
        kind = (type(error), *place(error))
        at_length = kind not in self._known and not isinstance(error, EvtoolsError)
        if len(self._known) < _KINDS_MAX:
            self._known.add(kind)
        _log.error("%s: %s", what, reason(error), exc_info=error if at_length else None)


def reason(error: BaseException) -> str:
    """Return an exception in one line of bounded length."""
    lines = str(error).strip().splitlines()
    text = hide_credentials(lines[0])[:_REASON_MAX] if lines else ""
    if isinstance(error, EvtoolsError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def place(error: BaseException) -> tuple[str, int]:
    """Return the file and the line where an exception was raised."""
    traceback = error.__traceback__
    if traceback is None:
        return "", 0
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
