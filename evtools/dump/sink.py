"""The way out to stdout."""

import os
import stat
from typing import Final

from evtools.clock import Clock
from evtools.errors import OutputError
from evtools.transport.recording.writer import write_all

#: How much may wait to be written, and for how long on a regular file.
_BUFFER_BYTES: Final = 64 * 1024
_PATIENCE: Final = 1.0


class Sink:
    """Write bytes to a descriptor that is not ours to close.

    A terminal or pipe sees every batch at once (`settle`), a regular file
    after a second or 64 KiB, and with `line_buffered` both see every write.
    `write`, `settle`, `flush` and `close` raise `OutputError` when the bytes
    cannot be written, and `BrokenPipeError` when the reader went away.  After
    either, what is left is thrown away.
    """

    def __init__(self, fd: int, *, clock: Clock, line_buffered: bool = False) -> None:
        self._fd = fd
        self._clock = clock
        self._line_buffered = line_buffered
        self._patient = stat.S_ISREG(os.fstat(fd).st_mode)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._flushed = clock.monotonic()
        self._broken = False

    def write(self, data: bytes) -> None:
        """Take whole lines."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._line_buffered or self._waiting_bytes >= _BUFFER_BYTES:
            self.flush()

    def settle(self) -> None:
        """Let out what is due; call it after every batch and every wait."""
        if not self._patient or self._clock.monotonic() - self._flushed >= _PATIENCE:
            self.flush()

    def flush(self) -> None:
        """Let out everything."""
        self._flushed = self._clock.monotonic()
        if not self._waiting:
            return
        data = b"".join(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        if self._broken:
            return
        _, error = write_all(self._fd, data)
        if error is not None:
            self._broken = True
            if isinstance(error, BrokenPipeError):
                raise error
            raise OutputError(f"cannot write to stdout: {error.strerror}") from error

    def close(self) -> None:
        """Let out everything; the descriptor stays open."""
        self.flush()
