"""evcam's log: a file that may be moved away or a standard stream, and failures in it."""

import contextlib
import json
import logging
import os
import time
from pathlib import Path
from typing import Final

from evtools.cam.options import LogFormat
from evtools.cam.privileges import Identity, open_owned
from evtools.errors import EvtoolsError, OutputError
from evtools.text import hide_credentials, sanitize_lines
from evtools.trust import make_folders

_log = logging.getLogger(__name__)

#: Names of descriptors that root could not open for another user.
_STREAMS: Final = {"/dev/stdout": 1, "/dev/stderr": 2}
_STDOUT, _STDERR = 1, 2
_MODE: Final = 0o640
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT
#: sd-daemon(3): the level of a line, in front of it.
_PRIORITIES: Final = ((50, 2), (40, 3), (30, 4), (20, 6), (0, 7))
_PLAIN: Final = logging.Formatter()
_KINDS_MAX: Final = 100
_REASON_MAX: Final = 300


# Not logging.handlers.WatchedFileHandler: that one closes the old file before it opens the
# new one, so that lines are lost where there can be no new one, and its text buffer writes
# parts of lines twice when a disk is full.
class Log(logging.Handler):
    """Write log records to a file or a standard stream, each as one line with one call.

    When the file is moved away or removed, a new one is begun; lines go on into the old one until
    there can be a new one.  Records that cannot be written, to a full disk say, are counted, and
    the count is logged as soon as that is possible.

    The form `text` has the time in UTC and the level; what follows a line break is indented, so
    that no text can forge a record.  `json` is an object a line, with ts, level, logger, message
    and exception.  `journal` has a level at the begin of each line, as systemd reads it.

    Without a `path`, it is stderr, and `journal` is the default form where that is systemd's.
    Raise OutputError when the file cannot be written.
    """

    def __init__(self, path: str, form: LogFormat | None, owner: Identity | None = None) -> None:
        #: Where the file is, None for a stream.
        self.path: Path | None = None
        self._owner = owner
        self._copies: tuple[int, ...] = ()
        self._lost = 0
        self._is_torn = False
        if path and path not in _STREAMS:
            self.path = Path(path).expanduser().absolute()
            try:
                self._descriptor = open_owned(self.path, _FLAGS, owner, mode=_MODE, give=True)
            except OSError as error:
                text = f"cannot write {self.path}: {error.strerror}"
                raise OutputError(text, "give another file with --logfile") from None
        else:
            self._descriptor = _STREAMS.get(path, _STDERR)
            with contextlib.suppress(OSError):
                status = os.fstat(self._descriptor)
                # The journal's, see systemd.exec(5).
                if os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}":
                    form = form or "journal"
        super().__init__()
        self.form = form or "text"
        # logging's own lock of a handler, which emit is called with.
        self._held = contextlib.nullcontext() if self.lock is None else self.lock

    def format(self, record: logging.LogRecord) -> str:
        seconds, millis = divmod(int(record.created * 1000), 1000)
        now = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{millis:03}Z"
        level = record.levelname.lower()
        if self.form == "json":
            fields = {"ts": now, "level": level, "logger": record.name}
            fields["message"] = hide_credentials(record.getMessage())
            if record.exc_info:
                fields["exception"] = hide_credentials(_PLAIN.formatException(record.exc_info))
            return json.dumps(fields)
        lines = sanitize_lines(hide_credentials(_PLAIN.format(record).rstrip())).split("\n")
        if self.form == "text":
            return f"{now} {level} " + "\n    ".join(lines)
        priority = next(number for least, number in _PRIORITIES if record.levelno >= least)
        return "\n".join(f"<{priority}>{line}" for line in lines)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record into the file that has the name now."""
        self._follow()
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  (of a camera's own log call, say)
            line = f"a log record cannot be written: {record.msg!r:.200}"
        if self._lost:
            text = f"{self._lost} lines that belong here could not be written"
            lost = logging.LogRecord(__name__, logging.ERROR, __file__, 0, text, None, None)
            line = f"{self.format(lost)}\n{line}"
        data = f"{line}\n".encode("utf-8", "backslashreplace")
        if self._is_torn:
            data = b"\n" + data
        try:
            while data:
                written = os.write(self._descriptor, data)
                data = data[written:]
                self._is_torn = bool(data)
        except OSError:
            self._lost += 1
        else:
            self._lost = 0

    def reopen(self) -> bool:
        """Begin the file anew, if it was moved away; return whether that was possible."""
        with self._held:
            return self._follow()

    def take_streams(self) -> None:
        """Send stdout and stderr to the log file, if it is one, from now on."""
        if self.path is not None:
            with self._held:
                self._copies = (_STDOUT, _STDERR)
                for copy in self._copies:
                    os.dup2(self._descriptor, copy)

    def close(self) -> None:
        if self.path is not None:
            with self._held:
                if self._descriptor >= 0:
                    os.close(self._descriptor)
                    self._descriptor = -1
        super().close()

    def _follow(self) -> bool:
        # Begin a new file where ours is no longer in its place; return whether it is now.
        if self.path is None:
            return True
        with contextlib.suppress(OSError):
            if os.path.samestat(self.path.stat(), os.fstat(self._descriptor)):
                return True
        with contextlib.suppress(OSError, OutputError):
            file = open_owned(self.path, _FLAGS, self._owner, mode=_MODE, give=True)
            # Under the same number: no other thread can write in between.
            os.dup2(file, self._descriptor, inheritable=False)
            os.close(file)
            for copy in self._copies:
                os.dup2(self._descriptor, copy)
            return True
        return False


def default_log_file() -> str:
    """Return the log file of a detached evcam without --logfile, and make its folder.

    That is in /var/log for root, else where XDG has such files; "" if there is no place.
    """
    path = "/var/log/evcam.log"
    if os.geteuid() != 0:
        home = os.environ.get("HOME", "")
        state = os.environ.get("XDG_STATE_HOME") or (home and f"{home}/.local/state")
        path = f"{state}/evtools/evcam.log" if state else ""
    if path:
        with contextlib.suppress(OSError):
            make_folders(Path(path).parent)
    return path


class FailureLog:
    """Log the first failure of a kind with its traceback, unless it is ours, others in a line."""

    def __init__(self) -> None:
        self._known: set[tuple[type[BaseException], str, int]] = set()

    def error(self, what: str, error: BaseException) -> None:
        kind = (type(error), *place(error))
        at_length = kind not in self._known and not isinstance(error, EvtoolsError)
        if len(self._known) < _KINDS_MAX:
            self._known.add(kind)
        _log.error("%s: %s", what, reason(error), exc_info=error if at_length else None)


def named(text: str, cluster: str) -> str:
    """Return a text with the name of a cluster before it, if that has one."""
    return f"{cluster}: {text}" if cluster else text


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
