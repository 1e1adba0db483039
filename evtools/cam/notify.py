"""What systemd is told: ready, status, alive, ending."""

import contextlib
import os
import re
import socket
from collections.abc import MutableMapping
from typing import Self

from evtools.clock import Clock, SystemClock
from evtools.text import hide_credentials

#: systemd reads at once; nobody else shall hold us up for longer.
_TIMEOUT = 0.25
_STATUS_MAX = 500
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)


class Notifier:
    """Send notifications as sd_notify(3) has them, or nothing without an `address`.

    `watchdog_every` is the time in which systemd wants a sign of life, in
    seconds; 0 for never.  What cannot be sent is not sent: a supervisor that
    does not listen is no reason to end.
    """

    def __init__(
        self, address: str = "", watchdog_every: float = 0.0, *, clock: Clock | None = None
    ) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._clock = clock or SystemClock()
        self._status = ""
        # Half the time: one sign may be late.
        self._pause = watchdog_every / 2
        self._next_sign = 0.0
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(_TIMEOUT)

    @classmethod
    def from_environment(
        cls, environ: MutableMapping[str, str], *, clock: Clock | None = None
    ) -> Self:
        """Return what systemd's variables ask for, and remove them.

        They are meant for us alone, not for what a camera starts.
        """
        address = environ.pop("NOTIFY_SOCKET", "")
        every = environ.pop("WATCHDOG_USEC", "")
        pid = environ.pop("WATCHDOG_PID", "")
        # In a single-file binary the watched process is our parent.
        is_ours = pid in ("", str(os.getpid()), str(os.getppid()))
        return cls(
            address if address[:1] in ("/", "@") else "",
            int(every) / 1e6 if is_ours and _NUMBER.fullmatch(every) else 0.0,
            clock=clock,
        )

    def ready(self, status: str = "") -> None:
        """Say that the start, or a reload, is over."""
        self._status = status or self._status
        # The process that systemd has started may be another: see --detach.
        self._send("READY=1", f"MAINPID={os.getpid()}", *_status(status))

    def status(self, text: str) -> None:
        """Say in one line how it goes; the same line is not sent again."""
        if text != self._status:
            self._status = text
            self._send(*_status(text))

    def watchdog(self) -> None:
        """Give a sign of life, if one is due; to be called often."""
        now = self._clock.monotonic()
        if self._pause and now >= self._next_sign:
            self._next_sign = now + self._pause
            self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that a reload begins; `ready` ends it."""
        # In the same datagram, or `systemctl reload` waits for ever.
        now = int(self._clock.monotonic() * 1e6)
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, status: str = "") -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1", *_status(status))

    def close(self) -> None:
        """Let go of the socket; idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                message = "\n".join(lines).encode("utf-8", "replace")
                self._socket.sendto(message, self._address)


def _status(text: str) -> list[str]:
    line = " ".join(hide_credentials(text)[:_STATUS_MAX].split())
    return [f"STATUS={line}"] if line else []
