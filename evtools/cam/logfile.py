"""Where evcam logs: a file that may be moved away, or a standard stream."""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from evtools.cam.choices import LogFormat
from evtools.cam.logformats import FORMATTERS
from evtools.cam.ownership import open_owned
from evtools.cam.privileges import Identity
from evtools.errors import OutputError

#: Names that stand for descriptors, which root could not open for another user.
_STREAMS: Final = {"/dev/stdout": 1, "/dev/stderr": 2}
_STDOUT, _STDERR = 1, 2
_MODE: Final = 0o640
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT


class Log(logging.Handler):
    """Write log records to a descriptor, each as one line at once.

    What cannot be written, to a full disk say, is counted, and the count is
    written as soon as that is possible.
    """

    #: Of a log file, where it is.
    path: Path | None = None

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lost = 0
        self._is_torn = False

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; logging calls it with the handler's lock held."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  (of a camera's own log call, say)
            line = f"a log record cannot be written: {record.msg!r:.200}"
        if self._lost:
            line = f"{self._lost_lines()}\n{line}"
        try:
            self._write(line)
        except OSError:
            self._lost += 1
        else:
            self._lost = 0

    def reopen(self) -> bool:
        """Begin the file anew, if it is one that was moved away.

        Return whether that is where lines go from now on.
        """
        return True

    def take_streams(self) -> None:
        """Let what is printed go where the log goes, from now on."""

    def _lost_lines(self) -> str:
        text = f"{self._lost} lines that belong here could not be written"
        return self.format(
            logging.LogRecord(__name__, logging.ERROR, __file__, 0, text, args=None, exc_info=None)
        )

    def _write(self, line: str) -> None:
        data = f"{line}\n".encode("utf-8", "backslashreplace")
        if self._is_torn:
            data = b"\n" + data
        while data:
            written = os.write(self._descriptor, data)
            data = data[written:]
            self._is_torn = bool(data)


class LogFile(Log):
    """A log file; when it is moved away or removed, a new one is begun.

    Until there can be a new one, the lines go into the old.  Raise OutputError
    when the file cannot be written.
    """

    def __init__(self, path: str, owner: Identity | None = None) -> None:
        self._place = self.path = Path(path).expanduser().absolute()
        self._owner = owner
        self._copies: tuple[int, ...] = ()
        try:
            descriptor = self._open()
        except OSError as error:
            raise OutputError(
                f"cannot write {self.path}: {error.strerror}", "give another file with --logfile"
            ) from None
        super().__init__(descriptor)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record into the file that has our name now."""
        if not self._is_in_place():
            self._begin()
        super().emit(record)

    def reopen(self) -> bool:
        """Begin the file anew, if it was moved away; return whether that was possible.

        If it was not, lines go on into the old one.
        """
        with self._locked():
            if not self._is_in_place():
                self._begin()
            return self._is_in_place()

    def take_streams(self) -> None:
        """Let what is printed go into the file, from now on."""
        with self._locked():
            self._copies = (_STDOUT, _STDERR)
            for copy in self._copies:
                os.dup2(self._descriptor, copy)

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._locked():
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
        super().close()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def _open(self) -> int:
        return open_owned(self._place, _FLAGS, self._owner, mode=_MODE, give=True)

    def _is_in_place(self) -> bool:
        with contextlib.suppress(OSError):
            there, ours = self._place.stat(), os.fstat(self._descriptor)
            return os.path.samestat(there, ours)
        return False

    def _begin(self) -> None:
        with contextlib.suppress(OSError, OutputError):
            file = self._open()
            # Under the same number: nobody can write in between.
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
        log = Log(_STREAMS.get(path, _STDERR))
        if form is None and is_journal(log.fileno(), environ):
            form = "journal"
    log.setFormatter(FORMATTERS[form or "text"]())
    return log


def is_journal(descriptor: int, environ: Mapping[str, str]) -> bool:
    """Return whether a descriptor is the journal's, as systemd.exec(5) has it."""
    with contextlib.suppress(OSError):
        status = os.fstat(descriptor)
        return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    return False


def usual_file(environ: Mapping[str, str]) -> str:
    """Return where a detached evcam logs that was not told; "" if nowhere.

    That is for root in /var/log, for others where XDG has such files.
    """
    if os.geteuid() == 0:
        return "/var/log/evcam.log"
    home = environ.get("HOME", "")
    state = environ.get("XDG_STATE_HOME") or (home and f"{home}/.local/state")
    return f"{state}/evtools/evcam.log" if state else ""
